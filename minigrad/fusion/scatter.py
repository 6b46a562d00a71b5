"""Rows added into an array at indices, which may repeat: the gradient of an embedding.

One kernel adds one row; the driver calls it for each index in turn, so the order of the sums is that of the rows.
Threads share the columns.
"""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import numpy as np

from .. import backend
from ..native import driver, machine, threads
from .lanes import KINDS
from .loops import Loops
from .symbols import Trace

Array = Any
WIDTH = 1 << 10  # of a traced row; the kernel takes any width


def add_rows(array: Array, indices: Array, rows: Array) -> None:
    """array[indices[k]] += rows[k] for each k, in turn: (V, ...), (K,) and (K, ...), NumPy arrays."""
    K, V = indices.size, array.shape[0]
    if not rows.size:
        return
    if indices.min() < 0 or indices.max() >= V:
        wrong = indices[(indices < 0) | (indices >= V)][0]
        raise IndexError(f"index {wrong} is out of bounds for axis 0 with size {V}")
    plain = type(array) is type(rows) is np.ndarray and array.flags.carray  # dense, aligned, and writeable
    if not plain or array.dtype not in KINDS or array.dtype.kind != "f" or not machine.in_use():
        unique, sums = backend.sum_rows(indices, rows)
        array[unique] += sums
        return
    rows = np.ascontiguousarray(rows, array.dtype)
    at, order = np.ascontiguousarray(indices, np.int64), np.arange(K)
    columns = rows.size // K
    work = 4 * rows.size
    parts = min(threads.count(), columns) if work >= threads.LARGE else 1
    bounds = [columns * p // parts for p in range(parts + 1)]
    found = [_part(array.dtype, columns, start, stop, at, order) for start, stop in pairwise(bounds)]
    driver.run()(driver.job(found, K, work), array, rows)


def _part(dtype: Any, columns: int, start: int, stop: int, at: Array, order: Array) -> driver.Part:
    """The columns `start` to `stop` − 1 of a row: array 1 at the index, plus array 2 in order, into array 1."""
    kernel, fields = _kernel(dtype)
    words, size = [machine.raw(kernel), 2 + len(fields)], dtype.itemsize
    places: list[int] = []
    changes: list[int] = []
    for kind, number, _ in fields:
        if kind == "data":
            places += [len(words), 2 if number == 1 else 1]
            changes += [len(words), driver.address(order if number == 1 else at), columns * size]
        words.append({"data": start * size, "stride": columns * size, "size": stop - start}[kind])
    return driver.Part([*words, 0], places, changes)


@functools.cache
def _kernel(dtype: Any) -> tuple[Any, Any]:
    """A kernel from two rows to their sum, and its fields."""
    trace = Trace()
    a, b = (trace.input(name, (1, WIDTH), dtype) for name in "ab")
    loops = Loops([a, b], [a + b], "C")
    return machine.compiled(loops.source, "sums of rows"), loops.fields


backend.register("cpu", backend.NUMPY._replace(add_rows=add_rows))
