"""Sums, means, extremes and running sums along axes."""

from __future__ import annotations

import numpy as np

from .cases import apart, case, integers, positive, real

AXES = [None, 0, -1, (0, 2), (-1, 0), (0, 1, 2), ()]

for axis in AXES:
    for keepdims in (False, True):
        options = {"axis": axis, "keepdims": keepdims}
        case("sum", np.sum, real(2, 3, 4), **options)
        case("mean", np.mean, real(2, 3, 4), **options)
        case("prod", np.prod, real(2, 3, 2), **options)
        case("max", np.max, apart(2, 3, 4), **options)
        case("min", np.min, apart(2, 3, 4), **options)
        case("ptp", np.ptp, apart(2, 3, 4), **options)
        if axis != ():  # a single number does not vary
            case("var", np.var, real(2, 3, 4), **options)
            case("std", np.std, apart(2, 3, 4), **options)
            case("median", np.median, apart(2, 3, 4), **options)
            case("nansum", np.nansum, real(2, 3, 4), **options)
            case("nanmean", np.nanmean, real(2, 3, 4), **options)

for function in (np.sum, np.mean, np.prod, np.max, np.min):
    name = function.__name__
    case(name, function, real(), axis=None)
    case(name, function, apart(5), axis=0)
    case(name, function, apart(2, 1, 3, 2), axis=(1, -1))
    case(name, function, apart(0, 3), axis=1)
case("sum", np.sum, real(2, 0, 3), axis=1)
case("sum", np.sum, real(0), axis=None)
case("prod", np.prod, real(2, 0, 3), axis=1)
case("max", np.amax, apart(2, 3), axis=1)
case("min", np.amin, apart(2, 3), axis=1)
case("sum", lambda x: x.sum(0), real(2, 3))
case("sum", lambda x: np.sum(x, dtype=np.float64), real(2, 3))
case("mean", lambda x: np.mean(x, axis=0, dtype=np.float64), real(2, 3))
case("prod", lambda x: np.prod(x, axis=1), real(3, 1))

for ddof in (0, 1, 1.5):
    case("var", np.var, real(4, 3), axis=0, ddof=ddof)
    case("std", np.std, apart(4, 3), axis=0, ddof=ddof)
case("var", np.var, real(0, 3), axis=1)
case("std", np.std, real(0, 3), axis=1)

for function in (np.cumsum, np.cumprod):
    name = function.__name__
    for axis in (None, 0, 1, -1):
        case(name, function, real(2, 3, 2), axis=axis)
    case(name, function, real(4), axis=0)
    case(name, function, real(2, 0, 3), axis=1)
    case(name, function, real(2, 0, 3), axis=2)
    case(name, function, real(1), axis=0)
case("cumprod", lambda x: np.cumprod(np.triu(x, -1), axis=1), real(3, 3))

case("median", np.median, apart(5))
case("median", np.median, apart(4, 6), axis=0)
case("median", np.median, apart(1, 5), axis=1)
case("average", np.average, real(2, 3, 4))
case("average", np.average, real(2, 3, 4), axis=1, keepdims=True)
case("average", lambda x, w: np.average(x, weights=w), real(2, 3), positive(2, 3))
case("average", lambda x, w: np.average(x, axis=0, weights=w), real(2, 3), positive(2, 3))
case("average", lambda x, w: np.average(x, axis=-1, weights=w), real(2, 3), positive(3))
case("average", lambda x, w: np.average(x, axis=1, weights=w), real(2, 3), integers(3, 2, 3))
case("diff", np.diff, real(5))
case("diff", np.diff, real(3, 4), axis=0)
case("diff", np.diff, real(3, 4), axis=-2, n=2)
case("diff", np.diff, real(3, 4), n=3)
case("diff", np.diff, real(3, 4), n=0)
case("diff", np.diff, real(0, 3), axis=1)
