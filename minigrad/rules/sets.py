"""Set functions. Results consist of elements of the operands; among equal ones, the first gets the gradient.

The sizes of results depend on values, so a GPU has to be waited for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib import _arraysetops_impl as numpys

from ..vocabulary import composed
from .accumulations import data_of
from .indexing import take
from .joining import beside

Array = Any


@composed(np.unique)
def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
    axis: int | None = None, *, equal_nan: bool = True, sorted: bool = True,
) -> Any:  # fmt: skip
    """The distinct elements, or slices along an axis, in order; indices and counts are plain arrays."""
    options: dict[str, Any] = {"return_inverse": return_inverse, "return_counts": return_counts}
    _, first, *others = np.unique(data_of(ar), return_index=True, axis=axis, equal_nan=equal_nan, **options)
    found = take(ar, first, axis)
    results = (found, *([first] if return_index else []), *others)
    return results if len(results) > 1 else found


@composed(np.unique_values)
def unique_values(x: Any, /) -> Any:
    return unique(x, equal_nan=False)


@composed(np.unique_counts)
def unique_counts(x: Any, /) -> Any:
    return numpys.UniqueCountsResult(*unique(x, return_counts=True, equal_nan=False))


@composed(np.unique_inverse)
def unique_inverse(x: Any, /) -> Any:
    return numpys.UniqueInverseResult(*unique(x, return_inverse=True, equal_nan=False))


@composed(np.unique_all)
def unique_all(x: Any, /) -> Any:
    found = unique(x, return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    return numpys.UniqueAllResult(*found)


@composed(np.union1d)
def union1d(ar1: Any, ar2: Any) -> Any:
    return unique(np.concatenate(beside([ar1, ar2]), axis=None))


@composed(np.intersect1d)
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """The common elements, in order, taken from the first operand."""
    first, second = (np.ravel(a) for a in beside([ar1, ar2]))
    _, here, there = np.intersect1d(data_of(first), data_of(second), assume_unique, return_indices=True)
    found = take(first, here, 0)
    return (found, here, there) if return_indices else found


def _members(a: Any, kept: Array) -> Any:
    return take(a, np.flatnonzero(kept), 0)


@composed(np.setdiff1d)
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The elements of the first operand that the second lacks."""
    first, second = (np.ravel(a) for a in beside([ar1, ar2]))
    first = first if assume_unique else unique(first)
    return _members(first, np.isin(data_of(first), data_of(second), invert=True))


@composed(np.setxor1d)
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The elements of exactly one of the operands, in order."""
    first, second = (np.ravel(a) if assume_unique else unique(a) for a in beside([ar1, ar2]))
    alone = [np.isin(data_of(a), data_of(b), invert=True) for a, b in ((first, second), (second, first))]
    return np.sort(np.concatenate([_members(first, alone[0]), _members(second, alone[1])]))
