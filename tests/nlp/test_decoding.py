"""Greedy and drawn sequences, what all decoding refuses, and the models of `nlp` decoded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from written_by_tables import Tables

import minigrad as mg
import nlp
import nn
from nlp import LanguageModel, Seq2Seq, beam_search, greedy, rescore, sample
from nlp.decoding.choosing import _Distribution

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


# ---- the models --------------------------------------------------------------------------------------------------


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
            if "coverage_penalty" in options:
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


# ---- the likeliest -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("V", [5, 600])
@pytest.mark.parametrize("options", [{}, {"min_length": 3}, {"forbidden": [None, 4, 1, 4]}, {"eos": None}, {"eos": 2}])
def test_greedy_is_the_plain_loop(V: int, options: Any) -> None:
    model = Tables(7, N=20, V=V)
    end = options.get("eos", model.eos_id)
    found = greedy(model, model.start(), max_length=8, **options)
    for n, one in enumerate(found.best):
        written: list[int] = []
        for t in range(8):
            log_p, attention = model.after(n, written)
            log_p[[i for i in options.get("forbidden", []) if i is not None]] = -np.inf
            if t < options.get("min_length", 0):
                log_p[end] = -np.inf
            token = int(np.argmax(log_p))
            assert one.log_ps[t] == log_p[token]
            np.testing.assert_allclose(one.attention[t], attention)
            if token == end:
                break
            written.append(token)
        assert one.ids.tolist() == written
        assert one.finished == (token == end)
        np.testing.assert_allclose([one.score, one.log_p], one.log_ps.sum())
    assert V == 600 or "eos" in options or model.rows[-1] < 20  # those that are over are left out


def test_a_sequence_that_can_go_on_no_more_ends_there() -> None:
    model = Tables(3, N=1, V=3, eos_id=None)
    place = model.following(model.following(model.following(7, 1), 2), 2)
    model.log_p[place] = -np.inf
    for function in (greedy, sample, beam_search):
        width = {"beam": 1} if function is beam_search else {}
        (one,) = function(model, model.start(), max_length=5, forbidden=[0, 1], **width).best
        assert (one.ids.tolist(), one.finished, len(one.log_ps)) == ([2, 2], False, 2)


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


def test_what_is_drawn_for_a_source_does_not_depend_on_the_others() -> None:
    model = Tables(1, N=30, V=8)
    options = {"max_length": 12, "n": 2, "seed": 5, "top_k": 7}
    together = sample(model, model.start(), **options)
    assert model.rows[0] == 60 > model.rows[-1]
    few = sample(model, model.start(range(15)), **options)
    for one, other in zip(few, together, strict=False):
        assert [a.ids.tolist() for a in one] == [b.ids.tolist() for b in other]


def test_samples_are_sorted_and_as_likely_as_they_say() -> None:
    model = Tables(2, N=4, V=6)
    found = sample(model, model.start(), max_length=6, n=5, temperature=1.7, top_p=0.95, min_length=1, seed=0)
    for n, ones in enumerate(found):
        assert len(ones) == 5
        assert [one.score for one in ones] == sorted([one.score for one in ones], reverse=True)
        for one in ones:
            whole = [*one.ids, 0] if one.finished else one.ids
            np.testing.assert_allclose(one.log_p, model.log_probability(n, whole))
            np.testing.assert_allclose(one.attention, [model.after(n, whole[:t])[1] for t in range(len(whole))])


@pytest.mark.parametrize("settings", [(1.0, None, None), (0.5, 3, None), (1.0, None, 1.0), (2.0, 4, 0.9)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_ends_of_the_unit_interval_draw_what_is_possible(settings: Any, dtype: Any, rng: Rng) -> None:
    x = rng.standard_normal((500, 7)).astype(dtype)
    x[:, [0, 6]] = -np.inf
    for u, banned in itertools.product((0.0, 1 - 2.0**-53), ((), (5, 1))):
        ids, log_ps = _Distribution(*settings).draw(x, np.full(500, u), banned)
        assert not np.isin(ids, [0, 6, *banned]).any()
        np.testing.assert_array_equal(log_ps, x[np.arange(500), ids])


def test_top_p_keeps_as_few_as_it_takes(rng: Rng) -> None:
    p = np.array([[0.05, 0.5, 0.25, 0.2]])
    for top_p, kept in ((0.4, {1}), (0.5, {1}), (0.51, {1, 2}), (0.75, {1, 2}), (0.76, {1, 2, 3}), (1.0, {0, 1, 2, 3})):
        u = np.linspace(0, 1, 1000, endpoint=False)
        ids, _ = _Distribution(1.0, None, top_p).draw(np.log(np.repeat(p, 1000, 0)), u, ())
        assert set(ids.tolist()) == kept


# ---- results ---------------------------------------------------------------------------------------------------------


def test_rescoring_sequences_of_unequal_lengths() -> None:
    model = Tables(1, N=4)
    sequences = [[1, 2, 0], [], np.array([3]), mg.tensor([4, 4, 4, 4, 4])]
    found = rescore(model, model.start(), sequences)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [model.log_probability(n, list(map(int, s))) for n, s in enumerate(sequences)])
    assert rescore(model, model.start(), [[]] * 4).tolist() == [0.0] * 4
    with pytest.raises(ValueError, match="rescore: there are 4 sources, but 2 sequences"):
        rescore(model, model.start(), [[1], [2]])
    with pytest.raises(ValueError, match="rescore: id 5 is not one of the 5 ids"):
        rescore(model, model.start(), [[1], [2], [5], [0]])
    with pytest.raises(TypeError, match="rescore: ids must be integers, not float64"):
        rescore(model, model.start(), [[1.5], [2], [0], [0]])


def test_what_decoding_gives_back() -> None:
    model = Tables(1, N=3, V=5)
    found = beam_search(model, model.start(), beam=3, n_best=2, max_length=6, min_length=1, length_penalty=1.0)
    assert len(found) == len(list(found)) == 3
    assert found[0] == found.hypotheses[0] == next(iter(found))
    assert found.best == [found[n][0] for n in range(3)]
    assert [i.tolist() for i in found.ids] == [one.ids.tolist() for one in found.best]
    assert all(one.ids.dtype == np.int64 and one.log_ps.dtype == np.float64 for one in found.best)
    assert repr(found[0][0]).startswith(f"Hypothesis({found.ids[0].tolist()}, log_p=-")
    assert "score=-" in repr(found[0][0])
    assert repr(found).startswith("<Decoded for 3 sources; the best:\n  Hypothesis(")
    assert "not finished" in repr(greedy(model, model.start(), max_length=1, min_length=1))
    with pytest.raises(IndexError):
        found[3]


def test_texts() -> None:
    tokenizer = nlp.WordTokenizer(pad=None, bos=None).fit(["so it is"])
    model = Tables(3, N=4, V=len(tokenizer), eos_id=tokenizer.vocabulary.eos_id)
    found = beam_search(model, model.start(), max_length=5, min_length=2)
    expected = [" ".join(tokenizer.vocabulary.decode(ids)) for ids in found.ids]
    assert found.texts(tokenizer) == found.texts(tokenizer.vocabulary) == expected
    shown = beam_search(model, model.start(), max_length=5, min_length=2, eos=None)  # the end is a token as others are
    assert any("<eos>" in tokenizer.vocabulary.decode(ids) for ids in shown.ids)
    assert not any("<eos>" in text for by in (tokenizer, tokenizer.vocabulary) for text in shown.texts(by))


# ---- refused arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (greedy, {"max_length": 0}, "greedy: max_length must be an integer of at least 1, not 0"),
        (greedy, {"max_length": 3, "min_length": 4}, "min_length=4 is more than max_length=3"),
        (greedy, {"max_length": 3, "forbidden": [EOS]}, "the token 2, which ends a sequence, is forbidden"),
        (beam_search, {"max_length": 3, "beam": 0}, "beam must be an integer of at least 1, not 0"),
        (beam_search, {"max_length": 3, "beam": 2, "n_best": 3}, "n_best=3 hypotheses cannot come from a beam of 2"),
        (beam_search, {"max_length": 3, "length_penalty": -1}, "penalties are not negative"),
        (beam_search, {"max_length": 3, "no_repeat_ngram": 0}, "no_repeat_ngram must be an integer of at least 1"),
        (sample, {"max_length": 3, "temperature": 0}, "temperature must be above 0, not 0; `greedy`"),
        (sample, {"max_length": 3, "top_p": 1.2}, "top_p must be above 0 and at most 1, not 1.2"),
        (sample, {"max_length": 3, "top_k": 0}, "top_k must be an integer of at least 1, not 0"),
        (sample, {"max_length": 3, "n": 0}, "n must be an integer of at least 1, not 0"),
        (sample, {"max_length": 3, "n": None}, "n must be an integer of at least 1, not None"),
        (sample, {"max_length": 3, "seed": -1}, "seed must be an integer of at least 0, not -1"),
        (sample, {"max_length": 3, "top_p": float("nan")}, "top_p must be above 0 and at most 1, not nan"),
        (sample, {"max_length": 3, "temperature": float("nan")}, "temperature must be above 0, not nan"),
        (beam_search, {"max_length": 3, "coverage_penalty": float("nan")}, "penalties are not negative"),
    ],
)
def test_settings_that_cannot_be(function: Any, options: Any, message: str) -> None:
    model = language_model()
    with pytest.raises(ValueError, match=message):
        function(model, model.start([1]), **options)


def test_nothing_to_begin_with_and_nothing_possible() -> None:
    model = language_model(3)
    ids, state, memory = model.start([1])
    for decode in (greedy, sample, beam_search):
        assert len(decode(model, nlp.Start(ids[:0], state[:0], memory), max_length=3)) == 0
    with pytest.raises(ValueError, match="no token is possible at the first step of source 0"):
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


@pytest.mark.parametrize("V", [5, 3000])
@pytest.mark.parametrize("function", [greedy, beam_search, sample])
def test_one_nan_is_enough(function: Any, V: int) -> None:
    model = Tables(1, N=5, V=V, eos_id=None)
    place = model.following(model.following(3 * 101 + 7, 1), 4)
    model.log_p[place, V - 1] = np.nan
    model.log_p[model.following(3 * 101 + 7, 1)] = np.where(np.arange(V) == 4, 0.0, -30.0)  # source 3 writes 4 first
    with pytest.raises(FloatingPointError, match=f"{function.__name__}: the model gives NaN at step 1 of source 3"):
        function(model, model.start(), max_length=3)
    with pytest.raises(FloatingPointError, match="rescore: the model gives NaN at step 1 of source 3"):
        rescore(model, model.start(), [[1, 1]] * 3 + [[4, V - 1]] + [[1, 1]])


def test_nan_after_the_end_harms_nobody() -> None:
    model = Tables(1, N=40, V=5)
    first = model.following(model.start().state["place"].data, 1)
    model.log_p[:, 0] = -50.0
    model.log_p -= np.log(np.exp(model.log_p).sum(axis=-1, keepdims=True))
    model.log_p[first[0]] = np.log([0.996, 0.001, 0.001, 0.001, 0.001])  # source 0 is over at once, and stays a while
    model.log_p[model.following(first[0], np.arange(5))] = np.nan
    for found in (greedy(model, model.start(), max_length=4), beam_search(model, model.start(), beam=1, max_length=4)):
        assert model.rows[-3:] == [40] * 3
        assert (found.ids[0].tolist(), found.best[0].finished) == ([], True)


@pytest.mark.parametrize("function", [greedy, beam_search, sample])
def test_no_model_has_to_read_what_cannot_be_read(function: Any) -> None:
    class Reader(Tables):
        def step(self, ids: Any, state: Any, memory: Any) -> nlp.Step:
            assert not np.isin(ids, [0, 3]).any()
            return super().step(ids, state, memory)

    model = Reader(1, N=40)
    options = {"n": 3} if function is sample else {}
    found = function(model, model.start(), max_length=20, forbidden=[3], **options)
    assert sum(one.finished for one in found.best) > 20
    rescore(model, model.start(), [[*one.ids, 0] for one in found.best])


class Wrong(Tables):
    """Says something that is no step."""

    def __init__(self, **said: Any) -> None:
        super().__init__(0, N=2)
        self.said = said

    def step(self, ids: Any, state: Any, memory: Any) -> nlp.Step:
        return super().step(ids, state, memory)._replace(**self.said)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (
            {"log_p": np.zeros((2, 3, 4))},
            ValueError,
            r"step gives log_p of float64 \(2, 3, 4\); expected floats \(2, V\)",
        ),
        ({"log_p": np.zeros((3, 4))}, ValueError, r"log_p of float64 \(3, 4\)"),
        ({"log_p": np.zeros((2, 4), int)}, ValueError, r"log_p of int64 \(2, 4\)"),
        ({"state": mg.zeros((1, 3))}, ValueError, r"the state that the model's step gives has the shape \(1, 3\); exp"),
        ({"state": {"h": 3.0}}, TypeError, "the state that the model's step gives holds a float; expected Tensors"),
        ({"attention": np.zeros((2, 3, 1))}, ValueError, r"attention \(2, 3, 1\); expected \(2, S\)"),
    ],
)
@pytest.mark.parametrize("function", [greedy, beam_search, sample])
def test_steps_that_are_none(function: Any, said: Any, error: Any, message: str) -> None:
    model = Wrong(**said)
    with pytest.raises(error, match=f"{function.__name__}: .*{message}"):
        function(model, model.start(), max_length=3)


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        (nlp.Start(np.zeros((2, 1), int), None), ValueError, r"start: expected ids of 1 axis, got shape \(2, 1\)"),
        (nlp.Start([0.5], None), TypeError, "start: ids must be integers, not float64"),
        (nlp.Start([1, 2], [mg.zeros((3, 4))]), ValueError, r"start.state has the shape \(3, 4\); expected \(2, ...\)"),
        (nlp.Start([1, 2], None, {"keys": mg.zeros(())}), ValueError, r"start.memory has the shape \(\); expected"),
        (nlp.Start([1, 2], None, "text"), TypeError, "start.memory holds a str; expected Tensors"),
    ],
)
def test_starts_that_are_none(start: Any, error: Any, message: str) -> None:
    for function in (greedy, beam_search):
        with pytest.raises(error, match=message):
            function(Tables(0), start, max_length=3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_length": 2.5}, ValueError, "max_length must be an integer of at least 1, not 2.5"),
        ({"min_length": -1}, ValueError, "min_length must be an integer of at least 0, not -1"),
        ({"eos": 5}, ValueError, "eos has the id 5, but the model has 5 tokens"),
        ({"eos": "</s>"}, TypeError, "eos takes ids, which are integers, not '</s>'"),
        ({"forbidden": [1, -1]}, ValueError, "forbidden has the id -1, but the model has 5 tokens"),
        ({"forbidden": ["the"]}, TypeError, "forbidden takes ids, which are integers, not 'the'"),
        ({"forbidden": range(1, 5), "min_length": 1}, ValueError, "no token is possible at the first step of source 0"),
    ],
)
@pytest.mark.parametrize("function", [greedy, beam_search, sample])
def test_limits_that_cannot_be(function: Any, options: Any, error: Any, message: str) -> None:
    model = Tables(0)
    with pytest.raises(error, match=f"{function.__name__}: {message}"):
        function(model, model.start(), **{"max_length": 3} | options)


def test_a_penalty_for_coverage_needs_attention() -> None:
    model = Wrong(attention=None)
    with pytest.raises(ValueError, match="coverage_penalty needs attention, but the model's step gives None"):
        beam_search(model, model.start(), max_length=3, coverage_penalty=0.2)


# ---- logits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [greedy, beam_search, sample, rescore])
@pytest.mark.parametrize("shift", [-3.0, 0.2, 3.0, 800.0])
def test_logits_are_refused(function: Any, shift: float) -> None:
    model = Tables(1, N=3)
    model.log_p += shift
    given: Any = {"sequences": [[1, 2]] * 3} if function is rescore else {"max_length": 3}
    with pytest.raises(ValueError, match=f"{function.__name__}: exp of the model.* pass log-probabilities"):
        function(model, model.start(), **given)


def test_tokens_may_be_ruled_out() -> None:
    model = Tables(1, N=3)
    model.log_p[:, 2:] = -np.inf
    greedy(model, model.start(), max_length=3)
    half = Tables(1, N=3, V=3000, dtype=np.float16)
    greedy(half, half.start(), max_length=3)
