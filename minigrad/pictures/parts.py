"""Parts of a step: the cell, and the operations that are not its own.

A step's cell is what its state runs through: the operations that form a cycle when the loop is rolled up. A module that
keeps a state is a cell of its own; other modules in the step, such as an attention or a readout, are boxes beside it.
Without such a module, what only feeds the cell or only follows it belongs to it. A running sum is a sum, not a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .graph import Graph, GraphNode, Scope
from .loops import WINDOW, likeness, rolled_steps, without_steps

GIVEN = ("input", "parameter", "detached", "elided")
SUMS = ("add", "subtract")


class Part(NamedTuple):
    """A box in a step: the cell with this number, or a module that is called there. `stage` counts the returns from
    inner loops."""

    step: Scope
    cell: int | None
    module: str = ""
    stage: int = 0


ALONE = 0  # the number of the cell of a loop that ran once, so that no state shows


def step_of(scope: Scope) -> tuple[Scope, str] | None:
    """The innermost step that contains a scope, and its subscript: a number, or t for all steps."""
    for depth in range(len(scope) - 1, -1, -1):
        label, step = scope[depth]
        if step is not None:
            return scope[: depth + 1], str(step)
        rolled = rolled_steps(label)
        if rolled is not None:
            return scope[: depth + 1], rolled if rolled != WINDOW else ""
    return None


class Parts:
    """The boxes of a graph: `found` is that of each node in a step; nodes that stand for themselves have none.

    scopes  of the nodes as they were recorded, by which those of different steps correspond
    """

    def __init__(self, graph: Graph, scopes: Mapping[str, Scope]) -> None:
        self.byid = {node.id: node for node in graph.nodes}
        self.edges = graph.edges
        inside = [node for node in graph.nodes if node.kind not in GIVEN and node.span is None]
        self.steps = {node.id: found[0] for node in inside if (found := step_of(node.scope)) is not None}
        self.into: dict[str, list[str]] = {}
        self.after: dict[str, list[str]] = {}
        self.carried: set[tuple[str, str]] = set()  # the ends of edges from step to step
        for edge in graph.edges:
            if edge.source in self.byid:
                self.after.setdefault(edge.source, []).append(edge.target)
                self.into.setdefault(edge.target, []).append(edge.source)
                if edge.kind in ("state", "detached"):
                    self.carried.add((edge.source, edge.target))
        self.keys = self._keys(graph.nodes, scopes)
        self.sums: set[object] = set()  # keys of running sums
        self.cycles = self._cycles()
        self.modules = self._modules()
        self.found: dict[str, Part] = {}
        self._assign(graph.nodes)

    def _keys(self, nodes: Iterable[GraphNode], scopes: Mapping[str, Scope]) -> dict[str, object]:
        """A key for each node in a step, equal for those that correspond."""
        seen: dict[object, int] = {}
        keys: dict[str, object] = {}
        for node in nodes:
            if node.id in self.steps:
                kind = (scopes[node.id], node.scope, likeness(node))
                nth = seen[kind] = seen.get(kind, -1) + 1
                keys[node.id] = (without_steps(scopes[node.id]), likeness(node), nth)
        return keys

    def _cycles(self) -> dict[object, int]:
        """The number of the cycle, in the rolled-up graph, that a key is part of; running sums are left out."""
        after: dict[object, dict[object, None]] = {key: {} for key in self.keys.values()}
        for id, key in self.keys.items():
            after[key] |= {self.keys[to]: None for to in self.after.get(id, ()) if to in self.keys}
        ops: dict[object, str] = {self.keys[id]: self.byid[id].op for id in self.keys}
        found: dict[object, int] = {}
        for number, cycle in enumerate(components(after), start=ALONE + 1):
            if len(cycle) > 1 or cycle[0] in after[cycle[0]]:
                if all(ops[key] in SUMS for key in cycle):
                    self.sums.update(cycle)
                else:
                    found |= dict.fromkeys(cycle, number)
        return found

    def _module(self, id: str) -> str:
        """The outermost module in the node's step that contains it, or ""."""
        scope, depth = self.byid[id].scope, len(self.steps[id])
        return scope[depth][0] if len(scope) > depth else ""

    def _modules(self) -> set[tuple[int, str]]:
        """Cells that are modules: (cycle, module), where a state leads from a module to itself."""
        found = set()
        for source, target in self.carried:
            if source in self.keys and target in self.keys:
                module, cycle = self._module(source), self.cycles.get(self.keys[source])
                same = module == self._module(target) and cycle == self.cycles.get(self.keys[target])
                if module and cycle is not None and same:
                    found.add((cycle, module))
        return found

    def _assign(self, nodes: tuple[GraphNode, ...]) -> None:
        inside = [node for node in nodes if node.id in self.steps and node.kind != "collapsed"]
        stages = self._stages(inside)
        modular = {cycle for cycle, _ in self.modules}  # cycles that run through modules with a state
        cells: dict[tuple[Scope, str], int] = {}  # by step and module
        for node in inside:
            cycle = self.cycles.get(self.keys[node.id])
            if cycle is not None and cycle not in modular:
                cells.setdefault((self.steps[node.id], self._module(node.id)), cycle)
        busy = {step for step, _ in cells} | {self.steps[node.id] for node in inside if self._module(node.id)}
        for node in inside:
            step, module, key = self.steps[node.id], self._module(node.id), self.keys[node.id]
            cycle = cells.get((step, module)) if module else self.cycles.get(key)
            if cycle is not None and cycle not in modular:
                self.found[node.id] = Part(step, cycle, "", stages[node.id])
            elif module:
                self.found[node.id] = Part(step, None, module, stages[node.id])
            elif step not in busy and key not in self.sums:
                self.found[node.id] = Part(step, ALONE, "", stages[node.id])
        for node in reversed(inside):  # nodes that only feed the cell
            if node.kind != "output":
                self._join(node.id, self.after.get(node.id, ()))
        for node in inside:  # nodes that only follow it
            self._join(node.id, [id for id in self.into.get(node.id, ()) if id in self.steps])

    def _join(self, id: str, others: Iterable[str]) -> None:
        """Make a node part of the only box that it is connected with, if that is the cell of its step."""
        if id in self.found or self.keys[id] in self.sums:
            return
        parts = {self.found.get(one) for one in others}
        part = parts.pop() if len(parts) == 1 else None
        if part is not None and part.cell is not None and part.step == self.steps[id]:
            self.found[id] = part

    def entering(self) -> dict[str, int]:
        """The states that are given to the first step of a loop: 1 if time runs forward there, else -1.

        They take the place of the state that the other steps get from the step before.
        """
        direction: dict[object, int] = {}
        later: dict[object, set[str]] = {}  # the labels of values that are given to other steps as well
        receives = {target for _, target in self.carried}
        for edge in self.edges:
            if edge.target in self.keys and edge.target in receives:
                key, source = self.keys[edge.target], self.byid[edge.source]
                if edge.steps is not None:
                    direction[key] = 1 if edge.steps[1] >= edge.steps[0] else -1
                elif source.kind in GIVEN:
                    later.setdefault(key, set()).add(source.label)
        found: dict[str, int] = {}
        for node in self.byid.values():
            users = self.after.get(node.id, ())
            if node.kind not in ("input", "detached") or not users or any(id not in self.keys for id in users):
                continue
            keys = [self.keys[id] for id in users]
            first = all(key in direction and node.label not in later.get(key, ()) for key in keys)
            if first and not receives.intersection(users):
                ways = {direction[key] for key in keys}
                if len(ways) == 1:
                    found[node.id] = ways.pop()
        return found

    def _stages(self, nodes: Iterable[GraphNode]) -> dict[str, int]:
        """The number of times that the way to a node came back from an inner loop to its step."""
        found: dict[str, int] = {}
        for node in nodes:
            step, stage = self.steps[node.id], 0
            for id in self.into.get(node.id, ()):
                before = self.steps.get(id)
                if before is not None and before[: _outer(before)] == step[: _outer(step)]:
                    back = len(before) > len(step) and before[: len(step)] == step
                    stage = max(stage, found.get(id, 0) + back)
            found[node.id] = stage
        return found


def _outer(scope: Scope) -> int:
    """The length of a scope up to its outermost step."""
    return next((k + 1 for k, (_, step) in enumerate(scope) if step is not None), len(scope))


def components(after: Mapping[object, Iterable[object]]) -> list[list[object]]:
    """The strongly connected components of a graph.

    R. Tarjan, Depth-first search and linear graph algorithms, 1972.
    """
    index: dict[object, int] = {}
    low: dict[object, int] = {}
    stack: list[object] = []
    on: set[object] = set()
    found: list[list[object]] = []
    for root in after:
        if root in index:
            continue
        work = [(root, iter(after[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on.add(root)
        while work:
            node, rest = work[-1]
            for one in rest:
                if one not in index:
                    index[one] = low[one] = len(index)
                    stack.append(one)
                    on.add(one)
                    work.append((one, iter(after[one])))
                    break
                if one in on:
                    low[node] = min(low[node], index[one])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component: list[object] = []
                    while not component or component[-1] != node:
                        component.append(stack.pop())
                        on.discard(component[-1])
                    found.append(component)
    return found
