"""Rows added at repeated indices: by the kernel, and where there can be none, beside NumPy's `add.at`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigrad import backend
from minigrad.native import machine

Rng = np.random.Generator


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64])
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 40, 1), (7, 100, 33), (65, 3000, 128), (30, 0, 4), (9, 5, 0)], ids=str)
def test_rows_are_added_in_turn(
    size: tuple[int, int, int], dtype: Any, kernel: bool, rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel:
        monkeypatch.setattr(machine, "switched_off", lambda: True)
    V, K, D = size
    array, rows = (rng.integers(-9, 9, shape).astype(dtype) for shape in ((V, D), (K, D)))
    indices = rng.integers(-V, V, K)
    expected = array.copy()
    np.add.at(expected, indices, rows)
    backend.add_at(array, indices, rows)
    np.testing.assert_array_equal(array, expected)  # whole numbers: exact in any order


def test_the_sums_of_many_rows_are_near(rng: Rng) -> None:
    rows, indices = rng.standard_normal((20_000, 70)), rng.integers(0, 3, 20_000)
    found = np.zeros((3, 70), np.float32)
    backend.add_at(found, indices, rows.astype(np.float32))
    expected = np.stack([rows[indices == k].sum(axis=0) for k in range(3)])
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_other_layouts(rng: Rng) -> None:
    """Arrays with gaps, rows of several axes, indices of several axes and of a small type."""
    array = np.zeros((6, 4, 10), np.float32)
    rows, indices = rng.integers(0, 5, (2, 3, 4, 5)).astype(np.float32), np.array([[5, 0, 5], [1, 5, 1]], np.int8)
    backend.add_at(array[:, :, ::2], indices, rows)
    expected = np.zeros((6, 4, 5), np.float32)
    np.add.at(expected, indices, rows)
    np.testing.assert_array_equal(array[:, :, ::2], expected)
    assert not array[:, :, 1::2].any()


@pytest.mark.parametrize("index", [3, -4, 1 << 40])
def test_an_index_out_of_range_changes_nothing(index: int) -> None:
    array = np.zeros((3, 2), np.float32)
    with pytest.raises(IndexError, match="is out of bounds for axis 0 with size 3"):
        backend.add_at(array, np.array([0, index]), np.ones((2, 2), np.float32))
    assert not array.any()
