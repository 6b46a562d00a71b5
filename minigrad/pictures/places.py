"""The two ways to place a picture's elements: our own layout through time, and Graphviz."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from .boxes import SPACED, TITLE, Box
from .detours import Point, Rect, around_nodes
from .dot import bare
from .drawing import draw
from .graph import Graph, GraphEdge
from .items import Leaf
from .labels import text_of
from .layout import Layout, layout_of
from .memory import memory_of, on_top, states_way, ways_to
from .routes import frame, routes
from .scene import Picture, Scene

BESIDE = 6.0  # between a window's frame and its nodes


def scene(graph: Graph) -> Scene:
    """A graph, laid out through time or by Graphviz by its options; without Graphviz always through time."""
    layout = layout_of(graph)
    if layout is None:
        try:
            return Drawn(graph).scene()
        except ImportError:
            if graph.options.direction is not None:
                raise
    return Placed(graph, layout or Layout(graph)).scene()


# ---- through time ------------------------------------------------------------------------------------------------


class Placed(Picture):
    """A graph placed by our own layout."""

    def __init__(self, graph: Graph, layout: Layout) -> None:
        super().__init__(graph)
        self.layout = layout
        self.found = routes(layout)

    def places(self) -> dict[str, Point]:
        return {id: (leaf.x, leaf.middle) for id, leaf in self.layout.leaves.items()}

    def frames(self) -> Iterator[tuple[Rect, str, bool]]:
        for title, ids in self.options.windows:
            yield around([self.layout.leaves[id] for id in ids]), title, True
        if self.options.style == "textbook":
            return
        scopes = dict.fromkeys([n.scope[: k + 1] for n in self.graph.nodes for k in range(len(n.scope))])
        for scope in sorted(scopes, key=len):
            box = self.layout.boxes[scope]
            yield frame_of(box), box.name, box.step

    def ways(self) -> Mapping[GraphEdge, list[Point]]:
        return self.found

    def dots(self, edge: GraphEdge, way: list[Point]) -> tuple[Point, ...]:
        return self.layout.dots.get(edge, ())

    def own_piece(self, edge: GraphEdge, way: list[Point]) -> list[Point]:
        if self.layout.leaves[edge.source] not in self.layout.of_loop or edge not in self.layout.branches:
            return way
        (x, line), end = self.layout.branches[edge], way[-1][1]  # the branch, where it leaves its line
        between = -SPACED[1] / 2 if line < end <= line + SPACED[1] else SPACED[1] / 2  # below a line close to its node
        return [(x, line + between)] * 3 + [(x, line + between * 1.2)]


def around(leaves: Sequence[Leaf]) -> Rect:
    """The frame of the nodes of a window, with a line for its title."""
    rects = [frame(leaf) for leaf in leaves]
    (left, bottom), (right, top) = ([pick(rect[k] for rect in rects) for k in ends] for pick, ends in
                                    ((min, (0, 1)), (max, (2, 3))))  # fmt: skip
    return left - BESIDE, bottom - BESIDE - TITLE, right + BESIDE, top + BESIDE


def frame_of(box: Box) -> Rect:
    """The frame of a scope."""
    return box.x - box.left, box.y, box.x + box.right, box.y + box.height


# ---- by Graphviz -------------------------------------------------------------------------------------------------


class Drawn(Picture):
    """A graph placed by Graphviz."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.drawn = json.loads(draw(bare(graph), "json"))
        self.turned = False
        self.memory = memory_of(graph) if graph.options.style == "textbook" else []
        self.sizes = {node.id: text_of(node, graph.options).size() for node in graph.nodes}
        self.moved: dict[str, Point] = {}
        way = states_way(graph) if graph.options.style == "textbook" else []
        if way:  # a cell's state runs on top
            found = self.places()
            others = [found[n.id][1] for n in graph.nodes if n.op and n.id not in way]
            self.turned = bool(others) and fmean(found[id][1] for id in way) < fmean(others)
        if self.memory:
            self.moved = on_top(self.memory, self.places(), self.sizes)

    def places(self) -> dict[str, Point]:
        return {o["name"]: self._at(_point(o["pos"])) for o in self.drawn["objects"] if "pos" in o} | self.moved

    def _at(self, point: Point) -> Point:
        """A point from Graphviz, in a picture that may be upside down."""
        return (point[0], -point[1]) if self.turned else point

    def frames(self) -> Iterator[tuple[Rect, str, bool]]:
        for one in () if self.options.style == "textbook" else self.drawn.get("objects", ()):
            if "bb" in one:
                a, b, c, d = map(float, one["bb"].split(","))
                yield (a, b, c, d), one["label"], False

    def ways(self) -> Mapping[GraphEdge, list[Point]]:
        names = [one["name"] for one in self.drawn["objects"]]
        ways: dict[tuple[str, str], list[list[Point]]] = {}
        for one in self.drawn.get("edges", ()):
            ways.setdefault((names[one["tail"]], names[one["head"]]), []).append(
                [self._at(point) for point in _spline(one["pos"])]
            )
        found = {edge: ways[edge.source, edge.target].pop(0) for edge in self.graph.edges}
        places = self.places()
        found |= ways_to(self.memory, self.graph.edges, places, self.sizes)
        rects = {}
        for id, (x, y) in places.items():
            width, height = self.sizes[id]
            rects[id] = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return around_nodes(found, rects, round_ends=True)


def _point(text: str) -> Point:
    x, y = text.split(",")
    return float(x), float(y)


def _spline(text: str) -> list[Point]:
    """Graphviz's points, with the arrow's tip moved to the end: "e,x,y x,y …"."""
    tip, *rest = text.split()
    if not tip.startswith("e,"):
        return [_point(one) for one in (tip, *rest)]
    way = [_point(one) for one in rest]
    return [*way[:-1], _point(tip[2:])]
