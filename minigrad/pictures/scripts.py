"""Subscripts in labels: W_s and h_{t−1} as pieces, each with its level."""

from __future__ import annotations

import re

SCRIPT = 0.72  # relative size of subscripts
_PIECE = re.compile(r"([^\W\d_][^\s_,{}]*)_(\{[^{}]*\}|[A-Za-z0-9]+)")


def pieces(text: str) -> list[tuple[str, bool]]:
    """The text in pieces; True for a subscript."""
    found: list[tuple[str, bool]] = []
    at = 0
    for match in _PIECE.finditer(text):
        found += [(text[at : match.end(1)], False), (match[2].strip("{}"), True)]
        at = match.end()
    found.append((text[at:], False))
    return [piece for piece in found if piece[0]]


def plain(text: str) -> str:
    """The characters of a label, without subscript markup."""
    return "".join([piece for piece, _ in pieces(text)])


def tex(text: str) -> str:
    """The label in TeX's math mode: letters in italics, words upright."""
    out = []
    for piece, low in pieces(text):
        escaped = piece
        for sign, code in _TEX.items():
            escaped = escaped.replace(sign, code)
        word = len(piece) > 2 and piece.replace(" ", "").isalpha()
        escaped = rf"\mathrm{{{escaped}}}".replace(" ", r"\ ") if word else escaped
        out.append(f"_{{{escaped}}}" if low else escaped)
    return "".join(out)


_TEX = {
    "\\": "/", "{": "(", "}": ")", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "_": r"\_", "^": r"\wedge ",
    "−": "-", "⊙": r"\odot ", "σ": r"\sigma ", "Σ": r"\Sigma ", "∂": r"\partial ", "‖": r"\|", "×": r"\times ",
    "÷": r"\div ", "·": r"\cdot ", "…": r"\ldots ", "⋯": r"\cdots ", "√": r"\surd ", "←": r"\leftarrow ", "²": "^2",
}  # fmt: skip
