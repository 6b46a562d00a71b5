"""Plumbing: operations that only move numbers, hidden. The edges on both sides of one become edges from its sources to
its users.

`split` passes each step its part of a value computed for all steps at once; `spread` draws that computation, and the
input below it, in each step.
"""

from __future__ import annotations

from dataclasses import replace

from ..origins import MOVES
from .graph import Graph, GraphEdge, GraphNode, Scope
from .loops import LoopKey, crossed, steps_in

PLUMBING = MOVES | {"stack"}
SPLITTERS = ("split", "unstack")


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
        return sources.get(edge.source, []) if edge.source in hidden else [edge]

    edges: dict[tuple[str, str, int], GraphEdge] = {}
    shown: set[str] = set()
    for node in graph.nodes:
        found = [one for edge in into.get(node.id, ()) for one in reaching(edge)]
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


def _moves(node: GraphNode, sources: list[GraphNode]) -> bool:
    """True for an operation that only moves numbers."""
    if node.label or node.kind not in ("operation", "output"):
        return False
    if node.op == "concatenate":  # of the values of several steps
        steps = {place: {s for one in sources for p, s in steps_in(one.scope) if p == place}
                 for source in sources for place, _ in steps_in(source.scope)}  # fmt: skip
        own = {place for place, _ in steps_in(node.scope)}
        return any(len(taken) > 1 for place, taken in steps.items() if place not in own)
    return node.op in PLUMBING


# ---- parts of steps ----------------------------------------------------------------------------------------------


def spread(graph: Graph) -> Graph:
    """The graph with a copy in each step of computations that were done for all steps at once, then split."""
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            if node.op in SPLITTERS and node.kind == "operation":
                found = _spread(graph, node)
                if found is not None:
                    graph, changed = found, True
                    break
    return graph


def _spread(graph: Graph, splitter: GraphNode) -> Graph | None:
    """`spread` for one splitter; None unless each of its parts goes to one step."""
    byid = {node.id: node for node in graph.nodes}
    users: dict[str, list[GraphEdge]] = {}
    into: dict[str, list[GraphEdge]] = {}
    for edge in graph.edges:
        users.setdefault(edge.source, []).append(edge)
        into.setdefault(edge.target, []).append(edge)
    steps: dict[int, Scope] = {}  # by the splitter's outputs
    for edge in users.get(splitter.id, ()):
        step = _step_below(splitter, byid[edge.target])
        if step is None or steps.setdefault(edge.output, step) != step:
            return None
    if not steps or len(set(steps.values())) < len(steps):
        return None
    copied = {splitter.id}
    inputs = set()
    for node in reversed(graph.nodes):  # users come after their operands
        ends = {edge.target for edge in users.get(node.id, ())}
        if node.kind in ("operation", "fused", "input") and ends and ends <= copied:
            copied.add(node.id)
        elif node.kind == "input" and ends & copied:  # others use it, too
            inputs.add(node.id)
    elsewhere, copied = inputs, copied | inputs
    nodes: list[GraphNode] = []
    edges = [e for e in graph.edges if e.target not in copied and (e.source not in copied or e.source in elsewhere)]
    for output, scope in sorted(steps.items(), key=lambda item: item[1][-1][1] or 0):
        ids = {id: f"{id}_{output}p" for id in copied}
        made = [replace(byid[id], id=new, scope=scope, value=None, grad=None, outputs=(), shape=None)
                for id, new in ids.items()]  # fmt: skip
        nodes += sorted(made, key=lambda one: one.order)
        for edge in graph.edges:
            if edge.target in copied:
                edges.append(replace(edge, source=ids.get(edge.source, edge.source), target=ids[edge.target]))
            elif edge.source == splitter.id and edge.output == output:
                edges.append(replace(edge, source=ids[edge.source], output=0))
    kept = [node for node in graph.nodes if node.id not in copied or node.id in elsewhere]
    both = sorted([*kept, *nodes], key=lambda one: one.order)
    return graph.replace(nodes=tuple([replace(n, order=k) for k, n in enumerate(both)]), edges=tuple(edges))


def _step_below(outer: GraphNode, inner: GraphNode) -> Scope | None:
    """The scope of the outermost time step that contains the inner node but not the outer one."""
    known: set[LoopKey] = {place for place, _ in steps_in(outer.scope)}
    for depth, (label, step) in enumerate(inner.scope):
        if step is not None and (inner.scope[:depth], label) not in known:
            return inner.scope[: depth + 1]
    return None
