"""The LSTM's time as a function of steps, batch and states, compared with PyTorch's fused layer and a floor.

The floor is the matrix products alone, by NumPy: one product for all input maps, one a step each way, and one for each
weight gradient. `--plot` draws these cases as ratios.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compare import Call, Case, Setup
from ..peers import normals
from .layers import on_minigrad, on_torch

STEPS = (10, 100, 1_000, 10_000, 100_000)  # of (4, T, 16, 16)
BATCH = (1, 4, 16, 64, 256)  # of (N, 50, 128, 128)
STATES = (32, 64, 128, 256, 512, 1024)  # of (20, 20, H, H)
RECORDED = 10_000  # steps: recording a longer program takes minutes


def products_alone(N: int, T: int, D: int, H: int) -> Setup:
    """All matrix products of forward and backward into existing arrays, and nothing else."""

    def setup() -> Call:
        xs, z, h, W, U = normals((T * N, D), (T * N, 4 * H), (T * N, H), (4 * H, D), (4 * H, H))
        rows = [slice(t * N, (t + 1) * N) for t in range(T)]
        to_gates, to_inputs, to_states = np.empty_like(z), np.empty_like(xs), np.empty_like(h)
        Ut = np.ascontiguousarray(U.T)

        def call() -> list[Any]:
            np.matmul(xs, W.T, out=to_gates)
            for r in rows:
                np.matmul(h[r], Ut, out=to_gates[r])
            for r in reversed(rows):
                np.matmul(z[r], U, out=to_states[r])
            np.matmul(z, W, out=to_inputs)
            np.matmul(z.T, xs)
            np.matmul(z.T, h)
            return []

        return call

    return setup


def case(along: str, number: int, size: tuple[int, int, int, int]) -> Case:
    sides = {"minigrad, compiled": on_minigrad("LSTM", *size, compiled=True)} if size[1] <= RECORDED else {}
    sides |= {
        "minigrad": on_minigrad("LSTM", *size),
        "torch.nn.LSTM": on_torch("LSTM", *size),
        "products alone": products_alone(*size),
    }
    return Case(f"scaling: LSTM, {along} = {number}", sides)


CASES = [
    *[case("T", T, (4, T, 16, 16)) for T in STEPS],
    *[case("N", N, (N, 50, 128, 128)) for N in BATCH],
    *[case("H", H, (20, 20, H, H)) for H in STATES],
]
