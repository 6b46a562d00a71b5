"""Losses over classes: negative log-likelihood and cross-entropy, the class axis being the last one.

What is said in `losses` of masks and means holds here, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from .losses import Loss, array_beside, as_tensor, check_mask, float_target, register_weight, weight_beside

Array = Any

# ---- the operation -----------------------------------------------------------------------------------------------
# For a row of logits x, s = softmax(x) and a target class t, the loss is
#
#     ℓ = −a log s_t − Σ_c b_c log s_c,    ∂ℓ/∂x = (a + Σ b) s − a onehot(t) − b,
#
# with a, the weight of the target, and b, what label smoothing gives to every class. The operation has two outputs, ℓ
# and s: s is all that the gradient needs, and since it is on the tape, too, the gradient has a gradient.
# A row whose target is negative does not count: its ℓ and s are 0.


def _of_targets(x: Any, targets: Array) -> Any:
    """x[r, t_r] of each row r."""
    return np.take_along_axis(x, np.expand_dims(np.maximum(targets, 0), -1), axis=-1)[..., 0]


def _total(a: Array | None, b: Array | None) -> Any:
    """a + Σ b."""
    return (1.0 if a is None else a) + (0.0 if b is None else np.sum(b))


def _error_by_scale(g: Any, s: Any, targets: Array, a: Array | None, b: Array | None) -> Any:
    y = _total(a, b) * np.sum(g * s, axis=-1) - (1.0 if a is None else a) * _of_targets(g, targets)
    return np.where(targets >= 0, y if b is None else y - g @ b, 0.0)


@mg.primitive(  # type: ignore[untyped-decorator]
    scale=_error_by_scale, s=lambda g, scale, a, b: g * np.expand_dims(scale * _total(a, b), -1)
)
def cross_entropy_error(scale: Array, s: Array, targets: Array, a: Array | None, b: Array | None) -> Array:
    """∂ℓ/∂x of each row, times its scale: (R,) and (R, C) to (R, C)."""
    scale = np.where(targets >= 0, scale, 0.0)
    error = s * np.expand_dims(scale * _total(a, b), -1)
    if b is not None:
        error -= np.expand_dims(scale, -1) * b
    rows = backend.module_of(targets).arange(targets.shape[0])
    error[rows, np.maximum(targets, 0)] -= scale if a is None else scale * a
    return error


def _cross_entropy_rule(g: list[Any], y: Any, targets: Array, a: Array | None, b: Array | None) -> Any:
    (by_loss, by_s), (_, s) = g, y
    by_logits = None if by_loss is None else cross_entropy_error(by_loss, s, targets, a, b)
    if by_s is None:
        return by_logits
    through_s = s * (by_s - np.sum(by_s * s, axis=-1, keepdims=True))
    return through_s if by_logits is None else by_logits + through_s


@mg.primitive(logits=_cross_entropy_rule)  # type: ignore[untyped-decorator]
def cross_entropy(logits: Array, targets: Array, a: Array | None = None, b: Array | None = None) -> tuple[Array, Array]:
    """ℓ and s of each row: logits (R, C) and targets (R,), negative for what does not count, to (R,) and (R, C).

    a  (R,) the weight of each row's target, or None: 1
    b  (C,) the weight of every class in every row, or None: 0
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # rows of infinities, or that do not count
        largest = np.max(logits, axis=-1, keepdims=True)
        z = logits - np.where(np.isfinite(largest), largest, 0.0)
        of_target, of_all = _of_targets(z, targets), 0.0 if b is None else z @ b
        s = np.exp(z, out=z)
        total = np.sum(s, axis=-1)
        loss = _total(a, b) * np.log(total) - (of_target if a is None else a * of_target) - of_all
        s *= np.expand_dims(1 / total, -1)
    s[targets < 0] = 0.0
    return np.where(targets >= 0, loss, 0.0), s


# ---- the losses --------------------------------------------------------------------------------------------------


class _ClassLoss(Loss):
    """A loss of a distribution over C classes, the last axis of the input."""

    weight: mg.Tensor | None

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        register_weight(self, "weight", weight)
        if self.weight is not None and self.weight.ndim != 1:
            raise ValueError(
                f"{type(self).__name__}: weight has a number for each class, (C,), not {self.weight.shape}"
            )
        self.ignore_index = ignore_index

    def check_classes(self, input: mg.Tensor) -> int:
        """The number of classes; ValueError if there is no axis of classes, or it is not that of the weight."""
        if not input.ndim:
            raise ValueError(f"{type(self).__name__}: the input needs a last axis of classes, and has no axes{here()}")
        classes = input.shape[-1]
        if self.weight is not None and self.weight.shape[0] != classes:
            raise ValueError(
                f"{type(self).__name__}: weight is for {self.weight.shape[0]} classes, but the last axis of "
                f"{input.shape} has {classes}{here()}"
            )
        return classes

    def targets(self, input: mg.Tensor, target: Array, mask: Any) -> Array:
        """Integer targets (...), −1 where they do not count; errors for those that do not fit."""
        title, shape, classes = type(self).__name__, input.shape[:-1], input.shape[-1]
        if target.shape != shape:
            raise ValueError(
                f"{title}: classes are the last axis of the input {input.shape}, so targets must be of shape {shape}, "
                f"not {target.shape}{here()}"
            )
        if target.dtype.kind not in "iu":
            raise TypeError(f"{title}: targets of shape {shape} must be integers, not {target.dtype}{here()}")
        counts = target != self.ignore_index
        if mask is not None:
            counts = counts & check_mask(self, mask, shape, input)
        target = target.astype(np.intp, copy=False)
        try:
            backend.check_indices(title, np.where(counts, target, 0), classes)
        except IndexError as error:
            raise IndexError(
                f"{error}: targets must be in [0, {classes}), or ignore_index {self.ignore_index}{here()}"
            ) from None
        return np.where(counts, target, -1)

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}, {super().extra_repr()}"


class NLLLoss(_ClassLoss):
    """−w_t x_t: the negative of the log-probability x_t of the target class t.

    weight        w, of the classes (C,); "mean" divides by the sum of the targets' weights
    ignore_index  a target that does not count

    Raises IndexError for a target that is no class (only where looking costs no wait).
    """

    def forward(self, input: Any, target: Any, mask: Any = None) -> Any:
        """Log-probabilities (..., C), integer targets (...), mask (...): a scalar, or (...) without reduction."""
        input = as_tensor(input)
        self.check_classes(input)
        targets = self.targets(input, array_beside(target, input), mask)
        loss, counted = -_of_targets(input, targets), targets >= 0
        if self.weight is not None:
            weights = weight_beside(self.weight, input)[np.maximum(targets, 0)]  # (...)
            loss = loss * weights
            counted = np.where(counted, weights, 0.0)
        return self.reduce(np.where(targets >= 0, loss, 0.0), counted)


class CrossEntropyLoss(_ClassLoss):
    """−Σ_c q_c w_c log softmax(x)_c, with the target distribution q; for a class t as target, −w_t log softmax(x)_t.

    weight           w, of the classes (C,); "mean" divides by the sum of the targets' weights
    ignore_index     a target that does not count
    label_smoothing  ε: q becomes (1 − ε)·q + ε/C (Szegedy et al. 2016)

    With integer targets it is one operation, which keeps the softmax and nothing else of its size. With probabilities
    as targets, `ignore_index` has no meaning, and "mean" divides by the number of distributions.

    Raises IndexError for a target that is no class (only where looking costs no wait).
    """

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must be between 0 and 1, not {label_smoothing!r}")
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any, mask: Any = None) -> Any:
        """Logits (..., C); integer targets (...) or probabilities (..., C); mask (...).

        Returns a scalar, or (...) without reduction.
        """
        input = as_tensor(input)
        classes = self.check_classes(input)
        weight = None if self.weight is None else weight_beside(self.weight, input)
        array = array_beside(target, input)
        if array.dtype.kind == "f" and array.shape == input.shape:
            return self._of_distributions(input, float_target(target, input), weight, mask)
        targets = self.targets(input, array, mask)
        counted, a, b = targets >= 0, None, None
        if weight is not None:
            a = weight[np.maximum(targets, 0)]  # (...)
            counted = np.where(counted, a, 0.0)
        if self.label_smoothing:
            smooth = self.label_smoothing / classes
            b = smooth * (np.ones_like(input.data, shape=(classes,)) if weight is None else weight)  # (C,)
            a = (1 - self.label_smoothing) * (np.ones_like(input.data, shape=targets.shape) if a is None else a)
        n = math.prod(targets.shape)
        rows = input if input.ndim == 2 else input.reshape((n, classes))  # (R, C)
        loss, _ = cross_entropy(rows, targets.reshape(n), None if a is None else a.reshape(n), b)
        return self.reduce(loss if targets.ndim == 1 else loss.reshape(targets.shape), counted)

    def _of_distributions(self, input: Any, target: Any, weight: Array | None, mask: Any) -> Any:
        if mask is not None:
            mask = check_mask(self, mask, input.shape[:-1], input)
            input, target = (np.where(np.expand_dims(mask, -1), v, 0.0) for v in (input, target))
        q = target
        if self.label_smoothing:
            q = (1 - self.label_smoothing) * q + self.label_smoothing / input.shape[-1]
        if weight is not None:
            q = q * weight
        loss = -np.sum(q * mg.log_softmax(input), axis=-1)  # (...)
        return self.reduce(loss if mask is None else np.where(mask, loss, 0.0), mask)

    def extra_repr(self) -> str:
        smoothing = f", label_smoothing={self.label_smoothing}" if self.label_smoothing else ""
        return super().extra_repr() + smoothing
