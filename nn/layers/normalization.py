"""Normalization: of each row by itself (`LayerNorm`, `RMSNorm`), of each channel over a batch (`BatchNorm1d`)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.scopes import here

from ..losses.elementwise import check_mask
from ..modules import Module, Parameter, beside
from .windows import mask_of


@mg.fuse
def layer_norm(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    """(x − mean) / √(var + eps)."""
    centred = x - np.mean(x, axis=axes, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + eps)


@mg.fuse
def rms_norm(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    """x / √(mean(x²) + eps)."""
    return x / np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + eps)


class LayerNorm(Module):
    """(x − mean) / √(var + eps) · weight + bias over the last axes (Ba, Kiros & Hinton 2016).

    normalized_shape  the sizes of these axes, or the size of the last one
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = sizes = _sizes(normalized_shape)
        self.eps = eps
        made = {"device": device, "dtype": dtype}
        self.weight = Parameter(mg.ones(sizes, **made)) if elementwise_affine else None
        self.bias = Parameter(mg.zeros(sizes, **made)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> mg.Tensor:
        """The same shape."""
        x = beside(self, x)
        axes = _last_axes(self, x)
        if x.dtype.itemsize < 4:
            return _in_float32(self, x, self.weight, self.bias)  # type: ignore[no-any-return]
        y = layer_norm(x, axes, self.eps)
        if self.weight is not None:
            y = y * self.weight
        return y if self.bias is None else y + self.bias  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """x / √(mean(x²) + eps) · weight over the last axes (Zhang & Sennrich 2019).

    normalized_shape  the sizes of these axes, or the size of the last one
    eps               None: the spacing of the dtype's numbers at 1
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float | None = None, elementwise_affine: bool = True,
        *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = sizes = _sizes(normalized_shape)
        self.eps = eps
        self.weight = Parameter(mg.ones(sizes, device=device, dtype=dtype)) if elementwise_affine else None

    def forward(self, x: Any) -> mg.Tensor:
        """The same shape."""
        x = beside(self, x)
        axes = _last_axes(self, x)
        if x.dtype.itemsize < 4:
            return _in_float32(self, x, self.weight)  # type: ignore[no-any-return]
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        y = rms_norm(x, axes, eps)
        return y if self.weight is None else y * self.weight  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


def _sizes(normalized_shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


def _last_axes(module: Any, x: Any) -> tuple[int, ...]:
    """The normalized axes; ValueError unless x has them."""
    n = len(module.normalized_shape)
    if tuple(np.shape(x))[-n:] != module.normalized_shape:
        raise ValueError(
            f"{type(module).__name__}: the last axes of {tuple(np.shape(x))} are not normalized_shape "
            f"{module.normalized_shape}{here()}"
        )
    return tuple(range(-n, 0))


def _in_float32(module: Module, x: Any, *weights: Any) -> Any:
    """Apply a module to float16 by computing in float32: squares easily exceed the range of float16."""
    y = module(x.astype(np.float32))
    return y.astype(np.result_type(x.dtype, *[w.dtype for w in weights if w is not None]))


class BatchNorm1d(Module):
    """(x − mean) / √(var + eps) · weight + bias for each channel, over a batch (Ioffe & Szegedy 2015).

    num_features         C, the number of channels
    momentum             the weight of a batch in the running statistics; None: their mean over all batches
    affine               with weight and bias (C,)
    track_running_stats  keep `running_mean`, `running_var` (C,) and `num_batches_tracked`, which `eval()` uses; without
                         them, the batch's own statistics are used there, too
    bias                 if False, affine means a weight alone

    As in PyTorch, a batch is normalized by its biased variance, and `running_var` is unbiased (n − 1).
    """

    running_mean: mg.Tensor | None
    running_var: mg.Tensor | None
    num_batches_tracked: mg.Tensor | None

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, *, bias: bool = True, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        made = {"device": device, "dtype": dtype}
        self.weight = Parameter(mg.ones(num_features, **made)) if affine else None
        self.bias = Parameter(mg.zeros(num_features, **made)) if affine and bias else None
        tracked = track_running_stats
        self.register_buffer("running_mean", mg.zeros(num_features, **made) if tracked else None)
        self.register_buffer("running_var", mg.ones(num_features, **made) if tracked else None)
        self.register_buffer("num_batches_tracked", mg.zeros((), np.int64, device=device) if tracked else None)

    def forward(self, x: Any, *, lengths: Any = None, mask: Any = None) -> Any:
        """(N, C) or (N, C, L) to the same shape.

        lengths  (N,) integers from 0 to L, for (N, C, L): sequence n has lengths[n] steps
        mask     (N,) or (N, L) booleans, instead: True where a row or step is real

        Values that are not real have no influence, NaN included, and give zeros. Raises ValueError in training if a
        channel has fewer than two real numbers.
        """
        x = beside(self, x)
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise ValueError(
                f"BatchNorm1d: the input must be (N, C) or (N, C, L), C = {self.num_features}, not {x.shape}{here()}"
            )
        real = None
        if lengths is not None:
            real = mask_of(self, x, lengths, mask)  # (N, L)
        elif mask is not None:
            real = check_mask(self, mask, (x.shape[0], *x.shape[2:]), x)
        if real is not None:
            real = np.expand_dims(real, 1)  # beside the channels
            x = np.where(real, x, 0.0)
        if x.dtype.itemsize < 4:
            return self._normalized(x.astype(np.float32), real).astype(x.dtype)
        return self._normalized(x, real)

    def _normalized(self, x: Any, real: Any) -> Any:
        along = (1, -1, *[1] * (x.ndim - 2))  # of numbers by channel, beside x
        if self.training or self.running_mean is None or self.running_var is None:
            axes = (0, *range(2, x.ndim))
            n: Any = x.size // max(self.num_features, 1) if real is None else np.sum(real)
            if self.training and n < 2:
                raise ValueError(
                    f"BatchNorm1d: {int(n)} numbers a channel, of an input {x.shape}, are too few to learn from; give "
                    f"a larger batch, or call eval(){here()}"
                )
            mean = np.sum(x, axis=axes, keepdims=True) / n
            centred = x - mean if real is None else np.where(real, x - mean, 0.0)
            var = np.sum(centred * centred, axis=axes, keepdims=True) / n
            if self.training and self.track_running_stats:
                self._track(mean.detach().reshape(-1), var.detach().reshape(-1) * (n / (n - 1)))
        else:
            mean, var = self.running_mean.reshape(along), self.running_var.reshape(along)
            centred = x - mean
        y = centred / np.sqrt(var + self.eps)
        if self.weight is not None:
            y = y * self.weight.reshape(along)
        if self.bias is not None:
            y = y + self.bias.reshape(along)
        return y if real is None else np.where(real, y, 0.0)

    def _track(self, mean: Any, var: Any) -> None:
        """Move the running statistics towards those of a batch."""
        with mg.no_grad():
            self.num_batches_tracked[...] = self.num_batches_tracked + 1  # type: ignore[index, operator]
            share: Any = 1 / self.num_batches_tracked if self.momentum is None else self.momentum  # type: ignore
            for running, new in ((self.running_mean, mean), (self.running_var, var)):
                running[...] = running + (new.astype(running.dtype) - running) * share  # type: ignore

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )
