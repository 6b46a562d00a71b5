"""Losses over classes: negative log-likelihood and cross-entropy, with classes on the last axis.

Masks and means work as in `losses.elementwise`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from ..layers.linear import check_features
from ..modules import beside
from .cross_entropy import cross_entropy, linear_cross_entropy, of_targets
from .elementwise import Loss, array_beside, as_tensor, check_mask, float_target, register_weight, weight_beside

Array = Any


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
        """The number of classes; ValueError if there is no class axis, or its size differs from the weight's."""
        if not input.ndim:
            raise ValueError(f"{type(self).__name__}: the input needs a last axis of classes, and has no axes{here()}")
        classes = input.shape[-1]
        if self.weight is not None and self.weight.shape[0] != classes:
            raise ValueError(
                f"{type(self).__name__}: weight is for {self.weight.shape[0]} classes, but the last axis of "
                f"{input.shape} has {classes}{here()}"
            )
        return classes

    def targets(self, input: mg.Tensor, target: Array, mask: Any, classes: int | None = None) -> Array:
        """Integer targets (...), −1 where they do not count; errors for invalid ones."""
        title, shape, classes = type(self).__name__, input.shape[:-1], classes or input.shape[-1]
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
    """−w_t x_t: the negative log-probability x_t of the target class t.

    weight        w, of the classes (C,); "mean" divides by the sum of the targets' weights
    ignore_index  a target that does not count

    Raises IndexError for a target that is not a class (only where the check does not wait).
    """

    def forward(self, input: Any, target: Any, mask: Any = None) -> Any:
        """Log-probabilities (..., C), integer targets (...), mask (...): a scalar, or (...) without reduction."""
        input = as_tensor(input)
        self.check_classes(input)
        targets = self.targets(input, array_beside(target, input), mask)
        loss, counted = -of_targets(input, targets), targets >= 0
        if self.weight is not None:
            weights = weight_beside(self.weight, input)[np.maximum(targets, 0)]  # (...)
            loss = loss * weights
            counted = np.where(counted, weights, 0.0)
        return self.reduce(np.where(targets >= 0, loss, 0.0), counted)


class CrossEntropyLoss(_ClassLoss):
    """−Σ_c q_c w_c log softmax(x)_c, with the target distribution q; for a target class t, −w_t log softmax(x)_t.

    weight           w, of the classes (C,); "mean" divides by the sum of the targets' weights
    ignore_index     a target that does not count
    label_smoothing  ε: q becomes (1 − ε)·q + ε/C (Szegedy et al. 2016)

    With integer targets it is one operation, which keeps only the softmax. With probabilities as targets,
    `ignore_index` has no effect, and "mean" divides by the number of distributions.

    Raises IndexError for a target that is not a class (only where the check does not wait).
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
        return self._of_classes(input, targets, classes, weight, cross_entropy)

    def of_linear(self, linear: Any, x: Any, target: Any, mask: Any = None) -> Any:
        """The loss of the logits `linear(x)` without making them: `loss(linear(x), target, mask)` in half the memory.

        linear  an `nn.Linear`, or an object with `weight` (C, D) and `bias` (C,) or None
        x       (..., D)
        target  (...) integers

        The softmax is kept for the gradients; no other array of its size is made. Meant for the output map of a model
        with a large vocabulary, over all steps at once.

        >>> import minigrad as mg, nn
        >>> out, h = nn.Linear(8, 1000), mg.randn(35, 20, 8)
        >>> target = (mg.rand(35, 20) * 1000).data.astype(int)
        >>> loss = nn.CrossEntropyLoss().of_linear(out, h, target)
        """
        x = beside(linear, x)
        classes, features = linear.weight.shape
        check_features(self, x, features, "the map's in_features")
        if self.weight is not None and self.weight.shape[0] != classes:
            raise ValueError(
                f"{type(self).__name__}: weight is for {self.weight.shape[0]} classes, the map has {classes}{here()}"
            )
        targets = self.targets(x, array_beside(target, x), mask, classes)
        weight = None if self.weight is None else weight_beside(self.weight, x)

        def loss_of(rows: Any, *rest: Any) -> Any:
            return linear_cross_entropy(rows, linear.weight, linear.bias, *rest)

        return self._of_classes(x, targets, classes, weight, loss_of)

    def _of_classes(self, input: Any, targets: Array, classes: int, weight: Array | None, loss_of: Any) -> Any:
        """The reduced loss; `loss_of` computes that of each row."""
        counted, a, b = targets >= 0, None, None
        if weight is not None:
            a = weight[np.maximum(targets, 0)]  # (...)
            counted = np.where(counted, a, 0.0)
        if self.label_smoothing:
            smooth = self.label_smoothing / classes
            b = smooth * (np.ones_like(input.data, shape=(classes,)) if weight is None else weight)  # (C,)
            a = (1 - self.label_smoothing) * (
                backend.shaped(np.ones_like, input.data, targets.shape) if a is None else a
            )
        n = math.prod(targets.shape)
        rows = input if input.ndim == 2 else input.reshape((n, input.shape[-1]))  # (R, ·)
        loss, _ = loss_of(rows, targets.reshape(n), None if a is None else a.reshape(n), b)
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
