"""One line of time: loops that hand their state on, as one loop.

Consecutive windows of a layer, or an encoder and its decoder, are loops of their own on the tape. A textbook draws them
side by side. A layer of a stack stays above the one below it, over the same steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .graph import Graph, GraphEdge, GraphNode, Scope
from .loops import WINDOW, LoopKey, crossed, likeness, rolled_steps


@dataclass(eq=False)
class Stretch:
    """A loop that is a stretch of a line of time: its first column there, and the number of its first step.

    steps  in the order of execution
    """

    key: LoopKey
    steps: list[int] = field(default_factory=list)
    column: int = 0
    first: int = 0
    lane: LoopKey = ((), "")
    before: Stretch | None = None
    after: Stretch | None = None

    def column_of(self, step: int) -> int:
        """The column of one of its steps."""
        return self.column + step - min(self.steps)


@dataclass(frozen=True)
class Timeline:
    """A graph whose loops over time are lines.

    graph    without windows; the outermost step of a scope is a column of the line
    columns  of the nodes in such a step
    numbers  of their steps, as names have them: counted on through windows, and anew in another loop
    scopes   of all nodes before, without windows
    ends     the last column of each stretch, by its lane
    """

    graph: Graph
    columns: dict[str, int]
    numbers: dict[str, int]
    scopes: dict[str, Scope]
    ends: dict[LoopKey, set[int]]


def timeline(graph: Graph) -> Timeline:
    """The lines of time in a graph."""
    graph = _undetached(graph)
    stretches: dict[LoopKey, Stretch] = {}
    own: dict[str, Stretch] = {}
    depths: dict[str, int] = {}
    for node in graph.nodes:
        depth = outermost(node.scope)
        if depth is None or node.span is not None:
            continue
        label, step = node.scope[depth]
        key = (node.scope[:depth], label)
        stretch = own[node.id] = stretches.setdefault(key, Stretch(key))
        depths[node.id] = depth
        assert step is not None
        if step not in stretch.steps:
            stretch.steps.append(step)
    _chain(graph, own, depths)
    lanes: dict[LoopKey, Scope] = {}
    ends: dict[LoopKey, set[int]] = {}
    for stretch in stretches.values():
        _place(stretch)
        lane = lanes.setdefault(stretch.lane, _lane(stretch.lane[0], set(lanes.values())))
        ends.setdefault((lane, stretch.lane[1]), set()).add(stretch.column_of(max(stretch.steps)))
    nodes = []
    columns, numbers = {}, {}
    for node in graph.nodes:
        scope = _windowless(node.scope)
        if node.id in own:
            stretch, depth = own[node.id], depths[node.id]
            step = node.scope[depth][1]
            assert step is not None
            columns[node.id] = column = stretch.column_of(step)
            numbers[node.id] = column - stretch.column + stretch.first
            scope = (*lanes[stretch.lane], (stretch.lane[1], column), *node.scope[depth + 1 :])
        nodes.append(replace(node, scope=scope))
    byid = {node.id: node for node in nodes}
    rolled_up = graph.options.view == "rolled"
    edges = graph.edges if rolled_up else tuple([_between(edge, byid) for edge in graph.edges])
    before = {node.id: _windowless(node.scope) for node in graph.nodes}
    return Timeline(graph.replace(nodes=tuple(nodes), edges=edges), columns, numbers, before, ends)


def outermost(scope: Scope) -> int | None:
    """The depth of the outermost time step in a scope that is no window."""
    return next((k for k, (label, step) in enumerate(scope) if step is not None and label != WINDOW), None)


def _windowless(scope: Scope) -> Scope:
    return tuple([(label, step) for label, step in scope
                  if (label != WINDOW if step is not None else rolled_steps(label) != WINDOW)])  # fmt: skip


def _undetached(graph: Graph) -> Graph:
    """The graph with a dashed edge in place of each detached state that was computed in the graph."""
    byid = {node.id: node for node in graph.nodes}
    into: dict[str, list[GraphEdge]] = {}
    for edge in graph.edges:
        if byid[edge.target].kind == "detached":
            into.setdefault(edge.target, []).append(edge)
    edges: dict[tuple[str, str, int], GraphEdge] = {}
    for edge in graph.edges:
        if edge.target in into:
            continue
        for one in into.get(edge.source, [edge]):
            key = (one.source, edge.target, one.output)
            new = replace(one, target=edge.target)
            if one is not edge:
                new = replace(new, kind="detached", label=one.label or byid[edge.source].label, grad=None)
            edges.setdefault(key, new)
    kept = [node for node in graph.nodes if node.id not in into]
    return graph.replace(nodes=tuple(kept), edges=tuple(edges.values()))


def _chain(graph: Graph, own: dict[str, Stretch], depths: dict[str, int]) -> None:
    """Put a loop behind another if all that it takes from that one is its last state, at its own first step, in place
    of what its other steps take from the step before; and windows of the same loop in their order."""
    byid = {node.id: node for node in graph.nodes}
    windows: dict[LoopKey, Stretch] = {}
    for stretch in dict.fromkeys(own.values()):
        key = (_windowless(stretch.key[0]), stretch.key[1])
        if key in windows:
            stretch.before = windows[key]
            windows[key].after = stretch
        windows[key] = stretch
    seen: Counter[object] = Counter()
    places: dict[str, object] = {}  # equal for like nodes of a stretch's steps
    for node in graph.nodes:
        kind = (node.scope, likeness(node))
        places[node.id] = (likeness(node), seen[kind])
        seen[kind] += 1
    carried = {(own[e.target], places[e.target]) for e in graph.edges
               if e.steps is not None and e.target in own and own.get(e.source) is own[e.target]}  # fmt: skip
    handed: dict[tuple[Stretch, Stretch], bool] = {}
    for edge in graph.edges:
        a, b = own.get(edge.source), own.get(edge.target)
        if a is None or b is None or a is b:
            continue
        if len(b.steps) > 1 and (b, places[edge.target]) not in carried:  # an input, not a state
            handed[a, b] = False
            continue
        last = byid[edge.source].scope[depths[edge.source]][1] == a.steps[-1]
        first = byid[edge.target].scope[depths[edge.target]][1] == b.steps[0]
        handed[a, b] = handed.get((a, b), True) and last and first
    for (a, b), only in handed.items():
        forward = all(one.steps == sorted(one.steps) for one in (a, b))
        if only and forward and a.after is None and b.before is None and not _layers(a, b):
            a.after, b.before = b, a


def _layers(a: Stretch, b: Stretch) -> bool:
    """True for two layers of one module."""
    one, other = _windowless(a.key[0]), _windowless(b.key[0])
    return bool(one) and one[:1] == other[:1]


def _place(stretch: Stretch) -> None:
    """Set the column and the first number of a stretch, after those before it."""
    if stretch.lane[1]:
        return
    stretch.lane = (_windowless(stretch.key[0]), stretch.key[1])
    stretch.column = stretch.first = min(stretch.steps)
    before = stretch.before
    if before is not None:
        _place(before)
        stretch.lane = before.lane
        stretch.column = before.column_of(max(before.steps)) + 1
        again = _windowless(before.key[0]) == _windowless(stretch.key[0])
        stretch.first = before.first + stretch.column - before.column if again else min(stretch.steps)


def _lane(scope: Scope, taken: Iterable[Scope]) -> Scope:
    """One scope for a lane, in place of those of its module and layer; a loop without a module keeps its own."""
    label = " ".join([name for name, _ in scope])
    if not label:
        return ()
    name, k = label, 1
    while ((name, None),) in taken:
        k += 1
        name = f"{label} ({k})"
    return ((name, None),)


def _between(edge: GraphEdge, byid: dict[str, GraphNode]) -> GraphEdge:
    """An edge, with the columns that it connects."""
    source, target = byid[edge.source], byid[edge.target]
    steps = crossed(source.scope, target.scope)
    kind = edge.kind if edge.kind == "detached" else "state" if steps is not None else ""
    return replace(edge, kind=kind, steps=steps)
