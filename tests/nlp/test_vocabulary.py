"""Vocabularies: the kept tokens and their order, ids and tokens, files and hostile files, one-hot vectors."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from nlp import Vocabulary, one_hot

steady = settings(deadline=None, derandomize=True, max_examples=100)
anything = st.text(st.characters(codec=None, exclude_categories=()))  # surrogates included
words = st.one_of(st.sampled_from(["a", "b", "c", "ab", "\ud83d\ude00", "\U0001f600", "<unk>"]), anything)
corpora = st.lists(st.lists(words, max_size=12), max_size=8)


# ---- fitting -----------------------------------------------------------------------------------------------------


def test_order_and_counts() -> None:
    v = Vocabulary(pad="<pad>", unk="<unk>", specials=["<cls>"]).fit([["b", "a", "a"], [], ["c", "b"]])
    assert v.tokens == ("<pad>", "<unk>", "<cls>", "a", "b", "c")
    assert v.counts.tolist() == [0, 0, 0, 2, 2, 1]
    assert (v.pad_id, v.unk_id, v.bos_id, v.eos_id, v.total) == (0, 1, None, None, 5)
    assert len(v) == 6
    assert list(v) == list(v.tokens)
    assert "b" in v
    assert "z" not in v
    assert (v["c"], v["z"]) == (5, 1)
    with pytest.raises(ValueError, match="read-only"):
        v.counts[0] = 1


def test_special_tokens_in_the_corpus_are_counted_as_such() -> None:
    """The text of PTB contains <unk>."""
    v = Vocabulary(unk="<unk>", min_freq=2).fit([["<unk>", "a", "a", "rare"]])
    assert v.tokens == ("<unk>", "a")
    assert v.counts.tolist() == [2, 2]


@steady
@given(corpora, st.integers(1, 3), st.none() | st.integers(3, 9), st.booleans())
def test_against_counting_by_hand(corpus: Any, min_freq: int, max_size: int | None, unk: bool) -> None:
    specials = {"pad": "<pad>"} | ({"unk": "<unk>"} if unk else {})
    counts = Counter(token for sentence in corpus for token in sentence)
    kept = [t for t in counts if counts[t] >= min_freq and t not in specials.values()]
    v = Vocabulary(min_freq=min_freq, max_size=max_size, **specials)
    if not kept:
        with pytest.raises(ValueError, match=r"the corpus is empty|no token occurs"):
            v.fit(corpus)
        return
    assert v.fit(iter(corpus)) is v
    rest = v.tokens[len(specials) :]
    assert set(rest) <= set(kept)
    assert len(v) == min(len(specials) + len(kept), max_size or 10**6)
    ordered = [(-counts[t], t) for t in rest]
    assert ordered == sorted(ordered)
    left = [counts[t] for t in kept if t not in v]
    assert not left or max(left) <= min(counts[t] for t in rest)
    if unk:  # counts say how often each id comes up
        ids = np.concatenate([v.encode(sentence) for sentence in corpus])
        assert np.bincount(ids, minlength=len(v)).tolist() == v.counts.tolist()
        assert v.total == ids.size == v.counts.sum()
    reversed_corpus = [sentence[::-1] for sentence in corpus[::-1]]
    assert Vocabulary(min_freq=min_freq, max_size=max_size, **specials).fit(reversed_corpus) == v


def test_fitting_counts() -> None:
    assert Vocabulary(min_freq=2).fit_counts({"a": 2, "b": 1}) == Vocabulary(min_freq=2).fit([["a", "b", "a"]])


def test_it_is_frozen() -> None:
    v = Vocabulary().fit([["a"]])
    with pytest.raises(RuntimeError, match="frozen"):
        v.fit([["b"]])
    assert v.tokens == ("a",)


@pytest.mark.parametrize("use", [len, list, lambda v: v["a"], lambda v: v.encode(["a"]), lambda v: v.decode([0]),
                                 lambda v: v.counts, lambda v: v.pad_id, lambda v: v.save("x")])  # fmt: skip
def test_before_fit(use: Any) -> None:
    with pytest.raises(RuntimeError, match="before `fit`"):
        use(Vocabulary(pad="<pad>", unk="<unk>"))
    assert repr(Vocabulary()) == "Vocabulary(not fitted)"


@pytest.mark.parametrize(
    ("corpus", "error", "message"),
    [
        ("a b", TypeError, "sentences must be a list"),
        ([["a"], "b c"], TypeError, r"sentence 1 is the string 'b c'.*such as \['b', 'c'\]"),
        ([["a"], 7], TypeError, "sentence 1 is not a list of tokens: 'int' object is not iterable"),
        ([[["a"]]], TypeError, "sentence 0 is not a list of tokens: unhashable type"),
        ([["a", 7]], TypeError, "7 is of type int; tokens are strings"),
        ([], ValueError, "the corpus is empty"),
        ([[], []], ValueError, "the corpus is empty"),
        ([["<unk>"]], ValueError, "the corpus is empty"),
        ([["a", "b", "b"]], ValueError, "no token occurs min_freq=3 times; the most frequent of 2 is 'b', 2 times"),
    ],
)
def test_bad_corpora(corpus: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Vocabulary(unk="<unk>", min_freq=3).fit(corpus)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_freq": 0}, ValueError, "min_freq must be an integer of at least 1, not 0"),
        ({"max_size": 2.0}, ValueError, "max_size must be an integer"),
        ({"min_freq": True}, ValueError, "min_freq must be an integer"),
        ({"max_size": 1, "unk": "<unk>"}, ValueError, "max_size=1 leaves no place beside 1 specials"),
        ({"specials": "<unk>"}, TypeError, "specials must be a list"),
        ({"specials": ["a"], "pad": "a"}, ValueError, "'a' is given 2 times"),
        ({"unk": ""}, ValueError, "cannot be a special token"),
        ({"unk": "\ud800"}, ValueError, "not valid Unicode"),
        ({"unk": 0}, TypeError, "special token 0 is of type int"),
    ],
)
def test_bad_options(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Vocabulary(**options)


# ---- a given list ------------------------------------------------------------------------------------------------


def test_of_a_given_list() -> None:
    v = Vocabulary.of(["b", "<unk>", "a"], pad="<pad>", unk="<unk>")
    assert v.tokens == ("<pad>", "b", "<unk>", "a")
    assert v.unk_id == 2
    assert v.counts.tolist() == [0] * 4
    with pytest.raises(ValueError, match="'a' is there 2 times"):
        Vocabulary.of(["a", "b", "a"])
    with pytest.raises(TypeError, match="not the string 'abc'"):
        Vocabulary.of("abc")
    with pytest.raises(TypeError, match="3 is of type int"):
        Vocabulary.of(["a", 3])  # type: ignore[list-item]


# ---- ids and tokens ----------------------------------------------------------------------------------------------


def test_encode_and_decode() -> None:
    v = Vocabulary.of(["a", "b"], unk="?")
    ids = v.encode(token for token in ["b", "x", "a"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [2, 0, 1]
    assert v.decode(ids) == ["b", "?", "a"]
    assert v.encode([]).dtype == np.int64
    assert v.decode([]) == v.decode(v.encode([])) == []
    assert v.decode(mg.tensor([1, 2])) == ["a", "b"]


def test_unknown_tokens_and_ids() -> None:
    v = Vocabulary.of(["a", "b"])
    with pytest.raises(KeyError, match="token 1, 'x', is not in the vocabulary, which has no unk"):
        v.encode(["a", "x"])
    with pytest.raises(KeyError, match="'x' is not in the vocabulary"):
        v["x"]
    with pytest.raises(TypeError, match="not the string 'a b'"):
        v.encode("a b")
    with pytest.raises(ValueError, match="id 2 is not one of the 2 ids from 0 to 1"):
        v.decode([0, 2])
    with pytest.raises(ValueError, match="id -1"):
        v.decode([-1])
    with pytest.raises(ValueError, match=r"1 axis, got shape \(1, 1\)"):
        v.decode([[0]])
    with pytest.raises(TypeError, match="integers, not float64"):
        v.decode([0.0])


def test_repr() -> None:
    assert repr(Vocabulary.of(["a", "b"])) == "Vocabulary(2 tokens: 'a', 'b')"
    assert repr(Vocabulary.of(map(chr, range(97, 107)))) == "Vocabulary(10 tokens: 'a', 'b', 'c', 'd', 'e', 'f', ...)"


# ---- files -------------------------------------------------------------------------------------------------------


@steady
@given(st.lists(words, min_size=1, max_size=30), st.booleans())
def test_files(tokens: list[str], unk: bool) -> None:
    v = Vocabulary(pad="<pad>", unk="<unk>" if unk else None, specials=["é\n"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vocabulary.json")
        try:
            v.fit([tokens])
        except ValueError:  # nothing but special tokens
            with pytest.raises(RuntimeError, match="before `fit`"):
                v.save(path)
            assert os.listdir(folder) == []
            return
        v.save(path)
        back = Vocabulary.load(path)
        assert back == v
        known = [token for token in tokens if token in v]
        assert back.encode(known).tolist() == v.encode(known).tolist()
        first = Path(path).read_bytes()
        back.save(path)
        assert Path(path).read_bytes() == first
        assert os.listdir(folder) == ["vocabulary.json"]


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": "nlp.Other"}, "format is 'nlp.Other', not 'nlp.Vocabulary'"),
    "version": ({"version": 2}, "its version is 2; this program reads version 1"),
    "missing": ({"tokens": ...}, "the field 'tokens' is missing"),
    "kind": ({"tokens": {}}, "'tokens' is an object, where a list is expected"),
    "token": ({"tokens": ["<unk>", "a", 1.5]}, "item 2 of 'tokens' is neither a string nor a list of code points"),
    "code point": ({"tokens": ["<unk>", "a", [2**21]]}, "item 2 of 'tokens'"),
    "twice": ({"tokens": ["<unk>", "a", "a"]}, "'a' is there twice"),
    "fewer counts": ({"counts": [0, 1]}, "there are 3 tokens, but 2 counts"),
    "boolean count": ({"counts": [0, 1, True]}, "item 2 of 'counts' is true or false, where an integer"),
    "negative": ({"counts": [0, 1, -1]}, "counts are negative"),
    "huge": ({"counts": [0, 1, 2**64], "total": 2**65}, "too large"),
    "too many": ({"total": 1}, "add up to more than the total"),
    "min_freq": ({"min_freq": 0}, "min_freq must be"),
    "special": ({"bos": "<bos>"}, "the special token '<bos>' is not among the tokens"),
    "role": ({"pad": 3}, "'pad' is an integer, where a string or null is expected"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_damaged_files(tmp_path: Path, what: str) -> None:
    path = tmp_path / "v.json"
    Vocabulary(unk="<unk>").fit([["a", "b", "a"]]).save(path)
    changes, message = CHANGES[what]
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not ...}))
    with pytest.raises(ValueError, match=message) as caught:
        Vocabulary.load(path)
    assert "v.json" in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a JSON file"),
        (b"\xff\xfe{}", "not a JSON file"),
        (b'{"format": "nlp.Vocab', "not a JSON file"),
        (b"[" * 100_000, "not a JSON file"),
        (b'{"format": NaN}', "NaN is no JSON number"),
        (b"1" * 5000, "not a JSON file"),
        (b"[1]", "there is a list, where an object is expected"),
    ],
)
def test_what_is_no_file_of_ours(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "v.json"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message) as caught:
        Vocabulary.load(path)
    assert "v.json" in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Vocabulary.load(tmp_path / "none.json")
    with pytest.raises(IsADirectoryError):
        Vocabulary.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        Vocabulary.load(tmp_path / "pipe")


# ---- one-hot -----------------------------------------------------------------------------------------------------


def test_one_hot_times_a_matrix_is_an_embedding(rng: Any) -> None:
    ids = rng.integers(0, 7, (5, 3))
    embedding = nn.Embedding(7, 4)
    vectors = one_hot(ids, 7)
    assert vectors.shape == (5, 3, 7)
    assert vectors.dtype == np.float32
    product = vectors @ embedding.weight
    np.testing.assert_array_equal(product.numpy(), embedding(ids).numpy())
    weights = rng.standard_normal((5, 3, 4)).astype(np.float32)
    by_product = (product * weights).sum()
    by_product.backward()
    through_product = embedding.weight.grad.numpy()
    embedding.weight.grad = None
    (embedding(ids) * weights).sum().backward()
    np.testing.assert_allclose(embedding.weight.grad.numpy(), through_product, rtol=1e-5, atol=1e-6)


def test_one_hot_of_any_shape_and_place(backend: Any) -> None:
    found = one_hot(backend.array([[1], [2]]), 3, np.float64)
    np.testing.assert_array_equal(backend.numpy(found), [[[0, 1, 0]], [[0, 0, 1]]])
    assert found.dtype == np.float64
    np.testing.assert_array_equal(backend.numpy(one_hot(backend.tensor([0]), 1)), [[1]])


def test_one_hot_refuses() -> None:
    assert one_hot([], 3).shape == (0, 3)
    assert one_hot(2, 3).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="one_hot: id 3 is not one of the 3 ids from 0 to 2"):
        one_hot([0, 3], 3)
    with pytest.raises(ValueError, match="id -1"):
        one_hot([-1], 3)
    with pytest.raises(TypeError, match="integers, not float32"):
        one_hot(np.zeros(2, np.float32), 3)
    with pytest.raises(ValueError, match="size must be"):
        one_hot([0], 0)
