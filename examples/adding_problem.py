"""The adding problem: add two numbers that lie far apart in a long sequence of others.

    python examples/adding_problem.py [--length 100] [--cells gru,rnn] [--device cuda]

A sequence has T steps of two features: a number from U(0, 1), and a mark, which is 1 at one step of the first half and
at one of the second, and 0 elsewhere. The target is the sum of the two marked numbers. Nothing near the end helps:
without memory, the best answer is 1, the mean, with a mean squared error of 1/6 (the sum's variance, 2 · 1/12). A gated
cell learns to hold the numbers for T steps; the tanh RNN of the same size, trained in the same way, never gets a
gradient from where they are.

Hochreiter & Schmidhuber 1997, section 5.4, in the form of Le, Jaitly & Hinton 2015. The output in `--out` is
adding.png: the test error over training, and the gradient that reaches each step.
"""

from __future__ import annotations

import numpy as np
from long_memory import Batch, Task, arguments, compare

import nn


def make_batch(rng: np.random.Generator, length: int, size: int) -> Batch:
    """Inputs (T, N, 2) and targets (N, 1)."""
    numbers = rng.random((length, size))  # (T, N)
    marks = np.zeros((length, size))
    n = np.arange(size)
    marks[rng.integers(0, length // 2, size), n] = 1
    marks[rng.integers(length // 2, length, size), n] = 1
    sums = (numbers * marks).sum(axis=0)  # (N,)
    return np.stack([numbers, marks], axis=-1).astype(np.float32), sums[:, None].astype(np.float32)


def main() -> None:
    args = arguments(__doc__, cells="gru,rnn", length=100, steps=2000, batch=20, lr=1e-3, clip=0.3)
    if args.length < 2:
        raise SystemExit("--length: two marks need at least 2 steps")
    T, mse = args.length, nn.MSELoss()
    task = Task(
        name="adding",
        title=f"The adding problem, T = {T}",
        steps=T,
        inputs=2,
        outputs=1,
        make_batch=lambda rng, size: make_batch(rng, T, size),
        mapping=nn.many_to_one,
        loss=mse,
        recalled=mse,
        measure="test MSE",
        baseline=1 / 6,
        solved=0.01,
        spans={},
    )
    compare(task, args)


if __name__ == "__main__":
    main()
