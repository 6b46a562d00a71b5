"""The classifier: against its formula, sentence by sentence; padding; its files; refused arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nlp
import nn
from nlp import SequenceClassifier

Rng = np.random.Generator
V, C = 11, 3
SENTENCES = [[4, 5, 6, 3], [7], [9, 8]]
WORDS, LABELS = nlp.pad(SENTENCES, 10), np.array([2, 0, 1])

KINDS: dict[str, dict[str, Any]] = {
    "last": {},
    "max": {"pooling": "max"},
    "mean, deep gru": {"pooling": "mean", "cell": "gru", "num_layers": 2},
    "one direction, mlp": {"bidirectional": False, "mlp": [7, 4]},
    "last, deep rnn": {"cell": "rnn", "num_layers": 3, "mlp": (5,)},
    "own cell": {"cell": lambda i, h: nn.LSTMCell(i, h, coupled=True), "num_layers": 2},
    "own cell, one direction, max": {
        "cell": lambda i, h: nn.ElmanCell(i, h, h), "bidirectional": False, "pooling": "max",
    },
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def made(kind: dict[str, Any], dtype: Any = np.float64, **more: Any) -> SequenceClassifier:
    """With biases that are not zero."""
    model = SequenceClassifier(V, C, 5, 6, **kind, **more).to(dtype)
    for name, weight in model.named_parameters():
        if "bias" in name:
            nn.init.uniform_(weight, -0.5, 0.5)
    return model


def by_hand(model: SequenceClassifier, sentence: list[int], kind: dict[str, Any]) -> Any:
    """The logits (C,) of one sentence: each layer over its own steps, and the maps one after the other."""
    x = model.embedding.weight.numpy()[sentence][:, None]  # (T, 1, E)
    outputs = model.layers(mg.Tensor(x))[0].numpy()[:, 0]  # (T, K)
    pooling, H = kind.get("pooling", "last"), 6
    if pooling == "max":
        h = outputs.max(axis=0)
    elif pooling == "mean":
        h = outputs.mean(axis=0)
    else:  # a backward direction ends at the first step
        h = np.concatenate([outputs[-1, :H], outputs[0, H:]])
    maps = [part for part in model.mlp if isinstance(part, nn.Linear)]
    for k, part in enumerate(maps):
        h = part.weight.numpy() @ (np.maximum(h, 0) if k else h) + part.bias.numpy()
    return h


@every_kind
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_a_batch_is_each_sentence_by_itself(kind: Any, dtype: Any) -> None:
    model = made(kind, dtype=dtype).eval()
    logits = model(WORDS)
    assert logits.dtype == dtype
    expected = np.stack([by_hand(model, sentence, kind) for sentence in SENTENCES])
    tolerance = 1e-12 if dtype is np.float64 else 2e-6
    np.testing.assert_allclose(logits.numpy(), expected, rtol=0, atol=tolerance)
    log_p = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
    np.testing.assert_allclose(model.loss(WORDS, LABELS).item(), -log_p[np.arange(3), LABELS].mean(), rtol=1e-5)
    classes, p = model.predict(WORDS)
    np.testing.assert_allclose(p, np.exp(log_p), rtol=1e-5)
    np.testing.assert_array_equal(classes, p.argmax(axis=-1))
    alone = np.concatenate([model(np.array(s)[:, None]).numpy() for s in SENTENCES])  # ids alone: all are full
    np.testing.assert_allclose(alone, expected, rtol=0, atol=tolerance)


@every_kind
def test_gradients_of_a_batch_are_those_of_its_sentences(kind: Any) -> None:
    model = made(kind)
    model.loss(WORDS, LABELS).backward()
    together = [w.grad.numpy() for w in model.parameters()]
    model.zero_grad()
    for n, sentence in enumerate(SENTENCES):
        (model.loss(np.array(sentence)[:, None], LABELS[n : n + 1]) / len(SENTENCES)).backward()
    for (name, w), g in zip(model.named_parameters(), together, strict=True):
        assert np.any(g != 0), name
        np.testing.assert_allclose(w.grad.numpy(), g, rtol=1e-9, atol=1e-14, err_msg=name)


@every_kind
def test_what_stands_in_the_padding_has_no_influence(kind: Any, rng: Rng) -> None:
    model, found = made(kind), []
    for _ in range(2):
        ids = WORDS.values.copy()
        ids[~WORDS.mask] = rng.integers(0, V, (~WORDS.mask).sum())
        model.zero_grad()
        loss = model.loss((ids, WORDS.lengths), LABELS)
        loss.backward()
        found.append((loss.item(), [w.grad.numpy() for w in model.parameters()]))
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-16)


def test_a_maximum_below_zero_is_not_that_of_the_padding() -> None:
    """Outputs where there is no step are zeros, which must not win."""
    model = made({"pooling": "max"})
    for name, w in model.layers.named_parameters():
        w.data[...] = 0
        if name.startswith("bias_ih"):
            w.data[...] = np.repeat([4, -4, -2, 4], 6)  # i, f, g, o: gates in and out open, the candidate negative
    assert np.all(model.encode(WORDS).numpy() < -0.5)


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
def test_it_learns_what_a_bag_of_words_cannot(pooling: Any) -> None:
    """The class is the order of the words 1 and 2; every sentence has both, among others."""
    rng = np.random.default_rng(3)
    sentences = [rng.permutation([1, 2, *rng.integers(3, V, rng.integers(1, 6))]) for _ in range(60)]
    labels = np.array([int(list(s).index(1) < list(s).index(2)) for s in sentences])
    model = SequenceClassifier(V, 2, 8, 12, pooling=pooling, mlp=[8], dropout=0.1)
    optimizer = nn.Adam(model.named_parameters(), lr=0.02, clip_norm=5)
    for _ in range(80):
        optimizer.zero_grad()
        model.loss(nlp.pad(sentences), labels).backward()
        optimizer.step()
    assert nlp.accuracy(model.predict(nlp.pad(sentences))[0], labels) == 1


def test_dropout_is_for_training_only() -> None:
    model = made({"mlp": [7]}, dropout=0.5)
    assert model(WORDS).tolist() != model(WORDS).tolist()
    model.embedding.train(False)  # a mode of a part, which predicting leaves as it is
    first, second = model.predict(WORDS)[1], model.predict(WORDS)[1]
    np.testing.assert_array_equal(first, second)
    assert model.training
    assert model.dropout.training
    assert not model.embedding.training
    np.testing.assert_array_equal(mg.softmax(model.eval()(WORDS)).numpy(), first)


def test_given_vectors(rng: Rng) -> None:
    vectors = rng.standard_normal((V, 5))
    model = made({})
    model.embedding = nn.Embedding.from_pretrained(vectors)
    model.loss(WORDS, LABELS).backward()
    assert model.embedding.weight.grad is None
    np.testing.assert_array_equal(model.embedding.weight.numpy(), vectors)


# ---- files -------------------------------------------------------------------------------------------------------


@every_kind
def test_a_file_has_all_of_it(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = made(kind)
    words = nlp.WordTokenizer().fit(["good bad film"])
    model.save(path, words=words, labels=nlp.Vocabulary.of(["bad", "good", "so-so"]))
    functions = {"cell": kind["cell"]} if callable(kind.get("cell")) else {}
    for cls in (SequenceClassifier, nlp.models.Model):
        again = cls.load(path, **functions)
        assert isinstance(again, SequenceClassifier)
        assert not again.training
        np.testing.assert_array_equal(again(WORDS).numpy(), model.eval()(WORDS).numpy())
        assert again.texts["words"].encode("bad film").tolist() == words.encode("bad film").tolist()
        assert again.texts["labels"].tokens == ("bad", "good", "so-so")


def test_a_file_of_another_task_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    nlp.SequenceTagger(V, 3, 5, 6).save(path)
    with pytest.raises(ValueError, match=r"model\.safetensors: .*nlp\.SequenceTagger, not SequenceClassifier"):
        SequenceClassifier.load(path)
    nn.save(made({}), path)
    with pytest.raises(ValueError, match=r"model\.safetensors holds weights only"):
        SequenceClassifier.load(path)


# ---- refused arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "labels", "error", "message"),
    [
        ((np.ones((2, 2), int), [2, -1]), [0, 1], ValueError, "length -1 of sequence 1 is not between 0 and T = 2"),
        (([[1, 2]], [1]), [0, 1], ValueError, r"2 sequences need lengths of shape \(2,\), got \(1,\)"),
        (([[1, 2]], [1.0, 1.0]), [0, 1], TypeError, "lengths must be integers, got float64"),
        ([1, 2], [0, 1], ValueError, r"SequenceClassifier: words must be \(T, N\), not \(2,\)"),
        ([[0.5, 1]], [0, 1], TypeError, "SequenceClassifier: words must be integers, not float64"),
        ([[1, V]], [0, 1], IndexError, f"index {V} is out of range for {V} rows"),
        ([[1, -1]], [0, 1], IndexError, "index -1 is out of range"),
        ([[1, 2]], [0, C], IndexError, rf"index {C} .*targets must be in \[0, {C}\)"),
        ([[1, 2]], [0], ValueError, r"targets must be of shape \(2,\), not \(1,\)"),
        ([[1, 2]], [0.0, 1.0], TypeError, r"targets of shape \(2,\) must be integers, not float64"),
    ],
)
def test_batches_that_are_refused(words: Any, labels: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        made({}).loss(words, labels)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pooling": "min"}, ValueError, "pooling is one of last, max, mean, not 'min'"),
        ({"cell": "gruu"}, ValueError, "cell must be lstm, gru, rnn, or a function"),
        ({"num_layers": 0}, ValueError, "num_layers must be a positive integer, not 0"),
        ({"mlp": [4, 0]}, ValueError, r"mlp\[1\] must be a positive integer, not 0"),
        ({"dropout": 1.5}, ValueError, "a probability must be between 0 and 1, not 1.5"),
    ],
)
def test_models_that_are_refused(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        SequenceClassifier(V, C, **options)
    for sizes in ((0, C), (V, 0), (V, True)):
        with pytest.raises(ValueError, match="must be a positive integer"):
            SequenceClassifier(*sizes)


@every_kind
def test_it_runs_everywhere(kind: Any, backend: Any) -> None:
    model = made(kind, dtype=np.float32).eval()
    expected, loss = model(WORDS).numpy(), model.loss(WORDS, LABELS).item()
    model.to(backend.device)
    np.testing.assert_allclose(backend.numpy(model(WORDS)), expected, atol=1e-5)
    for labels in (LABELS, backend.array(LABELS)):
        found = model.loss((backend.array(WORDS.values), WORDS.lengths), labels)
        np.testing.assert_allclose(found.item(), loss, rtol=1e-4)
    found.backward()
    assert all(np.all(np.isfinite(backend.numpy(w.grad))) for w in model.parameters())
    assert isinstance(model.predict(WORDS)[0], np.ndarray)
