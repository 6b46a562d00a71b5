"""Decoding against brute force over all sequences, a plain search, and the probabilities that it draws by."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nlp
import nn
from nlp import LanguageModel, Seq2Seq, beam_search, greedy, rescore, sample
from nlp.decoding.selection import largest

Rng = np.random.Generator
EOS = 2


def language_model(V: int = 5, seed: int = 0, scale: float = 3.0) -> LanguageModel:
    """A small random model with strong opinions."""
    mg.manual_seed(seed)
    model = LanguageModel(V, 4, 6, cell="gru", eos_id=EOS, dtype=np.float64)
    for weight in model.parameters():
        nn.init.uniform_(weight, -scale, scale)
    return model.eval()


def translator(seed: int = 0, V: int = 7, **options: Any) -> Seq2Seq:
    mg.manual_seed(seed)
    model = Seq2Seq(9, V, 4, 6, bos_id=1, eos_id=EOS, dtype=np.float64, **options)
    for weight in model.parameters():
        nn.init.uniform_(weight, -2, 2)
    return model.eval()


SOURCE = nlp.pad([[4, 5, 6, 3], [7, 8], [8], [3, 3, 5, 4, 7]])


def all_sequences(model: LanguageModel, first: int, longest: int) -> dict[tuple[int, ...], float]:
    """log p of every sequence that ends within `longest` tokens, its end included."""
    found = {}
    others = [i for i in range(model.out.weight.shape[0]) if i != EOS]
    for T in range(longest + 1):
        for ids in itertools.product(others, repeat=T):
            text = np.array([first, *ids, EOS])[:, None]
            found[ids] = model.log_probability(text).item()
    return found


# ---- against all sequences ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("alpha", [0.0, 0.8])
def test_a_beam_that_holds_everything_finds_the_best_sequences(seed: int, alpha: float) -> None:
    model = language_model(4, seed)
    every = all_sequences(model, 1, 3)
    score = {ids: log_p / ((5 + len(ids) + 1) / 6) ** alpha for ids, log_p in every.items()}
    expected = sorted(score, key=lambda ids: -score[ids])[:5]
    (found,) = beam_search(
        model, model.start([1]), beam=200, n_best=5, max_length=4, length_penalty=alpha, forbidden=()
    )
    finished = [one for one in found if one.finished and len(one.ids) <= 3]
    assert [tuple(one.ids) for one in finished] == expected[: len(finished)]
    assert len(finished) >= 1
    np.testing.assert_allclose([one.log_p for one in finished], [every[tuple(one.ids)] for one in finished])
    np.testing.assert_allclose([one.score for one in finished], [score[tuple(one.ids)] for one in finished])


def plain_beam(model: Any, start: nlp.Start, beam: int, longest: int) -> list[tuple[float, tuple[int, ...], bool]]:
    """A beam search for one source as one would write it down: lists of hypotheses, a step of the model for each."""
    open_, finished = [(0.0, (), start.ids, start.state)], []
    for t in range(longest):
        continued = []
        for total, ids, last, state in open_:
            step = model.step(last, state, start.memory)
            continued += [(total + lp, ids, i, step.state) for i, lp in enumerate(step.log_p.numpy()[0])]
        continued.sort(key=lambda c: -c[0])
        finished += [(c[0], c[1], True) for c in continued[:beam] if c[2] == EOS]
        open_ = [(c[0], (*c[1], c[2]), np.array([c[2]]), c[3]) for c in continued if c[2] != EOS][:beam]
        finished.sort(key=lambda f: -f[0])
        if finished and (t == longest - 1 or finished[0][0] >= open_[0][0]):
            return finished
    return finished + [(o[0], o[1], False) for o in open_]


@pytest.mark.parametrize("kind", ["additive", "none"])
@pytest.mark.parametrize("beam", [1, 2, 3, 5])
def test_batches_give_what_a_plain_search_of_each_source_gives(kind: str, beam: int) -> None:
    options = {} if kind == "additive" else {"attention": None, "context": True, "cell": "lstm"}
    for seed in range(5):
        model = translator(seed, **options)
        found = beam_search(model, model.start(SOURCE), beam=beam, max_length=9)
        for n, one in enumerate(found.best):
            start = model.start(SOURCE.values[: SOURCE.lengths[n], n : n + 1])
            total, ids, finished = plain_beam(model, start, beam, 9)[0]
            assert (tuple(one.ids), one.finished) == (ids, finished)
            np.testing.assert_allclose(one.log_p, total, rtol=1e-10)


# ---- properties --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_a_beam_of_one(seed: int) -> None:
    model = translator(seed)
    start = model.start(SOURCE)
    one, other = greedy(model, start, max_length=12), beam_search(model, start, beam=1, max_length=12)
    for a, b in zip(one.best, other.best, strict=True):
        assert (a.ids.tolist(), a.finished) == (b.ids.tolist(), b.finished)
        np.testing.assert_allclose(a.log_ps, b.log_ps, rtol=1e-12)
        np.testing.assert_allclose(a.attention, b.attention, rtol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{}, {"length_penalty": 0.7}, {"length_penalty": 0.5, "coverage_penalty": 0.3}, {"no_repeat_ngram": 2},
     {"min_length": 4}, {"forbidden": [3]}], ids=str,
)  # fmt: skip
def test_the_n_best_are_sorted_different_and_as_likely_as_they_say(options: Any) -> None:
    model = translator(3)
    found = beam_search(model, model.start(SOURCE), beam=6, n_best=6, max_length=8, **options)
    for n, hypotheses in enumerate(found):
        assert len(hypotheses) == 6
        assert len({(tuple(one.ids), one.finished) for one in hypotheses}) == 6
        finished = [one.score for one in hypotheses if one.finished]
        assert finished == sorted(finished, reverse=True)
        alone = model.start(SOURCE.values[: SOURCE.lengths[n], n : n + 1])
        for one in hypotheses:
            ids = [*one.ids, EOS] if one.finished else one.ids
            np.testing.assert_allclose(rescore(model, alone, [ids])[0], one.log_p, rtol=1e-10)
            np.testing.assert_allclose(one.log_ps.sum(), one.log_p, rtol=1e-12)
            assert len(one.log_ps) == len(one.attention) == len(ids)
            np.testing.assert_allclose(one.attention.sum(-1), 1, rtol=1e-10)
            penalised = one.log_p / ((5 + len(ids)) / 6) ** options.get("length_penalty", 0)
            if one.finished and "coverage_penalty" in options:
                covered = np.minimum(one.attention.sum(0), 1)
                penalised += 0.3 * np.log(covered[covered > 0]).sum()
            np.testing.assert_allclose(one.score, penalised, rtol=1e-10)
            assert len(one.ids) >= options.get("min_length", 0)
            assert not set(one.ids) & set(options.get("forbidden", ()))
            if "no_repeat_ngram" in options:
                pairs = list(itertools.pairwise(one.ids.tolist()))
                assert len(pairs) == len(set(pairs))


def test_a_wider_beam_finds_at_least_as_much() -> None:
    for seed in range(5):
        model = translator(seed)
        best = [beam_search(model, model.start(SOURCE), beam=b, max_length=6).best for b in (1, 50)]
        assert all(wide.log_p >= narrow.log_p - 1e-12 for narrow, wide in zip(*best, strict=True) if narrow.finished)


def test_a_model_is_left_as_it_was(rng: Rng) -> None:
    model = translator(dropout=0.3).train()
    model.bridge.eval()
    start = model.eval().start(SOURCE)
    model.train()
    model.bridge.eval()
    one, other = (greedy(model, start, max_length=5) for _ in range(2))  # without dropout
    assert [i.tolist() for i in one.ids] == [i.tolist() for i in other.ids]
    assert model.training
    assert not model.bridge.training
    beam_search(model, start, beam=2, max_length=5)
    assert model.training


def test_without_an_end_all_are_as_long_as_can_be() -> None:
    model = language_model()
    model.eos_id = None
    for found in (greedy(model, model.start([1, 3]), max_length=4), sample(model, model.start([1, 3]), max_length=4),
                  beam_search(model, model.start([1, 3]), max_length=4, beam=3)):  # fmt: skip
        assert [(len(one.ids), one.finished) for one in found.best] == [(4, False)] * 2


def test_after_a_prompt() -> None:
    model = language_model(8)
    prompts = nlp.pad([[1, 3, 4], [5]])
    together = beam_search(model, model.start(prompts), beam=3, max_length=6)
    for n, prompt in enumerate(([1, 3, 4], [5])):
        (alone,) = beam_search(model, model.start(np.array(prompt)[:, None]), beam=3, max_length=6).best
        assert together.best[n].ids.tolist() == alone.ids.tolist()
        whole = [*prompt, *alone.ids, *([EOS] if alone.finished else [])]
        before = model.log_probability(np.array(prompt)[:, None]).item() if n == 0 else 0.0
        np.testing.assert_allclose(model.log_probability(np.array(whole)[:, None]).item() - before, alone.log_p)


def test_ties_go_to_the_smaller_id() -> None:
    model = language_model(6)
    for weight in model.parameters():
        nn.init.zeros_(weight)
    assert greedy(model, model.start([1]), max_length=3).ids[0].tolist() == [0, 0, 0]
    (found,) = beam_search(model, model.start([1]), beam=2, n_best=2, max_length=1, forbidden=[EOS - 2])
    assert [one.ids.tolist() for one in found] == [[], [1]]  # the end of id 2 is finished; 1 is still open


def test_everywhere_the_same(backend: Any) -> None:
    model = translator(4)
    here = beam_search(model, model.start(SOURCE), beam=3, max_length=6).ids
    model = model.to(backend.device)
    there = beam_search(model, model.start(SOURCE), beam=3, max_length=6)
    assert [i.tolist() for i in there.ids] == [i.tolist() for i in here]
    assert all(type(one.attention) is np.ndarray for one in there.best)
    assert len(greedy(model, model.start(SOURCE), max_length=6)) == 4
    assert len(sample(model, model.start(SOURCE), max_length=6, n=2)[0]) == 2


# ---- drawing at random -------------------------------------------------------------------------------------------


def chi_square(counts: Any, p: Any) -> float:
    """The statistic divided by its degrees of freedom: about 1 if the counts are by these probabilities."""
    expected = counts.sum() * p[p > 0]
    assert counts[p == 0].sum() == 0
    return float(((counts[p > 0] - expected) ** 2 / expected).sum() / max(len(expected) - 1, 1))


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.7}, {"forbidden": [0, 5]},
                                     {"temperature": 2.0, "top_k": 5, "top_p": 0.9}], ids=str)  # fmt: skip
def test_tokens_are_drawn_by_their_probabilities(options: Any) -> None:
    model = language_model(8, seed=5, scale=1.2)
    log_p = model.step(*model.start([3])).log_p.numpy()[0]
    p = np.exp(log_p / options.get("temperature", 1))
    p[list(options.get("forbidden", []))] = 0
    p[EOS] = 0  # the shortest length is 1
    order = np.argsort(-p)
    p[order[options.get("top_k", 8) :]] = 0
    p /= p.sum()
    keep = np.cumsum(p[order]) - p[order] < options.get("top_p", 1.0)
    p[order[~keep]] = 0
    p /= p.sum()
    found = sample(model, model.start([3]), max_length=1, min_length=1, n=4000, seed=1, **options)
    counts = np.bincount([one.ids[0] for one in found[0]], minlength=8)
    assert chi_square(counts, p) < 3
    for one in found[0][:3]:
        np.testing.assert_allclose(one.log_p, log_p[one.ids[0]], rtol=1e-12)


def test_whole_sequences_are_drawn_by_their_probabilities() -> None:
    model = language_model(4, seed=2, scale=1.0)
    every = all_sequences(model, 1, 2)
    found = sample(model, model.start([1]), max_length=3, n=5000, seed=3)[0]
    sequences = list(every)
    drawn = [tuple(one.ids) for one in found if one.finished]
    counts = np.array([drawn.count(ids) for ids in sequences] + [5000 - len(drawn)])
    p = np.exp([every[ids] for ids in sequences])
    p = np.append(p, 1 - p.sum())
    assert chi_square(counts, p) < 2.5


def test_the_same_seed_draws_the_same() -> None:
    model = language_model(30, scale=0.5)
    start = model.start([1, 4, 5])

    def drawn(**options: Any) -> list[list[int]]:
        return [i.tolist() for i in sample(model, start, max_length=20, **options).ids]

    assert drawn(seed=1) == drawn(seed=1) != drawn(seed=2)
    mg.manual_seed(7)
    first, second = drawn(), drawn()
    mg.manual_seed(7)
    assert [drawn(), drawn()] == [first, second]
    assert first != second
    assert drawn(top_k=1) == [i.tolist() for i in greedy(model, start, max_length=20).ids]


# ---- the largest numbers -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3000), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**31))
def test_the_largest_are_those_of_a_stable_sort(N: int, M: int, k: int, different: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 10**different, (N, M)).astype(np.float32)  # many ties, or none
    x[rng.random((N, M)) < 0.3] = -np.inf
    np.testing.assert_array_equal(largest(x, k), np.argsort(-x, axis=-1, kind="stable")[:, :k])


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (greedy, {"max_length": 0}, "greedy: max_length must be an integer of at least 1, not 0"),
        (greedy, {"max_length": 3, "min_length": 4}, "min_length=4 is more than max_length=3"),
        (greedy, {"max_length": 3, "forbidden": [EOS]}, "the token 2, which ends a sequence, is forbidden"),
        (beam_search, {"max_length": 3, "beam": 0}, "beam must be a positive integer, not 0"),
        (beam_search, {"max_length": 3, "beam": 2, "n_best": 3}, "n_best=3 hypotheses cannot come from a beam of 2"),
        (beam_search, {"max_length": 3, "length_penalty": -1}, "penalties are not negative"),
        (beam_search, {"max_length": 3, "no_repeat_ngram": 0}, "no_repeat_ngram must be a positive integer"),
        (sample, {"max_length": 3, "temperature": 0}, "temperature must be positive, not 0; `greedy`"),
        (sample, {"max_length": 3, "top_p": 1.2}, "top_p must be above 0 and at most 1, not 1.2"),
        (sample, {"max_length": 3, "top_k": 0}, "top_k must be a positive integer, not 0"),
        (sample, {"max_length": 3, "n": 0}, "n must be a positive integer, not 0"),
    ],
)
def test_settings_that_cannot_be(function: Any, options: Any, message: str) -> None:
    model = language_model()
    with pytest.raises(ValueError, match=message):
        function(model, model.start([1]), **options)


def test_nothing_to_begin_with_and_nothing_possible() -> None:
    model = language_model(3)
    ids, state, memory = model.start([1])
    with pytest.raises(ValueError, match="there is no source"):
        greedy(model, nlp.Start(ids[:0], state[:0], memory), max_length=3)
    with pytest.raises(ValueError, match="no sequence of source 0 is possible"):
        beam_search(model, model.start([1]), max_length=3, min_length=2, forbidden=[0, 1])
    with pytest.raises(ValueError, match="1 sources, but 2 sequences"):
        rescore(model, model.start([1]), [[1], [2]])


@pytest.mark.parametrize("function", [greedy, beam_search, sample])
def test_nan_is_told_with_its_place(function: Any) -> None:
    model = language_model(6)
    model.embedding.weight.data[4] = np.nan
    start = model.start([1, 3, 4])
    with pytest.raises(FloatingPointError, match="the model gives NaN at step 0 of source 2"):
        function(model, start, max_length=3)


def test_fewer_tokens_than_the_beam_is_wide() -> None:
    model = language_model(3)
    (found,) = beam_search(model, model.start([1]), beam=50, n_best=7, max_length=2)
    assert len(found) == 7  # the ends after 0 and 1 tokens, 1 + 2, and the 4 of 2 tokens that are open
    assert math.isclose(sum(math.exp(one.log_p) for one in found), 1, rel_tol=1e-9)
