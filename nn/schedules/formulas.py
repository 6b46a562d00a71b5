"""Schedules given by a formula: `lr(t)` returns the rates of all groups at step t, for training or for a plot."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..optimizers import Optimizer
from .schedule import Factor, Formula


class LambdaLR(Formula):
    """base · lr_lambda(t); one function for all groups, or a list with one for each."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(optimizer)
        self.lr_lambdas = self._for_groups("functions", lr_lambda)
        self.start(last_epoch)

    def lr(self, t: int) -> list[float]:
        return [base * factor(t) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(Factor):
    """base · gamma^⌊t / step_size⌋."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        self.step_size = self._positive("step_size", step_size)
        self.gamma = gamma
        self.start(last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma ** (t // self.step_size)  # type: ignore[no-any-return]


class MultiStepLR(Factor):
    """base · gamma^n, where n of the milestones are at or before t."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        super().__init__(optimizer)
        self.milestones = sorted(milestones)
        self.gamma = gamma
        self.start(last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma ** bisect_right(self.milestones, t)  # type: ignore[no-any-return]


class ExponentialLR(Factor):
    """base · gammaᵗ."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        self.gamma = gamma
        self.start(last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma**t  # type: ignore[no-any-return]


class CosineAnnealingLR(Formula):
    """eta_min + (base − eta_min) (1 + cos(π t / T_max)) / 2, without restarts (Loshchilov & Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        self.T_max = self._positive("T_max", T_max)
        self.eta_min = eta_min
        self.start(last_epoch)

    def lr(self, t: int) -> list[float]:
        return [self.eta_min + (base - self.eta_min) * self._weight(t) for base in self.base_lrs]

    def _weight(self, t: int) -> float:
        return (1 + math.cos(math.pi * t / self.T_max)) / 2

    def chained(self, t: int, rates: Sequence[float]) -> list[float]:
        low = self.eta_min
        if t and (t - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the minimum, a ratio would divide by 0
            return [rate + (base - low) * self._weight(t) for rate, base in zip(rates, self.base_lrs, strict=True)]
        ratio = self._weight(t) / self._weight(t - 1) if t else 1.0
        return [low + (rate - low) * ratio for rate in rates]


class PolynomialLR(Factor):
    """base · (1 − t / total_iters)^power for the first total_iters steps, then 0."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        self.total_iters, self.power = self._positive("total_iters", total_iters), power
        self.start(last_epoch)

    def factor(self, t: int) -> float:
        return (1 - min(t, self.total_iters) / self.total_iters) ** self.power  # type: ignore[no-any-return]


class LinearLR(Factor):
    """base times a factor that moves linearly from start_factor to end_factor in total_iters steps, and stays there."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(optimizer)
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be above 0 and at most 1, not {start_factor!r}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must be between 0 and 1, not {end_factor!r}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = self._positive("total_iters", total_iters)
        self.start(last_epoch)

    def factor(self, t: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * min(t, self.total_iters) / self.total_iters


class OneCycleLR(Formula):
    """Up to max_lr, then far down, with the momentum moving the other way (Smith & Topin 2018).

    From max_lr / div_factor to max_lr in the first pct_start of the steps, then to max_lr / div_factor /
    final_div_factor in the rest; with three_phase, first back to the initial rate in as many steps as the rise took.

    max_lr           one rate, or a list with one for each group
    total_steps      the length of the cycle; by default epochs · steps_per_epoch
    anneal_strategy  "cos" or "linear"
    cycle_momentum   also cycle the momentum, or β₁, from max_momentum to base_momentum and back

    Raises ValueError for more than total_steps steps.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float | Sequence[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: needs total_steps, or epochs and steps_per_epoch")
            total_steps = self._positive("epochs", epochs) * self._positive("steps_per_epoch", steps_per_epoch)
        self.total_steps = self._positive("total_steps", total_steps)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be between 0 and 1, not {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'OneCycleLR: anneal_strategy must be "cos" or "linear", not {anneal_strategy!r}')
        self._check_momentum(cycle_momentum)
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        self.max_lrs, self.final_div_factor = self._for_groups("max_lr", max_lr), final_div_factor
        self.base_momentums = self._for_groups("base_momentum", base_momentum)
        self.max_momentums = self._for_groups("max_momentum", max_momentum)
        up = pct_start * self.total_steps - 1
        self.ends = [up, 2 * up, self.total_steps - 1] if three_phase else [up, self.total_steps - 1]
        if last_epoch < 0:
            for group, high in zip(optimizer.param_groups, self.max_lrs, strict=True):
                group["initial_lr"] = high / div_factor
        self.start(last_epoch)

    def _checked_state(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        state = super()._checked_state(state_dict)
        if (t := state["last_epoch"]) > self.total_steps:
            raise ValueError(f"OneCycleLR.load_state_dict: last_epoch is {t}, in a cycle of {self.total_steps} steps")
        return state

    def lr(self, t: int) -> list[float]:
        return [
            self._through(t, [*[base, high, base][: len(self.ends)], base / self.final_div_factor])
            for base, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def momentum(self, t: int) -> list[float]:
        """The momentum, or β₁, of each group at step t."""
        return [
            self._through(t, [high, low, high, high][: len(self.ends) + 1])
            for low, high in zip(self.base_momentums, self.max_momentums, strict=True)
        ]

    def _through(self, t: int, values: Sequence[float]) -> float:
        """The value at t of a curve through `values`: the first at step 0, then one at the end of each phase."""
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: there is no step {t} in a cycle of {self.total_steps}")
        phase = next((k for k, end in enumerate(self.ends) if t <= end), len(self.ends) - 1)
        begin, end = ([0.0, *self.ends])[phase : phase + 2]
        done = (t - begin) / (end - begin) if end != begin else 1.0
        if self.anneal_strategy == "cos":
            done = (1 - math.cos(math.pi * done)) / 2
        return values[phase] + (values[phase + 1] - values[phase]) * done

    def _go_to(self, t: int) -> None:
        super()._go_to(t)
        if self.cycle_momentum:
            self._write_momentum(self.momentum(t))
