"""The base of all schedules: the groups whose rates they write, and their state."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from minigrad.state import change

from ..checks import count, entries, number
from ..optimizers import Optimizer


class LRScheduler:
    """Base class of all schedules.

    optimizer  its groups' "lr" is written
    """

    wants_metric = False  # True if `step` takes a metric: then it is called once an epoch, after validation
    MEMORY: tuple[str, ...] = ()  # attributes that form its state: numbers, or lists with one for each group

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{self._title}: expected an optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.last_epoch = 0

    @property
    def _title(self) -> str:
        return type(self).__name__

    def step(self) -> None:
        """Advance by one step, and write the new rates into the optimizer."""
        self._warn_if_early()
        change(self._advance, *self.optimizer.param_groups)

    def _warn_if_early(self) -> None:
        """Warn if the optimizer has not taken a step: the first rate would never be used."""
        optimizer = self.optimizer
        if self.last_epoch == 0 and not optimizer.stepped and type(optimizer).step is Optimizer.step:
            warnings.warn(
                f"{self._title}.step() comes before the first optimizer.step(), so the first learning rate is never "
                "used; call optimizer.step() first",
                stacklevel=3,
            )

    def _advance(self) -> None:
        """Compute and write the rates of the next step."""
        raise NotImplementedError(f"{self._title} does not define step()")

    def get_last_lr(self) -> list[float]:
        """The present rates of the groups."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _write(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._for_groups("rates", rates), strict=True):
            group["lr"] = rate

    def _write_momentum(self, values: Sequence[float]) -> None:
        """Set the momentum, or β₁, of each group."""
        for group, momentum in zip(self.optimizer.param_groups, values, strict=True):
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum

    def _check_momentum(self, cycled: bool) -> None:
        if cycled and not {"momentum", "betas"} & self.optimizer.defaults.keys():
            kind = type(self.optimizer).__name__
            raise ValueError(f"{self._title}: {kind} has no momentum; pass cycle_momentum=False")

    def _for_groups(self, name: str, value: Any) -> list[Any]:
        """A list with one value for each group, from such a list or from one value for all."""
        count = len(self.optimizer.param_groups)
        values = list(value) if isinstance(value, list | tuple) else [value] * count
        if len(values) != count:
            raise ValueError(f"{self._title}: there are {len(values)} {name} for {count} groups of parameters")
        return values

    def _positive(self, name: str, value: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{self._title}: {name} must be a positive integer, not {value!r}")
        return value

    def state_dict(self) -> dict[str, Any]:
        """The rates and the schedule's memory, as plain numbers, without its constructor's arguments."""
        values = {name: getattr(self, name) for name in self.MEMORY} | {"lrs": self.get_last_lr()}
        return {name: list(value) if isinstance(value, list) else value for name, value in values.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore a state, and write its rates into the optimizer.

        Raises ValueError, and changes nothing, if the state is from another schedule or for another number of groups.
        """
        self._remember(self._checked_state(state_dict))

    def _checked_state(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        own, title = LRScheduler.state_dict(self), f"{self._title}.load_state_dict"
        entries(f"{title}: the state", state_dict, list(own))
        return {name: self._checked(f"{title}: {name}", state_dict[name], own[name]) for name in own}

    def _checked(self, what: str, value: Any, own: Any) -> Any:
        """A saved value of the type of the present one: rates for all groups, a count, another number, or anything
        else.
        """
        if isinstance(own, list):
            if not isinstance(value, list | tuple):
                raise ValueError(f"{what} must be a list with a number for each group, not {value!r:.80}")
            rates = self._for_groups(what.rpartition(" ")[2], value)
            return [number(what, rate, 0, sys.float_info.max) for rate in rates]
        if isinstance(own, bool) or not isinstance(own, int | float):
            if type(value) is not type(own):
                raise ValueError(f"{what} must be a {type(own).__name__}, not {value!r:.80}")
            return value
        return count(what, value) if isinstance(own, int) else float(number(what, value))

    def _remember(self, state: dict[str, Any]) -> None:
        self._write(state["lrs"])
        vars(self).update({name: state[name] for name in self.MEMORY})


class Formula(LRScheduler):
    """Base class of schedules given by a formula: define `lr`, and call `start` once it can be evaluated.

    The initial rates are stored in each group's "initial_lr"; several schedules share them.
    """

    MEMORY = ("last_epoch", "base_lrs")

    def start(self, last_epoch: int = -1) -> None:
        """Write the first rates, or those after step `last_epoch`, to resume with groups that have "initial_lr"."""
        for k, group in enumerate(self.optimizer.param_groups):
            if last_epoch >= 0 and "initial_lr" not in group:
                raise ValueError(f"{self._title}: group {k} has no initial_lr to go on from after step {last_epoch}")
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in self.optimizer.param_groups]
        self._go_to(last_epoch + 1)

    def _go_to(self, t: int) -> None:
        self._write(self.lr(t))
        self.last_epoch = t

    def lr(self, t: int) -> list[float]:
        """The learning rate of each group at step t."""
        raise NotImplementedError(f"{self._title} does not define lr()")

    def chained(self, t: int, rates: Sequence[float]) -> list[float]:
        """The rates at step t in a `ChainedScheduler`; `rates` are those at step t − 1, or at step 0 the optimizer's
        initial ones, as changed by the schedules before. By default a schedule ignores them."""
        return self.lr(t)

    def _advance(self) -> None:
        self._go_to(self.last_epoch + 1)


class Factor(Formula):
    """Base class of schedules that multiply the initial rates by a factor: define `factor`."""

    def lr(self, t: int) -> list[float]:
        return [base * self.factor(t) for base in self.base_lrs]

    def factor(self, t: int) -> float:
        """The factor of the rates at step t."""
        raise NotImplementedError(f"{self._title} does not define factor()")

    def chained(self, t: int, rates: Sequence[float]) -> list[float]:
        before = self.factor(t - 1) if t else 1.0
        return [rate * (self.factor(t) / before) if before else rate for rate in rates]
