"""T slices of one (T, 8, 16) tensor in a loop, forward and backward, as a recurrent network uses its input.

Each step adds its slice to a running sum. The time of one step should not depend on T: if the gradient of every slice
is an array of the whole tensor's size, the loop is quadratic. Such sides are left out beyond T = 2,000.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import minigrad as mg

from ..compare import Case, Setup
from ..peers import on_autograd, on_minigrad, on_torch

LENGTHS = (1_000, 2_000, 5_000, 10_000)
STEP = (8, 16)


def indexed(xp: Any, x: Any) -> Any:
    return reduce(add, (x[t] for t in range(len(x))))


def unstacked(xp: Any, x: Any) -> Any:
    return reduce(add, mg.unstack(x))


def unbound(torch: Any, x: Any) -> Any:
    return reduce(add, x.unbind())


def sides(length: int) -> dict[str, Setup]:
    shape = (length, *STEP)
    linear = {
        "minigrad, x[t]": on_minigrad(indexed, shape),
        "minigrad, mg.unstack": on_minigrad(unstacked, shape),
        "torch, unbind": on_torch(unbound, shape),
    }
    quadratic = {"torch, x[t]": on_torch(indexed, shape), "autograd, x[t]": on_autograd(indexed, shape)}
    return linear | quadratic if length <= 2_000 else linear


CASES = [Case(f"slices: T = {length:,}", sides(length), per=length, unit="step") for length in LENGTHS]
