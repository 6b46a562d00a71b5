"""Broadcasting: gradients are summed over broadcast axes, and broadcast along summed ones.

Forward and backward of a bias added to rows, of a product of two arrays that are each broadcast along the other's axis,
and of sums along axes; by hand, with each of these sums and broadcasts written once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compare import Case
from ..peers import by_hand, on_all

Array = Any
ROWS, BIAS = (1600, 256), (256,)
LEFT, RIGHT, BOTH = (64, 1, 256), (1, 50, 256), (64, 50, 256)


def add_bias(xp: Any, x: Any, b: Any) -> Any:
    return x + b


def add_bias_by_hand(g: Array, x: Array, b: Array) -> list[Array]:
    _ = x + b
    return [g.copy(), g.sum(axis=0)]


def outer_product(xp: Any, a: Any, b: Any) -> Any:
    return a * b


def outer_product_by_hand(g: Array, a: Array, b: Array) -> list[Array]:
    _ = a * b
    return [(g * b).sum(axis=1, keepdims=True), (g * a).sum(axis=0, keepdims=True)]


def sums(xp: Any, x: Any) -> Any:
    return xp.sum(x, axis=0) + xp.sum(x, axis=1, keepdims=True)[0] + xp.mean(x)


def sums_by_hand(g: Array, x: Array) -> list[Array]:
    _ = x.sum(axis=0) + x.sum(axis=1, keepdims=True)[0] + x.mean()
    total = np.broadcast_to(g, x.shape) + g.sum() / x.size
    total[0] += g.sum(axis=0)
    return [total]


CASES = [
    Case(
        f"broadcast: {ROWS} + {BIAS}",
        {**on_all(add_bias, ROWS, BIAS), "NumPy by hand": by_hand(add_bias_by_hand, ROWS, BIAS, result=ROWS)},
    ),
    Case(
        f"broadcast: {LEFT} * {RIGHT}",
        {
            **on_all(outer_product, LEFT, RIGHT),
            "NumPy by hand": by_hand(outer_product_by_hand, LEFT, RIGHT, result=BOTH),
        },
    ),
    Case(
        f"broadcast: sums of {BOTH}",
        {**on_all(sums, BOTH), "NumPy by hand": by_hand(sums_by_hand, BOTH, result=BOTH[1:])},
    ),
]
