"""NumPy's ufuncs as formulas on vectors.

Only exp, expm1, log, log1p and tanh round differently from NumPy; their largest errors are listed in `docs/fusion.md`
and tested. The polynomials interpolate at Chebyshev nodes, computed with 60 digits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .lanes import INTEGERS, Lanes


def horner(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """A polynomial, highest power first."""
    total = x.like(coefficients[0])
    for c in coefficients[1:]:
        total = total.intrinsic("fmuladd", x, c)  # rounds once where the processor can
    return total


# (e^r − 1 − r) / r² for |r| ≤ log(2)/2
_EXP = {
    "float": (0.0013926250831497611, 0.008363232883682618, 0.04166655421298415, 0.16666576666119928, 0.5),
    "double": (2.09147553258932e-09, 2.5105312729622103e-08, 2.755727347871858e-07, 2.755725517000089e-06,
               2.480158732567746e-05, 0.0001984126987500228, 0.0013888888888883711, 0.008333333333326084,
               0.04166666666666667, 0.1666666666666667, 0.5),
}  # fmt: skip
# (log(1 + f) − f + f²/2) / s³ − f²/2s², s = f/(2 + f), in s²
_LOG = {
    "float": (0.23342051648421402, 0.28550392941145586, 0.4000012563033028, 0.6666666654983899),
    "double": (0.13100854389788408, 0.13267405750522118, 0.1538629101914345, 0.1818179469190107,
               0.22222222400632796, 0.28571428570764074, 0.4000000000000094, 0.6666666666666666),
}  # fmt: skip
# smallest and largest argument of exp; bits of the mantissa, the exponent's bias; log 2 in two parts
_FORMAT = {
    "float": (-87.6, 89.0, 23, 127, 0.693359375, -2.1219444005469057e-4),
    "double": (-708.6, 710.0, 52, 1023, 0.6931471803691238, 1.9082149292705877e-10),
}


def _split(x: Lanes) -> tuple[Lanes, Lanes]:
    """r and 2ⁿ⁻¹ of e^x = 2ⁿ·e^r, |r| ≤ log(2)/2. (2ⁿ would overflow before e^x does; below the normal numbers, 0.)"""
    low, high, mantissa, bias, upper, lower = _FORMAT[x.kind]
    x = (x < low).where(low, x)  # NaN stays NaN
    x = (x > high).where(high, x)
    # Adding a number whose last digit is worth 1 rounds to an integer and leaves n in the last bits. Since it also
    # contains the exponent's bias, these are the bits of 2ⁿ⁻¹.
    shift = 1.5 * 2.0**mantissa + (bias - 1)
    shifted = x.intrinsic("fmuladd", 1.4426950408889634, shift)
    n = shifted - shift
    r = n.intrinsic("fmuladd", -lower, n.intrinsic("fmuladd", -upper, x))
    return r, shifted.bits(INTEGERS[x.kind]).whole("shl", mantissa).bits(x.kind)


def exp(x: Lanes) -> Lanes:
    """e^x; 0 below the smallest normal number."""
    r, half = _split(x)
    return horner(r, [2 * c for c in (*_EXP[x.kind], 1.0, 1.0)]) * half


def expm1(x: Lanes) -> Lanes:
    """e^x − 1 = 2ⁿ·(e^r − 1) + (2ⁿ − 1), without cancellation."""
    r, half = _split(x)
    inner = horner(r, _EXP[x.kind]).intrinsic("fmuladd", r * r, r)  # e^r − 1
    return inner.intrinsic("fmuladd", half, half - 0.5) * 2.0


def tanh(x: Lanes) -> Lanes:
    """−e/(e + 2) with e = e^(−2|x|) − 1, and the sign of x."""
    e = expm1(x.intrinsic("fabs") * -2.0)
    return (-e / (e + 2.0)).intrinsic("copysign", x)


def log(x: Lanes) -> Lanes:
    """log x = n·log 2 + log(1 + f), √½ ≤ 1 + f < √2, by the series of the inverse tanh of s = f/(2 + f)."""
    _, _, mantissa, bias, upper, lower = _FORMAT[x.kind]
    whole = INTEGERS[x.kind]
    tiny = x < 2.0 ** (1 - bias)
    scaled = tiny.where(x * 2.0**mantissa, x)
    bits = scaled.bits(whole)
    # exponent and mantissa are separated at √½: the mantissa bits of 1 + f start there
    root = struct.unpack("<q", struct.pack("<d", 2**0.5))[0] if mantissa == 52 else 0x3FB504F3
    half = root - (1 << mantissa)  # the bits of √½
    above = bits.whole("sub", half)
    exponent = above.whole("ashr", mantissa)
    rest = Lanes(x.block, x.block.emit(f"sub {bits.type} {bits.name}, {exponent.whole('shl', mantissa).name}"), whole)
    f = rest.bits(x.kind) - 1.0
    n = Lanes(x.block, x.block.emit(f"sitofp {exponent.type} {exponent.name} to {x.type}"), x.kind)
    n = n - tiny.where(float(mantissa), n.like(0.0))
    s = f / (f + 2.0)
    z = s * s
    square = f * f * 0.5
    result = n * upper + (f - (square - (s * (square + z * horner(z, _LOG[x.kind])) + n * lower)))
    result = (x > 0.0).where(result, (x.compare("oeq", 0.0)).where(-np.inf, x.like(np.nan)))
    return x.compare("oeq", np.inf).where(x, x.compare("uno", x).where(x, result))


def log1p(x: Lanes) -> Lanes:
    """log(1 + x), corrected by the rounding error of 1 + x."""
    u = x + 1.0
    result = log(u) + (x - (u - 1.0)) / u
    return (x.compare("ogt", -1.0) & x.compare("olt", np.inf)).where(result, log(u))


# ---- the ufuncs --------------------------------------------------------------------------------------------------


def _intrinsic(name: str) -> Callable[..., Lanes]:
    return lambda *xs: xs[0].intrinsic(name, *xs[1:])


def _compare(how: str) -> Callable[..., Lanes]:
    return lambda a, b: a.compare(how, b)


def _nan(x: Lanes) -> Lanes:
    return x.compare("uno", x)


def _sign(x: Lanes) -> Lanes:
    return (x > 0.0).where(1.0, (x < 0.0).where(-1.0, x + 0.0))  # NaN stays NaN; -0.0 becomes 0.0


# On floats, all of one kind:
FORMULAS: dict[Any, Callable[..., Lanes]] = {
    np.add: lambda a, b: a + b,
    np.subtract: lambda a, b: a - b,
    np.multiply: lambda a, b: a * b,
    np.divide: lambda a, b: a / b,
    np.negative: lambda x: -x,
    np.positive: lambda x: x,
    np.reciprocal: lambda x: 1.0 / x,
    np.square: lambda x: x * x,
    np.sqrt: _intrinsic("sqrt"),
    np.absolute: _intrinsic("fabs"),
    np.fabs: _intrinsic("fabs"),
    np.floor: _intrinsic("floor"),
    np.ceil: _intrinsic("ceil"),
    np.trunc: _intrinsic("trunc"),
    np.rint: _intrinsic("rint"),
    np.copysign: _intrinsic("copysign"),
    np.sign: _sign,
    np.maximum: lambda a, b: ((a >= b) | _nan(a)).where(a, b),
    np.minimum: lambda a, b: ((a <= b) | _nan(a)).where(a, b),
    np.fmax: lambda a, b: ((a >= b) | _nan(b)).where(a, b),
    np.fmin: lambda a, b: ((a <= b) | _nan(b)).where(a, b),
    np.greater: _compare("ogt"),
    np.greater_equal: _compare("oge"),
    np.less: _compare("olt"),
    np.less_equal: _compare("ole"),
    np.equal: _compare("oeq"),
    np.not_equal: _compare("une"),
    np.isnan: _nan,
    np.isinf: lambda x: x.intrinsic("fabs").compare("oeq", np.inf),
    np.isfinite: lambda x: x.intrinsic("fabs").compare("olt", np.inf),
    np.exp: exp,
    np.expm1: expm1,
    np.log: log,
    np.log1p: log1p,
    np.tanh: tanh,
}
# On truth values:
LOGIC: dict[Any, Callable[..., Lanes]] = {
    np.logical_and: lambda a, b: a & b,
    np.logical_or: lambda a, b: a | b,
    np.logical_xor: lambda a, b: a ^ b,
    np.logical_not: lambda a: ~a,
    np.bitwise_and: lambda a, b: a & b,
    np.bitwise_or: lambda a, b: a | b,
    np.bitwise_xor: lambda a, b: a ^ b,
    np.invert: lambda a: ~a,
    np.equal: lambda a, b: ~(a ^ b),
    np.not_equal: lambda a, b: a ^ b,
}
