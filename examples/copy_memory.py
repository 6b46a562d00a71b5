"""Copy memory: see ten symbols, wait, then repeat them.

    python examples/copy_memory.py [--length 30] [--cells gru,lstm,rnn] [--device cuda]

A sequence has T + 20 steps, each one of ten symbols: ten random ones out of eight, T − 1 blanks, a signal to recall,
and ten more blanks. The target is blank for T + 10 steps, then the ten symbols in their order. Without memory, the
blanks can be right and the rest is a guess: a cross-entropy of 10 ln 8 / (T + 20) a step. To fall below that, a network
must hold 30 bits over T steps, and keep ten positions apart.

Hochreiter & Schmidhuber 1997, in the form of Arjovsky, Shah & Bengio 2016. The output in `--out` is copy.png: the test
loss over training, and the gradient that reaches each step.
"""

from __future__ import annotations

import math

import numpy as np
from long_memory import Batch, Task, arguments, compare

import nn

SYMBOLS, COUNT = 8, 10  # different ones, and the number to remember
BLANK, SIGNAL = SYMBOLS, SYMBOLS + 1


def make_batch(rng: np.random.Generator, length: int, size: int) -> Batch:
    """Inputs (T + 20, N, 10), one-hot, and targets (T + 20, N), integers up to BLANK."""
    symbols = rng.integers(0, SYMBOLS, (COUNT, size))
    inputs = np.full((length + 2 * COUNT, size), BLANK)
    inputs[:COUNT] = symbols
    inputs[-COUNT - 1] = SIGNAL
    targets = np.full_like(inputs, BLANK)
    targets[-COUNT:] = symbols
    return np.eye(SYMBOLS + 2, dtype=np.float32)[inputs], targets


def main() -> None:
    args = arguments(__doc__, cells="gru,lstm,rnn", length=30, steps=1500, batch=32, lr=1e-2, clip=0.1)
    T = args.length + 2 * COUNT
    loss = nn.CrossEntropyLoss()
    baseline = COUNT * math.log(SYMBOLS) / T
    task = Task(
        name="copy",
        title=f"Copy memory, {args.length} steps between",
        steps=T,
        inputs=SYMBOLS + 2,
        outputs=SYMBOLS + 1,
        make_batch=lambda rng, size: make_batch(rng, args.length, size),
        mapping=nn.many_to_many,
        loss=loss,
        recalled=lambda outputs, targets: loss(outputs[-COUNT:], targets[-COUNT:]),
        measure="test cross-entropy",
        baseline=baseline,
        solved=0.75 * baseline,
        spans={"symbols": (1, COUNT), "recall": (T - COUNT + 1, T)},
    )
    compare(task, args)


if __name__ == "__main__":
    main()
