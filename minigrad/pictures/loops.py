"""Loops in a graph: steps, nodes in place of several steps, and correspondence between steps."""

from __future__ import annotations

from collections.abc import Iterable

from .graph import Graph, GraphEdge, GraphNode, Scope

WINDOW = "window"  # the label of steps that contain steps themselves
LoopKey = tuple[Scope, str]  # a loop: the scope around it, and its steps' label


def title(label: str, step: int | None) -> str:
    """The title of a scope in pictures: encoder, t = 3, window 1."""
    return label if step is None else f"{label} {step}" if label == WINDOW else f"{label} = {step}"


def loops_of(graph: Graph) -> dict[LoopKey, list[int]]:
    """The steps of each loop, in execution order."""
    found: dict[LoopKey, dict[int, None]] = {}
    for node in graph.nodes:
        for place, step in steps_in(node.scope):
            found.setdefault(place, {})[step] = None
    return {place: list(steps) for place, steps in found.items()}


def steps_in(scope: Scope) -> Iterable[tuple[LoopKey, int]]:
    """Each time step in a scope, from the outermost in, with its loop."""
    for depth, (label, step) in enumerate(scope):
        if step is not None:
            yield (scope[:depth], label), step


def without_steps(scope: Scope) -> Scope:
    """The part of a scope that is equal for all steps."""
    return tuple([(label, None if step is None else 0) for label, step in scope])


def span_of(label: str, first: int, last: int) -> str:
    """The title of a range of steps."""
    if first == last:
        return title(label, first)
    return f"{label}s {first} … {last}" if label == WINDOW else f"{label} = {first} … {last}"


def rolled_steps(label: str) -> str | None:
    """The label of a loop's steps, if the scope with this label replaces several of them; else None."""
    if " … " not in label:
        return None
    name, equals, _ = label.rpartition(" = ")
    return name if equals else WINDOW if label.startswith(f"{WINDOW}s ") else None


def likeness(node: GraphNode) -> tuple[bool, str, str]:
    """A key shared by corresponding nodes of all steps: the operation and its line; for inputs, the name; for
    boxes of textbooks, the lane."""
    if node.kind in ("input", "detached"):
        return True, node.op, node.label
    return False, node.op or node.part, node.line


def crossed(source: Scope, target: Scope) -> tuple[int, int] | None:
    """(from, to), the steps that a state edge connects, if its ends are in different steps of one loop; else None."""
    for (label, step), (other, later) in zip(source, target, strict=False):
        if (label, step) != (other, later):
            return (step, later) if label == other and step is not None and later is not None else None
    return None


def through_time(graph: Graph) -> bool:
    """True if there are loops over several steps, and only states lead from one step of a loop to another, so that the
    steps can be columns."""
    inside = {node.id: dict(loops_around(node)) for node in graph.nodes}
    steps: dict[LoopKey, set[int]] = {}
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
    below: dict[str, frozenset[LoopKey]] = {}  # the loops that a node depends on
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


def loops_around(node: GraphNode) -> Iterable[tuple[LoopKey, int]]:
    """The loops that contain a node, including rolled ones, and the steps."""
    if node.span is not None:
        yield (node.scope, node.span[0]), node.span[1]
    for depth, (label, step) in enumerate(node.scope):
        name = label if step is not None else rolled_steps(label)
        if name is not None:
            yield (node.scope[:depth], name), step or 0


def running_totals(graph: Graph) -> set[GraphEdge]:
    """The edges from step to step that carry a running total, such as the loss: each step adds to it, and uses it for
    nothing else."""
    byid = {node.id: node for node in graph.nodes}
    users: dict[str, list[GraphEdge]] = {}
    for edge in graph.edges:
        users.setdefault(edge.source, []).append(edge)

    def adds(node: GraphNode) -> bool:
        if node.op != "add":
            return False
        step = next((node.scope[: k + 1] for k, (label, at) in enumerate(node.scope) if at is not None or
                     rolled_steps(label) is not None), node.scope)  # fmt: skip
        for edge in users.get(node.id, ()):
            target = byid[edge.target]
            if (edge.kind == "state" and target.op == "add") or (target.kind == "output" and not target.op):
                continue
            if target.kind != "elided" and (edge.kind == "state" or target.scope[: len(step)] == step):
                return False
        return True

    adding = {node.id for node in graph.nodes if adds(node)}
    carried = [edge for edge in graph.edges if edge.kind == "state"]
    first = {id for id, edges in users.items() if len(edges) == 1}  # a first term, which nothing else uses
    return {
        edge
        for edge in carried
        if (edge.source in adding or edge.source in first or byid[edge.source].kind in ("cell", "elided"))
        and (edge.target in adding or byid[edge.target].kind == "elided")
        and (edge.source in adding or edge.target in adding)
    }
