"""The largest and the smallest elements along axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dispatch import unwrapped
from ..tensors import Tensor
from ..vocabulary import composed, operation
from .reductions import count, counted, reduced_axes, spread

Array = Any


def extreme_rule(g: Any, y: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """Shared evenly among the elements equal to the extreme, as in PyTorch's amax."""
    g, y = (spread(v, a.shape, axis, keepdims) for v in (g, y))
    hit = ((a == y) | (a != a)).astype(g.dtype)  # a NaN result comes from the NaN elements
    return g * (hit / np.sum(hit, axis=axis, keepdims=True))


@operation(name="max", a=extreme_rule)
def _max(a: Array, axis: Any, keepdims: bool) -> Array:
    return np.max(a, axis=axis, keepdims=keepdims)


@operation(name="min", a=extreme_rule)
def _min(a: Array, axis: Any, keepdims: bool) -> Array:
    return np.min(a, axis=axis, keepdims=keepdims)


@composed(np.max, np.amax)
def max_(a: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    if where is True and initial is None:
        return _max(a, axis, keepdims)
    return np.maximum(_max(bounded(a, axis, initial, where, -math.inf, "max"), axis, keepdims), initial)


@composed(np.min, np.amin)
def min_(a: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    if where is True and initial is None:
        return _min(a, axis, keepdims)
    return np.minimum(_min(bounded(a, axis, initial, where, math.inf, "min"), axis, keepdims), initial)


def bounded(a: Any, axis: Any, initial: Any, where: Any, worst: float, name: str) -> Any:
    """The operand of an extreme, with an initial value as a further element."""
    if initial is None:
        raise ValueError(f"{name}: with where=, an initial= value is needed for rows without an element")
    if a.dtype.kind != "f":
        return np.where(where, a, initial)
    fill = loser(a, axis, where, worst, initial)
    return Tensor._of(fill) if count(a.shape, axis) == 0 else counted(a, where, fill)


def loser(a: Any, axis: Any, where: Any, worst: float, initial: Any = None) -> Array:
    """For each row, a number that loses to the extreme of its elements and the initial value, with axes of size 1.

    It is finite unless that extreme is infinite (or the last finite number): an infinity that the user did not pass
    would be an anomaly.

    worst  the infinity that loses to all numbers: −∞ for a maximum
    """
    data, where = unwrapped((a, where))
    extreme, better = (np.max, np.maximum) if worst < 0 else (np.min, np.minimum)
    if count(data.shape, axis) == 0:
        axes = reduced_axes(axis, len(data.shape))
        winner = np.full_like(data, worst, shape=[1 if k in axes else n for k, n in enumerate(data.shape)])
    else:
        winner = extreme(counted(data, where, worst), axis=axis, keepdims=True)
    winner = winner if initial is None else better(winner, unwrapped(initial))
    last = math.copysign(float(np.finfo(data.dtype).max), worst)
    return np.where(better(winner, last) != last, last, worst).astype(data.dtype)


@composed(np.ptp)
def ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)
