"""A tokenizer of characters."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from .base import Token, Tokenizer


class CharTokenizer(Tokenizer):
    """Every character (code point) is a token, including white space. Tokenizer's arguments.

    >>> t = CharTokenizer(pad=None, bos=None, eos=None).fit(["mall today"])
    >>> t.vocabulary.tokens
    ('<unk>', 'a', 'l', ' ', 'd', 'm', 'o', 't', 'y')
    >>> t.encode("today").tolist()
    [7, 6, 4, 1, 8]
    >>> t.decode(t.encode("lama"))
    'lama'
    """

    pattern = re.compile(r"(?s:.)")

    def _chunks(self, text: str) -> Iterable[str]:
        return text

    def _cut(self, chunk: str) -> list[Token]:
        return [(chunk, 0, 1)]

    def _is_token(self, token: str) -> bool:
        return len(token) == 1

    def _join(self, tokens: list[str]) -> str:
        return "".join(tokens)

    def _ready(self) -> None:
        super()._ready()
        codes = np.array([ord(character) for character in self._plain], np.int64)
        unknown = self._vocabulary.unk_id
        size = int(codes.max(initial=0)) + 2  # the last entry is for all code points beyond
        self._table = np.full(size, -1 if unknown is None else unknown, np.int64)
        self._table[codes] = list(self._plain.values())

    def _encode(self, text: str) -> bytes:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")  # (T,)
        ids = self._table[np.minimum(codes, len(self._table) - 1)]
        if self._vocabulary.unk is None and (ids < 0).any():
            place = int(np.argmax(ids < 0))
            raise ValueError(
                f"CharTokenizer.encode: {text[place]!r}, character {place}, is not in the vocabulary, which has no unk"
            )
        raw: bytes = ids.tobytes()
        return raw
