"""Losses that are negative log-likelihoods of numbers: under a normal or a Poisson distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.scopes import here

from .elementwise import ElementwiseLoss, Loss, as_tensor, check_mask, float_target


class GaussianNLLLoss(Loss):
    """½ (log v + (x − y)² / v), for the mean x and the variance v of y (Nix & Weigend 1994).

    full  add ½ log 2π, for the exact negative log-likelihood
    eps   smaller variances count as this one. Their gradient is that at eps, not 0, so that they may grow again

    Raises ValueError for a negative variance (only where the check does not wait).
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if not eps > 0:
            raise ValueError(f"GaussianNLLLoss: eps must be positive, not {eps!r}")
        self.full, self.eps = full, eps

    def forward(self, input: Any, target: Any, var: Any, mask: Any = None) -> Any:
        """Means and targets (..., D), mask (..., D) or None: a scalar, or (..., D) without reduction.

        var  (..., D), or one for each vector, (...), or with one axis of size 1, or a number for all
        """
        input = as_tensor(input)
        target, var = float_target(target, input), float_target(var, input)
        if input.shape != target.shape:
            raise ValueError(f"GaussianNLLLoss: the input is {input.shape}, but the target is {target.shape}{here()}")
        if var.ndim and var.shape == input.shape[:-1]:
            var = np.expand_dims(var, -1)
        others = [n for n, m in zip(var.shape, input.shape, strict=False) if n != m]
        if var.shape and (var.ndim != input.ndim or others not in ([], [1])):
            raise ValueError(
                f"GaussianNLLLoss: var must be {input.shape}, or one for each of its rows, or have one axis of size 1, "
                f"not {var.shape}{here()}"
            )
        v: Any = np.broadcast_to(var, input.shape)  # (..., D)
        if mask is not None:
            mask = check_mask(self, mask, input.shape, input)
            input, target, v = np.where(mask, input, 0.0), np.where(mask, target, 0.0), np.where(mask, v, 1.0)
        array: Any = v.data
        if backend.backend_of(array).synchronous and bool(np.any(array < 0)):
            raise ValueError(f"GaussianNLLLoss: {array.min()} is not a variance; it must not be negative{here()}")
        v = v + np.maximum(self.eps - array, 0.0)
        loss = 0.5 * (np.log(v) + np.square(input - target) / v)
        if self.full:
            loss = loss + 0.5 * math.log(2 * math.pi)
        return self.reduce(loss if mask is None else np.where(mask, loss, 0.0), mask)

    def extra_repr(self) -> str:
        return f"full={self.full}, eps={self.eps}, {super().extra_repr()}"


class PoissonNLLLoss(ElementwiseLoss):
    """exp(x) − y x, for counts y and the logarithm x of their mean; or x − y log(x + eps), for the mean itself.

    log_input  the input is the logarithm of the mean
    full       add log y! for y above 1, by Stirling's formula y log y − y + ½ log 2πy
    eps        only for log_input=False: keeps the logarithm finite
    """

    def __init__(
        self, *, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    @property
    def harmless(self) -> float:  # type: ignore[override]
        return 0.0 if self.log_input else 1.0

    def elements(self, input: Any, target: Any) -> Any:
        """The loss of each element."""
        loss = np.exp(input) - target * input if self.log_input else input - target * np.log(input + self.eps)
        if self.full:
            y = np.where(target > 1, target, 1.0)
            loss = loss + np.where(target > 1, y * np.log(y) - y + 0.5 * np.log(2 * math.pi * y), 0.0)
        return loss

    def extra_repr(self) -> str:
        return f"log_input={self.log_input}, full={self.full}, {super().extra_repr()}"
