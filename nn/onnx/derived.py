"""Arrays that follow from sizes and integers without a recorded operation: zeros of a batch, the mask of lengths, the
causal mask.

Candidates are computed for both runs and compared. One that equals the array in both runs, with different sizes and
numbers, replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np

Array = Any
Pair = tuple[Any, Any]


class Candidate(NamedTuple):
    """Arrays of both runs, and a function that makes the value."""

    first: Array
    second: Array
    make: Callable[[], str]


def derived(g: Any, a: Array, b: Array) -> str | None:
    """The value of an array of both runs; None if it follows from nothing known."""
    if a.shape == b.shape and np.array_equal(a, b):
        return str(g.constant(a))
    if a.size and (a == a.flat[0]).all() and (b == a.flat[0]).all():
        return str(g.node("Expand", [g.constant(a.flat[0], a.dtype), g.shape(a.shape, b.shape)]))
    found = [
        (made, rest, p, q) for made in candidates(g, a, b) for rest, p, q in placements(a, b, made.first, made.second)
    ]
    for made, rest, p, q in found:
        if np.array_equal(a, p) and np.array_equal(b, q):
            name = made.make()
            return spread(g, name if a.dtype == p.dtype else g.cast(name, a.dtype), rest, a, b)
    return all_of(g, found, a, b) if a.dtype.kind == "b" else None


def all_of(g: Any, found: list[Any], a: Array, b: Array) -> str | None:
    """A conjunction of several masks."""
    parts: list[Any] = []
    p, q = np.ones_like(a), np.ones_like(b)
    for made, rest, x, y in found:
        if x.dtype.kind == "b" and not (a & ~x).any() and not (b & ~y).any() and ((p & ~x).any() or (q & ~y).any()):
            parts.append((made, rest))
            p, q = p & x, q & y
    if not (parts and np.array_equal(a, p) and np.array_equal(b, q)):
        return None
    return reduce(lambda s, t: g.node("And", [s, t]), [spread(g, made.make(), rest, a, b) for made, rest in parts])


def placements(a: Array, b: Array, p: Array, q: Array) -> Iterator[tuple[tuple[int, ...], Array, Array]]:
    """The ways in which p and q, possibly with fewer axes, match a and b: the further axes, and p and q broadcast."""
    for axes in combinations(range(a.ndim), p.ndim):
        if all(tuple(x.shape[k] for k in axes) == y.shape for x, y in ((a, p), (b, q))):
            rest = tuple(k for k in range(a.ndim) if k not in axes)
            first, second = (np.broadcast_to(np.expand_dims(y, rest), x.shape) for x, y in ((a, p), (b, q)))
            yield rest, first, second


def spread(g: Any, name: str, rest: tuple[int, ...], a: Array, b: Array) -> str:
    """A value broadcast along further axes."""
    if rest:
        name = g.node("Unsqueeze", [name, g.integers(*rest)])
    wide = any((a.shape[k], b.shape[k]) != (1, 1) for k in rest)
    return str(g.node("Expand", [name, g.shape(a.shape, b.shape)])) if wide else name


# ---- candidates --------------------------------------------------------------------------------------------------


def candidates(g: Any, a: Array, b: Array) -> Iterator[Candidate]:
    """Small functions of the array's sizes, and of the known integers and booleans."""
    boolean = a.dtype.kind == "b"
    sizes = sorted({pair for pair in zip(a.shape, b.shape, strict=True) if pair != (1, 1)})
    if boolean:
        for rows, columns in product(sizes, repeat=2):
            first, second = (np.tri(rows[k], columns[k], dtype=bool) for k in (0, 1))
            yield from with_negation(g, Candidate(first, second, partial(below, g, rows, columns)))
    else:
        for n in sizes:
            yield Candidate(np.arange(n[0]), np.arange(n[1]), partial(steps, g, n))
    for name, (p, q) in list(g.integers_known()):
        known = Candidate(p, q, partial(str, name))
        if p.dtype.kind == "b":
            yield from with_negation(g, known)
            continue
        yield known
        if p.ndim == 1:  # lengths, perhaps
            one, zero = g.constant(1, p.dtype), g.constant(0, p.dtype)
            yield Candidate(np.maximum(p, 1), np.maximum(q, 1), partial(g.node, "Max", [name, one]))
            yield Candidate(p > 0, q > 0, partial(g.node, "Greater", [name, zero]))
            for T in sizes if boolean else ():
                first, second = (np.arange(T[k])[:, None] < n for k, n in enumerate((p, q)))
                real = partial(within, g, name, T)
                yield from with_negation(g, Candidate(first, second, real))
                turned = partial(lambda real: g.node("Transpose", [real()], perm=[1, 0]), real)
                yield from with_negation(g, Candidate(first.T, second.T, turned))


def with_negation(g: Any, mask: Candidate) -> Iterator[Candidate]:
    """A mask and its negation."""
    yield mask
    yield Candidate(~mask.first, ~mask.second, lambda: g.node("Not", [mask.make()]))


def steps(g: Any, n: Pair) -> str:
    """0, 1, 2, ... below n."""
    return str(g.node("Range", [g.constant(0, np.int64), g.node("Squeeze", [g.size(*n)]), g.constant(1, np.int64)]))


def below(g: Any, rows: Pair, columns: Pair) -> str:
    """np.tri: True on the diagonal and below."""
    down = g.node("Unsqueeze", [steps(g, rows), g.integers(1)])
    return str(g.node("GreaterOrEqual", [down, steps(g, columns)]))


def within(g: Any, lengths: str, T: Pair) -> str:
    """(T, N), True in the first steps of each sequence."""
    down = g.node("Unsqueeze", [steps(g, T), g.integers(1)])
    return str(g.node("Less", [down, g.cast(lengths, np.int64)]))
