"""Kinds of characters in the alphabet of ASCII, so that a plain regular expression cuts any script.

Python's `re` knows no classes such as "letter" or "number". Here each character that is not ASCII is replaced by one
that stands for its kind; where the expression cuts the replaced text, the text itself is cut. Kinds are Unicode's
general categories (https://www.unicode.org/reports/tr44), as the `unicodedata` of this Python has them.
"""

from __future__ import annotations

import unicodedata

LETTER, NUMBER, MARK, BLANK, OTHER = "a", "0", "~", "\t", "!"
KINDS = {"L": LETTER, "N": NUMBER, "M": MARK, "Z": BLANK}

# The white space of Unicode (the property White_Space), for the inside of a character class. Python's \s has the four
# separators U+001C to U+001F as well.
SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


class _Shapes(dict[int, str]):
    """What stands for each code point, made as it is met; `str.translate` takes it."""

    def __missing__(self, code: int) -> str:
        if code < 128:
            shape = chr(code)
        else:
            shape = BLANK if code == 0x85 else KINDS.get(unicodedata.category(chr(code))[0], OTHER)
        self[code] = shape
        return shape


_SHAPES = _Shapes()


def shape(text: str) -> str:
    """A text of the same length, with characters of ASCII only: a for letters, 0 for numbers, ~ for marks, a tab for
    white space, ! for all others. What is ASCII stays.

    >>> shape("Größe 42 Ⅷ é")
    'Graae 42 0 a'
    """
    return text if text.isascii() else text.translate(_SHAPES)
