"""Pictures of decoding: the beam as a tree, attention as a map."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.pictures.drawing import MOST, render_dot, svg_bundle
from minigrad.pictures.labels import escaped, quoted
from minigrad.pictures.palette import FONT, GOLD, GREY, INK
from nn.diagnose.result import PLOT_STYLE
from nn.training.files import StrPath

from ..lists import refuse_text
from ..tokenizers import Tokenizer
from ..vocabulary import Vocabulary
from .lattice import Lattice, Leaf
from .protocol import Array

Names = Vocabulary | Tokenizer | Sequence[str] | None
FAINT = "#737373"
LONGEST = 24  # characters of a token to show
JOINERS = "\u200c\u200d"  # parts of words, and of emoji
NOTE = (
    "on a line: the token's probability · below a token: log p so far · boxed: finished (dashed: cut off), with its "
    "score · gold: returned · grey: given up"
)


def name_of(token: int, names: Names) -> str:
    """The name of an id: the number itself, if there are no names. Raises ValueError for an id without a name."""
    refuse_text("Decoded.tree", "tokens", names, '["<eos>", "the", "cat"]')
    if names is None:
        return str(token)
    known = names.vocabulary if isinstance(names, Tokenizer) else names
    tokens = known.tokens if isinstance(known, Vocabulary) else known
    if token >= len(tokens):
        raise ValueError(f"tokens: there are {len(tokens)} names, but none for the id {token}")
    return tokens[token]


def visible(name: str) -> str:
    """A token with signs for invisible characters, shortened."""
    shown = name.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
    shown = "".join([c if c.isprintable() or c in JOINERS else f"U+{ord(c):04X}" for c in shown]) or "∅"
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


# ---- the beam ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BeamNode:
    """A hypothesis in the beam, identified by its last token.

    parent  the node that it continues; "" for the empty hypothesis, which is the first node
    token   the name of the last token
    log_p   the token's log-probability after those before it
    value   log p of the whole; for a finished one, the score
    kind    "start", "open", "finished", or "cut" for a hypothesis that was returned unfinished
    rank    1, 2, ... of a returned hypothesis; 0 for others
    kept    True if it is part of a returned one
    given_up  True if it leads to no finished or returned one
    """

    id: str
    parent: str
    token: str
    log_p: float
    value: float
    kind: str
    rank: int = 0
    kept: bool = False
    given_up: bool = False


@dataclass(frozen=True, repr=False)
class BeamTree:
    """The hypotheses of a beam, step by step from left to right: plain data.

    `render("tree.svg")` draws it (also as .png, .pdf and .dot); `dot()` is its text in Graphviz's language. Notebooks
    display it.
    """

    nodes: tuple[BeamNode, ...]

    def dot(self) -> str:
        """The tree in Graphviz's language. Needs nothing installed."""
        lines = [
            "digraph beam {",
            f'  rankdir=LR; ranksep=0.5; nodesep=0.1; bgcolor="white"; fontname="{FONT}"; fontsize=9; '
            f'fontcolor="{GREY}"; labelloc=b; labeljust=l; label={quoted(NOTE)};',
            f'  node [fontname="{FONT}" fontsize=11 height=0.3 width=0.3 margin="0.06,0.03" shape=plaintext];',
            f'  edge [fontname="{FONT}" fontsize=9 arrowhead=none];',
        ]
        for node in self.nodes:
            lines.append(f"  {node.id} [{_node(node)}];")
            if node.parent:
                ink = FAINT if node.given_up else INK
                width = 2.2 if node.kept else 0.8
                lines.append(
                    f'  {node.parent} -> {node.id} [label=" {_probability(node.log_p)} " color="{ink}" '
                    f'fontcolor="{ink}" penwidth={width}];'
                )
        return "\n".join([*lines, "}"]) + "\n"

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Draw into a file, whose suffix (.svg, .png, .pdf or .dot) selects the format; returns the path. The file is
        written atomically.

        Raises ValueError for another suffix or a tree that is too large, OSError if the file cannot be written,
        ImportError if no renderer is installed.
        """
        if len(self.nodes) > MOST and Path(path).suffix.lower() != ".dot":
            raise ValueError(
                f"render: {len(self.nodes):,} hypotheses are more than can be laid out in reason; search with a "
                "smaller beam or max_length"
            )
        return render_dot(self.dot(), path)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return (svg_bundle(self.dot()) if len(self.nodes) <= MOST else {}) | {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<BeamTree of {len(self.nodes) - 1} hypotheses, {sum(bool(n.rank) for n in self.nodes)} returned>"


def _node(node: BeamNode) -> str:
    """A node's attributes."""
    if node.kind == "start":
        return f'shape=circle style=filled fillcolor="{INK}" color="{INK}" label="" width=0.1 height=0.1'
    ink = FAINT if node.given_up else INK
    number = f"#{node.rank}   {node.value:.2f}" if node.rank else f"{node.value:.2f}"
    token = escaped(visible(node.token))
    token = f"<b>{token}</b>" if node.kept else token
    below = f'<font point-size="9" color="{FAINT if node.given_up else "#666666"}">{number.replace("-", "−")}</font>'
    look = f'label=<{token}<br/><font point-size="3"> </font><br/>{below}> fontcolor="{ink}"'
    if node.kind == "open":
        return look
    style = "rounded,filled" if node.kind == "finished" else "rounded,filled,dashed"
    fill, line = ("#F7E3A8", GOLD) if node.rank else ("white", ink)
    return f'{look} shape=box style="{style}" fillcolor="{fill}" color="{line}" penwidth={1.8 if node.rank else 1}'


def _probability(log_p: float) -> str:
    """Two digits."""
    p = math.exp(log_p)
    return f"{p:.2f}" if p >= 0.005 else "<0.01"


def tree_of(
    lattice: Lattice, n: int, returned: Leaf, scores: Sequence[float], eos: int | None, names: Names
) -> BeamTree:  # fmt: skip
    """The tree of source n, given its returned hypotheses, the best first, and their scores."""
    keys = zip(returned.steps.tolist(), returned.places.tolist(), np.isnan(returned.ends).tolist(), strict=True)
    ranks = {key: rank for rank, key in enumerate(keys, 1)}  # by step and index of the last token; True if cut off
    ways = lattice.trace(returned)  # (T, H)
    end = "end" if names is None or eos is None else name_of(eos, names)
    nodes = [BeamNode("start", "", "", 0.0, 0.0, "start", kept=True)]
    before = {0: nodes[0]}  # by place
    for t, stage in enumerate(lattice.stages):
        row, here = int(stage.at[n]), {}
        if row < 0:
            break
        if stage.ends is not None:
            for k, log_p, score in zip(*(part[row].tolist() for part in stage.ends), strict=True):
                if score > -math.inf:
                    rank = ranks.get((t - 1, k, False), 0)
                    nodes.append(
                        BeamNode(f"end_{t}_{k}", before[k].id, end, log_p, score, "finished", rank, kept=rank > 0)
                    )
        open_ = zip(*(part[row].tolist() for part in (stage.parents, stage.tokens, stage.log_ps)), strict=True)
        for k, (parent, token, log_p) in enumerate(open_):
            if log_p > -math.inf:
                rank = ranks.get((t, k, True), 0)
                value = scores[rank - 1] if rank else before[parent].value + log_p
                here[k] = BeamNode(
                    f"at_{t}_{k}", before[parent].id, name_of(token, names), log_p, value, "cut" if rank else "open",
                    rank, kept=bool((ways[t] == k).any()),
                )  # fmt: skip
        nodes += here.values()
        before = here
    return BeamTree(_with_given_up(nodes))


def _with_given_up(nodes: list[BeamNode]) -> tuple[BeamNode, ...]:
    """The nodes in order, marking those that lead to nothing as given up."""
    useful = {node.id for node in nodes if node.kind != "open"}
    for node in reversed(nodes):
        if node.id in useful:
            useful.add(node.parent)
    return tuple([replace(node, given_up=node.id not in useful) for node in nodes])


# ---- attention ---------------------------------------------------------------------------------------------------

FONTS = (  # for characters missing in matplotlib's own font, if installed
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
)  # fmt: skip


def attention_map(
    weights: Array, source: Sequence[str] | None, target: Sequence[str] | None, path: StrPath | None
) -> Any:  # fmt: skip
    """See `Decoded.attention_map`: weights (T, S), a row for each written token."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
        from matplotlib.font_manager import fontManager
    except ImportError as error:
        raise ImportError("Decoded.attention_map needs matplotlib: pip install 'minigrad[viz]'") from error
    for what, names, size in (("source", source, weights.shape[1]), ("target", target, weights.shape[0])):
        refuse_text("Decoded.attention_map", what, names, '["the", "cat"]')
        if names is not None and len(names) > size:
            raise ValueError(f"Decoded.attention_map: {len(names)} names of the {what} for {size} positions")
    columns = list(map(str, range(weights.shape[1]))) if source is None else list(map(visible, source))
    rows = list(map(str, range(weights.shape[0]))) if target is None else list(map(visible, target))
    shown = weights[: len(rows), : len(columns)]
    upright = max(map(len, columns), default=0) <= 2
    installed = {font.name for font in fontManager.ttflist}
    style: Any = PLOT_STYLE | {"axes.grid": False, "font.family": ["sans-serif", *(f for f in FONTS if f in installed)]}
    with mpl.rc_context(style):
        beside, above = (0.09 * max(map(len, names), default=0) for names in (rows, "" if upright else columns))
        figure = Figure(
            figsize=(1.6 + beside + 0.3 * len(columns), 0.8 + above + 0.3 * len(rows)), layout="constrained"
        )
        ax = figure.subplots()
        image = ax.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(len(columns)), columns, rotation=0 if upright else 90)
        ax.set_yticks(range(len(rows)), rows)
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.spines[:].set_visible(True)
        figure.colorbar(image, label="weight", shrink=0.9, pad=0.02)
        if path is not None:
            with warnings.catch_warnings():  # a character missing in all fonts is drawn as a box
                warnings.filterwarnings("ignore", "Glyph .* missing from")
                figure.savefig(path, dpi=200)
    return figure
