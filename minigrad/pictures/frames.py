"""Scopes of the tape with their content, as `calls` and `repetitions` read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..tape import Node
from ..where import Scope as TapeScope

PLAIN = "t"  # the usual label of steps over time


class Frame:
    """A scope of the tape with its content: nodes and frames, in recording order."""

    def __init__(self, label: str, step: int | None = None, items: list[Entry] | None = None) -> None:
        self.label = label
        self.step = step
        self.items: list[Entry] = [] if items is None else items
        self.frames: dict[TapeScope, Frame] = {}

    def nodes(self) -> Iterable[Node]:
        """All nodes inside."""
        for item in self.items:
            if isinstance(item, Node):
                yield item
            else:
                yield from item.nodes()

    def steps(self) -> bool:
        """True if it is a time step, or contains one."""
        own = self.step is not None and self.label == PLAIN
        return own or any(one.steps() for one in self.items if not isinstance(one, Node))


Entry = Node | Frame


def loops(items: Iterable[Entry]) -> dict[int, tuple[str, int]]:
    """The loop of each step, by the step's id: a label and a number. A repeated step begins another loop."""
    taken: dict[str, set[int]] = {}
    number: Counter[str] = Counter()
    found = {}
    for one in items:
        if isinstance(one, Frame) and one.step is not None:
            if one.label not in taken or one.step in taken[one.label]:
                taken[one.label] = set()
                number[one.label] += 1
            taken[one.label].add(one.step)
            found[id(one)] = (one.label, number[one.label])
    return found
