"""Scopes of nodes, with separate scopes for separate calls and for the steps of loops written without `mg.steps`.

On the tape every call of a module opens a scope. Here consecutive calls of one module are told apart: as steps of a
loop if each uses results of the one before, otherwise by number. Lines are treated alike: those recorded repeatedly
with the same weights are the steps of a loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..backward import parents_of
from ..origins import Origin
from ..tape import Node, node_of
from ..tensors import Tensor
from ..where import Scope as TapeScope
from .graph import Scope
from .loops import WINDOW
from .origins import Origins, Uses

PLAIN = "t"  # the label of a recognised loop's steps
LONGEST = 300  # entries: longer loop bodies are not searched for
CANDIDATES = 5  # body lengths that are tried at each entry


class Frame:
    """A scope of the tape with its content: nodes and frames, in recording order."""

    def __init__(self, label: str, step: int | None = None) -> None:
        self.label = label
        self.step = step
        self.items: list[Entry] = []
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


def places(below: Sequence[Node], cut: Mapping[Node, Iterable[Origin]], origins: Origins) -> dict[Node, Scope]:
    """The scope of each node, given in the order of recording, as (label, step or None) from the outermost in.

    cut  for nodes that use detached values, the origins of those
    """
    root = Frame("")
    for node in below:
        frame = root
        for scope in node.scope.path() if node.scope is not None else ():
            if scope not in frame.frames:
                frame.frames[scope] = inner = Frame(scope.label, scope.step)
                frame.items.append(inner)
            frame = frame.frames[scope]
        frame.items.append(node)
    found: dict[Node, Scope] = {}
    _place(root.items, (), found, Uses(cut, origins))
    return found


def _place(items: Sequence[Entry], around: Scope, found: dict[Node, Scope], uses: Uses) -> None:
    """Enter the scopes of all nodes of these items into `found`."""
    rest: list[Entry] = []
    for entries in _runs(items, uses):
        if len(entries) == 1:
            rest += entries[0]
            continue
        windows = any(one.steps() for one in entries[-1] if isinstance(one, Frame))
        for k, body in enumerate(entries):
            _place(body, (*around, (WINDOW, k + 1) if windows else (PLAIN, k)), found, uses)
    loops = _loops(rest)
    calls = Counter(one.label for one in rest if isinstance(one, Frame) and one.step is None)
    numbers: Counter[str] = Counter()
    several = Counter(label for label, _ in set(loops.values()))
    for one in rest:
        if isinstance(one, Node):
            found[one] = around
        elif one.step is None:
            numbers[one.label] += 1
            title = f"{one.label} ({numbers[one.label]})" if calls[one.label] > 1 else one.label
            _place(one.items, (*around, (title, None)), found, uses)
        else:
            label, nth = loops[id(one)]
            own = ((f"loop {nth}", None),) if several[label] > 1 else ()
            _place(one.items, (*around, *own, (label, one.step)), found, uses)


def _loops(items: Iterable[Entry]) -> dict[int, tuple[str, int]]:
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


# ---- repetitions -------------------------------------------------------------------------------------------------


def _runs(items: Sequence[Entry], uses: Uses) -> Iterable[list[list[Entry]]]:
    """The items in order, cut into pieces: [items] without a loop, or the bodies of a loop, one list for each step."""
    entries = _with_whole_loops(items)
    tokens = [_token(one) for one in entries]
    again = [len(tokens)] * len(tokens)  # the next place with the same token
    last: dict[Any, int] = {}
    for k in range(len(tokens) - 1, -1, -1):
        again[k] = last.get(tokens[k], len(tokens))
        last[tokens[k]] = k
    refused: dict[int, int] = {}  # period: the end of a repetition that is known not to be a loop
    k = done = 0
    while k < len(tokens):
        at, found = again[k], None
        for _ in range(CANDIDATES):
            if at >= len(tokens) or at - k > LONGEST:
                break
            if refused.get(at - k, 0) <= k:
                repetition = _bodies(tokens, entries, k, at - k, done)
                if repetition is not None and _recurrent(repetition[1], uses):
                    found = repetition
                    break
                refused[at - k] = repetition[2] - (at - k) if repetition is not None else 0
            at = again[at]
        if found is None:
            k += 1
            continue
        start, bodies, end = found
        if start > done:
            yield [_flat(entries[done:start])]
        yield bodies
        k = done = end
    if done < len(entries):
        yield [_flat(entries[done:])]


def _with_whole_loops(items: Sequence[Entry]) -> list[list[Entry]]:
    """Entries to compare: single nodes and scopes, and all steps of a loop as one entry."""
    loops = _loops(items)
    found: list[list[Entry]] = []
    open_: dict[tuple[str, int], list[Entry]] = {}
    for one in items:
        loop = loops.get(id(one))
        if loop is not None and loop in open_:
            open_[loop].append(one)
            continue
        found.append([one])
        if loop is not None:
            open_[loop] = found[-1]
    return found


def _flat(entries: Iterable[list[Entry]]) -> list[Entry]:
    return [one for entry in entries for one in entry]


def _token(entry: list[Entry]) -> Any:
    """A key that is equal for like entries of two steps."""
    one = entry[0]
    if isinstance(one, Node):
        return one.code, one.instruction, one.primitive.name
    return one.label, one.step is None


def _bodies(
    tokens: list[Any], entries: list[list[Entry]], start: int, period: int, floor: int
) -> tuple[int, list[list[Entry]], int] | None:
    """(start, bodies, end) of a loop whose body is `period` entries long; None if there is none. Its first and its last
    step may lack entries that were not recorded."""
    if period == 1 and isinstance(entries[start][0], Node):
        return None
    matched = 0
    while start + matched + period < len(tokens) and tokens[start + matched] == tokens[start + matched + period]:
        matched += 1
    if matched < period:
        return None
    end = start + matched + period
    first = start + _turn(entries[start : start + period])
    body = tokens[first : first + period]
    cuts = list(range(first, end, period))
    if first == start:  # the entries before may be an incomplete step
        wanted = period
        while first > floor and wanted > 0:
            at = next((k for k in range(wanted - 1, -1, -1) if body[k] == tokens[first - 1]), None)
            if at is None:
                break
            first, wanted = first - 1, at
    else:
        first = start
    if first < cuts[0]:
        cuts.insert(0, first)
    bodies = [_flat(entries[a:b]) for a, b in zip(cuts, [*cuts[1:], end], strict=True)]
    return first, bodies, end


def _turn(period: list[list[Entry]]) -> int:
    """The index in a period at which the loop's body begins: where the lines of a function start again."""
    places: dict[Any, list[tuple[int, int]]] = {}
    for k, entry in enumerate(period):
        one = entry[0]
        first = one if isinstance(one, Node) else next(iter(one.nodes()), None)
        if first is not None:
            places.setdefault(first.code, []).append((k, first.instruction))
    allowed = set(range(len(period)))
    for found in places.values():
        back = [k for k in range(len(found)) if found[k][1] < found[k - 1][1]]
        if len(found) > 1 and len(back) == 1:
            before, at = found[back[0] - 1][0], found[back[0]][0]
            allowed &= {k % len(period) for k in range(before + 1, at + 1 + len(period) * (at <= before))}
    return min(allowed, default=0)


def _recurrent(bodies: list[list[Entry]], uses: Uses) -> bool:
    """True if each step uses results of the one before, and all steps but the first share a weight."""
    if len(bodies) > 3 and not _recurrent(bodies[:3], uses):
        return False
    step = {n: k for k, body in enumerate(bodies) for one in body
            for n in ([one] if isinstance(one, Node) else one.nodes())}  # fmt: skip
    reached: set[int] = set()
    weights: list[set[int]] = [set() for _ in bodies]
    for node, k in step.items():
        for parent in parents_of(node):
            if isinstance(parent, Tensor):
                weights[k].add(id(parent))
            elif step.get(node_of(parent)[0]) == k - 1:
                reached.add(k)
        for origin in uses.cut.get(node, ()):
            if any(step.get(source) == k - 1 for source, _ in uses.origins(origin)):
                reached.add(k)
    shared = set.intersection(*weights) or (len(weights) > 2 and set.intersection(*weights[1:]))
    return len(reached) == len(bodies) - 1 and bool(shared)


def repeated(nodes: Sequence[Node], found: dict[Node, Scope]) -> int:
    """The number of times that a line was recorded outside all scopes, each time using the previous result."""
    counts = Counter((n.code, n.instruction, n.primitive.name) for n in nodes if not found[n])
    key, most = max(counts.items(), key=lambda item: item[1], default=(None, 0))
    if most < 3:
        return 0
    same = [n for n in nodes if (n.code, n.instruction, n.primitive.name) == key]
    return most if _uses(same[1], same[0]) else 0


def _uses(node: Node, other: Node) -> bool:
    """True if a node was computed from another."""
    rest, seen = [node], {node}
    while rest:
        for parent in parents_of(rest.pop()):
            before = None if isinstance(parent, Tensor) else node_of(parent)[0]
            if before is other:
                return True
            if before is not None and before not in seen and before.position > other.position:
                seen.add(before)
                rest.append(before)
    return False
