"""What the Symbols of a loop have in common: matrices whose columns are cut where values are joined or split."""

from __future__ import annotations

from collections.abc import Sequence

from .symbols import Symbol

LARGEST = 400  # symbols in a kernel; beyond, compiling takes long


class Unsuited(Exception):  # noqa: N818
    """What a kernel cannot express; the plan can."""


def matrix(symbol: Symbol) -> tuple[int, int]:
    """The shape as (rows, columns)."""
    if len(symbol.shape) > 2:
        raise Unsuited("more than two axes")
    return (1, 1, *symbol.shape)[-2:]  # type: ignore[return-value]


def schedule_of(givens: Sequence[Symbol], results: Sequence[Symbol]) -> list[Symbol]:
    """What is computed, operands first."""
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
    if len(found) > LARGEST:
        raise Unsuited("too many operations")
    return list(found)


def bounds_of(part: Symbol) -> tuple[int, int]:
    """The first column of a part, and the one after its last."""
    of = part.args[0]
    whole = [(0, n) for n in of.shape]
    bounds = [*part.params, *whole[len(part.params) :]]
    if bounds[:-1] != whole[:-1] or not bounds or bounds[-1][0] > bounds[-1][1]:
        raise Unsuited("a part of the rows")
    return bounds[-1]  # type: ignore[no-any-return]


def cuts_of(schedule: Sequence[Symbol]) -> dict[Symbol, set[int]]:
    """The columns at which a value is cut: where it is joined or a part of it is taken, and where its operands are."""
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
