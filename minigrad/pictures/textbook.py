"""A graph in the style of textbooks: one box a step, inputs below it and outputs above, subscripts, and no plumbing.

A cell alone is drawn from the inside: σ and tanh in boxes, ⊙ and + in circles, the path of its state on top.
"""

from __future__ import annotations

from dataclasses import replace

from .graph import Graph, GraphEdge, GraphNode, Scope
from .loops import rolled_steps
from .views import merged

GIVEN = ("input", "parameter", "detached", "elided")
CELL = "cell"
ACRONYM = 4  # letters, at most: RNN, LSTM


def textbook(graph: Graph) -> Graph:
    """Boxes for steps, and names with subscripts; for a graph without steps, names only."""
    steps = {node.id: found for node in graph.nodes if (found := _step_of(node.scope)) is not None}
    if not steps:
        return _cell(graph)
    named = graph.replace(nodes=tuple([_named(node, steps.get(node.id)) for node in graph.nodes]))
    edges = tuple([_carried(edge, steps, graph) for edge in graph.edges])
    named = named.replace(edges=edges)
    standing: dict[str, GraphNode] = {}
    boxes: dict[Scope, GraphNode] = {}
    outputs: list[tuple[GraphNode, str]] = []
    for node in named.nodes:
        found = steps.get(node.id)
        if found is None or node.kind in GIVEN:
            continue
        scope = found[0]
        if scope not in boxes:
            inside = [n for n in graph.nodes if steps.get(n.id, ((), ""))[0] == scope]
            boxes[scope] = GraphNode(f"{node.id}_box", "cell", _title(inside, scope), scope=scope, order=node.order)
        standing[node.id] = boxes[scope]
        if node.kind == "output":
            label = _with(_short(node), found[1]) if node.outputs or not node.label else node.label
            above = replace(node, id=f"{node.id}_out", kind="output", label=label, op="", scope=scope, formula="",
                            inner=None)  # fmt: skip
            outputs.append((above, boxes[scope].id))
    whole = merged(named, standing, loops=graph.options.view == "rolled")
    nodes = sorted([*whole.nodes, *[node for node, _ in outputs]], key=lambda node: node.order)
    kept = [edge for edge in whole.edges if edge.source != edge.target or edge.kind == "state"]
    more = [GraphEdge(box, node.id) for node, box in outputs]
    nodes = [replace(node, order=k) for k, node in enumerate(nodes)]
    return whole.replace(nodes=tuple(nodes), edges=(*kept, *more))


def _step_of(scope: Scope) -> tuple[Scope, str] | None:
    """The innermost step that contains a scope, and its subscript: a number, or t for all steps."""
    for depth in range(len(scope) - 1, -1, -1):
        label, step = scope[depth]
        if step is not None:
            return scope[: depth + 1], str(step)
        rolled = rolled_steps(label)
        if rolled is not None:
            return scope[: depth + 1], rolled
    return None


def _title(nodes: list[GraphNode], scope: Scope) -> str:
    """The name of a step's box: that of its cell."""
    fused = {node.op for node in nodes if node.inner is not None or node.kind == "fused"}
    if len(fused) == 1:
        name = fused.pop()
        return name.upper() if len(name) <= ACRONYM else name
    inner = {node.scope[len(scope)][0] for node in nodes if len(node.scope) > len(scope)}
    if len(inner) == 1:
        return inner.pop().removesuffix("Cell")
    outer = [label for label, step in scope[:-1] if step is None and not label.startswith("[")]
    return outer[-1] if outer else CELL


def _named(node: GraphNode, step: tuple[Scope, str] | None) -> GraphNode:
    """A node with its textbook name."""
    if node.kind == "parameter":
        return replace(node, label=weight(node.label))
    if node.kind == "elided":
        return replace(node, label="")
    if step is None or not node.label or node.label == "0":
        return node
    return replace(node, label=_each(node.label, step[1]))


def _carried(edge: GraphEdge, steps: dict[str, tuple[Scope, str]], graph: Graph) -> GraphEdge:
    """An edge between steps, named after the state that it carries."""
    if edge.kind != "state" or edge.source not in steps:
        return replace(edge, label="")
    label = edge.label or next(node.label for node in graph.nodes if node.id == edge.source)
    return replace(edge, label=_each(label, steps[edge.source][1]))


def _each(label: str, step: str) -> str:
    """Subscripts for several names: "h, c" and "3" give "h_{3}, c_{3}"."""
    return ", ".join([_with(one, step) for one in label.split(", ") if one])


def _short(node: GraphNode) -> str:
    names = [output.label for output in node.outputs if output.label]
    return names[0] if names else "y"


def _with(label: str, step: str) -> str:
    """A subscript: "x" and "3" give "x_{3}"; the input xs of all steps becomes x in one of them."""
    name = label[0] if len(label) == 2 and label[1] == "s" else label
    base, _, old = name.partition("_")
    return f"{base}_{{{old + ',' if old else ''}{step}}}"


def weight(label: str) -> str:
    """W_s unchanged; weight_ih_l0 of a layer as W_{ih}, of its second layer as W_{ih,1}."""
    *around, name = label.split(".")
    word, _, rest = name.partition("_")
    if word not in ("weight", "bias"):
        return name if not around else label
    which, _, layer = rest.removesuffix("_reverse").partition("_l")
    marks = [which, layer if layer not in ("", "0") else "", "←" if rest.endswith("_reverse") else ""]
    return f"{'W' if word == 'weight' else 'b'}_{{{','.join(filter(None, marks))}}}" if any(marks) else word[0].upper()


# ---- the inside of a cell ----------------------------------------------------------------------------------------


def _cell(graph: Graph) -> Graph:
    """Names for a step t: a state enters as that of t−1, and leaves as that of t."""
    leaving = {node.label.lower() for node in graph.nodes if node.kind == "output" and node.label}
    nodes: list[GraphNode] = []
    edges = list(graph.edges)
    for node in graph.nodes:
        if node.kind == "output" and node.op and node.label:  # the operation, and the output
            nodes.append(replace(node, kind="operation", label=""))
            leaves = replace(node, id=f"{node.id}_out", op="", formula="", label=_with(node.label, "t"))
            nodes.append(leaves)
            edges.append(GraphEdge(node.id, leaves.id, grad=node.grad.norm if node.grad is not None else None))
            continue
        if node.kind == "parameter":
            nodes.append(replace(node, label=weight(node.label)))
        elif node.label and not node.label.replace(".", "").isdigit():
            entering = node.kind in ("input", "detached") and node.label.lower() in leaving
            nodes.append(replace(node, label=_with(node.label, "t−1" if entering else "t")))
        else:
            nodes.append(node)
    nodes = [replace(node, order=k) for k, node in enumerate(nodes)]
    return graph.replace(nodes=tuple(nodes), edges=tuple(edges))
