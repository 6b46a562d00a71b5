"""The updates of later variants of Adam, in the notation of `methods`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from .optimizer import Array, Clipping, Optimizer, Options, Slots


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016).

        g = g + λ w                             (decoupled_weight_decay: first w = (1 − lr λ) w instead)
        μₜ = β₁ (1 − ½ 0.96^(t ψ))
        m = β₁ m + (1 − β₁) g
        v = β₂ v + (1 − β₂) g²
        d = (1 − μₜ) g / (1 − μ₁ ⋯ μₜ) + μₜ₊₁ m / (1 − μ₁ ⋯ μₜ₊₁)
        w = w − lr · d / (√(v / (1 − β₂ᵗ)) + ε)

    lr, betas (β₁, β₂), eps ε, weight_decay λ, momentum_decay ψ.
    """

    def __init__(
        self, params: Any, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False,
        *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, options, **clipping)

    def slots(self, options: Options) -> Slots:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def numbers(self, options: Options) -> Mapping[str, float]:
        return {"mu_product": 1.0}

    def counted(self, entry: Mapping[str, Any], options: Options) -> dict[str, Any]:
        t = entry["step"] + 1
        mu = _mu(t, options["betas"][0], options["momentum_decay"])
        return {"step": t, "mu_product": entry["mu_product"] * mu}

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, momentum_decay: float,
        decoupled_weight_decay: bool,
    ) -> None:  # fmt: skip
        beta1, beta2 = betas
        g, m, v = _averaged(w, g, s, betas, weight_decay, lr if decoupled_weight_decay else None)
        now, ahead = _mu(t, beta1, momentum_decay), _mu(t + 1, beta1, momentum_decay)
        product = s["mu_product"] * now  # μ₁ ⋯ μₜ
        size = np.sqrt(v) / (1 - beta2**t) ** 0.5 + eps
        w -= lr * (1 - now) / (1 - product) * g / size
        w -= lr * ahead / (1 - product * ahead) * m / size


def _averaged(
    w: Array, g: Array, s: dict[str, Array], betas: tuple[float, float], weight_decay: float, decoupled: float | None
) -> tuple[Array, Array, Array]:
    """The gradient, and Adam's averages m and v including it; before, weight decay is applied to the gradient, or to
    the weights at the rate `decoupled`."""
    if weight_decay and decoupled is not None:
        w *= 1 - decoupled * weight_decay
    elif weight_decay:
        g = g + weight_decay * w
    m, v = s["exp_avg"], s["exp_avg_sq"]
    m += (1 - betas[0]) * (g - m)
    v *= betas[1]
    v += (1 - betas[1]) * (g * g)
    return g, m, v


def _mu(t: Any, beta1: float, decay: float) -> Any:
    """Dozat's schedule of the momentum."""
    return beta1 * (1 - 0.5 * 0.96 ** (t * decay))


class RAdam(Optimizer):
    """Adam that begins as momentum, until v is reliable (Liu et al. 2020).

        g = g + λ w                             (decoupled_weight_decay: first w = (1 − lr λ) w instead)
        m = β₁ m + (1 − β₁) g
        v = β₂ v + (1 − β₂) g²
        ρₜ = ρ − 2 t β₂ᵗ / (1 − β₂ᵗ),  ρ = 2 / (1 − β₂) − 1
        r² = (ρₜ − 4) (ρₜ − 2) ρ / ((ρ − 4) (ρ − 2) ρₜ)
        w = w − lr · m / (1 − β₁ᵗ) · r √(1 − β₂ᵗ) / (√v + ε)     if ρₜ > 5, else w − lr · m / (1 − β₁ᵗ)

    lr, betas (β₁, β₂), eps ε, weight_decay λ.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, decoupled_weight_decay: bool = False,
        *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, options, **clipping)

    def slots(self, options: Options) -> Slots:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, decoupled_weight_decay: bool,
    ) -> None:  # fmt: skip
        beta1, beta2 = betas
        g, m, v = _averaged(w, g, s, betas, weight_decay, lr if decoupled_weight_decay else None)
        rho = 2 / (1 - beta2) - 1
        rho_t = rho - 2 * t * beta2**t / (1 - beta2**t)
        d = lr / (1 - beta1**t) * m
        if rho_t > 5:
            r = ((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t)) ** 0.5
            d = d * (r * (1 - beta2**t) ** 0.5) / (np.sqrt(v) + eps)
        w -= d


class Lion(Optimizer):
    """Lion (Chen et al. 2023, Symbolic Discovery of Optimization Algorithms): all steps have equal size.

        w = (1 − lr λ) w
        w = w − lr · sign(β₁ m + (1 − β₁) g)
        m = β₂ m + (1 − β₂) g

    lr, betas (β₁, β₂), weight_decay λ. The paper's rates are 3 to 10 times smaller than Adam's, its λ as much larger.
    """

    def __init__(
        self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0,
        *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}, **clipping
        )

    def slots(self, options: Options) -> Slots:
        return {"exp_avg": 0.0}

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, betas: tuple[float, float], weight_decay: float,
    ) -> None:  # fmt: skip
        beta1, beta2 = betas
        m = s["exp_avg"]
        if weight_decay:
            w *= 1 - lr * weight_decay
        w -= lr * np.sign(beta1 * m + (1 - beta1) * g)
        m *= beta2
        m += (1 - beta2) * g
