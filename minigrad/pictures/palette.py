"""One visual language for all pictures of graphs: shape shows the kind of node, colour one quantity.

Colours after P. Tol's palettes for colour-blind readers. Red is reserved for a state's path through time; parameters
are blue, results are gold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .graph import GraphNode

INK, GREY, PALE = "#333333", "#8C8C8C", "#F5F5F5"
RED, BLUE, GOLD = "#BB5566", "#4477AA", "#997700"
NOTE = "#555555"
FONT = "Helvetica,Arial,sans-serif"

# Graphviz attributes of each kind of node. The shape alone shows the kind, so that colour is free.
STYLES = {
    "operation": {"shape": "box", "style": "rounded,filled", "fillcolor": PALE, "color": GREY},
    "fused": {"shape": "box", "style": "filled", "fillcolor": PALE, "color": INK},
    "output": {"shape": "box", "style": "rounded,filled", "fillcolor": "#EECC66", "color": GOLD, "penwidth": "1.8"},
    "parameter": {
        "shape": "ellipse",
        "style": "filled",
        "fillcolor": "#D5E3F0",
        "color": BLUE,
        "margin": "0",
        "fixedsize": "true",
    },
    "input": {"shape": "plaintext", "fontcolor": INK},
    "detached": {"shape": "box", "style": "rounded,dashed", "color": GREY, "fontcolor": "#666666"},
    "elided": {"shape": "box", "style": "rounded,dotted", "color": GREY, "fontcolor": "#666666"},
    "collapsed": {"shape": "box3d", "style": "filled", "fillcolor": PALE, "color": GREY},
}
STYLES["cell"] = {"shape": "box", "style": "rounded,filled", "fillcolor": "#DCEBDD", "color": "#228833"}
# In textbooks: inputs and outputs in circles, squashing functions in boxes, element-wise operations apart.
TEXTBOOK = STYLES | {
    "input": {"shape": "ellipse", "style": "filled", "fillcolor": "#E8F1FA", "color": BLUE},
    "output": {"shape": "ellipse", "style": "filled", "fillcolor": "#EECC66", "color": GOLD, "penwidth": "1.4"},
    "parameter": STYLES["parameter"] | {"shape": "plaintext", "fontcolor": BLUE},
    "elided": {"shape": "plaintext", "fontcolor": "#666666"},
    "squash": {"shape": "box", "style": "filled", "fillcolor": "#FBEBC0", "color": GOLD},
    "pointwise": {"shape": "ellipse", "style": "filled", "fillcolor": "#F7DDE1", "color": RED},
}
SQUASHES = ("sigmoid", "tanh", "relu", "softmax")
POINTWISE = {"multiply": "⊙", "add": "+", "subtract": "−", "divide": "÷"}
EDGES = {
    "": {},
    "parameter": {"color": "#3B6EA3", "penwidth": "0.8", "arrowsize": "0.45"},
    "state": {"color": RED, "penwidth": "2.2"},
    "detached": {"style": "dashed"},
    "cut": {"color": RED, "style": "dashed", "penwidth": "1.6"},  # a detached state edge
}
# For lines of parameters that run side by side, and the numbers on them: readable as text, light and dark.
TONES = ("#3B6EA3", "#22787A", "#6C5FA7", "#2B4C7E")

# On a dark page. Colours missing here (a gradient's scale, and the text on it) stay.
DARK = {
    "#FFFFFF": "#16191D", "#F5F5F5": "#2A2F36", "#333333": "#E4E6E8", "#666666": "#A9B0B7", "#555555": "#B4BBC2",
    "#777777": "#9AA2AA", "#8C8C8C": "#7D868F", "#D0D0D0": "#454C54", "#00000007": "#FFFFFF0B", "#BB5566": "#E5788A",
    "#D5E3F0": "#24405C", "#4477AA": "#7FB2E5", "#3B6EA3": "#7FAAD6", "#22787A": "#62B0AA", "#6C5FA7": "#A99DDB",
    "#2B4C7E": "#A9C4E8", "#DCEBDD": "#1F3D2A", "#228833": "#66C27A", "#E8F1FA": "#1E3348", "#FBEBC0": "#4A3D12",
    "#F7DDE1": "#4A2129", "#EECC66": "#6B5512", "#997700": "#E3B93C",
}  # fmt: skip

# Operations with a sign are drawn as the sign, in a circle.
SIGNS = {
    "add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "matmul": "@", "negative": "−", "sigmoid": "σ",
    "sum": "Σ", "exp": "exp", "square": "x²", "sqrt": "√",
}  # fmt: skip

# ---- one quantity, on a log scale --------------------------------------------------------------------------------

LEGENDS = {"grad": "norm of the gradient", "change": "change of the value, ‖v − w‖ / ‖w‖"}

# From small to large: P. Tol's "YlOrBr", which stays ordered in print and for colour-blind readers.
SCALE = ("#FFFFE5", "#FFF7BC", "#FEE391", "#FEC44F", "#FB9A29", "#EC7014", "#CC4C02", "#993404")
NOTHING, NOT_FINITE = "#FFFFFF", "#DDDDDD"
# Fill and border of a node whose value is not finite, and of one of which only the gradient is not.
BROKEN = {"value": ("#FFB3D9", "#CC0066"), "grad": ("#DCCBFF", "#7A4FCF")}
UNCHANGED = "#DCEBDD"  # a change of 0, unlike a value whose change is not known
DECADES = 12  # below the largest; smaller norms have the palest colour


class Scale:
    """Colours for numbers between the smallest and the largest given; 0 has one of its own."""

    def __init__(self, norms: Iterable[float], zero: str = NOTHING) -> None:
        norms = list(norms)
        self.zero = zero
        self.odd = any(not math.isfinite(n) for n in norms)
        logs = [math.log10(n) for n in norms if n > 0 and math.isfinite(n)]
        self.high = math.ceil(max(logs, default=0.0))
        self.low = max(math.floor(min(logs, default=-1.0)), self.high - DECADES)
        if self.low == self.high:
            self.low -= 1

    def color(self, norm: float) -> str:
        """The fill colour for a norm."""
        if not math.isfinite(norm):
            return NOT_FINITE
        if norm == 0:
            return self.zero
        at = (math.log10(norm) - self.low) / (self.high - self.low) * (len(SCALE) - 1)
        return mixed(min(max(at, 0.0), len(SCALE) - 1))

    def legend(self) -> list[tuple[str, str]]:
        """(text, colour) for round numbers, from small to large; for 0 and NaN, if they have colours to tell."""
        stride = max(1, math.ceil((self.high - self.low) / 6))
        powers = range(self.high, self.low - 1, -stride)
        found = [(f"{10.0**power:g}", self.color(10.0**power)) for power in reversed(powers)]
        zero = [("0", self.zero)] if self.zero != NOTHING else []
        return [*zero, *found, *([("nan", NOT_FINITE)] if self.odd else [])]


def scale_of(nodes: Iterable[GraphNode], color: str | None) -> Scale | None:
    """The scale of the numbers that colours show in a graph; None if they show kinds."""
    if color is None:
        return None
    return Scale([n for n in map(norm_of, nodes) if n is not None], UNCHANGED if color == "change" else NOTHING)


def mixed(at: float) -> str:
    """The colour at a position between 0 and the last of SCALE."""
    k = min(int(at), len(SCALE) - 2)
    parts = [[int(c[j : j + 2], 16) for j in (1, 3, 5)] for c in SCALE[k : k + 2]]
    return "#" + "".join(f"{round(a + (at - k) * (b - a)):02X}" for a, b in zip(*parts, strict=True))


def ink_on(color: str) -> str:
    """Dark or light text, whichever is readable on a fill."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return "#FEFEFE" if 0.299 * red + 0.587 * green + 0.114 * blue < 120 else "#222222"


def tone(number: int) -> str:
    """The colour of a parameter's lines; neighbours differ."""
    return TONES[number % len(TONES)]


def norm_of(node: GraphNode) -> float | None:
    """The norm of a node's gradient, over all its outputs; None if not known."""
    if node.grad is not None:
        return node.grad.norm
    several = [o.grad.norm for o in node.outputs if o.grad is not None]
    return math.hypot(*several) if several else None
