"""The adding problem over 100 steps with a GRU (Hochreiter & Schmidhuber 1997, as in Le, Jaitly & Hinton 2015).

    python -m benchmarks.reproduce.adding

GRU 100, Adam with lr 1e-3, B 20, 2,000 steps. Always saying 1 has an error of 0.167.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import minigrad as mg
import nn

from .common import begin, options, write_row


def examples(rng: np.random.Generator, T: int, N: int) -> tuple[Any, Any]:
    """Numbers in [0, 1] with two of them marked, (T, N, 2), and the sum of these two, (N,)."""
    numbers, marks = rng.random((T, N)), np.zeros((T, N))
    for n in range(N):
        marks[[rng.integers(T // 2), rng.integers(T // 2, T)], n] = 1
    return np.stack([numbers, marks], -1).astype(np.float32), (numbers * marks).sum(0).astype(np.float32)


if __name__ == "__main__":
    args = begin(options(__doc__, steps=2000, length=100))
    rng, began = np.random.default_rng(args.seed), time.perf_counter()
    gru, out = nn.GRU(2, 100, device=args.device), nn.Linear(100, 1, device=args.device)
    optimizer = nn.Adam([*gru.named_parameters("gru"), *out.named_parameters("out")], lr=1e-3)

    def loss_of(xs: Any, sums: Any) -> Any:
        _, h = gru(mg.tensor(xs, device=args.device))
        return np.mean((out(h[0])[:, 0] - mg.tensor(sums, device=args.device)) ** 2)

    reached = None
    tests = [examples(np.random.default_rng(10**6), args.length, 500) for _ in range(2)]
    for step in range(1, args.steps + 1):
        optimizer.zero_grad()
        loss_of(*examples(rng, args.length, 20)).backward()
        optimizer.step()
        if step % 100 == 0:
            with mg.no_grad():
                error = float(np.mean([loss_of(*test).item() for test in tests]))
            reached = step if reached is None and error < 0.01 else reached
            print(f"step {step}: test error {error:.4f}", flush=True)
    write_row("adding problem, mean squared error", args, f"GRU 100, T {args.length}, {args.steps} steps",
              f"{error:.4f}; below 0.01 from step {reached} on" if reached else f"{error:.4f}",
              "below 0.01 within 2,000 steps (PyTorch, same settings)", time.perf_counter() - began,
              error=error)  # fmt: skip
