"""A program: the plan of a recording, and its execution; on a GPU, as one graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..tape import WRITES
from .calls import Call
from .plan import Register, ReplayPlan
from .recording import Recording, Value

Array = Any


class ReplayProgram:
    """A recording that can be run again.

    inputs   the values passed to each run, in order
    results  the values returned by each run
    operations  the operations of a run
    nbytes   the memory that the program holds
    graph    on a GPU, the launcher of all calls at once (after the second run); `not_captured` is the error if it
    failed
    """

    def __init__(self, recording: Recording, inputs: Sequence[Value], results: Sequence[Value], like: Array) -> None:
        self.inputs = list(inputs)
        self.results = list(results)
        self.plan = plan = ReplayPlan(recording, inputs, results, like)
        self.operations = plan.operations
        self.nbytes = plan.nbytes
        self._results = [plan.place(value) for value in results]  # an array, or a Register
        self._effects = list(recording.effects)
        self._mark_written = WRITES.marks(plan.written)
        self.capture: Any = backend.backend_of(like).capture
        self.graph: Callable[[], None] | None = None
        self.not_captured: Exception | None = None
        self._runs = 0
        self._accepted = False  # True once all kernels have accepted their arrays
        with np.errstate(all="ignore"):
            for function, arguments in plan.before:
                function(*arguments)

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The results for these inputs."""
        plan = self.plan
        with np.errstate(all="ignore"):
            for number, scalar in plan.scalars:
                scalar[...] = number.value()
        for target, array in zip(plan.input_arrays, arrays, strict=True):
            if target is not None:
                np.copyto(target, array)
        for draw, array in plan.draws:
            draw(array)
        self._mark_written()
        registers: list[Any] = [None] * plan.registers
        with np.errstate(all="ignore"):
            if self.capture is None:
                self._do(registers)
            else:
                self._launch()
        for effect in self._effects:
            effect()
        return [registers[found.number] if type(found) is Register else found.copy() for found in self._results]

    def _do(self, registers: list[Any]) -> None:
        if not self._accepted:
            self._do_first(registers)
            return
        for looked_up, calls in self.plan.segments:
            if looked_up:
                for call in calls:
                    call(registers)
            else:
                for function, arguments in calls:
                    function(*arguments)

    def _do_first(self, registers: list[Any]) -> None:
        """The first run: a kernel that refuses its arrays would refuse them at every run."""
        for looked_up, calls in self.plan.segments:
            for call in calls:
                answer = call(registers) if looked_up else call[0](*call[1])
                if type(answer) is int and answer:
                    raise RuntimeError("compile: a kernel refused the arrays of a recording")
        self._accepted = True

    def _launch(self) -> None:
        """On a GPU: the first run launches call after call, and libraries initialize themselves. The second run is
        captured as one graph, which it and all later runs launch. If the capture fails, later runs go on like the
        first."""
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

    # ---- access for short programs -----------------------------------------------------------------------------------

    @property
    def is_pure(self) -> bool:
        """True if a run only reads its inputs, makes its calls on fixed arrays, and copies its results."""
        plan = self.plan
        fixed = all(type(found) is not Register for found in self._results)
        return (
            fixed
            and self.capture is None
            and not (self._effects or plan.draws or plan.scalars or plan.written)
            and not any(late for late, _ in plan.segments)
        )

    @property
    def calls(self) -> list[Call]:
        """The calls of a pure program."""
        return [call for _, calls in self.plan.segments for call in calls]

    @property
    def input_arrays(self) -> list[Array | None]:
        """The arrays that inputs are copied into; None for an unused input."""
        return list(self.plan.input_arrays)

    @property
    def result_arrays(self) -> list[Array]:
        """The arrays copied as results."""
        return list(self._results)
