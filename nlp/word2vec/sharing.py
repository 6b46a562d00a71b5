"""Word2Vec on several ranks: each learns from its own blocks of the corpus, and at intervals their weights meet.

Between two meetings a rank knows only its own changes. At a meeting the changes Δ₁ … Δ_N of each row become

    Δ = Σ Δᵣ / max(1, |Σ Δᵣ|² / Σ |Δᵣ|²)

The divisor is 1 where the changes have nothing in common, as those of a rare word that one rank has seen, and N where
they are all the same, as those of a frequent word that all have learned: between the sum, with which what all have
learned would be learned N times over (and diverges), and the mean, with which what one has learned would be forgotten
by N − 1 of N parts. (Maleki et al. 2021, Scaling Distributed Training with Adaptive Summation; here row by row.) What
the mean takes away from words that all have seen is given back by rates that are √N times as high.
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

    weights   arrays (rows, D), the same on all ranks at first
    interval  the words that each rank learns from between two meetings, in whole blocks
    """

    def __init__(self, group: Group | None, weights: list[Array], interval: int) -> None:
        self.group, self.weights = group or Group(), weights
        self.faster = math.sqrt(self.group.size)
        self.blocks = max(1, interval // BLOCK) * self.group.size  # of all ranks between two meetings
        self.before = [w.copy() for w in weights] if self.group.size > 1 else []

    def mine(self, number: int) -> bool:
        """True for the blocks that this rank learns from."""
        return number % self.group.size == self.group.rank

    def due(self, number: int) -> bool:
        """True before a block with which a new interval begins."""
        return number > 0 and number % self.blocks == 0

    def meet(self) -> None:
        """Put the changes of all ranks together; all have the same weights then."""
        for w, old in zip(self.weights, self.before, strict=bool(self.before)):
            w -= old
            sizes = np.einsum("rd,rd->r", w, w)  # |Δᵣ|² of each row
            started = [*self.group.start_sum(w), *self.group.start_sum(sizes)]
            self.group.wait(started, "changes of word vectors")
            common = np.einsum("rd,rd->r", w, w) / np.where(sizes > 0, sizes, 1)
            w /= np.maximum(common, 1)[:, None]
            w += old
            old[...] = w
