"""Sums, means and running sums along axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..scopes import here
from ..vocabulary import composed, first_order, operation
from .elementwise import divided

Array = Any


def axes_of(axis: Any, ndim: int, operation: str = "") -> tuple[int, ...]:
    """An axis argument as a tuple of non-negative axes; AxisError if there is no such axis."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:  # the common case, without NumPy's check
        return (axis % ndim,)
    axes: tuple[int, ...] = normalize_axis_tuple(axis, ndim, operation + here() or None)
    return axes


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """`axes_of` for a reduction: NumPy lets a scalar, which has no axes, be reduced over axis 0 or −1."""
    return () if ndim == 0 and axis in (0, -1) else axes_of(axis, ndim)


def spread(g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """The gradient of a reduction, broadcast to the shape before it."""
    if not keepdims:
        axes = reduced_axes(axis, len(shape))
        g = np.reshape(g, tuple([1 if k in axes else n for k, n in enumerate(shape)]))
    return np.broadcast_to(g, shape)


def last_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """All axes, with those of a reduction last."""
    axes = reduced_axes(axis, ndim)
    return (*[k for k in range(ndim) if k not in axes], *axes)


def joined_last(a: Any, axis: Any) -> Any:
    """The array with the axes of a reduction joined into the last one."""
    order, n = last_axes(axis, len(a.shape)), len(reduced_axes(axis, len(a.shape)))
    kept = [a.shape[k] for k in order[: len(order) - n]]
    return np.reshape(np.transpose(a, order), (*kept, count(a.shape, axis)))


def count(shape: tuple[int, ...], axis: Any) -> int:
    """The number of elements in each result."""
    return math.prod([shape[k] for k in reduced_axes(axis, len(shape))])


def counted(a: Any, where: Any, otherwise: Any) -> Any:
    """The elements to reduce, and a neutral number in place of the others."""
    return a if where is True else np.where(where, a, otherwise)


def number_of(where: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """The number of elements that count, in the dtype of the result."""
    if where is True:
        return count(a.shape, axis)
    return np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims).astype(a.dtype)


@operation(name="sum", a=lambda g, a_shape, axis, keepdims: spread(g, a_shape, axis, keepdims))
def _sum(a: Array, axis: Any, keepdims: bool) -> Array:
    return np.sum(a, axis=axis, keepdims=keepdims)


@composed(np.sum)
def sum(
    a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    total = _sum(counted(a if dtype is None else a.astype(dtype), where, 0), axis, keepdims)
    return total if initial is None else total + initial


@operation(
    name="mean",
    a=lambda g, a_shape, axis, keepdims: spread(g, a_shape, axis, keepdims) * (1 / max(count(a_shape, axis), 1)),
)
def _mean(a: Array, axis: Any, keepdims: bool) -> Array:
    return np.mean(a, axis=axis, keepdims=keepdims)


@composed(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, where: Any = True) -> Any:
    a = a if dtype is None else a.astype(dtype)
    if where is True:
        return _mean(a, axis, keepdims)
    return np.sum(a, axis=axis, keepdims=keepdims, where=where) / number_of(where, a, axis, keepdims)


# ---- variance ----------------------------------------------------------------------------------------------------


def freedom(shape: tuple[int, ...], axis: Any, ddof: float) -> float:
    """The degrees of freedom; NaN if there are none."""
    left = count(shape, axis) - ddof
    return left if left > 0 else math.nan


def var_rule(g: Any, a: Any, axis: Any, ddof: float, keepdims: bool) -> Any:
    """2 (a − mean) / (n − ddof)."""
    centred = a - np.mean(a, axis=axis, keepdims=True)
    return spread(g, a.shape, axis, keepdims) * centred * (2 / freedom(a.shape, axis, ddof))


def std_rule(g: Any, y: Any, a: Any, axis: Any, ddof: float, keepdims: bool) -> Any:
    """(a − mean) / ((n − ddof) y), and 0 for a constant."""
    centred = a - np.mean(a, axis=axis, keepdims=True)
    centred = centred - np.mean(centred, axis=axis, keepdims=True)  # a mean is rounded: remove the remainder
    return spread(divided(g, y), a.shape, axis, keepdims) * centred * (1 / freedom(a.shape, axis, ddof))


@operation(name="var", a=var_rule)
def _var(a: Array, axis: Any, ddof: float, keepdims: bool) -> Array:
    return np.var(a, axis=axis, ddof=ddof, keepdims=keepdims)


@operation(name="std", a=std_rule)
def _std(a: Array, axis: Any, ddof: float, keepdims: bool) -> Array:
    return np.std(a, axis=axis, ddof=ddof, keepdims=keepdims)


@composed(np.var)
def var(
    a: Any, axis: Any = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False, where: Any = True,
    mean: Any = None, correction: Any = None,
) -> Any:  # fmt: skip
    """The mean squared deviation from the mean; `correction` is another name for `ddof`."""
    a, ddof = a if dtype is None else a.astype(dtype), ddof if correction is None else correction
    if where is True and mean is None:
        return _var(a, axis, ddof, keepdims)
    centre = np.mean(a, axis=axis, keepdims=True, where=where) if mean is None else mean
    squares = np.sum(np.square(a - centre), axis=axis, keepdims=keepdims, where=where)
    return squares / np.maximum(number_of(where, a, axis, keepdims) - ddof, 0)


@composed(np.std)
def std(
    a: Any, axis: Any = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False, where: Any = True,
    mean: Any = None, correction: Any = None,
) -> Any:  # fmt: skip
    """The standard deviation. The gradient of a constant is 0."""
    a, ddof = a if dtype is None else a.astype(dtype), ddof if correction is None else correction
    if where is True and mean is None:
        return _std(a, axis, ddof, keepdims)
    return root(var(a, axis, ddof=ddof, keepdims=keepdims, where=where, mean=mean))


def root(variance: Any) -> Any:
    """√v, with gradient 0 at 0."""
    nothing = variance == 0
    return np.where(nothing, 0.0, np.sqrt(np.where(nothing, 1.0, variance)))


# ---- along an axis: products, running sums -----------------------------------------------------------------------


def reverse_cumsum(g: Any, axis: int) -> Any:
    return np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)


def following(a: Any, g: Any) -> Any:
    """Sᵢ = gᵢ + aᵢ₊₁ Sᵢ₊₁ along the last axis, in log n steps that double the span 2d from d."""
    n = a.shape[-1]
    a = np.concatenate([a[..., 1:], np.ones_like(a[..., :1])], axis=-1)  # aᵢ: the product of the d elements after i
    d = 1
    while d < n:
        g = np.concatenate([g[..., :-d] + a[..., :-d] * g[..., d:], g[..., -d:]], axis=-1)
        a = np.concatenate([a[..., :-d] * a[..., d:], a[..., -d:]], axis=-1)
        d *= 2
    return g


def cumprod_by_products(g: Any, y: Any, a: Any, axis: int) -> Any:
    """The product of all elements before aᵢ, times Σ over j ≥ i of gⱼ and the product from aᵢ₊₁ to aⱼ; any order."""
    a, g, y = np.moveaxis(a, axis, -1), np.moveaxis(g, axis, -1), np.moveaxis(y, axis, -1)
    before = np.concatenate([np.ones_like(y[..., :1]), y[..., :-1]], axis=-1)
    return np.moveaxis(before * following(a, g), -1, axis)


@first_order(cumprod_by_products)
def cumprod_rule(g: Array, y: Array, a: Array, axis: int) -> Array:
    """Σ gⱼ yⱼ / aᵢ over j ≥ i: the first zero of a row is replaced by 1, and later zeros get 0."""
    zero = a == 0
    first = zero & (np.cumsum(zero, axis=axis) == 1)
    past_it = np.cumprod(np.where(first, 1.0, a), axis=axis)
    alone = np.where(first, reverse_cumsum(g * past_it, axis), 0.0)
    return np.where(zero, alone, reverse_cumsum(g * y, axis) / np.where(zero, 1.0, a))


@operation(name="cumsum", a=lambda g, axis: reverse_cumsum(g, axis))
def _cumsum(a: Array, axis: int) -> Array:
    return np.cumsum(a, axis=axis)


@operation(name="cumprod", a=cumprod_rule)
def _cumprod(a: Array, axis: int) -> Array:
    return np.cumprod(a, axis=axis)


@composed(np.cumsum)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    a = a if dtype is None else a.astype(dtype)
    return _cumsum(np.ravel(a), 0) if axis is None else _cumsum(a, axis)


@composed(np.cumprod)
def cumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    a = a if dtype is None else a.astype(dtype)
    return _cumprod(np.ravel(a), 0) if axis is None or (np.ndim(a) == 0 and axis in (0, -1)) else _cumprod(a, axis)


def prod_rule(g: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """The product of the other elements: of those before times those after. Without division, zeros need no special
    case.
    """
    order = last_axes(axis, len(a.shape))
    flat = joined_last(a, axis)
    one = np.ones_like(flat[..., :1])
    before = np.cumprod(np.concatenate([one, flat[..., :-1]], axis=-1), axis=-1)
    after = np.flip(np.cumprod(np.flip(np.concatenate([flat[..., 1:], one], axis=-1), -1), axis=-1), -1)
    apart = np.reshape(before * after, [a.shape[k] for k in order])
    others = np.transpose(apart, [order.index(k) for k in range(len(order))])
    return spread(g, a.shape, axis, keepdims) * others


@operation(name="prod", a=prod_rule)
def _prod(a: Array, axis: Any, keepdims: bool) -> Array:
    return np.prod(a, axis=axis, keepdims=keepdims)


@composed(np.prod)
def prod(
    a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    total = _prod(counted(a if dtype is None else a.astype(dtype), where, 1), axis, keepdims)
    return total if initial is None else total * initial
