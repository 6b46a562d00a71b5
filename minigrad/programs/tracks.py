"""The layout of a ragged loop's rows in memory.

Step u of a loop (in the order in which it runs) has n_u rows, the first n_u of the batch. A state that is carried from
step to step lies in one array for all of them, a *track*: block u holds the state that step u begins with, and the
step writes the new one into block u + 1. Where sequences begin later (backwards through a ragged batch), the further
rows of a block hold their initial state. In memory the blocks stand in the order of time, so that for a loop in which
no sequence begins late, the new states of all steps are one slice; and where none ends early, the old ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Rows:
    """The rows of the steps.

    counts   n_u for each step, in the order in which they run
    starts   the first row of each step in the order of time, that of inputs and outputs
    batch    N
    blocks   the first row of each block of a track, T + 1 of them; `length`, the rows of a track
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
        self.even = self.counts[0] == self.counts[-1] == batch  # all the same, since they only grow or only fall
        self.begun = max(self.counts)  # rows that take part at all
        self.old: Any = self._index(self.blocks[:T])
        self.new: Any = self._index(self.blocks[1:])
        self.final = self._final()
        self.distinct = sorted(set(self.counts))

    def _index(self, firsts: Sequence[int]) -> slice | Array:
        """The rows of a track, in the order of time, that begin there at each step: a slice where they are one."""
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
        for u, n in enumerate(self.counts):  # a later step overwrites
            final[:n] = np.arange(self.blocks[u + 1], self.blocks[u + 1] + n)
        return final

    # ---- views, one for each step --------------------------------------------------------------------------------

    def of_rows(self, array: Array) -> list[Array]:
        """Of an array in the order of time, the rows of each step."""
        return self._views(array, self.starts)

    def of_old(self, track: Array) -> list[Array]:
        """Of a track, the state that each step begins with."""
        return self._views(track, self.blocks[:-1])

    def of_new(self, track: Array) -> list[Array]:
        """Of a track, the state that each step ends with."""
        return self._views(track, self.blocks[1:])

    def of_first(self, array: Array) -> list[Array]:
        """Of an array (N, ...), as many rows as each step has."""
        views = {n: array[:n] for n in self.distinct}
        return [views[n] for n in self.counts]

    def _views(self, array: Array, firsts: Sequence[int]) -> list[Array]:
        if self.even:  # iterating over an array makes its views in half the time
            low = min(firsts[0], firsts[-1])
            views = list(array[low : low + self.count].reshape((len(firsts), self.batch, *array.shape[1:])))
            return views if firsts[0] <= firsts[-1] else views[::-1]
        return [array[first : first + n] for first, n in zip(firsts, self.counts, strict=True)]

    def begin(self, track: Array, initial: Array) -> None:
        """Write the initial state where the sequences begin."""
        before = 0
        for first, n in zip(self.blocks, self.counts, strict=False):
            if n > before:
                track[first + before : first + n] = initial[before:n]
                before = n
