"""One direction of a loop: its stages, with each value in its memory, and the work before and after the steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import backend
from ..fusion.structure import bounds_of, schedule_of
from ..fusion.symbols import Symbol
from ..hoisting import product
from ..native import panels, products, threads
from .job import Job, Location
from .launches import Launches, multiply
from .stages import ElementwiseCall, Product, Stages, base_among, givens_of, results_of, untransposed
from .tracks import Rows, taken

Array = Any
Inside = Mapping[Symbol, tuple[Symbol, int]]
Layout = Mapping[Symbol, tuple[Any, str]]  # of a value: the name of its array, and the kind of its rows at a step


class Calls:
    """The calls of one direction; `run` executes them.

    layout   the memory of given values, and of those carried from step to step
    alone    True if there is a single row
    back     True to go from the last step to the first
    lasting  values of all steps that are read afterwards
    buffers  values that no later step reads: all steps share one array for each
    inside   values written over others that are no longer needed: the host of each, and its first column there. On a
             device, where a call may be several kernels, there are none
    """

    def __init__(
        self, stages: Stages, layout: Layout, alone: bool, back: bool = False, inside: Inside | None = None
    ) -> None:
        self.stages = stages
        device = stages.make is not None
        lasting = [s for s in stages.stored if s not in layout and base_among(s, layout) is None]
        passing = [s for s in stages.passing if s not in layout]
        self.inside = {} if device else replacing(stages, set(lasting), set(passing)) if inside is None else inside
        hosts = list(dict.fromkeys(host for host, _ in self.inside.values() if host in set(passing)))
        self.lasting = [*hosts, *[s for s in lasting if s not in self.inside]]
        passing = [s for s in passing if s not in set(hosts)]
        self.layout = {**layout, **{s: (s, "rows") for s in (*self.lasting, *passing)}}
        outside = {s for c in (*stages.ahead, *stages.behind) for s in results_of(c)}
        self.stacks = [s for s in passing if s not in outside]
        self.job: Job | Launches = Launches(back) if device else Job(back)
        self.buffers: list[Symbol] = []
        self.matrices = list(dict.fromkeys(c.matrix for c in stages.calls if isinstance(c, Product)))
        outer = (*stages.ahead, *stages.behind)
        self.factors = {*self.matrices, *[c.matrix for c in outer if isinstance(c, Product)]}  # of products
        self.fits = sum(m.nbytes for m in self.matrices) <= products.CACHE
        self.alone = {m for m in self.matrices if alone and m.op == "transpose"}  # the weight is read in its own layout

    # ---- places --------------------------------------------------------------------------------------------------

    def location(self, symbol: Symbol) -> Location:
        """The location of a value in memory."""
        size, width = symbol.dtype.itemsize, symbol.shape[-1] if symbol.ndim else 1
        if symbol in self.stages.fixed:
            return Location(symbol, None, (width * size, size)[-symbol.ndim :])
        offset = 0
        if symbol in self.inside:
            symbol, offset = self.inside[symbol]
            width = symbol.shape[1]
        if symbol not in self.layout and (part := base_among(symbol, self.layout)) is not None:
            symbol, start, _ = part
            if symbol in self.inside:
                symbol, offset = self.inside[symbol]
            offset += start
            width = symbol.shape[1]
        if symbol not in self.layout:
            self.buffers.append(symbol)
            self.layout[symbol] = symbol, "first"
        root, kind = self.layout[symbol]
        return Location(root, kind, (width * size, size), offset * size)

    def add_stages(self) -> None:
        """Append the calls of the stages to the job."""
        for call in self.stages.calls:
            if isinstance(call, Product):
                self.job.multiply(
                    call, self.location(call.rows), self.location(call.result), ("packed", call.matrix),
                    call.matrix in self.alone,
                )  # fmt: skip
            else:
                self.job.compute(call, [self.location(s) for s in (*call.givens, *call.results)])

    def whole(self, symbol: Symbol, arrays: Mapping[Any, Array], rows: Rows) -> Array:
        """The values of a Symbol at all steps, (R, ·), in time order."""
        location = self.location(symbol)
        array, start = arrays[location.root], location.offset // symbol.dtype.itemsize
        if location.kind == "first":  # a state that stays
            array = np.concatenate([array[:n] for n in sorted(rows.counts, reverse=True)])
        elif location.kind in ("old", "new"):
            array = taken(array, rows.old if location.kind == "old" else rows.new)
        return array[:, start : start + symbol.shape[1]]

    # ---- a run ---------------------------------------------------------------------------------------------------

    def run(self, arrays: dict[Any, Array], rows: Rows) -> None:
        """Execute the calls on these arrays, and add the lasting values to them. A recording holds one operation."""
        like = arrays[self.stages.given[0]]
        for symbol in self.lasting:
            arrays[symbol] = backend.shaped(
                np.empty_like, like, (rows.count, symbol.shape[1]), dtype=symbol.dtype, order="C"
            )
        call = backend.backend_of(like).call
        if call is None:
            self._run(rows, arrays.copy())
        else:
            targets = {*self.lasting, *self.job.targets}
            written = tuple([array for name, array in arrays.items() if name in targets])
            loop: Any = partial(self._run_named, rows, list(arrays))
            loop.__name__ = "loop"
            call(loop, tuple(arrays.values()), written)

    def _run_named(self, rows: Rows, names: list[Any], *operands: Array) -> None:
        self._run(rows, dict(zip(names, operands, strict=True)))

    def _run(self, rows: Rows, own: dict[Any, Array]) -> None:
        """Execute the calls.

        If the matrices fit into a core's cache, threads share the rows, and each runs all steps of its rows; otherwise
        they share each product.
        """
        stages = self.stages
        constants = {w: own[w] for w in stages.weights}
        stages.before(constants)
        own |= {s: constants[s] if s in self.factors else _laid_out(constants[s]) for s in stages.once}
        for call in stages.ahead:
            self._do(call, own, rows)
        for matrix in self.matrices if stages.make is None else ():
            own["packed", matrix] = _packed(constants[matrix], matrix in self.alone)
        for symbol in self.stacks:
            own[symbol] = self._room(rows.count, symbol, own)
        for symbol in self.buffers:
            own[symbol] = self._room(rows.begun, symbol, own)
        count = threads.count()
        parts = count if self.fits and rows.begun >= count else 1
        self.job.run(own, rows, parts, rows.count * stages.multiplications)
        for call in stages.behind:
            self._do(call, own, rows)

    def _do(self, call: Product | ElementwiseCall, arrays: dict[Any, Array], rows: Rows) -> None:
        """Execute one call for the rows of all steps."""

        def given(symbol: Symbol) -> Array:
            return arrays[symbol] if symbol in self.stages.fixed else self.whole(symbol, arrays, rows)

        on_device = self.stages.make is not None
        for symbol in results_of(call) if on_device or not isinstance(call, Product) else ():
            if symbol not in arrays:
                arrays[symbol] = self._room(rows.count, symbol, arrays)
        if isinstance(call, Product):
            start = None if call.start is None else arrays[call.start]
            if on_device:
                multiply(given(call.rows), arrays[call.matrix], start, arrays[call.result])
            else:
                arrays[call.result] = product(given(call.rows), arrays[call.matrix], start, arrays.get(call.result))
        elif on_device:
            call.launch({s: given(s) for s in call.givens} | {s: arrays[s] for s in call.results})
        else:
            sizes = np.array([rows.count, *call.sizes[1:]], np.int64)
            if call.kernel(sizes, *map(given, call.givens), *[arrays[s] for s in call.results]):
                raise RuntimeError("a kernel of a loop refused its arrays")

    def _room(self, rows: int, symbol: Symbol, arrays: Mapping[Any, Array]) -> Array:
        """Memory for rows of a value."""
        shape = rows, symbol.shape[1]
        if self.stages.make is None:
            return np.empty(shape, symbol.dtype)
        return backend.shaped(np.empty_like, arrays[self.stages.given[0]], shape, dtype=symbol.dtype, order="C")


def replacing(stages: Stages, lasting: set[Symbol], passing: set[Symbol]) -> dict[Symbol, tuple[Symbol, int]]:
    """Find lasting values of a step that may overwrite parts of a passing one, as an LSTM's gates overwrite W_ih x + b.

    A kernel reads and writes element by element, so a result may overwrite a value it is computed from, if nothing
    else reads that value, and if all parts have one width and are processed in one loop.
    """
    found: dict[Symbol, tuple[Symbol, int]] = {}
    calls = [*stages.ahead, *stages.calls, *stages.behind]
    for call in stages.calls:
        if isinstance(call, Product):
            continue
        widths = {s.shape[-1] for s in call.results}
        hosts = [s for s in call.givens if s in passing and sum(s in set(givens_of(c)) for c in calls) == 1]
        for host in hosts if len(widths) == 1 else []:
            (width,) = widths
            taken: set[int] = set()
            for result, starts in _parts_read(call, host, width).items():
                free = [start for start in starts if start not in taken]
                if result in lasting and result not in found and free and result.dtype == host.dtype:
                    found[result] = host, free[0]
                    taken.add(free[0])
    return found


def overwriting(stages: Stages, inside: Inside) -> dict[Symbol, tuple[Symbol, int]]:
    """Find joined results of a step that may overwrite a host of kept values, as the gradients of an LSTM's gates
    overwrite the gates. Each part has to meet the conditions of `replacing`."""
    calls = [*stages.ahead, *stages.calls, *stages.behind]
    read_after = {untransposed(a) for s in stages.terms for a in s.args}
    found: dict[Symbol, tuple[Symbol, int]] = {}
    for call in stages.calls:
        if isinstance(call, Product) or len({_pieces(s) for s in call.results}) != 1:
            continue
        for result in [s for s in call.results if s.op == "join"]:
            for host in dict.fromkeys(h for h, _ in inside.values() if h.shape == result.shape):
                kept = {start: s for s, (h, start) in inside.items() if h is host}
                alone = all(
                    s not in read_after and sum(s in set(givens_of(c)) for c in calls) <= 1 for s in kept.values()
                )
                width = _pieces(result)
                own = [
                    s in _ancestors(result.args[start // width]) for start, s in kept.items() if s in set(call.givens)
                ]
                if alone and all(own) and host not in {h for h, _ in found.values()} and result.dtype == host.dtype:
                    found[result] = host, 0
    return found


def _pieces(symbol: Symbol) -> int:
    """The width of the parts of a joined value; 0 if they differ."""
    widths = {a.shape[-1] for a in symbol.args} if symbol.op == "join" else {symbol.shape[-1]}
    return widths.pop() if len(widths) == 1 else 0


def _ancestors(symbol: Symbol) -> set[Symbol]:
    return {a for s in [*schedule_of([], [symbol])] for a in (s, *s.args) if isinstance(a, Symbol)}


def _parts_read(call: ElementwiseCall, host: Symbol, width: int) -> dict[Symbol, list[int]]:
    """For each result, the parts of `host` that it is computed from, by their first columns.

    Empty if anything but parts of this width is read, from the host or from values computed element-wise from it.
    """
    along = {host}  # their columns depend on the same columns of the host
    read: dict[Symbol, set[int]] = {}
    for symbol in schedule_of(call.givens, call.results):
        args = [a for a in symbol.args if isinstance(a, Symbol)]
        found = set().union(*[read.get(a, set()) for a in args])
        if along.intersection(args):
            if symbol.op == "part":
                start, stop = bounds_of(symbol)
                if stop - start != width or start % width:
                    return {}
                found.add(start)
            elif symbol.shape == host.shape and (isinstance(symbol.op, np.ufunc) or symbol.op in ("where", "cast")):
                along.add(symbol)
                if host.shape[-1] == width:
                    found.add(0)
            else:
                return {}
        read[symbol] = found
    if along.intersection(call.results) and host.shape[-1] != width:
        return {}
    return {s: sorted(read[s]) for s in sorted(call.results, key=lambda s: len(read[s]))}


def _packed(matrix: Array, alone: bool) -> Array:
    """A matrix in the layout that the products of a step read: in panels, or column by column."""
    if alone:
        return np.asfortranarray(matrix)
    packed = panels.room(panels.panels(matrix.shape, matrix.dtype), matrix.dtype)
    panels.pack(matrix, packed)
    return packed


def _laid_out(array: Array) -> Array:
    """The array, or a copy whose rows have no gaps."""
    dense = not array.ndim or array.strides[-1] == array.itemsize
    return array if type(array) is not np.ndarray or (dense and array.flags.aligned) else array.copy()
