"""Repetitions in a recording: loops that were written without `mg.steps`.

The steps of a loop are the same lines again, each with results of the step before and with the same weights. Of a loop
in a loop the outer one is found here, and the inner one in the body of each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from ..backward import parents_of
from ..tape import Node, node_of
from ..tensors import Tensor
from .frames import Entry, loops
from .origins import Uses

LONGEST = 300  # entries: longer loop bodies are not searched for
CANDIDATES = 20  # body lengths that are tried at each entry


def runs(items: Sequence[Entry], uses: Uses) -> Iterable[list[list[Entry]]]:
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
            period = at - k
            at = again[at]
            if refused.get(period, 0) > k:
                continue
            cuts = _cuts(tokens, entries, k, period, done)
            partial = len(cuts) > 3 and cuts[-1] - cuts[-2] < period  # the last one: a step, or what follows the loop
            loop = next((one for one in ([cuts, cuts[:-1]] if partial else [cuts])
                         if one and _recurrent(_between(entries, one), uses)), None)  # fmt: skip
            if loop is None:
                refused[period] = cuts[-1] - period if cuts else 0
            elif found is None or loop[-1] > found[-1]:  # an outer loop goes on where an inner one ends
                found = loop
                while at < loop[-1]:
                    at = again[at]
        if found is None:
            k += 1
            continue
        if found[0] > done:
            yield _between(entries, [done, found[0]])
        yield _between(entries, found)
        k = done = found[-1]
    if done < len(entries):
        yield _between(entries, [done, len(entries)])


def _with_whole_loops(items: Sequence[Entry]) -> list[list[Entry]]:
    """Entries to compare: single nodes and scopes, and all steps of a loop as one entry."""
    loop_of = loops(items)
    found: list[list[Entry]] = []
    open_: dict[tuple[str, int], list[Entry]] = {}
    for one in items:
        loop = loop_of.get(id(one))
        if loop is not None and loop in open_:
            open_[loop].append(one)
            continue
        found.append([one])
        if loop is not None:
            open_[loop] = found[-1]
    return found


def _between(entries: Sequence[list[Entry]], cuts: Sequence[int]) -> list[list[Entry]]:
    """The entries between each cut and the next."""
    return [[one for entry in entries[a:b] for one in entry] for a, b in pairwise(cuts)]


def _token(entry: list[Entry]) -> Any:
    """A key that is equal for like entries of two steps. Two loops are alike if their last line with a weight is the
    same: others are not recorded where their operands are constant."""
    one = entry[0]
    if isinstance(one, Node):
        return one.code, one.instruction, one.primitive.name
    if one.step is None:
        return one.label
    weighted = [node for node in one.nodes() if any(isinstance(parent, Tensor) for parent in parents_of(node))]
    return one.label, *[(node.code, node.instruction) for node in weighted[-1:]]


def _cuts(tokens: list[Any], entries: list[list[Entry]], start: int, period: int, floor: int) -> list[int]:
    """The beginnings of a loop's steps, and the end of the last one, if the loop's body is `period` entries long; [] if
    there is none. The first and the last step may lack entries that were not recorded."""
    if period == 1 and isinstance(entries[start][0], Node):
        return []
    matched = 0
    while start + matched + period < len(tokens) and tokens[start + matched] == tokens[start + matched + period]:
        matched += 1
    if 2 * matched < period:
        return []
    end = start + matched + period
    turn = _turn(entries[start : start + period], end - start)
    if matched < (turn or period):  # no step is whole
        return []
    body = tokens[start + turn : start + turn + period]
    first, wanted = start, period - turn
    while first > floor and wanted > 0:  # the entries before may be an incomplete step
        at = next((k for k in range(wanted - 1, -1, -1) if body[k] == tokens[first - 1]), None)
        if at is None:
            break
        first, wanted = first - 1, at
    cuts = list(range(start + turn, end, period))
    if first < cuts[0]:
        cuts.insert(0, first)
    return [*cuts, end]


def _turn(period: list[list[Entry]], length: int) -> int:
    """The index in a period at which the loop's body begins: where the lines of a function start again, so that the
    first and the last step lack least. The lines of a function with an inner loop go back several times, and at the
    end of the outer loop furthest.

    length  of the whole loop, in entries
    """
    places: dict[Any, list[tuple[int, int]]] = {}
    for k, entry in enumerate(period):
        one = entry[0]
        first = one if isinstance(one, Node) else next(iter(one.nodes()), None)
        if first is not None:
            places.setdefault(first.code, []).append((k, first.instruction))
    turns: list[tuple[int, set[int]]] = []
    for uses in places.values():
        back = [k for k in range(len(uses)) if uses[k][1] < uses[k - 1][1]]
        furthest = min([(uses[k][1], -uses[k - 1][1]) for k in back], default=None)
        same = [k for k in back if (uses[k][1], -uses[k - 1][1]) == furthest]
        found: set[int] = set()
        for k in same:
            before, at = uses[k - 1][0], uses[k][0]
            found.update(k % len(period) for k in range(before + 1, at + 1 + len(period) * (at <= before)))
        turns.append((len(back), found))
    allowed = set(range(len(period)))
    for _, found in sorted(turns, key=lambda one: one[0]):  # a function that is called twice may look like a loop
        allowed = allowed & found or allowed
    return min(allowed, key=lambda turn: (-turn % len(period) + (turn - length) % len(period), turn))


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
