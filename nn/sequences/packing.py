"""Packing: sequences of unequal lengths as rows of real steps, without padding.

A layer works on a matrix of rows, (R, D): first those of step 0, then those of step 1, and so on. The sequences are
sorted by decreasing length, so the n_t sequences alive at step t are the first n_t. In a full batch, R = T·N, and
nothing is copied.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

Array = Any
DISTINCT = 64  # limit of different numbers of rows in a batch: the fused parts are traced once for each


class Packing:
    """The rows of a (T, N) batch that are computed.

    sizes   n_t for each step
    order   the sequences, longest first, and `inverse`, the position of each there; None if they keep their order
    places  (R,) the index t·N + n of each row in the batch; None if all are present in order
    held    for each step, None, or a (n_t, 1) mask of the real rows; the others keep their state
    real    (R, 1) all of these masks; None if every row is real
    """

    def __init__(self, T: int, N: int, real: np.ndarray[Any, Any] | None = None) -> None:
        self.T, self.N = T, N
        self.sizes = [N] * T
        self.order: np.ndarray[Any, Any] | None = None
        self.inverse: np.ndarray[Any, Any] | None = None
        self.places: np.ndarray[Any, Any] | None = None
        self.held: list[Array | None] = [None] * T
        self.real: np.ndarray[Any, Any] | None = None
        self._unpacked: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None = None  # real and places, on the CPU
        if real is not None and not real.all():
            self._pack(real)
        self.cuts = list(accumulate(self.sizes))[:-1]

    def _pack(self, real: np.ndarray[Any, Any]) -> None:
        """real: (T, N) booleans."""
        T, N = real.shape
        lengths = np.where(real.any(axis=0), T - np.argmax(real[::-1], axis=0), 0)  # up to the last real step
        order = np.argsort(-lengths, kind="stable")
        if (order != np.arange(N)).any():
            self.order, self.inverse = order, np.argsort(order)
        alive = (lengths > np.arange(T)[:, None]).sum(axis=1)  # n_t, (T,)
        grain = -(-N // DISTINCT)
        self.sizes = [int(n) for n in np.minimum(-(-alive // grain) * grain, N)]
        self.places = np.concatenate([t * N + order[:n] for t, n in enumerate(self.sizes)])
        self._unpacked = real, self.places
        real_rows = real.reshape(-1)[self.places]
        if not real_rows.all():
            self.real = real_rows[:, None]
            for t, mask in enumerate(np.split(self.real, list(accumulate(self.sizes))[:-1])):
                self.held[t] = None if mask.all() else mask

    def groups(self) -> list[np.ndarray[Any, Any]] | None:
        """For each number k of real steps, the rows of the n sequences of this length, (k, n), in time order; None if
        the batch is full."""
        if self._unpacked is None:
            return None
        real, places = self._unpacked
        numbers = np.empty(self.T * self.N, np.intp)
        numbers[places] = np.arange(len(places))
        rows, steps = numbers.reshape(self.T, self.N).T, real.sum(axis=0)
        return [rows[steps == k][real.T[steps == k]].reshape(-1, k).T for k in np.unique(steps[steps > 0]).tolist()]


# ---- from a batch to rows, and back ------------------------------------------------------------------------------


def _rows(x: Array, places: Array | None, real: Array | None) -> Array:
    """(T, N, D) to (R, D); zeros for rows that are not real."""
    T, N, D = x.shape
    if places is None:
        return x.reshape((T * N, D))
    rows = x.reshape((T * N, D))[places]
    return rows if real is None else np.where(real, rows, 0)


def _batch(rows: Array, T: int, N: int, places: Array | None, real: Array | None) -> Array:
    """(R, D) to (T, N, D), zeros where there is no row."""
    D = rows.shape[1]
    if places is None:
        return rows.reshape((T, N, D))
    x = np.zeros_like(rows, shape=(T * N, D))
    x[places] = rows if real is None else np.where(real, rows, 0)
    return x.reshape((T, N, D))


to_rows: Any = mg.primitive(
    _rows, x=lambda g, x_shape, places, real: from_rows(g, x_shape[0], x_shape[1], places, real)
)
from_rows: Any = mg.primitive(_batch, rows=lambda g, places, real: to_rows(g, places, real))


# ---- lengths and masks -------------------------------------------------------------------------------------------


def packing_of(
    title: str, T: int, N: int, lengths: Any, mask: Any, device: str, batch_first: bool = False
) -> Packing:  # fmt: skip
    """The packing for `lengths` (N,) or a `mask` (T, N) of real steps, (N, T) with batch_first, checked."""
    if lengths is not None and mask is not None:
        raise ValueError(f"{title}: give lengths or a mask, not both{here()}")
    real = None
    if lengths is not None:
        n = checked_lengths(title, lengths, T, N)
        real = np.arange(T)[:, None] < n
    elif mask is not None:
        real = looked_at(title, "the mask", mask, "nested tuples of booleans")
        layout, shape = ("(N, T)", (N, T)) if batch_first else ("(T, N)", (T, N))
        if real.shape != shape:
            raise ValueError(f"{title}: the mask has shape {real.shape}, expected {layout} = {shape}{here()}")
        if real.dtype.kind != "b":
            raise TypeError(f"{title}: the mask must be of booleans, not {real.dtype}{here()}")
        real = real.T if batch_first else real
    packing = Packing(T, N, real)
    if device != "cpu":
        for name in ("order", "inverse", "places", "real"):
            array = getattr(packing, name)
            setattr(packing, name, None if array is None else backend.from_numpy(array, device))
        packing.held = [None if mask is None else backend.from_numpy(mask, device) for mask in packing.held]
    return packing


def looked_at(title: str, what: str, values: Any, instead: str) -> np.ndarray[Any, Any]:
    """Values that decide what is computed, as a NumPy array; a function with such arguments is not compiled."""
    array = values.data if isinstance(values, mg.Tensor) else values
    if not backend.is_array(array):
        return np.asarray(array)
    why = f"{title}: what is computed depends on {what} ({instead} would be constants)"
    return backend.to_numpy(backend.decisive(array, why))


def checked_lengths(title: str, lengths: Any, T: int, N: int) -> np.ndarray[Any, Any]:
    """The lengths as N integers from 0 to T. They are read, so keep them on the CPU."""
    n = looked_at(title, "the lengths", lengths, "a tuple of integers")
    if n.shape == (0,):  # an empty list has no dtype
        n = n.astype(np.intp)
    if n.dtype.kind not in "iu":
        raise TypeError(f"{title}: lengths must be integers, got {n.dtype}{here()}")
    if n.shape != (N,):
        raise ValueError(f"{title}: {N} sequences need lengths of shape ({N},), got {n.shape}{here()}")
    wrong = np.flatnonzero((n < 0) | (n > T))
    if wrong.size:
        k = int(wrong[0])
        raise ValueError(f"{title}: length {int(n[k])} of sequence {k} is not between 0 and T = {T}{here()}")
    return n
