"""A linear map of the last axis."""

from __future__ import annotations

import math
from typing import Any

import minigrad as mg
from minigrad.scopes import here

from .. import init
from ..modules import Module, Parameter, beside


class Linear(Module):
    """y = x Wᵀ + b.

    weight (out_features, in_features) and bias (out_features,) are initialized from U(±1/√in_features). Any x of shape
    (..., in_features) gives (..., out_features). Raises ValueError for another size of the last axis.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, device: str = "cpu", dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        bound = 1 / math.sqrt(max(in_features, 1))
        made = {"device": device, "dtype": dtype}
        self.weight = Parameter(init.uniform_(mg.zeros((out_features, in_features), **made), -bound, bound))
        self.bias = Parameter(init.uniform_(mg.zeros(out_features, **made), -bound, bound)) if bias else None

    def forward(self, x: Any) -> mg.Tensor:
        """(..., in_features) to (..., out_features)."""
        x = beside(self, x)
        check_features(self, x, self.in_features, "in_features")
        return mg.linear(x, self.weight, self.bias)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


def check_features(module: Module, x: Any, size: int, name: str) -> None:
    """Raise ValueError unless the last axis of x has the module's input size, TypeError for integers."""
    shape = x.shape
    if not shape or shape[-1] != size:
        got = f"{shape[-1]} features (axis {len(shape) - 1} of {tuple(shape)})" if shape else "no axes"
        raise ValueError(f"{type(module).__name__}: the input has {got}, but {name} is {size}{here()}")
    dtype = getattr(x, "dtype", None)
    if dtype is not None and dtype.kind != "f":
        raise TypeError(f"{type(module).__name__}: the input must be of floats, not {dtype}{here()}")
