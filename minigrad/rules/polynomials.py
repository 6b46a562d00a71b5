"""Polynomials by their coefficients, highest power first, as in NumPy's older functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..tensors import Tensor
from ..vocabulary import composed
from .joining import beside
from .products import columns

Array = Any


def coefficients(*polynomials: Any) -> list[Any]:
    """Rows of coefficients; a polynomial object provides its own."""
    rows = [p.coeffs if isinstance(p, np.poly1d) else p for p in polynomials]
    return [np.atleast_1d(p) for p in beside(rows)]


@composed(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """Σ pₖ xⁿ⁻ᵏ, by Horner's scheme; with more axes, pₖ are arrays beside x."""
    p = p.coeffs.tolist() if isinstance(p, np.poly1d) else p
    p, x = beside([p, x])
    y = p[0] + 0 * x if p.shape[0] else 0 * x
    for k in range(1, p.shape[0]):
        y = y * x + p[k]
    return y


@composed(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of each element as a row, highest first; in float64, as in NumPy."""
    if x.ndim != 1:
        raise ValueError(f"vander: the operand must have one axis, got shape {x.shape}")
    n = x.shape[0] if N is None else N
    x = x.astype(np.promote_types(x.dtype, int))
    powers: list[Any] = [Tensor._of(np.ones_like(x.data))]
    for _ in range(n - 1):
        powers.append(x * powers[-1])
    return np.stack(powers if increasing else powers[::-1], axis=1)[:, :n]


@composed(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Any:
    a, b = _as_long(a1, a2)
    return a + b


@composed(np.polysub)
def polysub(a1: Any, a2: Any) -> Any:
    a, b = _as_long(a1, a2)
    return a - b


def _as_long(*polynomials: Any) -> list[Any]:
    """Two rows of coefficients of equal length: the shorter is padded with zeros in front."""
    rows = coefficients(*polynomials)
    n = max(row.shape[0] for row in rows)
    return [np.pad(row, (n - row.shape[0], 0)) for row in rows]


@composed(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    a, b = coefficients(a1, a2)
    return np.convolve(a, b)


@composed(np.polydiv)
def polydiv(u: Any, v: Any) -> Any:
    """The quotient and the remainder. (The remainder keeps its leading zeros; NumPy drops them by their values.)"""
    u, v = coefficients(u, v)
    steps = u.shape[0] - v.shape[0] + 1
    if steps < 1:
        return u[:1] * 0, u
    quotient = []
    for _ in range(steps):
        factor = u[0] / v[0]
        quotient.append(factor)
        u = u[1:] - np.pad(factor * v[1:], (0, u.shape[0] - v.shape[0]))
    return np.stack(quotient), u if u.shape[0] else np.zeros_like(v[:1])


@composed(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    """The coefficients of the m-th derivative."""
    if m < 0:
        raise ValueError(f"polyder: the order must not be negative, got {m}")
    (p,) = coefficients(p)
    for _ in range(m):
        p = p[:-1] * _counted(p, 1)
    return p


@composed(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The coefficients of the m-th integral, with the constants k (0, one for all, or m of them)."""
    if m < 0:
        raise ValueError(f"polyint: the order must not be negative, got {m}")
    (p,) = coefficients(p)
    constants = np.broadcast_to(np.zeros(m) if k is None else np.asarray(k, float), (m,)).tolist()
    for constant in constants:
        p = np.concatenate([p / _counted(p, 0), np.full_like(p, constant, shape=(1,))])
    return p


def _counted(p: Any, last: int) -> Any:
    """n, n − 1, ..., down to 1, on the device of the coefficients p (without the last ones)."""
    like = p.data if isinstance(p, Tensor) else p
    return backend.module_of(like).arange(p.shape[0] - last, 0, -1)


def as_float(x: Any) -> Any:
    return x if x.dtype.kind == "f" else x.astype(np.float64)


@composed(np.polyfit)
def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """The coefficients of the least-squares polynomial, in float64.

    full  also return the residuals, the rank, the singular values and rcond
    cov   also return the coefficients' covariances, scaled by the residuals, or for errors of size 1/w ("unscaled")
    """
    x, y, *weights = (as_float(v) for v in beside([x, y] if w is None else [x, y, w]))
    rcond = len(x) * np.finfo(x.dtype).eps if rcond is None else rcond
    left, right = np.vander(x, deg + 1), y
    if weights:
        left, right = left * weights[0][:, None], right * (weights[0] if y.ndim == 1 else weights[0][:, None])
    scale = np.sqrt(np.sum(left * left, axis=0))  # columns of equal norm are better conditioned
    found, residuals, rank, s = np.linalg.lstsq(left / scale, right, rcond)
    found = found / scale if y.ndim == 1 else found / scale[:, None]
    if full:
        return found, residuals, rank, s, rcond
    if not cov:
        return found
    spread = np.linalg.inv(columns(left) @ left / (scale[:, None] * scale)) / (scale[:, None] * scale)
    if cov == "unscaled":
        return found, spread
    if len(x) <= deg + 1:
        raise ValueError(f"polyfit: {len(x)} points for {deg + 1} coefficients leave no errors to scale cov by")
    size = residuals / (len(x) - deg - 1)
    return found, spread * size if y.ndim == 1 else spread[:, :, None] * size


@composed(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    """The coefficients of the polynomial with these zeros."""
    zeros = seq_of_zeros
    if np.ndim(zeros) == 2:
        raise TypeError("poly: a matrix needs np.linalg.eigvals, whose complex numbers have no rule; "
                        "for a symmetric one, write np.poly(np.linalg.eigvalsh(a))")  # fmt: skip
    zeros = np.atleast_1d(zeros)
    zeros = zeros if zeros.dtype in (np.float32, np.float64) else zeros.astype(np.float64)
    p = np.ones_like(zeros[:1])
    for k in range(zeros.shape[0]):
        p = np.convolve(p, np.stack([np.ones_like(zeros[0]), -zeros[k]]))
    return p
