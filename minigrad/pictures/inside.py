"""The inside of a cell, for a step t: a state enters as that of t−1, and leaves as that of t. What has no state, such
as a perceptron, has no steps."""

from __future__ import annotations

import math
from dataclasses import replace

from .graph import Graph, GraphEdge, GraphNode
from .subscripts import constant, indexed, weights


def inside(graph: Graph) -> Graph:
    """The names of a step, and outputs apart from the operations that compute them."""
    leaving = {one.lower() for node in graph.nodes if node.kind == "output" for one in node.label.split(", ") if one}
    states = {node.label.lower() for node in graph.nodes if node.kind in ("input", "detached")} & leaving
    weight = weights([node.label for node in graph.nodes if node.kind == "parameter"])
    nodes: list[GraphNode] = []
    edges = list(graph.edges)
    for node in graph.nodes:
        if node.kind == "output" and node.op and node.label:
            nodes.append(replace(node, kind="operation", label=""))
            for k, one in enumerate(node.label.split(", ")):
                name = indexed(one, "t") if states else one
                leaves = replace(node, id=f"{node.id}_out{k or ''}", op="", formula="", label=name,
                                 inner=None, outputs=())  # fmt: skip
                nodes.append(leaves)
                edges.append(GraphEdge(node.id, leaves.id, output=k, grad=seed(node, graph)))
        elif node.kind == "parameter":
            nodes.append(replace(node, label=weight[node.label]))
        elif node.label and not constant(node.label):
            entering = node.kind in ("input", "detached") and node.label.lower() in states
            label = indexed(node.label, "t−1" if entering else "t") if states else node.label
            nodes.append(replace(node, label=label))
        else:
            nodes.append(node)
    nodes = [replace(node, order=k) for k, node in enumerate(nodes)]
    return graph.replace(nodes=tuple(nodes), edges=tuple(edges))


def seed(node: GraphNode, graph: Graph) -> float | None:
    """The norm of the gradient at a result, where gradients are drawn: its elements are ones."""
    shape = node.shape or ()
    one = shape[0] if shape and isinstance(shape[0], tuple) else shape
    return math.sqrt(math.prod(one)) if graph.options.backward else None
