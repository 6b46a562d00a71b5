"""The graph inside a fused node, from the trace of its call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..fusion.fused import Kernel
from ..tape import Node, node_of
from ..tensors import Tensor
from .graph import GraphEdge, GraphNode, Inner, Numbers


def inner(node: Node, sources: Sequence[tuple[str, int]], outer: str, values: Sequence[Numbers | None]) -> Inner:
    """The inner graph between a fused node's inputs and its outputs. Ids are n7_0, n7_1, ...

    sources  (a node's id, number of its output) for each operand on the tape
    values   of the outputs, if known
    """
    parents, _, kept = node.edges[0]
    kernel: Kernel = kept[0]
    ids = {each: f"{outer}_{k}" for k, each in enumerate(kernel.nodes)}
    live = iter(sources)
    entering = {v: next(live) for v, p in zip(kernel.variables, parents, strict=True) if p is not None}
    given: dict[Node, int] = {}
    for k, output in enumerate(kernel.outputs):
        if type(output.edge) is Node:
            given.setdefault(output.edge, k)
    nodes: list[GraphNode] = []
    edges: dict[Any, GraphEdge] = {}
    inputs: dict[tuple[str, int, str], None] = {}
    for k, each in enumerate(kernel.nodes):
        several = type(each.dtype) is tuple
        labels = dict.fromkeys(each.extra.labels.values()) if each.extra is not None else {}
        nodes.append(GraphNode(
            ids[each], "operation", ", ".join(labels), each.primitive.name, each.shape,
            str(each.dtype[0] if several else each.dtype), order=k,
            value=values[given[each]] if values and each in given else None,
        ))  # fmt: skip
        for one, _, _ in each.edges:
            for parent in several_of(one):
                if isinstance(parent, Tensor):
                    if parent in entering:
                        inputs[(*entering[parent], ids[each])] = None
                else:
                    of, index = node_of(parent)
                    edges[of, each, index] = GraphEdge(ids[of], ids[each], output=index)
    outputs = []
    for output in kernel.outputs:
        if output.edge is None:
            outputs.append((ids[kernel.nodes[-1]], 0))
        else:
            of, index = node_of(output.edge)
            outputs.append((ids[of], index))
    return Inner(tuple(nodes), tuple(edges.values()), tuple(inputs), tuple(outputs))


def several_of(parent: Any) -> list[Any]:
    """The edges of an operand; of one that joins others, the edges of each."""
    return [p for p in parent if p is not None] if type(parent) is tuple else [parent]
