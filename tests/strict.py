"""A stand-in for CuPy on machines without a GPU: arrays that live on a device of their own.

A `StrictArray` computes with NumPy, but refuses what CuPy refuses: becoming a NumPy array by itself, and meeting
NumPy arrays, lists or arrays of another device in an operation. Python's and NumPy's scalars are welcome. It knows
NumPy's functions by NumPy's two protocols, as CuPy does, and not those which CuPy lacks.

Devices are "strict:0", "strict:1" and so on.
"""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.cuda.products import product

ABSENT = frozenset(
    [
        "block",
        "insert",
        "einsum_path",
        "unstack",
        "nanpercentile",
        "nanquantile",
        "vecdot",
        "matvec",
        "vecmat",
        "spacing",
        "geomspace",
        "isnat",
    ]
)
"""Names that NumPy has and CuPy lacks (CuPy 14)."""

REFUSED_KEYWORDS = frozenset(["initial", "where", "subok"])
"""Keywords of NumPy's functions that CuPy's do not have."""


WAITS = frozenset(
    [
        "nonzero", "flatnonzero", "argwhere", "unique", "extract", "compress", "sort", "argsort", "partition",
        "argpartition", "einsum", "tensordot", "dot", "vdot", "inner", "matmul", "solve", "inv", "cholesky", "slogdet",
        "det", "eigh", "svd", "qr",
    ]
)  # fmt: skip
"""Calls that CuPy refuses while a CUDA graph is captured: waiting for values, and most libraries."""

_capturing: list[bool] = []


class Crossing(TypeError):
    """Data would leave its device, or come to it, without being asked to."""


class Waits(RuntimeError):
    """Something that cannot be part of a CUDA graph."""


def _now(what: str) -> None:
    """To be called where CuPy waits."""
    if _capturing:
        raise Waits(f"{what} cannot be captured")


def capture(work: Any) -> Any:
    """A graph that does the work whenever it is launched; the first time it is checked whether a GPU could."""

    def launch() -> None:
        _capturing.append(True)
        try:
            work()
        finally:
            _capturing.pop()

    return launch


class StrictArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on a strict device. The NumPy array that it keeps is nobody else's business."""

    def __init__(self, array: np.ndarray, device: str = "strict:0", base: StrictArray | None = None) -> None:
        self._array = array
        self.device = device
        self.base = base

    # ---- refusals ----

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise Crossing(f"an array on {self.device} does not become a NumPy array by itself")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or ufunc.__name__ in ABSENT or any(_foreign(x) for x in inputs):
            return NotImplemented
        if ufunc.__name__ in WAITS:
            _now(f"np.{ufunc.__name__}")
        out = kwargs.pop("out", None)
        plain = [_plain(x, self.device, lists=False) for x in inputs]
        if out is None:
            return self._wrapped(ufunc(*plain, **kwargs), inputs)
        (target,) = out
        ufunc(*plain, out=_plain(target, self.device), **kwargs)
        return target

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ in ABSENT or (REFUSED_KEYWORDS & kwargs.keys() and function is not np.copyto):
            return NotImplemented
        if any(kind not in (StrictArray, np.ndarray) for kind in types):
            return NotImplemented  # CuPy, too, leaves what it does not know to the others
        if function.__name__ in WAITS:
            _now(f"np.{function.__name__}")
        if function is np.linalg.solve and len(args[1].shape) > 1 and args[0].shape[:-1] != args[1].shape[:-1]:
            raise ValueError("a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b")
        if function.__name__.endswith("_like") and kwargs.get("shape") == ():
            kwargs = {key: value for key, value in kwargs.items() if key != "shape"}  # CuPy takes () for none
        plain = {key: _plain(value, self.device) for key, value in kwargs.items()}
        return self._wrapped(function(*_plain(args, self.device), **plain), (args, kwargs))

    # ---- what it is ----

    def __getattr__(self, name: str) -> Any:
        if name in _ATTRIBUTES:
            if name in ("item", "tolist"):
                _now(name)
            return getattr(self._array, name)
        if name in _METHODS:
            if name in WAITS:
                _now(name)
            method = getattr(self._array, name)
            return lambda *args, **kwargs: self._wrapped(
                method(*_plain(args, self.device), **_plain(kwargs, self.device)), (self,)
            )
        raise AttributeError(f"StrictArray has no attribute {name!r}")

    @property
    def T(self) -> StrictArray:
        return self._wrapped(self._array.T, (self,))

    def __getitem__(self, index: Any) -> StrictArray:
        if _masks(index):
            _now("what a mask chooses")
        return self._wrapped(self._array[_plain(index, self.device)], (self,))

    def __setitem__(self, index: Any, value: Any) -> None:
        if any(mask.ndim < self.ndim or getattr(value, "shape", ()) for mask in _masks(index)):
            _now("a write to what a mask chooses")
        self._array[_plain(index, self.device)] = _plain(value, self.device)

    def __len__(self) -> int:
        return len(self._array)

    def __bool__(self) -> bool:
        _now("bool")
        return bool(self._array)

    def __float__(self) -> float:
        _now("float")
        return float(self._array)

    def __int__(self) -> int:
        _now("int")
        return int(self._array)

    def __index__(self) -> int:
        _now("an index")
        return self._array.__index__()

    def __repr__(self) -> str:
        return f"StrictArray({self._array!r}, {self.device!r})"

    def _wrapped(self, value: Any, sources: Any) -> Any:
        """Results stay on the device, also those without axes; a view knows the array that owns its memory."""
        if isinstance(value, np.generic):
            return StrictArray(np.asarray(value), self.device)
        if isinstance(value, np.ndarray):
            for source in _arrays(sources):
                if np.may_share_memory(value, source._array):
                    return StrictArray(value, self.device, source if source.base is None else source.base)
            return StrictArray(value, self.device)
        if isinstance(value, tuple | list):
            parts = [self._wrapped(v, sources) for v in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        return value


_ATTRIBUTES = frozenset(["shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides", "flags", "tolist", "item"])
_METHODS = frozenset(
    [
        "copy",
        "view",
        "astype",
        "reshape",
        "ravel",
        "transpose",
        "swapaxes",
        "squeeze",
        "sum",
        "mean",
        "min",
        "max",
        "prod",
        "any",
        "all",
        "cumsum",
        "cumprod",
        "argmax",
        "argmin",
        "argsort",
        "dot",
        "clip",
        "take",
        "repeat",
        "round",
        "var",
        "std",
        "nonzero",
        "diagonal",
        "trace",
    ]
)


def _masks(index: Any) -> list[StrictArray]:
    """The masks in an index."""
    return [a for a in _arrays(index) if a.dtype == np.bool_]


def _foreign(value: Any) -> bool:
    """True for an object with its own `__array_ufunc__`."""
    return hasattr(value, "__array_ufunc__") and not isinstance(value, StrictArray | np.ndarray | np.generic)


def _plain(value: Any, device: str, lists: bool = True) -> Any:
    """The NumPy array of a strict one; an error for what may not meet it."""
    if isinstance(value, StrictArray):
        if value.device != device:
            raise Crossing(f"arrays on {device} and {value.device} in one operation")
        return value._array
    if isinstance(value, np.ndarray) or (not lists and isinstance(value, list | tuple)):
        raise Crossing(f"{type(value).__name__} beside an array on {device}")
    if isinstance(value, tuple | list):
        return type(value)([_plain(v, device) for v in value])
    if isinstance(value, dict):
        return {key: _plain(v, device) for key, v in value.items()}
    return value


def _arrays(value: Any) -> list[StrictArray]:
    if isinstance(value, StrictArray):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [a for v in value for a in _arrays(v)] if isinstance(value, tuple | list) else []


class Generator:
    """Random numbers that are born on the device."""

    def __init__(self, seed: Any, device: str) -> None:
        self._rng = np.random.default_rng(seed)
        self._device = device

    def random(self, shape: Any, dtype: Any) -> StrictArray:
        return StrictArray(np.asarray(self._rng.random(shape, dtype)), self._device)

    def standard_normal(self, shape: Any, dtype: Any) -> StrictArray:
        return StrictArray(np.asarray(self._rng.standard_normal(shape, dtype)), self._device)


def _creating(name: str) -> Any:
    return lambda *args, **kwargs: StrictArray(getattr(np, name)(*args, **kwargs))


def _full_name(device: str) -> str:
    return device if ":" in device else f"{device}:0"


def _add_at(array: StrictArray, index: Any, values: Any) -> None:
    np.add.at(array._array, _plain(index, array.device), _plain(values, array.device))


module = types.ModuleType("strict_numpy", "NumPy's functions that make arrays, for strict ones.")
for _name in ("arange", "zeros", "ones", "empty", "full", "eye"):
    setattr(module, _name, _creating(_name))


class ElementwiseKernel:
    """cupy.ElementwiseKernel for bodies that are declarations and assignments: they are run by NumPy, all elements at
    once. Parameters and variables have the types that they are declared with, as in C++, and what is read and written
    must be arrays of that type, on one device, of one shape but for broadcasting of what is read."""

    def __init__(self, reads: str, writes: str, body: str, name: str, preamble: str = "") -> None:
        self.reads, self.writes = [[p.split() for p in text.split(", ") if p] for text in (reads, writes)]
        self.lines = [line.removesuffix(";") for line in body.split("\n")]
        assert name.isidentifier()
        assert all(line.endswith(";") for line in body.split("\n"))

    def __call__(self, *arrays: Any) -> None:
        assert len({a.device for a in arrays}) == 1
        values = dict(_C)
        kinds = [kind for kind, _ in (*self.reads, *self.writes)]
        assert [str(a.dtype) for a in arrays] == kinds
        n = len(self.reads)
        shape = np.broadcast_shapes(*[a.shape for a in arrays[:n]])
        assert all(a.shape == shape for a in arrays[n:]), "a kernel writes what has the shape of what it reads"
        values.update({name: a._array for (_, name), a in zip(self.reads, arrays, strict=False)})
        with np.errstate(all="ignore"):
            for line in self.lines:
                left, _, right = line.partition(" = ")
                *kind, name = left.removeprefix("const ").split()
                found = np.asarray(eval(right, {"__builtins__": {}}, values))
                if kind:
                    declared = np.dtype({"float": "f4", "double": "f8", "bool": "?"}[kind[0]])
                    assert name not in values
                    assert found.dtype == declared, f"{line}: it would be converted from {found.dtype}"
                    values[name] = found
                else:
                    arrays[n + int(name[1:])]._array[...] = found


class Cublas:
    """cuBLAS's products of matrices column by column, at addresses. Calls are checked as the library does."""

    def address(self, array: StrictArray) -> int:
        return int(array._array.ctypes.data)

    def __call__(self, name: str, *arguments: Any) -> None:
        kind = {"S": np.dtype("f4"), "D": np.dtype("f8")}[name[len("cublas")]]
        if name.endswith("gemm_v2"):
            *head, a, down_a, b, down_b, before, c, down_c = arguments
            step_a = step_b = step_c = 0
            count = 1
        else:
            assert name.endswith("gemmStridedBatched")
            *head, a, down_a, step_a, b, down_b, step_b, before, c, down_c, step_c, count = arguments
        turned_a, turned_b, m, n, k, factor = head
        alpha, beta = (_matrix(kind, address, 1, 1, 1)[0, 0] for address in (factor, before))
        assert min(m, n, k, count) > 0
        for i in range(count):
            left = _matrix(kind, a + i * step_a * kind.itemsize, *((k, m) if turned_a else (m, k)), down_a)
            right = _matrix(kind, b + i * step_b * kind.itemsize, *((n, k) if turned_b else (k, n)), down_b)
            result = _matrix(kind, c + i * step_c * kind.itemsize, m, n, down_c)
            found = alpha * np.matmul(left.T if turned_a else left, right.T if turned_b else right)
            result[...] = found + beta * result if beta else found


def _matrix(kind: Any, address: int, rows: int, columns: int, down: int) -> Any:
    """A matrix column by column at an address, `down` numbers from one column to the next."""
    assert down >= rows
    size = ((columns - 1) * down + rows) * kind.itemsize
    memory = (ctypes.c_char * size).from_address(address)
    return np.ndarray((rows, columns), kind, memory, strides=(kind.itemsize, down * kind.itemsize))


def _product(a: StrictArray, b: StrictArray, out: StrictArray) -> None:
    assert len({a.device, b.device, out.device}) == 1
    if not product(Cublas(), a, b, out):
        np.matmul(a, b, out=out)


def _add_rows(array: StrictArray, indices: StrictArray, rows: StrictArray) -> None:
    assert str(indices.dtype) == "int64"
    assert array.device == indices.device == rows.device
    np.add.at(array._array, indices._array, rows._array)


_C: dict[str, Any] = {
    "as_float": np.float32, "as_double": np.float64, "as_bool": lambda x: np.asarray(x) != 0, "NAN": np.nan,
    "INFINITY": np.inf, "opposite": np.logical_not, "is_nan": np.isnan, "is_inf": np.isinf, "is_finite": np.isfinite,
    "choose": np.where, "larger": np.maximum, "smaller": np.minimum, "larger_number": np.fmax,
    "smaller_number": np.fmin, "sign_of": np.sign, "pow": np.power,
    **{f.__name__: f for f in (np.sqrt, np.fabs, np.floor, np.ceil, np.trunc, np.rint, np.copysign, np.exp, np.expm1,
                               np.log, np.log1p, np.tanh, np.sin, np.cos)},
}  # fmt: skip


BACKEND = backend.Backend(
    array_type=StrictArray,
    module=module,
    device_of=lambda array: array.device,
    to_numpy=lambda array: _now("a copy to the CPU") or array._array.copy(),  # type: ignore[func-returns-value]
    from_numpy=lambda array, device: StrictArray(np.array(array), _full_name(device)),
    default_rng=lambda seed, device: Generator(seed, _full_name(device)),
    add_at=_add_at,
    synchronous=False,
    add_rows=_add_rows,
    product=_product,
    elementwise=ElementwiseKernel,
    capture=capture,
)
