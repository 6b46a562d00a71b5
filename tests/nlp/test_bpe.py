"""Byte pair encoding: merges against counting anew, the fast path against the plain one, bytes and files."""

from __future__ import annotations

import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp import BPETokenizer, Tokenizer
from nlp.tokenizers.byte_level import ALPHABET, PART, from_signs, pieces_of, to_bytes, to_signs, to_text
from nlp.tokenizers.merging import learn, merge_all, merge_steps

steady = settings(deadline=None, derandomize=True, max_examples=120)
anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)  # surrogates included
few_letters = st.text("ab c", max_size=40)
SENNRICH = ["low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3]  # the example of the paper


def plain(vocab_size: int, corpus: list[str], **options: Any) -> BPETokenizer:
    return BPETokenizer(vocab_size, pad=None, bos=None, eos=None, **options).fit(corpus)


# ---- learning ----------------------------------------------------------------------------------------------------


def learn_slowly(
    pieces: dict[tuple[int, ...], int], tokens: list[bytes], size: int, min_freq: int, forbidden: set[bytes]
) -> dict[tuple[int, int], int]:
    """The definition: count all pairs of the corpus anew for every merge."""
    merges: dict[tuple[int, int], int] = {}
    corpus = [(list(piece), count) for piece, count in pieces.items()]
    while len(tokens) < size:
        counts: Counter[tuple[int, int]] = Counter()
        for piece, count in corpus:
            for pair in pairwise(piece):
                counts[pair] += count
        good = [(-n, p) for p, n in counts.items() if n >= min_freq and tokens[p[0]] + tokens[p[1]] not in forbidden]
        if not good:
            break
        _, (a, b) = min(good)
        token = tokens[a] + tokens[b]
        if token not in tokens:
            tokens.append(token)
        new = tokens.index(token)
        merges.setdefault((a, b), new)
        for piece, _ in corpus:
            i = 0
            while i + 1 < len(piece):
                if (piece[i], piece[i + 1]) == (a, b):
                    piece[i : i + 2] = [new]
                i += 1
    return merges


@steady
@given(st.dictionaries(st.lists(st.integers(0, 2), max_size=14).map(tuple), st.integers(1, 4), max_size=8),
       st.integers(3, 20), st.integers(1, 3), st.sets(st.sampled_from([b"ab", b"bb", b"abc", b"aaa"])))  # fmt: skip
def test_merges_are_those_of_the_definition(
    pieces: dict[tuple[int, ...], int], size: int, min_freq: int, forbidden: set[bytes]
) -> None:
    tokens, expected_tokens = [b"a", b"b", b"c"], [b"a", b"b", b"c"]
    merges = learn(pieces, tokens, size, min_freq, forbidden)
    expected = learn_slowly(pieces, expected_tokens, size, min_freq, forbidden)
    assert list(merges.items()) == list(expected.items())
    assert tokens == expected_tokens


def test_the_example_of_the_paper() -> None:
    t = plain(264, SENNRICH)
    merges = [(t.vocabulary.tokens[a], t.vocabulary.tokens[b]) for a, b in t._merges]
    assert merges[:4] == [("e", "s"), ("es", "t"), ("l", "o"), ("lo", "w")]
    assert t.vocabulary.tokens[256:260] == ("es", "est", "lo", "low")


def test_order_of_ids_and_size() -> None:
    t = BPETokenizer(270, specials=["<cls>"]).fit(SENNRICH)
    assert len(t) == t.vocab_size == 270
    assert t.vocabulary.tokens[:4] == ("<pad>", "<bos>", "<eos>", "<cls>")
    assert list(t.vocabulary.tokens[4:260]) == ALPHABET
    assert t.vocabulary.unk_id is None
    few = BPETokenizer(8000).fit(SENNRICH)
    assert len(few) < 300  # there is no more to merge
    assert few.encode(" newest").tolist() == [few.vocabulary["Ġnewest"]]
    assert len(BPETokenizer(8000, min_freq=17).fit(SENNRICH)) == 259


def test_it_does_not_depend_on_the_order_of_the_corpus() -> None:
    words = SENNRICH[0].split()
    one, other = plain(270, words), plain(270, words[::-1])
    assert one.vocabulary == other.vocabulary


def test_plain_text_never_merges_to_a_special_token() -> None:
    t = BPETokenizer(400, eos="<eos>", pad="ab").fit(["<eos> ab " * 50])
    ids = t.encode("<eos> ab <eos>ab")
    assert not {t.vocabulary.eos_id, t.vocabulary.pad_id} & set(ids.tolist())
    assert t.decode(ids) == "<eos> ab <eos>ab"
    assert len(set(t.vocabulary.tokens)) == len(t)
    assert t.encode("<eos> ab", allow_special=True).tolist() == [2, t.vocabulary["Ġ"], 0]


def test_a_long_piece_without_an_end(rng: Any) -> None:
    """The work grows as the text does: neither learning nor encoding is quadratic."""
    dna = "".join(rng.choice(list("ACGT"), 60_000))
    t = plain(500, [dna])
    assert len(t) == 500
    ids = t.encode(dna)
    assert t.decode(ids) == dna
    assert len(ids) < 20_000
    run = plain(300, ["a" * 100_000])
    assert run.decode(run.encode("a" * 99_999)) == "a" * 99_999


# ---- merging -----------------------------------------------------------------------------------------------------


@steady
@given(
    st.lists(st.integers(0, 3), max_size=24),
    st.dictionaries(st.tuples(st.integers(0, 6), st.integers(0, 6)), st.integers(0, 6), max_size=20),
    st.randoms(),
)
def test_merging_with_a_heap_is_merging_step_by_step(symbols: list[int], pairs: Any, random: Any) -> None:  # fmt: skip
    """With any rules, also such as no training gives: pairs that come again, ranks in no order."""
    ranks = list(range(len(pairs)))
    random.shuffle(ranks)
    rules = {pair: (rank, new) for rank, (pair, new) in zip(ranks, pairs.items(), strict=True)}
    steps = merge_steps(symbols, rules)
    assert merge_all(symbols, rules) == (steps[-1][0] if steps else symbols)


@steady
@given(few_letters, st.lists(few_letters, min_size=1, max_size=4))
def test_encoding_is_explained(text: str, corpus: list[str]) -> None:
    t = plain(280, [*corpus, "a"])
    *_, tokens, ids = t.explain(text).splitlines()
    assert [int(i) for i in ids.removeprefix("ids: ").split()] == t.encode(text).tolist()
    shown = tokens.removeprefix("tokens: ").split(" ")
    assert shown == [token.replace("Ġ", "␣") for token in t.tokenize(text)] or not text


def test_explaining_bytes() -> None:
    t = plain(257, ["é é é"])
    assert t.explain("é\x07🙂").splitlines()[:7] == [
        "'é'", r"  \xc3 \xa9", r"  é            \xc3 + \xa9, merge 0",
        r"'\x07🙂'", r"  \x07 \xf0 \x9f \x99 \x82", r"tokens: é \x07 \xf0 \x9f \x99 \x82",
        f"ids: {' '.join(map(str, t.encode('é' + chr(7) + '🙂').tolist()))}",
    ]  # fmt: skip
    with pytest.raises(TypeError, match="explain: the text must be a string, not bytes"):
        t.explain(b"a")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="no vocabulary"):
        BPETokenizer().explain("")


# ---- bytes -------------------------------------------------------------------------------------------------------


@steady
@given(st.binary(max_size=40))
def test_signs_stand_for_bytes(raw: bytes) -> None:
    signs = to_signs(raw)
    assert len(signs) == len(raw)
    assert signs.isprintable()
    assert from_signs(signs) == raw
    assert " " not in signs


@steady
@given(anything)
def test_bytes_of_any_text(text: str) -> None:
    assert to_text(to_bytes(text)) == text
    pieces = [(piece, start) for part in PART.finditer(text) for piece, start in pieces_of(part.group())]
    assert "".join(piece for piece, _ in pieces) == text


@steady
@given(st.binary(max_size=40))
def test_bytes_that_are_no_text(raw: bytes) -> None:
    """Bytes that are not text decode as under "replace" in the standard library, except surrogates."""
    text = to_text(raw)
    if not any(0xD800 <= ord(c) < 0xE000 for c in text):
        assert text == raw.decode("utf-8", "replace")
    t = plain(256, ["a"])
    ids = [t.vocabulary[to_signs(bytes([byte]))] for byte in raw]
    assert t.decode(ids) == text
    assert t.decode(np.array(ids, np.uint16)) == text


def test_a_long_run_of_bad_bytes() -> None:
    assert to_text(b"\xff" * 100_000 + b"\xed\xa0\x80" + b"\xe2\x82") == "\ufffd" * 100_000 + "\ud800\ufffd"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("I'm we're you've he'll she'd it's can't", ["I", "'m", " we", "'re", " you", "'ve", " he", "'ll", " she", "'d",
                                                     " it", "'s", " can", "'t"]),
        ("HE'LL 'so", ["HE", "'", "LL", " '", "so"]),
        ("a1½ 2b,.!? _x", ["a", "1½", " 2", "b", ",.!?", " _", "x"]),
        ("a   b\n\n c\t", ["a", "  ", " b", "\n\n", " c", "\t"]),
        ("a\x85b\u3000\u3000c\x1cd\x1c", ["a", "\x85", "b", "\u3000", "\u3000", "c", "\x1c", "d", "\x1c"]),
        ("a\x85 \n", ["a", "\x85 \n"]),
        ("été\u0301 東京。", ["été", "\u0301", " 東京", "。"]),
    ],
)  # fmt: skip
def test_pieces(text: str, pieces: list[str]) -> None:
    assert [piece for part in PART.findall(text) for piece, _ in pieces_of(part)] == pieces


def test_offsets_of_parts_of_characters() -> None:
    t = plain(256, ["a"])
    ids, spans = t.encode("aé🙂", return_offsets=True)
    assert len(ids) == 7
    assert spans.tolist() == [[0, 1], [1, 2], [1, 2], [2, 3], [2, 3], [2, 3], [2, 3]]


# ---- files -------------------------------------------------------------------------------------------------------

MODEL: dict[str, Any] = {"type": "BPE", "vocab": {"<eos>": 0, "a": 1, "b": 2, "ab": 3}, "merges": ["a b"]}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
EOS = {"id": 0, "content": "<eos>", "special": True}
FILE: dict[str, Any] = {"version": "1.0", "added_tokens": [EOS], "normalizer": None, "pre_tokenizer": BYTE_LEVEL,
                        "post_processor": None, "decoder": BYTE_LEVEL, "model": MODEL}  # fmt: skip

SPLIT = {"type": "Split", "pattern": {"Regex": r"\p{N}"}, "behavior": "Isolated", "invert": False}


def cut(*parts: Any) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "version": ({"version": "2.0"}, "its version is '2.0'; this program reads version '1.0'"),
    "truncation": ({"truncation": 3}, "'truncation' is an integer, where an object or null"),
    "no pre_tokenizer": ({"pre_tokenizer": ...}, "'pre_tokenizer' is missing"),
    "other pre_tokenizer": ({"pre_tokenizer": {"type": "Whitespace"}}, "the pre_tokenizer Whitespace is not"),
    "no parts": ({"pre_tokenizer": cut()}, "the pre_tokenizer of no parts is not supported"),
    "not last": ({"pre_tokenizer": cut(BYTE_LEVEL, SPLIT)}, "ByteLevel then Split is not supported"),
    "unknown part": ({"pre_tokenizer": cut({"type": "Whitespace"}, BYTE_LEVEL)}, "'Whitespace' is not supported"),
    "behavior": ({"pre_tokenizer": cut(SPLIT | {"behavior": "Gone"}, BYTE_LEVEL)}, "behavior 'Gone' is not supported"),
    "pattern": ({"pre_tokenizer": cut(SPLIT | {"pattern": {}}, BYTE_LEVEL)}, "the pattern of the kind ''"),
    **{f"pattern {p}": ({"pre_tokenizer": cut(SPLIT | {"pattern": {"Regex": p}}, BYTE_LEVEL)}, "is not supported")
       for p in (r"\w+", r"\bx", "^a", "a$", r"(a)\1", "(?m:.)", "[a[b]]", "[a&&b]", "a{2}+", r"\h", r"\p{L", "\\")},
    **{f"pattern {p}": ({"pre_tokenizer": cut(SPLIT | {"pattern": {"Regex": p}}, BYTE_LEVEL)}, "is not sound")
       for p in ("(", "[a", "*", r"\p{Nothing}")},
    "long pattern": ({"pre_tokenizer": cut(SPLIT | {"pattern": {"Regex": "a" * 20_000}}, BYTE_LEVEL)}, "20,000 char"),
    "decoder": ({"decoder": None}, "there is null, where an object|'decoder' is null, where an object"),
    "post_processor": ({"post_processor": {"type": "BertProcessing"}}, "'cls' is missing"),
    "model": ({"model": MODEL | {"type": "WordPiece"}}, "model: the type is 'WordPiece'; only 'BPE' is read here"),
    "dropout": ({"model": MODEL | {"dropout": 0.1}}, "model: dropout = 0.1 is not supported"),
    "fallback": ({"model": MODEL | {"byte_fallback": True}}, "byte_fallback = True is not supported"),
    "no vocab": ({"model": {"merges": []}}, "model: the field 'vocab' is missing"),
    "kind of id": ({"model": MODEL | {"vocab": {"<eos>": 0, "a": "1"}}}, "the id of 'a' is '1'"),
    "hole": ({"model": MODEL | {"vocab": {"<eos>": 0, "a": 1, "b": 2, "ab": 4}}}, "no token has the id 3"),
    "same id": ({"model": MODEL | {"vocab": {"<eos>": 0, "a": 1, "b": 1, "ab": 2}}}, "several have the one of"),
    "negative": ({"model": MODEL | {"vocab": {"<eos>": 0, "a": -1, "b": 1, "ab": 2}}}, "no token has the id 0"),
    "signs": ({"model": MODEL | {"vocab": {"<eos>": 0, "a": 1, "b": 2, "a b": 3}}}, "'a b' is not made of the char"),
    "empty token": ({"model": MODEL | {"vocab": {"<eos>": 0, "": 1}}}, "'' is not made of the characters"),
    "merges": ({"model": MODEL | {"merges": {}}}, "'merges' is an object, where a list"),
    "one part": ({"model": MODEL | {"merges": ["ab"]}}, "merge 0 is 'ab', not two tokens"),
    "three parts": ({"model": MODEL | {"merges": [["a", "b", "a"]]}}, "merge 0 is .*, not two tokens"),
    "no strings": ({"model": MODEL | {"merges": [[0, 1]]}}, "merge 0 is .*, not two tokens"),
    "part": ({"model": MODEL | {"merges": ["a c"]}}, "merge 0, 'a c', needs the token 'c'"),
    "result": ({"model": MODEL | {"merges": ["a b", "b a"]}}, "merge 1, 'b a', needs the token 'ba'"),
    "merge twice": ({"model": MODEL | {"merges": ["a b", ["a", "b"]]}}, "a merge is there twice"),
    "unk": ({"model": MODEL | {"unk_token": "<unk>"}}, "no token has the id 0"),
    "lstrip": ({"added_tokens": [EOS | {"lstrip": 1}]}, "'lstrip' is an integer, where true or false"),
    "trimmed twice": ({"post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL] * 2}}, "trimmed twice"),
    "unknown processor": ({"post_processor": {"type": "Other"}}, "the post_processor 'Other' is not supported"),
    "template": ({"post_processor": {"type": "TemplateProcessing", "single": [{}]}}, "'SpecialToken' is missing"),
    "added twice": ({"added_tokens": [EOS, EOS]}, "'<eos>' is there twice, or empty, or stands for a byte"),
    "added byte": ({"added_tokens": [EOS | {"content": "a"}]}, "'a' is there twice, or empty, or stands for a byte"),
    "other id": ({"added_tokens": [EOS | {"id": 3}]}, "the special token '<eos>' has the ids 3 and 0"),
    "far id": ({"added_tokens": [EOS, EOS | {"id": 10**12, "content": "<x>"}]}, "no token has the id 4"),
    "added kind": ({"added_tokens": ["<eos>"]}, "added_tokens, item 0: there is a string, where an object"),
    "role": ({"added_tokens": [EOS | {"role": "boss"}]}, "the role 'boss' is not one of pad, unk, bos, eos"),
    "normalizer": ({"normalizer": {"type": "StripAccents"}}, "the normalizer StripAccents is not supported"),
    "order": ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "NFC"}]}},
              "the normalizer Lowercase then NFC is not supported"),
}  # fmt: skip


def write(path: Path, changes: dict[str, Any]) -> Path:
    path.write_text(json.dumps({name: value for name, value in (FILE | changes).items() if value is not ...}))
    return path


@pytest.mark.parametrize("what", CHANGES)
def test_damaged_files(tmp_path: Path, what: str) -> None:
    changes, message = CHANGES[what]
    path = write(tmp_path / "t.json", changes)
    for cls in (BPETokenizer, Tokenizer):
        with pytest.raises(ValueError, match=message) as caught:
            cls.load(path)
        assert "t.json" in str(caught.value)


def test_a_file_without_all_bytes(tmp_path: Path) -> None:
    """A file that the library writes if it was trained without an alphabet."""
    t = BPETokenizer.load(write(tmp_path / "t.json", {}), eos="<eos>")
    assert t.encode("abba", eos=True).tolist() == [3, 2, 1, 0]
    with pytest.raises(ValueError, match="' c' has the byte 0x20, which is not in the vocabulary"):
        t.encode("ab c")
    with pytest.raises(ValueError, match=r"t.json: '<pad>' is not one of its special tokens: '<eos>'"):
        BPETokenizer.load(tmp_path / "t.json", pad="<pad>")
    unk = EOS | {"content": "<unk>", "id": 4}
    t = BPETokenizer.load(
        write(tmp_path / "t.json", {"added_tokens": [EOS, unk], "model": MODEL | {"unk_token": "<unk>"}})
    )
    assert t.encode("ab c").tolist() == [3, 4, 4]
    ids, spans = t.encode("abé", return_offsets=True)
    assert ids.tolist() == [3, 4, 4]
    assert spans.tolist() == [[0, 2], [2, 3], [2, 3]]


def test_merges_that_give_special_tokens_are_left_out(tmp_path: Path) -> None:
    model = {"vocab": {"a": 0, "b": 1, "ab": 2, "abb": 3}, "merges": ["a b", "ab b"]}
    added = [EOS | {"content": "ab", "id": 2}]
    t = BPETokenizer.load(write(tmp_path / "t.json", {"model": model, "added_tokens": added}))
    assert t.encode("abb").tolist() == [0, 1, 1]
    assert t.encode("abb", allow_special=True).tolist() == [2, 1]


def test_roles_and_normalisation_are_in_the_file(tmp_path: Path) -> None:
    t = BPETokenizer(270, pad="[PAD]", bos=None, specials=["[CLS]"], normalization="NFC", lowercase=True).fit(SENNRICH)
    t.save(tmp_path / "t.json")
    back = BPETokenizer.load(tmp_path / "t.json")
    assert back.vocabulary == t.vocabulary
    assert (back.vocabulary.pad, back.vocabulary.bos, back.vocabulary.eos) == ("[PAD]", None, "<eos>")
    assert back.normalizer == t.normalizer
    assert len(back) == back.vocab_size == 270
    content = json.loads((tmp_path / "t.json").read_text())
    assert content["version"] == "1.0"
    assert content["model"]["merges"][0] == "e s"


# ---- files that cut texts in other ways --------------------------------------------------------------------------

LETTERS = {
    "<eos>": 0,
    "a": 1,
    "b": 2,
    "Ġ": 3,
    "1": 4,
    "2": 5,
    "'": 6,
    "s": 7,
    "S": 8,
    "ab": 9,
    "Ġa": 10,
    "12": 11,
    "'s": 12,
}
WORDS = {"vocab": LETTERS, "merges": ["a b", "Ġ a", "1 2", "' s"]}
NEW = {"id": 13, "content": "new", "special": False}
BARE = BYTE_LEVEL | {"use_regex": False}


def loaded(path: Path, **changes: Any) -> BPETokenizer:
    return BPETokenizer.load(write(path / "t.json", {"model": WORDS, **changes}))


def test_added_tokens_are_found_in_plain_text(tmp_path: Path) -> None:
    t = loaded(tmp_path, added_tokens=[EOS, NEW])
    ids, spans = t.encode("ab newnew a", return_offsets=True)
    assert ids.tolist() == [9, 3, 13, 13, 10] == t.encode_batch(["ab newnew a"])[0].tolist()
    assert spans.tolist() == [[0, 2], [2, 3], [3, 6], [6, 9], [9, 11]]
    assert t.tokenize("a new") == ["a", "Ġ", "new"]
    assert t.decode(ids) == "ab newnew a"
    assert t.decode(ids, skip_special=True) == "ab newnew a"
    assert t.explain("anew").splitlines()[-1] == "ids: 1 13"
    for option, text, expected in [("single_word", "anew", None), ("single_word", "a new", [1, 3, 13]),
                                   ("lstrip", "a  new", [1, 13]), ("rstrip", "new  a", [13, 1])]:  # fmt: skip
        t = loaded(tmp_path, added_tokens=[EOS, NEW | {option: True}])
        if expected is None:
            with pytest.raises(ValueError, match="the byte 0x6e, which is not in the vocabulary"):
                t.encode(text)
        else:
            assert t.encode(text).tolist() == expected


def test_special_tokens_are_plain_text_unless_they_are_allowed(tmp_path: Path) -> None:
    """Also where another added token lies within the text of one, as "new" in "anewb"."""
    t = loaded(tmp_path, added_tokens=[EOS, NEW, {"id": 14, "content": "anewb", "special": True}])
    assert t.encode("aanewb").tolist() == [1, 1, 13, 2]
    assert t.encode("aanewb", allow_special=True).tolist() == [1, 14]
    assert t.decode(t.encode("aanewb")) == t.decode(t.encode("aanewb", allow_special=True)) == "aanewb"


def test_a_pattern_of_the_file(tmp_path: Path) -> None:
    def ids(text: str, **split: Any) -> list[int]:
        return loaded(tmp_path, pre_tokenizer=cut(SPLIT | split, BARE)).encode(text).tolist()  # type: ignore[no-any-return]

    pairs = {"Regex": r"(?i:'s)|\p{N}{1,2}|[^\s\p{L}]+|\s\p{L}|\p{L}"}
    assert ids("ab a'S12121", pattern=pairs) == [1, 2, 10, 6, 8, 11, 11, 4]
    assert ids("a1b2", behavior="Removed") == [1, 2]
    assert ids("a1b2", behavior="Removed", invert=True) == [4, 5]
    assert ids("1212", behavior="Contiguous") == [11, 11]
    assert ids("1212") == [4, 5, 4, 5]
    assert ids("a12", behavior="MergedWithPrevious") == [1, 4, 5]
    assert ids("12a", behavior="MergedWithNext") == [4, 5, 1]
    assert ids("abab", pattern={"String": "ba"}) == [1, 2, 1, 2]
    assert ids("") == []
    digits = {"type": "Digits", "individual_digits": True}
    assert loaded(tmp_path, pre_tokenizer=cut(digits, BARE)).encode("a12").tolist() == [1, 4, 5]


def test_a_pattern_without_an_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlp.tokenizers.patterns.SECONDS", 0.05)
    t = loaded(tmp_path, pre_tokenizer=cut(SPLIT | {"pattern": {"Regex": "((a|a)+)+b"}}, BARE))
    with pytest.raises(ValueError, match=r"takes more than 0.05 s on a text of 40 characters"):
        t.encode("a" * 40)


def test_the_package_for_patterns_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(ImportError, match=r"needs the package regex: pip install 'minigrad\[nlp\]'"):
        loaded(tmp_path, pre_tokenizer=cut(SPLIT, BARE))


def test_a_space_that_is_put_before_a_text(tmp_path: Path) -> None:
    t = loaded(tmp_path, pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}, added_tokens=[EOS, NEW])
    ids, spans = t.encode("anewab a", return_offsets=True)
    assert ids.tolist() == [10, 13, 3, 9, 10]
    assert spans.tolist() == [[0, 1], [1, 4], [4, 5], [4, 6], [6, 8]]
    assert t.encode("").tolist() == []
    trimmed = loaded(tmp_path, pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}, post_processor=BYTE_LEVEL)
    assert trimmed.encode("ab a", return_offsets=True)[1].tolist() == [[1, 1], [0, 2], [3, 4]]


def test_whole_pieces_before_merges(tmp_path: Path) -> None:
    vocab = LETTERS | {"abs": 13}
    for whole, ids in ((True, [13]), (False, [9, 7])):
        t = loaded(tmp_path, model=WORDS | {"vocab": vocab, "ignore_merges": whole})
        assert t.encode("abs").tolist() == ids
        assert t.explain("abs").splitlines()[-1] == f"ids: {' '.join(map(str, ids))}"


def test_the_tokens_around_a_text(tmp_path: Path) -> None:
    ends = [EOS, {"id": 13, "content": "<bos>", "special": True}]
    roberta = {"type": "RobertaProcessing", "cls": ["<bos>", 13], "sep": ["<eos>", 0], "trim_offsets": False}
    single = [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    template = {"type": "Sequence", "processors": [BYTE_LEVEL, {"type": "TemplateProcessing", "single": single}]}
    t = loaded(tmp_path, added_tokens=ends, post_processor=roberta)
    assert t.encode("ab", bos=True, eos=True).tolist() == [13, 9, 0]
    t = loaded(tmp_path, added_tokens=ends, post_processor=template)
    assert (t.vocabulary.bos, t.vocabulary.eos) == ("<bos>", None)
    other = BPETokenizer.load(tmp_path / "t.json", bos="<eos>")
    assert (other.vocabulary.bos, other.vocabulary.eos) == ("<eos>", None)


def test_what_a_file_says_is_written_again(tmp_path: Path) -> None:
    said = {
        "truncation": {"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": "BatchLongest"}, "pre_tokenizer": cut(SPLIT, BARE), "post_processor": BYTE_LEVEL,
        "normalizer": {"type": "NFC"},
    }  # fmt: skip
    added = [EOS | {"lstrip": True}, NEW | {"normalized": True}]
    t = loaded(tmp_path, added_tokens=added, **said)
    t.save(tmp_path / "u.json")
    again = json.loads((tmp_path / "u.json").read_text())
    assert {name: again[name] for name in said} == said
    assert again["added_tokens"] == added
    assert again["model"]["vocab"] == LETTERS
    assert again["model"]["merges"] == WORDS["merges"]
    assert BPETokenizer.load(tmp_path / "u.json").encode("a newab<eos>", allow_special=True).tolist() == [
        1,
        3,
        13,
        9,
        0,
    ]
