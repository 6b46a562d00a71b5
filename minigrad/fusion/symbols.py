"""Symbols: arrays without numbers that note down the operations applied to them.

A function is traced by calling it with Tensors whose data are Symbols. Everything else works as usual: primitives run
their forwards on Symbols, the tape records, and the engine's own backward, run on the recorded tape, gives the
gradients as Symbols. So there is one set of rules, and it does not know of fusion.

A Symbol is hashed by its operation and operands: a repeated expression is computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.mixins import NDArrayOperatorsMixin

from .. import backend
from ..tensors import Tensor
from ..where import INTERNAL, caller, line_of

WAY_OUT = """\
A fused function is made of element-wise operations, sums, maxima and np.split. Do this outside, or drop @mg.fuse."""


class FusionError(TypeError):
    """A function that cannot be fused; the message names the line and an alternative."""

    complete = True  # nothing is added to the message


def refuse(what: str) -> FusionError:
    """The error for an operation that a fused function must not use, with the user's line."""
    return FusionError(f"fuse: {what}, at {line_of(*caller())}\n{WAY_OUT}")


def explain(error: Exception) -> None:
    """Add the user's line and an alternative to an operation's error; a function's own error needs neither."""
    places, trace = [], error.__traceback__
    while trace is not None:
        places.append((trace.tb_frame.f_code, trace.tb_lasti))
        trace = trace.tb_next
    users = [place for place in places if not INTERNAL[place[0].co_filename]]
    if users and users[-1] is not places[-1] and not isinstance(error, FusionError):
        error.add_note(f"fuse: at {line_of(*users[-1])}\n{WAY_OUT}")


def exact(number: Any) -> Any:
    """A number as part of a key: all NaN are equal, but -0.0 differs from 0.0."""
    return number if number == number != 0 else repr(number)


class Trace:
    """The Symbols of one traced call.

    deriving  True while gradients are derived: joins and other shapes are allowed, too
    products  True if matrices may be multiplied and transposed, as in a step of a loop
    rows      the number of rows of such a step
    """

    def __init__(self, rows: int | None = None) -> None:
        self.known: dict[Any, Symbol] = {}
        self.deriving = self.products = rows is not None
        self.rows = rows

    def symbol(self, op: Any, args: tuple[Any, ...], params: Any, shape: tuple[int, ...], dtype: Any) -> Symbol:
        key = (op, tuple([id(a) if isinstance(a, Symbol) else (type(a), exact(a)) for a in args]), params)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = Symbol(self, op, args, params, shape, dtype)
        return found

    def input(self, name: str, shape: tuple[int, ...], dtype: Any) -> Symbol:
        """A given value: an argument of the function, or the gradient of an output."""
        return self.symbol("input", (), name, shape, dtype)


class Symbol(NDArrayOperatorsMixin):
    """A value in a trace.

    op      a ufunc, or "input", "where", "part", "join", "cast", "sum", "max", "reshape", "fill", "transpose", "solve",
            "flip", "triangle"
    args    Symbols and numbers
    params  further parameters of the operation (an axis, a slice, ...)
    """

    __slots__ = ("__weakref__", "args", "dtype", "op", "params", "shape", "trace")
    base = None

    def __init__(self, trace: Trace, op: Any, args: tuple[Any, ...], params: Any, shape: Any, dtype: Any) -> None:
        self.trace = trace
        self.op = op
        self.args = args
        self.params = params
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        return self.size * int(self.dtype.itemsize)

    def __repr__(self) -> str:
        name = getattr(self.op, "__name__", self.op)
        return f"<symbol {name} {self.dtype} {self.shape}>"

    __hash__ = object.__hash__

    # ---- element-wise --------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(v, Tensor) for v in inputs):
            return NotImplemented  # the Tensor handles it
        if kwargs.get("out") is not None:
            raise refuse(f"np.{ufunc.__name__} writes into an existing array")
        if ufunc is np.matmul and self.trace.products and method == "__call__" and not kwargs:
            return self._times(*[self._operand(v) for v in inputs])
        if method != "__call__" or kwargs or ufunc.nout != 1 or ufunc.signature is not None:
            raise refuse(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method} is not element-wise")
        operands = tuple([self._operand(v) for v in inputs])
        try:
            dtype = ufunc.resolve_dtypes((*map(kind_of, operands), None))[-1]
            shape = np.broadcast_shapes(*[v.shape for v in operands if isinstance(v, Symbol)])
        except (TypeError, ValueError) as error:
            raise type(error)(f"{ufunc.__name__}: {error}") from None
        return self.trace.symbol(ufunc, operands, None, shape, dtype)

    def _operand(self, value: Any) -> Any:
        if isinstance(value, Symbol):
            if value.trace is not self.trace:
                raise refuse("a value of another fused call is used")
            return value
        if isinstance(value, bool | int | float | np.generic):
            return value
        what = "Tensor or array" if backend.is_array(value) else type(value).__name__
        raise refuse(f"a {what} from outside is used; pass it as an argument")

    def _times(self, a: Any, b: Any) -> Symbol:
        """The product of two matrices."""
        if not (isinstance(a, Symbol) and isinstance(b, Symbol) and a.ndim == b.ndim == 2):
            raise refuse("a product of other than two matrices")
        if a.shape[1] != b.shape[0]:
            raise ValueError(f"matmul: {a.shape} and {b.shape} do not fit")
        dtype = np.matmul.resolve_dtypes((a.dtype, b.dtype, None))[-1]
        return self.trace.symbol(np.matmul, (a, b), None, (a.shape[0], b.shape[1]), dtype)

    @property
    def T(self) -> Any:
        if not self.trace.products or self.ndim != 2:
            raise refuse("a transpose is not element-wise")
        if self.op == "transpose":
            return self.args[0]
        return self.trace.symbol("transpose", (self,), None, self.shape[::-1], self.dtype)

    @property
    def strides(self) -> Any:
        raise refuse("a matrix product is not element-wise")

    # x += y rebinds the name; nothing is written
    __iadd__ = NDArrayOperatorsMixin.__add__
    __isub__ = NDArrayOperatorsMixin.__sub__
    __imul__ = NDArrayOperatorsMixin.__mul__
    __itruediv__ = NDArrayOperatorsMixin.__truediv__

    def __pow__(self, exponent: Any) -> Any:
        simple: dict[Any, Callable[[Any], Any]] = {1: lambda x: x, 2: np.square, 0.5: np.sqrt, -1: np.reciprocal}
        if isinstance(exponent, int | float) and exponent in simple:
            return simple[exponent](self)
        return np.power(self, exponent)

    # ---- functions other than ufuncs ---------------------------------------------------------------------------------

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(t, Tensor) for t in types):
            return NotImplemented
        known = _FUNCTIONS.get(function)
        if known is None or (function in _DERIVING and not self.trace.deriving):
            raise refuse(f"np.{function.__name__} is not element-wise")
        return known(self.trace, *args, **kwargs)

    def astype(self, dtype: Any, copy: bool = True) -> Symbol:
        dtype = np.dtype(dtype)
        return self if dtype == self.dtype else self.trace.symbol("cast", (self,), dtype, self.shape, dtype)

    def reshape(self, shape: Any) -> Symbol:
        if not self.trace.deriving:
            raise refuse("reshape is not element-wise")
        if tuple(shape) == self.shape:
            return self
        return self.trace.symbol("reshape", (self,), tuple(shape), shape, self.dtype)

    def copy(self) -> Symbol:
        return self

    def __getitem__(self, index: Any) -> Symbol:
        """A part along one axis, as np.split takes it."""
        parts = index if type(index) is tuple else (index,)
        if not all(type(p) is slice and p.step is None for p in parts) or len(parts) > self.ndim:
            raise refuse("indexing is not element-wise; np.split divides along an axis")
        shape = [len(range(n)[p]) for p, n in zip(parts, self.shape, strict=False)]
        bounds = tuple([p.indices(n)[:2] for p, n in zip(parts, self.shape, strict=False)])
        return self.trace.symbol("part", (self,), bounds, (*shape, *self.shape[len(parts) :]), self.dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise refuse("indexing and writing into elements are not element-wise; np.split divides along an axis")

    def __bool__(self) -> bool:
        raise refuse("it branches on a value, which is not known when the function is traced; use np.where")

    def _value(self, *_: Any, **__: Any) -> Any:
        raise refuse("it asks for a value, which is not known when the function is traced")

    item = tolist = __float__ = __int__ = __index__ = __array__ = __iter__ = _value
    any = all = max = min = sum = mean = _value


def kind_of(operand: Any) -> Any:
    """The property of an operand that decides a ufunc's dtype: its dtype, or that it is a Python int or float."""
    if isinstance(operand, Symbol | np.generic):
        return operand.dtype
    return np.dtype(bool) if isinstance(operand, bool) else type(operand)


class Argument(Tensor):
    """An argument of a traced function. `x += 1` is refused, since it could write into the caller's array."""

    __slots__ = ()


def _in_place(sign: str) -> Callable[..., Any]:
    def refused(self: Argument, other: Any) -> Any:
        raise refuse(f"x {sign}= value may write into an argument; write x = x {sign} value")

    return refused


for _name, _sign in {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>",
}.items():  # fmt: skip
    setattr(Argument, f"__i{_name}__", _in_place(_sign))


def _where(trace: Trace, condition: Any, a: Any, b: Any) -> Symbol:
    like = next(v for v in (condition, a, b) if isinstance(v, Symbol))
    operands = tuple([like._operand(v) for v in (condition, a, b)])
    symbols = [v for v in operands if isinstance(v, Symbol)]
    dtype = np.result_type(*[v.dtype if isinstance(v, Symbol) else v for v in operands[1:]])
    return trace.symbol("where", operands, None, np.broadcast_shapes(*[v.shape for v in symbols]), dtype)


def _sum(trace: Trace, a: Symbol, axis: Any, keepdims: bool = False) -> Symbol:
    axes = tuple(range(a.ndim)) if axis is None else normalize_axis_tuple(axis, a.ndim)
    shape = tuple([1 if k in axes else n for k, n in enumerate(a.shape)])
    if trace.rows is not None and axes == (1,) and a.shape[0] == trace.rows and not keepdims:
        raise refuse("a sum along a row without keepdims=True")
    total = trace.symbol("sum", (a,), axes, shape, a.dtype)
    rest = tuple([n for k, n in enumerate(a.shape) if k not in axes])
    return total if keepdims or rest == shape else trace.symbol("reshape", (total,), rest, rest, a.dtype)


def _max(trace: Trace, a: Symbol, axis: Any, keepdims: bool = False) -> Symbol:
    axes = tuple(range(a.ndim)) if axis is None else normalize_axis_tuple(axis, a.ndim)
    if axes != (a.ndim - 1,) or a.dtype.kind != "f":
        raise refuse("np.max is not taken along the last axis, of floats")
    if not a.shape[-1]:
        raise ValueError(f"max: an axis of {a.shape} is empty")
    shape = (*a.shape[:-1], 1)
    found = trace.symbol("max", (a,), axes, shape, a.dtype)
    if keepdims:
        return found
    if trace.rows is not None:
        raise refuse("a maximum along a row without keepdims=True")
    return trace.symbol("reshape", (found,), a.shape[:-1], a.shape[:-1], a.dtype)


def _cumsum(trace: Trace, a: Symbol, axis: Any = None) -> Symbol:
    """The cumulative sums of each row of a step, as a product with a triangle of ones."""
    if trace.rows is None or a.shape[:1] != (trace.rows,) or axis not in (1, -1):
        raise refuse("np.cumsum is not element-wise")
    back = a.op == "flip"
    size = a.shape[1]
    triangle = trace.symbol("triangle", (), (size, back), (size, size), a.dtype)
    sums: Symbol = (a.args[0] if back else a) @ triangle
    return trace.symbol("flip", (sums,), None, a.shape, a.dtype) if back else sums


def _flip(trace: Trace, a: Symbol, axis: Any = None) -> Symbol:
    """The columns of a step in reverse order, for which there is no kernel. Reversed twice, as in the gradient of
    cumulative sums, they are the value itself.
    """
    if trace.rows is None or a.shape[:1] != (trace.rows,) or axis not in (1, -1):
        raise refuse("np.flip is not element-wise")
    return a.args[0] if a.op == "flip" else trace.symbol("flip", (a,), None, a.shape, a.dtype)


def _mean(trace: Trace, a: Symbol, axis: Any, keepdims: bool = False) -> Any:
    total = _sum(trace, a, axis, keepdims)
    return total * (1 / max(a.size // max(total.size, 1), 1))


def _broadcast_to(trace: Trace, a: Symbol, shape: Any) -> Any:
    shape = tuple(shape)
    if a.shape == shape:
        return a
    if trace.rows is not None:  # a step's number of rows may change: a fill follows it
        return a * _filled(1.0)(trace, a, shape=shape)
    return trace.symbol("cast", (a,), (a.dtype, shape), shape, a.dtype)


def _concatenate(trace: Trace, arrays: Any, axis: int = 0) -> Symbol:
    shape = list(arrays[0].shape)
    shape[axis] = sum([a.shape[axis] for a in arrays])
    return trace.symbol("join", tuple(arrays), axis, tuple(shape), np.result_type(*[a.dtype for a in arrays]))


def _transpose(trace: Trace, a: Symbol, axes: Any = None) -> Symbol:
    turned: Symbol = a.T  # refuses anything but a matrix
    return turned if axes is None or axes[0] % 2 else a


def _swapaxes(trace: Trace, a: Symbol, axis1: int, axis2: int) -> Symbol:
    turned: Symbol = a.T
    return turned if (axis1 - axis2) % 2 else a


def _solve(trace: Trace, a: Symbol, b: Symbol) -> Symbol:
    if not trace.products or not a.ndim == b.ndim == 2:
        raise refuse("np.linalg.solve is not element-wise")
    return trace.symbol("solve", (a, b), None, b.shape, np.result_type(a.dtype, b.dtype))


def _filled(value: float) -> Callable[..., Symbol]:
    def fill(trace: Trace, a: Symbol, dtype: Any = None, shape: Any = None, order: Any = None) -> Symbol:
        return trace.symbol("fill", (value,), tuple(a.shape if shape is None else shape),
                            a.shape if shape is None else shape, a.dtype if dtype is None else dtype)  # fmt: skip

    return fill


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.sum: _sum,
    np.mean: _mean,
    np.max: _max,
    np.cumsum: _cumsum,
    np.flip: _flip,
    np.broadcast_to: _broadcast_to,
    np.concatenate: _concatenate,
    np.transpose: _transpose,
    np.swapaxes: _swapaxes,
    np.linalg.solve: _solve,
    np.zeros_like: _filled(0.0),
    np.ones_like: _filled(1.0),
    np.shape: lambda trace, a: a.shape,
    np.ndim: lambda trace, a: a.ndim,
    np.reshape: lambda trace, a, shape: a.reshape((shape,) if isinstance(shape, int) else shape),
}
_DERIVING = {np.broadcast_to, np.concatenate, np.reshape}


def _no_random_numbers(seed: Any, device: str) -> Any:
    raise refuse("random numbers are drawn; draw them before, and pass them as an argument")


backend.register(
    "symbol",
    backend.NUMPY._replace(array_type=Symbol, device_of=lambda symbol: "symbol", to_numpy=Symbol._value,
                           default_rng=_no_random_numbers, synchronous=False),
)  # fmt: skip
