"""Nested boxes: the elements of a layout, and the arrangement of each box.

Boxes are laid out separately, from the innermost out. The items of a box form bands, each above the items it uses; in a
band, an item is placed near those it is connected with. An edge that passes a band, or leaves a box, has a position of
its own there, so that no edge runs through a node.

The method is that of K. Sugiyama, S. Tagawa & M. Toda, Methods for visual understanding of hierarchical system
structures, 1981.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import fsum
from typing import Any

from .bands import in_order, mean, ranks, settle
from .items import GAP, Item, Leaf, Passing, place_satellites
from .labels import SIZE, text_width

RISE = 24.0  # between bands
MARGIN = 9.0  # inside of a box
TITLE = 13.0  # the height of its title
MAIN = ("cell", "elided")  # boxes of a textbook's step
GIVEN = ("input", "detached")
LINES = (8.0, 3.0)  # of parameters, below the nodes that use them: the first one's distance, and that between them
SPACED = (17.0, 13.0)  # the same with a number beside each branch
SWEEPS = 7  # odd: the last goes upwards


class Box(Item):
    """A scope, a step, or the whole picture: items, and links between them."""

    def __init__(self, name: str, step: bool = False, framed: bool = True) -> None:
        super().__init__(-1)
        self.name = name
        self.step = step
        self.framed = framed  # False: its frame and title are not drawn
        self.lines = LINES
        self.items: list[Item] = []
        self.links: list[tuple[Item, Item, Leaf]] = []  # source, target, and the leaf at which the edge starts
        self.leaving: dict[Leaf, Item] = {}  # leaf: the item that contains it
        self.entering: dict[Leaf, list[Item]] = {}  # a leaf outside: the items that its edges lead to
        self.passing: dict[tuple[Any, int], Passing] = {}
        self.level: dict[Item, int] = {}
        self.bottoms: list[float] = []  # of the bands
        self.tops: list[float] = []
        self.crossings: list[float] = []  # the x of edges across the border with the title

    def child_with(self, leaf: Item) -> Item:
        """The item of this box that contains the leaf, or is the leaf."""
        item = leaf
        while item.box is not self:
            assert item.box is not None
            item = item.box
        return item

    def add(self, item: Item) -> None:
        """Add an item."""
        item.box = self
        self.items.append(item)
        if self.order < 0:
            self.order = item.order

    def arrange(self) -> None:
        """Lay out the items, then the box itself."""
        for item in self.items:
            if isinstance(item, Box):
                item.arrange()
            elif isinstance(item, Leaf):
                item.attach()  # no effect the second time
        self._place()

    def _place(self) -> None:
        for old in (self.passing, self.level, self.bottoms, self.tops):
            old.clear()
        for item in self.items:
            item.x = 0.0
        mains = self.mains()
        links = {(a, b) for a, b, _ in self.links} | set(lanes(self.items)) | set(pairwise(mains))
        links |= set(self._between(mains))
        self.level = ranks(self.items, links)
        self._pass_lanes(links)
        top = max(self.level.values(), default=0)
        bands: list[list[Item]] = [[] for _ in range(top + 1)]
        for item in self.items:
            bands[self.level[item]].append(item)
        near = self._neighbours(bands, top)
        for item in mains:
            item.weight = 1e6
        above: dict[Item, Item] = {}  # lanes are placed exactly above the first of them
        for a, b in lanes(self.items):
            above[b] = above.get(a, a)
            above[b].weight, b.weight = 100.0, 1e6
        for band in bands:
            band[:] = in_order(sorted(band, key=lambda item: item.order), dict.fromkeys(band, 0.0))
            settle(band, [0.0] * len(band), GAP)
        for sweep in range(SWEEPS):
            side = -1 if sweep % 2 == 0 else 1
            levels = range(top + 1) if side < 0 else range(top, -1, -1)
            for level in levels:
                wanted = {item: mean(item, [n for n in near.get(item, ()) if n[0] == side or sweep >= SWEEPS - 2])
                          for item in bands[level]}  # fmt: skip
                wanted |= dict.fromkeys([item for item in bands[level] if item in mains], 0.0)
                for item in bands[level]:
                    if item in above:
                        wanted[item] = above[item].x + above[item].axis() - item.axis()
                if sweep < SWEEPS - 2:
                    bands[level] = in_order(bands[level], wanted)
                settle(bands[level], [wanted[item] for item in bands[level]], GAP)
        self._measure(bands)

    def _pass_lanes(self, links: set[tuple[Item, Item]]) -> None:
        """Move a node that is unrelated to the loop beside it above that loop, to make room."""
        loops = {self.level[item] for item in self.items if item.steps()}
        after: dict[Item, list[Item]] = {}
        for a, b in links:
            after.setdefault(a, []).append(b)
        for item in sorted(after, key=lambda item: (-self.level[item], item.order)):
            if self.level[item] in loops and not item.steps():
                self.level[item] = max(self.level[item], min(self.level[b] for b in after[item]) - 1)

    def _neighbours(self, bands: list[list[Item]], top: int) -> dict[Item, list[Any]]:
        """The connections of each item: (side, other item, position on the other, position on this one)."""
        near: dict[Item, list[Any]] = {}

        def join(lower: Item, at: float, upper: Item, to: float) -> None:
            near.setdefault(upper, []).append((-1, lower, at, to))
            near.setdefault(lower, []).append((1, upper, to, at))

        def chain(key: Any, order: int, start: Any, at: float, first: int, last: int) -> tuple[Any, float]:
            """Connect through the bands from `first` to `last`; all edges with this key share the positions there."""
            for level in range(first, last + 1):
                place = self.passing.get((key, level))
                if place is None:
                    place = self.passing[key, level] = Passing(order)
                    place.box = self
                    bands[level].append(place)
                    self.level[place] = level
                    if start is not None:
                        join(start, at, place, 0.0)
                start, at = place, 0.0
            return start, at

        for a, b, leaf in self.links:
            if self.level[b] > self.level[a]:
                end, at = chain(leaf, leaf.order, a, a.way_out(leaf), self.level[a] + 1, self.level[b] - 1)
                join(end, at, b, b.way_in(leaf))
        for leaf, items in self.entering.items():
            for b in items:
                if leaf.pull:  # the edge comes from that side
                    aside = Passing(leaf.order)
                    aside.x = 10 * GAP * leaf.pull
                    near.setdefault(b, []).append((-1, aside, 0.0, 0.0))
                end, at = chain(("in", leaf), leaf.order, None, 0.0, 0, self.level[b] - 1)
                if end is not None:
                    join(end, at, b, b.way_in(leaf))
        for leaf, a in self.leaving.items():
            chain(leaf, leaf.order, a, a.way_out(leaf), self.level[a] + 1, top)
        return near

    def _measure(self, bands: list[list[Item]]) -> None:
        """Compute the heights of the bands, the x of items relative to the box's middle, and the box's size."""
        margin, title = (MARGIN, TITLE) if self.framed else (0.0, 0.0)
        y = title if self.step else 0.0
        for level, band in enumerate(bands):
            y += max(RISE if level else margin, self._room_for_lines(band))
            height = max([item.height for item in band], default=0.0)
            for item in band:
                item.y = y + (height - item.height) / 2
            self.bottoms.append(y)
            y += height
            self.tops.append(y)
        self.height = y + margin + (0.0 if self.step or not self.name else title)
        low = min([item.x - item.left for band in bands for item in band], default=0.0)
        high = max([item.x + item.right for band in bands for item in band], default=0.0)
        if self.framed:
            low, high = self._with_title(low - MARGIN, high + MARGIN)
        middle = 0.0 if self.mains() else (low + high) / 2
        for band in bands:
            for item in band:
                item.x -= middle
        self.left, self.right = middle - low, high - middle

    def mains(self) -> list[Item]:
        """The boxes of a step without a frame: they are above each other, in the middle of the column."""
        if self.framed or not self.step:
            return []
        return [item for item in self.items if isinstance(item, Leaf) and item.node.kind in MAIN]

    def _between(self, mains: list[Item]) -> Iterator[tuple[Item, Item]]:
        """Pairs of items to place above each other, so that inputs and outputs of one box of a step are not beside
        another, in the way of its state."""
        users: dict[Item, list[Item]] = {}
        for a, b, leaf in self.links:
            if leaf.node.kind in GIVEN:
                users.setdefault(a, []).append(b)
        above = dict(pairwise(mains))
        below = {b: a for a, b in above.items()}
        for a, found in users.items():
            if len(found) == 1 and found[0] in below:
                yield below[found[0]], a
        for a, b, _ in self.links:
            if a in above and isinstance(b, Leaf) and b.node.kind == "output":
                yield b, above[a]

    def lift(self, item: Item, by: float) -> None:
        """Raise an item, its band, and all bands above."""
        level = self.level[item]
        for one in [*self.items, *self.passing.values()]:
            one.y += by if self.level[one] >= level else 0.0
        for edges in (self.bottoms, self.tops):
            edges[level:] = [y + by for y in edges[level:]]
        self.height += by

    def _room_for_lines(self, band: Sequence[Item]) -> float:
        """The height of the parameters' lines below a band."""
        count = len({one for item in band for leaf in item.lowest() for one in leaf.lines})
        return self.lines[0] + self.lines[1] * (count - 1) + MARGIN if count else 0.0

    def _with_title(self, low: float, high: float) -> tuple[float, float]:
        """The left and the right border, with room for the title between the edges that cross its line."""
        room = text_width(self.name, SIZE) + 2 * MARGIN if self.name else 0.0
        ways = sorted(map(self.way_in, self.entering) if self.step else map(self.way_out, self.leaving))
        if not ways or any(b - a >= room for a, b in pairwise([low, *ways, high])):
            more = max(0.0, room - (high - low)) / 2
            return low - more, high + more
        left, right = room - (ways[0] - low), room - (high - ways[-1])
        return (low - left, high) if left <= right else (low, high + right)

    def stretch(self, below: float, above: float) -> None:
        """Enlarge the frame below and above its content."""
        for item in [*self.items, *self.passing.values()]:
            item.y += below
        self.bottoms, self.tops = [b + below for b in self.bottoms], [t + below for t in self.tops]
        self.height += below + above

    def way_out(self, leaf: Leaf) -> float:
        item = self.leaving.get(leaf)
        if item is None:
            return 0.0
        place = self.passing.get((leaf, len(self.tops) - 1))
        return place.x if place is not None else item.x + item.way_out(leaf)

    def way_in(self, leaf: Leaf) -> float:
        place = self.passing.get((("in", leaf), 0))
        if place is not None:
            return place.x
        items = self.entering.get(leaf, [])
        return fsum(item.x + item.way_in(leaf) for item in items) / len(items) if items else 0.0

    def steps(self) -> tuple[int, ...]:
        return next((steps for item in self.items if (steps := item.steps())), ())

    def axis(self) -> float:
        return next((item.x + item.axis() for item in self.items if item.steps()), 0.0)

    def fix(self, x: float, y: float) -> None:
        """Make relative positions absolute; `x` is the box's middle, `y` its lower edge."""
        ways = map(self.way_in, self.entering) if self.step else map(self.way_out, self.leaving)
        self.crossings = [x + way for way in ways]
        self.x, self.y = x, y
        self.bottoms, self.tops = [b + y for b in self.bottoms], [t + y for t in self.tops]
        for item in [*self.items, *self.passing.values()]:
            if isinstance(item, Box):
                item.fix(x + item.x, y + item.y)
            else:
                item.x += x
                item.y += y
            if isinstance(item, Leaf):
                place_satellites(item)


def leaves_of(item: Item) -> Iterator[Leaf]:
    """All leaves inside, including the parameters beside them."""
    if isinstance(item, Leaf):
        yield item
        yield from item.satellites
    elif isinstance(item, Box):
        for one in item.items:
            yield from leaves_of(one)


def lanes(items: Iterable[Item]) -> Iterator[tuple[Item, Item]]:
    """Pairs of items to place above each other: loops over the same steps."""
    before: dict[Any, Item] = {}
    for item in items:
        steps = item.steps()
        if len(steps) > 1:
            if steps in before:
                yield before[steps], item
            before[steps] = item
