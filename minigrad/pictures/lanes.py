"""Lanes of a line of time: loops over the same columns, above each other, and the states that are given to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from .graph import Graph, GraphEdge, GraphNode, Scope
from .loops import LoopKey
from .parts import GIVEN
from .subscripts import constant
from .timeline import outermost


def entered(graph: Graph, states: Mapping[str, int]) -> Graph:
    """The graph with the states that are given in a column before the first step, or behind the last one if time runs
    backward. A number that enters several boxes stands beside each."""
    byid = {node.id: node for node in graph.nodes}
    boxes = {node.id for node in graph.nodes if node.kind == "cell"}
    users: dict[str, list[str]] = {}
    taken: dict[Scope, set[int]] = {}
    for node in graph.nodes:
        if node.id in boxes:
            taken.setdefault(node.scope[:-1], set()).add(node.scope[-1][1] or 0)
    for edge in graph.edges:
        users.setdefault(edge.source, []).append(edge.target)
    made: dict[tuple[str, str], GraphNode] = {}  # by label and box
    moved: dict[tuple[str, str], str] = {}
    for id, way in states.items():
        given, beside = byid.get(id), users.get(id, [])
        if given is None or not boxes.issuperset(beside) or (len(beside) > 1 and not constant(given.label)):
            continue
        columns = [(byid[box].scope, (byid[box].scope[-1][1] or 0) - way) for box in beside]
        if any(column in taken[scope[:-1]] for scope, column in columns):
            continue
        for box, (scope, column) in zip(beside, columns, strict=True):
            place = (*scope[:-1], (scope[-1][0], column))
            new = replace(given, id=f"{id}_{box}", scope=place)
            moved[id, box] = made.setdefault((given.label, box), new).id
    gone = {id for id, _ in moved}
    edges: dict[tuple[str, str], GraphEdge] = {}
    others = []
    for edge in graph.edges:
        source = moved.get((edge.source, edge.target))
        if source is None:
            others.append(edge)
            continue
        column = byid[edge.target].scope[-1][1] or 0
        new_edge = replace(edge, source=source, kind="state", steps=(column - states[edge.source], column))
        edges.setdefault((source, edge.target), new_edge)
    nodes = [node for node in graph.nodes if node.id not in gone]
    ordered = sorted([*made.values(), *nodes], key=lambda node: node.order)
    return graph.replace(nodes=tuple(ordered), edges=(*edges.values(), *others))


def in_columns(graph: Graph) -> Graph:
    """The graph with one loop in place of several: of those over the same columns that are connected within a step, its
    layers and directions, and of those that use the same weights and nothing of each other. They are above each other.
    """
    lanes: dict[LoopKey, set[int]] = {}
    of: dict[str, LoopKey] = {}
    for node in graph.nodes:
        depth = outermost(node.scope)
        if depth is not None:
            label, step = node.scope[depth]
            assert step is not None
            of[node.id] = lane = (node.scope[:depth], label)
            columns = lanes.setdefault(lane, set())
            if node.kind not in GIVEN:
                columns.add(step)
    first = {key: key for key in lanes}

    def root(key: LoopKey) -> LoopKey:
        while first[key] != key:
            key = first[key]
        return key

    column = {node.id: node.scope[len(of[node.id][0])][1] for node in graph.nodes if node.id in of}
    between: dict[tuple[LoopKey, LoopKey], set[tuple[int | None, int | None]]] = {}
    for edge in graph.edges:
        a, b = of.get(edge.source), of.get(edge.target)
        if a is not None and b is not None and a != b and lanes[a] == lanes[b]:
            between.setdefault((a, b), set()).add((column[edge.source], column[edge.target]))
    for (a, b), columns_of in between.items():
        if all(one == other for one, other in columns_of) and len(columns_of) >= min(2, len(lanes[a])):
            first[root(b)] = root(a)
    for a, b in _twins(graph, of):
        first[root(b)] = root(a)
    nodes: list[GraphNode] = []
    for node in graph.nodes:
        scope = node.scope
        if node.id in of:
            (own, _), (around, label) = of[node.id], root(of[node.id])
            scope = (*around, (label, scope[len(own)][1]), *scope[len(own) + 1 :])
        nodes.append(replace(node, scope=scope, order=len(nodes)))
    return graph.replace(nodes=tuple(nodes))


def _twins(graph: Graph, of: Mapping[str, LoopKey]) -> Iterable[tuple[LoopKey, LoopKey]]:
    """Loops that share weights, and of which neither uses results of the other: the calls of a Siamese encoder."""
    into: dict[str, list[str]] = {}
    users: dict[str, dict[LoopKey, None]] = {}
    weights = {node.id for node in graph.nodes if node.kind == "parameter"}
    for edge in graph.edges:
        into.setdefault(edge.target, []).append(edge.source)
        if edge.source in weights and edge.target in of:
            users.setdefault(edge.source, {})[of[edge.target]] = None
    if all(len(loops) < 2 for loops in users.values()):
        return
    below: dict[str, set[LoopKey]] = {}  # the loops that a node depends on
    used: dict[LoopKey, set[LoopKey]] = {}
    for node in graph.nodes:
        found = set().union(*[below.get(id, set()) for id in into.get(node.id, ())])
        if node.id in of:
            used.setdefault(of[node.id], set()).update(found)
            found.add(of[node.id])
        below[node.id] = found
    for loops in users.values():
        twins: list[LoopKey] = []
        for loop in loops:
            if all(loop not in used[one] and one not in used[loop] for one in twins):
                twins.append(loop)
        yield from pairwise(twins)
