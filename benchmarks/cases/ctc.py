"""The CTC loss of a batch, forward and backward, from log-probabilities (T, N, C) and labellings of S labels.

The loss is compared first, and the gradients summed over steps: after 500 steps, single gradients of PyTorch's are
wrong by 3 parts in a thousand in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compare import Call, Case, Setup
from ..peers import normals
from ..place import ours, theirs

SIZES = ((50, 16, 20, 10), (150, 32, 30, 30), (500, 8, 100, 50))  # T, N, C, S


def given(T: int, N: int, C: int, S: int) -> tuple[Any, ...]:
    """Logits, labels without the blank 0, and the numbers of steps and labels of each sequence that count."""
    targets = np.random.default_rng(3).integers(1, C, (N, S))
    return normals((T, N, C))[0], targets, np.full(N, T), np.full(N, S)


def on_minigrad(*size: int) -> Setup:
    def setup() -> Call:
        import minigrad as mg
        import nn

        logits, *rest = given(*size)
        x, loss = ours(logits, requires_grad=True), nn.CTCLoss()

        def call() -> list[Any]:
            x.grad = None
            value = loss(mg.log_softmax(x), *rest)
            value.backward()
            return [value, x.grad.sum(axis=0)]

        return call

    return setup


def on_torch(*size: int) -> Setup:
    def setup() -> Call:
        import torch

        logits, *rest = given(*size)
        x, loss = theirs(logits, requires_grad=True), torch.nn.CTCLoss()
        others = [torch.as_tensor(a, device=x.device if k == 0 else "cpu") for k, a in enumerate(rest)]

        def call() -> list[Any]:
            x.grad = None
            value = loss(x.log_softmax(-1), *others)
            value.backward()
            return [value.detach(), x.grad.sum(axis=0)]

        return call

    return setup


CASES = [Case(f"CTC, T N C S = {s}", {"minigrad": on_minigrad(*s), "torch": on_torch(*s)}) for s in SIZES]
