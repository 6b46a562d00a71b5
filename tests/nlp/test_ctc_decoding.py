"""Reading labels off CTC's log-probabilities, against all alignments, and a search written with dictionaries."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nlp
import nn

Rng = np.random.Generator
Labels = tuple[int, ...]


def log_softmax(x: Any) -> Any:
    return np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True))


def read(path: Any, blank: int) -> Labels:
    return tuple(int(c) for c, _ in itertools.groupby(path) if c != blank)


def all_labels(x: Any, blank: int) -> dict[Labels, float]:
    """The probability of all that x (T, C) may be read as."""
    found: dict[Labels, float] = defaultdict(float)
    for path in itertools.product(range(x.shape[1]), repeat=len(x)):
        found[read(path, blank)] += math.exp(sum(x[t, c] for t, c in enumerate(path)))
    return found


def add(a: float, b: float) -> float:
    return float(np.logaddexp(a, b))


def search(x: Any, blank: int, beam: int, share: Any = lambda labels: 0.0) -> list[Labels]:
    """The prefixes in the beam after the last step; `share` is added to log p of a prefix. Plain Python."""
    beams: dict[Labels, tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in x.tolist():
        after: dict[Labels, tuple[float, float]] = {}
        for labels, (b, n) in beams.items():
            before = after.get(labels, (-math.inf, -math.inf))
            same = n + row[labels[-1]] if labels else -math.inf
            after[labels] = add(before[0], add(b, n) + row[blank]), add(before[1], same)
            for c, p in enumerate(row):
                if c != blank:
                    longer = (*labels, c)
                    before = after.get(longer, (-math.inf, -math.inf))
                    after[longer] = before[0], add(before[1], (b if labels[-1:] == (c,) else add(b, n)) + p)
        best = sorted(after, key=lambda labels: -add(*after[labels]) - share(labels))[:beam]
        beams = {labels: after[labels] for labels in best if add(*after[labels]) > -math.inf}
    return list(beams)


LENGTHS = [6, 4, 1, 0]


@pytest.mark.parametrize("blank", [0, 2])
def test_greedy_is_the_best_path(blank: int, rng: Rng) -> None:
    x = log_softmax(2 * rng.standard_normal((6, 4, 3)))
    found = nlp.ctc_greedy(x, LENGTHS, blank=blank)
    for n, T in enumerate(LENGTHS):
        paths = list(itertools.product(range(3), repeat=T))
        scores = [sum(x[t, n, c] for t, c in enumerate(path)) for path in paths]
        best = paths[int(np.argmax(scores))]
        one = found.best[n]
        assert tuple(one.ids.tolist()) == read(best, blank)
        np.testing.assert_allclose(one.score, max(scores), rtol=1e-12)
        np.testing.assert_allclose(one.log_p, math.log(all_labels(x[:T, n], blank)[read(best, blank)]), atol=1e-12)
        assert one.finished


@pytest.mark.parametrize("blank", [0, 1])
def test_a_wide_beam_finds_all_labels_in_their_order(blank: int, rng: Rng) -> None:
    x = log_softmax(rng.standard_normal((5, 3, 3)))
    lengths = [5, 3, 0]
    found = nlp.ctc_beam_search(x, lengths, blank=blank, beam=100, n_best=100)
    for n, T in enumerate(lengths):
        expected = all_labels(x[:T, n], blank)
        order = sorted(expected, key=lambda labels: -expected[labels])
        assert [tuple(one.ids.tolist()) for one in found[n]] == order
        for one, labels in zip(found[n], order, strict=True):
            np.testing.assert_allclose(one.log_p, math.log(expected[labels]), atol=1e-12)
            np.testing.assert_allclose(one.log_ps.sum(), one.log_p, atol=1e-12)


def test_parts_of_log_p_are_those_of_prefixes(rng: Rng) -> None:
    x = log_softmax(rng.standard_normal((5, 1, 3)))
    each = all_labels(x[:, 0], 0)
    for one in nlp.ctc_beam_search(x, beam=30, n_best=30)[0]:
        labels = tuple(one.ids.tolist())
        prefixes = [sum(p for other, p in each.items() if other[:k] == labels[:k]) for k in range(len(labels) + 1)]
        np.testing.assert_allclose(one.log_ps, np.diff(np.log([*prefixes, each[labels]])), atol=1e-10)


@pytest.mark.parametrize("beam", [1, 2, 3, 7])
@pytest.mark.parametrize("with_lm", [False, True])
def test_a_narrow_beam_is_the_one_of_dictionaries(beam: int, with_lm: bool, rng: Rng) -> None:
    x = log_softmax(1.5 * rng.standard_normal((9, 5, 4)))
    lengths = [9, 8, 6, 5, 2]
    table = log_softmax(rng.standard_normal((4, 4)))  # of a label after another, or at the beginning; 0: the end

    def lm(prefixes: list[Labels]) -> Any:
        return np.array([table[labels[-1] if labels else 0] for labels in prefixes])

    def share(labels: Labels) -> float:
        pairs = zip((0, *labels), labels, strict=False)
        return 0.7 * sum(table[a, b] for a, b in pairs) + 0.2 * len(labels) if with_lm else 0.0

    options: Any = {"lm": lm, "lm_weight": 0.7, "label_bonus": 0.2} if with_lm else {}
    found = nlp.ctc_beam_search(x, lengths, beam=beam, n_best=beam, **options)
    for n, T in enumerate(lengths):
        labels = search(x[:T, n], 0, beam, share)
        assert {tuple(one.ids.tolist()) for one in found[n]} == set(labels)
        exact = all_labels(x[:T, n], 0) if T <= 6 else None
        scores = [one.score for one in found[n]]
        assert scores == sorted(scores, reverse=True)
        for one in found[n]:
            key = tuple(one.ids.tolist())
            if exact is not None:
                np.testing.assert_allclose(one.log_p, math.log(exact[key]), rtol=1e-10)
            end = 0.7 * table[key[-1] if key else 0, 0] if with_lm else 0.0
            np.testing.assert_allclose(one.score, one.log_p + share(key) + end, rtol=1e-10)


def test_a_language_model_is_asked_once_for_each_prefix(rng: Rng) -> None:
    asked: list[Labels] = []

    def lm(prefixes: list[Labels]) -> Any:
        asked.extend(prefixes)
        return mg.zeros((len(prefixes), 3))

    x = log_softmax(rng.standard_normal((12, 1, 3)))
    found = nlp.ctc_beam_search(x, beam=3, lm=lm)
    assert len(asked) == len(set(asked)) > 10
    assert found.best[0].ids.tolist() == nlp.ctc_beam_search(x, beam=3).best[0].ids.tolist()


def test_a_prefix_that_comes_back_is_the_same_one(rng: Rng) -> None:
    """A beam so narrow that prefixes are given up and found again, while longer ones of them go on."""
    for _ in range(12):
        x = log_softmax(3 * rng.standard_normal((25, 1, 3)))
        found = nlp.ctc_beam_search(x, beam=3, n_best=3)[0]
        assert {tuple(one.ids.tolist()) for one in found} == set(search(x[:, 0], 0, 3))


def test_log_p_is_that_of_the_loss(rng: Rng) -> None:
    x = log_softmax(rng.standard_normal((60, 3, 8)))
    found = nlp.ctc_beam_search(x, [60, 43, 20], beam=4)
    labels = [c for ids in found.ids for c in ids.tolist()]
    losses = nn.CTCLoss(reduction="none")(x, labels, [60, 43, 20], [len(ids) for ids in found.ids])
    np.testing.assert_allclose([-one.log_p for one in found.best], losses.numpy(), rtol=1e-12)


def test_impossible_labels_are_never_found() -> None:
    with np.errstate(divide="ignore"):
        x = np.log([[[0.5, 0.5, 0.0]], [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]])
    found = nlp.ctc_beam_search(x, beam=5, n_best=5)[0]
    assert [(one.ids.tolist(), round(math.exp(one.log_p), 9)) for one in found] == [([1], 1.0)]
    assert nlp.ctc_greedy(x).ids[0].tolist() == [1]


def test_one_sequence_tensors_and_texts(backend: Any) -> None:
    letters = nlp.Vocabulary(specials=["␣"]).fit([list("abba")])
    a, b = letters["a"], letters["b"]
    x = log_softmax(9 * np.eye(len(letters))[[a, 0, b, 0, b, a]])
    tensor = mg.Tensor(backend.array(x, np.float32), requires_grad=True)
    for decode in (nlp.ctc_greedy, nlp.ctc_beam_search):
        found = decode(tensor)
        assert found.texts(letters) == ["a b b a"]
        assert len(found) == 1
    with pytest.raises(ValueError, match="only beam_search makes one"):
        found.tree()


def test_nothing_to_read() -> None:
    for decode in (nlp.ctc_greedy, nlp.ctc_beam_search):
        assert decode(np.zeros((0, 2, 3))).best[1].log_p == 0
        assert len(decode(np.zeros((4, 0, 3)))) == 0
        assert decode(np.zeros((2, 1, 3)), [0]).ids[0].tolist() == []


X = log_softmax(np.zeros((4, 2, 3)))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda f: f(np.zeros((4, 2, 3))), ValueError, r"at step 0 of sequence 0 sums to 3, not to 1; pass log-prob"),
        (lambda f: f(np.zeros(3)), ValueError, r"\(T, N, C\), or .* not float64 \(3,\)"),
        (lambda f: f(np.zeros((4, 2, 3), int)), ValueError, "must be floats"),
        (lambda f: f(X, [4]), ValueError, r"2 integers from 0 to T = 4, not \[4\]"),
        (lambda f: f(X, [4, 5]), ValueError, "from 0 to T = 4"),
        (lambda f: f(X, [4.0, 2.0]), ValueError, "lengths must be 2 integers"),
        (lambda f: f(X, blank=3), ValueError, "blank must be one of the 3 classes"),
        (lambda f: f(X * np.nan), FloatingPointError, "NaN at step 0 of sequence 0"),
    ],
)
@pytest.mark.parametrize("decode", [nlp.ctc_greedy, nlp.ctc_beam_search])
def test_errors(call: Any, kind: Any, message: str, decode: Any) -> None:
    with pytest.raises(kind, match=f"{decode.__name__}: .*{message}"):
        call(decode)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"beam": 0}, ValueError, "beam must be an integer of at least 1"),
        ({"beam": 2, "n_best": 3}, ValueError, "n_best=3 hypotheses cannot come from a beam of 2"),
        ({"lm_weight": math.inf}, ValueError, "lm_weight=inf"),
        ({"lm": lambda prefixes: np.zeros((1, 3))}, ValueError, r"lm gives \(1, 3\) for 2 prefixes; expected \(2, 3\)"),
        ({"lm": lambda prefixes: np.full((len(prefixes), 3), np.nan)}, FloatingPointError, r"lm gives NaN after \(\)"),
    ],
)
def test_errors_of_the_search(options: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=f"ctc_beam_search: .*{message}"):
        nlp.ctc_beam_search(X, **options)
