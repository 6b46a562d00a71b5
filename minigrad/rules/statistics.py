"""Order statistics and moments of samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..tensors import Tensor
from ..vocabulary import composed
from .accumulations import data_of
from .indexing import place, take_along_axis
from .joining import beside
from .reductions import axes_of, count, joined_last, reduced_axes

Array = Any


# ---- order statistics --------------------------------------------------------------------------------------------


@composed(np.median)
def median(a: Any, axis: Any = None, *, keepdims: bool = False, overwrite_input: bool = False) -> Any:
    """The middle value, or the mean of the two middle ones; NaN if any element is NaN."""
    flat = joined_last(a, axis)
    n = flat.shape[-1]
    if n == 0:  # equal to the mean of nothing
        return np.mean(a, axis=axis, keepdims=keepdims)
    ordered = np.sort(flat, axis=-1)
    middle, last = np.mean(ordered[..., (n - 1) // 2 : n // 2 + 1], axis=-1), ordered[..., -1]
    return restored(np.where(np.isnan(last), last, middle), a.shape, axis, keepdims)


def restored(result: Any, shape: tuple[int, ...], axis: Any, keepdims: bool, before: int = 0) -> Any:
    """The result of a reduction with the reduced axes as size 1, if `keepdims`; `before` further axes come first."""
    if not keepdims:
        return result
    axes = reduced_axes(axis, len(shape))
    return np.reshape(result, (*result.shape[:before], *[1 if k in axes else n for k, n in enumerate(shape)]))


DISCRETE = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")
SLOPES = {"linear": -1, "interpolated_inverted_cdf": 0, "hazen": 0, "weibull": 1, "median_unbiased": 1 / 3,
          "normal_unbiased": 1 / 4}  # fmt: skip
"""The derivative of a quantile's position by q, relative to the number of elements; other methods jump."""


def _plain(value: Any) -> Any:
    value = data_of(value)
    return backend.to_numpy(value) if backend.is_array(value) else value


def between(ordered: Any, places: np.ndarray[Any, Any], dtype: Any, moving: Any) -> Any:
    """Elements of (..., n) at positions (..., k) or (k,) of its last axis, interpolated between neighbours: (..., k).

    moving  zeros that carry the gradient of the positions
    """
    device = backend.device_of(data_of(ordered))
    low = np.floor(places).astype(np.intp)
    part = (places - low).astype(dtype)
    high = np.minimum(low + (part != 0), ordered.shape[-1] - 1)
    low, high, part = (backend.from_numpy(v, device) for v in (low, high, part))
    if low.ndim > 1:
        first, second = take_along_axis(ordered, low, -1), take_along_axis(ordered, high, -1)
    else:
        first, second = np.take(ordered, low, axis=-1), np.take(ordered, high, axis=-1)
    step, part = second - first, part + moving
    return np.where(part == 0, first, np.where(part < 0.5, first + step * part, second - step * (1 - part)))


def quantiles(
    name: str, a: Any, q: Any, axis: Any, method: str, keepdims: bool, weights: Any, nan: bool = False,
    whole: float = 1.0,
) -> Any:  # fmt: skip
    """Quantiles by any of NumPy's methods.

    The positions to interpolate at are NumPy's own quantiles of 0, 1, ..., n − 1. As in NumPy, a q of float64 changes
    the dtype, and so does a list of Python's numbers, but a single one does not. A Tensor q has a gradient: the
    difference of the two neighbours times the derivative of the position.
    """
    a = a if isinstance(a, Tensor) else Tensor._of(a if backend.is_array(a) else np.asarray(a))
    varying, q = q, _plain(q)
    fractions = np.asarray(np.true_divide(q, whole))
    if not np.all((fractions >= 0) & (fractions <= 1)):
        raise ValueError(f"{name}: q must be between 0 and {whole:g}, got {np.asarray(q).tolist()}")
    flat = joined_last(a if a.dtype.kind == "f" else a.astype(np.float64), axis)
    n = flat.shape[-1]
    if n == 0:
        raise ValueError(f"{name}: there are no elements along axis {axis} of shape {a.shape}")
    given = np.asarray(q).dtype if whole == 1 else fractions.dtype
    wide = type(q) not in (int, float) and given.kind == "f" and method not in DISCRETE
    dtype = np.result_type(flat.dtype, given) if wide else flat.dtype
    each = fractions.reshape(-1).astype(np.float64)
    order = np.argsort(data_of(flat), axis=-1, kind="stable")  # NaN come last
    ordered = take_along_axis(flat, order, -1)
    absent = np.isnan(data_of(ordered))
    moving: Any = 0
    if isinstance(varying, Tensor) and varying.requires_grad and method in SLOPES:
        varying = np.reshape(varying, -1).astype(dtype)
        number = np.sum(~absent, axis=-1, keepdims=True).astype(dtype) if nan else n
        moving = (varying - varying.data) * ((number + SLOPES[method]) / whole)
    if weights is None and not nan:
        result = between(ordered, np.quantile(np.arange(float(n)), each, method=method), dtype, moving)  # type: ignore
    else:
        gaps = backend.to_numpy(absent)
        ranks = np.where(gaps, np.nan, np.arange(float(n)))  # of the sorted elements
        ranks[..., 0] = 0.0
        options: dict[str, Any] = {"axis": -1, "method": method}
        if weights is not None:
            if isinstance(weights, Tensor) and weights.requires_grad:
                raise TypeError(f"{name}: there is no rule for the gradient of weights; pass weights.detach()")
            weights = joined_last(_weights_like(name, np.asarray(_plain(weights)), a, axis), axis)
            options["weights"] = np.take_along_axis(weights, backend.to_numpy(order), -1)
        found = (np.nanquantile if nan else np.quantile)(ranks, each, **options)
        result = between(ordered, np.moveaxis(np.nan_to_num(found), 0, -1), dtype, moving)
    empty = absent[..., :1] if nan else absent[..., -1:]
    result = np.moveaxis(np.where(empty, np.nan, result), -1, 0)
    result = restored(result, a.shape, axis, keepdims, before=1)
    return np.reshape(result, fractions.shape + result.shape[1:])


def _weights_like(name: str, weights: Any, a: Any, axis: Any) -> Any:
    """Weights for each element, or for each index along the axes, broadcast to the shape of all elements."""
    if np.shape(weights) == a.shape:
        return weights
    if axis is None:
        raise TypeError(f"{name}: weights of shape {np.shape(weights)} for {a.shape} need an axis")
    axes = axes_of(axis, a.ndim, name)
    if np.shape(weights) != tuple(a.shape[k] for k in axes):
        raise ValueError(f"{name}: weights of shape {np.shape(weights)} along the axes {axes} of {a.shape}")
    weights = np.transpose(weights, np.argsort(axes)) if len(axes) > 1 else weights
    return np.broadcast_to(np.reshape(weights, [a.shape[k] if k in axes else 1 for k in range(a.ndim)]), a.shape)


@composed(np.quantile)
def quantile(
    a: Any, q: Any, axis: Any = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False,
    weights: Any = None,
) -> Any:  # fmt: skip
    """Quantiles by any of NumPy's methods; NaN if an element is NaN. Equal elements are taken in their order."""
    return quantiles("quantile", a, q, axis, method, keepdims, weights)


@composed(np.percentile)
def percentile(
    a: Any, q: Any, axis: Any = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False,
    weights: Any = None,
) -> Any:  # fmt: skip
    """Quantiles, in percent."""
    return quantiles("percentile", a, q, axis, method, keepdims, weights, whole=100.0)


@composed(np.partition)
def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect") -> Any:
    """The elements in NumPy's order: the k-th at its sorted position, smaller ones before it."""
    if axis is None:
        a, axis = np.ravel(a), 0
    return take_along_axis(a, np.argpartition(data_of(a), kth, axis=axis), axis)


# ---- moments -----------------------------------------------------------------------------------------------------


@composed(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    if weights is None:
        mean = np.mean(a, axis=axis, keepdims=keepdims)
        total: Any = np.full_like(data_of(mean), count(a.shape, axis)) if returned else None
    else:
        weights = _weights_like("average", weights, a, axis)
        total = np.sum(weights, axis=axis, keepdims=keepdims)
        mean = np.sum(a * weights, axis=axis, keepdims=keepdims) / total
    return (mean, total) if returned else mean


@composed(np.cov)
def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None,
    aweights: Any = None, *, dtype: Any = None,
) -> Any:  # fmt: skip
    """The covariance matrix of rows (of columns, if not `rowvar`); in float64 unless a dtype is given."""
    rows = _samples("cov", m, y, rowvar, dtype)
    number = rows.shape[1]
    given = [(name, w) for name, w in (("fweights", fweights), ("aweights", aweights)) if w is not None]
    for name, w in given:
        if np.shape(w) != (number,):
            raise ValueError(f"cov: {name} of shape {np.shape(w)} for {number} observations")
        if backend.backend_of(rows.data).synchronous and np.any(np.asarray(data_of(w)) < 0):  # a GPU would wait
            raise ValueError(f"cov: {name} must not be negative, got {np.asarray(data_of(w)).tolist()}")
    each = [w.astype(rows.dtype) for w in beside([rows, *[w for _, w in given]])[1:]]  # a weight for each observation
    less: float = (0 if bias else 1) if ddof is None else ddof
    if not each:
        centred = rows - np.mean(rows, axis=1, keepdims=True)
        return np.squeeze(centred @ np.swapaxes(centred, 0, 1) / (max(number - less, 0) or math.nan))
    weights = each[0] * each[1] if len(each) == 2 else each[0]
    total = np.sum(weights)
    freedom = total - (less if aweights is None else less * np.sum(weights * each[-1]) / total)
    centred = rows - np.sum(rows * weights, axis=1, keepdims=True) / total
    return np.squeeze((centred * weights) @ np.swapaxes(centred, 0, 1) / freedom)


def _samples(name: str, m: Any, y: Any, rowvar: bool, dtype: Any) -> Any:
    """One row for each variable, one column for each observation."""
    parts = []
    for part in beside([v for v in (m, y) if v is not None]):
        if np.ndim(part) > 2:
            raise ValueError(f"{name}: at most two axes, got shape {np.shape(part)}")
        part = np.atleast_2d(part)
        parts.append(part if rowvar or part.shape[0] == 1 else np.swapaxes(part, 0, 1))
    return np.concatenate(parts, axis=0).astype(np.float64 if dtype is None else dtype)


@composed(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The correlations of rows: covariances divided by both standard deviations, clipped to [−1, 1]."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviation = np.sqrt(np.diagonal(c))
    return np.clip(c / deviation[:, None] / deviation[None, :], -1.0, 1.0)


@composed(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """The count of each integer, as a plain array. With weights, the sums of weights, which have gradients."""
    x = data_of(x)
    if not isinstance(weights, Tensor):
        return np.bincount(x, weights, minlength)
    x = x if backend.is_array(x) else backend.from_numpy(np.asarray(x), weights.device)
    if np.shape(x) != weights.shape:
        raise ValueError(f"bincount: weights of shape {weights.shape} for numbers of shape {np.shape(x)}")
    n = max(int(np.max(x)) + 1 if x.size else 0, minlength)
    return place(weights.astype(np.float64), x, (n,))
