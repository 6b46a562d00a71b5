"""The update of each optimizer, as an equation.

    w, g   the weight and its gradient
    s      the state, an array for each slot, by PyTorch's names
    t      the number of this step, from 1

An update writes into w and s, never into g, and it is element-wise. So the same code serves a whole matrix, a block of
it, or single rows.
"""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from .optimizer import Array, Clipping, Optimizer, Options, Slots


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's, in the form of Sutskever et al. (2013).

        d = g + λ w
        b = μ b + (1 − τ) d     (d itself at the first step)
        w = w − lr · b          (lr · (d + μ b) if nesterov)

    lr, momentum μ, dampening τ, weight_decay λ. Row-sparse gradients: without momentum and weight decay.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0, weight_decay: float = 0.0,
        nesterov: bool = False, *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, options, **clipping)

    def check(self, options: Options) -> None:
        super().check(options)
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0, and a dampening of 0")

    def slots(self, options: Options) -> Slots:
        return {"momentum_buffer": 0.0} if options["momentum"] else {}

    def why_not_rows(self, options: Options) -> str | None:
        return _given(options, "momentum", "weight_decay")

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        d = g + weight_decay * w if weight_decay else g
        if momentum:
            b = s["momentum_buffer"]
            if t == 1:
                b[...] = d
            else:
                b *= momentum
                b += (1 - dampening) * d if dampening else d
            d = d + momentum * b if nesterov else b
        w -= lr * d


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015).

        g = g + λ w
        m = β₁ m + (1 − β₁) g
        v = β₂ v + (1 − β₂) g²
        w = w − lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)

    lr, betas (β₁, β₂), eps ε, weight_decay λ; amsgrad divides by the largest v so far (Reddi et al. 2018).
    Row-sparse gradients update only the touched rows of m, v and w, as in PyTorch's SparseAdam.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, amsgrad: bool = False, *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, options, **clipping)

    def slots(self, options: Options) -> Slots:
        slots = {"exp_avg": 0.0, "exp_avg_sq": 0.0}
        return slots | {"max_exp_avg_sq": 0.0} if options["amsgrad"] else slots

    def why_not_rows(self, options: Options) -> str | None:
        return _given(options, "weight_decay", "amsgrad")

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, amsgrad: bool,
    ) -> None:  # fmt: skip
        beta1, beta2 = betas
        if weight_decay:
            g = g + weight_decay * w
        m, v = s["exp_avg"], s["exp_avg_sq"]
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * (g * g)
        if amsgrad:
            v = np.maximum(s["max_exp_avg_sq"], v, out=s["max_exp_avg_sq"])
        w -= lr / (1 - beta1**t) * m / (np.sqrt(v) / (1 - beta2**t) ** 0.5 + eps)

    def update_rows(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, eps: float, betas: tuple[float, float], **options: Any,
    ) -> None:  # fmt: skip
        eps = eps / math.sqrt(1 - betas[1] ** t)  # SparseAdam adds ε before v is corrected
        self.update(w, g, s, t, eps=eps, betas=betas, **options)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019): first w = (1 − lr λ) w, then as Adam
    with λ = 0. The hyper-parameters are Adam's."""

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, **clipping)

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, amsgrad: bool,
    ) -> None:  # fmt: skip
        if weight_decay:
            w *= 1 - lr * weight_decay
        super().update(w, g, s, t, lr=lr, betas=betas, eps=eps, weight_decay=0.0, amsgrad=amsgrad)


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011).

        g = g + λ w
        v = v + g²
        w = w − lr / (1 + (t − 1) η) · g / (√v + ε)

    lr, lr_decay η, weight_decay λ, initial_accumulator_value v₀, eps ε. Row-sparse gradients: without weight decay.
    """

    def __init__(
        self, params: Any, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10,
        *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "eps": eps, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, options, **clipping)

    def slots(self, options: Options) -> Slots:
        return {"sum": options["initial_accumulator_value"]}

    def why_not_rows(self, options: Options) -> str | None:
        return _given(options, "weight_decay")

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, lr_decay: float, weight_decay: float, initial_accumulator_value: float, eps: float,
    ) -> None:  # fmt: skip
        if weight_decay:
            g = g + weight_decay * w
        v = s["sum"]
        v += g * g
        w -= lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(v) + eps)


class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012); if centered, with the variance in place of v (Graves 2013).

        g = g + λ w
        v = α v + (1 − α) g²
        a = α a + (1 − α) g     if centered; v − a² then replaces v below
        b = μ b + g / (√v + ε)
        w = w − lr · b

    lr, alpha α, eps ε, weight_decay λ, momentum μ.
    """

    def __init__(
        self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0,
        momentum: float = 0.0, centered: bool = False, *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        options = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
            "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, options, **clipping)

    def slots(self, options: Options) -> Slots:
        names = ["square_avg"] + ["grad_avg"] * options["centered"] + ["momentum_buffer"] * bool(options["momentum"])
        return dict.fromkeys(names, 0.0)

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, alpha: float, eps: float, weight_decay: float, momentum: float, centered: bool,
    ) -> None:  # fmt: skip
        if weight_decay:
            g = g + weight_decay * w
        v = s["square_avg"]
        v *= alpha
        v += (1 - alpha) * (g * g)
        if centered:
            a = s["grad_avg"]
            a += (1 - alpha) * (g - a)
            v = np.maximum(v - a * a, 0.0)  # a variance; rounding must not make it negative
        d = g / (np.sqrt(v) + eps)
        if momentum:
            b = s["momentum_buffer"]
            b *= momentum
            b += d
            d = b
        w -= lr * d


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012).

        g = g + λ w
        v = ρ v + (1 − ρ) g²
        d = √(u + ε) / √(v + ε) · g
        u = ρ u + (1 − ρ) d²
        w = w − lr · d

    lr, rho ρ, eps ε, weight_decay λ.
    """

    def __init__(
        self, params: Any, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0,
        *, maximize: bool = False, **clipping: Unpack[Clipping],
    ) -> None:  # fmt: skip
        options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options, **clipping)

    def slots(self, options: Options) -> Slots:
        return {"square_avg": 0.0, "acc_delta": 0.0}

    def update(
        self, w: Array, g: Array, s: dict[str, Array], t: int,
        *, lr: float, rho: float, eps: float, weight_decay: float,
    ) -> None:  # fmt: skip
        if weight_decay:
            g = g + weight_decay * w
        v, u = s["square_avg"], s["acc_delta"]
        v *= rho
        v += (1 - rho) * (g * g)
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u *= rho
        u += (1 - rho) * (d * d)
        w -= lr * d


def _given(options: Options, *names: str) -> str | None:
    """The names of the given options that exclude row-sparse gradients, as a sentence; None if none is set."""
    given = [f"{name}={options[name]}" for name in names if options[name]]
    return f"{' and '.join(given)} would change all rows, or needs them" if given else None
