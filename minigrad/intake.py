"""The intake of a computation: plain arrays and Python state that enter it from outside.

A recording has to know these inputs to replay a function without Python: a plain array is read at each run, a learning
rate is live, a count increases. So there is `Mode.intake`. An `Intake` passes everything unchanged; `mg.compile`
replaces it by a recording. The engine passes arrays through it; layers and optimizers declare their state by a
`state.State`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Array = Any


class Intake:
    """Passes everything unchanged.

    follows  True for a recording; otherwise callers may skip the calls
    """

    follows = False

    # ---- arrays --------------------------------------------------------------------------------------------------

    def operands(self, *values: Any, kinds: str = "fiub") -> tuple[Any, ...]:
        """The operands of one operation, with arrays of these kinds of dtypes replaced if necessary."""
        return values

    def together(self, *arrays: Any) -> tuple[Any, ...]:
        """The arrays of a kernel call, all replaced if one of them is recorded."""
        return arrays

    def made(self, array: Array) -> Array:
        """A newly created array."""
        return array

    def drawn(self, draw: Callable[[Array], Any], array: Array) -> Array:
        """An array of random numbers, which `draw(array)` draws again."""
        return array

    # ---- state in Python -----------------------------------------------------------------------------------------

    def number(self, values: dict[str, Any], name: str, title: str) -> Any:
        """A number of an object's state that is read again at each replay."""
        return values[name]

    def fixed(self, values: dict[str, Any], names: Iterable[str], title: str) -> None:
        """Guard values of an object's state, on which the operations depend."""

    def decided(self, read: Callable[[], Any], what: str) -> Any:
        """The guarded value of `read()`, on which the operations depend."""
        return read()

    def do(self, effect: Callable[[], Any], *changed: Any) -> None:
        """Apply an effect to Python state, to the `changed` objects: now, and at each replay."""
        effect()

    def keep(self, owner: Any, name: str, tensor: Any) -> None:
        """Set an attribute of an object to a computed tensor: now, and at each replay."""
        setattr(owner, name, tensor)

    def borrow(self, tensor: Any) -> None:
        """Announce a tensor of some state whose array will be read and written."""

    def only_outside(self, what: str) -> None:
        """Announce an effect that cannot be replayed; a recording raises."""


OPEN = Intake()
