"""Matrix products and functions composed of them.

The gradient of a matrix used in products, Σₖ pₖᵀ qₖ, is passed to the engine in parts (`gradients.Products`), so that a
weight shared by all steps of a sequence gets one thick product instead of one thin product a step.
"""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from .. import dispatch
from ..gradients import Products
from ..hoisting import sum_of_rows, times
from ..modes import changed_mode, current_mode
from ..primitives import Elementwise
from ..tensors import Tensor
from ..vocabulary import composed, elementwise, first_order, operation
from .reductions import axes_of

Array = Any


def columns(x: Any) -> Any:
    """A matrix, or each of a stack, transposed."""
    return np.swapaxes(x, -1, -2)


@first_order(lambda p, q: columns(p) @ q)
def gathered(p: Array, q: Array) -> Any:
    """pᵀ q for matrices, or for stacks of the same shape: in parts on the fast path."""
    return Products([(p, q)]) if current_mode().fast else columns(p) @ q


def flat(x: Any) -> Any:
    """All rows of (..., D) as one matrix."""
    return x if len(x.shape) == 2 else x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


def all_rows_times(rows: Array, matrix: Array) -> Array:
    """(..., D) and (D, H): one product for all rows."""
    return times(flat(rows), matrix).reshape((*rows.shape[:-1], matrix.shape[1]))


rows_times = first_order(lambda rows, matrix: rows @ matrix)(all_rows_times)


def matmul_left(g: Any, a_shape: tuple[int, ...], b: Any) -> Any:
    """g bᵀ."""
    if len(b.shape) == 1:
        return np.expand_dims(g, -1) * b
    if len(a_shape) == 1:
        return (np.expand_dims(g, -2) @ columns(b))[..., 0, :]
    if len(a_shape) == 2 and len(b.shape) == 2:
        return gathered(g.T, b.T)
    return rows_times(g, b.T) if len(b.shape) == 2 else g @ columns(b)


def matmul_right(g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    """aᵀ g; for one matrix against a stack of rows, one product over all rows."""
    if len(a.shape) == 1:
        return a * g if len(b_shape) == 1 else np.expand_dims(a, -1) * np.expand_dims(g, -2)
    if len(b_shape) == 1:
        return (columns(a) @ np.expand_dims(g, -1))[..., 0]
    if len(b_shape) == 2:
        return gathered(flat(a), flat(g))
    return gathered(a, g) if a.shape[:-2] == b_shape[:-2] else columns(a) @ g


def product(a: Array, b: Array) -> Array:
    """a b. A stack of rows against one matrix is one product; NumPy would compute one for each matrix of the stack."""
    if len(getattr(b, "shape", ())) != 2 or len(getattr(a, "shape", ())) < 2 or a.shape[-1] != b.shape[0]:
        return np.matmul(a, b)
    return all_rows_times(a, b)


matmul: Elementwise = elementwise(product, matmul_left, matmul_right, name="matmul", ufunc=np.matmul)
_matmul = matmul.apply


def _of_tensors(a: Any, b: Any) -> Any:
    """a b. In a loop, b is laid out once only if it is a Tensor.

    A write into a Tensor is noticed; a write into a plain array, such as a buffer refilled at each step, is not.
    """
    if isinstance(b, Tensor):
        return _matmul(a, b)
    with changed_mode(hoisted=None):
        return _matmul(a, b)


matmul.apply = _of_tensors
multiply = dispatch.UFUNCS[np.multiply]


# ---- a linear map of rows ----------------------------------------------------------------------------------------


@first_order(lambda g: np.sum(g, axis=tuple(range(len(g.shape) - 1))))
def linear_bias(g: Array) -> Array:
    """g, summed over all rows."""
    return sum_of_rows(flat(g))


@operation(
    name="linear",
    x=lambda g, weight: rows_times(g, weight),
    weight=lambda g, x: gathered(flat(g), flat(x)),
    bias=linear_bias,
)
def _linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """x Wᵀ + b."""
    if len(weight.shape) != 2 or not x.shape or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"x must have rows of {weight.shape[-1]} numbers for a weight of shape {weight.shape}")
    y = times(flat(x), weight.T, bias)
    return y.reshape((*x.shape[:-1], weight.shape[0]))


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b: rows (..., D) and a weight (H, D), in PyTorch's layout, give (..., H), in one product for all rows.

    Equal to `x @ weight.T + bias`.
    """
    if bias is not None and not (isinstance(bias, Tensor) and len(bias.shape) == 1):
        return linear(x, weight) + bias
    if isinstance(weight, Tensor):
        return _linear(x, weight, bias)
    with changed_mode(hoisted=None):  # as in matmul
        return _linear(x, weight, bias)


@composed(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum over pairs of axes, as one matrix product."""
    first, second = (tuple(range(-axes, 0)), tuple(range(axes))) if isinstance(axes, int) else axes
    left, right = list(axes_of(first, np.ndim(a), "tensordot")), list(axes_of(second, np.ndim(b), "tensordot"))
    if [np.shape(a)[x] for x in left] != [np.shape(b)[x] for x in right]:
        raise ValueError(
            f"tensordot: axes {left} of shape {np.shape(a)} and {right} of shape {np.shape(b)} differ in size"
        )
    rest_a = [x for x in range(np.ndim(a)) if x not in left]
    rest_b = [x for x in range(np.ndim(b)) if x not in right]
    size = int(np.prod([np.shape(a)[x] for x in left]))
    shape = [np.shape(a)[x] for x in rest_a] + [np.shape(b)[x] for x in rest_b]
    rows = np.reshape(np.transpose(a, rest_a + left), (int(np.prod([np.shape(a)[x] for x in rest_a])), size))
    cols = np.reshape(np.transpose(b, right + rest_b), (size, int(np.prod([np.shape(b)[x] for x in rest_b]))))
    return np.reshape(rows @ cols, tuple(shape))


@composed(np.dot)
def dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return multiply(a, b)
    if np.ndim(a) <= 2 and np.ndim(b) <= 2:
        return matmul(a, b)
    return tensordot(a, b, ([-1], [-2 if np.ndim(b) > 1 else 0]))


@composed(np.inner)
def inner(a: Any, b: Any) -> Any:
    return multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else tensordot(a, b, ([-1], [-1]))


@composed(np.outer)
def outer(a: Any, b: Any) -> Any:
    return multiply(np.reshape(a, (-1, 1)), np.reshape(b, (1, -1)))


@composed(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    return matmul(np.ravel(a), np.ravel(b))


@composed(np.kron)
def kron(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return multiply(a, b)
    n = max(np.ndim(a), np.ndim(b))
    a = np.reshape(a, (1,) * (n - np.ndim(a)) + np.shape(a))
    b = np.reshape(b, (1,) * (n - np.ndim(b)) + np.shape(b))
    apart = np.reshape(a, [s for m in np.shape(a) for s in (m, 1)]) * np.reshape(
        b, [s for m in np.shape(b) for s in (1, m)]
    )
    return np.reshape(apart, [p * q for p, q in zip(np.shape(a), np.shape(b), strict=True)])


@composed(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ValueError(f"cross: vectors must have 3 elements, got {a.shape[-1]} and {b.shape[-1]}")
    x, y, z = (a[..., i] * b[..., j] - a[..., j] * b[..., i] for i, j in ((1, 2), (2, 0), (0, 1)))
    return np.stack([x, y, z], axis=axisc)


# ---- einsum ------------------------------------------------------------------------------------------------------


def einsum_rule(g: Any, operands: tuple[Any, ...], subscripts: str) -> list[Any]:
    """The gradient of an operand is an einsum with g in its place.

    A label that appears nowhere else was summed alone, so its gradient is constant along that axis.
    """
    inputs, output = subscripts.split("->")
    labels = inputs.split(",")
    gradients = []
    for k, mine in enumerate(labels):
        others = [*labels[:k], *labels[k + 1 :]]
        rest = [*operands[:k], *operands[k + 1 :]]
        known = set(output).union(*others)
        reached = "".join(c for c in mine if c in known)
        part = np.einsum(",".join([output, *others]) + "->" + reached, g, *rest)
        # labels summed alone, and those of size 1 in all others, as axes of size 1, then broadcast
        full = [part.shape[reached.index(c)] if c in known else 1 for c in mine]
        spread = [m if n == 1 else n for m, n in zip(operands[k].shape, full, strict=True)]
        gradients.append(np.broadcast_to(np.reshape(part, full), spread))
    return gradients


@operation(name="einsum", joint="operands", operands=einsum_rule)
def _einsum(operands: tuple[Array, ...], subscripts: str) -> Array:
    return np.einsum(subscripts, *operands, optimize=len(operands) > 2)


@composed(np.einsum)
def einsum(*arguments: Any, optimize: Any = None) -> Any:
    """Einstein summation in NumPy's notation: `np.einsum("tnd,dh->tnh", x, W)`, including `...`, repeated labels, and
    the form with lists of integers."""
    if isinstance(arguments[0], str):
        subscripts, operands = arguments[0].replace(" ", ""), list(arguments[1:])
    else:
        pairs = len(arguments) // 2
        letters = string.ascii_uppercase + string.ascii_lowercase  # in this order, which the output's axes follow

        def spell(labels: Any) -> str:
            return "".join("..." if s is Ellipsis else letters[s] for s in labels)

        operands = list(arguments[0 : 2 * pairs : 2])
        subscripts = ",".join(spell(s) for s in arguments[1 : 2 * pairs : 2])
        if len(arguments) % 2:
            subscripts += "->" + spell(arguments[-1])
    operands = [o if hasattr(o, "shape") else np.asarray(o) for o in operands]
    inputs, arrow, output = subscripts.partition("->")
    labels = inputs.split(",")
    if len(labels) != len(operands):
        raise ValueError(f"einsum: {len(labels)} sets of labels in {subscripts!r} for {len(operands)} operands")
    labels, output = _without_ellipsis(labels, output, bool(arrow), [np.ndim(o) for o in operands], subscripts)
    for k, label in enumerate(labels):  # a label repeated within one operand selects its diagonal
        for c in dict.fromkeys(label):
            while label.count(c) > 1:
                i = label.index(c)
                j = label.index(c, i + 1)
                shape = np.shape(operands[k])
                if shape[i] != shape[j]:
                    raise ValueError(f"einsum: {c!r} stands for axes of {shape[i]} and {shape[j]} in operand {k}")
                operands[k] = np.diagonal(operands[k], axis1=i, axis2=j)
                label = label[:i] + label[i + 1 : j] + label[j + 1 :] + c
        labels[k] = label
    return _einsum(tuple(operands), ",".join(labels) + "->" + output)


def _without_ellipsis(
    labels: list[str], output: str, explicit: bool, ndims: list[int], subscripts: str
) -> tuple[list[str], str]:
    """Letters in place of `...`, and the output spelled out."""
    free = [c for c in string.ascii_letters if c not in subscripts]
    widths = [n - len(label) + 3 for label, n in zip(labels, ndims, strict=True) if "..." in label]
    hidden = "".join(free[: max(widths, default=0)])
    for k, (label, n) in enumerate(zip(labels, ndims, strict=True)):
        if "..." in label:
            label = label.replace("...", hidden[len(hidden) - (n - len(label) + 3) :])
        if len(label) != n:
            raise ValueError(f"einsum: {subscripts!r} names {len(label)} axes of operand {k}, which has {n}")
        labels[k] = label
    if explicit:
        return labels, output.replace("...", hidden)
    joined = "".join(labels)
    return labels, hidden + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in hidden))
