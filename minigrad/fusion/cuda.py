"""A plan as kernels for a GPU, by CuPy's ElementwiseKernel: one for all pieces of a width.

The source is C++; pieces of arrays (what np.split gives) are passed as views, and CuPy takes care of broadcasting and
strides. Sums, and what is computed from them, are left to a plan, which runs CuPy's own reductions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from .. import backend
from .structure import (
    REDUCTIONS,
    ColumnRef,
    Unsuited,
    cuts_of,
    from_reductions,
    matrix,
    operands_of,
    order_of,
    placed,
    schedule_of,
    types_of,
)
from .symbols import Symbol

Array = Any
TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double", np.dtype(np.bool_): "bool"}

# Functions that C++ lacks. A NaN among the operands of maximum and minimum is the result.
PREAMBLE = """
__device__ inline float as_float(double x) { return (float)x; }
__device__ inline double as_double(double x) { return x; }
__device__ inline bool as_bool(double x) { return x != 0; }
__device__ inline bool opposite(bool x) { return !x; }
template <typename T> __device__ inline bool is_nan(T x) { return x != x; }
template <typename T> __device__ inline bool is_inf(T x) { return fabs(x) == (T)INFINITY; }
template <typename T> __device__ inline bool is_finite(T x) { return fabs(x) < (T)INFINITY; }
template <typename T> __device__ inline T choose(bool c, T a, T b) { return c ? a : b; }
template <typename T> __device__ inline T larger(T a, T b) { return a >= b || a != a ? a : b; }
template <typename T> __device__ inline T smaller(T a, T b) { return a <= b || a != a ? a : b; }
template <typename T> __device__ inline T larger_number(T a, T b) { return a >= b || b != b ? a : b; }
template <typename T> __device__ inline T smaller_number(T a, T b) { return a <= b || b != b ? a : b; }
template <typename T> __device__ inline T sign_of(T x) { return x != x ? x : (T)((x > 0) - (x < 0)); }
"""
FORMULAS: dict[Any, str] = {
    np.add: "{} + {}", np.subtract: "{} - {}", np.multiply: "{} * {}", np.divide: "{} / {}", np.negative: "-{}",
    np.positive: "{}", np.reciprocal: "1 / {}", np.square: "{0} * {0}", np.sqrt: "sqrt({})", np.absolute: "fabs({})",
    np.fabs: "fabs({})", np.floor: "floor({})", np.ceil: "ceil({})", np.trunc: "trunc({})", np.rint: "rint({})",
    np.copysign: "copysign({}, {})", np.sign: "sign_of({})", np.maximum: "larger({}, {})",
    np.minimum: "smaller({}, {})", np.fmax: "larger_number({}, {})", np.fmin: "smaller_number({}, {})",
    np.greater: "{} > {}", np.greater_equal: "{} >= {}", np.less: "{} < {}", np.less_equal: "{} <= {}",
    np.equal: "{} == {}", np.not_equal: "{} != {}", np.isnan: "is_nan({})", np.isinf: "is_inf({})",
    np.isfinite: "is_finite({})", np.exp: "exp({})", np.expm1: "expm1({})", np.log: "log({})", np.log1p: "log1p({})",
    np.tanh: "tanh({})", np.sin: "sin({})", np.cos: "cos({})", np.power: "pow({}, {})",
}  # fmt: skip
LOGIC: dict[Any, str] = {
    np.logical_and: "{} & {}", np.logical_or: "{} | {}", np.logical_xor: "{} ^ {}", np.logical_not: "opposite({})",
    np.bitwise_and: "{} & {}", np.bitwise_or: "{} | {}", np.bitwise_xor: "{} ^ {}", np.invert: "opposite({})",
    np.equal: "{} == {}", np.not_equal: "{} != {}",
}  # fmt: skip


class Planned(Protocol):
    """The interface of `plan.Plan` for kernels."""

    givens: list[Symbol]
    results: list[Symbol]
    order: str

    def rest(self, givens: Sequence[Symbol], results: Sequence[Symbol]) -> Planned: ...

    def __call__(self, arrays: Sequence[Array], like: Array) -> list[Array]: ...


class OnGpu:
    """A plan as kernels, with the plan's interface, for CuPy's arrays.

    make     cupy.ElementwiseKernel
    sources  the kernels' bodies
    """

    def __init__(self, plan: Planned, make: Callable[..., Any]) -> None:
        self.plan = plan
        results = list(dict.fromkeys(plan.results))
        schedule = schedule_of(plan.givens, results)
        reduced = [s.args[0] for s in schedule if s.op in REDUCTIONS]
        after = from_reductions(schedule)
        givens = set(plan.givens)
        wanted = [*[s for s in results if s not in after], *reduced]
        self.outputs = [s for s in dict.fromkeys(wanted) if s not in givens]
        tail = [s for s in results if s in after]
        self._tail = plan.rest([*plan.givens, *self.outputs], tail) if tail else None
        if not self.outputs:
            raise Unsuited("nothing is computed")
        self._kernels = kernels(plan.givens, wanted, self.outputs, make)
        self.sources = [kernel.body for kernel in self._kernels]

    def __call__(self, arrays: Sequence[Array], like: Array) -> list[Array]:
        """The results' arrays."""
        empty = backend.beside(like, np.empty_like)
        known = dict(zip(self.plan.givens, arrays, strict=True))
        for symbol in self.outputs:
            known[symbol] = empty(symbol.shape, symbol.dtype, self.plan.order)
        for kernel in self._kernels:
            kernel(known, like)
        if self._tail is not None:
            rest = self._tail([known[s] for s in (*self.plan.givens, *self.outputs)], like)
            known.update(zip(self._tail.results, rest, strict=True))
        return [known[s] for s in self.plan.results]


def kernels(
    givens: Sequence[Symbol], wanted: Sequence[Symbol], outputs: Sequence[Symbol], make: Callable[..., Any]
) -> list[Piecewise]:  # fmt: skip
    """Kernels that compute the outputs among the wanted values: one for all pieces of outputs of one shape.

    Raises Unsuited for what a kernel cannot express.
    """
    cuts = cuts_of(schedule_of(givens, wanted))
    pieces: dict[tuple[bool, int], list[tuple[Symbol, int, int]]] = {}  # symbol, first column, width
    for symbol in outputs:
        rows, columns = matrix(symbol)
        for start, stop in itertools.pairwise(sorted({0, columns, *cuts.get(symbol, ())})):
            pieces.setdefault((rows != 1, stop - start), []).append((symbol, start, stop - start))
    return [Piecewise(givens, found, make) for found in pieces.values()]


class Piecewise:
    """One kernel: pieces of one width, of several outputs.

    pieces  its operands: (symbol, first column, width), what it reads and then what it writes
    """

    def __init__(
        self, givens: Sequence[Symbol], pieces: Sequence[tuple[Symbol, int, int]], make: Callable[..., Any]
    ) -> None:  # fmt: skip
        self.givens = set(givens)
        self.width = pieces[0][2]
        self.lines: list[str] = []
        self.known: dict[ColumnRef, str] = {}
        self.read: list[ColumnRef] = []
        for k, (symbol, start, _) in enumerate(pieces):
            wanted = placed(symbol, start)
            for place in order_of(wanted, self.givens, self.known):
                self.known[place] = self._computed(place)
            self.lines.append(f"o{k} = {self.known[wanted]};")
        shape = matrix(pieces[0][0])[0], self.width
        if shape not in [(matrix(s)[0], 1 if alone else self.width) for s, _, alone in self.read]:
            raise Unsuited("nothing of the result's shape is read")
        self.written = [(symbol, start) for symbol, start, _ in pieces]
        self.body = "\n".join(self.lines)
        reads = ", ".join(f"{s.dtype} a{k}" for k, (s, _, _) in enumerate(self.read))
        writes = ", ".join(f"{s.dtype} o{k}" for k, (s, _) in enumerate(self.written))
        self.kernel = make(reads, writes, self.body, "minigrad_fused", preamble=PREAMBLE)
        self.pieces = [(s, start, 1 if alone else self.width) for s, start, alone in self.read]
        self.pieces += [(s, start, self.width) for s, start in self.written]

    def __call__(self, arrays: dict[Symbol, Array], like: Array) -> None:
        operands = [piece_of(arrays[s], start, width) for s, start, width in self.pieces]
        if backend.is_recorded(like):
            kind: Any = backend.backend_of(like)
            kind.call(self.kernel, tuple(operands), operands[len(self.read) :])
        else:
            self.kernel(*operands)

    def _computed(self, place: ColumnRef) -> str:
        """A name for the value at a place; the line that computes it."""
        symbol, start, alone = place
        if symbol.dtype not in TYPES:
            raise Unsuited(f"numbers of type {symbol.dtype}")
        kind = TYPES[symbol.dtype]
        if symbol in self.givens:
            self.read.append(place)
            return f"a{len(self.read) - 1}"

        def operand(value: Any, wanted: str) -> str:
            if isinstance(value, Symbol):
                name = self.known[placed(value, start, alone)]
                return name if TYPES[value.dtype] == wanted else f"as_{wanted}({name})"
            return f"as_{wanted}({_number(value)})"

        op = symbol.op
        if op == "fill":
            text = operand(symbol.args[0], kind)
        elif op in ("part", "join", "cast", "reshape"):
            (of,) = operands_of(place, self.givens)
            if of[0].dtype == symbol.dtype:
                return self.known[of]
            text = f"as_{kind}({self.known[of]})"
        elif op == "where":
            condition, a, b = map(operand, symbol.args, ("bool", kind, kind))
            text = f"choose({condition}, {a}, {b})"
        else:
            types = types_of(symbol)
            formula = (LOGIC if types[0] == np.bool_ else FORMULAS).get(op)
            if formula is None or any(t not in TYPES for t in types):
                raise Unsuited(f"np.{getattr(op, '__name__', op)}")
            text = formula.format(*map(operand, symbol.args, [TYPES[t] for t in types]))
        name = f"v{len(self.lines)}"
        self.lines.append(f"const {kind} {name} = {text};")
        return name


def piece_of(array: Array, start: int, width: int) -> Array:
    """Columns of an array; all of a number or of an array of this width."""
    return array if not array.shape or array.shape[-1] == width else array[..., start : start + width]


def _number(value: Any) -> str:
    """A number in C++ (and in Python)."""
    number = float(value)
    if np.isnan(number):
        return "NAN"
    if np.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    return repr(number)
