"""A scene as SVG: self-contained, and without further packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from .detours import Point, Rect
from .labels import printable
from .palette import DARK, FONT
from .scene import Label, Line, Scene, Shape
from .scripts import SCRIPT, pieces
from .themes import themed

PAPER = "#FFFFFF"


def svg(scene: Scene, theme: str = "auto") -> str:
    """The picture's text. theme: "light", "dark", or "auto", as the reader's page is."""
    writer = Writer(theme)
    lines = [*writer.head(scene.bounds)]
    for frame in scene.frames:
        lines += ['<g class="cluster">', *writer.shape(frame), *map(writer.label, frame.labels), "</g>"]
    for line in scene.lines:
        lines += ['<g class="edge">', f"<title>{line.source} -&gt; {line.target}</title>", *writer.line(line), "</g>"]
    for node in scene.nodes:
        lines += [f'<g class="node" id="{node.id}">', *writer.shape(node), *map(writer.label, node.labels), "</g>"]
    lines += [writer.swatch(*one) for one in scene.swatches]
    lines += map(writer.label, scene.labels)
    return "\n".join([*lines, "</svg>"]) + "\n"


class Writer:
    """Writes shapes, lines and texts in the colours of a theme."""

    def __init__(self, theme: str) -> None:
        self.theme = theme

    def head(self, bounds: Rect) -> Iterator[str]:
        """The beginning of a file, up to the paper."""
        x0, y0, x1, y1 = bounds
        width, height = number(x1 - x0), number(y1 - y0)
        yield '<?xml version="1.0" encoding="UTF-8"?>'
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="minigrad" width="{width}pt" height="{height}pt" '
            f'viewBox="{number(x0)} {number(-y1)} {width} {height}" font-family="{FONT}" stroke-linejoin="round" '
            'text-anchor="middle">'
        )
        yield from self.style()
        yield f'<rect x="{number(x0)}" y="{number(-y1)}" width="{width}" height="{height}" {self.fill(PAPER)}/>'

    def swatch(self, rect: Rect, color: str) -> str:
        """A colour of the legend."""
        a, b, c, d = rect
        size = f'width="{number(c - a)}" height="{number(d - b)}"'
        return f'<rect x="{number(a)}" y="{number(-d)}" {size} {self.fill(color)}/>'

    def style(self) -> Iterator[str]:
        """The dark colours, for dark pages."""
        if self.theme != "auto":
            return
        yield "<style>@media (prefers-color-scheme: dark) {"
        for light, dark in DARK.items():
            color, opacity = _color(light)
            to, more = _color(dark)
            which = f'="{color}"]' + (f'[fill-opacity="{opacity}"]' if opacity else "")
            yield f".minigrad [fill{which} {{ fill: {to}{f'; fill-opacity: {more}' if more else ''} }}"
            if not opacity:
                yield f".minigrad [stroke{which} {{ stroke: {to} }}"
        yield "}</style>"

    def fill(self, color: str | None) -> str:
        """The fill attributes."""
        if color is None:
            return 'fill="none"'
        value, opacity = _color(self._themed(color))
        return f'fill="{value}"' + (f' fill-opacity="{opacity}"' if opacity else "")

    def stroke(self, color: str | None, thick: float = 1.0, dash: Sequence[float] = ()) -> str:
        """The stroke attributes."""
        if color is None:
            return ""
        dashes = f' stroke-dasharray="{" ".join(map(number, dash))}"' if dash else ""
        width = f' stroke-width="{number(thick)}"' if thick != 1 else ""
        return f' stroke="{_color(self._themed(color))[0]}"{width}{dashes}'

    def _themed(self, color: str) -> str:
        return themed(color, self.theme)

    def shape(self, one: Shape) -> Iterator[str]:
        """A node's or a frame's outline."""
        x0, _, _, y1 = one.rect()
        look = self.fill(one.fill) + self.stroke(one.stroke, one.thick, one.dash)
        if one.form == "none":
            return
        if one.form in ("ellipse", "circle"):
            at = (
                f'cx="{number(one.x)}" cy="{number(-one.y)}" rx="{number(one.width / 2)}" ry="{number(one.height / 2)}"'
            )
            yield f"<ellipse {at} {look}/>"
            return
        size = f'width="{number(one.width)}" height="{number(one.height)}"'
        radius = {"round": 5.0, "frame": 6.0}.get(one.form, 0.0)
        corners = f' rx="{number(radius)}"' if radius else ""
        if one.form == "pages":  # something lies behind it
            yield f'<rect x="{number(x0 + 3)}" y="{number(-y1 - 3)}" {size} rx="3" {look}/>'
            corners = ' rx="3"'
        yield f'<rect x="{number(x0)}" y="{number(-y1)}" {size}{corners} {look}/>'

    def line(self, line: Line) -> Iterator[str]:
        """An edge with its head, its mark, and dots at its branches."""
        start, *way = line.shaft()
        path = f"M{_p(start)}C" + " ".join(map(_p, way))
        yield f'<path d="{path}" fill="none"{self.stroke(line.color, line.thick, line.dash)}/>'
        yield f'<path d="M{" L".join(map(_p, line.head()))}Z" {self.fill(line.color)}/>'
        for x, y in line.dots:
            yield f'<circle cx="{number(x)}" cy="{number(-y)}" r="1.6" {self.fill(line.color)}/>'
        if line.mark is not None:
            yield self.label(line.mark)

    def label(self, one: Label) -> str:
        """A line of text. Its baseline is a third of the font size below its middle."""
        anchor = ' text-anchor="start"' if one.anchor == "start" else ""
        bold = ' font-weight="bold"' if one.bold else ""
        at = f'x="{number(one.x)}" y="{number(-one.y + one.size * 0.35)}" font-size="{number(one.size)}"'
        halo = f'{self.stroke(PAPER, 2.0)} paint-order="stroke"' if one.halo else ""
        return f"<text {at}{anchor}{bold} {self.fill(one.color)}{halo}>{_scripted(one)}</text>"


def _scripted(label: Label) -> str:
    """The label's text, with subscripts lowered and smaller."""
    if not label.scripts:
        return escape(printable(label.text), quote=False)
    out, low = [], False
    for piece, down in pieces(label.text):
        text = escape(printable(piece), quote=False)
        shift = label.size * 0.25 * (down - low)
        size = (
            f' font-size="{number(label.size * SCRIPT)}"' if down else ' font-style="italic"' if len(piece) == 1 else ""
        )
        out.append(f'<tspan dy="{number(shift)}"{size}>{text}</tspan>' if shift or size else text)
        low = down
    return "".join(out)


def _color(color: str) -> tuple[str, str]:
    """(#rrggbb, opacity or "")."""
    return color[:7].lower(), f"{int(color[7:], 16) / 255:.3g}" if len(color) > 7 else ""


def number(value: float) -> str:
    """A number with at most two digits behind the point."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _p(at: Point) -> str:
    return f"{number(at[0])},{number(-at[1])}"
