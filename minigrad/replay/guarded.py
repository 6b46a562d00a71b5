"""A program with its guards: the tensors that it uses, the state that it depends on, and a run of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ..gradients import RowSparse
from ..tape import Observer
from ..tensors import Tensor
from .live import same
from .program import ReplayProgram
from .recording import Recording, Value

Array = Any


class Newcomers(Observer):
    """Notes the leaves that are used without being lent, by weak reference."""

    inside = False  # a loop names all that its steps use

    def __init__(self) -> None:
        self.found: dict[int, weakref.ref[Tensor]] = {}

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        for value in operands:
            for v in value if isinstance(value, tuple | list) else (value,):
                if isinstance(v, Tensor) and v.edge is None and not Recording.is_traced(v.data):
                    self.found[id(v)] = weakref.ref(v)

    def has(self, tensor: Tensor) -> bool:
        """True if the tensor is one of them."""
        found = self.found.get(id(tensor))
        return found is not None and found() is tensor

    def alive(self) -> list[Tensor]:
        """The noted tensors that are still alive."""
        return [t for t in (found() for found in self.found.values()) if t is not None]


class Use:
    """A tensor that a program uses.

    argument  the number of its leaf among the arguments, or None for a captured tensor
    array     its array; a captured tensor must have it again
    value     that array in the recording
    met       weak reference to an argument that may also be captured (a weight, say); later calls must pass it
    before    the required state of `.grad`: "none", "tensor", or "any"
    given     the value of the old gradient, if it is an input of the program
    after     the number of the result that `.grad` becomes (of its indices and its rows, if it is row-sparse), −1 for
              None; None if it stays
    """

    def __init__(self, tensor: Tensor, argument: int | None, array: Array, value: Value) -> None:
        self.tensor, self.argument, self.array, self.value = tensor, argument, array, value
        self.requires_grad = tensor.requires_grad
        self.met: weakref.ref[Tensor] | None = None
        self.grad = tensor.grad
        self.before = "none" if tensor.grad is None else "tensor"
        self.given: Value | None = None
        self.after: int | tuple[int, int] | None = None

    def now(self, leaves: list[Any]) -> Tensor:
        """The tensor in this role at a call."""
        return self.tensor if self.argument is None else leaves[self.argument]

    def unfit(self, tensor: Tensor) -> str | None:
        """The reason why a program cannot run with this tensor, or None."""
        if self.argument is None and tensor.data is not self.array:
            return f"{_name(tensor)} was given another array"
        if self.met is not None and self.met() is not tensor:
            return f"argument {self.argument} is another tensor than the one that may be used from outside as well"
        if tensor._requires_grad != self.requires_grad:
            return f"requires_grad of {_name(tensor)} changed"
        if self.before != "any" and (tensor.grad is None) != (self.before == "none"):
            return f"{_name(tensor)} has {'no' if tensor.grad is None else 'a'} gradient now"
        return None


def _name(tensor: Tensor) -> str:
    return tensor.name or f"a tensor {tensor.shape}"


class Replay:
    """A program with its guards and its effects; see `session.Session` for what it is made from."""

    def __init__(
        self, program: ReplayProgram, recording: Recording, uses: list[Use], arguments: list[int],
        outputs: list[Callable[[list[Array], list[Any]], Any]], build: Callable[[list[Any]], Any],
        assigned: list[tuple[Any, str, int]], watched: Newcomers,
    ) -> None:  # fmt: skip
        self.program = program
        self.uses = uses
        self.arguments = arguments
        self.outputs, self.build = outputs, build
        self.assigned = assigned
        self.watched = watched
        self.guards, self.attributes = recording.guards, recording.attributes
        self.outside = {id(use.tensor) for use in uses if use.argument is None}  # kept alive by their uses
        self.quick: Callable[..., Any] | None = None  # the function of a short program (`quick`), once it was tried

    def unfit(self, leaves: list[Any]) -> str | None:
        """The reason why it cannot run now, or None."""
        for k, leaf in enumerate(leaves):
            if id(leaf) in self.outside:
                return f"argument {k} is a tensor that is used from outside as well"
        for use in self.uses:
            reason = use.unfit(use.now(leaves))
            if reason is not None:
                return reason
        for values, key, before, what in self.attributes:
            now = values.get(key)
            if now is not before and not same(now, before):
                return f"{what}: {key} is {now!r:.100}, it was {before!r:.100}"
        for what, read, before in self.guards:
            now = read()
            if now is not before and not same(now, before):
                return f"{what}: {now!r}, it was {before!r}"
        return None

    def run(self, leaves: list[Any]) -> Any:
        """Run the program once."""
        given = [leaves[k] for k in self.arguments]
        arrays = [leaf.data if isinstance(leaf, Tensor) else leaf for leaf in given]
        tensors = [use.now(leaves) for use in self.uses]
        for use, tensor in zip(self.uses, tensors, strict=True):
            if use.given is not None:
                arrays.append(tensor.grad.data)
        results = self.program.run(arrays)
        for use, tensor in zip(self.uses, tensors, strict=True):
            if isinstance(use.after, tuple):
                indices, rows = (results[number] for number in use.after)
                tensor.grad = RowSparse(indices, rows, tensor.shape, check=False)
            elif use.after is not None:
                tensor.grad = None if use.after < 0 else Tensor._of(results[use.after])
        for owner, attribute, number in self.assigned:
            setattr(owner, attribute, Tensor._of(results[number]))
        return self.build([make(results, leaves) for make in self.outputs])
