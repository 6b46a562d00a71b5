"""The difference between two runs, drawn on the graph of one: the changes made by an intervention, and their sizes."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, Protocol

from .graph import Graph, GraphNode, Numbers
from .making import graph, made

FEW = 3  # names in the note


class Run(Protocol):
    """The interface of a run with named values: an `Intervention`."""

    replaced: dict[str, str]

    def changes_from(self, other: Any) -> dict[str, float]: ...

    def place(self, name: str) -> tuple[tuple[Any, ...], str]: ...


def changed_graph(what: Any, run: Run, other: Run, options: dict[str, Any]) -> Graph:
    """See `Intervention.graph`. A node's `grad` holds the change ‖v − w‖ / ‖w‖ of its value; several values of the same
    name in one scope give the largest."""
    if "color" in options or "grads" in options or "backward" in options:
        raise TypeError("graph: the colours of this graph are changes; for gradients, use mg.graph")
    given = inspect.signature(graph).bind(what, **options)
    given.apply_defaults()
    changes: dict[Any, float] = {}
    for name, change in run.changes_from(other).items():
        place = run.place(name)
        changes[place] = max(change, changes.get(place, 0.0))

    def annotated(whole: Graph) -> Graph:
        nodes = tuple([
            replace(node, grad=_as_numbers(changes.get(_place(node))),
                    outputs=tuple([replace(one, grad=None) for one in node.outputs]))
            for node in whole.nodes
        ])  # fmt: skip
        return whole.replace(nodes=nodes, options=whole.options.replace(color="change"))

    drawn = made(given.arguments, annotated)
    note = "; ".join(filter(None, [_replaced(run), drawn.options.note]))
    return drawn.replace(options=drawn.options.replace(note=note))


def _replaced(run: Run) -> str:
    """The names given to the intervention, if they are few; and the number of values that they replaced."""
    names = list(dict.fromkeys(run.replaced.values()))
    which = f" ({', '.join(names)})" if 0 < len(names) <= FEW else ""
    return f"values replaced: {len(run.replaced)}{which}; without a colour: values without a name"


def _place(node: GraphNode) -> tuple[Any, ...]:
    """The path of a node, in the form of the intervention's names."""
    return tuple(node.scope), node.label


def _as_numbers(change: float | None) -> Numbers | None:
    return None if change is None else Numbers(change, change, change, change, 0)
