"""From a recording to a plan: calls on preallocated arrays.

Every value gets memory when it is made, and gives it back after its last use. Views are made once. Values that depend
on constants alone are computed once. Results, which the caller owns, are new arrays at each run; the few calls that use
them look them up by a `Register`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..trees import leaves_in, replaced
from .calls import Call, call_of
from .live import Live
from .memory import Chain, Lifetimes, Memory, chains_of, contiguous, with_copies
from .recording import Operation, Recording, Value, empty

Array = Any


class Register:
    """A placeholder for a result among the arguments of a call, by its number."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class ReplayPlan:
    """A recording as calls.

    operations    the operations, without dead code
    segments      the calls, in order: (True if they look registers up, calls)
    before        calls that are made once, before the first run
    input_arrays  the arrays that inputs are copied into; None for an unused input
    draws         (function, array): random numbers that are drawn before each run
    scalars       (number, array without axes): the arrays of live numbers
    registers     the number of arrays that are looked up
    written       arrays from outside that are written into
    nbytes        the memory that the plan holds
    """

    def __init__(self, recording: Recording, inputs: Sequence[Value], results: Sequence[Value], like: Array) -> None:
        self.operations = with_copies(needed(recording.operations, results))
        self.segments: list[tuple[bool, list[Any]]] = []
        self.before: list[Call] = []
        self.draws: list[tuple[Callable[[Array], None], Array]] = []
        self._like = like
        self._results = list(results)
        self._arrays: dict[Value, Any] = {}  # an array, or a Register
        self._views: dict[Operation, list[Any]] = {}
        self._scalars: dict[tuple[int, Any], tuple[Live, Array]] = {}
        self._numbers = itertools.count(len(results))
        self._memory = Memory(like)
        self._blocks: dict[Value | Chain, Array] = {}  # those to be given back
        self._constant = constants(self.operations)
        self._place_inputs(inputs)
        self._place_draws()
        self.input_arrays = [self._arrays.get(value) for value in inputs]
        self._write()
        self.scalars = list(self._scalars.values())
        roots = dict.fromkeys(v.root for o in self.operations for v in o.writes)
        self.written = [v.array for v in roots if v.kind == "outside"]
        self.registers = next(self._numbers)
        self.nbytes = self._memory.nbytes

    # ---- memory ------------------------------------------------------------------------------------------------------

    def _place_inputs(self, inputs: Sequence[Value]) -> None:
        used = {v.root for o in self.operations for v in o.reads} | {v.root for v in self._results}
        for value in inputs:
            if value in used:
                self._arrays[value] = _array(self._memory.take(value.nbytes), value)

    def _place_draws(self) -> None:
        """Place random numbers first: they are drawn before all else, also before the launch of a graph."""
        for operation in self.operations:
            if operation.drawn:
                (value,) = operation.outputs
                self._arrays[value] = _array(self._memory.take(value.nbytes), value)
                self.draws.append((operation.function, self._arrays[value]))

    def _write(self) -> None:
        """Walk through the operations: allocate their results, emit their calls, and free values no longer needed."""
        lifetimes = Lifetimes(self.operations, self._results)
        self._new = set(self._new_results()) - self._arrays.keys()
        fixed = self._new | {v.root for v in self._results} | self._arrays.keys()
        chains, runs = chains_of(self.operations, lifetimes, fixed)
        self._chain_of = {member: chain for chain in chains for member in chain.members}
        for k, first in runs.items():
            self._chain_of[first].joined.append((self.operations[k].outputs[0], first))
        ends = _ends(lifetimes, chains)
        for k, operation in enumerate(self.operations):
            for value in dict.fromkeys(v.root for v in operation.writes):
                if value.kind == "made" and value not in self._arrays:
                    self._place_made(value)
            if k not in runs and operation.function is not empty and not operation.drawn:
                self._emit(operation)
            for one in ends.get(k, ()):
                if one in self._blocks:
                    self._memory.give(self._blocks.pop(one))
        for value in self._results:
            self.place(value)

    def _place_made(self, value: Value) -> None:
        chain = self._chain_of.get(value)
        if chain is not None:
            block = self._block(chain, bool(self._constant.intersection(chain.members)))
            for member, start in chain.places():
                self._arrays[member] = _array(block, member, start)
        elif value in self._new:
            self._arrays[value] = register = Register(next(self._numbers))
            self._append(True, _creation(register.number, self._like, value))
        else:
            self._arrays[value] = _array(self._block(value, value in self._constant), value)

    def _block(self, of: Value | Chain, stays: bool) -> Array:
        """Memory, kept for all runs if `stays`, else until it is given back."""
        if stays:
            return self._memory.fresh(of.nbytes)
        self._blocks[of] = block = self._memory.take(of.nbytes)
        return block

    def _new_results(self) -> list[Value]:
        """The results that own their whole array: they are made anew at each run. Other results are copied."""
        if not backend.on_cpu(self._like):
            return []
        touched: dict[Value, int] = defaultdict(int)
        for operation in self.operations:
            for root in {v.root for v in (*operation.reads, *operation.writes)}:
                touched[root] += 1
        found = [v.root for v in self._results if v.root.kind == "made" and v.root not in self._constant]
        # looking an array up costs some microseconds at each use; copying it, a nanosecond for four bytes
        return [r for r in found if found.count(r) == 1 and touched[r] < r.nbytes / 8000]

    def place(self, value: Value) -> Any:
        """The array of a value, or its Register."""
        found = self._arrays.get(value)
        if found is None:
            if value.kind in ("outside", "constant"):
                found = value.array
            elif value.kind == "view":
                found = self._viewed(value)
            else:
                raise AssertionError(f"{value} is read before it is made")
            self._arrays[value] = found
        return found

    def _viewed(self, value: Value) -> Any:
        by = value.by
        assert value.of is not None
        if type(self.place(value.of)) is Register:
            register = Register(next(self._numbers))
            self._append(True, self._view(register.number, value))
            return register
        if by not in self._views:
            args, kwargs = replaced(by.args, self._argument), replaced(by.kwargs, self._argument)
            self._views[by] = _arrays(by.function(*args, **kwargs))
        return self._views[by][value.part]

    def _argument(self, leaf: Any) -> Any:
        return self.place(leaf) if isinstance(leaf, Value) else leaf

    # ---- calls ---------------------------------------------------------------------------------------------------

    def _view(self, number: int, value: Value) -> Callable[[list[Any]], None]:
        """A call that makes a view of a result anew."""
        by = value.by
        args, kwargs = replaced(by.args, self._argument), replaced(by.kwargs, self._argument)

        def view(registers: list[Any]) -> None:
            look = _lookup(registers)
            registers[number] = _arrays(by.function(*replaced(args, look), **replaced(kwargs, look)))[value.part]

        return view

    def _emit(self, operation: Operation) -> None:
        """Add the call of an operation: to each run, or to the calls before the first."""
        kinds = [v.dtype for v in operation.reads if v.dtype.kind == "f"]
        dtype = np.result_type(*kinds) if kinds else np.dtype(np.float64)

        def argument(leaf: Any) -> Any:
            return self._scalar(leaf, dtype) if isinstance(leaf, Live) else self._argument(leaf)

        args, kwargs = replaced(operation.args, argument), replaced(operation.kwargs, argument)
        out = [self.place(v) for v in operation.outputs]
        if operation.writes and operation.writes[0].root in self._constant:
            self.before.append(call_of(operation, args, kwargs, out))
        elif _has_register((args, kwargs, out)):

            def call(registers: list[Any]) -> None:
                look = _lookup(registers)
                function, arguments = call_of(
                    operation, replaced(args, look), replaced(kwargs, look), replaced(out, look)
                )
                function(*arguments)

            self._append(True, call)
        else:
            self._append(False, call_of(operation, args, kwargs, out))

    def _scalar(self, number: Live, dtype: Any) -> Array:
        """An array without axes that holds a live number."""
        key = (id(number), dtype)
        if key not in self._scalars:
            self._scalars[key] = (number, backend.shaped(np.empty_like, self._like, (), dtype=dtype))
        return self._scalars[key][1]

    def _append(self, looked_up: bool, call: Any) -> None:
        if not self.segments or self.segments[-1][0] != looked_up:
            self.segments.append((looked_up, []))
        self.segments[-1][1].append(call)


# ---- dead code, constants and lifetimes --------------------------------------------------------------------------


def needed(operations: list[Operation], results: Sequence[Value]) -> list[Operation]:
    """The operations that results, or writes into outside arrays, depend on."""
    wanted = {v.root for v in results}
    kept: list[Operation] = []
    for operation in reversed(operations):
        roots = {v.root for v in operation.writes}
        drawn = operation.drawn  # later draws depend on it
        if drawn or not roots or any(r.kind != "made" or r in wanted for r in roots):
            kept.append(operation)
            wanted |= {v.root for v in operation.reads}
    return kept[::-1]


def constants(operations: list[Operation]) -> set[Value]:
    """The computed values that are the same at every run."""
    roots = {v.root for o in operations for v in o.writes}
    varying = {r for r in roots if r.kind != "made"}
    changed = True
    while changed:
        changed = False
        for operation in operations:
            if not _varies(operation, varying):
                continue
            for value in operation.writes:
                if value.root not in varying:
                    varying.add(value.root)
                    changed = True
    return {r for r in roots if r not in varying}


def _varies(operation: Operation, varying: set[Value]) -> bool:
    if operation.function is empty:
        return False
    sources = [v.root for v in (*operation.reads, *operation.writes)]
    return (
        operation.drawn
        or any(r in varying or r.kind in ("input", "outside") for r in sources)
        or bool(leaves_in((operation.args, operation.kwargs), Live))
    )


def _ends(lifetimes: Lifetimes, chains: list[Chain]) -> dict[int, list[Value | Chain]]:
    """The values and chains whose lifetime ends with each operation, by its number."""
    ends: dict[int, list[Value | Chain]] = defaultdict(list)
    for value, k in lifetimes.last.items():
        ends[k].append(value)
    for chain in chains:
        values = (*chain.members, *[joined for joined, _ in chain.joined])
        ends[max(lifetimes.last[v] for v in values)].append(chain)
    return ends


# ---- arrays and registers ----------------------------------------------------------------------------------------


def _array(block: Array, value: Value, start: int = 0) -> Array:
    return Memory.array(block, value.shape, value.dtype, value.strides, start)


def _arrays(found: Any) -> list[Any]:
    return [a for part in found for a in _arrays(part)] if isinstance(found, tuple | list) else [found]


def _lookup(registers: list[Any]) -> Callable[[Any], Any]:
    return lambda leaf: registers[leaf.number] if type(leaf) is Register else leaf


def _has_register(tree: Any) -> bool:
    if isinstance(tree, tuple | list):
        return any(_has_register(part) for part in tree)
    if isinstance(tree, dict):
        return any(_has_register(part) for part in tree.values())
    return type(tree) is Register


def _creation(number: int, like: Array, value: Value) -> Callable[[list[Any]], None]:
    """A call that makes a new array for a result."""
    order: Any = "C" if contiguous(value) or len(value.shape) < 2 else "F"
    if order == "F" and not _by_column(value):
        template = _array(Memory(like).take(value.nbytes), value)

        def create(registers: list[Any]) -> None:
            registers[number] = np.empty_like(template)
    else:

        def create(registers: list[Any]) -> None:
            registers[number] = np.empty(value.shape, value.dtype, order)

    return create


def _by_column(value: Value) -> bool:
    step = value.dtype.itemsize
    for size, stride in zip(value.shape, value.strides, strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True
