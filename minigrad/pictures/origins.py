"""Detached values: the nodes of a graph that they were computed from before they were cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..backward import parents_of
from ..origins import Origin
from ..tape import Node, node_of
from ..tensors import Tensor


class Origins:
    """Finds the nodes of a graph that a detached value came from.

    below  the graph's nodes
    past   other recorded nodes, which may connect the graph's nodes with the detached value
    """

    def __init__(self, below: Sequence[Node], past: Iterable[Node] = ()) -> None:
        self.inside = set(below)
        self.at = {node.position: node for node in (*past, *below)}
        self.ends = {
            place: (node, output)
            for node in self.at.values()
            if node.extra is not None
            for place, output in node.extra.ends.items()
        }

    def __call__(self, origin: Origin) -> list[tuple[Node, int]]:
        """The nodes and the numbers of their outputs: the value that was detached, or else its operands."""
        if origin.parts:
            each = [found for part in origin.parts if part is not None for found in self(part)]
            return list(dict.fromkeys(each))
        found, output = self.at.get(origin.position), origin.output
        if found is None:
            found, output = self.ends.get((origin.position, output), (None, 0))
        if found is None:
            return []
        if found in self.inside:
            return [(found, output)]
        nodes: dict[Node, None] = {}
        rest = [found]
        seen = set(rest)
        while rest:
            node = rest.pop()
            if node in self.inside:
                nodes[node] = None
                continue
            for parent in parents_of(node):
                before = None if isinstance(parent, Tensor) else node_of(parent)[0]
                if before is not None and before not in seen:
                    seen.add(before)
                    rest.append(before)
        return [(node, 0) for node in nodes]


class Uses(NamedTuple):
    """Detached values that nodes use, by their origins, and the nodes that those are."""

    cut: Mapping[Node, Iterable[Origin]]
    origins: Origins
