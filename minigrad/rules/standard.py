"""Names of the array API standard, and older NumPy names, that lead to other functions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..vocabulary import composed
from .joining import beside, split
from .products import columns, matmul, outer, tensordot
from .reductions import axes_of

Array = Any


def present(*names: str, module: Any = np) -> list[Any]:
    """NumPy's functions of these names; those missing from an older NumPy are left out."""
    return [getattr(module, name) for name in names if hasattr(module, name)]


# ---- running totals ----------------------------------------------------------------------------------------------


def _running(name: str, total: Any, x: Any, axis: int | None, dtype: Any, include_initial: bool, first: float) -> Any:
    x = np.ravel(x) if np.ndim(x) == 0 else x
    if axis is None and np.ndim(x) > 1:
        raise ValueError(f"{name}: an operand of shape {np.shape(x)} needs an axis")
    (k,) = axes_of(0 if axis is None else axis, np.ndim(x), name)
    y = total(x, axis=k, dtype=dtype)
    if not include_initial:
        return y
    beginning = np.full_like(y.data, first, shape=(*y.shape[:k], 1, *y.shape[k + 1 :]))
    return np.concatenate([beginning, y], axis=k)


@composed(*present("cumulative_sum"))
def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    return _running("cumulative_sum", np.cumsum, x, axis, dtype, include_initial, 0)


@composed(*present("cumulative_prod"))
def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    return _running("cumulative_prod", np.cumprod, x, axis, dtype, include_initial, 1)


# ---- joining, splitting, transposing -------------------------------------------------------------------------------


@composed(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> Any:
    if np.ndim(ary) < 3:
        raise ValueError(f"dsplit: the operand needs three axes, got shape {np.shape(ary)}")
    return split(ary, indices_or_sections, 2)


@composed(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    if np.ndim(x) < 2:
        raise ValueError(f"matrix_transpose: the operand needs two axes, got shape {np.shape(x)}")
    return columns(x)


@composed(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """A matrix with all elements of v on its diagonal."""
    return np.diag(np.ravel(v), k)


@composed(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    """Rotate each axis so that its middle element comes first (in a Fourier transform's order of frequencies)."""
    axes = axes_of(axes, np.ndim(x), "fftshift")
    return np.roll(x, [np.shape(x)[k] // 2 for k in axes], axes)


@composed(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of fftshift."""
    axes = axes_of(axes, np.ndim(x), "ifftshift")
    return np.roll(x, [-(np.shape(x)[k] // 2) for k in axes], axes)


# ---- products ----------------------------------------------------------------------------------------------------


@composed(np.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Σ xᵢ yᵢ along an axis."""
    a, b = (np.moveaxis(v, axis, -1) for v in beside([x1, x2]))
    _need("vecdot", a, b, a.shape[-1] == b.shape[-1])
    return np.sum(a * b, axis=-1)


@composed(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return vecdot(x1, x2, axis=axis)


@composed(*present("matvec"))
def matvec(x1: Any, x2: Any, /) -> Any:
    """Matrices (..., M, N) times vectors (..., N): (..., M)."""
    a, b = beside([x1, x2])
    _need("matvec", a, b, np.ndim(a) > 1 and np.ndim(b) > 0 and a.shape[-1] == b.shape[-1])
    return matmul(a, np.expand_dims(b, -1))[..., 0]


@composed(*present("vecmat"))
def vecmat(x1: Any, x2: Any, /) -> Any:
    """Vectors (..., M) times matrices (..., M, N): (..., N)."""
    a, b = beside([x1, x2])
    _need("vecmat", a, b, np.ndim(a) > 0 and np.ndim(b) > 1 and a.shape[-1] == b.shape[-2])
    return matmul(np.expand_dims(a, -2), b)[..., 0, :]


def _need(name: str, a: Any, b: Any, fits: bool) -> None:
    if not fits:
        raise ValueError(f"{name}: operands of shapes {np.shape(a)} and {np.shape(b)} do not fit")


@composed(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return matmul(*beside([x1, x2]))


@composed(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    a, b = beside([x1, x2])
    _need("outer", a, b, np.ndim(a) == np.ndim(b) == 1)
    return outer(a, b)


@composed(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return tensordot(x1, x2, axes)


@composed(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    a, b = beside([x1, x2])
    return np.cross(a, b, axis=axis)


@composed(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return np.diagonal(x, offset, axis1=-2, axis2=-1)


@composed(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return np.trace(x if dtype is None else x.astype(dtype), offset, axis1=-2, axis2=-1)


@composed(np.linalg.multi_dot)
def multi_dot(arrays: Any) -> Any:
    """The product of several matrices in the cheapest order; the first and the last may be vectors."""
    arrays = beside(arrays)
    if len(arrays) < 2:
        raise ValueError(f"multi_dot: two arrays or more are needed, got {len(arrays)}")
    matrices = [np.reshape(arrays[0], (1, -1)) if np.ndim(arrays[0]) == 1 else arrays[0], *arrays[1:-1]]
    matrices.append(np.reshape(arrays[-1], (-1, 1)) if np.ndim(arrays[-1]) == 1 else arrays[-1])
    if any(np.ndim(m) != 2 for m in matrices) or any(a.shape[1] != b.shape[0] for a, b in pairwise(matrices)):
        raise ValueError(f"multi_dot: shapes {[np.shape(a) for a in arrays]} do not fit")
    sizes = [matrices[0].shape[0], *[m.shape[1] for m in matrices]]
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(len(matrices))}
    for length in range(1, len(matrices)):  # the cost of the product of matrices i to j, and its best split
        for i in range(len(matrices) - length):
            j = i + length
            costs = [
                (best[i, k][0] + best[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            ]
            best[i, j] = min(costs)

    def product(i: int, j: int) -> Any:
        return matrices[i] if i == j else product(i, best[i, j][1]) @ product(best[i, j][1] + 1, j)

    result = product(0, len(matrices) - 1)
    if np.ndim(arrays[0]) == 1:
        result = result[0]
    return result[..., 0] if np.ndim(arrays[-1]) == 1 else result
