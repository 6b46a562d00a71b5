"""Ids: integers for tokens, checked, and as one-hot vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend

Array = Any


def checked_ids(title: str, ids: Any, size: int, ndim: int | None = None) -> Array:
    """The ids as an array of integers from 0 to size − 1, on their device; an empty list is an array of int64."""
    array = ids.data if isinstance(ids, mg.Tensor) else ids
    if not backend.is_array(array):
        array = np.asarray(array)
        if array.size == 0:
            array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{title}: ids must be integers, not {array.dtype}")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{title}: expected ids of {ndim} axis, got shape {array.shape}")
    if backend.decisive(array, f"{title}: the ids are checked").size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= size:
            wrong = low if low < 0 else high
            raise ValueError(f"{title}: id {wrong} is not one of the {size} ids from 0 to {size - 1}")
    return array


def one_hot(ids: Any, size: int, dtype: Any = None) -> Array:
    """Ids (...) as vectors (..., size): all 0, with a 1 at the index of the id.

    dtype  of the result; the default dtype of Tensors, if None

    The product of a one-hot vector and a matrix is a row of the matrix, which `nn.Embedding` looks up:

    >>> W = np.arange(12.0).reshape(4, 3)
    >>> np.array_equal(one_hot([2, 0], 4) @ W, W[[2, 0]])
    True

    An array without a gradient, on the ids' device. Raises ValueError for ids outside [0, size), TypeError if they are
    not integers.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"one_hot: size must be an integer of at least 1, not {size!r}")
    array = checked_ids("one_hot", ids, size)
    xp = backend.module_of(array)
    places = array[..., None] == xp.arange(size)
    return places.astype(mg.get_default_dtype() if dtype is None else dtype)
