"""The promises of all tokenizers, and the cuts of each kind."""

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from nlp import BPETokenizer, CharTokenizer, NGramTokenizer, Tokenizer, Vocabulary, WordTokenizer
from nlp.tokenizers import base
from nlp.tokenizers.normalizing import FORMS, Normalizer

steady = settings(deadline=None, derandomize=True, max_examples=80)
MAKE: dict[str, Callable[..., Tokenizer]] = {
    "words": WordTokenizer,
    "spaces": lambda **options: WordTokenizer("spaces", **options),
    "characters": CharTokenizer,
    "1-grams": lambda **options: NGramTokenizer(1, **options),
    "2-grams": lambda **options: NGramTokenizer(2, **options),
    "3-grams": lambda **options: NGramTokenizer(3, **options),
    "bpe": lambda **options: BPETokenizer(300, **options),
}
kinds = st.sampled_from(list(MAKE))
each_kind = pytest.mark.parametrize("kind", MAKE)

SENTENCES = [
    "I go to the mall today.", "Don't go! It’s 3.14 or 42 %, isn't it?", "naïve café, Größe, ΑΣ İstanbul",
    "Быстрая лиса",
    "मैं आज मॉल जाता हूँ।", "今日はモールに行きます。", "나는 오늘 쇼핑몰에 간다", "أنا ذاهب إلى المركز التجاري",
    "ฉันไปห้างวันนี้", "👩‍👩‍👧 🇩🇪 ½ Ⅷ ²", "a\x00b\x1c\x85\u2028 \t\n\n c_d ~ <unk> <eos>",
    "ﬁ e\u0301 \u0345\u0301x q\u0323\u0307 ｶﾞ",
    "\ud83d\ude00 \ud800x",
]  # fmt: skip
fragments = st.sampled_from(
    [
        *" \n\t'’~_aΣİ",
        *SENTENCES,
        "'s",
        "  ",
        "<eos>",
        "<unk>",
        "ab",
        "\U0001f600",
        "a\u0315\u0300",
        "\u1100\u1161\u11a8",
    ]
)
anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)  # surrogates included
texts = st.lists(st.one_of(fragments, anything), max_size=6).map("".join)


def fitted(kind: str, *corpus: str, **options: Any) -> Tokenizer:
    return MAKE[kind](**options).fit([*SENTENCES, *corpus])


# ---- laws --------------------------------------------------------------------------------------------------------


@steady
@given(texts, st.sampled_from(["characters", "1-grams", "2-grams", "3-grams", "bpe"]))
def test_decoding_gives_the_text_again(text: str, kind: str) -> None:
    tokenizer = fitted(kind, text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@steady
@given(texts, kinds, st.sampled_from([None, *FORMS]), st.booleans())
def test_ids_are_those_of_the_tokens(text: str, kind: str, form: str | None, lowercase: bool) -> None:
    """The fast path, with texts cut into parts that are looked up, against the plain one."""
    tokenizer = fitted(kind, normalization=form, lowercase=lowercase)
    v = tokenizer.vocabulary
    tokens = tokenizer.tokenize(text)
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64
    assert ids.tolist() == [v.unk_id if token in v.specials else v[token] for token in tokens]
    assert tokenizer.encode(text).tolist() == ids.tolist()  # from memory, now
    longer = tokenizer.encode(text, bos=True, eos=True)
    assert longer.tolist() == [v.bos_id, *ids, v.eos_id]
    assert set(ids) & {v.pad_id, v.bos_id, v.eos_id} == set()


@steady
@given(texts, kinds, st.sampled_from([None, *FORMS]), st.booleans())
def test_offsets(text: str, kind: str, form: str | None, lowercase: bool) -> None:
    tokenizer = fitted(kind, text, normalization=form, lowercase=lowercase)
    ids, spans = tokenizer.encode(text, return_offsets=True)
    assert ids.tolist() == tokenizer.encode(text).tolist()
    assert spans.shape == (len(ids), 2)
    assert spans.dtype == np.int64
    assert ((spans >= 0) & (spans <= len(text))).all()
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (np.diff(spans, axis=0) >= 0).all()
    for token, (start, end) in zip(tokenizer.tokenize(text), spans, strict=True):
        source = text[start:end]
        if kind != "bpe":
            assert token in tokenizer.normalizer(source) if form or lowercase else token == source
    covered = {place for start, end in spans for place in range(start, end)}
    if kind in ("words", "spaces"):
        covered |= {place for place, character in enumerate(text) if character.isspace()}
    assert covered == set(range(len(text)))


@steady
@given(texts, kinds)
def test_a_loaded_tokenizer_encodes_the_same(text: str, kind: str) -> None:
    tokenizer = fitted(kind, text, normalization="NFKC", lowercase=True, specials=["<cls>", "é?"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        tokenizer.save(path)
        for cls in (type(tokenizer), Tokenizer):
            back = cls.load(path)
            assert type(back) is type(tokenizer)
            assert back.vocabulary.tokens == tokenizer.vocabulary.tokens
            assert back.vocabulary.specials == tokenizer.vocabulary.specials
            other = text + "é?<cls> Unknown"
            for now, before in zip(
                back.encode(other, bos=True, allow_special=True, return_offsets=True),
                tokenizer.encode(other, bos=True, allow_special=True, return_offsets=True),
                strict=True,
            ):
                np.testing.assert_array_equal(now, before)
            assert back.decode(back.encode(other)) == tokenizer.decode(tokenizer.encode(other))
        raw = Path(path).read_bytes()
        back.save(path)
        assert Path(path).read_bytes() == raw


@steady
@given(st.lists(texts, max_size=5), kinds)
def test_counts_say_how_often_each_id_comes_up(corpus: list[str], kind: str) -> None:
    if kind == "bpe":
        return
    tokenizer = fitted(kind, *SENTENCES, *corpus, min_freq=2)
    ids = np.concatenate(tokenizer.encode_batch([*SENTENCES, *SENTENCES, *corpus]))
    assert np.bincount(ids, minlength=len(tokenizer)).tolist() == tokenizer.vocabulary.counts.tolist()


@steady
@given(texts, st.sampled_from([None, *FORMS]), st.booleans())
def test_normalisation_keeps_track_of_places(text: str, form: Any, lowercase: bool) -> None:
    assert_tracked(text, form, lowercase)


@pytest.mark.parametrize(
    "text", ["a\u0315\u0300b", "\u1100\u1161\u11a8\u1161", "ｶﾞ", "\u0b47\u0b3e", "İΣ\u0345", "ﬁ\ufdfa"]
)
@pytest.mark.parametrize("form", FORMS)
def test_marks_in_another_order_and_letters_that_combine(text: str, form: str) -> None:
    for lowercase in (False, True):
        assert_tracked(text, form, lowercase)


def assert_tracked(text: str, form: Any, lowercase: bool) -> None:
    normalizer = Normalizer(form, lowercase)
    normal, spans = normalizer.aligned(text)
    assert normal == normalizer(text)
    expected = text if form is None else unicodedata.normalize(form, text)
    assert normal == ("".join(c.lower() for c in expected) if lowercase else expected)
    assert spans.shape == (len(normal), 2)
    groups: dict[tuple[int, int], str] = {}
    for character, (start, end) in zip(normal, spans.tolist(), strict=True):
        groups[start, end] = groups.get((start, end), "") + character
    assert [place for group in groups for place in range(*group)] == list(range(len(text)))
    for (start, end), part in groups.items():
        assert normalizer(text[start:end]) == part


# ---- special tokens ----------------------------------------------------------------------------------------------


@each_kind
def test_special_tokens(kind: str) -> None:
    text = "go <eos> <cls><cls>to<cl>"
    t = fitted(kind, text, specials=["<cls>", "<cls><", "<cl>"])
    v = t.vocabulary
    special_ids = {v[token] for token in v.specials} - {v.unk_id}
    assert not special_ids & set(t.encode(text).tolist())
    ids, spans = t.encode(text, allow_special=True, eos=True, return_offsets=True)
    found = [(v.tokens[i], *span) for i, span in zip(ids.tolist(), spans.tolist(), strict=True) if i in special_ids]
    # leftmost, and of those the longest
    assert found == [("<eos>", 3, 8), ("<cls><", 9, 15), ("<cl>", 21, 25), ("<eos>", 25, 25)]
    assert (
        t.decode(ids, skip_special=True).split()
        == t.decode(np.concatenate([t.encode(part) for part in ("go ", " ", "cls>to")])).split()
    )
    if kind in ("characters", "2-grams", "bpe"):
        assert t.decode(ids) == text + "<eos>"


def test_unknown_is_shown_even_if_special_tokens_are_not() -> None:
    t = WordTokenizer().fit(["a b"])
    ids = t.encode("a x b", bos=True)
    assert t.decode(ids) == "<bos> a <unk> b"
    assert t.decode(ids, skip_special=True) == "a <unk> b"
    assert t.decode(mg.tensor(ids)) == "<bos> a <unk> b"


def test_without_special_tokens() -> None:
    t = CharTokenizer(pad=None, unk=None, bos=None, eos=None).fit(["abc"])
    assert t.vocabulary.tokens == ("a", "b", "c")
    assert t.encode("cab", allow_special=True).tolist() == [2, 0, 1]
    with pytest.raises(ValueError, match=r"encode: 'x', character 1, is not in the vocabulary, which has no unk"):
        t.encode("axbx")
    with pytest.raises(ValueError, match="there is no special token eos"):
        t.encode("a", eos=True)
    for other in (WordTokenizer("spaces", unk=None), NGramTokenizer(2, unk=None)):
        with pytest.raises(ValueError, match="'xy' is not in the vocabulary, which has no unk"):
            other.fit(["ab"]).encode("ab xy" if isinstance(other, WordTokenizer) else "xy")
    with pytest.raises(ValueError, match="' ' is not in the vocabulary"):
        other.encode("ab ab")


# ---- cutting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I go to the mall today.", ["I", "go", "to", "the", "mall", "today", "."]),
        ("Don't, it’s 3.14%", ["Don't", ",", "it’s", "3", ".", "14", "%"]),
        ("'tis rock'n'roll'", ["'", "tis", "rock'n'roll", "'"]),
        ("a_b ~x~ --", ["a_b", "~", "x", "~", "-", "-"]),
        ("Größe e\u0301te\u0301", ["Größe", "e\u0301te\u0301"]),
        ("मैं आज हूँ।", ["मैं", "आज", "हूँ", "।"]),
        ("今日は、行きます。", ["今日は", "、", "行きます", "。"]),
        ("\u2028 \x1c\xa0\t", []),
        ("½Ⅷ²", ["½Ⅷ²"]),
        ("👩‍👧", ["👩", "\u200d", "👧"]),
    ],
)
def test_words(text: str, tokens: list[str]) -> None:
    assert WordTokenizer().tokenize(text) == tokens


def test_words_between_spaces() -> None:
    assert WordTokenizer("spaces").tokenize(" the <unk> isn't  N\xa0. ") == ["the", "<unk>", "isn't", "N", "."]
    ptb = WordTokenizer("spaces", pad=None, bos=None).fit([" aer <unk> N ", " the <unk> "])
    assert ptb.vocabulary.tokens == ("<unk>", "<eos>", "N", "aer", "the")
    assert ptb.encode("the <unk> rose", eos=True).tolist() == [4, 0, 0, 1]


@pytest.mark.parametrize(
    ("n", "text", "tokens"),
    [
        (2, "Today", ["To", "od", "da", "ay"]),
        (3, "Today", ["Tod", "oda", "day"]),
        (5, "Today", ["Today"]),
        (6, "Today", ["Today"]),
        (1, "To go", ["T", "o", " ", "g", "o"]),
        (2, "I go, \n too.", ["I", " ", "go", ",", " ", "\n", " ", "to", "oo", "."]),
        (2, "", []),
    ],
)
def test_n_grams(n: int, text: str, tokens: list[str]) -> None:
    assert NGramTokenizer(n).tokenize(text) == tokens
    if text:
        t = NGramTokenizer(n).fit([text])
        assert t.decode(t.encode(text)) == text


def test_n_grams_are_those_of_a_definition(rng: Any) -> None:
    for n in (2, 3, 4):
        word = "".join(rng.choice(list("abc"), 9))
        assert NGramTokenizer(n).tokenize(word) == [
            "".join(gram) for gram in zip(*(word[k:] for k in range(n)), strict=False)
        ]


def test_normalisation() -> None:
    t = WordTokenizer(normalization="NFKC", lowercase=True).fit(["Café ﬁn"])
    assert t.vocabulary.tokens[4:] == ("café", "fin")
    ids, spans = t.encode("CAFE\u0301 ﬁN", return_offsets=True)
    assert ids.tolist() == [4, 5]
    assert spans.tolist() == [[0, 5], [6, 8]]
    assert CharTokenizer(lowercase=True).tokenize("ΑΣ") == ["α", "σ"]


# ---- fitting -----------------------------------------------------------------------------------------------------


@each_kind
def test_fitting_in_parts_is_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted(kind)
    monkeypatch.setattr(base, "KEPT", 3)
    parts = MAKE[kind]()
    assert parts.fit(text for text in SENTENCES) is parts
    assert parts.vocabulary == whole.vocabulary


@each_kind
def test_what_is_remembered_is_bounded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    t, free = fitted(kind), fitted(kind)
    monkeypatch.setattr(base, "KEPT", 5)
    monkeypatch.setattr(base, "LONGEST", 6)
    for text in SENTENCES:
        np.testing.assert_array_equal(t.encode(text), free.encode(text))
        assert len(t._known) <= 5
        assert all(len(chunk) <= 6 for chunk in t._known)


@pytest.mark.parametrize("kind", ["words", "2-grams", "bpe"])
def test_memory_does_not_grow_with_the_corpus(kind: str) -> None:
    def corpus() -> Iterator[str]:
        for number in range(1200):
            yield " ".join(chr(97 + (number + k) % 20) * 200 for k in range(40))

    tracemalloc.start()
    try:
        t = MAKE[kind]().fit(corpus())
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert kind == "bpe" or t.vocabulary.total >= 1200 * 40


@each_kind
@pytest.mark.parametrize(
    ("corpus", "error", "message"),
    [
        ("a text", TypeError, "fit: texts must be a list, such as"),
        ([], ValueError, "fit: the corpus is empty"),
        (["", ""], ValueError, "fit: the corpus is empty"),
        (["a", b"b"], TypeError, "text 1 is of type bytes, not a string"),
        ([["a", "b"]], TypeError, "text 0 is of type list"),
        (3, TypeError, "not iterable"),
    ],
)
def test_bad_corpora(kind: str, corpus: Any, error: type[Exception], message: str) -> None:
    t = MAKE[kind]()
    with pytest.raises(error, match=message):
        t.fit(corpus)
    with pytest.raises(RuntimeError, match="no vocabulary before `fit` or `load`"):
        t.encode("a")
    t.fit(["it can be fitted still"])


@each_kind
def test_bad_use(kind: str, tmp_path: Path) -> None:
    new = MAKE[kind]()
    for use in (lambda: new.encode("a"), lambda: new.decode([1]), lambda: len(new), lambda: new.save(tmp_path / "x")):
        with pytest.raises(RuntimeError, match="no vocabulary before"):
            use()
    assert os.listdir(tmp_path) == []
    assert repr(new).endswith("(not fitted)")
    t = fitted(kind)
    assert repr(t) == f"{type(t).__name__}({len(t)} tokens)"
    with pytest.raises(RuntimeError, match="it is fitted already"):
        t.fit(["a"])
    with pytest.raises(TypeError, match="the text must be a string, not list; use encode_batch"):
        t.encode(["a"])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="the text must be a string, not NoneType"):
        t.tokenize(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="encode_batch: texts must be a list"):
        t.encode_batch("ab")
    with pytest.raises(TypeError, match="text 1 is of type int"):
        t.encode_batch(["a", 3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=rf"decode: id {len(t)} is not one of the {len(t)} ids"):
        t.decode([len(t)])
    with pytest.raises(ValueError, match="decode: id -1"):
        t.decode([-1])
    with pytest.raises(TypeError, match="ids must be integers"):
        t.decode([0.5])


@each_kind
def test_nothing_to_encode(kind: str) -> None:
    t = fitted(kind)
    ids, spans = t.encode("", return_offsets=True)
    assert (ids.shape, ids.dtype, spans.shape) == ((0,), np.int64, (0, 2))
    assert t.decode(ids) == t.decode([]) == ""
    assert t.encode_batch([]) == []
    assert [len(x) for x in t.encode_batch(["", "a"], bos=True)] == [1, 2]
    assert t.encode(" ").tolist() == ([] if kind in ("words", "spaces") else [t.vocabulary[t.tokenize(" ")[0]]])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: WordTokenizer("letters"), ValueError, 'split must be "words" or "spaces", not \'letters\''),  # type: ignore
        (lambda: NGramTokenizer(0), ValueError, "n must be an integer of at least 1, not 0"),
        (lambda: NGramTokenizer(True), ValueError, "n must be an integer"),
        (lambda: CharTokenizer(normalization="NFX"), ValueError, "normalization must be one of NFC, NFD, NFKC, NFKD"),
        (lambda: CharTokenizer(lowercase="yes"), TypeError, "lowercase must be True or False"),  # type: ignore
        (lambda: CharTokenizer(pad="<unk>"), ValueError, "'<unk>' is given 2 times"),
        (lambda: CharTokenizer(vocab_size=3), TypeError, "vocab_size"),  # type: ignore
        (lambda: BPETokenizer(258), ValueError, "vocab_size must be an integer of at least 259, for 256 bytes and 3"),
        (lambda: BPETokenizer(specials=["Ġ"]), ValueError, "'Ġ' cannot be a special token: it stands for a byte"),
        (lambda: Tokenizer(), TypeError, "abstract"),  # type: ignore[abstract]
    ],
)
def test_bad_options(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# ---- files -------------------------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": "nlp.CharTokenizer"}, "format is 'nlp.CharTokenizer', not 'nlp.NGramTokenizer'"),
    "version": ({"version": 0}, "its version is 0; this program reads version 1"),
    "n": ({"n": 0}, "NGramTokenizer: n must be an integer of at least 1, not 0"),
    "kind of n": ({"n": "2"}, "'n' is a string, where an integer is expected"),
    "no n": ({"n": ...}, "'n' is missing"),
    "normalization": ({"normalization": "NFX"}, "normalization must be one of"),
    "lowercase": ({"lowercase": 1}, "'lowercase' is an integer, where true or false"),
    "vocabulary": ({"vocabulary": []}, "'vocabulary' is a list, where an object"),
    "tokens": ({"vocabulary": {}}, "vocabulary: the field 'tokens' is missing"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_damaged_files(tmp_path: Path, what: str) -> None:
    path = tmp_path / "t.json"
    NGramTokenizer(2).fit(["ab"]).save(path)
    changes, message = CHANGES[what]
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not ...}))
    with pytest.raises(ValueError, match=message) as caught:
        NGramTokenizer.load(path)
    assert "t.json" in str(caught.value)


STRANGE: list[Any] = [None, True, -1, 0, 3, 10**30, 1.5, "", "ab", "<pad>", "\ud800", "Ġ", [], {}, ["a"], [[1]], [None]]


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*place, key)
        yield from places_in(item, (*place, key))


@each_kind
def test_any_change_of_a_file_is_an_error_or_understood(kind: str, tmp_path: Path, rng: Any) -> None:
    path = tmp_path / "t.json"
    fitted(kind, normalization="NFC", specials=["<cls>"]).save(path)
    original = path.read_text(encoding="utf-8")
    places = list(places_in(json.loads(original)))
    errors = []
    for _ in range(250):
        content = json.loads(original)
        *way, last = places[rng.integers(len(places))]
        where = content
        for key in way:
            where = where[key]
        choice = rng.integers(len(STRANGE) + 1)
        if choice == len(STRANGE):
            del where[last]
        else:
            where[last] = STRANGE[choice]
        path.write_text(json.dumps(content), encoding="utf-8")
        try:
            t = Tokenizer.load(path)
        except ValueError as error:
            errors.append(str(error))
        else:
            t.decode(t.encode("I go <pad>", allow_special=True))
    assert len(errors) > 150
    assert all("t.json" in error for error in errors)


def test_files_of_something_else(tmp_path: Path) -> None:
    Vocabulary.of(["a"]).save(tmp_path / "v.json")
    for cls in (Tokenizer, WordTokenizer, CharTokenizer):
        with pytest.raises(ValueError, match=r"v.json: its format is 'nlp.Vocabulary', not 'nlp\."):
            cls.load(tmp_path / "v.json")
    with pytest.raises(FileNotFoundError):
        Tokenizer.load(tmp_path / "none.json")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.json"
    CharTokenizer().fit(["old"]).save(path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    for t in (CharTokenizer().fit(["new"]), BPETokenizer(300).fit(["new"])):
        with pytest.raises(OSError, match="no space left"):
            t.save(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["t.json"]
