"""Texts as bytes shown by visible characters, and GPT-2's cut into pieces (Radford et al. 2019).

A byte-level tokenizer has a symbol for each of the 256 bytes, so no text is unknown. In files and lists, a byte is
shown as a visible character: itself if it is one in Latin-1, else one from U+0100 on; a space is "Ġ".
"""

from __future__ import annotations

import codecs
import re

from .shapes import SPACE, shape

_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_HIDDEN = [byte for byte in range(256) if byte not in set(_VISIBLE)]
SIGNS = dict(zip(_VISIBLE, map(chr, _VISIBLE), strict=True)) | {b: chr(0x100 + k) for k, b in enumerate(_HIDDEN)}
BYTES = {sign: byte for byte, sign in SIGNS.items()}
ALPHABET = sorted(BYTES)
_TO_LATIN = {ord(sign): byte for byte, sign in SIGNS.items()}


def to_signs(raw: bytes) -> str:
    """Bytes as visible characters, one each.

    >>> to_signs(b" a\\n")
    'ĠaĊ'
    """
    return raw.decode("latin-1").translate(SIGNS)


def from_signs(signs: str) -> bytes:
    """The bytes shown by visible characters. Raises ValueError for other characters."""
    if not signs_only(signs):
        raise ValueError(f"{signs!r} is not made of the characters that stand for bytes")
    return signs.translate(_TO_LATIN).encode("latin-1")


def signs_only(text: str) -> bool:
    """True if all characters of a text represent bytes."""
    return BYTES.keys() >= set(text)


def to_bytes(text: str) -> bytes:
    """UTF-8; a lone surrogate, which UTF-8 excludes, becomes three bytes like other characters of its size."""
    return text.encode("utf-8", "surrogatepass")


def to_text(raw: bytes) -> str:
    """The text of bytes. Bytes that are neither UTF-8 nor a surrogate from `to_bytes` become U+FFFD."""
    return raw.decode("utf-8", _ERRORS)


def _surrogate_or_replacement(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogatepass")(error)
    except UnicodeDecodeError as failed:
        return "\ufffd", failed.end


_ERRORS = "nlp.surrogate_or_replacement"
codecs.register_error(_ERRORS, _surrogate_or_replacement)


# A word, number, or run of other characters, with the space before it; white space up to that. Pieces do not extend
# beyond white space, so a text can be cut there first, and these parts looked up.
PART = re.compile(f" ?[^{SPACE}]+|[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+")
_PIECE = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\t-\r A-Za-z0-9]+|[\t-\r ]+(?![^\t-\r ])|[\t-\r ]+"
)  # of a shape


def pieces_of(part: str) -> list[tuple[str, int]]:
    """The pieces of a text that merges stay within, each with its start.

    >>> pieces_of(" it's 12%")
    [(' it', 0), ("'s", 3), (' 12', 5), ('%', 8)]
    """
    return [(part[m.start() : m.end()], m.start()) for m in _PIECE.finditer(shape(part))]
