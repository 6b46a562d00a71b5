"""The lattice: all steps of a search, with back-pointers; sequences are read from it at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .protocol import Array


class Ends(NamedTuple):
    """The hypotheses that end at a step, for n sources with K sequences before it.

    parents  (n, E) the number of the ending one among the K
    log_ps   (n, E) the log-probability of the end
    scores   (n, E) the score of the whole; −∞ if none ends here
    """

    parents: Array
    log_ps: Array
    scores: Array


class Stage(NamedTuple):
    """One step, with K sequences before it and W after it, for the n sources that are not done.

    at         (N,) the row of each source below, or −1
    parents    (n, W) the number of the continued one among the K sequences
    tokens     (n, W) the token added
    log_ps     (n, W) its log-probability, −∞ if none continues here
    ends       the sequences that end here
    attention  (n, K, S) the attention weights of each of the K at this step; or None
    """

    at: Array
    parents: Array
    tokens: Array
    log_ps: Array
    ends: Ends | None
    attention: Array | None


class Leaf(NamedTuple):
    """H sequences, each a place in the lattice, with an optional end after it.

    sources  (H,)
    steps    (H,) the step of the last token, −1 if there is none
    places   (H,) its index among that step's W
    ends     (H,) log-probability of the end that follows; NaN if none does
    """

    sources: Array
    steps: Array
    places: Array
    ends: Array


class Written(NamedTuple):
    """A sequence read from the lattice: the tokens (T,), log-probabilities (T [+ 1],), including that of the end, if
    any, and attention weights (T [+ 1], S) or None."""

    tokens: Array
    log_ps: Array
    attention: Array | None


@dataclass(eq=False, repr=False)
class Lattice:
    """The stages of a search for N sources."""

    N: int
    stages: list[Stage] = field(default_factory=list)

    def add(
        self, sources: Array, parents: Array, tokens: Array, log_ps: Array, ends: Ends | None, attention: Array | None
    ) -> None:
        """Add a step for these sources (n,); see `Stage`."""
        at = np.full(self.N, -1)
        at[sources] = np.arange(len(sources))
        self.stages.append(Stage(at, parents, tokens, log_ps, ends, attention))

    def trace(self, leaves: Leaf) -> Array:
        """(T, H): the index of each sequence at each step, from the first to its last; −1 after that."""
        places = np.full((len(self.stages), len(leaves.sources)), -1)
        now = np.array(leaves.places)
        for t in range(len(self.stages) - 1, -1, -1):
            on = np.flatnonzero(leaves.steps >= t)
            places[t, on] = now[on]
            stage = self.stages[t]
            now[on] = stage.parents[stage.at[leaves.sources[on]], now[on]]
        return places

    def read(self, leaves: Leaf) -> list[Written]:
        """The H sequences."""
        H, T = len(leaves.sources), len(self.stages)
        finished = ~np.isnan(leaves.ends)
        places = self.trace(leaves)
        tokens, log_ps = np.zeros((T, H), np.int64), np.zeros((T, H))
        first = self.stages[0].attention
        attention = None if first is None else np.zeros((T, H, first.shape[-1]), first.dtype)
        for t, stage in enumerate(self.stages):
            on = np.flatnonzero(leaves.steps >= t)
            a, k = stage.at[leaves.sources[on]], places[t, on]
            tokens[t, on], log_ps[t, on] = stage.tokens[a, k], stage.log_ps[a, k]
            if attention is not None and stage.attention is not None:
                attention[t, on] = stage.attention[a, stage.parents[a, k]]
                on = np.flatnonzero((leaves.steps == t - 1) & finished)
                attention[t, on] = stage.attention[stage.at[leaves.sources[on]], leaves.places[on]]
        found = []
        for h, (T_h, end) in enumerate(zip((leaves.steps + 1).tolist(), leaves.ends.tolist(), strict=True)):
            ends = [] if np.isnan(end) else [end]
            looked = None if attention is None else attention[: T_h + len(ends), h].copy()
            found.append(Written(tokens[:T_h, h].copy(), np.append(log_ps[:T_h, h], ends), looked))
        return found
