"""Tools of the documentation's scripts: boxes and arrows, plots in one style, files for light and dark pages."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import minigrad as mg
from minigrad.pictures.palette import DARK
from nn.diagnose.result import BLUE, GOLD, GREEN, GREY, PLOT_STYLE, RED

Place = tuple[float, float]
FAINT = {BLUE: "#D5E3F0", GREY: "#F5F5F5", GOLD: "#F6E3AE", GREEN: "#DCEBDD", RED: "#F7DDE1"}
STYLE: dict[str, Any] = PLOT_STYLE | {
    "svg.hashsalt": "course",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "mathtext.fontset": "dejavusans",
}
NOTE, LINE = "#555555", "#777777"
# Colours of plots alone, on a dark page.
DARK_PLOTS = DARK | {
    "#CC9922": "#E3B93C", "#9A9A9A": "#7D868F", "#E8E8E8": "#30363D", "#F6E3AE": "#5C4A14", "#C8C8C8": "#4A5159",
    "#AA3377": "#DD77AA", "#737373": "#949CA5", "#F7E3A8": "#5C4A14", "#999999": "#7D868F",
    "#000000": "#E4E6E8", "#F2F2F2": "#262B31",
}  # fmt: skip


def save(made: Figure | mg.Graph, path: Path) -> Path:
    """Write a picture as SVG, with the colours of the reader's page, light or dark; returns its path."""
    if isinstance(made, mg.Graph):
        made.render(path)
        return path
    out = io.StringIO()
    made.savefig(out, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.08, dpi=200)
    path.write_text(adaptive(out.getvalue()), encoding="utf-8")
    return path


def adaptive(svg: str) -> str:
    """A light SVG of Matplotlib or Graphviz with a style sheet for dark pages, added if it is missing."""
    if 'class="plot"' in svg:
        return svg
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)  # contains a date
    svg = re.sub(r'"white"', '"#ffffff"', svg)
    rules = [f".plot {{ fill: {DARK['#333333'].lower()} }}"]  # for elements without a colour, which are black
    for light, dark in DARK_PLOTS.items():
        color = light.lower()
        if color in svg:
            for what in ("fill", "stroke"):
                places = f'.plot [style*="{what}: {color}"], .plot [{what}="{color}"]'
                rules.append(f"{places} {{ {what}: {dark.lower()} !important }}")
    sheet = "<style>@media (prefers-color-scheme: dark) {\n" + "\n".join(rules) + "\n}</style>\n"
    return re.sub(r"<svg ([^>]*)>", rf'<svg class="plot" \1>\n{sheet}', svg, count=1)


def adapt(path: Path) -> Path:
    """Add the colours of the reader's page to a picture of another program; returns its path."""
    path.write_text(adaptive(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def axes(width: float = 6.4, height: float = 3.0, **options: Any) -> tuple[Figure, Any]:
    """A figure with its axes, without a window."""
    drawing = Figure(figsize=(width, height), layout="constrained")
    return drawing, drawing.subplots(**options)


def at_end(ax: Any, x: float, y: float, text: str, color: str) -> None:
    """Write a curve's name beside its last point."""
    place: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
    ax.annotate(text, (x, y), color=color, annotation_clip=False, **place)


class Boxes:
    """A drawing of boxes on a grid, and arrows between them: red along the time, grey upward."""

    def __init__(self, columns: float, rows: float, below: float = 0.0, left: float = 0.0) -> None:
        self.drawing = Figure(figsize=(0.92 * (columns + left) + 0.3, 0.92 * (rows + below) + 0.2))
        self.ax = self.drawing.add_axes((0, 0, 1, 1))
        self.ax.set(xlim=(-0.65 - left, columns - 0.35), ylim=(-0.4 - below, rows - 0.6), aspect="equal")
        self.ax.axis("off")

    def box(self, x: float, y: float, text: str, color: str = GREY, width: float = 0.54) -> Place:
        """Draw a box around (x, y), and return that point."""
        patch = FancyBboxPatch(
            (x - width / 2, y - 0.19), width, 0.38, boxstyle="round,pad=0.02,rounding_size=0.09",
            facecolor=FAINT[color], edgecolor=color, linewidth=1,
        )  # fmt: skip
        self.ax.add_patch(patch)
        self.ax.text(x, y, text, ha="center", va="center", fontsize=11)
        return x, y

    def text(self, x: float, y: float, text: str, color: str = NOTE, **options: Any) -> None:
        """Plain text."""
        self.ax.text(x, y, text, **({"va": "center", "fontsize": 10} | options), color=color)

    def arrow(self, a: Place, b: Place, state: bool = False, bend: float = 0.0, elbow: bool = False) -> None:
        """Draw an arrow between two points; with an elbow, vertical first."""
        if elbow:
            turn = (a[0], b[1] + 0.2)
            self.ax.plot([a[0], turn[0]], [a[1], turn[1]], color=LINE, linewidth=1.0)
            a = turn
        patch = FancyArrowPatch(
            a, b, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, color=RED if state else LINE,
            linewidth=1.9 if state else 1.0, connectionstyle=f"arc3,rad={bend}",
        )  # fmt: skip
        self.ax.add_patch(patch)

    def up(self, a: Place, b: Place) -> None:
        """From the top of one box to the bottom of another."""
        self.arrow((a[0], a[1] + 0.22), (b[0], b[1] - 0.22))

    def along(self, a: Place, b: Place, half: float = 0.3) -> None:
        """Draw the state from the side of one box to the side of the next."""
        sign = 1 if b[0] > a[0] else -1
        self.arrow((a[0] + half * sign, a[1]), (b[0] - half * sign, b[1]), state=True)

    def feed(self, a: Place, b: Place) -> None:
        """From a box to one in the next column, dashed, through the gap between both columns."""
        x = (a[0] + b[0]) / 2
        self.ax.plot([a[0] + 0.3, x, x], [a[1], a[1], b[1]], color=LINE, linewidth=1.0, linestyle=(0, (3, 2)))
        self.arrow((x, b[1]), (b[0] - 0.3, b[1]))

    def chain(
        self, y: float, texts: Sequence[str], start: float = 0, color: str = GREY, pitch: float = 1.0
    ) -> list[Place]:
        """Boxes side by side, with the state from each to the next."""
        boxes = [self.box(start + pitch * k, y, text, color) for k, text in enumerate(texts)]
        for a, b in pairwise(boxes):
            self.along(a, b)
        return boxes


SHOWS = re.compile(r'(\w[\w.()]*)\.(render|plot|savefig)\("([\w-]+\.svg)"\) +# doctest: \+SKIP')


def examples(page: Path) -> Iterator[tuple[doctest.Example, dict[str, Any]]]:
    """Run a page's examples in order; yields each example with the names after it."""
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(page.read_text(encoding="utf-8")):
        if doctest.SKIP not in example.options and example.exc_msg is None:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(example.source, str(page), "single"), names)
        yield example, names


def pictures_of(page: Path) -> Iterator[tuple[str, Figure | mg.Graph]]:
    """The pictures made by a page's own code, with their names.

    An example that the tests skip, such as `picture.render("cell.svg")`, names a picture.
    """
    for example, names in examples(page):
        if found := SHOWS.match(example.source.strip()):
            value, method, name = found.groups()
            yield name, eval(f"{value}.plot()" if method == "plot" else value, names)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Matplotlib in the style of the documentation, from a fixed seed."""
    with mpl.rc_context(STYLE):
        mg.manual_seed(0)
        yield


if __name__ == "__main__":  # python docs/drawing.py PICTURE.svg ...
    for picture in sys.argv[1:]:
        adapt(Path(picture))
