"""Joining and splitting tensors.

A split is one operation with several outputs, so that the gradients of all parts are written into one array and a
loop over T slices costs O(T).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import backend
from ..primitives import operand
from ..tensors import Tensor
from ..vocabulary import composed, operation
from .reductions import axes_of

Array = Any


def along(axis: int, part: Any) -> tuple[Any, ...]:
    """The index of a part along an axis."""
    return (*(slice(None),) * axis, part)


# ---- joining -----------------------------------------------------------------------------------------------------


def beside(values: Any) -> tuple[Any, ...]:
    """The values to join, as arrays: numbers and lists become arrays on the device of the first tensor, as with
    operators."""
    values = tuple(values)
    like = next((v.data for v in values if isinstance(v, Tensor)), None)
    return values if like is None else tuple([_array(operand(v, like), like) for v in values])


def _array(value: Any, like: Array) -> Any:
    if hasattr(value, "shape"):
        return value
    dtype = like.dtype if like.dtype.kind == "f" else None
    return backend.from_numpy(np.asarray(value, dtype), backend.device_of(like))


def cast(arrays: tuple[Any, ...], dtype: Any, casting: Any) -> tuple[Any, ...]:
    """The arrays in a dtype, if one is given; TypeError if the casting rule forbids it."""
    if dtype is None:
        return arrays
    for a in arrays:
        if not np.can_cast(a.dtype, dtype, casting):
            raise TypeError(f"cannot cast from {a.dtype} to {np.dtype(dtype)} by the rule {casting!r}")
    return tuple([a.astype(dtype) for a in arrays])


def concatenate_rule(g: Any, arrays_shapes: list[tuple[int, ...]], axis: int) -> list[Any]:
    parts, start = [], 0
    for shape in arrays_shapes:
        parts.append(g[along(axis, slice(start, start + shape[axis]))])
        start += shape[axis]
    return parts


@operation(
    name="concatenate",
    joint="arrays",
    arrays=lambda g, shapes, axis: concatenate_rule(g, shapes, axis),
)
def _concatenate(arrays: tuple[Array, ...], axis: int, shapes: Any) -> Array:
    return np.concatenate(arrays, axis=axis)


@composed(np.concatenate)
def concatenate(arrays: Any, axis: int | None = 0, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = cast(beside(arrays), dtype, casting)
    if axis is None:
        arrays, axis = tuple([np.ravel(a) for a in arrays]), 0
    if not arrays:
        raise ValueError("concatenate: no tensors given")
    shapes = [a.shape if isinstance(a, Tensor) else np.shape(a) for a in arrays]
    return _concatenate(arrays, axes_of(axis, len(shapes[0]), "concatenate")[0], shapes)


@operation(
    name="stack",
    joint="arrays",
    arrays=lambda g, axis: [g[along(axis, k)] for k in range(g.shape[axis])],
)
def _stack(arrays: tuple[Array, ...], axis: int) -> Array:
    return np.stack(arrays, axis=axis)


@composed(np.stack)
def stack(arrays: Any, axis: int = 0, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = cast(beside(arrays), dtype, casting)
    if not arrays:
        raise ValueError("stack: no tensors given")
    return _stack(arrays, axes_of(axis, np.ndim(arrays[0]) + 1, "stack")[0])


@composed(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = [np.atleast_1d(a) for a in beside(tup)]
    return concatenate(arrays, 0 if np.ndim(arrays[0]) == 1 else 1, dtype=dtype, casting=casting)


@composed(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return concatenate([np.atleast_2d(a) for a in beside(tup)], 0, dtype=dtype, casting=casting)


@composed(np.dstack)
def dstack(tup: Any) -> Any:
    return concatenate([np.atleast_3d(a) for a in beside(tup)], 2)


@composed(np.column_stack)
def column_stack(tup: Any) -> Any:
    return concatenate([a if np.ndim(a) > 1 else np.reshape(a, (-1, 1)) for a in beside(tup)], 1)


@composed(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return concatenate([arr, values], axis)


# ---- splitting -----------------------------------------------------------------------------------------------------


def _filled(g: list[Any], shapes: list[tuple[int, ...]]) -> list[Any]:
    """Zeros for the outputs that got no gradient."""
    like = next(p for p in g if p is not None)
    return [backend.shaped(np.zeros_like, like, s) if p is None else p for p, s in zip(g, shapes, strict=True)]


@operation(
    name="split",
    a=lambda g, a_shape, cuts, axis: np.concatenate(_filled(g, part_shapes(a_shape, cuts, axis)), axis=axis),
)
def _split(a: Array, cuts: tuple[int, ...], axis: int) -> list[Array]:
    ends = [*cuts, a.shape[axis]]
    return [a[along(axis, slice(s, e))] for s, e in zip([0, *cuts], ends, strict=True)]


def part_shapes(shape: tuple[int, ...], cuts: tuple[int, ...], axis: int) -> list[tuple[int, ...]]:
    sizes = [len(range(shape[axis])[s:e]) for s, e in zip([0, *cuts], [*cuts, shape[axis]], strict=True)]
    return [(*shape[:axis], n, *shape[axis + 1 :]) for n in sizes]


@composed(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    (axis,) = axes_of(axis, np.ndim(ary), "split")
    n = np.shape(ary)[axis]
    if isinstance(indices_or_sections, int | np.integer):
        parts = int(indices_or_sections)
        if parts < 1:
            raise ValueError(f"split: the number of parts must be positive, not {parts}")
        sizes = [n // parts + (k < n % parts) for k in range(parts)]
        cuts = tuple([int(c) for c in np.cumsum(sizes)[:-1]])
    else:
        cuts = tuple([int(c) for c in indices_or_sections])
        if any(not 0 <= s <= e <= n for s, e in zip((0, *cuts), (*cuts, n), strict=True)):
            raise ValueError(f"split: the cuts {cuts} do not ascend within axis {axis} of shape {np.shape(ary)}")
    return list(_split(ary, cuts, axis))


@composed(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    if isinstance(indices_or_sections, int | np.integer):
        n = np.shape(ary)[axis]
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ValueError(
                f"split: axis {axis} of shape {np.shape(ary)} does not divide into {indices_or_sections} equal parts"
            )
    return array_split(ary, indices_or_sections, axis)


@composed(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> Any:
    return split(ary, indices_or_sections, 0 if np.ndim(ary) == 1 else 1)


@composed(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> Any:
    return split(ary, indices_or_sections, 0)


@operation(
    name="unstack",
    x=lambda g, x_shape, axis: np.stack(
        _filled(g, [(*x_shape[:axis], *x_shape[axis + 1 :])] * x_shape[axis]), axis=axis
    ),
)
def _unstack(x: Array, axis: int) -> tuple[Array, ...]:
    return tuple([x[along(axis, k)] for k in range(x.shape[axis])])


@composed(*([np.unstack] if hasattr(np, "unstack") else []))
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices along an axis, as a tuple: the T steps of a (T, N, D) tensor. Their gradients share one array."""
    (along_axis,) = axes_of(axis, np.ndim(x), "unstack")
    return tuple(_unstack(x, along_axis)) if np.shape(x)[along_axis] else ()


def iterated(self: Tensor) -> Iterator[Tensor]:
    """The slices along the first axis, in order."""
    if self.ndim == 0:
        raise TypeError("iteration over a tensor without axes")
    return iter(unstack(self))


# ---- repeating ---------------------------------------------------------------------------------------------------


@composed(np.tile)
def tile(A: Any, reps: Any) -> Any:
    reps = tuple(reps) if isinstance(reps, tuple | list) else (reps,)
    n = max(len(reps), np.ndim(A))
    reps = (1,) * (n - len(reps)) + reps
    shape = (1,) * (n - np.ndim(A)) + np.shape(A)
    apart = np.reshape(A, [s for m in shape for s in (1, m)])
    spread = np.broadcast_to(apart, [s for r, m in zip(reps, shape, strict=True) for s in (r, m)])
    return np.reshape(spread, tuple([r * m for r, m in zip(reps, shape, strict=True)]))


@composed(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    if axis is None or (np.ndim(a) == 0 and axis in (0, -1)):
        a, axis = np.ravel(a), 0
    (at,) = axes_of(axis, np.ndim(a), "repeat")
    return np.take(a, np.repeat(np.arange(np.shape(a)[at]), repeats), axis=at)
