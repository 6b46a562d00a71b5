"""Word2Vec on several ranks: each learns from its blocks of the corpus, and their weights meet at intervals.

Between two meetings a rank sees only its own changes. At a meeting the changes of all ranks are added up, row by row,
and divided by ... 
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

Array = Any
RULE = os.environ.get("RULE", "rows")


class Shared:
    """The weights of a group's ranks.

    weights   arrays (rows, D), the same on all ranks at first
    interval  blocks of each rank between two meetings
    """

    def __init__(self, group: Any, weights: list[Array], interval: int) -> None:
        self.group, self.weights, self.interval = group, weights, interval
        self.before = [w.copy() for w in weights]

    def mine(self, number: int) -> bool:
        return number % self.group.size == self.group.rank

    def due(self, number: int) -> bool:
        return number > 0 and number % (self.interval * self.group.size) == 0

    def meet(self) -> None:
        for w, old in zip(self.weights, self.before, strict=True):
            w -= old
            changed = np.any(w != 0, axis=1).astype(np.float32)
            self.group.wait([*self.group.start_sum(w), *self.group.start_sum(changed)], "changes of word vectors")
            if RULE == "rows":
                w /= np.maximum(changed, 1)[:, None]
            elif RULE == "mean":
                w /= self.group.size
            elif RULE == "sqrt":
                w /= np.sqrt(np.maximum(changed, 1))[:, None]
            w += old
            old[...] = w
