"""Element-wise choice between arrays, and functions applied to parts of an array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..tensors import Tensor
from ..vocabulary import composed
from .accumulations import data_of
from .indexing import place, take_along_axis
from .joining import beside
from .reductions import axes_of

Array = Any


@composed(np.select)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """For each element, the choice of the first condition that holds, or the default."""
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError(f"select: {len(condlist)} conditions for {len(choicelist)} choices; there is one for each")
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        condition = data_of(condition)
        if getattr(condition, "dtype", None) != np.bool_ and type(condition) is not bool:
            raise TypeError(f"select: conditions are arrays of booleans, not {getattr(condition, 'dtype', condition)}")
        result = np.where(condition, choice, result)
    return result


@composed(np.choose)
def choose(a: Any, choices: Any, *, mode: str = "raise") -> Any:
    """choices[a[i]][i]: for each element, the number of the array to take it from."""
    options = list(choices)
    options = list(beside(options)) if any(isinstance(c, Tensor) for c in options) else options
    which, *options = np.broadcast_arrays(data_of(a), *options)
    which = index_within("choose", which, len(options), mode)
    return take_along_axis(np.stack(options), np.expand_dims(which, 0), 0)[0]


def index_within(name: str, index: Any, n: int, mode: str) -> Any:
    """Indices below n: checked, clipped, or wrapped around."""
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"{name}: mode is 'raise', 'wrap' or 'clip', not {mode!r}")
    if mode == "wrap":
        return index % n
    if mode == "clip":
        return np.clip(index, 0, n - 1)
    if backend.is_array(index):
        backend.check_indices(name, index, n)
    return index


@composed(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Any:
    """f(x) for the elements where f's condition holds (the last one that does), 0 where none does.

    A function receives the elements of its piece as one row; a number is the value itself. With one function more than
    conditions, the last is for all other elements.
    """
    conditions = [data_of(c) for c in (condlist if isinstance(condlist, list | tuple) else [condlist])]
    if len(conditions) == 1 and getattr(conditions[0], "ndim", 0) > x.ndim:
        conditions = list(conditions[0])
    xp = backend.module_of(x.data)
    conditions = [c if hasattr(c, "shape") and c.shape == x.shape else xp.full(x.shape, c) for c in conditions]
    if len(funclist) == len(conditions) + 1:
        other = ~conditions[0]
        for condition in conditions[1:]:
            other = other & ~condition
        conditions.append(other)
    if len(funclist) != len(conditions):
        raise ValueError(f"piecewise: {len(funclist)} functions for {len(conditions)} conditions")
    y: Any = np.zeros_like(x.data)
    for condition, function in zip(conditions, funclist, strict=True):
        if callable(function):
            piece = function(x[condition], *args, **kw)
            spread = np.broadcast_to(piece, x[condition].shape) if isinstance(piece, Tensor) else piece
            function = place(spread.astype(x.dtype), condition, x.shape) if isinstance(piece, Tensor) else piece
        y = np.where(condition, function, y)
    return y if isinstance(y, Tensor) else Tensor._of(y)


# ---- functions along axes ----------------------------------------------------------------------------------------


@composed(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """func1d(row) for each row along an axis; the axes of its results replace that axis."""
    (k,) = axes_of(axis, np.ndim(arr), "apply_along_axis")
    moved = np.moveaxis(arr, k, -1)
    rest = moved.shape[:-1]
    if 0 in rest:
        raise ValueError(f"apply_along_axis: there is no row along axis {k} of shape {arr.shape}")
    rows = np.reshape(moved, (-1, moved.shape[-1]))
    results = [func1d(rows[i], *args, **kwargs) for i in range(rows.shape[0])]
    found = np.stack(beside(results)) if any(isinstance(r, Tensor) for r in results) else np.stack(results)
    found = np.reshape(found, (*rest, *found.shape[1:]))
    n = len(rest)
    return np.moveaxis(found, range(n, found.ndim), range(k, k + found.ndim - n))


@composed(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    """func(a, axis) for one axis after the other; axes that it removes come back with size 1."""
    for axis in axes_of(axes, np.ndim(a), "apply_over_axes"):
        result = func(a, axis)
        if result.ndim != a.ndim:
            result = np.expand_dims(result, axis)
            if result.ndim != a.ndim:
                raise ValueError(f"apply_over_axes: the function gave shape {result.shape} for {a.shape}")
        a = result
    return a
