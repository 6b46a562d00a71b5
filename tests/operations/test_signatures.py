"""NumPy's functions have their own signatures for Tensors: the same arguments, order and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import dispatch

FIRST = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

# Refused by name: memory of one's own, subclasses and field names of arrays, and what ufuncs have besides.
WITHOUT = {"out", "like", "subok", "casting", "signature", "writeable"}
REFUSED = {
    "sort": {"order"}, "partition": {"order"}, "copy": {"order"}, "astype": {"copy", "device"},
    "vecdot": {"axes", "keepdims"}, "matvec": {"axes", "axis", "keepdims"}, "vecmat": {"axes", "axis", "keepdims"},
}  # fmt: skip
OF_UFUNCS = {"order", "dtype", "where"}


def signatures(function: Any, ours: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    try:
        theirs = inspect.signature(function).parameters
    except ValueError:  # an older NumPy keeps some to itself
        return None
    return dict(theirs), dict((getattr(ours, "__signature__", None) or inspect.signature(ours)).parameters)


@pytest.mark.parametrize("function", dispatch.FUNCTIONS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_arguments_are_numpys(function: Any) -> None:
    found = signatures(function, dispatch.FUNCTIONS[function])
    if found is None or function in (np.where, np.einsum, np.reshape):  # one condition alone; `newshape`
        return
    theirs, ours = found
    order = [p for p in theirs.values() if p.kind in FIRST]
    for mine, its in zip([p for p in ours.values() if p.kind in FIRST], order, strict=False):
        assert mine.name == its.name or its.kind is inspect.Parameter.POSITIONAL_ONLY
    for name, parameter in ours.items():
        if name in theirs and theirs[name].default is not np._NoValue:  # type: ignore[attr-defined]
            assert parameter.default == theirs[name].default, name
    missing = {n for n, p in theirs.items() if n not in ours and p.kind is inspect.Parameter.KEYWORD_ONLY}
    missing |= {p.name for p in order if p.kind is not inspect.Parameter.POSITIONAL_ONLY and p.name not in ours}
    allowed = WITHOUT | REFUSED.get(function.__name__, set())
    assert missing <= (allowed | OF_UFUNCS if isinstance(function, np.ufunc) else allowed)


X = np.array([[0.5, 2.0, -1.5], [1.0, 0.25, 3.0]])


@pytest.mark.parametrize("call", [
    lambda x: np.sum(x, 0, None, None, True), lambda x: np.var(x, 1, None, None, 1), lambda x: np.max(x, 1, None, True),
    lambda x: np.sum(x, where=True, out=None), lambda x: np.quantile(x, 0.3, 1, None, False, "hazen", True),
    lambda x: np.add(x, 1, where=True, casting="same_kind", order="K", subok=True), lambda x: np.sort(x, 0, order=None),
    lambda x: np.take(x, [1], 0, None, "wrap"), lambda x: np.concatenate([x, x], 1, None, casting="same_kind"),
    lambda x: np.copy(x, "K"), lambda x: np.vecdot(x, x, casting="same_kind"), lambda x: np.modf(x, where=True)[0],
])  # fmt: skip
def test_arguments_may_be_spelled_out(call: Callable[[Any], Any]) -> None:
    found = call(mg.Tensor(X, requires_grad=True))
    assert found.requires_grad
    np.testing.assert_allclose(found.numpy(), call(X), rtol=1e-15)


@pytest.mark.parametrize(("name", "call"), [
    ("np.copy with order=", lambda x: np.copy(x, "F")), ("np.vecdot with keepdims=",
                                                        lambda x: np.vecdot(x, x, keepdims=True)),
    ("np.sum", lambda x: np.sum(x, 0, None, np.zeros(3))), ("np.broadcast_to with subok=",
                                                            lambda x: np.broadcast_to(x, (2, 3), True)),
    ("np.einsum with dtype=", lambda x: np.einsum("ij->i", x, dtype=np.float32)),
])  # fmt: skip
def test_others_are_refused_by_name(name: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=f"^{name}"):
        call(mg.Tensor(X, requires_grad=True))


@pytest.mark.parametrize("function", dispatch.REFUSED, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_what_cannot_have_a_rule_says_why(function: Any) -> None:
    x = mg.Tensor(np.eye(2), requires_grad=True)
    reason = dispatch.REFUSED[function]
    with pytest.raises(TypeError) as caught:
        dispatch._without_rule("np.f", function, (x,), {}, function)
    assert str(caught.value) == f"np.f {reason}, or pass x.detach() if no gradient should flow"


REFUSALS: dict[str, Callable[[Any], Any]] = {
    "np.fft.rfft gives complex numbers": np.fft.rfft, "np.linalg.eig gives complex numbers": np.linalg.eig,
    "np.copyto writes into an array in place": lambda x: np.copyto(np.zeros((2, 2)), x),
    "np.histogram counts": np.histogram, "np.nextafter steps": lambda x: np.nextafter(x, 1.0),
    "np.bitwise_and computes with bits": lambda x: np.bitwise_and(x, 1),
    "np.roots gives complex numbers": lambda x: np.roots(x[0]),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals_reach_the_user(message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}.*detach"):
        REFUSALS[message](mg.Tensor(np.eye(2), requires_grad=True))


def test_transforms_of_constants_are_computed() -> None:
    x = mg.tensor([1.0, 2.0, 3.0])
    np.testing.assert_allclose(np.fft.rfft(x), np.fft.rfft([1.0, 2.0, 3.0]), rtol=1e-6)


METHODS: dict[str, Callable[[Any], Any]] = {
    "round": lambda x: x.round(1), "diagonal": lambda x: x.diagonal(1), "trace": lambda x: x.trace(),
    "compress": lambda x: x.compress([True, False], axis=0), "conj": lambda x: x.conj(), "real": lambda x: x.real,
    "imag": lambda x: x.imag, "conjugate": lambda x: x.conjugate(), "ravel": lambda x: x.ravel("F"),
    "flatten": lambda x: x.flatten("F"), "argsort": lambda x: x.argsort(axis=0), "nonzero": lambda x: x.nonzero()[0],
    "argpartition": lambda x: x.argpartition(0, axis=0), "searchsorted": lambda x: x[0].searchsorted([0.5, 9.0]),
    "divmod": lambda x: divmod(x, 0.5)[1], "sum": lambda x: x.sum(1, np.float64, None, True, 2.0, X > 0),
    "mean": lambda x: x.mean(1, np.float64, None, True, where=X > 0),
    "max": lambda x: x.max(1, None, True, -9.0, X < 1),
    "min": lambda x: x.min(1, None, True, 9.0, X > 1), "prod": lambda x: x.prod(0, None, None, False, 2.0, X > 0),
    "var": lambda x: x.var(1, None, None, 1, True, where=X > 0, mean=X.mean(1, keepdims=True)),
    "std": lambda x: x.std(1, None, None, 1, False, where=X > 0), "cumsum": lambda x: x.cumsum(1, np.float64, None),
    "cumprod": lambda x: x.cumprod(axis=0, dtype=None, out=None), "take": lambda x: x.take([7], 1, None, "wrap"),
    "clip": lambda x: x.clip(0, 1, None), "dot": lambda x: x.dot(b=X.T), "trace of": lambda x: x.trace(1, 0, 1, None),
    "argmax": lambda x: x.argmax(1, None, keepdims=True), "argsort by": lambda x: x.argsort(0, "stable", None),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_those_of_numpys_arrays(name: str) -> None:
    found = METHODS[name](mg.Tensor(X, requires_grad=True))
    assert isinstance(found, np.ndarray) == name.startswith(("arg", "nonzero", "search"))
    np.testing.assert_allclose(found.data if isinstance(found, mg.Tensor) else found, METHODS[name](X), rtol=1e-15)


def test_any_and_all_of_some() -> None:
    x = mg.Tensor(X, requires_grad=True)
    assert x.all(0, keepdims=True, where=X > 0).tolist() == X.all(0, keepdims=True, where=X > 0).tolist()
    assert x.any(1, where=X < 0).tolist() == X.any(1, where=X < 0).tolist()


def test_methods_refuse_what_their_functions_refuse() -> None:
    x = mg.Tensor(X, requires_grad=True)
    with pytest.raises(TypeError, match=r"^np.sum: writing the result into a plain array"):
        x.sum(0, out=np.zeros(3))
    with pytest.raises(TypeError, match="data type"):  # PyTorch's x.sum(0, True) for keepdims
        x.sum(0, True)
    out = np.zeros(3)
    x.detach().sum(axis=0, out=out)
    np.testing.assert_array_equal(out, X.sum(axis=0))


def test_an_integer_tensor_chooses() -> None:
    rows = mg.Tensor(X, requires_grad=True)
    np.testing.assert_array_equal(mg.tensor([0, 1, 0]).choose(rows).numpy(), np.choose([0, 1, 0], X))


BINARY = [u for u in dispatch.UFUNCS if isinstance(u, np.ufunc) and u.nin == 2 and u.nout == 1 and u.signature is None]
# Along the last axis, NumPy's reduce of power and arctan2 takes wrong operands; float_power has no float32.
OTHERS = {np.power, np.arctan2, np.float_power}
FULL: dict[str, dict[str, Any]] = {
    "reduce": {"axis": 0, "dtype": None, "out": None, "keepdims": False, "initial": np._NoValue, "where": True},  # type: ignore[attr-defined]
    "accumulate": {"axis": 0, "dtype": None, "out": None}, "reduceat": {"axis": 0, "dtype": None, "out": None},
}  # fmt: skip


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("ufunc", BINARY, ids=lambda f: f.__name__)
def test_defaults_of_methods_may_be_spelled_out(ufunc: Any, grad: bool) -> None:
    data = np.absolute(X)
    for method, options in FULL.items():
        first = [[0, 1]] if method == "reduceat" else []
        for given in [options, *({name: value} for name, value in options.items())]:
            found = getattr(ufunc, method)(mg.tensor(data, requires_grad=grad), *first, **given)
            assert found.requires_grad == grad
            np.testing.assert_allclose(found.numpy(), getattr(ufunc, method)(data, *first), rtol=1e-14)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("ufunc", [u for u in BINARY if u not in OTHERS], ids=lambda f: f.__name__)
def test_reductions_of_some_and_from_an_initial_value(ufunc: Any, grad: bool) -> None:
    data, some = np.absolute(X), X > 0
    x = mg.tensor(data, requires_grad=grad)
    for axis in (0, -1, None, (0, 1)):
        for options in ({"initial": 0.5}, {"initial": 0.5, "where": some}, {"dtype": np.float32, "keepdims": True}):
            try:
                expected = ufunc.reduce(data, axis=axis, **options)
            except ValueError:  # the order of the elements matters
                with pytest.raises(ValueError, match="one axis"):
                    ufunc.reduce(x, axis=axis, **options)
                continue
            found = ufunc.reduce(x, axis=axis, **options)
            assert found.requires_grad == grad
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_reductions_of_nothing_from_an_initial_value() -> None:
    x = mg.tensor(X[:0], requires_grad=True)
    for ufunc in (np.subtract, np.maximum, np.add, np.logaddexp):
        found = ufunc.reduce(x, initial=0.5)
        assert isinstance(found, mg.Tensor)
        np.testing.assert_array_equal(found.numpy(), ufunc.reduce(X[:0], initial=0.5))


def test_a_function_pads_constants_only() -> None:
    def ends(vector: Any, width: Any, axis: int, options: Any) -> None:
        vector[: width[0]] = vector[len(vector) - width[1] :] = 7

    np.testing.assert_array_equal(np.pad(mg.tensor(X), 1, ends).numpy(), np.pad(X, 1, ends))
    with pytest.raises(TypeError, match="function as mode"):
        np.pad(mg.tensor(X, requires_grad=True), 1, ends)
