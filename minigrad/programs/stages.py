"""Symbols as a straight line of calls: products of matrices, and one kernel for what lies between two of them.

Stage n holds the products whose operands are ready after n stages, and a kernel for all that is element-wise and needs
them. What depends on the weights alone is computed once before the loop (`constants`); a sum over the rows of all
steps is done once after it (`totals`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..fusion.loops import Loops
from ..fusion.structure import Unsuited, bounds_of, schedule_of
from ..fusion.symbols import Symbol
from ..native import machine
from ..native.panels import KINDS
from .step import Unrolled

Array = Any


class Product(NamedTuple):
    """rows times a constant matrix, into `result`."""

    result: Symbol
    rows: Symbol
    matrix: Symbol


class Elementwise:
    """One kernel: from `givens` to `results`; see `fusion.loops.Loops` for `fields` and `sizes`."""

    def __init__(self, givens: Sequence[Symbol], results: Sequence[Symbol], fixed: set[Symbol]) -> None:
        self.givens, self.results = list(givens), list(results)
        if any(s.ndim == 2 and s.shape[0] != 1 for s in fixed.intersection(givens)):
            raise Unrolled("a weight that has a row for each sequence")
        try:
            loops = Loops(self.givens, self.results, "C")
        except Unsuited as error:
            raise Unrolled(f"no kernel expresses {error}") from None
        self.fields, self.sizes = loops.fields, loops.sizes
        self.kernel = machine.compiled(loops.source, "a step of a loop")


class Stages:
    """The calls that compute `results` from `givens`.

    givens     what is there at each step
    constants  what is there before the loop: the weights
    calls      `Product` and `Elementwise`, in order
    once       the constants that the calls use, weights or computed from them
    totals     the results that are sums over all steps: computed after the loop
    stored     the results of steps that totals need, with the results themselves
    before     computes `once` from the weights
    after      computes `totals` from the weights and the sums (`terms`)
    multiplications  of a row, about
    """

    def __init__(self, givens: Iterable[Symbol], constants: Iterable[Symbol], results: Iterable[Symbol]) -> None:
        self.givens, self.weights = list(givens), list(constants)
        results = list(dict.fromkeys(results))
        schedule = schedule_of([*self.givens, *self.weights], results)
        self.fixed = set(self.weights)
        self.summed: set[Symbol] = set()  # sums over rows, and what is computed from them
        self.terms: list[Symbol] = []  # the sums themselves
        for symbol in schedule:
            args = [a for a in symbol.args if isinstance(a, Symbol)]
            if symbol.op == "fill":  # of as many rows as there are
                continue
            if any(a in self.summed for a in args):
                if not all(a in self.summed or a in self.fixed or a.op == "fill" for a in args):
                    raise Unrolled("a sum over the sequences of a step is used in the same step")
                self.summed.add(symbol)
            elif all(a in self.fixed for a in args) and symbol.op != "input":
                self.fixed.add(symbol)
            elif self._sums_rows(symbol):
                self.summed.add(symbol)
                self.terms.append(symbol)
            elif symbol.op == "sum":
                raise Unrolled("it sums along a row")
        self.totals = [s for s in results if s in self.summed]
        operands = [untransposed(a) for s in self.terms for a in s.args]
        wanted = [s for s in (*results, *operands) if s not in self.summed and s not in self.fixed]
        self.stored = list(dict.fromkeys(wanted))
        self.calls: list[Product | Elementwise] = []
        self._divide([s for s in schedule if s not in self.fixed and s not in self.summed])
        self.once = [s for s in dict.fromkeys(self._used()) if s in self.fixed]
        self.before = Evaluation(self.weights, self.once)
        self.after = Evaluation([*self.weights, *self.terms], [s for s in results if s in self.summed | self.fixed])
        self.multiplications = sum(
            c.matrix.size if isinstance(c, Product) else 32 * sum(s.shape[-1] for s in c.results) for c in self.calls
        )

    def _divide(self, schedule: list[Symbol]) -> None:
        """Into stages."""
        level: dict[Symbol, int] = dict.fromkeys(self.givens, 0)
        for symbol in schedule:
            below = max([level[a] for a in symbol.args if isinstance(a, Symbol) and a in level], default=0)
            if symbol.op is np.matmul:
                rows, matrix = symbol.args
                if matrix not in self.fixed or rows in self.fixed:
                    raise Unrolled("a product of two matrices that change from step to step")
                if matrix.dtype not in KINDS:
                    raise Unrolled(f"a product of {matrix.dtype} matrices")
                if rows.dtype != matrix.dtype:
                    raise Unrolled(f"a product of {rows.dtype} rows and a {matrix.dtype} matrix")
                below += 1
            elif symbol.op == "transpose":
                if any(symbol is s.args[0] for s in self.terms):
                    continue
                raise Unrolled("a transpose of what changes from step to step")
            level[symbol] = below
        results = set(self.stored)
        products = [s for s in schedule if s.op is np.matmul and s in level]
        available = {*self.givens, *self.fixed}
        for n in range(max(level.values(), default=0) + 1):
            for p in products:
                if level[p] == n:
                    self.calls.append(Product(p, p.args[0], p.args[1]))
                    available.add(p)
            here = [s for s in schedule if s in level and level[s] == n and s not in available]
            outputs = [s for s in here if s in results or self._is_read_later(s, schedule, level)]
            outputs = [s for s in outputs if s in results or base_among(s, available) is None]
            if outputs:
                self.calls.append(Elementwise(self._reached(outputs, available), outputs, self.fixed))
                available.update(outputs)

    def _sums_rows(self, symbol: Symbol) -> bool:
        """True for a sum over the rows of a step: of the rows themselves, or of their outer products."""
        if symbol.op is np.matmul:
            first = symbol.args[0]
            return bool(first.op == "transpose" and first.args[0] not in self.fixed)
        return bool(symbol.op == "sum" and 0 in symbol.params)

    def _is_read_later(self, symbol: Symbol, schedule: list[Symbol], level: Mapping[Symbol, int]) -> bool:
        return any(level[s] > level[symbol] and any(a is symbol for a in s.args) for s in schedule if s in level)

    def _reached(self, outputs: Sequence[Symbol], available: set[Symbol]) -> list[Symbol]:
        """The available Symbols that a kernel for these outputs reads."""
        found: dict[Symbol, None] = {}
        seen: set[Symbol] = set()
        stack = list(outputs)
        while stack:
            symbol = stack.pop()
            for a in symbol.args:
                if isinstance(a, Symbol) and a not in seen:
                    seen.add(a)
                    if a in available:
                        found[a] = None
                    else:
                        stack.append(a)
        return list(found)

    def _used(self) -> list[Symbol]:
        used: list[Symbol] = []
        for call in self.calls:
            used += [call.matrix] if isinstance(call, Product) else call.givens
        return [*used, *[a for s in self.summed for a in s.args if isinstance(a, Symbol)]]


def fixed_by(weights: Iterable[Symbol], symbols: Iterable[Symbol]) -> set[Symbol]:
    """Those of the symbols that are computed from the weights alone."""
    symbols, known = list(symbols), set(weights)
    for symbol in schedule_of(known, symbols):
        args = [a for a in symbol.args if isinstance(a, Symbol)]
        if args and all(a in known for a in args):
            known.add(symbol)
    return known.intersection(symbols)


def untransposed(symbol: Symbol) -> Symbol:
    """The operand of a transpose; any other Symbol itself."""
    return symbol.args[0] if symbol.op == "transpose" else symbol


def base_among(symbol: Symbol, available: Iterable[Symbol]) -> tuple[Symbol, int, int] | None:
    """The array that a part is a view of, if it is there, and from which column to which."""
    start, stop = 0, symbol.shape[-1]
    while symbol.op == "part":
        try:
            first, _ = bounds_of(symbol)
        except Unsuited:
            return None
        start, stop, symbol = start + first, stop + first, symbol.args[0]
        if symbol in available:
            return symbol, start, stop
    return None


class Evaluation:
    """Computes Symbols from what is known, with NumPy."""

    def __init__(self, givens: Iterable[Symbol], results: Iterable[Symbol]) -> None:
        self.schedule = schedule_of(givens, list(results))

    def __call__(self, known: dict[Symbol, Array]) -> None:
        """Add their arrays to the known ones."""
        for symbol in self.schedule:
            known[symbol] = _computed(symbol, [known[a] if isinstance(a, Symbol) else a for a in symbol.args])


def _computed(symbol: Symbol, args: list[Any]) -> Array:
    op = symbol.op
    if isinstance(op, np.ufunc):
        return op(*args)
    if op == "transpose":
        return args[0].T
    if op == "part":
        return args[0][tuple([slice(*bounds) for bounds in symbol.params])]
    if op == "join":
        return np.concatenate(args, axis=symbol.params)
    if op == "cast":
        return args[0].astype(symbol.dtype)
    if op == "reshape":
        return args[0].reshape(symbol.shape)
    if op == "sum":
        return np.sum(args[0], axis=symbol.params, keepdims=True)
    if op == "where":
        return np.where(*args)
    if op == "fill":
        return np.full(symbol.shape, args[0], symbol.dtype)
    raise Unrolled(f"{op} outside of the loop")
