"""Files of models: those that lie about sizes, and what was changed since a model was made."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlp
import nn
from nlp.models import Model

MAKE: dict[str, Any] = {
    "language": lambda **o: nlp.LanguageModel(20, 6, 8, num_layers=2, **o),
    "language, tied, thinned": lambda **o: nlp.LanguageModel(20, 6, 8, tied=True, weight_drop=0.1, cell="gru", **o),
    "language, variational": lambda **o: nlp.LanguageModel(20, 6, 8, 2, variational=True, dropout=0.1, **o),
    "classifier": lambda **o: nlp.SequenceClassifier(20, 3, 6, 8, 2, mlp=[5], **o),
    "tagger": lambda **o: nlp.SequenceTagger(20, 3, 6, 8, characters=9, **o),
    "captioner": lambda **o: nlp.Captioner(7, 20, 6, 8, bos_id=1, eos_id=2, **o),
    "seq2seq": lambda **o: nlp.Seq2Seq(30, 20, 6, 8, bos_id=1, eos_id=2, **o),
    "seq2seq, fed": lambda **o: nlp.Seq2Seq(30, 20, 6, 8, 2, 2, bos_id=1, eos_id=2, attention="general",
                                            input_feeding=True, tied="output", **o),
    "seq2seq, context": lambda **o: nlp.Seq2Seq(30, 20, 6, 8, bos_id=1, eos_id=2, attention=None, context=True, **o),
}  # fmt: skip
SIZES = ("vocab_size", "embedding_size", "hidden_size", "num_layers", "num_classes", "num_tags", "characters",
         "character_size", "character_hidden", "feature_size", "source_size", "target_size", "encoder_layers",
         "decoder_layers", "readout_size")  # fmt: skip
each_kind = pytest.mark.parametrize("kind", MAKE)


def rewritten(source: Path, target: Path, edit: Any) -> Path:
    """A model's file with another text about the model."""
    raw = source.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    head = json.loads(raw[8 : 8 + n])
    head["__metadata__"]["nlp.model"] = edit(head["__metadata__"]["nlp.model"])
    text = json.dumps(head).encode()
    target.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + n :])
    return target


@each_kind
def test_sizes_that_the_tensors_contradict_take_no_memory(kind: str, tmp_path: Path) -> None:
    model = MAKE[kind]()
    model.save(tmp_path / "m")
    known = [name for name in SIZES if name in model.options]
    assert len(known) >= 4
    for name in known:
        for size in (3, 3000, 10**12, 10**400, -1, 0, 2.5, "many", [1]):
            if size == model.options[name] or (name == "readout_size" and size == 0):  # as good as None
                continue

            def lie(text: str, name: str = name, size: Any = size) -> str:
                content = json.loads(text)
                content["options"][name] = size
                return json.dumps(content)

            path = rewritten(tmp_path / "m", tmp_path / "x", lie)
            tracemalloc.start()
            try:
                with pytest.raises(ValueError, match="x: "):
                    Model.load(path)
                assert tracemalloc.get_traced_memory()[1] < 2_000_000, (name, size)
            finally:
                tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000,
     "[" * 900 + "]" * 900, '{"format": ' + "9" * 5000 + "}", '{"format": NaN}', "[]", "3", ""],
    ids=lambda text: str(len(text)),
)  # fmt: skip
def test_texts_that_are_no_description_of_a_model(text: str, tmp_path: Path) -> None:
    nlp.LanguageModel(5, 2, 2).save(tmp_path / "m")
    with pytest.raises(ValueError, match="x"):
        nlp.LanguageModel.load(rewritten(tmp_path / "m", tmp_path / "x", lambda _: text))
    (tmp_path / "v.json").write_text(text)
    for load in (nlp.Vocabulary.load, nlp.Tokenizer.load, nlp.BPETokenizer.load):
        with pytest.raises(ValueError, match=r"v\.json"):
            load(tmp_path / "v.json")


@each_kind
def test_changes_of_weights_come_back(kind: str, tmp_path: Path) -> None:
    model = MAKE[kind]()
    first = next(iter(model.named_parameters()))[1]
    first.requires_grad = False
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.25
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert not next(iter(again.named_parameters()))[1].requires_grad
    assert sum(not weight.requires_grad for weight in again.parameters()) == 1
    assert {m.p for m in again.modules() if isinstance(m, nn.Dropout)} <= {0.25}
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()


def test_a_larger_embedding_comes_back_with_its_padding(tmp_path: Path, rng: Any) -> None:
    vectors = rng.normal(size=(33, 6)).astype("f")
    for name in ("classifier", "tagger", "seq2seq"):
        model = MAKE[name]()
        model.embedding = nn.Embedding.from_pretrained(vectors, padding_idx=2, sparse=True)
        model.save(tmp_path / "m")
        again = Model.load(tmp_path / "m")
        e = again.embedding
        assert e.weight.shape == (33, 6)
        assert (e.padding_idx, e.sparse, e.weight.requires_grad) == (2, True, False)
        np.testing.assert_array_equal(e.weight.data, vectors)


def test_the_end_of_a_text_and_the_pooling_may_be_set_later(tmp_path: Path) -> None:
    model, other = nlp.LanguageModel(20, 4, 4), nlp.SequenceClassifier(20, 2, 4, 4)
    model.eos_id, other.pooling = 7, "max"
    model.save(tmp_path / "m")
    other.save(tmp_path / "o")
    assert nlp.LanguageModel.load(tmp_path / "m").eos_id == 7
    assert nlp.SequenceClassifier.load(tmp_path / "o").pooling == "max"


def replaced_layers(m: Any) -> None:
    m.layers = nn.GRU(6, 8, 2)


def another_output(m: Any) -> None:
    m.out = nn.Linear(8, 21)


def one_more(m: Any) -> None:
    m.more = nn.Linear(8, 21)


def another_activation(m: Any) -> None:
    m.out = nn.Sequential(nn.Linear(8, 20), nn.ReLU())


def wider_inputs_alone(m: Any) -> None:
    m.embedding = nn.Embedding(25, 6)


@pytest.mark.parametrize("edit", [replaced_layers, another_output, one_more, another_activation, wider_inputs_alone])
def test_changes_that_a_file_cannot_tell_are_refused(edit: Any, tmp_path: Path) -> None:
    model = MAKE["language"]()
    edit(model)
    with pytest.raises(ValueError, match=r"LanguageModel.save: .* was .* when the model was made"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("changes", [{"padding": {"embedding": 99}}, {"padding": {"layers": 0}}, {"sparse": ["out"]},
    {"frozen": ["weight"]}, {"rates": {"dropout.p": 2}}, {"rates": {"dropout.p": "x"}}, {"rates": {"out.bias": 0}},
    {"rates": {"nothing.p": 0}}, {"frozen": [1]}, []])  # fmt: skip
def test_changes_that_are_none_are_refused(changes: Any, tmp_path: Path) -> None:
    MAKE["language"]().save(tmp_path / "m")

    def lie(text: str) -> str:
        content = json.loads(text)
        content["changes"] = content["changes"] | changes if changes else changes
        return json.dumps(content)

    with pytest.raises(ValueError, match=r"x, changes|'changes'"):
        Model.load(rewritten(tmp_path / "m", tmp_path / "x", lie))


def test_tied_weights_stay_tied(tmp_path: Path, rng: Any) -> None:
    vectors = rng.normal(size=(20, 6)).astype("f")
    language = nlp.LanguageModel(20, 6, 6, tied=True)
    both = nlp.Seq2Seq(20, 20, 6, 8, bos_id=1, eos_id=2, tied="all")
    language.embedding = nn.Embedding.from_pretrained(vectors, freeze=False)
    both.embedding = nn.Embedding.from_pretrained(vectors, freeze=False)
    assert language.out.weight is language.embedding.weight
    assert both.decoder.out.weight is both.decoder.embedding.weight is both.embedding.weight
    for model in (language, both):
        model.save(tmp_path / "m")
        again = type(model).load(tmp_path / "m")
        for name, weight in again.state_dict().items():
            np.testing.assert_array_equal(weight.data, model.state_dict()[name].data)
    for model in (language, both, both.decoder):
        with pytest.raises(ValueError, match="the output map is tied to the embedding"):
            model.embedding = nn.Embedding(21, 6)
    language.out.weight = nn.Parameter(vectors + 1)
    with pytest.raises(ValueError, match=r"the shape of out.weight was \(20, 6\), the same tensor as embedding.weight"):
        language.save(tmp_path / "m")


def test_constraints_have_one_form(rng: Any) -> None:
    given = nlp.tag_constraints(["O", "B-X", "I-X"])
    crf, tagger = nn.CRF(3, constraints=given), nlp.SequenceTagger(9, 3, 4, 4, constraints=given)
    apart = nn.CRF(3, constraints=given[0], first=given[1], last=given[2])
    matrix = nlp.SequenceTagger(9, 3, 4, 4, constraints=given[0]).crf
    for one in (crf, tagger.crf):
        for name in ("constraints", "first", "last"):
            np.testing.assert_array_equal(getattr(one, name).data, getattr(apart, name).data)
    assert matrix.first is None
    assert np.array_equal(matrix.constraints.data, given[0])
    with pytest.raises(ValueError, match="CRF: constraints is a tuple that has `first` and `last` already"):
        nn.CRF(3, constraints=given, first=given[1])


def test_many_special_tokens(tmp_path: Path) -> None:
    tokens = [f"<{n}>" for n in range(20_000)]
    vocabulary = nlp.Vocabulary.of(["a"], specials=tokens)
    vocabulary.save(tmp_path / "v.json")
    assert nlp.Vocabulary.load(tmp_path / "v.json") == vocabulary
    t = nlp.CharTokenizer(specials=tokens).fit(["ab"])
    t.save(tmp_path / "t.json")
    assert nlp.Tokenizer.load(tmp_path / "t.json").encode("ab").tolist() == t.encode("ab").tolist()


def test_an_embedding_of_another_precision_comes_back_as_it_was(tmp_path: Path, rng: Any) -> None:
    model = MAKE["classifier"]()
    model.embedding = nn.Embedding.from_pretrained(rng.normal(size=(20, 6)))
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert {name: w.dtype for name, w in again.named_parameters()} == {n: w.dtype for n, w in model.named_parameters()}
    assert again.embedding.weight.dtype == np.float64
    np.testing.assert_array_equal(again.embedding.weight.data, model.embedding.weight.data)


def test_ids_that_are_none_of_the_vocabulary() -> None:
    with pytest.raises(ValueError, match="LanguageModel: eos_id must be one of the 20 ids from 0 to 19, not 20"):
        nlp.LanguageModel(20, 6, 8, eos_id=20)
    with pytest.raises(ValueError, match="Captioner: bos_id must be"):
        nlp.Captioner(7, 20, 6, 8, bos_id=-1, eos_id=2)
    with pytest.raises(ValueError, match="Seq2Seq: eos_id must be"):
        nlp.Seq2Seq(30, 20, 6, 8, bos_id=1, eos_id=25)
