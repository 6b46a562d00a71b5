"""The body of a kernel's loops: values computed once per row, and the lanes of the inner loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from .functions import FORMULAS, LOGIC
from .lanes import KINDS, Block, Lanes
from .structure import ColumnRef, Unsuited, matrix, operands_of, order_of, placed, types_of
from .symbols import Symbol

NEUTRAL = {"sum": 0.0, "max": -np.inf}  # the value of a reduction without terms
BYTES = {"float": 4, "double": 8, "i1": 1}  # in memory
_STORED = {"float": "float", "double": "double", "i1": "i8"}
_SHORT = {"float": "f32", "double": "f64", "i8": "i8"}


def columns_of(size: int) -> str:
    """A number of columns in the source; it is replaced by a size."""
    return str(size) if size in (0, 1) else f"%size.{size}"


class Around(Protocol):
    """The interface of `loops.Loops` for the body of its loops."""

    number: dict[Symbol, int]
    kinds: dict[Symbol, str]
    by_column: bool
    group: int
    width: int
    counter: Iterator[int]
    reserved: list[str]
    begun: set[Symbol]
    inner: set[Symbol]

    def block(self) -> Block: ...

    def is_grouped(self, symbol: Symbol) -> bool: ...


class OuterIteration:
    """One iteration of the outer loop: addresses, and values that are constant along the inner loop."""

    def __init__(self, loops: Around, outer: str) -> None:
        self.loops, self.outer = loops, outer + ".n"
        self.block = loops.block()
        self.before = loops.block()  # once, before the outer loop
        self.reduced: dict[tuple[Symbol, int], str] = {}

    def varies(self, symbol: Symbol, alone: bool = False) -> bool:
        """True if an array, or its single column, varies along the inner loop."""
        rows, columns = matrix(symbol)
        return rows != 1 if self.loops.by_column else columns != 1 and not alone

    def address(self, symbol: Symbol, start: int, alone: bool = False) -> str:
        """The address of an array's first number in this turn."""
        number = self.loops.number[symbol]
        (rows, columns), by_column, emit = matrix(symbol), self.loops.by_column, self.block.emit
        found = f"%data{number}"
        moves = []
        if columns != 1:
            index = columns_of(start)
            if by_column and not alone:
                index = emit(f"add i64 {index}, {self.outer}")
            moves.append((index, f"%stride{number}.{symbol.ndim - 1}"))
        if rows != 1 and not by_column:
            grouped = self.loops.is_grouped(symbol)
            row = emit(f"udiv i64 {self.outer}, {columns_of(self.loops.group)}") if grouped else self.outer
            moves.append((row, f"%stride{number}.0"))
        for index, stride in moves:
            found = emit(f"getelementptr i8, ptr {found}, i64 {emit(f'mul i64 {index}, {stride}')}")
        return found

    def spread(self, symbol: Symbol, start: int, alone: bool) -> Lanes:
        """A number that is constant along the inner loop, in all lanes."""
        kind, emit, vector = self.loops.kinds[symbol], self.block.emit, self.block.vector
        number = emit(f"load {_STORED[kind]}, ptr {self.address(symbol, start, alone)}")
        if kind == "i1":
            number = emit(f"icmp ne i8 {number}, 0")
        one = emit(f"insertelement {vector(kind)} poison, {kind} {number}, i64 0")
        zeros = f"{vector('i32')} zeroinitializer"
        return Lanes(self.block, emit(f"shufflevector {vector(kind)} {one}, {vector(kind)} poison, {zeros}"), kind)

    def reduction(self, symbol: Symbol, start: int) -> str:
        """The address of the lanes of a sum or maximum along the inner loop."""
        found = self.reduced.get((symbol, start))
        if found is None:
            found = self.reduced[symbol, start] = f"%reduced{next(self.loops.counter)}"
            block = self.before if self._ends_late(symbol) else self.block
            first = block.number(NEUTRAL[symbol.op], self.kept_as(symbol))
            self.loops.reserved.append(f"{found} = alloca {first.type}")
            block.do(f"store {first.type} {first.name}, ptr {found}")
        return found

    def _ends_late(self, symbol: Symbol) -> bool:
        """True for a reduction to one number by all iterations of the outer loop."""
        return matrix(symbol) == (1, 1) and symbol not in self.loops.inner

    def kept_as(self, symbol: Symbol) -> str:
        """The kind of the lanes of a reduction: sums are kept in double precision, since they have many terms."""
        return "double" if symbol.op == "sum" else self.loops.kinds[symbol]

    def totals(self, alone: bool) -> list[str]:
        """Write reductions to one number after all loops, and others after the inner loop. One with earlier terms is
        added to them.
        """
        block = self.loops.block()
        for (symbol, start), found in self.reduced.items():
            if self._ends_late(symbol) != alone:
                continue
            kind, kept = self.loops.kinds[symbol], self.kept_as(symbol)
            at = self.address(symbol, start)
            lanes = block.vector(kept), block.emit(f"load {block.vector(kept)}, ptr {found}")
            if symbol.op == "sum":
                name = f"llvm.vector.reduce.fadd.v{self.loops.width}f64"
                total = block.emit(block.call(name, kept, ("double", "0.0"), lanes, flags="reassoc "))
                if kind == "float":
                    total = block.emit(f"fptrunc double {total} to float")
            else:
                name = f"llvm.vector.reduce.fmaximum.v{self.loops.width}{_SHORT[kind]}"  # NaN if there is one
                total = block.emit(block.call(name, kind, lanes))
            if symbol in self.loops.begun:
                before = block.emit(f"load {kind}, ptr {at}, align {BYTES[kind]}")
                both = (kind, before), (kind, total)
                if symbol.op == "sum":
                    total = block.emit(f"fadd {kind} {before}, {total}")
                else:
                    total = block.emit(block.call(f"llvm.maximum.{_SHORT[kind]}", kind, *both))
            block.do(f"store {kind} {total}, ptr {at}, align {BYTES[kind]}")
        return block.lines


class Lanewise:
    """The inner loop's body, for all lanes or under a mask.

    givens  the Symbols whose arrays it may read
    """

    def __init__(
        self, loops: Around, row: OuterIteration, givens: set[Symbol], index: str, mask: str | None
    ) -> None:  # fmt: skip
        self.loops, self.row, self.givens, self.index, self.mask = loops, row, givens, index, mask
        self.block = loops.block()
        self.known: dict[ColumnRef, Lanes] = {}

    # ---- memory --------------------------------------------------------------------------------------------------

    def _at(self, symbol: Symbol, start: int, alone: bool = False) -> str:
        step = self.block.emit(f"mul i64 {self.index}, {BYTES[self.loops.kinds[symbol]]}")
        return self.block.emit(f"getelementptr i8, ptr {self.row.address(symbol, start, alone)}, i64 {step}")

    def _given(self, symbol: Symbol, start: int, alone: bool) -> Lanes:
        """Lanes of an array that is only read."""
        if self.row.varies(symbol, alone):
            return self._loaded(symbol, self._at(symbol, start, alone))
        return Lanes(self.block, self.row.spread(symbol, start, alone).name, self.loops.kinds[symbol])

    def _loaded(self, symbol: Symbol, at: str) -> Lanes:
        block, kind = self.block, self.loops.kinds[symbol]
        stored = _STORED[kind]
        vector = block.vector(stored)
        if self.mask is None:
            name = block.fresh(f"load {vector}, ptr {at}, align {BYTES[kind]}")
        else:
            function = f"llvm.masked.load.v{block.width}{_SHORT[stored]}.p0"
            mask = (block.vector("i1"), self.mask)
            rest = (("ptr", at), ("i32", str(BYTES[kind])), mask, (vector, "zeroinitializer"))
            name = block.fresh(block.call(function, vector, *rest))
        if kind == "i1":
            name = block.emit(f"icmp ne {vector} {name}, zeroinitializer")
        return Lanes(block, name, kind)

    def store(self, symbol: Symbol, start: int) -> None:
        """Compute a piece of a result and write it; a sum is added to the stored value."""
        if symbol.op not in NEUTRAL:
            self._written(self.value(symbol, start), symbol, start)
            return
        block, value = self.block, self.value(symbol.args[0], start)
        target = start if matrix(symbol)[1] != 1 else 0
        if self.row.varies(symbol):
            self._written(self._loaded(symbol, self._at(symbol, target)) + value, symbol, target)
            return
        if self.mask is not None:
            value = Lanes(block, self.mask, "i1").where(value, value.like(NEUTRAL[symbol.op]))
        at, value = self.row.reduction(symbol, target), value.to(self.row.kept_as(symbol))
        before = Lanes(block, block.fresh(f"load {value.type}, ptr {at}"), value.kind)
        total = before + value if symbol.op == "sum" else FORMULAS[np.maximum](value, before)
        block.do(f"store {total.type} {total.name}, ptr {at}")

    def _written(self, value: Lanes, symbol: Symbol, start: int) -> None:
        block, name, stored = self.block, value.name, _STORED[value.kind]
        at, vector, size = self._at(symbol, start), block.vector(stored), BYTES[value.kind]
        if value.kind == "i1":
            name = block.emit(f"zext {value.type} {name} to {vector}")
        if self.mask is None:
            block.do(f"store {vector} {name}, ptr {at}, align {size}")
        else:
            function = f"llvm.masked.store.v{block.width}{_SHORT[stored]}.p0"
            mask = (block.vector("i1"), self.mask)
            block.do(block.call(function, "void", (vector, name), ("ptr", at), ("i32", str(size)), mask))

    # ---- values --------------------------------------------------------------------------------------------------

    def value(self, symbol: Symbol, start: int) -> Lanes:
        """A value from a column on, its operands computed first."""
        wanted = placed(symbol, start)
        for place in order_of(wanted, self.givens, self.known):
            self.known[place] = self._computed(place)
        return self.known[wanted]

    def _computed(self, place: ColumnRef) -> Lanes:
        symbol, start, alone = place
        if symbol in self.givens:
            return self._given(symbol, start, alone)
        op, kind = symbol.op, self.loops.kinds[symbol]
        if op == "fill":
            return self.block.number(symbol.args[0], kind)
        if op in ("part", "join", "cast", "reshape"):
            return self.known[operands_of(place, self.givens)[0]].to(kind)

        def operand(value: Any, kind: str | None) -> Lanes:
            if isinstance(value, Symbol):
                return self.known[placed(value, start, alone)].to(str(kind))
            return self.block.number(value, str(kind))

        if op == "where":
            condition, a, b = map(operand, symbol.args, ("i1", kind, kind))
            return condition.where(a, b)
        loop = [KINDS.get(t) for t in types_of(symbol)]
        formula = (LOGIC if loop[0] == "i1" else FORMULAS).get(op)
        if formula is None or None in loop:
            raise Unsuited(f"np.{getattr(op, '__name__', op)}")
        return formula(*map(operand, symbol.args, loop))
