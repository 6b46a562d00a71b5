"""Sources outside a graph: inputs, initial states, constants, and values joined from them without recording."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import backend
from ..origins import MOVES
from ..tensors import Tensor
from ..where import caller
from .numbers import Source
from .slices import within

JOINS = ("concatenate", "stack")
SIGNED = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "power": "^", "maximum": "max", "minimum": "min"}
LONGEST = 28  # characters of a generated label


class Sources:
    """Finds values that are not on the tape, by their arrays."""

    def __init__(self) -> None:
        self.known: dict[int, Source] = {}  # by the id of an array, which the source keeps alive
        self.named: list[Source] = []

    def name(self, label: str, array: Any) -> None:
        """Give an array a name."""
        self.known[id(array)] = found = Source(label, array)
        self.named.append(found)

    def of(self, value: Any) -> Source | None:
        """The source of an operand that is not on the tape, if it is named, or was made from a named one."""
        tensor = isinstance(value, Tensor)
        if tensor and value.requires_grad:
            return None
        array = value.data if tensor else value
        found = self.known.get(id(array))
        if tensor and value._origin is not None:
            origin = value._origin
            if found is None or found.origin != origin:
                found = self.known[id(array)] = Source(value.name or origin.label, array, origin)
        elif found is None and (whole := next((one for one in self.named if within(array, one.array)), None)):
            found = self.known[id(array)] = Source(whole.label, array, whole=whole.array)
        if tensor and value.name is not None and (found is None or (found.label != value.name and not found.op)):
            found = self.known[id(array)] = Source(value.name, array, found.origin if found is not None else None)
        return found

    def entering(self, value: Any) -> Source | None:
        """The source, or a constant: the node to draw beside the operation that uses it."""
        found = self.of(value)
        if found is not None or (isinstance(value, Tensor) and value.requires_grad):
            return found
        array = value.data if isinstance(value, Tensor) else value
        if not backend.is_array(array) or (array.ndim == 0 and not isinstance(value, Tensor)):
            return None
        if array.dtype.kind not in "fb":  # indices
            return None
        label = constant(array)
        self.known[id(array)] = found = Source(label, array, constant=True)
        return found

    def made(self, name: str, operands: Iterable[Any], outputs: Iterable[Any]) -> None:
        """Note an operation that was not recorded."""
        flat = [v for operand in operands for v in (operand if isinstance(operand, tuple | list) else (operand,))]
        found = [s for s in map(self.of, flat) if s is not None]
        if not found or any(isinstance(v, Tensor) and v.requires_grad for v in flat):
            return
        first = found[0]
        if name in JOINS:
            parts = tuple([s for s in map(self.entering, flat) if s is not None])
            for array in outputs:
                self.known[id(array)] = Source("", array, None, name, parts, caller())
            return
        label, origin, whole = first.label, first.origin, first.array if first.whole is None else first.whole
        if name not in MOVES or first.op:
            labels = ", ".join(dict.fromkeys([s.label or s.op for s in found]))
            label, origin, whole = (f"{name}({labels})" if len(name + labels) <= LONGEST else f"{name}(…)"), None, None
        for array in outputs:
            self.known[id(array)] = Source(label, array, origin, whole=whole)


def constant(array: Any) -> str:
    """The label of an array without a name."""
    if array.dtype.kind == "b":
        return "mask"
    values = np.asarray(backend.to_numpy(array)) if backend.is_array(array) else np.asarray(array)
    if values.size and np.all(values == values.flat[0]):
        return f"{float(values.flat[0]):.4g}"
    others = values[values != 0]
    if others.size and np.all(others == others.flat[0]):  # of a dropout
        return "mask"
    return "constant"


def formula(name: str, operands: tuple[Any, ...]) -> str:
    """The formula of an operation on a tensor and a plain number, such as "× 0.5"; "" for others."""
    sign = SIGNED.get(name)
    if sign is None or len(operands) != 2:
        return ""
    numbers = [_number(value) for value in operands]
    if name == "power" and numbers[1] == "2":
        return "x²"
    if (numbers[0] is None) == (numbers[1] is None):
        return ""
    return f"{sign} {numbers[1]}" if numbers[0] is None else f"{numbers[0]} {sign}"


def _number(value: Any) -> str | None:
    plain = isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return f"{float(value):.4g}" if plain else None
