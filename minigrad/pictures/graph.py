"""The graph as plain data: what was computed from what, where, and with which numbers.

Nothing here refers to a tensor, an array or the tape. Whoever draws reads this: `dot` for Graphviz, `html` for the
viewer; `views` makes smaller graphs of the same kind from a graph.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

Shape = tuple[int, ...]
Scope = tuple[tuple[str, int | None], ...]  # (label, time step or None), from the outermost in

KINDS = ("operation", "fused", "output", "parameter", "input", "detached", "elided", "collapsed", "cell")


@dataclass(frozen=True)
class Numbers:
    """What an array holds. `array` is all of it as nested lists, where that is not much; a number that is not finite
    stands there as "nan", "inf" or "-inf", and is left out of mean, min and max."""

    norm: float
    mean: float
    min: float
    max: float
    nonfinite: int
    array: Any = None

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: _finite(value) if isinstance(value, float) else value for name, value in plain.items()}


@dataclass(frozen=True)
class GraphOutput:
    """One of several outputs of a node, such as a gate of a fused cell."""

    label: str
    value: Numbers | None = None
    grad: Numbers | None = None


@dataclass(frozen=True)
class GraphNode:
    """One thing in the picture.

    kind     operation, fused (several operations in one), output (what the graph was asked for), parameter (a leaf
             that requires grad), input (a value outside the graph), detached (a state cut off from its past), elided
             (what stands for steps left out), collapsed (what stands for a scope) or cell (a step, as a box)
    label    the name it was given, or ""
    op       the operation, or ""
    shape    of its value; for several outputs, a tuple of them
    scope    where: (label, time step or None), from the outermost in
    order    its place in the forward order, from 0
    line     the user's line that made it
    formula  the operation with a plain number, such as "× 0.5", where that is known
    span     the steps that an elided or collapsed node stands for: (label, first, last)
    bytes    of the arrays it keeps alive for backward, each counted once in a graph
    count    how many nodes it stands for
    value, grad   its numbers, where they are known
    outputs  the same for each, where there are several
    inner    a fused node's own graph
    """

    id: str
    kind: str
    label: str
    op: str = ""
    shape: Any = None
    dtype: str = ""
    scope: Scope = ()
    order: int = 0
    line: str = ""
    formula: str = ""
    span: tuple[str, int, int] | None = None
    bytes: int = 0
    count: int = 1
    value: Numbers | None = None
    grad: Numbers | None = None
    outputs: tuple[GraphOutput, ...] = ()
    inner: Inner | None = None

    @property
    def steps(self) -> dict[str, int]:
        """The time step of each loop that it lies in."""
        return {label: step for label, step in self.scope if step is not None}


@dataclass(frozen=True)
class GraphEdge:
    """An edge from what is used to what uses it.

    kind    "" for an ordinary edge, "state" from one time step to another, "detached" from or to a state cut off
    steps   of an edge from one time step to another: from which to which; in a view, the first and the last
    times   how many edges it stands for
    output  which of the source's outputs it carries (the first, where several)
    label   what that is called
    grad    the norm of the gradient that flows back along it, where that was asked for
    """

    source: str
    target: str
    kind: str = ""
    steps: tuple[int, int] | None = None
    times: int = 1
    output: int = 0
    label: str = ""
    grad: float | None = None


@dataclass(frozen=True)
class Inner:
    """The graph inside a fused node: of one call, between its inputs and its outputs.

    inputs   (outer source's id, which of its outputs, inner node's id) for each use of an input
    outputs  the inner node, and which of its outputs, for each output of the fused one
    """

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    inputs: tuple[tuple[str, int, str], ...] = ()
    outputs: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Options:
    """What is shown, and how. `view` is the one taken, `note` a sentence for the reader of the picture."""

    shapes: bool = False
    dtypes: bool = False
    values: bool = False
    grads: bool = False
    bytes: bool = False
    lines: bool = False
    color: str | None = None
    view: str = "full"
    direction: str | None = None
    style: str | None = None  # see `mg.graph`
    backward: bool = False
    note: str = ""

    def replace(self, **changes: Any) -> Options:
        """The same with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the computation, and edges: plain data.

    `render("g.svg")`, also .png, .pdf, .tex and .dot, draws it; `html("g.html")` makes a page to step through; `dot()`
    is its text in Graphviz's language, `data()` all of it as JSON has it. Notebooks display it.
    """

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    options: Options = field(default=Options(), repr=False)

    def data(self) -> dict[str, Any]:
        """Everything as dicts, lists, strings and numbers that JSON can hold; the same for the same program.

        Numbers that are not finite are the strings "nan", "inf" and "-inf".
        """
        shown = {f.name: getattr(self.options, f.name) for f in fields(self.options)}
        return {
            "nodes": [_node_data(node) for node in self.nodes],
            "edges": [_edge_data(edge) for edge in self.edges],
            "options": shown,
        }

    def __repr__(self) -> str:
        real = sum(node.count for node in self.nodes)
        left_out = f", standing for {real}" if real != len(self.nodes) else ""
        return f"<Graph of {len(self.nodes)} nodes{left_out} and {len(self.edges)} edges>"

    def replace(self, **changes: Any) -> Graph:
        """The same with other nodes, edges or options."""
        return replace(self, **changes)

    if TYPE_CHECKING:  # bound in rendering.py, which knows the writers

        def dot(self) -> str: ...
        def render(
            self, path: str | os.PathLike[str], *, theme: str = "auto", aspect: str | float | None = None
        ) -> Path: ...  # fmt: skip
        def html(self, path: str | os.PathLike[str]) -> Path: ...
        def _repr_mimebundle_(self, **_: Any) -> dict[str, str]: ...


# ---- as JSON has it ----------------------------------------------------------------------------------------------


def _node_data(node: GraphNode) -> dict[str, Any]:
    """All fields by name."""
    plain: dict[str, Any] = {f.name: getattr(node, f.name) for f in fields(node)}
    several = bool(node.shape) and isinstance(node.shape[0], tuple)
    plain["shape"] = None if node.shape is None else [list(s) for s in node.shape] if several else list(node.shape)
    plain["span"] = None if node.span is None else list(node.span)
    plain["scope"] = [[label, step] for label, step in node.scope]
    plain["value"], plain["grad"] = _numbers_data(node.value), _numbers_data(node.grad)
    plain["outputs"] = [
        {"label": o.label, "value": _numbers_data(o.value), "grad": _numbers_data(o.grad)} for o in node.outputs
    ]
    if node.inner is not None:
        inner = node.inner
        plain["inner"] = {
            "nodes": [_node_data(n) for n in inner.nodes],
            "edges": [_edge_data(e) for e in inner.edges],
            "inputs": [list(one) for one in inner.inputs],
            "outputs": [list(one) for one in inner.outputs],
        }
    return plain


def _edge_data(edge: GraphEdge) -> dict[str, Any]:
    plain = {f.name: getattr(edge, f.name) for f in fields(edge)}
    plain["steps"] = None if edge.steps is None else list(edge.steps)
    plain["grad"] = None if edge.grad is None else _finite(edge.grad)
    return plain


def _numbers_data(numbers: Numbers | None) -> dict[str, Any] | None:
    return None if numbers is None else numbers.data()


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
