"""Symbols as a straight line of calls: matrix products, with one element-wise kernel between them.

Stage n holds the products whose operands are ready after n stages, and a kernel for all element-wise operations that
need them. Values that depend on the weights alone are computed once before the loop (`constants`); a sum over the rows
of all steps is computed once after it (`terms`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..fusion.cuda import kernels
from ..fusion.loops import Loops
from ..fusion.structure import REDUCTIONS, Unsuited, bounds_of, schedule_of
from ..fusion.symbols import Symbol
from ..native import machine
from ..native.panels import KINDS
from .step import Unrolled

Array = Any


class Product(NamedTuple):
    """rows times a constant matrix, plus `start` (M,) in each row, into `result`."""

    result: Symbol
    rows: Symbol
    matrix: Symbol
    start: Symbol | None = None


class ElementwiseCall:
    """One kernel, from `givens` to `results`; see `fusion.loops.Loops` for `fields` and `sizes`.

    make  makes the kernels of a device (see `kinds.Backend.elementwise`), which `launch` launches
    """

    def __init__(
        self, givens: Sequence[Symbol], results: Sequence[Symbol], fixed: set[Symbol], make: Any = None
    ) -> None:  # fmt: skip
        self.givens, self.results = list(givens), list(results)
        if any(s.ndim == 2 and s.shape[0] != 1 for s in fixed.intersection(givens)):
            raise Unrolled("a weight that has a row for each sequence")
        try:
            if make is not None:
                self.launched = _on_device(self.givens, self.results, make)
                return
            loops = Loops(self.givens, self.results, "C")
        except Unsuited as error:
            raise Unrolled(f"no kernel expresses {error}") from None
        self.fields, self.sizes = loops.fields, loops.sizes
        self.kernel = machine.compiled(loops.source, "a step of a loop")

    def launch(self, arrays: dict[Symbol, Array]) -> None:
        """Compute the results on a device, into the arrays given for them."""
        for kernel in self.launched:
            kernel(arrays, arrays[self.results[0]])


def _on_device(givens: Sequence[Symbol], results: Sequence[Symbol], make: Any) -> list[Any]:
    """The kernels of a call on a device."""
    if any(s.op in REDUCTIONS for s in schedule_of(givens, results)):
        raise Unsuited("a sum or maximum of a row on a GPU")
    return kernels(givens, results, results, make)


class Stages:
    """The calls that compute `results` from the given values of each step and from the weights.

    carried    the results that the next step begins with
    first      given values that exist for all steps before the loop runs
    then       given values that exist after it
    make       see `ElementwiseCall`

    ahead, calls, behind  `Product` and `ElementwiseCall`, in order: for all steps before the loop, at each step, for
               all steps after it. A product independent of states runs ahead; one that no state depends on, behind
    once       the constants that the calls use, weights or computed from them
    terms      sums over the rows of all steps
    stored     values of a step that are stored for all steps: results, and operands of terms
    passing    values computed ahead or at each step, and not stored
    before     computes `once` from the weights
    after      computes the results that depend on weights and terms
    multiplications  of a row, approximately
    """

    def __init__(
        self, given: Iterable[Symbol], weights: Iterable[Symbol], results: Iterable[Symbol], carried: Iterable[Symbol],
        first: Iterable[Symbol], then: Iterable[Symbol], make: Any = None,
    ) -> None:  # fmt: skip
        self.make = make
        self.given, self.weights = list(given), list(weights)
        results = list(dict.fromkeys(results))
        schedule = schedule_of([*self.given, *self.weights], results)
        self.fixed = set(self.weights)
        self.terms: list[Symbol] = []
        summed: set[Symbol] = set()  # the terms, and values computed from them
        for symbol in schedule:
            self._sort(symbol, summed)
        operands = [untransposed(a) for s in self.terms for a in s.args]
        body = [s for s in schedule if s not in self.fixed and s not in summed and s.op != "transpose"]
        self._refuse(body, [s for s in schedule if s not in summed])
        self.stored = [s for s in dict.fromkeys([*results, *operands]) if s not in summed and s not in self.fixed]
        self.starts = self._starts(body)
        body = [s for s in body if s not in {self.starts[p][0] for p in self.starts}]
        ahead, behind = self._outside(body, set(carried), set(first), set(then))
        inside = [s for s in body if s not in ahead and s not in behind]
        available = {*self.given, *self.fixed}
        read = [set(self.stored), *[self._read_by(part) for part in (behind, inside)]]
        self.ahead = self._divide([s for s in body if s in ahead], available, read[0] | read[1] | read[2])
        self.calls = self._divide(inside, available, read[0] | read[1])
        self.behind = self._divide([s for s in body if s in behind], available, read[0])
        written = [s for part in (self.ahead, self.calls, self.behind) for c in part for s in results_of(c)]
        outside = {s for part in (self.ahead, self.behind) for c in part for s in (*results_of(c), *givens_of(c))}
        wanted = set(self.stored)
        self.passing = [s for s in written if s in outside and s not in wanted]
        used = [s for part in (self.ahead, self.calls, self.behind) for c in part for s in constants_of(c)]
        used += [a for s in summed for a in s.args if isinstance(a, Symbol)]
        self.once = [s for s in dict.fromkeys(used) if s in self.fixed]
        self.before = Evaluation(self.weights, self.once)
        self.after = Evaluation([*self.weights, *self.terms], [s for s in results if s in summed or s in self.fixed])
        made = [s.op for s in (*self.before.schedule, *self.after.schedule) if s.op in ("fill", "triangle")]
        if made and make is not None:
            raise Unrolled("an array of constants on a GPU")
        self.multiplications = sum(
            c.matrix.size if isinstance(c, Product) else 32 * sum(s.shape[-1] for s in c.results) for c in self.calls
        )

    # ---- the time of each computation --------------------------------------------------------------------------------

    def _sort(self, symbol: Symbol, summed: set[Symbol]) -> None:
        """Sort out a value that depends on the weights alone, or on sums over all steps."""
        args = [a for a in symbol.args if isinstance(a, Symbol)]
        if symbol.op == "fill":  # its number of rows is that of the step
            return
        if any(a in summed for a in args):
            if not all(a in summed or a in self.fixed or a.op == "fill" for a in args):
                raise Unrolled("a sum over the sequences of a step is used in the same step")
            summed.add(symbol)
        elif all(a in self.fixed for a in args) and symbol.op != "input":
            self.fixed.add(symbol)
        elif _sums_rows(symbol, self.fixed):
            summed.add(symbol)
            self.terms.append(symbol)

    def _refuse(self, body: Sequence[Symbol], schedule: Sequence[Symbol]) -> None:
        for symbol in body:
            if symbol.op == "solve":
                raise Unrolled("it solves equations that change from step to step")
            if symbol.op is np.matmul:
                rows, matrix = symbol.args
                if matrix not in self.fixed or rows in self.fixed:
                    raise Unrolled("a product of two matrices that change from step to step")
                if matrix.dtype not in KINDS:
                    raise Unrolled(f"a product of {matrix.dtype} matrices")
                if rows.dtype != matrix.dtype:
                    raise Unrolled(f"a product of {rows.dtype} rows and a {matrix.dtype} matrix")
        of_terms = {a for s in self.terms for a in s.args[:1]}
        if any(s.op == "transpose" and s not in self.fixed and s not in of_terms for s in schedule):
            raise Unrolled("a transpose of a changing matrix")

    def _starts(self, body: Sequence[Symbol]) -> dict[Symbol, tuple[Symbol, Symbol]]:
        """Sums of a product and a row, which become the product's start: by the sum, the product and the row."""
        readers: dict[Symbol, list[Symbol]] = {}
        for symbol in body:
            for a in symbol.args:
                if isinstance(a, Symbol):
                    readers.setdefault(a, []).append(symbol)
        found = {}
        for symbol in body:
            if symbol.op is np.add and all(isinstance(a, Symbol) for a in symbol.args):
                for product, row in (symbol.args, symbol.args[::-1]):
                    alone = product.op is np.matmul and len(readers[product]) == 1 and product not in set(self.stored)
                    if alone and row in self.fixed and row.shape == product.shape[1:] and row.dtype == symbol.dtype:
                        found[symbol] = product, row
        return found

    def _outside(
        self, body: Sequence[Symbol], carried: set[Symbol], first: set[Symbol], then: set[Symbol]
    ) -> tuple[set[Symbol], set[Symbol]]:
        """The values computed ahead, and behind."""
        above = {s: self._arguments(s) for s in body}
        early = set(first)  # values that could be computed ahead
        carrying = set(carried)
        for symbol in body:
            if above[symbol] and all(a in early for a in above[symbol]):
                early.add(symbol)
        for symbol in reversed(body):
            if symbol in carrying:
                carrying.update(above[symbol])
        ahead: set[Symbol] = set()
        for symbol in reversed(body):
            if symbol in ahead or (self._is_product(symbol) and symbol in early):
                ahead.update({symbol, *above[symbol]})
        ahead -= first
        behind: set[Symbol] = set()
        for symbol in body:
            late = symbol not in carrying and symbol not in ahead
            if late and (self._is_product(symbol) or behind.intersection(above[symbol])):
                behind.add(symbol)
        if any(a in set(self.given) - then for s in behind for a in above[s]):
            behind = set()
        return ahead, behind

    def _is_product(self, symbol: Symbol) -> bool:
        return symbol.op is np.matmul or symbol in self.starts

    def _arguments(self, symbol: Symbol) -> list[Symbol]:
        """The operands of a value that change from step to step."""
        product = self.starts[symbol][0] if symbol in self.starts else symbol
        return [a for a in product.args if isinstance(a, Symbol) and a not in self.fixed]

    def _read_by(self, symbols: Iterable[Symbol]) -> set[Symbol]:
        return {a for s in symbols for a in self._arguments(s)}

    # ---- the calls -----------------------------------------------------------------------------------------------

    def _divide(
        self, schedule: Sequence[Symbol], available: set[Symbol], wanted: set[Symbol]
    ) -> list[Product | ElementwiseCall]:
        """Divide values into stages: the products whose operands are ready, then one kernel for the values they enable.

        wanted  the values read after these calls
        """
        level: dict[Symbol, int] = {}
        for symbol in schedule:
            below = max([level.get(a, 0) for a in self._arguments(symbol)], default=0)
            level[symbol] = below + self._is_product(symbol)
        last: dict[Symbol, int] = {}  # the last level that reads a value
        for symbol in schedule:
            for a in self._arguments(symbol):
                last[a] = max(last.get(a, 0), level[symbol])
        calls: list[Product | ElementwiseCall] = []
        for n in range(max(level.values(), default=0) + 1):
            here = [s for s in schedule if level[s] == n]
            for symbol in [s for s in here if self._is_product(s)]:
                product, start = self.starts.get(symbol, (symbol, None))
                rows, matrix = product.args
                calls.append(Product(symbol, rows, matrix, start))
                available.add(symbol)
            read = wanted | {s for s in here if s.op in REDUCTIONS}  # the kernel's own later loops read a reduction
            outputs = [s for s in here if s not in available and (s in read or last.get(s, 0) > n)]
            outputs = [s for s in outputs if s in set(self.stored) or base_among(s, available) is None]
            if outputs:
                calls.append(ElementwiseCall(self._reached(outputs, available), outputs, self.fixed, self.make))
                available.update(outputs)
        return calls

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


def _sums_rows(symbol: Symbol, fixed: set[Symbol]) -> bool:
    """True for a sum over the rows of a step: of the rows themselves, or of their outer products."""
    if symbol.op is np.matmul:
        first = symbol.args[0]
        return bool(first.op == "transpose" and first.args[0] not in fixed)
    return bool(symbol.op == "sum" and 0 in symbol.params)


def givens_of(call: Product | ElementwiseCall) -> list[Symbol]:
    """The values that a call reads."""
    return [call.rows] if isinstance(call, Product) else call.givens


def results_of(call: Product | ElementwiseCall) -> list[Symbol]:
    """The values that a call computes."""
    return [call.result] if isinstance(call, Product) else call.results


def constants_of(call: Product | ElementwiseCall) -> list[Symbol]:
    """The operands of a call that may be constants."""
    if isinstance(call, Product):
        return [call.matrix] if call.start is None else [call.matrix, call.start]
    return call.givens


def fixed_by(weights: Iterable[Symbol], symbols: Iterable[Symbol]) -> set[Symbol]:
    """The symbols that are computed from the weights alone."""
    symbols, known = list(symbols), set(weights)
    for symbol in schedule_of(known, symbols):
        args = [a for a in symbol.args if isinstance(a, Symbol)]
        if args and all(a in known for a in args):
            known.add(symbol)
    return known.intersection(symbols)


def untransposed(symbol: Symbol) -> Symbol:
    """The operand of a transpose; any other Symbol unchanged."""
    return symbol.args[0] if symbol.op == "transpose" else symbol


def base_among(symbol: Symbol, available: Iterable[Symbol]) -> tuple[Symbol, int, int] | None:
    """The available array that a part is a view of, with its first column and the one after its last; or None."""
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
    """Computes Symbols from known ones, with NumPy."""

    def __init__(self, givens: Iterable[Symbol], results: Iterable[Symbol]) -> None:
        self.schedule = schedule_of(givens, list(results))

    def __call__(self, known: dict[Symbol, Array]) -> None:
        """Add the arrays of the results to the known ones."""
        for symbol in self.schedule:
            known[symbol] = _computed(symbol, [known[a] if isinstance(a, Symbol) else a for a in symbol.args])


def _computed(symbol: Symbol, args: list[Any]) -> Array:
    op = symbol.op
    if isinstance(op, np.ufunc):
        return op(*args)
    if op == "transpose":
        return args[0].T
    if op == "solve":
        return np.linalg.solve(*args)
    if op == "part":
        return args[0][tuple([slice(*bounds) for bounds in symbol.params])]
    if op == "join":
        return np.concatenate(args, axis=symbol.params)
    if op == "cast":
        return args[0].astype(symbol.dtype)
    if op == "reshape":
        return args[0].reshape(symbol.shape)
    if op in REDUCTIONS:
        return REDUCTIONS[op](args[0], axis=symbol.params, keepdims=True)
    if op == "where":
        return np.where(*args)
    if op == "fill":
        return np.full(symbol.shape, args[0], symbol.dtype)
    if op == "triangle":  # from the diagonal to the right, or to the left
        ones = np.ones(symbol.shape, symbol.dtype)
        return np.tril(ones) if symbol.params[1] else np.triu(ones)
    raise Unrolled(f"{op} outside of the loop")
