"""The running sources: their rows of state and memory, and the model's next step."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend, trees

from ..ids import checked_ids
from .protocol import Limits, Start, Step

Array = Any
SHARE = 16  # memory is copied without the rows of finished sources when they are one in this many


class Running:
    """Up to N sources, each with `width` sequences. Row r of state and ids belongs to `sources[r // width]`.

    each  the number of sequences that each source starts with

    Raises TypeError or ValueError for an invalid start.
    """

    def __init__(self, title: str, model: Any, start: Start, limits: Limits, each: int = 1) -> None:
        self.title, self.model, self.limits = title, model, limits
        ids = checked_ids(f"{title}: start", start.ids, np.iinfo(np.int64).max, ndim=1)
        N = len(ids)
        _check_rows(f"{title}: start.state", start.state, N)
        _check_rows(f"{title}: start.memory", start.memory, N)
        rows = np.repeat(np.arange(N), each)
        self.device = backend.device_of(ids)
        self.sources = np.arange(N)
        self.width = each
        self.ids = rows_of(ids, rows, N)
        self.fed = np.repeat(backend.to_numpy(ids)[:, None], each, axis=1)  # (n, width) the same, on the CPU
        self.state = rows_of(start.state, rows, N)
        self.memory = start.memory
        self.t = -1  # the latest step

    def step(self) -> tuple[Array, Array | None]:
        """The next log-probabilities (R, V) of the model, on its device, and the attention weights (n, width, S) on the
        CPU, or None."""
        self.t += 1
        rows = len(self.sources) * self.width
        log_p, self.state, attention = Step(*self.model.step(self.ids, self.state, self.memory))
        log_p = _array(log_p)
        if log_p.ndim != 2 or log_p.shape[0] != rows or not log_p.shape[1] or log_p.dtype.kind != "f":
            raise ValueError(
                f"{self.title}: the model's step gives log_p of {log_p.dtype} {log_p.shape}; expected floats "
                f"({rows}, V), a row for each of the ids"
            )
        if self.t == 0:
            self._check_sums(log_p)
            self.limits.check_size(self.title, log_p.shape[1])
        _check_rows(f"{self.title}: the state that the model's step gives", self.state, rows)
        if attention is None:
            return log_p, None
        weights = backend.to_numpy(_array(attention))
        if weights.ndim != 2 or len(weights) != rows:
            raise ValueError(f"{self.title}: the model's step gives attention {weights.shape}; expected ({rows}, S)")
        return log_p, weights.reshape(len(self.sources), self.width, weights.shape[1])

    def _check_sums(self, log_p: Array) -> None:
        """Raise ValueError for logits: each row of probabilities sums to one, or to less if some are zero. A NaN is
        found later. The check is made at the first step; it costs as much as one more softmax."""
        with np.errstate(over="ignore"):
            sums = np.exp(log_p.astype(np.float64)).sum(axis=-1)
        low = (sums < 0.98) & (log_p > -np.inf).all(axis=-1)
        wrong = backend.to_numpy((sums > 1.02) | low)
        if wrong.any():
            source, total = self.sources[wrong.argmax() // self.width], float(backend.to_numpy(sums)[wrong.argmax()])
            raise ValueError(
                f"{self.title}: exp of the model's log_p for source {source} sums to {total:.4g}, not to 1; "
                "pass log-probabilities, such as mg.log_softmax(logits)"
            )

    def check(self, values: Array, live: Array) -> None:
        """Raise FloatingPointError if the known part of log_p (R, ·) has a NaN in a live row, (n, width)."""
        wrong = np.isnan(values).any(axis=-1) & live.reshape(-1)
        if wrong.any():
            source = self.sources[wrong.argmax() // self.width]
            raise FloatingPointError(f"{self.title}: the model gives NaN at step {self.t} of source {source}")

    def going(self, over: Array) -> Array:
        """The indices (n',) of the sources to continue with, given which of them, (n,), are done: those may stay for a
        while, since removing them copies the memory of the others."""
        kept = np.flatnonzero(~over)
        return kept if self.memory is None or SHARE * (len(over) - len(kept)) >= len(over) else np.arange(len(over))

    def go_on(self, going: Array, parents: Array, tokens: Array, live: Array) -> None:
        """Take the sources at the indices `going` (n',) to the next step. Of each, the sequences at `parents` (n', W)
        continue with these tokens (n', W). Sequences that are not live get their previous token again: a valid input,
        which the end need not be."""
        rows = going[:, None] * self.width + parents
        self.state = rows_of(self.state, rows.reshape(-1), len(self.sources) * self.width)
        if len(going) < len(self.sources):
            self.memory = rows_of(self.memory, going, len(self.sources))
            self.sources = self.sources[going]
        self.width = parents.shape[1]
        self.fed = np.where(live, tokens, self.fed[going[:, None], parents])
        self.ids = backend.from_numpy(self.fed.reshape(-1).astype(np.int64), self.device)


def rows_of(tree: Any, rows: Array, count: int) -> Any:
    """These rows of all arrays (count, ...) of a nested structure; unchanged, if they are all rows in order."""
    if len(rows) == count and np.array_equal(rows, np.arange(count)):
        return tree
    leaves, rebuild = trees.flatten(tree)
    found: list[Any] = []
    for leaf in leaves:
        if leaf is None:
            found.append(None)
            continue
        array = _array(leaf)
        taken = array.take(backend.from_numpy(rows, backend.device_of(array)), axis=0)
        found.append(mg.Tensor(taken) if isinstance(leaf, mg.Tensor) else taken)
    return rebuild(found)


def _array(value: Any) -> Array:
    return value.data if isinstance(value, mg.Tensor) else value


def _check_rows(what: str, tree: Any, count: int) -> None:
    """Raise an error for a leaf that is not a Tensor or array (count, ...)."""
    for leaf in trees.flatten(tree)[0]:
        if leaf is None:
            continue
        array = _array(leaf)
        if not backend.is_array(array):
            raise TypeError(f"{what} holds a {type(leaf).__name__}; expected Tensors with a row for each source")
        if array.ndim == 0 or array.shape[0] != count:
            raise ValueError(f"{what} has the shape {array.shape}; expected ({count}, ...), a row for each sequence")
