"""Losses that compare two inputs, by order or by direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.scopes import here

from .elementwise import Loss, array_beside, as_tensor, check_mask, float_target

Array = Any


class _PairLoss(Loss):
    """A loss of two inputs and a target y, which is 1 or −1."""

    def __init__(self, *, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = margin

    def pair(self, first: Any, second: Any, target: Any, rows: int) -> tuple[Any, Any, Array]:
        """Inputs of equal shape and dtype, and targets of that shape without its last `rows` axes."""
        title, x = type(self).__name__, as_tensor(first)
        z = float_target(second, x)
        y = array_beside(target, x)
        if x.shape != z.shape:
            raise ValueError(f"{title}: the inputs are {x.shape} and {z.shape}; expected one shape{here()}")
        if x.ndim < rows:
            raise ValueError(f"{title}: the inputs are numbers; expected vectors, (..., D){here()}")
        if y.shape != x.shape[: x.ndim - rows]:
            raise ValueError(
                f"{title}: for inputs {x.shape} the target must be {x.shape[: x.ndim - rows]}, not {y.shape}{here()}"
            )
        return x, z, y

    def check_signs(self, y: Array) -> None:
        """ValueError for a target other than 1 or −1 (only where the check does not wait)."""
        if backend.backend_of(y).synchronous and bool(np.any(np.abs(y) != 1)):
            wrong = y[np.abs(y) != 1].reshape(-1)[0]
            raise ValueError(
                f"{type(self).__name__}: targets are 1 or -1, not {wrong}; leave others out by mask={here()}"
            )

    def extra_repr(self) -> str:
        return f"margin={self.margin}, {super().extra_repr()}"


class MarginRankingLoss(_PairLoss):
    """max(0, margin − y (x₁ − x₂)): x₁ should exceed x₂ by the margin where y is 1, and the reverse where y is −1."""

    def forward(self, input1: Any, input2: Any, target: Any, mask: Any = None) -> Any:
        """Inputs, target and mask (...): a scalar, or (...) without reduction."""
        x, z, y = self.pair(input1, input2, target, rows=0)
        if mask is not None:
            mask = check_mask(self, mask, x.shape, x)
            x, z, y = np.where(mask, x, 0.0), np.where(mask, z, 0.0), np.where(mask, y, 1)
        self.check_signs(y)
        loss = np.clip(self.margin - y.astype(x.dtype) * (x - z), 0.0, None)
        return self.reduce(loss if mask is None else np.where(mask, loss, 0.0), mask)


class CosineEmbeddingLoss(_PairLoss):
    """1 − cos(x₁, x₂) where y is 1, max(0, cos(x₁, x₂) − margin) where y is −1: vectors that belong together point in
    the same direction. cos is x₁·x₂ / √((x₁·x₁ + 10⁻¹²) (x₂·x₂ + 10⁻¹²)), which is 0 for a zero vector."""

    def forward(self, input1: Any, input2: Any, target: Any, mask: Any = None) -> Any:
        """Vectors (..., D), target and mask (...): a scalar, or (...) without reduction."""
        x, z, y = self.pair(input1, input2, target, rows=1)
        if mask is not None:
            mask = check_mask(self, mask, y.shape, x)
            rows = np.expand_dims(mask, -1)
            x, z, y = np.where(rows, x, 0.0), np.where(rows, z, 0.0), np.where(mask, y, 1)
        self.check_signs(y)
        sizes = (np.sum(x * x, axis=-1) + 1e-12) * (np.sum(z * z, axis=-1) + 1e-12)
        cos = np.sum(x * z, axis=-1) / np.sqrt(sizes)  # (...)
        loss = np.where(y > 0, 1 - cos, np.clip(cos - self.margin, 0.0, None))
        return self.reduce(loss if mask is None else np.where(mask, loss, 0.0), mask)
