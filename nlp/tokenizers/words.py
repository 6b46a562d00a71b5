"""Tokenizers of words, and of n-grams of their characters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, Unpack

from ..files import Document
from .base import Options, Token, Tokenizer
from .shapes import shape

# Letters, numbers and marks, with apostrophes inside ("don't"); or one other character. For shapes.
WORD = re.compile(r"[\w~]+(?:'[\w~]+)*|[^\w~\s]")
WORD_OR_BLANK = re.compile(WORD.pattern + r"|\s")
# A typographic apostrophe is an apostrophe; a tilde is not a mark, though marks have its shape.
_SIGNS = str.maketrans({"’": "'", "~": "!"})


def words_of(chunk: str, what: re.Pattern[str] = WORD) -> list[Token]:
    """The words and other characters of a text, each with its position."""
    return [(chunk[m.start() : m.end()], *m.span()) for m in what.finditer(shape(chunk.translate(_SIGNS)))]


class WordTokenizer(Tokenizer):
    """Words, separated by white space and, by default, from punctuation.

    split  "words": runs of letters, marks and digits, with apostrophes inside them, and every other character by
           itself; "spaces": the text between white space, for texts that are tokenized already
    Tokenizer's arguments follow

    >>> t = WordTokenizer(lowercase=True).fit(["I go to the mall today.", "Don't go!"])
    >>> t.tokenize("Let's go to the mall!")
    ["let's", 'go', 'to', 'the', 'mall', '!']
    >>> t.decode(t.encode("Let's go to the mall!"))
    '<unk> go to the mall !'

    Decoding puts a space between two tokens.
    """

    pattern = re.compile(r"\S+")
    between = " "

    def __init__(self, split: Literal["words", "spaces"] = "words", **options: Unpack[Options]) -> None:
        super().__init__(**options)
        if split not in ("words", "spaces"):
            raise ValueError(f'WordTokenizer: split must be "words" or "spaces", not {split!r}')
        self.split = split

    def _chunks(self, text: str) -> Iterable[str]:
        return text.split()  # equal to the pattern's matches, but faster

    def _cut(self, chunk: str) -> list[Token]:
        return words_of(chunk) if self.split == "words" else [(chunk, 0, len(chunk))]

    def _join(self, tokens: list[str]) -> str:
        return " ".join(tokens)

    def _options(self) -> dict[str, str | int]:
        return {"split": self.split}

    @classmethod
    def _read_options(cls, document: Document) -> dict[str, Any]:
        return {"split": document.get("split", str)}


class NGramTokenizer(Tokenizer):
    """The n-grams of the characters of each word: parts of words that overlap.

    n  characters in a token
    Tokenizer's arguments follow

    >>> t = NGramTokenizer(2).fit(["Today I go to the mall."])
    >>> t.tokenize("Today")
    ['To', 'od', 'da', 'ay']
    >>> t.tokenize("I go")
    ['I', ' ', 'go']
    >>> t.decode(t.encode("to the mall"))
    'to the mall'

    Words are those of `WordTokenizer`; one with at most n characters is one token. Each white space character is a
    token: it tells where a word ends, so that decoding restores the text, if all its tokens are known.
    """

    pattern = re.compile("[^ ]+| ")

    def __init__(self, n: int, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"NGramTokenizer: n must be an integer of at least 1, not {n!r}")
        self.n = n

    def _cut(self, chunk: str) -> list[Token]:
        n = self.n
        return [
            (word[i : i + n], start + i, min(start + i + n, end))
            for word, start, end in words_of(chunk, WORD_OR_BLANK) for i in range(max(len(word) - n, 0) + 1)
        ]  # fmt: skip

    def _encode(self, text: str) -> bytes:  # as in the base class, but without a look-up for each space
        ids = map(self._known.__getitem__, text.split(" "))
        return self._known[" "].join(ids) if " " in text else b"".join(ids)

    def _join(self, tokens: list[str]) -> str:
        parts = []
        before = ""
        for token in tokens:  # neighbours of length n are from one word, unless n is 1
            overlap = self.n - 1 if len(before) == len(token) == self.n else 0
            parts.append(token[overlap:])
            before = token
        return "".join(parts)

    def _options(self) -> dict[str, str | int]:
        return {"n": self.n}

    @classmethod
    def _read_options(cls, document: Document) -> dict[str, Any]:
        return {"n": document.get("n", int)}
