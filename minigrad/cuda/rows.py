"""`array[indices] += rows` on a GPU, deterministic and without synchronization.

Sums in a fixed order need to know which rows share an index. Each row is linked to the next one with the same index;
the first of them adds up the others, element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
FEW = 1 << 14  # rows: up to this number they are compared pairwise; more are sorted

LINKS = """
long long j = 0;
while (indices[j] != indices[i]) ++j;
first = j == i;
for (j = i + 1; j < count && indices[j] != indices[i]; ++j) {}
next = j < count ? j : -1;
"""
SUMS = """
const long long k = i / width, column = i % width;
if (first[k]) {
    T sum = 0;
    for (long long j = k; j >= 0; j = next[j]) sum += rows[j * width + column];
    array[indices[k] * width + column] += sum;
}
"""


class RowAdder:
    """Called with array (V, ...), indices (K,), all in [0, V), and rows (K, ...)."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._links = make("raw int64 indices, int64 count", "bool first, int64 next", LINKS, "minigrad_links")
        self._sums = make(
            "raw int64 indices, raw bool first, raw int64 next, raw T rows, int64 width", "raw T array", SUMS,
            "minigrad_sums",
        )  # fmt: skip

    def __call__(self, array: Array, indices: Array, rows: Array) -> None:
        if not rows.size:
            return
        count = indices.shape[0]
        first, following = self.links(indices) if count > FEW else self._links(indices, count, size=count)
        self._sums(indices, first, following, rows, rows.size // count, array, size=rows.size)

    @staticmethod
    def links(indices: Array) -> tuple[Array, Array]:
        """For each row, True if it is the first with its index, and the next one (−1: none), found by sorting."""
        order = np.argsort(indices, kind="stable")
        same = indices[order[1:]] == indices[order[:-1]]
        first, following = np.ones_like(indices, dtype=np.bool_), np.full_like(indices, -1)
        first[order[1:]] = ~same
        following[order[:-1]] = np.where(same, order[1:], -1)
        return first, following
