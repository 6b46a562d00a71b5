"""Hoisting: matrices that are the same at every step of a loop are laid out once.

A recurrent network multiplies a few rows with the same matrix at every step. In a loop of `mg.steps` or of backward,
the matrix is laid out once in the order in which such a product reads it, and all steps use this copy: in panels for
a kernel of our own (`native.products`), or, without compiled kernels, row by row at the second use of a weight (H, D)
in PyTorch's layout, used as `x @ weight.T`. Sums of many rows have a kernel as well.

A caller of `times` in a loop guarantees that writes into the matrix are noticed: it belongs to a Tensor, or a node
keeps it.
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
MANY, MUCH = 128, 1 << 27  # rows and multiplications, about a millisecond: beyond both, BLAS is faster
LARGEST = 1 << 22  # numbers of a matrix: beyond, BLAS is faster, too
SHARED = 1 << 14  # numbers: NumPy adds up fewer
WORTHWHILE = 16  # rows: with fewer, a matrix used once is not laid out


class Hoisted:
    """A matrix that a loop uses, and its layout.

    packs    True for panels, which a kernel reads
    written  the global write count at the time of the layout; after another write the matrix is laid out again
    """

    __slots__ = ("laid_out", "owner", "packs", "uses", "written")

    def __init__(self, matrix: Array, owner: weakref.ref[Any]) -> None:
        self.owner = owner
        self.packs = packs(matrix)
        self.laid_out: Array | None = None
        self.uses = 0
        self.written = 0

    def get(self, matrix: Array, rows: int) -> Array | None:
        """The laid-out matrix, or None where a layout does not pay: at the first use with few rows."""
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
    """rows @ matrix, plus `start` (M,) in every row; inside a loop, the matrix may be laid out for later steps."""
    mode = current_mode()
    if mode.intake.follows:
        rows, matrix, start = mode.intake.together(rows, matrix, start)
    hoisted = mode.hoisted
    if hoisted is None or rows.shape[0] < 2 or not mode.fast:  # one row is fast in every layout
        return product(rows, matrix, start)
    strides = matrix.strides
    by_column = strides[0] < strides[1]
    owner = matrix.base if by_column else matrix
    if by_column and not _are_transposed(owner, matrix):
        return product(rows, matrix, start)
    key = (id(owner), by_column)
    found = hoisted.get(key)
    if found is None:  # a weak reference: a loop may make another matrix at every step
        found = hoisted[key] = Hoisted(matrix, hoisted.watch(key, owner))
    if found.packs and not (_fits(rows, matrix) and (products.suits(rows, matrix) or not _is_large(rows, matrix))):
        return _plain(rows, matrix, start)
    laid_out = found.get(matrix, rows.shape[0])
    if laid_out is None:
        return _plain(rows, matrix, start)
    return _multiplied(rows, laid_out, matrix, start) if found.packs else _plain(rows, laid_out, start)


def product(rows: Array, matrix: Array, start: Array | None = None, out: Array | None = None) -> Array:
    """rows @ matrix, plus `start` (M,) in every row; written into `out` (N, M) if that is given."""
    rows, matrix, start = current_mode().intake.together(rows, matrix, start)
    if rows.shape[0] == 1 and _reads_on(rows, matrix) and current_mode().fast and packs(matrix):
        return _started(single.times(rows.dtype), (rows, matrix), rows, matrix, start, out)
    if rows.shape[0] < WORTHWHILE or not current_mode().fast or not packs(matrix):
        return _plain(rows, matrix, start, out)
    if not _fits(rows, matrix) or _is_large(rows, matrix):
        return _plain(rows, matrix, start, out)
    return _multiplied(rows, _packed(matrix), matrix, start, out)


def _are_transposed(owner: Array, matrix: Array) -> bool:
    """True if `matrix` is the transpose of `owner`, which holds its memory. The strides decide it."""
    return (
        type(owner) is type(matrix)  # not None, nor another library's memory
        and owner.shape == matrix.shape[::-1]
        and owner.strides == matrix.strides[::-1]
        and owner.dtype is matrix.dtype
    )


def _plain(rows: Array, matrix: Array, start: Array | None, out: Array | None = None) -> Array:
    return _plus(rows @ matrix if out is None else np.matmul(rows, matrix, out), start)


def _plus(result: Array, start: Array | None) -> Array:
    """The sum, in place where the dtype allows it."""
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
    """The sum of rows (N, M): (M,)."""
    several = rows.shape[1] > 1  # NumPy sums a single column pairwise, which is more accurate
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
    """True if there is a kernel for these rows."""
    dtype = rows.dtype
    return dtype is matrix.dtype and rows.size > 0 and dtype.itemsize in rows.strides


def _reads_on(row: Array, matrix: Array) -> bool:
    """True if this is one row times a matrix that is contiguous by columns."""
    dtype = row.dtype
    size = dtype.itemsize
    dense = row.strides[1] == size and matrix.strides[0] == size and matrix.strides[1] >= size * matrix.shape[0]
    return dense and dtype is matrix.dtype


def _is_large(rows: Array, matrix: Array) -> bool:
    many = rows.shape[0] >= MANY and rows.size * matrix.shape[1] > MUCH
    return bool(many or matrix.size > LARGEST)


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
    """Call a kernel for the product of rows and matrix, added to `start`."""
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
    """True if there are kernels for products with this matrix."""
    return (
        matrix.dtype in panels.KINDS
        and matrix.size > 0
        and _on_numpy(matrix)
        and machine.available()
        and not machine.switched_off()
    )


def _on_numpy(array: Array) -> bool:
    """True for NumPy's arrays, and for recordings of them."""
    return type(array) is np.ndarray or (backend.is_recorded(array) and backend.on_cpu(array))


def _into(function: Any, operands: tuple[Array, ...], target: Array, *more: Array) -> None:
    """Call a function that writes into its target, given after the operands; a recording notes one operation."""
    if type(target) is np.ndarray:
        function(*[o if type(o) is np.ndarray else backend.held(o) for o in operands], target, *more)
    else:
        kind: Any = backend.backend_of(target)
        kind.call(function, (*operands, target, *more), (target,))
