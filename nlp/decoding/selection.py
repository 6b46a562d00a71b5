"""Selection of the likeliest tokens, without sorting all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import backend

Array = Any
WIDEST = 48  # numbers of a block
FEW = 32  # on a GPU, up to this number they are found one by one


def largest(x: Array, k: int) -> tuple[Array, Array]:
    """The k largest numbers of each row of x (R, V), the largest first, and among equal ones the first: their indices
    (R, k), and their values (R, k) in float64, on the CPU. All V, if there are fewer than k.

    >>> places, values = largest(np.array([[1.0, 5.0, 5.0, 2.0, 0.0]]), 3)
    >>> places.tolist(), values.tolist()
    ([[1, 2, 3]], [[5.0, 5.0, 2.0]])

    If fewer than k are above −∞, −∞ follows, with arbitrary indices. In a row with a NaN, all values are NaN.
    """
    k = min(k, x.shape[1])
    width = min(WIDEST, x.shape[1] // (4 * k))
    if width <= 1:
        return _by_sorting(x, k)
    return _by_blocks(x, k, width) if backend.on_cpu(x) else _by_turns(x, k) if k <= FEW else _by_sorting(x, k)


def _by_sorting(x: Array, k: int) -> tuple[Array, Array]:
    """For short rows, and for many on a GPU."""
    order: Array = np.argsort(-x, axis=-1, kind="stable")  # NaN comes last
    places = order[:, :k]
    values = np.take_along_axis(x, places, axis=-1)
    wrong = np.isnan(np.take_along_axis(x, order[:, -1:], axis=-1))
    places, values, wrong = map(backend.to_numpy, (places, values, wrong))
    return places, np.where(wrong, np.nan, values.astype(np.float64))


def _by_turns(x: Array, k: int) -> tuple[Array, Array]:
    """The largest, then the largest of the rest: for a few on a GPU, where sorting takes much longer."""
    x = x.copy()
    found, values = [], []
    for _ in range(k):
        places = np.argmax(x, axis=-1, keepdims=True)  # (R, 1); of a NaN, if there is one
        found.append(places)
        values.append(np.take_along_axis(x, places, axis=-1))
        np.put_along_axis(x, places, -np.inf, axis=-1)
    places, best = (backend.to_numpy(np.concatenate(part, axis=-1)) for part in (found, values))
    return places, np.where(np.isnan(best[:, :1]), np.nan, best.astype(np.float64))


def _by_blocks(x: Array, k: int, width: int) -> tuple[Array, Array]:
    """The k-th largest of the maxima of blocks is a bound: at least k numbers of a row reach it, and few more, in few
    blocks. Only these are sorted; all others are read once. Block b is b, b + B, b + 2B, ..., and the remainder is a
    separate one: so the maxima are maxima of whole vectors."""
    R, V = x.shape
    B = V // width
    blocks, rest = x[:, : B * width].reshape(R, width, B), x[:, B * width :]
    maxima = blocks.max(axis=1)
    if rest.shape[1]:
        maxima = np.concatenate([maxima, rest.max(axis=-1, keepdims=True)], axis=-1)
    high = np.partition(maxima, -k, axis=-1)[:, -k:]  # the lowest first, NaN among them
    bounds = np.maximum(high[:, :1], np.finfo(x.dtype).min)
    rows, columns = np.nonzero(maxima[:, :B] >= bounds)
    block, place = np.nonzero(blocks[rows, :, columns] >= bounds[rows])
    rows, places = rows[block], place * B + columns[block]
    if rest.shape[1]:
        more, place = np.nonzero(rest >= bounds)
        rows, places = np.append(rows, more), np.append(places, place + B * width)
    found = x[rows, places].astype(np.float64)
    order = np.lexsort((places, -found, rows))
    counts = np.bincount(rows, minlength=R)[:, None]
    nth = np.arange(k) + np.cumsum(counts)[:, None] - counts  # (R, k)
    nth = np.where(np.arange(k) < counts, nth, len(rows))
    order, places, found = np.append(order, len(rows)), np.append(places, 0), np.append(found, -np.inf)  # missing
    chosen = order[nth]
    return places[chosen], np.where(np.isnan(high).any(axis=-1, keepdims=True), np.nan, found[chosen])


def likeliest(
    log_p: Array, k: int, banned: Sequence[int] = (), repeats: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:  # fmt: skip
    """The k largest of each row of log_p (R, V), as from `largest`, without some of the ids.

    banned   ids that are not allowed, each once
    repeats  (row, id) pairs that are not allowed: two arrays (P,)

    The search takes as many more as are not allowed, so that the model's log_p is neither changed nor copied.
    """
    most = 0 if repeats is None else int(np.bincount(repeats[0]).max(initial=0))
    values: Array
    places, values = largest(log_p, k + len(banned) + most)
    if not (len(banned) or most):
        return places, values
    out: Array = np.isin(places, banned)
    if repeats is not None:
        V = log_p.shape[1]
        out |= np.isin(places + V * np.arange(len(places))[:, None], repeats[1] + V * repeats[0])
    values = np.where(out, np.minimum(values, -np.inf), values)  # NaN stays
    order = np.argsort(-values, axis=-1, kind="stable")[:, :k]
    return np.take_along_axis(places, order, axis=-1), np.take_along_axis(values, order, axis=-1)
