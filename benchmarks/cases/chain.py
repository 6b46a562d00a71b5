"""A chain of 100,000 operations (tanh and add on 16 × 16, 97 MiB of results): forward, backward, and freeing.

Nothing may recurse, and a walked graph should be released on the way: the peak memory of backward is shown as a share
of forward's, and `freeing what backward left` is the time to drop the remainder afterwards. `freeing without backward`
drops a whole graph that was never walked.
"""

from __future__ import annotations

from typing import Any

from ..compare import Case
from ..peers import on_autograd, on_minigrad, on_torch

SHAPE = (16, 16)
OPERATIONS = 100_000


def long_chain(xp: Any, x: Any) -> Any:
    y = x
    for _ in range(OPERATIONS // 2):
        y = xp.tanh(y) + x
    return y


CASES = [
    Case(
        f"chain of {OPERATIONS:,}",
        {
            "minigrad": on_minigrad(long_chain, SHAPE, in_phases=True),
            "torch": on_torch(long_chain, SHAPE, in_phases=True),
            "autograd": on_autograd(long_chain, SHAPE, in_phases=True),
        },
        memory=("forward", "backward"),
    )
]
