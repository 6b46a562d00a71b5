"""Parts of steps: computations that were done for all steps at once, drawn in each step.

A layer maps the inputs of all steps with one product and splits the result; a textbook draws that product, and the
input below it, at every step. The values of a loop's steps that were gathered are handed to the same steps of the next
loop one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from heapq import heapify, heappop, heappush

from .graph import Graph, GraphEdge, GraphNode, Scope
from .loops import LoopKey, steps_in
from .slices import chosen

SPLITTERS = ("split", "unstack")
GATHERS = ("concatenate", "stack")
Parts = dict[int, Scope]  # by a splitter's outputs: the step that takes it


def spread(graph: Graph) -> Graph:
    """The graph with a copy in each step of computations done for all steps at once, and a join of two directions at
    each step. A computation is copied if all its users are; a step's own nodes never are."""
    while (spreading := _Spreading(graph)).parts:
        graph = spreading.copied()
    return joined(graph)


class _Spreading:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.byid = {node.id: node for node in graph.nodes}
        self.users, self.into = _users(graph.edges), _into(graph.edges)
        splitters = {n.id: found for n in graph.nodes if n.op in SPLITTERS and n.kind == "operation"
                     and (found := self._parts_of(n))}  # fmt: skip
        self.parts = self._closure(splitters)
        outer = {id: parts for id, parts in splitters.items()
                 if any(edge.target in self.parts for edge in self.users.get(id, ()))}  # fmt: skip
        if outer:  # a part that is split again: first, the outer ones
            self.parts = self._closure(outer)

    def _parts_of(self, splitter: GraphNode) -> Parts | None:
        """The step that takes each part; None unless each goes to one step of one loop, and no two to the same."""
        parts: Parts = {}
        for edge in self.users.get(splitter.id, ()):
            step = _step_below(splitter, self.byid[edge.target])
            if step is None or parts.setdefault(edge.output, step) != step:
                return None
        loops = {(scope[:-1], scope[-1][0]) for scope in parts.values()}
        return parts if len(set(parts.values())) == len(parts) and len(loops) == 1 else None

    def _closure(self, splitters: dict[str, Parts]) -> dict[str, Parts]:
        """The nodes to copy, with their steps: splitters, and what only they use. Two that share an operand agree on
        the steps' numbers, and it stands in the steps of the first."""
        found: dict[str, Parts] = {}
        for node in reversed(self.graph.nodes):  # users come after their operands
            if node.id in splitters:
                found[node.id] = splitters[node.id]
                continue
            using = [edge.target for edge in self.users.get(node.id, ())]
            copied = [found[id] for id in using if id in found and not self._takes(id, found[id])]
            if not copied or node.kind not in ("operation", "fused", "input"):
                continue
            whole = len(copied) == len(using) or node.kind == "input"  # others may use all of an input
            same = len({tuple([(k, scope[-1][1]) for k, scope in sorted(parts.items())]) for parts in copied}) == 1
            outside = all(_encloses(node.scope, scope) for scope in copied[0].values())
            if whole and same and outside:
                found[node.id] = copied[0]
        return found

    def copied(self) -> Graph:
        """The graph with the copies."""
        nodes: list[GraphNode] = []
        edges: list[GraphEdge] = []
        for node in self.graph.nodes:
            parts = self.parts.get(node.id)
            kept = parts is None or any(edge.target not in self.parts for edge in self.users.get(node.id, ()))
            if parts is None or (node.kind == "input" and kept):
                nodes.append(node)
            if parts is None:
                edges += [edge for e in self.into.get(node.id, ()) for edge in self._entering(e)]
                continue
            gathered = gathers(node, [self.byid[edge.source] for edge in self.into.get(node.id, ())])
            for output, scope in sorted(parts.items(), key=lambda item: item[1][-1][1] or 0):
                name = _copy(node.id, output)
                nodes.append(replace(node, id=name, scope=scope, part="" if node.kind == "input" else node.part,
                                     value=None, grad=None, outputs=(), shape=None))  # fmt: skip
                operands = self.into.get(node.id, [])
                if (rows := self._rows(node)) is not None and len(rows) == len(parts):
                    nodes[-1] = replace(nodes[-1], op="getitem", part="")
                    operands = [rows[output]]
                elif gathered:
                    nodes[-1] = replace(nodes[-1], op="getitem")
                    operands = self._at_step(operands, scope)
                edges += [replace(e, source=_copy(e.source, output) if e.source in self.parts else e.source,
                                  target=name) for e in operands]  # fmt: skip
        ordered = _in_order(nodes, edges)
        return self.graph.replace(nodes=tuple([replace(n, order=k) for k, n in enumerate(ordered)]), edges=tuple(edges))

    def _rows(self, node: GraphNode) -> list[GraphEdge] | None:
        """The edge to each row of stacked values, or of those of a loop's steps that a node takes."""
        stacked = node.op == "stack" and node.part == "[…]"
        return self.into.get(node.id, []) if stacked else taken(node, self.into, self.byid)

    def _takes(self, id: str, parts: Parts) -> bool:
        """True for a node in the steps to which its operands belong as they are: one to each step, or all to all."""
        node, rows = self.byid[id], self._rows(self.byid[id])
        return rows is not None and (len(rows) == len(parts) or node.op == "getitem")

    def _entering(self, edge: GraphEdge) -> Iterable[GraphEdge]:
        """An edge to a node that is not copied: from a splitter, from the copy for that part."""
        source = self.byid[edge.source]
        if edge.source in self.parts and source.op in SPLITTERS:
            yield replace(edge, source=_copy(edge.source, edge.output), output=0)
        else:
            yield edge

    def _at_step(self, edges: list[GraphEdge], scope: Scope) -> list[GraphEdge]:
        """Of the edges to gathered values, those from the same step of another loop."""
        same = [edge for edge in edges if _innermost(self.byid[edge.source].scope) == scope[-1][1]]
        return same or edges


def _copy(id: str, output: int) -> str:
    return f"{id}_{output}p"


def _innermost(scope: Scope) -> int | None:
    return next((step for _, step in reversed(scope) if step is not None), None)


def _encloses(scope: Scope, step: Scope) -> bool:
    """True if a node in a scope is outside of the step's loop, so that it was computed for all steps."""
    around = {place for place, _ in steps_in(step[:-1])}
    return all(place in around for place, _ in steps_in(scope))


def _users(edges: Iterable[GraphEdge]) -> dict[str, list[GraphEdge]]:
    found: dict[str, list[GraphEdge]] = {}
    for edge in edges:
        found.setdefault(edge.source, []).append(edge)
    return found


def _into(edges: Iterable[GraphEdge]) -> dict[str, list[GraphEdge]]:
    found: dict[str, list[GraphEdge]] = {}
    for edge in edges:
        found.setdefault(edge.target, []).append(edge)
    return found


def _step_below(outer: GraphNode, inner: GraphNode) -> Scope | None:
    """The scope of the outermost time step that contains the inner node but not the outer one."""
    known: set[LoopKey] = {place for place, _ in steps_in(outer.scope)}
    for depth, (label, step) in enumerate(inner.scope):
        if step is not None and (inner.scope[:depth], label) not in known:
            return inner.scope[: depth + 1]
    return None


def gathers(node: GraphNode, sources: Iterable[GraphNode]) -> bool:
    """True for an operation that collects the values of several steps of a loop that it is not part of."""
    if node.op not in GATHERS:
        return False
    own = {place for place, _ in steps_in(node.scope)}
    steps: dict[LoopKey, set[int]] = {}
    for one in sources:
        for place, step in steps_in(one.scope):
            if place not in own:
                steps.setdefault(place, set()).add(step)
    return any(len(taken) > 1 for taken in steps.values())


def taken(node: GraphNode, into: dict[str, list[GraphEdge]], byid: dict[str, GraphNode]) -> list[GraphEdge] | None:
    """For an operation that takes some of the gathered values, such as those of the last step: their edges."""
    if node.op != "getitem":
        return None
    part, axis = node.part, int(node.part.startswith("[:,"))
    along, count = axis, 0  # count: of the steps whose values are the rows of a batch
    while len(edges := into.get(node.id, [])) == 1:
        node = byid[edges[0].source]
        operands = into.get(node.id, [])
        below = byid[operands[0].source].shape if operands else None
        if node.op == "transpose" and node.shape and below and tuple(below[:2]) == tuple(node.shape[1::-1]):
            along = 1 - along
        elif node.op == "batch" and along == 0 and node.shape:
            count = node.shape[0]
        elif (node.op == "concatenate" and count == len(operands)) or node.part == f"[{':,' * along}…]":
            places = chosen(part, axis, len(operands))
            return None if places is None else [operands[k] for k in places]
        else:
            return None
    return None


def _in_order(nodes: list[GraphNode], edges: Iterable[GraphEdge]) -> list[GraphNode]:
    """The nodes in an order in which each comes after its operands, otherwise in their old order."""
    waiting = dict.fromkeys([node.id for node in nodes], 0)
    after: dict[str, list[str]] = {}
    for edge in edges:
        waiting[edge.target] += 1
        after.setdefault(edge.source, []).append(edge.target)
    ranked = sorted(nodes, key=lambda node: node.order)
    place = {node.id: k for k, node in enumerate(ranked)}
    ready = [k for k, node in enumerate(ranked) if not waiting[node.id]]
    heapify(ready)
    found = []
    while ready:
        node = ranked[heappop(ready)]
        found.append(node)
        for id in after.get(node.id, ()):
            waiting[id] -= 1
            if not waiting[id]:
                heappush(ready, place[id])
    return found


# ---- joins -------------------------------------------------------------------------------------------------------


def joined(graph: Graph) -> Graph:
    """The graph with one join at each step in place of a join of gathered values: what two directions give at a step
    is joined there."""
    into = _into(graph.edges)
    byid = {node.id: node for node in graph.nodes}
    nodes: list[GraphNode] = []
    edges: dict[GraphEdge, None] = dict.fromkeys(graph.edges)
    for node in graph.nodes:
        found = _rows(node, into, byid)
        for scope, sources in found:
            name = f"{node.id}_{scope[-1][1]}j"
            nodes.append(replace(node, id=name, kind="operation", label="", scope=scope, value=None, grad=None,
                                 shape=None))  # fmt: skip
            edges |= dict.fromkeys([replace(e, target=name, kind="", steps=None) for e in sources])
        if found:
            for edge in into[node.id]:
                del edges[edge]
            edges |= {GraphEdge(f"{node.id}_{scope[-1][1]}j", node.id): None for scope, _ in found}
            node = replace(node, op="stack", part="[…]")
        nodes.append(node)
    return graph.replace(nodes=tuple([replace(n, order=k) for k, n in enumerate(nodes)]), edges=tuple(edges))


def _rows(
    node: GraphNode, into: dict[str, list[GraphEdge]], byid: dict[str, GraphNode]
) -> list[tuple[Scope, list[GraphEdge]]]:  # fmt: skip
    """For a join of gathered values of loops over the same steps: each step, and the edges from its values."""
    operands = [edge.source for edge in into.get(node.id, ())]
    if node.op != "concatenate" or node.label or len(operands) < 2:
        return []
    columns: list[dict[int, GraphEdge]] = []
    for id in operands:
        edges = into.get(id, [])
        if not gathers(byid[id], [byid[edge.source] for edge in edges]):
            return []
        columns.append({step: e for e in edges if (step := _innermost(byid[e.source].scope)) is not None})
        if len(columns[-1]) != len(edges) or columns[-1].keys() != columns[0].keys():
            return []
    steps = sorted(columns[0])
    return [(_step_of(byid[columns[-1][step].source].scope), [one[step] for one in columns]) for step in steps]


def _step_of(scope: Scope) -> Scope:
    last = max(k for k, (_, step) in enumerate(scope) if step is not None)
    return scope[: last + 1]
