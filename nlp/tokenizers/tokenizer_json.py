"""The file `tokenizer.json` of Hugging Face's library `tokenizers`, version 1.0, for byte-level BPE.

https://github.com/huggingface/tokenizers reads and writes it. An entry of `added_tokens` written here also has the
token's role; the library ignores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nn.training.files import StrPath

from ..files import Document, write_json
from ..vocabulary import ROLES, Vocabulary
from .byte_level import BYTES, signs_only
from .normalizing import FORMS, Normalizer
from .pipeline import Added, Pipeline, Pretokenizer, gpt2
from .tokenizer_parts import post_processor, pretokenizers

Merges = list[tuple[str, str]]
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
# Unsupported features of the library: fields of the model, with the values that leave them unused.
UNUSED = {"dropout": (None, 0.0), "continuing_subword_prefix": (None, ""), "end_of_word_suffix": (None, ""),
          "fuse_unk": (False, None), "byte_fallback": (False, None)}  # fmt: skip
KEPT = (
    "truncation",
    "padding",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "normalizer",
)  # as they were read
Made = tuple[Pipeline | None, bool, dict[str, Any]]  # the pipeline, whole pieces first, the file's other content


def write(
    path: StrPath, vocabulary: Vocabulary, merges: Merges, normalizer: Normalizer, said: Mapping[str, Any]
) -> None:  # fmt: skip
    """Write a tokenizer into a file, atomically; `said` is the other content of the file it was read from."""
    roles = {getattr(vocabulary, role): role for role in ROLES}
    added = [
        {"id": vocabulary[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for token in vocabulary.specials
    ]  # fmt: skip
    added = [one | ({"role": roles[one["content"]]} if one["content"] in roles else {})
             for one in said.get("added_tokens", added)]  # fmt: skip
    steps = [{"type": normalizer.form}] if normalizer.form is not None else []
    steps += [{"type": "Lowercase"}] if normalizer.lowercase else []
    model = {"type": "BPE", "unk_token": vocabulary.unk, **{name: values[0] for name, values in UNUSED.items()},
             "ignore_merges": False}  # fmt: skip
    outside = {token["content"] for token in added} if said else set()
    inside = said.get("vocab", ())
    write_json(path, {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=lambda token: token["id"]),
        "normalizer": {"type": "Sequence", "normalizers": steps} if steps else None,
        "pre_tokenizer": BYTE_LEVEL,
        "post_processor": BYTE_LEVEL,
        "decoder": BYTE_LEVEL,
        **{name: said[name] for name in KEPT if name in said},
        "model": {
            **said.get("model", model),
            "vocab": {t: i for i, t in enumerate(vocabulary.tokens) if t not in outside or t in inside},
            "merges": [f"{a} {b}" for a, b in merges],
        },
    })  # fmt: skip


# ---- reading -----------------------------------------------------------------------------------------------------


def read(document: Document, roles: Mapping[str, str | None]) -> tuple[Vocabulary, Merges, Normalizer, Made]:
    """The content of a file, checked; `roles` override those of the file."""
    if (version := document.content.get("version")) != "1.0":
        document.fail(f"its version is {version!r}; this program reads version '1.0' of tokenizer.json")
    for name in ("truncation", "padding"):  # unsupported, but kept
        document.get(name, dict, None, default=None)
    if (kind := document.get_object("decoder").get("type", str)) != "ByteLevel":
        document.fail(f"the decoder {kind!r} is not supported, only 'ByteLevel'")
    steps = pretokenizers(document)
    around, trim, prefix = post_processor(document)
    model = document.get_object("model")
    if model.get("type", str, default="BPE") != "BPE":
        model.fail(f"the type is {model.content['type']!r}; only 'BPE' is read here")
    for name, values in UNUSED.items():
        if model.content.get(name) not in values:
            model.fail(f"{name} = {model.content[name]!r} is not supported")
    whole = model.get("ignore_merges", bool, None, default=False) or False
    added, known_roles = _added_tokens(document)
    specials = {one.content: one.id for one in added if one.special}
    unk = model.get("unk_token", str, None, default=None) or None
    if unk is not None and unk not in specials:
        specials[unk] = -1
    known_roles |= {"unk": unk} | {role: token for role, token in roles.items() if token is not None}
    for role, token in around.items():
        if role not in known_roles and token in specials and token not in known_roles.values():
            known_roles[role] = token
    tokens = _tokens(model, {one.content: one.id for one in added} | specials)
    if wrong := [t for t in known_roles.values() if t is not None and t not in specials]:
        document.fail(f"{wrong[0]!r} is not one of its special tokens: {', '.join(map(repr, specials)) or 'none'}")
    try:
        vocabulary = Vocabulary.of(
            tokens, **known_roles, specials=[t for t in specials if t not in known_roles.values()]
        )
    except ValueError as error:
        document.fail(str(error))
    normalizer, merges = _normalizer(document), _merges(model, vocabulary)
    ids = {token: i for i, token in enumerate(tokens)}
    said = {name: document.content[name] for name in KEPT if name in document.content}
    said["added_tokens"] = [
        {key: value for key, value in one.items() if key != "role"}
        for one in document.get("added_tokens", list, default=[])
    ]
    said["model"] = {name: value for name, value in model.content.items() if name not in ("vocab", "merges")}
    said["vocab"] = {one.content for one in added if one.content in model.content["vocab"]}
    pipeline = Pipeline(normalizer, [replace(one, id=ids[one.content]) for one in added], steps, trim, prefix)
    plain = steps == [Pretokenizer(gpt2)] and not trim and not whole and all(one.plain for one in added)
    return vocabulary, merges, normalizer, (None if plain else pipeline, whole, said)


def _added_tokens(document: Document) -> tuple[list[Added], dict[str, str | None]]:
    """The tokens found literally in the text, and those with roles."""
    found: dict[str, Added] = {}
    roles: dict[str, str | None] = {}
    for place, content in enumerate(document.get("added_tokens", list, default=[])):
        token = Document(document.path, content, f"added_tokens, item {place}")
        text = token.get("content", str)
        if text in found or text in BYTES or not text:
            token.fail(f"{text!r} is there twice, or empty, or stands for a byte")
        flags = {name: token.get(name, bool, default=False)
                 for name in ("special", "single_word", "lstrip", "rstrip", "normalized")}  # fmt: skip
        found[text] = Added(text, token.get("id", int), **flags)
        if (role := token.get("role", str, None, default=None)) is not None:
            if role not in ROLES or role in roles or not flags["special"]:
                known = ", ".join(ROLES)
                token.fail(f"the role {role!r} is not one of {known}, or is given twice, or is not of a special token")
            roles[role] = text
    return list(found.values()), roles


def _tokens(model: Document, specials: dict[str, int]) -> list[str]:
    """All tokens in the order of their ids, which must be 0, 1, 2, ..."""
    ids = dict(model.get("vocab", dict))
    for token, i in specials.items():
        if i != ids.setdefault(token, i) and i != -1:
            model.fail(f"the special token {token!r} has the ids {i} and {ids[token]}")
    for token, i in ids.items():
        if isinstance(i, bool) or not isinstance(i, int):
            model.fail(f"the id of {token!r} is {i!r}")
        if token not in specials and not (token and signs_only(token)):
            model.fail(f"{token!r} is not made of the characters that stand for bytes")
    tokens = sorted(ids, key=ids.__getitem__)
    for expected, token in enumerate(tokens):
        if ids[token] != expected:
            model.fail(f"no token has the id {expected}, or several have the one of {token!r}, {ids[token]}")
    return tokens


def _merges(model: Document, vocabulary: Vocabulary) -> Merges:
    """Pairs of tokens; each merge is written as "a b" or ["a", "b"]."""
    merges: Merges = []
    special = set(vocabulary.specials)
    for place, merge in enumerate(model.get("merges", list)):
        parts: Any = merge.split(" ") if isinstance(merge, str) else merge
        if not (isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts)):
            model.fail(f"merge {place} is {merge!r}, not two tokens")
        first, second = parts
        for token in (first, second, first + second):
            if token not in vocabulary:
                model.fail(f"merge {place}, {merge!r}, needs the token {token!r}, which is not in the vocabulary")
        if not {first, second, first + second} & special:  # such a merge never applies to plain text
            merges.append((first, second))
    if len(set(merges)) < len(merges):
        model.fail("a merge is there twice")
    return merges


def _normalizer(document: Document) -> Normalizer:
    """A Unicode form, lower case, or one after the other."""
    if document.content.get("normalizer") is None:
        return Normalizer()
    steps = [document.get_object("normalizer")]
    if steps[0].get("type", str) == "Sequence":
        inner = steps[0].get("normalizers", list)
        steps = [Document(document.path, step, f"normalizer, item {place}") for place, step in enumerate(inner)]
    kinds = [step.get("type", str) for step in steps]
    form = kinds.pop(0) if kinds and kinds[0] in FORMS else None
    lowercase = kinds == ["Lowercase"]
    if kinds and not lowercase:
        document.fail(f"the normalizer {' then '.join(kinds)} is not supported")
    return Normalizer(form, lowercase)
