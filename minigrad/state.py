"""State in Python, beside arrays: the learning rate of an optimizer, the count of its steps, the mode of a layer.

An owner of such state declares it by a `State`, and reads and changes it through that. So `mg.compile` knows the
dependencies of a step, and the owner needs no knowledge of `mg.compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .modes import current_mode
from .tape import WRITES


class State:
    """Values of an object that a step reads and changes.

    values  the dict that holds them: the attributes of an object, a group of options, an entry for one weight
    title   its name in messages
    live    the numbers that may differ at each step, with their names in messages. All other values are guarded: after
            a change, a compiled function is recorded again
    """

    __slots__ = ("live", "title", "values")

    def __init__(self, values: dict[str, Any], title: str, live: Mapping[str, str] | None = None) -> None:
        self.values = values
        self.title = title
        self.live = live or {}

    def read(self, names: Iterable[str]) -> dict[str, Any]:
        """Some of the values, by name."""
        names = list(names)
        intake = current_mode().intake
        intake.fixed(self.values, [name for name in names if name not in self.live], self.title)
        return {
            name: intake.number(self.values, name, self.live[name]) if name in self.live else self.values.get(name)
            for name in names
        }

    def change(self, effect: Callable[[], Any]) -> None:
        """Let `effect()` change values: now, and at each replay."""
        change(effect, self.values)


def change(effect: Callable[[], Any], *changed: Any) -> None:
    """Let `effect()` change some state, the `changed` objects: now, and at each replay."""
    current_mode().intake.do(effect, *changed)


def borrow(tensor: Any) -> None:
    """Declare a tensor's array as state that will be read and written as an array."""
    current_mode().intake.borrow(tensor)


def keep(owner: Any, name: str, tensor: Any) -> None:
    """Set an attribute of an object to a computed tensor: now, and at each replay."""
    current_mode().intake.keep(owner, name, tensor)


class Carried:
    """A tensor that one call computes and the next one reads, as the state of a stream: its array is overwritten.

    `carried.value` is the tensor, to be read before `carried.value = new` writes at the end of the call.
    """

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    @property
    def value(self) -> Any:
        borrow(self.tensor)
        return self.tensor

    @value.setter
    def value(self, new: Any) -> None:
        if not current_mode().intake.follows:  # a recording sets it again when it has ended
            WRITES.mark(self.tensor.data)
            self.tensor.data[...] = new.data


def decided(read: Callable[[], Any], what: str) -> Any:
    """The guarded value of `read()`, on which the operations depend."""
    return current_mode().intake.decided(read, what)


def only_outside(what: str) -> None:
    """Declare an effect that cannot be replayed without Python, such as reading or sending values."""
    current_mode().intake.only_outside(what)
