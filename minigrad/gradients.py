"""Gradients in a form other than an array: sums that are cheaper to keep in parts.

Products    Σₖ pₖᵀ qₖ, the gradient of a matrix used in many products: gathered, then computed as one product
Scattered      a piece at an index of an otherwise zero array: written into one shared buffer
RowSparse   rows of an embedding matrix; the only one that users meet

Rules return them in a first-order backward; under `create_graph`, rules compute with recorded Tensors instead.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from . import backend
from .hoisting import add_product, packs, product, times

Array = Any


class Parts:
    """Base class: knows its shape and dtype, can become an array, and can be added to others of its class."""

    __slots__ = ("dtype", "shape")

    shape: tuple[int, ...]
    dtype: Any

    def dense(self) -> Array:
        """The gradient as a fresh array."""
        raise NotImplementedError

    def astype(self, dtype: Any) -> Any:
        """The same gradient in another dtype; by default as an array."""
        return self.dense().astype(dtype)

    def plus(self, other: Any) -> Any:
        """The sum with a gradient that arrived later. The result may be `self`, extended."""
        total = self.dense()
        return add_into(total, other)


class Products(Parts):
    """Σₖ pₖᵀ qₖ for pₖ of shape (..., nₖ, D) and qₖ of shape (..., nₖ, H); the sum has shape (..., D, H).

    The rows of all steps are joined, so that T thin products become one thick one (equal up to rounding). When more
    than `LIMIT` numbers wait, they are summed, so gathering needs a bounded amount of memory.
    """

    __slots__ = ("pairs", "size", "total")
    LIMIT = 1 << 26
    TOGETHER = 256  # rows in one product

    def __init__(self, pairs: list[tuple[Array, Array]]) -> None:
        p, q = pairs[0]
        self.pairs = pairs
        self.total: Array | None = None  # of the pairs already summed
        self.size = p.size + q.size
        self.shape = (*p.shape[:-2], p.shape[-1], q.shape[-1])
        self.dtype = p.dtype if p.dtype is q.dtype else np.result_type(p.dtype, q.dtype)

    @property
    def transposed(self) -> Products:
        """The same sum with its last two axes exchanged."""
        flipped = copy(self)
        flipped.pairs = [(q, p) for p, q in self.pairs]
        flipped.total = None if self.total is None else np.swapaxes(self.total, -1, -2)
        flipped.shape = (*self.shape[:-2], self.shape[-1], self.shape[-2])
        return flipped

    def plus(self, other: Any) -> Any:
        if type(other) is not Products:
            return super().plus(other)
        self.pairs += other.pairs
        self.size += other.size
        if other.total is not None:
            self.total = other.total if self.total is None else self.total + other.total
        if self.size > self.LIMIT:
            self.total, self.pairs, self.size = self.dense(), [], 0
        return self

    def dense(self) -> Array:
        """The sum, from the first step (which arrived last) to the last."""
        return self._of_matrices() if len(self.shape) == 2 else self._of_stacks()

    def _of_stacks(self) -> Array:
        """One product of each matrix of the stack with the rows of all steps."""
        total = None if self.total is None else self.total.copy()
        if self.pairs:
            p, q = (parts[0] if len(parts) == 1 else np.concatenate(parts[::-1], axis=-2)
                    for parts in zip(*self.pairs, strict=True))  # fmt: skip
            found = np.matmul(np.swapaxes(p, -1, -2), q)
            total = found if total is None else total + found
        assert total is not None
        return total

    def _of_matrices(self) -> Array:
        """The rows of all steps, times each other.

        Joining all rows at once would double their memory. Instead, some hundred rows at a time are joined, and each
        product adds to the sums of the one before. (Without kernels, that addition would cost more than it saves.)
        """
        total = None if self.total is None else self.total.copy()
        pairs = list(self.pairs)
        if total is None and len(pairs) == 1:
            p, q = pairs[0]
            return times(p.T, q)
        at_once = bool(pairs) and not packs(pairs[0][1])
        while pairs:
            group = [pairs.pop()]
            rows = len(group[0][0])
            while pairs and (at_once or rows < self.TOGETHER):
                group.append(pairs.pop())
                rows += len(group[-1][0])
            p, q = group[0] if len(group) == 1 else [np.concatenate(parts) for parts in zip(*group, strict=True)]
            if total is None:
                total = product(p.T, q)  # (D, H)
            else:
                add_product(total, p.T, q)
        assert total is not None
        return total


class Scattered(Parts):
    """`piece` at `index` of an otherwise zero array of the given shape."""

    __slots__ = ("index", "piece")

    def __init__(self, shape: tuple[int, ...], index: Any, piece: Array) -> None:
        self.shape = shape
        self.dtype = piece.dtype
        self.index = index
        self.piece = piece

    def add_to(self, buffer: Array) -> None:
        backend.add_at(buffer, self.index, self.piece)

    def dense(self) -> Array:
        buffer = backend.shaped(np.zeros_like, self.piece, self.shape, order="C")
        self.add_to(buffer)
        return buffer


class RowSparse(Parts):
    """A gradient that is zero except in some rows: the result of an embedding lookup with `sparse=True`.

    indices  (K,) integers, the rows; repeated ones add up
    rows     (K, ...) their values
    shape    (V, ...), of the whole gradient

    `dense()` gives the array; `coalesce()` an equal gradient with sorted, distinct indices.
    Raises IndexError if an index is out of range (on a GPU only under `detect_anomaly`, since the check would wait).
    """

    __slots__ = ("indices", "rows")

    def __init__(self, indices: Array, rows: Array, shape: tuple[int, ...], *, check: bool = True) -> None:
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise TypeError(f"RowSparse: indices must be integers in one axis, got {indices.dtype} {indices.shape}")
        if rows.shape != (indices.shape[0], *shape[1:]):
            raise ValueError(
                f"RowSparse: rows of shape {rows.shape} do not fit {indices.shape[0]} indices into {tuple(shape)}"
            )
        if check:
            backend.check_indices("RowSparse", indices, shape[0])
        self.indices = indices
        self.rows = rows
        self.shape = tuple(shape)
        self.dtype = rows.dtype

    def coalesce(self) -> RowSparse:
        """Sorted, distinct indices, each with the sum of its rows."""
        return RowSparse(*backend.sum_rows(self.indices, self.rows), self.shape, check=False)

    def dense(self) -> Array:
        whole = backend.shaped(np.zeros_like, self.rows, self.shape, order="C")
        unique, sums = backend.sum_rows(self.indices, self.rows)
        whole[unique] = sums
        return whole

    def plus(self, other: Any) -> Any:
        if type(other) is not RowSparse:
            return super().plus(other)
        return RowSparse(
            np.concatenate([self.indices, other.indices]),
            np.concatenate([self.rows, other.rows]),
            self.shape,
            check=False,
        )

    def map(self, function: Any) -> RowSparse:
        """The same with `function(array)` for both arrays."""
        return RowSparse(function(self.indices), function(self.rows), self.shape, check=False)

    def astype(self, dtype: Any) -> RowSparse:
        return RowSparse(self.indices, self.rows.astype(dtype), self.shape, check=False)

    def __add__(self, other: RowSparse) -> RowSparse:
        if not isinstance(other, RowSparse) or other.shape != self.shape:
            return NotImplemented
        total: RowSparse = self.plus(other)
        return total

    def __mul__(self, factor: Any) -> RowSparse:
        return RowSparse(self.indices, self.rows * factor, self.shape, check=False)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"RowSparse({self.indices.shape[0]} rows of shape {self.rows.shape[1:]} in {self.shape}, {self.dtype})"


def add_into(total: Array, other: Any) -> Array:
    """Add a gradient to an array that has no alias."""
    if type(other) is Scattered:
        other.add_to(total)
        return total
    total += other.dense() if isinstance(other, Parts) else other
    return total


def add(old: Any, new: Any) -> Any:
    """The sum of two gradients. The first may have aliases, so it is not written into."""
    if isinstance(old, Parts):
        return old.plus(new)
    if isinstance(new, Parts):
        return add_into(old.copy(), new)
    return old + new
