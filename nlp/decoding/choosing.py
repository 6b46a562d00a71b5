"""One token after the other: the likeliest, or one drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

import minigrad as mg

from .protocol import Limits, Start, evaluating, like, limits_of, looked_at, rows_of, spoken
from .results import Decoded, Hypothesis

Array = Any


def greedy(
    model: Any, start: Start, *, max_length: int, min_length: int = 0, forbidden: Collection[int | None] = ()
) -> Decoded:  # fmt: skip
    """The likeliest token at each step; of equally likely ones, that of the smallest id.

    model       has `step` and, if sequences can end by themselves, `eos_id`
    start       what the model's `start` gave, for N sources
    max_length  the most tokens of a sequence; min_length: the fewest
    forbidden   tokens that never come, such as that for unknown words

    Raises ValueError for limits that cannot be met, FloatingPointError where the model gives NaN.
    """
    limits = limits_of("greedy", model, start, max_length, min_length, forbidden)
    return _written("greedy", model, start, limits, lambda log_p: np.argmax(log_p, axis=-1), 1)


def sample(
    model: Any, start: Start, *, max_length: int, min_length: int = 0, temperature: float = 1.0,
    top_k: int | None = None, top_p: float | None = None, n: int = 1, seed: int | None = None,
    forbidden: Collection[int | None] = (),
) -> Decoded:  # fmt: skip
    """Tokens drawn from the model's distribution, or from one that is bolder or safer.

    temperature  τ: the probabilities are those of log p / τ. Below 1, what is likely becomes likelier
    top_k        draw among the k likeliest tokens only (Fan et al. 2018)
    top_p        draw among the likeliest tokens, as few as have this probability together (Holtzman et al. 2020)
    n            sequences for each source, the likeliest first
    seed         of the random numbers; None: minigrad's own (`mg.manual_seed`). What is drawn depends on the seed and
                 on a sequence's place in the batch

    First comes the temperature, then top_k, then top_p. A hypothesis's `log_p` is that of the model as it is. The other
    arguments, and errors, are those of `greedy`.
    """
    limits = limits_of("sample", model, start, max_length, min_length, forbidden)
    if not temperature > 0:
        raise ValueError(f"sample: temperature must be positive, not {temperature!r}; `greedy` is its limit at 0")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"sample: top_p must be above 0 and at most 1, not {top_p!r}")
    for name, number in (("top_k", top_k), ("n", n)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise ValueError(f"sample: {name} must be a positive integer, not {number!r}")
    rng = np.random.default_rng(int(mg.rand(1, dtype=np.float64).item() * 2**53) if seed is None else seed)

    def pick(log_p: Array) -> Array:
        p = _softmax(log_p.astype(np.float64) / temperature)
        if top_k is not None or top_p is not None:
            p = _likeliest(p, top_k, top_p)
        cumulated = np.cumsum(p, axis=-1)  # (R, V)
        drawn = rng.random(len(p)) * cumulated[:, -1]
        return (cumulated <= drawn[:, None]).sum(axis=-1)

    return _written("sample", model, start, limits, pick, n)


def _softmax(x: Array) -> Array:
    p: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def _likeliest(p: Array, top_k: int | None, top_p: float | None) -> Array:
    """The probabilities p (R, V) of the likeliest tokens; 0 for the others."""
    order = np.argsort(-p, axis=-1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=-1)
    kept = np.ones_like(ranked, bool)
    if top_k is not None:
        kept[:, top_k:] = False
    if top_p is not None:
        ranked = np.where(kept, ranked, 0)
        before = np.cumsum(ranked, axis=-1) - ranked
        kept &= before < top_p * ranked.sum(axis=-1, keepdims=True)
    kept[:, 0] = True
    of_tokens = np.empty_like(kept)
    np.put_along_axis(of_tokens, order, kept, axis=-1)
    return np.where(of_tokens, p, 0)


def _written(
    title: str, model: Any, start: Start, limits: Limits, pick: Callable[[Array], Array], each: int
) -> Decoded:  # fmt: skip
    """Sequences that grow by what `pick` chooses from log-probabilities (R, V), `each` of them for each source."""
    numbers = np.arange(len(start.ids))
    rows = np.repeat(numbers, each)  # (R,) the source of each row
    ids, state = rows_of(start.ids, rows), rows_of(start.state, rows)
    tokens, log_ps, looked = [], [], []
    lengths = np.full(len(rows), limits.max_length)
    ended = np.zeros(len(rows), bool)
    with evaluating(model):
        for t in range(limits.max_length):
            step = model.step(ids, state, start.memory)
            state, log_p = step.state, spoken(title, step, t, numbers)
            allowed = log_p.copy()
            limits.apply(allowed, t)
            chosen = pick(allowed)  # (R,)
            tokens.append(chosen)
            log_ps.append(np.take_along_axis(log_p, chosen[:, None], axis=-1)[:, 0])
            looked.append(looked_at(step))
            lengths[~ended & (chosen == limits.eos)] = t
            ended |= chosen == limits.eos
            if ended.all():
                break
            ids = like(chosen, start.ids)
    written, of_tokens = np.stack(tokens), np.stack(log_ps).astype(np.float64)  # (T, R)
    attention = None if looked[0] is None else np.stack([w for w in looked if w is not None])  # (T, R, S)
    found = []
    for r, T in enumerate(lengths.tolist()):
        part = of_tokens[: T + ended[r], r]
        weights = None if attention is None else attention[: T + ended[r], r]
        found.append(
            Hypothesis(written[:T, r], float(part.sum()), float(part.sum()), part, bool(ended[r]), weights)
        )  # fmt: skip
    groups = [sorted(found[k : k + each], key=lambda one: -one.score) for k in range(0, len(found), each)]
    return Decoded(groups)


def rescore(model: Any, start: Start, sequences: Sequence[Any]) -> list[float]:
    """log p of a sequence for each source, through the model's steps.

    sequences  (T_n,) ids each, with the token that ends them if they are finished
    """
    if len(sequences) != len(start.ids):
        raise ValueError(f"rescore: there are {len(start.ids)} sources, but {len(sequences)} sequences")
    arrays = [np.asarray(sequence, np.int64) for sequence in sequences]
    ids, state, memory = start
    totals = np.zeros(len(arrays))
    with evaluating(model):
        for t in range(max(map(len, arrays))):
            step = model.step(ids, state, memory)
            state, log_p = step.state, spoken("rescore", step, t, np.arange(len(arrays)))
            real = np.array([len(a) > t for a in arrays])
            following = np.array([a[t] if len(a) > t else 0 for a in arrays])
            totals += np.where(real, log_p[np.arange(len(arrays)), following], 0)
            ids = like(following, start.ids)
    return [float(total) for total in totals]
