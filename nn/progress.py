"""Progress: where a training run is, exactly enough to go back there."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import minigrad as mg

from .checkpoints import has_state


@dataclass
class Progress:
    """How far a run has come, after its last complete step. With model, optimizer and schedule it is all of the run.

    >>> from nn.progress import Progress
    >>> p = Progress(batch=2)
    >>> p.mark(batches="abcd", carrier=None)
    >>> p.epoch_random = p.random
    >>> list(p.remaining("abcd"))
    ['c', 'd']
    """

    epoch: int = 0  # complete ones
    batch: int = 0  # batches of the current epoch
    steps: int = 0  # batches in all
    loss: Any = 0.0  # sum over the items of the current epoch, on the device
    items: int = 0
    best: float = math.inf  # the lowest validation loss
    best_weights: dict[str, Any] | None = None
    waited: int = 0  # epochs since then
    stopped: bool = False  # early
    random: Any = None  # state of all random numbers
    epoch_random: Any = None  # the same, before the batches of the current epoch were put in order
    data: Any = None  # state_dict of the batches, if they have one
    carried: Any = None  # state_dict of what is carried from step to step

    def mark(self, batches: Any, carrier: Any) -> None:
        """Remember where random numbers, batches and the carried state are now."""
        self.random = mg.get_random_state()
        self.data = batches.state_dict() if has_state(batches) else None
        self.carried = carrier.state_dict() if has_state(carrier) else None

    def go_back(self, batches: Any, carrier: Any) -> None:
        """Bring them to where they were then. Raises ValueError if one had a state and now takes none."""
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

        Batches with a state know where they are. Others are put in the same order again, by the random numbers of the
        epoch's start, and gone through as far as needed; then the random numbers are those of now. Raises ValueError
        if there are fewer than before.
        """
        now = mg.get_random_state()
        if self.batch == 0:
            self.epoch_random = now
        if self.batch == 0 or self.data is not None:
            return iter(batches)
        mg.set_random_state(self.epoch_random)
        iterator = iter(batches)
        for number in range(self.batch):
            if next(iterator, iterator) is iterator:
                raise ValueError(f"{self.batch} batches of the epoch were seen, but now it has only {number}")
        mg.set_random_state(now)
        return iterator


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done, so that what it changes is changed as a whole."""
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
