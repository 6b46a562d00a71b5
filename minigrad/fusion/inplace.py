"""Element-wise functions that write into their arrays, as one kernel: the updates of optimizers.

Such a function is written for arrays, with `w -= lr * g`, `v *= beta` and `out=`. A call on `Noted` values notes its
operations, in some microseconds. Numbers among the operands, and arrays without axes, are inputs of the kernel, so a
learning rate or a step count may change at each call. Functions with the same operations share a kernel, which reads
and writes each array once, for any number of elements, in several threads. The results are those of NumPy's calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .. import backend
from ..modes import current_mode
from ..native import machine
from .loops import Loops
from .structure import Unsuited
from .symbols import FusionError, Trace

Array = Any
COLUMNS = 1 << 10  # of the matrix that the elements are seen as; threads share its rows
SHAPE = (1 << 20, COLUMNS)  # of a traced array; a kernel takes any sizes
_kernels: dict[Any, InPlaceKernel | None] = {}


def in_place(function: Callable[..., Any], arrays: Sequence[Array]) -> bool:
    """Call an element-wise function on arrays, which it writes into, as one kernel.

    arrays  of one shape and dtype, without overlap

    Returns False if there can be no kernel; then nothing has happened, and the caller calls the function itself.
    """
    mode = current_mode()
    if not mode.fast or not machine.in_use():
        return False
    arrays = mode.intake.operands(*arrays)
    plain = [backend.held(a) for a in arrays]
    first = plain[0]
    if any(type(a) is not np.ndarray or a.dtype is not first.dtype or a.shape != first.shape for a in plain):
        return False
    notes = Notes(len(arrays))
    try:
        function(*notes.arrays)
    except TypeError:  # an operation that is not element-wise
        return False
    key = (first.dtype, len(arrays), *notes.operations, *[a.number for a in notes.arrays])
    if key not in _kernels:
        _kernels[key] = _made(notes, first.dtype, getattr(function, "__name__", "update"))
    kernel = _kernels[key]
    if kernel is None or not all(plain[k].flags.carray for k in kernel.written):
        return False
    call = backend.backend_of(arrays[0]).call
    if call is None:
        kernel(*arrays, *notes.numbers)
    else:
        call(kernel, (*arrays, *notes.numbers), tuple([arrays[k] for k in kernel.written]))
    return True


class Notes:
    """The operations of a call.

    arrays      what stands for the arrays; afterwards, each has the number of the value that was last written into it
    operations  (function, operands): numbers of values, counted from 0 for the arrays, or ~k for the k-th number
    numbers     the numbers among the operands
    """

    def __init__(self, count: int) -> None:
        self.operations: list[tuple[Any, tuple[int, ...]]] = []
        self.numbers: list[Any] = []
        self.count = count
        self.arrays = [Noted(self, k) for k in range(count)]

    def of(self, value: Any) -> int:
        """The number of an operand."""
        if isinstance(value, Noted):
            return value.number
        if isinstance(value, bool) or not (isinstance(value, Real) or (backend.is_array(value) and not value.ndim)):
            raise TypeError(f"{type(value).__name__} is not a number")
        self.numbers.append(value)
        return ~(len(self.numbers) - 1)

    def add(self, function: Any, operands: Sequence[Any]) -> int:
        """Note an operation; returns the number of its result."""
        self.operations.append((function, tuple([self.of(v) for v in operands])))
        return self.count + len(self.operations) - 1


class Noted(NDArrayOperatorsMixin):
    """Stands for an array, and notes the operations on it.

    number  of its present value
    """

    __slots__ = ("notes", "number")

    def __init__(self, notes: Notes, number: int) -> None:
        self.notes, self.number = notes, number

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs or ufunc.nout != 1 or ufunc.signature is not None:
            return NotImplemented
        number = self.notes.add(ufunc, inputs)
        if out is None:
            return Noted(self.notes, number)
        (target,) = out
        target.number = number
        return target

    def __setitem__(self, index: Any, value: Any) -> None:
        if index is not Ellipsis:
            raise TypeError("a part of an array is written")
        self.number = self.notes.of(value) if isinstance(value, Noted) else self.notes.add(np.positive, [value])


class InPlaceKernel:
    """A kernel for noted operations: called with the arrays and the numbers."""

    def __init__(self, notes: Notes, dtype: Any, name: str) -> None:
        trace = Trace()
        values: list[Any] = [trace.input(f"array {k}", SHAPE, dtype) for k in range(notes.count)]
        scalars = [trace.input(f"number {k}", (1, 1), dtype) for k in range(len(notes.numbers))]
        arrays = list(values)
        for function, operands in notes.operations:
            values.append(function(*[values[k] if k >= 0 else scalars[~k] for k in operands]))
        self.written = [k for k, a in enumerate(notes.arrays) if a.number != k]
        results = [values[notes.arrays[k].number] for k in self.written]
        if any(s.shape != SHAPE or s.dtype != dtype for s in results) or len(set(results)) < len(results):
            raise Unsuited("a result of another shape or dtype")
        loops = Loops([*arrays, *scalars], results, "C", together=True)
        self.kernel = machine.compiled(loops.source, f"the function {name}")
        self.sizes = loops.sizes[1:]
        self.count, self.dtype = notes.count, dtype
        self.__name__ = name

    def __call__(self, *operands: Any) -> None:
        arrays = [np.require(a, requirements=["C", "A"]) for a in operands[: self.count]]  # itself, if it is that
        scalars = np.array(operands[self.count :], self.dtype).reshape(-1, 1, 1)
        for rows, parts in _matrices(arrays):
            sizes = np.array([rows, *[parts[0].shape[1] for _ in self.sizes]], np.int64)
            if self.kernel(sizes, *parts, *scalars, *[parts[k] for k in self.written]):
                raise RuntimeError("a kernel refused the arrays of an update")


def _made(notes: Notes, dtype: Any, name: str) -> InPlaceKernel | None:
    try:
        return InPlaceKernel(notes, dtype, name)
    except (Unsuited, FusionError, TypeError):
        return None


def _matrices(arrays: Sequence[Array]) -> Iterator[tuple[int, list[Array]]]:
    """All elements as matrices: rows of COLUMNS, and one row of the rest."""
    flat = [a.reshape(-1) for a in arrays]
    rows, rest = divmod(flat[0].size, COLUMNS)
    if rows:
        yield rows, [a[: rows * COLUMNS].reshape(rows, COLUMNS) for a in flat]
    if rest:
        yield 1, [a[rows * COLUMNS :].reshape(1, rest) for a in flat]
