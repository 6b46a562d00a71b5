"""Schedules that depend on a metric, or on another schedule."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from minigrad.state import change, only_outside

from ..optimizers import Optimizer
from .schedule import LRScheduler


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rates by `factor` when a metric has not improved for more than `patience` steps.

    mode                       "min" or "max": the direction of improvement
    threshold, threshold_mode  the least improvement that counts, relative to the best ("rel") or absolute ("abs")
    cooldown                   steps after a reduction that are not counted
    min_lr                     the lowest rate; one, or a list with one for each group
    eps                        the smallest change that is made
    """

    wants_metric = True
    MEMORY = ("last_epoch", "best", "num_bad_epochs", "cooldown_counter")

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        super().__init__(optimizer)
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be at least 0 and less than 1, not {factor!r}")
        if mode not in ("min", "max"):
            raise ValueError(f'ReduceLROnPlateau: mode must be "min" or "max", not {mode!r}')
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f'ReduceLROnPlateau: threshold_mode must be "rel" or "abs", not {threshold_mode!r}')
        self.mode, self.factor, self.patience, self.cooldown, self.eps = mode, factor, patience, cooldown, eps
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.min_lrs = self._for_groups("min_lr", min_lr)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Take a metric, a number or a Tensor without axes, and reduce the rates if it is time."""
        only_outside(f"{self._title} looks at a metric")
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            self._write([self._reduced(lr, low) for lr, low in zip(self.get_last_lr(), self.min_lrs, strict=True)])

    def _is_better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            return sign * value > sign * self.best * (1 + sign * self.threshold)
        return sign * value > sign * self.best + self.threshold

    def _reduced(self, lr: float, low: float) -> float:
        new = max(lr * self.factor, low)
        return new if lr - new > self.eps else lr


class WarmupLR(LRScheduler):
    """Linear warm-up to the rate at which another schedule begins, then that schedule.

        lr · (t + 1) / (steps + 1)   for t < steps

    steps  the number of steps below the full rate
    after  any schedule of the same optimizer; None: the rates then stay

    >>> import minigrad as mg, nn
    >>> optimizer = nn.SGD([mg.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule = nn.WarmupLR(optimizer, steps=3, after=nn.ExponentialLR(optimizer, gamma=0.5))
    >>> rates = []
    >>> for _ in range(6):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 0.5, 0.25]
    """

    MEMORY = ("last_epoch", "full_lrs")

    def __init__(self, optimizer: Optimizer, steps: int, after: LRScheduler | None = None) -> None:
        super().__init__(optimizer)
        self.steps = self._positive("steps", steps)
        if after is not None and (not isinstance(after, LRScheduler) or after.optimizer is not optimizer):
            raise ValueError(f"WarmupLR: after must be a schedule of the same optimizer, not {after!r:.100}")
        self.after = after
        self.wants_metric = after is not None and after.wants_metric
        self.full_lrs = self.get_last_lr()
        self._rise()

    def _rise(self) -> None:
        part = (self.last_epoch + 1) / (self.steps + 1)
        self._write([full * part for full in self.full_lrs])

    def step(self, *metrics: Any) -> None:
        """Advance by one step. Metrics are passed to the schedule `after`, if it takes them."""
        if self.wants_metric:
            only_outside(f"{self._title} looks at a metric")
        self._warn_if_early()
        change(functools.partial(self._advance, *metrics), *self.optimizer.param_groups)

    def _advance(self, *metrics: Any) -> None:
        self.last_epoch += 1
        if self.last_epoch <= self.steps:
            self._rise()
        elif self.after is not None:
            self.after.step(*metrics)

    def state_dict(self) -> dict[str, Any]:
        after = {} if self.after is None else {"after": self.after.state_dict()}
        return super().state_dict() | after

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"WarmupLR.load_state_dict: expected a mapping, not a {type(state_dict).__name__}")
        if ("after" in state_dict) != (self.after is not None):
            raise ValueError(
                "WarmupLR.load_state_dict: the state has a schedule `after`, or this one has, but not both"
            )
        own = self._checked_state({name: value for name, value in state_dict.items() if name != "after"})
        if self.after is not None:
            self.after.load_state_dict(state_dict["after"])
        self._remember(own)
