"""Long lines of time without their middle: dots between the boxes of each lane, with the state's line through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from .graph import Graph, GraphNode, Scope
from .loops import LoopKey, loops_of, steps_in, without_steps
from .views import FIRST, MANY, merged

STRETCHES = 4  # of a line of time that are drawn: the first ones and the last
BOXES = ("cell", "operation", "fused", "collapsed")


def without_columns(graph: Graph, ends: Mapping[LoopKey, Set[int]], always: bool = False) -> Graph:
    """The graph with the first three steps of each long loop and the last.

    ends    the last columns of the stretches of a line of time, which are loops of their own
    always  also of loops that are short enough for a page
    """
    absent = {place: _absent(sorted(steps), ends.get(place, set()), always) for place, steps in loops_of(graph).items()}
    places = {node.id: found for node in graph.nodes if (found := _run(node.scope, absent)) is not None}
    if not places:
        return graph
    gone = {node.id for node in graph.nodes if node.id in places and node.kind not in BOXES}
    standing: dict[str, GraphNode] = {}
    dots: dict[object, GraphNode] = {}
    seen: dict[object, int] = {}
    for node in graph.nodes:
        if node.id not in places or node.id in gone:
            continue
        run, inner = places[node.id], node.scope[len(places[node.id]) :]
        kind = (node.scope, node.kind, node.op)
        nth = seen[kind] = seen.get(kind, -1) + 1
        key = (run, without_steps(inner), node.kind, node.op, nth)
        standing[node.id] = dots.setdefault(
            key, GraphNode(f"{node.id}_dots", "elided", "", op=node.op, part=node.part, scope=run, order=node.order)
        )
    weights = {node.id for node in graph.nodes if node.kind == "parameter"}
    edges = [e for e in graph.edges
             if not {e.source, e.target} & gone and not (e.source in weights and e.target in places)]  # fmt: skip
    kept = [node for node in graph.nodes if node.id not in gone]
    return merged(graph.replace(nodes=tuple(kept), edges=tuple(edges)), standing)


def _absent(steps: Sequence[int], ends: Set[int], always: bool) -> dict[int, int]:
    """The steps to leave out, each with the first of its run."""
    stretches: list[list[int]] = [[]]
    for step in steps:
        stretches[-1].append(step)
        if step in ends:
            stretches.append([])
    stretches = [stretch for stretch in stretches if stretch]
    left_out = {step for stretch in stretches[STRETCHES - 1 : -1] for step in stretch}
    for stretch in stretches:
        if len(stretch) > (FIRST + 1 if always else MANY):
            left_out.update(stretch[FIRST:-1])
    found: dict[int, int] = {}
    run: int | None = None
    for step in steps:
        run = None if step not in left_out else step if run is None else run
        if run is not None:
            found[step] = run
    return found


def _run(scope: Scope, absent: Mapping[LoopKey, Mapping[int, int]]) -> Scope | None:
    """The column that stands for the outermost step of a scope that is left out, if one is."""
    for place, step in steps_in(scope):
        first = absent[place].get(step)
        if first is not None:
            return (*place[0], (place[1], first))
    return None
