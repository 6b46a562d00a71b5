"""The k largest of many numbers, without sorting them all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any


def largest(x: Array, k: int) -> Array:
    """The places (N, k) of the k largest numbers in each row of x (N, M), the largest first; of equal ones, the place
    that comes first. All M, if there are fewer than k.

    >>> largest(np.array([[1, 5, 5, 2, 0]]), 3).tolist()
    [[1, 2, 3]]

    Rows are cut into blocks, and the k blocks with the largest maxima are kept: the k largest numbers are in these.
    """
    N, M = x.shape
    k = min(k, M)
    width = math.isqrt(M // k) if M >= 1024 else 1
    if width < 8:
        return _sorted(x, k)
    whole = M // width * width
    maxima = x[:, :whole].reshape(N, -1, width).max(axis=-1)
    blocks = np.sort(_sorted(maxima, k), axis=-1)  # (N, k), in the order of places
    places = (blocks[:, :, None] * width + np.arange(width)).reshape(N, -1)
    tail = np.broadcast_to(np.arange(whole, M), (N, M - whole))
    places = np.concatenate([places, tail], axis=-1)
    return np.take_along_axis(places, _sorted(np.take_along_axis(x, places, axis=-1), k), axis=-1)


def _sorted(x: Array, k: int) -> Array:
    """The same for short rows: what is at least as large as the k-th largest, sorted."""
    N, M = x.shape
    threshold = np.partition(x, M - k, axis=-1)[:, M - k, None]
    rows, columns = np.nonzero(x >= threshold)
    if len(rows) != N * k:  # some are equal to the k-th
        return np.argsort(-x, axis=-1, kind="stable")[:, :k]
    places = columns.reshape(N, k)
    order = np.argsort(-np.take_along_axis(x, places, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(places, order, axis=-1)
