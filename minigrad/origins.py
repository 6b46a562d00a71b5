"""Origins of detached values: a label and a place on the tape, never the node itself, which may be freed."""

from __future__ import annotations

from typing import Any, NamedTuple

from .tape import Edge, Node, Output, node_of

# Operations that only move numbers: in pictures the result goes by the name of its source, and so does its origin.
MOVES = frozenset([
    "unstack", "getitem", "split", "rows", "batch", "reshape", "transpose", "expand_dims", "squeeze", "moveaxis",
    "swapaxes", "broadcast_to", "ravel", "copy", "flip", "astype", "to", "take", "roll",
])  # fmt: skip


class Origin(NamedTuple):
    """The operation that computed a value before it was cut off.

    label     the value's name, or the operation's
    position  of the node, in the order of recording
    output    its place among the node's outputs
    parts     of values that were stacked: the origin of each, None for one that was not on the tape
    """

    label: str
    position: float
    output: int = 0
    parts: tuple[Origin | None, ...] = ()


def origin_of(edge: Edge, name: str | None) -> Origin:
    """The origin of the value at an edge that is not a leaf: below the operations that only moved it."""
    while True:
        node, index = node_of(edge)
        labels = node.extra.labels if node.extra is not None else {}
        name = name or labels.get(index)
        (parent, *_), *others = node.edges or [(None,)]
        if node.primitive.name not in MOVES or others or not isinstance(parent, Node | Output):
            break
        edge = parent
    parts: tuple[Origin | None, ...] = ()
    if node.primitive.name == "stack" and type(parent) is tuple:
        parts = tuple([origin_of(p, None) if isinstance(p, Node | Output) else None for p in parent])
    return Origin(name or node.primitive.name, node.position, index, parts)


def keep_origin(operation: str, value: Any, moved: Any) -> None:
    """Let the results of an unrecorded operation on a detached value that only moves numbers know its origin, too:
    a layer's part of a detached state is detached from that layer."""
    origin: Origin | None = getattr(value, "_origin", None)
    if origin is None:
        return
    several = moved if type(moved) is tuple else (moved,)
    parts = origin.parts if operation == "unstack" and len(origin.parts) == len(several) else (origin,) * len(several)
    for one, part in zip(several, parts, strict=True):
        one._origin = part
