"""When the threads of the pool are woken: for large pieces of work, and for several small ones in a row."""

from __future__ import annotations

import ctypes
import time
from typing import Any

import numpy as np
import pytest

from minigrad.native import machine, panels, products, threads

pytestmark = [
    pytest.mark.skipif(not machine.available(), reason="needs llvmlite, of the extra `fast`"),
    pytest.mark.skipif(threads.count() == 1, reason="needs two processors"),
]


def asleep() -> int:
    """How many threads of the pool are waiting to be woken."""
    return ctypes.c_int64.from_address(threads.pool() + threads.SLEEPING).value


def product_of(rows: int, size: int) -> Any:
    """A call that multiplies (rows, size) with (size, size)."""
    a, b = np.ones((rows, size), np.float32), np.ones((size, size), np.float32)
    packed = panels.room(panels.panels(b.shape, b.dtype), b.dtype)
    panels.pack(b, packed)
    out = np.empty((rows, size), np.float32)
    kernel = products.few(a.dtype)
    return lambda: kernel(a, packed, out)


def until_all_sleep() -> None:
    end = time.monotonic() + 30
    while asleep() < threads.count() - 1:
        assert time.monotonic() < end, "the threads do not go to sleep"
        time.sleep(0.01)


def rested() -> None:
    """Work is offered again, whatever a busy machine led to before."""
    ctypes.c_int64.from_address(threads.pool() + threads.REST).value = 0


def test_one_small_piece_of_work_wakes_nobody() -> None:
    small = product_of(16, 128)
    small()
    for _ in range(3):
        until_all_sleep()
        time.sleep(0.001)
        rested()
        small()
        assert asleep() == threads.count() - 1


def test_a_large_one_wakes_all() -> None:
    large = product_of(128, 256)
    large()
    until_all_sleep()
    rested()
    large()
    end = time.monotonic() + 30
    while ctypes.c_int64.from_address(threads.pool() + threads.DONE).value == 0 and time.monotonic() < end:
        rested()
        large()  # a busy machine may be late with its help
    assert ctypes.c_int64.from_address(threads.pool() + threads.DONE).value > 0


def test_several_small_ones_in_a_row_wake_all() -> None:
    small = product_of(32, 128)
    until_all_sleep()
    end = time.monotonic() + 30
    helped = False
    while not helped and time.monotonic() < end:
        rested()
        for _ in range(200):
            small()
            helped = helped or ctypes.c_int64.from_address(threads.pool() + threads.DONE).value > 0
    assert helped
