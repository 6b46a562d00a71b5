"""The difference between two runs, drawn on the graph of one: the changes made by an intervention, and their sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from .graph import Graph, GraphNode, Numbers
from .making import graph


class Run(Protocol):
    """The interface of a run with named values: an `Intervention`."""

    replaced: dict[str, str]

    def changes_from(self, other: Any) -> dict[str, float]: ...

    def place(self, name: str) -> tuple[tuple[Any, ...], str]: ...


def changed_graph(what: Any, run: Run, other: Run, options: dict[str, Any]) -> Graph:
    """See `Intervention.graph`. A node's `grad` holds the change ‖v − w‖ / ‖w‖ of its value; several values of the same
    name in one scope give the largest."""
    if "color" in options or "grads" in options:
        raise TypeError("graph: the colours of this graph are changes; for gradients, use mg.graph")
    drawn = graph(what, **options)
    changes: dict[Any, float] = {}
    for name, change in run.changes_from(other).items():
        place = run.place(name)
        changes[place] = max(change, changes.get(place, 0.0))
    nodes = tuple([replace(node, grad=_as_numbers(changes.get(_place(node)))) for node in drawn.nodes])
    replaced = {node.id for node in drawn.nodes if node.op == "replaced"}
    edges = tuple([replace(e, kind="detached") if e.target in replaced else e for e in drawn.edges])
    note = f"values replaced: {len(run.replaced)}; colours: ‖v − w‖ / ‖w‖, w the value of the other run"
    return drawn.replace(nodes=nodes, edges=edges, options=replace(drawn.options, color="change", note=note))


def _place(node: GraphNode) -> tuple[Any, ...]:
    """The path of a node, in the form of the intervention's names."""
    return tuple(node.scope), node.label


def _as_numbers(change: float | None) -> Numbers | None:
    return None if change is None else Numbers(change, change, change, change, 0)
