"""The same numbers in another shape or order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..gradients import Products
from ..tensors import Tensor
from ..vocabulary import composed, operation
from .reductions import axes_of

Array = Any


@operation(name="reshape", a=lambda g, a_shape: np.reshape(g, a_shape))
def _reshape(a: Array, shape: Any) -> Array:
    return np.reshape(a, shape)


@composed(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: bool | None = None) -> Any:
    """The same elements in another shape, in row-major order ("C"), column-major order ("F"), or memory order ("A")."""
    shape = newshape if shape is None else shape
    if order == "A":
        order = "F" if _array(a).flags.fnc else "C"
    if order == "F":  # column-major order: the transpose of the transpose in C order
        a = transpose(_reshape(transpose(a), shape[::-1] if isinstance(shape, tuple | list) else shape))
    elif order == "C":
        a = _reshape(a, shape)
    else:
        raise TypeError(f"reshape: order is 'C', 'F' or 'A', not {order!r}")
    return np.copy(a) if copy else a


def _array(a: Any) -> Array:
    return a.data if isinstance(a, Tensor) else a


@composed(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """All elements as one row, in order "C", "F" or "A" as in reshape, or "K", the memory order."""
    if order == "K":
        strides = _array(a).strides
        return reshape(transpose(a, sorted(range(len(strides)), key=lambda k: -abs(strides[k]))), -1)
    return reshape(a, -1, order)


def transpose_rule(g: Any, axes: Any) -> Any:
    if type(g) is Products:
        last = len(g.shape) - 1
        if tuple(axes or (1, 0)) == (*range(last - 1), last, last - 1):  # of each matrix
            return g.transposed
        g = g.dense()
    return np.transpose(g, None if axes is None else tuple([int(k) for k in np.argsort(axes)]))


@operation(name="transpose", sparse=True, a=transpose_rule)
def _transpose(a: Array, axes: Any) -> Array:
    return np.transpose(a, axes)


@composed(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    if axes is None:
        return _transpose(a, None)
    if len(axes) != np.ndim(a):
        raise ValueError(f"transpose: {len(axes)} axes {tuple(axes)} given for a tensor of shape {np.shape(a)}")
    axes = axes_of(tuple(axes), np.ndim(a))
    return a if axes == tuple(range(np.ndim(a))) else _transpose(a, axes)


@composed(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    order = list(range(np.ndim(a)))
    try:
        order[axis1], order[axis2] = order[axis2], order[axis1]
    except IndexError:
        raise np.exceptions.AxisError(
            f"swapaxes: axes {axis1} and {axis2} do not both exist in shape {np.shape(a)}"
        ) from None
    return transpose(a, order)


@composed(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    n = np.ndim(a)
    sources, destinations = axes_of(source, n, "moveaxis"), axes_of(destination, n, "moveaxis")
    if len(sources) != len(destinations):
        raise ValueError(f"moveaxis: {len(sources)} axes cannot go to {len(destinations)} places")
    order = [k for k in range(n) if k not in sources]
    for to, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(to, axis)
    return transpose(a, order)


@composed(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    n = np.ndim(a)
    (axis,) = axes_of(axis, n, "rollaxis")
    (start,) = axes_of(start + n if start < 0 else start, n + 1, "rollaxis")
    return moveaxis(a, axis, start - (axis < start))


@operation(np.expand_dims, a=lambda g, a_shape: np.reshape(g, a_shape))
def expand_dims(a: Array, axis: Any) -> Array:
    return np.expand_dims(a, axis)


@operation(np.squeeze, a=lambda g, a_shape: np.reshape(g, a_shape))
def squeeze(a: Array, axis: Any = None) -> Array:
    return np.squeeze(a, axis=axis)


@operation(np.broadcast_to, array=lambda g: g)
def broadcast_to(array: Array, shape: Any) -> Array:
    """Repeat along axes without copying. The engine sums the gradient over them."""
    return np.broadcast_to(array, shape)


@composed(np.broadcast_arrays)
def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    """The arrays broadcast to their common shape."""
    shape = np.broadcast_shapes(*[np.shape(a) for a in arrays])
    return tuple([np.broadcast_to(a, shape) for a in arrays])


@operation(np.flip, m=lambda g, axis: np.flip(g, axis))
def flip(m: Array, axis: Any = None) -> Array:
    return np.flip(m, axis)


def _opposite(shift: Any) -> Any:
    return tuple([-s for s in shift]) if isinstance(shift, tuple | list) else -shift


@operation(np.roll, a=lambda g, shift, axis: np.roll(g, _opposite(shift), axis))
def roll(a: Array, shift: Any, axis: Any = None) -> Array:
    return np.roll(a, shift, axis)


@composed(np.fliplr)
def fliplr(m: Any) -> Any:
    return np.flip(m, 1)


@composed(np.flipud)
def flipud(m: Any) -> Any:
    return np.flip(m, 0)


@composed(np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    a, b = axes_of(tuple(axes), np.ndim(m), "rot90")
    turns = k % 4
    if turns == 0:
        return m
    if turns == 2:
        return np.flip(np.flip(m, a), b)
    return np.swapaxes(np.flip(m, b), a, b) if turns == 1 else np.flip(np.swapaxes(m, a, b), b)


def _atleast(a: Any, n: int) -> Any:
    if np.ndim(a) >= n:
        return a
    if n == 3 and np.ndim(a) == 2:
        return np.expand_dims(a, 2)
    if n == 3 and np.ndim(a) == 1:
        return np.expand_dims(a, (0, 2))
    return np.reshape(a, (1,) * (n - np.ndim(a)) + np.shape(a))


@composed(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    found = tuple([_atleast(a, 1) for a in arrays])
    return found[0] if len(found) == 1 else found


@composed(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    found = tuple([_atleast(a, 2) for a in arrays])
    return found[0] if len(found) == 1 else found


@composed(np.atleast_3d)
def atleast_3d(*arrays: Any) -> Any:
    found = tuple([_atleast(a, 3) for a in arrays])
    return found[0] if len(found) == 1 else found


@composed(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None) -> Any:
    """Every window of a shape along some axes (by default all), as further axes at the end."""
    sizes = tuple(window_shape) if isinstance(window_shape, tuple | list) else (window_shape,)
    axes = axes_of(axis, np.ndim(x), "sliding_window_view")
    if len(sizes) != len(axes):
        raise ValueError(f"sliding_window_view: windows of shape {sizes} for the axes {axes} of shape {np.shape(x)}")
    for k, n in zip(axes, sizes, strict=True):
        m = np.shape(x)[k] - n + 1
        if n < 0 or m < 1:
            raise ValueError(f"sliding_window_view: no window of {n} fits axis {k} of shape {np.shape(x)}")
        x = np.moveaxis(np.take(x, np.add.outer(np.arange(m), np.arange(n)), axis=k), k + 1, -1)
    return x
