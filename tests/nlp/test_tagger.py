"""The tagger: against its formula and all sequences of tags; characters; padding; its files; refused arguments."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nlp
import nn
from nlp import SequenceTagger

Rng = np.random.Generator
V, K = 11, 3
SENTENCES = [["cab", "a", "dad", "cab"], ["fed"], ["a", "bed"]]
LETTERS = nlp.Vocabulary.of(["<unk>", *"abcdef"], unk="<unk>")
VOCABULARY = nlp.Vocabulary.of(["<unk>", "a", "cab", "bed"], unk="<unk>")
WORDS = nlp.pad([VOCABULARY.encode(s) for s in SENTENCES], 9)
SPELLED = nlp.spell(SENTENCES, LETTERS)
TAGS = nlp.pad([[0, 2, 1, 1], [2], [1, 0]], 1)

KINDS: dict[str, dict[str, Any]] = {
    "crf": {},
    "softmax": {"crf": False},
    "characters": {"characters": len(LETTERS)},
    "characters, softmax, deep gru": {"characters": len(LETTERS), "crf": False, "cell": "gru", "num_layers": 2},
    "one direction, constraints": {
        "bidirectional": False, "constraints": nlp.tag_constraints(["O", "B-X", "I-X"]),
    },
    "constraints between tags alone": {"constraints": ~np.eye(K, k=1, dtype=bool)},
    "own cell": {"cell": lambda i, h: nn.ElmanCell(i, h, h), "num_layers": 2, "characters": len(LETTERS)},
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def made(kind: dict[str, Any], dtype: Any = np.float64, **more: Any) -> SequenceTagger:
    """With biases that are not zero."""
    model = SequenceTagger(V, K, 5, 6, character_size=3, character_hidden=4, **kind, **more).to(dtype)
    for name, weight in model.named_parameters():
        if "bias" in name or "crf" in name:
            nn.init.uniform_(weight, -0.5, 0.5)
    return model


def spelled(kind: dict[str, Any], sentences: Any = SENTENCES) -> Any:
    return nlp.spell(sentences, LETTERS) if "characters" in kind else None


def emissions(model: SequenceTagger, n: int) -> Any:
    """(T, K) of one sentence: each layer over its own steps, and each word spelled by itself."""
    x = model.embedding.weight.numpy()[VOCABULARY.encode(SENTENCES[n])]  # (T, E)
    if model.spelling is not None:
        assert model.characters is not None
        rows = []
        for word in SENTENCES[n]:
            letters = model.characters.weight.numpy()[LETTERS.encode(list(word))][:, None]
            outputs = model.spelling(mg.Tensor(letters))[0].numpy()[:, 0]
            rows.append(np.concatenate([outputs[-1, :4], outputs[0, 4:]]))  # forward to the end, backward to the start
        x = np.concatenate([x, rows], axis=-1)
    outputs = model.layers(mg.Tensor(x[:, None]))[0].numpy()[:, 0]
    return outputs @ model.out.weight.numpy().T + model.out.bias.numpy()


def every_chain(model: SequenceTagger, e: Any) -> dict[tuple[int, ...], float]:
    """log p of each sequence of tags, by the formula."""
    paths = list(itertools.product(range(K), repeat=len(e)))
    s = np.array([sum(e[t, tag] for t, tag in enumerate(path)) for path in paths])
    crf = model.crf
    if crf is not None:
        start, between, end = (w.numpy().copy() for w in (crf.start, crf.transitions, crf.end))
        for scores, allowed in ((start, crf.first), (between, crf.constraints), (end, crf.last)):
            if allowed is not None:
                scores[~allowed.numpy()] = -np.inf
        s += [start[y[0]] + end[y[-1]] + sum(between[a, b] for a, b in itertools.pairwise(y)) for y in paths]
    top = s.max()
    return dict(zip(paths, s - top - np.log(np.exp(s - top).sum()), strict=True))


@every_kind
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_a_batch_is_each_sentence_by_itself(kind: Any, dtype: Any) -> None:
    model = made(kind, dtype).eval()
    found = model(WORDS, spelled(kind))
    assert found.shape == (4, 3, K)
    assert found.dtype == dtype
    paths = model.predict(WORDS, spelled(kind))
    losses, tolerance = [], 1e-12 if dtype is np.float64 else 2e-6
    for n, length in enumerate(WORDS.lengths):
        expected = emissions(model, n)
        np.testing.assert_allclose(found.numpy()[:length, n], expected, rtol=0, atol=tolerance)
        chains = every_chain(model, expected)
        assert tuple(paths[n]) == max(chains, key=lambda path: chains[path])
        losses.append(-chains[tuple(TAGS.values[:length, n])])
    # a CRF's is a mean over sentences, without one over words
    expected_loss = np.mean(losses) if model.crf is not None else np.sum(losses) / WORDS.lengths.sum()
    np.testing.assert_allclose(model.loss(WORDS, TAGS, spelled(kind)).item(), expected_loss, rtol=1e-5)


@every_kind
def test_gradients_of_a_batch_are_those_of_its_sentences(kind: Any) -> None:
    if "constraints" in kind:
        kind = {**kind, "constraints": np.ones((K, K), bool)}  # else the tags are impossible
    model = made(kind)
    model.loss(WORDS, TAGS, spelled(kind)).backward()
    together = [(w, None if w.grad is None else w.grad.numpy()) for w in model.parameters()]
    model.zero_grad()
    for n, length in enumerate(WORDS.lengths):
        words, tags = WORDS.values[:length, n : n + 1], TAGS.values[:length, n : n + 1]
        share = 1 / len(SENTENCES) if model.crf is not None else length / WORDS.lengths.sum()
        (model.loss(words, tags, spelled(kind, [SENTENCES[n]])) * share).backward()
    for w, g in together:
        np.testing.assert_allclose(w.grad.numpy(), g, rtol=1e-8, atol=1e-14)
        assert np.any(g != 0)


@every_kind
def test_what_stands_in_the_padding_has_no_influence(kind: Any, rng: Rng) -> None:
    if "constraints" in kind:
        kind = {**kind, "constraints": np.ones((K, K), bool)}
    model, found, real = made(kind), [], WORDS.mask
    for _ in range(2):
        words, tags, characters = WORDS.values.copy(), TAGS.values.copy(), spelled(kind)
        words[~real], tags[~real] = rng.integers(0, V, (~real).sum()), rng.integers(0, K, (~real).sum())
        if characters is not None:
            ids, lengths, places = (part.copy() for part in characters)
            beyond = np.arange(len(ids))[:, None] >= lengths
            ids[beyond] = rng.integers(0, len(LETTERS), beyond.sum())
            places[~real] = rng.integers(0, len(lengths), (~real).sum())
            characters = nlp.Spelled(ids, lengths, places)
        model.zero_grad()
        loss = model.loss((words, WORDS.lengths), (tags, TAGS.lengths), characters)
        loss.backward()
        paths = model.predict((words, WORDS.lengths), characters)
        found.append((loss.item(), paths, [w.grad.numpy() for w in model.parameters()]))
    assert found[0][:2] == found[1][:2]
    for one, other in zip(found[0][2], found[1][2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-16)


def test_predictions_keep_the_constraints() -> None:
    """Whatever the emissions are, phrases begin with B, and in IOBES they end."""
    for tags in (["O", "B-X", "I-X"], ["O", "B-X", "I-X", "E-X", "S-X"]):
        model = SequenceTagger(V, len(tags), 5, 6, constraints=nlp.tag_constraints(tags))
        model.out.weight.data[...] *= 30
        rng = np.random.default_rng(5)
        sentences = [rng.integers(0, V, n) for n in rng.integers(1, 9, 50)]
        scheme: Any = "IOB2" if len(tags) == 3 else "IOBES"
        seen = set()
        for path in model.predict(nlp.pad(sentences)):
            named = [tags[k] for k in path]
            assert nlp.convert_tags(named, scheme) == named
            seen.update(named)
        assert seen == set(tags)


def test_it_learns_names_that_it_has_never_seen_by_their_letters() -> None:
    """The words say nothing, all are unknown; those that end with "f" are names."""
    rng = np.random.default_rng(1)

    def sentences(count: int) -> list[list[str]]:
        return [["".join(rng.choice(list("abcdef"), 3)) for _ in range(rng.integers(1, 6))] for _ in range(count)]

    def batch(found: list[list[str]]) -> tuple[Any, Any, Any]:
        tags = nlp.pad([[int(word[-1] == "f") for word in one] for one in found])
        return nlp.pad([np.zeros(len(one), int) for one in found]), tags, nlp.spell(found, LETTERS)

    model = SequenceTagger(1, 2, 2, 8, characters=len(LETTERS), character_size=6, character_hidden=8)
    optimizer = nn.Adam(model.named_parameters(), lr=0.02, clip_norm=5)
    known = batch(sentences(40))
    for _ in range(80):
        optimizer.zero_grad()
        model.loss(*known).backward()
        optimizer.step()
    words, tags, characters = batch(sentences(30))
    gold = [tags.values[:n, k].tolist() for k, n in enumerate(tags.lengths)]
    found = model.predict(words, characters)
    assert nlp.accuracy(np.concatenate(found), np.concatenate(gold)) > 0.95


def test_dropout_is_for_training_only() -> None:
    kind = KINDS["characters"]
    model = made(kind, dropout=0.5)
    assert model(WORDS, SPELLED).tolist() != model(WORDS, SPELLED).tolist()
    expected = model.eval().predict(WORDS, SPELLED)
    model.train()
    assert all(model.predict(WORDS, SPELLED) == expected for _ in range(5))
    assert model.dropout.training


# ---- characters --------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True)
@given(st.lists(st.lists(st.text("abcdefg", max_size=5), max_size=5), min_size=1, max_size=4))
def test_spelling_and_back(sentences: list[list[str]]) -> None:
    ids, lengths, places = nlp.spell(sentences, LETTERS)
    assert places.shape == (max(map(len, sentences)), len(sentences))
    assert ids.shape == (lengths.max(), max(len({word for words in sentences for word in words}), 1))
    for n, sentence in enumerate(sentences):
        for t, word in enumerate(sentence):
            k = places[t, n]
            assert LETTERS.decode(ids[: lengths[k], k]) == [c if c in LETTERS else "<unk>" for c in word]


def test_what_cannot_be_spelled() -> None:
    with pytest.raises(KeyError, match="'z', is not in the vocabulary"):
        nlp.spell([["az"]], nlp.Vocabulary.of(["a"]))


# ---- files -------------------------------------------------------------------------------------------------------


@every_kind
def test_a_file_has_all_of_it(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = made(kind)
    model.save(path, words=VOCABULARY, characters=LETTERS, tags=nlp.Vocabulary.of(["O", "B-X", "I-X"]))
    functions = {"cell": kind["cell"]} if callable(kind.get("cell")) else {}
    for cls in (SequenceTagger, nlp.models.Model):
        again = cls.load(path, **functions)
        assert isinstance(again, SequenceTagger)
        assert not again.training
        np.testing.assert_array_equal(again(WORDS, spelled(kind)).numpy(), model.eval()(WORDS, spelled(kind)).numpy())
        assert again.predict(WORDS, spelled(kind)) == model.predict(WORDS, spelled(kind))
        assert again.texts == {"words": VOCABULARY, "characters": LETTERS, "tags": again.texts["tags"]}
        if model.crf is not None:
            assert again.crf is not None
            for name in ("constraints", "first", "last"):
                one, other = getattr(model.crf, name), getattr(again.crf, name)
                assert (one is None) == (other is None)
                assert one is None or one.tolist() == other.tolist()


def test_a_file_of_another_task_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    nlp.SequenceClassifier(V, 3, 5, 6).save(path)
    with pytest.raises(ValueError, match=r"model\.safetensors: .*nlp\.SequenceClassifier, not SequenceTagger"):
        SequenceTagger.load(path)


# ---- refused arguments -----------------------------------------------------------------------------------------------

ONE = [[1, 2]]


@pytest.mark.parametrize(
    ("kind", "call", "error", "message"),
    [
        ("crf", lambda m: m((np.ones((1, 2), int), [1, 2])), ValueError, "length 2 of sequence 1 is not between"),
        ("crf", lambda m: m([1, 2]), ValueError, r"words must be \(T, N\), not \(2,\)"),
        ("crf", lambda m: m([[0.5]]), TypeError, "words must be integers, not float64"),
        ("crf", lambda m: m([[V]]), IndexError, f"index {V} is out of range for {V} rows"),
        ("crf", lambda m: m.loss(ONE, [[0, K]]), IndexError, rf"index {K} .*tags must be in \[0, {K}\)"),
        ("softmax", lambda m: m.loss(ONE, [[0, K]]), IndexError, rf"index {K} .*targets must be in \[0, {K}\)"),
        ("crf", lambda m: m.loss(ONE, [[0]]), ValueError, r"tags are \(1, 1\), but there are words \(1, 2\)"),
        ("crf", lambda m: m.loss(ONE, [[0.5, 1]]), TypeError, "tags must be integers, not float64"),
        ("crf", lambda m: m.loss(WORDS, nlp.pad([[0] * 4, [0] * 2, [0] * 2])), ValueError,
         "sentence 1 has 1 words, but 2 tags"),
        ("crf", lambda m: m.loss(WORDS.values, TAGS), ValueError, "sentence 1 has 4 words, but 1 tags"),
        ("crf", lambda m: m(WORDS, SPELLED), ValueError, "made without characters, and they were given"),
        ("characters", lambda m: m(WORDS), ValueError, "made with characters; give them"),
        ("characters", lambda m: m(ONE, SPELLED), ValueError, r"words \(4, 3\), not \(1, 2\)"),
        ("characters", lambda m: m(WORDS, SPELLED._replace(ids=SPELLED.ids + 6)), IndexError, "out of range for 7"),
        ("characters", lambda m: m(WORDS, SPELLED._replace(places=SPELLED.places + 4)), IndexError, "out of range"),
        ("characters", lambda m: m(WORDS, SPELLED._replace(lengths=SPELLED.lengths[1:])), ValueError, "lengths"),
    ],
)  # fmt: skip
def test_batches_that_are_refused(kind: str, call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(made(KINDS[kind]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crf": False, "constraints": np.ones((K, K), bool)}, "constraints are the CRF's, and there is none"),
        ({"constraints": np.ones((2, 2), bool)}, r"boolean, \(3, 3\), not bool \(2, 2\)"),
        ({"constraints": np.ones((K, K))}, r"boolean, \(3, 3\), not float"),
        ({"constraints": (np.ones((K, K), bool), [True] * 2, [True] * 3)}, r"first must be boolean, \(3,\)"),
        ({"characters": 0}, "characters must be a positive integer, not 0"),
        ({"num_layers": 0}, "num_layers must be a positive integer, not 0"),
        ({"cell": "gruu"}, "cell must be lstm, gru, rnn, or a function"),
        ({"dropout": -0.1}, "a probability must be between 0 and 1, not -0.1"),
    ],
)
def test_models_that_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceTagger(V, K, **options)


@every_kind
def test_it_runs_everywhere(kind: Any, backend: Any) -> None:
    if "constraints" in kind:
        kind = {**kind, "constraints": np.ones((K, K), bool)}
    model = made(kind, np.float32).eval()
    expected, paths = model.loss(WORDS, TAGS, spelled(kind)).item(), model.predict(WORDS, spelled(kind))
    model.to(backend.device)
    words = nlp.Padded(backend.array(WORDS.values), WORDS.lengths)
    for tags in (TAGS, (backend.array(TAGS.values), TAGS.lengths)):
        loss = model.loss(words, tags, spelled(kind))
        np.testing.assert_allclose(loss.item(), expected, rtol=1e-4)
    loss.backward()
    assert all(np.all(np.isfinite(backend.numpy(w.grad))) for w in model.parameters())
    assert model.predict(words, spelled(kind)) == paths
