"""Pictures of decoding: the beam as a tree, attention as a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from minigrad.pictures.drawing import render_dot, svg_bundle
from nn.files import StrPath

Array = Any
INK, GREY, KEPT = "#333333", "#AAAAAA", "#4477AA"


class Branch(NamedTuple):
    """A token in a beam.

    parent    the number of the branch that it continues, −1 for the beginning
    token     its id
    log_p     its log-probability after what comes before
    score     of the hypothesis up to here
    kept      whether it is a part of a hypothesis that was returned
    finished  whether it ends a hypothesis
    """

    parent: int
    token: int
    log_p: float
    score: float
    kept: bool
    finished: bool


@dataclass(frozen=True)
class Tree:
    """The hypotheses that were in the beam, as a tree: from left to right a step at a time.

    What was returned is blue and bold; what was given up is grey; a box is the end of a hypothesis, with its score.
    Next to a line stands the probability of the token after what is before it.
    """

    branches: list[Branch]
    names: list[str] | None = None

    def named(self, names: list[str] | None) -> Tree:
        """The same tree with these names of the tokens."""
        return replace(self, names=names)

    def dot(self) -> str:
        """The tree in Graphviz's language."""
        lines = [
            "digraph beam {",
            '  rankdir=LR; ranksep=0.35; nodesep=0.12; bgcolor="white"',
            f'  node [fontname="Helvetica", fontsize=12, shape=plaintext, margin="0.06,0.03", height=0.2, width=0.2, '
            f'fontcolor="{INK}"]',
            f'  edge [fontname="Helvetica", fontsize=9, arrowhead=none, color="{GREY}", fontcolor="{GREY}"]',
            f'  root [shape=circle, label="", width=0.12, height=0.12, style=filled, fillcolor="{INK}", color="{INK}"]',
        ]
        for number, one in enumerate(self.branches):
            name = str(one.token) if self.names is None else self.names[one.token]
            color = KEPT if one.kept else GREY
            label = _escaped(_visible(name))
            if one.finished:
                label += f"\\n{one.score:.2f}"
                look = f'shape=box, style="rounded{",bold" if one.kept else ""}", color="{color}", margin="0.08,0.04"'
            else:
                look = 'shape=plaintext, fontname="Helvetica-Bold"' if one.kept else "shape=plaintext"
            lines.append(f'  n{number} [label="{label}", fontcolor="{color}", {look}]')
            parent = "root" if one.parent < 0 else f"n{one.parent}"
            width = ", penwidth=2" if one.kept else ""
            edge = f'label="{_probability(one.log_p)}", color="{color}", fontcolor="{color}"{width}'
            lines.append(f"  {parent} -> n{number} [{edge}]")
        return "\n".join([*lines, "}"]) + "\n"

    def render(self, path: StrPath) -> Any:
        """Write the picture as .svg, .png, .pdf or .dot, atomically. Raises ImportError without Graphviz."""
        return render_dot(self.dot(), path)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return svg_bundle(self.dot())


def _probability(log_p: float) -> str:
    """As a person reads it: .37, 1, <.01."""
    p = math.exp(log_p)
    return "<.01" if p < 0.01 else "1" if p > 0.995 else f"{p:.2f}".lstrip("0")


def _visible(name: str) -> str:
    """The name of a token, with signs for what cannot be seen."""
    shown = name.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
    return "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in shown) or "∅"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def attention_map(
    weights: Array, source: Sequence[str] | None, target: Sequence[str] | None, path: StrPath | None
) -> Any:  # fmt: skip
    """See `Decoded.attention_map`: weights (T, S), a row for each token that was written."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("attention_map needs matplotlib: pip install 'minigrad[viz]'") from error
    T, S = weights.shape
    columns = [str(s) for s in range(S)] if source is None else [_visible(name) for name in source]
    rows = [str(t) for t in range(T)] if target is None else [_visible(name) for name in target]
    if len(columns) > S or len(rows) > T:
        raise ValueError(
            f"attention_map: there are weights for {S} positions of the source and {T} tokens, but names for "
            f"{len(columns)} and {len(rows)}"
        )
    shown = weights[: len(rows), : len(columns)]
    upright = max(map(len, columns)) <= 2
    figure = Figure(figsize=(1.4 + 0.32 * len(columns), 1.2 + 0.32 * len(rows)), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=0 if upright else 60, ha="center" if upright else "left",
                  rotation_mode="anchor" if not upright else "default")  # fmt: skip
    ax.set_yticks(range(len(rows)), rows)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_xlabel("read")
    ax.xaxis.set_label_position("top")
    ax.set_ylabel("written")
    figure.colorbar(image, label="weight", shrink=0.8, pad=0.02)
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure
