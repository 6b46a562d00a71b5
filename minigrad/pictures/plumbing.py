"""Plumbing: operations that only move numbers, hidden. The edges on both sides of one become edges from its sources to
its users.
"""

from __future__ import annotations

from dataclasses import replace

from ..origins import MOVES
from .graph import Graph, GraphEdge, GraphNode
from .loops import crossed
from .slices import counted
from .spreading import gathers, taken

PLUMBING = MOVES | {"stack"}
NOTHING = ("0 +", "+ 0", "1 ×", "× 1")  # the first step of a running sum


def with_parts_as_inputs(graph: Graph) -> Graph:
    """The graph with an input of its own in place of each part that is taken from an input, as where no gradient flows
    into inputs and taking a part is no operation of the graph."""
    into: dict[str, list[GraphEdge]] = {}
    for edge in graph.edges:
        into.setdefault(edge.target, []).append(edge)
    byid = {node.id: node for node in graph.nodes}
    parts: dict[str, GraphNode] = {}
    for node in graph.nodes:
        operands = into.get(node.id, [])
        if node.op != "getitem" or node.kind != "operation" or node.label or not node.part or len(operands) != 1:
            continue
        whole = byid[operands[0].source]
        if whole.kind == "input" and not whole.op and not whole.part:
            index = counted(node.part, whole.shape or ())
            parts[node.id] = replace(node, kind="input", label=whole.label, op="", part=index)
    edges = [edge for edge in graph.edges if edge.target not in parts]
    unused = {into[id][0].source for id in parts} - {edge.source for edge in edges}
    nodes = [parts.get(node.id, node) for node in graph.nodes if node.id not in unused]
    return graph.replace(nodes=tuple(nodes), edges=tuple(edges)) if parts else graph


def without_plumbing(graph: Graph) -> Graph:
    """The graph without unnamed operations that only move numbers, or gather the values of a loop's steps."""
    into: dict[str, list[GraphEdge]] = {}
    for edge in graph.edges:
        into.setdefault(edge.target, []).append(edge)
    byid = {node.id: node for node in graph.nodes}
    hidden = {n.id for n in graph.nodes if _moves(n, [byid[e.source] for e in into.get(n.id, ())])}
    if len(hidden) == len([n for n in graph.nodes if n.op]):
        return graph
    sources: dict[str, list[GraphEdge]] = {}  # of a hidden node: its incoming edges from visible nodes

    def reaching(edge: GraphEdge) -> list[GraphEdge]:
        if edge.source not in hidden:
            return [edge]
        gathered = _parts_gathered(byid[edge.source], into, byid)
        return reaching(gathered[edge.output]) if gathered else sources.get(edge.source, [])

    edges: dict[tuple[str, str, int], GraphEdge] = {}
    shown: set[str] = set()
    for node in graph.nodes:
        some = taken(node, into, byid)
        found = [one for edge in (into.get(node.id, ()) if some is None else some) for one in reaching(edge)]
        if node.id in hidden:
            sources[node.id] = found
            if node.kind == "output":
                shown |= {edge.source for edge in found}
            continue
        for edge in into.get(node.id, ()):
            for one in reaching(edge):
                steps = crossed(byid[one.source].scope, node.scope)
                kind = edge.kind if edge is one else "detached" if "detached" in (edge.kind, one.kind) else ""
                kind = "state" if steps and not kind else kind
                key = (one.source, node.id, one.output)
                edges.setdefault(key, replace(one, target=node.id, kind=kind, steps=steps))
    nodes = [
        replace(node, kind="output") if node.id in shown and node.kind in ("operation", "fused") else node
        for node in graph.nodes
        if node.id not in hidden
    ]
    return graph.replace(nodes=tuple(nodes), edges=tuple(edges.values()))


def _parts_gathered(
    node: GraphNode, into: dict[str, list[GraphEdge]], byid: dict[str, GraphNode]
) -> list[GraphEdge]:  # fmt: skip
    """For an operation that takes gathered values apart again: the edge of each part to its place among them."""
    operands = into.get(node.id, [])
    if node.op != "unstack" or len(operands) != 1 or byid[operands[0].source].op != "stack":
        return []
    parts = into.get(operands[0].source, [])
    several = bool(node.shape) and isinstance(node.shape[0], tuple)
    return parts if several and len(node.shape) == len(parts) else []


def _moves(node: GraphNode, sources: list[GraphNode]) -> bool:
    """True for an operation that only moves numbers."""
    if node.label or node.kind not in ("operation", "output"):
        return False
    if node.op == "concatenate":
        return len(sources) == 1 or gathers(node, sources)
    return node.op in PLUMBING or node.formula in NOTHING
