"""A matrix that all steps of a loop multiply with, laid out once for as many rows as they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..hoisting import LARGEST, MOST_IN_ROWS
from ..native import panels, products, single

Array = Any


class Matrix:
    """(K, M). Each layout is made when it is first asked for."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self._packed: Array | None = None
        self._columns: Array | None = None

    def times(self, n: int) -> tuple[Callable[[Array, Array, Array], Any], Array]:
        """A function of (rows, laid out, result) for n rows (n, K), which writes the product (n, M); and this matrix,
        laid out for it."""
        K, M = self.array.shape
        if n == 1:
            if self._columns is None:
                self._columns = np.asfortranarray(self.array)
            return single.times(self.array.dtype), self._columns
        if n * K > MOST_IN_ROWS or max(2 * K * M, n * M) > LARGEST:
            return _by_blas, self.array
        if self._packed is None:
            self._packed = panels.room(panels.panels(self.array.shape, self.array.dtype), self.array.dtype)
            panels.pack(self.array, self._packed)
        few = n < products.MANY or n * K * self.array.itemsize <= products.CACHE < self.array.nbytes
        return (products.few if few else products.many)(self.array.dtype), self._packed


def _by_blas(rows: Array, matrix: Array, result: Array) -> None:
    np.matmul(rows, matrix, out=result)
