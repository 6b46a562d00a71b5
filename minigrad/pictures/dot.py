"""A graph in Graphviz's language: one line for each node and edge, in the order of the computation.

Networks through time carry the coordinates of `layout`, so that Graphviz only draws; it lays out all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .boxes import Box
from .detours import Point
from .graph import Graph, GraphEdge, GraphNode
from .labels import SIZE, escaped, label_of, mark_of, quoted, text_of, text_width
from .layout import Layout, layout_of
from .loops import title
from .memory import states_way
from .palette import EDGES, FONT, INK, LEGENDS, RED, STYLES, ink_on, norm_of, scale_of
from .routes import TIP, routes


def dot(self: Graph) -> str:
    """The graph in Graphviz's language. Needs nothing installed."""
    return _Writer(self, layout_of(self)).text()


def bare(graph: Graph) -> str:
    """The graph without labels, for Graphviz to lay out; a textbook's state runs straight."""
    return _Writer(graph, None, bare=True).text()


class _Writer:
    def __init__(self, graph: Graph, layout: Layout | None, bare: bool = False) -> None:
        self.bare = bare
        self.straight = set(states_way(graph)) if bare and graph.options.style == "textbook" else set()
        self.graph = graph
        self.options = graph.options
        self.layout = layout
        self.ways = routes(layout) if layout is not None else {}
        self.byid = {node.id: node for node in graph.nodes}
        self.scale = scale_of(graph.nodes, self.options.color)

    def text(self) -> str:
        """The whole text."""
        if self.layout is not None:
            box = self.layout.root
            how = f'layout="nop2"; pad=0.12; bb="{_corners(box)}";'
        else:
            down = self.options.direction == "down"
            how = f"rankdir={'TB' if down else 'LR'}; newrank=true; nodesep=0.2; ranksep=0.32;"
        lines = [
            "digraph {",
            f'  {how} bgcolor="white"; fontname="{FONT}"; fontsize=11; fontcolor="#555555";',
            f'  node [fontname="{FONT}" fontsize=11 fontcolor="{INK}" height=0.3 width=0.3 '
            f'margin="{"0.02,0.01" if self.layout is not None else "0.09,0.04"}" penwidth=1];',
            f'  edge [color="#777777" arrowsize=0.55 penwidth=1 fontname="{FONT}" fontsize=10 fontcolor="{RED}"];',
            *self._legend(),
        ]
        tree: dict[Any, Any] = {}
        for node in self.graph.nodes:
            inside: dict[Any, Any] = tree
            for scope in node.scope:
                inside = inside.setdefault(scope, {})
            inside[node.id] = node
        lines += self._clusters(tree, (), "  ", "cluster")
        lines += [self._edge(edge) for edge in self.graph.edges]
        return "\n".join([*lines, "}"]) + "\n"

    def _clusters(self, tree: dict[Any, Any], path: Any, indent: str, prefix: str) -> list[str]:
        lines = []
        for number, (key, value) in enumerate(tree.items()):
            if isinstance(value, GraphNode):
                lines.append(f"{indent}{self._node(value)}")
                continue
            name, inner = f"{prefix}_{number}", (*path, key)
            lines.append(f"{indent}subgraph {name} {{")
            lines.append(
                f'{indent}  label={quoted(title(*key))}; style="rounded,filled"; fillcolor="#00000007"; '
                f'color="#D0D0D0"; {self._box(inner)}'
            )
            lines += self._clusters(value, inner, indent + "  ", name)
            lines.append(f"{indent}}}")
        return lines

    def _box(self, path: Any) -> str:
        """A cluster's position and title: below a step, on top of another scope."""
        if self.layout is None:
            return "labeljust=l; labelloc=t; margin=7;"
        box: Box = self.layout.boxes[path]
        half = title_width(box) / 2 + 7
        left, right = box.x - box.left + half, box.x + box.right - half
        free = [x for x in (left, right) if not any(abs(x - c) < half for c in box.crossings)]
        at = (free[0] if free else left, box.y + 9 if box.step else box.y + box.height - 9)
        return f'bb="{_corners(box)}"; lp="{_places([at])}";'

    # ---- nodes ---------------------------------------------------------------------------------------------------

    def _node(self, node: GraphNode) -> str:
        style = dict(STYLES[node.kind])
        text = text_of(node, self.options)
        if self.scale is not None and "filled" in style.get("style", ""):
            norm = norm_of(node)
            style["fillcolor"] = fill = "#FFFFFF" if norm is None else self.scale.color(norm)
            style["fontcolor"] = ink_on(fill)
        if text.sign and node.kind == "operation":
            style |= {"shape": "circle", "style": "filled", "margin": "0", "fixedsize": "true", "fontsize": "12"}
        if self.layout is not None:
            leaf = self.layout.leaves[node.id]
            style["pos"] = _places([(leaf.x, leaf.middle)])
        width, height = text.size()
        style |= {"width": f"{width / 72:.3f}", "height": f"{height / 72:.3f}", "fixedsize": "true"}
        label = '""' if self.bare else label_of(text, style.get("fontcolor", "#666666"))
        if node.id in self.straight:
            style["group"] = "state"
        return f"{node.id} [label={label} {_attributes(style)}];"

    # ---- edges ---------------------------------------------------------------------------------------------------

    def _edge(self, edge: GraphEdge) -> str:
        kind = edge.kind if edge.kind != "detached" or edge.steps is None else "cut"
        source = self.byid[edge.source]
        if not kind and source.kind == "parameter":
            kind = "parameter"
        style: dict[str, str] = dict(EDGES[kind])
        way = self.ways.get(edge)
        if way is not None:
            style["pos"] = _spline(way)
        if edge.source in self.straight and edge.target in self.straight:
            style["weight"] = "100"
        mark = mark_of(edge, source, self.byid[edge.target], self.options.view)
        if mark:
            style["label"] = mark
            if way is not None:
                style["lp"] = _places([(max(way)[0] + 12, (way[0][1] + way[-1][1]) / 2)])
        return f"  {edge.source} -> {edge.target}" + (f" [{_attributes(style)}];" if style else ";")

    # ---- below the picture ---------------------------------------------------------------------------------------

    def _legend(self) -> list[str]:
        """The legend of colours, and the note, as the label of the whole graph."""
        parts = []
        if self.options.color is not None and self.scale is not None:
            name = LEGENDS[self.options.color]
            cells = "".join(
                f'<td bgcolor="{color}" width="42" height="16"><font point-size="9" color="{ink_on(color)}">'
                f"{escaped(text)}</font></td>"
                for text, color in self.scale.legend()
            )
            parts.append(
                f'<table border="0" cellborder="0" cellspacing="0" cellpadding="3"><tr><td>{name}</td>'
                f"{cells}</tr></table>"
            )
        if self.options.note:
            parts.append(escaped(self.options.note))
        if not parts:
            return []
        rows = "".join(f'<tr><td align="left">{part}</td></tr>' for part in parts)
        label = f'<table border="0" cellborder="0" cellspacing="0">{rows}</table>'
        return [f"  label=<{label}>; labelloc=b; labeljust=l;"]


def _corners(box: Box) -> str:
    return _places([(box.x - box.left, box.y), (box.x + box.right, box.y + box.height)])


def title_width(box: Box) -> float:
    """The width of a box's title, as Graphviz sets it."""
    return text_width(box.name, SIZE) * 0.9


def _spline(way: list[Point]) -> str:
    """Points in Graphviz's form: the tip of the arrow first, then the spline up to the arrow's base."""
    (x, y), (tip_x, tip_y) = way[-2], way[-1]
    length = max(((tip_x - x) ** 2 + (tip_y - y) ** 2) ** 0.5, 1e-6)
    end = (tip_x - (tip_x - x) / length * TIP, tip_y - (tip_y - y) / length * TIP)
    return f"e,{_places([way[-1]])} {_places([*way[:-1], end], ' ')}"


def _places(points: Iterable[Point], between: str = ",") -> str:
    return between.join([f"{x:.4g},{y:.4g}" if max(abs(x), abs(y)) < 1000 else f"{x:.1f},{y:.1f}" for x, y in points])


def _attributes(style: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" if value.isalnum() else f'{name}="{value}"' for name, value in style.items())
