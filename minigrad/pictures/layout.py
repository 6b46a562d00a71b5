"""A layout for networks through time: computation runs upwards, time to the right.

Every step of a loop is a column, every loop over the same steps a lane; scopes are boxes around their content. `routes`
draws the edges.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from .boxes import LINES, SPACED, Box
from .columns import LoopRow, alike
from .detours import Point
from .graph import Graph, GraphEdge, GraphNode
from .items import Item, Leaf
from .labels import SMALL, mark_of, text_of, text_width
from .loops import rolled_steps, through_time, title


def layout_of(graph: Graph) -> Layout | None:
    """A graph's layout through time; None if Graphviz should lay it out."""
    direction = graph.options.direction
    return Layout(graph) if direction == "time" or (direction is None and through_time(graph)) else None


class Layout:
    """Placed boxes and leaves: `root`, `leaves` by a node's id, and data for the routes.

    states    edges from one step to another, or of a rolled step into itself
    supplies  edges from a parameter beside its user
    of_loop   the loop of each parameter beside a loop
    """

    def __init__(self, graph: Graph) -> None:
        self.options = graph.options
        self.framed = graph.options.style != "textbook"
        self.root = Box("")
        self.boxes: dict[Any, Box] = {(): self.root}
        self.leaves: dict[str, Leaf] = {}
        self.states: list[GraphEdge] = []
        self.supplies: list[GraphEdge] = []
        self.others: list[GraphEdge] = []
        self.branches: dict[GraphEdge, Point] = {}  # the point where a parameter's edge leaves its line
        self.dots: dict[GraphEdge, tuple[Point, ...]] = {}  # the same, if the line goes on
        self.asides: list[tuple[Leaf, LoopRow, int]] = []  # ends of state edges, and the side that they point to
        texts = {node.id: text_of(node, graph.options) for node in graph.nodes}
        for node in graph.nodes:
            self.leaves[node.id] = Leaf(node, texts[node.id])
            if node.kind != "parameter":
                self._put(node)
        self._put_parameters(graph)
        self.of_loop = {one: row for row in self.rows() for one in row.satellites}
        for edge in graph.edges:
            self._connect(edge)
        self._share_lines()
        self._draw_aside()
        self._level_stacks()
        for box in self.boxes.values():
            box.lines = SPACED if self.options.backward else LINES
        self.root.arrange()
        if self._widen():
            self.root.arrange()
        self.root.fix(0.0, 0.0)
        for row in self.rows():
            self._stack(row)

    def rows(self) -> list[LoopRow]:
        """All loops."""
        return [box for box in self.boxes.values() if isinstance(box, LoopRow)]

    def _put(self, node: GraphNode) -> None:
        leaf = self.leaves[node.id]
        if node.span is not None:
            self._row(node.scope, node.span[0]).put(node.span[1], leaf)
        else:
            self._box(node.scope).add(leaf)

    def _box(self, scope: Any) -> Box:
        found = self.boxes.get(scope)
        if found is None:
            label, step = scope[-1]
            rolled = rolled_steps(label) if step is None else None
            found = self.boxes[scope] = Box(title(label, step), step is not None or rolled is not None, self.framed)
            if step is not None:
                self._row(scope[:-1], label).put(step, found)
            elif rolled is not None:
                self._row(scope[:-1], rolled).put(0, found)
            else:
                self._box(scope[:-1]).add(found)
        return found

    def _row(self, scope: Any, label: str) -> LoopRow:
        key = (scope, "row", label)
        found = self.boxes.get(key)
        if found is None:
            found = self.boxes[key] = LoopRow()
            self._box(scope).add(found)
        assert isinstance(found, LoopRow)
        return found

    def _put_parameters(self, graph: Graph) -> None:
        """Place each parameter beside the only node, or the only loop, that uses it; otherwise like a node."""
        users: dict[str, dict[Leaf, None]] = {}
        for edge in graph.edges:
            users.setdefault(edge.source, {})[self.leaves[edge.target]] = None
        for node in graph.nodes:
            if node.kind != "parameter":
                continue
            leaf, using = self.leaves[node.id], list(users.get(node.id, ()))
            around = [list(u.around()) for u in using if u.box is not None]
            if not around:
                self.root.add(leaf)
                continue
            shared = [box for box in around[0] if all(box in boxes for boxes in around)]
            row: LoopRow | None = None
            for box in shared:
                if isinstance(box, LoopRow):
                    if box is not shared[0] and len(box.columns) > 1:  # it belongs to one of several steps
                        break
                    row = box
            if row is not None:
                row.satellites.append(leaf)
            elif len(using) == 1:
                using[0].satellites.append(leaf)
            else:
                shared[0].add(leaf)

    def _connect(self, edge: GraphEdge) -> None:
        source, target = self.leaves[edge.source], self.leaves[edge.target]
        if source.box is None:
            self.supplies.append(edge)
            if source in self.of_loop and target.node.kind != "elided":
                target.supplies.append(source)
                if self.options.backward:  # the numbers beside the branches
                    target.left = max(target.left, target.width / 4 + text_width("0.0000", SMALL))
            return
        out, into = list(source.around()), list(target.around())
        common = next(box for box in out if box in into)
        a = out[out.index(common) - 1] if out[0] is not common else source
        b = into[into.index(common) - 1] if into[0] is not common else target
        loops = [
            box for box in out if isinstance(box, LoopRow) and box in into
        ]  # none if collapsed scopes contain them
        back = edge.kind == "state" or (edge.kind == "detached" and edge.steps is not None)
        if isinstance(common, LoopRow) or (back and loops):
            self.states.append(edge)
            row = common if isinstance(common, LoopRow) else loops[0]
            if source.node.kind in ("input", "detached"):
                source.beside = target
            if (isinstance(a, Leaf) and isinstance(b, Leaf)) or not self.framed:
                row.written = max(row.written, self._mark_width(edge))
            sideways = self._sideways(row, a, b)
            self.asides.append((source, row, sideways))
            self.asides.append((target, row, -sideways if a is not b and common is row else sideways))
            return
        self.others.append(edge)
        common.links.append((a, b, source))
        for chain, end, going in ((out, source, True), (into, target, False)):
            item: Item = end
            for box in chain[: chain.index(common)]:
                if going:
                    box.leaving[source] = item
                elif item not in box.entering.setdefault(source, []):
                    box.entering[source].append(item)
                item = box

    def _mark_width(self, edge: GraphEdge) -> float:
        """The width of what is written beside an edge, in either direction."""
        source, target = self.leaves[edge.source].node, self.leaves[edge.target].node
        mark = mark_of(edge, source, target, self.options.style or self.options.view)
        norm = f"{edge.grad:.2g}" if edge.grad is not None else ""
        return max(text_width(mark, SMALL), text_width(norm, SMALL))

    def _sideways(self, row: LoopRow, a: Item, b: Item) -> int:
        steps = {item: step for step, item in row.columns.items()}
        return -1 if a in steps and b in steps and steps[b] < steps[a] else 1

    def _share_lines(self) -> None:
        """Note which lines of parameters run below each node. A line goes on to the last column, below the nodes of all
        columns between, also where these use other parameters: an encoder's steps and a decoder's."""
        for row in self.rows():
            shared: dict[Any, set[Leaf]] = {}
            found = [one for column in row.items for one in alike(column).items()]
            for key, leaf in found:
                shared.setdefault(key, set()).update(leaf.supplies)
            for key, leaf in found:
                leaf.lines |= shared[key]

    def _draw_aside(self) -> None:
        """Place the ends of state edges at their side of the bands, in every box up to the column. If one column needs
        it, all columns do so, to look alike."""
        sides: dict[tuple[LoopRow, Any], set[int]] = {}
        keys = {leaf: (row, key) for row in self.rows() for column in row.items for key, leaf in alike(column).items()}
        for leaf, row, side in self.asides:
            sides.setdefault(keys.get(leaf, (row, leaf)), set()).add(side)
        asked: dict[Item, set[int]] = {}
        for leaf, (row, key) in keys.items():
            item: Item | None = leaf
            while item is not None and item is not row:
                asked.setdefault(item, set()).update(sides.get((row, key), ()))
                item = item.box
        for item, found in asked.items():
            item.pull = min(found) if len(found) == 1 else 0

    def _level_stacks(self) -> None:
        """Make room for edges between columns; loops over the same steps get equal room for their parameters."""
        for row in self.rows():
            counts: Counter[Item] = Counter()
            for leaf, of, _ in self.asides[::2]:  # the sources
                if of is row:
                    counts[row.child_with(leaf)] += 1
            row.between = max(counts.values(), default=0)
        for rows in self._lanes():
            widest, between = max(row.room_for_satellites() for row in rows), max(row.between for row in rows)
            for row in rows:
                row.stack, row.between = widest, between

    def _lanes(self) -> list[list[LoopRow]]:
        """Loops over the same steps."""
        same: dict[Any, list[LoopRow]] = {}
        for row in self.rows():
            if len(row.columns) > 1:
                same.setdefault(row.steps(), []).append(row)
        return [rows for rows in same.values() if len(rows) > 1]

    def _widen(self) -> bool:
        """Give the columns of loops over the same steps equal width, so that time is aligned in all of them."""
        lanes = self._lanes()
        for rows in lanes:
            widest = max(max(item.left, item.right) for row in rows for item in row.items)
            for row in rows:
                row.room = widest
        return bool(lanes)

    def _stack(self, row: LoopRow) -> None:
        """Stack the parameters of a loop in the order of their uses, each near its use's height."""
        use: dict[Leaf, float] = {}
        for edge in self.supplies:
            source, target = self.leaves[edge.source], self.leaves[edge.target]
            if target.node.kind != "elided" and source in row.satellites:
                use[source] = min(use.get(source, target.y), target.y)
        for one in row.satellites:
            use.setdefault(one, row.y)
        row.satellites.sort(key=lambda s: (use[s], s.order))
        x = row.x - row.left + max(s.width for s in row.satellites) / 2 if row.satellites else 0.0
        floor = row.y
        for one in row.satellites:
            one.x, one.y = x, max(floor, use[one] - 7 - one.tall / 2)
            floor = one.y + one.tall + 5
        ceiling = row.y + row.height
        for one in reversed(row.satellites):
            one.y = min(one.y, ceiling - one.tall)
            ceiling = one.y - 5
