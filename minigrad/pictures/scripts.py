"""Subscripts in labels: W_s and h_{t−1} as pieces, each with its level."""

from __future__ import annotations

import re
import unicodedata

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
    """The label in TeX's math mode, in ASCII: letters in italics, words upright."""
    out = []
    for piece, low in pieces(text):
        escaped = "".join([r"\ " if one == " " else tex_letter(one) for one in clusters(piece)])
        escaped = re.sub(r"(?:\^[0-9()+-])+", lambda found: "^{" + found[0].replace("^", "") + "}", escaped)
        if len(piece) > 2 and piece.isascii() and piece.replace(" ", "").isalpha():
            escaped = rf"\mathrm{{{escaped}}}"
        out.append(f"_{{{escaped}}}" if low else escaped)
    return "".join(out)


def clusters(text: str) -> list[str]:
    """The letters of a text, each with its combining marks."""
    found: list[str] = []
    for letter in unicodedata.normalize("NFD", text):
        if found and unicodedata.combining(letter):
            found[-1] += letter
        else:
            found.append(letter)
    return found


def tex_letter(cluster: str) -> str:
    """A letter in TeX's math mode: a sign or a Greek letter by its command, an accent around its letter. A letter that
    TeX's fonts do not have is a question mark."""
    letter, accents = cluster[0], cluster[1:]
    code = _TEX.get(letter)
    if code is None:
        raised = _RAISED.get(letter)
        greek = _GREEK.get(letter)
        code = letter if letter.isascii() else f"^{raised}" if raised else f"\\{greek} " if greek else "?"
    for accent in accents:
        command = _ACCENTS.get(accent)
        code = f"\\{command}{{{code.strip()}}}" if command else code
    return code


_TEX = {
    "\\": "/", "{": "(", "}": ")", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "_": r"\_", "^": r"\wedge ",
    "~": r"\sim ", "−": "-", "⊙": r"\odot ", "∂": r"\partial ", "‖": r"\|", "×": r"\times ", "÷": r"\div ",
    "·": r"\cdot ", "…": r"\ldots ", "⋯": r"\cdots ", "√": r"\surd ", "←": r"\leftarrow ", "→": r"\rightarrow ",
    "∇": r"\nabla ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ",
    "⊗": r"\otimes ", "⊕": r"\oplus ", "∈": r"\in ", "′": "'", "–": "-", "—": "-", "°": r"^\circ ",
}  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾⁺⁻", "0123456789()+-", strict=True))
_ACCENTS = {
    "\u0303": "tilde", "\u0302": "hat", "\u0304": "bar", "\u0307": "dot", "\u0308": "ddot", "\u0301": "acute",
    "\u0300": "grave", "\u0306": "breve", "\u030c": "check", "\u20d7": "vec",
}  # fmt: skip
_GREEK = {
    chr(code): name.lower() if small else name
    for small, start in ((True, 0x3B1), (False, 0x391))
    for code, name in enumerate(
        "Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Mu Nu Xi Omicron Pi Rho  Sigma Tau Upsilon "
        "Phi Chi Psi Omega".split(" "),
        start=start,
    )
    if name in ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
    or (small and name not in ("", "Omicron"))
}
