"""Operations that move numbers: shapes, axes, pieces, indices."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import minigrad as mg

from .operands import Operand, axes_of, common
from .values import OnnxGraph


def reshape(g: OnnxGraph, a: Operand, shape: Operand) -> Any:
    return reshaped(
        g, a.name(), *(filled(s, np.size(x)) for s, x in ((shape.first, a.first), (shape.second, a.second)))
    )


def filled(shape: Any, size: int) -> tuple[int, ...]:
    """A shape with its −1 replaced by the inferred size."""
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    rest = math.prod(n for n in shape if n != -1)
    return tuple(size // max(rest, 1) if n == -1 else n for n in shape)


def reshaped(g: OnnxGraph, name: str, first: Any, second: Any) -> Any:
    return g.node("Reshape", [name, g.shape(first, second)], allowzero=1)


def transpose(g: OnnxGraph, a: Operand, axes: Operand) -> Any:
    order = axes.static
    return g.node("Transpose", [a.name()], perm=None if order is None else [k % a.ndim for k in order])


def expand_dims(g: OnnxGraph, a: Operand, axis: Operand) -> Any:
    axes = axis.static if isinstance(axis.static, tuple | list) else [axis.static]
    return g.node("Unsqueeze", [a.name(), g.integers(*(k % (a.ndim + len(axes)) for k in axes))])


def squeeze(g: OnnxGraph, a: Operand, axis: Operand) -> Any:
    first, second = a.shapes
    axes = [k for k in range(a.ndim) if (first[k], second[k]) == (1, 1)] if axis.static is None else axis.static
    return g.node("Squeeze", [a.name(), g.integers(*axes_of(axes, a.ndim))])


def broadcast_to(g: OnnxGraph, array: Operand, shape: Operand) -> Any:
    return g.node("Expand", [array.name(), g.shape(shape.first, shape.second)])


def flip(g: OnnxGraph, m: Operand, axis: Operand) -> Any:
    axes = axes_of(axis.static, m.ndim)
    ends = [g.integers(*[number] * len(axes)) for number in (-1, np.iinfo(np.int64).min)]
    return g.node("Slice", [m.name(), *ends, g.integers(*axes), g.integers(*[-1] * len(axes))])


def concatenate(g: OnnxGraph, arrays: Operand, axis: Operand, shapes: Operand) -> Any:
    each = arrays.each()
    return g.node("Concat", [x.name(common(*each)) for x in each], axis=axis.static % each[0].ndim)


def stack(g: OnnxGraph, arrays: Operand, axis: Operand) -> Any:
    each = arrays.each()
    at = axis.static % (each[0].ndim + 1)
    parts = [g.node("Unsqueeze", [x.name(common(*each)), g.integers(at)]) for x in each]
    return g.node("Concat", parts, axis=at)


def split(g: OnnxGraph, a: Operand, cuts: Operand, axis: Operand) -> Any:
    at = axis.static % a.ndim
    n = [shape[at] for shape in a.shapes]
    edges = [g.size(*pair) for pair in zip((0, *cuts.first, n[0]), (0, *cuts.second, n[1]), strict=True)]
    return [g.node("Slice", [a.name(), begin, end, g.integers(at)]) for begin, end in pairwise(edges)]


def unstack(g: OnnxGraph, x: Operand, axis: Operand) -> Any:
    at = axis.static % x.ndim
    count = x.shapes[0][at]
    return [g.node("Gather", [x.name(), g.constant(k, np.int64)], axis=at) for k in range(count)]


def pad(g: OnnxGraph, array: Operand, width: Operand, value: Operand) -> Any:
    ends = [n for k in (0, 1) for n in (pair[k] for pair in width.static)]
    return g.node("Pad", [array.name(), g.integers(*ends), value.name(array.dtype)])


def triangle(upper: bool) -> Callable[..., Any]:
    return lambda g, m, k: g.node("Trilu", [m.name(), g.constant(k.static, np.int64)], upper=int(upper))


# ---- indexing ----------------------------------------------------------------------------------------------------


def getitem(g: OnnxGraph, a: Operand, index: Operand) -> Any:
    """Numbers, slices, None, an ellipsis, and one array of integers."""
    parts, others = (i if isinstance(i, tuple) else (i,) for i in (index.first, index.second))
    real = sum(p is not None and p is not Ellipsis for p in parts)
    spread = [k for k, p in enumerate(parts) if p is Ellipsis]
    if spread:
        fill = (slice(None),) * (a.ndim - real)
        parts, others = (p[: spread[0]] + fill + p[spread[0] + 1 :] for p in (parts, others))
    name, axis, arrays = a.name(), 0, 0
    squeezed: list[int] = []
    new: list[int] = []
    for p, q in zip(parts, others, strict=True):
        if p is None:
            new.append(axis - len(squeezed) + len(new))
            continue
        if isinstance(p, slice):
            name = sliced(g, name, axis, p, q)
        elif isinstance(p, int | np.integer):
            name = g.node("Gather", [name, g.size(int(p), int(q))], axis=axis)
            squeezed.append(axis)
        elif isinstance(p, np.ndarray | mg.Tensor) and p.dtype.kind in "iu" and p.ndim == 1 and not arrays:
            name = g.node("Gather", [name, g.value(p, q)], axis=axis)
            arrays += 1
        else:
            raise g.refused("this index has no counterpart here: numbers, slices, None, and one array of integers have")
        axis += 1
    if squeezed:
        name = g.node("Squeeze", [name, g.integers(*squeezed)])
    return g.node("Unsqueeze", [name, g.integers(*new)]) if new else name


def sliced(g: OnnxGraph, name: str, axis: int, p: slice, q: slice) -> str:
    if p == q == slice(None):
        return name
    step = p.step or 1
    ends = []
    for k, default in enumerate((0, None) if step > 0 else (-1, np.iinfo(np.int64).min)):
        a, b = ((s.start, s.stop)[k] for s in (p, q))
        if a is None:
            ends.append(g.integers(np.iinfo(np.int64).max if default is None else int(default)))
        else:
            ends.append(g.size(a, b))
    return g.node("Slice", [name, *ends, g.integers(axis), g.integers(step)])  # type: ignore[no-any-return]


def embedding(g: OnnxGraph, weight: Operand, ids: Operand, padding_idx: Operand, sparse: Operand) -> Any:
    return g.node("Gather", [weight.name(), ids.name()], axis=0)


def take_along_axis(g: OnnxGraph, arr: Operand, indices: Operand, axis: Operand) -> Any:
    return g.node("GatherElements", [arr.name(), indices.name()], axis=axis.static % arr.ndim)


# ---- rows of a full batch, in loops over cells -------------------------------------------------------------------


def rows(g: OnnxGraph, x: Operand, places: Operand, real: Operand) -> Any:
    return _between(g, x, places, [(s[0] * s[1], *s[2:]) for s in x.shapes])


def batch(g: OnnxGraph, rows: Operand, T: Operand, N: Operand, places: Operand, real: Operand) -> Any:
    sizes = zip(((T.first, N.first), (T.second, N.second)), rows.shapes, strict=True)
    return _between(g, rows, places, [(*outer, *shape[1:]) for outer, shape in sizes])


def _between(g: OnnxGraph, x: Operand, places: Operand, shapes: list[tuple[int, ...]]) -> Any:
    if places.first is not None:
        raise g.refused("a loop over a ragged batch has no counterpart in ONNX, but in layers that it has as a whole")
    return reshaped(g, x.name(), *shapes)
