"""Loops in a graph: steps, what stands for several of them, and what is alike in all of them."""

from __future__ import annotations

from collections.abc import Iterable

from .graph import Graph, GraphNode, Scope

Place = tuple[Scope, str]  # a loop: the scope around it, and what its steps are called


def title(label: str, step: int | None) -> str:
    """What a scope is called in pictures."""
    return label if step is None else f"{label} = {step}"


def loops_of(graph: Graph) -> dict[Place, list[int]]:
    """The steps of each loop, in the order in which they were taken."""
    found: dict[Place, dict[int, None]] = {}
    for node in graph.nodes:
        for place, step in steps_in(node.scope):
            found.setdefault(place, {})[step] = None
    return {place: list(steps) for place, steps in found.items()}


def steps_in(scope: Scope) -> Iterable[tuple[Place, int]]:
    """Each time step on the way in, with the loop that it belongs to."""
    for depth, (label, step) in enumerate(scope):
        if step is not None:
            yield (scope[:depth], label), step


def without_steps(scope: Scope) -> Scope:
    """What is the same for all steps."""
    return tuple([(label, None if step is None else 0) for label, step in scope])


def span_of(label: str, first: int, last: int) -> str:
    """The title of several steps together."""
    return f"{label} = {first} … {last}" if first != last else f"{label} = {first}"


def rolled_steps(label: str) -> str | None:
    """What the steps of a loop are called, if the label is that of a scope which stands for several of them."""
    name, equals, span = label.rpartition(" = ")
    return name if equals and " … " in span else None


def elided_steps(node: GraphNode) -> tuple[Place, int] | None:
    """The loop whose steps an elided node stands for, and the first of them."""
    label, equals, span = node.label.rpartition(" = ")
    if node.kind != "elided" or not equals:
        return None
    return (node.scope, label), int(span.split(" … ")[0])


def likeness(node: GraphNode) -> tuple[bool, str, str]:
    """What nodes of different steps have in common. Of several outputs, steps may use different ones."""
    return node.kind in ("input", "detached"), node.op, node.label if not node.outputs else ""


def through_time(graph: Graph) -> bool:
    """Whether there are loops over several steps, and nothing but states leads from one step of a loop to another,
    so that the steps can stand side by side."""
    inside = {node.id: dict(loops_around(node)) for node in graph.nodes}
    steps: dict[Place, set[int]] = {}
    for found in inside.values():
        for place, step in found.items():
            steps.setdefault(place, set()).add(step)
    rolled_up = graph.options.view == "rolled" and bool(steps)
    if not rolled_up and not any(len(taken) > 1 for taken in steps.values()):
        return False
    incoming: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.kind != "state":
            incoming.setdefault(edge.target, []).append(edge.source)
    below: dict[str, frozenset[Place]] = {}  # the loops that a node uses something of
    for node in graph.nodes:
        passed = set(inside[node.id])
        for source in incoming.get(node.id, ()):
            for place in below.get(source, frozenset()):
                own = inside[node.id].get(place)
                if own is not None and inside[source].get(place) != own:
                    return False
                passed.add(place)
        below[node.id] = frozenset(passed)
    return True


def loops_around(node: GraphNode) -> Iterable[tuple[Place, int]]:
    """The loops that a node lies in, rolled ones as well, and the steps."""
    of = elided_steps(node)
    if of is not None:
        yield of
    for depth, (label, step) in enumerate(node.scope):
        name = label if step is not None else rolled_steps(label)
        if name is not None:
            yield (node.scope[:depth], name), step or 0
