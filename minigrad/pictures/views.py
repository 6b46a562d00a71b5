"""Smaller graphs of a graph: steps left out or rolled up, scopes collapsed, fused nodes opened.

Each view is a function from a Graph to a Graph. All but the last put one node in the place of several (`merged`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from .graph import Graph, GraphEdge, GraphNode, Scope
from .loops import Place, likeness, loops_of, span_of, steps_in, title, without_steps

FIRST = 3  # steps that an elided view shows, before the last
ENDS = 20  # nodes at either end of a long graph without steps
LIMIT = 400  # nodes that can be laid out in a second or two, and looked at


# ---- views of time -----------------------------------------------------------------------------------------------


def elided(graph: Graph) -> Graph:
    """The first three steps of every loop and the last, with one node for those between."""
    loops = loops_of(graph)
    left_out = {place: steps[FIRST:-1] for place, steps in loops.items()}
    absent = {(place, step) for place, steps in left_out.items() for step in steps}
    standing: dict[str, GraphNode] = {}
    made: dict[Place, GraphNode] = {}
    for node in graph.nodes:
        for place, step in steps_in(node.scope):
            if (place, step) in absent:
                steps = left_out[place]
                if place not in made:
                    label = span_of(place[1], steps[0], steps[-1])
                    made[place] = GraphNode(node.id, "elided", label, scope=place[0], order=node.order)
                standing[node.id] = made[place]
                break
    return _with_view(merged(graph, standing), "elided")


def rolled(graph: Graph) -> Graph:
    """One step in the place of all those of a loop; what a step hands on to the next is an edge back into it.

    Nodes of different steps are the same if they have the same operation, name and place among their like.
    """
    spans: dict[Place, tuple[int, int]] = {}
    loops: dict[str, tuple[Place, ...]] = {}
    for node in graph.nodes:
        found = []
        for place, step in steps_in(node.scope):
            rolled_place = (without_steps(place[0]), place[1])
            low, high = spans.get(rolled_place, (step, step))
            spans[rolled_place] = (min(low, step), max(high, step))
            found.append(rolled_place)
        loops[node.id] = tuple(found)
    seen: dict[tuple[Scope, object], int] = {}
    keys: dict[str, object] = {}
    first: dict[object, GraphNode] = {}
    for node in graph.nodes:
        if not loops[node.id]:
            continue
        kind = likeness(node)
        nth = seen[node.scope, kind] = seen.get((node.scope, kind), -1) + 1
        key = keys[node.id] = (without_steps(node.scope), kind, nth)
        stand = first.get(key)
        if stand is None:
            places = iter(loops[node.id])
            scope = tuple([
                (span_of(label, *spans[next(places)]), None) if step is not None else (label, None)
                for label, step in node.scope
            ])  # fmt: skip
            first[key] = replace(node, scope=scope, value=None, grad=None, outputs=())
        else:  # what any of them is, the one is
            first[key] = replace(
                stand,
                kind="output" if node.kind == "output" else stand.kind,
                label=max(stand.label, node.label, key=len),
            )
    standing = {id: first[key] for id, key in keys.items()}
    return _with_view(merged(graph, standing, loops=True), "rolled")


# ---- scopes as one node ------------------------------------------------------------------------------------------


def collapsed(graph: Graph, depth: int | None = None, labels: Collection[str] = ()) -> Graph:
    """Scopes deeper than `depth`, and those called by one of the labels, as one node each.

    labels  "encoder", or "t" for every step of that loop, or "t = 3"
    """
    known = {name for node in graph.nodes for label, step in node.scope for name in (label, title(label, step))}
    unknown = [label for label in labels if label not in known]
    if unknown:
        scopes = ", ".join(sorted({label for node in graph.nodes for label, _ in node.scope})) or "none"
        raise ValueError(f"graph: collapse={unknown[0]!r} is no scope of this graph; its scopes are: {scopes}")
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise ValueError(f"graph: depth must be a number of scopes, 0 or more, got {depth!r}")
    chosen = set(labels)
    standing: dict[str, GraphNode] = {}
    made: dict[Scope, GraphNode] = {}
    for node in graph.nodes:
        for level, (label, step) in enumerate(node.scope):
            if (depth is not None and level >= depth) or label in chosen or title(label, step) in chosen:
                inside = node.scope[: level + 1]
                if inside not in made:
                    made[inside] = GraphNode(
                        node.id, "collapsed", title(label, step), scope=node.scope[:level], order=node.order
                    )
                standing[node.id] = made[inside]
                break
    return merged(graph, standing)


def fitting(graph: Graph) -> Graph:
    """The graph, if it can be laid out in reason; else a view of it that can, with a note that says so."""
    whole = len(graph.nodes)
    if whole <= LIMIT:
        return _with_view(graph, "full")
    done, view = "elided automatically", elided(graph)
    deepest = max(len(node.scope) for node in view.nodes)
    for depth in range(deepest - 1, -1, -1):
        if len(view.nodes) <= LIMIT:
            break
        done, view = "elided and collapsed automatically", collapsed(view, depth)
    if len(view.nodes) > LIMIT:
        done, view = "elided automatically", _ends(view)
    note = f"{done}: {whole:,} nodes (view='full' draws all)"
    return view.replace(options=replace(view.options, view="elided", note=note))


def _ends(graph: Graph) -> Graph:
    """The first and the last nodes of a long graph, and one for all between."""
    between = graph.nodes[ENDS:-ENDS]
    node = GraphNode(between[0].id, "elided", f"{sum(n.count for n in between):,} nodes", order=between[0].order)
    return merged(graph, {n.id: node for n in between})


# ---- merging -----------------------------------------------------------------------------------------------------


def merged(graph: Graph, standing: Mapping[str, GraphNode], loops: bool = False) -> Graph:
    """The graph with some nodes replaced, by their ids; several may be replaced by the same one.

    loops  keep edges of a state that lead from a node to itself
    """
    if not standing:
        return graph
    counts: dict[str, list[int]] = {}
    for node in graph.nodes:
        if node.id in standing:
            sums = counts.setdefault(standing[node.id].id, [0, 0])
            sums[0] += node.count
            sums[1] += node.bytes
    nodes: dict[str, GraphNode] = {}
    for node in graph.nodes:
        stand = standing.get(node.id)
        if stand is None:
            nodes[node.id] = node
        elif stand.id not in nodes:
            count, kept = counts[stand.id]
            nodes[stand.id] = replace(stand, count=count, bytes=kept)
    edges: dict[tuple[str, str, str, int], GraphEdge] = {}
    for edge in graph.edges:
        source, target = standing.get(edge.source), standing.get(edge.target)
        plain = source is not None and source.kind in ("elided", "collapsed")
        new = replace(
            edge,
            source=source.id if source else edge.source,
            target=target.id if target else edge.target,
            output=0 if plain else edge.output,
            label="" if plain else edge.label,
        )
        if new.source == new.target and (plain or not (loops and edge.kind == "state")):
            continue
        key = (new.source, new.target, new.kind, new.output)
        old = edges.get(key)
        if old is not None:
            steps = new.steps and old.steps and _hull(old.steps, new.steps)
            new = replace(old, times=old.times + new.times, steps=steps)
        edges[key] = new
    return graph.replace(nodes=tuple(nodes.values()), edges=tuple(edges.values()))


def _hull(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Steps from the first to the last, in the direction in which they go."""
    return (min(a[0], b[0]), max(a[1], b[1])) if a[0] < a[1] else (max(a[0], b[0]), min(a[1], b[1]))


def _with_view(graph: Graph, view: str) -> Graph:
    return graph.replace(options=replace(graph.options, view=view))


# ---- inside a fused node -----------------------------------------------------------------------------------------


def expanded(graph: Graph, wanted: Callable[[GraphNode], bool]) -> Graph:
    """Fused nodes that are wanted, opened: their own nodes, in a scope that is called by the operation."""
    inner = {node.id: node.inner for node in graph.nodes if node.inner is not None and wanted(node)}
    if not inner:
        return graph
    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    for node in graph.nodes:
        if node.id not in inner:
            nodes.append(replace(node, order=len(nodes)))
            continue
        found = inner[node.id]
        scope = (*node.scope, (node.op, None))
        outputs = {of for of, _ in found.outputs} if node.kind == "output" else ()
        for one in found.nodes:
            kind = "output" if one.id in outputs and one.label else one.kind
            nodes.append(replace(one, kind=kind, scope=scope, line=node.line, order=len(nodes)))
        edges += found.edges
    for edge in graph.edges:
        source, output, label = edge.source, edge.output, edge.label
        if source in inner:
            source, output = inner[source].outputs[edge.output]
        targets = [edge.target]
        if edge.target in inner:
            entering = inner[edge.target].inputs
            targets = [at for given, which, at in entering if (given, which) == (edge.source, edge.output)]
        edges += [replace(edge, source=source, target=t, output=output, label=label) for t in targets]
    return graph.replace(nodes=tuple(nodes), edges=tuple(edges))
