"""Detached values: the nodes of a graph that they were computed from, before they were cut off."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..backward import parents_of
from ..tape import Node, node_of
from ..tensors import Tensor


class Origins:
    """Knows from which nodes of a graph a detached value came.

    below  the graph's nodes
    past   others that were recorded: what was detached may have been computed by those, from the graph's
    """

    def __init__(self, below: Sequence[Node], past: Iterable[Node] = ()) -> None:
        self.inside = set(below)
        self.at = {node.position: node for node in (*past, *below)}
        self.positions = sorted(self.at)

    def __call__(self, position: float) -> list[Node]:
        """The nodes, by the position that the value was detached from; the last step of a loop that was unfolded."""
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
    """Detached values that nodes use, by the positions that those were detached from, and their nodes."""

    cut: Mapping[Node, Iterable[float]]
    origins: Origins
