"""The element-wise part of one step of an LSTM and a GRU: forward, and backward from the gradients of its states.

Three ways to run the same function: its compiled kernels (with the extra `fast`; without it, they are the plans), the
plans of NumPy calls, and its plain operations. N sequences, H states; arrays lie feature by feature, as in the layers.
Kernels and plans are timed alone, in the way the engine calls them; the plain operations are recorded one by one, and
walked by the engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.backward import walk
from nn.cells.gru import gru
from nn.cells.lstm import lstm

from ..compare import Call, Case, Setup
from ..peers import normals

SIZES = ((1, 64), (16, 64), (32, 128), (64, 256))  # N, H
CELLS = {"lstm": (lstm, (4, 4, 1), 2), "gru": (gru, (3, 3, 1), 1)}  # widths of the operands; how many states


def arrays(widths: tuple[int, ...], N: int, H: int) -> list[Any]:
    return [np.asfortranarray(a) for a in normals(*[(N, width * H) for width in widths])]


def kernels(cell: str, N: int, H: int, compiled: bool) -> Setup:
    """Forward and backward of the traced function, called as the engine calls them."""

    def setup() -> Call:
        function, widths, states = CELLS[cell]
        operands = arrays(widths, N, H)
        kernel = function.kernel(*[mg.Tensor(a, True) for a in operands])
        starts = arrays((1,) * states, N, H)
        forward = kernel.forward
        backward, where = kernel.backward(tuple([k < states for k in range(kernel.count)]))
        if not compiled:
            forward, backward = [getattr(k, "plan", k) for k in (forward, backward)]

        def call() -> Any:
            computed = forward(operands, operands[0])
            yield "forward"
            results = backward([*computed[kernel.count :], *starts], starts[0])
            yield "backward"
            return [results[k] for k in where]

        return call

    return setup


def recorded(cell: str, N: int, H: int) -> Setup:
    """The same function as plain operations, each a node of the tape."""

    def setup() -> Call:
        function, widths, states = CELLS[cell]
        tensors = [mg.Tensor(a, True) for a in arrays(widths, N, H)]
        starts = arrays((1,) * states, N, H)

        def call() -> Any:
            outputs = function.plain(*tensors)[:states]
            yield "forward"
            found = walk([(o.edge, g) for o, g in zip(outputs, starts, strict=True)])
            yield "backward"
            return [found[t] for t in tensors]

        return call

    return setup


CASES = [
    Case(
        f"gates of {cell}, N H = {N, H}",
        {
            "compiled": kernels(cell, N, H, True),
            "NumPy plan": kernels(cell, N, H, False),
            "plain operations": recorded(cell, N, H),
        },
    )
    for cell in CELLS
    for N, H in SIZES
]
