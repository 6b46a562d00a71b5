"""Padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..tensors import Tensor
from ..vocabulary import composed, operation, will_be_recorded
from .accumulations import data_of
from .editing import linspace
from .joining import along
from .reductions import axes_of

Array = Any

_INDEXED = ("edge", "reflect", "symmetric", "wrap")
_STATISTICS: dict[str, Any] = {"maximum": np.max, "mean": np.mean, "median": np.median, "minimum": np.min}


@operation(
    name="pad",
    array=lambda g, array_shape, width: g[
        tuple([slice(before, before + n) for (before, _), n in zip(width, array_shape, strict=True)])
    ],
)
def _pad(array: Array, width: Any, value: float) -> Array:
    return np.pad(array, width, constant_values=value) if width else array.copy()


def pairs(name: str, given: Any, ndim: int, whole: bool = False) -> list[tuple[Any, Any]]:
    """(before, after) for each axis, from one number, one pair, a pair for each axis, or a dict of some axes."""
    if isinstance(given, dict):
        found: list[tuple[Any, Any]] = [(0, 0)] * ndim
        for axis, value in given.items():
            (k,) = axes_of(axis, ndim, "pad")
            before, after = value if isinstance(value, tuple | list) else (value, value)
            found[k] = (before, after)
        return found
    if any(isinstance(v, Tensor) for v in given) if isinstance(given, tuple | list) else isinstance(given, Tensor):
        raise TypeError(f"pad: there is no rule for the gradient of {name}; pass numbers, or join with np.concatenate")
    values = np.broadcast_to(np.asarray(given), (ndim, 2)).tolist()
    return [(int(b), int(e)) if whole else (b, e) for b, e in values]


@composed(np.pad)
def pad(
    array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0.0, end_values: Any = 0.0,
    stat_length: Any = None, reflect_type: str = "even",
) -> Any:  # fmt: skip
    """Pad with constants, a ramp to them, the edge, statistics, or reflected, symmetric or wrapped values. A function
    as mode runs if no gradient flows.

    mode  "constant", "empty" (of zeros), "linear_ramp", "edge", "maximum", "mean", "median", "minimum", "reflect",
          "symmetric" or "wrap"
    """
    ndim = np.ndim(array)
    width = pairs("pad_width", pad_width, ndim, whole=True)
    if any(n < 0 for ends in width for n in ends):
        raise ValueError(f"pad: widths must not be negative, got {pad_width}")
    if callable(mode):
        if will_be_recorded(array):
            raise TypeError(
                "pad: a function as mode writes into a plain array, so its padding has no gradient; join the padding "
                "with np.concatenate, or pass x.detach() if no gradient should flow"
            )
        return Tensor._of(np.pad(backend.to_numpy(data_of(array)), width, mode))
    if reflect_type not in ("even", "odd"):
        raise ValueError(f"pad: reflect_type must be 'even' or 'odd', got {reflect_type!r}")
    if mode == "empty":
        return _pad(array, width, 0.0)
    if mode == "constant":
        if np.ndim(constant_values) == 0 and not isinstance(constant_values, Tensor | dict):
            return _pad(array, width, constant_values)
        filling = pairs("constant_values", constant_values, ndim)
    elif mode == "linear_ramp":
        filling = pairs("end_values", end_values, ndim)
    elif mode in _STATISTICS:
        filling = [(None, None)] * ndim if stat_length is None else pairs("stat_length", stat_length, ndim, True)
    elif mode not in _INDEXED:
        raise TypeError(f"pad: mode {mode!r} has no rule; there are constant, empty, linear_ramp, "
                        f"{', '.join((*_STATISTICS, *_INDEXED))}")  # fmt: skip
    for axis, (before, after) in enumerate(width):
        if before == after == 0:
            continue
        if mode in _INDEXED:
            if reflect_type == "odd" and mode in ("reflect", "symmetric"):
                array = _odd(array, axis, before, after, mode)
            else:
                places = np.pad(np.arange(np.shape(array)[axis]), (before, after), mode)  # type: ignore[call-overload]
                array = np.take(array, places, axis=axis)
            continue
        first, last = filling[axis]
        if mode == "constant":
            parts = [_constant(array, axis, before, first), array, _constant(array, axis, after, last)]
        elif mode == "linear_ramp":
            ramps = [
                linspace(v, np.take(array, at, axis=axis), n, endpoint=False, axis=axis).astype(array.dtype)
                for v, at, n in ((first, 0, before), (last, -1, after))
            ]
            parts = [ramps[0], array, np.flip(ramps[1], axis)]
        else:
            parts = [_statistic(mode, array, axis, before, first), array, _statistic(mode, array, axis, -after, last)]
        array = np.concatenate(parts, axis=axis)
    return array


def _odd(array: Any, axis: int, before: int, after: int, mode: str) -> Any:
    """The array between its odd reflections 2 edge − element, which are reflected again until the width is reached."""
    n, offset = array.shape[axis], 1 if mode == "reflect" else 0  # a reflection leaves the edge out
    if n == 1:
        return np.take(array, [0] * (before + 1 + after), axis=axis)
    while before or after:
        size, period = array.shape[axis], n - offset
        span = (size - offset) // period * period
        left, right = min(span, before), min(span, after)
        first = array[along(axis, slice(offset, offset + left))]
        last = array[along(axis, slice(size - offset - right, size - offset))]
        array = np.concatenate(
            [
                2 * array[along(axis, slice(0, 1))] - np.flip(first, axis),
                array,
                2 * array[along(axis, slice(size - 1, size))] - np.flip(last, axis),
            ],
            axis=axis,
        )
        before, after = before - left, after - right
    return array


def _constant(array: Any, axis: int, width: int, value: Any) -> Array:
    shape = array.shape
    return np.full_like(data_of(array), value, shape=(*shape[:axis], width, *shape[axis + 1 :]))


def _statistic(mode: str, array: Any, axis: int, width: int, length: int | None) -> Any:
    """The statistic of the first elements (for a negative width, of the last ones), repeated."""
    n = array.shape[axis] if length is None else min(length, array.shape[axis])
    part = array[along(axis, slice(None, n) if width >= 0 else slice(array.shape[axis] - n, None))]
    found = _STATISTICS[mode](part, axis=axis, keepdims=True)
    shape = array.shape
    return np.broadcast_to(found, (*shape[:axis], abs(width), *shape[axis + 1 :]))
