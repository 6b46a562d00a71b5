"""Ufuncs and other element-wise operations, dtypes and devices."""

from __future__ import annotations

import operator

import numpy as np

import minigrad as mg
from minigrad.rules.elementwise import _clip

from .cases import above_one, binary, case, mask, positive, real, unary, unit

# ---- arithmetic --------------------------------------------------------------------------------------------------

binary("add", np.add)
binary("add", operator.add)
binary("subtract", np.subtract)
binary("subtract", operator.sub)
binary("multiply", np.multiply)
binary("multiply", operator.mul)
binary("divide", np.divide)
binary("divide", operator.truediv)
unary("negative", np.negative)
unary("negative", operator.neg)
unary("positive", np.positive)
unary("reciprocal", np.reciprocal)
unary("square", np.square)
unary("sqrt", np.sqrt, positive)
unary("cbrt", np.cbrt)
binary("power", np.power, positive)
binary("power", operator.pow, positive)
binary("float_power", np.float_power, positive)
for exponent in (0, 1, 2, 3, -1, -2, 0.5, 1.5):
    case("power", lambda x, n=exponent: x**n, positive(2, 3), second=exponent != 0)
case("power", lambda x: x**3, real(4))
case("power", lambda x: x**-2, real(4))
case("power", lambda x: 2.0**x, real(4))
case("float_power", lambda x: np.float_power(x, 3), real(4))
binary("remainder", np.remainder)
binary("remainder", operator.mod)
binary("fmod", np.fmod)
binary("floor_divide", np.floor_divide, second=False)
binary("floor_divide", operator.floordiv, second=False)
for op in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow):
    name = {"sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power"}.get(op.__name__, op.__name__)
    case(name, lambda x, op=op: op(x, 3), positive(2, 3))
    case(name, lambda x, op=op: op(3, x), positive(2, 3))
    case(name, lambda x, op=op: op(x, 1.5), positive())
    case(name, lambda x, op=op: op(1.5, x), positive())
case("multiply", lambda x: x * x, real(2, 3))
case("add", lambda x: x + x, real(2, 3))

# ---- exponentials, logarithms, trigonometry ----------------------------------------------------------------------

for ufunc in (np.exp, np.exp2, np.expm1, np.sin, np.cos, np.tan, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh):
    unary(ufunc.__name__, ufunc, unit)
for ufunc in (np.log, np.log2, np.log10, np.log1p):
    unary(ufunc.__name__, ufunc, positive)
for ufunc in (np.arcsin, np.arccos, np.arctanh):
    unary(ufunc.__name__, ufunc, unit)
unary("arccosh", np.arccosh, above_one)
for ufunc in (np.deg2rad, np.rad2deg, np.radians, np.degrees):
    unary(ufunc.__name__, ufunc)
for ufunc in (np.logaddexp, np.logaddexp2, np.arctan2, np.hypot):
    binary(ufunc.__name__, ufunc)

# ---- magnitude, order, rounding ----------------------------------------------------------------------------------

for ufunc in (np.maximum, np.minimum, np.fmax, np.fmin, np.copysign):
    binary(ufunc.__name__, ufunc)
    case(ufunc.__name__, lambda x, f=ufunc: f(x, 0.5), real(3))
    case(ufunc.__name__, lambda x, f=ufunc: f(0.5, x), real(3), second=ufunc is not np.copysign)
unary("absolute", np.absolute)
unary("absolute", abs)
unary("fabs", np.fabs)
for ufunc in (np.sign, np.floor, np.ceil, np.trunc, np.rint):
    unary(ufunc.__name__, ufunc, second=False)
unary("round", np.round, second=False)
case("round", np.round, real(2, 3), second=False, decimals=2)
case("round", np.round, real(2, 3), second=False, decimals=-1)
case("round", np.around, real(2, 3), second=False, decimals=1)
binary("heaviside", np.heaviside, second=False)
case("where", np.where, mask(2, 3), real(2, 3), real(2, 3))
case("where", np.where, mask(2, 3), real(3), real())
case("where", np.where, mask(3), real(2, 1), real(4, 1, 1))
case("where", np.where, mask(0, 3), real(0, 3), real(3))
case("where", lambda m, x: np.where(m, x, 0), mask(2, 3), real(2, 3))
case("where", lambda m, x: np.where(m, -1.5, x), mask(2, 3), real(2, 3))
unary("clip_between", lambda x: _clip(x, -1.0, 1.5), expected=lambda x: np.clip(x, -1.0, 1.5))
unary("clip", lambda x: np.clip(x, -1.0, 1.5))
case("clip", lambda x: np.clip(x, None, 0.5), real(2, 3))
case("clip", lambda x: np.clip(x, -0.5, None), real(2, 3))
case("clip", lambda x: np.clip(x, min=-0.5, max=0.5), real(2, 3))
case("clip", np.clip, real(2, 3), real(3), positive())
case("clip", lambda x, low: np.clip(x, low, None), real(4, 3), real(4, 1))
unary("sinc", np.sinc)
case("sinc", lambda x: np.sinc(x * 1e-2), real(3))
unary("nan_to_num", np.nan_to_num)

# ---- copies, dtypes, devices -------------------------------------------------------------------------------------

unary("copy", np.copy)
unary("astype", lambda x: np.astype(x, np.float64), half=False)
case("astype", lambda x: x.astype(np.float64), real(2, 3))
case("astype", lambda x: x.astype(np.float32).astype(np.float64) if x.dtype != np.float64 else x * 1, real(2, 3))


def there(x: object) -> object:
    """To the other device and back; to NumPy's own, where that is the same."""
    return x.to("strict:1").to(x.device) if isinstance(x, mg.Tensor) else x


unary("to", there)
