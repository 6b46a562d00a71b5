"""The ranking of complete sequences: penalties for length and coverage, and a table of the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .lattice import Leaf
from .protocol import Array


@dataclass(frozen=True)
class Score:
    """log p / ((5 + L) / 6)^α + β Σ_s log min(Σ_t a_ts, 1) (Wu et al. 2016, eq. 14).

    length    α
    coverage  β
    """

    length: float
    coverage: float

    def of(self, log_p: Array, L: int, covered: Array | None) -> Array:
        """The scores of sequences with these log p (...), L tokens long including the end.

        covered  (..., S) Σ_t a_ts, or None. An exact 0 is padding, since a softmax never gives 0, and does not count
        """
        scores = log_p / ((5 + L) / 6) ** self.length
        if covered is None or not self.coverage:
            return scores  # type: ignore[no-any-return]
        missing = np.log(np.minimum(covered, 1), out=np.zeros_like(covered), where=covered > 0)
        return scores + self.coverage * missing.sum(axis=-1)  # type: ignore[no-any-return]

    def bound(self, log_p: Array, longest: int) -> Array:
        """An upper bound of the scores of sequences that begin with this log p: log p decreases with each token, the
        divisor is at most that of the longest sequence, and the coverage penalty is at most 0."""
        return self.of(log_p, longest, None)


class Best:
    """The n best sequences of each of N sources: those with an end before those without, both sorted by score."""

    def __init__(self, N: int, n: int) -> None:
        self.scores = np.full((N, n), -np.inf)
        self.steps = np.full((N, n), -1)
        self.places = np.zeros((N, n), np.int64)
        self.ends = np.full((N, n), np.nan)  # see `Leaf`
        self.finished = np.zeros(N, np.int64)  # the number of sequences with an end so far

    @property
    def worst(self) -> Array:
        """(N,) the score of the n-th with an end, −∞ if there are fewer."""
        return np.where(np.isnan(self.ends[:, -1]), -np.inf, self.scores[:, -1])

    def add(self, sources: Array, scores: Array, step: int, places: Array, ends: Array | None = None) -> None:
        """Add sequences of some sources: score (n, E), −∞ if there is none; the step and index (n, E) of the last
        token; the log-probability of the end, (n, E), or None without ends. Among equal ones, the earlier is better."""
        ends = np.full(scores.shape, np.nan) if ends is None else ends
        new = (scores, np.full(scores.shape, step), places, ends)
        old = (self.scores, self.steps, self.places, self.ends)
        joined = [np.concatenate([a[sources], b], axis=1) for a, b in zip(old, new, strict=True)]
        joined[3][joined[0] == -np.inf] = np.nan
        order = np.lexsort((-joined[0], np.isnan(joined[3])), axis=-1)[:, : self.scores.shape[1]]
        for table, values in zip(old, joined, strict=True):
            table[sources] = np.take_along_axis(values, order, axis=1)
        self.finished[sources] += ((scores > -np.inf) & ~np.isnan(ends)).sum(axis=1)

    def leaves(self) -> tuple[Array, Leaf]:
        """The scores (H,) of all, and their places in the lattice, source by source, the best first."""
        sources, ranks = np.nonzero(self.scores > -np.inf)
        return self.scores[sources, ranks], Leaf(
            sources, self.steps[sources, ranks], self.places[sources, ranks], self.ends[sources, ranks]
        )
