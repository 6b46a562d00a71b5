"""Labels of gradients: the time step of each element of a value computed outside the time loop, or of its gradient.

Layers compute the input maps of all steps in one product, before the loop, and output maps after it. To take such a
product apart again, its rows need their steps. *Labels* hold them: an integer for the whole, or an array of integers of
the value's shape, UNKNOWN where there is no step.

    below    from the labels of a result's gradient to those of an operand's gradient: how a gradient flows backward
    portions the same for an operand that all steps share (a weight): its gradient, split by step

The module `made` computes the labels of values, for computations after the loop.

Most operations move numbers, or are element-wise, or work along some axes; the kind of operation then gives the labels.
For any other, a gradient is split by passing each step's part of it through the rule separately: this is exact, since
rules are linear in the gradient, but costs one pull for each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.fusion import Fused
from minigrad.gradients import Parts, Products, RowSparse
from minigrad.primitives import Elementwise, Pull
from minigrad.tape import Node
from minigrad.vocabulary import PRIMITIVES

from ..sequences.packing import from_rows, to_rows
from .einsums import letters, narrowed, relabelled
from .tape import Edge

Array = Any
Labels = Any  # int | Array | None
UNKNOWN = -1
KIND = np.int32


def _named(names: str) -> frozenset[Any]:
    return frozenset(PRIMITIVES[name] for name in names.split())


LINEAR, MATMUL, EMBEDDING, GETITEM, EINSUM = (
    PRIMITIVES[name] for name in ("linear", "matmul", "embedding", "getitem", "einsum")
)
MOVING = _named(
    "split unstack concatenate stack reshape transpose expand_dims squeeze flip roll pad place getitem copy astype to"
) | {to_rows, from_rows}
EACH = _named("where clip_between hard_tanh leaky_relu elu tril triu broadcast_to")
ALONG = _named("softmax log_softmax logsumexp cumsum cumprod sum mean var std max min prod norm take_along_axis")


def meeting_axes(node: Node, pull: Pull, kept: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes of an operand along which an operation combines numbers; None if unknown."""
    primitive = node.primitive
    if isinstance(primitive, Fused) or (primitive is LINEAR and pull.name == "x"):
        return (-1,)
    if primitive is MATMUL:
        rows = pull.name == "a" and len(shape) >= 2 and node.shape[: len(shape) - 1] == shape[:-1]
        return (-1,) if rows else None
    if primitive in ALONG:
        axis = kept[pull.names.index("axis")]
        axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
        return tuple([a % len(shape) - len(shape) for a in axes])
    return () if isinstance(primitive, Elementwise) or primitive in EACH else None


def level(labels: Array, axes: tuple[int, ...]) -> Array | None:
    """The labels with size 1 along some axes; None if they differ along them."""
    first = labels[tuple([slice(0, 1) if a - labels.ndim in axes else slice(None) for a in range(labels.ndim)])]
    return first if bool(np.all(labels == first)) else None


def spread(labels: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array | None:
    """Labels that are constant along some axes, in a shape with other sizes there; reduced axes are restored."""
    if labels.ndim == len(shape) - len(axes):
        labels = labels.reshape([1 if a - len(shape) in axes else n for a, n in enumerate(shape)])
    line = level(labels, axes) if labels.ndim == len(shape) else None
    fits = line is not None and all(
        a - len(shape) in axes or m == n for a, (m, n) in enumerate(zip(line.shape, shape, strict=True))
    )
    return np.broadcast_to(line, shape) if fits else None  # type: ignore[arg-type]


def dense(gradient: Any) -> Array:
    return gradient.dense() if isinstance(gradient, Parts) else gradient


def moved(pull: Pull, kept: tuple[Any, ...], numbers: Any) -> list[Array]:
    """The gradient at each operand of an operation that only moves numbers, zero where none arrives."""
    arrived = pull.formula(numbers, *kept)
    return [dense(a) for a in (arrived if isinstance(arrived, tuple | list) else [arrived])]


def flat_parents(node: Node) -> list[Edge]:
    """The edges to a node's operands that require grad."""
    parents: Iterable[Any] = [
        p for parent, _, _ in node.edges for p in (parent if type(parent) is tuple else (parent,))
    ]
    return [p for p in parents if p is not None]


# ---- labels of gradients -----------------------------------------------------------------------------------------


def below(node: Node, pull: Pull, kept: tuple[Any, ...], parents: tuple[Edge, ...], labels: Any) -> list[Any] | None:
    """Labels of the gradients that a rule gives to `parents`, before any sum over broadcast axes; None if unknown.

    labels  an array of the shape of the node's output; for several outputs a list, with None where there is no gradient
    """
    if node.primitive in MOVING:
        several = isinstance(labels, list)
        arrived = moved(pull, kept, [v if v is None else v + 1 for v in labels] if several else labels + 1)
        twice = node.primitive is GETITEM and int(np.max(moved(pull, kept, np.ones_like(labels))[0])) > 1
        if twice:  # the index repeats an element
            return None
        return [a - 1 for a in arrived]
    found: list[Any] = []
    if node.primitive is EINSUM:
        mine, output = letters(kept[-1])
        found = [
            None if p is None else relabelled(labels, output, m, p.shape, level)
            for p, m in zip(parents, mine, strict=True)
        ]
        return None if any(f is None and p is not None for f, p in zip(found, parents, strict=True)) else found
    for parent in parents:
        shape = () if parent is None else parent.shape
        axes = meeting_axes(node, pull, kept, shape)
        if axes is None:
            return None
        if parent is None:
            found.append(None)
        elif axes == ():
            found.append(labels)
        else:
            each = [spread(v, shape, axes) for v in (labels if isinstance(labels, list) else [labels]) if v is not None]
            if any(e is None or not bool(np.all(e == each[0])) for e in each):
                return None
            found.append(each[0])
    return found


def grown(larger: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """The axes along which something of `shape` was broadcast to a larger shape."""
    extra = len(larger) - len(shape)
    return [a for a in range(len(larger)) if a < extra or (shape[a - extra] == 1 and larger[a] != 1)]


def summed(labels: Array, shape: tuple[int, ...]) -> Array | None:
    """Labels after the sum over broadcast axes; None if it combines different steps."""
    if labels.shape == shape:
        return labels
    line = level(labels, tuple([a - labels.ndim for a in grown(labels.shape, shape)]))
    return None if line is None else line.reshape(shape)


# ---- gradients, split by step ------------------------------------------------------------------------------------

Portion = tuple[int, Any]


def groups(labels: Array) -> Iterator[tuple[int, Any]]:
    """For each label of a vector: the label, and its indices (a slice, if contiguous)."""
    host = backend.to_numpy(labels)
    starts = np.flatnonzero(np.diff(host, prepend=host[:1] - 1))
    if starts.size == np.unique(host).size:
        for start, stop in zip(starts, [*starts[1:], host.size], strict=True):
            yield int(host[start]), slice(int(start), int(stop))
        return
    order = np.argsort(host, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(host[order])) + 1):
        yield int(host[part[0]]), backend.from_numpy(part, backend.device_of(labels))


def rows_of(array: Array) -> Array:
    return array.reshape((-1, array.shape[-1]))


def portions(node: Node, pull: Pull, kept: tuple[Any, ...], g: Any, labels: Any) -> Iterator[Portion]:
    """The gradient of a value shared by all steps, split by step: the rule's result for each step's part of g.

    Matrix products and table look-ups are split by rows; all others in the general way.
    """
    primitive = node.primitive
    if primitive is EINSUM:
        split = narrowed(pull, kept, g, labels, level, groups)
        yield from masked(pull, kept, g, labels) if split is None else split
        return
    if isinstance(labels, list) or primitive not in (LINEAR, MATMUL, EMBEDDING):
        yield from masked(pull, kept, g, labels)
        return
    line = level(labels, (-1,)) if labels.ndim > 1 else None
    if primitive is MATMUL and pull.name == "a" and g.ndim == 2 == kept[-1].ndim:  # W x, with the steps side by side
        columns = level(labels, (-2,))
        if columns is not None:
            for k, at in groups(columns.reshape(-1)):
                yield k, Products([(g[:, at].T, kept[-1][:, at].T)])
            return
    if line is None or (primitive is MATMUL and not (pull.name == "b" and len(kept[1]) == 2 and kept[0].ndim > 1)):
        yield from masked(pull, kept, g, labels)
        return
    g = rows_of(g)
    for k, at in groups(line.reshape(-1)):
        if primitive is EMBEDDING:
            shape, ids, padding_idx, _ = kept
            chosen, rows = ids.reshape(-1)[at], g[at]
            if padding_idx is not None:
                rows = np.where((chosen == padding_idx)[:, None], 0, rows)
            yield k, RowSparse(chosen, rows, shape, check=False)
        elif pull.name == "bias":
            yield k, np.sum(g[at], axis=0)
        elif primitive is LINEAR:
            yield k, Products([(g[at], rows_of(kept[0])[at])])
        else:
            yield k, Products([(rows_of(kept[0])[at], g[at])])


def sums(g: Array, labels: Array, shape: tuple[int, ...]) -> Iterator[Portion]:
    """The sum of g over the axes along which `shape` was broadcast, split by step."""
    over = grown(g.shape, shape)
    rest = [a for a in range(g.ndim) if a not in over]
    line = level(labels, tuple([a - g.ndim for a in rest]))
    if line is None:
        for k in distinct(labels):
            yield k, np.sum(np.where(labels == k, g, 0), axis=tuple(over)).reshape(shape)
        return
    rows = np.transpose(g, (*over, *rest)).reshape((-1, *[g.shape[a] for a in rest]))
    for k, at in groups(np.transpose(line, (*over, *rest)).reshape(-1)):
        yield k, np.sum(rows[at], axis=0).reshape(shape)


def masked(pull: Pull, kept: tuple[Any, ...], g: Any, labels: Any) -> Iterator[Portion]:
    """Pass each step's part of g through the rule separately."""
    for k in distinct(labels):
        if isinstance(labels, list):
            part: Any = [None if p is None else np.where(v == k, p, 0) for p, v in zip(g, labels, strict=True)]
        else:
            part = np.where(labels == k, g, 0)
        yield k, pull.formula(part, *kept)


def distinct(labels: Any) -> list[int]:
    """The distinct labels."""
    each = [v for v in (labels if isinstance(labels, list) else [labels]) if v is not None]
    return sorted({int(k) for v in each for k in np.unique(backend.to_numpy(v))})
