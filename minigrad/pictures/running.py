"""Looking at the numbers: run a function and keep what it computes, walk a graph and keep its gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..backward import nodes_below, walk
from ..modes import changed_mode, current_mode
from ..tape import Node, Observer
from ..tensors import Tensor
from ..trees import flatten
from .numbers import Record, numbers


class _Values(Observer):
    """Keeps the numbers of every recorded result, and the names of what comes in from outside.

    What is computed from an input without being recorded (a slice for each step) is called by the input's name.
    """

    def __init__(self, record: Record, known: dict[int, tuple[str, Any]]) -> None:
        self.record = record
        self.known = known  # by the id of an array, which is held here so that it lives: (name, array)

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        found = []
        for index, operand in enumerate(operands):
            for value in operand if isinstance(operand, tuple | list) else (operand,):
                if isinstance(value, Tensor) and value.requires_grad:
                    continue
                array = value.data if isinstance(value, Tensor) else value
                name = value.name if isinstance(value, Tensor) else None
                if name is None and id(array) in self.known:
                    name = self.known[id(array)][0]
                if name is not None:
                    found.append((index, name, array))
        if isinstance(edge, Node):
            self.record.values[edge] = [numbers(array) for array in outputs]
            if found:
                self.record.inputs[edge] = found
        elif found:
            for array in outputs:
                self.known[id(array)] = (found[0][1], array)


class _Gradients(Observer):
    """Keeps the gradient of every result that a walk reaches."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def arrived(self, node: Node, gradient: Any) -> None:
        several = gradient if isinstance(gradient, list) else [gradient]
        self.record.grads[node] = [numbers(g) for g in several]


def run(f: Callable[..., Any], args: Sequence[Any], names: dict[Tensor, str], plain: bool) -> tuple[list[Any], Record]:
    """f(*args) under observation: what it returned as a flat list, and the record.

    names  of leaves; arguments that are leaves are added, under the names of f's parameters
    plain  run without fused and gathered operations, so that all inner values are known
    """
    record = Record(run=True)
    known: dict[int, tuple[str, Any]] = {}
    for name, value in _called(f, args):
        if isinstance(value, Tensor):
            if value.requires_grad and value.edge is None:
                names.setdefault(value, name)
            known[id(value.data)] = (value.name or name, value.data)
        elif backend.is_array(value):
            known[id(value)] = (name, value)
    mode = current_mode()
    observer = _Values(record, known)
    with changed_mode(grad=True, observers=(*mode.observers, observer), fast=mode.fast and not plain):
        returned, _ = flatten(f(*args))
    return returned, record


def _called(f: Callable[..., Any], args: Sequence[Any]) -> list[tuple[str, Any]]:
    """The arguments, flat, under the names of f's parameters."""
    try:
        bound = inspect.signature(getattr(f, "forward", f)).bind(*args).arguments
    except (TypeError, ValueError):
        bound = {f"argument {k}": value for k, value in enumerate(args)}
    found = []
    for name, value in bound.items():
        leaves, _ = flatten(value)
        found += [(name if len(leaves) == 1 else f"{name}[{k}]", leaf) for k, leaf in enumerate(leaves)]
    return found


def follow_gradients(roots: Sequence[Tensor], record: Record) -> None:
    """Write into the record the gradients of the sum of all that the roots hold.

    The graph is kept, and nobody's `.grad` is touched; hooks are run, since the gradient is what they make of it.
    """
    seeds = [(t.edge, np.ones_like(t.data)) for t in roots if t.edge is not None and t.dtype.kind == "f"]
    retained = [node.extra for node in nodes_below([edge for edge, _ in seeds]) if node.extra and node.extra.retained]
    before = [extra.retained for extra in retained]
    for extra in retained:
        extra.retained = {}
    try:
        found = walk(seeds, retain_graph=True, observers=(_Gradients(record),))
    finally:
        for extra, old in zip(retained, before, strict=True):
            extra.retained = old
    for leaf, gradient in found.items():
        record.grads[leaf] = [numbers(gradient)]
