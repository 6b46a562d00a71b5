"""A graph in the style of textbooks: one box a step, inputs below it and outputs above, subscripts, and no plumbing.

Layers are lanes above each other, and time runs on from left to right through windows, and from an encoder to its
decoder. A cell alone is drawn from the inside (see `inside`).
"""

from __future__ import annotations

import re
from dataclasses import replace

from .eliding import without_columns
from .graph import Graph, GraphEdge, GraphNode, Scope
from .inside import inside, seed
from .lanes import entered, in_columns
from .loops import WINDOW, rolled_steps, title
from .naming import Names
from .parts import Part, Parts, step_of
from .timeline import timeline
from .views import merged

CELL = "cell"
ACRONYM = 4  # letters, at most: RNN, LSTM
_NO_MODULE = re.compile(r"\[.*|forward|backward|loop \d+")  # layers, directions, and loops of one place


def textbook(graph: Graph, view: str = "auto") -> Graph:
    """Boxes for steps, and names with subscripts; a graph without steps is drawn from the inside. Long loops lose their
    middle, unless the view is full."""
    if all(step_of(node.scope) is None and node.span is None for node in graph.nodes):
        return inside(graph)
    line = timeline(graph)
    boxed = Parts(line.graph, line.scopes)
    parts = boxed.found
    named = Names(line, boxed.entering()).graph()
    boxes = {part: _box(part, nodes, line.scopes) for part, nodes in _members(named, parts).items()}
    plain, above, edges = _outputs(named, parts, boxes)
    whole = merged(plain, {id: boxes[part] for id, part in parts.items()}, loops=graph.options.view == "rolled")
    stepped = {node.id for node in whole.nodes if step_of(node.scope) is not None}
    kept = [edge if edge.source in stepped else replace(edge, kind="", steps=None) for edge in whole.edges
            if edge.source != edge.target or edge.source in stepped]  # fmt: skip
    ordered = sorted([*whole.nodes, *above], key=lambda node: node.order)
    found = whole.replace(nodes=tuple([replace(n, order=k) for k, n in enumerate(ordered)]), edges=(*kept, *edges))
    found = without_columns(found, line.ends, view == "elided") if view in ("auto", "elided") else found
    found = in_columns(entered(found, boxed.entering()))
    return found.replace(options=found.options.replace(windows=_windows(graph, found)))


def _windows(recorded: Graph, drawn: Graph) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The windows of a loop, each with its nodes."""
    numbers = {node.id: dict(node.scope).get(WINDOW) for node in recorded.nodes}
    windows: dict[int, list[str]] = {}
    for node in drawn.nodes:
        number = numbers.get(re.sub("_(box|out)$", "", node.id))
        if number is not None and node.kind != "elided" and step_of(node.scope) is not None:
            windows.setdefault(number, []).append(node.id)
    return tuple([(title(WINDOW, number), tuple(ids)) for number, ids in sorted(windows.items())])


def _outputs(
    graph: Graph, parts: dict[str, Part], boxes: dict[Part, GraphNode]
) -> tuple[Graph, list[GraphNode], list[GraphEdge]]:  # fmt: skip
    """The graph with the results of steps as plain operations, and a node above each with an edge to it."""
    nodes: list[GraphNode] = []
    above: list[GraphNode] = []
    edges: list[GraphEdge] = []
    for node in graph.nodes:
        nodes.append(node)
        step, part = step_of(node.scope), parts.get(node.id)
        if node.kind == "output" and step is not None:
            leaves = replace(node, id=f"{node.id}_out", op="", scope=step[0], formula="", inner=None, outputs=(),
                             count=0, bytes=0)  # fmt: skip
            nodes[-1] = replace(node, kind="operation", label="")
            above.append(leaves)
            edges.append(GraphEdge(boxes[part].id if part else node.id, leaves.id, grad=seed(node, graph)))
    return graph.replace(nodes=tuple(nodes)), above, edges


def _members(graph: Graph, parts: dict[str, Part]) -> dict[Part, list[GraphNode]]:
    found: dict[Part, list[GraphNode]] = {}
    for node in graph.nodes:
        if node.id in parts:
            found.setdefault(parts[node.id], []).append(node)
    return found


def _box(part: Part, nodes: list[GraphNode], scopes: dict[str, Scope]) -> GraphNode:
    first = nodes[0]
    name = _title(part, nodes, scopes)
    lane = " ".join([label for label, step in part.step if step is None])
    return GraphNode(f"{first.id}_box", "cell", name, part=lane, scope=part.step, order=first.order)


def _title(part: Part, nodes: list[GraphNode], scopes: dict[str, Scope]) -> str:
    """The name of a box: that of its module, or of its fused operation."""
    if part.module:
        return _plain(part.module)
    fused = {node.op for node in nodes if node.inner is not None or node.kind == "fused"}
    if len(fused) == 1:
        name = fused.pop()
        return name.upper() if len(name) <= ACRONYM else name
    outer = [label for label, step in scopes[nodes[0].id] if step is None]
    plain = [label for label in outer if rolled_steps(label) is None]
    modules = [label for label in plain if not _NO_MODULE.fullmatch(label)]
    return _plain(modules[-1]) if modules else CELL


def _plain(module: str) -> str:
    """A module's name, without the number of its call."""
    return re.sub(r" \(\d+\)$", "", module).removesuffix("Cell")
