"""A matrix that all steps of a loop multiply with, laid out once for as many rows as they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..hoisting import LARGEST, MOST_IN_ROWS
from ..native import panels, products, single

Array = Any


class Matrix:
    """(K, M), for products of up to `most` rows. Each layout is made when it is first asked for."""

    def __init__(self, array: Array, most: int) -> None:
        self.array = array
        self.most = most
        self._packed: Array | None = None
        self._columns: Array | None = None

    def times(self, n: int) -> Callable[[Array, Array], Any]:
        """A function of (rows, result) for n rows (n, K), which writes the product (n, M)."""
        K, M = self.array.shape
        if n == 1:
            if self._columns is None:
                self._columns = np.asfortranarray(self.array)
            one, columns = single.times(self.array.dtype), self._columns
            return lambda rows, result: one(rows, columns, result)
        if n * K > MOST_IN_ROWS or max(2 * K * M, n * M) > LARGEST:
            array = self.array
            return lambda rows, result: np.matmul(rows, array, out=result) is None
        if self._packed is None:
            self._packed = panels.room(panels.panels(self.array.shape, self.array.dtype), self.array.dtype)
            panels.pack(self.array, self._packed)
        packed = self._packed
        few = n < products.MANY or n * K * self.array.itemsize <= products.CACHE < self.array.nbytes
        kernel = (products.few if few else products.many)(self.array.dtype)
        return lambda rows, result: kernel(rows, packed, result)
