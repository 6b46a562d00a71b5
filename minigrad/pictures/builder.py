"""From the tape to plain data: nodes in the order of recording, edges, scopes, and what is known of the numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..fusion.fused import Fused, Kernel
from ..scopes import Scope as TapeScope
from ..tape import Node, Output, kept_arrays, line_of, node_of, owner
from ..tensors import Tensor
from .graph import Graph, GraphEdge, GraphNode, GraphOutput, Inner, Scope
from .numbers import Record, numbers


def build(below: Iterable[Node], roots: Iterable[Any], names: Mapping[Tensor, str], record: Record) -> Graph:
    """The graph of these nodes, given in the order of recording.

    roots   the edges of what was asked for
    names   of leaves
    record  what is known of values, gradients and unrecorded operands
    """
    builder = _Builder(names, record)
    below = list(below)
    builder.note_uses(below, roots)
    for node in below:
        builder.operation(node)
    return Graph(tuple(builder.nodes), tuple(builder.edges.values()))


class _Builder:
    def __init__(self, names: Mapping[Tensor, str], record: Record) -> None:
        self.names = names
        self.record = record
        self.nodes: list[GraphNode] = []
        self.edges: dict[Any, GraphEdge] = {}
        self.ids: dict[Any, str] = {}
        self.scopes: dict[TapeScope | None, Scope] = {None: ()}
        self.lines: dict[Any, str] = {}
        self.used: dict[Node, set[int]] = {}  # which outputs
        self.roots: set[Node] = set()
        self.counted: set[int] = set()  # owners of memory, by id: the tape keeps them alive meanwhile
        self.unnamed = 0

    def note_uses(self, below: list[Node], roots: Iterable[Any]) -> None:
        """Which outputs of each node are used, and which memory is a parameter's own."""
        parents = [p for node in below for one, _, _ in node.edges or () for p in _each(one)]
        for edge in (*parents, *roots):
            if isinstance(edge, Tensor):
                self.counted.add(id(owner(edge.data)))
            else:
                node, index = node_of(edge)
                self.used.setdefault(node, set()).add(index)
        self.roots = {node_of(edge)[0] for edge in roots if not isinstance(edge, Tensor)}

    def add(self, key: Any, **fields: Any) -> str:
        """A node of the picture."""
        self.ids[key] = name = f"n{len(self.ids)}"
        self.nodes.append(GraphNode(name, order=len(self.nodes), **fields))
        return name

    def connect(self, source: str, target: str, kind: str, steps: Any, output: int, label: str) -> None:
        """An edge; one that is there already is not drawn twice."""
        key = (source, target, kind, output)
        if key not in self.edges:
            self.edges[key] = GraphEdge(source, target, kind, steps, 1, output, label)

    def operation(self, node: Node) -> None:
        """A recorded operation, after everything that it uses."""
        operands = [p for one, _, _ in node.edges or () for p in _each(one)]
        sources = [self._source(p) for p in operands]
        outside = [(kind, self._outside(node, kind, label, key, array))
                   for kind, label, key, array in self._unrecorded(node)]  # fmt: skip
        fused = node.primitive if isinstance(node.primitive, Fused) else None
        several = type(node.dtype) is tuple
        labels = node.extra.labels if node.extra is not None else {}
        used = self.used.get(node, set())
        values = self.record.values.get(node, ())
        grads = self.record.grads.get(node, ())
        scope = self.scope(node.scope)
        name = self.add(
            node,
            kind="output" if node in self.roots else "fused" if fused else "operation",
            label=", ".join([labels[k] for k in sorted(used) if k in labels]),
            op=node.primitive.name,
            shape=node.shape,
            dtype=str(node.dtype[0] if several else node.dtype),
            scope=scope,
            line=self._line(node),
            bytes=self._bytes(node),
            value=values[0] if values and not several else None,
            grad=grads[0] if grads and not several else None,
            outputs=tuple([
                GraphOutput(labels.get(k, ""), values[k] if values else None, grads[k] if grads else None)
                for k in range(len(node.shape))
            ]) if several else (),
            inner=self._inner(node, sources, f"n{len(self.ids)}") if fused and node.edges else None,
        )  # fmt: skip
        for source, output, label, before in sources:
            steps = crossed(before, scope)
            self.connect(source, name, "state" if steps else "", steps, output, label)
        for kind, source in outside:
            self.connect(source, name, "detached" if kind == "detached" else "", None, 0, "")

    def scope(self, scope: TapeScope | None) -> Scope:
        """The path of a scope."""
        found = self.scopes.get(scope)
        if found is None:
            assert scope is not None
            found = self.scopes[scope] = tuple([(s.label, s.step) for s in scope.path()])
        return found

    def _source(self, edge: Any) -> tuple[str, int, str, Scope]:
        """What an operand is in the picture: its node, which output, that output's label, and where it was made."""
        if isinstance(edge, Tensor):
            return self._leaf(edge), 0, "", ()
        node, index = node_of(edge)
        label = node.extra.labels.get(index, "") if type(edge) is Output and node.extra is not None else ""
        return self.ids[node], index, label, self.scope(node.scope)

    def _leaf(self, leaf: Tensor) -> str:
        found = self.ids.get(leaf)
        if found is None:
            label = self.names.get(leaf) or leaf.name
            if not label:
                label = f"leaf {self.unnamed}"
                self.unnamed += 1
            grads = self.record.grads.get(leaf)
            found = self.add(leaf, kind="parameter", label=label, shape=leaf.shape, dtype=str(leaf.dtype),
                             value=numbers(leaf.data) if self.record.run else None,
                             grad=grads[0] if grads else None)  # fmt: skip
        return found

    def _unrecorded(self, node: Node) -> list[tuple[str, str, Any, Any]]:
        """(kind, label, which, array or None) of operands that are not on the tape."""
        found: dict[int, tuple[str, str, Any, Any]] = {
            position: ("input", label, id(array), array) for position, label, array in self.record.inputs.get(node, ())
        }
        for position, (kind, label, which) in (node.extra.inputs if node.extra is not None else {}).items():
            array = found[position][3] if position in found else None
            found[position] = (kind, label, which, array)
        return [found[position] for position in sorted(found)]

    def _outside(self, node: Node, kind: str, label: str, which: Any, array: Any) -> str:
        """A value that is not on the tape: an input, or a detached state. It stands in the step that uses it."""
        scope = self.scope(node.scope)
        key = (kind, label, which, scope)
        found = self.ids.get(key)
        if found is None:
            known = {} if array is None else {
                "shape": tuple(array.shape), "dtype": str(array.dtype), "value": numbers(array)
            }  # fmt: skip
            found = self.add(key, kind=kind, label=label, scope=scope, **known)
        return found

    def _line(self, node: Node) -> str:
        """file.py:12, in function: the line's text; without the folder, so that a picture is the same elsewhere."""
        key = (node.code, node.instruction)
        found = self.lines.get(key)
        if found is None:
            folder = os.path.dirname(node.code.co_filename)
            found = line_of(node.code, node.instruction)
            found = self.lines[key] = found[len(folder) :].lstrip("/\\") if folder else found
        return found

    def _bytes(self, node: Node) -> int:
        """The memory that a node is the first to keep alive."""
        total = 0
        for array in kept_arrays([kept for _, _, kept in node.edges or ()]):
            memory = owner(array) if not isinstance(array, Tensor) else None
            if memory is not None and id(memory) not in self.counted:
                self.counted.add(id(memory))
                total += int(memory.nbytes)
        return total

    def _inner(self, node: Node, sources: list[tuple[str, int, str, Scope]], outer: str) -> Inner | None:
        """The graph inside a fused node, from the trace of its call. Ids are n7_0, n7_1, ..."""
        parents, _, kept = node.edges[0]
        kernel: Kernel = kept[0]
        ids = {each: f"{outer}_{k}" for k, each in enumerate(kernel.nodes)}
        live = iter(sources)
        entering = {v: next(live) for v, p in zip(kernel.variables, parents, strict=True) if p is not None}
        values = self.record.values.get(node, ())
        given: dict[Node, int] = {}
        for k, output in enumerate(kernel.outputs):
            if type(output.edge) is Node:
                given.setdefault(output.edge, k)
        nodes: list[GraphNode] = []
        edges: dict[Any, GraphEdge] = {}
        inputs: dict[tuple[str, int, str], None] = {}
        for k, each in enumerate(kernel.nodes):
            several = type(each.dtype) is tuple
            labels = dict.fromkeys(each.extra.labels.values()) if each.extra is not None else {}
            nodes.append(GraphNode(
                ids[each], "operation", ", ".join(labels), each.primitive.name, each.shape,
                str(each.dtype[0] if several else each.dtype), order=k,
                value=values[given[each]] if values and each in given else None,
            ))  # fmt: skip
            for one, _, _ in each.edges:
                for parent in _each(one):
                    if isinstance(parent, Tensor):
                        if parent in entering:
                            source, which, *_ = entering[parent]
                            inputs[source, which, ids[each]] = None
                    else:
                        of, index = node_of(parent)
                        edges[of, each, index] = GraphEdge(ids[of], ids[each], output=index)
        outputs = []
        for output in kernel.outputs:
            if output.edge is None:
                outputs.append((ids[kernel.nodes[-1]], 0))
            else:
                of, index = node_of(output.edge)
                outputs.append((ids[of], index))
        return Inner(tuple(nodes), tuple(edges.values()), tuple(inputs), tuple(outputs))


def _each(parent: Any) -> list[Any]:
    return [p for p in parent if p is not None] if type(parent) is tuple else [parent]


def crossed(source: Scope, target: Scope) -> tuple[int, int] | None:
    """From which step to which an edge goes, if both ends lie in different steps of one loop: the way of a state."""
    for (label, step), (other, later) in zip(source, target, strict=False):
        if (label, step) != (other, later):
            return (step, later) if label == other and step is not None and later is not None else None
    return None
