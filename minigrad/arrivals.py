"""Pending gradients: those that have arrived at nodes and leaves, and the choice of the next node.

The next node is always the one with the highest position among those reached. Every use of its output was recorded
later, so its whole gradient has arrived: there is no recursion and no sorting beforehand, and memory is released as
the walk proceeds.
"""

from __future__ import annotations

from heapq import heappush
from typing import Any

import numpy as np

from . import backend
from .gradients import Parts, Products, RowSparse, add, add_into
from .primitives import refuse_others
from .tape import Edge, Node, Output

Array = Any


class Arrivals:
    """Gradients that have arrived and have not been passed on.

    at        the gradient of each node (with several outputs: a list, None where nothing arrived) or leaf
    heap      the nodes reached, as (−position, node)
    owned     nodes whose gradient has no alias, so it may be added to in place
    recorded  True if gradients are Tensors, whose sums are recorded
    """

    __slots__ = ("at", "heap", "owned", "recorded")

    def __init__(self, recorded: bool) -> None:
        self.at: dict[Any, Any] = {}
        self.heap: list[tuple[float, Node]] = []
        self.owned: set[Any] = set()
        self.recorded = recorded

    def add(self, edge: Edge, new: Any, others: tuple[Any, ...]) -> None:
        """Add a gradient. It is not written into if it aliases one of `others`, arrays held elsewhere."""
        if new.shape != edge.shape or new.dtype is not edge.dtype:
            new = fit(new, edge)
        if type(edge) is Output:
            if edge.index is not None:
                self._add_to_output(edge, new)
                return
            edge = edge.node
        old = self.at.get(edge)
        if old is None:
            self.at[edge] = new
            if type(edge) is Node:
                heappush(self.heap, (-edge.position, edge))
            elif self.recorded or isinstance(new, Parts) or not _aliases(new, others):
                self.owned.add(edge)
        elif self.recorded:
            self.at[edge] = old + new
        elif isinstance(old, Parts):
            self.at[edge] = old.plus(new)
            self.owned.add(edge)
        elif edge in self.owned:
            self.at[edge] = add_into(old, new)
        else:
            self.at[edge] = add(old, new)
            self.owned.add(edge)

    def _add_to_output(self, edge: Output, new: Any) -> None:
        several = self.at.get(edge.node)
        if several is None:
            several = self.at[edge.node] = [None] * len(edge.node.shape)
            heappush(self.heap, (-edge.node.position, edge.node))
        old = several[edge.index]
        several[edge.index] = new if old is None else old + new if self.recorded else add(old, new)

    def take(self, leaf: Any, observers: Any) -> Any:
        """A leaf's whole gradient, as a fresh array."""
        g = self.at.pop(leaf)
        if isinstance(g, Parts) and not isinstance(g, RowSparse):
            for observer in observers:
                observer.gathering(leaf)
            g = g.dense()
            for observer in observers:
                observer.gathered(leaf, g)
        elif isinstance(g, np.generic) or (leaf not in self.owned and not self.recorded):
            g = copied(g)
        return g


def whole(node: Node, g: Any) -> Any:
    """The gradient of a node's output, or the list of gradients of its outputs, in the form its rules take."""
    if type(g) is list:
        return [p.dense() if isinstance(p, Parts) else p for p in g]
    return g.dense() if isinstance(g, Parts) and not (node.primitive.sparse and type(g) is Products) else g


def _aliases(new: Array, others: tuple[Any, ...]) -> bool:
    """True if an array is one of the others (or of those they hold), or a view of one."""
    if getattr(new, "base", None) is not None or not backend.is_array(new):
        return True
    return any(new is s or (isinstance(s, tuple | list) and any(new is k for k in s)) for s in others)


def copied(gradient: Any) -> Array:
    """A fresh array with the gradient's values (a NumPy scalar becomes an array)."""
    return np.array(gradient) if isinstance(gradient, np.generic) else gradient.copy()


def fit(gradient: Any, edge: Edge) -> Any:
    """The gradient in the shape and dtype of its operand: summed over broadcast axes, and cast."""
    shape = edge.shape
    if gradient.shape != shape:
        if isinstance(gradient, Parts):
            gradient = gradient.dense()
        extra = len(gradient.shape) - len(shape)
        grown = tuple(
            k for k in range(len(gradient.shape)) if k < extra or (shape[k - extra] == 1 and gradient.shape[k] != 1)
        )
        gradient = np.sum(gradient, axis=grown, keepdims=True) if extra >= 0 else gradient
        if gradient.shape[max(extra, 0) :] != shape:
            raise ValueError(f"a rule gave a gradient of shape {gradient.shape} for an operand of shape {shape}")
        gradient = gradient.reshape(shape)
    if gradient.dtype != edge.dtype:
        refuse_others("backward", gradient)
        gradient = gradient.astype(edge.dtype)
    return gradient
