"""A scene as PNG or PDF, drawn by Matplotlib (extra `viz`)."""

from __future__ import annotations

import io
from typing import Any

from .scene import Label, Line, Scene, Shape
from .scripts import tex
from .themes import themed

FONTS = ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"]
DPI = 200


def plotted(scene: Scene, ending: str, theme: str = "light", most: float = DPI) -> bytes:
    """The file's content, with at most so many dots an inch. Raises ImportError without Matplotlib."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    x0, y0, x1, y1 = scene.bounds
    dpi = min(most, 72 * 30000 / max(x1 - x0, y1 - y0))
    known = {font.name for font in fontManager.ttflist}
    with mpl.rc_context(
        {"font.family": [name for name in FONTS if name in known], "mathtext.fontset": "dejavusans", "pdf.fonttype": 42}
    ):
        figure = Figure(figsize=((x1 - x0) / 72, (y1 - y0) / 72), facecolor=themed("#FFFFFF", theme))
        FigureCanvasAgg(figure)
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(x0, x1), ylim=(y0, y1))
        ax.axis("off")
        drawing = _Drawing(ax, theme)
        for frame in scene.frames:
            drawing.shape(frame, 0)
        for line in scene.lines:
            drawing.line(line)
        for node in scene.nodes:
            drawing.shape(node, 2)
        for (a, b, c, d), color in scene.swatches:
            drawing.area("box", (a, b, c, d), color, None)
        for label in scene.labels:
            drawing.label(label, 4)
        out = io.BytesIO()
        when: dict[str, Any] = {"CreationDate": None} if ending == "pdf" else {}
        figure.savefig(out, format=ending, dpi=dpi, facecolor=figure.get_facecolor(), metadata=when)
    return out.getvalue()


class _Drawing:
    def __init__(self, ax: Any, theme: str) -> None:
        self.ax = ax
        self.theme = theme

    def color(self, color: str | None) -> str:
        """A colour in the page's theme."""
        return "none" if color is None else themed(color, self.theme)

    def area(self, form: str, rect: Any, fill: str | None, stroke: str | None, **look: Any) -> None:
        """A filled outline."""
        from matplotlib.patches import Ellipse, FancyBboxPatch, Rectangle

        x0, y0, x1, y1 = rect
        look |= {"facecolor": self.color(fill), "edgecolor": self.color(stroke)}
        if form in ("ellipse", "circle"):
            patch: Any = Ellipse(((x0 + x1) / 2, (y0 + y1) / 2), x1 - x0, y1 - y0, **look)
        elif form == "box":
            patch = Rectangle((x0, y0), x1 - x0, y1 - y0, **look)
        else:
            patch = FancyBboxPatch((x0, y0), x1 - x0, y1 - y0, boxstyle="round,pad=0,rounding_size=5", **look)
        self.ax.add_patch(patch)

    def shape(self, one: Shape, level: int) -> None:
        """A node's or a frame's outline, and its text."""
        x0, y0, x1, y1 = one.rect()
        look: dict[str, Any] = {"linewidth": one.thick, "zorder": level}
        look |= {"linestyle": (0, one.dash) if one.dash else "-", **_alpha(one.opacity)}
        if one.form == "pages":
            self.area(one.form, (x0 + 3, y0 + 3, x1 + 3, y1 + 3), one.fill, one.stroke, **look)
        if one.form != "none":
            self.area(one.form, (x0, y0, x1, y1), one.fill, one.stroke, **look)
        for label in one.labels:
            self.label(label, level + 1, one.opacity)

    def line(self, line: Line) -> None:
        """An edge, its head, its dots and its mark."""
        from matplotlib.patches import PathPatch, Polygon
        from matplotlib.path import Path

        codes = [Path.MOVETO] + [Path.CURVE4] * (len(line.way) - 1)
        color = self.color(line.color)
        look: dict[str, Any] = {"zorder": 1, **_alpha(line.opacity)}
        stroke = {"linewidth": line.thick, "linestyle": (0, line.dash) if line.dash else "-"}
        self.ax.add_patch(PathPatch(Path(line.shaft(), codes), facecolor="none", edgecolor=color, **stroke, **look))
        self.ax.add_patch(Polygon(line.head(), facecolor=color, edgecolor="none", **look))
        for dx, dy in line.dots:
            self.area("circle", (dx - 1.6, dy - 1.6, dx + 1.6, dy + 1.6), line.color, None, **look)
        if line.mark is not None:
            self.label(line.mark, 3, line.opacity)

    def label(self, one: Label, level: int, opacity: float = 1.0) -> None:
        """A line of text."""
        text = f"${tex(one.text)}$" if one.scripts else one.text.replace("$", r"\$")
        align = "left" if one.anchor == "start" else "center"
        weight = "bold" if one.bold else "normal"
        self.ax.text(one.x, one.y, text, fontsize=one.size, color=self.color(one.color), ha=align,
                     va="center_baseline", weight=weight, zorder=level, **_alpha(opacity))  # fmt: skip


def _alpha(opacity: float) -> dict[str, float]:
    """Matplotlib's option; none for what is opaque, since it would replace the opacity of a colour."""
    return {"alpha": opacity} if opacity < 1 else {}
