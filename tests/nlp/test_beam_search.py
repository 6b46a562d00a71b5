"""Beam search against all sequences there are, and against a plain search with lists for one source at a time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import PLACES
from written_by_tables import Tables

import minigrad as mg
import nlp
import nn
from nlp import beam_search, greedy, rescore
from nlp.decoding.beam import repeated
from nlp.decoding.selection import largest, likeliest

EOS = 0


# ---- all sequences -----------------------------------------------------------------------------------------------


def score_of(model: Tables, source: int, ids: Any, end: bool, alpha: float, beta: float) -> tuple[float, float]:
    """log p and score, from the formula."""
    whole = [*ids, EOS] if end else list(ids)
    log_p = model.log_probability(source, whole)
    covered = sum(model.after(source, whole[:t])[1] for t in range(len(whole)))
    real = model.mask[source]
    return log_p, log_p / ((5 + len(whole)) / 6) ** alpha + beta * float(np.log(np.minimum(covered[real], 1)).sum())


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.8, 0.0), (0.0, 0.4), (0.6, 0.2)])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_that_holds_everything_finds_the_best_of_all_sequences(seed: int, alpha: float, beta: float) -> None:
    model, T = Tables(seed, V=4), 4
    found = beam_search(
        model, model.start(), beam=4**T, max_length=T, n_best=9, length_penalty=alpha, coverage_penalty=beta
    )
    for n in range(3):
        finished = [(ids, True) for k in range(T) for ids in itertools.product(range(1, 4), repeat=k)]
        cut = [(ids, False) for ids in itertools.product(range(1, 4), repeat=T)]
        all_ = [(end, score_of(model, n, ids, end, alpha, beta), ids) for ids, end in finished + cut]
        expected = sorted(all_, key=lambda one: (not one[0], -one[1][1]))[:9]
        assert [(one.finished, tuple(one.ids)) for one in found[n]] == [(end, ids) for end, _, ids in expected]
        np.testing.assert_allclose([(one.log_p, one.score) for one in found[n]], [s for _, s, _ in expected])


def test_all_sequences_together_are_certain() -> None:
    model = Tables(1, V=3)
    for found in beam_search(model, model.start(), beam=200, n_best=200, max_length=5):
        assert len(found) == sum(2**k for k in range(5)) + 2**5  # fewer than n_best
        np.testing.assert_allclose(sum(np.exp(one.log_p) for one in found), 1)


# ---- a plain search ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """Of a search."""

    beam: int = 3
    n_best: int = 1
    max_length: int = 6
    min_length: int = 0
    length_penalty: float = 0.0
    coverage_penalty: float = 0.0
    no_repeat_ngram: int | None = None
    forbidden: tuple[int, ...] = ()


class Found(NamedTuple):
    score: float
    log_p: float
    ids: tuple[int, ...]
    finished: bool


def plain(model: Tables, source: int, s: Settings) -> list[Found]:
    """The search as one would write it down for one source."""

    def found(log_p: float, ids: Any, end: bool) -> Found:
        return Found(score_of(model, source, ids, end, s.length_penalty, s.coverage_penalty)[1], log_p, ids, end)

    def bound(log_p: float) -> float:
        return log_p / ((5 + s.max_length) / 6) ** s.length_penalty

    open_: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished: list[Found] = []
    for t in range(s.max_length):
        continued = []
        for rank, (total, ids) in enumerate(open_):
            log_p, _ = model.after(source, ids)
            for token in range(model.V):
                n = s.no_repeat_ngram
                written = [*ids, token]
                grams = [] if n is None else [tuple(written[k : k + n]) for k in range(len(written) - n + 1)]
                early = token == model.eos_id and t < s.min_length
                if token in s.forbidden or early or len(set(grams)) < len(grams) or log_p[token] == -np.inf:
                    continue
                continued.append((-(total + log_p[token]), rank, token, ids))
        continued.sort()
        finished += [found(-c[0], c[3], True) for c in continued[: s.beam] if c[2] == model.eos_id]
        going = [(-c[0], (*c[3], c[2])) for c in continued if c[2] != model.eos_id][: s.beam]
        if not going and not finished:
            return sorted([found(*one, False) for one in open_], key=lambda f: -f.score)[: s.n_best]
        best = sorted(finished, key=lambda f: -f.score)[: s.n_best]
        penalised = bool(s.length_penalty or s.coverage_penalty)
        beaten = len(best) == s.n_best and (not going or bound(going[0][0]) <= best[-1].score)
        if not going or beaten or (penalised and len(finished) >= s.beam):
            return best
        open_ = going
    cut = sorted([found(*one, False) for one in open_], key=lambda f: -f.score)
    return [*sorted(finished, key=lambda f: -f.score), *cut][: s.n_best]


def check_against_the_plain_search(model: Tables, s: Settings) -> None:
    together = beam_search(model, model.start(), **vars(s))
    for n, hypotheses in enumerate(together):
        expected = plain(model, n, s)
        assert [(tuple(one.ids), one.finished) for one in hypotheses] == [(f.ids, f.finished) for f in expected]
        np.testing.assert_allclose([one.log_p for one in hypotheses], [f.log_p for f in expected], rtol=1e-12)
        np.testing.assert_allclose([one.score for one in hypotheses], [f.score for f in expected], rtol=1e-9)
        for one in hypotheses:
            whole = [*one.ids, EOS] if one.finished else one.ids
            assert one.attention is not None
            assert len(one.log_ps) == len(one.attention) == len(whole)
            for t, token in enumerate(whole):
                log_p, attention = model.after(n, whole[:t])
                assert one.log_ps[t] == log_p[token]
                np.testing.assert_allclose(one.attention[t], attention, rtol=1e-12)


@st.composite
def settings_of_a_search(draw: Any) -> Settings:
    beam, longest = draw(st.integers(1, 7)), draw(st.integers(1, 8))
    return Settings(
        beam=beam,
        n_best=draw(st.integers(1, beam)),
        max_length=longest,
        min_length=draw(st.one_of(st.just(0), st.integers(0, longest))),
        length_penalty=draw(st.sampled_from([0.0, 0.0, 0.6, 1.0])),
        coverage_penalty=draw(st.sampled_from([0.0, 0.0, 0.3])),
        no_repeat_ngram=draw(st.sampled_from([None, None, 1, 2, 3])),
        forbidden=draw(st.sampled_from([(), (), (2,), (3, 1)])),
    )


@settings(max_examples=80, deadline=None)
@given(settings_of_a_search(), st.integers(0, 10**6), st.integers(1, 5))
def test_a_batch_gives_what_the_plain_search_gives_for_each_source(s: Settings, seed: int, N: int) -> None:
    check_against_the_plain_search(Tables(seed, N=N), s)


@settings(max_examples=60, deadline=None)
@given(settings_of_a_search(), st.integers(0, 10**6))
def test_of_equally_likely_ones_the_better_beginning_and_then_the_smaller_id_comes_first(
    s: Settings, seed: int
) -> None:
    model = Tables(seed, coarse=True)
    if any(not (model.after(n, ())[0][[i for i in range(5) if i not in s.forbidden and (i or not s.min_length)]]
                > -np.inf).any() for n in range(3)):  # fmt: skip
        with pytest.raises(ValueError, match="beam_search: no token is possible at the first step of source"):
            beam_search(model, model.start(), **vars(s))
    else:
        check_against_the_plain_search(model, s)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_words_are_searched_as_few_are(dtype: Any) -> None:
    model = Tables(3, N=6, V=800, dtype=dtype)  # by blocks
    for s in (Settings(beam=4, n_best=4), Settings(beam=2, no_repeat_ngram=1, forbidden=(1, 5), min_length=3)):
        check_against_the_plain_search(model, s)


# ---- a network ---------------------------------------------------------------------------------------------------


class Writer(nn.Module):
    """A GRU that attends to its source."""

    def __init__(self, V: int, dtype: Any) -> None:
        super().__init__()
        self.eos_id = EOS
        self.embedding = nn.Embedding(V, 5, dtype=dtype)
        self.cell = nn.GRUCell(5, 6, dtype=dtype)
        self.attention = nn.AdditiveAttention(6, 4, 3, dtype=dtype)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(10, V, dtype=dtype)
        for weight in self.parameters():
            nn.init.uniform_(weight, -1.5, 1.5)

    def start(self, source: Any, lengths: Any) -> nlp.Start:
        mask = np.arange(source.shape[1]) < np.array(lengths)[:, None]
        state = np.zeros((len(source), 6), source.dtype)
        return nlp.Start(np.ones(len(source), np.int64), mg.tensor(state), self.attention.prepare(source, mask=mask))

    def step(self, ids: Any, h: Any, memory: Any) -> nlp.Step:
        h = self.cell(self.dropout(self.embedding(ids)), h)
        n = len(memory.keys)
        c, weights = self.attention(h.reshape((n, -1, 6)), prepared=memory)
        log_p = mg.log_softmax(self.out(np.concatenate([h, c.reshape((len(h), 4))], axis=-1)))
        return nlp.Step(log_p, h, weights.reshape((len(h), -1)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-10)])
@pytest.mark.parametrize("options", [{}, {"length_penalty": 0.7, "coverage_penalty": 0.2}, {"no_repeat_ngram": 2}])
def test_a_network_searches_in_a_batch_as_one_source_at_a_time(
    rng: np.random.Generator, dtype: Any, tolerance: float, options: Any
) -> None:
    model = Writer(9, dtype).train()
    lengths = [4, 1, 6, 3, 6]
    source = rng.standard_normal((5, 6, 4)).astype(dtype)
    model.eval()
    together = beam_search(model, model.start(source, lengths), beam=4, n_best=3, max_length=10, **options)
    log_p = rescore(model, model.start(source, lengths), [[*b.ids, *[EOS] * b.finished] for b in together.best])
    np.testing.assert_allclose(log_p, [one.log_p for one in together.best], rtol=tolerance)
    for n, T in enumerate(lengths):
        (alone,) = beam_search(
            model, model.start(source[n : n + 1, :T], [T]), beam=4, n_best=3, max_length=10, **options
        )
        for one, other in zip(together[n], alone, strict=True):
            assert (one.ids.tolist(), one.finished) == (other.ids.tolist(), other.finished)
            np.testing.assert_allclose(one.score, other.score, rtol=tolerance)
            np.testing.assert_allclose(one.attention[:, :T], other.attention, rtol=tolerance, atol=tolerance)
            assert not one.attention[:, T:].any()


def test_greedy_is_a_beam_of_one() -> None:
    for seed in range(30):
        model = Tables(seed)
        s = {"max_length": 7, "min_length": seed % 3, "forbidden": [4]}
        for a, b in zip(
            greedy(model, model.start(), **s).best, beam_search(model, model.start(), beam=1, **s).best, strict=True
        ):
            assert (a.ids.tolist(), a.finished, a.log_ps.tolist()) == (b.ids.tolist(), b.finished, b.log_ps.tolist())
            np.testing.assert_array_equal(a.attention, b.attention)


# ---- the end of a search, and its results ----------------------------------------------------------------------------


def test_stopping_early_changes_nothing_without_penalties() -> None:
    for seed in range(20):
        model = Tables(seed, V=4)
        short, long = (beam_search(model, model.start(), beam=4, n_best=2, max_length=T) for T in (7, 40))
        steps = len(model.rows)
        for a, b in zip(short, long, strict=True):
            if all(one.finished for one in a):
                assert [one.ids.tolist() for one in a] == [one.ids.tolist() for one in b]
        assert steps < 40


def test_sources_that_are_over_are_left_out() -> None:
    model = Tables(2, N=40, V=6)
    beam_search(model, model.start(), beam=3, max_length=30, min_length=1)
    rows = model.rows
    assert rows[:2] == [40, 120]
    assert rows == [rows[0], *sorted(rows[1:], reverse=True)]
    assert len(set(rows)) > 4


def test_a_state_whose_rows_stay_is_not_copied() -> None:
    model = Tables(0, N=2, eos_id=None)
    for found in (beam_search(model, model.start(), beam=1, max_length=5), greedy(model, model.start(), max_length=5)):
        assert [len(one.ids) for one in found.best] == [5, 5]
    pairs = list(itertools.pairwise(model.states))
    assert all(given is gave for k, ((_, gave), (given, _)) in enumerate(pairs) if k != 4)


def test_the_state_follows_its_hypothesis() -> None:
    model = Tables(5, N=3)
    start = model.start()
    found = beam_search(model, start, beam=4, n_best=4, max_length=9)
    np.testing.assert_array_equal(start.state["place"].data, np.arange(3) * 101 + 7)  # what was given is as it was
    for n, hypotheses in enumerate(found):
        for one in hypotheses:
            whole = [*one.ids, EOS] if one.finished else one.ids
            np.testing.assert_allclose(one.log_p, model.log_probability(n, whole), rtol=1e-12)
            np.testing.assert_allclose(rescore(model, model.start([n]), [whole]), one.log_p, rtol=1e-12)


def test_a_wide_beam_over_few_words() -> None:
    model = Tables(0, V=2)
    for found in beam_search(model, model.start(), beam=50, n_best=4, max_length=3):
        assert [(one.ids.tolist(), one.finished) for one in found if not one.finished] == [([1, 1, 1], False)]
        assert len(found) == 4


def test_what_can_go_on_no_more_ends_there() -> None:
    model = Tables(4, V=4, eos_id=None)
    for one in beam_search(model, model.start(), beam=3, max_length=9, no_repeat_ngram=1).best:
        assert sorted(one.ids) == [0, 1, 2, 3]
        assert not one.finished
    model = Tables(4, V=4)
    for one in beam_search(model, model.start(), beam=3, max_length=9, min_length=9, no_repeat_ngram=1).best:
        assert sorted(one.ids) == [1, 2, 3]
        assert not one.finished


def test_the_end_can_be_another() -> None:
    model = Tables(1, N=6)
    none = beam_search(model, model.start(), max_length=5, eos=None)
    assert [(len(one.ids), one.finished) for one in none.best] == [(5, False)] * 6
    other = beam_search(model, model.start(), max_length=5, eos=3)
    model.eos_id = 3
    same = beam_search(model, model.start(), max_length=5)
    assert [i.tolist() for i in other.ids] == [i.tolist() for i in same.ids]
    assert any(one.finished for one in same.best)
    assert not any(3 in one.ids for one in same.best)


# ---- its parts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3000), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**31))
def test_the_largest_are_those_of_a_stable_sort(
    place: Any, R: int, V: int, k: int, different: int, seed: int
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 10**different, (R, V)).astype(np.float32)  # many ties, or none
    x[rng.random((R, V)) < rng.choice([0.0, 0.3, 0.999])] = -np.inf
    places, values = largest(place.array(x), k)
    expected = np.argsort(-x, axis=-1, kind="stable")[:, :k]
    there = np.take_along_axis(x, expected, axis=-1)
    np.testing.assert_array_equal(values, there)
    np.testing.assert_array_equal(places[there > -np.inf], expected[there > -np.inf])
    assert places.min() >= 0


@pytest.mark.parametrize("V", [5, 2000])
def test_a_row_with_a_nan_has_no_largest(V: int, rng: np.random.Generator, backend: Any) -> None:
    for column in (0, V // 2, V - 1):
        x = rng.standard_normal((3, V))
        x[1, column] = np.nan
        _, values = largest(backend.array(x), 2)
        assert np.isnan(values).tolist() == [[False] * 2, [True] * 2, [False] * 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.sampled_from([7, 300]))
def test_the_likeliest_without_some(seed: int, k: int, V: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, V))
    banned = rng.choice(V, 2, replace=False).tolist()
    rows, ids = rng.integers(0, 4, 6), rng.integers(0, V, 6)  # some perhaps twice
    without = x.copy()
    without[:, banned] = -np.inf
    without[rows, ids] = -np.inf
    before = x.copy()
    places, values = likeliest(x, k, banned, (rows, ids))
    np.testing.assert_array_equal(x, before)
    expected, there = largest(without, k)
    np.testing.assert_array_equal(values, there)
    np.testing.assert_array_equal(places[there > -np.inf], expected[there > -np.inf])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 9), st.integers(0, 2**31))
def test_what_would_repeat_n_tokens(n: int, T: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, 3, (2, 3, T))
    expected = set()
    for row, written in enumerate(tokens.reshape(6, T).tolist()):
        for token in range(3):
            longer = [*written, token]
            grams = [tuple(longer[k : k + n]) for k in range(len(longer) - n + 1)]
            if grams[-1:] and grams[-1] in grams[:-1]:
                expected.add((row, token))
    rows, ids = repeated(tokens, n)
    assert set(zip(rows.tolist(), ids.tolist(), strict=True)) == expected
