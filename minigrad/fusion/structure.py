"""The structure of loops over Symbols: matrices whose columns are cut where values are joined or split."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .symbols import Symbol, kind_of

ColumnRef = tuple[Symbol, int, bool]  # a value from a column on; True: that column alone, in every turn

LARGEST = 400  # symbols in a kernel; more take too long to compile
VIEWS = ("part", "reshape")
REDUCTIONS: dict[Any, Any] = {"sum": np.sum, "max": np.max}


class Unsuited(Exception):  # noqa: N818
    """A computation that kernels cannot express; a plan can."""


def matrix(symbol: Symbol) -> tuple[int, int]:
    """The shape as (rows, columns)."""
    if len(symbol.shape) > 2:
        raise Unsuited("more than two axes")
    return (1, 1, *symbol.shape)[-2:]  # type: ignore[return-value]


def schedule_of(givens: Iterable[Symbol], results: Sequence[Symbol]) -> list[Symbol]:
    """The Symbols to compute, operands first."""
    found: dict[Symbol, None] = {}
    known = set(givens)
    stack = [(s, False) for s in reversed(results)]
    while stack:
        symbol, ready = stack.pop()
        if symbol in known or symbol in found:
            continue
        if ready:
            found[symbol] = None
        else:
            stack.append((symbol, True))
            stack += [(a, False) for a in reversed(symbol.args) if isinstance(a, Symbol)]
    return list(found)


def base(symbol: Symbol) -> Symbol:
    """The array that a view belongs to."""
    while symbol.op in VIEWS:
        symbol = symbol.args[0]
    return symbol


def is_along_row(total: Symbol) -> bool:
    """True if a sum or maximum is taken along each row alone."""
    rows, columns = matrix(total)
    return columns == 1 and rows == matrix(total.args[0])[0]


def from_reductions(schedule: Sequence[Symbol], along_rows: bool = True) -> set[Symbol]:
    """The sums and maxima, and all Symbols computed from them, including views.

    along_rows  False to leave out reductions along each row alone
    """
    found: set[Symbol] = set()
    for symbol in schedule:
        reduced = symbol.op in REDUCTIONS and (along_rows or not is_along_row(symbol))
        if reduced or any(a in found for a in symbol.args if isinstance(a, Symbol)):
            found.add(symbol)
    return found


def bounds_of(part: Symbol) -> tuple[int, int]:
    """The first column of a part, and the one after its last."""
    of = part.args[0]
    whole = [(0, n) for n in of.shape]
    bounds = [*part.params, *whole[len(part.params) :]]
    if bounds[:-1] != whole[:-1] or not bounds or bounds[-1][0] > bounds[-1][1]:
        raise Unsuited("a part of the rows")
    return bounds[-1]  # type: ignore[no-any-return]


def cuts_of(schedule: Sequence[Symbol]) -> dict[Symbol, set[int]]:
    """The columns at which a value is cut: where it is joined, or a part of it is taken, and where its operands are
    cut.
    """
    if len(schedule) > LARGEST:
        raise Unsuited("too many operations")
    links: list[tuple[Symbol, Symbol, int]] = []  # column k of the first is column k + shift of the second
    cuts: dict[Symbol, set[int]] = {}
    for symbol in schedule:
        columns = matrix(symbol)[1]
        if symbol.op == "part":
            start, stop = bounds_of(symbol)
            links.append((symbol, symbol.args[0], start))
            cuts.setdefault(symbol.args[0], set()).update((start, stop))
        elif symbol.op == "join":
            if symbol.params != symbol.ndim - 1:
                raise Unsuited("rows that are joined")
            before = 0
            for part in symbol.args:
                links.append((part, symbol, before))
                before += matrix(part)[1]
                cuts.setdefault(symbol, set()).add(before)
        else:
            if symbol.op == "reshape" and matrix(symbol) != matrix(symbol.args[0]):
                raise Unsuited("another shape")
            same = [a for a in symbol.args if isinstance(a, Symbol) and matrix(a)[1] == columns]
            links += [(a, symbol, 0) for a in same]
    changed = True
    while changed:
        changed = False
        for one, other, shift in links:
            a, b = cuts.setdefault(one, set()), cuts.setdefault(other, set())
            new = len(a) + len(b)
            b |= {k + shift for k in a}
            a |= {k - shift for k in b if 0 < k - shift < matrix(one)[1]}
            changed = changed or len(a) + len(b) != new
    return {s: {k for k in found if 0 < k < matrix(s)[1]} for s, found in cuts.items()}


# ---- the order of a loop's body ----------------------------------------------------------------------------------


def placed(symbol: Symbol, start: int, alone: bool = False) -> ColumnRef:
    """The canonical form of a place: a single column is the same everywhere."""
    return (symbol, 0, True) if matrix(symbol)[1] == 1 else (symbol, start, alone)


def operands_of(place: ColumnRef, givens: Container[Symbol]) -> list[ColumnRef]:
    """The places that the value at a place is computed from. A part shifts the column, and a join selects a part."""
    symbol, start, alone = place
    if symbol in givens:
        return []
    if symbol.op == "part":
        return [placed(symbol.args[0], start + bounds_of(symbol)[0], alone)]
    if symbol.op == "join":
        before = 0
        for part in symbol.args:
            if before <= start < before + matrix(part)[1]:
                return [placed(part, start - before, alone)]
            before += matrix(part)[1]
    if symbol.op in REDUCTIONS:
        raise Unsuited(f"something computed from a {symbol.op}")
    return [placed(a, start, alone) for a in symbol.args if isinstance(a, Symbol)]


def order_of(wanted: ColumnRef, givens: Container[Symbol], known: Container[ColumnRef]) -> Iterator[ColumnRef]:
    """The places to compute for a wanted one, operands first; the caller adds each of them to `known`."""
    stack = [wanted]
    while stack:
        place = stack[-1]
        missing = [] if place in known else [p for p in operands_of(place, givens) if p not in known]
        if missing:
            stack += missing
        else:
            stack.pop()
            if place not in known:
                yield place


def types_of(symbol: Symbol) -> list[Any]:
    """The dtypes in which a ufunc computes, one for each operand."""
    types = list(symbol.op.resolve_dtypes((*map(kind_of, symbol.args), None))[:-1])
    return [np.dtype(np.bool_)] * len(types) if symbol.op.__name__.startswith("logical_") else types
