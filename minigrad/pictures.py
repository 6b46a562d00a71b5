"""Pictures of graphs: the tape below a tensor as plain data, and as Graphviz draws it.

`graph` builds nodes and edges, named in the order of recording, so that the same program gives the same picture.
Steps and named scopes are clusters; a parameter that many steps use is one node; an edge from a step to a later one
(a state's way through time) is emphasised, and the edge to a detached state is dashed.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .backward import nodes_below
from .scopes import Scope
from .tape import Node, Output
from .tensors import Tensor

# One visual language: the shape says what a thing is. Colours after P. Tol's palette for colour-blind readers.
_STYLES = {
    "operation": 'shape=box style="rounded,filled" fillcolor="#F4F4F4" color="#9A9A9A"',
    "output": 'shape=box style="rounded,filled" fillcolor="#EECC66" color="#997700"',
    "parameter": 'shape=ellipse style=filled fillcolor="#CCDDEE" color="#4477AA"',
    "input": 'shape=plaintext fontcolor="#555555"',
    "detached": 'shape=box style="rounded,dashed" color="#9A9A9A" fontcolor="#555555"',
}


@dataclass(frozen=True)
class GraphNode:
    """kind: operation, output, parameter, input or detached; scope: labels from the outermost in."""

    id: str
    kind: str
    label: str
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    scope: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphEdge:
    """kind: "" for an ordinary edge, "state" from one time step to another, "detached"."""

    source: str
    target: str
    kind: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes and edges as plain data; `dot()`, `render("g.svg")`, and display in notebooks."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    shapes: bool = field(default=False, repr=False)

    def dot(self) -> str:
        """The graph in Graphviz's language."""
        lines = [
            "digraph {",
            '  rankdir=LR; newrank=true; nodesep=0.22; ranksep=0.35; bgcolor="white";',
            '  node [fontname="Helvetica,Arial,sans-serif" fontsize=11 height=0.3 margin="0.09,0.04" penwidth=1];',
            '  edge [color="#777777" arrowsize=0.6 penwidth=1];',
        ]
        tree: dict[Any, Any] = {}
        for node in self.nodes:
            inner: dict[Any, Any] = tree
            for label in node.scope:
                inner = inner.setdefault(("scope", label), {})
            inner[("node", node.id)] = node
        lines += self._clusters(tree, "  ", "cluster")
        styles = {"": "", "state": ' [color="#BB5566" penwidth=2.2]', "detached": " [style=dashed]"}
        lines += [f"  {edge.source} -> {edge.target}{styles[edge.kind]};" for edge in self.edges]
        return "\n".join([*lines, "}"]) + "\n"

    def _clusters(self, tree: dict[Any, Any], indent: str, prefix: str) -> list[str]:
        lines = []
        for number, ((kind, label), value) in enumerate(tree.items()):
            if kind == "node":
                text = value.label
                if self.shapes and value.shape is not None:
                    text += f"\n{'×'.join(map(str, value.shape)) or 'scalar'} {value.dtype}"
                lines.append(f"{indent}{value.id} [label={quoted(text)} {_STYLES[value.kind]}];")
            else:
                name = f"{prefix}_{number}"
                lines.append(f"{indent}subgraph {name} {{")
                lines.append(
                    f'{indent}  label={quoted(label)}; labeljust=l; style="rounded,filled"; fillcolor="#00000008"; '
                    'color="#C8C8C8"; fontname="Helvetica,Arial,sans-serif"; fontsize=11; fontcolor="#555555";'
                )
                lines += self._clusters(value, indent + "  ", name)
                lines.append(f"{indent}}}")
        return lines

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Draw to a file; its ending (.svg, .png, .pdf, .dot) says how. Returns the path.

        Raises ValueError for another ending, ImportError if nothing is installed that can draw.
        """
        path = Path(path)
        ending = path.suffix.lstrip(".").lower()
        if ending not in ("svg", "png", "pdf", "dot"):
            raise ValueError(f"render: cannot draw {path.name!r}; the ending must be .svg, .png, .pdf or .dot")
        drawn = self.dot().encode() if ending == "dot" else draw(self.dot(), ending)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(drawn)
            Path(unfinished).chmod(0o644)
            Path(unfinished).replace(path)  # all of it, or nothing
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        return path

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        bundle = {"text/plain": self.dot()}
        with contextlib.suppress(ImportError):  # without a renderer, the text is still there
            bundle["image/svg+xml"] = draw(self.dot(), "svg").decode()
        return bundle


def draw(dot: str, ending: str) -> bytes:
    """Lay out and draw: by pygraphviz, which carries Graphviz, else by the system's `dot`."""
    try:
        import pygraphviz
    except ImportError:
        import graphviz

        try:
            piped: bytes = graphviz.Source(dot).pipe(format=ending)
            return piped
        except graphviz.ExecutableNotFound:
            raise ImportError(
                "to draw graphs, install pip install 'minigrad[viz]' (or a system Graphviz); .dot() works without"
            ) from None
    agraph = pygraphviz.AGraph(string=dot)
    drawn: bytes = agraph.draw(format=ending, prog="dot")
    return drawn


def quoted(text: str) -> str:
    """A string of Graphviz's language; newlines break the line."""
    safe = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n").replace("\0", "␀")
    return f'"{safe}"'


def graph(
    tensor: Tensor | Iterable[Tensor],
    *,
    params: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None,
    shapes: bool = False,
) -> Graph:
    """The graph below a tensor (or several), as far as it has not been released.

    params  names for the leaves, a mapping or pairs such as `named_parameters()`; others go by `.name`
    shapes  show the shape and dtype of each value

    Raises ValueError if there is no graph: the tensor was not computed from one that requires grad, or its graph was
    released by backward.
    """
    roots = [tensor] if isinstance(tensor, Tensor) else list(tensor) if isinstance(tensor, Iterable) else []
    if not roots or not all(isinstance(t, Tensor) for t in roots):
        raise TypeError("graph: expected a Tensor, or several")
    below = nodes_below([t.edge for t in roots if t.edge is not None])
    if not below:
        raise ValueError(
            "graph: there is nothing to draw: no result here was computed from a tensor that requires grad"
        )
    if all(node.edges is None for node in below):
        raise ValueError("graph: the graph was released by backward; draw before it, or use retain_graph=True")
    given = dict(params.items() if isinstance(params, Mapping) else params or ())
    names = {leaf: name for name, leaf in given.items()}
    return _Builder(names, {t.edge.node if type(t.edge) is Output else t.edge for t in roots}, shapes).build(below)


class _Builder:
    def __init__(self, names: dict[Tensor, str], roots: set[Any], shapes: bool) -> None:
        self.names = names
        self.roots = roots
        self.shapes = shapes
        self.nodes: list[GraphNode] = []
        self.edges: list[GraphEdge] = []
        self.ids: dict[Any, str] = {}

    def build(self, below: list[Node]) -> Graph:
        for node in below:
            self._operation(node)
        return Graph(tuple(self.nodes), tuple(dict.fromkeys(self.edges)), self.shapes)

    def _operation(self, node: Node) -> None:
        parents = [p for parent, _, _ in node.edges or () for p in (parent if type(parent) is tuple else (parent,))]
        sources = [self._leaf(p) if isinstance(p, Tensor) else self._result(p) for p in parents if p is not None]
        name = f"n{len(self.ids)}"
        self.ids[node] = name
        labels = "\n".join(dict.fromkeys(node.extra.labels.values())) if node.extra is not None else ""
        text = f"{labels}\n{node.primitive.name}" if labels else node.primitive.name
        several = type(node.dtype) is tuple
        self.nodes.append(GraphNode(
            name, "output" if node in self.roots else "operation", text,
            node.shape[0] if several else node.shape, str(node.dtype[0] if several else node.dtype),
            tuple(_label(s) for s in _path(node.scope)),
        ))  # fmt: skip
        for source, from_scope in sources:
            carried = from_scope is not None and _other_step(node.scope, from_scope)
            self.edges.append(GraphEdge(source, name, "state" if carried else ""))
        if node.extra is not None:
            for kind, label, position in node.extra.inputs.values():
                source = self._outside(kind, label, position, node)
                self.edges.append(GraphEdge(source, name, "detached" if kind == "detached" else ""))

    def _result(self, edge: Any) -> tuple[str, Scope | None]:
        node = edge.node if type(edge) is Output else edge
        return self.ids[node], node.scope

    def _leaf(self, leaf: Tensor) -> tuple[str, None]:
        if leaf not in self.ids:
            self.ids[leaf] = name = f"n{len(self.ids)}"
            unnamed = sum(node.label.startswith("leaf ") for node in self.nodes)
            label = self.names.get(leaf) or leaf.name or f"leaf {unnamed}"
            self.nodes.append(GraphNode(name, "parameter", label, leaf.shape, str(leaf.dtype)))
        return self.ids[leaf], None

    def _outside(self, kind: str, label: str, position: int, node: Node) -> str:
        """A value that is not on the tape: a named input, or a detached state. It stands in the step that uses it."""
        key = (kind, label, position, node.scope)
        if key not in self.ids:
            self.ids[key] = name = f"n{len(self.ids)}"
            self.nodes.append(GraphNode(name, kind, label, scope=tuple(_label(s) for s in _path(node.scope))))
        return self.ids[key]


def _path(scope: Scope | None) -> tuple[Scope, ...]:
    return scope.path() if scope is not None else ()


def _label(scope: Scope) -> str:
    return scope.label if scope.step is None else f"{scope.label} = {scope.step}"


def _other_step(scope: Scope | None, source: Scope) -> bool:
    """Whether a scope lies in another step of the loop in which `source` lies: the way of a state."""
    before = {s.label: s.step for s in _path(source) if s.step is not None}
    return any(s.step is not None and before.get(s.label, s.step) != s.step for s in _path(scope))
