"""Powers, inverses and equations of matrices and tensors, composed of other functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..tensors import Tensor
from ..vocabulary import composed
from .accumulations import data_of
from .decompositions import svdvals
from .joining import beside
from .linalg import norm
from .reductions import joined_last
from .statistics import restored

Array = Any


@composed(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """The n-th power of a square matrix; for negative n, the power of its inverse."""
    if not hasattr(n, "__index__"):
        raise TypeError(f"matrix_power: the exponent must be an integer, got {n!r}")
    n = int(n)
    if np.ndim(a) < 2 or a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError(f"matrix_power: the operand must be of square matrices, got shape {np.shape(a)}")
    if n < 0:
        a, n = np.linalg.inv(a), -n
    if n == 0:
        one = backend.module_of(data_of(a)).eye(a.shape[-1], dtype=a.dtype)
        return Tensor._of(np.zeros_like(data_of(a)) + one)
    result = None
    while n:  # by the exponent's binary digits
        if n & 1:
            result = a if result is None else result @ a
        n >>= 1
        if n:
            a = a @ a
    return result


@composed(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of the map from the last axes to the first `ind`."""
    if ind <= 0:
        raise ValueError(f"tensorinv: ind must be positive, got {ind}")
    first, last = a.shape[:ind], a.shape[ind:]
    n, m = math.prod(first), math.prod(last)
    if n != m:
        raise np.linalg.LinAlgError(f"tensorinv: the first {ind} axes of {a.shape} have {n} elements, the others {m}")
    return np.reshape(np.linalg.inv(np.reshape(a, (n, m))), last + first)


@composed(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """The x of tensordot(a, x, x.ndim) = b; `axes` of a are moved to its end first."""
    a, b = beside([a, b])
    if axes is not None:
        order = [k for k in range(np.ndim(a)) if k not in axes]
        a = np.transpose(a, [*order, *axes])
    shape = a.shape[np.ndim(b) :]
    n = math.prod(shape)
    if math.prod(a.shape[: np.ndim(b)]) != n:
        raise np.linalg.LinAlgError(f"tensorsolve: an operand of shape {a.shape} is not square for b of {np.shape(b)}")
    return np.reshape(np.linalg.solve(np.reshape(a, (-1, n)), np.ravel(b)), shape)


@composed(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition number: the ratio of the largest and the smallest singular value, or ‖x‖ ‖x⁻¹‖ for another norm."""
    with np.errstate(all="ignore"):
        if p is None or p in (2, -2):
            s = svdvals(x)
            found = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
        else:
            found = norm(x, p, axis=(-2, -1)) * norm(np.linalg.inv(x), p, axis=(-2, -1))
    absent = np.any(np.isnan(data_of(x)), axis=(-2, -1))
    return np.where(np.isnan(found.data) & ~absent, np.inf, found)  # 0/0 and inf · 0, as in NumPy


@composed(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(x, ord, axis=(-2, -1), keepdims=keepdims)


@composed(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of all elements, or along one or several axes."""
    if axis is None:
        flat = norm(np.ravel(x), ord, axis=0)
        return np.reshape(flat, (1,) * np.ndim(x)) if keepdims else flat
    if not isinstance(axis, tuple):
        return norm(x, ord, axis=axis, keepdims=keepdims)
    return restored(norm(joined_last(x, axis), ord, axis=-1), x.shape, axis, keepdims)
