"""Values that code reads, in a form that can be compared later."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

_CONSTANTS = (int, float, complex, str, bytes, bool, type(None))


class Same:
    """An object that equals only itself. It is kept alive, so that its id is not reused."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Same and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def shown(value: Any) -> Any:
    """A constant, distinguished from equal constants of other types; anything else by identity."""
    if isinstance(value, _CONSTANTS):
        return (type(value), repr(value) if isinstance(value, float) else value)
    if type(value) is tuple and all(isinstance(v, _CONSTANTS) for v in value):
        return (tuple, *map(shown, value))
    if isinstance(value, types.MethodType):  # another object at each look
        return types.MethodType, Same(value.__func__), Same(value.__self__)
    return Same(value)


def names_of(code: types.CodeType) -> Iterator[str]:
    """The names mentioned in the code of a function and of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from names_of(constant)
