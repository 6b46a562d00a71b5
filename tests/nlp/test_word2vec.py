"""Word2Vec: its gradients against those of the graph, its random draws, its refusals."""

from __future__ import annotations

import io
import math
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from nlp import Word2Vec
from nlp.word2vec import WindowLoss, kernels, updates
from nlp.word2vec import model as model_module
from nlp.word2vec.corpus import BLOCK, Block, read_blocks
from nlp.word2vec.model import ahead, fastest
from nlp.word2vec.windows import Noise, WindowMaker, Windows

MODES = ("cbow", "skipgram")
LOSSES = ("negative", "hierarchical", "softmax")
COUNTS = np.array([30, 17, 12, 9, 9, 5, 2])
CORPUS = [["I", "go", "to", "the", "mall", "today"], ["I", "go", "to", "the", "beach", "today"]] * 20

every_mode = pytest.mark.parametrize("mode", MODES)
every_loss = pytest.mark.parametrize("loss", LOSSES)


def maker(loss: str, **changed: Any) -> WindowMaker:
    given = {"window": 3, "negatives": 4, "subsample": 0, "lr": 0.5, "epochs": 1, "seed": 0, **changed}
    return WindowMaker(COUNTS, int(COUNTS.sum()), loss=loss, **given)


def windows_of(loss: str, ids: list[int], **changed: Any) -> Windows:
    """Float64 windows of one sentence."""
    made = maker(loss, **changed).make(Block(0, 0, np.array(ids, np.int32), np.array([len(ids)])), 0)
    return Windows(**{**vars(made), "rates": made.rates.astype(np.float64)})


def only(windows: Windows, i: int) -> Windows:
    """The windows with all words but one looked at by nobody."""
    first, last = windows.first.copy(), windows.last.copy()
    others = np.arange(len(first)) != i
    first[others], last[others] = np.flatnonzero(others), np.flatnonzero(others) + 1
    return Windows(**{**vars(windows), "first": first, "last": last})


def context_of(windows: Windows, i: int) -> Any:
    return [int(windows.ids[j]) for j in range(windows.first[i], windows.last[i]) if j != i]


def objective_of(mode: str, loss: str, rng: np.random.Generator) -> WindowLoss:
    """With random weights, neither of them zero."""
    objective = WindowLoss(COUNTS, 5, mode, loss, dtype=np.float64)
    for weight in objective.parameters():
        nn.init.normal_(weight, std=0.8)
    return objective


def loss_of(objective: WindowLoss, loss: str, windows: Windows, i: int) -> mg.Tensor:
    negatives = windows.outputs[i, windows.signs[i] < 0] if loss == "negative" else None
    return objective(context_of(windows, i), int(windows.ids[i]), negatives)


def trainers(loss: str) -> list[Any]:
    if loss == "softmax":
        return [updates.train_softmax]
    return [updates.train, lambda W, U, windows, together: kernels.train(W, U, *vars(windows).values(), together)]


# ---- the two forms of one objective ------------------------------------------------------------------------------


@every_loss
@every_mode
def test_gradients_are_those_of_the_graph(mode: str, loss: str, rng: np.random.Generator) -> None:
    """Each window alone, with contexts of all sizes, repeated words, repeated negatives, the word among them."""
    objective = objective_of(mode, loss, rng)
    ids = [0, 3, 3, 1, 6, 0, 2, 5, 1, 1, 4, 0]
    windows = windows_of(loss, ids, negatives=9)
    assert loss != "negative" or (np.any(windows.signs == 0) and len(set(map(tuple, windows.signs))) > 1)
    sizes = set()
    for i in range(len(ids)):
        objective.zero_grad()
        expected = loss_of(objective, loss, windows, i)
        expected.backward()
        sizes.add(len(context_of(windows, i)))
        for train in trainers(loss):
            W, U = objective.embedding.weight.numpy().copy(), objective.output.weight.numpy().copy()
            before = W.copy(), U.copy()
            total, predictions = train(W, U, only(windows, i), mode == "cbow")
            assert total == pytest.approx(expected.item(), rel=1e-12)
            assert predictions == (1 if mode == "cbow" else len(context_of(windows, i)))
            for old, new, weight in zip(before, (W, U), (objective.embedding, objective.output), strict=True):
                gradient = weight.weight.grad
                gradient = gradient.dense() if isinstance(gradient, mg.RowSparse) else gradient.numpy()
                np.testing.assert_allclose((old - new) / windows.rates[i], gradient, rtol=1e-10, atol=1e-13)
    assert len(sizes) >= 4


@every_loss
@every_mode
def test_training_is_gradient_descent_on_the_graph(mode: str, loss: str, rng: np.random.Generator) -> None:
    """Window after window, with a rate that falls."""
    objective = objective_of(mode, loss, rng)
    windows = windows_of(loss, rng.integers(0, len(COUNTS), 30).tolist(), lr=0.3)
    starts = objective.embedding.weight.numpy().copy(), objective.output.weight.numpy().copy()
    optimizer = nn.SGD(objective.parameters(), lr=1.0)
    total, predictions = 0.0, 0
    for i in range(30):
        optimizer.param_groups[0]["lr"] = float(windows.rates[i])
        optimizer.zero_grad()
        value = loss_of(objective, loss, windows, i)
        value.backward()
        optimizer.step()
        total += value.item()
        predictions += 1 if mode == "cbow" else len(context_of(windows, i))
    for train in trainers(loss):
        W, U = starts[0].copy(), starts[1].copy()
        found = train(W, U, windows, mode == "cbow")
        assert found == (pytest.approx(total, rel=1e-12), predictions)
        np.testing.assert_allclose(W, objective.embedding.weight.numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(U, objective.output.weight.numpy(), rtol=1e-10, atol=1e-12)


@every_mode
def test_batches_of_the_softmax(mode: str, rng: np.random.Generator) -> None:
    """All windows' predictions, in order, of so many windows at a time."""
    windows = windows_of("softmax", rng.integers(0, 7, 20).tolist())
    batches = list(updates._batches(windows, mode == "cbow", 8))
    assert len(batches) == 3
    found = [
        (group.tolist(), target, rate)
        for inputs, starts, targets, rates in batches
        for group, target, rate in zip(np.split(inputs, starts[1:]), targets, rates, strict=True)
    ]
    expected = []
    for i in range(20):
        context = context_of(windows, i)
        groups = [context] if mode == "cbow" else [[word] for word in context]
        expected += [(group, windows.ids[i], windows.rates[i]) for group in groups]
    assert found == expected


def test_the_objective_of_a_model(rng: np.random.Generator) -> None:
    """It holds the weights that were learned, and can be drawn."""
    model = Word2Vec(dim=6, min_count=1, subsample=0, epochs=2, workers=1).fit(CORPUS, progress=False)
    objective = model.objective()
    np.testing.assert_array_equal(objective.embedding.weight.numpy(), model.vectors.vectors)
    ids = model.vocabulary.encode(["go", "to", "mall", "today"])
    loss = objective(ids, model.vocabulary["the"], [model.vocabulary["I"]])
    assert "embedding" in mg.graph(loss).dot()
    with pytest.raises(RuntimeError, match="before `fit`"):
        Word2Vec().objective()


# ---- random numbers --------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=40))
def test_the_alias_method_has_the_right_probabilities(weights: list[float]) -> None:
    noise = Noise(np.array(weights))
    chance = noise.threshold.astype(np.float64)  # of each column's own word,
    np.add.at(chance, noise.alias, 1 - noise.threshold.astype(np.float64))  # and of those that fill others up
    np.testing.assert_allclose(chance / len(weights), np.array(weights) / np.sum(weights), rtol=2e-5, atol=1e-7)


def test_noise_is_drawn_in_proportion_to_counts_to_the_three_quarters() -> None:
    made = maker("negative")
    drawn = made.noise.draw(np.random.default_rng(0), (40_000, 5))
    expected = COUNTS**0.75 / np.sum(COUNTS**0.75)
    np.testing.assert_allclose(np.bincount(drawn.ravel(), minlength=7) / drawn.size, expected, atol=0.005)


def test_subsampling_keeps_the_share_that_it_says() -> None:
    share = COUNTS / COUNTS.sum()
    t = 0.02
    made = maker("softmax", subsample=t)
    np.testing.assert_allclose(made.seen, np.minimum(np.sqrt(t / share) + t / share, 1), rtol=1e-6)
    ids = np.repeat(np.arange(7, dtype=np.int32), 4000)
    kept = np.bincount(made.make(Block(0, 0, ids, np.array([len(ids)])), 0).ids, minlength=7) / 4000
    np.testing.assert_allclose(kept, made.seen, atol=0.03)
    assert kept[-1] == 1  # the rarest


def test_every_distance_is_as_likely() -> None:
    ids = np.zeros(20_000, np.int32)
    windows = maker("softmax", window=4).make(Block(0, 0, ids, np.array([len(ids)])), 0)
    reach = np.bincount((windows.last - windows.first)[10:-10] // 2)
    np.testing.assert_allclose(reach[1:] / reach.sum(), 1 / 4, atol=0.02)


@given(st.lists(st.lists(st.integers(-1, 6), max_size=9), min_size=1, max_size=6), st.integers(1, 4), st.booleans())
def test_windows_stay_in_their_sentence(sentences: list[list[int]], window: int, thinned: bool) -> None:
    ids = np.array([i for sentence in sentences for i in sentence], np.int32)
    ends = np.cumsum([len(sentence) for sentence in sentences])
    made = maker("negative", window=window, subsample=0.05 if thinned else 0)
    windows = made.make(Block(0, 0, ids, ends), 0)
    known = [[i for i in sentence if i >= 0] for sentence in sentences]
    if not thinned:
        assert windows.ids.tolist() == [i for sentence in known for i in sentence]
        start = 0
        for sentence in known:
            for i in range(start, start + len(sentence)):
                assert any(
                    windows.first[i] == max(i - r, start) and windows.last[i] == min(i + r + 1, start + len(sentence))
                    for r in range(1, window + 1)
                )
            start += len(sentence)
    assert Counter(windows.ids.tolist()) <= Counter(i for sentence in known for i in sentence)
    assert np.all(windows.first <= np.arange(len(windows.ids)))
    assert np.all(windows.last > np.arange(len(windows.ids)))
    assert np.all(windows.outputs[:, 0] == windows.ids)
    assert np.all(windows.signs[:, 0] == 1)
    np.testing.assert_array_equal(windows.signs[:, 1:] == 0, windows.outputs[:, 1:] == windows.ids[:, None])
    assert np.all(windows.signs[:, 1:] <= 0)


def test_the_rate_falls_linearly_over_all_epochs() -> None:
    sentences = [["a", "b", "?"] * 1000] * 8  # two blocks
    made = WindowMaker(np.array([8000, 8000]), 24_000, loss="negative", window=2, negatives=2, subsample=0, lr=0.1,
                       epochs=3, seed=0)  # fmt: skip
    rates = np.concatenate([
        made.make(block, epoch).rates for epoch in range(3) for block in read_blocks(sentences, {"a": 0, "b": 1})
    ])  # fmt: skip
    at = np.flatnonzero(np.arange(72_000) % 3 < 2)
    np.testing.assert_allclose(rates, 0.1 * np.maximum(1 - at / 72_000, 1e-4), rtol=1e-5)


def test_a_block_is_drawn_alike_each_time_and_blocks_differently() -> None:
    made, other = maker("negative"), maker("negative", seed=1)
    ids, ends = np.arange(7, dtype=np.int32), np.array([7])
    first = made.make(Block(0, 0, ids, ends), 0)
    np.testing.assert_array_equal(made.make(Block(0, 0, ids, ends), 0).outputs, first.outputs)
    for different in (made.make(Block(1, 0, ids, ends), 0), made.make(Block(0, 0, ids, ends), 1),
                      other.make(Block(0, 0, ids, ends), 0)):  # fmt: skip
        assert np.any(different.outputs != first.outputs)


# ---- reading -----------------------------------------------------------------------------------------------------


def test_blocks_hold_the_corpus_in_order() -> None:
    rng = np.random.default_rng(0)
    sentences = [[str(i) for i in rng.integers(0, 50, n)] for n in [3, 0, 1, 25_000, *rng.integers(0, 4000, 20)]]
    index = {str(i): i for i in range(40)}
    blocks = list(read_blocks(iter(map(iter, sentences)), index))
    words = [word for sentence in sentences for word in sentence]
    np.testing.assert_array_equal(np.concatenate([b.ids for b in blocks]), [index.get(word, -1) for word in words])
    assert [b.number for b in blocks] == list(range(len(blocks)))
    assert [b.before for b in blocks] == [0, *np.cumsum([len(b.ids) for b in blocks])[:-1]]
    assert all(BLOCK <= len(b.ids) < 2 * BLOCK for b in blocks[:-1])
    ends = {b.before + int(end) for b in blocks for end in b.ends}
    assert ends >= set(np.cumsum([len(s) for s in sentences if s]))  # a sentence of 25,000 words is cut as well
    assert len(ends) == len([s for s in sentences if s]) + 2


class Generated:
    """Sentences that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[list[str]]:
        return ([str(k % 97), str(k % 89), str(k % 83)] * 3 for k in range(self.count))


def test_memory_does_not_grow_with_the_corpus() -> None:
    made = maker("negative", negatives=5)
    index = {str(i): i for i in range(7)}

    def peak(count: int) -> int:
        tracemalloc.start()
        for block in read_blocks(Generated(count), index):
            made.make(block, 0)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(12_000) < 1.5 * peak(3_000)


def test_ahead_keeps_the_order_and_passes_errors_on() -> None:
    assert list(ahead(iter(range(20)))) == list(range(20))
    assert list(ahead([])) == []

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    made = ahead(failing())
    assert next(made) == 1
    with pytest.raises(ValueError, match="broken"):
        list(made)


# ---- fitting -----------------------------------------------------------------------------------------------------


def small(**changed: Any) -> Word2Vec:
    return Word2Vec(**{"dim": 10, "min_count": 1, "subsample": 0, "epochs": 3, "negatives": 3, **changed})


def text(words: int, rng: np.random.Generator) -> list[list[str]]:
    """Sentences of 8 words; each word is one of few that go together."""
    topics = rng.integers(0, 5, words // 8)
    return [[f"{topic}{'abcdef'[k]}" for k in rng.integers(0, 6, 8)] for topic in topics]


@every_loss
@every_mode
def test_it_learns_who_goes_with_whom(mode: str, loss: str, rng: np.random.Generator) -> None:
    model = small(mode=mode, loss=loss, lr=0.1, epochs=8).fit(text(1600, rng), progress=False)
    assert len(model.losses) == 8
    assert all(isinstance(value, float) for value in model.losses)
    assert model.losses[-1] < 0.85 * model.losses[0]
    right = sum(
        neighbour[0] == word[0]
        for word in model.vectors.words for neighbour, _ in model.vectors.most_similar(word, topn=3)
    )  # fmt: skip
    assert right > 0.9 * 3 * len(model.vectors)
    np.testing.assert_array_equal(model.vectors.counts, model.vocabulary.counts)
    assert model.vectors.words == model.vocabulary.tokens


@every_mode
def test_workers_make_no_difference(mode: Any, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr("nlp.word2vec.corpus.BLOCK", 100)  # several blocks
    corpus = text(800, rng)
    models = [small(mode=mode, workers=workers).fit(corpus, progress=False) for workers in (1, 2, 5, None)]
    for model in models[1:]:
        np.testing.assert_array_equal(model.vectors.vectors, models[0].vectors.vectors)
        assert model.losses == models[0].losses
    other = small(mode=mode, seed=1).fit(corpus, progress=False)
    assert np.any(other.vectors.vectors != models[0].vectors.vectors)


def test_the_loss_is_the_mean_of_all_predictions(rng: np.random.Generator) -> None:
    """With nothing learned, which a tiny rate ensures, every score is 0: log 2 for each output."""
    corpus = text(400, rng)
    model = small(mode="cbow", lr=1e-12, epochs=2, negatives=2).fit(corpus, progress=False)
    index = {word: i for i, word in enumerate(model.vocabulary)}
    made = WindowMaker(model.vocabulary.counts, 400, loss="negative", window=5, negatives=2, subsample=0, lr=1e-12,
                       epochs=2, seed=0)  # fmt: skip
    for epoch in range(2):
        (block,) = read_blocks(corpus, index)
        signs = made.make(block, epoch).signs
        assert model.losses[epoch] == pytest.approx(math.log(2) * np.count_nonzero(signs) / len(signs), rel=1e-6)


def test_rare_words_are_left_out() -> None:
    corpus = [["a", "b", "a", "b", "rare", "a"]] * 3 + [["once", "a", "b"]]
    model = small(min_count=3).fit(corpus, progress=False)
    assert model.vectors.words == ("a", "b", "rare")


def test_a_stream_of_a_file(tmp_path: Any) -> None:
    from nlp import read_lines

    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(" ".join(sentence) for sentence in CORPUS), encoding="utf-8")
    streamed = small().fit(read_lines(path).map(str.split), progress=False)
    np.testing.assert_array_equal(streamed.vectors.vectors, small().fit(CORPUS, progress=False).vectors.vectors)


def test_progress_shows_words_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    small().fit(CORPUS)
    assert "words/s" in screen.getvalue()
    assert "720/720" in screen.getvalue()
    assert "loss" in screen.getvalue()


def test_numpy_runs_where_nothing_is_to_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "INSTALLED", False)
    assert fastest() is updates.train

    def f() -> None: ...

    assert kernels.compiled(f) is f
    monkeypatch.undo()
    monkeypatch.setenv("MINIGRAD_COMPILE", "0")
    assert fastest() is updates.train


def test_a_long_compilation_is_announced_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_module, "_announced", False)
    for seconds in (0.2, 3.0, 4.0):
        model_module._announce(seconds)
    assert capsys.readouterr().err.count("\n") == 1


# ---- refused arguments -----------------------------------------------------------------------------------------------


class Once:
    """Can be gone through once, but does not say so."""

    def __init__(self) -> None:
        self.left = iter(CORPUS)

    def __iter__(self) -> Iterator[list[str]]:
        yield from self.left


@pytest.mark.parametrize(
    ("corpus", "error", "message"),
    [
        ((s for s in CORPUS), TypeError, "generator can be gone through once, but 4 passes are needed"),
        ("I go to the mall", TypeError, "sentences must be a list"),
        (["I go to the mall", "I go home"], TypeError, r"sentence 0 is the string 'I go to the mall'"),
        ([], ValueError, "the corpus is empty"),
        ([[]], ValueError, "the corpus is empty"),
        ([["a", "a"]], ValueError, "only one word, 'a', occurs min_count=1 times"),
        ([["a"], ["b"]], ValueError, "no word had another one beside it; subsample=0 and min_count=1 left 2 of 2"),
        (Once(), ValueError, "in epoch 1 there were no sentences any more"),
        ([["a", 3]], TypeError, "3 is of type int"),
        (7, TypeError, "int"),
    ],
    ids=["generator", "string", "strings", "empty", "empty sentence", "one word", "lonely", "once", "number", "int"],
)
def test_corpora_that_are_none(corpus: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small().fit(corpus, progress=False)


def test_words_that_are_too_rare() -> None:
    with pytest.raises(ValueError, match="no token occurs min_freq=5 times"):
        Word2Vec().fit([["a", "b", "c"]], progress=False)


@pytest.mark.parametrize("loss", ["negative", "hierarchical"])
def test_a_rate_that_is_too_high(loss: Any) -> None:
    with pytest.raises(FloatingPointError, match=r"in epoch \d, before word \d+; lr=1e\+30 is too high"):
        small(loss=loss, lr=1e30, mode="skipgram").fit(CORPUS, progress=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "skip-gram"}, "mode must be one of 'cbow', 'skipgram', not 'skip-gram'"),
        ({"loss": "hs"}, "loss must be one of"),
        ({"dim": 0}, "dim must be an integer of at least 1, not 0"),
        ({"window": 2.0}, "window must be an integer"),
        ({"epochs": True}, "epochs must be an integer"),
        ({"negatives": 0}, "negatives must be"),
        ({"min_count": 0}, "min_count must be"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"workers": 0}, "workers must be"),
        ({"subsample": -1}, "subsample must be at least 0"),
        ({"subsample": math.nan}, "subsample must be"),
        ({"lr": 0}, "lr must be above 0"),
        ({"lr": math.inf}, "lr must be above 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_are_none(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Word2Vec(**settings)
