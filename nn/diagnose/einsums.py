"""Time steps of rows through `np.einsum`, whose letters relate the axes of operands and result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.primitives import Pull

Array = Any
Level = Callable[[Array, tuple[int, ...]], Array | None]


def letters(subscripts: str) -> tuple[list[str], str]:
    """The letters of each operand, and of the result."""
    inputs, output = subscripts.split("->")
    return inputs.split(","), output


def relabelled(labels: Array, mine: str, theirs: str, shape: tuple[int, ...], level: Level) -> Array | None:
    """Labels of an array with the axes `mine`, converted for one with the axes `theirs`; None if they differ along an
    axis that it lacks."""
    gone = [a for a, c in enumerate(mine) if c not in theirs]
    line = level(labels, tuple([a - len(mine) for a in gone]))
    if line is None:
        return None
    kept = [c for c in mine if c in theirs]
    line = line.reshape([n for a, n in enumerate(line.shape) if a not in gone])
    line = np.transpose(line, [kept.index(c) for c in theirs if c in mine])
    sizes = iter(line.shape)
    return np.broadcast_to(line.reshape([next(sizes) if c in mine else 1 for c in theirs]), shape)


def narrowed(
    pull: Pull, kept: tuple[Any, ...], g: Array, labels: Array, level: Level, groups: Callable[[Array], Iterator[Any]]
) -> Iterator[tuple[int, Any]] | None:
    """Its gradients, split by step: all arrays are cut along the one time axis into each step's part. None if there is
    no single time axis."""
    operands, subscripts = kept
    mine, output = letters(subscripts)
    for axis, time in enumerate(output):
        line = level(labels, tuple([a - labels.ndim for a in range(labels.ndim) if a != axis]))
        if line is not None:

            def cut(array: Array, names: str, at: Any, time: str = time) -> Array:
                return array[tuple([at if c == time else slice(None) for c in names])]

            return (
                (k, pull.formula(
                    cut(g, output, at), tuple([cut(o, m, at) for o, m in zip(operands, mine, strict=True)]), subscripts
                ))
                for k, at in groups(line.reshape(-1))
            )  # fmt: skip
    return None
