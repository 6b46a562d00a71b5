"""One token after the other: the likeliest, a random one, or a given one."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.randomness import generator

from ..ids import checked_ids
from .lattice import Lattice, Leaf
from .protocol import Array, Eos, Limits, Start, check_integer, evaluating, limits_of
from .results import Decoded, decoded
from .running import Running
from .selection import likeliest

Pick = Callable[[Array, Running], tuple[Array, Array]]


def greedy(
    model: Any, start: Start, *, max_length: int, min_length: int = 0, eos: Eos = "model",
    forbidden: Collection[int | None] = (),
) -> Decoded:  # fmt: skip
    """The likeliest token at each step; among equally likely ones, the smallest id.

    model       has `step` and, if sequences can end by themselves, `eos_id`
    start       from the model's `start`, for N sources
    max_length  the most tokens of a sequence, including its end; min_length: the fewest, without it
    eos         the token that ends a sequence, or None; by default the model's `eos_id`
    forbidden   tokens that never occur, such as the one for unknown words; None among them is ignored

    A sequence after which no token is possible ends there, unfinished.

    Raises ValueError for invalid settings, or if no token is possible at the first step; FloatingPointError if the
    model gives NaN.
    """
    limits = limits_of("greedy", model, max_length, min_length, eos, forbidden)

    def pick(log_p: Array, running: Running) -> tuple[Array, Array]:
        ids, log_ps = likeliest(log_p, 1, limits.banned(running.t))
        return ids[:, 0], log_ps[:, 0]

    return _written("greedy", model, start, limits, pick, 1)


@dataclass(frozen=True)
class _Distribution:
    """The distribution to draw from: see `sample`."""

    temperature: float
    top_k: int | None
    top_p: float | None

    def draw(self, log_p: Array, u: Array, banned: Sequence[int]) -> tuple[Array, Array]:
        """An id (R,) for each row of log_p (R, V), and its log-probability there (R,), by numbers u (R,) from [0, 1):
        by their position in the cumulative probabilities. −∞ where nothing is possible, NaN where there is a NaN."""
        places = None  # in id order
        if self.top_k is not None:
            places, x = likeliest(log_p, self.top_k, banned)
        else:
            x = log_p.copy()
            if banned:
                x[:, list(banned)] = -np.inf
            if self.top_p is not None:
                places = np.argsort(-x, axis=-1, kind="stable")
                x = np.take_along_axis(x, places, axis=-1)
        high = np.max(x, axis=-1, keepdims=True)
        p = np.exp((x - np.where(np.isfinite(high), high, 0.0)) / self.temperature)
        cumulated = np.cumsum(p, axis=-1, dtype=np.float64)
        total = cumulated[:, -1:]
        if self.top_p is not None:  # the shortest prefix with this share
            first = np.argmax(cumulated >= self.top_p * total, axis=-1)
            total = np.take_along_axis(cumulated, first[:, None], axis=-1)
        u = backend.from_numpy(u[:, None], backend.device_of(x))
        below = (cumulated <= u * total).sum(axis=-1, keepdims=True)  # u · total is less than a positive total
        drawn = np.minimum(below, x.shape[-1] - 1)
        value = np.where(total > 0, np.take_along_axis(x, drawn, axis=-1), -np.inf) + 0 * total
        ids = drawn if places is None else np.take_along_axis(places, drawn, axis=-1)
        return backend.to_numpy(ids)[:, 0], backend.to_numpy(value)[:, 0].astype(np.float64)


def sample(
    model: Any, start: Start, *, max_length: int, min_length: int = 0, temperature: float = 1.0,
    top_k: int | None = None, top_p: float | None = None, seed: int | None = None, n: int = 1, eos: Eos = "model",
    forbidden: Collection[int | None] = (),
) -> Decoded:  # fmt: skip
    """Tokens drawn from the model's distribution, or from a sharper or flatter one.

    temperature  τ: probabilities proportional to p^(1/τ). Below 1, likely tokens become likelier
    top_k        draw only from the k likeliest tokens (Fan et al. 2018); from all, if there are fewer
    top_p        draw only from the smallest set of likeliest tokens with this total probability (Holtzman et al. 2020)
    seed         of the random numbers; None: minigrad's own (`mg.manual_seed`)
    n            the number of independent sequences for each source; the likeliest comes first

    The temperature is applied first, then top_k, then top_p. A hypothesis's `log_p` and `score` are those of the
    unchanged model. The other arguments, and errors, are those of `greedy`.

    Each sequence has its own `max_length` random numbers, one for each step. So the draws for a source depend on the
    seed, `n`, `max_length` and the source's index in the batch, not on other sources and their lengths.
    """
    title = "sample"
    limits = limits_of(title, model, max_length, min_length, eos, forbidden)
    if not 0 < temperature < math.inf:
        raise ValueError(f"{title}: temperature must be above 0, not {temperature!r}; `greedy` is its limit at 0")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"{title}: top_p must be above 0 and at most 1, not {top_p!r}")
    for name, number, least in (("top_k", top_k, 1), ("n", n, 1), ("seed", seed, 0)):
        if number is not None or name == "n":
            check_integer(title, name, number, least)
    rng = generator("cpu") if seed is None else np.random.default_rng(seed)
    distribution = _Distribution(float(temperature), top_k, top_p)
    numbers: Array = rng.random((len(start.ids), n, limits.max_length))

    def pick(log_p: Array, running: Running) -> tuple[Array, Array]:
        u = numbers[running.sources, :, running.t].reshape(-1)
        return distribution.draw(log_p, u, limits.banned(running.t))

    return _written(title, model, start, limits, pick, n)


def _written(title: str, model: Any, start: Start, limits: Limits, pick: Pick, each: int) -> Decoded:
    """`each` sequences for each source, extended by `pick`, a function from log-probabilities (R, V) to ids and
    log-probabilities (R,)."""
    running = Running(title, model, start, limits, each)
    N = len(running.sources)
    lattice = Lattice(N)
    open_ = np.ones((N, each), bool)
    totals: Array = np.zeros((N, each))
    steps: Array = np.full((N, each), -1)  # see `Leaf`
    ends: Array = np.full((N, each), np.nan)
    with evaluating(model):
        for t, _ in mg.steps(range(limits.max_length)):
            log_p, attention = running.step()
            now, n = running.sources, len(running.sources)
            ids, log_ps = (part.reshape(n, each) for part in pick(log_p, running))
            running.check(log_ps.reshape(-1, 1), open_[now])
            stuck = open_[now] & (log_ps == -np.inf)
            if t == 0 and stuck.any():
                raise ValueError(
                    f"{title}: no token is possible at the first step of source {stuck.any(axis=1).argmax()}"
                )
            ended = open_[now] & ~stuck & (ids == (-1 if limits.eos is None else limits.eos))
            totals[now] += np.where(open_[now] & ~stuck, log_ps, 0.0)
            ends[now] = np.where(ended, log_ps, ends[now])
            open_[now] &= ~(stuck | ended)
            steps[now] += open_[now]
            places = np.broadcast_to(np.arange(each), (n, each))
            lattice.add(now, places, ids, log_ps, None, attention)
            if not open_.any():
                break
            going = running.going(~open_[now].any(axis=1))
            running.go_on(going, places[going], ids[going], open_[now[going]])
    order = np.argsort(-totals, axis=-1, kind="stable")
    scores, steps, ends = (np.take_along_axis(part, order, axis=-1).reshape(-1) for part in (totals, steps, ends))
    leaves = Leaf(np.repeat(np.arange(N), each), steps, order.reshape(-1), ends)
    return decoded(lattice, leaves, scores, limits.eos, tree=False)


def rescore(model: Any, start: Start, sequences: Sequence[Any]) -> Array:
    """log p of a sequence for each source, (N,) float64, through the model's steps.

    sequences  N arrays or lists of ids, (T_n,) each; including the token that ends it, if that is to count

    Raises ValueError if there are not N of them, or for invalid ids; TypeError if they are not ids.
    """
    title = "rescore"
    longest = max(map(len, sequences), default=0)
    limits = Limits(longest, 0, None, ())
    running = Running(title, model, start, limits)
    N = len(running.sources)
    if len(sequences) != N:
        raise ValueError(f"{title}: there are {N} sources, but {len(sequences)} sequences")
    given, there = np.zeros((longest, N), np.int64), np.zeros((longest + 1, N), bool)
    for k, sequence in enumerate(sequences):
        ids: Array = backend.to_numpy(checked_ids(title, sequence, np.iinfo(np.int64).max, ndim=1))
        given[: len(ids), k], there[: len(ids), k] = ids, True
    totals = np.zeros(N)
    with evaluating(model):
        for t, ids in mg.steps(given):
            log_p, _ = running.step()
            checked_ids(title, ids, log_p.shape[1])
            column = backend.from_numpy(ids[:, None], backend.device_of(log_p))
            log_ps = backend.to_numpy(np.take_along_axis(log_p, column, axis=-1))
            running.check(log_ps, there[t])
            totals += np.where(there[t], log_ps[:, 0], 0.0)
            running.go_on(np.arange(N), np.zeros((N, 1), np.int64), ids[:, None], there[t + 1][:, None])
    return totals
