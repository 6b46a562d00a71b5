"""Cyclic schedules: cosines with restarts, and triangles."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from minigrad.state import change

from ..optimizers import Optimizer
from .schedule import Formula


class CosineAnnealingWarmRestarts(Formula):
    """eta_min + (base − eta_min) (1 + cos(π t' / T)) / 2, where t' is the number of steps since the latest restart
    (Loshchilov & Hutter 2017, SGDR). The first period T is T_0; each period is T_mult times as long as the one before.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:  # fmt: skip
        super().__init__(optimizer)
        self.T_0, self.T_mult = self._positive("T_0", T_0), self._positive("T_mult", T_mult)
        self.eta_min = eta_min
        self.start(last_epoch)

    def lr(self, t: float) -> list[float]:
        period = self.T_0
        if self.T_mult == 1:
            t %= period
        while t >= period:
            t, period = t - period, period * self.T_mult
        weight = (1 + math.cos(math.pi * t / period)) / 2
        return [self.eta_min + (base - self.eta_min) * weight for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Advance by one step; or to an epoch, possibly fractional, such as `epoch + batch / batches`."""
        if epoch is None:
            super().step()
            return
        if not 0 <= epoch < math.inf:
            raise ValueError(f"CosineAnnealingWarmRestarts.step: epoch must not be negative, and is {epoch!r}")
        self._warn_if_early()
        change(functools.partial(self._go_within, epoch), *self.optimizer.param_groups)

    def _go_within(self, epoch: float) -> None:
        self._write(self.lr(epoch))
        self.last_epoch = math.floor(epoch)


class CyclicLR(Formula):
    """Up from base_lr to max_lr in step_size_up steps, and down again in step_size_down (Smith 2017).

    base_lr, max_lr  one rate, or a list with one for each group
    step_size_down   None: equal to step_size_up
    mode             the height of the k-th cycle: "triangular" always max_lr − base_lr, "triangular2" half of the one
                     before, "exp_range" times gammaᵗ at step t
    scale_fn         a function instead, of the cycle counted from 1, or with scale_mode="iterations" of the step
    cycle_momentum   also cycle the momentum, or β₁, from max_momentum to base_momentum and back
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: float | Sequence[float], max_lr: float | Sequence[float],
        step_size_up: int = 2000, step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle", cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8, max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(optimizer)
        scales: dict[str, tuple[Callable[[float], float], str]] = {
            "triangular": (lambda cycle: 1.0, "cycle"),
            "triangular2": (lambda cycle: 0.5 ** (cycle - 1), "cycle"),
            "exp_range": (lambda t: gamma**t, "iterations"),
        }
        if scale_fn is None and mode not in scales:
            raise ValueError(f"CyclicLR: mode must be {', '.join(scales)}, or there must be a scale_fn, not {mode!r}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f'CyclicLR: scale_mode must be "cycle" or "iterations", not {scale_mode!r}')
        self.scale_fn, self.scale_mode = scales[mode] if scale_fn is None else (scale_fn, scale_mode)
        self.up = self._positive("step_size_up", step_size_up)
        self.down = self.up if step_size_down is None else self._positive("step_size_down", step_size_down)
        self._check_momentum(cycle_momentum)
        self.cycle_momentum, self.max_lrs = cycle_momentum, self._for_groups("max_lr", max_lr)
        self.base_momentums = self._for_groups("base_momentum", base_momentum)
        self.max_momentums = self._for_groups("max_momentum", max_momentum)
        if last_epoch < 0:
            for group, low in zip(optimizer.param_groups, self._for_groups("base_lr", base_lr), strict=True):
                group["initial_lr"] = low
        self.start(last_epoch)

    def _height(self, t: int) -> float:
        """The height of the cycle at step t, from 0 to 1, times its scale."""
        cycle, within = divmod(t, self.up + self.down)
        height = within / self.up if within <= self.up else (self.up + self.down - within) / self.down
        return height * self.scale_fn(cycle + 1 if self.scale_mode == "cycle" else t)

    def lr(self, t: int) -> list[float]:
        height = self._height(t)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def momentum(self, t: int) -> list[float]:
        """The momentum, or β₁, of each group at step t."""
        height = self._height(t)
        pairs = zip(self.base_momentums, self.max_momentums, strict=True)
        return [high - (high - low) * height for low, high in pairs]

    def _go_to(self, t: int) -> None:
        super()._go_to(t)
        if self.cycle_momentum:
            self._write_momentum(self.momentum(t))
