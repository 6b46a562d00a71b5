"""Word2Vec on several ranks: each learns from its own blocks of the corpus, and at intervals they merge their weights.

Between two merges a rank knows only its own changes. A merge replaces the changes Δ₁ … Δ_N of each row by

    Δ = Σ Δᵣ / max(1, |Σ Δᵣ|² / Σ |Δᵣ|²)

The divisor is 1 if the changes are orthogonal, as for a rare word seen by one rank, and N if they are all the same, as
for a frequent word learned by all. It lies between the sum, which would apply common changes N times (and diverge), and
the mean, which would lose N − 1 of N parts of a single rank's change. (Maleki et al. 2021, Scaling Distributed Training
with Adaptive Summation; here row by row.) Rates that are √N times as high make up for the mean's loss on words that all
ranks have seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nn.distributed import Group

from .corpus import BLOCK

Array = Any


class Shared:
    """The weights of a group's ranks.

    weights   arrays (rows, D), initially the same on all ranks
    interval  the words that each rank learns from between two merges, in whole blocks
    """

    def __init__(self, group: Group | None, weights: list[Array], interval: int) -> None:
        self.group, self.weights = group or Group(), weights
        self.faster = math.sqrt(self.group.size)
        self.blocks = max(1, interval // BLOCK) * self.group.size  # of all ranks between two merges
        self.before = [w.copy() for w in weights] if self.group.size > 1 else []

    def mine(self, number: int) -> bool:
        """True for the blocks that this rank learns from."""
        return number % self.group.size == self.group.rank

    def due(self, number: int) -> bool:
        """True before the first block of a new interval."""
        return number > 0 and number % self.blocks == 0

    def meet(self) -> None:
        """Merge the changes of all ranks, so that all have the same weights."""
        for w, old in zip(self.weights, self.before, strict=bool(self.before)):
            w -= old
            sizes = np.einsum("rd,rd->r", w, w)  # |Δᵣ|² of each row
            started = [*self.group.start_sum(w), *self.group.start_sum(sizes)]
            self.group.wait(started, "changes of word vectors")
            common = np.einsum("rd,rd->r", w, w) / np.where(sizes > 0, sizes, 1)
            w /= np.maximum(common, 1)[:, None]
            w += old
            old[...] = w
