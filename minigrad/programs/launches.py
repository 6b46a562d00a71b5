"""The calls of all steps on a device with kernels of its own, launched one after another from Python.

A step of an LSTM is one product by cuBLAS and one kernel, where the loop step by step has a dozen launches and records
each on the tape. The values lie in memory as for machine code (`job`, `tracks`): a launch gets the rows of its step as
views of arrays that hold all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import backend
from ..fusion.cuda import piece_of
from .job import Location
from .stages import ElementwiseCall, Product
from .tracks import Rows

Array = Any
Positions = dict[Any, list[int]]


class Views:
    """The rows of step u in the arrays of a run.

    positions  for each kind of rows, the first one at each step (see `tracks.Rows.positions`)
    """

    def __init__(self, arrays: Mapping[Any, Array], positions: Positions, u: int) -> None:
        self.arrays, self.positions, self.u = arrays, positions, u

    def __call__(self, location: Location, columns: int, start: int = 0, count: str = "count") -> Array:
        """Columns of a value of the step, (n, columns); of a value that is the same for all steps, (..., columns)."""
        array = self.arrays[location.root]
        if location.kind is None:
            return piece_of(array, start, columns)
        first = self.positions[location.kind][self.u]
        rows = slice(first, first + self.positions[count][self.u])
        if columns == array.shape[1]:
            return array[rows]
        start += location.offset // array.itemsize
        return array[rows, start : start + columns]


class Launches:
    """The launches of each step, from the last step to the first if `back`, with the interface of `job.Job`.

    targets  the names of the arrays that are written into
    """

    def __init__(self, back: bool = False) -> None:
        self.back = back
        self.calls: list[Callable[[Views], None]] = []
        self.targets: set[Any] = set()
        self._positions: WeakKeyDictionary[Rows, Positions] = WeakKeyDictionary()

    # ---- the launches of a step --------------------------------------------------------------------------------------

    def multiply(self, call: Product, left: Location, right: Location, packed: Any, alone: bool) -> None:
        """Rows times a matrix (K, M)."""
        K, M = call.matrix.shape

        def launch(at: Views) -> None:
            start = None if call.start is None else at.arrays[call.start]
            multiply(at(left, K), at.arrays[call.matrix], start, at(right, M))

        self._add(launch, right)

    def compute(self, call: ElementwiseCall, operands: list[Location]) -> None:
        """Kernels from the givens of a call to its results."""
        places = dict(zip([*call.givens, *call.results], operands, strict=True))
        for kernel in call.launched:
            self._compute(kernel, [(places[symbol], width, start) for symbol, start, width in kernel.pieces])
        self.targets.update(location.root for location in operands[len(call.givens) :])

    def _compute(self, kernel: Any, pieces: list[tuple[Location, int, int]]) -> None:
        launched = kernel.kernel

        def launch(at: Views) -> None:
            launched(*[at(*piece) for piece in pieces])

        self.calls.append(launch)

    def copy(self, to: Location, source: Location, width: int, count: str = "count") -> None:
        """Copy `width` bytes of each row."""

        def launch(at: Views) -> None:
            if at.positions[count][at.u]:
                columns = width // at.arrays[to.root].itemsize
                at(to, columns, 0, count)[...] = at(source, columns, 0, count)

        self._add(launch, to)

    def clear(self, to: Location, width: int) -> None:
        """Write zeros into `width` bytes of each row."""

        def launch(at: Views) -> None:
            at(to, width // at.arrays[to.root].itemsize)[...] = 0

        self._add(launch, to)

    def _add(self, launch: Callable[[Views], None], *written: Location) -> None:
        self.calls.append(launch)
        self.targets.update(location.root for location in written)

    # ---- a run -------------------------------------------------------------------------------------------------------

    def run(self, arrays: Mapping[Any, Array], rows: Rows, parts: int, multiplications: int) -> None:
        """Launch the calls of all steps on these arrays, for a layout of rows. The numbers are those of `job.Job`."""
        positions = self._positions.get(rows)
        if positions is None:
            (piece,) = rows.pieces(1)
            found = rows.positions(piece)
            positions = self._positions[rows] = {kind: firsts.tolist() for kind, firsts in found.items()}
        steps = range(len(rows.counts))
        for u in reversed(steps) if self.back else steps:
            at = Views(arrays, positions, u)
            for launch in self.calls:
                launch(at)


def multiply(rows: Array, matrix: Array, start: Array | None, out: Array) -> None:
    """out = rows @ matrix, plus `start` (M,) in every row, on a device."""
    product = backend.backend_of(out).product
    if product is None:
        np.matmul(rows, matrix, out=out)
    else:
        product(rows, matrix, out)
    if start is not None:
        np.add(out, start, out=out)
