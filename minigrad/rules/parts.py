"""Parts of numbers: integral and fractional, mantissa and exponent, real and imaginary."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensors import Tensor
from ..vocabulary import composed, elementwise, operation
from .accumulations import data_of
from .elementwise import floor_divide, remainder, trunc, zeros

Array = Any


@composed(np.divmod)
def divmod(x1: Any, x2: Any, /) -> tuple[Any, Any]:
    """The floor of the quotient, whose gradient is zero, and the remainder."""
    return floor_divide(x1, x2), remainder(x1, x2)


@operation(np.modf, x=lambda g: zeros(g[1]) if g[0] is None else g[0])
def modf(x: Array) -> tuple[Array, Array]:
    """The fractional part, whose derivative is 1, and the integral part, whose derivative is 0."""
    return np.modf(x)


@operation(np.ldexp, constants=("x2",), x1=lambda g, x2: np.ldexp(g, x2))
def ldexp(x1: Array, x2: Array) -> Array:
    """x₁ 2^x₂, for integers x₂."""
    return np.ldexp(x1, x2)


@composed(np.frexp)
def frexp(x: Any, /) -> tuple[Any, Any]:
    """The mantissa in [½, 1), and the exponent of 2, which is a plain array."""
    _, exponent = np.frexp(data_of(x))
    return ldexp(x, -exponent), exponent


@composed(np.fix)
def fix(x: Any) -> Any:
    """Rounded towards 0."""
    return trunc(x)


# ---- real numbers as complex ones ----------------------------------------------------------------------------------

conjugate = elementwise(np.conjugate, lambda g: g)


@composed(np.real)
def real(val: Any) -> Any:
    return val


@composed(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    return a


@composed(np.imag)
def imag(val: Any) -> Any:
    """Zeros, with zero gradient."""
    return Tensor._of(np.zeros_like(val.data))


@operation(np.angle, z=lambda g, z: zeros(g))
def angle(z: Array, deg: bool = False) -> Array:
    """0 for a positive number, π (or 180) for a negative one."""
    return np.angle(z, deg)
