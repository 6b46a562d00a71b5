"""Time: the steps of a loop as columns, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum
from typing import Any

from .boxes import Box, leaves_of
from .items import GAP, LANE, Item, Leaf, stacked_height
from .loops import likeness


class LoopRow(Box):
    """A loop: its steps side by side, and to their left the parameters that they share."""

    def __init__(self) -> None:
        super().__init__("")
        self.columns: dict[int, Item] = {}
        self.satellites: list[Leaf] = []
        self.stack = 0.0  # the width of the satellites
        self.room = 0.0  # that each column takes to either side, at least
        self.between = 0  # how many edges of states run between two columns
        self.written = 0.0  # the width of what is written beside those that lead from node to node

    def put(self, step: int, item: Item) -> None:
        """Add an item to a column."""
        self.columns[step] = item
        self.add(item)

    def arrange(self) -> None:
        """See Box."""
        for item in self.items:
            if isinstance(item, Box):
                item.arrange()
        ordered = [self.columns[step] for step in sorted(self.columns)]
        gap = max(GAP + LANE * self.between, self.written + GAP * (self.written > 0))
        self._level(ordered)
        self.height = max([*[item.y + item.height for item in ordered], stacked_height(self.satellites)])
        self.stack = max(self.stack, self.room_for_satellites())
        ends = GAP * (1 + (self.between > 0 and len(ordered) == 1))
        least = [0.0 if given_states(item) else self.room for item in ordered]
        sides = [(max(item.left, room), max(item.right, room)) for item, room in zip(ordered, least, strict=True)]
        width = self.stack + fsum(left + right for left, right in sides) + gap * (len(ordered) - 1) + ends
        x = -width / 2 + self.stack
        for item, (left, right) in zip(ordered, sides, strict=True):
            item.x = x + left
            x += left + right + gap
        self.left = self.right = width / 2

    def room_for_satellites(self) -> float:
        """The width of the stack of satellites, with room for their lines to turn."""
        return max(s.width for s in self.satellites) + 2 * GAP + 4 * len(self.satellites) if self.satellites else 0.0

    def _level(self, ordered: Sequence[Item]) -> None:
        """Heights at which corresponding nodes of the columns are level."""
        known: dict[Any, float] = {}
        given = [item for item in ordered if isinstance(item, Box) and given_states(item)]
        ordered = [item for item in ordered if item not in given]
        self._level_boxes([item for item in ordered if isinstance(item, Box)])
        for item in ordered:
            if not isinstance(item, Leaf):
                inside = {key: height_in(leaf, item) for key, leaf in alike(item).items()}
                lifts = Counter([round(known[key] - height, 1) for key, height in inside.items() if key in known])
                item.y = lifts.most_common(1)[0][0] if lifts else 0.0
                known = {key: item.y + height for key, height in inside.items()} | known
        boxes = [item for item in ordered if isinstance(item, Box)]
        lowest = min([item.y for item in boxes], default=0.0)
        highest = max([item.y + item.height for item in boxes], default=0.0)
        tall = max([highest - lowest, *[item.height for item in ordered if isinstance(item, Leaf)]])
        for item in boxes:  # frames of equal height, so that titles are on one line
            item.stretch(item.y - lowest, highest - item.y - item.height)
        for item in ordered:
            item.y = (tall - item.height) / 2
        for box in given:
            self._put_beside(box, tall)

    def _level_boxes(self, columns: Sequence[Box]) -> None:
        """Raise the boxes of a textbook's steps to those of the other steps, lane by lane."""
        counts = Counter([len(column.mains()) for column in columns])
        lanes = counts.most_common(1)[0][0] if counts else 0
        alike = [column for column in columns if len(column.mains()) == lanes]
        for k in range(lanes):
            heights = [column.mains()[k].y + column.mains()[k].height / 2 for column in alike]
            for column, height in zip(alike, heights, strict=True):
                column.lift(column.mains()[k], max(heights) - height)

    def _put_beside(self, box: Box, tall: float) -> None:
        """Place given states at the heights of the boxes that they enter."""
        states = given_states(box)
        for leaf in states:
            assert leaf.beside is not None
            same = [one for one in states if one.beside is leaf.beside]
            column = self.child_with(leaf.beside)
            middle = column.y + height_in(leaf.beside, column)
            leaf.x = 0.0
            leaf.y = middle + (same.index(leaf) - (len(same) - 1) / 2) * (leaf.tall + 4) - leaf.height / 2
        box.y, box.height = 0.0, tall
        box.left = box.right = max([leaf.width for leaf in states]) / 2

    def lowest(self) -> Sequence[Leaf]:
        return [one for one in self.items if isinstance(one, Leaf)]

    def steps(self) -> tuple[int, ...]:
        return tuple(sorted(self.columns))

    def axis(self) -> float:
        first, last = (self.columns[pick(self.columns)] for pick in (min, max))
        return (first.x + last.x) / 2

    def way_out(self, leaf: Leaf) -> float:
        column = self.leaving.get(leaf)
        return column.x + column.way_out(leaf) if column is not None else 0.0

    def way_in(self, leaf: Leaf) -> float:
        columns = self.entering.get(leaf, [])
        return fsum(c.x + c.way_in(leaf) for c in columns) / len(columns) if columns else 0.0


def given_states(column: Item) -> list[Leaf]:
    """The states in a column before the first step; none in other columns."""
    leaves = list(leaves_of(column))
    return leaves if all(leaf.beside is not None for leaf in leaves) else []


def height_in(leaf: Leaf, box: Item) -> float:
    """The middle of a leaf above the lower edge of an enclosing box, while positions are relative."""
    y, item = leaf.middle, leaf.box
    while item is not None and item is not box:
        y += item.y
        item = item.box
    return y


def alike(column: Item) -> dict[Any, Leaf]:
    """The leaves of a column by a key that is equal in all columns: operation, name, depth, and index."""
    seen: dict[Any, int] = {}
    found = {}
    for leaf in leaves_of(column):
        kind = (likeness(leaf.node), len(list(leaf.around())))
        nth = seen[kind] = seen.get(kind, -1) + 1
        found[kind, nth] = leaf
    return found
