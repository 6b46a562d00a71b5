"""The graph as plain data: operations and their operands, scopes, and numbers.

Nothing here refers to a tensor, an array or the tape. The renderers read this data: `dot` for Graphviz, `html` for the
viewer; `views` makes smaller graphs of the same kind from it.
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
    """An array in numbers. `array` is all of it as nested lists, if it is small; a number that is not finite
    stands there as "nan", "inf" or "-inf", and is left out of mean, min and max. Of several arrays together only the
    norm is known."""

    norm: float
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    nonfinite: int = 0
    array: Any = field(default=None, repr=False)

    def data(self) -> dict[str, Any]:
        """The numbers in JSON's form."""
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
    """A node of the picture.

    kind     operation, fused (several operations in one), output (a result that the graph was asked for), parameter (a
             leaf that requires grad), input (a value outside the graph), detached (a state cut off from its past),
             elided (in place of omitted steps), collapsed (in place of a scope) or cell (a step, as a box)
    label    its name, or ""
    op       the operation, or ""
    shape    of its value; for several outputs, a tuple of shapes
    scope    (label, time step or None), from the outermost in
    order    its position in the forward order, from 0
    line     the user's line that made it
    formula  the operation with a plain number, such as "× 0.5", if known
    part     of an input: the index in the named array, such as "[2]"; of an operation that takes a part: which;
             of a box of a textbook: its lane
    span     the steps that an elided or collapsed node replaces: (label, first, last)
    bytes    of the arrays it keeps alive for backward, each counted once in a graph
    count    the number of nodes it replaces
    value, grad   its numbers, if known
    outputs  the same for each of several outputs
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
    part: str = ""
    span: tuple[str, int, int] | None = None
    bytes: int = 0
    count: int = 1
    value: Numbers | None = None
    grad: Numbers | None = None
    outputs: tuple[GraphOutput, ...] = ()
    inner: Inner | None = None

    @property
    def steps(self) -> dict[str, int]:
        """The time step of each loop that contains the node."""
        return {label: step for label, step in self.scope if step is not None}

    def __repr__(self) -> str:
        words = dict.fromkeys([self.kind, self.op, self.label.replace("\n", " ")])
        where = " ".join([label if step is None else f"{label}={step}" for label, step in self.scope])
        return f"<GraphNode {self.id}: {' '.join(filter(None, words))}{f' in {where}' if where else ''}>"


@dataclass(frozen=True)
class GraphEdge:
    """An edge from an operand to its user.

    kind    "" for an ordinary edge, "state" from one time step to another, "detached" from or to a state cut off
    steps   the time steps that a state edge leads from and to; in a view, the first and the last
    times   the number of edges it replaces; to or from a collapsed or an elided node, the number of values
    output  the number of the source's output that it carries (of several, the first)
    label   the name of that output
    grad    the norm of the gradient that flows back along it, if asked for
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

    inputs   (outer source's id, number of its output, inner node's id) for each use of an input
    outputs  (inner node, number of its output) for each output of the fused node
    """

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    inputs: tuple[tuple[str, int, str], ...] = ()
    outputs: tuple[tuple[str, int], ...] = ()

    def __repr__(self) -> str:
        return f"<Inner of {len(self.nodes)} nodes and {len(self.edges)} edges>"


@dataclass(frozen=True)
class Options:
    """The options of a drawing. `view` is the one in effect, `note` a sentence for the reader of the picture, and
    `windows` has for each window of a textbook its title and the ids of its nodes."""

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
    windows: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def replace(self, **changes: Any) -> Options:
        """A copy with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the computation, and edges: plain data.

    `render("g.svg")` draws the graph (also as .png, .pdf, .tex or .dot); `html("g.html")` writes an interactive page;
    `dot()` gives its text in Graphviz's language, `data()` its JSON form. Notebooks display it.
    """

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    options: Options = field(default=Options(), repr=False)

    def data(self) -> dict[str, Any]:
        """Everything as dicts, lists, strings and numbers that JSON can hold. Equal programs give equal data.

        Numbers that are not finite are the strings "nan", "inf" and "-inf".
        """
        shown = {f.name: getattr(self.options, f.name) for f in fields(self.options)}
        shown["windows"] = [[title, list(ids)] for title, ids in self.options.windows]
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
        """A copy with other nodes, edges or options."""
        return replace(self, **changes)

    if TYPE_CHECKING:  # bound in rendering.py, which knows the writers

        def dot(self) -> str: ...
        def render(
            self, path: str | os.PathLike[str], *, theme: str = "auto", aspect: str | float | None = None
        ) -> Path: ...  # fmt: skip
        def animate(
            self, path: str | os.PathLike[str], *, by: str | None = None, seconds: float = 0.7, theme: str = "auto"
        ) -> Path: ...  # fmt: skip
        def html(self, path: str | os.PathLike[str]) -> Path: ...
        def _repr_mimebundle_(self, **_: Any) -> dict[str, str]: ...


# ---- JSON form ---------------------------------------------------------------------------------------------------


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
