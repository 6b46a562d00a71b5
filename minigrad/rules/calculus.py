"""Differences, gradients and integrals on grids, interpolation, convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensors import Tensor
from ..vocabulary import composed, operation
from .accumulations import data_of
from .joining import along, beside
from .reductions import axes_of

Array = Any


# ---- differences -------------------------------------------------------------------------------------------------


@composed(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The n-th difference along an axis, with `prepend` before it and `append` after it."""
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    if n == 0:
        return a
    if np.ndim(a) == 0:
        raise ValueError("diff: the operand needs an axis")
    (k,) = axes_of(axis, np.ndim(a), "diff")
    parts = [v for v in (prepend, a, append) if v is not None]
    if len(parts) > 1:
        one = (*np.shape(a)[:k], 1, *np.shape(a)[k + 1 :])
        a = np.concatenate([np.broadcast_to(p, one) if np.ndim(p) == 0 else p for p in beside(parts)], axis=k)
    less = np.not_equal if a.dtype == np.bool_ else np.subtract
    for _ in range(n):
        a = less(a[along(k, slice(1, None))], a[along(k, slice(None, -1))])
    return a


@composed(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences between consecutive elements of the flattened array, with numbers before and after them."""
    flat = np.ravel(ary)
    parts = [to_begin, flat[1:] - flat[:-1], to_end]
    return np.concatenate([np.ravel(p) for p in beside([p for p in parts if p is not None])])


@composed(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences of second order inside, one-sided ones of order 1 or 2 at the ends.

    varargs  nothing, one spacing for all axes, or for each axis a spacing or the coordinates of its points
    """
    axes = axes_of(axis, np.ndim(f), "gradient")
    spacings = varargs * len(axes) if len(varargs) == 1 and np.ndim(varargs[0]) == 0 else varargs or (1.0,) * len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(spacings)} spacings for {len(axes)} axes of shape {np.shape(f)}")
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order is 1 or 2, not {edge_order}")
    found = [_gradient(f, h, k, edge_order) for h, k in zip(spacings, axes, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _gradient(f: Any, spacing: Any, axis: int, edge_order: int) -> Any:
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ValueError(f"gradient: axis {axis} of shape {f.shape} needs {edge_order + 1} elements or more")
    if np.ndim(spacing) > 1 or (np.ndim(spacing) == 1 and np.shape(spacing)[0] != n):
        raise ValueError(f"gradient: places of shape {np.shape(spacing)} for axis {axis} of shape {f.shape}")
    column = [-1] + [1] * (f.ndim - axis - 1)
    uneven = np.ndim(spacing) == 1
    if uneven:
        spacing = beside([f, spacing])[1]
        h = np.reshape(spacing[1:] - spacing[:-1], column)  # (n − 1, 1, ...): between neighbours

    def part(values: Any, start: int | None, stop: int | None) -> Any:
        return values[along(axis, slice(start, stop))]

    def step(start: int | None, stop: int | None) -> Any:
        return h[start:stop] if uneven else spacing

    def edge(near: Any, next_: Any, far: Any, a: Any, b: Any) -> Any:
        """The slope at an end of the parabola through three points with spacings a and b."""
        return -(2 * a + b) / (a * (a + b)) * near + (a + b) / (a * b) * next_ - a / (b * (a + b)) * far

    left, right = step(None, -1), step(1, None)
    before, here, after = part(f, None, -2), part(f, 1, -1), part(f, 2, None)
    if uneven:
        inside = (
            -right / (left * (left + right)) * before
            + (right - left) / (left * right) * here
            + left / (right * (left + right)) * after
        )
    else:
        inside = (after - before) / (2.0 * spacing)
    if edge_order == 1:
        first = (part(f, 1, 2) - part(f, 0, 1)) / step(0, 1)
        last = (part(f, -1, None) - part(f, -2, -1)) / step(-1, None)
    else:
        first = edge(part(f, 0, 1), part(f, 1, 2), part(f, 2, 3), step(0, 1), step(1, 2))
        last = -edge(part(f, -1, None), part(f, -2, -1), part(f, -3, -2), step(-1, None), step(-2, -1))
    return np.concatenate([first, inside, last], axis=axis)


@composed(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral along an axis by the trapezoidal rule."""
    (k,) = axes_of(axis, np.ndim(y), "trapezoid")
    y, *x_ = beside([y] if x is None else [y, x])
    width = dx
    if x_:
        width = np.diff(x_[0]) if np.ndim(x_[0]) == 1 else np.diff(x_[0], axis=k)
        if np.ndim(width) == 1:
            width = np.reshape(width, [-1] + [1] * (np.ndim(y) - k - 1))
    return np.sum(width * (y[along(k, slice(1, None))] + y[along(k, slice(None, -1))]) / 2.0, axis=k)


@composed(np.unwrap)
def unwrap(p: Any, discont: float | None = None, axis: int = -1, *, period: float = 2 * np.pi) -> Any:
    """Remove jumps of more than half a period. They are whole periods, so the gradient passes unchanged."""
    data = data_of(p)
    return p + (np.unwrap(data, discont, axis, period=period) - data)


# ---- interpolation -----------------------------------------------------------------------------------------------


@composed(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: float | None = None) -> Any:
    """Linear interpolation between points, in float64 as in NumPy. At a point, the derivative is the slope to its
    right.
    """
    x, xp, fp = (v if isinstance(v, Tensor) else Tensor._of(v) for v in beside([x, xp, fp]))
    x, xp, fp = (v.astype(np.float64) for v in (x, xp, fp))
    if np.ndim(xp) != 1 or np.shape(xp) != np.shape(fp) or not np.shape(xp)[0]:
        raise ValueError(f"interp: points of shapes {np.shape(xp)} and {np.shape(fp)}; they are two equal rows")
    if period is not None:
        if period == 0:
            raise ValueError("interp: the period must not be 0")
        period, left, right = abs(period), None, None
        x, xp = np.remainder(x, period), np.remainder(xp, period)
        order = np.argsort(data_of(xp))
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    n = xp.shape[0]
    at, points = data_of(x), data_of(xp)
    if n == 1:
        inside = np.broadcast_to(fp[0], x.shape)
    else:
        k = np.clip(np.searchsorted(points, at, side="right"), 1, n - 1) - 1  # between the points k and k + 1
        x0, f0 = np.take(xp, k), np.take(fp, k)
        inside = (np.take(fp, k + 1) - f0) / (np.take(xp, k + 1) - x0) * (x - x0) + f0
    inside = np.where(at < points[0], fp[0] if left is None else left, inside)
    return np.where(at > points[-1], fp[-1] if right is None else right, np.where(at == points[-1], fp[-1], inside))


# ---- convolution -------------------------------------------------------------------------------------------------


def reversed_valid(g: Any, v: Any) -> Any:
    """Σₖ gₙ₊ₖ vₖ for each n at which v overlaps completely."""
    return np.convolve(g, v[::-1], mode="valid")


@operation(name="convolve", a=lambda g, v: reversed_valid(g, v), v=lambda g, a: reversed_valid(g, a))
def _convolve(a: Array, v: Array) -> Array:
    return np.convolve(a, v, mode="full")


@composed(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Σₘ aₘ vₙ₋ₘ: everywhere ("full"), at the length of the longer row ("same"), or at full overlap ("valid")."""
    a, v = (np.reshape(x, (-1,)) if np.ndim(x) == 0 else x for x in beside([a, v]))
    n, m = _lengths("convolve", a, v)
    full = _convolve(a, v)
    if mode == "full":
        return full
    if mode == "valid":
        return full[m - 1 : n]
    if mode == "same":
        return full[(m - 1) // 2 : (m - 1) // 2 + n]
    raise ValueError(f"convolve: mode is 'full', 'same' or 'valid', not {mode!r}")


@composed(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """Σₙ aₙ₊ₖ vₙ: a convolution with v reversed."""
    a, v = (np.reshape(x, (-1,)) if np.ndim(x) == 0 else x for x in beside([a, v]))
    _lengths("correlate", a, v)
    if mode == "same" and len(a) < len(v):  # of two equally central parts, the later one
        return convolve(a[::-1], v, mode)[::-1]
    return convolve(a, v[::-1], mode)


def _lengths(name: str, a: Any, v: Any) -> tuple[int, int]:
    """The lengths of two rows, the longer one first."""
    if np.ndim(a) != 1 or np.ndim(v) != 1 or not len(a) or not len(v):
        raise ValueError(f"{name}: operands of shapes {np.shape(a)} and {np.shape(v)}; they are rows of one or more")
    return max(len(a), len(v)), min(len(a), len(v))
