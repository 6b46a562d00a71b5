"""Element-wise ufuncs, each with the formula of its gradient. Tied inputs share the gradient, as in PyTorch."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

import numpy as np

from ..tensors import Tensor
from ..vocabulary import composed, elementwise, operation

Array = Any


def zeros(g: Any) -> Array:
    """The gradient of a function that is constant almost everywhere."""
    return np.zeros_like(g)


def divided(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0: the subgradient of a norm at zero."""
    nothing = b == 0
    return np.where(nothing, 0.0, a / np.where(nothing, 1.0, b))


# ---- arithmetic --------------------------------------------------------------------------------------------------

add = elementwise(np.add, lambda g: g, lambda g: g)
subtract = elementwise(np.subtract, lambda g: g, lambda g: -g)
multiply = elementwise(np.multiply, lambda g, b: g * b, lambda g, a: g * a)
divide = elementwise(np.divide, lambda g, b: g / b, lambda g, y, b: -g * y / b)
negative = elementwise(np.negative, lambda g: -g)
positive = elementwise(np.positive, lambda g: g)
reciprocal = elementwise(np.reciprocal, lambda g, y: -g * y * y)
square = elementwise(np.square, lambda g, x: g * (2 * x))
sqrt = elementwise(np.sqrt, lambda g, y: g / (2 * y))
cbrt = elementwise(np.cbrt, lambda g, y: g / (3 * y * y))


def power_base(g: Any, a: Any, b: Any) -> Any:
    """b·a^(b−1), and 0 where b is 0, for any a; the derivative of this by b is 1/a there, where that is finite."""
    if isinstance(b, Real):
        return zeros(g) if b == 0 else g * (b * a ** (b - 1))
    nothing = (b == 0) & ~(np.absolute(1.0 / a) < math.inf)
    return g * np.where(nothing, 0.0, b * a ** np.where(nothing, 1.0, b - 1))


def power_exponent(g: Any, y: Any, a: Any, b: Any) -> Any:
    """a^b·log a, and 0 where a is 0 and b is not negative."""
    nothing = (a == 0) & (b >= 0)
    return g * np.where(nothing, 0.0, y * np.log(np.where(nothing, 1.0, a)))


power = elementwise(operator.pow, power_base, power_exponent, name="power")
power_ufunc = elementwise(np.power, power_base, power_exponent, name="power")
float_power = elementwise(np.float_power, power_base, power_exponent)

# the exact integer quotient: a / b itself may round up to the next integer
remainder = elementwise(np.remainder, lambda g: g, lambda g, a, b: -g * np.floor_divide(a, b))
fmod = elementwise(np.fmod, lambda g: g, lambda g, y, a, b: -g * np.rint((a - y) / b))
floor_divide = elementwise(np.floor_divide, zeros, zeros)

# ---- exponentials and logarithms ---------------------------------------------------------------------------------

exp = elementwise(np.exp, lambda g, y: g * y)
exp2 = elementwise(np.exp2, lambda g, y: g * (y * math.log(2)))
expm1 = elementwise(np.expm1, lambda g, y: g * (y + 1))
log = elementwise(np.log, lambda g, x: g / x)
log2 = elementwise(np.log2, lambda g, x: g / (x * math.log(2)))
log10 = elementwise(np.log10, lambda g, x: g / (x * math.log(10)))
log1p = elementwise(np.log1p, lambda g, x: g / (x + 1))

# ---- trigonometric and hyperbolic functions ----------------------------------------------------------------------

sin = elementwise(np.sin, lambda g, x: g * np.cos(x))
cos = elementwise(np.cos, lambda g, x: -g * np.sin(x))
tan = elementwise(np.tan, lambda g, y: g * (1 + y * y))
arcsin = elementwise(np.arcsin, lambda g, x: g / np.sqrt(1 - x * x))
arccos = elementwise(np.arccos, lambda g, x: -g / np.sqrt(1 - x * x))
arctan = elementwise(np.arctan, lambda g, x: g / (1 + x * x))
arctan2 = elementwise(
    np.arctan2, lambda g, a, b: g * divided(b, a * a + b * b), lambda g, a, b: -g * divided(a, a * a + b * b)
)
sinh = elementwise(np.sinh, lambda g, x: g * np.cosh(x))
cosh = elementwise(np.cosh, lambda g, x: g * np.sinh(x))
tanh = elementwise(np.tanh, lambda g, y: g * (1 - y * y))
arcsinh = elementwise(np.arcsinh, lambda g, x: g / np.sqrt(x * x + 1))
arccosh = elementwise(np.arccosh, lambda g, x: g / np.sqrt(x * x - 1))
arctanh = elementwise(np.arctanh, lambda g, x: g / (1 - x * x))
deg2rad = elementwise(np.deg2rad, lambda g: g * (math.pi / 180))
rad2deg = elementwise(np.rad2deg, lambda g: g * (180 / math.pi))
radians = elementwise(np.radians, lambda g: g * (math.pi / 180))
degrees = elementwise(np.degrees, lambda g: g * (180 / math.pi))
hypot = elementwise(np.hypot, lambda g, y, a: g * divided(a, y), lambda g, y, b: g * divided(b, y))

# ---- magnitude, order, rounding ----------------------------------------------------------------------------------


def share(g: Any, mine: Any, other: Any, wins: Array) -> Any:
    """All of g where `mine` wins, half of it at a tie; a NaN gets the gradient of the NaN it causes."""
    return g * np.where(mine == other, 0.5, np.where(wins | (mine != mine), 1.0, 0.0)).astype(g.dtype)


def chosen(g: Any, wins: Array) -> Any:
    return np.where(wins, g, 0.0)


absolute = elementwise(np.absolute, lambda g, x: g * np.sign(x))
fabs = elementwise(np.fabs, lambda g, x: g * np.sign(x))
maximum = elementwise(np.maximum, lambda g, a, b: share(g, a, b, a > b), lambda g, a, b: share(g, b, a, b > a))
minimum = elementwise(np.minimum, lambda g, a, b: share(g, a, b, a < b), lambda g, a, b: share(g, b, a, b < a))
fmax = elementwise(
    np.fmax, lambda g, a, b: chosen(g, (a >= b) | (b != b)), lambda g, a, b: chosen(g, ~((a >= b) | (b != b)))
)
fmin = elementwise(
    np.fmin, lambda g, a, b: chosen(g, (a <= b) | (b != b)), lambda g, a, b: chosen(g, ~((a <= b) | (b != b)))
)
sign = elementwise(np.sign, zeros)
floor = elementwise(np.floor, zeros)
ceil = elementwise(np.ceil, zeros)
trunc = elementwise(np.trunc, zeros)
rint = elementwise(np.rint, zeros)
heaviside = elementwise(np.heaviside, zeros, lambda g, a: chosen(g, a == 0))
copysign = elementwise(np.copysign, lambda g, y, a: g * np.sign(a) * np.sign(y), zeros)


@operation(
    np.where,
    constants=("condition",),
    a=lambda g, condition: chosen(g, condition),
    b=lambda g, condition: np.where(condition, 0.0, g),
)
def where(condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)


@operation(name="clip_between", a=lambda g, a, low, high: chosen(g, (a >= low) & (a <= high)))
def _clip(a: Array, low: Any, high: Any) -> Array:
    return np.minimum(np.maximum(a, low), high)


@composed(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """Limit to [a_min, a_max]. At the limits themselves the gradient passes, as in PyTorch's clamp."""
    low = a_min if min is None else min
    high = a_max if max is None else max
    low, high = [np.asarray(v) if isinstance(v, list | tuple) else v for v in (low, high)]
    bounds = [v for v in (low, high) if v is not None]
    floats = not hasattr(a, "dtype") or a.dtype.kind == "f"
    if floats and all(isinstance(v, Real) for v in bounds):
        return _clip(a, -np.inf if low is None else low, np.inf if high is None else high)
    if low is not None:
        a = np.where((a < low) | (low != low), low, a)  # a NaN limit gives NaN
    return a if high is None else np.where((a > high) | (high != high), high, a)


@composed(np.round, np.around)
def round(a: Any, decimals: int = 0) -> Any:
    if a.dtype.kind != "f":
        return Tensor._of(np.asarray(np.round(a.data, decimals)))
    scale = 10.0 ** abs(decimals)
    return np.rint(a * scale) / scale if decimals >= 0 else np.rint(a / scale) * scale


@composed(np.sinc)
def sinc(x: Any) -> Any:
    """sin(πx) / (πx), and 1 at 0. Near 0 it is a Taylor series, so that all derivatives there are correct."""
    near = np.absolute(x) < 0.1 / math.pi
    z = np.where(near, math.pi * x, 0.0) ** 2
    series = 1 - z / 6 * (1 - z / 20 * (1 - z / 42 * (1 - z / 72 * (1 - z / 110))))
    safe = np.where(near, 1.0, math.pi * x)
    return np.where(near, series, np.sin(safe) / safe)
