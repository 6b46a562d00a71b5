"""Rows of a table that a layer over time looks up itself.

The map of a layer's input is often half of its arithmetic. If the input is an embedding, W e + b is the same wherever
an id stands again, and the map of an embedding is an embedding: the table is mapped, (U, D) to (U, 4H), and its rows
are looked up after that. Of 2,500 characters there are some 65 different ones, so next to nothing is left of those
products, forward and backward; of 700 words of a text, about half are different.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend

from ..sequences.packing import Packing, to_rows

Array = Any
WORTH = 80.0  # a row of so many numbers, not mapped, outweighs the look-up of its result
FEW = 256  # rows are mapped as they are


class Lookup:
    """The rows `ids` of a table, as the input of a layer.

    table  (U, D)
    ids    (T, N), or (R,) as rows of a packing: indices into the table
    """

    def __init__(self, table: mg.Tensor, ids: Array) -> None:
        self.table, self.ids = table, ids

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the rows, (..., D)."""
        return (*self.ids.shape, self.table.shape[1])

    @property
    def ndim(self) -> int:
        """The number of axes of the rows."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """That of the table."""
        return self.table.dtype

    @property
    def device(self) -> str:
        """That of the table."""
        return self.table.device

    def rows(self) -> Any:
        """The rows themselves, (..., D)."""
        return mg.embedding(self.table, self.ids)

    def mapped(self, function: Callable[[Any], Any]) -> Any:
        """The rows after a map of each row, (..., G)."""
        return mg.embedding(function(self.table), self.ids)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a Lookup is the input of a layer over time; embedding(ids) gives the vectors as a Tensor")

    def batch_second(self) -> Lookup:
        """From (N, T) to (T, N)."""
        return Lookup(self.table, self.ids.T)

    def packed(self, packing: Packing) -> Any:
        """The rows (R, D) of a packing; a Lookup if none of them is padding."""
        if packing.real is not None:
            return to_rows(self.rows(), packing.places, packing.real)
        flat = self.ids.reshape(-1)
        return Lookup(self.table, flat if packing.places is None else flat[packing.places])


def worth(mapped: int, rows: int, width: int) -> bool:
    """True if mapping a number of different rows, of a width each, and looking up all rows takes less than mapping
    all."""
    return rows > FEW and (rows - mapped) * width >= WORTH * rows


def distinct(ids: Array) -> tuple[Array, Array] | None:
    """The different ids, sorted, and the index of each id among them; None where ids cannot be read without waiting."""
    if not backend.backend_of(ids).synchronous:
        return None
    found, places = np.unique(ids, return_inverse=True)
    return found, places.reshape(ids.shape)
