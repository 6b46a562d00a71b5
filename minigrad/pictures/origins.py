"""Detached values: the nodes of a graph that they were computed from before they were cut off."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..backward import parents_of
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
        self.positions = sorted(self.at)

    def __call__(self, position: float) -> list[Node]:
        """The nodes, by the position that the value was detached from; for an unfolded loop, those of its last step."""
        found = self.at.get(position)
        if found is None and position == math.floor(position):
            last = bisect.bisect_left(self.positions, position + 1) - 1
            if last >= 0 and self.positions[last] > position:
                found = self.at[self.positions[last]]
        nodes: dict[Node, None] = {}
        rest = [found] if found is not None else []
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
        return list(nodes)


class Uses(NamedTuple):
    """Uses of detached values: the positions they were detached from, and the using nodes."""

    cut: Mapping[Node, Iterable[float]]
    origins: Origins
