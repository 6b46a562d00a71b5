"""The way into a computation, of plain arrays and of what code keeps in Python beside arrays.

As a rule nobody minds what passes. Whoever follows what a function computes, to do it again without Python, does: an
array that enters is to be read at each run, a learning rate is to be live, a count to go up. So there is `Mode.intake`.
An `Intake` lets everything pass as it is; `mg.compile` puts another in its place. The engine asks it about arrays;
layers and optimizers tell it of their state by a `state.State`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Array = Any


class Intake:
    """Lets everything pass as it is.

    follows  whether anybody minds: where not, callers need not ask
    """

    follows = False

    # ---- arrays --------------------------------------------------------------------------------------------------

    def operands(self, *values: Any, kinds: str = "fiub") -> tuple[Any, ...]:
        """The operands of one operation, as it shall take them: their arrays of these kinds of dtypes."""
        return values

    def together(self, *arrays: Any) -> tuple[Any, ...]:
        """The same for a kernel's arrays, where any of them is followed."""
        return arrays

    def made(self, array: Array) -> Array:
        """An array that was made from nothing."""
        return array

    def drawn(self, draw: Callable[[Array], Any], array: Array) -> Array:
        """An array of random numbers, which `draw(array)` draws anew."""
        return array

    # ---- state in Python -----------------------------------------------------------------------------------------

    def number(self, values: dict[str, Any], name: str, title: str) -> Any:
        """A number of somebody's state that is read as it is at each step."""
        return values[name]

    def fixed(self, values: dict[str, Any], names: Iterable[str], title: str) -> None:
        """Values of somebody's state that decide what is computed."""

    def decided(self, read: Callable[[], Any], what: str) -> Any:
        """The value of `read()`, which decides what is computed."""
        return read()

    def do(self, effect: Callable[[], Any], *changed: Any) -> None:
        """Change some state in Python, the `changed` objects: now, and at each step that does the same again."""
        effect()

    def keep(self, owner: Any, name: str, tensor: Any) -> None:
        """Keep a computed tensor as an attribute of some object, at each step."""
        setattr(owner, name, tensor)

    def borrow(self, tensor: Any) -> None:
        """A tensor of some state, whose array is about to be read and written."""

    def only_outside(self, what: str) -> None:
        """Something happens that cannot be done again from what was computed."""


OPEN = Intake()
