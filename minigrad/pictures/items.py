"""Items of a layout: nodes, and the edges that pass a band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import fsum
from typing import Any

from .graph import GraphNode
from .labels import Text

GAP = 14.0  # between neighbours in a band
LANE = 8.0  # between edges that run side by side


class Item:
    """An element with a position: `left` and `right` are its extents from its middle x, y is its lower edge.

    Positions are relative to the enclosing box until the layout is complete.
    """

    thin = False  # True if neighbours of this class may touch

    def __init__(self, order: int) -> None:
        self.order = order
        self.box: Any = None  # the `boxes.Box` around it
        self.x = self.y = 0.0
        self.left = self.right = self.height = 0.0
        self.weight = 1.0  # the weight of its wanted position in a band
        self.pull = 0  # to the left (-1) or the right of its band: the origin or the destination of a state

    def around(self) -> Iterator[Any]:
        """The enclosing boxes, from the innermost out."""
        box = self.box
        while box is not None:
            yield box
            box = box.box

    def steps(self) -> tuple[int, ...]:
        """The steps of its first loop."""
        return ()

    def axis(self) -> float:
        """The middle of its first loop's columns, relative to its own middle."""
        return 0.0

    def lowest(self) -> Sequence[Leaf]:
        """The nodes at its lower edge, so that the lines of their parameters run below it."""
        return ()

    def way_out(self, leaf: Leaf) -> float:
        """The x, relative to its middle, at which an edge of `leaf` leaves it at the top."""
        return 0.0

    def way_in(self, leaf: Leaf) -> float:
        """The x, relative to its middle, at which edges from `leaf` enter it at the bottom."""
        return 0.0


class Leaf(Item):
    """A node, with the parameters that it alone uses to its left."""

    def __init__(self, node: GraphNode, text: Text) -> None:
        super().__init__(node.order)
        self.node = node
        self.text = text
        self.width, self.tall = text.size()
        self.satellites: list[Leaf] = []
        self.beside: Leaf | None = None  # the step that a given state enters
        self.supplies: list[Leaf] = []  # the parameters of a loop that it uses
        self.lines: set[Leaf] = set()  # the parameters whose lines run below it: its own, and its like's in other steps
        self.left = self.right = self.width / 2
        self.height = self.tall

    def attach(self) -> None:
        """Make room for the satellites."""
        if self.satellites:
            self.left = max(self.left, self.width / 2 + 2 * GAP + max(s.width for s in self.satellites))
            self.height = max(self.tall, stacked_height(self.satellites))

    def lowest(self) -> Sequence[Leaf]:
        return (self,)

    @property
    def middle(self) -> float:
        """The middle of its height, once placed."""
        return self.y + self.height / 2


class Passing(Item):
    """The position of an edge in a band."""

    thin = True

    def __init__(self, order: int) -> None:
        super().__init__(order)
        self.left = self.right = LANE / 2


def stacked_height(leaves: Sequence[Leaf]) -> float:
    """The height of leaves stacked above each other."""
    return fsum(leaf.tall for leaf in leaves) + 5 * (len(leaves) - 1)


def place_satellites(leaf: Leaf) -> None:
    """The parameters of one node, in a stack to its left."""
    y = leaf.middle + stacked_height(leaf.satellites) / 2
    for one in leaf.satellites:
        y -= one.tall
        one.x, one.y = leaf.x - leaf.width / 2 - 2 * GAP - one.width / 2, y
        y -= 5
