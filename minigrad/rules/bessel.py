"""The modified Bessel functions of the first kind. NumPy has only that of order 0.

Iₙ(x) = (x/2)ⁿ / (√π Γ(n + ½)) ∫ exp(x cos θ) sin²ⁿ θ dθ from 0 to π. Nothing cancels in this integral, and the
trapezoidal rule gives it to rounding; Chebyshev series are fitted to it once for each order, on |x| ≤ 8 and beyond.
(M. Abramowitz & I. Stegun, 9.6.18 and 9.6.26.)
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from ..vocabulary import operation

Array = Any

DEGREE, TERMS, EDGE = 32, 1200, 8.0


def scaled(x: Any, n: int) -> Any:
    """exp(−x) Iₙ(x) / (x/2)ⁿ for x ≥ 0, computed from the integral."""
    theta = np.linspace(0, np.pi, TERMS + 1)
    heights = np.exp(np.multiply.outer(x, np.cos(theta) - 1)) * np.sin(theta) ** (2 * n)
    integral = (heights.sum(axis=-1) - (heights[..., 0] + heights[..., -1]) / 2) * np.pi / TERMS
    return integral / (math.sqrt(math.pi) * math.gamma(n + 0.5))


@functools.cache
def series(n: int) -> tuple[list[float], list[float]]:
    """Chebyshev coefficients of exp(−x) Iₙ(x) / (x/2)ⁿ in t = x/4 − 1, and of √x exp(−x) Iₙ(x) in t = 16/x − 1."""
    near = chebyshev.chebinterpolate(lambda t: scaled((t + 1) * (EDGE / 2), n), DEGREE)

    def beyond(t: Any) -> Any:
        x = 2 * EDGE / (t + 1)
        return scaled(x, n) * (x / 2) ** n * np.sqrt(x)

    return near.tolist(), chebyshev.chebinterpolate(beyond, DEGREE).tolist()


def clenshaw(coefficients: list[float], t: Array) -> Array:
    """Σ cₖ Tₖ(t)."""
    b1, b2 = 0.0 * t, 0.0 * t
    for c in coefficients[:0:-1]:
        b1, b2 = 2 * t * b1 - b2 + c, b1
    return t * b1 - b2 + coefficients[0]


def bessel_rule(g: Any, x: Any, n: int) -> Any:
    """Iₙ′ = (Iₙ₋₁ + Iₙ₊₁) / 2, with I₋₁ = I₁."""
    return g * bessel(x, 1) if n == 0 else g * (0.5 * (bessel(x, n - 1) + bessel(x, n + 1)))


@operation(name="bessel", x=bessel_rule)
def bessel(x: Array, n: int) -> Array:
    """Iₙ(x)."""
    size = np.absolute(x)
    near, far = np.minimum(size, EDGE), np.maximum(size, EDGE)
    first, second = series(n)
    ratio = np.where(
        size <= EDGE,
        clenshaw(first, near * (2 / EDGE) - 1) * (near / 2) ** n,
        clenshaw(second, (2 * EDGE) / far - 1) / np.sqrt(far),
    )
    y = np.where(np.isinf(size), size, np.exp(size) * ratio)
    return (y * np.sign(x) if n % 2 else y).astype(x.dtype)


@operation(np.i0, x=lambda g, x: bessel_rule(g, x, 0))
def i0(x: Array) -> Array:
    """I₀(x)."""
    return np.i0(x)
