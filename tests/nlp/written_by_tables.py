"""A model whose log-probabilities are looked up in tables, by the source and all tokens written so far."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
import nlp

Array = Any
PLACES = 997  # of the tables


HALVINGS = np.array([[1, 2, 3, 4, 4], [2, 2, 2, 3, 3], [1, 3, 3, 3, 3]])


class Tables:
    """N sources, V tokens, S positions of which the last ones of some sources are padding.

    coarse  probabilities of five tokens are powers of 1/2, so that there are ties, and sums of their logarithms are
            exact; some are 0
    """

    def __init__(
        self, seed: int, N: int = 3, V: int = 5, S: int = 4, eos_id: int | None = 0, coarse: bool = False,
        dtype: Any = np.float64,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        self.N, self.V, self.S, self.eos_id = N, V, S, eos_id
        x = 1.5 * rng.standard_normal((PLACES, V))
        x -= np.log(np.exp(x).sum(axis=-1, keepdims=True))
        if coarse:
            halvings = rng.permuted(HALVINGS[rng.integers(len(HALVINGS), size=PLACES)], axis=1)
            x = -177 / 256 * halvings  # almost log 2
            x[rng.random(x.shape) < 0.2] = -np.inf
        self.log_p = x.astype(dtype)
        lengths = rng.integers(1, S + 1, N)
        self.mask = np.arange(S) < lengths[:, None]  # (N, S)
        self.attention = np.exp(2 * rng.standard_normal((PLACES, S)))
        self.rows: list[int] = []  # that it was asked for, at each step
        self.states: list[tuple[Any, Any]] = []  # that it was given and that it gave

    def start(self, sources: Any = None) -> nlp.Start:
        """All sources, or some."""
        numbers = np.arange(self.N) if sources is None else np.asarray(sources)
        state = {"place": mg.tensor(numbers * 101 + 7), "nothing": None, "more": [(np.arange(len(numbers)) * 1.0,)]}
        return nlp.Start(np.ones(len(numbers), np.int64), state, (mg.tensor(numbers), None, [self.mask[numbers]]))

    def following(self, place: Any, token: Any) -> Any:
        """The place in the tables after one more token."""
        return (place * 31 + token * 17 + 5) % PLACES

    def step(self, ids: Any, state: Any, memory: Any) -> nlp.Step:
        sources, nothing, (mask,) = memory
        assert nothing is None
        assert state["nothing"] is None
        R, n = len(ids), len(sources)
        assert R % n == 0
        assert len(mask) == n
        self.rows.append(R)
        place = self.following(state["place"].data, ids)
        weights = self.attention[place] * np.repeat(mask, R // n, axis=0)
        after = {"place": mg.tensor(place), "nothing": None, "more": [(state["more"][0][0] + 1,)]}
        self.states.append((state, after))
        return nlp.Step(mg.tensor(self.log_p[place]), after, mg.tensor(weights / weights.sum(axis=-1, keepdims=True)))

    def after(self, source: int, written: Any) -> tuple[Array, Array]:
        """The log-probabilities (V,) and the attention (S,) after what was written for a source."""
        place = self.following(source * 101 + 7, 1)
        for token in written:
            place = self.following(place, token)
        weights = self.attention[place] * self.mask[source]
        return self.log_p[place].astype(np.float64), weights / weights.sum()

    def log_probability(self, source: int, written: Any) -> float:
        """log p of what was written for a source."""
        return float(sum(self.after(source, written[:t])[0][token] for t, token in enumerate(written)))
