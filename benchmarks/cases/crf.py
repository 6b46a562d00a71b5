"""The loss of a CRF, forward and backward to emissions and transitions, beside a loop in PyTorch.

PyTorch has no CRF. Its side is the usual loop: α_t = logsumexp(α_t−1[:, :, None] + transitions, 1) + e_t, with a mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compare import Call, Case, Setup
from ..peers import normals
from ..place import ours, theirs

SIZES = ((20, 16, 9), (50, 32, 17), (50, 32, 45))  # T, N, K


def given(T: int, N: int, K: int) -> tuple[Any, ...]:
    """Emissions, tags, lengths, and the scores of a CRF."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(T // 4, T + 1, N)
    lengths[0] = T
    return *normals((T, N, K), (K, K), (K,), (K,)), rng.integers(0, K, (T, N)), lengths


def on_minigrad(*size: int) -> Setup:
    def setup() -> Call:
        import nn

        emissions, transitions, start, end, tags, lengths = given(*size)
        e, crf = ours(emissions, requires_grad=True), nn.CRF(size[2])
        crf.load_state_dict({"transitions": transitions, "start": start, "end": end})
        crf.to(e.device)

        def call() -> list[Any]:
            e.grad = None
            crf.zero_grad()
            loss = crf(e, tags, lengths=lengths)
            loss.backward()
            return [loss, e.grad, crf.transitions.grad, crf.start.grad, crf.end.grad]

        return call

    return setup


def on_torch(*size: int) -> Setup:
    def setup() -> Call:
        import torch

        T, N, _ = size
        *scores, tags, lengths = given(*size)
        e, transitions, start, end = (theirs(a, requires_grad=True) for a in scores)
        y = torch.as_tensor(tags, device=e.device)
        ends = torch.as_tensor(lengths, device=e.device)
        mask = torch.arange(T, device=e.device)[:, None] < ends
        rows = torch.arange(N, device=e.device)

        def call() -> list[Any]:
            for w in (e, transitions, start, end):
                w.grad = None
            at = torch.take_along_dim(e, y[..., None], 2)[..., 0]
            between = transitions[y[:-1], y[1:]]
            score = start[y[0]] + (at * mask).sum(0) + (between * mask[1:]).sum(0) + end[y[ends - 1, rows]]
            alpha = start + e[0]
            for t in range(1, T):
                reached = torch.logsumexp(alpha[:, :, None] + transitions, 1) + e[t]
                alpha = torch.where(mask[t, :, None], reached, alpha)
            loss = (torch.logsumexp(alpha + end, 1) - score).mean()
            loss.backward()
            return [loss.detach(), e.grad, transitions.grad, start.grad, end.grad]

        return call

    return setup


CASES = [Case(f"CRF, T N K = {s}", {"minigrad": on_minigrad(*s), "torch": on_torch(*s)}) for s in SIZES]
