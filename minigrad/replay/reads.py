"""The values that a function reads besides its arguments: closure cells, globals, and attributes of plain objects.

Python does not run a compiled function again, so what it would read is compared before each run. Constants (numbers,
strings and tuples of them) are compared by value, all else by identity; of plain objects, the attributes that the code
names are compared as well. What an object's own methods read is not followed.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from ..tensors import Tensor

_CONSTANTS = (int, float, complex, str, bytes, bool, type(None))
_FOLLOWED = (Tensor, type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_MISSING = object()


class Same:
    """An object that is equal to nothing but itself. It is kept alive, so that no other one takes its id."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Same and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


class Reads:
    """The values that a function reads. Calling this gives them as they are now, as a hashable value."""

    def __init__(self, function: Any) -> None:
        function = getattr(function, "__func__", function)
        self.cells: list[Any] = []
        self.globals: dict[str, Any] = {}
        self.names: list[str] = []
        self.attributes: list[str] = []
        if isinstance(function, types.FunctionType):
            names = dict.fromkeys(_names(function.__code__))
            self.cells = list(function.__closure__ or ())
            self.globals = function.__globals__
            self.names = [name for name in names if name in self.globals]
            self.attributes = list(names)

    def __call__(self) -> tuple[Any, ...]:
        found: list[Any] = []
        for cell in self.cells:
            try:
                value = cell.cell_contents
            except ValueError:  # nothing is bound to it yet
                value = _MISSING
            self._note(value, found)
        for name in self.names:
            self._note(self.globals.get(name, _MISSING), found)
        return tuple(found)

    def _note(self, value: Any, found: list[Any]) -> None:
        found.append(_shown(value))
        attributes = getattr(value, "__dict__", None)
        if attributes is None or isinstance(value, _FOLLOWED):
            return
        for name in self.attributes:
            if name in attributes:
                found.append(_shown(attributes[name]))


def _shown(value: Any) -> Any:
    """A constant, told apart from others that are equal to it; anything else by identity."""
    if isinstance(value, _CONSTANTS):
        return (type(value), repr(value) if isinstance(value, float) else value)
    if type(value) is tuple and all(isinstance(v, _CONSTANTS) for v in value):
        return (tuple, *map(_shown, value))
    return Same(value)


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that a function's code and that of the functions inside it mention."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
