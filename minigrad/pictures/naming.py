"""The names of all values in a textbook's picture: with subscripts for steps, and told apart where they are equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from .graph import Graph, GraphNode, Scope
from .parts import GIVEN, step_of
from .slices import step_in
from .subscripts import Place, constant, distinct, indexed, weights
from .timeline import Timeline

Loop = tuple[Scope, Scope]  # the lane, and the scope as it was recorded


class Names:
    """Names for a graph whose loops are lines of time, and whose steps have boxes."""

    def __init__(self, line: Timeline, entering: Mapping[str, int]) -> None:
        self.whole = line.graph
        self.line = line
        self.entering = entering
        self.byid = {node.id: node for node in line.graph.nodes}
        self.loops: dict[str, Loop] = {n.id: (found[0][:-1], self._origin(n.id)) for n in line.graph.nodes
                                       if n.kind not in GIVEN and (found := step_of(n.scope)) is not None}  # fmt: skip
        self.modules: dict[Loop, set[str]] = {}  # the modules whose weights it uses
        self.columns: dict[Loop | None, list[int]] = {}
        self.steps = self._steps_with_names()
        taken = {node.label for node in line.graph.nodes} & {"y", "ys"}
        self.unnamed = "o" if taken else "y"  # an output of a step
        for id, own in self.loops.items():
            if id in line.columns:
                self.columns.setdefault(own, []).append(line.columns[id])
        self.users: dict[str, list[str]] = {}
        for edge in line.graph.edges:
            self.users.setdefault(edge.source, []).append(edge.target)
            source, loop = self.byid[edge.source], self.loops.get(edge.target)
            if loop is not None and source.kind == "parameter":
                self.modules.setdefault(loop, set()).add(source.label.rpartition(".")[0])

    def _steps_with_names(self) -> Counter[tuple[Loop | None, str]]:
        """In how many steps of its loop each name occurs."""
        found = {(self.loops.get(node.id), one, self.line.columns.get(node.id))
                 for node in self.whole.nodes for one in node.label.split(", ")}  # fmt: skip
        return Counter([(loop, one) for loop, one, _ in found])

    def graph(self) -> Graph:
        """The graph with its names."""
        weight = weights([node.label for node in self.whole.nodes if node.kind == "parameter"])
        names: dict[tuple[str, str], tuple[str, str, Place]] = {}
        for node in self.whole.nodes:
            if node.kind not in ("parameter", "elided"):
                for one in filter(None, self._label(node).split(", ")):
                    if not constant(one):
                        names[node.id, one] = (one, *self._named(node, one))
        for edge in self.whole.edges:
            for one in filter(None, edge.label.split(", ")):
                if (edge.source, one) not in names:
                    name = indexed(one, self._step(edge.source))
                    names[edge.source, one] = (one, name, self._place(self.loops.get(edge.source), edge.source))
        told = distinct(names)

        def all_of(id: str, label: str) -> str:
            return ", ".join([told.get((id, one), one) for one in label.split(", ") if one])

        nodes = []
        for node in self.whole.nodes:
            named = weight[node.label] if node.kind == "parameter" else all_of(node.id, self._label(node))
            nodes.append(replace(node, label="" if node.kind == "elided" else named))
        edges = []
        for edge in self.whole.edges:
            label = edge.label or self.byid[edge.source].label
            edges.append(replace(edge, label=all_of(edge.source, label) if edge.steps is not None else ""))
        return self.whole.replace(nodes=tuple(nodes), edges=tuple(edges))

    def _label(self, node: GraphNode) -> str:
        """The label of a node: of several outputs that of the first, which a layer returns."""
        if node.kind != "output" or node.id not in self.loops:
            return node.label
        several = [one.label for one in node.outputs if one.label]
        return several[0] if several else node.label or self.unnamed

    def _named(self, node: GraphNode, label: str) -> tuple[str, Place]:
        """A value's name, with its step, and its place; a state that is given has the step before the first, and
        belongs to the loop that it enters."""
        entered = {self.loops.get(id) for id in self.users.get(node.id, ())} if node.kind in GIVEN else set()
        loop = entered.pop() if len(entered) == 1 else self.loops.get(node.id)
        before = self._before(node) if node.kind in GIVEN else None
        step = before or (node.scope and step_in(node.part)) or self._step(node.id)
        if node.kind == "output" and self.steps.get((loop, label), 0) == 1 < len(set(self.columns.get(loop, ()))):
            step = ""  # a name of one step alone, such as the loss at the end
        return indexed(label, step) if step else label, self._place(loop, node.id)

    def _step(self, id: str) -> str:
        """The subscript of a value that is computed in a step."""
        scope = self.byid[id].scope
        steps = [step for _, step in scope if step is not None]
        if not steps:
            found = step_of(scope)
            return found[1] if found is not None else ""
        return ",".join(map(str, [self.line.numbers.get(id, steps[0]), *steps[1:]]))

    def _before(self, node: GraphNode) -> str | None:
        """The number before that of the first step, if a node is a state that enters there."""
        way = self.entering.get(node.id)
        numbers = {self.line.numbers[id] for id in self.users.get(node.id, ()) if id in self.line.numbers}
        return str(numbers.pop() - way).replace("-", "−") if way is not None and len(numbers) == 1 else None

    def _place(self, loop: Loop | None, id: str) -> Place:
        """The place of a value's computation, which tells it from others of the same name."""
        modules = self.modules.get(loop, set()) if loop is not None else set()
        scope = loop[1] if loop is not None else self._origin(id)
        module = next(iter(modules)).rpartition(".")[2] if len(modules) == 1 else ""
        return Place(tuple([label for label, _ in scope]), module)

    def _origin(self, id: str) -> Scope:
        """The scope of a node as it was recorded, without its steps."""
        return tuple([(label, None) for label, step in self.line.scopes[id] if step is None])
