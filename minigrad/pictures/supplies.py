"""The ways of parameters' edges through a `Layout`: along a line below their targets, across all columns, with a branch
upwards to each.
"""

from __future__ import annotations

from .detours import Point, rounded
from .graph import GraphEdge
from .items import GAP, Leaf
from .layout import Layout

CLOSE = 12.0  # between heights of nodes that share the parameters' lines
PORT = 5.0  # between the arrowheads of parameters


def supplies(layout: Layout, others: dict[str, int]) -> dict[GraphEdge, list[Point]]:
    """From a parameter straight to its only node, or along a line below the nodes of a loop that use it. A dot marks
    each branch of a line.

    others  the number of other edges that enter a node from below
    """
    found: dict[GraphEdge, list[Point]] = {}
    heights = _lines(layout)
    trunks = {one: GAP + 4 * k for row in layout.rows() for k, one in enumerate(reversed(row.satellites))}
    branches: dict[tuple[Leaf, float], list[tuple[float, GraphEdge]]] = {}
    for edge in layout.supplies:
        source, target = layout.leaves[edge.source], layout.leaves[edge.target]
        start = (source.x + source.width / 2, source.middle)
        row = layout.of_loop.get(source)
        if row is None:
            end = (target.x - target.width / 2, target.middle)
            apart = (end[0] - start[0]) * 0.45
            found[edge] = [start, (start[0] + apart, start[1]), (end[0] - apart, end[1]), end]
            continue
        bottom = target.middle - target.tall / 2
        y = heights.get((source, round(bottom))) or _first_line(heights, source)
        trunk = row.x - row.left + row.stack - trunks[source]
        ports, _ = ports_below(target, others.get(edge.target, 0))
        ranked = sorted(target.supplies, key=lambda one: -one.middle)
        x = target.x + (ports[ranked.index(source)] if ranked else -min(5.0, target.width / 4))
        top, left = target.middle + target.tall / 2, target.x - target.width / 2
        last = [(x, y), (x, bottom)] if y < bottom else [(x, y), (x, top)] if y > top else [(left, y)]
        found[edge] = rounded([start, (trunk, start[1]), (trunk, y), *last], PORT)
        if len(last) > 1:
            branches.setdefault((source, y), []).append((x, edge))
            layout.branches[edge] = (x, y)
    for (_, y), ends in branches.items():
        for x, edge in sorted(ends, key=lambda end: end[0])[:-1]:
            layout.dots[edge] = ((x, y),)
    return found


def _first_line(heights: dict[tuple[Leaf, int], float], leaf: Leaf) -> float:
    """A parameter's first line, from which edges to replaced steps branch off as well."""
    return next((y for (one, _), y in heights.items() if one is leaf), leaf.middle)


def _lines(layout: Layout) -> dict[tuple[Leaf, int], float]:
    """The y of a parameter's line, for each parameter of a loop and each height of its uses. Uses of almost the same
    height share the lower line."""
    users: dict[int, dict[int, dict[Leaf, None]]] = {}
    for leaf in layout.leaves.values():
        for one in leaf.supplies:
            heights = users.setdefault(id(layout.of_loop[one]), {})
            heights.setdefault(round(leaf.middle - leaf.tall / 2), {})[one] = None
    first, apart = layout.root.lines
    found: dict[tuple[Leaf, int], float] = {}
    for heights in users.values():
        while heights:
            low = min(heights)
            close = {height: heights.pop(height) for height in sorted(heights) if height < low + CLOSE}
            ranked = sorted({one: None for some in close.values() for one in some}, key=lambda one: -one.middle)
            for height, some in close.items():
                found |= {(one, height): low - first - apart * ranked.index(one) for one in some}
    return found


def ports_below(leaf: Leaf, others: int) -> tuple[list[float], list[float]]:
    """The ends, from a node's middle, of edges that enter it from below: of the parameters' lines, and right of them of
    so many other edges. These keep the middle if there is room."""
    supplies, wide = len(leaf.supplies), 0.84 * leaf.width
    apart = min(9.0, 0.7 * leaf.width / max(others, 1))
    close = min(PORT, wide / max(supplies + others - 1, 1))
    left = -apart * (others - 1) / 2 if others else close * (supplies + 1) / 2
    if left - close * supplies < -wide / 2:  # all close together
        apart, left = close, close * supplies - wide / 2
    return [left - close * (supplies - k) for k in range(supplies)], [left + apart * k for k in range(others)]
