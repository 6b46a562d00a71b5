"""Scopes of nodes, with separate scopes for separate calls and for the steps of loops written without `mg.steps`.

On the tape every call of a module opens a scope. Here consecutive calls of one module are told apart: as steps of a
loop if each uses results of the one before, otherwise by number. Lines are treated alike: those recorded repeatedly
with the same weights are the steps of a loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..backward import parents_of
from ..origins import Origin
from ..tape import Node, node_of
from ..tensors import Tensor
from .frames import PLAIN, Entry, Frame, loops
from .graph import Scope
from .loops import WINDOW
from .origins import Origins, Uses
from .repetitions import runs

INNER = ("k", "j", "i")  # the labels of the steps of recognised loops in loops


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
    for entries in runs(items, uses):
        if len(entries) == 1:
            rest += entries[0]
            continue
        name, first = _numbered(entries[-1], around)
        rest += [Frame(name, k, body) for k, body in enumerate(entries, start=first)]
    loop_of = loops(rest)
    calls = Counter(one.label for one in rest if isinstance(one, Frame) and one.step is None)
    numbers: Counter[str] = Counter()
    several = Counter(label for label, _ in set(loop_of.values()))
    for one in rest:
        if isinstance(one, Node):
            found[one] = around
        elif one.step is None:
            numbers[one.label] += 1
            title = f"{one.label} ({numbers[one.label]})" if calls[one.label] > 1 else one.label
            _place(one.items, (*around, (title, None)), found, uses)
        else:
            label, nth = loop_of[id(one)]
            own = ((f"loop {nth}", None),) if several[label] > 1 else ()
            _place(one.items, (*around, *own, (label, one.step)), found, uses)


def _numbered(body: Iterable[Entry], around: Scope) -> tuple[str, int]:
    """The label of a recognised loop's steps, and the number of the first."""
    if any(one.steps() for one in body if isinstance(one, Frame)):
        return WINDOW, 1
    taken = {label for label, step in around if step is not None}
    return next((label for label in (PLAIN, *INNER) if label not in taken), PLAIN), 0


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
