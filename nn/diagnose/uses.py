"""Uses of a parameter by time step, and the gradient that each use sends: the engine of `bptt_terms`.

The gradient flows backward along paths, from the loss through steps to the parameter. A path's *use step* is the step
of the last operation on it that was recorded in one. Operations outside all steps, between them and the parameter (a
hoisted input map, a transposed weight, a sum of biases), form the *prologue*: there, gradients are kept apart by step.
A use after the steps (an output map over all states) has the steps of the rows that it works on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.arrivals import fit
from minigrad.backward import key_of
from minigrad.gradients import Products, RowSparse, Scattered, add, add_into
from minigrad.primitives import Pull
from minigrad.tape import Node, Observer, Output, node_of

from .made import Made
from .tape import Edge, Tape
from .times import KIND, UNKNOWN, Labels, below, dense, distinct, portions, summed, sums

Array = Any


class Uses:
    """The uses of a parameter below a loss.

    target  the parameter, or its key on the tape
    near    the parameter and its prologue: nodes outside steps that lead to it without passing a step
    users   the nodes in steps that use `near`, with their steps
    T       the number of steps
    """

    def __init__(self, tape: Tape, parameter: mg.Tensor) -> None:
        self.tape = tape
        self.T = tape.length()
        self.target = key_of(parameter.edge or parameter)
        self.like = parameter.data
        self.near: set[Any] = set() if type(self.target) is tuple else {self.target}  # including the prologue
        self.users: dict[Node, int] = {}
        self.made = Made(tape)
        for node in tape.nodes:
            if self._leads(node):
                step = tape.step(node)
                if step is None:
                    self.near.add(node)
                else:
                    self.users[node] = step
        if not self.users and len(self.near) <= (type(self.target) is not tuple):
            name = f" {parameter.name!r}" if parameter.name else ""
            raise ValueError(f"{tape.what}: the loss does not depend on the parameter{name} of shape {parameter.shape}")

    def _leads(self, node: Node) -> bool:
        """True if an operand of the node is the parameter or in its prologue."""
        near = self.near
        for parent, _, _ in node.edges:
            if type(parent) is tuple:
                if any(p is not None and self.concerns(p) for p in parent):
                    return True
            elif parent in near or (type(parent) is Output and self.concerns(parent)):
                return True
        return False

    def concerns(self, edge: Edge) -> bool:
        """True if the edge is the parameter, or leads to it without passing a step."""
        if type(edge) is Output:
            return edge.node in self.near or self.is_target(edge)
        return edge in self.near

    def is_target(self, edge: Edge) -> bool:
        """True if the edge is the parameter itself."""
        if type(edge) is Output:
            return type(self.target) is tuple and self.target[0] is edge.node and self.target[1] == edge.index
        return edge is self.target

    def collect(self, roots: Any, stops: frozenset[Any] = frozenset()) -> tuple[Array, Array, dict[Any, Any]]:
        """The gradient that arrives at the parameter from `roots`, without passing `stops`: by use step (T, *shape),
        and outside steps (*shape); also the gradients that arrive at `stops`."""
        arrivals = _Arrivals(self)
        for edge, gradient in roots:
            if self.concerns(edge):
                arrivals.put(edge, UNKNOWN, gradient)
        found = self.tape.gradients(roots, {self.target, *stops}, stop=True, observers=[arrivals])
        return arrivals.terms, arrivals.rest, found


class _Arrivals(Observer):
    """Observes a walk: gradients from steps into the prologue are kept apart by step, and passed through its rules."""

    def __init__(self, uses: Uses) -> None:
        self.uses = uses
        shape = uses.like.shape
        self.terms = np.zeros_like(uses.like, shape=(uses.T, *shape), order="C")
        self.rest = np.zeros_like(uses.like, order="C")
        self.begun: set[int] = set()
        self.waiting: dict[Node, list[tuple[int, Labels, Any]]] = {}  # (number of the output, label, gradient)

    # ---- from steps ----

    def pulled(self, node: Node, parent: Edge, gradient: Any) -> None:
        step = self.uses.users.get(node)
        if step is not None and self.uses.concerns(parent):
            self.put(parent, step, gradient)

    def put(self, edge: Edge, label: Labels, gradient: Any) -> None:
        """Keep an arriving gradient, all of one step or with an array of labels; or add it to the terms."""
        gradient = fit(gradient, edge)
        if self.uses.is_target(edge):
            if isinstance(label, int):
                self.add(label, gradient)
            else:
                for k in distinct(label):
                    self.add(k, np.where(label == k, gradient, 0))
        else:
            if type(gradient) is Products:  # the walk will extend it
                whole, gradient = gradient, Products(list(gradient.pairs))
                gradient.total, gradient.size = whole.total, whole.size
            node, index = node_of(edge)
            self.waiting.setdefault(node, []).append((index, label, gradient))

    def add(self, k: int, gradient: Any) -> None:
        """Add to the term of step k."""
        into = self.rest if k == UNKNOWN else self.terms[k, ...]
        if k not in self.begun and type(gradient) is Products and len(gradient.pairs) == 1 and gradient.total is None:
            ((p, q),) = gradient.pairs
            np.matmul(p.T, q, out=into)
        elif type(gradient) is RowSparse:
            backend.add_at(into, gradient.indices, gradient.rows)
        else:
            add_into(into, gradient)
        self.begun.add(k)

    # ---- through the prologue ----

    def arrived(self, node: Node, gradient: Any) -> None:
        pieces = self.waiting.pop(node, None)
        if pieces is None:
            return
        for label, g in self.merged(node, pieces, gradient):
            for parent, pull, kept in node.edges:
                several = type(parent) is tuple
                parents = parent if several else (parent,)
                if any(p is not None and self.uses.concerns(p) for p in parents):
                    self.through(node, parents, several, pull, kept, label, g)

    def merged(self, node: Node, pieces: list[tuple[int, Labels, Any]], whole: Any) -> list[tuple[Any, Any]]:
        """The gradients that arrived at a node, merged into few (labels, gradient): one, if no element got gradient
        from two steps; otherwise one for each step. With several outputs both are lists, except for a label of all of
        them.

        whole  the sum of all, from the walk
        """
        first = pieces[0][1]
        if isinstance(first, int) and all(isinstance(v, int) and v == first for _, v, _ in pieces):
            return [(first, whole)]
        several = type(whole) is list
        wholes = whole if several else [whole]
        arrived: list[list[tuple[Labels, Any]]] = [[] for _ in wholes]
        for index, label, gradient in pieces:
            arrived[index].append((label, gradient))
        labels = [_labels(each, g) for each, g in zip(arrived, wholes, strict=True)]
        if not any(v is CONFLICT for v in labels):
            return [(labels if several else labels[0], whole)]
        apart: dict[int, Any] = {}
        for index, label, gradient in pieces:
            for k in [label] if isinstance(label, int) else distinct(label):
                part = gradient if isinstance(label, int) else np.where(label == k, gradient, 0)
                at = apart.setdefault(k, [None] * len(node.shape) if several else [None])
                at[index] = part if at[index] is None else add(dense(at[index]), part)
        sparse = node.primitive.sparse
        for at in apart.values():
            at[:] = [g if sparse and type(g) is Products else dense(g) for g in at]
        return [(k, at if several else at[0]) for k, at in apart.items()]

    def through(
        self, node: Node, parents: tuple[Edge, ...], several: bool, pull: Pull, kept: Any, label: Any, g: Any
    ) -> None:
        """Pass a gradient through a rule, to the operands that lead to the parameter."""
        if isinstance(label, int) and label == UNKNOWN:
            if all(p is None or self.uses.made(p) is not None for p in parents):
                made: Any = None  # the path continues among values of steps
            else:
                made = self.steps_of_rows(node)
            label = label if made is None else made
        if isinstance(label, int):
            self.deliver(parents, several, label, pull.formula(g, *kept))
            return
        labels = below(node, pull, kept, parents, label)
        if labels is not None:
            arrived = pull.formula(g, *kept)
            arrived = list(arrived) if several else [arrived]
            known = [
                None if p is None or a is None else summed(v, p.shape)
                for p, a, v in zip(parents, arrived, labels, strict=True)
            ]
            if all(k is not None for k, p in zip(known, parents, strict=True) if p is not None):
                for p, a, k in zip(parents, arrived, known, strict=True):
                    if p is not None and self.uses.concerns(p):
                        self.put(p, k, dense(a))
                return
            if not several:
                for k, part in sums(dense(arrived[0]), labels[0], parents[0].shape):
                    self.deliver(parents, False, k, part)
                return
        for k, part in portions(node, pull, kept, g, label):
            self.deliver(parents, several, k, part)

    def deliver(self, parents: tuple[Edge, ...], several: bool, label: int, arrived: Any) -> None:
        for p, a in zip(parents, arrived if several else [arrived], strict=True):
            if p is not None and a is not None and self.uses.concerns(p):
                self.put(p, label, a)

    def steps_of_rows(self, node: Node) -> Any:
        """The known labels of a node's outputs."""
        if type(node.dtype) is not tuple:
            return self.uses.made(node)
        labels = [
            self.uses.made(Output(node, k, s, d)) for k, (s, d) in enumerate(zip(node.shape, node.dtype, strict=True))
        ]
        if all(isinstance(v, int) for v in labels):
            return labels[0] if len(set(labels)) == 1 else None
        return None if any(v is None for v in labels) else labels


CONFLICT = object()


def _labels(pieces: list[tuple[Labels, Any]], whole: Any) -> Any:
    """One array of labels for the (label, gradient) pairs of an output; None if there are none, CONFLICT if two steps
    share an element."""
    if not pieces or whole is None:
        return None
    label, gradient = pieces[0]
    if len(pieces) == 1 and type(gradient) is not Scattered:
        return np.full_like(whole, label, dtype=KIND) if isinstance(label, int) else label
    free = UNKNOWN - 1
    labels = np.full_like(whole, free, dtype=KIND)
    for label, gradient in pieces:
        at = gradient.index if type(gradient) is Scattered else ...
        before = labels[at]
        if bool(np.any((before != free) & (before != label))):
            return CONFLICT
        labels[at] = label
    return np.where(labels == free, UNKNOWN, labels)
