"""Arrays assembled from blocks, with rows inserted or deleted, and grids."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..tensors import Tensor
from ..vocabulary import composed
from .accumulations import data_of
from .indexing import take
from .joining import beside, concatenate
from .reductions import axes_of

Array = Any


def on_host(index: Any) -> Any:
    """Indices as NumPy arrays on the host; slices and lists unchanged."""
    index = data_of(index)
    return backend.to_numpy(index) if backend.is_array(index) else index


# ---- blocks, inserting and deleting --------------------------------------------------------------------------------


@composed(np.block)
def block(arrays: Any) -> Any:
    """Nested lists joined: the innermost along the last axis, each outer level along the axis before."""

    def depth(part: Any) -> int:
        if not isinstance(part, list):
            return 0
        if not part:
            raise ValueError("block: a list is empty")
        depths = {depth(p) for p in part}
        if len(depths) > 1:
            raise ValueError(f"block: lists are nested {sorted(depths)} deep in one list; all must be equally deep")
        return 1 + depths.pop()

    def leaves(part: Any) -> list[Any]:
        return [leaf for p in part for leaf in leaves(p)] if isinstance(part, list) else [part]

    levels = depth(arrays)
    values = list(beside(leaves(arrays)))
    ndim = max(levels, *[np.ndim(v) for v in values])
    given = iter([np.reshape(v, (1,) * (ndim - np.ndim(v)) + np.shape(v)) for v in values])

    def joined(part: Any, level: int) -> Any:
        if not isinstance(part, list):
            return next(given)
        return concatenate([joined(p, level - 1) for p in part], axis=-level)

    return np.copy(joined(arrays, levels)) if levels == 0 else joined(arrays, levels)


@composed(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """Values inserted before the given indices of an axis (without an axis, of the flattened array)."""
    arr, values = beside([arr, values])
    if axis is None:
        arr, axis = np.ravel(arr), 0
    (k,) = axes_of(axis, np.ndim(arr), "insert")
    obj = on_host(obj)
    n = np.shape(arr)[k]
    if isinstance(obj, slice) or np.ndim(obj) or getattr(obj, "dtype", None) == np.bool_:
        places = np.arange(n)[obj] if isinstance(obj, slice) else np.asarray(obj, None if np.size(obj) else np.intp)
        places = np.flatnonzero(places) if places.dtype == np.bool_ else places.reshape(-1)
    else:
        places = np.asarray(int(obj))
    values = np.reshape(values, (1,) * (np.ndim(arr) - np.ndim(values)) + np.shape(values))
    values, places = (np.moveaxis(values, 0, k), places[None]) if places.ndim == 0 else (values, places)
    m = np.shape(values)[k] if len(places) == 1 else len(places)
    values = np.broadcast_to(values, (*np.shape(arr)[:k], m, *np.shape(arr)[k + 1 :])).astype(arr.dtype)
    order = np.insert(np.arange(n), places if len(places) != 1 else int(places[0]), n + np.arange(m))
    return take(concatenate([arr, values], axis=k), order, k)


@composed(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """The array without the given indices of an axis (without an axis, of the flattened array)."""
    if axis is None:
        arr, axis = np.ravel(arr), 0
    (k,) = axes_of(axis, np.ndim(arr), "delete")
    return take(arr, np.delete(np.arange(np.shape(arr)[k]), on_host(obj)), k)


@composed(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """The flattened elements, repeated or truncated to fill a shape."""
    shape = tuple(new_shape) if isinstance(new_shape, tuple | list) else (new_shape,)
    if any(n < 0 for n in shape):
        raise ValueError(f"resize: all of the sizes {shape} must be 0 or more")
    flat, size = np.ravel(a), math.prod(shape)
    if size and not flat.shape[0]:
        return Tensor._of(np.zeros_like(flat.data, shape=shape))
    return np.reshape(take(flat, np.arange(size) % max(flat.shape[0], 1), 0), shape)


@composed(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """The array without the zeros at its front ("f") and back ("b"), along all axes or some."""
    trim = trim.lower()
    if trim not in ("fb", "bf", "f", "b"):
        raise ValueError(f"trim_zeros: trim is made of 'f' and 'b', not {trim!r}")
    axes = axes_of(axis, np.ndim(filt), "trim_zeros")
    found = np.argwhere(on_host(filt))
    if not len(found):
        return filt[tuple([slice(0, 0) if k in axes else slice(None) for k in range(filt.ndim)])]
    first, last = found.min(axis=0), found.max(axis=0) + 1
    index = [slice(None)] * filt.ndim
    for k in axes:
        index[k] = slice(int(first[k]) if "f" in trim else None, int(last[k]) if "b" in trim else None)
    return filt[tuple(index)]


# ---- grids -------------------------------------------------------------------------------------------------------


@composed(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """The coordinates of a grid from those along each axis; with "xy", the first two axes are exchanged."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}")
    n = len(xi)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    grids = [np.reshape(x, [-1 if order[j] == k else 1 for j in range(n)]) for k, x in enumerate(beside(xi))]
    if sparse:
        return tuple(grids)
    return tuple([np.copy(g) if copy else g for g in np.broadcast_arrays(*grids)])


def _ends(start: Any, stop: Any) -> tuple[Any, Any]:
    start, stop = np.broadcast_arrays(*beside([start, stop]))
    kinds = [v if v.dtype.kind == "f" else v.astype(np.float64) for v in (start, stop)]
    return kinds[0], kinds[1]


def _fractions(name: str, like: Any, num: int, endpoint: bool) -> Any:
    """0, 1/k, 2/k, ..., as a column for each element of `like`; the last is 1 if the endpoint is included."""
    if num < 0:
        raise ValueError(f"{name}: the number of samples must not be negative, got {num}")
    parts = max(num - 1, 1) if endpoint else max(num, 1)
    t = backend.module_of(data_of(like)).arange(num).astype(like.dtype) / parts
    return np.reshape(t, (-1,) + (1,) * like.ndim)


def _finished(y: Any, dtype: Any, axis: int) -> Any:
    y = np.moveaxis(y, 0, axis)
    if dtype is None:
        return y
    return (np.floor(y) if np.dtype(dtype).kind in "iu" else y).astype(dtype)


@composed(np.linspace)
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    """`num` evenly spaced numbers from start to stop."""
    start, stop = _ends(start, stop)
    t = _fractions("linspace", start, num, endpoint)
    y = start + t * (stop - start)
    if endpoint and num > 1:
        y = np.where(t == 1, stop, y)
    step = (stop - start) / ((num - 1 if endpoint else num) or np.nan)
    return (_finished(y, dtype, axis), step) if retstep else _finished(y, dtype, axis)


@composed(np.logspace)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """Powers of the base with evenly spaced exponents."""
    start, stop = _ends(start, stop)
    if np.ndim(base):
        start, stop, base = np.broadcast_arrays(start, stop, beside([start, base])[1])
        base = np.expand_dims(base, 0)
    exponents = linspace(start, stop, num, endpoint)
    return _finished(np.power(base, exponents), dtype, axis)


@composed(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """Numbers in a geometric progression from start to stop, of equal sign and not 0; in float64, as in NumPy."""
    start, stop = (v.astype(np.float64) for v in _ends(start, stop))
    for end in (start, stop):
        data = data_of(end)
        if backend.backend_of(data).synchronous and (data == 0).any():
            raise ValueError("geomspace: start and stop must not be 0, since ratios lead nowhere from there")
    t = _fractions("geomspace", start, num, endpoint)
    sign = np.sign(data_of(start))
    y = sign * np.power(sign * start, 1 - t) * np.power(sign * stop, t)  # a ratio of the two might overflow
    if endpoint and num > 1:
        y = np.where(t == 1, stop, y)
    return _finished(y, dtype, axis)
