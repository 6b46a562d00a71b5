"""A picture as shapes, lines and texts with coordinates, ready for the writers `svg`, `tikz` and `plots`.

Points are in units of 1/72 inch; y points up. Colours are those of a light page; `palette.DARK` has the dark ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import hypot

from .detours import Point, Rect
from .graph import Graph, GraphEdge, GraphNode
from .labels import SIZE, SMALL, Text, mark_of, text_of, text_width
from .loops import running_totals
from .marks import Space, free_place, title_place
from .palette import (
    BLUE,
    DARK,
    EDGES,
    INK,
    LEGENDS,
    NOTE,
    POINTWISE,
    RED,
    SQUASHES,
    STYLES,
    TEXTBOOK,
    ink_on,
    norm_of,
    scale_of,
    tone,
)  # fmt: skip

LINE, LITTLE = 13.0, 11.0  # heights of a node's lines of text
PAD = 9.0  # around the picture


@dataclass(frozen=True)
class Label:
    """A line of text with its middle at (x, y). With `anchor` "start" rather than "middle", x is its beginning."""

    text: str
    x: float
    y: float
    size: float = SIZE
    color: str = INK
    bold: bool = False
    anchor: str = "middle"
    scripts: bool = False  # h_t has a subscript
    halo: bool = False  # with the page's colour around the letters

    def rect(self) -> Rect:
        """The bounding rectangle."""
        width = text_width(self.text, self.size) * (1.08 if self.bold else 1)
        left = self.x - width / 2 if self.anchor == "middle" else self.x
        return left, self.y - self.size * 0.5, left + width, self.y + self.size * 0.5


@dataclass(frozen=True)
class Shape:
    """A node, or the frame of a scope. `form` is "box", "round", "ellipse", "circle", "pages" or "none"."""

    id: str
    form: str
    x: float
    y: float
    width: float
    height: float
    fill: str | None
    stroke: str | None
    thick: float = 1.0
    dash: tuple[float, ...] = ()
    labels: tuple[Label, ...] = ()
    opacity: float = 1.0

    def rect(self) -> Rect:
        """The bounding rectangle."""
        return (self.x - self.width / 2, self.y - self.height / 2, self.x + self.width / 2, self.y + self.height / 2)


@dataclass(frozen=True)
class Line:
    """An edge: a spline of cubic pieces that ends at the arrow's tip, with an optional mark beside it."""

    source: str
    target: str
    way: tuple[Point, ...]
    color: str
    thick: float = 1.0
    dash: tuple[float, ...] = ()
    tip: float = 6.0  # length of the arrowhead
    mark: Label | None = None
    dots: tuple[Point, ...] = ()  # where it leaves a line that it shares
    opacity: float = 1.0

    def shaft(self) -> list[Point]:
        """The spline up to the base of the arrowhead: a part of the way, so that it is where the way was laid."""
        *before, a, b, c, d = self.way
        low, high = 0.0, 1.0
        if hypot(a[0] - d[0], a[1] - d[1]) <= self.tip:  # the last piece is shorter than the head
            length = max(hypot(c[0] - d[0], c[1] - d[1]), 1e-6)
            return [*before, a, b, c, _between(d, c, self.tip / length)]
        for _ in range(18):
            middle = (low + high) / 2
            x, y = _cut(a, b, c, d, middle)[-1]
            low, high = (middle, high) if hypot(x - d[0], y - d[1]) > self.tip else (low, middle)
        return [*before, *_cut(a, b, c, d, low)]

    def head(self) -> list[Point]:
        """The corners of the arrowhead: its base's left end, the tip, and the right end."""
        (x, y), tip = self.shaft()[-1], self.way[-1]
        length = max(hypot(tip[0] - x, tip[1] - y), 1e-6)
        nx, ny = (tip[1] - y) / length * self.tip * 0.38, -(tip[0] - x) / length * self.tip * 0.38
        return [(x + nx, y + ny), tip, (x - nx, y - ny)]


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _cut(a: Point, b: Point, c: Point, d: Point, share: float) -> list[Point]:
    """The first part of a cubic piece (de Casteljau's algorithm)."""
    ab, bc, cd = _between(a, b, share), _between(b, c, share), _between(c, d, share)
    abc, bcd = _between(ab, bc, share), _between(bc, cd, share)
    return [a, ab, abc, _between(abc, bcd, share)]


@dataclass(frozen=True)
class Scene:
    """A complete picture, from back to front: frames, lines, nodes, and the legend."""

    bounds: Rect
    frames: tuple[Shape, ...]
    lines: tuple[Line, ...]
    nodes: tuple[Shape, ...]
    labels: tuple[Label, ...] = ()
    swatches: tuple[tuple[Rect, str], ...] = field(default=())


class Picture:
    """A graph with coordinates; the two ways to find them are in `places`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.options = graph.options
        self.byid = {node.id: node for node in graph.nodes}
        self.scale = scale_of(graph.nodes, self.options.color)
        self.uses = Counter(edge.source for edge in graph.edges)
        self.totals = running_totals(graph)
        self.tones = {n.id: k for k, n in enumerate(n for n in graph.nodes if n.kind == "parameter")}

    def places(self) -> dict[str, Point]:
        """The middle of each node."""
        raise NotImplementedError

    def frames(self) -> Iterator[tuple[Rect, str, bool]]:
        """The frame of each scope, the outer ones first, its title, and True if that has its place at the bottom."""
        raise NotImplementedError

    def ways(self) -> Mapping[GraphEdge, list[Point]]:
        """The way of each edge, as a spline."""
        raise NotImplementedError

    def dots(self, edge: GraphEdge, way: list[Point]) -> tuple[Point, ...]:
        """The points at which an edge leaves a line shared with others."""
        return ()

    def own_piece(self, edge: GraphEdge, way: list[Point]) -> list[Point]:
        """The piece of an edge's way that its number stands beside."""
        return way

    def scene(self) -> Scene:
        """The complete scene."""
        places = self.places()
        nodes = tuple([self._node(node, *places[node.id]) for node in self.graph.nodes])
        ways = self.ways()
        space = Space([shape.rect() for shape in nodes], [ways[edge] for edge in self.graph.edges])
        frames = tuple(self._framed(space))
        marked = sorted(enumerate(self.graph.edges), key=lambda one: self.byid[one[1].source].kind != "parameter")
        found = {k: self._line(edge, ways[edge], k, space) for k, edge in marked}  # the shortest branches first
        lines = [found[k] for k in range(len(found))]
        rects = [s.rect() for s in (*nodes, *frames)] + [r for one in lines for r in _extent(one)]
        rects += [label.rect() for frame in frames for label in frame.labels]
        low, bottom = min(r[0] for r in rects), min(r[1] for r in rects)
        high, top = max(r[2] for r in rects), max(r[3] for r in rects)
        labels, swatches, (wide, tall) = self._legend(low, bottom - PAD)
        bounds = (low - PAD, bottom - PAD - tall, max(high, low + wide) + PAD, top + PAD)
        return Scene(bounds, frames, tuple(lines), nodes, tuple(labels), tuple(swatches))

    def _framed(self, space: Space) -> Iterator[Shape]:
        """The frames of scopes, with their titles."""
        found = list(self.frames())
        for k, (rect, title, low) in enumerate(found):
            a, b, c, d = rect
            inner = [r for r, _, _ in found[k + 1 :] if r[0] >= a and r[2] <= c and r[1] >= b and r[3] <= d]
            label = Label(title, *title_place(rect, title, low, inner, space), SIZE, NOTE, anchor="start")
            space.take(label.rect())
            yield Shape(f"frame {k}", "frame", (a + c) / 2, (b + d) / 2, c - a, d - b, SHADE, "#d0d0d0",
                        labels=(label,))  # fmt: skip

    def _node(self, node: GraphNode, x: float, y: float) -> Shape:
        style, text = self._style(node), text_of(node, self.options)
        width, height = text.size()
        fill, ink = style.get("fillcolor"), style.get("fontcolor", INK)
        scaled = self.scale is not None and fill is not None
        if self.scale is not None and scaled:
            norm = norm_of(node)
            fill = "#FFFFFF" if norm is None else self.scale.color(norm)
            ink = ink_on(fill) if norm else INK  # a node without a colour of the scale is as the page is
            if style["shape"] == "plaintext":  # a parameter in a textbook
                style = style | {"shape": "box", "style": "rounded,filled", "color": BLUE}
        lines = style.get("style", "")
        form = (
            "circle"
            if text.sign and node.kind in ("operation", "output")
            else FORMS[style["shape"], "rounded" in lines]
        )
        dash = (3.5, 2.5) if "dashed" in lines else (1.0, 2.5) if "dotted" in lines else ()
        stroke = style.get("color") if form != "none" else None
        written = _written(text, x, y, ink, scaled)
        labels = tuple([replace(one, scripts=self.options.style == "textbook") for one in written])
        thick = float(style.get("penwidth", "1"))
        return Shape(node.id, form, x, y, width, height, fill if form != "none" else None, stroke, thick, dash, labels)

    def _style(self, node: GraphNode) -> dict[str, str]:
        """The style of its kind; in textbooks, also of its operation."""
        if self.options.style != "textbook":
            return STYLES[node.kind]
        computes = node.kind == "operation" or (node.kind == "output" and not node.label)
        if computes and node.op in SQUASHES:
            return TEXTBOOK["squash"]
        if computes and node.op in POINTWISE:
            return TEXTBOOK["pointwise"]
        return TEXTBOOK[node.kind]

    def _line(self, edge: GraphEdge, way: list[Point], number: int, space: Space) -> Line:
        source = self.byid[edge.source]
        kind = "parameter" if source.kind == "parameter" and not edge.kind else edge.kind
        if kind == "detached" and edge.steps is not None:
            kind = "cut"
        if kind == "state" and edge in self.totals:  # not a state's path
            kind = ""
        style = EDGES[kind]
        color = tone(self.tones[edge.source]) if kind == "parameter" else style.get("color", EDGE)
        if self.options.backward:
            return self._gradient(edge, way, number, space)
        text = mark_of(edge, source, self.byid[edge.target], self.options.style or self.options.view)
        mark = None
        if text:
            x, y = free_place(number, way, text, space)
            mark = Label(text, x, y, SMALL, RED if kind in ("state", "cut") else "#555555",
                         scripts=self.options.style == "textbook", halo=True)  # fmt: skip
            space.take(mark.rect())
        dash = (4.0, 3.0) if style.get("style") == "dashed" else ()
        tip = 10.0 * float(style.get("arrowsize", "0.6"))
        return Line(edge.source, edge.target, tuple(way), color, float(style.get("penwidth", "1")), dash, tip, mark,
                    self.dots(edge, way))  # fmt: skip

    def _gradient(self, edge: GraphEdge, way: list[Point], number: int, space: Space) -> Line:
        """A reversed edge: the gradient of its value, with its norm; grey where none flows."""
        norm = edge.grad
        if norm is None:
            return Line(edge.target, edge.source, tuple(reversed(way)), "#D0D0D0", 1.0, (2.0, 3.0))
        state = edge.kind == "state" and edge not in self.totals
        source, thick, tip, color = self.byid[edge.source], 2.2 if state else 1.3, 6.0, RED
        if source.kind == "parameter":
            thick, tip, color = 1.0, 5.0, tone(self.tones[edge.source])
        mark = None
        if self.uses[edge.source] > 1 or source.kind != "parameter":  # a parameter's node has the norm of all uses
            text = f"{norm:.2g}"
            piece, side = self.own_piece(edge, way), -1 if source.kind == "parameter" else 1
            mark = Label(text, *free_place(number, piece, text, space, side), SMALL, color, halo=True)
            space.take(mark.rect())
        return Line(edge.target, edge.source, tuple(reversed(way)), color, thick, (), tip, mark, self.dots(edge, way))

    def _legend(self, x: float, y: float) -> tuple[list[Label], list[tuple[Rect, str]], tuple[float, float]]:
        """The legend of colours, and the note, below the picture: (labels, swatches, (width, height))."""
        labels: list[Label] = []
        swatches: list[tuple[Rect, str]] = []
        wide, tall = 0.0, 0.0
        if self.scale is not None and self.options.color is not None:
            title = LEGENDS[self.options.color]
            labels.append(Label(title, x, y - 8, SMALL, NOTE, anchor="start"))
            at = x + text_width(title, SMALL) + 8
            for text, color in self.scale.legend():
                swatches.append(((at, y - 16, at + 42, y), color))
                labels.append(Label(text, at + 21, y - 8, SMALL, ink_on(color) if color not in DARK else INK))
                at += 42
            wide, tall = at - x, 24.0
        if self.options.note:
            labels.append(Label(self.options.note, x, y - tall - 7, SMALL, NOTE, anchor="start"))
            wide, tall = max(wide, text_width(self.options.note, SMALL)), tall + 16.0
        return labels, swatches, (wide, tall)


EDGE, FAINT, SHADE = "#777777", "#666666", "#00000007"
FORMS = {
    ("box", False): "box", ("box", True): "round", ("ellipse", False): "ellipse", ("plaintext", False): "none",
    ("box3d", False): "pages",
}  # fmt: skip


def _written(text: Text, x: float, y: float, ink: str, scaled: bool) -> Iterator[Label]:
    """A node's lines of text, centred vertically."""
    heads = text.head.split("\n")
    height = LINE * len(heads) + LITTLE * len(text.rest)
    at = y + height / 2
    for head in heads:
        yield Label(head, x, at - LINE / 2, SIZE + (1.0 if text.sign else 0.0), ink, text.bold)
        at -= LINE
    for line in text.rest:
        yield Label(line, x, at - LITTLE / 2, SMALL, ink if scaled else FAINT)
        at -= LITTLE


def _extent(line: Line) -> Iterator[Rect]:
    xs, ys = [p[0] for p in line.way], [p[1] for p in line.way]
    yield min(xs), min(ys), max(xs), max(ys)
    if line.mark is not None:
        yield line.mark.rect()
