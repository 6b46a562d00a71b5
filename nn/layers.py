"""Layers without time: linear maps, embeddings, normalisation, and activations as modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.scopes import here

from . import init
from .modules import Module, Parameter, beside


class Linear(Module):
    """y = x Wᵀ + b.

    weight (out_features, in_features) and bias (out_features,) start as U(±1/√in_features). Any x of shape
    (..., in_features) gives (..., out_features). Raises ValueError for another last axis.
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
    """Raise ValueError unless the last axis of x has the size that a module was made for, TypeError for integers."""
    shape = x.shape
    if not shape or shape[-1] != size:
        got = f"{shape[-1]} features (axis {len(shape) - 1} of {tuple(shape)})" if shape else "no axes"
        raise ValueError(f"{type(module).__name__}: the input has {got}, but {name} is {size}{here()}")
    dtype = getattr(x, "dtype", None)
    if dtype is not None and dtype.kind != "f":
        raise TypeError(f"{type(module).__name__}: the input must be of floats, not {dtype}{here()}")


class Embedding(Module):
    """A row of numbers for each id: weight (num_embeddings, embedding_dim), N(0, 1) at first.

    padding_idx  an id whose row is zero and stays so, since it gets no gradient
    sparse       give the weight's gradient as `mg.RowSparse`: for large vocabularies
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, sparse: bool = False,
        *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"Embedding: padding_idx {padding_idx} is not one of {num_embeddings} ids")
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.sparse = sparse
        self.weight = Parameter(init.normal_(mg.zeros((num_embeddings, embedding_dim), device=device, dtype=dtype)))
        if padding_idx is not None:
            init.zeros_(mg.Tensor(self.weight.data[padding_idx : padding_idx + 1]))

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None, sparse: bool = False
    ) -> Embedding:
        """An Embedding whose weight is a copy of a matrix (V, D), frozen or not."""
        array = (embeddings if isinstance(embeddings, mg.Tensor) else mg.tensor(embeddings)).data
        if array.ndim != 2:
            raise ValueError(f"Embedding.from_pretrained: expected a matrix (V, D), got shape {array.shape}")
        made = cls(array.shape[0], array.shape[1], padding_idx, sparse, dtype=array.dtype)
        made.weight = Parameter(array.copy(), requires_grad=not freeze)
        return made

    def forward(self, ids: Any) -> mg.Tensor:
        """Integer ids of any shape (...) to (..., embedding_dim)."""
        if isinstance(ids, list | tuple) and not np.size(ids):  # an empty list has no numbers that tell a dtype
            ids = np.zeros(np.shape(ids), np.intp)
        return mg.embedding(self.weight, ids, padding_idx=self.padding_idx, sparse=self.sparse)  # type: ignore

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")


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


# ---- activations -------------------------------------------------------------------------------------------------


class _Activation(Module):
    """An element-wise function as a module; its settings are keyword arguments of the function."""

    function: Callable[..., Any]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Any) -> Any:
        """The function of each element."""
        return type(self).function(x, **self.settings)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())


class Identity(_Activation):
    """x."""

    function = staticmethod(lambda x: x)


class Tanh(_Activation):
    """tanh(x)."""

    function = staticmethod(mg.tanh)


class Sigmoid(_Activation):
    """1 / (1 + exp(−x))."""

    function = staticmethod(mg.sigmoid)


class ReLU(_Activation):
    """max(x, 0)."""

    function = staticmethod(mg.relu)


class SiLU(_Activation):
    """x·σ(x)."""

    function = staticmethod(mg.silu)


class GELU(_Activation):
    """x·Φ(x)."""

    function = staticmethod(mg.gelu)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class LeakyReLU(_Activation):
    """x where positive, negative_slope·x elsewhere."""

    function = staticmethod(mg.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=negative_slope)


class ELU(_Activation):
    """x where positive, alpha·(exp(x) − 1) elsewhere."""

    function = staticmethod(mg.elu)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class Softplus(_Activation):
    """log(1 + exp(beta·x)) / beta."""

    function = staticmethod(mg.softplus)

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__(beta=beta)


class Hardtanh(_Activation):
    """min(max(x, min_val), max_val)."""

    function = staticmethod(mg.hard_tanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__(min_val=min_val, max_val=max_val)


class Hardsigmoid(_Activation):
    """min(max(x + 3, 0), 6) / 6."""

    function = staticmethod(mg.hard_sigmoid)


class Softmax(_Activation):
    """exp(x) / Σ exp(x) along the axis `dim`."""

    function = staticmethod(mg.softmax)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(axis=dim)


class LogSoftmax(_Activation):
    """x − log Σ exp(x) along the axis `dim`."""

    function = staticmethod(mg.log_softmax)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(axis=dim)
