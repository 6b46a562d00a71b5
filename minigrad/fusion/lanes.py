"""Vectors of LLVM IR with the operators of numbers.

`Lanes` writes one instruction for each operation; an expression that is repeated in a block is computed once.
Arithmetic follows IEEE 754, and nothing is reordered, so it equals NumPy's bit for bit.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

KINDS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double", np.dtype(np.bool_): "i1"}
INTEGERS = {"float": "i32", "double": "i64"}
_SUFFIX = {"float": "f32", "double": "f64"}


class Block:
    """A sequence of instructions on vectors of `width` lanes. Names come from a counter that blocks share."""

    def __init__(self, width: int, counter: Any, declared: dict[str, None]) -> None:
        self.width = width
        self.lines: list[str] = []
        self._counter = counter
        self._known: dict[str, str] = {}
        self._declared = declared  # intrinsic functions, for the whole module

    def vector(self, kind: str) -> str:
        return f"<{self.width} x {kind}>"

    def emit(self, instruction: str) -> str:
        """Append an instruction, unless it is there already; returns the name of its result."""
        name = self._known.get(instruction)
        if name is None:
            name = self._known[instruction] = self.fresh(instruction)
        return name

    def fresh(self, instruction: str) -> str:
        """`emit` without reuse, for instructions whose result may change: loads of memory written here."""
        name = f"%v{next(self._counter)}"
        self.lines.append(f"{name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        """Append an instruction without a result."""
        self.lines.append(instruction)

    def call(self, function: str, result: str, *arguments: tuple[str, str], flags: str = "") -> str:
        """A call instruction; arguments are (type, value)."""
        self._declared[f"declare {result} @{function}({', '.join(t for t, _ in arguments)})"] = None
        return f"call {flags}{result} @{function}({', '.join(f'{t} {v}' for t, v in arguments)})"

    def number(self, value: Any, kind: str) -> Lanes:
        return Lanes(self, f"splat ({kind} {literal(value, kind)})", kind)


def literal(value: Any, kind: str) -> str:
    """A number in LLVM's notation: floats by the bits of a float64."""
    if kind == "i1":
        return "true" if value else "false"
    if kind not in INTEGERS:
        return str(int(value))
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value)) if kind == "float" else float(value)
    return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"


class Lanes:
    """A vector of float, double, or truth values (i1)."""

    __slots__ = ("block", "kind", "name")

    def __init__(self, block: Block, name: str, kind: str) -> None:
        self.block = block
        self.name = name
        self.kind = kind

    @property
    def type(self) -> str:
        return self.block.vector(self.kind)

    def like(self, value: Any) -> Lanes:
        """A number as lanes of this kind."""
        return value if isinstance(value, Lanes) else self.block.number(value, self.kind)

    def _two(self, instruction: str, a: Any, b: Any, kind: str | None = None) -> Lanes:
        name = self.block.emit(f"{instruction} {self.type} {self.like(a).name}, {self.like(b).name}")
        return Lanes(self.block, name, kind or self.kind)

    def __add__(self, other: Any) -> Lanes:
        return self._two("fadd", self, other)

    def __sub__(self, other: Any) -> Lanes:
        return self._two("fsub", self, other)

    def __rsub__(self, other: Any) -> Lanes:
        return self._two("fsub", other, self)

    def __mul__(self, other: Any) -> Lanes:
        return self._two("fmul", self, other)

    def __truediv__(self, other: Any) -> Lanes:
        return self._two("fdiv", self, other)

    def __rtruediv__(self, other: Any) -> Lanes:
        return self._two("fdiv", other, self)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Lanes:
        return Lanes(self.block, self.block.emit(f"fneg {self.type} {self.name}"), self.kind)

    def compare(self, how: str, other: Any) -> Lanes:
        """One of LLVM's comparisons of floats: oeq, olt, uno, ..."""
        return self._two(f"fcmp {how}", self, other, "i1")

    def __lt__(self, other: Any) -> Lanes:
        return self.compare("olt", other)

    def __le__(self, other: Any) -> Lanes:
        return self.compare("ole", other)

    def __gt__(self, other: Any) -> Lanes:
        return self.compare("ogt", other)

    def __ge__(self, other: Any) -> Lanes:
        return self.compare("oge", other)

    def __and__(self, other: Lanes) -> Lanes:
        return self._two("and", self, other)

    def __or__(self, other: Lanes) -> Lanes:
        return self._two("or", self, other)

    def __xor__(self, other: Lanes) -> Lanes:
        return self._two("xor", self, other)

    def __invert__(self) -> Lanes:
        return self._two("xor", self, True)

    def where(self, a: Any, b: Any) -> Lanes:
        """a where this is true, else b; at least one of them consists of lanes."""
        like = a if isinstance(a, Lanes) else b
        a, b = like.like(a), like.like(b)
        name = self.block.emit(f"select {self.type} {self.name}, {a.type} {a.name}, {a.type} {b.name}")
        return Lanes(self.block, name, a.kind)

    def intrinsic(self, function: str, *others: Any) -> Lanes:
        """An intrinsic function of LLVM, applied to this and further operands of its type."""
        operands = [(self.type, self.like(v).name) for v in (self, *others)]
        name = f"llvm.{function}.v{self.block.width}{_SUFFIX[self.kind]}"
        return Lanes(self.block, self.block.emit(self.block.call(name, self.type, *operands)), self.kind)

    def to(self, kind: str) -> Lanes:
        """A conversion to another kind, as in NumPy."""
        if kind == self.kind:
            return self
        if kind == "i1":
            return self.compare("une", 0.0)
        how = "uitofp" if self.kind == "i1" else "fpext" if kind == "double" else "fptrunc"
        name = self.block.emit(f"{how} {self.type} {self.name} to {self.block.vector(kind)}")
        return Lanes(self.block, name, kind)

    def bits(self, kind: str) -> Lanes:
        """The same bits as another kind of equal size."""
        name = self.block.emit(f"bitcast {self.type} {self.name} to {self.block.vector(kind)}")
        return Lanes(self.block, name, kind)

    def whole(self, instruction: str, other: int) -> Lanes:
        """An integer instruction on these bits: add, shl, ..."""
        return self._two(instruction, self, other)
