"""Beam search: at each step, the best continuations of the best hypotheses."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

import minigrad as mg

from .lattice import Ends, Lattice
from .protocol import Array, Eos, Limits, Start, check_integer, evaluating, limits_of
from .ranking import Best, Score
from .results import Decoded, decoded
from .running import Running
from .selection import likeliest


def beam_search(
    model: Any, start: Start, *, beam: int = 5, max_length: int, min_length: int = 0, n_best: int = 1,
    length_penalty: float = 0.0, coverage_penalty: float = 0.0, no_repeat_ngram: int | None = None, eos: Eos = "model",
    forbidden: Collection[int | None] = (),
) -> Decoded:  # fmt: skip
    """The likeliest sequences found by pursuing `beam` hypotheses for each source.

    model             has `step` and, if sequences can end by themselves, `eos_id`
    start             from the model's `start`, for N sources
    beam              B hypotheses continue at each step. 1 equals `greedy`
    max_length        the most tokens of a sequence, including its end; min_length: the fewest, without it
    n_best            the number of hypotheses for each source, the best first; at most B. There may be fewer
    length_penalty    α: hypotheses are ranked by log p / ((5 + L) / 6)^α, with L their tokens including the end (Wu et
                      al. 2016, eq. 14). 0 ranks by log p, and prefers short ones
    coverage_penalty  β: plus β Σ_s log min(Σ_t a_ts, 1) over the source's positions, from the attention weights: a
                      position never attended to may be untranslated (Wu et al. 2016, eq. 14)
    no_repeat_ngram   n: no n tokens occur twice in a hypothesis (Paulus et al. 2018, 2.5)
    eos               the token that ends a sequence, or None; by default the model's `eos_id`
    forbidden         tokens that never occur, such as the one for unknown words; None among them is ignored

    At a step, a hypothesis that ends is finished if it is among the B best continuations; the B best that do not end
    continue. With α = β = 0 a source is done when no open hypothesis can beat its n-th best finished one, which is
    exact, since log p can only decrease. With penalties it is done when none could even if all remaining tokens were
    certain, or else when B hypotheses are finished, although a longer one might have a better score. Hypotheses that
    are open at `max_length`, or cannot continue, rank after finished ones. Among equally likely continuations, the
    better hypothesis comes first, then the smaller id.

    Raises ValueError for invalid settings, or if no token is possible at the first step; FloatingPointError if the
    model gives NaN.
    """
    title = "beam_search"
    limits = limits_of(title, model, max_length, min_length, eos, forbidden)
    for name, number in (("beam", beam), ("n_best", n_best)):
        check_integer(title, name, number, 1)
    if no_repeat_ngram is not None:
        check_integer(title, "no_repeat_ngram", no_repeat_ngram, 1)
    if n_best > beam:
        raise ValueError(f"{title}: n_best={n_best} hypotheses cannot come from a beam of {beam}")
    if not (0 <= length_penalty < math.inf and 0 <= coverage_penalty < math.inf):
        raise ValueError(
            f"{title}: penalties are not negative; got length_penalty={length_penalty!r} and "
            f"coverage_penalty={coverage_penalty!r}"
        )
    score = Score(length_penalty, coverage_penalty)
    search = _Search(Running(title, model, start, limits), limits, beam, n_best, score, no_repeat_ngram)
    with evaluating(model):
        for _ in mg.steps(range(limits.max_length)):
            if not search.step():
                break
    scores, leaves = search.best.leaves()
    return decoded(search.lattice, leaves, scores, limits.eos, tree=True)


class _Search:
    """n running sources, with K hypotheses each.

    totals   (n, K) log p of each, the best first; −∞ where there are fewer
    tokens   (n, K, t) the tokens so far; kept only for n-grams
    covered  (n, K, S) the attention that each position of the source has received; kept only for its penalty
    """

    def __init__(
        self, running: Running, limits: Limits, beam: int, n_best: int, score: Score, ngram: int | None
    ) -> None:  # fmt: skip
        N = len(running.sources)
        self.running, self.limits, self.beam, self.score, self.ngram = running, limits, beam, score, ngram
        self.lattice, self.best = Lattice(N), Best(N, n_best)
        self.totals = np.zeros((N, 1))
        self.tokens = np.zeros((N, 1, 0), np.int64)
        self.covered: Array | None = None

    def step(self) -> bool:
        """Call the model once, and continue with the best continuations of each source. Returns True while any source
        is left.
        """
        running, B = self.running, self.beam
        n, K = self.totals.shape
        log_p, attention = running.step()
        covered = self._seen(attention)
        repeats = None if self.ngram is None else repeated(self.tokens, self.ngram)
        ids, log_ps = likeliest(log_p, B + 1, self.limits.banned(running.t), repeats)  # (n·K, M): B, and maybe the end
        live = self.totals > -np.inf
        running.check(log_ps, live)
        M = ids.shape[1]
        totals = np.where(live[:, :, None], self.totals[:, :, None] + log_ps.reshape(n, K, M), -np.inf)

        flat = (n, math.prod(totals.shape[1:]))
        ranked = np.argsort(-totals.reshape(flat), axis=-1, kind="stable")[:, : 2 * B]  # enough, if B of them end
        totals, ids, log_ps = (np.take_along_axis(x.reshape(flat), ranked, -1) for x in (totals, ids, log_ps))
        parents = ranked // M
        is_end = ids == (-1 if self.limits.eos is None else self.limits.eos)
        ends = self._finish(np.where(is_end, totals, -np.inf)[:, :B], parents[:, :B], log_ps[:, :B], covered)

        rest = np.argsort(is_end, axis=-1, kind="stable")[:, :B]
        totals = np.take_along_axis(np.where(is_end, -np.inf, totals), rest, -1)
        W = int((totals > -np.inf).sum(axis=-1).max(initial=1))
        totals, rest = totals[:, :W], rest[:, :W]
        parents, ids, log_ps = (np.take_along_axis(x, rest, -1) for x in (parents, ids, log_ps))  # (n, W)
        log_ps = np.where(totals > -np.inf, log_ps, -np.inf)
        self.lattice.add(running.sources, parents, ids, log_ps, ends, attention)

        over = self._over(totals)
        if running.t + 1 == self.limits.max_length:
            self._cut_off(running.t, totals, None if covered is None else covered[np.arange(n)[:, None], parents])
        elif not over.all():
            going = running.going(over)
            parents, ids, at = parents[going], ids[going], (going[:, None], parents[going])
            self.totals = np.where(over[:, None], -np.inf, totals)[going]
            self.covered = None if covered is None else covered[at]
            if self.ngram is not None:
                self.tokens = np.concatenate([self.tokens[at], ids[:, :, None]], axis=-1)
            running.go_on(going, parents, ids, self.totals > -np.inf)
            return True
        return False

    def _seen(self, attention: Array | None) -> Array | None:
        """The coverage after this step, (n, K, S); None if it is not needed."""
        if not self.score.coverage:
            return None
        if attention is None:
            raise ValueError("beam_search: coverage_penalty needs attention, but the model's step gives None")
        return attention if self.covered is None else self.covered + attention

    def _finish(self, totals: Array, parents: Array, log_ps: Array, covered: Array | None) -> Ends | None:
        """Note the hypotheses that end: log p (n, E) of the whole, −∞ where none does, and of the end."""
        if not (totals > -np.inf).any():
            return None
        seen = None if covered is None else covered[np.arange(len(parents))[:, None], parents]
        scores = self.score.of(totals, self.running.t + 1, seen)
        self.best.add(self.running.sources, scores, self.running.t - 1, parents, log_ps)
        return Ends(parents, log_ps, scores)

    def _cut_off(self, t: int, totals: Array, covered: Array | None) -> None:
        """Note hypotheses after step t, (n, K), without an end."""
        places = np.broadcast_to(np.arange(totals.shape[1]), totals.shape)
        self.best.add(self.running.sources, self.score.of(totals, t + 1, covered), t, places)

    def _over(self, totals: Array) -> Array:
        """(n,) True for sources that are done, given log p (n, W) of the open hypotheses."""
        running, best = self.running, self.best
        finished = best.finished[running.sources]
        dead = totals[:, 0] == -np.inf
        stuck = dead & (self.totals[:, 0] > -np.inf) & (finished == 0)  # none can continue, and none has ended
        if stuck.any():
            if running.t == 0:
                raise ValueError(f"beam_search: no token is possible at the first step of source {stuck.argmax()}")
            self._cut_off(running.t - 1, np.where(stuck[:, None], self.totals, -np.inf), self.covered)
        over = dead | (best.worst[running.sources] >= self.score.bound(totals[:, 0], self.limits.max_length))
        if self.score.length or self.score.coverage:
            over |= finished >= self.beam
        return over  # type: ignore[no-any-return]


def repeated(tokens: Array, n: int) -> tuple[Array, Array]:
    """Tokens that would repeat an n-gram of their hypothesis: row and id of each, (P,), for tokens (..., t).

    >>> rows, ids = repeated(np.array([[5, 6, 7, 5, 6], [5, 6, 7, 8, 9]]), 3)
    >>> rows.tolist(), ids.tolist()
    ([0], [7])
    """
    t = tokens.shape[-1]
    tokens = tokens.reshape(math.prod(tokens.shape[:-1]), t)
    if t < n:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    parts = np.lib.stride_tricks.sliding_window_view(tokens, n, axis=1)  # (R, t − n + 1, n)
    rows, places = np.nonzero((parts[:, :, :-1] == tokens[:, None, t - n + 1 :]).all(axis=-1))
    return rows, parts[rows, places, -1]
