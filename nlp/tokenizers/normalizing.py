"""Unicode normalisation and lower case, with a map back to the source text.

Forms (https://www.unicode.org/reports/tr15): NFC composes ("e" and U+0301 become "é"), NFD decomposes, NFKC and NFKD
also replace compatibility characters ("ﬁ" becomes "fi"). Lower case comes afterwards, for each character by itself: a
final sigma is treated like any other.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
FORMS = ("NFC", "NFD", "NFKC", "NFKD")


@dataclass(frozen=True)
class Normalizer:
    """The normalisation of a text before it is cut into tokens.

    form       "NFC", "NFD", "NFKC", "NFKD", or None
    lowercase  True to convert to lower case
    """

    form: str | None = None
    lowercase: bool = False

    def __post_init__(self) -> None:
        if self.form is not None and self.form not in FORMS:
            raise ValueError(f"normalization must be one of {', '.join(FORMS)}, or None, not {self.form!r}")
        if not isinstance(self.lowercase, bool):
            raise TypeError(f"lowercase must be True or False, not {self.lowercase!r}")

    def __call__(self, text: str) -> str:
        """The normalised text."""
        if self.form is not None:
            text = unicodedata.normalize(self.form, text)  # type: ignore[arg-type]
        return _lower(text) if self.lowercase else text

    def aligned(self, text: str) -> tuple[str, Array]:
        """The normalised text, M characters, and the span (M, 2) of the source that each of them comes from."""
        if self(text) == text:
            places = np.arange(len(text))
            return text, np.stack([places, places + 1], axis=-1)
        characters: list[str] = []
        spans: list[tuple[int, int]] = []
        for start, end in self._segments(text):
            for character in self(text[start:end]):
                characters.append(character)
                spans.append((start, end))
        return "".join(characters), np.array(spans, np.int64).reshape(-1, 2)

    def _segments(self, text: str) -> Iterator[tuple[int, int]]:
        """The smallest spans that can be normalised separately: a character with all that combines with it."""
        start = 0
        for place in range(1, len(text)):
            if self._begins(text[start:place], text[place]):
                yield start, place
                start = place
        if text:
            yield start, len(text)

    def _begins(self, before: str, character: str) -> bool:
        """True if a character cannot combine with the text before it. Marks can, and are put in order; of the others
        some can, such as the letters of a Korean syllable."""
        if self.form is None or character < "\x80":
            return True
        if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]):
            return False
        return self(before + character) == self(before) + self(character)


def _lower(text: str) -> str:
    return text.replace("Σ", "σ").lower()  # the only character that str.lower lowers by context
