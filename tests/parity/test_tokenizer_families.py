"""Files of the common families of byte-level tokenizers, made small: ids, tokens and offsets beside the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from nlp import BPETokenizer

steady = settings(deadline=None, derandomize=True, max_examples=150)
LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")  # fmt: skip
QWEN = LLAMA.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")  # fmt: skip
SENTENCES = [
    "I go to the mall today, don't I? It'S 3.14 % of 42, or 12345 o'clock.\n\n  naïve café, Größe", "ΑΣ İstanbul ǅ ſ",
    "Быстрая лиса прыгает", "मैं आज मॉल जाता हूँ।", "今日はモールに行きます。", "나는 오늘 쇼핑몰에 간다",
    "👩‍👩‍👧 🇩🇪 ½ Ⅷ ² ١٢٣",
    "a\x00b\x1c\x85\u2028 \t\n\n  c_d ~", "ﬁ e\u0301 q\u0323\u0307 ｶﾞ \u1100\u1161\u11a8",
]  # fmt: skip
ALL = ["<s>", "</s>", "<pad>", "<mask>", "<new>", "word", "    ", "  ", "<É>"]
fragments = st.sampled_from(
    [*" \n\t'", *SENTENCES, *ALL, " word", "'s", "'LL", "  ", "   ", "\u3000", "\xa0", "\x1c", "ab"]
)
texts = st.lists(st.one_of(fragments, st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=12)), max_size=7)


def byte_level(**options: Any) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True} | options


def split(pattern: str, behavior: str = "Isolated", invert: bool = False, kind: str = "Regex") -> dict[str, Any]:
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*parts: Any) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


def template(*before: str, after: tuple[str, ...] = (), ids: dict[str, int]) -> dict[str, Any]:
    single: list[Any] = [{"SpecialToken": {"id": token, "type_id": 0}} for token in before]
    single += [{"Sequence": {"id": "A", "type_id": 0}}]
    single += [{"SpecialToken": {"id": token, "type_id": 0}} for token in after]
    special = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (*before, *after)}
    return {"type": "TemplateProcessing", "single": single, "special_tokens": special,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}]}  # fmt: skip


BARE = byte_level(use_regex=False)
BASE = {"<s>": 0, "</s>": 1}


def roberta(prefix: bool, trim: bool = True) -> dict[str, Any]:
    return {
        "type": "RobertaProcessing",
        "sep": ["</s>", 1],
        "cls": ["<s>", 0],
        "trim_offsets": trim,
        "add_prefix_space": prefix,
    }


FAMILIES: dict[str, dict[str, Any]] = {
    "GPT-2": {"pre_tokenizer": byte_level(), "post_processor": byte_level(trim_offsets=False),
              "truncation": {"direction": "Right", "max_length": 100_000, "strategy": "LongestFirst", "stride": 0}},
    "GPT-2, trimmed": {"pre_tokenizer": byte_level(), "post_processor": byte_level()},
    "RoBERTa": {"pre_tokenizer": byte_level(), "post_processor": roberta(False), "lstrip": "<mask>"},
    "RoBERTa, prefix": {"pre_tokenizer": byte_level(add_prefix_space=True), "post_processor": roberta(True),
                        "lstrip": "<mask>"},
    "BART, untrimmed": {"pre_tokenizer": byte_level(add_prefix_space=True), "post_processor": roberta(True, False)},
    "GPT-NeoX": {"pre_tokenizer": byte_level(), "post_processor": template("<s>", ids=BASE),
                 "normalizer": {"type": "NFC"}, "normalized": True},
    "Llama 3": {"pre_tokenizer": sequence(split(LLAMA), BARE), "ignore_merges": True,
                "post_processor": {"type": "Sequence", "processors": [byte_level(), template("<s>", ids=BASE)]}},
    "Qwen": {"pre_tokenizer": sequence(split(QWEN), BARE), "normalizer": {"type": "NFC"},
             "post_processor": byte_level(trim_offsets=False)},
    "o200k": {"pre_tokenizer": sequence(split(O200K, "Removed", True), BARE)},
    "StarCoder": {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level())},
    "digits, prefix": {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False},
                                                 byte_level(add_prefix_space=True)), "post_processor": byte_level()},
    "lower case": {"pre_tokenizer": byte_level(), "normalized": True,
                   "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}},
    **{f"split, {behavior}, {invert}": {"pre_tokenizer": sequence(split(r"[\s\p{P}]", behavior, invert), BARE)}
       for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
       for invert in (False, True)},
    "a string": {"pre_tokenizer": sequence(split("a", "MergedWithNext", kind="String"), byte_level())},
    "single words": {"pre_tokenizer": byte_level(), "single_word": True, "rstrip": "<new>"},
}  # fmt: skip


def file_of(family: str, path: Path) -> Path:
    """A small file of a family."""
    wanted = dict(FAMILIES[family])
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<s>", "</s>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    t.train_from_iterator(SENTENCES * 3, trainer)
    content = json.loads(t.to_str())
    size = len(content["model"]["vocab"])
    flags = {name: wanted.pop(name, None) for name in ("lstrip", "rstrip", "normalized", "single_word")}
    for k, token in enumerate(ALL[2:]):
        special = token in ("<pad>", "<mask>")
        content["added_tokens"].append({
            "id": size + k, "content": token, "single_word": bool(flags["single_word"]) and token == "word",
            "lstrip": flags["lstrip"] == token, "rstrip": flags["rstrip"] == token,
            "normalized": bool(flags["normalized"]) and not special, "special": special,
        })  # fmt: skip
    content["model"]["ignore_merges"] = wanted.pop("ignore_merges", False)
    path.write_text(json.dumps(content | wanted))
    return path


@pytest.fixture(scope="module", params=FAMILIES)
def three(request: Any, tmp_path_factory: Any) -> tuple[str, BPETokenizer, Tokenizer, Tokenizer]:
    """The file here, in the library, and in the library after it was written here."""
    folder = tmp_path_factory.mktemp("family")
    path = file_of(request.param, folder / "tokenizer.json")
    ours = BPETokenizer.load(path)
    ours.save(folder / "again.json")
    return request.param, ours, Tokenizer.from_file(str(path)), Tokenizer.from_file(str(folder / "again.json"))


@steady
@given(texts.map("".join))
def test_ids_tokens_and_offsets(three: tuple[str, BPETokenizer, Tokenizer, Tokenizer], text: str) -> None:
    family, ours, theirs, again = three
    for plain in (False, True):
        theirs.encode_special_tokens = again.encode_special_tokens = plain
        expected = theirs.encode(text, add_special_tokens=False)
        ids, spans = ours.encode(text, allow_special=not plain, return_offsets=True)
        assert ids.tolist() == expected.ids == again.encode(text, add_special_tokens=False).ids
        assert ours.encode(text, allow_special=not plain).tolist() == expected.ids
        assert again.encode(text).offsets == theirs.encode(text).offsets
        if ours.normalizer.form is None and not ours.normalizer.lowercase:
            assert [tuple(span) for span in spans.tolist()] == expected.offsets
        around = theirs.encode(text).ids
        has = {role: getattr(ours.vocabulary, role) is not None for role in ("bos", "eos")}
        assert ours.encode(text, allow_special=not plain, **has).tolist() == around
        if family == "lower case":
            continue  # there the library decodes a token that was added in lower case
        assert ours.decode(ids, skip_special=True) == theirs.decode(expected.ids)
        assert ours.decode(ids) == theirs.decode(expected.ids, skip_special_tokens=False)
    if family not in ("lower case", "single words"):  # there it shows white space or lower case
        assert ours.tokenize(text) == expected.tokens


def test_what_is_written_says_the_same(three: tuple[str, BPETokenizer, Tokenizer, Tokenizer], tmp_path: Path) -> None:
    _, ours, theirs, again = three
    one, other = json.loads(theirs.to_str()), json.loads(again.to_str())
    assert one == other
    ours.save(tmp_path / "t.json")
    BPETokenizer.load(tmp_path / "t.json").save(tmp_path / "u.json")
    assert (tmp_path / "t.json").read_bytes() == (tmp_path / "u.json").read_bytes()
