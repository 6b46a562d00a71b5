"""Empty texts: models read them, and score and decode nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nlp
from nlp import SequenceClassifier, SequenceTagger


def test_padding_of_empty_texts() -> None:
    assert nlp.pad([[], []]).values.shape == (0, 2)
    values, lengths = nlp.pad([[], np.ones((2, 3), np.float32), []])
    assert values.shape == (2, 3, 3)
    assert values.dtype == np.float32
    assert lengths.tolist() == [0, 2, 0]
    tokenizer = nlp.WordTokenizer().fit(["a good film"])
    assert nlp.pad([tokenizer.encode("a good film"), tokenizer.encode("")]).lengths.tolist() == [3, 0]


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
def test_an_empty_text_is_classified_by_the_bias_alone(pooling: Any) -> None:
    model = SequenceClassifier(9, 2, 4, 4, pooling=pooling)
    words = nlp.pad([[4, 5, 6], [], [7]])
    logits = model(words).numpy()
    np.testing.assert_allclose(logits[1], model.mlp[-1].bias.numpy(), rtol=1e-6)
    np.testing.assert_allclose(logits[2], model(nlp.pad([[7]])).numpy()[0], rtol=1e-5)
    model.loss(words, [0, 1, 1]).backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())
    for shape in ((0, 2), (3, 0)):
        ids = np.zeros(shape, int)
        model.loss(ids, np.zeros(shape[1], int)).backward()
        assert model.predict(ids)[0].shape == shape[1:]
    np.testing.assert_allclose(model(np.zeros((0, 2), int)).numpy()[1], logits[1], rtol=1e-6)


@pytest.mark.parametrize("crf", [True, False])
def test_empty_sentences_are_tagged_with_nothing(crf: bool) -> None:
    letters = nlp.Vocabulary.of(list("abc"))
    model = SequenceTagger(9, 3, 4, 4, crf=crf, characters=len(letters))
    words, tags, spelled = nlp.pad([[4, 5], []]), nlp.pad([[1, 0], []]), nlp.spell([["ab", ""], []], letters)
    loss = model.loss(words, tags, spelled)
    loss.backward()
    assert all(p.grad is None or np.isfinite(p.grad.numpy()).all() for p in model.parameters())
    alone = model.loss(nlp.pad([[4, 5]]), nlp.pad([[1, 0]]), nlp.spell([["ab", ""]], letters))
    np.testing.assert_allclose(float(loss) * (2 if crf else 1), float(alone), rtol=1e-5)
    assert [len(found) for found in model.predict(words, spelled)] == [2, 0]
    nothing = nlp.pad([[], []])
    model.loss(nothing, nothing, nlp.spell([[], []], letters)).backward()
    assert model.predict(nothing, nlp.spell([[], []], letters)) == [[], []]
    assert nlp.spell([], letters).places.shape == (0, 0)


@pytest.mark.parametrize("attention", ["additive", "dot", "general", "concat", None])
def test_empty_sources_are_translated(attention: Any) -> None:
    model = nlp.Seq2Seq(
        9, 9, 4, 8, bos_id=1, eos_id=2, attention=attention, context=attention is None, bidirectional=attention != "dot"
    )  # fmt: skip
    source, target = nlp.pad([[4, 5], []]), nlp.pad([[1, 3, 2], [1, 2]])
    model.loss(source, target).backward()
    assert all(p.grad is None or np.isfinite(p.grad.numpy()).all() for p in model.parameters())
    model.eval()
    for decode in (nlp.greedy, nlp.sample, nlp.beam_search):
        for ids, count in ((source, 2), (nlp.pad([[], []]), 2), (np.zeros((3, 0), int), 0)):
            assert len(decode(model, model.start(ids), max_length=3)) == count
    best = [nlp.beam_search(model, model.start(s), max_length=3)[-1] for s in (source, nlp.pad([[]]))]
    assert best[0][0].log_p == pytest.approx(best[1][0].log_p, rel=1e-5)


def test_a_text_without_a_second_token_has_the_probability_one() -> None:
    model = nlp.LanguageModel(9, 4, 4)
    np.testing.assert_array_equal(model.log_probability(nlp.pad([[4, 5, 6], [7], []])).numpy()[1:], [0, 0])
    assert model.log_probability(np.zeros((0, 2), int)).numpy().tolist() == [0, 0]
    assert model.loss(np.zeros((0, 2), int), np.zeros((0, 2), int))[0].item() == 0
