"""One observed run of a model: its loops with their states and gates, non-finite values, detached values.

Loops written without `mg.steps` are recognised as pictures recognise them: by lines that repeat with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.modes import changed_mode, current_mode
from minigrad.origins import Origin
from minigrad.scopes import here
from minigrad.tape import Node, Observer, Output, node_of
from minigrad.where import Scope, caller, line_of

from ..sequences.recurrent import OverTime

if TYPE_CHECKING:
    from minigrad.pictures.origins import Origins

Array = Any
RELUS = ("relu", "maximum")


class Watch(Observer):
    """Keeps the results of all recorded operations, by node.

    spoilt  the first operation that gave NaN or Inf, in words, or None
    used    the used leaves that require grad, by id
    cuts    (origin, node, scope) for each use of a detached value; node is None if the use is not on the tape
    labels  the names that layers give to what their cells return, by node and output
    """

    def __init__(self) -> None:
        self.outputs: dict[Node, tuple[Array, ...]] = {}
        self.spoilt: str | None = None
        self.used: dict[int, mg.Tensor] = {}
        self.cuts: list[tuple[Origin, Node | None, Scope | None]] = []
        self.labels: dict[Node, dict[int, str]] = {}

    def named(self, label: str, value: mg.Tensor, *, by: str = "name") -> mg.Tensor:
        """See Observer."""
        if by in ("loop", "gate") and value.edge is not None:
            node, index = node_of(value.edge)
            self.labels.setdefault(node, {})[index] = label
        return value

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        """See Observer."""
        if self.spoilt is None and not all(_finite(array) for array in outputs):
            self.spoilt = f"{primitive.name}{here()}, at {line_of(*caller())}"
        for operand in operands:
            for value in operand if isinstance(operand, tuple | list) else (operand,):
                if isinstance(value, mg.Tensor):
                    if value.requires_grad and value.edge is None:
                        self.used[id(value)] = value
                    elif value._origin is not None:
                        node = edge if isinstance(edge, Node) else None
                        self.cuts.append((value._origin, node, current_mode().scope))
        if isinstance(edge, Node):
            self.outputs[edge] = outputs


def _finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.all(np.isfinite(array)))


def _innermost(scope: Scope | None) -> Scope | None:
    """The innermost enclosing time step."""
    while scope is not None and scope.step is None:
        scope = scope.outer
    return scope


def _scopes(
    nodes: Sequence[Node], cuts: Sequence[tuple[Origin, Node | None, Scope | None]], origins: Origins
) -> Mapping[Node, Scope | None]:
    """The innermost time step around each node: of the tape, or of a recognised loop; None for nodes outside loops."""
    from minigrad.pictures.calls import places

    found = {node: _innermost(node.scope) for node in nodes}
    cut: dict[Node, list[Origin]] = {}
    for origin, node, _ in cuts:
        if node is not None:
            cut.setdefault(node, []).append(origin)
    made: dict[tuple[Any, ...], Scope] = {}
    for node, path in places([node for node in nodes if found[node] is None], cut, origins).items():
        scope = None
        for depth, (label, step) in enumerate(path):
            scope = made.setdefault(path[: depth + 1], Scope(scope, label, step))
        found[node] = _innermost(scope)
    return found


@dataclass
class LoopPass:
    """One pass of a loop over steps.

    name    the scope around it: `encoder.lstm[0]`
    steps   its nodes by step
    states  the tensors carried from step to step, by name: one for each step
    gates   named values that are not carried: arrays, one for each step
    """

    name: str
    steps: dict[int, list[Node]] = field(default_factory=dict)
    states: dict[str, list[mg.Tensor]] = field(default_factory=dict)
    gates: dict[str, list[Array]] = field(default_factory=dict)

    @property
    def order(self) -> slice:
        """The order of execution: values are listed in the order of time."""
        return slice(None, None, -1 if next(iter(self.steps)) == max(self.steps) else 1)


class Run:
    """A loss, and the observations made while it was computed.

    layers    (layer, input, label) for each layer over time that was called
    loops     its loops over steps
    detached  (step, step) for each detached value made in one step of a loop and used in another
    """

    def __init__(self, loss: Callable[[], Any], model: Any) -> None:
        self.watch = Watch()
        self.layers: list[tuple[Any, Any, str]] = []
        watched = changed_mode(grad=True, observers=(*current_mode().observers, self.watch))
        with hooked(model, self._note), np.errstate(all="ignore"), watched:
            self.loss: Any = loss()
        from minigrad.pictures.origins import Origins  # `import nn` needs no pictures

        nodes = sorted(self.watch.outputs, key=lambda n: n.position)
        origins = Origins(nodes)
        self.scopes = _scopes(nodes, self.watch.cuts, origins)
        self.loops = list(self._loops(nodes))
        self.detached = list(self._detached(origins))

    def _note(self, module: Any, args: tuple[Any, ...], label: str) -> None:
        if isinstance(module, OverTime) and args:
            self.layers.append((module, args[0], label))

    def _detached(self, origins: Origins) -> Iterator[tuple[int, int]]:
        for origin, node, scope in self.watch.cuts:
            now = _innermost(scope) if node is None else self.scopes[node]
            for made, _ in origins(origin):
                before = self.scopes[made]
                if before is not None and now is not None and before.outer is now.outer and before.step != now.step:
                    yield int(before.step or 0), int(now.step or 0)

    def _loops(self, nodes: Sequence[Node]) -> Iterator[LoopPass]:
        """The loops, each pass separately: a layer that is called twice has two."""
        passes: dict[Any, tuple[LoopPass, int, int]] = {}  # (the current pass, its last step, its direction)
        where: dict[Node, tuple[LoopPass, int]] = {}
        found: list[LoopPass] = []
        for node in nodes:
            scope = self.scopes[node]
            if scope is None:
                continue
            t, key = int(scope.step or 0), (id(scope.outer), scope.label)
            loop, last, way = passes.get(key, (None, t, 0))
            moved = (t > last) - (t < last)
            if loop is None or (moved and way and moved != way):
                loop, way, moved = LoopPass(str(scope.outer or "loop")), 0, 0
                found.append(loop)
            passes[key] = (loop, t, moved or way)
            loop.steps.setdefault(t, []).append(node)
            where[node] = (loop, t)
        for loop in found:
            self._fill(loop, where)
            if len(loop.steps) > 1:
                yield loop

    def _fill(self, loop: LoopPass, where: dict[Node, tuple[LoopPass, int]]) -> None:
        """Find the carried results: those that another step of the loop uses."""
        kinds: dict[Any, dict[int, Output]] = {}  # (operation, its index in a step, output) by step
        names: dict[Any, str] = {}
        carried: dict[Any, None] = {}
        keys: dict[tuple[Node, int], Any] = {}
        for t, nodes in loop.steps.items():
            count: dict[str, int] = {}
            for node in nodes:
                name = node.primitive.name
                count[name] = count.get(name, 0) + 1
                several = type(node.dtype) is tuple
                labels = self.watch.labels.get(node, {}) | (node.extra.labels if node.extra is not None else {})
                for k in range(len(node.shape) if several else 1):
                    key = (name, count[name], k)
                    index: Any = k if several else None
                    shape, dtype = (node.shape[k], node.dtype[k]) if several else (node.shape, node.dtype)
                    kinds.setdefault(key, {})[t] = Output(node, index, shape, dtype)
                    keys[node, k] = key
                    if k in labels:
                        names[key] = labels[k]
                for parent in _parents(node):
                    if isinstance(parent, mg.Tensor):
                        continue
                    before, index = node_of(parent)
                    if where.get(before, (None, t))[0] is loop and where[before][1] != t:
                        carried[keys[before, index]] = None
        state = [key for key in carried if all(len(o.shape) > 1 for o in kinds[key].values())]
        many = len(loop.steps) // 2
        for key in state or carried:
            if len(kinds[key]) > many:
                outputs = [kinds[key][t] for t in sorted(kinds[key])]
                loop.states[self._named(names.get(key, key[0]), loop.states)] = [self._tensor(o) for o in outputs]
        for key, name in names.items():
            if key not in carried and len(kinds[key]) > many:
                outputs = [kinds[key][t] for t in sorted(kinds[key])]
                arrays = [backend.to_numpy(self.watch.outputs[o.node][o.index or 0]) for o in outputs]
                loop.gates[self._named(name, loop.gates)] = arrays

    @staticmethod
    def _named(name: str, taken: dict[str, Any]) -> str:
        return name if name not in taken else f"{name} {sum(n.split()[0] == name for n in taken) + 1}"

    def _tensor(self, output: Output) -> mg.Tensor:
        edge = output.node if output.index is None else output
        return mg.Tensor._of(self.watch.outputs[output.node][output.index or 0], edge)

    def relus(self) -> dict[str, Array]:
        """(H,) booleans for each ReLU: True for units that are off in the whole batch, at all steps."""
        found: dict[str, Array] = {}
        for node, outputs in self.watch.outputs.items():
            primitive: Any = node.primitive
            inner = [n.primitive.name for n in node.edges[0][2][0].nodes] if _is_fused(node) else [primitive.name]
            if not any(name in RELUS for name in inner) or not outputs[0].ndim:
                continue
            place = " ".join(part for part in str(node.scope or "").split() if "=" not in part)
            name = f"{place} {primitive.name}".strip()
            flat = backend.to_numpy(outputs[0])
            off = ~(flat.reshape((-1, flat.shape[-1])) != 0).any(axis=0)
            found[name] = off & found[name] if name in found and found[name].shape == off.shape else off
        return found


def _is_fused(node: Node) -> bool:
    from minigrad.fusion.fused import Fused

    return isinstance(node.primitive, Fused) and bool(node.edges)


def _parents(node: Node) -> Iterator[Any]:
    for parent, _, _ in node.edges or ():
        yield from (p for p in (parent if type(parent) is tuple else (parent,)) if p is not None)


class hooked:  # noqa: N801 (used as a statement)
    """`with hooked(model, note)`: `note(module, args, label)` is called after each module's forward."""

    def __init__(self, model: Any, note: Callable[[Any, tuple[Any, ...], str], None]) -> None:
        self.model, self.note = model, note

    def __enter__(self) -> None:
        modules = self.model.named_modules() if hasattr(self.model, "named_modules") else ()
        self.removers = [module.register_forward_hook(self._hook(name)) for name, module in modules]

    def _hook(self, name: str) -> Any:
        return lambda module, args, output: self.note(module, args, name or type(module).__name__)

    def __exit__(self, *exception: object) -> None:
        for remove in self.removers:
            remove()
