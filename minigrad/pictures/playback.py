"""Playback of a graph: which node is computed at which moment, and then at which its gradient arrives.

The viewer plays the same (`viewer/playback.js`); here it is laid down for a file that plays by itself (`film`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .graph import Graph, GraphNode, Scope

GIVEN = ("parameter", "input", "detached")  # not computed here
BY = ("operation", "time")
MANY = 24  # operations: of more, and where there are steps, a time step at a time


@dataclass(frozen=True)
class Moment:
    """A moment of the playback: the values computed and the gradients that have arrived by then.

    phase     "" before the first operation, then "forward", then "backward"
    now       the nodes that are being computed, or whose gradients are just arriving
    computed  the nodes that have values, with what is given
    arrived   the share of a node's gradient that has arrived: that of a parameter is a sum over its uses
    flowed    the nodes whose gradients have gone on to what they were computed from
    """

    phase: str
    now: frozenset[str]
    computed: frozenset[str]
    arrived: dict[str, float]
    flowed: frozenset[str]


def playback(graph: Graph, by: str | None = None) -> list[Moment]:
    """The moments, from before the first operation to the last gradient."""
    events = [node for node in sorted(graph.nodes, key=lambda n: n.order) if node.kind not in GIVEN]
    if by is None:
        by = "time" if len(events) > MANY and any(map(_time, events)) else "operation"
    runs = _runs(events, by)
    users: dict[str, list[str]] = {}
    for edge in graph.edges:
        users.setdefault(edge.source, []).append(edge.target)
    given = {node.id: users.get(node.id, []) for node in graph.nodes if node.kind in GIVEN}
    cut = {node.id for node in graph.nodes if node.kind == "detached"}
    moments = [Moment("", frozenset(), frozenset(), {}, frozenset())]
    computed: set[str] = set()
    for run in runs:
        computed |= {*run, *_used(given, run)}
        moments.append(Moment("forward", frozenset(run), frozenset(computed), {}, frozenset()))
    whole = frozenset(computed) | frozenset(given)
    flowed: set[str] = set()
    for run in reversed(runs):
        flowed |= set(run)
        arrived = dict.fromkeys(flowed, 1.0)
        for id, using in given.items():
            share = sum(user in flowed for user in using) / max(len(using), 1)
            if share and id not in cut:
                arrived[id] = share
        moments.append(Moment("backward", frozenset(run), whole, arrived, frozenset(flowed)))
    return moments


def _used(given: dict[str, list[str]], run: Sequence[str]) -> Iterable[str]:
    """The given values that one of these uses."""
    return [id for id, using in given.items() if not set(using).isdisjoint(run)]


def _runs(events: Sequence[GraphNode], by: str) -> list[list[str]]:
    """The nodes of each moment: one, or all of a time step, or all between two loops."""
    if by == "operation":
        return [[node.id] for node in events]
    runs: list[list[str]] = []
    before: object = None
    for node in events:
        time = _time(node)
        if not runs or time != before:
            runs.append([])
        runs[-1].append(node.id)
        before = time
    return runs


def _time(node: GraphNode) -> Scope:
    """The innermost time step that a node lies in, or stands for; () outside of all."""
    scope = (*node.scope, (node.span[0], node.span[1])) if node.span is not None else node.scope
    last = max([k for k, (_, step) in enumerate(scope) if step is not None], default=-1)
    return scope[: last + 1]
