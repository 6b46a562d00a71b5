"""Loops in a graph: steps, what stands for several of them, and what is alike in all of them."""

from __future__ import annotations

from collections.abc import Iterable

from .graph import Graph, GraphNode, Scope

WINDOW = "window"  # the steps of a loop whose bodies have steps themselves
Place = tuple[Scope, str]  # a loop: the scope around it, and what its steps are called


def title(label: str, step: int | None) -> str:
    """The name of a scope in pictures: encoder, t = 3, window 1."""
    return label if step is None else f"{label} {step}" if label == WINDOW else f"{label} = {step}"


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
    if first == last:
        return title(label, first)
    return f"{label}s {first} … {last}" if label == WINDOW else f"{label} = {first} … {last}"


def rolled_steps(label: str) -> str | None:
    """What the steps of a loop are called, if the label is that of a scope which stands for several of them."""
    if " … " not in label:
        return None
    name, equals, _ = label.rpartition(" = ")
    return name if equals else WINDOW if label.startswith(f"{WINDOW}s ") else None


def likeness(node: GraphNode) -> tuple[bool, str, str]:
    """The key that nodes of different steps share: the operation and its line; of inputs, the name."""
    outside = node.kind in ("input", "detached")
    return outside, node.op, node.label if outside else node.line


def crossed(source: Scope, target: Scope) -> tuple[int, int] | None:
    """From which step to which an edge goes, if both ends lie in different steps of one loop: the way of a state."""
    for (label, step), (other, later) in zip(source, target, strict=False):
        if (label, step) != (other, later):
            return (step, later) if label == other and step is not None and later is not None else None
    return None


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
        if edge.kind != "state" and (edge.kind != "detached" or edge.steps is None):
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
    if node.span is not None:
        yield (node.scope, node.span[0]), node.span[1]
    for depth, (label, step) in enumerate(node.scope):
        name = label if step is not None else rolled_steps(label)
        if name is not None:
            yield (node.scope[:depth], name), step or 0
