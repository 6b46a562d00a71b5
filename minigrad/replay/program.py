"""A recording as a program: a list of calls on arrays that are all there before it runs.

Views are made once. What depends on nothing that changes is computed once. Results, which belong to the caller, are
new arrays at each run; the few calls that touch them look them up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from .calls import Call, call_of
from .live import Live
from .memory import Lifetimes, Memory, chains_of, contiguous, with_copies
from .recording import Operation, Recording, Value, empty, replaced

Array = Any


class Register:
    """A result in the arguments of a call: which one."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Program:
    """What a recording did, as calls.

    inputs   the values that are given at each run, in order
    results  the values that each run gives
    nbytes   the memory that the program holds
    graph    on a GPU, what launches all calls at once (after the second run); `not_captured` is the error if it failed
    """

    def __init__(self, recording: Recording, inputs: Sequence[Value], results: Sequence[Value], like: Array) -> None:
        self.results = list(results)
        self.operations = list(recording.operations)
        self._arrays: dict[Value, Any] = {}  # an array, or a Register
        self._views: dict[Operation, list[Any]] = {}
        self._live: dict[tuple[int, Any], tuple[Live, Array]] = {}
        self._memory = Memory(like)
        self._effects = list(recording.effects)
        self._draws: list[tuple[Callable[[Array], None], Array]] = []
        self._like = like
        self.capture: Any = backend.backend_of(like).capture
        self.graph: Callable[[], None] | None = None
        self.not_captured: Exception | None = None
        self._runs = 0
        self._registers = itertools.count(len(results))
        self._segments: list[tuple[bool, list[Any]]] = []  # (whether its calls need registers, calls)
        self.inputs = list(inputs)
        self._build()

    # ---- running -------------------------------------------------------------------------------------------------

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The results for these inputs."""
        for number, scalar in self._live.values():
            scalar[...] = number.value()
        for target, array in zip(self._input_arrays, arrays, strict=True):
            if target is not None:
                np.copyto(target, array)
        for draw, array in self._draws:
            draw(array)
        registers: list[Any] = [None] * self._count
        with np.errstate(all="ignore"):
            if self.capture is None:
                self._do(registers)
            else:
                self._launch()
        for effect in self._effects:
            effect()
        return [self._result(value, registers) for value in self.results]

    def _do(self, registers: list[Any]) -> None:
        for looked_up, calls in self._segments:
            if looked_up:
                for call in calls:
                    call(registers)
            else:
                for function, arguments in calls:
                    function(*arguments)

    def _launch(self) -> None:
        """On a GPU: the first run launches call after call, and libraries make what they need. The second is captured
        as one graph, which it and all later ones launch. Where that fails, runs go on as the first one."""
        if self.graph is None and self._runs == 1:
            try:
                self.graph = self.capture(lambda: self._do([]))
            except Exception as error:  # CUDA's errors have no base class
                self.capture, self.not_captured = None, error
        self._runs += 1
        if self.graph is None:
            self._do([])
        else:
            self.graph()

    def _result(self, value: Value, registers: list[Any]) -> Array:
        place = self._arrays[value]
        return registers[place.number] if type(place) is Register else place.copy()

    # ---- as it is called, for short programs --------------------------------------------------------------------

    @property
    def is_pure(self) -> bool:
        """Whether a run reads its inputs, makes its calls on fixed arrays, and copies its results: nothing else."""
        fixed = all(type(self._arrays[v]) is not Register for v in self.results)
        return (
            fixed
            and self.capture is None
            and not (self._effects or self._draws or self._live or any(late for late, _ in self._segments))
        )

    @property
    def calls(self) -> list[Call]:
        """The calls of a program that is pure."""
        return [call for _, calls in self._segments for call in calls]

    @property
    def input_arrays(self) -> list[Array | None]:
        """Where the inputs are copied to; None for one that is not needed."""
        return list(self._input_arrays)

    @property
    def result_arrays(self) -> list[Array]:
        """What is copied as results."""
        return [self._arrays[v] for v in self.results]

    # ---- building ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        operations = self.operations
        used = {v.root for o in operations for v in o.reads} | {v.root for v in self.results}
        for value in self.inputs:
            if value in used:
                block = self._memory.take(value.nbytes)
                self._arrays[value] = Memory.array(block, value.shape, value.dtype, value.strides)
        self._input_arrays = [self._arrays.get(value) for value in self.inputs]
        operations = self.operations = with_copies(needed(operations, self.results))
        constant = constants(operations)
        lifetimes = Lifetimes(operations, self.results)
        for operation in operations:
            if operation.drawn:  # drawn first, whatever else is launched as a whole
                (value,) = operation.outputs
                block = self._memory.take(value.nbytes)
                self._arrays[value] = Memory.array(block, value.shape, value.dtype, value.strides)
                self._draws.append((operation.function, self._arrays[value]))
        new = set(self._new_results(operations, constant)) - self._arrays.keys()
        placed = {v.root for v in self.results} | self._arrays.keys()
        chains, runs = chains_of(operations, lifetimes, new | placed)
        chain_of = {member: chain for chain in chains for member in chain.members}
        for k, first in runs.items():
            chain_of[first].joined.append((operations[k].outputs[0], first))
        dying: dict[int, list[Any]] = {}
        for value, k in lifetimes.last.items():
            dying.setdefault(k, []).append(value)
        for chain in chains:
            if not constant.intersection(chain.members):
                last = max(lifetimes.last[v] for v in (*chain.members, *[joined for joined, _ in chain.joined]))
                dying.setdefault(last, []).append(chain)
        blocks: dict[Any, Array] = {}
        before: list[Call] = []
        for k, operation in enumerate(operations):
            for value in dict.fromkeys(v.root for v in operation.writes):
                if value in self._arrays or value.kind != "made":
                    continue
                if value in chain_of:
                    chain = chain_of[value]
                    take = self._memory.fresh if constant.intersection(chain.members) else self._memory.take
                    blocks[chain] = block = take(chain.nbytes)
                    for member, start in chain.places():
                        self._arrays[member] = Memory.array(block, member.shape, member.dtype, member.strides, start)
                elif value in new:
                    self._arrays[value] = Register(next(self._registers))
                    self._append(True, _creation(self._arrays[value].number, self._like, value))
                else:
                    block = (self._memory.fresh if value in constant else self._memory.take)(value.nbytes)
                    self._arrays[value] = Memory.array(block, value.shape, value.dtype, value.strides)
                    if value not in constant:
                        blocks[value] = block
            if k not in runs and operation.function is not empty and not operation.drawn:
                self._emit(operation, before if operation.writes and operation.writes[0].root in constant else None)
            for value in dying.get(k, ()):
                if value in blocks:
                    self._memory.give(blocks.pop(value))
        for value in self.results:
            self._place(value)
        self._count = next(self._registers)
        self.nbytes = self._memory.nbytes
        with np.errstate(all="ignore"):
            for function, arguments in before:
                function(*arguments)

    def _new_results(self, operations: list[Operation], constant: set[Value]) -> list[Value]:
        """The results that are whole arrays of their own: they are made anew at each run. Others are copied."""
        if not backend.on_cpu(self._like):
            return []
        touched: dict[Value, int] = {}
        for operation in operations:
            for root in {v.root for v in (*operation.reads, *operation.writes)}:
                touched[root] = touched.get(root, 0) + 1
        found = [v.root for v in self.results if v.root.kind == "made" and v.root not in constant]
        # to look an array up costs some microseconds at each touch; to copy it, a nanosecond for four bytes
        return [r for r in found if found.count(r) == 1 and touched.get(r, 0) < r.nbytes / 8000]

    def _place(self, value: Value) -> Any:
        """The array of a value, or its Register."""
        found = self._arrays.get(value)
        if found is None:
            if value.kind in ("outside", "constant"):
                found = value.array
            elif value.kind == "view":
                of, by = value.of, value.by
                assert of is not None
                place = self._place(of)
                if type(place) is Register:
                    found = Register(next(self._registers))
                    self._append(True, self._view(found.number, value))
                else:
                    if by not in self._views:
                        args, kwargs = replaced(by.args, self._argument), replaced(by.kwargs, self._argument)
                        self._views[by] = _arrays(by.function(*args, **kwargs))
                    found = self._views[by][value.part]
            else:
                raise AssertionError(f"{value} is read before it is made")
            self._arrays[value] = found
        return found

    def _argument(self, leaf: Any) -> Any:
        return self._place(leaf) if isinstance(leaf, Value) else leaf

    def _view(self, number: int, value: Value) -> Callable[[list[Any]], None]:
        by = value.by
        args, kwargs = replaced(by.args, self._argument), replaced(by.kwargs, self._argument)

        def view(registers: list[Any]) -> None:
            looked_up = _lookup(registers)
            registers[number] = _arrays(by.function(*replaced(args, looked_up), **replaced(kwargs, looked_up)))[
                value.part
            ]

        return view

    def _emit(self, operation: Operation, before: list[Call] | None) -> None:
        """The call of an operation: at each run, or before the first."""
        kinds = [v.dtype for v in operation.reads if v.dtype.kind == "f"]
        dtype = np.result_type(*kinds) if kinds else np.dtype(np.float64)

        def argument(leaf: Any) -> Any:
            return self._scalar(leaf, dtype) if isinstance(leaf, Live) else self._argument(leaf)

        args, kwargs = replaced(operation.args, argument), replaced(operation.kwargs, argument)
        out = [self._place(v) for v in operation.outputs]
        if before is not None:
            before.append(call_of(operation, args, kwargs, out))
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
        if key not in self._live:
            self._live[key] = (number, backend.shaped(np.empty_like, self._like, (), dtype=dtype))
        return self._live[key][1]

    def _append(self, looked_up: bool, call: Any) -> None:
        if not self._segments or self._segments[-1][0] != looked_up:
            self._segments.append((looked_up, []))
        self._segments[-1][1].append(call)


def needed(operations: list[Operation], results: Sequence[Value]) -> list[Operation]:
    """The operations that results, or writes into what is outside, depend on."""
    wanted = {v.root for v in results}
    kept: list[Operation] = []
    for operation in reversed(operations):
        roots = {v.root for v in operation.writes}
        if not roots or any(r.kind != "made" or r in wanted for r in roots):
            kept.append(operation)
            wanted |= {v.root for v in operation.reads}
    return kept[::-1]


def constants(operations: list[Operation]) -> set[Value]:
    """The made values that are the same at every run."""
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
    return operation.drawn or any(r in varying or r.kind in ("input", "outside") for r in sources)


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
    """A new array for a result."""
    order: Any = "C" if contiguous(value) or len(value.shape) < 2 else "F"
    if order == "F" and not _by_column(value):
        template = Memory.array(Memory(like).take(value.nbytes), value.shape, value.dtype, value.strides)

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
