"""Windows along time: their sizes, inputs and lengths.

A window of `kernel_size` steps, `dilation` apart, spans d(k − 1) + 1 steps of the input, which is padded by `padding`
at both ends. Windows begin `stride` steps apart, so there are ⌊(L + 2p − d(k − 1) − 1) / s⌋ + 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.scopes import here

from ..sequences.packing import checked_lengths

Array = Any


def checked_count(title: str, name: str, value: Any, least: int) -> int:
    """A number of steps, or a 1-tuple of it as in PyTorch; ValueError if it is less than `least`."""
    if isinstance(value, tuple | list) and len(value) == 1:
        (value,) = value
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{title}: {name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def check_input(module: Any, x: Any, channels: int | None) -> None:
    """ValueError for another shape than (N, C, L), TypeError for integers."""
    title = type(module).__name__
    if x.ndim != 3 or (channels is not None and x.shape[1] != channels):
        expected = "(N, C, L), or (C, L)" + ("" if channels is None else f", with C = {channels}")
        raise ValueError(f"{title}: the input must be {expected}, not {x.shape}{here()}")
    if x.dtype.kind != "f":
        raise TypeError(f"{title}: the input must be of floats, not {x.dtype}{here()}")


def mask_of(module: Any, x: Any, lengths: Any, mask: Any = None) -> Array:
    """(N, L) booleans, True inside sequence n of x (N, C, L)."""
    title = type(module).__name__
    if mask is not None:
        raise ValueError(f"{title}: give lengths or a mask, not both{here()}")
    if x.ndim != 3:
        raise ValueError(f"{title}: lengths are those of sequences (N, C, L), the input is {x.shape}{here()}")
    n = checked_lengths(title, lengths, x.shape[2], x.shape[0])
    return backend.from_numpy(np.arange(x.shape[2]) < n[:, None], x.device)
