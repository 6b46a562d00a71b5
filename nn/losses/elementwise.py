"""Element-wise losses, with PyTorch's names, hyper-parameters and results; those over classes are in `classes`.

Every loss is called as `loss(input, target, mask=None)`. The mask is boolean, with the shape of the loss before its
reduction; True counts. Elements that do not count, by the mask or by `ignore_index`, give 0 and get no gradient,
whatever their value (NaN included). "mean" divides by the number that counts. If nothing counts, the mean is 0 with
zero gradients, where PyTorch gives NaN: a batch of padding then changes nothing.

Targets are Tensors or arrays; those that do not require grad are cast to the input's dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from ..modules import Module

Array = Any

REDUCTIONS: tuple[str, ...] = ("mean", "sum", "none")


def check_reduction(title: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> str:
    """The reduction itself; ValueError if it is unknown."""
    if reduction not in known:
        raise ValueError(f"{title}: reduction is one of {', '.join(known)}, not {reduction!r}")
    return reduction


def reduced(loss: Any, reduction: str, counted: Array | None = None) -> Any:
    """The mean or sum of a loss, or the loss itself; `counted` are the weights of its elements, if not all are 1."""
    if reduction == "none":
        return loss
    if loss.dtype.itemsize < 4:  # sums and counts easily exceed the range of float16
        return reduced(loss.astype(np.float32), reduction, counted).astype(loss.dtype)
    total = np.sum(loss)
    if reduction == "sum":
        return total
    if counted is None:
        return total / max(loss.size, 1)
    n = np.sum(counted).astype(loss.dtype)
    return total / np.where(n == 0, 1.0, n)


class Loss(Module):
    """Base class of losses, with their reduction.

    reduction  "mean" over the elements that count, "sum", or "none"
    """

    reductions = REDUCTIONS

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_reduction(type(self).__name__, reduction, self.reductions)

    def reduce(self, loss: Any, counted: Array | None = None) -> Any:
        """The loss after `reduction`; `counted` are the weights of its elements, if not all are 1."""
        return reduced(loss, self.reduction, counted)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


def array_beside(value: Any, like: mg.Tensor) -> Array:
    """The array of a Tensor, an array itself, or an array made from numbers on the device of `like`."""
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


def as_tensor(value: Any) -> mg.Tensor:
    """A floating tensor; integers and booleans in the default dtype."""
    tensor = value if isinstance(value, mg.Tensor) else mg.tensor(value)
    return tensor if tensor.dtype.kind == "f" else tensor.astype(mg.get_default_dtype())


def float_target(target: Any, like: mg.Tensor) -> mg.Tensor:
    """A target of numbers, cast to the input's dtype unless it requires grad."""
    if isinstance(target, mg.Tensor) and target.requires_grad:
        return target
    return mg.Tensor(array_beside(target, like).astype(like.dtype, copy=False))


# ---- element-wise ------------------------------------------------------------------------------------------------


class ElementwiseLoss(Loss):
    """A loss for each pair of elements of two tensors of equal shape: a subclass defines `elements(input, target)`."""

    harmless = 0.0  # a safe value in place of an element that does not count

    def elements(self, input: Any, target: Any) -> Any:
        """The loss of each element."""
        raise NotImplementedError(f"{type(self).__name__} does not define elements()")

    def forward(self, input: Any, target: Any, mask: Any = None) -> Any:
        """Input and target (...), mask (...) or None: a scalar, or (...) without reduction."""
        input = as_tensor(input)
        target = float_target(target, input)
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


class SmoothL1Loss(ElementwiseLoss):
    """½d²/beta where |d| < beta, else |d| − ½beta, for d = x − y (Girshick 2015): HuberLoss / beta; L1Loss at 0."""

    def __init__(self, *, beta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if not beta >= 0:
            raise ValueError(f"SmoothL1Loss: beta must not be negative, and is {beta!r}")
        self.beta = beta

    def elements(self, input: Any, target: Any) -> Any:
        """c·(d − ½beta·c), with d / beta limited to c in [−1, 1]."""
        d = input - target
        if self.beta == 0:
            return np.abs(d)
        c = np.clip(d / self.beta, -1.0, 1.0)
        return c * (d - 0.5 * self.beta * c)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, {super().extra_repr()}"


class KLDivLoss(ElementwiseLoss):
    """y·(log y − x), for log-probabilities x: the divergence of exp(x) from y (Kullback & Leibler 1951).

    log_target  the target is given as log-probabilities, too
    reduction   also "batchmean": the sum divided by the size of the first axis, the divergence itself. With a mask,
                divided by the number of its entries for which anything counts
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
        """As in `Loss.reduce`, and "batchmean"."""
        if self.reduction != "batchmean":
            return super().reduce(loss, counted)
        if not loss.ndim:
            raise ValueError(f"KLDivLoss: 'batchmean' needs a batch axis, and the input has none{here()}")
        n = loss.shape[0]
        wide = loss.astype(np.result_type(loss.dtype, np.float32))
        rows = n if counted is None else np.sum(np.any(counted.reshape((n, -1)), axis=1)).astype(wide.dtype)
        return (np.sum(wide) / np.maximum(rows, 1)).astype(loss.dtype)


# ---- two classes -------------------------------------------------------------------------------------------------


def _log(p: Any) -> Any:
    """log p, clipped at −100 as in PyTorch: the loss of a certain mistake is large, not infinite."""
    nothing = p == 0
    return np.where(nothing, -100.0, np.maximum(np.log(np.where(nothing, 1.0, p)), -100.0))


@mg.primitive(  # type: ignore[untyped-decorator]
    fresh=True,
    p=lambda g, p, t: g * (p - t) / np.maximum(p * (1 - p), 1e-12),
    t=lambda g, p: g * (_log(1 - p) - _log(p)),
)
def binary_cross_entropy(p: Array, t: Array) -> Array:
    """−t log p − (1 − t) log(1 − p), element-wise."""
    return -(t * _log(p) + (1 - t) * _log(1 - p))


class _Weighted(ElementwiseLoss):
    """An element-wise loss times a weight that broadcasts with it; "mean" still divides by the number of elements."""

    weight: mg.Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        register_weight(self, "weight", weight)

    def reduce(self, loss: Any, counted: Array | None = None) -> Any:
        """As in `Loss.reduce`, for the weighted loss."""
        return super().reduce(loss if self.weight is None else loss * weight_beside(self.weight, loss), counted)


def register_weight(module: Module, name: str, weight: Any) -> None:
    """Register a weight as a buffer; None stays None."""
    if weight is None:
        setattr(module, name, None)
    else:
        weight = mg.tensor(weight)
        module.register_buffer(name, weight if weight.dtype.kind == "f" else weight.astype(mg.get_default_dtype()))


def weight_beside(weight: mg.Tensor, like: mg.Tensor) -> Array:
    """A weight as an array in the dtype of the loss."""
    return weight.data.astype(like.dtype, copy=False)


class BCELoss(_Weighted):
    """−y log p − (1 − y) log(1 − p) of probabilities p, each logarithm at least −100.

    weight  of the elements; broadcasts with them

    Raises ValueError for a probability outside [0, 1] (only where the check does not wait).
    """

    harmless = 0.5

    def elements(self, input: Any, target: Any) -> Any:
        """The loss of each element."""
        p = input.data
        if backend.backend_of(p).synchronous and bool(np.any((p < 0) | (p > 1))):
            wrong = float(p.min()) if bool(np.any(p < 0)) else float(p.max())
            raise ValueError(f"BCELoss: {wrong} is not a probability; BCEWithLogitsLoss takes any number{here()}")
        return binary_cross_entropy(input, target)


class BCEWithLogitsLoss(_Weighted):
    """−w y log σ(x) − (1 − y) log(1 − σ(x)) of any numbers x: a sigmoid and BCELoss, stable at the extremes.

    weight      of the elements; broadcasts with them
    pos_weight  w, the weight of positive targets, (C,) or any shape that broadcasts with the input
    """

    pos_weight: mg.Tensor | None

    def __init__(self, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction=reduction)
        register_weight(self, "pos_weight", pos_weight)

    def elements(self, input: Any, target: Any) -> Any:
        """(1 − y)·x + (1 + (w − 1)·y)·log(1 + exp(−x)) of each element."""
        loss = mg.softplus(-input)
        if self.pos_weight is not None:
            loss = loss * (1 + (weight_beside(self.pos_weight, input) - 1) * target)
        return (1 - target) * input + loss
