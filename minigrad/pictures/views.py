"""Smaller graphs of a graph: steps omitted or rolled up, scopes collapsed, fused nodes opened.

Each view maps a Graph to a Graph. All but the last replace several nodes by one (`merged`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from . import slices
from .graph import Graph, GraphEdge, GraphNode, Numbers, Scope
from .loops import LoopKey, likeness, loops_of, rolled_steps, span_of, steps_in, title, without_steps
from .palette import norm_of

MANY = 6  # steps of a loop in a textbook picture
FIRST = 3  # steps in an elided view, before the last
ENDS = 20  # nodes at either end of a long graph without steps
FEW = 3  # output names in the label of a bundle of edges
LONG = 40  # columns that can be looked at
LIMIT = 400  # nodes that can be laid out in a second or two, and read


# ---- views of time -----------------------------------------------------------------------------------------------


def elided(graph: Graph) -> Graph:
    """The first three steps of every loop and the last, with one node for the steps between."""
    loops = loops_of(graph)
    left_out = {place: steps[FIRST:-1] for place, steps in loops.items()}
    absent = {(place, step) for place, steps in left_out.items() for step in steps}
    standing: dict[str, GraphNode] = {}
    made: dict[LoopKey, GraphNode] = {}
    for node in graph.nodes:
        for place, step in steps_in(node.scope):
            if (place, step) in absent:
                steps = left_out[place]
                if place not in made:
                    label = span_of(place[1], steps[0], steps[-1])
                    span = (place[1], steps[0], steps[-1])
                    made[place] = GraphNode(node.id, "elided", label, scope=place[0], order=node.order, span=span)
                standing[node.id] = made[place]
                break
    return _with_view(merged(graph, standing), "elided")


def longest(graph: Graph) -> int:
    """The number of steps of the longest loop."""
    return max([len(steps) for steps in loops_of(graph).values()], default=0)


def rolled(graph: Graph) -> Graph:
    """One step in place of all steps of a loop; a state passed to the next step is an edge back into it.

    Nodes of different steps correspond if they have the same operation, line and index among such nodes; they take the
    most frequent of their names.
    """
    spans: dict[LoopKey, tuple[int, int]] = {}
    loops: dict[str, tuple[LoopKey, ...]] = {}
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
    labels: dict[object, Counter[str]] = {}
    formulas: dict[object, set[str]] = {}
    parts: dict[object, list[tuple[str, str, int]]] = {}  # each with its innermost step
    for node in graph.nodes:
        if not loops[node.id]:
            continue
        kind = likeness(node)
        nth = seen[node.scope, kind] = seen.get((node.scope, kind), -1) + 1
        key = keys[node.id] = (without_steps(node.scope), kind, nth)
        stand = first.get(key)
        labels.setdefault(key, Counter())[node.label] += 1
        formulas.setdefault(key, set()).add(node.formula)
        label, step = next((label, step) for label, step in reversed(node.scope) if step is not None)
        parts.setdefault(key, []).append((node.part, label, step))
        if stand is None:
            around = iter(loops[node.id])
            scope = tuple([
                (span_of(label, *spans[next(around)]), None) if step is not None else (label, None)
                for label, step in node.scope
            ])  # fmt: skip
            first[key] = replace(node, scope=scope, value=None, grad=None, outputs=())
        elif node.kind == "output":
            first[key] = replace(stand, kind="output")
    for like, stand in first.items():
        label = labels[like].most_common(1)[0][0]
        if stand.kind == "output" and not label:  # a name that only the last step's has
            label = max(labels[like], key=len)
        formula = stand.formula if len(formulas[like]) == 1 else ""  # "0 +" is the first step's alone
        part = slices.rolled([index for index, _, _ in parts[like]], parts[like][0][1], [k for *_, k in parts[like]])
        first[like] = replace(stand, label=label, formula=formula, part=part)
    standing = {id: first[key] for id, key in keys.items()}
    return _with_view(merged(graph, standing, loops=True), "rolled")


# ---- scopes as one node ------------------------------------------------------------------------------------------


def collapsed(graph: Graph, depth: int | None = None, labels: Collection[str] = ()) -> Graph:
    """Collapse scopes deeper than `depth`, and those with one of the labels, into one node each; steps keep their
    columns, and named inputs stay outside.

    labels  "encoder", or "t" for every step of that loop, or "t = 3"; for a module called more than once,
            "encoder" is every call, "encoder (2)" the second
    """
    known = {name for node in graph.nodes for label, step in node.scope for name in names_of(label, step)}
    unknown = [label for label in labels if label not in known]
    if unknown:
        scopes = ", ".join(sorted({label for node in graph.nodes for label, _ in node.scope})) or "none"
        raise ValueError(f"graph: collapse={unknown[0]!r} is not a scope of this graph; its scopes are: {scopes}")
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise ValueError(f"graph: depth must be a number of scopes, 0 or more, got {depth!r}")
    chosen = set(labels)
    standing: dict[str, GraphNode] = {}
    made: dict[Scope, GraphNode] = {}
    inputs: dict[tuple[Scope, str, str], GraphNode] = {}
    for node in graph.nodes:
        for level, (label, step) in enumerate(node.scope):
            if (depth is not None and level >= depth) or chosen & names_of(label, step):
                inside = node.scope[: level + 1]
                if node.kind == "input" and not _constant(node.label):
                    outside = replace(node, scope=node.scope[:level])
                    standing[node.id] = inputs.setdefault((inside, node.label, node.part), outside)
                    break
                if inside not in made:
                    made[inside] = GraphNode(node.id, "collapsed", title(label, step), scope=node.scope[:level],
                                             order=node.order, span=steps_of(label, step))  # fmt: skip
                standing[node.id] = made[inside]
                break
    return merged(graph, standing)


def _constant(label: str) -> bool:
    """True for the label of an input without a name: its number."""
    return label in ("constant", "mask") or label.lstrip("-").replace(".", "").isdigit()


def names_of(label: str, step: int | None) -> set[str]:
    """The labels that match a scope: t and t = 3; encoder (2) and encoder."""
    return {label, title(label, step), re.sub(r" \(\d+\)$", "", label)}


def steps_of(label: str, step: int | None) -> tuple[str, int, int] | None:
    """The span of a scope that is one step, or replaces several."""
    rolled = rolled_steps(label) if step is None else None
    return (label, step, step) if step is not None else (rolled, 0, 0) if rolled is not None else None


def fitting(graph: Graph) -> Graph:
    """The graph, if it is small enough to lay out; else a smaller view of it, with a note."""
    whole = len(graph.nodes)
    if whole <= LIMIT:
        return graph if graph.options.view == "elided" else _with_view(graph, "full")
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
    """The graph with some nodes replaced, by id; several may have the same replacement. Edges to or from a collapsed or
    an elided node count once for each value.

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
    norms = _norms(graph, standing)
    nodes: dict[str, GraphNode] = {}
    for node in graph.nodes:
        stand = standing.get(node.id)
        if stand is None:
            nodes[node.id] = node
        elif stand.id not in nodes:
            count, kept = counts[stand.id]
            norm = norms.get(stand.id) if stand.kind in ("collapsed", "cell") else None
            grad = Numbers(norm) if norm is not None else stand.grad
            nodes[stand.id] = replace(stand, count=count, bytes=kept, grad=grad)
    edges: dict[tuple[str, str, str, object], GraphEdge] = {}
    joined: dict[tuple[str, str, str, object], dict[str, None]] = {}
    values: dict[tuple[str, str, str, object], dict[tuple[str, int], int]] = {}  # of a bundle, and how often each
    for edge in graph.edges:
        source, target = standing.get(edge.source), standing.get(edge.target)
        group = any(end is not None and end.kind in ("elided", "collapsed") for end in (source, target))
        new = replace(edge, source=source.id if source else edge.source, target=target.id if target else edge.target)
        if new.source == new.target and (group or not (loops and edge.kind in ("state", "detached"))):
            continue
        # an output is the same in all steps of a rolled loop; other edges to several nodes form one bundle
        same = (source is None and target is None) or (source is not None and not group)
        bundle = (new.source, new.target, new.kind, new.output if same else None)
        old = edges.get(bundle)
        known = values.setdefault(bundle, {})
        value = (new.source if source is not None and source.kind == "input" else edge.source, edge.output)
        known[value] = edge.times if group or value not in known else known[value] + edge.times
        if old is not None:
            steps = new.steps and old.steps and _hull(old.steps, new.steps)
            new = replace(old, times=sum(known.values()), steps=steps, grad=_together(old.grad, new.grad))
        edges[bundle] = new
        joined.setdefault(bundle, {})[edge.label] = None
    for shared, names in joined.items():
        edges[shared] = replace(edges[shared], label=", ".join(filter(None, names)) if len(names) <= FEW else "")
    return graph.replace(nodes=tuple(nodes.values()), edges=tuple(edges.values()))


def _norms(graph: Graph, standing: Mapping[str, GraphNode]) -> dict[str, float]:
    """The norm of the gradient of all that leaves a group of nodes, or its largest change, by the id of the node that
    stands for it."""
    join = max if graph.options.color == "change" else math.hypot
    groups = {id: node.id for id, node in standing.items()}
    leaving = {edge.source for edge in graph.edges if groups.get(edge.target) != groups.get(edge.source)}
    norms: dict[str, float] = {}
    for node in graph.nodes:
        group, norm = groups.get(node.id), norm_of(node)
        if group is not None and norm is not None and (node.id in leaving or node.kind == "output"):
            norms[group] = join(norms.get(group, 0.0), norm)
    return norms


def _together(a: float | None, b: float | None) -> float | None:
    """The norm of two gradients together."""
    return a if b is None else b if a is None else math.hypot(a, b)


def _hull(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Steps from the first to the last, in their direction."""
    return (min(a[0], b[0]), max(a[1], b[1])) if a[0] < a[1] else (max(a[0], b[0]), min(a[1], b[1]))


def _with_view(graph: Graph, view: str) -> Graph:
    return graph.replace(options=replace(graph.options, view=view))


# ---- inside a fused node -----------------------------------------------------------------------------------------


def expanded(graph: Graph, wanted: Callable[[GraphNode], bool]) -> Graph:
    """Open the wanted fused nodes: their inner nodes, in a scope named after the operation."""
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
        results = node.label.split(", ") if node.kind == "output" else ()
        for one in found.nodes:
            kind = "output" if one.label and one.label in results else one.kind
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
