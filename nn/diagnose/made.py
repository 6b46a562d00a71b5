"""Labels: for each element of a value computed outside the time loop, the step it came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.tape import Node, Output, node_of
from minigrad.tensors import Tensor

from .einsums import letters, relabelled
from .tape import Edge, Tape
from .times import EINSUM, KIND, MOVING, UNKNOWN, Array, Labels, flat_parents, level, meeting_axes, moved


class Made:
    """The labels of values: `made(edge)`.

    Labels are an integer or an array of integers; UNKNOWN where numbers of several steps were combined; None for a
    value that depends on no step. A number without axes (a loss) has no step. A number that a step only moves, such as
    a row of a state that has ended, keeps the label of the step that made it.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._known: dict[Node, Any] = {}

    def __call__(self, edge: Edge) -> Labels:
        """The labels of an edge's value."""
        if edge is None or isinstance(edge, Tensor):
            return None
        node = node_of(edge)[0]
        if node not in self._known:
            for each in self._unknown(node):
                self._known[each] = self._labels(each)
        labels = self._known[node]
        return labels[edge.index] if isinstance(labels, list) and type(edge) is Output else labels

    def _unknown(self, node: Node) -> list[Node]:
        """The node and all nodes that its labels depend on, in recording order."""
        stack, seen = [node], {node}
        while stack:
            each = stack.pop()
            if self.tape.step(each) is not None and each.primitive not in MOVING:
                continue
            for parent in flat_parents(each):
                below = None if isinstance(parent, Tensor) else node_of(parent)[0]
                if below is not None and below not in seen and below not in self._known:
                    seen.add(below)
                    stack.append(below)
        return sorted(seen, key=lambda n: n.position)

    def _labels(self, node: Node) -> Any:
        step = self.tape.step(node)
        if step is not None and node.primitive not in MOVING:
            return step
        found = [v for v in map(self, flat_parents(node)) if v is not None]
        if not found:
            return step
        if step is None and node.shape == ():
            return UNKNOWN
        if all(isinstance(v, int) for v in found) and len({*found, found[0] if step is None else step}) == 1:
            return found[0]
        if node.primitive in MOVING:
            return self._moved(node, UNKNOWN if step is None else step)
        shapes = node.shape if type(node.dtype) is tuple else [node.shape]
        labels = [self._joined(node, shape) for shape in shapes]
        return labels if type(node.dtype) is tuple else labels[0]

    def _joined(self, node: Node, shape: tuple[int, ...]) -> Labels:
        """The labels on which all operands agree."""
        total: Labels = None
        for parent, pull, kept in node.edges:
            for k, p in enumerate(parent if type(parent) is tuple else (parent,)):
                labels = self(p)
                if labels is not None and not isinstance(labels, int):
                    if node.primitive is EINSUM:
                        mine, output = letters(kept[-1])
                        labels = relabelled(labels, mine[k], output, shape, level)
                        labels = UNKNOWN if labels is None else labels
                    else:
                        labels = self._carried(labels, shape, meeting_axes(node, pull, kept, p.shape))
                if total is None or labels is None:
                    total = labels if total is None else total
                elif isinstance(total, int) and isinstance(labels, int):
                    total = total if total == labels else UNKNOWN
                else:
                    total = np.where(total == labels, total, UNKNOWN)
        return total

    def _carried(self, labels: Array, shape: tuple[int, ...], axes: tuple[int, ...] | None) -> Labels:
        """From an operand's labels to those of the result."""
        line = None if axes is None else level(labels, axes)
        if line is None or axes is None:
            return UNKNOWN
        if line.ndim > len(shape):
            line = line.reshape([n for a, n in enumerate(line.shape) if a - line.ndim not in axes])
        try:
            return np.broadcast_to(line, shape)
        except ValueError:  # it was not an operation on rows
            return UNKNOWN

    def _moved(self, node: Node, other: int) -> Any:
        """Send the indices of the output's numbers backward, to find the number of the operand that each came from;
        those from an operand without steps get the `other` label."""
        several = type(node.dtype) is tuple
        shapes = node.shape if several else [node.shape]
        sizes = [int(np.prod(s)) for s in shapes]
        ends = np.cumsum(sizes)
        device = backend.device_of(self.tape.like)
        places = [
            backend.from_numpy(np.arange(e - n + 1, e + 1).reshape(s), device)
            for e, n, s in zip(ends, sizes, shapes, strict=True)
        ]
        labels = np.full_like(places[0], other, shape=(int(ends[-1]),), dtype=KIND)
        for parent, pull, kept in node.edges:
            parents = parent if type(parent) is tuple else (parent,)
            for p, came in zip(parents, moved(pull, kept, places if several else places[0]), strict=True):
                made = self(p)
                if made is not None:
                    at = came > 0
                    labels[came[at] - 1] = made if isinstance(made, int) else made[at]
        parts = [labels[e - n : e].reshape(s) for e, n, s in zip(ends, sizes, shapes, strict=True)]
        return parts if several else parts[0]
