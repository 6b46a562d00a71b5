"""Linear algebra, for float32 and float64, on stacks of matrices.

Formulas: M. Giles, Collected matrix derivative results for forward and reverse mode AD, 2008; the Cholesky factor
after I. Murray, Differentiation of the Cholesky decomposition, 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..tensors import Tensor
from ..vocabulary import composed, first_order, operation
from .elementwise import divided
from .products import columns
from .reductions import axes_of, spread

Array = Any


@operation(np.linalg.inv, a=lambda g, y: -(columns(y) @ g @ columns(y)))
def inv(a: Array) -> Array:
    return np.linalg.inv(a)


def without_one(s: Array, n: int, xp: Any) -> Array:
    """For each of n numbers (..., n), the product of all others: (..., n)."""
    itself = xp.eye(n) == 1
    return np.prod(np.where(itself, 1.0, np.expand_dims(s, -2)), axis=-1)


def svd(a: Any) -> tuple[Array, Array, Array]:
    """U, S and V; NaN for matrices with a value that is not finite, for which LAPACK may never return."""
    finite = np.all(np.isfinite(a), axis=(-2, -1), keepdims=True)
    u, s, v = np.linalg.svd(np.where(finite, a, 0.0).astype(a.dtype))
    return u, np.where(finite[..., 0], s, np.nan).astype(a.dtype), v


def regular_cofactors_rule(g: Any, a: Any) -> Any:
    """det a (⟨g, a⁻ᵀ⟩ a⁻ᵀ − a⁻ᵀ gᵀ a⁻ᵀ), for a regular matrix."""
    inverse = columns(np.linalg.inv(a))
    inner = np.sum(g * inverse, axis=(-2, -1), keepdims=True)
    return np.expand_dims(np.linalg.det(a), (-2, -1)) * (inner * inverse - inverse @ columns(g) @ inverse)


@first_order(regular_cofactors_rule)
def cofactors_rule(g: Array, a: Array) -> Array:
    """U (diag(p diag h) − p ∘ hᵀ) V, with a = U S V, h = Uᵀ g Vᵀ, and pᵢⱼ the product of all singular values but
    i and j.

    Higher derivatives are those of a regular matrix.
    """
    u, s, v = svd(a)
    n, xp = s.shape[-1], backend.module_of(a)
    itself = xp.eye(n) == 1
    others = np.where(itself, 1.0, np.expand_dims(s, -2))  # (..., i, k): 1 for k = i
    p = np.where(itself, 0.0, without_one(others, n, xp))  # (..., i, j)
    h = columns(u) @ g @ columns(v)
    along = np.sum(p * np.expand_dims(np.diagonal(h, axis1=-2, axis2=-1), -2), axis=-1)
    inside = np.where(itself, np.expand_dims(along, -1), 0.0) - p * columns(h)
    sign = np.linalg.det(u) * np.linalg.det(v)
    return (sign[..., None, None] * (u @ inside) @ v).astype(a.dtype)


@operation(a=cofactors_rule)
def cofactors(a: Array) -> Array:
    """∂ det(a) / ∂a, defined for singular a as well: from a = U S V, with products of all singular values but one."""
    u, s, v = svd(a)
    others = without_one(s, s.shape[-1], backend.module_of(a))  # (..., n)
    sign = np.linalg.det(u) * np.linalg.det(v)
    return (sign[..., None, None] * (u * np.expand_dims(others, -2)) @ v).astype(a.dtype)


def det_rule(g: Any, a: Any) -> Any:
    return np.expand_dims(g, (-2, -1)) * cofactors(a)


@operation(np.linalg.det, a=det_rule)
def det(a: Array) -> Array:
    return np.linalg.det(a)


def slogdet_rule(g: list[Any], y: Any, a: Any) -> Any:
    """The sign is constant; the gradient of the logarithm is a⁻ᵀ, and NaN where a is singular."""
    if g[1] is None:
        return np.zeros_like(a)
    singular = np.expand_dims(y[0] == 0, (-2, -1))
    one = backend.module_of(a.data if isinstance(a, Tensor) else a).eye(a.shape[-1], dtype=a.dtype)
    inverse = columns(np.linalg.inv(np.where(singular, one, a)))
    return np.expand_dims(g[1], (-2, -1)) * np.where(singular, np.nan, inverse)


@operation(name="slogdet", a=slogdet_rule)
def _slogdet(a: Array) -> tuple[Array, Array]:
    return tuple(np.linalg.slogdet(a))  # type: ignore[return-value]


@composed(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """(sign, log |det|), as named fields. A singular matrix has a NaN gradient; others in the stack keep theirs."""
    from numpy.linalg._linalg import SlogdetResult

    return SlogdetResult(*_slogdet(a))


def _matched(a: Any, b: Any) -> tuple[Any, Any]:
    """Two stacks of matrices, broadcast to equal size: CuPy's `solve` does not broadcast them."""
    if a.shape[:-2] == b.shape[:-2]:
        return a, b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return np.broadcast_to(a, (*batch, *a.shape[-2:])), np.broadcast_to(b, (*batch, *b.shape[-2:]))


def solve_b(g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    """a⁻ᵀ g."""
    if len(b_shape) == 1:  # a vector is a one-column matrix
        return np.linalg.solve(*_matched(columns(a), np.expand_dims(g, -1)))[..., 0]
    return np.linalg.solve(*_matched(columns(a), g))


def solve_a(g: Any, y: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    """−(a⁻ᵀ g) yᵀ."""
    left = solve_b(g, a, b_shape)
    if len(b_shape) == 1:
        return -np.expand_dims(left, -1) * np.expand_dims(y, -2)
    return -left @ columns(y)


@operation(np.linalg.solve, a=solve_a, b=solve_b)
def solve(a: Array, b: Array) -> Array:
    return np.linalg.solve(a, b) if len(b.shape) == 1 else np.linalg.solve(*_matched(a, b))


def cholesky_rule(g: Any, y: Any) -> Any:
    """y⁻ᵀ Φ(yᵀ g) y⁻¹, symmetrized; Φ takes the lower triangle with its diagonal halved."""
    product = columns(y) @ np.tril(g)
    phi = (np.tril(product) + np.tril(product, -1)) * 0.5
    s = np.linalg.solve(columns(y), columns(np.linalg.solve(columns(y), columns(phi))))
    return (s + columns(s)) * 0.5


@operation(name="cholesky", a=cholesky_rule)
def _cholesky(a: Array) -> Array:
    return np.linalg.cholesky(a)


@composed(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The factor L of a symmetric, positive definite a = L Lᵀ; its transpose if `upper`."""
    factor = _cholesky(a)
    return columns(factor) if upper else factor


# ---- norms -------------------------------------------------------------------------------------------------------


def norm_rule(g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """x / ‖x‖, and 0 at zero."""
    return spread(g, x.shape, axis, keepdims) * divided(x, spread(y, x.shape, axis, keepdims))


@operation(name="norm", x=norm_rule)
def _norm(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


@composed(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Vector norms of any order, and the matrix norms "fro", "nuc", 2, −2, 1, −1, ∞, −∞. The gradient at zero is zero;
    where singular values are equal or 0, it is a subgradient."""
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    if axis is None and ord is None:
        return _norm(x, None, keepdims)
    axes = axes_of(axis, x.ndim)
    if len(axes) == 1:
        return _vector_norm(x, 2 if ord is None else ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ValueError(f"norm: order {ord!r} is for one axis or two, not for shape {x.shape} with axis {axis}")
    if ord in (None, "fro"):
        return _norm(x, axes, keepdims)
    if ord in ("nuc", 2, -2):
        s = np.linalg.svd(np.moveaxis(x, axes, (-2, -1)), compute_uv=False)
        found = np.sum(s, axis=-1) if ord == "nuc" else s[..., 0 if ord == 2 else -1] if s.shape[-1] else np.sum(s, -1)
        return np.expand_dims(found, axes) if keepdims else found
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError(f"norm: there is no matrix norm of order {ord!r}; shape {x.shape} with axis {axis}")
    row, col = axes
    summed, other = (row, col) if abs(ord) == 1 else (col, row)
    sums = np.sum(np.absolute(x), axis=summed, keepdims=True)
    result = _largest(sums, other, True) if ord > 0 else np.min(sums, axis=other, keepdims=True)
    return result if keepdims else np.squeeze(result, axis=axes)


def _largest(sizes: Any, axis: int, keepdims: bool) -> Any:
    """The maximum of non-negative sizes; 0 if there are none."""
    largest = np.max if sizes.shape[axis] else np.sum
    return largest(sizes, axis=axis, keepdims=keepdims)


def _vector_norm(x: Any, order: Any, axis: int, keepdims: bool) -> Any:
    size = np.absolute(x)
    if order == np.inf:
        return _largest(size, axis, keepdims)
    if order == -np.inf:
        return np.min(size, axis=axis, keepdims=keepdims)
    if order == 0:
        return np.sum(np.where(size != size, 1.0, np.sign(size)), axis=axis, keepdims=keepdims)  # NaN counts as nonzero
    if order == 1:
        return np.sum(size, axis=axis, keepdims=keepdims)
    if order == 2:
        return _norm(x, axis, keepdims)
    if x.shape[axis] == 0:
        return np.sum(size, axis=axis, keepdims=keepdims) ** (1 / order)
    foremost = (np.max if order > 0 else np.min)(size.data, axis=axis, keepdims=True)
    scale = np.where((foremost > 0) & (foremost < np.inf), foremost, 1.0).astype(size.dtype)  # avoids overflow
    nothing = foremost == 0
    powers = np.sum(np.where(nothing, 0.0, size / scale) ** order, axis=axis, keepdims=True)
    result = np.where(nothing, 0.0, np.where(nothing, 1.0, powers) ** (1 / order) * scale)
    return result if keepdims else np.squeeze(result, axis=axis)
