"""The memory layout of the rows of a ragged loop.

Step u of a loop (in execution order) has n_u rows, the first n_u of the batch. A state carried from step to step lies
in one array for all steps, a *track*: block u holds the state at the beginning of step u, and the step writes the new
one into block u + 1. Where sequences begin later (backwards through a ragged batch), further rows of a block hold
their initial state. The blocks are stored in time order, so that in a loop in which no sequence begins late, the new
states of all steps are one slice; where none ends early, the old ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from .. import backend

Array = np.ndarray[Any, Any]


class Piece(NamedTuple):
    """A range of rows of the batch, from `first` on, with `counts` of them at each step."""

    first: int
    counts: Array


class Rows:
    """The rows of the steps.

    counts   n_u for each step, in execution order
    starts   the first row of each step in time order, as in inputs and outputs
    batch    N
    blocks   the first row of each of the T + 1 blocks of a track; `length` is the number of rows of a track
    """

    def __init__(self, sizes: Sequence[int], batch: int, reverse: bool) -> None:
        starts = [0, *accumulate(sizes)]
        self.count = starts.pop()
        self.batch = batch
        self.counts = list(sizes)[::-1] if reverse else list(sizes)
        self.starts = starts[::-1] if reverse else starts
        T = len(self.counts)
        heights = [
            self.counts[0],
            *[max(pair) for pair in zip(self.counts, self.counts[1:], strict=False)],
            self.counts[-1],
        ]
        firsts = [0, *accumulate(heights[::-1] if reverse else heights)]
        self.length = firsts.pop()
        self.blocks = firsts[::-1] if reverse else firsts
        self.begun = max(self.counts)  # the number of rows with at least one step
        self.old: Any = self._index(self.blocks[:T])
        self.new: Any = self._index(self.blocks[1:])
        self.final = self._final()
        grown = accumulate(self.counts, max)
        pairs = zip(self.blocks, self.counts, [0, *grown], strict=False)
        self.begins = [(first, n) for first, n, before in pairs if n > before]  # blocks in which further rows begin

    def _index(self, firsts: Sequence[int]) -> slice | Array:
        """The rows of a track at these first rows of each step, in time order: a slice where they are contiguous."""
        pairs = sorted(zip(self.starts, firsts, self.counts, strict=True))
        if all(a[1] + a[2] == b[1] for a, b in pairwise(pairs)):
            return slice(pairs[0][1], pairs[0][1] + self.count)
        return np.concatenate([np.arange(first, first + n) for _, first, n in pairs])

    def _final(self) -> slice | Array:
        """The rows of a track with the last state of each row of the batch that takes part."""
        T = len(self.counts)
        if self.counts[-1] == self.begun:
            return slice(self.blocks[T], self.blocks[T] + self.begun)
        final = np.empty(self.begun, np.int64)
        for u, n in enumerate(self.counts):  # later steps overwrite
            final[:n] = np.arange(self.blocks[u + 1], self.blocks[u + 1] + n)
        return final

    # ---- the first rows of steps -------------------------------------------------------------------------------------

    def pieces(self, count: int) -> list[Piece]:
        """The rows of the batch in `count` pieces with about the same number of rows over all steps."""
        counts = np.array(self.counts)
        if count == 1:
            return [Piece(0, counts)]
        steps = np.cumsum(np.bincount(counts, minlength=self.begun + 1)[:0:-1])[::-1]  # of each row
        done = np.cumsum(steps)
        cuts = [0, *np.searchsorted(done, done[-1] * np.arange(1, count) / count) + 1, self.begun]
        return [Piece(int(first), np.clip(counts - first, 0, last - first)) for first, last in pairwise(cuts)]

    def positions(self, piece: Piece) -> dict[Any, Array]:
        """For each step, the first row of the step in each kind of array, relative to the piece's first row there:

        rows    in time order: inputs, outputs and kept values
        old     on a track: the state at the beginning of the step
        new     on a track: the state at its end
        first   of the batch: values that no other step reads
        now     of a pair: the gradient of the state at the end of the step
        before  of a pair: the gradient of the state at its beginning

        As the steps run backwards, some rows end with a step, and some begin with the step after it. `arriving` and
        `leaving` are the first of these in the batch, with `now` in a pair. `count` and the like are numbers of rows.
        """
        now = piece.counts
        later = np.append(now[1:], 0)
        turn = np.arange(len(now)) % 2 * self.begun
        lists: dict[str, Any] = {
            "rows": self.starts,
            "old": self.blocks[:-1],
            "new": self.blocks[1:],
            "first": np.zeros_like(now),
            "now": turn,
            "before": self.begun - turn,
            "arriving": later,
            "arriving now": later + turn,
            "leaving": now,
            "leaving now": now + turn,
            "count": now,
            "count arriving": np.maximum(now - later, 0),
            "count leaving": np.maximum(later - now, 0),
        }
        return {kind: np.ascontiguousarray(found, np.int64) for kind, found in lists.items()}

    def begin(self, track: Array, initial: Array) -> None:
        """Write the initial state into the rows at which sequences begin."""
        before = 0
        for first, n in self.begins:
            track[first + before : first + n] = initial[before:n]
            before = n


def taken(array: Any, index: slice | Array) -> Any:
    """Rows of an array on any device: a view for a slice."""
    if not isinstance(index, slice) and not backend.on_cpu(array):
        index = backend.from_numpy(index, backend.device_of(array))
    return array[index]


@lru_cache(maxsize=64)
def layout(sizes: tuple[int, ...], batch: int, reverse: bool) -> Rows:
    """The layout of the rows of each step; full batches of one size share it."""
    return Rows(sizes, batch, reverse)
