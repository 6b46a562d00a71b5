"""What a loop over steps needs only once.

A weight (H, D), in PyTorch's layout, is used as `x @ weight.T`. For the few rows x of a step, BLAS needs up to twice as
long for a transposed matrix as for one that lies row by row. So inside a loop, of `mg.steps` or of backward, such a
matrix is copied at its second use, and all further steps take the copy.
"""

from __future__ import annotations

from typing import Any

from . import backend
from .modes import current_mode
from .tape import WRITES

Array = Any


def times(rows: Array, matrix: Array) -> Array:
    """The product of two matrices."""
    hoisted = current_mode().hoisted
    if hoisted is not None and rows.shape[0] > 1:  # one row times a matrix is quick in both orders
        strides = matrix.strides
        if strides[0] < strides[1]:
            matrix = _row_by_row(matrix, hoisted)
    return rows @ matrix


def _row_by_row(matrix: Array, hoisted: dict[int, tuple[Array, Array | None, int]]) -> Array:
    """The copy, if it is time for one; it is made anew when the matrix has been written into meanwhile."""
    base = matrix.base
    if base is None or base.shape != matrix.shape[::-1] or not current_mode().fast or not backend.on_cpu(matrix):
        return matrix
    found = hoisted.get(id(base))
    if found is None:
        hoisted[id(base)] = (base, None, 0)  # it is held, so that its id stays its own
        return matrix
    _, copy, written = found
    if copy is None or written != WRITES.last:
        copy = matrix.copy()
        hoisted[id(base)] = (base, copy, WRITES.last)
    return copy
