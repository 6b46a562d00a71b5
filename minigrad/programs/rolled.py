"""A rolled loop on the tape: one node that can be unfolded into the nodes of all steps.

The node is the unrolled graph, folded. Backward runs its program. Pictures, diagnostics and higher derivatives need the
inside, so they unfold it: the loop runs again step by step, recorded, and its nodes replace the one node, with
positions between the nodes recorded before and after it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import backend, backward
from ..backward import key_of, nodes_below, parents_of, walk
from ..modes import changed_mode, current_mode
from ..native import machine
from ..primitives import Primitive, Pull, begin, new_node, record_many
from ..randomness import generator
from ..tape import Edge, Node, Output, describe, node_of, refuse_overwritten
from ..tensors import Tensor
from ..where import caller
from .loop import Loop, Saved
from .tracks import Rows

Array = Any
Plain = Callable[[Tensor, list[Tensor], list[Tensor]], list[Tensor]]


class Run:
    """One run of a loop, with all that is needed to repeat it step by step.

    plain  a function of (x, states, weights) that runs the same loop in Python: its outputs, and the last states
    spent  True once backward may have overwritten kept arrays
    drawn  the state of the random numbers before the loop, if it draws some
    """

    def __init__(self, loop: Loop, saved: Saved, operands: Sequence[Tensor], plain: Plain, drawn: Any) -> None:
        self.loop, self.saved, self.plain = loop, saved, plain
        self.data = [t.data for t in operands]
        self.names = [(t._name, t._origin) for t in operands]
        self.spent = False
        self.scope = current_mode().scope
        self.drawn = drawn
        self.outputs: list[Callable[[], Output | None]] = []

    def again(self, parents: Sequence[Edge | None]) -> list[Tensor]:
        """Run the loop again, recorded step by step on the tape below `parents`."""
        given = [
            Tensor(array) if edge is None else edge if isinstance(edge, Tensor) else Tensor._of(array, edge)
            for array, edge in zip(self.data, parents, strict=True)
        ]
        for tensor, edge, names in zip(given, parents, self.names, strict=True):
            if edge is None:
                tensor._name, tensor._origin = names
        states = 1 + len(self.loop.step.states)
        numbers = generator("cpu").bit_generator
        now = numbers.state
        try:
            if self.drawn is not None:
                numbers.state = self.drawn
            with changed_mode(grad=True, fast=True, scope=self.scope, observers=()):
                return self.plain(given[0], given[1:states], given[states:])
        finally:
            numbers.state = now


def rolls(array: Array) -> str | None:
    """None if loops over such arrays can run as programs in the current mode; otherwise the reason."""
    mode = current_mode()
    if not mode.fast:
        return "fast paths are switched off"
    if any(observer.inside for observer in mode.observers):
        return "its steps are being watched"
    if type(backend.held(array)) is np.ndarray:
        return None if machine.in_use() else "there are no compiled kernels (the extra `fast`)"
    if kernel_maker(array) is None:
        return "mg.compile records the launches of a GPU one by one" if backend.is_recorded(array) else (
            "its arrays have no compiled kernels")  # fmt: skip
    return None


def kernel_maker(array: Array) -> Any:
    """The maker of kernels for an array's device; None for NumPy's arrays and in a recording."""
    return backend.backend_of(array).elementwise


def rolled(
    loop: Loop, x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor], real: Array | None, rows: Rows,
    plain: Plain,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Run a loop as a program: its outputs (R, ·), and the last state of each row of the batch, (N, ·) each.

    plain  see `Run`
    """
    mode = current_mode()
    operands = (x, *states, *weights)
    if mode.observers:
        begin(PRIMITIVE, mode)
    parents = tuple([(t.edge or t) if mode.grad and t._requires_grad else None for t in operands])
    needed = any(p is not None for p in parents)
    arrays = _dense([t.data for t in operands] if real is None else [*[t.data for t in operands], real])
    held = None if real is None else arrays.pop()
    initial = arrays[1 : 1 + len(states)]
    drawn = generator("cpu").bit_generator.state if loop.step.draws and (needed or loop.checked) else None
    with np.errstate(all="ignore"):
        outputs, finals, saved = loop.run(arrays[0], held, initial, arrays[1 + len(states) :], rows, needed)
    if rows.begun < rows.batch:  # rows without a step keep their initial state
        finals = [np.concatenate([f, s[rows.begun :]]) for f, s in zip(finals, initial, strict=True)]
    ys = (*outputs, *finals)
    if loop.checked and not _finite(ys):
        record_many(PRIMITIVE, ys, (), mode, operands)
        if drawn is not None:
            generator("cpu").bit_generator.state = drawn
        return tuple(plain(x, list(states), list(weights)))
    if not needed:
        return record_many(PRIMITIVE, ys, (), mode, operands)
    run = Run(loop, saved, operands, plain, drawn)
    node = new_node(PRIMITIVE, ((parents, _PULL, (run, saved.kept, parents, None)),), mode.scope, 2)
    node.shape, node.dtype = tuple([y.shape for y in ys]), tuple([y.dtype for y in ys])
    vary = [*loop.step.outputs_vary, *loop.step.varies]
    found = tuple([
        Tensor._of(y, Output(node, k, y.shape, y.dtype)) if v else Tensor._of(y)
        for k, (y, v) in enumerate(zip(ys, vary, strict=True))
    ])  # fmt: skip
    run.outputs = [weakref.ref(y.edge) if y.edge is not None else _nobody for y in found]
    for observer in mode.observers:
        observer.recorded(PRIMITIVE, operands, ys, node)
    return found


def _finite(arrays: Iterable[Array | None]) -> bool:
    return all(a is None or bool(np.isfinite(a).all()) for a in arrays)


def _nobody() -> None:
    """A stand-in for the edge of an output that does not require grad."""


def _dense(arrays: Iterable[Array]) -> list[Array]:
    """The arrays in the form that kernels accept; in a recording, the arrays that stand for them."""
    intake = current_mode().intake
    arrays = intake.operands(*arrays)
    found = []
    for array in arrays:
        if not intake.follows and type(array) is not np.ndarray:  # lent to the recording of another thread
            array = backend.held(array)
        dtype = backend.native(array.dtype)
        if array.dtype is not dtype:
            array = array.astype(dtype)
        dense = array.flags.c_contiguous and (not backend.on_cpu(array) or array.flags.aligned)
        found.append(array if dense else array.copy())
    return found


def _gradients(g: Any, run: Run, kept: list[Array], parents: tuple[Any, ...], node: Node) -> list[Any]:
    """The rule of a rolled loop: its program backwards, or its steps on Tensors."""
    if any(isinstance(p, Tensor) for p in g):
        return _step_by_step(g, run, parents, create_graph=True)
    dense = iter(_dense([p for p in g if p is not None]))
    arrived = [None if p is None else next(dense) for p in g]
    count = len(run.loop.step.outputs)
    release = current_mode().releases
    if run.spent:
        raise RuntimeError(
            f"backward: what {describe(node)}\nkept was given up by a backward that failed; compute it again"
        )
    run.spent = release
    gradients = run.loop.pull(run.saved, arrived[:count], arrived[count:], release)
    if run.loop.checked and not _finite(gradients):
        return _step_by_step(g, run, parents, create_graph=False)
    return [None if p is None else found for p, found in zip(parents, gradients, strict=True)]


def _step_by_step(g: Any, run: Run, parents: tuple[Any, ...], create_graph: bool) -> list[Any]:
    """The gradients by the steps of the loop, recorded again."""
    outputs = run.again(parents)
    roots = [(o.edge or o, p) for o, p in zip(outputs, g, strict=True) if p is not None and o.requires_grad]
    wanted = {key_of(p) for p in parents if p is not None}
    found = walk(roots, create_graph=create_graph, retain_graph=True, wanted=wanted, within=True)
    return [None if p is None else found.get(key_of(p)) for p in parents]


def _loop(*operands: Array) -> Any:
    raise TypeError("loop: it is run by mg.scan or a layer")


PRIMITIVE = Primitive("loop", _loop, {})
_PULL = object.__new__(Pull)
_PULL.name, _PULL.operand, _PULL.formula = "operands", 0, _gradients
_PULL.names = ("run", "kept", "parents", "node")
_PULL.fresh = True
PRIMITIVE.pulls = [_PULL]


# ---- unfolding ---------------------------------------------------------------------------------------------------


def unfold(roots: Iterable[Edge]) -> dict[Any, Any]:
    """Replace the nodes of all rolled loops below these edges by the nodes of their steps.

    Returns the new keys of the loops' outputs by their old ones (see `backward.key_of`).
    """
    roots = list(roots)
    changed: dict[Any, Any] = {}
    while loops := [n for n in nodes_below(roots) if n.primitive is PRIMITIVE and n.edges]:
        for node in loops:
            changed |= _unfold(node)
        for node in nodes_below(roots):
            if node.edges is not None:
                node.edges = tuple([(_current(parent), pull, kept) for parent, pull, kept in node.edges])
    return changed


def _current(parent: Any) -> Any:
    """The edge itself, or the edge that replaced it when its loop was unfolded."""
    if type(parent) is tuple:
        return tuple([None if p is None else _current(p) for p in parent])
    return parent.node if type(parent) is Output and parent.index is None else parent


def _unfold(node: Node) -> dict[Any, Any]:
    refuse_overwritten(node)
    ((parents, _, (run, *_)),) = node.edges
    parents = _current(parents)
    code = caller()[0]
    outputs = run.again(parents)
    known = {node_of(p)[0] for p in parents if p is not None and not isinstance(p, Tensor)}
    new = _recorded([o.edge for o in outputs if o.edge is not None], known)
    for k, each in enumerate(new):  # positions between those before and after the loop
        each.position = node.position + (k + 1) / (len(new) + 1)
        if each.code is code:
            each.code, each.instruction = node.code, node.instruction
    changed = {}
    for index, (ref, output) in enumerate(zip(run.outputs, outputs, strict=True)):
        if output.edge is not None:
            end, at = node_of(output.edge)
            changed[node, index] = key_of(output.edge)
            end.extras().ends[node.position, index] = at
            _hand_over(node, index, end, at)
            if (edge := ref()) is not None:
                edge.node, edge.index = end, output.edge.index if type(output.edge) is Output else None
    node.edges = ()
    return changed


def _recorded(ends: Iterable[Edge], known: set[Node]) -> list[Node]:
    """The nodes from these edges down to the known ones, in recording order."""
    stack = [node_of(edge)[0] for edge in ends]
    seen = set(stack)
    while stack:
        for parent in parents_of(stack.pop()):
            node = None if isinstance(parent, Tensor) else node_of(parent)[0]
            if node is not None and node not in seen and node not in known:
                seen.add(node)
                stack.append(node)
    return sorted(seen, key=lambda n: n.position)


def _hand_over(node: Node, index: int, end: Node, at: int) -> None:
    """Move the hooks and the label of a loop's output to the operation that replaces it."""
    extra = node.extra
    if extra is None:
        return
    if index in extra.labels:
        end.extras().labels[at] = extra.labels[index]
    if index in extra.hooks:
        end.extras().hooks.setdefault(at, []).extend(extra.hooks[index])
    if index in extra.retained:
        end.extras().retained[at] = extra.retained[index]


backward.unfold = unfold
