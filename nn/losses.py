"""Losses, with PyTorch's names, hyper-parameters and results, except that the class axis is the last one.

Every loss is called as `loss(input, target, mask=None)`. The mask is boolean, of the shape of the loss before its
reduction; True counts. What does not count, by the mask or by `ignore_index`, gives 0 and gets no gradient, whatever
stands there (NaN included). "mean" divides by what counts. If nothing counts, the mean is 0 with zero gradients, where
PyTorch gives NaN: a batch of padding then changes nothing.

Targets are Tensors or arrays; those that require no grad are taken in the input's dtype.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from .modules import Module

Array = Any

REDUCTIONS: tuple[str, ...] = ("mean", "sum", "none")


def check_reduction(title: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> str:
    """The reduction itself; ValueError if there is none of this name."""
    if reduction not in known:
        raise ValueError(f"{title}: reduction is one of {', '.join(known)}, not {reduction!r}")
    return reduction


def reduced(loss: Any, reduction: str, counted: Array | None = None) -> Any:
    """The mean or sum of a loss, or itself; `counted` are the weights of its elements, if not all are 1."""
    if reduction == "none":
        return loss
    total = np.sum(loss)
    if reduction == "sum":
        return total
    if counted is None:
        return total / max(loss.size, 1)
    n = np.sum(counted).astype(loss.dtype)
    return total / np.where(n == 0, 1.0, n)


class Loss(Module):
    """Base class: what losses reduce by.

    reduction  "mean" over what counts, "sum", or "none"
    """

    reductions = REDUCTIONS

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_reduction(type(self).__name__, reduction, self.reductions)

    def reduce(self, loss: Any, counted: Array | None = None) -> Any:
        """The loss as `reduction` asks for it; `counted` are the weights of its elements, if not all are 1."""
        return reduced(loss, self.reduction, counted)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


def array_beside(value: Any, like: mg.Tensor) -> Array:
    """The array of a Tensor, an array itself, or one made of numbers on the device of `like`."""
    if isinstance(value, mg.Tensor):
        return value.data
    return value if backend.is_array(value) else backend.from_numpy(np.asarray(value), like.device)


def check_mask(module: Module, mask: Any, shape: tuple[int, ...], like: mg.Tensor) -> Array:
    """A mask as a boolean array; ValueError unless it has this shape."""
    mask = array_beside(mask, like)
    if mask.dtype != bool or mask.shape != shape:
        raise ValueError(
            f"{type(module).__name__}: the mask must be boolean and of shape {shape}, got {mask.dtype} {mask.shape}"
            f"{here()}"
        )
    return mask


def _as_tensor(value: Any) -> mg.Tensor:
    return value if isinstance(value, mg.Tensor) else mg.tensor(value)


def _float_target(target: Any, like: mg.Tensor) -> mg.Tensor:
    """A target of numbers, in the dtype of the input unless it requires grad."""
    if isinstance(target, mg.Tensor) and target.requires_grad:
        return target
    return mg.Tensor(array_beside(target, like).astype(like.dtype, copy=False))


# ---- element by element ------------------------------------------------------------------------------------------


class ElementwiseLoss(Loss):
    """A loss for each element of two tensors of the same shape: a subclass defines `elements(input, target)`."""

    harmless = 0.0  # what may stand in for an element that does not count

    def elements(self, input: Any, target: Any) -> Any:
        """The loss of each element."""
        raise NotImplementedError(f"{type(self).__name__} does not define elements()")

    def forward(self, input: Any, target: Any, mask: Any = None) -> Any:
        """Input and target (...), mask (...) or None: a scalar, or (...) without reduction."""
        input = _as_tensor(input)
        target = _float_target(target, input)
        if input.shape != target.shape:
            raise ValueError(
                f"{type(self).__name__}: the input is {input.shape}, but the target is {target.shape}{here()}"
            )
        if mask is None:
            return self.reduce(self.elements(input, target))
        mask = check_mask(self, mask, input.shape, input)
        input, target = np.where(mask, input, self.harmless), np.where(mask, target, self.harmless)
        return self.reduce(np.where(mask, self.elements(input, target), 0.0), mask)


class MSELoss(ElementwiseLoss):
    """(x − y)²."""

    def elements(self, input: Any, target: Any) -> Any:
        """(x − y)² of each element."""
        return np.square(input - target)


class L1Loss(ElementwiseLoss):
    """|x − y|, with gradient 0 where they are equal."""

    def elements(self, input: Any, target: Any) -> Any:
        """|x − y| of each element."""
        return np.abs(input - target)


class HuberLoss(ElementwiseLoss):
    """½d² where |d| ≤ delta, else delta·(|d| − ½delta), for d = x − y (Huber 1964)."""

    def __init__(self, *, delta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta must be positive, not {delta!r}")
        self.delta = delta

    def elements(self, input: Any, target: Any) -> Any:
        """c·(d − ½c), with d limited to c in [−delta, delta]: both branches in one formula."""
        d = input - target
        c = np.clip(d, -self.delta, self.delta)
        return c * (d - 0.5 * c)

    def extra_repr(self) -> str:
        return f"delta={self.delta}, {super().extra_repr()}"


class KLDivLoss(ElementwiseLoss):
    """y·(log y − x), for log-probabilities x: the divergence of exp(x) from y (Kullback & Leibler 1951).

    log_target  the target, too, is given as log-probabilities
    reduction   also "batchmean": the sum divided by the size of the first axis, the divergence itself. With a mask,
                by the number of its entries for which anything counts
    """

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, *, log_target: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def elements(self, input: Any, target: Any) -> Any:
        """y·(log y − x) of each element; 0 where y is 0 and x finite."""
        if self.log_target:
            return np.exp(target) * (target - input)
        return target * (np.log(np.where(target == 0, 1.0, target)) - input)

    def reduce(self, loss: Any, counted: Array | None = None) -> Any:
        """As `Loss.reduce`, and "batchmean"."""
        if self.reduction != "batchmean":
            return super().reduce(loss, counted)
        if not loss.ndim:
            raise ValueError(f"KLDivLoss: 'batchmean' needs a batch axis, and the input has none{here()}")
        n = loss.shape[0]
        rows = n if counted is None else np.sum(np.any(counted.reshape((n, -1)), axis=1)).astype(loss.dtype)
        return np.sum(loss) / np.maximum(rows, 1)


# ---- two classes -------------------------------------------------------------------------------------------------


def _log(p: Any) -> Any:
    """log p, but at least −100, as PyTorch has it: a sure mistake costs much, not infinitely much."""
    nothing = p == 0
    return np.where(nothing, -100.0, np.maximum(np.log(np.where(nothing, 1.0, p)), -100.0))


@mg.primitive(  # type: ignore[untyped-decorator]
    p=lambda g, p, t: g * (p - t) / np.maximum(p * (1 - p), 1e-12),
    t=lambda g, p: g * (_log(1 - p) - _log(p)),
)
def binary_cross_entropy(p: Array, t: Array) -> Array:
    """−t log p − (1 − t) log(1 − p), element by element."""
    return -(t * _log(p) + (1 - t) * _log(1 - p))


class _Weighted(ElementwiseLoss):
    """An element-wise loss times a weight that broadcasts with it; "mean" still divides by the number of elements."""

    weight: mg.Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        _register_weight(self, "weight", weight)

    def reduce(self, loss: Any, counted: Array | None = None) -> Any:
        """As `Loss.reduce`, of the weighted loss."""
        return super().reduce(loss if self.weight is None else loss * _weight(self.weight, loss), counted)


def _register_weight(module: Module, name: str, weight: Any) -> None:
    """A weight as a buffer; None stays None."""
    if weight is None:
        setattr(module, name, None)
    else:
        weight = mg.tensor(weight)
        module.register_buffer(name, weight if weight.dtype.kind == "f" else weight.astype(mg.get_default_dtype()))


def _weight(weight: mg.Tensor, like: mg.Tensor) -> Array:
    """A weight as an array of the dtype of the loss."""
    return weight.data.astype(like.dtype, copy=False)


class BCELoss(_Weighted):
    """−y log p − (1 − y) log(1 − p) of probabilities p, each logarithm at least −100.

    weight  of the elements; broadcasts with them

    Raises ValueError where a probability is not in [0, 1] (only where looking costs no wait).
    """

    harmless = 0.5

    def elements(self, input: Any, target: Any) -> Any:
        """The loss of each element."""
        p = input.data
        if backend.backend_of(p).synchronous and bool(np.any((p < 0) | (p > 1))):
            wrong = float(p.min()) if bool(np.any(p < 0)) else float(p.max())
            raise ValueError(f"BCELoss: {wrong} is no probability; BCEWithLogitsLoss takes any number{here()}")
        return binary_cross_entropy(input, target)


class BCEWithLogitsLoss(_Weighted):
    """−w y log σ(x) − (1 − y) log(1 − σ(x)) of any numbers x: a sigmoid and BCELoss, stable at the extremes.

    weight      of the elements; broadcasts with them
    pos_weight  w, the weight of positive targets, (C,) or what broadcasts with the input
    """

    pos_weight: mg.Tensor | None

    def __init__(self, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction=reduction)
        _register_weight(self, "pos_weight", pos_weight)

    def elements(self, input: Any, target: Any) -> Any:
        """(1 − y)·x + (1 + (w − 1)·y)·log(1 + exp(−x)) of each element."""
        loss = mg.softplus(-input)
        if self.pos_weight is not None:
            loss = loss * (1 + (_weight(self.pos_weight, input) - 1) * target)
        return (1 - target) * input + loss


# ---- many classes: the operation ---------------------------------------------------------------------------------
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


# ---- many classes: the losses ------------------------------------------------------------------------------------


class _ClassLoss(Loss):
    """A loss of a distribution over C classes, the last axis of the input."""

    weight: mg.Tensor | None

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        _register_weight(self, "weight", weight)
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
        input = _as_tensor(input)
        self.check_classes(input)
        targets = self.targets(input, array_beside(target, input), mask)
        loss, counted = -_of_targets(input, targets), targets >= 0
        if self.weight is not None:
            weights = _weight(self.weight, input)[np.maximum(targets, 0)]  # (...)
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
        input = _as_tensor(input)
        classes = self.check_classes(input)
        weight = None if self.weight is None else _weight(self.weight, input)
        array = array_beside(target, input)
        if array.dtype.kind == "f" and array.shape == input.shape:
            return self._of_distributions(input, _float_target(target, input), weight, mask)
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
