"""Arguments that are rare, against NumPy, and the gradients beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

A, B = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
INTEGERS = np.array([[3, -2], [2**53 + 1, 0]])


@pytest.mark.parametrize("function", {
    "einsum by numbers": lambda x: np.einsum(x(A), [30, 1], x(B), [1, 2]),
    "einsum, more numbers": lambda x: np.einsum(x(A), [40, 3], x(B), [3, 29]),
    "average along axes": lambda x: np.average(x(A.reshape(3, 2, 1)), axis=(1, 0), weights=A.reshape(2, 3)),
    "take_along_axis": lambda x: np.take_along_axis(x(A.T), np.array([[1], [0]]), 0),
    "take_along_axis, spread": lambda x: np.take_along_axis(x(A[:1]), np.array([[0, 2], [1, 1]]), 1),
    "clip below": lambda x: np.clip(x(INTEGERS), 0, None),
    "clip above": lambda x: np.clip(x(INTEGERS), None, 1),
    "clip": lambda x: np.clip(x(INTEGERS), -1, 1),
    "nansum": lambda x: np.nansum(x(INTEGERS), axis=0),
    "round": lambda x: np.round(x(np.array(3))),
}.items(), ids=lambda item: item[0])  # fmt: skip
def test_as_numpy(function: tuple[str, Callable[[Any], Any]]) -> None:
    found, expected = function[1](mg.tensor), function[1](lambda a: a)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: np.average(mg.tensor(A), weights=np.ones(3)), "need an axis"),
    (lambda: np.average(mg.tensor(A), axis=0, weights=np.ones(3)), "along the axes"),
    (lambda: np.diff(mg.tensor(A), n=-1), "must not be negative"),
    (lambda: np.take_along_axis(mg.tensor(A), np.array([1]), 0), r"indices of shape \(1,\)"),
    (lambda: mg.rand(3, dtype=int), "random numbers are floats"),
    (lambda: mg.randn(3, dtype=bool), "random numbers are floats"),
])  # fmt: skip
def test_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize(("subscripts", "shapes"), [
    ("ij,jk->ik", ((2, 3), (1, 4))), ("ij,jk->ik", ((2, 1), (3, 4))), ("...ac,...c->...a", ((2, 3), (1,))),
    ("ij,ij->", ((1, 3), (2, 1))),
])  # fmt: skip
def test_einsum_spreads_labels_of_size_one(subscripts: str, shapes: Any, rng: Any) -> None:
    operands = [mg.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    assert mg.gradcheck(lambda a, b: np.einsum(subscripts, a, b), operands)


@pytest.mark.parametrize(("values", "gradient"), [
    ([1.0, 2.0, np.inf], [0.0, 0.0, 1.0]), ([-np.inf, 0.0], [0.0, 1.0]), ([-np.inf, -np.inf], [0.0, 0.0]),
    ([1.0, np.nan], [np.nan, np.nan]),
])  # fmt: skip
def test_logsumexp_of_infinities(values: list[float], gradient: list[float]) -> None:
    x = mg.tensor(np.array(values), requires_grad=True)
    mg.logsumexp(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), gradient)


def test_indices_may_be_filled_anew_before_backward() -> None:
    for look_up in (lambda w, ids: mg.embedding(w, ids), lambda w, ids: w[ids], lambda w, ids: w[ids, :]):
        weight, ids = mg.ones((3, 2), requires_grad=True), np.array([1, 2])
        y = look_up(weight, ids)
        ids[:] = 0
        y.sum().backward()
        assert weight.grad.tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]


# ---- numbers without axes, and axes without numbers --------------------------------------------------------------

REDUCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name) for name in ("sum", "prod", "max", "min", "ptp", "nansum", "cumsum", "cumprod")
}
REDUCTIONS |= {
    "add.reduce": np.add.reduce,
    "maximum.reduce": np.maximum.reduce,
    "take": lambda x, axis: np.take(x, 0, axis=axis),
    "repeat": lambda x, axis: np.repeat(x, 3, axis=axis),
    "sum, keepdims": lambda x, axis: np.sum(x, axis=axis, keepdims=True),
}


@pytest.mark.parametrize("axis", [0, -1, None])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_number_is_reduced_over_its_first_or_last_axis(name: str, axis: int | None) -> None:
    function = REDUCTIONS[name]
    x = mg.tensor(np.array(2.0), requires_grad=True)
    y = function(x, axis=axis)
    np.testing.assert_array_equal(y.numpy(), function(np.array(2.0), axis=axis))
    y.sum().backward()
    assert x.grad.numpy() == {"ptp": 0.0, "repeat": 3.0}.get(name, 1.0)
    assert np.isfinite(mg.hessian(lambda x: (function(x, axis=axis) ** 2).sum())(x.detach()).numpy())
    with pytest.raises(np.exceptions.AxisError):
        function(x, axis=1)


@pytest.mark.parametrize("function", {
    "norm": lambda x: np.linalg.norm(x),
    "norm, infinite": lambda x: np.linalg.norm(x, np.inf),
    "norm, 3": lambda x: np.linalg.norm(x, 3),
    "norm, 0.5": lambda x: np.linalg.norm(x, 0.5),
    "norm, 0": lambda x: np.linalg.norm(x, 0),
    "norm, -1": lambda x: np.linalg.norm(x, -1),
    "norm along an axis": lambda x: np.linalg.norm(x.reshape(3, 0), np.inf, axis=1),
    "norm of rows": lambda x: np.linalg.norm(x.reshape(0, 3), np.inf),
    "norm of columns": lambda x: np.linalg.norm(x.reshape(3, 0), 1),
    "median": lambda x: np.median(x),
    "median of rows": lambda x: np.median(x.reshape(3, 0), axis=1, keepdims=True),
}.items(), ids=lambda item: item[0])  # fmt: skip
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value", "ignore:divide by zero")
def test_of_no_numbers(function: tuple[str, Callable[[Any], Any]]) -> None:
    x = mg.zeros(0, dtype=np.float64, requires_grad=True)
    y = function[1](x)
    np.testing.assert_array_equal(y.numpy(), function[1](np.zeros(0)))
    y.sum().backward()
    assert x.grad.shape == (0,)


# ---- NaN among limits --------------------------------------------------------------------------------------------

NANS = np.array([1.0, np.nan, -2.0, np.inf, -np.inf, 0.0, 3.0])
LIMITS = np.array([np.nan, 1.0, 5.0, np.nan, -1.0, -0.5, -4.0])
LIMITED: dict[str, Callable[..., Any]] = {
    "clip below": lambda x, v: np.clip(x, v, None),
    "clip above": lambda x, v: np.clip(x, None, v),
    "clip": lambda x, v: np.clip(x, v - 1, v),
    "clip by a number": lambda x, v: np.clip(x, float("nan"), 2.0),
    "clip by a scalar": lambda x, v: np.clip(x, None, np.float64("nan")),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "fmax": np.fmax,
    "fmin": np.fmin,
}


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("how", ["plain", "fused", "compiled", "tensors"])
def test_a_nan_among_limits_is_kept_as_by_numpy(name: str, how: str) -> None:
    function = LIMITED[name]
    expected = function(NANS, LIMITS)
    run = {"fused": mg.fuse(function), "compiled": mg.compile(lambda x, v: function(x, v).detach())}.get(how, function)
    for _ in range(3):
        x = mg.tensor(NANS, requires_grad=how != "compiled")
        y = run(x, mg.tensor(LIMITS) if how == "tensors" else LIMITS)
        np.testing.assert_array_equal(y.numpy(), expected)
        if y.requires_grad and "clip" in name:
            y.sum().backward()
            assert not x.grad.numpy()[np.isnan(expected) & ~np.isnan(NANS)].any()


def test_a_nan_in_a_list_of_limits_is_kept_as_by_numpy() -> None:
    for low, high in ((LIMITS.tolist(), None), (None, tuple(LIMITS)), (LIMITS.tolist(), [2.0])):
        x = mg.tensor(NANS, requires_grad=True)
        np.testing.assert_array_equal(np.clip(x, low, high).numpy(), np.clip(NANS, low, high))


# ---- joins with a dtype ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("join", [np.concatenate, np.stack, np.vstack, np.hstack])
def test_joins_take_a_dtype(join: Callable[..., Any]) -> None:
    x = mg.ones((2, 3), requires_grad=True)
    assert join([x, x], dtype=None, casting="same_kind").dtype == np.float32
    y = join([x, np.ones((2, 3), int)], dtype=np.float64)
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32
    with pytest.raises(TypeError, match="cannot cast"):
        join([x, x], dtype=np.float16, casting="safe")


def test_where_of_one_tensor_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"np\.where without 'a'"):
        np.where(mg.ones(3, requires_grad=True))
    assert np.where(mg.ones(3))[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("x", [1e300, -1e200, 1e-300, 0.0])
def test_sinc_at_extremes(x: float) -> None:
    point = mg.tensor(np.array(x))
    assert abs(mg.grad(np.sinc)(point).item()) < 1e-100
    np.testing.assert_allclose(np.sinc(point).item(), np.sinc(x))


@pytest.mark.parametrize("order", [None, 1, 2, 3, 0.5, 0, -1, -2, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_norms_of_infinities_and_nan_are_numpys(order: Any) -> None:
    for row in ([2.0, 2.0, -np.inf], [np.inf, np.inf, 1.0], [np.inf, 0.0, 0.0], [1.0, np.nan, 3.0], [0.0, 0.0, 0.0]):
        found = np.linalg.norm(mg.tensor(np.array(row), requires_grad=True), order)
        np.testing.assert_allclose(found.item(), np.linalg.norm(row, order), rtol=1e-12)


@pytest.mark.parametrize(("order", "expected"), [(3, 2 ** (1 / 3) * 1e200), (-2, 1.0), (-0.5, 1.0)])
def test_norms_of_large_numbers(order: float, expected: float) -> None:
    x = mg.tensor(np.array([1e200, -1e200, 1.0]), requires_grad=True)
    y = np.linalg.norm(x, order)
    np.testing.assert_allclose(y.item(), expected, rtol=1e-12)
    y.backward()
    assert np.isfinite(x.grad.numpy()).all()


# ---- orders of memory, ties, NaN ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F", "A", "K"])
def test_orders_of_memory(order: str) -> None:
    for array in (A, A.T, A[:, ::-1], np.asfortranarray(A), np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0)):
        x = mg.Tensor(array, requires_grad=True)
        np.testing.assert_array_equal(np.ravel(x, order).numpy(), np.ravel(array, order))  # type: ignore[call-overload]
        (np.ravel(x, order) * np.arange(array.size)).sum().backward()  # type: ignore[call-overload]
        at = np.ravel(np.arange(array.size).reshape(array.shape), "C")
        places = np.empty_like(array)  # of each element in the row, in the memory's order of the array itself
        places[...] = x.grad.numpy()
        np.testing.assert_array_equal(np.sort(places, axis=None), at)
        if order != "K":
            y = np.reshape(x, (array.size // 2, 2), order=order)  # type: ignore[call-overload]
            np.testing.assert_array_equal(y.numpy(), np.reshape(array, (array.size // 2, 2), order=order))


TIES: dict[str, tuple[Callable[[Any], Any], list[float], list[float]]] = {
    "maximum.accumulate": (np.maximum.accumulate, [1.0, 3.0, 3.0, 2.0], [1.0, 1.0, 2.0, 0.0]),
    "minimum.accumulate": (np.minimum.accumulate, [1.0, 3.0, 1.0, 2.0], [2.0, 0.0, 2.0, 0.0]),
    "accumulate past NaN": (lambda x: np.maximum.accumulate(x)[:2], [1.0, 3.0, np.nan, 2.0], [1.0, 1.0, 0.0, 0.0]),
    "nanmax": (np.nanmax, [3.0, 1.0, np.nan, 3.0], [0.5, 0.0, 0.0, 0.5]),
    "median": (np.median, [3.0, 1.0, 3.0, 3.0], [0.5, 0.0, 0.5, 0.0]),
    "quantile": (lambda x: np.quantile(x, 0.4), [2.0, 2.0, 2.0, 5.0], [0.0, 0.8, 0.2, 0.0]),
    "unique": (np.unique, [2.0, 1.0, 2.0, 1.0], [1.0, 1.0, 0.0, 0.0]),
    "std": (lambda x: np.std(x, where=np.array([True, True, False, False])), [2.0, 2.0, 1.0, 3.0], [0.0] * 4),
    "nanstd": (np.nanstd, [2.0, np.nan, 2.0, 2.0], [0.0] * 4),
    "interp": (lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 4.0]), [0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", TIES)
def test_ties(name: str) -> None:
    function, values, gradient = TIES[name]
    x = mg.tensor(np.array(values), requires_grad=True)
    function(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-12)


WITH_NAN: dict[str, Callable[[Any], Any]] = {
    "quantile": lambda x: np.quantile(x, [0.2, 0.9], axis=1), "nanquantile": lambda x: np.nanquantile(x, 0.4, axis=1),
    "nanmedian": lambda x: np.nanmedian(x, axis=1), "nanmax": lambda x: np.nanmax(x, axis=1),
    "nanvar": lambda x: np.nanvar(x, axis=1, ddof=2), "nanmean": lambda x: np.nanmean(x, axis=1),
    "maximum.accumulate": lambda x: np.maximum.accumulate(x, axis=1), "nansum": lambda x: np.nansum(x, axis=1),
    "percentile": lambda x: np.percentile(x, 30, axis=1, method="nearest"), "sort": np.sort, "unique": np.unique,
    "frexp": lambda x: np.frexp(x)[0], "modf": lambda x: np.modf(x)[0],
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_NAN)
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:All-NaN", "ignore:Degrees", "ignore:Mean of empty")
def test_nan_is_numpys(name: str) -> None:
    values = np.array([[1.0, np.nan, 3.0], [4.0, 2.0, 2.0], [np.nan] * 3])
    np.testing.assert_array_equal(WITH_NAN[name](mg.tensor(values, requires_grad=True)).numpy(), WITH_NAN[name](values))


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: np.quantile(x, 1.5), "quantile: q must be between 0 and 1, got 1.5"),
    (lambda x: np.percentile(x, [5, 105]), "percentile: q must be between 0 and 100"),
    (lambda x: np.quantile(x[:0], 0.5), r"quantile: there are no elements along axis None of shape \(0, 3\)"),
    (lambda x: np.max(x, where=A > 1), "max: with where=, an initial= value"),
    (lambda x: np.gradient(x, 1.0, 2.0, 3.0), "gradient: 3 spacings for 2 axes"),
    (lambda x: np.gradient(x[:1]), "gradient: axis 0 of shape .* needs 2"),
    (lambda x: np.convolve(x, x), r"convolve: operands of shapes \(2, 3\)"),
    (lambda x: np.interp(x, [0.0, 1.0], [0.0]), "interp: points of shapes"),
    (lambda x: np.select([A > 1], [x, x]), "select: 1 conditions for 2 choices"),
    (lambda x: np.choose([0, 3, 1], [x[0], x[1]]), "choose: index 3"),
    (lambda x: np.piecewise(x, [A > 1], [1, 2, 3]), "piecewise: 3 functions for 1 conditions"),
    (lambda x: np.linalg.multi_dot([x, x]), "multi_dot: shapes"),
    (lambda x: np.linalg.matrix_power(x, 2), "matrix_power: .*square"),
    (lambda x: np.linalg.tensorinv(x, 1), "tensorinv: the first 1 axes"),
    (lambda x: np.linalg.norm(x, "sum"), "norm: there is no matrix norm of order 'sum'"),
    (lambda x: np.linalg.qr(x.T, "complete"), "qr: mode='complete' has no rule .*reduced"),
    (lambda x: np.linalg.qr(x, "raw"), "qr: modes"),
    (lambda x: np.matvec(x, [1.0, 2.0]), r"matvec: operands of shapes \(2, 3\) and \(2,\)"),
    (lambda x: np.add.reduceat(x, [0, 2]), "add.reduceat: indices"),
    (lambda x: np.subtract.reduce(x[:0]), "subtract: axis 0 of shape .* no element"),
    (lambda x: np.block([[x], x]), "block: lists are nested"),
    (lambda x: np.meshgrid(x, indexing="yx"), "meshgrid: indexing"),
    (lambda x: np.cumulative_sum(x), "cumulative_sum: .* needs an axis"),
    (lambda x: np.cov(x, fweights=[1, 2]), "cov: fweights of shape"),
    (lambda x: np.poly(x), "poly: a matrix needs np.linalg.eigvals"),
    (lambda x: np.quantile(x, 0.3, weights=x, method="inverted_cdf"), "quantile: .* gradient of weights"),
    (lambda x: np.lib.stride_tricks.sliding_window_view(x, 4, axis=1), "sliding_window_view: no window of 4 fits"),
])  # fmt: skip
def test_mistakes_name_the_operation_and_the_shapes(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError, IndexError, np.linalg.LinAlgError), match=message):
        call(mg.tensor(A, requires_grad=True))


def test_products_are_done_in_the_order_of_least_work() -> None:
    a, b, c, d = (mg.ones(s, requires_grad=True) for s in [(2, 30), (30, 1), (1, 20), (20, 5)])
    with mg.profile() as profile:
        assert np.linalg.multi_dot([a, b, c, d]).shape == (2, 5)
    assert [event.bytes for event in profile.events] == [8, 20, 40]  # (2, 1), (1, 5), (2, 5) in float32


RECORDED: dict[str, Callable[[Any], Any]] = {
    "cumprod": lambda x: np.cumprod(x, axis=1), "interp": lambda x: np.interp(x, [-3.0, 0.0, 3.0], [1.0, 2.0, 0.0]),
    "quantile": lambda x: np.quantile(x, 0.3, axis=1), "maximum.accumulate": np.maximum.accumulate,
    "reduceat": lambda x: np.add.reduceat(x, [0, 2], axis=1),
    "lstsq": lambda x: np.linalg.lstsq(x.T, np.arange(4.0))[0],
    "svd": lambda x: np.linalg.svd(x, full_matrices=False)[0] ** 2, "pad": lambda x: np.pad(x, 1, "mean"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_computes_anew(name: str, rng: Any) -> None:
    gradient = mg.grad(lambda x: (RECORDED[name](x) ** 2).sum())
    replayed = mg.compile(gradient)
    for _ in range(3):
        x = mg.tensor(rng.standard_normal((3, 4)))
        np.testing.assert_allclose(replayed(x).numpy(), gradient(x).numpy(), rtol=1e-10)


@pytest.mark.parametrize("x", [1e-300, 1e-20, -1e-9, 1e-4, -2.0])
def test_the_derivative_of_i0_is_exact_beside_zero(x: float) -> None:
    """I₁(x) = Σ (x/2)^(2k + 1) / (k! (k + 1)!)."""
    a = mg.tensor(np.array([x]), requires_grad=True)
    np.i0(a).sum().backward()
    series = sum((x / 2) ** (2 * k + 1) / (math.factorial(k) * math.factorial(k + 1)) for k in range(25))
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.numpy(), [series], rtol=1e-13)


def test_the_derivative_of_i0_at_infinity() -> None:
    a = mg.tensor(np.array([np.inf, -np.inf, 0.0]), requires_grad=True)
    with np.errstate(invalid="ignore"):  # NumPy's i0
        np.i0(a).sum().backward()
    assert a.grad is not None
    np.testing.assert_array_equal(a.grad.numpy(), [np.inf, -np.inf, 0.0])


def test_a_geometric_progression_over_the_whole_range() -> None:
    for start, stop in ((1e-320, 1e300), (-1e300, -1e-320)):
        found = np.geomspace(mg.tensor(start, dtype=np.float64), stop, 4)
        np.testing.assert_allclose(found.numpy(), np.geomspace(start, stop, 4), rtol=1e-3)  # 1e-320 has three digits


def test_condition_numbers_that_are_infinite() -> None:
    for order in (None, 2, -2):
        assert np.linalg.cond(mg.zeros((2, 2)), order).item() == np.inf
    wrong = mg.tensor(np.array([[1.0, 2.0], [np.inf, 1.0]]))
    with np.errstate(invalid="ignore"):
        assert np.linalg.cond(wrong, 1).item() == np.linalg.cond(wrong.numpy(), 1) == np.inf
        assert np.isnan(np.linalg.cond(mg.tensor([[1.0, 2.0], [np.nan, 1.0]]), 1).item())


def test_the_median_of_numbers_beside_infinity() -> None:
    a = np.array([[1.0, np.inf, 2.0, np.inf], [np.nan, -np.inf, 3.0, 1.0], [np.inf, np.inf, -np.inf, -np.inf]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.nanmedian(mg.tensor(a), axis=1).numpy(), np.nanmedian(a, axis=1))


AS_NUMPY: dict[str, Callable[[Any], Any]] = {  # of whole numbers, or of nothing
    "polyval of rows": lambda x: np.polyval(x, 2.0), "polyfit": lambda x: np.polyfit(np.arange(3), x.T, 1),
    "polyfit at": lambda x: np.polyfit(x[0], np.arange(3), 1, w=[1, 2, 1]),
    "polyval of rows beside": lambda x: np.polyval(x, np.ones((4, 3))),
    **{f"norm {o}": lambda x, o=o: np.linalg.norm(x[0], o) for o in (None, 0, 1, 2, 3, -1, np.inf, -np.inf)},
    **{f"matrix norm {o}": lambda x, o=o: np.linalg.norm(x, o) for o in (None, "nuc", 1, -1, 2, -2, np.inf, -np.inf)},
    "vector norm": lambda x: np.linalg.vector_norm(x, ord=1), "nanmedian of nothing": lambda x: np.nanmedian(x[:, :0]),
    "nanmedian of no rows": lambda x: np.nanmedian(x[:0], axis=0, keepdims=True),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", AS_NUMPY)
def test_whole_numbers_and_nothing_as_in_numpy(name: str) -> None:
    data = np.array([[1, 2, 3], [2, 0, 5]])
    found, expected = AS_NUMPY[name](mg.tensor(data)), AS_NUMPY[name](data)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("weights", ["aweights", "fweights"])
def test_weights_of_a_covariance_are_not_negative(weights: str) -> None:
    with pytest.raises(ValueError, match=f"cov: {weights} must not be negative"):
        np.cov(mg.ones((2, 3)), **{weights: [1, -1, 1]})  # type: ignore[arg-type]


@pytest.mark.parametrize("q", [0.3, 1, [0.3], (0, 1), np.float64(0.3), np.float32(0.3), np.array(0.3), np.array([0.3])],
                         ids=repr)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_of_quantiles(q: Any, dtype: Any) -> None:
    x = np.arange(5, dtype=dtype)
    for function in (np.quantile, np.nanquantile, np.percentile):
        for method in ("linear", "lower"):
            assert function(mg.tensor(x), q, method=method).dtype == function(x, q, method=method).dtype
