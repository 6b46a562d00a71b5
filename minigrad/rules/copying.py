"""Copies: the same values in fresh memory, in another dtype, or on another device."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..tensors import Tensor
from ..vocabulary import composed, first_order, operation

Array = Any


@operation(np.copy, a=lambda g: g)
def copy(a: Array) -> Array:
    return a.copy()


@operation(name="astype", x=lambda g: g)
def _astype(x: Array, dtype: Any) -> Array:
    return x.astype(dtype)


@composed(*([np.astype] if hasattr(np, "astype") else []))
def astype(x: Any, dtype: Any) -> Any:
    """The values in another dtype. The engine casts the gradient back; integers and booleans have none."""
    dtype = backend.native(dtype)
    if dtype.kind not in "fiub":
        raise TypeError(f"astype: a Tensor is of floats, integers or booleans, not {dtype}")
    if dtype.kind != "f":
        return Tensor._of(x.data.astype(dtype))
    return x if x.dtype == dtype else _astype(x, dtype)


@first_order(lambda g, source: g.to(source))
def _back(g: Array, source: str) -> Array:
    return backend.transfer(g, source)


@operation(name="to", x=_back)
def _to_device(x: Array, device: str, source: str) -> Array:
    return backend.transfer(x, device)


def to(self: Tensor, device: str) -> Tensor:
    """The tensor on a device; itself if it is already there. Gradients flow back across devices."""
    if not isinstance(device, str):
        raise TypeError(f"to: expected a device like 'cpu' or 'cuda', got {device!r}; use astype for dtypes")
    backend.backend_for(device)
    if self.device == device or (":" not in device and self.device.partition(":")[0] == device):
        return self
    moved: Tensor = _to_device(self, device, self.device)
    return moved


@composed(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """NaN and infinities replaced by numbers; no gradient flows where one was."""
    if x.dtype.kind != "f":
        return np.copy(x)
    largest = float(np.finfo(x.dtype).max)
    with np.errstate(all="ignore"):
        data = x.data if isinstance(x, Tensor) else x
        x = np.where(np.isnan(data), nan, x)
        x = np.where(data == np.inf, largest if posinf is None else posinf, x)
        return np.where(data == -np.inf, -largest if neginf is None else neginf, x)
