"""Indexing, and functions that index under another name. Gradients of all slices are written into one shared array."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..gradients import RowSparse, Scattered
from ..modes import current_mode
from ..tensors import Tensor
from ..vocabulary import composed, first_order, operation
from .reductions import axes_of

Array = Any


@operation(piece=lambda g, index: g[index])
def place(piece: Array, index: Any, shape: Any) -> Array:
    return Scattered(shape, index, piece).dense()


@first_order(place)
def placed(piece: Array, index: Any, shape: tuple[int, ...]) -> Any:
    """`piece` at `index` of zeros, the gradient of indexing: in parts on the fast path."""
    part = Scattered(shape, index, piece)
    return part if current_mode().fast else part.dense()


@operation(name="getitem", a=lambda g, a_shape, index: placed(g, index, a_shape))
def _getitem(a: Array, index: Any) -> Array:
    return a[index]


def plain_index(part: Any, like: Array) -> Any:
    """An index without Tensors, and with lists (or tuples within a tuple) as arrays on the device of `like`."""
    if isinstance(part, Tensor):
        part = part.data
    elif isinstance(part, list | tuple):
        part = backend.from_numpy(np.asarray(part, None if part else np.intp), backend.device_of(like))
    if backend.is_array(part) and part.dtype.kind not in "iub":
        raise IndexError(f"an index must be of integers or booleans, not {part.dtype}")
    return held_index(part)


def held_index(index: Any) -> Any:
    """A copy of the caller's index array, which may be overwritten with the next batch before backward reads it.

    (Observers, such as pictures, need the original array, whose identity they compare.)
    """
    mode = current_mode()
    if type(index) is np.ndarray and mode.grad and not mode.observers:
        return index.copy()
    return index


def getitem(a: Any, index: Any) -> Any:
    """x[index]: numbers, slices, None, ..., booleans and integer arrays, as in NumPy."""
    if type(index) is tuple:
        index = tuple([plain_index(part, a.data) for part in index])
    elif type(index) is not int and type(index) is not slice:
        index = plain_index(index, a.data)
    return _getitem(a, index)


@composed(np.take)
def take(a: Any, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Any:
    """Elements by their indices along an axis; indices out of range are clipped ("clip") or wrapped ("wrap")."""
    if axis is None or (np.ndim(a) == 0 and axis in (0, -1)):
        a, axis = np.ravel(a), 0
    (at,) = axes_of(axis, np.ndim(a), "take")
    if isinstance(indices, list | tuple):
        indices = list(indices)
    elif not isinstance(indices, int | Tensor) and backend.is_array(indices):
        indices = backend.transfer(indices, backend.device_of(a.data if isinstance(a, Tensor) else a))
    if mode != "raise":
        if mode not in ("wrap", "clip"):
            raise ValueError(f"take: mode is 'raise', 'wrap' or 'clip', not {mode!r}")
        n = np.shape(a)[at]
        indices = indices.data if isinstance(indices, Tensor) else indices
        indices = indices if backend.is_array(indices) else np.asarray(indices)
        indices = np.remainder(indices, n) if mode == "wrap" else np.clip(indices, 0, n - 1)
        indices = backend.transfer(indices, backend.device_of(a.data if isinstance(a, Tensor) else a))
    return a[(*(slice(None),) * at, indices)]


@composed(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None) -> Any:
    return take(a, np.flatnonzero(condition), axis)


@composed(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    return np.ravel(arr)[np.flatnonzero(condition)]


def _full_index(indices: Array, axis: int) -> tuple[Array, ...]:
    """The full index of every element that take_along_axis picks."""
    xp = backend.module_of(indices)
    n = indices.ndim
    index = [xp.arange(m).reshape([-1 if k == j else 1 for j in range(n)]) for k, m in enumerate(indices.shape)]
    index[axis] = indices
    return tuple(index)


@operation(
    name="take_along_axis", arr=lambda g, arr_shape, indices, axis: placed(g, _full_index(indices, axis), arr_shape)
)
def _take_along_axis(arr: Array, indices: Array, axis: int) -> Array:
    return np.take_along_axis(arr, indices, axis)


@composed(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    if isinstance(indices, Tensor):
        indices = indices.data
    if axis is None:
        arr, axis = np.ravel(arr), 0
    (at,) = axes_of(axis, np.ndim(arr), "take_along_axis")
    if np.ndim(indices) != np.ndim(arr):
        raise ValueError(f"take_along_axis: indices of shape {np.shape(indices)} for an array of shape {np.shape(arr)}")
    pairs = [(m, 1 if k == at else n) for k, (m, n) in enumerate(zip(np.shape(arr), np.shape(indices), strict=True))]
    shape = np.broadcast_shapes(*zip(*pairs, strict=True)) if pairs else ()
    spread = (*shape[:at], np.shape(indices)[at], *shape[at + 1 :])
    if shape != np.shape(arr):
        arr = np.broadcast_to(arr, shape)
    if spread != np.shape(indices):
        indices = np.broadcast_to(indices, spread)
    return _take_along_axis(arr, indices, at)


@composed(np.sort)
def sort(a: Any, axis: int | None = -1, kind: Any = None, *, stable: bool | None = None) -> Any:
    """Sorted along an axis. The sort is stable: equal elements keep their order, and so do their gradients."""
    if axis is None:
        a, axis = np.ravel(a), 0
    return take_along_axis(a, np.argsort(a.data, axis=axis, kind="stable"), axis)


# ---- diagonals and triangles -------------------------------------------------------------------------------------


@composed(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonals of the matrices in two axes, as the last axis."""
    moved = np.moveaxis(a, (axis1, axis2), (-2, -1))
    rows, cols = moved.shape[-2:]
    n = max(min(rows + min(offset, 0), cols - max(offset, 0)), 0)
    k = backend.module_of(a.data).arange(n)
    return moved[..., k + max(-offset, 0), k + max(offset, 0)]


@composed(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@composed(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with a given diagonal."""
    if np.ndim(v) == 2:
        return diagonal(v, k)
    n = np.shape(v)[0]
    at = backend.module_of(v.data).arange(n)
    return place(v, (at + max(-k, 0), at + max(k, 0)), (n + abs(k), n + abs(k)))


@operation(np.tril, m=lambda g, k: np.tril(g, k))
def tril(m: Array, k: int = 0) -> Array:
    return np.tril(m, k)


@operation(np.triu, m=lambda g, k: np.triu(g, k))
def triu(m: Array, k: int = 0) -> Array:
    return np.triu(m, k)


# ---- embedding ---------------------------------------------------------------------------------------------------


@first_order(place)
def in_rows(g: Array, ids: Array, weight_shape: tuple[int, ...]) -> Any:
    """The rows of a gradient, and their indices."""
    return RowSparse(ids.reshape(-1), g.reshape((-1, *weight_shape[1:])), weight_shape, check=False)


def embedding_rule(g: Any, weight_shape: tuple[int, ...], ids: Array, padding_idx: int | None, sparse: bool) -> Any:
    if padding_idx is not None:
        g = np.where(np.expand_dims(ids == padding_idx, -1), 0.0, g)
    return in_rows(g, ids, weight_shape) if sparse else placed(g, ids, weight_shape)


@operation(name="embedding", weight=embedding_rule)
def _embedding(weight: Array, ids: Array, padding_idx: int | None, sparse: bool) -> Array:
    return weight[ids]


@composed()
def embedding(weight: Any, ids: Any, *, padding_idx: int | None = None, sparse: bool = False) -> Any:
    """Rows of a matrix: (V, D) and integer ids of any shape (...) give (..., D). Equal to one-hot(ids) @ weight.

    padding_idx  a row that gets no gradient
    sparse       give the gradient as a `RowSparse` (first order; under create_graph it is dense)

    Raises IndexError if an id is not in [0, V) (on a GPU only under `detect_anomaly`, since the check would wait), and
    TypeError if ids are not integers.
    """
    ids = ids.data if isinstance(ids, Tensor) else ids
    if not backend.is_array(ids):
        like = weight.data if isinstance(weight, Tensor) else weight
        ids = backend.from_numpy(np.asarray(ids), backend.device_of(like))
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: ids must be integers, not {ids.dtype}")
    backend.check_indices("embedding", ids, np.shape(weight)[0])
    return _embedding(weight, held_index(ids), padding_idx, sparse)
