"""The loop of a layer as a program, on the rows of its batch."""

from __future__ import annotations

from typing import Any

import minigrad as mg
from minigrad import programs

from .packing import Packing


def run(
    found: programs.Rolling, every: list[mg.Tensor], xs: Any, state: tuple[Any, ...], packing: Packing, reverse: bool,
    plain: Any,
) -> Any:  # fmt: skip
    """The outputs (R, ·) and the final states (N, ·) of a loop as a program.

    every  the cell's tensors
    xs     the rows of all steps of the batch, or the result of `inputs` if it looks at other steps
    plain  a function of (cell, xs, state) that runs the same loop step by step: its outputs and final states
    """
    weights = [every[k] for k in found.used]
    rows = programs.layout(tuple([n for n in packing.sizes if n]), packing.N, reverse)

    def again(x: Any, states: list[Any], weights: list[Any]) -> list[Any]:
        outputs, final = plain(found.with_weights(weights), x, tuple(states))
        return [*outputs, *final]

    ys = programs.rolled(found.loop, xs, state, weights, packing.real, rows, again)
    count = len(found.loop.step.outputs)
    return ys[:count], ys[count:]
