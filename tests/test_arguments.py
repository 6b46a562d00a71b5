"""Arguments of operations: axes that do not exist, numbers and lists beside tensors, indices and dtypes of all
kinds, arguments that no rule knows, arrays of two devices."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

F = Callable[..., Any]


@pytest.fixture
def m() -> mg.Tensor:
    return mg.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), requires_grad=True)


# ---- axes --------------------------------------------------------------------------------------------------------

AXES: list[tuple[str, Callable[[Any, int], Any]]] = [
    ("sum", lambda x, k: np.sum(x, axis=k)), ("max", lambda x, k: np.max(x, axis=k)),
    ("std", lambda x, k: np.std(x, axis=k)), ("cumsum", lambda x, k: np.cumsum(x, axis=k)),
    ("median", lambda x, k: np.median(x, axis=k)), ("diff", lambda x, k: np.diff(x, axis=k)),
    ("softmax", lambda x, k: mg.softmax(x, axis=k)), ("logsumexp", lambda x, k: mg.logsumexp(x, axis=k)),
    ("norm", lambda x, k: np.linalg.norm(x, axis=k)), ("norm_3", lambda x, k: np.linalg.norm(x, 3, axis=k)),
    ("concatenate", lambda x, k: np.concatenate([x, x], axis=k)), ("split", lambda x, k: np.split(x, 1, axis=k)),
    ("unstack", lambda x, k: mg.unstack(x, axis=k)), ("flip", lambda x, k: np.flip(x, axis=k)),
    ("roll", lambda x, k: np.roll(x, 1, axis=k)), ("take", lambda x, k: np.take(x, [0], axis=k)),
    ("repeat", lambda x, k: np.repeat(x, 2, axis=k)), ("sort", lambda x, k: np.sort(x, axis=k)),
    ("swapaxes", lambda x, k: np.swapaxes(x, 0, k)), ("moveaxis", lambda x, k: np.moveaxis(x, 0, k)),
    ("rollaxis", lambda x, k: np.rollaxis(x, k)), ("tensordot", lambda x, k: np.tensordot(x, x, axes=([k], [0]))),
    ("squeeze", lambda x, k: np.squeeze(x, axis=k)), ("rot90", lambda x, k: np.rot90(x, axes=(0, k))),
    ("stack", lambda x, k: np.stack([x, x], axis=k + (1 if k > 0 else -1))),  # one axis more than x has
    ("expand_dims", lambda x, k: np.expand_dims(x, k + (1 if k > 0 else -1))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call"), AXES, ids=[name for name, _ in AXES])
@pytest.mark.parametrize("axis", [2, -3, -4])
def test_an_axis_that_does_not_exist_is_an_error(name: str, call: Callable[[Any, int], Any], axis: int) -> None:
    """-3 and -4 would be right again if something added the number of axes once too often."""
    x = mg.ones((2, 2), requires_grad=True)
    with pytest.raises((np.exceptions.AxisError, IndexError), match=r"out of bounds|out of range|do not both exist"):
        call(x, axis)


def test_the_error_names_the_operation_and_the_scope(m: mg.Tensor) -> None:
    with mg.scope("encoder"), pytest.raises(np.exceptions.AxisError, match=r"^diff in encoder: axis 5"):
        np.diff(m, axis=5)


@pytest.mark.parametrize(
    "call",
    [lambda x: np.tensordot(x, x, axes=3), lambda x: np.rot90(x, axes=(0, 0)), lambda x: np.rot90(x, axes=(0, -2)),
     lambda x: np.sum(x, axis=(0, 0)), lambda x: np.einsum("ii", x), lambda x: np.einsum("iij->j", x[None]),
     lambda x: np.einsum("ij,j", x), lambda x: np.einsum("ij,jk", x, x), lambda x: np.einsum("ijk", x),
     lambda x: np.split(x, 2, axis=1), lambda x: np.array_split(x, 0), lambda x: np.split(x, [2, 1]),
     lambda x: np.transpose(x, (0, 1, 2)), lambda x: np.transpose(x, (0, 0)), lambda x: np.reshape(x, (4, 2)),
     lambda x: np.moveaxis(x, (0, 1), 0), lambda x: np.cross(x, [1.0, 2.0]), lambda x: np.linalg.norm(x[None], "fro"),
     lambda x: mg.gelu(x, approximate="never"), lambda x: np.concatenate([]) if x is None else mg.unstack(x[0, 0])],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_errors(call: F, m: mg.Tensor) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        call(m)


# ---- numbers and lists -------------------------------------------------------------------------------------------

JOINS: dict[str, F] = {
    "append": np.append, "concatenate": lambda x, v: np.concatenate([x, [v]]),
    "hstack": lambda x, v: np.hstack([v, x]), "stack": lambda x, v: np.stack([x[0], v, x[1]]),
    "vstack": lambda x, v: np.vstack([[v, v, v], x]), "column_stack": lambda x, v: np.column_stack([x, [v, v, v]]),
    "dstack": lambda x, v: np.dstack([x, [v, v, v]]),
}  # fmt: skip


@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize("value", [2.5, 2, np.float64(2.5), np.int64(2)], ids=lambda v: type(v).__name__)
def test_numbers_join_tensors_without_changing_their_dtype(name: str, value: Any, backend: Any) -> None:
    x = backend.tensor([1.0, 2.0, 3.0], np.float32, requires_grad=True)
    y = JOINS[name](x, value)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(backend.numpy(y), JOINS[name](np.array([1.0, 2.0, 3.0], np.float32), value))
    y.sum().backward()
    assert set(backend.numpy(x.grad).tolist()) <= {0.0, 1.0}


def test_a_number_joins_in_the_precision_of_the_tensor() -> None:
    x = mg.tensor(np.zeros(1), requires_grad=True)
    assert np.append(x, 0.1).tolist() == [0.0, 0.1]
    assert np.add(x, [0.1]).tolist() == np.concatenate([[0.1], x]).tolist()[:1] == [0.1]
    assert (mg.ones(2) * [1, 2]).dtype == np.float32
    assert (mg.ones(2, np.float16) * [1.0, 2.0]).dtype == np.float16
    assert np.append(mg.tensor([1, 2]), 3).dtype == (mg.tensor([1, 2]) * [3, 4]).dtype == np.int64
    assert (mg.tensor([1, 2]) * [0.5, 1.5]).tolist() == [0.5, 3.0]


def test_rounding_and_cleaning_integers() -> None:
    n = mg.tensor([14, 15, 26])
    for y, expected in ((np.round(n), [14, 15, 26]), (np.round(n, -1), np.round([14, 15, 26], -1)),
                        (np.nan_to_num(n), [14, 15, 26])):  # fmt: skip
        assert (type(y), y.dtype) == (mg.Tensor, np.int64)
        np.testing.assert_array_equal(y.numpy(), expected)


# ---- indices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_indices_of_any_integer_type(dtype: Any, backend: Any) -> None:
    """More rows than the small types can count."""
    index = np.array([1, 100, 1, 0], dtype)
    for pick in (lambda x, i: x[i], lambda x, i: np.take(x, i, axis=0), lambda x, i: mg.embedding(x, i),
                 lambda x, i: x[i, 1], lambda x, i: x[:, 0][i]):  # fmt: skip
        x = backend.tensor(np.arange(600.0).reshape(300, 2), requires_grad=True)
        pick(x, backend.array(index)).sum().backward()
        g = backend.numpy(x.grad)
        assert (g[0].max(), g[1].max(), g[100].max()) == (1, 2, 1)
        assert g.sum() in (4, 8)


def test_tensors_as_indices_of_arrays_and_of_tensors() -> None:
    i, a = mg.tensor([2, 0]), np.array([1.0, 2.0, 3.0])
    x = mg.tensor(a, requires_grad=True)
    for picked in (np.take(a, i), np.take(x, i), x[i], x[i,], np.take_along_axis(a, i, 0), np.take_along_axis(x, i, 0)):
        np.testing.assert_array_equal(np.asarray(getattr(picked, "data", picked)), [3, 1])
    mask = mg.tensor([True, False, True])
    for picked in (x[mask], np.compress(mask, x), np.compress(mask, a), np.extract(mask, x)):
        np.testing.assert_array_equal(np.asarray(getattr(picked, "data", picked)), [1, 3])
    with pytest.raises(IndexError, match="integers or booleans, not float64"):
        x[mg.tensor(a)]
    with pytest.raises(IndexError, match="getitem: index 3 is out of bounds"):
        x[3]


# ---- dtypes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(np.float32, np.float64), (np.float16, np.float32), (np.float64, np.float16)])
@pytest.mark.parametrize(
    "f", [operator.matmul, lambda a, b: a @ b.T.T, lambda a, b: np.einsum("ij,jk", a, b), lambda a, b: a * b.T,
          lambda a, b: np.concatenate([a, b.T]), lambda a, b: np.where(True, a, b.T), np.dot, np.kron],
)  # fmt: skip
def test_gradients_of_mixed_dtypes_have_each_its_own(f: F, pair: Any) -> None:
    a = mg.tensor(np.full((2, 3), 0.5, pair[0]), requires_grad=True)
    b = mg.tensor(np.full((3, 2), 0.25, pair[1]), requires_grad=True)
    y = f(a, b)
    assert y.dtype == np.result_type(*pair)
    for create_graph in (False, True):
        (y.sum() * 2).backward(create_graph=create_graph, retain_graph=True)
        assert (a.grad.dtype, b.grad.dtype) == pair


def test_a_weight_shared_by_products_of_several_dtypes() -> None:
    w = mg.tensor(np.eye(2, dtype=np.float32), requires_grad=True)
    y = (mg.ones((3, 2)) @ w).sum() + (mg.ones((4, 2), np.float64) @ w).sum() + (w @ mg.ones((2, 1), np.float16)).sum()
    y.backward()
    assert w.grad.dtype == np.float32
    np.testing.assert_array_equal(w.grad.numpy(), 8)


def test_a_dtype_that_would_lose_the_gradient_is_refused(m: mg.Tensor) -> None:
    assert np.add(m, 1, dtype=np.float64).dtype == np.float64
    with pytest.raises(TypeError, match=r"np\.add with dtype= has no rule"):
        np.add(m, 1, dtype=np.int64)
    with pytest.raises(TypeError, match="linalg"):
        np.linalg.inv(mg.ones((1, 1), np.float16))


# ---- arguments that no rule knows --------------------------------------------------------------------------------

UNKNOWN: list[tuple[str, F]] = [
    ("np.copy with order=", lambda x: np.copy(x, order="F")),
    ("np.broadcast_to with subok=", lambda x: np.broadcast_to(x, (2, 3), True)),
    ("np.vecdot with keepdims=", lambda x: np.vecdot(x, x, keepdims=True)),
    ("np.add with casting=", lambda x: np.add(x, x, casting="safe")),
]


@pytest.mark.parametrize(("name", "call"), UNKNOWN, ids=[name for name, _ in UNKNOWN])
def test_arguments_without_a_rule_are_refused_only_where_a_gradient_would_be_lost(
    name: str, call: F, m: mg.Tensor
) -> None:
    with pytest.raises(TypeError, match=f"^{name} has no rule"):
        call(m)
    result = call(m.detach())
    np.testing.assert_array_equal(np.asarray(getattr(result, "data", result)), call(m.numpy()))


def test_an_error_inside_a_function_is_not_taken_for_an_unknown_argument(m: mg.Tensor) -> None:
    with pytest.raises(TypeError, match="pad: mode 'odd' has no rule"):
        np.pad(m, 1, mode="odd")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mg.primitive(lambda x: x, z=lambda g: g), "formula for 'z', but the operation's parameters"),
        (lambda: mg.primitive(lambda x: x, joint="q", x=lambda g: g), "joint='q' is not one of"),
        (lambda: mg.primitive(np.spacing, z=lambda g: g), r"spacing needs formulas for \('x',\), got \('z',\)"),
        (lambda: mg.primitive(np.nextafter, a=lambda g: g), r"nextafter needs formulas for \('a', 'b'\)"),
    ],
)
def test_formulas_for_operands_that_are_not_there(make: F, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_formulas_of_a_ufunc_go_by_name_and_not_by_order(m: mg.Tensor) -> None:
    ratio = mg.primitive(np.divide, b=lambda g, a, b: -g * a / (b * b), a=lambda g, b: g / b)
    x = mg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    mg.gradcheck(ratio, (x, (x + 3).detach().requires_grad_()))


# ---- two devices -------------------------------------------------------------------------------------------------

CROSSING: list[tuple[str, F]] = [
    ("less", operator.lt), ("equal", operator.eq), ("np.less", np.less), ("np.allclose", np.allclose),
    ("where", lambda a, b: np.where(a, a, b)), ("np.searchsorted", np.searchsorted), ("np.nextafter", np.nextafter),
    ("getitem", lambda a, b: a[(b > 0)]), ("less", lambda a, b: np.clip(a, b, None)), ("solve", np.linalg.solve),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call"), CROSSING, ids=[name for name, _ in CROSSING])
def test_plain_values_of_two_devices_are_refused_as_well(name: str, call: F) -> None:
    a, b = mg.tensor(np.eye(2)), mg.tensor(np.eye(2), device="strict")
    for first, second in ((a, b), (b, a), (b, b.to("strict:1"))):
        with pytest.raises(mg.DeviceError, match=f"^({name}): operands on different devices, .* and .*; move one"):
            call(first, second)


def test_transforms_take_vectors_where_the_arguments_are(backend: Any) -> None:
    x = backend.tensor([0.3, -0.4])
    for v in (backend.tensor([1.0, 2.0]), backend.array([1.0, 2.0])):
        _, along = mg.jvp(np.tanh, (x,), (v,))
        _, pull = mg.vjp(np.tanh, x)
        slope = 1 - np.tanh([0.3, -0.4]) ** 2
        np.testing.assert_allclose(backend.numpy(along), slope * [1, 2])
        np.testing.assert_allclose(backend.numpy(pull(v)[0]), slope * [1, 2])
        product = mg.hvp(lambda t: (t**3).sum(), x, v)
        np.testing.assert_allclose(backend.numpy(product), 6 * np.array([0.3, -0.4]) * [1, 2])


# ---- shared memory -----------------------------------------------------------------------------------------------


def test_dlpack_shares_memory_with_numpy_both_ways() -> None:
    a = np.arange(3.0)
    x = mg.from_dlpack(a)
    a[0] = 7
    assert (x.tolist(), x.dtype, x.device) == ([7, 1, 2], np.float64, "cpu")
    seen = np.from_dlpack(x)
    x[1] = 8
    assert seen.tolist() == [7, 8, 2]
    with pytest.raises(BufferError, match="requires grad"):
        np.from_dlpack(x.requires_grad_())


def test_dlpack_from_a_device_that_is_not_known() -> None:
    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            return (8, 0)

    with pytest.raises(mg.DeviceError, match="device type 8"):
        mg.from_dlpack(Elsewhere())


@pytest.mark.parametrize("function", [mg.zeros, mg.ones])
def test_shapes_of_zeros_and_ones_are_numpys_or_side_by_side(function: Any) -> None:
    for args, options in [((2, 3), {}), (((2, 3),), {}), (([2, 3], None), {}), ((), {"shape": (2, 3)}),
                          ((np.int64(2), 3), {})]:  # fmt: skip
        assert function(*args, **options).shape == (2, 3)
        assert function(*args, **options).dtype == np.float32
    for args, options in [((2, 3, np.int64), {}), (((2, 3), "i8"), {}), ((2, 3), {"dtype": int})]:
        assert function(*args, **options).shape == (2, 3)
        assert function(*args, **options).dtype == np.int64
    assert function(3, np.float64).shape == (3,)
    assert function(()).shape == ()
    for args in ((2, (3,)), ((2, 3), 4)):
        with pytest.raises(TypeError, match=f"{function.__name__}: a shape is one tuple, or integers side"):
            function(*args)
