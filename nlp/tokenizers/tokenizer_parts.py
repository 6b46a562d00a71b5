"""Parts of `tokenizer.json` around the model: pre-tokenizers, which cut texts, and post-processors."""

from __future__ import annotations

from typing import Any

from ..files import Document
from .patterns import BEHAVIORS, splitter
from .pipeline import Pretokenizer, gpt2


def pretokenizers(document: Document) -> list[Pretokenizer]:
    """The pre-tokenizers of a file; the last one is byte-level."""
    parts = _flat(document.get_object("pre_tokenizer"), "pretokenizers")
    kinds = [part.get("type", str) for part in parts]
    if kinds.count("ByteLevel") != 1 or kinds[-1] != "ByteLevel":
        document.fail(
            f"the pre_tokenizer {' then '.join(kinds) or 'of no parts'} is not supported, but ByteLevel as the last"
        )
    return [_pretokenizer(part, kind) for part, kind in zip(parts, kinds, strict=True)]


def _flat(part: Document, field: str) -> list[Document]:
    """A part, or the parts of a Sequence."""
    if part.get("type", str) != "Sequence":
        return [part]
    inner = part.get(field, list)
    return [leaf for n, content in enumerate(inner)
            for leaf in _flat(Document(part.path, content, f"{part.place}, item {n}"), field)]  # fmt: skip


def _pretokenizer(part: Document, kind: str) -> Pretokenizer:
    if kind == "ByteLevel":
        cut = gpt2 if part.get("use_regex", bool, default=True) else None
        return Pretokenizer(cut, part.get("add_prefix_space", bool))
    try:
        if kind == "Digits":
            behavior = "Isolated" if part.get("individual_digits", bool) else "Contiguous"
            return Pretokenizer(splitter(r"\p{N}", False, behavior, False))
        if kind == "Split":
            pattern = part.get_object("pattern")
            name = next(iter(pattern.content), "")
            behavior = part.get("behavior", str)
            if len(pattern.content) != 1 or name not in ("String", "Regex") or behavior not in BEHAVIORS:
                part.fail(f"the pattern of the kind {name!r} or the behavior {behavior!r} is not supported")
            invert = part.get("invert", bool, default=False)
            return Pretokenizer(splitter(pattern.get(name, str), name == "String", behavior, invert))
    except ValueError as error:
        if str(error).startswith(part.path):
            raise
        part.fail(str(error))
    part.fail(f"the pre_tokenizer {kind!r} is not supported")


def post_processor(document: Document) -> tuple[dict[str, str], bool, bool]:
    """The last part of a file's pipeline: the first and last tokens, by role; True if offsets exclude white space at
    the ends of tokens; and True if the first space may have been inserted."""
    if document.content.get("post_processor") is None:
        return {}, False, False
    roles: dict[str, str] = {}
    trim = prefix = False
    for part in _flat(document.get_object("post_processor"), "processors"):
        kind = part.get("type", str)
        if kind in ("ByteLevel", "RobertaProcessing"):
            trims = part.get("trim_offsets", bool, default=True)
            if trims and trim:
                part.fail("the offsets are trimmed twice, which is not supported")
            trim, prefix = trim or trims, prefix or (trims and part.get("add_prefix_space", bool, default=True))
        if kind in ("RobertaProcessing", "BertProcessing"):
            roles |= {"bos": _named(part, "cls"), "eos": _named(part, "sep")}
        elif kind == "TemplateProcessing":
            roles |= _template(part)
        elif kind != "ByteLevel":
            part.fail(f"the post_processor {kind!r} is not supported")
    return roles, trim, prefix


def _named(part: Document, field: str) -> str:
    pair: Any = part.get(field, list)
    if len(pair) != 2 or not isinstance(pair[0], str):
        part.fail(f"{field!r} is not a token and its id")
    return str(pair[0])


def _template(part: Document) -> dict[str, str]:
    """The one token before a text, and the one after it, if any."""
    before: list[str] = []
    after: list[str] = []
    side = before
    for n, content in enumerate(part.get("single", list)):
        item = Document(part.path, content, f"{part.place}, item {n} of single")
        if "Sequence" in item.content:
            side = after
        else:
            side.append(item.get_object("SpecialToken").get("id", str))
    return {role: found[0] for role, found in (("bos", before), ("eos", after)) if len(found) == 1}
