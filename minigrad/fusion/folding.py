"""Arrays of any number of axes as matrices, which a kernel's loops run over.

The last axis stays the columns, and all axes before it become the rows. An operand is broadcast along all rows (1 row),
or along none of them (R rows), or along the last of the leading axes: then it has R/S rows, each for S rows in turn,
as a query (N, 1, D) beside keys (N, S, D). S is the same for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .structure import REDUCTIONS, Unsuited, bounds_of, schedule_of
from .symbols import Symbol, Trace

Shape = tuple[int, ...]


class Matrices(NamedTuple):
    """A computation on matrices.

    givens, results  Symbols of matrices; those of the unfolded computation in the same places
    group            S, the rows in turn that share a row of an operand with fewer rows; 1 if there is none
    """

    givens: list[Symbol]
    results: list[Symbol]
    group: int


def folded(givens: Sequence[Symbol], results: Sequence[Symbol], order: str) -> Matrices:
    """The computation on matrices; Unsuited if its axes do not fold."""
    if all(s.ndim <= 2 for s in (*givens, *schedule_of(givens, results))):
        return Matrices(list(givens), list(results), 1)
    if order != "C":
        raise Unsuited("more than two axes, by column")
    return _Folding(givens, results).of(givens, results)


class _Folding:
    """The shape that all operands are broadcast to, and the Symbols folded so far."""

    def __init__(self, givens: Sequence[Symbol], results: Sequence[Symbol]) -> None:
        self.trace = Trace()
        self.trace.deriving = True
        self.known: dict[Symbol, Symbol] = {}
        self.schedule = schedule_of(givens, results)
        self.used: dict[Symbol, list[Symbol]] = {}
        for symbol in self.schedule:
            for a in symbol.args:
                if isinstance(a, Symbol):
                    self.used.setdefault(a, []).append(symbol)
        self.shapes = {g: self._shape_in_use(g, returned=g in set(results)) for g in givens}
        aligned = [self.shapes.get(s, s.shape)[:-1] for s in (*givens, *self.schedule) if not self._only_returned(s)]
        self.leading: Shape = np.broadcast_shapes(*aligned)
        if 0 in self.leading:
            raise Unsuited("no rows")
        self.group = 1

    def _shape_in_use(self, given: Symbol, returned: bool) -> Shape:
        """The shape in which a given is used: that of its reshape, if nothing else uses it."""
        shapes = {s.shape if s.op == "reshape" else given.shape for s in self.used.get(given, ())}
        return shapes.pop() if len(shapes) == 1 and not returned else given.shape

    def _only_returned(self, symbol: Symbol) -> bool:
        """True for a reshape that is a result and nothing else: its axes align with no other."""
        return symbol.op == "reshape" and symbol not in self.used and symbol not in self.shapes

    def of(self, givens: Sequence[Symbol], results: Sequence[Symbol]) -> Matrices:
        for k, symbol in enumerate(givens):
            self.known[symbol] = self.trace.input(f"given {k}", self._matrix(self.shapes[symbol]), symbol.dtype)
        for symbol in self.schedule:
            self.known[symbol] = self._folded(symbol)
        return Matrices([self.known[s] for s in givens], [self.known[s] for s in results], self.group)

    def _matrix(self, shape: Shape) -> tuple[int, int]:
        """(rows, columns) of an operand."""
        if not shape:
            return (1, 1)
        own = (*(1,) * (len(self.leading) - len(shape) + 1), *shape[:-1])  # aligned at the right
        axes = [(n, whole) for n, whole in zip(own, self.leading, strict=True) if whole != 1]
        while axes and axes[-1][0] == 1:
            axes.pop()
        if any(n != whole for n, whole in axes):
            raise Unsuited("an operand that is broadcast along an axis before others")
        rows = math.prod(own)
        group = math.prod(self.leading) // rows if axes else 1
        if group != 1:
            if self.group not in (1, group):
                raise Unsuited("operands that are broadcast along several numbers of axes")
            self.group = group
        return (rows, shape[-1])

    def _folded(self, symbol: Symbol) -> Symbol:
        args = tuple([self.known[a] if isinstance(a, Symbol) else a for a in symbol.args])
        if symbol.op == "reshape":  # axes of size 1 that come or go change nothing in a matrix
            if not self._only_returned(symbol) and self._matrix(symbol.shape) != args[0].shape:
                raise Unsuited("another shape")
            return args[0]  # type: ignore[no-any-return]
        shape, params = self._matrix(symbol.shape), symbol.params
        if symbol.op == "part":
            params = ((0, shape[0]), bounds_of(symbol))
        elif symbol.op == "join":
            if params != symbol.ndim - 1:
                raise Unsuited("rows that are joined")
            params = 1
        elif symbol.op in REDUCTIONS:
            params = tuple([k for k in (0, 1) if args[0].shape[k] != shape[k]])
        elif symbol.op in ("fill", "cast"):
            params = (symbol.dtype, shape)
        elif not (isinstance(symbol.op, np.ufunc) or symbol.op == "where"):
            raise Unsuited(f"{symbol.op} of more than two axes")
        return self.trace.symbol(symbol.op, args, params, shape, symbol.dtype)
