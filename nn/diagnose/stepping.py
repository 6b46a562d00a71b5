"""The scale of the learning rate: the size of a step relative to the weights, and its effect on the loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend

Array = Any
FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # multiples of the optimizer's step
SIZES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of a step along the gradient relative to the weights, without an optimizer


@dataclass
class Steps:
    """Losses after steps of several sizes, all in one direction.

    ratio    ‖step‖ / ‖weights‖ of the optimizer's step; None without an optimizer
    factors  the sizes: multiples of the optimizer's step; without one, relative to the norm of the weights
    losses   the loss after each; NaN where it is not finite
    before   the loss without a step
    """

    ratio: float | None
    factors: tuple[float, ...]
    losses: Array
    before: float

    @property
    def after(self) -> float:
        """The loss after the optimizer's own step."""
        return float(self.losses[self.factors.index(1.0)])

    @property
    def best(self) -> float:
        """The size of step with the lowest loss; 0 if no step lowers it."""
        known = np.where(np.isfinite(self.losses), self.losses, np.inf)
        return self.factors[int(np.argmin(known))] if known.min() < self.before else 0.0


def probe(
    parameters: Mapping[str, mg.Tensor], gradients: Mapping[str, Array], loss: Callable[[], float], before: float,
    optimizer: Any,
) -> Steps:  # fmt: skip
    """Try steps of several sizes, and restore the weights.

    loss  computes the loss with the present weights
    """
    steps = _updates(parameters, gradients, optimizer)
    norm = _norm([backend.to_numpy(p.data).astype(float) for p in parameters.values()])
    size = _norm(list(steps.values()))
    factors = FACTORS if optimizer is not None else SIZES
    scale = 1.0 if optimizer is not None else norm / (size or 1.0)
    old = {name: p.data for name, p in parameters.items()}
    losses = []
    try:
        for factor in factors:
            for name, step in steps.items():
                moved = backend.transfer((factor * scale * step).astype(old[name].dtype), parameters[name].device)
                parameters[name].data = old[name] + moved
            losses.append(loss())
    finally:
        for name, p in parameters.items():
            p.data = old[name]
    known = np.where(np.isfinite(losses), losses, np.nan)
    return Steps(size / (norm or 1.0) if optimizer is not None else None, factors, known, before)


def _norm(arrays: list[Array]) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(a))) for a in arrays)))


def _updates(
    parameters: Mapping[str, mg.Tensor], gradients: Mapping[str, Array], optimizer: Any
) -> dict[str, Array]:  # fmt: skip
    """The change of each weight in a step: by a copy of the optimizer, or against the gradient."""
    if optimizer is None:
        return {name: -gradients[name] for name in parameters if name in gradients}
    twin = copy.deepcopy(optimizer)
    names = {id(p): name for name, p in parameters.items()}
    pairs = [
        (names[id(p)], copied) for (_, p), (_, copied) in zip(
            optimizer.named_parameters(), twin.named_parameters(), strict=True
        ) if id(p) in names
    ]  # fmt: skip
    for _, copied in twin.named_parameters():
        copied.grad = None
    for name, copied in pairs:
        if name in gradients:
            g = backend.transfer(gradients[name].astype(copied.dtype), copied.device)
            copied.grad = mg.Tensor(g)
    twin.step()
    return {
        name: backend.to_numpy(copied.data).astype(float) - backend.to_numpy(parameters[name].data)
        for name, copied in pairs if name in gradients
    }  # fmt: skip
