"""CTC decoding: from the log-probabilities of each step to labels (Graves et al. 2006), by the best path or by
prefixes.

Many alignments of steps and labels give the same labels. The best path is the likeliest alignment, and fast to find; a
search over prefixes adds up alignments with the same labels, and comes closer to the likeliest labels (Hannun et al.
2014, First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from nn.losses.alignments import NEVER, alignments, log_likelihood, passed

from .protocol import Array, check_integer
from .results import Decoded, Hypothesis
from .selection import largest

LanguageModel = Callable[[list[tuple[int, ...]]], Any]


def ctc_greedy(log_probs: Any, lengths: Any = None, *, blank: int = 0) -> Decoded:
    """The labels of the likeliest alignment: the likeliest class at each step, without repetitions and blanks.

    log_probs  (T, N, C), or (T, C) of one sequence, as from `mg.log_softmax`
    lengths    (N,) the number of steps of each sequence that count; None: all T
    blank      the class for no label

    A hypothesis's `log_p` is that of its labels, over all of their alignments, and its `score` that of the best path.
    Raises ValueError for arrays that are not log-probabilities or do not fit, FloatingPointError for NaN.
    """
    x, steps = _given("ctc_greedy", log_probs, lengths, blank)
    best = x.argmax(axis=2)  # (T, N)
    scores = np.where(np.arange(len(x))[:, None] < steps, x.max(axis=2), 0.0).sum(axis=0)
    paths = [path[:end].tolist() for path, end in zip(best.T, steps, strict=True)]
    found = [[label for label, _ in itertools.groupby(path) if label != blank] for path in paths]
    each = label_log_ps(x, steps, found, np.arange(len(found)), blank)
    return Decoded(tuple([_hypothesis(*one)] for one in zip(found, each, scores, strict=True)), None, None)


def ctc_beam_search(
    log_probs: Any, lengths: Any = None, *, blank: int = 0, beam: int = 10, n_best: int = 1,
    lm: LanguageModel | None = None, lm_weight: float = 1.0, label_bonus: float = 0.0,
) -> Decoded:  # fmt: skip
    """The likeliest labels found by pursuing the `beam` likeliest prefixes from step to step.

    log_probs, lengths, blank  as in `ctc_greedy`
    beam         B prefixes continue at each step: each unchanged, or with one more label
    n_best       the number of hypotheses for each sequence, the best first; at most B. There may be fewer
    lm           a language model: for R prefixes, tuples of labels, it returns (R, C) numbers, the log-probability of
                 each label after the prefix. The number of the blank is that of the end. It is called once for each
                 prefix
    lm_weight    the factor of these numbers
    label_bonus  is added for each label, against the language model's preference for short sequences

    A hypothesis's `log_p` is that of its labels, over all of their alignments; the search may have missed some, so it
    is computed again. `log_ps` are its parts: each label's after those before it, and that of the end. The `score`
    includes the language model's share and the bonus. Among equal prefixes, the previously better one comes first.

    Raises ValueError for arrays that are not log-probabilities or do not fit, FloatingPointError for NaN.

    >>> import minigrad as mg, nlp
    >>> log_probs = mg.log_softmax(mg.tensor([[2.0, 1.9, 0.0], [2.0, 1.9, 0.0]]))
    >>> nlp.ctc_greedy(log_probs).ids                                       # two blanks are the likeliest path
    [array([], dtype=int64)]
    >>> nlp.ctc_beam_search(log_probs).ids                                  # but three others give the label 1
    [array([1])]
    """
    title = "ctc_beam_search"
    x, steps = _given(title, log_probs, lengths, blank)
    for name, number in (("beam", beam), ("n_best", n_best)):
        check_integer(title, name, number, 1)
    if n_best > beam:
        raise ValueError(f"{title}: n_best={n_best} hypotheses cannot come from a beam of {beam}")
    if not (math.isfinite(lm_weight) and math.isfinite(label_bonus)):
        raise ValueError(f"{title}: lm_weight={lm_weight!r} and label_bonus={label_bonus!r} must be finite")
    N, C = x.shape[1:]
    prefixes = _Prefixes(N, C, lm, lm_weight, label_bonus)
    search = _Search(prefixes, N, blank, beam)
    for t in range(len(x)):
        on = np.flatnonzero(t < steps)
        if len(on):
            search.step(x[t, on], on)
    owners, places, shares = search.best(n_best)
    nodes = search.nodes[owners, places]
    labels = [prefixes.labels(node) for node in nodes.tolist()]
    log_ps = label_log_ps(x, steps, labels, owners, blank)
    scores = np.array([p.sum() for p in log_ps]) + shares
    found: list[list[Hypothesis]] = [[] for _ in range(N)]
    for k in np.lexsort((places, -scores, owners)).tolist():
        found[owners[k]].append(_hypothesis(labels[k], log_ps[k], scores[k]))
    return Decoded(tuple(found), None, None)


def _hypothesis(labels: Sequence[int], log_ps: Array, score: float) -> Hypothesis:
    return Hypothesis(np.array(labels, np.int64), float(log_ps.sum()), float(score), True, log_ps, None)


def label_log_ps(
    x: Array, steps: Array, labels: Sequence[Sequence[int]], owners: Array, blank: int
) -> list[Array]:  # fmt: skip
    """The log-probability of each label after those before it, and of the end after all, (S + 1,), for labels and their
    owning sequences. Their sum is log p(labels | x).

    The probability of a prefix is that its last label is entered at some step, whatever follows: the sum of all
    transitions into its state from the states before it.
    """
    counts = np.array([len(one) for one in labels], np.intp)
    padded = np.full((len(labels), int(counts.max(initial=0))), -1)
    padded[np.arange(padded.shape[1]) < counts[:, None]] = [label for one in labels for label in one]
    a = alignments(padded, steps[owners], counts, x.shape[2], blank, x, owners)
    N, ends = len(labels), steps[owners]
    p = passed(x, a)
    whole = log_likelihood(p)
    before = np.logaddexp(p.alpha[:-1, :, 2:-1:2], p.alpha[:-1, :, 1:-2:2] + a.skips[0, :, 1::2])  # (T, N, S)
    entered = before + p.emitted[:, :, 1::2] + np.expand_dims(p.added[0][:-1], -1)
    entered = np.where(np.arange(len(x))[:, None, None] < ends[:, None], entered, NEVER)
    prefixes = np.logaddexp.reduce(entered, axis=0, initial=NEVER)  # (N, S)
    return [np.diff([0.0, *prefixes[n, : counts[n]].tolist(), whole[n]]) for n in range(N)]


def _array(value: Any) -> Array:
    """A Tensor, an array on any device, or numbers, as a NumPy array."""
    value = value.data if isinstance(value, mg.Tensor) else value
    return backend.to_numpy(value) if backend.is_array(value) else np.asarray(value)


def _given(title: str, log_probs: Any, lengths: Any, blank: int) -> tuple[Array, Array]:
    """Log-probabilities (T, N, C) in float64 and lengths (N,), on the CPU."""
    x = _array(log_probs)
    if x.ndim not in (2, 3) or x.dtype.kind != "f":
        raise ValueError(
            f"{title}: log_probs must be floats (T, N, C), or (T, C) of one sequence, not {x.dtype} {x.shape}"
        )
    x = (x if x.ndim == 3 else x[:, None]).astype(np.float64)
    T, N, C = x.shape
    if isinstance(blank, bool) or not isinstance(blank, int | np.integer) or not 0 <= blank < C:
        raise ValueError(f"{title}: blank must be one of the {C} classes of log_probs, not {blank!r}")
    steps = np.full(N, T) if lengths is None else _array(lengths)
    steps = steps.reshape(1) if not steps.ndim and N == 1 else steps
    steps = steps if steps.size else steps.astype(np.intp)
    if steps.shape != (N,) or steps.dtype.kind not in "iu" or (N and not 0 <= steps.min() <= steps.max() <= T):
        raise ValueError(f"{title}: lengths must be {N} integers from 0 to T = {T}, not {steps.tolist()!r:.80}")
    real = np.arange(T)[:, None] < steps
    if wrong := np.argwhere(real & np.isnan(x).any(axis=2)).tolist():
        raise FloatingPointError(f"{title}: log_probs have NaN at step {wrong[0][0]} of sequence {wrong[0][1]}")
    with np.errstate(over="ignore"):
        sums = np.exp(x).sum(axis=2)
    if wrong := np.argwhere(real & (np.abs(sums - 1) > 0.02)).tolist():
        t, n = wrong[0]
        raise ValueError(
            f"{title}: exp of log_probs at step {t} of sequence {n} sums to {sums[t, n]:.4g}, not to 1; pass "
            "log-probabilities, such as mg.log_softmax(logits)"
        )
    return np.where(real[:, :, None], x, 0.0), steps


# ---- the search --------------------------------------------------------------------------------------------------


class _Prefixes:
    """Prefixes as nodes of trees, one for each of N sequences, with node n as root: each prefix is one node.

    after  of each node: the score that the language model and the bonus add for each label after it, (C,)
    """

    def __init__(self, N: int, C: int, lm: LanguageModel | None, weight: float, bonus: float) -> None:
        self.C, self.lm, self.weight, self.bonus = C, lm, weight, bonus
        self.parents: list[int] = []
        self.last: list[int] = []
        self.after: list[Any] = []
        self.children: dict[tuple[int, int], int] = {}
        self._add([(-1 - n, -1) for n in range(N)])  # the empty prefixes, which have no parents

    def grown(self, parents: list[int], labels: list[int]) -> list[int]:
        """The nodes of prefixes with one more label."""
        keys = list(zip(parents, labels, strict=True))
        self._add([key for key in dict.fromkeys(keys) if key not in self.children])
        return [self.children[key] for key in keys]

    def _add(self, keys: list[tuple[int, int]]) -> None:
        first = len(self.parents)
        for key in keys:
            self.children[key] = len(self.parents)
            self.parents.append(key[0])
            self.last.append(key[1])
        if self.lm is None or not keys:
            return
        asked = [tuple(self.labels(node)) for node in range(first, len(self.parents))]
        rows = _array(self.lm(asked))
        if rows.shape != (len(asked), self.C):
            raise ValueError(
                f"ctc_beam_search: lm gives {rows.shape} for {len(asked)} prefixes; expected ({len(asked)}, "
                f"{self.C}), a number for each class"
            )
        if np.isnan(rows).any():
            raise FloatingPointError(f"ctc_beam_search: lm gives NaN after {asked[np.isnan(rows).any(1).argmax()]}")
        self.after += list(self.weight * rows.astype(np.float64))

    def added(self, nodes: Array) -> Array:
        """The score that each label adds after each of the nodes, (..., C); without a language model, (..., 1)."""
        if self.lm is None:
            return np.full((*nodes.shape, 1), self.bonus)
        rows = [self.after[node] for node in nodes.reshape(-1).tolist()]
        return self.bonus + np.reshape(rows, (*nodes.shape, self.C))

    def ends(self, nodes: Array, blank: int) -> Array:
        """The score that the end adds after each of the nodes (N, B)."""
        if self.lm is None:
            return np.zeros(nodes.shape)
        return np.reshape([self.after[node][blank] for node in nodes.reshape(-1).tolist()], nodes.shape)

    def labels(self, node: int) -> list[int]:
        """The labels of a prefix."""
        found = []
        while self.last[node] >= 0:
            found.append(self.last[node])
            node = self.parents[node]
        return found[::-1]


class _Search:
    """N sequences, with up to B prefixes each.

    nodes      (N, B) the prefixes' nodes
    parents    (N, B) the nodes of the prefixes without their last label
    last       (N, B) that label; −1 if there is none
    shares     (N, B) the scores that the language model and the bonus add to log p
    blanks     (N, B) log p of the alignments so far that give the prefix and end in a blank; −∞ where there are fewer
    no_blanks  (N, B) of those that end in its last label
    """

    def __init__(self, prefixes: _Prefixes, N: int, blank: int, beam: int) -> None:
        self.prefixes, self.blank, self.beam = prefixes, blank, beam
        self.nodes = np.broadcast_to(np.arange(N)[:, None], (N, beam)).copy()
        self.parents, self.last = np.full((N, beam), -1), np.full((N, beam), -1)
        self.shares = np.zeros((N, beam))
        self.blanks, self.no_blanks = np.full((N, beam), -np.inf), np.full((N, beam), -np.inf)
        self.blanks[:, 0] = 0.0

    def best(self, count: int) -> tuple[Array, Array, Array]:
        """The best prefixes of each sequence if all end here: sequence (H,), index among its B, added score."""
        shares = self.shares + self.prefixes.ends(self.nodes, self.blank)
        scores = np.logaddexp(self.blanks, self.no_blanks) + shares
        places = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        owners, k = np.nonzero(np.take_along_axis(scores, places, axis=1) > -np.inf)
        return owners, places[owners, k], shares[owners, places[owners, k]]

    def step(self, x: Array, on: Array) -> None:
        """Advance by one step, for the sequences `on` (n,), with log-probabilities x (n, C)."""
        (n, C), B, blank = x.shape, self.beam, self.blank
        nodes, parents, last, shares = self.nodes[on], self.parents[on], self.last[on], self.shares[on]  # (n, B)
        blanks, no_blanks = self.blanks[on], self.no_blanks[on]
        totals = np.logaddexp(blanks, no_blanks)
        grown = totals[:, :, None] + x[:, None, :]  # (n, B, C)
        row, k = np.nonzero(last >= 0)
        again = x[row, last[row, k]]
        grown[row, k, last[row, k]] = blanks[row, k] + again  # a repeated label needs a blank between
        grown[:, :, blank] = -np.inf
        stay_blanks, stay = totals + x[:, [blank]], np.full((n, B), -np.inf)
        stay[row, k] = no_blanks[row, k] + again

        live = totals > -np.inf
        row, i, j = np.nonzero((nodes[:, :, None] == parents[:, None, :]) & live[:, :, None] & live[:, None, :])
        label = last[row, j]  # prefix i grows into the existing prefix j
        stay[row, j] = np.logaddexp(stay[row, j], grown[row, i, label])
        grown[row, i, label] = -np.inf

        added = self.prefixes.added(nodes)
        ranked = [np.logaddexp(stay_blanks, stay) + shares, (grown + (shares[:, :, None] + added)).reshape(n, B * C)]
        chosen, scores = largest(np.concatenate(ranked, axis=1), B)  # (n, B), of B + B·C
        live, new = scores > -np.inf, (chosen >= B) & (scores > -np.inf)
        before, label = np.where(chosen >= B, (chosen - B) // C, chosen), (chosen - B) % C
        at = np.arange(n)[:, None], before
        self.parents[on] = np.where(new, nodes[at], parents[at])
        self.last[on] = np.where(new, label, last[at])
        self.shares[on] = shares[at] + np.where(new, added[(*at, label % added.shape[2])], 0.0)
        self.blanks[on] = np.where(live & ~new, stay_blanks[at], -np.inf)
        self.no_blanks[on] = np.where(live, np.where(new, grown[(*at, label)], stay[at]), -np.inf)
        nodes = nodes[at]
        nodes[new] = self.prefixes.grown(nodes[new].tolist(), label[new].tolist())
        self.nodes[on] = nodes
