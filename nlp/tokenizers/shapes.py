"""Shapes: the kinds of characters as ASCII, so that a plain regular expression can cut any script.

Python's `re` lacks classes such as "letter" or "number". Here each character outside ASCII is replaced by one that
represents its kind; the text is cut where the expression cuts its shape. Kinds are Unicode's general categories
(https://www.unicode.org/reports/tr44), from this Python's `unicodedata`.
"""

from __future__ import annotations

import unicodedata

LETTER, NUMBER, MARK, BLANK, OTHER = "a", "0", "~", "\t", "!"
KINDS = {"L": LETTER, "N": NUMBER, "M": MARK, "Z": BLANK}

# The white space of Unicode (the property White_Space), for the inside of a character class. Python's \s has the four
# separators U+001C to U+001F as well.
SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


class _Shapes(dict[int, str]):
    """A table of shapes by code point for `str.translate`, filled on demand."""

    def __missing__(self, code: int) -> str:
        if code < 128:
            shape = chr(code)
        else:
            shape = BLANK if code == 0x85 else KINDS.get(unicodedata.category(chr(code))[0], OTHER)
        self[code] = shape
        return shape


_SHAPES = _Shapes()


def shape(text: str) -> str:
    """A text of the same length, in ASCII only: a for letters, 0 for numbers, ~ for marks, a tab for white space, ! for
    all others. ASCII characters stay.

    >>> shape("Größe 42 Ⅷ é")
    'Graae 42 0 a'
    """
    return text if text.isascii() else text.translate(_SHAPES)
