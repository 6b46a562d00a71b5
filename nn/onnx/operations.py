"""The table: an operation of this library, and the nodes of ONNX that do the same.

A converter gets the graph, then an `Operand` for each parameter of the operation; it returns the name of the result, or
a list of names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import minigrad as mg

from .values import Graph

Converter = Callable[..., Any]


class Operand:
    """An operand of both runs.

    dtype  of the arrays; of a number, None
    """

    def __init__(self, graph: Graph, first: Any, second: Any) -> None:
        self.graph = graph
        self.first, self.second = (v.data if isinstance(v, mg.Tensor) else v for v in (first, second))
        self.dtype = self.first.dtype if isinstance(self.first, np.ndarray) else None

    def name(self, dtype: Any = None) -> str:
        """The value in the graph, in a dtype."""
        return self.graph.value(self.first, self.second, dtype)

    @property
    def static(self) -> Any:
        """What is the same in both runs, such as an axis."""
        if not _same(self.first, self.second):
            raise self.graph.refused(f"{self.first} of one run is {self.second} in another")
        return self.first

    @property
    def ndim(self) -> int:
        return int(np.ndim(self.first))

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return np.shape(self.first), np.shape(self.second)

    def each(self) -> list[Operand]:
        """Operands in a tuple or list."""
        return [Operand(self.graph, a, b) for a, b in zip(self.first, self.second, strict=True)]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and bool(np.array_equal(a, b))


# ---- element by element ------------------------------------------------------------------------------------------


def _one(operator: str) -> Converter:
    return lambda g, x: g.node(operator, [x.name()])


def _common(*operands: Operand) -> Any:
    """The dtype in which operands meet; numbers change none."""
    dtypes = [o.dtype for o in operands if o.dtype is not None]
    return np.result_type(*dtypes) if dtypes else None


def _two(operator: str) -> Converter:
    def convert(g: Graph, a: Operand, b: Operand) -> Any:
        dtype = _common(a, b)
        if dtype is not None and dtype.kind in "iub" and operator in ("Div", "Pow"):
            dtype = np.dtype(np.float64)
        return g.node(operator, [a.name(dtype), b.name(dtype)])

    return convert


def _formula(formula: Callable[..., Any]) -> Converter:
    """A converter from a formula of nodes: `f(node, number, x)`, number being a constant of x's dtype."""

    def convert(g: Graph, *operands: Operand) -> Any:
        dtype = _common(*operands)
        return formula(lambda operator, *inputs: g.node(operator, inputs), lambda v: g.constant(v, dtype),
                       *(o.name(dtype) for o in operands))  # fmt: skip

    return convert


def _gelu(node: Any, number: Any, x: str) -> str:
    phi = node("Add", node("Erf", node("Mul", x, number(math.sqrt(0.5)))), number(1.0))
    return node("Mul", node("Mul", x, number(0.5)), phi)  # type: ignore[no-any-return]


def _logaddexp(node: Any, number: Any, a: str, b: str) -> str:
    gap = node("Neg", node("Abs", node("Sub", a, b)))
    return node("Add", node("Max", a, b), node("Log", node("Add", node("Exp", gap), number(1.0))))  # type: ignore


def _where(g: Graph, condition: Operand, a: Operand, b: Operand) -> Any:
    dtype = _common(a, b)
    return g.node("Where", [condition.name(bool), a.name(dtype), b.name(dtype)])


def _clip(g: Graph, x: Operand, low: Operand, high: Operand) -> Any:
    y = x.name()
    for operator, limit in (("Max", low), ("Min", high)):
        y = y if limit.first is None else g.node(operator, [y, limit.name(x.dtype)])
    return y


def _astype(g: Graph, x: Operand, dtype: Operand) -> Any:
    return g.cast(x.name(), dtype.static)


# ---- along axes --------------------------------------------------------------------------------------------------


def _axes(axis: Any, ndim: int) -> list[int]:
    """Axes as a sorted list of numbers from 0; None stands for all."""
    if axis is None:
        return list(range(ndim))
    return sorted(k % ndim for k in (axis if isinstance(axis, tuple | list) else [axis]))


def _reduce(operator: str) -> Converter:
    def convert(g: Graph, a: Operand, axis: Operand, keepdims: Operand) -> Any:
        axes = g.integers(*_axes(axis.static, a.ndim))
        return g.node(operator, [a.name(), axes], keepdims=int(keepdims.static))

    return convert


def _variance(g: Graph, a: Operand, axis: Operand, ddof: Operand, keepdims: Operand) -> Any:
    if ddof.static:
        raise g.refused(f"a variance with ddof={ddof.static} has no counterpart in ONNX")
    axes = g.integers(*_axes(axis.static, a.ndim))
    centred = g.node("Sub", [a.name(), g.node("ReduceMean", [a.name(), axes], keepdims=1)])
    return g.node("ReduceMean", [g.node("Mul", [centred, centred]), axes], keepdims=int(keepdims.static))


def _along(operator: str) -> Converter:
    def convert(g: Graph, x: Operand, axis: Operand) -> Any:
        axes = _axes(axis.static, x.ndim)
        if len(axes) != 1:
            raise g.refused(f"{operator} along the axes {axis.static} has no counterpart in ONNX, only along one")
        return g.node(operator, [x.name()], axis=axes[0])

    return convert


def _cumulated(g: Graph, a: Operand, axis: Operand) -> Any:
    return g.node("CumSum", [a.name(), g.constant(axis.static % a.ndim, np.int64)])


def _argument(operator: str) -> Converter:
    def convert(g: Graph, a: Operand, *options: Operand) -> Any:
        given = options[-1].static if options and isinstance(options[-1].first, dict) else {}
        axis = given.get("axis", options[0].static if options and not isinstance(options[0].first, dict) else None)
        if axis is None:
            raise g.refused(f"{operator} over all axes has no counterpart in ONNX; give an axis")
        return g.node(operator, [a.name()], axis=int(axis) % a.ndim, keepdims=int(given.get("keepdims", False)))

    return convert


# ---- shapes ------------------------------------------------------------------------------------------------------


def _reshape(g: Graph, a: Operand, shape: Operand) -> Any:
    return _reshaped(
        g, a.name(), *(_filled(s, np.size(x)) for s, x in ((shape.first, a.first), (shape.second, a.second)))
    )


def _filled(shape: Any, size: int) -> tuple[int, ...]:
    """A shape with the number that its −1 stands for."""
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    rest = math.prod(n for n in shape if n != -1)
    return tuple(size // max(rest, 1) if n == -1 else n for n in shape)


def _reshaped(g: Graph, name: str, first: Any, second: Any) -> Any:
    return g.node("Reshape", [name, g.shape(first, second)], allowzero=1)


def _transpose(g: Graph, a: Operand, axes: Operand) -> Any:
    order = axes.static
    return g.node("Transpose", [a.name()], perm=None if order is None else [k % a.ndim for k in order])


def _expand_dims(g: Graph, a: Operand, axis: Operand) -> Any:
    axes = axis.static if isinstance(axis.static, tuple | list) else [axis.static]
    return g.node("Unsqueeze", [a.name(), g.integers(*(k % (a.ndim + len(axes)) for k in axes))])


def _squeeze(g: Graph, a: Operand, axis: Operand) -> Any:
    first, second = a.shapes
    axes = [k for k in range(a.ndim) if (first[k], second[k]) == (1, 1)] if axis.static is None else axis.static
    return g.node("Squeeze", [a.name(), g.integers(*_axes(axes, a.ndim))])


def _broadcast_to(g: Graph, array: Operand, shape: Operand) -> Any:
    return g.node("Expand", [array.name(), g.shape(shape.first, shape.second)])


def _flip(g: Graph, m: Operand, axis: Operand) -> Any:
    axes = _axes(axis.static, m.ndim)
    ends = [g.integers(*[number] * len(axes)) for number in (-1, np.iinfo(np.int64).min)]
    return g.node("Slice", [m.name(), *ends, g.integers(*axes), g.integers(*[-1] * len(axes))])


def _concatenate(g: Graph, arrays: Operand, axis: Operand, shapes: Operand) -> Any:
    each = arrays.each()
    return g.node("Concat", [x.name(_common(*each)) for x in each], axis=axis.static % each[0].ndim)


def _stack(g: Graph, arrays: Operand, axis: Operand) -> Any:
    each = arrays.each()
    at = axis.static % (each[0].ndim + 1)
    parts = [g.node("Unsqueeze", [x.name(_common(*each)), g.integers(at)]) for x in each]
    return g.node("Concat", parts, axis=at)


def _split(g: Graph, a: Operand, cuts: Operand, axis: Operand) -> Any:
    at = axis.static % a.ndim
    n = [shape[at] for shape in a.shapes]
    edges = [g.size(*pair) for pair in zip((0, *cuts.first, n[0]), (0, *cuts.second, n[1]), strict=True)]
    return [g.node("Slice", [a.name(), begin, end, g.integers(at)]) for begin, end in pairwise(edges)]


def _unstack(g: Graph, x: Operand, axis: Operand) -> Any:
    at = axis.static % x.ndim
    count = x.shapes[0][at]
    return [g.node("Gather", [x.name(), g.constant(k, np.int64)], axis=at) for k in range(count)]


def _pad(g: Graph, array: Operand, width: Operand, value: Operand) -> Any:
    ends = [n for k in (0, 1) for n in (pair[k] for pair in width.static)]
    return g.node("Pad", [array.name(), g.integers(*ends), value.name(array.dtype)])


def _triangle(upper: bool) -> Converter:
    return lambda g, m, k: g.node("Trilu", [m.name(), g.constant(k.static, np.int64)], upper=int(upper))


# ---- indexing ----------------------------------------------------------------------------------------------------


def _getitem(g: Graph, a: Operand, index: Operand) -> Any:
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
            name = _sliced(g, name, axis, p, q)
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


def _sliced(g: Graph, name: str, axis: int, p: slice, q: slice) -> str:
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


def _embedding(g: Graph, weight: Operand, ids: Operand, padding_idx: Operand, sparse: Operand) -> Any:
    return g.node("Gather", [weight.name(), ids.name()], axis=0)


def _take_along_axis(g: Graph, arr: Operand, indices: Operand, axis: Operand) -> Any:
    return g.node("GatherElements", [arr.name(), indices.name()], axis=axis.static % arr.ndim)


# ---- products ----------------------------------------------------------------------------------------------------


def _linear(g: Graph, x: Operand, weight: Operand, bias: Operand) -> Any:
    if x.ndim == 2:
        dtype = _common(x, weight)
        added = [] if bias.first is None else [bias.name(dtype)]
        return g.node("Gemm", [x.name(dtype), weight.name(dtype), *added], transB=1)
    y = g.node("MatMul", [x.name(), g.node("Transpose", [weight.name()], perm=[1, 0])])
    return y if bias.first is None else g.node("Add", [y, bias.name()])


def _einsum(g: Graph, operands: Operand, subscripts: Operand) -> Any:
    return g.node("Einsum", [x.name() for x in operands.each()], equation=subscripts.static)


# ---- the table ---------------------------------------------------------------------------------------------------

OPERATIONS: dict[str, Converter] = {
    **{name: _one(operator) for name, operator in {
        "absolute": "Abs", "fabs": "Abs", "negative": "Neg", "positive": "Identity", "copy": "Identity",
        "scale_gradient": "Identity", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "reciprocal": "Reciprocal",
        "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "rint": "Round", "sin": "Sin", "cos": "Cos", "tan": "Tan",
        "arcsin": "Asin", "arccos": "Acos", "arctan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh",
        "arcsinh": "Asinh", "arccosh": "Acosh", "arctanh": "Atanh", "sigmoid": "Sigmoid", "erf": "Erf", "relu": "Relu",
        "softplus": "Softplus", "np.isnan": "IsNaN", "np.logical_not": "Not",
    }.items()},
    **{name: _two(operator) for name, operator in {
        "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "power": "Pow", "maximum": "Max",
        "minimum": "Min", "matmul": "MatMul", "equal": "Equal", "less": "Less", "less_equal": "LessOrEqual",
        "greater": "Greater", "greater_equal": "GreaterOrEqual", "np.equal": "Equal", "np.less": "Less",
        "np.less_equal": "LessOrEqual", "np.greater": "Greater", "np.greater_equal": "GreaterOrEqual",
    }.items()},
    **{name: _formula(formula) for name, formula in {  # type: ignore[arg-type]
        "square": lambda node, number, x: node("Mul", x, x),
        "expm1": lambda node, number, x: node("Sub", node("Exp", x), number(1.0)),
        "log1p": lambda node, number, x: node("Log", node("Add", x, number(1.0))),
        "exp2": lambda node, number, x: node("Pow", number(2.0), x),
        "log2": lambda node, number, x: node("Div", node("Log", x), number(math.log(2))),
        "log10": lambda node, number, x: node("Div", node("Log", x), number(math.log(10))),
        "silu": lambda node, number, x: node("Mul", x, node("Sigmoid", x)),
        "gelu": _gelu,
        "not_equal": lambda node, number, a, b: node("Not", node("Equal", a, b)),
        "np.not_equal": lambda node, number, a, b: node("Not", node("Equal", a, b)),
        "floor_divide": lambda node, number, a, b: node("Floor", node("Div", a, b)),
        "remainder": lambda node, number, a, b: node("Sub", a, node("Mul", b, node("Floor", node("Div", a, b)))),
        "hypot": lambda node, number, a, b: node("Sqrt", node("Add", node("Mul", a, a), node("Mul", b, b))),
        "logaddexp": _logaddexp,
    }.items()},
    **{name: _reduce(operator) for name, operator in {
        "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
        "logsumexp": "ReduceLogSumExp", "norm": "ReduceL2",
    }.items()},
    "var": _variance,
    "std": lambda g, *operands: g.node("Sqrt", [_variance(g, *operands)]),
    "where": _where, "clip_between": _clip, "hard_tanh": _clip, "astype": _astype,
    "leaky_relu": lambda g, x, slope: g.node("LeakyRelu", [x.name()], alpha=float(slope.static)),
    "elu": lambda g, x, alpha: g.node("Elu", [x.name()], alpha=float(alpha.static)),
    "softmax": _along("Softmax"), "log_softmax": _along("LogSoftmax"), "cumsum": _cumulated,
    "np.argmax": _argument("ArgMax"), "np.argmin": _argument("ArgMin"),
    "reshape": _reshape, "transpose": _transpose, "expand_dims": _expand_dims, "squeeze": _squeeze,
    "broadcast_to": _broadcast_to, "flip": _flip, "concatenate": _concatenate, "stack": _stack, "split": _split,
    "unstack": _unstack, "pad": _pad, "tril": _triangle(False), "triu": _triangle(True),
    "rows": lambda g, x, places, real: _reshape_rows(g, x, places, lambda s: (s[0] * s[1], *s[2:])),
    "batch": lambda g, rows, T, N, places, real: _reshape_rows(
        g, rows, places, lambda s: (s[0], *s[1:]), (T.first, N.first), (T.second, N.second)),
    "getitem": _getitem, "embedding": _embedding, "take_along_axis": _take_along_axis,
    "linear": _linear, "einsum": _einsum,
}  # fmt: skip


def _reshape_rows(g: Graph, x: Operand, places: Operand, of: Any, *batch: Any) -> Any:
    """Rows from a full batch, and back."""
    if places.first is not None:
        raise g.refused("a loop over a ragged batch has no counterpart in ONNX, but in layers that it has as a whole")
    shapes = [(*batch[k], *s[1:]) if batch else of(s) for k, s in enumerate(x.shapes)]
    return _reshaped(g, x.name(), *shapes)
