"""Methods of ufuncs along an axis: running extremes, running totals of any ufunc, sums of segments.

Sums, products and extremes have rules of their own (`reductions`). Any other binary ufunc is called once for each
element along the axis.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..dispatch import ACCUMULATIONS, METHODS, REDUCTIONS
from ..tensors import Tensor
from ..vocabulary import NUMPY_NAMES, composed, operation
from .activations import logsumexp
from .extremes import loser
from .indexing import place, take, take_along_axis
from .joining import along
from .reductions import axes_of, joined_last, reduced_axes

Array = Any


def data_of(x: Any) -> Array:
    """The array of a Tensor; anything else unchanged."""
    return x.data if isinstance(x, Tensor) else x


# ---- running extremes --------------------------------------------------------------------------------------------


def running(ufunc: Any, a: Array, axis: int) -> Array:
    """`ufunc.accumulate` for an extreme. CuPy lacks it, so a GPU takes log n steps that double the span 2d from d."""
    if type(a) is np.ndarray:
        return ufunc.accumulate(a, axis=axis)
    n, d = a.shape[axis], 1
    while d < n:
        earlier, later = a[along(axis, slice(None, -d))], a[along(axis, slice(d, None))]
        a = np.concatenate([a[along(axis, slice(None, d))], ufunc(earlier, later)], axis=axis)
        d *= 2
    return a


def _running_extreme(ufunc: Any, array: Any, axis: int) -> Any:
    """At each place, the extreme element so far; among equal ones the last, as in PyTorch's cummax."""
    (axis,) = axes_of(axis, array.ndim, f"{ufunc.__name__}.accumulate")
    data = data_of(array)
    reached = (data == running(ufunc, data, axis)) | (data != data)  # a NaN is the extreme of all that follow
    count = backend.module_of(data).arange(data.shape[axis]).reshape([-1] + [1] * (data.ndim - axis - 1))
    return take_along_axis(array, running(np.maximum, np.where(reached, count, 0), axis), axis)


@composed()
def maximum_accumulate(array: Any, axis: int = 0, dtype: Any = None) -> Any:
    """np.maximum.accumulate: the running maximum. Among equal elements, the last gets the gradient."""
    return _running_extreme(np.maximum, array if dtype is None else array.astype(dtype), axis)


@composed()
def minimum_accumulate(array: Any, axis: int = 0, dtype: Any = None) -> Any:
    """np.minimum.accumulate: the running minimum. Among equal elements, the last gets the gradient."""
    return _running_extreme(np.minimum, array if dtype is None else array.astype(dtype), axis)


# ---- any binary ufunc ----------------------------------------------------------------------------------------------


@composed()
def logaddexp_reduce(
    array: Any, axis: Any = 0, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    """np.logaddexp.reduce: log Σ exp along one or several axes."""
    array = array if dtype is None else array.astype(dtype)
    if where is not True:
        array = np.where(where, array, loser(array, axis, where, -math.inf, initial))
    total = logsumexp(array, axis, keepdims)
    return total if initial is None else np.logaddexp(initial, total)


@composed()
def ufunc_reduce(
    ufunc: Any, array: Any, axis: Any = 0, *, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    """`ufunc.reduce` along an axis, from the first element (or `initial`) to the last; along several, if the order of
    the elements has no influence."""
    name, axes = f"{ufunc.__name__}.reduce", reduced_axes(axis, array.ndim)
    if len(axes) > 1 and ufunc.identity is None and ufunc not in (np.fmax, np.fmin):
        raise ValueError(f"{name}: the order of elements matters, so give one axis, not {axis} of shape {array.shape}")
    if where is not True:
        where = np.broadcast_to(data_of(where), array.shape)
        initial = ufunc.identity if initial is None else initial
        if initial is None:
            raise ValueError(f"{name}: with where=, an initial= value is needed for rows without an element")
    if len(axes) == 1:
        flat, some, last = array, where, axes[0]
    else:
        flat, some, last = joined_last(array, axis), where if where is True else joined_last(where, axis), -1
    total = initial
    for k, part in enumerate([] if initial is not None and flat.shape[last] == 0 else _parts(ufunc, flat, last)):
        after = part if total is None else ufunc(total, part)
        total = after if where is True else np.where(some[along(last, k)], after, total)
    if flat.shape[last] == 0:
        shape = [n for k, n in enumerate(array.shape) if k not in axes]
        total = Tensor._of(np.full_like(data_of(array), data_of(total), shape=shape))
    return np.expand_dims(total, axes) if keepdims else total


@composed()
def ufunc_accumulate(ufunc: Any, array: Any, axis: int = 0) -> Any:
    """`ufunc.accumulate` along an axis."""
    (axis,) = axes_of(axis, array.ndim, f"{ufunc.__name__}.accumulate")
    totals = _parts(ufunc, array, axis)
    for k in range(1, len(totals)):
        totals[k] = ufunc(totals[k - 1], totals[k])
    return np.stack(totals, axis=axis)


def _parts(ufunc: Any, array: Any, axis: int) -> list[Any]:
    n = array.shape[axis]
    if n == 0:
        raise ValueError(f"{ufunc.__name__}: axis {axis} of shape {array.shape} has no element to begin with")
    return [array[along(axis, k)] for k in range(n)]


@composed()
def ufunc_reduceat(ufunc: Any, array: Any, indices: Any, axis: int = 0) -> Any:
    """`ufunc.reduceat`: one segment from each index up to the next; one element if that is not larger."""
    (axis,) = axes_of(axis, array.ndim, f"{ufunc.__name__}.reduceat")
    n = array.shape[axis]
    starts = np.asarray(backend.to_numpy(data_of(indices)) if hasattr(indices, "shape") else indices).astype(np.intp)
    if starts.size and not 0 <= starts.min() <= starts.max() < n:
        raise IndexError(f"{ufunc.__name__}.reduceat: indices {starts.tolist()} for an axis of {n} elements")
    ends = np.maximum(np.append(starts[1:], n), starts + 1)
    if ufunc is not np.add:
        reduce = REDUCTIONS.get(ufunc, lambda part, axis: ufunc.reduce(part, axis=axis))
        spans = zip(starts.tolist(), ends.tolist(), strict=True)
        return np.stack([reduce(array[along(axis, slice(s, e))], axis=axis) for s, e in spans], axis=axis)
    sizes = ends - starts
    segments = np.repeat(np.arange(starts.size), sizes)
    elements = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts, sizes)
    device = backend.device_of(data_of(array))
    starts, segments, elements = (backend.from_numpy(v, device) for v in (starts, segments, elements))
    return segment_sums(array, starts, segments, elements, axis)


def moved(x: Any, source: Array, target: Array, shape: tuple[int, ...], axis: int) -> Any:
    """Σ over k of x[source[k]] at target[k], along an axis."""
    return place(take(x, source, axis), along(axis, target), (*x.shape[:axis], shape[axis], *x.shape[axis + 1 :]))


@operation(a=lambda g, a_shape, segments, elements, axis: moved(g, segments, elements, a_shape, axis))
def segment_sums(a: Array, starts: Array, segments: Array, elements: Array, axis: int) -> Array:
    """The sums of segments: element elements[k] belongs to segment segments[k]."""
    if type(a) is np.ndarray:
        return np.add.reduceat(a, starts, axis=axis)
    return moved(a, elements, segments, (*a.shape[:axis], starts.shape[0]), axis)


METHODS |= {"reduce": ufunc_reduce, "accumulate": ufunc_accumulate, "reduceat": ufunc_reduceat}
ACCUMULATIONS |= {np.maximum: maximum_accumulate, np.minimum: minimum_accumulate}
REDUCTIONS[np.logaddexp] = logaddexp_reduce
NUMPY_NAMES |= {
    "maximum_accumulate": ["np.maximum.accumulate"], "minimum_accumulate": ["np.minimum.accumulate"],
    "logaddexp_reduce": ["np.logaddexp.reduce"], "ufunc_reduce": ["reduce of any ufunc of two operands"],
    "ufunc_accumulate": ["accumulate of any"], "ufunc_reduceat": ["reduceat of any"],
}  # fmt: skip
