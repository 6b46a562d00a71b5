"""Beam search: at each step, the best few continuations of the best few beginnings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from .pictures import Branch, Tree
from .protocol import Limits, Start, evaluating, like, limits_of, looked_at, rows_of, spoken
from .results import Decoded, Hypothesis
from .selection import largest

Array = Any


def beam_search(
    model: Any, start: Start, *, beam: int = 5, max_length: int, min_length: int = 0, n_best: int = 1,
    length_penalty: float = 0.0, coverage_penalty: float = 0.0, no_repeat_ngram: int | None = None,
    forbidden: Collection[int | None] = (),
) -> Decoded:  # fmt: skip
    """The likeliest sequences that are found by pursuing `beam` hypotheses for each source.

    model             has `step` and, if sequences can end by themselves, `eos_id`
    start             what the model's `start` gave, for N sources
    beam              B. 1 is the same as `greedy`
    max_length        the most tokens of a sequence; min_length: the fewest
    n_best            so many hypotheses for each source, the best first; at most B
    length_penalty    α: hypotheses are ranked by log p / ((5 + L) / 6)^α, L being their tokens with the end (Wu et al.
                      2016, eq. 14). 0 ranks by log p, and prefers short ones
    coverage_penalty  β: plus β Σ_s log min(Σ_t a_ts, 1) over the source's positions, from the weights of attention:
                      what was never looked at is perhaps not translated (the same)
    no_repeat_ngram   n: no n tokens come twice in a hypothesis (Paulus et al. 2018, 2.5)
    forbidden         tokens that never come, such as that for unknown words

    At a step, a hypothesis that ends is finished if it is among the B best continuations; the B best that do not end go
    on. With α = β = 0 a source is done when no open hypothesis can beat its n-th best finished one, which is exact, as
    log p only falls; with penalties also when B are finished. What is still open at `max_length` counts after what is
    finished. Of equally likely continuations, that of the better hypothesis, then of the smaller id, comes first.

    Raises ValueError for settings that cannot be, FloatingPointError where the model gives NaN.
    """
    limits = limits_of("beam_search", model, start, max_length, min_length, forbidden)
    for name, number in (("beam", beam), ("n_best", n_best), ("no_repeat_ngram", no_repeat_ngram)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise ValueError(f"beam_search: {name} must be a positive integer, not {number!r}")
    if n_best > beam:
        raise ValueError(f"beam_search: n_best={n_best} hypotheses cannot come from a beam of {beam}")
    if length_penalty < 0 or coverage_penalty < 0:
        raise ValueError(
            f"beam_search: penalties are not negative; got length_penalty={length_penalty!r} and "
            f"coverage_penalty={coverage_penalty!r}"
        )
    search = _Search(len(start.ids), beam, n_best, limits, length_penalty, coverage_penalty, no_repeat_ngram)
    with evaluating(model):
        return search.run(model, start)


class _Stage(NamedTuple):
    """What happened at one step, for the sources that were open, A of them.

    sources    (A,) their numbers
    parents    (A, B) the place in the beam of the hypothesis that goes on, −1 where there is none
    tokens     (A, B) what comes after it
    log_ps     (A, B) the log-probability of that
    totals     (A, B) log p of the whole hypothesis
    ends       (A, b) the log-probability that the hypotheses before this step end here, or None
    attention  (A, b, S) where they look at this step, or None
    """

    sources: Array
    parents: Array
    tokens: Array
    log_ps: Array
    totals: Array
    ends: Array | None
    attention: Array | None


class _Finished(NamedTuple):
    """A hypothesis that ended at step t, being that of place `parent` before the step."""

    score: float
    total: float
    t: int
    parent: int


class _Search:
    """A search over N sources. The hypotheses are never written down; they are read off the stages at the end."""

    def __init__(
        self, N: int, beam: int, n_best: int, limits: Limits, alpha: float, beta: float, ngram: int | None
    ) -> None:  # fmt: skip
        self.N, self.beam, self.n_best, self.limits = N, beam, n_best, limits
        self.alpha, self.beta, self.ngram = alpha, beta, ngram
        self.stages: list[_Stage] = []
        self.finished: list[list[_Finished]] = [[] for _ in range(N)]

    def run(self, model: Any, start: Start) -> Decoded:
        ids, state, memory = start
        sources = np.arange(self.N)
        totals = np.zeros((self.N, 1))  # (A, b): one hypothesis each at first, the empty one
        covered: Any = 0.0  # (A, b, S): the attention that each position has got
        for t in range(self.limits.max_length):
            step = model.step(ids, state, memory)
            log_p = spoken("beam_search", step, t, sources).reshape(*totals.shape, -1)  # (A, b, V)
            looked = looked_at(step)
            looked = None if looked is None else looked.reshape(*totals.shape, -1)  # (A, b, S)
            covered = covered + looked if looked is not None and self.beta else covered
            A, b, V = log_p.shape
            scores = totals[:, :, None].astype(log_p.dtype) + log_p
            self.limits.apply(scores, t)
            if self.ngram:
                self._forbid_repeats(scores, sources, t)
            ends = None if self.limits.eos is None else log_p[:, :, self.limits.eos].astype(np.float64)
            best = largest(scores.reshape(A, b * V), 2 * self.beam)  # enough, if half of them end
            parents, tokens = best // V, best % V
            possible = np.take_along_axis(scores.reshape(A, b * V), best, axis=-1) > -np.inf
            self._finish(sources, totals, ends, covered, parents, tokens, possible, t)
            places = _first(possible & (tokens != self.limits.eos), self.beam)  # (A, B), −1 where there is none
            parents, tokens = (np.where(places < 0, 0, np.take_along_axis(v, places, -1)) for v in (parents, tokens))
            log_ps = log_p[np.arange(A)[:, None], parents, tokens].astype(np.float64)
            after = np.where(places < 0, -np.inf, np.take_along_axis(totals, parents, -1) + log_ps)
            self.stages.append(_Stage(sources, np.where(places < 0, -1, parents), tokens, log_ps, after, ends, looked))
            going = np.flatnonzero([self._goes_on(int(n), after[a]) for a, n in enumerate(sources)])
            if not len(going) or t + 1 == self.limits.max_length:
                break
            rows = (going[:, None] * b + parents[going]).reshape(-1)
            if len(going) < A:
                memory = rows_of(memory, going)
            covered = covered[going[:, None], parents[going]] if np.ndim(covered) else covered
            sources, totals, tokens = sources[going], after[going], tokens[going]
            ids, state = like(tokens.reshape(-1), start.ids), rows_of(step.state, rows)
        return self._results()

    # ---- one step ------------------------------------------------------------------------------------------------

    def _finish(
        self, sources: Array, totals: Array, ends: Array | None, covered: Any, parents: Array, tokens: Array,
        possible: Array, t: int,
    ) -> None:  # fmt: skip
        """Take note of the hypotheses that end among the B best continuations."""
        if ends is None:
            return
        for a, k in np.argwhere(((tokens == self.limits.eos) & possible)[:, : self.beam]):
            parent = parents[a, k]
            total = float(totals[a, parent] + ends[a, parent])
            score = total / self._length(t + 1) + self._coverage(covered, a, parent)
            self.finished[sources[a]].append(_Finished(score, total, t, int(parent)))

    def _length(self, tokens: int) -> float:
        """((5 + L) / 6)^α."""
        return float(((5 + tokens) / 6) ** self.alpha)

    def _coverage(self, covered: Any, a: Any, parent: Any) -> float:
        """β Σ_s log min(Σ_t a_ts, 1)."""
        if not self.beta or not np.ndim(covered):
            return 0.0
        of_positions = covered[a, parent]
        with np.errstate(divide="ignore"):
            return float(self.beta * np.log(np.minimum(of_positions[of_positions > 0], 1)).sum())

    def _goes_on(self, n: int, totals: Array) -> bool:
        """Whether an open hypothesis of a source may still be among the n best."""
        finished, best = self.finished[n], totals.max()
        if best == -np.inf:
            return False
        if len(finished) < self.n_best:
            return True
        if (self.alpha or self.beta) and len(finished) >= self.beam:
            return False
        worst = sorted([one.score for one in finished], reverse=True)[self.n_best - 1]
        return bool(best / self._length(self.limits.max_length + 1) > worst)

    def _forbid_repeats(self, scores: Array, sources: Array, t: int) -> None:
        """Make tokens impossible that would complete n tokens which a hypothesis has already."""
        n = self.ngram or 0
        for a, source in enumerate(sources):
            for k in range(scores.shape[1]):
                tokens = self._tokens(source, t - 1, k) if t else []
                last = tokens[len(tokens) - n + 1 :]
                for at in range(len(tokens) - n + 1):
                    if tokens[at : at + n - 1] == last:
                        scores[a, k, tokens[at + n - 1]] = -np.inf

    # ---- reading the hypotheses off ------------------------------------------------------------------------------

    def _path(self, n: int, t: int, k: int) -> list[tuple[int, int, int]]:
        """(stage, row, place) of the hypothesis of source n at place k after step t, from its first token on."""
        found = []
        for s in range(t, -1, -1):
            a = int(np.searchsorted(self.stages[s].sources, n))
            found.append((s, a, k))
            k = int(self.stages[s].parents[a, k])
        return found[::-1]

    def _tokens(self, n: int, t: int, k: int) -> list[int]:
        return [int(self.stages[s].tokens[a, place]) for s, a, place in self._path(n, t, k)]

    def _hypothesis(self, n: int, t: int, k: int, end: _Finished | None, score: float) -> Hypothesis:
        """The hypothesis at place k after step t (none: t = −1), with its end, if it has one."""
        path = self._path(n, t, k) if t >= 0 else []
        stages = self.stages
        tokens = np.array([stages[s].tokens[a, place] for s, a, place in path], np.int64)
        log_ps = [stages[s].log_ps[a, place] for s, a, place in path]
        looks = [(s, a, int(stages[s].parents[a, place])) for s, a, place in path]
        if end is not None:
            stage = stages[end.t]
            a = int(np.searchsorted(stage.sources, n))
            assert stage.ends is not None
            log_ps.append(stage.ends[a, end.parent])
            looks.append((end.t, a, end.parent))
        attention = None
        if looks and stages[0].attention is not None:
            attention = np.stack([stages[s].attention[a, parent] for s, a, parent in looks])  # type: ignore[index]
        return Hypothesis(tokens, float(np.sum(log_ps)), score, np.array(log_ps), end is not None, attention)

    def _results(self) -> Decoded:
        found, pictures = [], []
        for n in range(self.N):
            ended = sorted(self.finished[n], key=lambda one: -one.score)[: self.n_best]
            hypotheses = [self._hypothesis(n, one.t - 1, one.parent, one, one.score) for one in ended]
            kept = [(one.t - 1, one.parent, True) for one in ended]
            last = max(t for t, stage in enumerate(self.stages) if n in stage.sources)
            stage = self.stages[last]
            totals = stage.totals[int(np.searchsorted(stage.sources, n))]
            for k in np.argsort(-totals, kind="stable")[: self.n_best - len(ended)]:
                if totals[k] > -np.inf:
                    score = float(totals[k]) / self._length(last + 1)
                    hypotheses.append(self._hypothesis(n, last, int(k), None, score))
                    kept.append((last, int(k), False))
            if not hypotheses:
                raise ValueError(f"beam_search: no sequence of source {n} is possible within the limits")
            found.append(hypotheses)
            pictures.append(self._tree(n, kept))
        return Decoded(found, pictures)

    def _tree(self, n: int, kept: list[tuple[int, int, bool]]) -> Tree:
        """The branches of source n: all hypotheses that were in the beam, and those that ended."""
        branches: list[Branch] = []
        at: dict[tuple[int, int], int] = {(-1, 0): -1}
        chosen = {(s, place) for t, k, _ in kept if t >= 0 for s, _, place in self._path(n, t, k)}
        for t, stage in enumerate(self.stages):
            a = int(np.searchsorted(stage.sources, n))
            if a == len(stage.sources) or stage.sources[a] != n:
                break
            for k, parent in enumerate(stage.parents[a]):
                if parent >= 0:
                    at[t, k] = len(branches)
                    branches.append(Branch(at[t - 1, int(parent)], int(stage.tokens[a, k]), float(stage.log_ps[a, k]),
                                           float(stage.totals[a, k]), (t, k) in chosen, False))  # fmt: skip
            for one in self.finished[n]:
                if one.t == t and stage.ends is not None:
                    is_kept = (t - 1, one.parent, True) in kept
                    branches.append(Branch(at[t - 1, one.parent], int(self.limits.eos or 0),
                                           float(stage.ends[a, one.parent]), one.score, is_kept, True))  # fmt: skip
        return Tree(branches)


def _first(wanted: Array, k: int) -> Array:
    """The places (A, k) of the first k that are True in each row, −1 where there are fewer."""
    order = np.argsort(~wanted, axis=-1, kind="stable")[:, :k]
    places = np.where(np.take_along_axis(wanted, order, axis=-1), order, -1)
    short = k - places.shape[1]
    return np.pad(places, ((0, 0), (0, short)), constant_values=-1) if short > 0 else places
