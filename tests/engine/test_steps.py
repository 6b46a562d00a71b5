"""A fused function at consecutive steps, beside the same recursion as a loop of NumPy calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.native import machine

Rng = np.random.Generator
T = 7


@mg.fuse
def onward(before: Any, same: Any, scale: Any, x: Any) -> Any:
    """A state from its neighbour and itself."""
    return np.tanh(before + 0.5 * same) * scale + x


def by_numpy(before: Any, same: Any, scale: Any, x: Any) -> Any:
    return np.tanh(before + 0.5 * same) * scale + x


def arrays(rng: Rng, N: int, K: int, dtype: Any) -> tuple[Any, Any, Any]:
    """States (T + 1, N, K + 1), a scale (N, K) and inputs (T, N, K)."""
    states = rng.standard_normal((T + 1, N, K + 1)).astype(dtype)
    return states, rng.standard_normal((N, K)).astype(dtype), rng.standard_normal((T, N, K)).astype(dtype)


def calls(states: Any, scale: Any, x: Any) -> tuple[Any, Any]:
    """The recursion forwards in the first states, and backwards in the second; each overlaps with its operands."""
    (a, b), scales = states, np.broadcast_to(scale, x.shape)
    back = b[::-1]
    return (
        ((a[:-1, :, :-1], a[:-1, :, 1:], scales, x), a[1:, :, 1:]),
        ((back[:-1, :, 1:], back[:-1, :, :-1], scales, x[::-1]), back[1:, :, :-1]),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 5), (5, 16), (33, 17)], ids=str)
def test_steps_are_a_loop(size: tuple[int, int], dtype: Any, rng: Rng) -> None:
    first, scale, x = arrays(rng, *size, dtype)
    second = arrays(rng, *size, dtype)[0]
    expected = [first.copy(), second.copy()]
    for operands, out in calls(expected, scale, x):
        for t in range(T):
            out[t] = by_numpy(*[a[t] for a in operands])
    run = onward.steps(*calls((first, second), scale, x))  # type: ignore[attr-defined]
    for start, stop in ((0, 3), (3, 3), (3, 4), (4, T)):
        run(start, stop)
    for found, wanted in zip((first, second), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=4e-7 * T if dtype is np.float32 else 1e-14)


@pytest.mark.parametrize("kind", ["no kernels", "columns apart"])
def test_steps_without_machine_code(kind: str, rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps run without kernels, and with arrays that a kernel would have to copy."""
    if kind == "no kernels":
        monkeypatch.setattr(machine, "switched_off", lambda: True)
    fused = mg.fuse(lambda a, b: np.tanh(a) + b)
    states = np.zeros((T + 1, 3, 8))
    states[0] = rng.standard_normal((3, 8))
    x = rng.standard_normal((T, 3, 8))
    every = slice(None, None, 2 if kind == "columns apart" else 1)
    run = fused.steps(((states[:-1, :, every], x[:, :, every]), states[1:, :, every]))  # type: ignore[attr-defined]
    run(0, T)
    expected = states[0, :, every]
    for t in range(T):
        expected = np.tanh(expected) + x[t, :, every]
    np.testing.assert_allclose(states[T, :, every], expected, rtol=1e-13)
