"""One step of an optimizer for the weights of a medium language model, with clipping by norm.

PyTorch's default on a CPU updates one tensor after the other with an operation for each part of the formula; with
`fused=True` one kernel does all of it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..compare import Call, Case
from ..peers import normals
from ..place import DEVICE, ours, theirs

SHAPES = ((10_000, 650), (2600, 650), (2600, 650), (2600, 650), (2600, 650), (2600,), (2600,), (10_000, 650), (10_000,))
KINDS: dict[str, dict[str, Any]] = {"SGD": {"lr": 1e-6}, "Adam": {"lr": 1e-6}}


def given() -> tuple[list[Any], list[Any]]:
    """The weights and their gradients."""
    return normals(*SHAPES), [np.asarray(g) for g in normals(*SHAPES, seed=2)]


def here(kind: str) -> Call:
    import minigrad as mg
    import nn

    weights, gradients = given()
    parameters = [nn.Parameter(ours(w)) for w in weights]
    optimizer = getattr(nn, kind)(parameters, **KINDS[kind], clip_norm=1.0)
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = mg.tensor(g, device=DEVICE)

    def call() -> list[Any]:
        optimizer.step()
        return [p.data for p in parameters]

    return call


def there(kind: str, fused: bool) -> Call:
    import torch

    weights, gradients = given()
    parameters = [theirs(w, requires_grad=True) for w in weights]
    optimizer = getattr(torch.optim, kind)(parameters, **KINDS[kind], fused=fused)
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = theirs(g)  # the first call clips it, later ones find it clipped

    def call() -> list[Any]:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return [p.detach() for p in parameters]

    return call


CASES = [
    Case(f"optimizer: {kind}, 20 million weights",
         {"minigrad": partial(here, kind), "torch": partial(there, kind, False),
          "torch, fused": partial(there, kind, True)})
    for kind in KINDS
]  # fmt: skip
