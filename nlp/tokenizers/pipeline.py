"""Pipelines in files of Hugging Face's `tokenizers` other than GPT-2's: added tokens, then patterns.

Added tokens are found in the text first, special or not. The text between them is normalised and passes the
pre-tokenizers, one after the other; byte pairs are merged within the resulting pieces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .byte_level import PART, pieces_of
from .normalizing import Normalizer
from .shapes import SPACE

Array = Any
Piece = tuple[str, int, int]  # a text, its start, and the number of characters inserted before it (0 or 1)
Step = Callable[[str], "list[tuple[int, int]]"]  # the spans of the parts of a text
_SPACES_BEFORE = re.compile(f"[{SPACE}]*\\Z")
_SPACES_AFTER = re.compile(f"[{SPACE}]*")


@dataclass(frozen=True)
class Added:
    """A token that is found in the text literally.

    special         found only where special tokens are allowed
    single_word     not found within a word
    lstrip, rstrip  it includes the white space before, or after, it
    normalized      it is normalised, and looked for in the normalised text
    """

    content: str
    id: int
    special: bool
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False

    @property
    def plain(self) -> bool:
        """True for a special token without any of the options."""
        return self.special and not (self.single_word or self.lstrip or self.rstrip or self.normalized)


class Finder:
    """Finds added tokens in a text; of several at one position, the longest."""

    def __init__(self, added: Sequence[Added], normalizer: Normalizer | None = None) -> None:
        self.tokens = {normalizer(one.content) if normalizer else one.content: one for one in added}
        plain = [content for content, one in self.tokens.items() if not one.special]
        self.patterns = {True: _any_of(self.tokens), False: _any_of(plain)}  # with special tokens, and without

    def cut(self, text: str, allow_special: bool) -> Iterator[tuple[Added | None, int, int]]:
        """The parts of a text, each with its added token, or None."""
        end = 0
        for match in self.patterns[allow_special].finditer(text):
            one, (start, stop) = self.tokens[match.group()], match.span()
            if one.single_word and (_is_word(text[start - 1 : start]) or _is_word(text[stop : stop + 1])):
                continue
            if one.lstrip and start > end:
                start = max(_SPACES_BEFORE.search(text, end, start).start(), end)  # type: ignore[union-attr]
            if one.rstrip:
                stop = _SPACES_AFTER.match(text, stop).end()  # type: ignore[union-attr]
            if start > end:
                yield None, end, start
            yield one, start, stop
            end = stop
        if end < len(text):
            yield None, end, len(text)


def _any_of(contents: Iterable[str]) -> re.Pattern[str]:
    found = sorted((re.escape(content) for content in contents if content), key=len, reverse=True)
    return re.compile("|".join(found) if found else "(?!)")


def _is_word(character: str) -> bool:
    kind = unicodedata.category(character) if character else ""
    return kind[:1] in ("L", "M") or kind in ("Nd", "Nl", "Pc") or "\u24b6" <= character <= "\u24e9" or (
        character in ("\u200c", "\u200d")
    )  # fmt: skip


@dataclass(frozen=True)
class Pretokenizer:
    """A pre-tokenizer: an optional space before a text that does not begin with one, then cutting."""

    cut: Step | None = None
    prefix: bool = False

    def __call__(self, piece: Piece) -> Iterator[Piece]:
        text, begin, put = piece
        if self.prefix and not text.startswith(" "):
            text, put = " " + text, put + 1
        for a, b in [(0, len(text))] if self.cut is None else self.cut(text):
            if b > a:
                yield text[a:b], begin + max(a - put, 0), max(put - a, 0)


def gpt2(text: str) -> list[tuple[int, int]]:
    """The spans of GPT-2's pieces."""
    found = ((part.start() + start, len(piece)) for part in PART.finditer(text)
             for piece, start in pieces_of(part.group()))  # fmt: skip
    return [(start, start + size) for start, size in found]


class Pipeline:
    """All steps before byte pairs are merged.

    trim    the offsets of tokens exclude white space at their ends
    prefix  a text's first space may have been inserted, which `trim` takes into account
    """

    def __init__(
        self, normalizer: Normalizer, added: Sequence[Added], steps: Sequence[Pretokenizer], trim: bool, prefix: bool
    ) -> None:  # fmt: skip
        self.normalizer, self.steps, self.trim, self.prefix = normalizer, steps, trim, prefix
        self.raw = Finder([one for one in added if not one.normalized])
        self.normal = Finder([one for one in added if one.normalized], normalizer)

    def sections(
        self, text: str, allow_special: bool, aligned: bool = False
    ) -> Iterator[tuple[Added | None, str, Array | None]]:  # fmt: skip
        """Added tokens and the text between them, normalised; with the span in the text of each character (M, 2)."""
        for one, start, end in self.raw.cut(text, allow_special):
            part = text[start:end]
            if one is not None:
                yield one, part, np.array([[start, end]]) if aligned else None
                continue
            normal, spans = self.normalizer.aligned(part) if aligned else (self.normalizer(part), None)
            for other, a, b in self.normal.cut(normal, allow_special):
                yield other, normal[a:b], None if spans is None else start + spans[a:b]

    def pieces(self, section: str) -> list[Piece]:
        """The pieces of a section other than an added token."""
        found: list[Piece] = [(section, 0, 0)]
        for step in self.steps:
            found = [piece for before in found for piece in step(before)]
        return found

    def trimmed(self, tokens: Sequence[str], spans: Array) -> Array:
        """Spans (T, 2) of tokens without the white space at their ends."""
        if not self.trim:
            return spans
        spans = spans.copy()
        for k, token in enumerate(tokens):
            visible = "".join(" " if c == "Ġ" or c in WHITE else c for c in token)
            before, after = len(visible) - len(visible.lstrip(" ")), len(visible) - len(visible.rstrip(" "))
            start, end = spans[k].tolist()
            if before:
                start = min(start + before - (self.prefix and token[0] == "Ġ" and (k == 0 or start == 0)), end)
            if after and end >= after:
                end = max(end - after, start)
            spans[k] = start, end
        return spans


WHITE = {chr(code) for code in range(0x3001) if re.match(f"[{SPACE}]", chr(code))}
