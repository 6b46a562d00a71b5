"""Guards on the values that a function captures: closure cells, globals, and attributes of plain objects.

Python does not run a replayed function, so the values it would read are compared before each run. Constants (numbers,
strings and tuples of them) are compared by value, all else by identity; of plain objects, the attributes named in the
code are compared as well. Reads inside an object's own methods are not followed.
"""

from __future__ import annotations

import types
from typing import Any

from ..readings import names_of, shown
from ..tensors import Tensor

_FOLLOWED = (Tensor, type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_MISSING = object()


class CapturedState:
    """The values that a function captures. Calling it returns their present state, as a hashable value."""

    def __init__(self, function: Any) -> None:
        function = getattr(function, "__func__", function)
        self.cells: list[Any] = []
        self.globals: dict[str, Any] = {}
        self.names: list[str] = []
        self.attributes: list[str] = []
        if isinstance(function, types.FunctionType):
            names = dict.fromkeys(names_of(function.__code__))
            self.cells = list(function.__closure__ or ())
            self.globals = function.__globals__
            self.names = [name for name in names if name in self.globals]
            self.attributes = list(names)

    def __call__(self) -> tuple[Any, ...]:
        found: list[Any] = []
        for cell in self.cells:
            try:
                value = cell.cell_contents
            except ValueError:  # an empty cell
                value = _MISSING
            self._note(value, found)
        for name in self.names:
            self._note(self.globals.get(name, _MISSING), found)
        return tuple(found)

    def _note(self, value: Any, found: list[Any]) -> None:
        found.append(shown(value))
        attributes = getattr(value, "__dict__", None)
        if attributes is None or isinstance(value, _FOLLOWED):
            return
        for name in self.attributes:
            if name in attributes:
                found.append(shown(attributes[name]))
