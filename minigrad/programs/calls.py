"""A direction of a loop: its stages, each value in its place, as a job for all steps and what is done around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..fusion.symbols import Symbol
from ..hoisting import product
from ..native import panels, products, threads
from .job import Job, Place
from .stages import Elementwise, Product, Stages, base_among, results_of
from .tracks import Rows

Array = Any
Layout = Mapping[Symbol, tuple[Any, str]]  # of a value: the name of its array, and which rows there are a step's


class Calls:
    """The calls of a direction; `run` does them.

    layout   where the values lie that are given, or handed on from step to step
    alone    whether there is one row only
    back     from the last step to the first
    lasting  the values for all steps that are wanted afterwards
    buffers  those that no later step reads: all steps share one array for each
    """

    def __init__(self, stages: Stages, layout: Layout, alone: bool, back: bool = False) -> None:
        self.stages = stages
        self.lasting = [s for s in stages.stored if s not in layout and base_among(s, layout) is None]
        passing = [s for s in stages.passing if s not in layout]
        self.layout = {**layout, **{s: (s, "rows") for s in (*self.lasting, *passing)}}
        outside = {s for c in (*stages.ahead, *stages.behind) for s in results_of(c)}
        self.stacks = [s for s in (*self.lasting, *passing) if s not in outside]
        self.job = Job(back)
        self.buffers: list[Symbol] = []
        self.matrices = list(dict.fromkeys(c.matrix for c in stages.calls if isinstance(c, Product)))
        outer = (*stages.ahead, *stages.behind)
        self.factors = {*self.matrices, *[c.matrix for c in outer if isinstance(c, Product)]}  # of products
        self.fits = sum(m.nbytes for m in self.matrices) <= products.CACHE
        self.alone = {m for m in self.matrices if alone and m.op == "transpose"}  # read as the weight lies

    # ---- places --------------------------------------------------------------------------------------------------

    def place(self, symbol: Symbol) -> Place:
        """Where a value lies."""
        size, width = symbol.dtype.itemsize, symbol.shape[-1] if symbol.ndim else 1
        if symbol in self.stages.fixed:
            return Place(symbol, None, (width * size, size)[-symbol.ndim :])
        offset = 0
        if symbol not in self.layout and (part := base_among(symbol, self.layout)) is not None:
            symbol, offset, _ = part
            width = symbol.shape[1]
        if symbol not in self.layout:
            self.buffers.append(symbol)
            self.layout[symbol] = symbol, "first"
        root, kind = self.layout[symbol]
        return Place(root, kind, (width * size, size), offset * size)

    def add_stages(self) -> None:
        """Let the calls of the stages follow in the job."""
        for call in self.stages.calls:
            if isinstance(call, Product):
                self.job.multiply(
                    call, self.place(call.rows), self.place(call.result), ("packed", call.matrix),
                    call.matrix in self.alone,
                )  # fmt: skip
            else:
                self.job.compute(call, [self.place(s) for s in (*call.givens, *call.results)])

    def whole(self, symbol: Symbol, arrays: Mapping[Any, Array], rows: Rows) -> Array:
        """The values of a Symbol at all steps, (R, ·), in the order of time."""
        place = self.place(symbol)
        array, start = arrays[place.root], place.offset // symbol.dtype.itemsize
        if place.kind == "first":  # a state that stays
            array = np.concatenate([array[:n] for n in sorted(rows.counts, reverse=True)])
        elif place.kind in ("old", "new"):
            array = array[rows.old if place.kind == "old" else rows.new]
        return array[:, start : start + symbol.shape[1]]

    # ---- a run ---------------------------------------------------------------------------------------------------

    def run(self, arrays: dict[Any, Array], rows: Rows) -> None:
        """Do it with these arrays, to which it adds the lasting ones.

        Threads share the rows if the matrices fit into a processor's cache, each all steps of some; otherwise they
        share each product.
        """
        stages = self.stages
        constants = {w: arrays[w] for w in stages.weights}
        stages.before(constants)
        own = arrays | {s: constants[s] if s in self.factors else _laid_out(constants[s]) for s in stages.once}
        for call in stages.ahead:
            self._do(call, own, rows)
        for matrix in self.matrices:
            own["packed", matrix] = _packed(constants[matrix], matrix in self.alone)
        for symbol in self.stacks:
            own[symbol] = np.empty((rows.count, symbol.shape[1]), symbol.dtype)
        for symbol in self.buffers:
            own[symbol] = np.empty((rows.begun, symbol.shape[1]), symbol.dtype)
        count = threads.count()
        parts = count if self.fits and rows.begun >= count else 1
        self.job.run(own, rows, parts, rows.count * stages.multiplications)
        for call in stages.behind:
            self._do(call, own, rows)
        arrays.update({s: own[s] for s in self.lasting})

    def _do(self, call: Product | Elementwise, arrays: dict[Any, Array], rows: Rows) -> None:
        """A call for the rows of all steps."""

        def given(symbol: Symbol) -> Array:
            return arrays[symbol] if symbol in self.stages.fixed else self.whole(symbol, arrays, rows)

        if isinstance(call, Product):
            start = None if call.start is None else arrays[call.start]
            arrays[call.result] = product(given(call.rows), arrays[call.matrix], start)
        else:
            for symbol in call.results:
                arrays[symbol] = np.empty((rows.count, symbol.shape[1]), symbol.dtype)
            sizes = np.array([rows.count, *call.sizes[1:]], np.int64)
            if call.kernel(sizes, *map(given, call.givens), *[arrays[s] for s in call.results]):
                raise RuntimeError("a kernel of a loop refused its arrays")


def _packed(matrix: Array, alone: bool) -> Array:
    """A matrix as the products of a step read it: in panels, or column by column."""
    if alone:
        return np.asfortranarray(matrix)
    packed = panels.room(panels.panels(matrix.shape, matrix.dtype), matrix.dtype)
    panels.pack(matrix, packed)
    return packed


def _laid_out(array: Array) -> Array:
    """An array whose rows have no gaps."""
    dense = not array.ndim or array.strides[-1] == array.itemsize
    return array if dense and array.flags.aligned else array.copy()
