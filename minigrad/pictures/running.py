"""Collecting numbers: run a function and keep its values, walk a graph and keep its gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..backward import key_of, nodes_below, walk
from ..modes import changed_mode, current_mode
from ..tape import Node, Observer, Output
from ..tensors import Tensor
from ..trees import flatten
from .numbers import Observations, numbers
from .sources import Sources, formula


class _Values(Observer):
    """Keeps the numbers of every recorded result, and values from outside (see `sources`)."""

    def __init__(self, record: Observations, sources: Sources) -> None:
        self.record = record
        self.sources = sources

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        if not isinstance(edge, Node):
            self.sources.made(primitive.name, operands, outputs)
            return
        self.record.values[edge] = [numbers(array) for array in outputs]
        found: dict[Any, Any] = {}
        for index, operand in enumerate(operands):
            if isinstance(operand, tuple | list):
                found |= {(index, k): self.sources.entering(value) for k, value in enumerate(operand)}
            else:
                found[index] = self.sources.entering(operand)
        found = {place: source for place, source in found.items() if source is not None}
        if found:
            self.record.inputs[edge] = found
        if text := formula(primitive.name, operands):
            self.record.formulas[edge] = text


class _Gradients(Observer):
    """Keeps the gradient of every result that a walk reaches."""

    def __init__(self, record: Observations, flows: bool) -> None:
        self.record = record
        self.flows = flows
        self.parts: dict[Any, Any] = {}

    def pulled(self, node: Node, parent: Any, gradient: Any) -> None:
        if not self.flows:
            return
        dense = gradient.dense() if hasattr(gradient, "dense") else gradient
        key = (node, key_of(parent))
        self.parts[key] = self.parts[key] + dense if key in self.parts else dense  # x * x has two
        found = numbers(self.parts[key])
        self.record.flows[key] = found.norm if found is not None else 0.0

    def arrived(self, node: Node, gradient: Any) -> None:
        several = gradient if isinstance(gradient, list) else [gradient]
        self.record.grads[node] = [numbers(g) for g in several]


def run(
    f: Callable[..., Any], args: Sequence[Any], names: dict[Tensor, str], plain: bool, followed: bool = False
) -> tuple[list[Any], Observations]:
    """f(*args) under observation: its results as a flat list, and the record. Computed arguments are inputs as well.

    names  of leaves; all other arguments are inputs, named after f's parameters
    plain  run without fused and gathered operations, so that all inner values are known
    followed
           gradients flow into the arguments, too
    """
    record = Observations(run=True)
    sources = Sources()
    args = _cut(args, followed)
    for name, value in _called(f, args):
        if isinstance(value, Tensor):
            if value.requires_grad and value.edge is None:
                record.given.add(value)
                if value.name is None and value not in names:
                    record.labels[value] = name
            sources.name(value.name or name, value.data)
        elif backend.is_array(value):
            sources.name(name, value)
    mode = current_mode()
    observer = _Values(record, sources)
    with changed_mode(grad=True, observers=(*mode.observers, observer), fast=mode.fast and not plain):
        returned, _ = flatten(f(*args))
    states = _states(f)
    if len(states) == len(returned):
        for name, one in zip(states, returned, strict=True):
            if isinstance(one, Tensor) and one.name is None and isinstance(one.edge, Node | Output):
                one.name = name
    return returned, record


def _states(f: Callable[..., Any]) -> Sequence[str]:
    """The names of a cell's states, which it takes and returns."""
    states = getattr(f, "states", ())
    return states if isinstance(states, tuple) and all(isinstance(one, str) for one in states) else ()


def _cut(args: Sequence[Any], followed: bool) -> Sequence[Any]:
    """The arguments cut off from their graphs, which are not part of the function; followed ones require grad."""
    leaves, rebuild = flatten(list(args))
    found = []
    for leaf in leaves:
        new = leaf
        follow = followed and isinstance(leaf, Tensor) and leaf.dtype.kind == "f" and not leaf.requires_grad
        if isinstance(leaf, Tensor) and (follow or leaf.edge is not None or leaf._origin is not None):
            new = Tensor(leaf.data, requires_grad=leaf.requires_grad or follow)
            new.name = leaf.name
        found.append(new)
    cut: Sequence[Any] = rebuild(found)
    return cut


def _called(f: Callable[..., Any], args: Sequence[Any]) -> list[tuple[str, Any]]:
    """The flat arguments, named after f's parameters; the parts of a cell's state have names of their own."""
    try:
        bound = inspect.signature(getattr(f, "forward", f)).bind(*args).arguments
    except (TypeError, ValueError):
        bound = {f"argument {k}": value for k, value in enumerate(args)}
    found = []
    for name, value in bound.items():
        leaves, _ = flatten(value)
        states = _states(f) if name == "state" else ()
        if states and len(states) == len(leaves):
            found += list(zip(states, leaves, strict=True))
        else:
            found += [(name if len(leaves) == 1 else f"{name}[{k}]", leaf) for k, leaf in enumerate(leaves)]
    return found


def follow_gradients(roots: Sequence[Tensor], record: Observations, flows: bool = False) -> None:
    """Add to the record the gradients of the sum of all elements of the roots.

    flows  also record the norm along each edge

    The graph is kept, and no `.grad` changes; hooks run, since they modify the gradient.
    """
    seeds = [(t.edge, np.ones_like(t.data)) for t in roots if t.edge is not None and t.dtype.kind == "f"]
    retained = [node.extra for node in nodes_below([edge for edge, _ in seeds]) if node.extra and node.extra.retained]
    before = [extra.retained for extra in retained]
    for extra in retained:
        extra.retained = {}
    try:
        found = walk(seeds, retain_graph=True, observers=(_Gradients(record, flows),))
    finally:
        for extra, old in zip(retained, before, strict=True):
            extra.retained = old
    for leaf, gradient in found.items():
        record.grads[leaf] = [numbers(gradient)]
