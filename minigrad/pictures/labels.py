"""The text of a node: its name, small lines below it, and their size."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from math import fsum
from typing import NamedTuple

import numpy as np

from .graph import GraphEdge, GraphNode, Numbers, Options
from .palette import POINTWISE, SIGNS, SQUASHES
from .scripts import plain

SIZE, SMALL = 11.0, 9.0  # font sizes in points
CIRCLE = 20.0
LONGEST_LINE = 60
TEXTBOOK = "textbook"
FEW = 3  # numbers: at most so many are written out


class Text(NamedTuple):
    """The text of a node: its name, and small lines below it.

    sign  the name is a mathematical sign, drawn in a circle
    oval  the node is an ellipse
    """

    head: str
    rest: tuple[str, ...] = ()
    bold: bool = False
    sign: bool = False
    oval: bool = False

    def size(self) -> tuple[float, float]:
        """Width and height of a node around the text, in points."""
        if self.sign:
            return CIRCLE, CIRCLE
        heads = self.head.split("\n")
        width = max([text_width(line, SIZE) * (1.08 if self.bold else 1) for line in heads])
        width = max([width, *[text_width(line, SMALL) for line in self.rest]])
        height = 13.0 * len(heads) + 11.0 * len(self.rest)
        if self.oval:
            several = len(heads) + len(self.rest) > 1
            return max(width * (1.15 if several else 1) + 20, 30.0), height * (1.2 if several else 1) + 9
        return max(width + 14, 26.0), max(22.0, height + 8)


def text_of(node: GraphNode, options: Options) -> Text:
    """The text of a node, under these options."""
    details = tuple(_details(node, options))
    if options.style == "textbook":
        return _in_textbooks(node, details)
    if node.kind == "elided":
        return Text("⋯", (node.label, *details))
    if node.kind == "collapsed":
        return Text(node.label, (*([f"{node.count} nodes"] if node.count > 1 else []), *details), bold=True)
    op = node.formula or node.op
    if node.label:
        rest = (*([op] if op else []), *details)
        return Text(node.label, rest, bold=bool(rest), oval=node.kind == "parameter")
    if node.formula:
        return Text(node.formula, details)
    sign = SIGNS.get(node.op) if node.kind == "operation" else None
    return Text(sign or node.op, details, sign=sign is not None and len(sign) == 1 and not details)


def _in_textbooks(node: GraphNode, details: tuple[str, ...]) -> Text:
    """Signs for operations; a value that has a name goes by it, with the sign that made it."""
    signed = POINTWISE.get(node.op) or {"sigmoid": "σ", "matmul": "·", "concatenate": "[ , ]"}.get(node.op)
    sign = signed or node.op.replace("_", " ")  # a _ would begin a subscript
    if node.kind == "elided":
        return Text("⋯", details)
    if node.kind in ("input", "output", "parameter", "detached", "cell") or not node.op:
        return Text(node.label or node.formula or sign, details, oval=node.kind in ("input", "output"))
    if node.label and node.op in SQUASHES:
        return Text(sign, (node.label, *details))
    if node.label and not signed:
        return Text(node.label, details)
    head = node.formula or sign
    rest = ((node.label,) if node.label else ()) + details
    return Text(head, rest, sign=len(head) == 1 and not rest)


def mark_of(edge: GraphEdge, source: GraphNode, target: GraphNode, view: str) -> str:
    """The mark beside an edge that replaces several: their names if they have any, else their number."""
    if view == TEXTBOOK:
        return edge.label if edge.steps is not None else ""
    if edge.times == 1 or (source.kind == "parameter" and not edge.kind):
        return ""
    if edge.label and edge.times == edge.label.count(", ") + 1:
        return edge.label
    if (
        edge.steps is None
        and view == "rolled"
        and edge.times in (source.count, target.count)
        and (source.count == target.count)
    ):  # the same at each step of a loop
        return ""
    return f"×{edge.times}"


def _details(node: GraphNode, options: Options) -> Iterable[str]:
    """The requested small lines below a node's name."""
    kind = []
    if options.shapes and node.shape is not None:
        several = bool(node.shape) and isinstance(node.shape[0], tuple)
        texts = ["×".join(map(str, s)) or "scalar" for s in (node.shape if several else (node.shape,))]
        kind.append(texts[0] if len(set(texts)) == 1 else ", ".join(texts))
    if (options.shapes or options.dtypes) and node.dtype:
        kind.append(node.dtype)
    if kind:
        yield " ".join(kind)
    if options.values:
        yield from [_range(name, value) for name, value in _named(node, "value") if value is not None]
    if options.grads or (options.backward and node.kind == "parameter"):
        yield from [f"‖∂{name}‖ {grad.norm:.2g}" for name, grad in _named(node, "grad") if grad is not None]
    if options.bytes and node.bytes:
        yield size_in_words(node.bytes)
    if options.lines and node.line:
        yield node.line if len(node.line) <= LONGEST_LINE else node.line[: LONGEST_LINE - 2] + " …"


def _named(node: GraphNode, what: str) -> list[tuple[str, Numbers | None]]:
    """The numbers of a node's value, or of each named output."""
    if node.outputs:
        return [(f" {o.label}", getattr(o, what)) for o in node.outputs if o.label]
    return [("", getattr(node, what))]


def _range(name: str, value: Numbers) -> str:
    flat = np.ravel(value.array) if value.array is not None else np.zeros(0)
    if 0 < flat.size <= FEW:
        return f"{name} {', '.join([f'{float(v):.3g}' for v in flat])}".strip()
    if value.min is None or value.max is None:
        return ""
    text = f"{value.min:.2g} … {value.max:.2g}"
    return f"{name} {text}".strip() + (f", {value.nonfinite} not finite" if value.nonfinite else "")


def size_in_words(count: int) -> str:
    """12 B, 3.4 kB, 5.6 MB."""
    return f"{count} B" if count < 1000 else f"{count / 1e3:.3g} kB" if count < 1e6 else f"{count / 1e6:.3g} MB"


def text_width(text: str, size: float) -> float:
    """The approximate width of a line in Helvetica, in points; estimated generously."""
    # fsum, here and for all coordinates: `sum` rounds differently since Python 3.12, and pictures should not change
    return size * fsum(map(_advance, plain(text) if "_{" in text else text))


def _advance(letter: str) -> float:
    if letter in "iljI.,:;|!'()[] ":
        return 0.32
    if letter in "mwMW@%…⋯—" or unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return 0.74 if letter.isupper() else 0.61


# ---- Graphviz's strings ------------------------------------------------------------------------------------------


def label_of(text: Text, faint: str) -> str:
    """A node's label in Graphviz's language."""
    if not text.rest:
        return quoted(text.head)
    first = escaped(text.head) or " "
    first = f"<b>{first}</b>" if text.bold and text.head.strip() else first
    below = "".join(f'<br/><font point-size="{SMALL:g}" color="{faint}">{escaped(line) or " "}</font>'
                    for line in text.rest)  # fmt: skip
    return f"<{first}{below}>"


def quoted(text: str) -> str:
    """A string of Graphviz's language that shows this text; newlines break the line."""
    safe = printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;").replace("\n", "\\n")
    return f'"{safe}"'


def escaped(text: str) -> str:
    """The text escaped for a label in Graphviz's HTML."""
    safe = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return safe.replace("\\", "\\\\").replace("\n", "<br/>")  # Graphviz expands \N here, too


def printable(text: str) -> str:
    """The text with substitutes for characters that XML forbids: control characters and lone surrogates."""
    return "".join([_printable(c) for c in text.replace("\r", "")])


def _printable(c: str) -> str:
    if c == "\n" or (unicodedata.category(c) not in ("Cc", "Cs") and c not in "\ufffe\uffff"):
        return c
    return chr(0x2400 + ord(c)) if ord(c) < 32 else "\ufffd"
