"""Activation functions, softmax and its logarithm, erf: stable at the extremes, and without warnings."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..backend import is_array
from ..modes import current_mode
from ..vocabulary import composed, elementwise, operation
from .elementwise import chosen

Array = Any

# ---- sigmoids ----------------------------------------------------------------------------------------------------


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)). Where the exponential overflows, the result is 0, which is correct."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _silu(x: Array) -> Array:
    """x·σ(x) (Elfwing et al. 2018)."""
    return x * _sigmoid(x)


def _log1p_exp(x: Array) -> Array:
    """log(1 + exp(x))."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.absolute(x)))


sigmoid = elementwise(_sigmoid, lambda g, y: g * (y * (1 - y)), name="sigmoid")
_softplus = elementwise(_log1p_exp, lambda g, x: g * sigmoid(x), name="softplus")
silu = elementwise(_silu, lambda g, x: g * (sigmoid(x) * (1 + x * (1 - sigmoid(x)))), name="silu")


def gap(a: Any, b: Any) -> Any:
    """a − b, and −∞ where both are the same infinity: log 0 has no share in log 0 + log 0."""
    return np.where((a == b) & np.isinf(a), -np.inf, a - b)


logaddexp = elementwise(np.logaddexp, lambda g, a, b: g * sigmoid(gap(a, b)), lambda g, a, b: g * sigmoid(gap(b, a)))
logaddexp2 = elementwise(
    np.logaddexp2,
    lambda g, a, b: g * sigmoid(math.log(2) * gap(a, b)),
    lambda g, a, b: g * sigmoid(math.log(2) * gap(b, a)),
)


@composed()
def softplus(x: Any, beta: float = 1.0) -> Any:
    """log(1 + exp(βx)) / β."""
    return _softplus(x) if beta == 1.0 else _softplus(x * beta) / beta


@composed()
def hard_sigmoid(x: Any) -> Any:
    """min(max(x + 3, 0), 6) / 6."""
    return hard_tanh(x + 3, 0.0, 6.0) / 6


@operation(x=lambda g, x, min_val, max_val: chosen(g, (x > min_val) & (x < max_val)))
def hard_tanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """min(max(x, min_val), max_val). At the limits the gradient is 0, unlike that of np.clip; both as in PyTorch."""
    return np.minimum(np.maximum(x, min_val), max_val)


# ---- rectifiers --------------------------------------------------------------------------------------------------


def _relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


relu = elementwise(_relu, lambda g, y: chosen(g, y > 0), name="relu")


@operation(x=lambda g, x, negative_slope: np.where(x > 0, g, g * negative_slope))
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where it is positive, negative_slope·x elsewhere."""
    return np.where(x > 0, x, x * negative_slope)


@operation(x=lambda g, x, alpha: g * np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0.0))))
def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where it is positive, α(exp(x) − 1) elsewhere (Clevert et al. 2016)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


# ---- the error function ------------------------------------------------------------------------------------------
# W. J. Cody, Rational Chebyshev approximation for the error function, Mathematics of Computation 23, 1969.

_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
_FAR = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    """A quotient of two polynomials in x, highest power first (Horner)."""
    above, below = coefficients
    p, q = above[0], below[0]
    for a, b in zip(above[1:], below[1:], strict=True):
        p, q = p * x + a, q * x + b
    return p / q


def _erf(x: Array) -> Array:
    """(2 / √π) ∫₀ˣ exp(−t²) dt, to the rounding of float64."""
    if getattr(x, "dtype", None) == np.float16:  # float16 is too narrow for the coefficients
        return _erf(x.astype(np.float32)).astype(np.float16)
    size = np.absolute(x)
    near = np.minimum(size, 0.46875)
    far = np.minimum(np.maximum(size, 0.46875), 6.0)
    small = near * _ratio(_NEAR, near * near)
    large = 1 - np.exp(-far * far) * _ratio(_FAR, far)
    return np.copysign(np.where(size <= 0.46875, small, large), x)


erf = elementwise(_erf, lambda g, x: g * (2 / math.sqrt(math.pi) * np.exp(-x * x)), name="erf")


def _normal_cdf(x: Any) -> Any:
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))


_gelu = elementwise(
    lambda x: x * _normal_cdf(x),
    lambda g, x: g * (_normal_cdf(x) + x * np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))),
    name="gelu",
)


@composed()
def gelu(x: Any, approximate: str = "none") -> Any:
    """x·Φ(x), with Φ the normal distribution's cumulative function (Hendrycks & Gimpel 2016); or its "tanh"
    approximation.
    """
    if approximate == "none":
        return _gelu(x)
    if approximate != "tanh":
        raise ValueError(f"gelu: approximate is 'none' or 'tanh', not {approximate!r}")
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


# ---- softmax -----------------------------------------------------------------------------------------------------


def _largest(x: Array, axis: Any) -> Array:
    """The maximum; 0 where it is infinite (inf − inf would be NaN) or the axis is empty."""
    m = (np.max if x.size else np.sum)(x, axis=axis, keepdims=True)
    return np.where(np.isfinite(m), m, 0.0)


# A row of −inf alone, or with a +inf, has no softmax: the result is NaN, without a warning.


along_rows: dict[Any, Any] = {}  # functions of the rows of a matrix; `fusion` replaces them by fused ones


def _by_rows(function: Any) -> Any:
    """Let a function of arrays and an axis treat the last of several axes as the rows of a matrix."""
    along_rows[function] = function

    @functools.wraps(function)
    def run(*operands: Any) -> Any:
        *arrays, axis = operands
        shape = arrays[0].shape
        last = len(shape) > 1 and axis in (-1, len(shape) - 1) and 0 not in shape
        with np.errstate(divide="ignore", invalid="ignore"):
            if not (last and current_mode().fast and all(map(is_array, arrays))):
                return function(*arrays, axis)
            rows = [a.reshape((math.prod(shape[:-1]), shape[-1])) for a in arrays]
            return along_rows[function](*rows).reshape(shape)

    return run


@_by_rows
def _softmax(x: Array, axis: Any = -1) -> Array:
    e = np.exp(x - _largest(x, axis))
    return e / np.sum(e, axis=axis, keepdims=True)


@_by_rows
def softmax_gradient(g: Any, y: Any, axis: Any = -1) -> Any:
    return y * (g - np.sum(g * y, axis=axis, keepdims=True))


@_by_rows
def _log_softmax(x: Array, axis: Any = -1) -> Array:
    z = x - _largest(x, axis)
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


@_by_rows
def log_softmax_gradient(g: Any, y: Any, axis: Any = -1) -> Any:
    return g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)


@operation(x=softmax_gradient)
def softmax(x: Array, axis: Any = -1) -> Array:
    """exp(x) / Σ exp(x) along one axis (by default the last) or several."""
    return _softmax(x, axis)  # type: ignore[no-any-return]


@operation(x=log_softmax_gradient)
def log_softmax(x: Array, axis: Any = -1) -> Array:
    """x − log Σ exp(x) along one axis (by default the last) or several."""
    return _log_softmax(x, axis)  # type: ignore[no-any-return]


def _logsumexp_rule(g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    if axis is not None and not keepdims:
        g, y = np.expand_dims(g, axis), np.expand_dims(y, axis)
    y = np.where(y == -np.inf, 0.0, y)
    return g * np.where((x == np.inf) & (y == np.inf), 1.0, np.exp(x - y))


@operation(x=_logsumexp_rule)
def logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """log Σ exp(x) over all elements, or along one or several axes; −inf where all elements are."""
    m = _largest(x, axis)
    with np.errstate(divide="ignore"):
        y = np.log(np.sum(np.exp(x - m), axis=axis, keepdims=True)) + m
    return y if keepdims else np.squeeze(y, axis=axis)
