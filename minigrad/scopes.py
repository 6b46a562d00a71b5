"""Scopes: the module and the time step in which an operation is recorded.

A `Scope` is a linked list of labels held by the recording mode. Nodes keep a reference to the innermost one, so that
pictures, errors and profiles can say `encoder.lstm[1] t=37`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

from .modes import MODE, Mode, Once, current_mode
from .where import Scope

X = TypeVar("X")


class Named(Protocol):
    """The interface of a value with a label: a Tensor."""

    name: str | None


N = TypeVar("N", bound=Named)


class scope:  # noqa: N801 (used as a statement: `with mg.scope("encoder"):`)
    """Operations inside the block are recorded in a named scope: `with mg.scope("encoder"):`. Scopes nest."""

    def __init__(self, label: str) -> None:
        if not isinstance(label, str):
            raise TypeError(f"scope: the label must be a string, not {type(label).__name__}")
        self._label = label
        self._outer: list[Scope | None] = []

    def __enter__(self) -> Scope:
        mode = current_mode()
        self._outer.append(mode.scope)
        inner = Scope(mode.scope, self._label)
        MODE.set(mode.inside(inner))
        return inner

    def __exit__(self, *exception: object) -> None:
        MODE.set(current_mode().inside(self._outer.pop()))


def steps(xs: Iterable[X], label: str = "t", *, reverse: bool = False) -> Iterator[tuple[int, X]]:
    """`for t, x in mg.steps(xs):` is `enumerate(xs)` with a scope for each time step.

    xs       anything that can be iterated; a Tensor of shape (T, ...) gives its T slices
    label    the name of the step in pictures and messages
    reverse  from the last step, T − 1, to the first

    The scope ends with the loop, also when it is left by `break`, `return` or an exception.
    """
    outer, outside = current_mode().scope, current_mode().hoisted
    hoisted = Once()
    inner: Scope | None = None

    def leave() -> None:
        mode = current_mode()  # a late close must not disturb a scope opened since
        if inner is not None and mode.scope is inner:
            mode = mode.inside(outer)
        MODE.set(mode.replace(hoisted=outside) if mode.hoisted is hoisted else mode)

    try:
        for t, x in reversed(list(enumerate(xs))) if reverse else enumerate(xs):
            inner = Scope(outer, label, t)
            mode = current_mode()
            MODE.set(Mode(mode.grad, inner, mode.observers, mode.fast, hoisted, mode.intake))
            yield t, x
            leave()  # the computation of the next x belongs to no step
    finally:
        leave()


def name(tensor: N, label: str) -> N:
    """Give a Tensor a label for pictures, messages and interventions: `f = mg.name(sigmoid(z), "forget")`.

    Use the returned value: the tensor, or its replacement by `mg.intervene`.
    """
    if not hasattr(tensor, "edge"):
        raise TypeError(f"name: expected a Tensor, got {type(tensor).__name__}")
    tensor = offered(label, tensor, "name")
    tensor.name = label
    return tensor


def offered(label: str, tensor: N, by: str) -> N:
    """A Tensor with a label, or its replacement by an observer."""
    for observer in current_mode().observers:
        tensor = observer.named(label, tensor, by=by)
    return tensor


def here() -> str:
    """The current scope as ` in encoder t=3`, or an empty string: the end of an error message."""
    inner: Any = current_mode().scope
    return f" in {inner}" if inner is not None else ""
