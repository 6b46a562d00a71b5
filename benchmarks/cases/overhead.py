"""The overhead of one recorded operation: chains of small operations, forward and backward.

Arrays are 16 × 16, so that arithmetic takes next to no time. All operands require grad. Times are those of one recorded
operation, including backward; `NumPy by hand` is the arithmetic alone. minigrad is called by NumPy's names
(`np.tanh(x)`, through NumPy's protocols) and by its own (`mg.tanh(x)`); operators are the same in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compare import Case
from ..peers import by_hand, on_all, on_minigrad, replayed

Array = Any
SHAPE = (16, 16)
STEPS = 500


def tanh_and_add(xp: Any, x: Any) -> Any:
    y = x
    for _ in range(STEPS):
        y = xp.tanh(y) + x
    return y


def tanh_and_add_by_hand(start: Array, x: Array) -> list[Array]:
    y, kept = x, []
    for _ in range(STEPS):
        z = np.tanh(y)
        kept.append(z)
        y = z + x
    g, g_x = start, np.zeros_like(x)
    for z in reversed(kept):
        g_x += g
        g = g * (1 - z * z)
    return [g_x + g]


def add(xp: Any, x: Any) -> Any:
    y = x
    for _ in range(STEPS):
        y = y + x
    return y


def add_by_hand(start: Array, x: Array) -> list[Array]:
    y = x
    for _ in range(STEPS):
        y = y + x
    g_x = start.copy()
    for _ in range(STEPS):
        g_x += start
    return [g_x]


def scale(xp: Any, x: Any) -> Any:
    y = x
    for _ in range(STEPS):
        y = y * 0.999
    return y


def scale_by_hand(start: Array, x: Array) -> list[Array]:
    y, g = x, start
    for _ in range(STEPS):
        y = y * 0.999
    for _ in range(STEPS):
        g = g * 0.999
    return [g]


CASES = [
    Case(
        "overhead: tanh and add",
        {
            "minigrad, compiled": replayed(tanh_and_add, SHAPE),
            "minigrad": on_minigrad(tanh_and_add, SHAPE),
            "minigrad, mg.tanh": on_minigrad(tanh_and_add, SHAPE, names="minigrad"),
            **on_all(tanh_and_add, SHAPE),
            "NumPy by hand": by_hand(tanh_and_add_by_hand, SHAPE, result=SHAPE),
        },
        per=2 * STEPS,
        unit="operation",
    ),
    Case(
        "overhead: add",
        {**on_all(add, SHAPE), "NumPy by hand": by_hand(add_by_hand, SHAPE, result=SHAPE)},
        per=STEPS,
        unit="operation",
    ),
    Case(
        "overhead: multiply by a number",
        {**on_all(scale, SHAPE), "NumPy by hand": by_hand(scale_by_hand, SHAPE, result=SHAPE)},
        per=STEPS,
        unit="operation",
    ),
]
