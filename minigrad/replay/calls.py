"""An operation as a call that writes into given arrays: `function(*arguments)`, without allocation.

Functions that NumPy can compute into an array write there directly. Others are computed as recorded, and copied.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import backend
from .recording import Operation, filled

Array = Any
Call = tuple[Callable[..., Any], tuple[Any, ...]]


def call_of(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], out: list[Array]) -> Call:
    """The call of an operation with arrays in place of its values, and `out` for its results."""
    function, name = operation.function, operation.name
    if not operation.outputs:
        kwargs = dict(kwargs)
        into = kwargs.pop("out", None)
        if isinstance(function, np.ufunc) and into is not None:
            return _into(function, args, into, kwargs)
        return _bound(function, args, kwargs if into is None else kwargs | {"out": into})
    if isinstance(function, np.ufunc):
        if function is np.matmul and (multiply := backend.backend_of(out[0]).product) is not None:
            return multiply, (*args, *out)
        return _into(function, args, out, kwargs)
    if len(out) == 1:
        if function is np.where and len(args) == 3 and not kwargs:
            return _choose, (out[0], *args)
        if function is filled:
            return _fill, (out[0], args[0])
        if name in ("copy", "copied", "astype"):
            return _bound(np.copyto, (out[0], args[0]), {"casting": "unsafe"} if name == "astype" else {})
        if function in _REDUCTIONS or name in _METHODS:
            reduce = _REDUCTIONS.get(function) or _METHODS[name]
            if type(out[0]) is not np.ndarray:  # CuPy's ufuncs have no methods
                return _bound(getattr(np, name), args, kwargs | {"out": out[0]})
            if kwargs.keys() <= {"axis", "keepdims"} and len(args) <= 2:
                axis = kwargs.get("axis", args[1] if len(args) > 1 else None)
                return reduce, (args[0], axis, None, out[0], kwargs.get("keepdims", False))
        if function in _INTO:
            return _bound(function, args, kwargs | {"out": out[0]})
        if name == "getitem" and isinstance(args[1], np.ndarray) and args[1].dtype.kind in "iu":
            return _rows, (args[0], args[1], out[0])
    return _compute, (out, partial(function, *args, **kwargs))


_REDUCTIONS: dict[Any, Any] = {np.sum: np.add.reduce, np.max: np.maximum.reduce, np.min: np.minimum.reduce,
                               np.amax: np.maximum.reduce, np.amin: np.minimum.reduce, np.prod: np.multiply.reduce,
                               np.any: np.logical_or.reduce, np.all: np.logical_and.reduce}  # fmt: skip
_METHODS = {"sum": np.add.reduce, "max": np.maximum.reduce, "min": np.minimum.reduce, "prod": np.multiply.reduce,
            "any": np.logical_or.reduce, "all": np.logical_and.reduce}  # fmt: skip
_INTO = frozenset([np.concatenate, np.stack, np.einsum, np.cumsum, np.cumprod, np.mean, np.dot, np.clip])


def _into(function: np.ufunc, args: tuple[Any, ...], out: Any, kwargs: dict[str, Any]) -> Call:
    """A ufunc that writes into `out`; it is fastest as the last positional argument, which two ufuncs do not accept."""
    if function in (np.maximum, np.minimum):
        return _bound(function, args, kwargs | {"out": tuple(out)})
    return _bound(function, (*args, *out), kwargs)


def _bound(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    return (partial(function, **kwargs) if kwargs else function), args


def _choose(out: Array, condition: Array, a: Any, b: Any) -> None:
    """np.where."""
    np.copyto(out, b)
    np.copyto(out, a, where=condition)


def _fill(out: Array, value: Any) -> None:
    out[...] = value


def _rows(array: Array, indices: Array, out: Array) -> None:
    """array[indices]."""
    out[...] = array[indices]


def _compute(out: list[Array], function: Callable[[], Any]) -> None:
    """Compute any function, and copy its results."""
    found = function()
    for target, array in zip(out, _flat(found), strict=True):
        target[...] = array


def _flat(found: Any) -> list[Any]:
    return [a for part in found for a in _flat(part)] if isinstance(found, tuple | list) else [found]
