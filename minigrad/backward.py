"""The walker: replays the tape backwards and hands every operation its gradient.

`walk` is the only code that does so. It serves `Tensor.backward`, the transforms, anomaly detection, diagnostics,
pictures and profiles, which follow it as `Observer`s.

`arrivals` holds the pending gradients and chooses the next node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from . import backend
from .arrivals import Arrivals, copied, whole
from .gradients import Parts, RowSparse
from .modes import MODE, Once, current_mode
from .primitives import Pull, refuse_others
from .tape import WRITES, Edge, Node, Observer, Output, describe, node_of, refuse_overwritten
from .tensors import Tensor

Array = Any
ndarray = np.ndarray


def walk(
    roots: Iterable[tuple[Edge, Any]],
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    wanted: set[Any] | None = None,
    within: bool = False,
    observers: Sequence[Observer] = (),
) -> dict[Any, Any]:
    """Propagate gradients from `roots`, (edge, gradient) pairs, to the leaves.

    create_graph  True: gradients are Tensors, and formulas are recorded; False: gradients are arrays
    wanted        keys (see `key_of`) of the edges to return gradients of; other paths are pruned. None: all leaves
    within        stop at the wanted edges, and leave hooks to the enclosing walk
    Returns the gradients of all leaves reached, or of all wanted edges reached; the caller owns them.
    """
    outer = current_mode()
    observers = (*outer.observers, *observers)
    roots, asked = _unfolded(list(roots), wanted, observers)
    wanted = None if asked is None else set(asked)
    needed = None if wanted is None else _leading_to([edge for edge, _ in roots], wanted)
    arrivals, found = Arrivals(create_graph), dict[Any, Any]()
    at, heap, owned = arrivals.at, arrivals.heap, arrivals.owned
    ends = _last_uses([edge for edge, _ in roots]) if any(observer.leaves for observer in observers) else {}

    def finish(leaves: Iterable[Any]) -> None:
        """Pass on the gradients of leaves, which are now complete."""
        for leaf in leaves:
            if leaf in at:
                g = arrivals.take(leaf, observers)
                if leaf._hooks and not within:
                    g = _hooked(leaf._hooks, g)
                if wanted is None or leaf in wanted:
                    found[leaf] = g
                for observer in observers:
                    observer.whole(leaf, g)

    MODE.set(outer.replace(grad=create_graph, hoisted=Once(), releases=not (retain_graph or create_graph)))
    try:
        with np.errstate(all="ignore"):
            for edge, gradient in roots:
                arrivals.add(edge, gradient, (gradient,))
            while heap:
                node = heappop(heap)[1]
                g = at.pop(node)
                owned.discard(node)
                if type(g) is not ndarray:
                    g = whole(node, g)
                if node.extra is not None and not node.extra.shared and not (within and _is_wanted(node, wanted)):
                    g = _call_hooks(node, g)
                if needed is not None:
                    at_end = _note_wanted(node, g, wanted, found)
                    if (within and at_end) or not any(_any_needed(p, needed) for p in parents_of(node)):
                        continue
                if node.edges is None or node.position < WRITES.last:
                    _refuse_spoilt(node)
                for observer in observers:
                    observer.arrived(node, g)
                for parent, pull, kept in node.edges:
                    if needed is not None and not _any_needed(parent, needed):
                        continue
                    try:
                        if create_graph:
                            pulled = _recorded(pull.formula(g, *on_tape(node, pull, kept)))
                        else:
                            pulled = pull.formula(g, *kept)
                    except Exception as error:
                        error.add_note(f"in the gradient of {describe(node)}")
                        raise
                    if type(parent) is tuple:
                        others: Any = (g, kept, _repeated(pulled)) if pull.fresh else (pulled,)
                        for one, gradient in zip(parent, pulled, strict=True):
                            if one is not None and gradient is not None:
                                for observer in observers:
                                    observer.pulled(node, one, gradient)
                                arrivals.add(one, gradient, others)
                        others = None
                    elif pulled is not None:
                        if type(pulled) is not ndarray:
                            _refuse_number(node, pulled)
                        if observers:
                            for observer in observers:
                                observer.pulled(node, parent, pulled)
                        if (
                            type(parent) is Node
                            and parent not in at
                            and pulled.dtype is parent.dtype
                            and pulled.shape == parent.shape
                        ):  # most arrivals, on a short path
                            at[parent] = pulled
                            heappush(heap, (-parent.position, parent))
                        else:
                            arrivals.add(parent, pulled, (g, kept) if pull.fresh else (pulled,))
                if not retain_graph:
                    node.edges = None
                pulled = g = kept = parent = None  # memory is free before the next formula
                if ends:
                    finish(ends.get(node, ()))
            for observer in observers:
                observer.finished()
            finish(list(at))
    finally:
        MODE.set(outer)
        if outer.hoisted is not None:  # after a backward, weights may change, also through `data`
            outer.hoisted.clear()
    return found if asked is None else {asked[key]: g for key, g in found.items()}


def _unfolded(
    roots: list[tuple[Edge, Any]], wanted: set[Any] | None, observers: Sequence[Observer]
) -> tuple[list[tuple[Edge, Any]], dict[Any, Any] | None]:
    """The roots and the wanted keys after unfolding the rolled loops that observers or wanted edges need."""
    changed: dict[Any, Any] = {}
    if any(observer.inside for observer in observers):
        changed = unfold([edge for edge, _ in roots if not isinstance(edge, Tensor)])
    return roots, None if wanted is None else {changed.get(key, key): key for key in wanted}


def _refuse_number(node: Node, pulled: Any) -> None:
    """Raise if a rule returned a Python number."""
    if type(pulled) in (int, float):
        raise TypeError(
            f"the rule of {describe(node)}\ngave a Python number; a gradient must be an array of the operand's shape"
        )


def _refuse_spoilt(node: Node) -> None:
    """Raise if a node was released, or if its kept arrays were overwritten."""
    if node.edges is None:
        raise _released(node)
    if node.position < WRITES.last:
        refuse_overwritten(node)


def _recorded(pulled: Any) -> Any:
    """The gradients of a rule under `create_graph`, as Tensors: a constant one may be an array."""
    if isinstance(pulled, tuple | list):
        return [_recorded(p) for p in pulled]
    if isinstance(pulled, Parts):
        pulled = pulled.dense()
    return Tensor._of(pulled) if backend.is_array(pulled) else pulled


def _repeated(gradients: Any) -> list[Any]:
    """The arrays that are gradients of several operands."""
    counts = Counter(map(id, gradients))
    return [g for g in gradients if g is not None and counts[id(g)] > 1]


def on_tape(node: Node, pull: Pull, kept: tuple[Any, ...]) -> tuple[Any, ...]:
    """The kept arrays of a formula as Tensors on the tape, so that the formula itself is recorded."""
    parents = {p.operand: parent for parent, p, _ in node.edges}
    wrapped = []
    for name, value in zip(pull.names, kept, strict=True):
        if name == "node" and name not in node.primitive.parameters:
            value = node
        elif name == "y":
            if type(value) is tuple or type(value) is list:
                several = tuple(value)
                value = [Tensor._of(v, Output(node, k, v.shape, v.dtype)) for k, v in enumerate(several)]
            else:
                value = Tensor._of(value, node)
        elif name in node.primitive.parameters:
            parent = parents.get(node.primitive.parameters.index(name))
            if type(parent) is tuple:
                value = tuple([v if p is None else tensor_at(p, v) for p, v in zip(parent, value, strict=True)])
            elif parent is not None:
                value = tensor_at(parent, value)
        wrapped.append(value)
    return tuple(wrapped)


def tensor_at(edge: Edge, array: Array) -> Tensor:
    """The Tensor whose value is `array` and whose place on the tape is `edge`."""
    return edge if isinstance(edge, Tensor) else Tensor._of(array, edge)


# ---- pruning -----------------------------------------------------------------------------------------------------


def key_of(edge: Edge) -> Any:
    """The key of an edge in `wanted` and in the result of `walk`."""
    if type(edge) is Output:
        return edge.node if edge.index is None else (edge.node, edge.index)
    return edge


def unfold(roots: Iterable[Edge]) -> dict[Any, Any]:
    """Unfold the rolled loops below some edges; replaced by `programs`."""
    return {}


def parents_of(node: Node) -> list[Edge]:
    """The edges to a node's parents that require grad."""
    parents: list[Edge] = []
    for parent, _, _ in node.edges or ():
        parents += [p for p in parent if p is not None] if type(parent) is tuple else [parent]
    return parents


def nodes_below(roots: Iterable[Edge]) -> list[Node]:
    """All nodes that the roots depend on, in the order of recording."""
    stack = [node_of(edge)[0] for edge in roots if not isinstance(edge, Tensor)]
    seen = set(stack)
    while stack:
        for parent in parents_of(stack.pop()):
            if not isinstance(parent, Tensor):
                node = node_of(parent)[0]
                if node not in seen:
                    seen.add(node)
                    stack.append(node)
    return sorted(seen, key=lambda node: node.position)


def _last_uses(roots: Iterable[Edge]) -> dict[Node, list[Tensor]]:
    """For each node, the leaves that no earlier node uses: their gradient is complete after its rules."""
    first: dict[Tensor, Node] = {}
    for node in nodes_below(roots):
        for parent in parents_of(node):
            if isinstance(parent, Tensor):
                first.setdefault(parent, node)
    ends: dict[Node, list[Tensor]] = {}
    for leaf, node in first.items():
        ends.setdefault(node, []).append(leaf)
    return ends


def _leading_to(roots: Iterable[Edge], wanted: set[Any]) -> set[Any]:
    """The nodes and leaves on a path to a wanted edge."""
    needed = {key[0] if type(key) is tuple else key for key in wanted}
    for node in nodes_below(roots):
        if any(_any_needed(parent, needed) for parent in parents_of(node)):
            needed.add(node)
    return needed


def _any_needed(parent: Any, needed: set[Any]) -> bool:
    if type(parent) is tuple:
        return any(p is not None and _any_needed(p, needed) for p in parent)
    return node_of(parent)[0] in needed


def _is_wanted(node: Node, wanted: Any) -> bool:
    outputs = len(node.shape) if type(node.dtype) is tuple else 0
    return node in wanted or any((node, k) in wanted for k in range(outputs))


def _note_wanted(node: Node, g: Any, wanted: Any, found: dict[Any, Any]) -> bool:
    """Keep the gradients of a node's wanted outputs; True if there are any."""
    hit = False
    for key, gradient in [(node, g)] if type(g) is not list else [((node, k), p) for k, p in enumerate(g)]:
        if key in wanted:
            hit = True
            if gradient is not None:
                own = gradient.dense() if isinstance(gradient, Parts) else gradient
                found[key] = own if isinstance(own, Tensor) else copied(own)
    return hit


# ---- hooks -------------------------------------------------------------------------------------------------------


def _hooked(hooks: Sequence[Any], gradient: Any) -> Any:
    """The gradient after the hooks; each hook gets its own Tensor and may return another."""
    for hook in list(hooks):
        mine = gradient if isinstance(gradient, Tensor | RowSparse) else Tensor._of(copied(gradient))
        answer = hook(mine)
        if answer is not None:
            if answer.shape != gradient.shape:
                raise ValueError(f"a hook returned shape {answer.shape} for a gradient of shape {gradient.shape}")
            if isinstance(gradient, Tensor | RowSparse):
                gradient = answer
            else:
                refuse_others("a hook's gradient", answer)
                gradient = (answer.data if isinstance(answer, Tensor) else answer).astype(gradient.dtype)
    return gradient


def _call_hooks(node: Node, g: Any) -> Any:
    extra = node.extra
    assert extra is not None
    several = g if type(g) is list else [g]
    for index, gradient in enumerate(several):
        if gradient is None or not (index in extra.hooks or index in extra.retained):
            continue
        if isinstance(gradient, Parts):
            gradient = gradient.dense()
        if index in extra.hooks:
            gradient = _hooked(extra.hooks[index], gradient)
        if index in extra.retained and (tensor := extra.retained[index]()) is not None:
            mine = gradient if isinstance(gradient, Tensor) else Tensor._of(copied(gradient))
            tensor.grad = mine if tensor.grad is None else tensor.grad + mine
        several[index] = gradient
    return several if type(g) is list else several[0]


def _released(node: Node) -> RuntimeError:
    return RuntimeError(
        f"backward: the graph below the result of {describe(node)}\nwas released by an earlier backward. If it is a "
        "state carried over from an earlier window of a sequence, cut it there with state = state.detach(). To "
        "go through the same graph twice on purpose, call the first backward with retain_graph=True."
    )
