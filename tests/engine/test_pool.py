"""The pool's threads: when they are woken, and threads of Python's that multiply at the same time."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from minigrad.native import machine, panels, products, threads

pytestmark = pytest.mark.skipif(not machine.available(), reason="needs llvmlite, of the extra `fast`")
shared = pytest.mark.skipif(threads.count() == 1, reason="needs two processors")


def asleep() -> int:
    """The number of threads of the pool that wait to be woken."""
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


@shared
def test_one_small_piece_of_work_wakes_nobody() -> None:
    small = product_of(16, 128)
    small()
    for _ in range(3):
        until_all_sleep()
        time.sleep(0.001)
        rested()
        small()
        assert asleep() == threads.count() - 1


@shared
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


@shared
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


# ---- several threads of Python's ---------------------------------------------------------------------------------


@pytest.fixture
def patient() -> Iterator[None]:
    """Python takes its lock from no thread that does not release it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("rows", "released"), [(2100, True), (250, False)])
def test_another_thread_runs_during_a_large_product_only(rows: int, released: bool) -> None:
    assert (rows * 512 * 512 > threads.FREED) is released
    multiply = product_of(rows, 512)
    multiply()
    turns, ended = 0, threading.Event()

    def others() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1
            time.sleep(0)  # releases the lock

    other = threading.Thread(target=others)
    other.start()
    while turns == 0:
        time.sleep(0.001)
    found = []
    for _ in range(5):
        before = turns
        multiply()
        found.append(turns != before)
    ended.set()
    other.join()
    assert any(found) is released


MEET = """
import ctypes, sys, threading
import numpy as np
from minigrad.native import panels, products, threads
assert threads.count() == int(sys.argv[1])
sys.setswitchinterval(1e-5)
rng = np.random.default_rng(0)
def case(N, K, M):
    rows, matrix = rng.standard_normal((N, K)).astype(np.float32), rng.standard_normal((K, M)).astype(np.float32)
    packed = panels.room(panels.panels(matrix.shape, matrix.dtype), matrix.dtype)
    panels.pack(matrix, packed)
    def product():
        out = np.full((N, M), np.nan, np.float32)
        products.suited(rows, matrix)(rows, packed, out)
        return out
    return product
cases = [case(600, 520, 900), case(40, 128, 512), case(1100, 500, 520), case(200, 300, 400)]
expected = [product() for product in cases]
assert 600 * 520 * 900 > threads.FREED > 200 * 300 * 400
wrong, begin = [], threading.Barrier(len(cases))
def work(k):
    begin.wait()
    for _ in range(8 if k % 2 == 0 else 400):
        if not np.array_equal(cases[k](), expected[k]):
            wrong.append(k)
workers = [threading.Thread(target=work, args=(k,)) for k in range(len(cases))]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert not wrong, wrong
assert threads.count() == 1 or ctypes.c_int64.from_address(threads.pool() + threads.OWNER).value == 0
"""

LEAVE = """
import threading, time
import numpy as np
from minigrad.native import panels, products
rows = np.ones((600, 600), np.float32)
packed = np.empty(panels.panels(rows.shape, rows.dtype), np.float32)
panels.pack(rows, packed)
begun = threading.Event()
def work():
    while True:
        products.many(rows.dtype)(np.concatenate([rows] * 3), packed, np.empty((1800, 600), np.float32))
        begun.set()
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""


def run(code: str, *arguments: str) -> None:
    number = str(threads.count())
    environment = os.environ | {"OMP_NUM_THREADS": number, "OPENBLAS_NUM_THREADS": number}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_products_of_several_threads_at_the_same_time() -> None:
    run(MEET, str(threads.count()))


def test_a_process_ends_while_a_thread_multiplies() -> None:
    for _ in range(3):
        run(LEAVE)
