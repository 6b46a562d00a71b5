"""A fused function applied at consecutive steps, without Python in between.

A recursion applies one element-wise function at every step: out[t] = f(a[t], b[t], ...), where an operand of a later
step may be an earlier result, since `out` and the operands may be views of one array. If the rows of each step do not
depend on other rows, threads share the rows, and each runs all steps of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..native import driver, machine, threads
from .compiled import CompiledPlan
from .structure import matrix

Array = Any
Call = tuple[Sequence[Array], Array]
COST = 32  # of an element, in multiplications


class Steps:
    """The calls of all steps; `steps(first, stop)` runs those from `first` to `stop` − 1, in order.

    plan   the forward of a fused function with one result
    calls  (operands, out), one or more, executed in turn at each step: arrays (T, rows, columns), whose row n is
           computed from rows n alone. Strides are free, but elements of a row lie side by side.
    """

    def __init__(self, plan: Any, calls: Sequence[Call]) -> None:
        self.plan, self.calls = plan, calls
        kernel = plan.direct_kernel() if isinstance(plan, CompiledPlan) else None
        self._words = None
        if kernel is not None and all(_fits(plan, *call) for call in calls):
            self._kernel = kernel  # the words contain its address
            self._arrays = [array for operands, out in calls for array in (*operands, out)]
            self._positions = np.arange(len(calls[0][1]))
            self._words = self._written(kernel)

    def __call__(self, first: int, stop: int) -> None:
        if self._words is None:
            for t in range(first, stop):
                for operands, out in self.calls:
                    out[t] = self.plan([a[t] for a in operands], out[t])[0]
        elif first < stop:
            words = self._words
            words[STEPS], words[FIRST] = stop - first, first * self._positions.itemsize
            driver.run()(words, *self._arrays)

    def _written(self, kernel: Any) -> Array:
        """The job (see `native.driver`): the calls of a step for each part of the rows, and how they change."""
        rows = self.calls[0][1].shape[1]
        work = COST * sum(out.size for _, out in self.calls)
        parts = min(threads.count(), rows) if work >= threads.LARGE else 1
        bounds = [rows * p // parts for p in range(parts + 1)]
        return driver.job([self._part(kernel, first, stop) for first, stop in pairwise(bounds)], 0, work)

    def _part(self, kernel: Any, first: int, stop: int) -> driver.Part:
        """The words of a step for rows `first` to `stop` − 1."""
        part = words, places, changes = driver.Part([], [], [])
        address, number = machine.raw(kernel), 1  # array 0 is the job
        positions = driver.address(self._positions)
        single = [matrix(symbol)[0] == 1 for symbol in self.plan.arrays]  # the same row for all
        for operands, out in self.calls:
            strides = [array.strides for array in (*operands, out)]
            words.extend([address, 2 + len(self.plan.fields)])
            for kind, k, axis in self.plan.fields:
                if kind == "data":
                    changes.extend([len(words), positions, strides[k][0]])
                    places.extend([len(words), number + k])
                    words.append(0 if single[k] else first * strides[k][1])
                elif kind == "stride":
                    words.append(strides[k][1 + axis])
                else:
                    words.append(self.plan.sizes[k] if k else stop - first)
            number += len(strides)
        words.append(0)
        return part


STEPS, FIRST = driver.HEAD.index("steps"), driver.HEAD.index("first")


def _fits(plan: CompiledPlan, operands: Sequence[Array], out: Array) -> bool:
    """True if the kernel can read and write these arrays as they are."""
    for symbol, array in zip(plan.arrays, (*operands, out), strict=True):
        if type(array) is not np.ndarray or array.dtype is not symbol.dtype or array.shape[1:] != symbol.shape:
            return False
        size = symbol.dtype.itemsize
        if not array.flags.aligned or (symbol.shape[-1] != 1 and array.strides[-1] != size):
            return False
    return bool(out.size)
