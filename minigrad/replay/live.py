"""What a recording must not freeze: numbers that are read at each run, and what has to be as it was.

The code of a layer or an optimizer says here what it reads from Python. Outside of a recording these functions give
what they are asked for and do nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import backend
from ..modes import current_mode


class Live:
    """A number that is read at each run of a recording: a learning rate, how many steps were taken.

    Arithmetic with it gives such a number. A comparison is decided now, and has to be decided alike at each run.
    """

    __slots__ = ("read", "what")

    def __init__(self, read: Callable[[], float], what: str) -> None:
        self.read = read
        self.what = what

    def value(self) -> float:
        return self.read()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Beside an array, it is one of the recording."""
        recording = current_mode().recording
        if recording is None or method != "__call__" or not all(map(_is_operand, inputs)):
            return NotImplemented
        return recording.call(ufunc, inputs, kwargs)

    def __bool__(self) -> bool:
        return bool(decided(lambda: bool(self.read()), f"whether {self.what} is 0"))

    def __repr__(self) -> str:
        return f"<{self.what}, now {self.read()!r}>"

    def __hash__(self) -> int:
        return id(self)


def _binary(name: str) -> Any:
    function = getattr(operator, name)
    ufunc = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power"}[name]

    def forward(self: Live, other: Any) -> Any:
        if isinstance(other, int | float):
            return Live(lambda: function(self.read(), other), self.what)
        if isinstance(other, Live):
            return Live(lambda: function(self.read(), other.read()), self.what)
        return getattr(np, ufunc)(self, other) if backend.is_array(other) else NotImplemented

    def backward(self: Live, other: Any) -> Any:
        if isinstance(other, int | float):
            return Live(lambda: function(other, self.read()), self.what)
        return getattr(np, ufunc)(other, self) if backend.is_array(other) else NotImplemented

    return forward, backward


def _is_operand(value: Any) -> bool:
    """Whether a ufunc can take it as it is (a Tensor records what is done with it)."""
    return isinstance(value, Live | int | float) or backend.is_array(value)


for _name in ("add", "sub", "mul", "truediv", "pow"):
    _forward, _backward = _binary(_name)
    setattr(Live, f"__{_name}__", _forward)
    setattr(Live, f"__r{_name}__", _backward)


def _compared(name: str) -> Any:
    function = getattr(operator, name)

    def compare(self: Live, other: Any) -> bool:
        number = other.read if isinstance(other, Live) else lambda: other
        return bool(decided(lambda: bool(function(self.read(), number())), f"{self.what} {name} {other!r}"))

    return compare


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Live, f"__{_name}__", _compared(_name))


# ---- what code says of the state it reads ------------------------------------------------------------------------


def live(read: Callable[[], float], what: str) -> Any:
    """A number that may change between runs: `read()`, or while something is recorded, a `Live` one."""
    return read() if current_mode().recording is None else Live(read, what)


def decided(read: Callable[[], Any], what: str) -> Any:
    """A value that what is recorded depends on: `read()`. Where it is another one, later, a run is recorded anew."""
    value = read()
    now = current_mode().recording
    if now is not None:
        now.guards.append((what, read, value))
    return value


def attributes(values: dict[str, Any], names: Iterable[str], what: str) -> None:
    """Plain values of some object, a module or a group of options, which a recording depends on."""
    now = current_mode().recording
    if now is not None:
        now.attributes += [(values, name, values.get(name), what) for name in names]


def done(effect: Callable[[], Any]) -> None:
    """Do something to the state outside of arrays: now, and again before each run."""
    effect()
    now = current_mode().recording
    if now is not None:
        now.effects.append(effect)


def borrow(tensor: Any) -> None:
    """A tensor of some state, whose array will be read and written: let a recording see it."""
    now = current_mode().recording
    if now is not None:
        now.borrow(tensor)


def assigned(owner: Any, attribute: str, tensor: Any) -> None:
    """Keep a computed tensor as an attribute of some object: now, and after each run."""
    setattr(owner, attribute, tensor)
    now = current_mode().recording
    if now is not None:
        now.assigned.append((owner, attribute, tensor))
