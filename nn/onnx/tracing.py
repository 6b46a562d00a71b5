"""The trace of a model: its operations in order, with some layers as single records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import trees
from minigrad.modes import changed_mode, current_mode
from minigrad.tape import Observer
from minigrad.vocabulary import PRIMITIVES
from minigrad.where import caller, line_of

from ..layers.embedding import scale_gradient
from ..modules import Module
from ..sequences.packing import from_rows, to_rows

Array = Any
OWN = (to_rows, from_rows, scale_gradient)  # nn's primitives; a user's may have any name


class Record(NamedTuple):
    """One operation, or one module recorded as a whole.

    name      of the operation, such as "add"; "module" for a module, "the primitive f" for a user's
    operands  of the operation: Tensors, arrays, numbers, nested tuples of them
    outputs   arrays
    module    the module, or None
    place     the scope and the user's line, for messages
    """

    name: str
    operands: tuple[Any, ...]
    outputs: tuple[Array, ...]
    module: Module | None
    place: str


class Tracer(Observer):
    """The records of one run. It keeps all arrays alive, so that their identities stay unique."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Array, ...], edge: Any) -> None:
        ours = PRIMITIVES.get(primitive.name) is primitive or primitive in OWN
        self._write(primitive.name if ours else f"the primitive {primitive.name}", operands, outputs)

    def asked(self, name: str, operands: tuple[Any, ...], answer: Any) -> None:
        if isinstance(answer, np.ndarray):
            self._write(name, operands, (answer,))

    def _write(self, name: str, operands: tuple[Any, ...], outputs: Any, module: Module | None = None) -> None:
        scope = current_mode().scope
        place = (f"in {scope}, " if scope is not None else "") + "at " + line_of(*caller())
        self.records.append(Record(name, operands, tuple(outputs), module, place))

    def module(self, module: Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """Call a module as one record, without observing its inside."""
        with changed_mode(observers=(), fast=True):
            returned = forward(*args, **kwargs)
        outputs = [v.data for v in trees.flatten(returned)[0] if isinstance(v, mg.Tensor)]
        self._write("module", (args, kwargs), outputs, module)
        return returned


def trace(
    model: Module, call: Callable[..., Any], args: tuple[Any, ...], whole: Callable[[Module], bool]
) -> tuple[list[Record], Any]:  # fmt: skip
    """The records and the result of call(*args). Modules for which `whole` is true are one record each."""
    found = Tracer()
    with _wrapped(model, whole, found), mg.no_grad(), mg.plain_path(), changed_mode(observers=(found,)):
        returned = call(*args)
    return found.records, returned


@contextmanager
def _wrapped(model: Module, whole: Callable[[Module], bool], found: Tracer) -> Iterator[None]:
    """The model in evaluation mode, with its whole modules reporting their calls to the trace."""
    modes = [(module, module.training) for module in model.modules()]
    watched = [module for module, _ in modes if whole(module)]
    for module in watched:
        object.__setattr__(module, "forward", _telling(module, module.forward, found))
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module in watched:
            del module.__dict__["forward"]
        for module, mode in modes:
            module.training = mode


def _telling(module: Module, forward: Callable[..., Any], found: Tracer) -> Callable[..., Any]:
    def told(*args: Any, **kwargs: Any) -> Any:
        if found not in current_mode().observers:  # inside another whole module
            return forward(*args, **kwargs)
        return found.module(module, forward, args, kwargs)

    return told
