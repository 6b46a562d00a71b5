"""The ways of edges through a `Layout`, as splines.

An ordinary edge rises through the positions reserved for it in the bands. A state leaves its step sideways, and turns
in the gap between two columns. Those of parameters are in `supplies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .boxes import Box, leaves_of
from .columns import LoopRow
from .detours import Point, Rect, around_nodes, rounded
from .graph import GraphEdge
from .items import GAP, LANE, Item, Leaf
from .layout import Layout
from .supplies import ports_below, supplies

STRAIGHT = 6.0  # tolerance between the ends of a straight line
TIP = 6.0  # length of an arrowhead


def routes(layout: Layout) -> dict[GraphEdge, list[Point]]:
    """For each edge the control points of its spline, 3n + 1 of them."""
    ends: dict[str, list[tuple[list[Point], GraphEdge]]] = {}
    for edge in layout.others:
        ends.setdefault(edge.target, []).append((_rising(layout, edge), edge))
    found: dict[GraphEdge, list[Point]] = {}
    for target, ways in ends.items():  # side by side at their target
        ways.sort(key=lambda way: (_last_turn(way[0]), way[0][0][0]))
        _, ports = ports_below(layout.leaves[target], len(ways))
        for shift, (points, edge) in zip(ports, ways, strict=True):
            x = points[-1][0]
            last = len(points) - 1
            while last > 1 and abs(points[last - 1][0] - x) < 0.01 and points[last - 1][1] < points[last][1]:
                last -= 1
            found[edge] = _curve([*points[:last], *[(px + shift, py) for px, py in points[last:]]])
    found |= _states(layout)
    found |= supplies(layout, {target: len(ways) for target, ways in ends.items()})
    usual = dict(found)
    around = around_nodes(found, {id: frame(leaf) for id, leaf in layout.leaves.items()})
    for edge, way in around.items():
        if way is not usual[edge]:  # its branch is gone
            layout.dots.pop(edge, None)
            layout.branches.pop(edge, None)
    return around


def frame(leaf: Leaf) -> Rect:
    """The rectangle of a node: x0, y0, x1, y1."""
    half, tall = leaf.width / 2, leaf.tall / 2
    return leaf.x - half, leaf.middle - tall, leaf.x + half, leaf.middle + tall


def _last_turn(points: list[Point]) -> float:
    """The x of an edge before its end."""
    return next((x for x, _ in reversed(points[:-1]) if abs(x - points[-1][0]) > 0.01), points[-1][0])


# ---- ordinary edges ----------------------------------------------------------------------------------------------


def _rising(layout: Layout, edge: GraphEdge) -> list[Point]:
    """The points of an edge from the top of its source to the bottom of its target. It is vertical inside each band,
    and turns only between bands, where there are no nodes."""
    source, target = layout.leaves[edge.source], layout.leaves[edge.target]
    start, end = (source.x, source.middle + source.tall / 2), (target.x, target.middle - target.tall / 2)
    if end[1] <= start[1]:  # back to an earlier node: around it
        return [(source.x, source.middle - source.tall / 2), (target.x, target.middle + target.tall / 2)]
    out, into = list(source.around()), list(target.around())
    common = next(box for box in out if box in into)
    points = [start]
    inside: Item = source
    for box in out[: out.index(common) + 1]:
        band = box.level.get(inside)
        top = box.tops[band] if band is not None and box.tops else inside.y + inside.height
        points.append((points[-1][0], top))
        if box is not common:
            points += _places(box, source, (band or 0) + 1, len(box.tops))
            points.append((points[-1][0], box.y + box.height))
        inside = box
    a, b = common.level[common.child_with(source)], common.level[common.child_with(target)]
    points += _places(common, source, a + 1, b)
    for box in reversed(into[: into.index(common) + 1]):
        below = box.level.get(box.child_with(target), 0)
        if box is not common:
            passed = _places(box, ("in", source), 0, below)
            x = passed[0][0] if passed else _entrance(box, source, target)
            points += [(x, box.y), *passed]
        child = box.child_with(target)
        x = end[0] if child is target else _entrance(child, source, target) if isinstance(child, Box) else child.x
        points.append((x, box.bottoms[below] if box.bottoms else child.y))
    if layout.options.backward and target.supplies:  # straight past the numbers beside the parameters' branches
        lines = layout.root.lines
        low = end[1] - lines[0] - lines[1] * (len(target.supplies) - 1)
        points = [*[point for point in points[:-1] if point[1] < low], (points[-1][0], min(points[-1][1], low))]
    return _without_twins([*points, end])


def _without_twins(points: Sequence[Point]) -> list[Point]:
    """Only the points that rise."""
    kept = [points[0]]
    for x, y in points[1:-1]:
        if y > kept[-1][1] + 0.5:
            kept.append((x, y))
    while len(kept) > 1 and kept[-1][1] > points[-1][1] - 0.5:
        kept.pop()
    return [*kept, points[-1]]


def _entrance(box: Box, source: Leaf, target: Leaf) -> float:
    """The x at which an edge enters a box from outside."""
    place = box.passing.get((("in", source), 0))
    inside = box.child_with(target)
    return place.x if place is not None else _entrance(inside, source, target) if isinstance(inside, Box) else inside.x


def _places(box: Box, key: object, first: int, end: int) -> list[Point]:
    """The points where an edge passes the bands of a box: at the lower and the upper edge of each."""
    points: list[Point] = []
    for level in range(first, end):
        place = box.passing.get((key, level))
        if place is not None:
            high = box.tops[level]
            low = box.bottoms[level]
            points += [(place.x, low), (place.x, high)] if high - low > 1 else [(place.x, high)]
    return points


def _curve(points: Sequence[Point]) -> list[Point]:
    """A smooth spline through the points, vertical at each; straight pieces stay straight."""
    clean = [points[0]]
    for point in points[1:]:  # without points on straight pieces
        if len(clean) > 1 and clean[-1][0] == clean[-2][0] == point[0]:
            clean[-1] = point
        else:
            clean.append(point)
    spline = [clean[0]]
    for (x, y), (to_x, to_y) in pairwise(clean):
        bend, aside = (to_y - y) / 2, (to_x - x) * 0.2
        if len(clean) == 2 and abs(to_x - x) <= 60:  # short: nearly straight
            spline += [(x + aside, y + bend * 0.66), (to_x - aside, to_y - bend * 0.66), (to_x, to_y)]
            continue
        spline += [(x, y + bend), (to_x, to_y - bend), (to_x, to_y)]
    return spline


# ---- states ------------------------------------------------------------------------------------------------------


def _states(layout: Layout) -> dict[GraphEdge, list[Point]]:
    """From one side of a step, through the gap, to the facing side of the next."""
    found: dict[GraphEdge, list[Point]] = {}
    lane: dict[tuple[int, Item], int] = {}
    ports = _ports(layout)
    for edge in sorted(layout.states, key=lambda edge: edge.source != edge.target):
        source, target = layout.leaves[edge.source], layout.leaves[edge.target]
        row, a, b = _crossed(source, target)
        ordered = [row.columns[step] for step in sorted(row.columns)]
        forth = ordered.index(b) >= ordered.index(a)
        side = 1 if forth else -1
        leave, enter = ports[edge, "out"], ports[edge, "in"]
        start = _side(source, a, side, leave)
        end = _side(target, b, side if a is b else -side, enter)
        border = a.x + (a.right if forth else -a.left)
        near = ordered[ordered.index(a) + side] if a is not b else None
        if near is None:  # back into the same step: a loop at its right
            k = lane[id(row), a] = lane.get((id(row), a), -1) + 1
            bend = border + GAP * 0.7 + LANE * k
            found[edge] = rounded([*start, (bend, start[-1][1]), (bend, end[-1][1]), *reversed(end)])
            continue
        facing = near.x - near.left if forth else near.x + near.right
        drop = abs(start[-1][1] - end[-1][1])
        if near is b and len(start) == len(end) == 2 and len({y for _, y in (*start, *end)}) == 2 and drop < STRAIGHT:
            end = [(x, start[0][1]) for x, _ in end]  # nearly level: straight
            drop = 0.0
        level = drop < 1 and near is b
        k = 0
        if not level:
            k = lane[id(row), a] = lane.get((id(row), a), -1) + 1
        bend = (border + facing) / 2 + side * LANE * (k - (row.between - 1) / 2)
        if near is b:
            middle = [] if level else [(bend, start[-1][1]), (bend, end[-1][1])]
        else:  # a longer way: above the steps between
            before = ordered[ordered.index(b) - side]
            ends = (b.x - b.left, before.x + before.right) if forth else (b.x + b.right, before.x - before.left)
            last = sum(ends) / 2
            over = row.y + row.height + 6 + LANE * k
            middle = [(bend, start[-1][1]), (bend, over), (last, over), (last, end[-1][1])]
        found[edge] = rounded([*start, *middle, *reversed(end)])
    return found


def _crossed(source: Leaf, target: Leaf) -> tuple[LoopRow, Item, Item]:
    """The loop whose columns an edge connects (or whose column it returns to), and these columns."""
    into = list(target.around())
    rows = [box for box in source.around() if isinstance(box, LoopRow) and box in into]
    columns = [(row, row.child_with(source), row.child_with(target)) for row in rows]
    return next((found for found in columns if found[1] is not found[2]), columns[0])


def _ports(layout: Layout) -> dict[tuple[GraphEdge, str], float]:
    """The height, relative to a node's middle, at which each of its state edges ends; higher ones lead higher."""
    ends: dict[tuple[str, str], list[GraphEdge]] = {}
    for edge in layout.states:
        ends.setdefault((edge.source, "out"), []).append(edge)
        ends.setdefault((edge.target, "in"), []).append(edge)
    ports = {}
    for (_, which), edges in ends.items():
        other = [layout.leaves[e.target if which == "out" else e.source] for e in edges]
        ranked = sorted(range(len(edges)), key=lambda k: (other[k].middle, k))
        for place, k in enumerate(ranked):
            ports[edges[k], which] = (place - (len(edges) - 1) / 2) * min(LANE, 14 / len(edges))
    for loop in [edge for edge in layout.states if edge.source == edge.target]:  # on top, others below it
        tall = layout.leaves[loop.source].tall
        for edge in layout.states:
            if edge.source == loop.source and edge is not loop:
                ports[edge, "out"] -= tall * 0.2
        ports[loop, "out"], ports[loop, "in"] = tall * 0.34, tall * 0.1
    return ports


def _side(leaf: Leaf, column: Item, side: int, port: float) -> list[Point]:
    """From a node to the border of its column: sideways, or around other nodes, below or above them."""
    y = leaf.middle + port
    edge = leaf.x + side * leaf.width / 2
    border = column.x + (column.right if side > 0 else -column.left)
    others = [one for one in leaves_of(column) if one is not leaf and (one.x - leaf.x) * side > 0]
    blocked = [one for one in others if abs(one.middle - y) < one.tall / 2 + 3]
    if not blocked:
        return [(edge, y), (border, y)]
    low = min(one.middle - one.tall / 2 for one in [*blocked, leaf]) - 9
    x = leaf.x + side * min(5.0, leaf.width / 4)
    return [(x, leaf.middle - leaf.tall / 2), (x, low), (border, low)]
