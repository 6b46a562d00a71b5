"""The memory of a cell: a state that only passes element-wise operations, drawn as one straight line on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .detours import Point
from .graph import Graph, GraphEdge

ELEMENTWISE = frozenset(["add", "subtract", "multiply", "divide", "negative", "maximum", "minimum", "where"])
RISE = 26.0  # of the line above all other nodes
APART = 16.0  # between nodes on it, at least
SIDE = 5.0  # between arrows that end at the same node

Size = tuple[float, float]


def states_way(graph: Graph) -> list[str]:
    """The nodes on the path of a cell's state from its entry to its exit, through the fewest operations; of a memory,
    if the cell has one."""
    ways = _ways(graph)
    ops = {node.id: node.op for node in graph.nodes}
    memories = [way for way in ways if all(ops[id] in ELEMENTWISE for id in way[1:-1])]
    return min(memories or ways, key=len, default=[])


def memory_of(graph: Graph) -> list[str]:
    """`states_way` of a cell with a memory; [] of others."""
    way = states_way(graph)
    ops = {node.id: node.op for node in graph.nodes}
    return way if all(ops[id] in ELEMENTWISE for id in way[1:-1]) else []


def _ways(graph: Graph) -> list[list[str]]:
    after: dict[str, list[str]] = {}
    for edge in graph.edges:
        after.setdefault(edge.source, []).append(edge.target)
    ways: list[list[str]] = []
    for start in [node for node in graph.nodes if node.kind == "input" and "t−1" in node.label]:
        end = start.label.replace("t−1", "t").lower()
        rest = [[start.id]]
        ends = {node.id for node in graph.nodes if node.kind == "output" and node.label.lower() == end}
        seen = {start.id}
        while rest:
            way = rest.pop(0)
            if way[-1] in ends:
                ways.append(way)
                break
            for one in after.get(way[-1], ()):
                if one not in seen:
                    seen.add(one)
                    rest.append([*way, one])
    return ways


def on_top(way: Sequence[str], places: Mapping[str, Point], sizes: Mapping[str, Size]) -> dict[str, Point]:
    """The places of the memory's nodes: on a line above all others, from the left end of the picture to the right."""
    others = [id for id in places if id not in way]
    y = max([places[id][1] + sizes[id][1] / 2 for id in others]) + RISE
    left, right = (pick([x for x, _ in places.values()]) for pick in (min, max))
    xs = [left, *[places[id][0] for id in way[1:-1]], right]
    for k in range(1, len(way)):
        room = (sizes[way[k - 1]][0] + sizes[way[k]][0]) / 2 + APART
        xs[k] = max(xs[k], xs[k - 1] + room)
    return {id: (x, y) for id, x in zip(way, xs, strict=True)}


def ways_to(
    way: Sequence[str], edges: Sequence[GraphEdge], places: Mapping[str, Point], sizes: Mapping[str, Size]
) -> dict[GraphEdge, list[Point]]:
    """The ways of the edges that begin or end at the memory's line: along it, or up to it and down from it."""
    found: dict[GraphEdge, list[Point]] = {}
    ends: dict[str, list[GraphEdge]] = {}
    for edge in edges:
        (x, y), (to_x, _) = places[edge.source], places[edge.target]
        if edge.source in way and edge.target in way and way.index(edge.target) == way.index(edge.source) + 1:
            a, b = x + sizes[edge.source][0] / 2, to_x - sizes[edge.target][0] / 2
            found[edge] = [(a, y), (a + (b - a) / 3, y), (b - (b - a) / 3, y), (b, y)]
        elif edge.source in way or edge.target in way:
            ends.setdefault(edge.source if edge.source in way else edge.target, []).append(edge)
    for node, touching in ends.items():
        x, y = places[node]
        touching.sort(key=lambda e: places[e.target if e.source == node else e.source][0])
        for k, edge in enumerate(touching):
            other = edge.target if edge.source == node else edge.source
            at = (x + SIDE * (k - (len(touching) - 1) / 2), y - sizes[node][1] / 2)
            to = (places[other][0], places[other][1] + sizes[other][1] / 2)
            middle = (at[1] + to[1]) / 2
            points = [at, (at[0], middle), (to[0], middle), to]
            found[edge] = points if edge.source == node else points[::-1]
    return found
