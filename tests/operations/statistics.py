"""Order statistics and moments, with NaN and without; methods of ufuncs; sets."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .cases import Draw, apart, case, integers, joined, mask, positive, real, unit

METHODS = ["inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen",
           "weibull", "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint",
           "nearest"]  # fmt: skip


def holed(*shape: int) -> Draw:
    """Numbers and NaN, but no row or column of NaN alone."""

    def kind(rng, s):
        a = (rng.permutation(int(np.prod(s))).reshape(s) - np.prod(s) / 2) * 0.37 + 0.1
        a[..., 0, 1] = np.nan
        a[..., -1, -1] = np.nan
        return a

    return Draw(kind, shape)


def numbers(function, **keywords):
    """A function of an array that has NaN beside numbers that vary."""

    def call(x):
        gaps = np.zeros(x.shape, bool)
        gaps[..., 0, 1] = gaps[..., -1, -1] = True
        if isinstance(x, mg.Tensor):
            gaps = mg.backend.from_numpy(gaps, x.device)
        return function(np.where(gaps, np.nan, x), **keywords)

    return call


# ---- whole signatures of sums, means and extremes ----------------------------------------------------------------

for function in (np.sum, np.prod):
    case(function.__name__, lambda m, x, f=function: f(x, axis=1, where=m, initial=2.5), mask(2, 3), real(2, 3))
for function in (np.max, np.min):
    case(function.__name__, lambda m, x, f=function: f(x, 0, where=m, initial=0.25, keepdims=True), mask(4, 3),
         apart(4, 3))  # fmt: skip
case("max", lambda x: np.max(x[:, :0], axis=1, initial=0.5) + x[:, 0], real(2, 3))
case("min", lambda x: x.min(axis=0, keepdims=True), apart(4, 3))
case("mean", lambda x: np.mean(x, 1, where=np.greater([1, 0, 1], 0) if not isinstance(x, mg.Tensor) else _mask(x)),
     real(2, 3))  # fmt: skip


def _mask(x):
    return mg.backend.from_numpy(np.array([True, False, True]), x.device)


for name in ("var", "std"):
    function = getattr(np, name)
    case(name, lambda x, f=function: f(x, 1, correction=1), apart(2, 4))
    case(name, lambda x, f=function: f(x, 1, mean=np.mean(x, axis=1, keepdims=True), ddof=1), apart(2, 4))
    case(name, lambda x, f=function: f(
        x, -1, where=np.greater([1, 0, 1], 0) if not isinstance(x, mg.Tensor) else _mask(x)), apart(2, 3))  # fmt: skip
case("cumsum", lambda x: np.cumsum(x, 0, np.float64), real(3))
case("cumprod", lambda x: np.cumprod(x, dtype=np.float64), real(3))
case("cumprod", np.cumprod, real(2, 9), axis=1)

# ---- order -------------------------------------------------------------------------------------------------------

for method in METHODS:
    case("quantile", lambda x, m=method: np.quantile(x, np.array([0.0, 0.3, 0.77, 1.0]), axis=1, method=m), apart(2, 7))
case("quantile", np.quantile, apart(2, 3, 4), q=0.4, axis=(0, 2), keepdims=True)
case("quantile", lambda x: np.quantile(x, np.array([[0.2, 0.4]])), apart(5))
case("quantile", lambda x: np.quantile(x, 0.4, weights=[1, 3, 1, 0, 2], method="inverted_cdf", axis=1), apart(2, 5))
case("quantile", lambda x, q: np.quantile(x, abs(q), axis=1), apart(2, 7), unit(3))
case("quantile", lambda x, q: np.quantile(x, abs(q), method="weibull"), apart(7), unit(2, 2), half=False)
case("percentile", lambda x, q: np.percentile(x, 50 + 20 * q, method="hazen"), apart(9), unit())
case("nanquantile", lambda x, q: np.nanquantile(np.where(x > 1, np.nan, x), abs(q), axis=1), apart(3, 8), unit(2))
case("percentile", np.percentile, apart(3, 5), q=np.array([10, 62.5]), axis=-1)
case("percentile", lambda x: np.percentile(x, 50), apart(6))
case("partition", lambda x: np.sort(np.partition(x, 3)[:, :3]), apart(3, 7))  # the order within a part is open
case("partition", lambda x: np.partition(x, (1, 2), axis=0)[1:3], apart(4, 3))
case("median", np.median, apart(3, 4), axis=(0, 1), keepdims=True)

# ---- NaN ---------------------------------------------------------------------------------------------------------

for name in ("nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd", "nanmedian"):
    function = getattr(np, name)
    case(name, numbers(function), apart(3, 4))
    case(name, numbers(function, axis=0, keepdims=True), apart(3, 4))
case("nansum", lambda x: np.nansum(x, axis=1, initial=2.0, dtype=np.float64), real(2, 3))
case("nanprod", lambda x: np.nanprod(x, initial=2.0), real(2, 3))
case("nanmax", lambda x: np.nanmax(x, 1, initial=0.25), apart(3, 4))
for name in ("nanvar", "nanstd"):
    case(name, numbers(getattr(np, name), axis=1, ddof=1), apart(3, 4))
for name in ("nancumsum", "nancumprod"):
    case(name, numbers(getattr(np, name), axis=1), apart(3, 4))
    case(name, numbers(getattr(np, name)), apart(3, 4))
case("nanquantile", numbers(np.nanquantile, q=np.array([0.2, 0.9]), axis=1), apart(3, 4))
case("nanquantile", numbers(np.nanquantile, q=0.35, method="hazen"), apart(3, 4))
case("nanpercentile", numbers(np.nanpercentile, q=30, axis=0), apart(3, 4))

# ---- moments -----------------------------------------------------------------------------------------------------

case("cov", np.cov, apart(3, 5))
case("cov", np.cov, apart(5))
case("cov", lambda x, y: np.cov(x, y, rowvar=False, ddof=0), apart(5, 2), apart(5, 1))
case("cov", lambda x, w: np.cov(x, aweights=w, fweights=[1, 2, 1, 3]), apart(2, 4), positive(4), half=False,
     expected=lambda x, w: np.cov(x, aweights=w.astype(float), fweights=[1, 2, 1, 3]))  # fmt: skip
case("cov", np.cov, apart(2, 4), bias=True, dtype=np.float64)
case("corrcoef", np.corrcoef, apart(3, 5))
case("corrcoef", lambda x, y: np.corrcoef(x, y, rowvar=False), apart(5, 2), apart(5, 2))
case("average", lambda x: np.average(x, axis=0, returned=True)[0], real(3, 2))
case("bincount", lambda i, w: np.bincount(i, w, minlength=6), integers(4, 7), real(7))

# ---- methods of ufuncs -------------------------------------------------------------------------------------------

for ufunc in (np.maximum, np.minimum):
    case(f"{ufunc.__name__}_accumulate", ufunc.accumulate, apart(7))
    case(f"{ufunc.__name__}_accumulate", ufunc.accumulate, apart(3, 5), axis=-1)
case("logaddexp_reduce", np.logaddexp.reduce, real(3, 4))
case("logaddexp_reduce", np.logaddexp.reduce, real(3, 4), axis=1, keepdims=True)
case("logaddexp_reduce", lambda m, x: np.logaddexp.reduce(x, axis=1, initial=0.5, where=m), mask(3, 4), real(3, 4))
case("ufunc_reduce", lambda m, x: np.hypot.reduce(x, axis=(0, 1), initial=0.5, where=m), mask(3, 4), real(3, 4))
case("ufunc_reduce", lambda m, x: np.subtract.reduce(x, initial=0.5, where=m, keepdims=True), mask(3, 2), real(3, 2))
case("ufunc_reduce", np.subtract.reduce, real(4))
case("ufunc_reduce", np.divide.reduce, positive(2, 3), axis=1, keepdims=True)
case("ufunc_accumulate", np.divide.accumulate, positive(3, 2))
case("ufunc_accumulate", np.hypot.accumulate, real(2, 3), axis=-1)
case("ufunc_reduceat", lambda x: np.add.reduceat(x, [0, 3, 1, 1, 4]), real(6))
case("ufunc_reduceat", lambda x: np.add.reduceat(x, [1, 2], axis=1), real(2, 4))
case("segment_sums", lambda x: np.add.reduceat(x, [2, 0, 1], axis=0), real(4, 2))
for ufunc in (np.multiply, np.maximum, np.subtract):
    case("ufunc_reduceat", lambda x, f=ufunc: f.reduceat(x, [0, 2, 1], axis=-1), apart(2, 4))

# ---- sets --------------------------------------------------------------------------------------------------------


def doubled(x):
    """Elements that occur twice."""
    return np.concatenate([x, x[..., ::-1]], axis=-1)


case("unique", lambda x: np.unique(doubled(x)), apart(4))
case("unique", lambda x: np.unique(np.concatenate([x, x]), axis=0, return_counts=True)[0], apart(2, 3))
for function in (np.unique_values, np.unique_counts, np.unique_inverse, np.unique_all):
    case(function.__name__, lambda x, f=function: np.sort(f(doubled(x))[0] if f is not np.unique_values else
                                                          f(doubled(x))), apart(3))  # fmt: skip
case("union1d", lambda x, y: np.union1d(x, np.append(y, x[1:])), apart(3), real(2))
case("intersect1d", lambda x: np.intersect1d(x, np.append(x[1:], x[1:] + 7)), apart(4))
case("setdiff1d", lambda x: np.setdiff1d(doubled(x), np.append(x[1:2], x + 7)), apart(4))
case("setxor1d", lambda x, y: np.setxor1d(x, np.append(y, x[1:2])), apart(4), real(2))
case("trim_zeros", lambda x: np.trim_zeros(np.pad(x, (2, 3))), real(4))
joined("concatenate", lambda ts: np.concat(ts, axis=0), real(2, 3), real(1, 3))
