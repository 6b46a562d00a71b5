"""Byte pair encoding beside Hugging Face's library `tokenizers`: the same merges from a corpus, the same files, the
same ids, tokens and places."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from nlp import BPETokenizer, read_text
from nlp.tokenizers.byte_level import ALPHABET, PART, pieces_of, to_bytes, to_signs

steady = settings(deadline=None, derandomize=True, max_examples=120)
DATA = os.environ.get("MINIGRAD_DATA")
SPECIALS = ["<pad>", "<bos>", "<eos>", "<cls>"]
SENTENCES = [
    "I go to the mall today, don't I? It's 3.14 % of 42.", "naïve café, Größe, ΑΣ İstanbul ǅ", "Быстрая лиса прыгает",
    "मैं आज मॉल जाता हूँ।", "今日はモールに行きます。", "나는 오늘 쇼핑몰에 간다", "أنا ذاهب إلى المركز", "ฉันไปห้างวันนี้",
    "👩‍👩‍👧 🇩🇪 ½ Ⅷ ² ١٢٣",
    "a\x00b\x1c\x85\u2028 \t\n\n  c_d ~", "ﬁ e\u0301 q\u0323\u0307 ｶﾞ \u1100\u1161\u11a8",
]  # fmt: skip
# Characters that this Python's Unicode tables know: a library with newer ones may know more letters.
known = st.characters(exclude_categories=("Cs", "Cn"))
fragments = st.sampled_from([*" \n\t'", *SENTENCES, "'s", "'ll", "'LL", "  ", "\u3000", "\x1c", "ab", "<eos>", "<cls>"])
texts = st.lists(st.one_of(fragments, st.text(known, max_size=20)), max_size=6).map("".join)


def theirs(corpus: list[str], vocab_size: int, min_freq: int, normalizer: Any = None) -> Tokenizer:
    t = Tokenizer(models.BPE())
    t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=min_freq, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    t.train_from_iterator(corpus, trainer)
    return t


def ours(corpus: list[str], vocab_size: int, min_freq: int, **options: Any) -> BPETokenizer:
    return BPETokenizer(vocab_size, min_freq=min_freq, specials=["<cls>"], **options).fit(corpus)


def assert_same_vocabulary(mine: BPETokenizer, other: Tokenizer, path: Path) -> None:
    mine.save(path)
    own, model = json.loads(path.read_text()), json.loads(other.to_str())["model"]
    assert own["model"]["vocab"] == model["vocab"]
    assert [merge.split(" ") for merge in own["model"]["merges"]] == model["merges"]


# ---- cutting -----------------------------------------------------------------------------------------------------


def test_the_alphabet() -> None:
    assert sorted(pre_tokenizers.ByteLevel.alphabet()) == ALPHABET


def test_pieces_of_all_characters() -> None:
    """Each character, between letters, numbers and spaces."""
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    every = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cs", "Cn")]
    assert len(every) > 140_000
    for start in range(0, len(every), 1000):
        text = "\n".join(f"a{c}1{c}! {c}" for c in every[start : start + 1000])
        pieces = [to_signs(to_bytes(piece)) for part in PART.findall(text) for piece, _ in pieces_of(part)]
        assert pieces == [piece for piece, _ in cut.pre_tokenize_str(text)]


@steady
@given(texts)
def test_pieces(text: str) -> None:
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found = [(piece, part.start() + start) for part in PART.finditer(text) for piece, start in pieces_of(part.group())]
    expected = [(to_signs(to_bytes(p)), (start, start + len(p))) for p, start in found]
    assert expected == cut.pre_tokenize_str(text)


# ---- learning ----------------------------------------------------------------------------------------------------


@steady
@given(st.lists(texts, max_size=6), st.integers(0, 120), st.integers(1, 3))
def test_the_same_merges(tmp_path_factory: pytest.TempPathFactory, corpus: list[str], merges: int, freq: int) -> None:
    corpus = [text.replace("<", "") for text in [*corpus, *SENTENCES]]  # special tokens are no text there
    path = tmp_path_factory.mktemp("merges") / "t.json"
    assert_same_vocabulary(ours(corpus, 260 + merges, freq), theirs(corpus, 260 + merges, freq), path)


@pytest.mark.skipif(DATA is None, reason="MINIGRAD_DATA does not say where the corpora are")
@pytest.mark.parametrize("name", ["ptb/ptb.valid.txt", "multi30k/raw/val.de.txt", "tinyshakespeare/input.txt"])
def test_the_same_merges_and_ids_of_real_text(tmp_path: Path, name: str) -> None:
    lines = read_text(Path(DATA or "", name)).splitlines(keepends=True)
    mine, other = ours(lines, 4000, 2), theirs(lines, 4000, 2)
    assert_same_vocabulary(mine, other, tmp_path / "t.json")
    assert 2700 < len(mine) <= 4000  # the small one has no more pairs that occur twice
    for ids, encoding in zip(mine.encode_batch(lines), other.encode_batch(lines), strict=True):
        assert ids.tolist() == encoding.ids


# ---- files and encoding ------------------------------------------------------------------------------------------

NORMALIZERS: dict[str, tuple[dict[str, Any], Any]] = {
    "plain": ({}, None),
    "NFC": ({"normalization": "NFC"}, normalizers.NFC()),
    "NFKD": ({"normalization": "NFKD"}, normalizers.NFKD()),
    "lower": ({"lowercase": True}, normalizers.Lowercase()),
    "NFD, lower": ({"normalization": "NFD", "lowercase": True},
                   normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])),
    "NFKC, lower": ({"normalization": "NFKC", "lowercase": True},
                    normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])),
}  # fmt: skip


@pytest.fixture(scope="module", params=NORMALIZERS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[BPETokenizer, Tokenizer]:
    """Ours, and our file in theirs."""
    options, _ = NORMALIZERS[request.param]
    path = str(tmp_path_factory.mktemp("files") / "tokenizer.json")
    mine = ours(SENTENCES * 2, 400, 2, **options)
    mine.save(path)
    return mine, Tokenizer.from_file(path)


@pytest.fixture(scope="module", params=NORMALIZERS)
def returned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BPETokenizer, Tokenizer]:
    """Theirs, and their file in ours."""
    options, normalizer = NORMALIZERS[request.param]
    path = str(tmp_path_factory.mktemp("files") / "tokenizer.json")
    other = theirs(SENTENCES * 2, 400, 2, normalizer)
    other.save(path)
    mine = BPETokenizer.load(path, pad="<pad>", bos="<bos>", eos="<eos>")
    assert mine.vocabulary == ours(SENTENCES * 2, 400, 2, **options).vocabulary
    return mine, other


@steady
@given(texts)
def test_they_load_what_is_written_here(pair: tuple[BPETokenizer, Tokenizer], text: str) -> None:
    assert_agree(*pair, text)


@steady
@given(texts)
def test_what_they_write_is_loaded_here(returned: tuple[BPETokenizer, Tokenizer], text: str) -> None:
    assert_agree(*returned, text)


def assert_agree(mine: BPETokenizer, other: Tokenizer, text: str) -> None:
    """They find special tokens in every text, unless they are told not to."""
    for encode_special_tokens in (False, True):
        other.encode_special_tokens = encode_special_tokens
        expected = other.encode(text)
        ids, spans = mine.encode(text, allow_special=not encode_special_tokens, return_offsets=True)
        assert ids.tolist() == expected.ids
        assert [mine.vocabulary.tokens[i] for i in ids] == expected.tokens
        if mine.normalizer.form is None:
            assert [tuple(span) for span in spans.tolist()] == expected.offsets
        assert mine.decode(ids, skip_special=True) == other.decode(expected.ids)
        assert mine.decode(ids) == other.decode(expected.ids, skip_special_tokens=False)
    assert mine.tokenize(text) == expected.tokens


def test_files_of_older_versions(tmp_path: Path) -> None:
    """Merges as lists, as now, and as strings, as then."""
    other = theirs(SENTENCES, 300, 1)
    content = json.loads(other.to_str())
    found = []
    for merges in (content["model"]["merges"], [" ".join(merge) for merge in content["model"]["merges"]]):
        content["model"]["merges"] = merges
        (tmp_path / "t.json").write_text(json.dumps(content))
        found.append(BPETokenizer.load(tmp_path / "t.json").encode(SENTENCES[0]).tolist())
    assert found[0] == found[1] == other.encode(SENTENCES[0]).ids
