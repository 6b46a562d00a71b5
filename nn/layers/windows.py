"""Windows along time: their number, their real ones, and the operation that gathers them.

A window of `kernel_size` steps, `dilation` apart, spans d(k − 1) + 1 steps of the input, which is padded by `padding`
at both ends. Windows begin `stride` steps apart, so there are ⌊(L + 2p − d(k − 1) − 1) / s⌋ + 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from ..sequences.packing import checked_lengths

Array = Any


@backend.as_one
def _gather(x: Array, size: int, stride: int, dilation: int, count: int, before: int) -> Array:
    """(N, L, C) to windows (N, M, K, C): the m-th begins at step m·stride − before; zeros outside the input."""
    N, L, C = x.shape
    span = (count - 1) * stride + 1  # from the first window to the last
    reach = span + (size - 1) * dilation
    if before or reach > L:
        padded = np.zeros_like(x, shape=(N, max(reach, before + L), C))
        padded[:, before : before + L] = x
        x = padded
    if type(x) is np.ndarray:  # one copy of overlapping windows is twice as fast as a stack of steps
        n, l, c = x.strides
        return np.ascontiguousarray(as_strided(x, (N, count, size, C), (n, l * stride, l * dilation, c)))
    return np.stack([x[:, k * dilation : k * dilation + span : stride] for k in range(size)], axis=2)


def _scatter(w: Array, length: int, stride: int, dilation: int, before: int) -> Array:
    """The adjoint: each number of the windows (N, M, K, C) added to its step, (N, L, C)."""
    N, M, K, C = w.shape
    span = (M - 1) * stride + 1
    x = np.zeros_like(w, shape=(N, max(span + (K - 1) * dilation, before + length), C))
    for k in range(K):
        x[:, k * dilation : k * dilation + span : stride] += w[:, :, k]
    return x[:, before : before + length]


gather: Any = mg.primitive(
    _gather, x=lambda g, x_shape, stride, dilation, before: scatter(g, x_shape[1], stride, dilation, before)
)
scatter: Any = mg.primitive(
    _scatter, w=lambda g, w_shape, stride, dilation, before: gather(g, w_shape[2], stride, dilation, w_shape[1], before)
)


# ---- lengths -----------------------------------------------------------------------------------------------------


def checked_count(title: str, name: str, value: Any, least: int) -> int:
    """A number of steps, or a 1-tuple of it as in PyTorch; ValueError if it is less than `least`."""
    if isinstance(value, tuple | list) and len(value) == 1:
        (value,) = value
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{title}: {name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def channels_last(module: Any, x: Any, channels: int | None) -> Any:
    """(N, C, L) as (N, L, C); ValueError for another shape, TypeError for integers."""
    title = type(module).__name__
    if x.ndim != 3 or (channels is not None and x.shape[1] != channels):
        expected = "(N, C, L), or (C, L)" + ("" if channels is None else f", with C = {channels}")
        raise ValueError(f"{title}: the input must be {expected}, not {x.shape}{here()}")
    if x.dtype.kind != "f":
        raise TypeError(f"{title}: the input must be of floats, not {x.dtype}{here()}")
    return np.swapaxes(x, 1, 2)


def mask_of(module: Any, x: Any, lengths: Any, mask: Any = None) -> Array:
    """(N, L) booleans, True inside sequence n of x (N, C, L)."""
    title = type(module).__name__
    if mask is not None:
        raise ValueError(f"{title}: give lengths or a mask, not both{here()}")
    if x.ndim != 3:
        raise ValueError(f"{title}: lengths are those of sequences (N, C, L), the input is {x.shape}{here()}")
    n = checked_lengths(title, lengths, x.shape[2], x.shape[0])
    return backend.from_numpy(np.arange(x.shape[2]) < n[:, None], x.device)
