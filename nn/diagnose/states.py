"""From states in the user's form, a list or one tensor (T, N, H), to their places on the tape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.backward import key_of
from minigrad.tape import Node, node_of

from .norms import norms_of
from .tape import Edge, Tape
from .times import MOVING, moved

Array = np.ndarray[Any, Any]


class States:
    """The states s_0 ... s_{T−1} of a loop, with the places on the tape that made their numbers.

    T        the number of states
    shapes   of each state
    values   the numbers of all states, one after the other
    sources  for each key of an edge, the edge and, for each of its numbers, its index in the states: an integer counted
             from 1 through all states in order, or 0

    A tensor (T, N, H) is taken apart again: concatenations, reorderings of rows and the like are followed back to the
    operations that made the numbers, so that the gradient found there is complete, including later steps.
    """

    def __init__(self, tape: Tape, states: Any) -> None:
        self.tape = tape
        what = tape.what
        if isinstance(states, mg.Tensor):
            if states.ndim < 2 or not states.shape[0]:
                raise ValueError(f"{what}: states as one tensor have the shape (T, N, H), got {states.shape}")
            self._checked(states, "the tensor of states")
            arrived = self._followed([(states, np.arange(1, states.size + 1).reshape(states.shape))])
            axis = self._time_axis(arrived, states.shape)
            self.T = states.shape[axis]
            self.shapes = [tuple(n for a, n in enumerate(states.shape) if a != axis)] * self.T
            order = np.moveaxis(np.arange(states.size).reshape(states.shape), axis, 0).reshape(-1)
            rank = np.zeros(states.size + 1, np.int64)
            rank[order + 1] = np.arange(1, states.size + 1)
            self.values = backend.to_numpy(states.data).reshape(-1)[order]
            self.sources = {key: (edge, rank[places]) for key, (edge, places) in arrived.items()}
        else:
            if not isinstance(states, Sequence) or not states:
                raise TypeError(f"{what}: states are a list of tensors or one tensor (T, N, H), not {_kind(states)}")
            offset, given = 1, []
            for t, s in enumerate(states):
                if not isinstance(s, mg.Tensor):
                    hint = "; give those of one kind, such as [h for h, c in states]" if isinstance(s, tuple) else ""
                    raise TypeError(f"{what}: state {t} must be a Tensor, not {_kind(s)}{hint}")
                self._checked(s, f"state {t}")
                given.append((s, np.arange(offset, offset + s.size).reshape(s.shape)))
                offset += s.size
            self.T = len(given)
            self.shapes = [s.shape for s, _ in given]
            self.values = np.concatenate([backend.to_numpy(s.data).reshape(-1) for s, _ in given])
            self.sources = self._followed(given)
        self.bounds = np.cumsum([0, *[int(np.prod(s)) for s in self.shapes]])

    def _checked(self, tensor: mg.Tensor, name: str) -> None:
        if not tensor.requires_grad:
            raise ValueError(
                f"{self.tape.what}: {name}, of shape {tensor.shape}, is not on the tape: it was detached, computed "
                "under no_grad, or from nothing that requires grad"
            )

    def _followed(self, given: Sequence[tuple[mg.Tensor, Array]]) -> dict[Any, tuple[Edge, Array]]:
        """The places at which numbers of tensors were made: through all operations that only move numbers and are
        outside the steps, or in the step of the numbers they move."""
        arrived: dict[Any, tuple[Edge, Array]] = {}
        waiting: dict[Node, list[tuple[Edge, Array]]] = {}
        heap: list[tuple[float, Node]] = []

        def arrive(edge: Edge, places: Array) -> None:
            node = node_of(edge)[0]
            if isinstance(node, Node) and node.edges is not None and self._moves(node):
                if node not in waiting:
                    heappush(heap, (-node.position, node))
                waiting.setdefault(node, []).append((edge, places))
            else:
                old = arrived.get(key_of(edge))
                arrived[key_of(edge)] = (edge, places if old is None else np.where(places > 0, places, old[1]))

        device = backend.device_of(self.tape.like)
        for tensor, places in given:
            arrive(tensor.edge or tensor, places)
        while heap:
            node = heappop(heap)[1]
            several = type(node.dtype) is tuple
            parts: list[Any] = [None] * (len(node.shape) if several else 1)
            for edge, places in waiting.pop(node):
                at = edge.index if several else 0
                parts[at] = places if parts[at] is None else np.where(places > 0, places, parts[at])
            sent = [None if p is None else backend.from_numpy(p, device) for p in parts]
            for parent, pull, kept in node.edges:
                parents = parent if type(parent) is tuple else (parent,)
                for p, places in zip(parents, moved(pull, kept, sent if several else sent[0]), strict=True):
                    if p is not None and bool((places > 0).any()):
                        arrive(p, backend.to_numpy(places))
        return arrived

    def _moves(self, node: Node) -> bool:
        """True if an operation only moves numbers of its operands, none of them from an earlier step."""
        if node.primitive not in MOVING:
            return False
        step = self.tape.step(node)
        if step is None:
            return True
        parents = [p for parent, _, _ in node.edges for p in (parent if type(parent) is tuple else (parent,))]
        nodes = [node_of(p)[0] for p in parents]
        return all(isinstance(n, Node) and self.tape.step(n) == step for n in nodes)

    def _time_axis(self, arrived: Mapping[Any, tuple[Edge, Array]], shape: tuple[int, ...]) -> int:
        """The time axis: 0, or 1 if the steps that made the numbers say so (batch_first)."""
        steps = np.full(int(np.prod(shape)), -1)
        for edge, places in arrived.values():
            node = node_of(edge)[0]
            step = self.tape.step(node) if isinstance(node, Node) else None
            if step is not None:
                steps[places[places > 0] - 1] = step
        index = np.indices(shape)
        known = steps.reshape(shape)
        agree = [bool(((known == index[axis]) | (known < 0)).all()) for axis in (0, 1)]
        return 1 if agree == [False, True] else 0

    # ---- gradients -----------------------------------------------------------------------------------------------

    def gather(self, found: Mapping[Any, Any]) -> tuple[Array, Array]:
        """The gradients of all states as one vector in float64, and a mask of its numbers on the tape."""
        gradient, known = np.zeros(self.bounds[-1]), np.zeros(self.bounds[-1], bool)
        for key, (_, places) in self.sources.items():
            at = places > 0
            known[places[at] - 1] = True
            if key in found:
                gradient[places[at] - 1] = backend.to_numpy(found[key])[at]
        return gradient, known

    def reached(self, found: Mapping[Any, Any]) -> Array:
        """(T,) booleans: True if any number of a state was found."""
        numbers = np.zeros(self.bounds[-1], bool)
        for key, (_, places) in self.sources.items():
            if key in found:
                numbers[places[places > 0] - 1] = True
        return np.array([bool(numbers[a:b].any()) for a, b in pairwise(self.bounds)])

    def off(self) -> Array:
        """(T,): the share of each state's numbers on the tape that are exactly 0."""
        known = np.zeros(self.bounds[-1], bool)
        for _, places in self.sources.values():
            known[places[places > 0] - 1] = True
        zero = (self.values == 0) & known
        return np.array([zero[a:b].sum() / max(known[a:b].sum(), 1) for a, b in pairwise(self.bounds)])

    def reverse(self) -> bool:
        """True if the first state was made after the last one."""
        made = np.full(self.T, np.inf)
        for edge, places in self.sources.values():
            node = node_of(edge)[0]
            if isinstance(node, Node):
                there = np.unique(self.times(places[places > 0]))
                made[there] = np.minimum(made[there], node.position)
        return bool(np.isfinite(made[[0, -1]]).all() and made[0] > made[-1])

    def norms(self, gradient: Array) -> Array:
        """(T,): the norm of each state's part of such a vector."""
        if len(set(self.shapes)) == 1:
            return norms_of(gradient.reshape((self.T, -1)), 1)
        return np.array([norms_of(gradient[None, a:b], 1)[0] for a, b in pairwise(self.bounds)])

    def row_norms(self, gradient: Array, known: Array) -> Array | None:
        """(T, N): the norm of each row, NaN where there is none; None if the states differ in shape."""
        if len(set(self.shapes)) > 1:
            return None
        shape = self.shapes[0] if len(self.shapes[0]) > 1 else (1, *self.shapes[0])
        rows = gradient.reshape((self.T, shape[0], -1))
        return np.where(known.reshape(rows.shape).any(axis=-1), norms_of(rows, 2), np.nan)

    def times(self, places: Array) -> Array:
        """The state that each number belongs to, −1 for none."""
        return np.where(places > 0, np.searchsorted(self.bounds, places - 1, side="right") - 1, -1)


def _kind(value: Any) -> str:
    return f"an empty {type(value).__name__}" if isinstance(value, list | tuple) and not value else type(value).__name__
