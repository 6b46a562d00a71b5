"""From the tape to plain data: nodes in recording order, edges, scopes, and known numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from ..backward import key_of
from ..fusion.fused import Fused
from ..primitives import no_gradient
from ..tape import Node, Output, kept_arrays, node_of, owner
from ..tensors import Tensor
from ..where import line_of
from .calls import places, repeated
from .graph import Graph, GraphEdge, GraphNode, GraphOutput, Scope
from .inner import inner, several_of
from .loops import crossed
from .numbers import Observations, Source, numbers
from .operands import Operands, formula_of, name_of
from .origins import Origins
from .slices import index_of, place_of


def build(below: Iterable[Node], roots: Iterable[Any], names: Mapping[Tensor, str], record: Observations) -> Graph:
    """The graph of these nodes, given in recording order.

    roots   the edges of the results to draw
    names   names of leaves
    record  known values, gradients and unrecorded operands
    """
    below = list(below)
    builder = _Builder(below, names, record)
    builder.note_uses(roots)
    for node in below:
        builder.operation(node)
    found = Graph(tuple(builder.nodes), tuple(builder.edges.values()))
    times = 0 if any(node.steps for node in found.nodes) else repeated(below, builder.scopes)
    if times:
        note = f"a line ran {times} times outside of any step: `for t, x in mg.steps(xs):` draws a column for each"
        found = found.replace(options=found.options.replace(note=note))
    return found


class _Builder:
    def __init__(self, below: list[Node], names: Mapping[Tensor, str], record: Observations) -> None:
        self.below = below
        self.names = names
        self.record = record
        self.origins = Origins(below, record.values)
        self.operands = Operands()
        self.unrecorded: dict[Node, list[tuple[str, str, Any, Source | None]]] = {}
        cut = {n: [key[2] for kind, _, key, _ in self._unrecorded(n) if kind == "detached"] for n in below}
        self.scopes = places(below, cut, self.origins)
        self.nodes: list[GraphNode] = []
        self.edges: dict[Any, GraphEdge] = {}
        self.ids: dict[Any, str] = {}
        self.lines: dict[Any, str] = {}
        self.used: dict[Node, set[int]] = {}  # which outputs
        self.roots: set[Node] = set()
        self.counted: set[int] = set()  # owners of memory, by id; the tape keeps them alive meanwhile
        self.spots: dict[Any, Scope] = {}  # of values from outside, by (key, time): the scope around all uses
        self.unnamed = 0

    def note_uses(self, roots: Iterable[Any]) -> None:
        """Find the used outputs of each node, the memory of parameters, and the scopes of inputs."""
        for node in self.below:
            scope = self.scopes[node]
            for one, _, _ in node.edges or ():
                for edge in several_of(one):
                    self._note(edge)
                    if isinstance(edge, Tensor) and self._given(edge):
                        self._spot(edge, _time_of(scope))
            for _, _, key, source in self._unrecorded(node):
                self._spot_source(key, source, scope)
        for edge in (roots := list(roots)):
            self._note(edge)
        self.roots = {node_of(edge)[0] for edge in roots if not isinstance(edge, Tensor)}

    def _note(self, edge: Any) -> None:
        if isinstance(edge, Tensor):
            self.counted.add(id(owner(edge.data)))
        else:
            node, index = node_of(edge)
            self.used.setdefault(node, set()).add(index)

    def _spot_source(self, key: Any, source: Source | None, scope: Scope) -> None:
        """Place a named value outside the modules that it enters, a constant inside."""
        named = source is None or not (source.constant or source.op)
        self._spot(key, _time_of(scope) if named else scope)
        for part in source.parts if source is not None else ():
            self._spot_source(_entering(part)[2], part, scope)

    def _spot(self, key: Any, scope: Scope) -> None:
        """Place an input inside all scopes that its uses share, once for each time step that uses it."""
        key = (key, _time_of(scope))
        old = self.spots.get(key, scope)
        shared = 0
        while shared < min(len(old), len(scope)) and old[shared] == scope[shared]:
            shared += 1
        self.spots[key] = scope[:shared]

    def add(self, key: Any, **fields: Any) -> str:
        """Add a node to the picture."""
        self.ids[key] = name = f"n{len(self.ids)}"
        self.nodes.append(GraphNode(name, order=len(self.nodes), **fields))
        return name

    def connect(
        self, source: str, target: str, kind: str, steps: Any, output: int, label: str, grad: float | None = None
    ) -> None:
        """Add an edge, unless it exists already."""
        key = (source, target, kind, output)
        if key not in self.edges:
            self.edges[key] = GraphEdge(source, target, kind, steps, 1, output, label, grad)

    def operation(self, node: Node) -> None:
        """Add a recorded operation, after its operands."""
        scope = self.scopes[node]
        operands = [(p, pull.formula is no_gradient) for one, pull, _ in node.edges or () for p in several_of(one)]
        sources = [self._source(p, scope, node) for p, _ in operands]
        outside = [(kind, self._outside(node, *entering)) for kind, *entering in self._unrecorded(node)]
        fused = isinstance(node.primitive, Fused)
        several = type(node.dtype) is tuple
        labels = node.extra.labels if node.extra is not None else {}
        used = self.used.get(node, set())
        values = self.record.values.get(node, ())
        grads = self.record.grads.get(node, ())
        ends = [(source, output) for source, output, _, _ in sources]
        name = self.add(
            node,
            kind="output" if node in self.roots else "fused" if fused else "operation",
            label=", ".join([labels[k] for k in sorted(used) if k in labels]),
            op=node.primitive.name,
            shape=node.shape,
            dtype=_name_of(node.dtype[0] if several else node.dtype),
            scope=scope,
            line=self._line(node.code, node.instruction),
            formula=self.record.formulas.get(node, "") if self.record.run else formula_of(node),
            part=place_of(node),
            bytes=self._bytes(node),
            value=values[0] if values and not several else None,
            grad=grads[0] if grads and not several else None,
            outputs=tuple([
                GraphOutput(labels.get(k, ""), values[k] if values else None, grads[k] if grads else None)
                for k in range(len(node.shape))
            ]) if several else (),
            inner=inner(node, ends, f"n{len(self.ids)}", values) if fused and node.edges else None,
        )  # fmt: skip
        for (operand, cut), (source, output, label, before) in zip(operands, sources, strict=True):
            steps = crossed(before, scope)
            kind = "detached" if cut else "state" if steps else ""
            flow = self.record.flows.get((node, key_of(operand))) if self.record.flows else None
            self.connect(source, name, kind, steps, output, label, flow)
        for kind, source in outside:
            self.connect(source, name, "detached" if kind == "detached" else "", None, 0, "")

    def _source(self, edge: Any, scope: Scope, user: Node) -> tuple[str, int, str, Scope]:
        """An operand in the picture: its node, the number and the label of the output, and the scope that made it."""
        if isinstance(edge, Tensor):
            return self._leaf(edge, scope, user), 0, "", ()
        node, index = node_of(edge)
        label = node.extra.labels.get(index, "") if type(edge) is Output and node.extra is not None else ""
        return self.ids[node], index, label, self.scopes[node]

    # ---- values from outside -----------------------------------------------------------------------------------------

    def _given(self, leaf: Tensor) -> bool:
        """True for a leaf that is an input rather than a weight."""
        return leaf in self.record.given and leaf not in self.names

    def _leaf(self, leaf: Tensor, scope: Scope, user: Node) -> str:
        given = self._given(leaf)
        key = (leaf, _time_of(scope)) if given else leaf
        found = self.ids.get(key)
        if found is None:
            label = self.names.get(leaf) or leaf.name or self.record.labels.get(leaf)
            if not label:  # the user's variable
                label = next((name_of(user, pull.operand) for p, pull, _ in user.edges if p is leaf), None)
            if not label:
                label = f"leaf {self.unnamed}"
                self.unnamed += 1
            grads = self.record.grads.get(leaf)
            found = self.add(key, kind="input" if given else "parameter", label=label,
                             scope=self.spots[key] if given else (), shape=leaf.shape, dtype=str(leaf.dtype),
                             value=numbers(leaf.data) if self.record.run else None,
                             grad=grads[0] if grads else None)  # fmt: skip
        return found

    def _unrecorded(self, node: Node) -> list[tuple[str, str, Any, Source | None]]:
        """(kind, label, key, source or None) of operands that are not on the tape."""
        if node in self.unrecorded:
            return self.unrecorded[node]
        sources = self.record.inputs.get(node, {})
        found: dict[Any, tuple[str, str, Any, Source | None]]
        found = {place: _entering(source) for place, source in sources.items()}
        for place, (kind, label, position) in (node.extra.inputs if node.extra is not None else {}).items():
            if place not in found:
                found[place] = (kind, label, (kind, label, position), None)
        if not self.record.run:
            for place, source in self.operands.missing(node).items():
                found.setdefault(place, _entering(source))
        self.unrecorded[node] = list(found.values())
        return self.unrecorded[node]

    def _outside(self, node: Node, label: str, key: Any, source: Source | None) -> str:
        """A value that is not on the tape: an input, a detached state, or one joined from such values."""
        place = (key, _time_of(self.scopes[node]))
        found = self.ids.get(place)
        if found is not None:
            return found
        scope = self.spots[place]
        known: dict[str, Any] = {}
        if source is not None and source.array is not None:
            array = source.array
            known = {
                "shape": tuple(array.shape),
                "dtype": str(array.dtype),
                "value": numbers(array) if self.record.run else None,
                "part": index_of(array, source.whole) if source.origin is None else "",
            }
        if source is not None and source.op:
            parts = [self._outside(node, *_entering(part)[1:]) for part in source.parts]
            line = self._line(*source.line)
            found = self.add(place, kind="operation", label=label, op=source.op, scope=scope, line=line, **known)
            for part in dict.fromkeys(parts):
                self.connect(part, found, "", None, 0, "")
            return found
        cut = type(key) is tuple and key[0] == "detached"
        origins = [one for one in self.origins(key[2]) if one[0] in self.ids] if cut else []
        names = [before.extra.labels.get(output, "") if before.extra is not None else "" for before, output in origins]
        if label == "loop":  # a rolled one's last state has the name that it has in the loop
            label = names[0] if len(names) == 1 and names[0] else "state"
        found = self.add(place, kind="detached" if cut else "input", label=label, scope=scope, **known)
        for (before, output), name in zip(origins, names, strict=True):
            steps = crossed(self.scopes[before], scope)
            self.connect(
                self.ids[before], found, "detached", steps, output, name if type(before.dtype) is tuple else ""
            )
        return found

    # ---- details -------------------------------------------------------------------------------------------------

    def _line(self, code: Any, instruction: int) -> str:
        """The line as `file.py:12, in function: text`, without the folder: pictures are equal on all machines."""
        key = (code, instruction)
        found = self.lines.get(key)
        if found is None:
            folder = os.path.dirname(code.co_filename)
            found = line_of(code, instruction)
            found = self.lines[key] = found[len(folder) :].lstrip("/\\") if folder else found
        return found

    def _bytes(self, node: Node) -> int:
        """The bytes that a node is the first to keep alive."""
        total = 0
        for array in kept_arrays([kept for _, _, kept in node.edges or ()]):
            memory = owner(array) if not isinstance(array, Tensor) else None
            if memory is not None and id(memory) not in self.counted:
                self.counted.add(id(memory))
                total += int(memory.nbytes)
        return total


@cache
def _name_of(dtype: Any) -> str:
    """The name of a dtype, cached: NumPy builds the name anew each time."""
    return str(dtype)


def _entering(source: Source) -> tuple[str, str, Any, Source]:
    """(kind, label, key, source) of a value that is not on the tape."""
    kind = "input" if source.origin is None else "detached"
    return kind, source.label, id(source) if source.origin is None else (kind, source.label, source.origin), source


def _time_of(scope: Scope) -> Scope:
    """The innermost time step that contains a scope."""
    last = max([k for k, (_, step) in enumerate(scope) if step is not None], default=-1)
    return scope[: last + 1]
