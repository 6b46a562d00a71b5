"""The calls of all steps as a job for machine code (`native.driver`).

An operand of a call lies in an array: at each step it is a block of rows, from some column on (`Location`). A list of
positions holds the first row of each step; it belongs to the layout of the rows (`tracks`). A job therefore depends on
that layout alone; the arrays are passed to each run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..native import driver, machine, panels, products, single
from .stages import ElementwiseCall, Product
from .tracks import Piece, Rows

Array = Any


class Location(NamedTuple):
    """The memory of a value.

    root     the name of its array
    kind     the rows of a step, see `tracks.Rows.positions`; None: the array is the same for all steps
    strides  bytes from one row to the next, and from one column to the next
    offset   bytes to the first column
    """

    root: Any
    kind: str | None
    strides: tuple[int, ...]
    offset: int = 0


class Field(NamedTuple):
    """A word of a call: a number, or an address in bytes from the start of an array; plus positions times a factor."""

    number: int = 0
    root: Any = None
    kind: Any = None
    factor: int = 1


COUNT = Field(kind="count")  # the number of rows of a step


class Job:
    """The calls of each step, from the last step to the first if `back`; `run` executes them."""

    def __init__(self, back: bool = False) -> None:
        self.back = back
        self.calls: list[list[Field]] = []
        self.targets: set[Any] = set()  # the names of the arrays that the calls write into
        self._kept: list[Any] = []  # kernels whose addresses the words contain
        self._written: WeakKeyDictionary[Rows, _Written] = WeakKeyDictionary()

    # ---- the calls of a step -------------------------------------------------------------------------------------

    def multiply(self, call: Product, left: Location, right: Location, packed: Any, alone: bool) -> None:
        """Rows times a matrix (K, M), packed in panels; for `alone` rows, in its column-by-column layout."""
        (K, M), dtype = call.matrix.shape, call.matrix.dtype
        self.targets.add(right.root)
        kernels = [single.times(dtype)] * 2 if alone else [products.few(dtype), products.many(dtype)]
        few, many = map(machine.raw, kernels)
        self._kept += kernels
        size, large = dtype.itemsize, K * M * dtype.itemsize > products.CACHE

        def kernel(piece: Piece) -> list[int]:
            return [many if n >= products.MANY and not (large and n * K * size <= products.CACHE) else few
                    for n in piece.counts]  # fmt: skip

        last = K * size if alone else panels.panels((K, M), dtype)[0]
        start = Field() if call.start is None else Field(0, call.start)
        numbers = [Field(K), Field(M), Field(last), Field(), start]
        self._call(Field(kind=kernel), [*_at(left), Field(size), Field(0, packed), *_at(right), COUNT, *numbers])

    def compute(self, call: ElementwiseCall, operands: Sequence[Location]) -> None:
        """An element-wise kernel from its givens to its results; see `fusion.loops.Loops` for the fields."""
        self.targets.update(location.root for location in operands[len(call.givens) :])
        fields = []
        for kind, number, axis in call.fields:
            if kind == "data":
                fields.append(_at(operands[number])[0])
            elif kind == "stride":
                fields.append(Field(operands[number].strides[axis]))
            else:
                fields.append(Field(call.sizes[number]) if number else COUNT)
        self._kept.append(call.kernel)
        self._call(Field(machine.raw(call.kernel)), fields)

    def copy(self, to: Location, source: Location, width: int, count: Any = "count") -> None:
        """Copy `width` bytes of each row."""
        self.targets.add(to.root)
        self._call(Field(driver.copy()), [*_at(to), *_at(source), Field(kind=count), Field(width)])

    def clear(self, to: Location, width: int) -> None:
        """Write zeros into `width` bytes of each row."""
        self.targets.add(to.root)
        self._call(Field(driver.clear()), [*_at(to), COUNT, Field(width)])

    def _call(self, kernel: Field, fields: Sequence[Field]) -> None:
        self.calls.append([kernel, Field(2 + len(fields)), *fields])

    # ---- the job -------------------------------------------------------------------------------------------------

    def run(self, arrays: Mapping[Any, Array], rows: Rows, parts: int, multiplications: int) -> None:
        """Run the job on these arrays, for a layout of rows.

        parts            the number of threads that share the rows; each runs all steps of its rows
        multiplications  the approximate total
        """
        written = self._written.get(rows)
        if written is None:
            written = self._written[rows] = self._write(rows, parts, multiplications)
        driver.run()(written.words, *[arrays[name] for name in written.roots])

    def _write(self, rows: Rows, parts: int, multiplications: int) -> _Written:
        fields = [*[field for call in self.calls for field in call], Field()]
        roots = list(dict.fromkeys(f.root for f in fields if f.root is not None))
        number_of = {root: k for k, root in enumerate(roots, start=1)}  # array 0 is the job
        pieces = rows.pieces(parts)
        lists = [rows.positions(piece) for piece in pieces]
        for made, piece in zip(lists, pieces, strict=True):
            made |= {f.kind: np.array(f.kind(piece), np.int64) for f in fields if callable(f.kind)}
        varying = {kind for made in lists for kind, found in made.items() if (found != found[0]).any()}
        found = []
        for made, piece in zip(lists, pieces, strict=True):
            part = driver.Part([], [], [])
            for index, (number, root, kind, factor) in enumerate(fields):
                word = number
                if root is not None:
                    part.places.extend([index, number_of[root]])
                    word += 0 if kind is None else piece.first * factor
                if kind in varying:
                    part.changes.extend([index, driver.address(made[kind]), factor])
                elif kind is not None:
                    word += int(made[kind][0]) * factor
                part.words.append(word)
            found.append(part)
        steps = len(rows.counts)
        first, advance = (8 * (steps - 1), -8) if self.back else (0, 8)
        return _Written(driver.job(found, steps, multiplications, first, advance), roots, lists)


class _Written(NamedTuple):
    """A job for a layout of rows, the names of its arrays, and the lists of positions that it reads."""

    words: Array
    roots: list[Any]
    lists: Any


def _at(location: Location) -> tuple[Field, Field]:
    """The words of a location: its address, and the bytes from row to row."""
    stride = location.strides[0]
    return Field(location.offset, location.root, location.kind, stride), Field(stride)
