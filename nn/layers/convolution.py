"""Convolution and pooling along time, on (N, C, L): N sequences of C channels and L steps, PyTorch's layout.

Both look at windows of a few steps. The sums of a convolution stand in `correlation`.

Sequences of unequal lengths need `lengths`: a step that is not real counts as padding, and outputs that a sequence
would not have alone are zero. `output_lengths` gives the number of steps of each one afterwards:

    >>> import numpy as np, minigrad as mg, nn
    >>> layer = nn.Conv1d(3, 5, kernel_size=4, stride=2)
    >>> lengths = np.array([9, 5, 3])
    >>> layer(mg.randn(3, 3, 9), lengths=lengths).shape, layer.output_lengths(lengths)
    ((3, 5, 3), array([3, 1, 0]))
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from .. import init
from ..modules import Module, Parameter, beside
from ..sequences.packing import checked_lengths
from .correlation import correlate
from .windows import check_input, checked_count, mask_of


class _Windows(Module):
    """The base of convolution and pooling: windows and layouts."""

    kernel_size: int
    stride: int
    dilation: int
    ceil_mode = False

    def _ends(self) -> tuple[int, int]:
        """Steps of padding before and after."""
        raise NotImplementedError

    def _count(self, length: Any) -> Any:
        """The number of windows over `length` steps."""
        before, after = self._ends()
        room = length + before + after - self.dilation * (self.kernel_size - 1) - 1
        if not self.ceil_mode:
            return np.maximum(room // self.stride + 1, 0)
        count = np.maximum(-(-room // self.stride) + 1, 0)
        return count - ((count - 1) * self.stride >= length + before)  # the last one must begin before the end

    def output_lengths(self, lengths: Any) -> Any:
        """The numbers of steps of sequences of these lengths (integers, any shape) after this layer."""
        lengths = np.asarray(lengths)
        return np.where(lengths > 0, self._count(lengths), 0)

    def _windows_over(self, length: int) -> int:
        """The number of windows; ValueError if there is none."""
        count = int(self._count(length))
        if count < 1:
            reach = self.dilation * (self.kernel_size - 1) + 1
            raise ValueError(
                f"{type(self).__name__}: a window of {reach} steps (kernel_size {self.kernel_size}, dilation "
                f"{self.dilation}) is wider than the input's {length} steps with {sum(self._ends())} of padding{here()}"
            )
        return count

    def forward(self, x: Any, *, lengths: Any = None) -> Any:
        """(N, C, L), or (C, L) of one sequence, to (N, ·, M) or (·, M).

        lengths  (N,) integers from 0 to L: sequence n ends after lengths[n] steps

        Raises ValueError if a window is wider than the padded input.
        """
        x = beside(self, x)
        alone = x.ndim == 2
        if alone:
            x = np.expand_dims(x, 0)
            lengths = None if lengths is None else np.reshape(lengths, (1,))
        ys = self._batch(x, lengths)
        if lengths is not None:
            n = self.output_lengths(checked_lengths(type(self).__name__, lengths, x.shape[2], x.shape[0]))
            real = backend.from_numpy(np.arange(ys[0].shape[2]) < n[:, None], x.device)
            ys = tuple([np.where(np.expand_dims(real, 1), y, 0) for y in ys])
        ys = tuple([y[0] for y in ys]) if alone else ys
        return ys if len(ys) > 1 else ys[0]

    def _batch(self, x: Any, lengths: Any) -> tuple[Any, ...]:
        """The outputs, (N, ·, M) each."""
        raise NotImplementedError


class Conv1d(_Windows):
    """y[n, o, m] = bias[o] + Σ_c Σ_k weight[o, c, k] · x[n, c, m·stride + k·dilation − padding].

    in_channels, out_channels  C and O
    kernel_size                K; weight is (O, C / groups, K), bias (O,), both initialized from U(±1/√(K·C/groups))
    padding       steps of padding at both ends; "valid", none; "same", as many outputs as inputs, for a stride of 1;
                  "causal", all of it before the first step, so that y[m] does not depend on steps after x[m·stride]
    groups        both kinds of channels are divided into this number of groups, each of which sees only itself
    padding_mode  "zeros", "reflect", "replicate" or "circular": values of the padding (not with `lengths`)
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int | str = 0,
        dilation: int = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv1d: {in_channels} and {out_channels} channels do not divide into {groups} groups")
        if padding_mode not in _MODES:
            raise ValueError(f"Conv1d: padding_mode is one of {', '.join(_MODES)}, not {padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = checked_count("Conv1d", "kernel_size", kernel_size, 1)
        self.stride = checked_count("Conv1d", "stride", stride, 1)
        self.dilation = checked_count("Conv1d", "dilation", dilation, 1)
        if not isinstance(padding, str):
            padding = checked_count("Conv1d", "padding", padding, 0)
        elif padding not in ("valid", "same", "causal"):
            raise ValueError(f"Conv1d: padding is a number, 'valid', 'same' or 'causal', not {padding!r}")
        elif padding == "same" and self.stride != 1:
            raise ValueError(f"Conv1d: padding='same' needs a stride of 1, not {self.stride}")
        self.padding = padding
        self.groups = groups
        self.padding_mode = padding_mode
        width = in_channels // groups
        bound = 1 / math.sqrt(max(width * self.kernel_size, 1))
        made = {"device": device, "dtype": dtype}
        self.weight = Parameter(
            init.uniform_(mg.zeros((out_channels, width, self.kernel_size), **made), -bound, bound)
        )  # fmt: skip
        self.bias = Parameter(init.uniform_(mg.zeros(out_channels, **made), -bound, bound)) if bias else None

    def _ends(self) -> tuple[int, int]:
        if not isinstance(self.padding, str):
            return self.padding, self.padding
        total = 0 if self.padding == "valid" else self.dilation * (self.kernel_size - 1)
        return (total, 0) if self.padding == "causal" else (total // 2, total - total // 2)

    def _batch(self, x: Any, lengths: Any) -> tuple[Any, ...]:
        check_input(self, x, self.in_channels)
        M = self._windows_over(x.shape[2])
        before, after = self._ends()
        if lengths is not None:
            if self.padding_mode != "zeros":
                raise ValueError(f"Conv1d: lengths need padding_mode='zeros', not {self.padding_mode!r}{here()}")
            x = np.where(np.expand_dims(mask_of(self, x, lengths), 1), x, 0.0)
        if self.padding_mode != "zeros":
            mode: Any = _MODES[self.padding_mode]
            x, before = np.pad(x, [(0, 0), (0, 0), (before, after)], mode=mode), 0
        return (correlate(x, self.weight, self.bias, self.stride, self.dilation, self.groups, M, before),)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        plain = {"padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
        text += "".join(f", {k}={getattr(self, k)!r}" for k, value in plain.items() if getattr(self, k) != value)
        return text + ("" if self.bias is not None else ", bias=False")


_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # NumPy's names


class MaxPool1d(_Windows):
    """The maximum of each window, for each channel; the first of equal numbers gets the gradient.

    kernel_size, stride  the window's steps, and those from one to the next: kernel_size, if None
    padding              steps at both ends, half a window at most, that are never the largest
    return_indices       a second result, integers (N, C, M): the step of each number; 0 where there is none (`lengths`)
    ceil_mode            with a last window that goes beyond the end
    """

    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: int = 0, dilation: int = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = checked_count("MaxPool1d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else checked_count("MaxPool1d", "stride", stride, 1)
        self.padding = checked_count("MaxPool1d", "padding", padding, 0)
        if self.padding > self.kernel_size // 2:
            raise ValueError(f"MaxPool1d: padding {padding} is more than half of kernel_size {kernel_size}")
        self.dilation = checked_count("MaxPool1d", "dilation", dilation, 1)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def _ends(self) -> tuple[int, int]:
        return self.padding, self.padding

    def _batch(self, x: Any, lengths: Any) -> tuple[Any, ...]:
        check_input(self, x, None)
        L, M = x.shape[2], self._windows_over(x.shape[2])
        s, d, p = self.stride, self.dilation, self.padding
        values = x.data if lengths is None else np.where(mask_of(self, x, lengths)[:, None], x.data, -np.inf)
        end = max((M - 1) * s + (self.kernel_size - 1) * d + 1 - p - L, 0)
        values = np.pad(values, [(0, 0), (0, 0), (p, end)], constant_values=-np.inf)
        begin = np.arange(M) * s - p
        first = np.maximum(-(begin // d), 0)  # the first step of each window inside the input
        at = np.broadcast_to(backend.from_numpy(first, x.device), (*x.shape[:2], M))
        best = np.full_like(values, -np.inf, shape=at.shape)
        for k in range(self.kernel_size):
            new = values[..., k * d : k * d + (M - 1) * s + 1 : s]
            better = (new > best) | (new != new)  # NaN is the largest
            best, at = np.where(better, new, best), np.where(better, k, at)
        steps = np.minimum(backend.from_numpy(begin, x.device) + at * d, L - 1)
        y = np.take_along_axis(x, steps, axis=-1)
        return (y, steps) if self.return_indices else (y,)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + f", dilation={self.dilation}, ceil_mode={self.ceil_mode}"
