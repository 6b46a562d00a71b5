"""NumPy's functions, operators and scalars with a Tensor among the operands; new tensors; users' rules."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import dispatch


@pytest.fixture
def x() -> mg.Tensor:
    return mg.tensor(np.array([0.5, 1.5, 2.5]), requires_grad=True)


# ---- functions without a rule ------------------------------------------------------------------------------------

WITHOUT_RULE: list[tuple[str, Callable[[Any], Any]]] = [
    ("np.spacing", np.spacing), ("np.add with casting=", lambda x: np.add(x, 1, where=True, casting="unsafe")),
    ("np.copy with order=", lambda x: np.copy(x, "F")),
    ("np.full_like", lambda x: np.full_like(x, x[1:2])), ("np.full_like", lambda x: np.full_like(x, fill_value=x[0])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call"), WITHOUT_RULE)
def test_functions_without_a_rule_are_refused_only_where_a_gradient_would_be_lost(
    name: str, call: Callable[[Any], Any], x: mg.Tensor
) -> None:
    with mg.scope("decoder"), pytest.raises(TypeError, match=rf"^{name} has no rule.*decoder"):
        call(x)
    expected = call(x.numpy())
    with mg.no_grad():
        unrecorded = call(x)
    for result in (unrecorded, call(x.detach())):
        for ours, theirs in zip(*[r if isinstance(r, tuple) else (r,) for r in (result, expected)], strict=True):
            assert not isinstance(ours, mg.Tensor) or not ours.requires_grad
            np.testing.assert_array_equal(ours, theirs)


# ---- out=, in place, methods of ufuncs ---------------------------------------------------------------------------

WRITING: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, out: np.add(x, 1, out=out), "sum": lambda x, out: np.sum(x, axis=0, keepdims=True, out=out),
    "spacing": lambda x, out: np.spacing(x, out=out), "maximum": lambda x, out: np.maximum.accumulate(x, out=out),
}  # fmt: skip


@pytest.mark.parametrize("call", WRITING.values(), ids=WRITING)
def test_out_is_refused_where_it_loses_a_gradient_or_writes_into_a_tensor(call: Any, x: mg.Tensor) -> None:
    with pytest.raises(TypeError, match="would lose the gradient"):
        call(x, np.zeros(3))
    with pytest.raises(TypeError, match="out= cannot be a Tensor"):
        call(x.detach(), mg.zeros(3))


def test_a_plain_array_collects_constants(x: mg.Tensor) -> None:
    array = np.ones(3)
    with pytest.raises(TypeError, match=r"array = array \+ tensor"):
        array += x
    np.testing.assert_array_equal(array, np.ones(3))
    array += x.detach()
    np.testing.assert_array_equal(array, [1.5, 2.5, 3.5])
    out = np.zeros(3)
    assert np.multiply(x.detach(), 2, out=out) is out
    np.testing.assert_array_equal(out, [1, 3, 5])


METHODS: list[tuple[Callable[[Any], Any], list[float]]] = [
    (np.add.reduce, [1, 1, 1]), (np.multiply.reduce, [3.75, 1.25, 0.75]), (np.maximum.reduce, [0, 0, 1]),
    (np.minimum.reduce, [1, 0, 0]), (np.add.accumulate, [3, 2, 1]), (np.multiply.accumulate, [6.25, 1.75, 0.75]),
    (lambda x: np.multiply.outer(x, [1.0, 2.0]), [3, 3, 3]),
    (lambda x: np.subtract.outer(np.ones((2, 2)), x), [-4, -4, -4]),
]  # fmt: skip


@pytest.mark.parametrize(("call", "gradient"), METHODS)
def test_methods_of_ufuncs(call: Callable[[Any], Any], gradient: list[float], x: mg.Tensor) -> None:
    for a in (x, mg.tensor(np.arange(6.0).reshape(2, 3))):
        y, expected = call(a), call(a.numpy())
        assert y.shape == expected.shape
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-15)
    call(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-15)


def test_at_is_refused(x: mg.Tensor) -> None:
    for target, value in ((np.zeros(3), x), (x, 1.0)):
        with pytest.raises(TypeError, match=r"np.add.at writes in place"):
            np.add.at(target, [0, 1, 1], value)


# ---- plain values ------------------------------------------------------------------------------------------------

QUERIES: list[Callable[[Any], Any]] = [
    np.shape, np.ndim, np.size, np.result_type, np.zeros_like, np.ones_like, np.argmax, np.argmin, np.argsort,
    np.argwhere, np.nonzero, np.count_nonzero, np.any, np.all, np.isposinf,
    lambda x: np.allclose(x, x), lambda x: np.array_equal(x, [0.5, 1.5, 2.5]), lambda x: np.searchsorted(x, 1.0),
    lambda x: np.equal(x, 1.5), lambda x: np.less(1.0, x), np.isnan, np.isfinite, np.signbit,
    np.logical_not, lambda x: np.logical_and(x, x > 1), lambda x: x > 1, lambda x: x <= np.array([1.0, 1.5, 0.0]),
    lambda x: x == 1.5, lambda x: x != x, lambda x: x.argmax(), lambda x: x.any(), lambda x: np.array([1.0, 2, 3]) < x,
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_queries_and_comparisons_give_plain_values(query: Callable[[Any], Any], x: mg.Tensor) -> None:
    found, expected = query(x), query(x.numpy())
    assert type(found) is type(expected)
    np.testing.assert_array_equal(found, expected)


def test_asarray_is_refused_where_it_loses_a_gradient(x: mg.Tensor) -> None:
    for call in (np.asarray, np.array, lambda t: np.zeros(3).__setitem__(slice(None), t)):
        with pytest.raises(TypeError, match="not turned into a NumPy array silently"):
            call(x)
    view = np.asarray(x.detach())
    assert np.shares_memory(view, x.data)
    assert not view.flags.writeable
    np.array(x.detach())[0] = 9
    assert x.data[0] == 0.5


# ---- operators ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "matmul"])
def test_operators_with_arrays_and_lists_on_either_side_give_tensors(name: str, x: mg.Tensor) -> None:
    compute = getattr(operator, name)
    array = np.array([3.0, 2.0, 4.0])
    for other in (array, array.tolist(), tuple(array.tolist()), mg.tensor(array)):
        for left, right in ((x, other), (other, x)):
            y = compute(left, right)
            assert y.requires_grad
            plain = [v.numpy() if isinstance(v, mg.Tensor) else np.asarray(v) for v in (left, right)]
            np.testing.assert_array_equal(y.numpy(), compute(*plain))


SCALARS = [2, 0.5, True, np.sqrt(64), np.float32(3), np.float16(3), np.int64(3), np.int8(3), np.bool_(True)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: f"{type(s).__name__}")
def test_scalars_never_change_the_dtype(dtype: type, scalar: Any) -> None:
    for shape in ((), (3,)):
        t = mg.tensor(np.full(shape, 1.5, dtype), requires_grad=True)
        for compute in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, np.maximum, np.hypot):
            for y in (compute(t, scalar), compute(scalar, t)):
                assert (type(y), y.dtype) == (mg.Tensor, dtype)


BESIDE: dict[str, Callable[[mg.Tensor, Any], mg.Tensor]] = {
    "where": lambda t, s: np.where(t > 0, t, s), "clip": lambda t, s: np.clip(t, None, s), "elu": mg.elu,
    "leaky_relu": mg.leaky_relu, "hard_tanh": lambda t, s: mg.hard_tanh(t, -s, s), "kron": np.kron,
    "nan_to_num": lambda t, s: np.nan_to_num(t, nan=s),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_scalars_as_parameters_do_not_change_the_dtype_either(name: str) -> None:
    assert BESIDE[name](mg.ones(3, requires_grad=True), np.sqrt(64)).dtype == np.float32


def test_integer_tensors_compute_without_gradients() -> None:
    n = mg.tensor([1, 2, 3])
    assert [t.dtype for t in (n, n + 1, n / 2)] == [np.int64, np.int64, np.float64]
    assert not (n * n).requires_grad
    assert [10, 20, 30, 40][mg.tensor(2)] == 30
    weight = mg.tensor(np.arange(8.0).reshape(4, 2), requires_grad=True)
    weight[n].sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy(), [[0, 0], [1, 1], [1, 1], [1, 1]])
    with pytest.raises(TypeError, match="only tensors of floats"):
        n.requires_grad_()


MIXED: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("add", operator.add), ("matmul", operator.matmul), ("maximum", np.maximum),
    ("stack", lambda a, b: np.stack([a, b])),
    ("concatenate", lambda a, b: np.concatenate([a, b])),
    ("einsum", lambda a, b: np.einsum("i,i", a, b)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call"), MIXED, ids=[n for n, _ in MIXED])
def test_mixed_devices_name_both_and_the_operation(name: str, call: Callable[[Any, Any], Any]) -> None:
    here, there = mg.ones(2, requires_grad=True), mg.ones(2, device="strict:1")
    for a, b in ((here, there), (there, here)):
        with pytest.raises(mg.DeviceError, match=f"^{name}: operands on different devices") as caught:
            call(a, b)
        assert {"cpu", "strict:1"} <= set(re.findall(r"[a-z]+(?::\d)?", str(caught.value)))
    assert call(here, there.to("cpu")).device == "cpu"


# ---- making tensors ----------------------------------------------------------------------------------------------

CREATED: dict[str, Callable[..., mg.Tensor]] = {
    "tensor": lambda **k: mg.tensor([[1.0, 2.0]], **k), "zeros": lambda **k: mg.zeros((2, 3), **k),
    "ones": lambda **k: mg.ones(3, **k), "full": lambda **k: mg.full((2,), 0.5, **k),
    "arange": lambda **k: mg.arange(0.0, 1.0, 0.25, **k), "eye": lambda **k: mg.eye(2, 3, **k),
    "rand": lambda **k: mg.rand(2, 3, **k), "randn": lambda **k: mg.randn(2, 3, **k),
}  # fmt: skip


@pytest.mark.parametrize("name", CREATED)
def test_creation(name: str) -> None:
    make = CREATED[name]
    plain = make()
    assert (plain.dtype, plain.device, plain.requires_grad) == (np.float32, "cpu", False)
    there = make(dtype=np.float64, device="strict:1", requires_grad=True)
    assert (there.dtype, there.device, there.requires_grad) == (np.float64, "strict:1", True)
    assert there.shape == plain.shape
    try:
        mg.set_default_dtype(np.float64)
        assert make().dtype == np.float64
    finally:
        mg.set_default_dtype(np.float32)
    if name not in ("rand", "randn"):
        np.testing.assert_array_equal(make(device="strict:1").numpy(), plain.numpy())


@pytest.mark.parametrize("name", ["zeros", "ones", "full", "rand", "randn"])
def test_creation_like_another(name: str) -> None:
    make, fill = getattr(mg, f"{name}_like"), (0.5,) if name == "full" else ()
    source = mg.ones((2, 3), np.float16, device="strict:1", requires_grad=True)
    same = make(source, *fill)
    assert (same.shape, same.dtype, same.device, same.requires_grad) == ((2, 3), np.float16, "strict:1", False)
    other = make(source, *fill, dtype=np.float64, device="cpu", requires_grad=True)
    assert (other.dtype, other.device, other.requires_grad) == (np.float64, "cpu", True)


def test_dtypes_of_what_is_given() -> None:
    made = [mg.ones(2) + np.ones(2), mg.tensor([1, 2]), mg.tensor([True]), mg.arange(3), mg.full(2, 3), mg.full(2, 0.5)]
    assert [t.dtype for t in made] == [np.float64, np.int64, np.bool_, np.int64, np.int64, np.float32]
    assert ((mg.ones(2) * [1.0, 2.0]).dtype, mg.tensor(np.ones(2)).dtype) == (np.float32, np.float64)
    assert not np.shares_memory(mg.tensor(view := np.ones(2)).data, view)
    with pytest.raises(TypeError, match="default dtype must be a float"):
        mg.set_default_dtype(np.int32)
    with pytest.raises(mg.DeviceError, match="no device 'nowhere'"):
        mg.zeros(2, device="nowhere")


def test_random_numbers_are_reproducible() -> None:
    def draw() -> list[Any]:
        return [mg.randn(3).tolist(), mg.rand(2, device="strict:1").tolist()]

    mg.manual_seed(7)
    first, second = draw(), draw()
    assert first != second
    mg.manual_seed(7)
    assert draw() == first
    state = json.loads(json.dumps(mg.get_random_state()))
    following = mg.randn(4).tolist()
    mg.set_random_state(state)
    assert mg.randn(4).tolist() == following
    with pytest.raises(ValueError, match="manual_seed"):
        mg.manual_seed(-1)


# ---- rules of one's own, and their check -------------------------------------------------------------------------


@pytest.fixture
def tables() -> Iterator[None]:
    """The tables of rules are afterwards as they were."""
    kept = [(table, dict(table)) for table in (dispatch.UFUNCS, dispatch.FUNCTIONS)]
    yield
    for table, before in kept:
        table.clear()
        table.update(before)


def cubed(factor: float, second: float = 1.0) -> Any:
    """x³ with a rule that is right if `factor` is 1, and differentiable rightly if `second` is."""
    inner = mg.primitive(lambda x: 3 * x * x, x=lambda g, x: g * (6 * second * x))
    return mg.primitive(lambda x: x**3, x=lambda g, x: g * inner(x) * factor)


def test_a_rule_of_ones_own(x: mg.Tensor) -> None:
    @mg.primitive(a=lambda g, b, scale: g * b * scale, b=lambda g, a, scale: g * a * scale)
    def scaled(a: Any, b: Any, scale: float = 2.0) -> Any:
        return a * b * scale

    b = mg.tensor(np.array([[1.0], [2.0]]), requires_grad=True)
    assert mg.gradcheck(scaled, (x, b))
    assert mg.gradgradcheck(lambda x, b: scaled(x, b, scale=3.0), (x, b))
    np.testing.assert_array_equal(scaled(np.ones(3), 2.0), np.full(3, 4.0))
    total = mg.primitive(lambda parts: sum(parts), joint="parts", parts=lambda g, parts: [g for _ in parts])
    assert mg.gradcheck(lambda a, b: total((a, b * 2, a)), (x, b))


@pytest.mark.usefixtures("tables")
def test_a_rule_for_a_function_and_a_ufunc_of_numpy(x: mg.Tensor) -> None:
    with pytest.raises(TypeError, match=r"np.spacing has no rule"):
        np.spacing(x)
    mg.primitive(np.spacing, numpy=np.spacing, x=lambda g: 0 * g)
    assert np.spacing(x).requires_grad
    mg.primitive(lambda x, q: np.percentile(x, q), numpy=np.percentile, x=lambda g, x: g * (x == np.median(x)))
    assert mg.gradcheck(lambda t: np.percentile(t, 50), x)
    with pytest.raises(TypeError, match="pass spacing itself"):
        mg.primitive(lambda x: x, numpy=np.spacing, x=lambda g: g)


FORMULAS: list[tuple[dict[str, Any], str]] = [
    ({}, "give a formula"), ({"x": lambda g, z: g}, r"formula for 'x' asks for \['z'\]"),
    ({"x": lambda x: x}, "must be g"), ({"x": lambda: 1}, "must be g"),
]  # fmt: skip


@pytest.mark.parametrize(("formulas", "message"), FORMULAS)
def test_wrong_formulas_are_refused_at_once(formulas: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        mg.primitive(lambda x: x, **formulas)


def test_gradcheck_sees_an_error_of_a_twentieth_of_a_percent(x: mg.Tensor) -> None:
    wrong = mg.primitive(lambda x: x**3, x=lambda g, x: g * 3 * x * x * np.array([1.0, 1.0005, 1.0]))
    with pytest.raises(mg.GradcheckError, match=r"^gradcheck: input 1, index \(1,\), value 1.5:") as e:
        mg.gradcheck(lambda a, b: a + wrong(b), (x, x.detach().requires_grad_()))
    ours, differences = map(float, re.findall(r"(?:gradient is|give) ([-\d.e]+\d)", str(e.value)))
    assert ours / differences == pytest.approx(1.0005, rel=1e-6)


def test_gradcheck_tells_kinks_from_wrong_rules() -> None:
    for f, at in ((np.abs, 0.0), (mg.relu, 0.0), (lambda t: np.maximum(t, 2.0), 2.0)):
        t = mg.tensor(np.array([1.0, at, -1.0]), requires_grad=True)
        with pytest.raises(mg.GradcheckError, match=r"index \(1,\).*kink"):
            mg.gradcheck(f, t)


def test_gradcheck_refuses_what_it_cannot_check(x: mg.Tensor) -> None:
    with pytest.raises(ValueError, match="input 1 is float32"):
        mg.gradcheck(operator.add, (x, mg.ones(3, requires_grad=True)))
    with pytest.raises(ValueError, match="no input requires grad"):
        mg.gradcheck(np.tanh, x.detach())
    with pytest.raises(mg.GradcheckError, match="no output depends"):
        mg.gradcheck(lambda t: t.detach(), x)


def test_gradgradcheck_sees_a_wrong_second_derivative(x: mg.Tensor) -> None:
    wrong = cubed(1.0, second=1.0005)
    assert mg.gradcheck(wrong, x)
    assert mg.gradgradcheck(cubed(1.0), x)
    with pytest.raises(mg.GradcheckError, match=r"input 0, index \(0,\)"):
        mg.gradgradcheck(wrong, x)
