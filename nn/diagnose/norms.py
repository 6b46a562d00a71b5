"""Norms over steps, and quantities derived from them."""

from __future__ import annotations

import numpy as np

from .result import Array


def norms_of(values: Array, axes: int) -> Array:
    """The norms over all but the first axes, in float64."""
    flat = values.reshape((*values.shape[:axes], -1)).astype(np.float64, copy=False)
    scale = np.abs(flat).max(axis=-1, initial=0.0)  # so that squares of small numbers do not underflow
    safe = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    norms: Array = safe * np.sqrt(np.square(flat / safe[..., None]).sum(axis=-1))
    return norms


def not_finite(norms: Array) -> int | None:
    """The last step that is not finite, or None."""
    wrong = np.flatnonzero(~np.isfinite(norms))
    return int(wrong[-1]) if wrong.size else None


def core(norms: Array, part: float) -> tuple[int, int]:
    """The shortest range of steps that holds a share of the sum: its first and its last step."""
    cumulative = np.concatenate([[0.0], np.cumsum(norms)])
    wanted = part * cumulative[-1] * (1 - 1e-12)
    best = (0, len(norms) - 1)
    last = 0
    for first in range(len(norms)):
        while last < len(norms) and cumulative[last] - cumulative[first] < wanted:
            last += 1
        if cumulative[last] - cumulative[first] < wanted:
            break
        if last - 1 - first < best[1] - best[0]:
            best = (first, last - 1)
    return best


def by_lag(norms: Array) -> Array:
    """(T,): of (T, T) norms [t, k], the sum over all t for each t − k = 0, 1, ..., in either direction of time."""
    T = len(norms)
    lags = np.abs(np.subtract.outer(np.arange(T), np.arange(T)))
    return np.bincount(lags.reshape(-1), weights=norms.reshape(-1), minlength=T)


def arrived(norms: Array) -> Array:
    """(T,): the share of the sum of (T, T) norms that lies within each lag; NaN where they are not finite."""
    cumulative = np.cumsum(by_lag(norms))
    with np.errstate(invalid="ignore"):
        shares: Array = cumulative / max(cumulative[-1], np.finfo(float).tiny)
    return shares


def horizon_of(norms: Array, part: float) -> int:
    """The smallest lag within which a share of the sum of (T, T) norms lies."""
    if not 0 < part <= 1:
        raise ValueError(f"gradient_horizon: the share must be above 0 and at most 1, not {part!r}")
    return int(np.argmax(arrived(norms) >= part * (1 - 1e-12)))
