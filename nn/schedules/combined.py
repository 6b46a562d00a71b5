"""Combinations of schedules: in sequence, or chained."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from ..optimizers import Optimizer
from .schedule import Formula, LRScheduler


class _Combined(LRScheduler):
    """A combination of several schedules, each a formula of the step."""

    MEMORY: tuple[str, ...] = ("last_epoch",)

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Formula]) -> None:
        super().__init__(optimizer)
        self.schedulers = list(schedulers)
        if not self.schedulers:
            raise ValueError(f"{self._title}: there are no schedules")
        for one in self.schedulers:
            if not isinstance(one, Formula):
                raise TypeError(
                    f"{self._title}: takes schedules that are a formula of the step, or a SequentialLR of these, not a "
                    f"{type(one).__name__}"
                )
            if one.optimizer is not optimizer:
                raise ValueError(f"{self._title}: {type(one).__name__} is a schedule of another optimizer")

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"schedulers": [one.state_dict() for one in self.schedulers]}

    def _checked_state(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        title = f"{self._title}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"{title}: the state must be a mapping, not a {type(state_dict).__name__}")
        states = state_dict.get("schedulers")
        if not isinstance(states, list | tuple) or len(states) != len(self.schedulers):
            raise ValueError(f"{title}: schedulers must be a list with the states of {len(self.schedulers)} schedules")
        own = super()._checked_state({key: value for key, value in state_dict.items() if key != "schedulers"})
        return own | {"schedulers": [s._checked_state(v) for s, v in zip(self.schedulers, states, strict=True)]}

    def _remember(self, state: dict[str, Any]) -> None:
        for one, its in zip(self.schedulers, state["schedulers"], strict=True):
            one._remember(its)
        super()._remember(state)


class SequentialLR(_Combined, Formula):
    """One schedule after the other, each from its own first step on.

    schedulers  of the same optimizer, each a formula of the step
    milestones  the steps at which the second, third ... schedule begins

    >>> import minigrad as mg, nn
    >>> optimizer = nn.SGD([mg.zeros(2, requires_grad=True)], lr=1.0)
    >>> parts = [nn.LinearLR(optimizer, 0.5, total_iters=2), nn.ExponentialLR(optimizer, gamma=0.5)]
    >>> nn_schedule = nn.SequentialLR(optimizer, parts, milestones=[3])
    >>> [nn_schedule.lr(t)[0] for t in range(6)]
    [0.5, 0.75, 1.0, 1.0, 0.5, 0.25]
    """

    MEMORY = Formula.MEMORY

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Formula], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        super().__init__(optimizer, schedulers)
        self.milestones = list(milestones)
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"SequentialLR: between {len(self.schedulers)} schedules there are {len(self.schedulers) - 1} "
                f"milestones, not {len(self.milestones)}"
            )
        if sorted(set(self.milestones)) != self.milestones or any(milestone < 1 for milestone in self.milestones):
            raise ValueError(f"SequentialLR: milestones must be positive and grow, not {self.milestones}")
        self.start(last_epoch)

    def _at(self, t: int) -> tuple[Formula, int]:
        """The schedule in effect at step t, and its own step number then."""
        k = bisect_right(self.milestones, t)
        return self.schedulers[k], t - ([0, *self.milestones])[k]

    def lr(self, t: int) -> list[float]:
        one, own = self._at(t)
        return one.lr(own)

    def _go_to(self, t: int) -> None:
        one, own = self._at(t)
        one._go_to(own)
        self.last_epoch = t


class ChainedScheduler(_Combined):
    """Schedules applied one on top of the other, each to the rates of those before it: `LinearLR`, `StepLR`,
    `MultiStepLR`, `ExponentialLR`, `PolynomialLR` and `CosineAnnealingLR` multiply them by factors; others replace
    them.

    >>> import minigrad as mg, nn
    >>> optimizer = nn.SGD([mg.zeros(2, requires_grad=True)], lr=1.0)
    >>> parts = [nn.LinearLR(optimizer, 0.5, total_iters=2), nn.ExponentialLR(optimizer, gamma=0.5)]
    >>> schedule = nn.ChainedScheduler(parts)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 0.375, 0.25, 0.125]
    """

    def __init__(self, schedulers: Sequence[Formula], optimizer: Optimizer | None = None) -> None:
        schedulers = list(schedulers)
        found = getattr(schedulers[0], "optimizer", None) if optimizer is None and schedulers else optimizer
        super().__init__(found, schedulers)  # type: ignore[arg-type]
        self._write([group.get("initial_lr", group["lr"]) for group in self.optimizer.param_groups])
        self._go_on(0)

    def _go_on(self, by: int) -> None:
        for one in self.schedulers:
            t, rates = one.last_epoch + by, self.get_last_lr()
            one._go_to(t)  # including its momentum
            self._write(one.chained(t, rates))

    def _advance(self) -> None:
        self._go_on(1)
        self.last_epoch += 1
