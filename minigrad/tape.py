"""The tape: one `Node` for each recorded operation, and the log of writes into kept arrays.

There is no list of nodes. A node holds its parents, so the tape lives exactly as long as a tensor or node refers to it.
A node's `position`, from a counter, is its place in the order of recording, which is a topological order. A node never
holds its output Tensor, so there are no reference cycles.

An *edge* is a reference to a result on the tape, held by its Tensor and by the nodes that use it:

    Node      the only output of an operation
    Output    one of several outputs of a node
    Tensor    a leaf: the tensor itself, which receives a `.grad`
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any, Protocol

from .where import Scope, caller, line_of

Array = Any  # a NumPy, CuPy or otherwise registered array
Tensor = Any  # a `tensors.Tensor`, which is built on this file
next_position = itertools.count(1).__next__


class Operation(Protocol):
    """The interface of a node's operation: a `Primitive`."""

    name: str
    parameters: list[str]
    sparse: bool


class Extra:
    """Attributes that few nodes have.

    labels, hooks  by output
    retained       the tensors that retain their gradient, by output
    ends           for outputs that replace those of a rolled loop: (position of the loop, its output) to output
    inputs         unrecorded operands, as ("input" or "detached", label, origin)
    shared         True for an instance that has labels only, and serves all nodes of one kind
    """

    __slots__ = ("ends", "hooks", "inputs", "labels", "retained", "shared")

    def __init__(self, labels: dict[int, str] | None = None, shared: bool = False) -> None:
        self.labels: dict[int, str] = dict(labels or {})
        self.shared = shared
        self.hooks: dict[int, list[Callable[[Tensor], Tensor | None]]] = {}
        self.retained: dict[int, weakref.ref[Tensor]] = {}
        self.ends: dict[tuple[float, int], int] = {}
        self.inputs: dict[Any, tuple[str, str, Any]] = {}  # operand: ("input" or "detached", label, its Origin)


class Node:
    """One recorded operation.

    position   its place in the order of recording: an integer, or a fraction between two for the steps of a rolled loop
    edges      (parent, pull, kept) for each operand that requires grad: the operand's gradient is
               `pull.formula(g, *kept)`; None once released. For an operation with many operands at once the
               parent is a tuple of edges, and the formula gives a gradient for each.
    primitive  the operation
    shape, dtype   of its output (tuples of them, for several outputs)
    scope, code, instruction   its origin: the scope, and the user's line as a code object and an instruction's offset
    extra      an `Extra`, or None
    """

    __slots__ = ("code", "dtype", "edges", "extra", "instruction", "position", "primitive", "scope", "shape")

    position: float
    edges: Any
    primitive: Operation
    shape: Any
    dtype: Any
    scope: Scope | None
    code: CodeType
    instruction: int
    extra: Extra | None

    def extras(self) -> Extra:
        """The node's own `Extra`, for writing."""
        if self.extra is None or self.extra.shared:
            self.extra = Extra(self.extra.labels if self.extra is not None else None)
        return self.extra

    def __repr__(self) -> str:
        return f"<node {self.position}: {describe(self)}>"


class Output:
    """The `index`-th output of a node with several; with None, the only output of a node (of an unfolded loop)."""

    __slots__ = ("__weakref__", "dtype", "index", "node", "shape")

    def __init__(self, node: Node, index: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.node = node
        self.index: Any = index
        self.shape = shape
        self.dtype = dtype


Edge = Any  # Node | Output | Tensor (a leaf)


def node_of(edge: Edge) -> tuple[Node, int]:
    """The node of an edge (or the leaf itself) and the index of the output. All code reads edges by this function."""
    return (edge.node, edge.index or 0) if type(edge) is Output else (edge, 0)


class Observer:
    """Is notified of recorded operations and of the flow of gradients. Override the methods that you need.

    inside   True to observe each step of a loop; then loops are not rolled, and rolled ones are unfolded
    changes  True if `named` may return another value; then no value is recomputed
    leaves   True to be notified of a leaf's gradient as soon as it is complete, during the walk
    """

    inside = True
    changes = False
    leaves = False

    def named(self, label: str, value: Tensor, *, by: str = "name") -> Tensor:
        """A value was given a label in the current scope; the returned value replaces it.

        by  the origin of the label: "name" (`mg.name`), "loop" (a layer, for the states of its cell), "gate" (a layer,
            for further values that its cell returns; a replacement has no effect) or "module"
        """
        return value

    def began(self, primitive: Operation) -> None:
        """An operation begins; `recorded` follows, unless it fails."""

    def recorded(self, primitive: Operation, operands: tuple[Any, ...], outputs: tuple[Array, ...], edge: Any) -> None:
        """An operation was done on `operands` (Tensors and others); `edge` is its Node, or None if not recorded."""

    def asked(self, name: str, operands: tuple[Any, ...], answer: Any) -> None:
        """A function without a gradient was called: a comparison, or one such as argmax."""

    def arrived(self, node: Node, gradient: Any) -> None:
        """The gradient of a node's output is complete (for several outputs: a list, with None for unused ones)."""

    def pulled(self, node: Node, parent: Edge, gradient: Any) -> None:
        """A node's rule returned `gradient` for one of its parents."""

    def noted(self, text: str) -> None:
        """A fast path was not taken; the text is the reason."""

    def finished(self) -> None:
        """A walk has processed all nodes."""

    def gathering(self, leaf: Any) -> None:
        """After `finished`: the parts of a leaf's gradient are about to be summed; `gathered` follows."""

    def gathered(self, leaf: Any, gradient: Array) -> None:
        """The parts are summed."""

    def whole(self, leaf: Any, gradient: Any) -> None:
        """A leaf's gradient is complete; the walk returns it. (With `leaves`, these three are called as soon as that
        is so, also before `finished`.)"""


def describe(node: Node, index: int = 0) -> str:
    """`multiply 'gate' in encoder t=3, made at file.py:12, in f: z = x * y`."""
    label = node.extra.labels.get(index) if node.extra is not None else None
    return (
        node.primitive.name
        + (f" '{label}'" if label else "")
        + (f" in {node.scope}" if node.scope is not None else "")
        + f", made at {line_of(node.code, node.instruction)}"
    )


# ---- writes ------------------------------------------------------------------------------------------------------
# A write takes a position from the same counter as the nodes. If a kept array was written at a later position than its
# node, the gradient would be wrong, and backward raises. Nothing is stored on tensors. As long as there was no write
# since a node was recorded, the check is one comparison.


class _Writes:
    def __init__(self) -> None:
        self.last = 0
        self.log: dict[int, tuple[weakref.ref[Any], int, CodeType, int]] = {}  # by the id of the memory's owner

    def mark(self, array: Array) -> None:
        """Log a write into the memory of `array`, with the user's line."""
        self.marks([array])()

    def marks(self, arrays: Sequence[Array]) -> Callable[[], None]:
        """A function that logs a write into several arrays; it holds no reference to them."""
        log = self.log

        def known(memory: Array) -> tuple[int, weakref.ref[Any]]:
            key = id(memory)
            return key, weakref.ref(memory, lambda _: log.pop(key, None))

        memories = [known(owner(array)) for array in arrays]

        def mark() -> None:
            if memories:
                self.last = position = next_position()
                line = caller()
                for key, memory in memories:
                    log[key] = (memory, position, *line)

        return mark

    def since(self, array: Array, position: float) -> str | None:
        """The line that wrote into the memory of `array` after `position`, or None."""
        memory = owner(array)
        entry = self.log.get(id(memory))
        if entry is None or entry[0]() is not memory or entry[1] < position:
            return None
        return line_of(entry[2], entry[3])


def owner(array: Array) -> Array:
    """The array that owns the memory of `array`."""
    while isinstance(base := getattr(array, "base", None), type(array)):
        array = base
    return array


WRITES = _Writes()


def refuse_overwritten(node: Node) -> None:
    """Raise if a kept array of `node` was overwritten after the node was recorded."""
    for _, _, kept in node.edges:
        for value in _arrays(kept):
            line = WRITES.since(value, node.position)
            if line is not None:
                raise RuntimeError(
                    f"backward: an array that {describe(node)}\nneeds for its gradient was overwritten in place "
                    f"at {line}.\nWrite after backward, or compute a new tensor instead of writing into this one."
                )


def _arrays(kept: Any) -> list[Array]:
    found: list[Array] = []
    for value in kept:
        if isinstance(value, tuple | list):
            found += _arrays(value)
        elif hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__array_ufunc__"):
            found.append(value)
    return found


kept_arrays = _arrays
