"""Reductions that skip NaN. No gradient flows to a NaN.

With NaN alone, sums are 0, products 1, and all others NaN, without NumPy's warning: on a GPU the check would wait.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..vocabulary import composed
from .accumulations import data_of
from .extremes import loser
from .reductions import count, number_of, root
from .statistics import quantiles

Array = Any


def valid(a: Any, where: Any = True) -> Any:
    """True for the elements that count."""
    here = ~np.isnan(data_of(a)) if a.dtype.kind == "f" else np.ones_like(data_of(a), dtype=bool)
    return here if where is True else here & where


def filled(a: Any, number: float, where: Any = True) -> Any:
    """The elements that count, and a neutral number in place of the others."""
    return a if a.dtype.kind != "f" and where is True else np.where(valid(a, where), a, number)


@composed(np.nansum)
def nansum(
    a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    return np.sum(filled(a, 0, where), axis=axis, dtype=dtype, keepdims=keepdims, initial=initial or 0)


@composed(np.nanprod)
def nanprod(
    a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    initial = 1 if initial is None else initial
    return np.prod(filled(a, 1, where), axis=axis, dtype=dtype, keepdims=keepdims, initial=initial)


@composed(np.nancumsum)
def nancumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    return np.cumsum(filled(a, 0), axis=axis, dtype=dtype)


@composed(np.nancumprod)
def nancumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    return np.cumprod(filled(a, 1), axis=axis, dtype=dtype)


@composed(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, where: Any = True) -> Any:
    a = a if dtype is None else a.astype(dtype)
    total = nansum(a, axis, keepdims=keepdims, where=where)
    return total / np.sum(valid(a, where), axis=axis, keepdims=keepdims).astype(total.dtype)


@composed(np.nanvar)
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False, where: Any = True,
    mean: Any = None, correction: Any = None,
) -> Any:  # fmt: skip
    """The variance of the numbers; NaN where there are at most `ddof` of them."""
    a, ddof = a if dtype is None else a.astype(dtype), ddof if correction is None else correction
    if a.dtype.kind != "f":
        return np.var(a, axis=axis, ddof=ddof, keepdims=keepdims, where=where, **_only(mean=mean))
    centre = nanmean(a, axis, keepdims=True, where=where) if mean is None else mean
    here = valid(a, where)
    squares = np.sum(np.where(here, np.square(filled(a, 0, where) - centre), 0), axis=axis, keepdims=keepdims)
    freedom = number_of(here, a, axis, keepdims) - ddof
    return squares / np.where(freedom > 0, freedom, np.nan).astype(a.dtype)


def _only(**given: Any) -> dict[str, Any]:
    """The keywords that are not None; NumPy does not treat None as absent."""
    return {name: value for name, value in given.items() if value is not None}


@composed(np.nanstd)
def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False, where: Any = True,
    mean: Any = None, correction: Any = None,
) -> Any:  # fmt: skip
    """The standard deviation. The gradient for equal numbers is 0."""
    return root(nanvar(a, axis, dtype, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction))


@composed(np.nanmax)
def nanmax(a: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    """The largest number. Equal ones share the gradient."""
    return _extreme(np.max, a, axis, keepdims, initial, where, -math.inf)


@composed(np.nanmin)
def nanmin(a: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    """The smallest number. Equal ones share the gradient."""
    return _extreme(np.min, a, axis, keepdims, initial, where, math.inf)


def _extreme(extreme: Any, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any, worst: float) -> Any:
    if initial is not None or where is not True:
        return extreme(a, axis=axis, keepdims=keepdims, initial=initial, where=valid(a, where))
    if a.dtype.kind != "f":
        return extreme(a, axis=axis, keepdims=keepdims)
    here = valid(a)
    found = extreme(np.where(here, a, loser(a, axis, here, worst)), axis=axis, keepdims=keepdims)
    return np.where(np.any(here, axis=axis, keepdims=keepdims), found, np.nan)


@composed(np.nanquantile)
def nanquantile(
    a: Any, q: Any, axis: Any = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False,
    weights: Any = None,
) -> Any:  # fmt: skip
    return quantiles("nanquantile", a, q, axis, method, keepdims, weights, nan=True)


@composed(np.nanpercentile)
def nanpercentile(
    a: Any, q: Any, axis: Any = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False,
    weights: Any = None,
) -> Any:  # fmt: skip
    return quantiles("nanpercentile", a, q, axis, method, keepdims, weights, nan=True, whole=100.0)


@composed(np.nanmedian)
def nanmedian(a: Any, axis: Any = None, *, keepdims: bool = False, overwrite_input: bool = False) -> Any:
    """The middle number, or the mean of the two middle ones."""
    if count(a.shape, axis) == 0:  # equal to the mean of nothing
        return np.mean(a, axis=axis, keepdims=keepdims)
    lower, higher = (nanquantile(a, 0.5, axis, method=method, keepdims=keepdims) for method in ("lower", "higher"))
    return (lower + higher) / 2  # of infinite numbers, too
