"""Cross-entropy as one operation: of logits, and of a linear map whose logits are not needed otherwise.

For a row of logits z, s = softmax(z) and a target class t, the loss is

    ℓ = −a log s_t − Σ_c b_c log s_c,    ∂ℓ/∂z = (a + Σ b) s − a onehot(t) − b,

with the weight a of the target, and the weight b of every class due to label smoothing. The operations have two
outputs, ℓ and s: the gradients need nothing else of the logits, and since s is on the tape, too, the gradients have
gradients. A row with a negative target does not count: its ℓ and s are 0.

For z = x Wᵀ + bias, with a matrix x of rows and many classes, the gradients are products with s, and ∂ℓ/∂z is never
made. With k the gradient of each row's ℓ:

    ∂ℓ/∂x = (k (a + Σ b)) s W − (k a) W[t] − k (b W)
    ∂ℓ/∂W = sᵀ (k (a + Σ b)) x − (k a) x, added at the rows t − b (k x)ᵀ

These go over x some times more. With few classes, ∂ℓ/∂z is smaller than x, and made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.gradients import Parts, add_into
from minigrad.hoisting import product
from minigrad.rules.indexing import placed

Array = Any


def of_targets(x: Any, targets: Array) -> Any:
    """x[r, t_r] of each row r."""
    return np.take_along_axis(x, np.expand_dims(np.maximum(targets, 0), -1), axis=-1)[..., 0]


def _total(a: Array | None, b: Array | None) -> Any:
    """a + Σ b."""
    return (1.0 if a is None else a) + (0.0 if b is None else np.sum(b))


def _product(a: Any, b: Any) -> Any:
    """a b, for arrays, by the engine's kernels."""
    return a @ b if isinstance(a, mg.Tensor) or isinstance(b, mg.Tensor) else product(a, b)


def _column(v: Any) -> Any:
    """(R,) as (R, 1)."""
    return np.expand_dims(v, -1)


@mg.fuse
def _softmax(z: Any, bias: Any, b: Any) -> Any:
    """softmax(z + bias), the maximum and Σ e^(z + bias − maximum) of each row, and Σ (z + bias − maximum) b, if b is
    given. Both are (1, C), or None.
    """
    z = z if bias is None else z + bias
    largest = np.max(z, axis=-1, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    e = np.exp(z - largest)
    total = np.sum(e, axis=-1, keepdims=True)
    found = e / total, largest, total
    return found if b is None else (*found, np.sum((z - largest) * b, axis=-1, keepdims=True))


def _to_softmax(z: Array, bias: Array | None, b: Array | None) -> list[Array]:
    """Overwrite rows z + bias by their softmax; returns the maximum, Σ e^(z − maximum), and (z − maximum) b if b is
    given, (R, 1) each."""
    rows = [None if row is None else np.expand_dims(row, 0) for row in (bias, b)]
    found = [np.empty_like(z, shape=(z.shape[0], 1)) for _ in range(2 if b is None else 3)]
    _softmax.into([z, *rows], [z, *found])  # type: ignore[attr-defined]
    return found


def _softmax_losses(z: Array, bias: Array | None, targets: Array, a: Array | None, b: Array | None) -> Array:
    """ℓ of each row of the logits z + bias (R, C); z is overwritten by s."""
    of_target = of_targets(z, targets)
    if bias is not None:
        of_target = of_target + bias[np.maximum(targets, 0)]
    if not z.size:
        return np.zeros_like(of_target)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # rows with infinities, or that do not count
        largest, total, *of_all = (found[:, 0] for found in _to_softmax(z, bias, b))
        of_target = of_target - largest
        loss = _total(a, b) * np.log(total) - (of_target if a is None else a * of_target)
        if b is not None:
            loss = loss - of_all[0]
    backend.fill_rows(z, targets < 0, 0.0)
    return np.where(targets >= 0, loss, 0.0)


# ---- of logits ---------------------------------------------------------------------------------------------------


def _error_by_scale(g: Any, s: Any, targets: Array, a: Array | None, b: Array | None) -> Any:
    y = _total(a, b) * np.sum(g * s, axis=-1) - (1.0 if a is None else a) * of_targets(g, targets)
    return np.where(targets >= 0, y if b is None else y - g @ b, 0.0)


@mg.primitive(  # type: ignore[untyped-decorator]
    fresh=True, scale=_error_by_scale, s=lambda g, scale, a, b: g * _column(scale * _total(a, b))
)
def cross_entropy_error(scale: Array, s: Array, targets: Array, a: Array | None, b: Array | None) -> Array:
    """∂ℓ/∂z of each row, times its scale: (R,) and (R, C) to (R, C)."""
    scale = np.where(targets >= 0, scale, 0.0)
    error = s * _column(scale * _total(a, b))
    if b is not None:
        error -= _column(scale) * b
    rows = backend.module_of(targets).arange(targets.shape[0])
    error[rows, np.maximum(targets, 0)] -= scale if a is None else scale * a
    return error


def _through_softmax(by_s: Any, s: Any) -> Any:
    """The gradient at z from one at s."""
    return s * (by_s - np.sum(by_s * s, axis=-1, keepdims=True))


def _by_logits(g: list[Any], y: Any, targets: Array, a: Array | None, b: Array | None) -> Any:
    (by_loss, by_s), (_, s) = g, y
    by_logits = None if by_loss is None else cross_entropy_error(by_loss, s, targets, a, b)
    if by_s is None:
        return by_logits
    through_s = _through_softmax(by_s, s)
    return through_s if by_logits is None else by_logits + through_s


@mg.primitive(fresh=True, logits=_by_logits)  # type: ignore[untyped-decorator]
def cross_entropy(logits: Array, targets: Array, a: Array | None = None, b: Array | None = None) -> tuple[Array, Array]:
    """ℓ and s of each row: logits (R, C) and targets (R,), negative for rows that do not count, to (R,) and (R, C).

    a  (R,) the weight of each row's target, or None: 1
    b  (C,) the weight of every class in every row, or None: 0
    """
    z = logits.copy()
    return _softmax_losses(z, None, targets, a, b), z


# ---- of a linear map ---------------------------------------------------------------------------------------------


def _scales(by_loss: Any, targets: Array, a: Array | None, b: Array | None) -> tuple[Any, Any, Any]:
    """k, k (a + Σ b) and k a of each row."""
    k = np.where(targets >= 0, by_loss, 0.0)
    return k, k * _total(a, b), k if a is None else k * a


def _few(s: Any, width: int) -> bool:
    """True if ∂ℓ/∂z is so small, beside rows of a width, that it is made."""
    return bool(s.shape[1] <= 2 * width)


def _by_x(g: list[Any], y: Any, weight: Any, targets: Array, a: Array | None, b: Array | None) -> Any:
    (by_loss, by_s), (_, s) = g, y
    through_s = None if by_s is None else _through_softmax(by_s, s) @ weight
    if by_loss is None:
        return through_s
    if _few(s, weight.shape[1]):
        return _sum(_product(cross_entropy_error(by_loss, s, targets, a, b), weight), through_s)
    k, of_all, of_target = _scales(by_loss, targets, a, b)
    by_x = _scaled(_product(s, weight), of_all)
    by_x -= _scaled(weight[np.maximum(targets, 0)], of_target)
    return _sum(by_x, None if b is None else -_column(k) * (b @ weight), through_s)


def _by_weight(
    g: list[Any], y: Any, x: Any, weight_shape: tuple[int, int], targets: Array, a: Array | None, b: Array | None
) -> Any:  # fmt: skip
    (by_loss, by_s), (_, s) = g, y
    through_s = None if by_s is None else _through_softmax(by_s, s).T @ x
    if by_loss is None:
        return through_s
    if _few(s, weight_shape[1]):
        return _sum(_product(cross_entropy_error(by_loss, s, targets, a, b).T, x), through_s)
    k, of_all, of_target = _scales(by_loss, targets, a, b)
    by_weight = _less_at_targets(_product(s.T, _column(of_all) * x), _column(of_target) * x, targets)
    return _sum(by_weight, None if b is None else -_column(b) * (k @ x), through_s)


def _by_bias(g: list[Any], y: Any, targets: Array, a: Array | None, b: Array | None) -> Any:
    (by_loss, by_s), (_, s) = g, y
    through_s = None if by_s is None else np.sum(_through_softmax(by_s, s), axis=0)
    if by_loss is None:
        return through_s
    k, of_all, of_target = _scales(by_loss, targets, a, b)
    by_bias = _less_at_targets(of_all @ s, of_target, targets)
    return _sum(by_bias, None if b is None else -np.sum(k) * b, through_s)


def _sum(first: Any, *rest: Any) -> Any:
    """The sum of those that are there."""
    return sum([part for part in rest if part is not None], start=first)


def _scaled(a: Any, scale: Any) -> Any:
    """a with each row times its number; in place for an array, which must be fresh (a Tensor makes a new one)."""
    a *= _column(scale)
    return a


def _less_at_targets(total: Any, rows: Any, targets: Array) -> Any:
    """The total less each of the rows at its target; an array, which must be fresh, in place."""
    gradient = placed(-rows, np.maximum(targets, 0), total.shape)
    return add_into(total, gradient) if isinstance(gradient, Parts) else total + gradient


@mg.primitive(fresh=True, x=_by_x, weight=_by_weight, bias=_by_bias)  # type: ignore[untyped-decorator]
def linear_cross_entropy(
    x: Array, weight: Array, bias: Array | None, targets: Array, a: Array | None = None, b: Array | None = None
) -> tuple[Array, Array]:
    """ℓ and s of each row of logits x Wᵀ + bias, for x (R, D), W (C, D) and bias (C,); the rest as `cross_entropy`."""
    z = product(x, weight.T)  # (R, C)
    return _softmax_losses(z, bias, targets, a, b), z
