"""Gathering: the weights of the LSTM in `lstm.py` are used at every step, and their gradients computed as one product.

minigrad gathers the thin products of all steps. `mg.plain_path()` switches this off (and every other fast path), so
that each step computes its own products and adds them up.
"""

from __future__ import annotations

from typing import Any

import minigrad as mg

from ..compare import WHOLE_CALL, Call, Case, Setup
from ..peers import on_minigrad
from .lstm import SIZES, minigrad_loop, shapes


def on_plain_path(side: Setup) -> Setup:
    """A side with every fast path switched off."""

    def setup() -> Call:
        call = side()

        def plain() -> Any:
            with mg.plain_path():
                return call()

        return plain

    return setup


def sides(*size: int) -> dict[str, Setup]:
    loop = on_minigrad(minigrad_loop, *shapes(*size))
    return {"minigrad": loop, "minigrad, plain path": on_plain_path(loop)}


CASES = [Case(f"gathering, N T D H = {size}", sides(*size), memory=WHOLE_CALL) for size in SIZES]
