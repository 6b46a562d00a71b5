"""PyTorch's operators by NumPy's functions, where more than a name differs: arguments and their order, results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg

L: Any = np.linalg
T: Any = mg.Tensor


def rows(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def reduced(function: Any, **fixed: Any) -> Callable[..., Any]:
    """A reduction with PyTorch's arguments."""

    def call(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
        more = fixed if dtype is None else fixed | {"dtype": dtype}
        dim = tuple(dim) if isinstance(dim, list) else dim
        return function(x, axis=dim if dim != () else None, keepdims=keepdim, **more)

    return call


def spread(function: Any) -> Callable[..., Any]:
    """A variance or standard deviation, whose first argument may be `unbiased`."""

    def call(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = 1 if correction is None and unbiased is None else correction if unbiased is None else int(unbiased)
        dim = tuple(dim) if isinstance(dim, list) else dim
        return function(x, axis=dim if dim != () else None, ddof=ddof, keepdims=keepdim)

    return call


def picked(extreme: Any, place: Any) -> Callable[..., Any]:
    """`max` and `min`: of all, with another tensor, or along an axis, with places."""

    def call(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return extreme(x)
        if not isinstance(dim, int):
            return {np.max: np.maximum, np.min: np.minimum}[extreme](x, dim)
        at = place(x, axis=dim, keepdims=True)
        y = np.take_along_axis(x, at, dim) if x.ndim else x
        return (y, at) if keepdim or not x.ndim else (np.squeeze(y, dim), np.squeeze(at, dim))

    return call


def running(extreme: Any) -> Callable[..., Any]:
    """An extreme of all so far, and its places: where it changed last."""

    def call(x: Any, dim: int) -> Any:
        y = extreme.accumulate(x, dim)
        steps = np.arange(x.shape[dim]).reshape([-1 if k == dim % x.ndim else 1 for k in range(x.ndim)])
        return y, np.maximum.accumulate(np.where(x.data == y.data, steps, 0), dim)

    return call


def divided(a: Any, b: Any, rounding_mode: Any = None) -> Any:
    y = a / b
    return y if rounding_mode is None else np.trunc(y) if rounding_mode == "trunc" else np.floor_divide(a, b)


def divisions(split: Any) -> Callable[..., Any]:
    def call(x: Any, parts: Any, dim: int = 0) -> Any:
        parts = parts.tolist() if isinstance(parts, np.ndarray) else parts
        return split(x, parts) if split in (np.hsplit, np.vsplit, np.dsplit) else split(x, parts, axis=dim)

    return call


def pieces(x: Any, size: Any, dim: int = 0) -> Any:
    n = x.shape[dim]
    ends = np.arange(size, n, size) if isinstance(size, int) else np.cumsum(size)[:-1]
    return np.split(x, ends, axis=dim)


def permuted(x: Any, *axes: Any) -> Any:
    return np.transpose(x, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)


def largest(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    if not x.ndim:
        return x, np.zeros((), int)
    order = np.argsort(-x.data if largest else x.data, axis=dim, kind="stable")
    at = np.take(order, np.arange(k), axis=dim)
    return np.take_along_axis(x, at, dim), at


def ordered(x: Any, *args: Any, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    if args:
        dim, descending = (*args, False)[:2]
    if not x.ndim:
        return x, np.zeros((), int)
    at = np.argsort(-x.data if descending else x.data, axis=dim, kind="stable")
    return np.take_along_axis(x, at, dim), at


def padded(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """The last axis first; less than nothing cuts, before only from a circle."""
    widths = [(0, 0)] * x.ndim
    for k in range(len(pad) // 2):
        widths[x.ndim - 1 - k] = (pad[2 * k], pad[2 * k + 1])
    more = [(max(a, 0), max(b, 0)) for a, b in widths]
    kind: Any = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}.get(mode)

    def cut(y: Any) -> Any:
        return y[tuple([slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, y.shape, strict=True)])]

    if kind == "wrap":
        return np.pad(cut(x), more, mode=kind)
    return cut(np.pad(x, more, mode=kind) if kind else np.pad(x, more, constant_values=0.0 if value is None else value))


def quantile(function: Any) -> Callable[..., Any]:
    def call(x: Any, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear") -> Any:
        return function(x, q, axis=dim, keepdims=keepdim, method=interpolation)

    return call


def normed(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return L.norm(x, ord, tuple(dim) if isinstance(dim, list) else dim, keepdim)


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return L.vector_norm(x, axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=keepdim, ord=ord)


def matrix_norm(x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Any:
    return L.norm(x, ord, tuple(dim), keepdim)


def differences(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    ends = {k: v for k, v in (("prepend", prepend), ("append", append)) if v is not None}
    return np.diff(x, n, dim, **ends)


def slopes(x: Any, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> Any:
    dim = tuple(range(x.ndim)) if dim is None else dim
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    given = [1 if spacing is None else spacing] if not isinstance(spacing, list | tuple) else list(spacing)
    given = [s.data if isinstance(s, T) else s for s in given]
    found = np.gradient(x, *given, axis=axes, edge_order=edge_order)
    return list(found) if isinstance(found, tuple | list) else [found]


def covariance(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    return np.cov(x, ddof=correction, fweights=fweights, aweights=aweights)


def pseudo(a: Any, *others: Any, hermitian: bool = False, rtol: Any = None) -> Any:
    """PyTorch's samples of singular matrices are products of two."""
    return L.pinv(a @ rows(others[0]) if others else a, hermitian=hermitian, rtol=getattr(rtol, "data", rtol))


def spelled(function: Any) -> Callable[..., Any]:
    """A function of several tensors, which PyTorch also takes as a list."""

    def call(*xs: Any, **options: Any) -> Any:
        xs = tuple(xs[0]) if isinstance(xs[0], tuple | list) else xs
        return function(*xs, **({"indexing": "ij"} if function is np.meshgrid else {}) | options)

    return call


def ranks(a: Any, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Any:
    return L.matrix_rank(a, tol if atol is None else atol, hermitian, rtol=rtol)


def solved(a: Any, b: Any, *, left: bool = True) -> Any:
    """NumPy takes a vector for b only where b has one axis."""
    if not left:
        return rows(solved(rows(a), rows(b)))
    vectors = b.ndim > 1 and b.shape == a.shape[:-1]
    return L.solve(a, b[..., None])[..., 0] if vectors else L.solve(a, b)
