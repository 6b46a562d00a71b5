"""What a loop over steps needs only once.

A recurrent network multiplies a few rows with the same matrix at every step. Inside a loop, of `mg.steps` or of
backward, the matrix is laid out once in the order in which such a product reads it, and all steps take that: in panels
for a kernel of our own (`native.products`), or, without compiled kernels, a weight (H, D) of PyTorch's layout, which is
used as `x @ weight.T`, row by row at its second use. Sums of many rows, too, have a kernel.

Whoever calls `times` in a loop sees to it that writes into the matrix are noticed: it is a Tensor's, or kept by a node.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from . import backend
from .modes import current_mode
from .native import machine, panels, products, single, sums
from .tape import WRITES

Array = Any
LARGEST = 1 << 23  # numbers in the result, half of it in the matrix, for many rows: beyond, BLAS is quicker
MOST_IN_ROWS = 7 << 19  # the same, in the rows
SHARED = 1 << 14  # numbers: fewer are added up by NumPy
WORTHWHILE = 16  # rows: for fewer, a matrix that is used once is not laid out


class Hoisted:
    """A matrix that a loop uses, and how it is laid out.

    packs    whether in panels, for a kernel
    written  the count of all writes when it was laid out; after another one it is laid out anew
    """

    __slots__ = ("laid_out", "owner", "packs", "uses", "written")

    def __init__(self, matrix: Array, owner: weakref.ref[Any]) -> None:
        self.owner = owner
        self.packs = packs(matrix)
        self.laid_out: Array | None = None
        self.uses = 0
        self.written = 0

    def get(self, matrix: Array, rows: int) -> Array | None:
        """The matrix laid out, None where that does not pay: at its first use, if there are few rows."""
        if self.laid_out is None or self.written != WRITES.last:
            self.uses += 1
            if self.uses > 1 or (self.packs and rows >= WORTHWHILE):
                if self.packs:
                    self.laid_out = _packed(matrix)
                elif matrix.strides[0] < matrix.strides[1] and backend.on_cpu(matrix):
                    self.laid_out = matrix.copy()
                self.written = WRITES.last
        return self.laid_out


def times(rows: Array, matrix: Array, start: Array | None = None) -> Array:
    """The product of two matrices, of which a loop may use the second one again; plus `start` (M,) in every row."""
    mode = current_mode()
    if mode.intake.follows:
        rows, matrix, start = mode.intake.together(rows, matrix, start)
    hoisted = mode.hoisted
    if hoisted is None or rows.shape[0] < 2 or not mode.fast:  # one row is quick in all layouts
        return product(rows, matrix, start)
    strides = matrix.strides
    by_column = strides[0] < strides[1]
    owner = matrix.base if by_column else matrix
    if by_column and not _are_transposed(owner, matrix):
        return product(rows, matrix, start)
    key = (id(owner), by_column)
    found = hoisted.get(key)
    if found is None:  # by weak reference: a loop may make another matrix at every step
        found = hoisted[key] = Hoisted(matrix, hoisted.watch(key, owner))
    if found.packs and not (_fits(rows, matrix) and (products.suits(rows, matrix) or not _is_large(rows, matrix))):
        return _plain(rows, matrix, start)
    laid_out = found.get(matrix, rows.shape[0])
    if laid_out is None:
        return _plain(rows, matrix, start)
    return _multiplied(rows, laid_out, matrix, start) if found.packs else _plain(rows, laid_out, start)


def product(rows: Array, matrix: Array, start: Array | None = None, out: Array | None = None) -> Array:
    """The product of two matrices, plus `start` (M,) in every row; in `out` (N, M), if that is given."""
    rows, matrix, start = current_mode().intake.together(rows, matrix, start)
    if rows.shape[0] == 1 and _reads_on(rows, matrix) and current_mode().fast and packs(matrix):
        return _started(single.times(rows.dtype), (rows, matrix), rows, matrix, start, out)
    if rows.shape[0] < WORTHWHILE or not current_mode().fast or not packs(matrix):
        return _plain(rows, matrix, start, out)
    if not _fits(rows, matrix) or _is_large(rows, matrix):
        return _plain(rows, matrix, start, out)
    return _multiplied(rows, _packed(matrix), matrix, start, out)


def _are_transposed(owner: Array, matrix: Array) -> bool:
    """Whether a view of the owner's memory is its transpose: with such strides, there is room for no other one."""
    return (
        type(owner) is type(matrix)  # not None, nor another library's memory
        and owner.shape == matrix.shape[::-1]
        and owner.strides == matrix.strides[::-1]
        and owner.dtype is matrix.dtype
    )


def _plain(rows: Array, matrix: Array, start: Array | None, out: Array | None = None) -> Array:
    return _plus(rows @ matrix if out is None else np.matmul(rows, matrix, out), start)


def _plus(result: Array, start: Array | None) -> Array:
    """The sum, in the same memory where that has its dtype."""
    if start is None:
        return result
    if start.dtype is not result.dtype:
        return result + start
    result += start
    return result


def add_product(total: Array, rows: Array, matrix: Array) -> None:
    """total += rows @ matrix."""
    total, rows, matrix = current_mode().intake.together(total, rows, matrix)
    fits = _fits(rows, matrix) and total.dtype is rows.dtype and total.strides[1] == total.dtype.itemsize
    if fits and current_mode().fast and packs(matrix):
        _into(products.added(rows.dtype), (rows, _packed(matrix)), total)
    else:
        total += rows @ matrix


def sum_of_rows(rows: Array) -> Array:
    """rows (N, M), added up: (M,)."""
    several = rows.shape[1] > 1  # one column is added up by NumPy in pairs, which is more exact
    if (
        several
        and rows.size >= SHARED
        and current_mode().fast
        and rows.strides[1] == rows.dtype.itemsize
        and packs(rows)
    ):
        result = np.empty_like(rows, shape=(1, rows.shape[1]), order="C")
        _into(sums.of_rows(rows.dtype), (rows,), result)
        return result[0]
    return np.sum(rows, axis=0)


def _fits(rows: Array, matrix: Array) -> bool:
    """Whether there is a kernel for these rows."""
    dtype = rows.dtype
    return dtype is matrix.dtype and rows.size > 0 and dtype.itemsize in rows.strides


def _reads_on(row: Array, matrix: Array) -> bool:
    """Whether one row is multiplied with a matrix that lies column by column, both without gaps."""
    dtype = row.dtype
    size = dtype.itemsize
    dense = row.strides[1] == size and matrix.strides[0] == size and matrix.strides[1] >= size * matrix.shape[0]
    return dense and dtype is matrix.dtype


def _is_large(rows: Array, matrix: Array) -> bool:
    large = rows.size > MOST_IN_ROWS or max(2 * matrix.size, rows.shape[0] * matrix.shape[1]) > LARGEST
    return bool(large)


def _packed(matrix: Array) -> Array:
    shape = panels.panels(matrix.shape, matrix.dtype)
    if type(matrix) is np.ndarray:
        packed = panels.room(shape, matrix.dtype)
    else:
        packed = np.empty_like(matrix, shape=shape, order="C")
    _into(panels.pack, (matrix,), packed)
    return packed


def _multiplied(rows: Array, packed: Array, matrix: Array, start: Array | None, out: Array | None = None) -> Array:
    return _started(products.suited(rows, matrix), (rows, packed), rows, matrix, start, out)


def _started(
    kernel: Any, operands: tuple[Array, Array], rows: Array, matrix: Array, start: Array | None,
    out: Array | None = None,
) -> Array:  # fmt: skip
    """The product of rows and matrix, which begins with `start`, by a kernel on its operands."""
    result = np.empty_like(rows, shape=(rows.shape[0], matrix.shape[1]), order="C") if out is None else out
    if start is None:
        _into(kernel, operands, result)
    elif start.dtype is rows.dtype and start.shape == result.shape[1:] and start.strides[0] == start.dtype.itemsize:
        _into(kernel, operands, result, start)
    else:
        _into(kernel, operands, result)
        return _plus(result, start)
    return result


def packs(matrix: Array) -> bool:
    """Whether there are kernels for products with a matrix like this."""
    return (
        matrix.dtype in panels.KINDS
        and matrix.size > 0
        and _on_numpy(matrix)
        and machine.available()
        and not machine.switched_off()
    )


def _on_numpy(array: Array) -> bool:
    """Whether NumPy computes with it, or a recording of NumPy's arrays."""
    return type(array) is np.ndarray or (backend.is_recorded(array) and backend.on_cpu(array))


def _into(function: Any, operands: tuple[Array, ...], target: Array, *more: Array) -> None:
    """Call a function that writes into a target, which follows its operands; in a recording, as one operation."""
    if type(target) is np.ndarray:
        function(*[o if type(o) is np.ndarray else backend.held(o) for o in operands], target, *more)
    else:
        kind: Any = backend.backend_of(target)
        kind.call(function, (*operands, target, *more), (target,))
