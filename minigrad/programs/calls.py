"""A direction of a loop: its stages, each value in its place, as a job that is written once for a layout of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..fusion.symbols import Symbol
from ..native import panels, products, threads
from .job import Job, Place
from .stages import Product, Stages, base_among
from .tracks import Rows

Array = Any
Layout = Mapping[Symbol, tuple[Any, str]]  # of a value: the name of its array, and which rows there are a step's


class Calls:
    """The calls of a step; `run` does them for all steps.

    alone    whether there is one row only
    layout   where the values lie that are given, or handed on from step to step
    stacks   those that are kept for all steps
    buffers  those that no later step reads: all steps share one array for each
    """

    def __init__(
        self, stages: Stages, layout: Layout, stacks: Sequence[Symbol], alone: bool, back: bool = False
    ) -> None:
        self.stages, self.stacks = stages, stacks
        self.layout = {**layout, **{s: (s, "rows") for s in stacks}}
        self.job = Job(back)
        self.buffers: list[Symbol] = []
        self.matrices = list(dict.fromkeys(c.matrix for c in stages.calls if isinstance(c, Product)))
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
        """Let the calls of the stages follow."""
        for call in self.stages.calls:
            if isinstance(call, Product):
                alone = call.matrix in self.alone
                self.job.multiply(
                    self.place(call.rows), call.matrix, ("packed", call.matrix), self.place(call.result), alone
                )
            else:
                self.job.compute(call, [self.place(s) for s in (*call.givens, *call.results)])

    # ---- a run ---------------------------------------------------------------------------------------------------

    def run(self, arrays: dict[Any, Array], rows: Rows) -> None:
        """Do it with these arrays, to which it adds the stacks.

        Threads share the rows if the matrices fit into a processor's cache, each all steps of some; otherwise they
        share each product.
        """
        for symbol in self.stacks:
            arrays[symbol] = np.empty((rows.count, symbol.shape[1]), symbol.dtype)
        constants = {w: arrays[w] for w in self.stages.weights}
        self.stages.before(constants)
        own: dict[Any, Array] = {}
        for symbol in self.stages.once:
            own[symbol] = _laid_out(constants[symbol])
        for matrix in self.matrices:
            array = constants[matrix]
            if matrix in self.alone:
                packed = np.asfortranarray(array)
            else:
                packed = panels.room(panels.panels(array.shape, array.dtype), array.dtype)
                panels.pack(array, packed)
            own["packed", matrix] = packed
        for symbol in self.buffers:
            own[symbol] = np.empty((rows.begun, symbol.shape[1]), symbol.dtype)
        count = threads.count()
        held = sum(m.size * m.dtype.itemsize for m in self.matrices) <= products.CACHE
        parts = count if held and rows.begun >= count else 1
        self.job.run(arrays | own, rows, parts, rows.count * self.stages.multiplications)


def _laid_out(array: Array) -> Array:
    """An array whose rows have no gaps."""
    dense = not array.ndim or array.strides[-1] == array.itemsize
    return array if dense and array.flags.aligned else array.copy()
