"""Clipping gradients by norm (Pascanu, Mikolov & Bengio 2013) or by value, and finding NaN and Inf in them.

No function here reads a number, and so waits for the device, unless it may raise an error. Gradients may have aliases,
so none is written into: `.grad` becomes a new tensor.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.modes import current_mode

Array = Any
Limits = float | tuple[float, float]


@np.errstate(all="ignore")
def clip_grad_norm_(
    parameters: mg.Tensor | Iterable[Any],
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
) -> mg.Tensor:
    """Multiply all gradients by min(1, max_norm / (‖g‖ₚ + 10⁻⁶)), where g is the vector of all of them.

    parameters  Tensors or (name, Tensor) pairs, or one Tensor; one that comes twice counts once
    norm_type   p: 1, 2, any positive number, or inf for the largest absolute value

    Returns ‖g‖ₚ before clipping, a tensor without axes on the device of the gradients. Raises ValueError for a negative
    max_norm or a norm_type that is not positive, RuntimeError for a norm of NaN or Inf if `error_if_nonfinite`.
    """
    found = gradients_of("clip_grad_norm_", named("clip_grad_norm_", parameters))
    p, bound = norm_order("clip_grad_norm_", norm_type), norm_bound("clip_grad_norm_", max_norm)
    wide = total_norm([g.counted(g.values) for g in found], p)
    norm = as_gradients(wide, [g.values for g in found])
    if error_if_nonfinite and not np.isfinite(norm):
        where = "; ".join(nonfinite(found)) or "all gradients are finite, their norm is too large for its dtype"
        raise RuntimeError(f"clip_grad_norm_: the total norm is {norm.item()}: {where}")
    factor = clip_factor(wide, bound)
    for g in found:
        g.replace(scaled(g.values, factor))
    return norm


@np.errstate(all="ignore")
def clip_grad_value_(parameters: mg.Tensor | Iterable[Any], clip_value: Limits) -> None:
    """Limit each number of each gradient to [lo, hi].

    parameters  as in `clip_grad_norm_`
    clip_value  (lo, hi), or one number for ±

    Raises ValueError for invalid limits, or for row-sparse gradients if the limits exclude 0.
    """
    limits = value_limits("clip_grad_value_", clip_value)
    found = gradients_of("clip_grad_value_", named("clip_grad_value_", parameters))
    refuse_zeros_outside("clip_grad_value_", found, limits)
    for g in found:
        g.replace(limited(g.values, limits))


# ---- the steps, shared with optimizers ---------------------------------------------------------------------------


class Gradient(NamedTuple):
    """The gradient of one parameter.

    values  an array of the parameter's shape, or (K, ...) with some of its rows
    rows    (K,) the sorted, distinct numbers of these rows; None for all
    counts  (K,) in a recording, where the last row may be repeated: 1 for rows that count, 0 for repetitions
    """

    name: str
    parameter: mg.Tensor
    values: Array
    rows: Array | None
    counts: Array | None = None

    def counted(self, values: Array) -> Array:
        """Values of this gradient, without repeated rows."""
        return values if self.counts is None else values * self.counts.reshape((-1, *(1,) * (values.ndim - 1)))

    def replace(self, values: Array) -> None:
        """Set `.grad` to new values."""
        if self.rows is None:
            self.parameter.grad = mg.Tensor(values)
        else:
            self.parameter.grad = mg.RowSparse(self.rows, self.counted(values), self.parameter.shape, check=False)


def named(caller: str, parameters: Any, start: int = 0) -> list[tuple[str, mg.Tensor]]:
    """(name, tensor) of Tensors or (name, Tensor) pairs, each tensor once; unnamed ones get their position as name."""
    if isinstance(parameters, mg.Tensor):
        parameters = [parameters]
    if isinstance(parameters, str | dict) or not isinstance(parameters, Iterable):
        kind = type(parameters).__name__
        hint = "; pass module.parameters()" if hasattr(parameters, "parameters") else ""
        raise TypeError(f"{caller}: expected Tensors or (name, Tensor) pairs, got a {kind}{hint}")
    names: dict[mg.Tensor, str] = {}
    for item in parameters:
        pair = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
        tensor = item[1] if pair else item
        if not isinstance(tensor, mg.Tensor):
            raise TypeError(f"{caller}: expected Tensors or (name, Tensor) pairs, got {type(tensor).__name__} inside")
        names.setdefault(tensor, item[0] if pair else str(start + len(names)))
    if not names and isinstance(parameters, Iterator):
        warnings.warn(f"{caller}: the iterator of parameters is empty; was it gone through before?", stacklevel=3)
    return [(name, tensor) for tensor, name in names.items()]


def gradients_of(caller: str, tensors: Iterable[tuple[str, mg.Tensor]]) -> list[Gradient]:
    """The existing gradients; repeated rows of row-sparse ones are added up."""
    found = []
    for name, tensor in tensors:
        grad = tensor.grad
        if grad is None:
            continue
        if not isinstance(grad, mg.Tensor | mg.RowSparse):
            kind = type(grad).__name__
            raise TypeError(f"{caller}: the gradient of {name} must be a Tensor or RowSparse, not {kind}")
        if grad.shape != tensor.shape:
            raise ValueError(f"{caller}: the gradient of {name} has shape {grad.shape}, expected {tensor.shape}")
        if isinstance(grad, mg.RowSparse) and current_mode().intake.follows:
            rows, values, counts = backend.sum_rows_of_size(*current_mode().intake.together(grad.rows, grad.indices))
            found.append(Gradient(name, tensor, values, rows, counts))
        elif isinstance(grad, mg.RowSparse):
            grad = grad.coalesce()
            found.append(Gradient(name, tensor, grad.rows, grad.indices))
        else:
            found.append(Gradient(name, tensor, grad.data, None))
    return found


def total_norm(arrays: Sequence[Array], p: float) -> mg.Tensor:
    """The p-norm of all arrays as one vector, computed from their norms, in float64 on the device of the first."""
    norms = [_norm(a, p) for a in arrays if a.size]
    return mg.Tensor(_norm(_joined(norms), p).reshape(())) if norms else mg.zeros((), dtype=np.float64)


def as_gradients(norm: mg.Tensor, arrays: Sequence[Array]) -> mg.Tensor:
    """A norm in the widest dtype of the gradients, at least float32."""
    return norm.astype(np.result_type(np.float32, *[a.dtype for a in arrays]))


def _norm(a: Array, p: float) -> Array:
    """‖a‖ₚ with shape (1,), in float64."""
    if p == 2:
        return _euclidean(a)
    a = a.reshape(-1)
    if p == math.inf:
        return np.max(np.abs(a), keepdims=True).astype(np.float64)
    return _scaled_norm(a, p)


@backend.as_one
def _euclidean(a: Array) -> Array:
    """‖a‖₂ as one product; with scaling where squares may overflow or underflow, and where a check would wait."""
    if backend.backend_of(a).synchronous:
        a = widened(a).ravel(order="K")  # any memory layout, without a copy
        square = np.dot(a, a)
        low, high = (1e-280, 1e280) if a.dtype == np.float64 else (1e-24, 1e30)
        if low < square < high:
            return np.sqrt(square, dtype=np.float64).reshape(1)
    return _scaled_norm(a.reshape(-1), 2.0)


def _scaled_norm(a: Array, p: float) -> Array:
    """m ‖a / m‖ₚ, with m the maximum of |a|: powers of finite numbers cannot overflow, and the largest cannot
    underflow.
    """
    size = np.abs(widened(a))
    top = np.max(size, keepdims=True)
    top = np.where((top > 0) & (top < np.inf), top, 1)
    powers = (size / top) ** p
    return top * np.sum(powers, keepdims=True, dtype=np.float64) ** (1 / p)


def widened(a: Array) -> Array:
    """float16 as float32, for computing; other dtypes unchanged."""
    return a.astype(np.float32) if a.dtype.itemsize < 4 else a


def _joined(parts: Sequence[Array]) -> Array:
    """One-dimensional arrays joined on the device of the first."""
    device = backend.device_of(parts[0])
    return np.concatenate([backend.transfer(part, device) for part in parts])


def clip_factor(norm: mg.Tensor, max_norm: float) -> mg.Tensor:
    """min(1, max_norm / (norm + 10⁻⁶)), on the norm's device. Gradients are always multiplied by it: a check for 1
    would wait."""
    return np.minimum(1.0, max_norm / (norm + 1e-6))  # type: ignore


def like(factor: mg.Tensor, a: Array) -> Array:
    """A factor on an array's device and in its dtype; in float32 for float16, where it might underflow."""
    return factor.to(backend.device_of(a)).astype(np.result_type(a.dtype, np.float32)).data


def scaled(a: Array, factor: mg.Tensor) -> Array:
    """a · factor."""
    wide = widened(a)
    product = np.multiply(wide, like(factor, a), out=np.empty_like(wide))  # without out=, NumPy gives scalars
    return product.astype(a.dtype, copy=False)


def limited(a: Array, limits: tuple[float, float]) -> Array:
    """Each number within [lo, hi]; NaN stays."""
    a = np.maximum(a, limits[0], out=np.empty_like(a))
    return np.minimum(a, limits[1], out=a)


def nonfinite(found: Sequence[Gradient]) -> list[str]:
    """A list of NaN and Inf, as in `weight has 3 NaN and 1 Inf among 12 values`; empty if there are none. Waits for the
    device.

    A sum that contains NaN or Inf is NaN or Inf, so if all is well, one look at all sums together is enough.
    """
    sums = [np.sum(g.values, keepdims=True).reshape(-1) for g in found]
    if not sums or bool(np.isfinite(_joined(sums)).all()):
        return []
    texts = []
    for g in found:
        counts = {"NaN": int(np.isnan(g.values).sum()), "Inf": int(np.isinf(g.values).sum())}
        if any(counts.values()):
            kinds = " and ".join(f"{n} {kind}" for kind, n in counts.items() if n)
            texts.append(f"{g.name} has {kinds} among {g.values.size} values")
    return texts


# ---- checks ------------------------------------------------------------------------------------------------------


def norm_order(caller: str, norm_type: float | str) -> float:
    """p as a number; ValueError unless it is positive."""
    try:
        p = float(norm_type)
    except (TypeError, ValueError):
        p = math.nan
    if not p > 0:
        raise ValueError(f"{caller}: norm_type must be a positive number or inf, not {norm_type!r}")
    return p


def norm_bound(caller: str, max_norm: float, name: str = "max_norm") -> float:
    """The largest norm as a number; ValueError if it is negative."""
    if isinstance(max_norm, str | bool) or not float(max_norm) >= 0:
        raise ValueError(f"{caller}: {name} must be a number and at least 0, not {max_norm!r}")
    return float(max_norm)


def value_limits(caller: str, clip_value: Limits) -> tuple[float, float]:
    """(lo, hi) of a pair or of one number; ValueError for others."""
    pair = clip_value if isinstance(clip_value, tuple | list) else (clip_value, clip_value)
    try:
        lo, hi = [float(limit) for limit in pair]
    except (TypeError, ValueError):
        raise ValueError(f"{caller}: clip_value must be a number or (lo, hi), not {clip_value!r}") from None
    if pair is not clip_value:
        lo = -hi
    if not lo <= hi:
        raise ValueError(
            f"{caller}: clip_value must have lo <= hi, or be a number that is at least 0, not {clip_value!r}"
        )
    return lo, hi


def refuse_zeros_outside(caller: str, found: Sequence[Gradient], limits: tuple[float, float]) -> None:
    """Raise ValueError if limits would change the zeros of a row-sparse gradient."""
    lo, hi = limits
    for g in found:
        if g.rows is not None and not lo <= 0 <= hi:
            raise ValueError(f"{caller}: the gradient of {g.name} is row-sparse, and {lo} to {hi} excludes 0")
