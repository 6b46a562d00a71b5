"""Convolutions along time compared with PyTorch's: forward and backward, to the input and all weights."""

from __future__ import annotations

from typing import Any

from ..compare import WHOLE_CALL, Call, Case, Setup
from ..peers import normals, start_of, take_grads
from ..place import DEVICE, ours, theirs

SIZES = (
    (32, 64, 64, 128, 5, 1),
    (8, 16, 32, 1000, 9, 1),
    (64, 128, 128, 32, 3, 1),
    (4, 256, 256, 256, 3, 1),
    (32, 64, 64, 128, 5, 4),
    (32, 64, 64, 128, 5, 64),
)  # N sequences, C channels to O, L steps, windows of K, groups


def weights(C: int, O: int, K: int, groups: int) -> dict[str, Any]:
    """Equal weights for both sides."""
    return dict(zip(("weight", "bias"), normals((O, C // groups, K), (O,), seed=2), strict=True))


def on_minigrad(N: int, C: int, O: int, L: int, K: int, groups: int) -> Setup:
    def setup() -> Call:
        import nn

        layer = nn.Conv1d(C, O, K, groups=groups, device=DEVICE)
        layer.load_state_dict(weights(C, O, K, groups))
        x = ours(normals((N, C, L))[0], requires_grad=True)
        start = ours(start_of((N, O, L - K + 1)))

        def call() -> list[Any]:
            layer(x).backward(start)
            return take_grads([x, *layer.parameters()])

        return call

    return setup


def on_torch(N: int, C: int, O: int, L: int, K: int, groups: int) -> Setup:
    def setup() -> Call:
        import torch

        layer = torch.nn.Conv1d(C, O, K, groups=groups, device=DEVICE)
        layer.load_state_dict({name: theirs(w) for name, w in weights(C, O, K, groups).items()})
        x = theirs(normals((N, C, L))[0], requires_grad=True)
        start = theirs(start_of((N, O, L - K + 1)))

        def call() -> list[Any]:
            layer(x).backward(start)
            return take_grads([x, *layer.parameters()])

        return call

    return setup


CASES = [
    Case(f"convolution, N C O L K groups = {size}",
         {"minigrad": on_minigrad(*size), "torch.nn.Conv1d": on_torch(*size)}, memory=WHOLE_CALL)
    for size in SIZES
]  # fmt: skip
