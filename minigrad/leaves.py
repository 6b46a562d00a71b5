"""`Tensor.backward`: from a result to the `.grad` of the leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import backend
from .backward import key_of, walk
from .gradients import RowSparse
from .modes import current_mode
from .tensors import Tensor


def seed(tensor: Tensor, gradient: Any, operation: str = "backward") -> Any:
    """The gradient to start from: the given one, checked, or 1 for a scalar."""
    if not tensor._requires_grad:
        if tensor.data.dtype.kind != "f":
            raise TypeError(f"{operation}: a tensor of dtype {tensor.dtype} has no gradient; only floating ones do")
        raise RuntimeError(
            f"{operation}: this tensor of shape {tensor.shape} does not require grad: it was computed from no tensor "
            "that does, or under no_grad, or it was detached"
        )
    if gradient is None:
        if tensor.size != 1:
            raise RuntimeError(
                f"{operation}: a tensor of shape {tensor.shape} is not a scalar; reduce it, as in loss.sum(), or "
                f"pass the gradient, an array of shape {tensor.shape}"
            )
        return np.ones_like(tensor.data)
    value = gradient.data if isinstance(gradient, Tensor) else gradient
    if not backend.is_array(value):
        value = backend.from_numpy(np.asarray(value, tensor.dtype), tensor.device)
    if value.shape != tensor.shape:
        raise ValueError(f"{operation}: the gradient has shape {value.shape}, the tensor {tensor.shape}")
    (value,) = current_mode().intake.operands(value)
    if backend.device_of(value) != tensor.device:
        raise backend.DeviceError(
            f"{operation}: the gradient is on {backend.device_of(value)}, the tensor on {tensor.device}"
        )
    return gradient if isinstance(gradient, Tensor) and gradient._requires_grad else value


def backward(
    self: Tensor,
    gradient: Any = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """Add the gradient of this tensor to the `.grad` of every leaf that it depends on.

    gradient      ∂L/∂self, of this tensor's shape; 1 by default for a scalar
    retain_graph  keep the graph for another backward; otherwise it is released during the walk
    create_graph  record the computation of the gradients, for higher orders (implies retain_graph)
    inputs        the tensors that receive a `.grad` (leaves or not); None for all leaves

    Raises RuntimeError if this tensor does not require grad, if the graph was released, or if a kept array was
    overwritten; ValueError if `gradient` has another shape.
    """
    start = seed(self, gradient)
    if create_graph:
        start = start if isinstance(start, Tensor) else Tensor._of(start)
    elif isinstance(start, Tensor):
        start = start.data
    targets = [inputs] if isinstance(inputs, Tensor) else inputs
    for target in targets or ():
        if not target._requires_grad:
            raise RuntimeError(f"backward: an input of shape {target.shape} does not require grad")
    keys = [key_of(target.edge or target) for target in targets or ()]  # a walk that unfolds loops changes edges
    found = walk(
        [(self.edge or self, start)],
        retain_graph=retain_graph or create_graph,
        create_graph=create_graph,
        wanted=None if targets is None else set(keys),
    )
    if targets is None:
        for leaf, g in found.items():
            accumulate(leaf, g)
    else:
        for target, key in zip(targets, keys, strict=True):
            g = found.get(key)
            if g is not None:
                accumulate(target, g)


def accumulate(leaf: Tensor, gradient: Any) -> None:
    """Add to a tensor's `.grad`; the Tensor that is there is never changed, only replaced."""
    old = leaf.grad
    if old is None:
        leaf.grad = gradient if isinstance(gradient, Tensor | RowSparse) else Tensor._of(gradient)
    elif isinstance(old, RowSparse) or isinstance(gradient, RowSparse):
        if isinstance(old, RowSparse) and isinstance(gradient, RowSparse):
            leaf.grad = old + gradient
        else:
            dense = [p.dense() if isinstance(p, RowSparse) else p for p in (old, gradient)]
            leaf.grad = _wrapped(sum(p.data if isinstance(p, Tensor) else p for p in dense))
    elif isinstance(gradient, Tensor):
        leaf.grad = old + gradient
    else:
        leaf.grad = _wrapped(old.data + gradient)


def _wrapped(total: Any) -> Tensor:
    return Tensor._of(np.asarray(total) if isinstance(total, np.generic) else total)


Tensor.backward = backward  # type: ignore[method-assign]
