"""At the extremes: huge, infinite and missing numbers, zeros, ties. Nothing here may warn: warnings are errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

INF, NAN = np.inf, np.nan
F = Callable[..., Any]
dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def pulled(f: F, *inputs: Any, dtype: Any = np.float64) -> tuple[Any, ...]:
    """The value of f, and the gradient of its sum by each input."""
    tensors = [mg.tensor(np.array(x, dtype), requires_grad=True) for x in inputs]
    y = f(*tensors)
    y.sum().backward()
    assert y.dtype == dtype
    return (y.numpy(), *[t.grad.numpy() for t in tensors])


# ---- huge and infinite -------------------------------------------------------------------------------------------

SATURATED: list[tuple[str, F, list[float], list[float], list[float]]] = [
    # inputs, values, gradients
    ("sigmoid", mg.sigmoid, [-1e4, 1e4, -INF, INF], [0, 1, 0, 1], [0, 0, 0, 0]),
    ("softplus", mg.softplus, [-1e4, 1e4, -INF, INF], [0, 1e4, 0, INF], [0, 1, 0, 1]),
    ("softplus_beta", lambda x: mg.softplus(x, 2.0), [-1e4, 1e4], [0, 1e4], [0, 1]),
    ("silu", mg.silu, [-1e4, 1e4], [0, 1e4], [0, 1]),
    ("gelu", mg.gelu, [-100, 100], [0, 100], [0, 1]),
    ("gelu_tanh", lambda x: mg.gelu(x, "tanh"), [-30, 30], [0, 30], [0, 1]),
    ("elu", mg.elu, [-1e4, 1e4, -INF], [-1, 1e4, -1], [0, 1, 0]),
    ("relu", mg.relu, [-INF, INF], [0, INF], [0, 1]),
    ("tanh", np.tanh, [-1e4, 1e4, INF], [-1, 1, 1], [0, 0, 0]),
    ("erf", mg.erf, [-100, 100, -INF, INF], [-1, 1, -1, 1], [0, 0, 0, 0]),
    ("hard_tanh", mg.hard_tanh, [-1e4, 1e4, -INF, INF], [-1, 1, -1, 1], [0, 0, 0, 0]),
    ("hard_sigmoid", mg.hard_sigmoid, [-1e4, 1e4], [0, 1], [0, 0]),
    ("softmax", mg.softmax, [1e4, -1e4, -INF], [1, 0, 0], [0, 0, 0]),
    ("log_softmax", mg.log_softmax, [1e4, -1e4, -INF], [0, -2e4, -INF], [-2, 1, 1]),
    ("logsumexp", mg.logsumexp, [1e4, 1e4 - 32, -INF], 1e4, [1, 0, 0]),  # type: ignore[list-item]
    ("logsumexp_of_nothing", mg.logsumexp, [-INF, -INF], -INF, [0, 0]),  # type: ignore[list-item]
]


@pytest.mark.parametrize("row", SATURATED, ids=[name for name, *_ in SATURATED])
@dtypes
def test_huge_and_infinite_numbers(row: Any, dtype: Any) -> None:
    _, f, x, value, gradient = row
    y, g = pulled(f, x, dtype=dtype)
    np.testing.assert_allclose(y, np.array(value, dtype), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(g, gradient, rtol=1e-3 if dtype == np.float16 else 1e-6, atol=1e-12)


@floats
def test_the_logarithm_of_a_sum_of_two(dtype: Any) -> None:
    a, b = [1e4, -1e4, -INF, -INF, 0], [-1e4, -1e4, -INF, 0, 0]
    y, ga, gb = pulled(np.logaddexp, a, b, dtype=dtype)
    np.testing.assert_allclose(y, [1e4, -1e4 + math.log(2), -INF, 0, math.log(2)], rtol=1e-6)
    np.testing.assert_allclose(ga, [1, 0.5, 0, 0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(gb, [0, 0.5, 0, 1, 0.5], rtol=1e-6)


@pytest.mark.parametrize("f", [mg.softmax, mg.log_softmax])
@floats
def test_a_row_without_a_softmax_is_nan_and_spoils_no_other(f: F, dtype: Any) -> None:
    y, g = pulled(lambda x: f(x) * mg.tensor([1.0, 2.0], dtype), [[-INF, -INF], [0, 1], [INF, 0]], dtype=dtype)
    alone, g_alone = pulled(lambda x: f(x) * mg.tensor([1.0, 2.0], dtype), [[0, 1]], dtype=dtype)
    assert np.isnan(y[0]).all()
    assert np.isnan(y[2]).any()
    np.testing.assert_array_equal(y[1], alone[0])
    np.testing.assert_array_equal(g[1], g_alone[0])


def test_masked_elements_take_no_part() -> None:
    """−inf, as attention masks with it."""
    weights = np.array([3.0, -1.0, 2.0])
    _, masked = pulled(lambda x: mg.softmax(x) * weights, [0.3, -INF, 0.7])
    _, short = pulled(lambda x: mg.softmax(x) * weights[[0, 2]], [0.3, 0.7])
    np.testing.assert_allclose(masked, [short[0], 0, short[1]])
    _, masked = pulled(lambda x: mg.logsumexp(x, axis=0), [0.3, -INF, 0.7])
    np.testing.assert_allclose(masked[[0, 2]], mg.softmax(np.array([0.3, 0.7])))


def test_small_numbers_keep_their_digits() -> None:
    x = np.array([-30.0, -200.0, -700.0])
    np.testing.assert_allclose(mg.sigmoid(x), np.exp(x), rtol=1e-12)
    np.testing.assert_allclose(mg.softplus(x), np.exp(x), rtol=1e-12)
    np.testing.assert_allclose(mg.silu(x), x * np.exp(x), rtol=1e-12)
    np.testing.assert_allclose(mg.elu(np.array([-1e-12])), [-1e-12], rtol=1e-11)
    for f, x0 in ((np.expm1, 1e-12), (np.log1p, 1e-12), (mg.erf, 1e-12), (np.sinc, 1e-9)):
        mg.gradcheck(f, mg.tensor(np.array([x0, -x0]), requires_grad=True))


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 5e-16), (np.float32, 3e-7), (np.float16, 1e-3)])
def test_erf_to_the_last_digits(dtype: Any, rtol: float) -> None:
    x = np.linspace(-7, 7, 20_001).astype(dtype)
    exact = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(mg.erf(x), exact, rtol=rtol)


# ---- zeros -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e4])
@pytest.mark.parametrize("n", [1, 3, 7, 100])
@floats
def test_std_of_a_constant_has_no_slope(value: float, n: int, dtype: Any) -> None:
    y, g = pulled(lambda x: np.std(x, axis=-1), np.full((2, n), value), dtype=dtype)
    np.testing.assert_allclose(y, 0, atol=1e-7 * max(value, 1.0))
    np.testing.assert_allclose(g, 0, atol=1e-6)
    _, g = pulled(lambda x: np.var(x, axis=-1), np.full((2, n), value), dtype=dtype)
    np.testing.assert_allclose(g, 0, atol=1e-6 * max(value, 1.0))


@pytest.mark.parametrize("order", [None, 1, 2, 3, 1.5, INF])
@floats
def test_norms_at_zero(order: Any, dtype: Any) -> None:
    rows = [[0, 0, 0], [3, 0, -4]]
    y, g = pulled(lambda x: np.linalg.norm(x, order, axis=-1), rows, dtype=dtype)
    np.testing.assert_array_equal(g[0], 0)
    expected, slope = pulled(lambda x: np.linalg.norm(x, order), rows[1], dtype=dtype)
    assert y[0] == 0
    np.testing.assert_allclose(y[1], expected)
    np.testing.assert_allclose(g[1], slope)
    assert np.isfinite(slope).all()
    assert np.abs(slope).sum() > 0
    _, g = pulled(lambda x: np.linalg.norm(x), np.zeros((2, 2)), dtype=dtype)
    np.testing.assert_array_equal(g, 0)


def test_norms_of_any_order_neither_overflow_nor_vanish() -> None:
    for scale in (1e-30, 1e30):
        y, g = pulled(lambda x: np.linalg.norm(x, 3), np.array([1.0, 2.0]) * scale, dtype=np.float32)
        np.testing.assert_allclose(y, 9 ** (1 / 3) * scale, rtol=1e-6)
        np.testing.assert_allclose(g, np.array([1, 4]) / 9 ** (2 / 3), rtol=1e-6)


def test_where_directions_meet() -> None:
    for f in (np.hypot, np.arctan2):
        _, ga, gb = pulled(f, [0.0], [0.0])
        assert (ga[0], gb[0]) == (0, 0)


def test_powers_at_zero() -> None:
    for exponent, slope in ((0, 0), (1, 1), (2, 0), (3, 0)):
        _, g = pulled(lambda x, n=exponent: x**n, [0.0, 0.0])
        np.testing.assert_array_equal(g, slope)
    y, ga, gb = pulled(np.power, [0.0, 0.0], [2.0, 0.0])
    np.testing.assert_array_equal(y, [0, 1])
    np.testing.assert_array_equal(ga, 0)
    np.testing.assert_array_equal(gb, 0)
    _, g = pulled(lambda b: 0.0**b, [2.0, 0.0])
    np.testing.assert_array_equal(g, 0)


ZEROS = np.array([[1.5, -2.0, 0.5], [0.0, 2.0, -3.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("rows", [ZEROS, ZEROS[:1], ZEROS[1:3], ZEROS[:, ::-1]], ids=len)
@pytest.mark.parametrize(
    "f",
    [np.prod, lambda x: np.prod(x, axis=1), lambda x: np.prod(x, axis=(0, 1), keepdims=True),
     lambda x: np.cumprod(x, axis=1), lambda x: np.cumprod(x, axis=0), np.cumprod],
    ids=["all", "rows", "axes", "running_rows", "running_columns", "running_all"],
)  # fmt: skip
def test_products_with_zeros(f: F, rows: Any) -> None:
    """Products are polynomials: they have all derivatives everywhere."""
    x = mg.tensor(rows, requires_grad=True)
    mg.gradcheck(f, x)
    mg.gradgradcheck(f, x)


def test_determinants_of_singular_matrices() -> None:
    for rank_one in ([[1.0, 2.0], [2.0, 4.0]], np.outer([1.0, 2.0, 3.0], [1.0, 0.0, -1.0]), np.zeros((2, 2))):
        mg.gradcheck(np.linalg.det, mg.tensor(np.array(rank_one), requires_grad=True))
    mg.gradcheck(np.linalg.det, mg.tensor(np.diag([1.0, 0.0, 2.0]), requires_grad=True))


def test_half_precision_does_not_overflow_on_the_way() -> None:
    y, g = pulled(np.mean, np.full(100, 6e4), dtype=np.float16)
    np.testing.assert_allclose(y, 6e4, rtol=1e-3)
    np.testing.assert_allclose(g, 0.01, rtol=1e-3)


def test_a_quotient_that_rounds_up_is_not_whole() -> None:
    """1.0 / 0.1 is 10.0, but only nine tenths fit into 1.0, since 0.1 is a little more than a tenth."""
    for f in (np.remainder, np.fmod):
        y, _, g = pulled(f, [1.0, 0.6], [0.1, 0.2])
        np.testing.assert_allclose(y, [0.1, 0.2])
        np.testing.assert_array_equal(g, [-9, -2])
    np.testing.assert_array_equal(pulled(np.remainder, [-7.0, 7.0], [3.0, -3.0])[2], [3, 3])
    np.testing.assert_array_equal(pulled(np.fmod, [-7.0, 7.0], [3.0, -3.0])[2], [2, 2])


# ---- ties --------------------------------------------------------------------------------------------------------

TIES: list[tuple[str, F, Any, Any]] = [
    # input, gradient of the sum
    ("max", np.max, [1, 3, 3, 2], [0, 0.5, 0.5, 0]),
    ("min", lambda x: np.min(x, axis=0), [[1, 2], [1, 5], [1, 2]], [[1 / 3, 0.5], [1 / 3, 0], [1 / 3, 0.5]]),
    ("max_keepdims", lambda x: np.max(x, axis=(0, 1), keepdims=True), [[2, 2], [2, 2]], [[0.25] * 2] * 2),
    ("ptp", np.ptp, [1, 1, 4], [-0.5, -0.5, 1]),
    ("norm_inf", lambda x: np.linalg.norm(x, INF), [2, -2, 1], [0.5, -0.5, 0]),
    ("maximum", lambda x: np.maximum(x, 1.0), [0, 1, 2], [0, 0.5, 1]),
    ("minimum", lambda x: np.minimum(1.0, x), [0, 1, 2], [1, 0.5, 0]),
    ("maximum_of_itself", lambda x: np.maximum(x, x), [0, 1], [1, 1]),
    ("fmax", lambda x: np.fmax(x, 1.0), [0, 1, 2], [0, 1, 1]),
    ("fmin", lambda x: np.fmin(x, 1.0), [0, 1, 2], [1, 1, 0]),
    ("fmax_right", lambda x: np.fmax(1.0, x), [0, 1, 2], [0, 0, 1]),
    ("clip", lambda x: np.clip(x, 0.0, 1.0), [-1, 0, 0.5, 1, 2], [0, 1, 1, 1, 0]),
    ("hard_tanh", mg.hard_tanh, [-2, -1, 0, 1, 2], [0, 0, 1, 0, 0]),
    ("hard_sigmoid", lambda x: 6 * mg.hard_sigmoid(x), [-4, -3, 0, 3, 4], [0, 0, 1, 0, 0]),
    ("heaviside", lambda x: np.heaviside(np.array([-1, 0, 1]), x), [5, 6, 7], [0, 1, 0]),
    ("absolute", np.abs, [-1, 0, 1], [-1, 0, 1]),
    ("relu", mg.relu, [-1, 0, 1], [0, 0, 1]),
    ("leaky_relu", mg.leaky_relu, [-1, 0, 1], [0.01, 0.01, 1]),
    ("elu", mg.elu, [0, 1], [1, 1]),
    ("sort", lambda x: np.sort(x) * np.array([1.0, 2.0, 4.0]), [2, 2, 1], [2, 4, 1]),
    ("median", np.median, [2, 1, 1, 5], [0.5, 0, 0.5, 0]),
    ("norm_1", lambda x: np.linalg.norm(x, 1), [0, -2], [0, -1]),
]


@pytest.mark.parametrize("row", TIES, ids=[name for name, *_ in TIES])
@dtypes
def test_ties_and_kinks(row: Any, dtype: Any) -> None:
    _, f, x, gradient = row
    np.testing.assert_allclose(pulled(f, x, dtype=np.float64)[1], gradient)
    given = mg.tensor(np.array(x, dtype), requires_grad=True)
    f(given).sum().backward()
    assert given.grad.dtype == dtype
    np.testing.assert_allclose(given.grad.numpy(), gradient, rtol=1e-3)


# ---- missing numbers ---------------------------------------------------------------------------------------------

SPREADING = [
    np.exp, np.tanh, np.sin, np.sqrt, np.log1p, np.square, np.abs, np.sign, np.floor, np.sinc, np.cumsum, np.cumprod,
    mg.sigmoid, mg.softplus, mg.silu, mg.relu, mg.leaky_relu, mg.elu, mg.gelu, mg.erf, mg.hard_tanh, mg.hard_sigmoid,
    lambda x: np.clip(x, 0, 1), lambda x: np.maximum(x, 0.0), lambda x: np.minimum(0.0, x), lambda x: x**2,
]  # fmt: skip


@pytest.mark.parametrize("f", SPREADING)
def test_nan_in_nan_out(f: F) -> None:
    y, g = pulled(f, [0.25, NAN])
    np.testing.assert_array_equal(np.isnan(y), [False, True])
    if f is not np.cumprod:  # where the last result depends on the first number, too
        np.testing.assert_allclose(g[0], pulled(f, [0.25, 0.5])[1][0] if f is not np.cumsum else 2)


@pytest.mark.parametrize("f", [np.sum, np.mean, np.max, np.min, np.prod, np.std, np.median, mg.logsumexp, np.ptp])
def test_nan_in_a_reduction(f: F) -> None:
    y, g = pulled(lambda x: f(x, axis=1), [[0.5, NAN, 2.0], [0.5, 1.0, 2.0]])
    np.testing.assert_array_equal(np.isnan(y), [True, False])
    assert np.isfinite(g[1]).all()


def test_who_gets_the_gradient_beside_nan() -> None:
    x = [3.0, NAN, 1.0]
    np.testing.assert_array_equal(pulled(np.max, x)[1], [0, 1, 0])
    np.testing.assert_array_equal(pulled(np.median, x)[1], [0, 1, 0])
    np.testing.assert_array_equal(pulled(lambda t: np.sort(t) * np.array([1.0, 2.0, 3.0]), x)[1], [2, 3, 1])
    np.testing.assert_array_equal(pulled(lambda t: np.fmax(t, 2.0), x)[1], [1, 0, 0])
    np.testing.assert_array_equal(pulled(lambda t: np.fmin(2.0, t), x)[1], [0, 0, 1])
    np.testing.assert_array_equal(pulled(np.nansum, x)[1], [1, 0, 1])
    np.testing.assert_array_equal(pulled(np.nanmean, x)[1], [0.5, 0, 0.5])
    y, g = pulled(lambda t: np.nan_to_num(t, nan=7.0, posinf=8.0, neginf=9.0), [1.0, NAN, INF, -INF])
    np.testing.assert_array_equal(y, [1, 7, 8, 9])
    np.testing.assert_array_equal(g, [1, 0, 0, 0])
    y, _ = pulled(np.nan_to_num, [INF, -INF], dtype=np.float32)
    np.testing.assert_array_equal(y, np.nan_to_num(np.array([INF, -INF], np.float32)))
