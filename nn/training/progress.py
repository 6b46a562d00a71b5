"""Progress: the position of a training run, exact enough to resume there."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

import minigrad as mg

from ..checks import count, entries, number, scalar
from .checkpoints import has_state


@dataclass
class Progress:
    """The state of a run after its last complete step, apart from the model, the optimizer and the schedule.

    >>> from nn.training.progress import Progress
    >>> p = Progress(batch=2)
    >>> p.mark(batches="abcd", carrier=None)
    >>> p.epoch_random = p.random
    >>> list(p.remaining("abcd"))
    ['c', 'd']
    """

    epoch: int = 0  # complete ones
    batch: int = 0  # batches of the current epoch
    steps: int = 0  # in total, of one or more batches each
    loss: Any = 0.0  # sum over the items of the current epoch, on the device
    items: int = 0
    best: float = math.inf  # the lowest validation loss
    best_weights: dict[str, Any] | None = field(default=None, repr=False)
    waited: int = 0  # epochs since then
    stopped: bool = False  # early
    random: Any = field(default=None, repr=False)  # state of all random numbers
    epoch_random: Any = field(default=None, repr=False)  # the same, before the current epoch's batches were ordered
    data: Any = field(default=None, repr=False)  # state_dict of the batches, if they have one
    carried: Any = field(default=None, repr=False)  # state_dict of what is carried from step to step
    # in a group's checkpoint `random` and `epoch_random` of ranks 1, 2, ...; () in a rank's own share
    others: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, state: Any) -> Progress:
        """The progress saved as `vars(progress)`; ValueError or TypeError that names an invalid entry."""
        saved = entries("reached", state, [field.name for field in fields(cls)], optional=("others",))
        found = cls(**saved)
        for name in ("epoch", "batch", "steps", "waited"):
            setattr(found, name, count(f"reached: {name}", saved[name]))
        if not isinstance(scalar(found.loss), int | float):  # NaN is allowed
            raise ValueError(f"reached: loss must be a number, not {found.loss!r:.80}")
        number("reached: items", found.items, 0)
        number("reached: best", found.best)
        if not isinstance(found.stopped, bool):
            raise ValueError(f"reached: stopped must be True or False, not {found.stopped!r:.80}")
        if found.best_weights is not None and not isinstance(found.best_weights, Mapping):
            raise TypeError(f"reached: best_weights must be a mapping or None, not {found.best_weights!r:.80}")
        for name in ("random", "epoch_random"):
            if saved[name] is not None:
                _check_random(f"reached: {name}", saved[name])
        for rank, pair in enumerate(found.others or (), 1):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise ValueError(f"reached: others must be pairs of random states, not {pair!r:.80}")
            for random in pair:
                if random is not None:
                    _check_random(f"reached: others: rank {rank}", random)
        return found

    def mark(self, batches: Any, carrier: Any) -> None:
        """Store the present state of random numbers, batches and the carried object."""
        self.random = mg.get_random_state()
        self.data = batches.state_dict() if has_state(batches) else None
        self.carried = carrier.state_dict() if has_state(carrier) else None

    def go_back(self, batches: Any, carrier: Any) -> None:
        """Restore that state. Raises ValueError if an object had a state and now accepts none."""
        for name, thing, state in (("batches", batches, self.data), ("carried", carrier, self.carried)):
            if state is not None and not has_state(thing):
                raise ValueError(f"the run's {name!r} had a state, but now it is a {type(thing).__name__} without one")
        mg.set_random_state(self.random)
        if self.data is not None:
            batches.load_state_dict(self.data)
        if self.carried is not None:
            carrier.load_state_dict(self.carried)

    def remaining(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches of the current epoch that were not seen yet.

        Batches with a state know their position. Others are iterated again in the same order, with the random numbers
        of the epoch's start, up to the position; then the random numbers are restored. Raises ValueError if there are
        fewer than before.
        """
        now = mg.get_random_state()
        if self.batch == 0:
            self.epoch_random = now
        if self.batch == 0 or self.data is not None:
            return iter(batches)
        mg.set_random_state(self.epoch_random)
        iterator = iter(batches)
        for seen in range(self.batch):
            if next(iterator, iterator) is iterator:
                raise ValueError(f"{self.batch} batches of the epoch were seen, but now it has only {seen}")
        mg.set_random_state(now)
        return iterator


def _check_random(what: str, state: Any) -> None:
    """Raise ValueError or TypeError for a state that `mg.set_random_state` does not accept."""
    entries(what, state, ("seed", "cpu", "streams"), optional=("streams",))
    count(f"{what}: seed", state["seed"])
    try:
        np.random.default_rng(0).bit_generator.state = state["cpu"]
    except Exception as error:  # its type depends on the damage
        raise ValueError(f"{what}: cpu is not a state of NumPy's generator: {error}") from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C until the block is done, so that its changes are complete."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    held: list[Any] = []
    signal.signal(signal.SIGINT, lambda *event: held.append(event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if held:
        handler(*held[0])
