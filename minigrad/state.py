"""State in Python, beside arrays: the learning rate of an optimizer, the count of its steps, the mode of a layer.

Who keeps such state declares it by a `State`, and reads and changes it through that. So `mg.compile` knows what a step
depends on, and the code that keeps it needs to know nothing of `mg.compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .modes import current_mode


class State:
    """Values that an object keeps, as a step reads and changes them.

    values  the dict that holds them: the attributes of an object, a group of options, an entry for one weight
    title   what messages call it
    live    the numbers that may be others at each step, each with what messages call it. All other values that are
            read decide what is computed: where one has changed, a compiled function is recorded anew
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
        """Let `effect()` change values: now, and at each step that does the same again."""
        change(effect, self.values)


def change(effect: Callable[[], Any], *changed: Any) -> None:
    """Let `effect()` change some state, the `changed` objects: now, and at each step that does the same again."""
    current_mode().intake.do(effect, *changed)


def borrow(tensor: Any) -> None:
    """Say that a tensor's array is state, which is about to be read and written as an array."""
    current_mode().intake.borrow(tensor)


def keep(owner: Any, name: str, tensor: Any) -> None:
    """Keep a computed tensor as an attribute of some object."""
    current_mode().intake.keep(owner, name, tensor)


def decided(read: Callable[[], Any], what: str) -> Any:
    """The value of `read()`, on which depends what is computed."""
    return current_mode().intake.decided(read, what)


def only_outside(what: str) -> None:
    """Say that something is about to happen that cannot be done again without Python: numbers are looked at or sent."""
    current_mode().intake.only_outside(what)
