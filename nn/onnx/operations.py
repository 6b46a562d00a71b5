"""The table from operations of this library to equivalent ONNX nodes.

A converter takes the graph and an `Operand` for each parameter of the operation; it returns the name of the result, or
a list of names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import shapes
from .operands import Operand, axes_of, common
from .values import OnnxGraph

Converter = Callable[..., Any]


# ---- element-wise ------------------------------------------------------------------------------------------------


def _one(operator: str) -> Converter:
    return lambda g, x: g.node(operator, [x.name()])


def _two(operator: str) -> Converter:
    def convert(g: OnnxGraph, a: Operand, b: Operand) -> Any:
        dtype = common(a, b)
        if dtype is not None and dtype.kind in "iub" and operator in ("Div", "Pow"):
            dtype = np.dtype(np.float64)
        return g.node(operator, [a.name(dtype), b.name(dtype)])

    return convert


def _formula(formula: Callable[..., Any]) -> Converter:
    """A converter from a formula of nodes: `f(node, number, x)`, where number makes a constant of x's dtype."""

    def convert(g: OnnxGraph, *operands: Operand) -> Any:
        dtype = common(*operands)
        return formula(lambda operator, *inputs: g.node(operator, inputs), lambda v: g.constant(v, dtype),
                       *(o.name(dtype) for o in operands))  # fmt: skip

    return convert


def _gelu(node: Any, number: Any, x: str) -> str:
    phi = node("Add", node("Erf", node("Mul", x, number(math.sqrt(0.5)))), number(1.0))
    return node("Mul", node("Mul", x, number(0.5)), phi)  # type: ignore[no-any-return]


def _logaddexp(node: Any, number: Any, a: str, b: str) -> str:
    gap = node("Neg", node("Abs", node("Sub", a, b)))
    return node("Add", node("Max", a, b), node("Log", node("Add", node("Exp", gap), number(1.0))))  # type: ignore


def _where(g: OnnxGraph, condition: Operand, a: Operand, b: Operand) -> Any:
    dtype = common(a, b)
    return g.node("Where", [condition.name(bool), a.name(dtype), b.name(dtype)])


def _clip(g: OnnxGraph, x: Operand, low: Operand, high: Operand) -> Any:
    y = x.name()
    for operator, limit in (("Max", low), ("Min", high)):
        y = y if limit.first is None else g.node(operator, [y, limit.name(x.dtype)])
    return y


def _astype(g: OnnxGraph, x: Operand, dtype: Operand) -> Any:
    return g.cast(x.name(), dtype.static)


# ---- along axes --------------------------------------------------------------------------------------------------


def _reduce(operator: str) -> Converter:
    def convert(g: OnnxGraph, a: Operand, axis: Operand, keepdims: Operand) -> Any:
        axes = g.integers(*axes_of(axis.static, a.ndim))
        return g.node(operator, [a.name(), axes], keepdims=int(keepdims.static))

    return convert


def _variance(g: OnnxGraph, a: Operand, axis: Operand, ddof: Operand, keepdims: Operand) -> Any:
    if ddof.static:
        raise g.refused(f"a variance with ddof={ddof.static} has no counterpart in ONNX")
    axes = g.integers(*axes_of(axis.static, a.ndim))
    centred = g.node("Sub", [a.name(), g.node("ReduceMean", [a.name(), axes], keepdims=1)])
    return g.node("ReduceMean", [g.node("Mul", [centred, centred]), axes], keepdims=int(keepdims.static))


def _along(operator: str) -> Converter:
    def convert(g: OnnxGraph, x: Operand, axis: Operand) -> Any:
        axes = axes_of(axis.static, x.ndim)
        if len(axes) != 1:
            raise g.refused(f"{operator} along the axes {axis.static} has no counterpart in ONNX, only along one")
        return g.node(operator, [x.name()], axis=axes[0])

    return convert


def _cumulated(g: OnnxGraph, a: Operand, axis: Operand) -> Any:
    return g.node("CumSum", [a.name(), g.constant(axis.static % a.ndim, np.int64)])


def _argument(operator: str) -> Converter:
    def convert(g: OnnxGraph, a: Operand, *options: Operand) -> Any:
        given = options[-1].static if options and isinstance(options[-1].first, dict) else {}
        axis = given.get("axis", options[0].static if options and not isinstance(options[0].first, dict) else None)
        if axis is None:
            raise g.refused(f"{operator} over all axes has no counterpart in ONNX; give an axis")
        return g.node(operator, [a.name()], axis=int(axis) % a.ndim, keepdims=int(given.get("keepdims", False)))

    return convert


# ---- products ----------------------------------------------------------------------------------------------------


def _linear(g: OnnxGraph, x: Operand, weight: Operand, bias: Operand) -> Any:
    if x.ndim == 2:
        dtype = common(x, weight)
        added = [] if bias.first is None else [bias.name(dtype)]
        return g.node("Gemm", [x.name(dtype), weight.name(dtype), *added], transB=1)
    y = g.node("MatMul", [x.name(), g.node("Transpose", [weight.name()], perm=[1, 0])])
    return y if bias.first is None else g.node("Add", [y, bias.name()])


def _einsum(g: OnnxGraph, operands: Operand, subscripts: Operand) -> Any:
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
    **{name: getattr(shapes, name) for name in (
        "reshape", "transpose", "expand_dims", "squeeze", "broadcast_to", "flip", "concatenate", "stack", "split",
        "unstack", "pad", "rows", "batch", "getitem", "embedding", "take_along_axis",
    )},
    "tril": shapes.triangle(False), "triu": shapes.triangle(True),
    "linear": _linear, "einsum": _einsum,
}  # fmt: skip
