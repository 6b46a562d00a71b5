"""The axes of the inputs that may have any size, and numbers that depend on these sizes.

A model is run twice, with other sizes the second time. A number that is equal in both runs is a constant; any other is
looked for among the sizes, their products and multiples, plus or minus constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

Axes = Sequence[Sequence[str | None] | None]


class Size(NamedTuple):
    """factor · (product of the named axes) + rest."""

    factor: int
    names: tuple[str, ...]
    rest: int


def solved(a: int, b: int, sizes: dict[str, tuple[int, int]]) -> Size | None:
    """The number that is `a` in the first run and `b` in the second, as a function of sizes; None if there is none."""
    if a == b:
        return Size(0, (), a)
    products = [
        (names, math.prod(sizes[n][0] for n in names), math.prod(sizes[n][1] for n in names))
        for count in (1, 2) for names in combinations(sizes, count)
    ]  # fmt: skip
    for names, p, q in products:
        if p and a % p == 0 and a // p * q == b:
            return Size(a // p, names, 0)
    for names, p, q in products:
        if a - p == b - q:
            return Size(1, names, a - p)
    return None


def named_axes(
    arrays: Sequence[np.ndarray[Any, Any]], axes: Axes | None, two: tuple[str, str], others: bool
) -> list[tuple[str | None, ...]]:  # fmt: skip
    """The names of each input's axes; None for an axis of fixed size.

    two     the names of two axes
    others  True if further inputs may have separate axes

    By default, all axes but the last of floats, and all axes of others. Those of the first input get the names,
    ("batch",) if there is one, and an axis of another input with the same size is the same axis.
    """
    if axes is not None:
        if len(axes) != len(arrays):
            raise ValueError(f"export_onnx: axes are for {len(axes)} inputs, and there are {len(arrays)}")
        given = [
            (None,) * array.ndim if names is None else tuple(names) for names, array in zip(axes, arrays, strict=True)
        ]
        for names, array in zip(given, arrays, strict=True):
            if len(names) != array.ndim:
                raise ValueError(f"export_onnx: axes {names} are not those of an input of shape {array.shape}")
        return given
    known: dict[int, str] = {}
    found = []
    for k, array in enumerate(arrays):
        free = array.ndim - (array.dtype.kind == "f" and array.ndim > 0)
        if k == 0:
            names = {1: ("batch",), 2: two}.get(free, tuple(f"axis{i}" for i in range(free)))
            if len(set(array.shape[:free])) < free:
                raise ValueError(
                    f"export_onnx: an example of shape {array.shape} does not tell its axes apart; give one whose "
                    "sizes differ, or axes="
                )
            known = dict(zip(array.shape, names, strict=False))
        if others:
            known |= {n: f"axis{n}" for n in array.shape[:free] if n not in known and n != 1}
        found.append(tuple(known.get(n) if i < free else None for i, n in enumerate(array.shape)))
    return found


def sizes_of(arrays: Sequence[np.ndarray[Any, Any]], axes: Sequence[Sequence[str | None]]) -> dict[str, int]:
    """The size of each named axis; ValueError if two inputs disagree."""
    sizes: dict[str, int] = {}
    for array, names in zip(arrays, axes, strict=True):
        for name, n in zip(names, array.shape, strict=True):
            if name is not None and sizes.setdefault(name, n) != n:
                raise ValueError(f"export_onnx: the axis {name!r} is {sizes[name]} in one input and {n} in another")
    return sizes


def another(
    arrays: Sequence[np.ndarray[Any, Any]], axes: Sequence[Sequence[str | None]], sizes: dict[str, int], zero: bool
) -> list[np.ndarray[Any, Any]]:  # fmt: skip
    """Inputs of other sizes and values, drawn from the given ones.

    zero  allow integers to be 0, as the length of an empty sequence
    """
    rng = np.random.default_rng(0)
    larger = {name: n + 2 + k for k, (name, n) in enumerate(sizes.items())}
    made = []
    for array, names in zip(arrays, axes, strict=True):
        shape = [n if name is None else larger[name] for name, n in zip(names, array.shape, strict=True)]
        values = rng.choice(array.reshape(-1), shape) if array.size else np.zeros(shape, array.dtype)
        if zero and array.dtype.kind in "iu" and values.size > 1:
            values.reshape(-1)[rng.permutation(values.size)[: values.size // 3 + 1]] = 0
        if array.dtype.kind == "f":  # keep the signs, for logarithms
            values = values * rng.uniform(0.5, 1.5, shape) if array.any() else rng.uniform(0, 1, shape)
        made.append(np.asarray(values, array.dtype))
    return made
