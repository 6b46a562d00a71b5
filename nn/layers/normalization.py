"""Layers that bring numbers to mean zero and variance one."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.scopes import here

from ..modules import Module, Parameter, beside


class LayerNorm(Module):
    """(x − mean) / √(var + eps) · weight + bias over the last axes (Ba, Kiros & Hinton 2016).

    normalized_shape  the sizes of these axes, or of the one
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape = sizes
        self.eps = eps
        made = {"device": device, "dtype": dtype}
        self.weight = Parameter(mg.ones(sizes, **made)) if elementwise_affine else None
        self.bias = Parameter(mg.zeros(sizes, **made)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> mg.Tensor:
        """The same shape."""
        x = beside(self, x)
        n = len(self.normalized_shape)
        if tuple(np.shape(x))[-n:] != self.normalized_shape:
            raise ValueError(
                f"LayerNorm: the last axes of {tuple(np.shape(x))} are not normalized_shape {self.normalized_shape}"
                f"{here()}"
            )
        if x.dtype.itemsize < 4:  # squares soon exceed what float16 holds
            y = self.forward(x.astype(np.float32))
            return y.astype(np.result_type(x.dtype, *[w.dtype for w in (self.weight, self.bias) if w is not None]))
        axes = tuple(range(-n, 0))
        centred = x - np.mean(x, axis=axes, keepdims=True)
        y = centred / np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + self.eps)
        if self.weight is not None:
            y = y * self.weight
        return y if self.bias is None else y + self.bias  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"
