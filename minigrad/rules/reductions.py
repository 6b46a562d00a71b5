"""Sums, means, extremes and running sums along axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..scopes import here
from ..vocabulary import composed, operation
from .elementwise import divided

Array = Any


def axes_of(axis: Any, ndim: int, operation: str = "") -> tuple[int, ...]:
    """An axis argument as a tuple of axes that are not negative; AxisError where there is no such axis."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:  # the usual case, without the detour
        return (axis % ndim,)
    axes: tuple[int, ...] = normalize_axis_tuple(axis, ndim, operation + here() or None)
    return axes


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The same for a reduction: NumPy lets a number, which has no axes, be reduced over its first or last one."""
    return () if ndim == 0 and axis in (0, -1) else axes_of(axis, ndim)


def spread(g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """The gradient of a reduction, back in the shape that was reduced."""
    if not keepdims:
        axes = reduced_axes(axis, len(shape))
        g = np.reshape(g, tuple([1 if k in axes else n for k, n in enumerate(shape)]))
    return np.broadcast_to(g, shape)


def last_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """All axes, those of a reduction last."""
    axes = reduced_axes(axis, ndim)
    return (*[k for k in range(ndim) if k not in axes], *axes)


def joined_last(a: Any, axis: Any) -> Any:
    """The axes of a reduction as one, the last."""
    order, n = last_axes(axis, len(a.shape)), len(reduced_axes(axis, len(a.shape)))
    kept = [a.shape[k] for k in order[: len(order) - n]]
    return np.reshape(np.transpose(a, order), (*kept, count(a.shape, axis)))


def count(shape: tuple[int, ...], axis: Any) -> int:
    """How many numbers go into each result."""
    return math.prod([shape[k] for k in reduced_axes(axis, len(shape))])


@operation(name="sum", a=lambda g, a_shape, axis, keepdims: spread(g, a_shape, axis, keepdims))
def _sum(a: Array, axis: Any, keepdims: bool) -> Array:
    return np.sum(a, axis=axis, keepdims=keepdims)


@composed(np.sum)
def sum(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    return _sum(a if dtype is None else a.astype(dtype), axis, keepdims)


@operation(
    name="mean",
    a=lambda g, a_shape, axis, keepdims: spread(g, a_shape, axis, keepdims) * (1 / max(count(a_shape, axis), 1)),
)
def _mean(a: Array, axis: Any, keepdims: bool) -> Array:
    return np.mean(a, axis=axis, keepdims=keepdims)


@composed(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    return _mean(a if dtype is None else a.astype(dtype), axis, keepdims)


# ---- variance ----------------------------------------------------------------------------------------------------


def freedom(shape: tuple[int, ...], axis: Any, ddof: float) -> float:
    """The degrees of freedom; NaN where there are none."""
    left = count(shape, axis) - ddof
    return left if left > 0 else math.nan


def var_rule(g: Any, a: Any, axis: Any, ddof: float, keepdims: bool) -> Any:
    """2 (a − mean) / (n − ddof)."""
    centred = a - np.mean(a, axis=axis, keepdims=True)
    return spread(g, a.shape, axis, keepdims) * centred * (2 / freedom(a.shape, axis, ddof))


def std_rule(g: Any, y: Any, a: Any, axis: Any, ddof: float, keepdims: bool) -> Any:
    """(a − mean) / ((n − ddof) y), and 0 for a constant."""
    centred = a - np.mean(a, axis=axis, keepdims=True)
    centred = centred - np.mean(centred, axis=axis, keepdims=True)  # a mean is rounded: nothing of it may be left
    return spread(divided(g, y), a.shape, axis, keepdims) * centred * (1 / freedom(a.shape, axis, ddof))


@operation(np.var, a=var_rule)
def var(a: Array, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Array:
    return np.var(a, axis=axis, ddof=ddof, keepdims=keepdims)


@operation(np.std, a=std_rule)
def std(a: Array, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Array:
    return np.std(a, axis=axis, ddof=ddof, keepdims=keepdims)


# ---- extremes ----------------------------------------------------------------------------------------------------


def extreme_rule(g: Any, y: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """Shared evenly among the elements that attain the extreme, as in PyTorch's amax."""
    g, y = (spread(v, a.shape, axis, keepdims) for v in (g, y))
    hit = (a == y) | (a != a)  # a NaN is the extreme of its kind
    return g * (hit / np.sum(hit, axis=axis, keepdims=True)).astype(g.dtype)


@operation(np.max, np.amax, a=extreme_rule)
def max_(a: Array, axis: Any = None, keepdims: bool = False) -> Array:
    return np.max(a, axis=axis, keepdims=keepdims)


@operation(np.min, np.amin, a=extreme_rule)
def min_(a: Array, axis: Any = None, keepdims: bool = False) -> Array:
    return np.min(a, axis=axis, keepdims=keepdims)


# ---- along an axis: products, running sums -----------------------------------------------------------------------


def reverse_cumsum(g: Any, axis: int) -> Any:
    return np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)


def cumprod_rule(g: Any, y: Any, a: Any, axis: int) -> Any:
    """∂y_j/∂a_i = Π_{k ≤ j, k ≠ i} a_k for j ≥ i. Where no a is 0, that is y_j / a_i."""
    if np.all(a != 0):
        return reverse_cumsum(g * y, axis) / a
    a, g = np.moveaxis(a, axis, -1), np.moveaxis(g, axis, -1)
    n = a.shape[-1]
    itself = np.ones_like(a, shape=(n, n)).cumsum(0)
    itself = itself == itself.swapaxes(0, 1)  # (n, n): the diagonal
    others = np.where(itself, 1.0, np.expand_dims(a, -2))  # (..., i, k): a without its i-th element
    later = np.triu(np.ones_like(g, shape=(n, n)))
    return np.moveaxis(np.sum(np.cumprod(others, axis=-1) * later * np.expand_dims(g, -2), axis=-1), -1, axis)


@operation(name="cumsum", a=lambda g, axis: reverse_cumsum(g, axis))
def _cumsum(a: Array, axis: int) -> Array:
    return np.cumsum(a, axis=axis)


@operation(name="cumprod", a=cumprod_rule)
def _cumprod(a: Array, axis: int) -> Array:
    return np.cumprod(a, axis=axis)


@composed(np.cumsum)
def cumsum(a: Any, axis: int | None = None) -> Any:
    return _cumsum(np.ravel(a), 0) if axis is None else _cumsum(a, axis)


@composed(np.cumprod)
def cumprod(a: Any, axis: int | None = None) -> Any:
    return _cumprod(np.ravel(a), 0) if axis is None else _cumprod(a, axis)


def prod_rule(g: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """The product of the others: of those before times of those after. No division, so zeros are no exception."""
    order = last_axes(axis, len(a.shape))
    flat = joined_last(a, axis)
    one = np.ones_like(flat[..., :1])
    before = np.cumprod(np.concatenate([one, flat[..., :-1]], axis=-1), axis=-1)
    after = np.flip(np.cumprod(np.flip(np.concatenate([flat[..., 1:], one], axis=-1), -1), axis=-1), -1)
    apart = np.reshape(before * after, [a.shape[k] for k in order])
    others = np.transpose(apart, [order.index(k) for k in range(len(order))])
    return spread(g, a.shape, axis, keepdims) * others


@operation(np.prod, a=prod_rule)
def prod(a: Array, axis: Any = None, keepdims: bool = False) -> Array:
    return np.prod(a, axis=axis, keepdims=keepdims)


# ---- composed ----------------------------------------------------------------------------------------------------


@composed(np.ptp)
def ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


@composed(np.nansum)
def nansum(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.sum(np.where(np.isnan(a), 0.0, a) if a.dtype.kind == "f" else a, axis=axis, keepdims=keepdims)


@composed(np.nanmean)
def nanmean(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    valid = np.sum(~np.isnan(a), axis=axis, keepdims=keepdims)
    return nansum(a, axis, keepdims=keepdims) / valid.astype(a.dtype)


@composed(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    """Not finite where the weights sum to zero; NumPy's own function raises there."""
    if weights is None:
        return np.mean(a, axis=axis, keepdims=keepdims)
    if np.shape(weights) != np.shape(a):  # one weight for each place along the axes
        if axis is None:
            raise TypeError(f"average: weights of shape {np.shape(weights)} for {a.shape} need an axis")
        axes = axes_of(axis, a.ndim, "average")
        if np.shape(weights) != tuple(a.shape[k] for k in axes):
            raise ValueError(f"average: weights of shape {np.shape(weights)} along the axes {axes} of {a.shape}")
        weights = np.transpose(weights, np.argsort(axes)) if len(axes) > 1 else weights
        weights = np.broadcast_to(np.reshape(weights, [a.shape[k] if k in axes else 1 for k in range(a.ndim)]), a.shape)
    total = np.sum(weights, axis=axis, keepdims=keepdims)
    return np.sum(a * weights, axis=axis, keepdims=keepdims) / total


@composed(np.median)
def median(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The middle value, or the mean of the two middle ones; NaN where there is one."""
    flat = joined_last(a, axis)
    n = flat.shape[-1]
    if n == 0:  # as the mean of nothing
        return np.mean(a, axis=axis, keepdims=keepdims)
    ordered = np.sort(flat, axis=-1)
    middle, last = np.mean(ordered[..., (n - 1) // 2 : n // 2 + 1], axis=-1), ordered[..., -1]
    result = np.where(np.isnan(last), last, middle)
    axes = axes_of(axis, a.ndim)
    return np.reshape(result, [1 if k in axes else m for k, m in enumerate(a.shape)]) if keepdims else result


@composed(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    (along,) = axes_of(axis, a.ndim, "diff")
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    before = (slice(None),) * along
    for _ in range(n):
        a = a[(*before, slice(1, None))] - a[(*before, slice(None, -1))]
    return a
