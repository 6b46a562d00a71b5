"""One recorded call: tensors lend their arrays, the function runs, and its results are described.

Its outcome is a `Replay`: a program with its guards and its effects. Recordings and replays of all threads exclude each
other, since weights have traced arrays during a recording.
"""

from __future__ import annotations

import functools
import os
import random
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from ..gradients import RowSparse
from ..modes import changed_mode
from ..tape import node_of
from ..tensors import Tensor
from ..trees import flatten
from ..where import line_of
from .errors import RecordingError
from .guarded import Newcomers, Replay, Use
from .live import Live
from .program import ReplayProgram
from .recording import Recording, Value

Array = Any
FLOATS = (float, np.floating)  # classes of arguments that are inputs of each call
TURN = threading.RLock()  # held during a recording or a replay
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=TURN.acquire, after_in_parent=TURN.release, after_in_child=TURN.release)


class Session:
    """One call of a function, while it is recorded.

    arguments  the numbers of the arguments' leaves that are inputs of the program
    outputs    for each leaf of the returned value, a function that makes it from the results and the arguments
    assigned   (object, attribute, number of the result)
    watched    the tensors used by the call before, which may have been the same arguments
    missed     the tensors that were used without being lent
    """

    def __init__(self, name: str, watched: Newcomers) -> None:
        self.name = name
        self.watched = watched
        self.recording = Recording()
        self.uses: list[Use] = []
        self.arguments: list[int] = []
        self.inputs: list[Value] = []
        self.results: list[Value] = []
        self.outputs: list[Callable[[list[Array], list[Any]], Any]] = []
        self.assigned: list[tuple[Any, str, int]] = []
        self.build: Callable[[list[Any]], Any] = lambda leaves: leaves
        self._grads: dict[Tensor, Array] = {}
        self._sparse: dict[Use, RowSparse] = {}  # row-sparse gradients from before, with traced arrays
        self._given: list[tuple[int, Array]] = []  # the arrays of the arguments
        self._like: Array = np.empty(0)  # an array on the device
        self.missed = Newcomers()

    def run(
        self, function: Callable[..., Any], leaves: list[Any], rebuild: Callable[[list[Any]], Any],
        floats: dict[int, Any], before: list[Replay],
    ) -> Any:  # fmt: skip
        """Call the function, and return its result. `before` are the programs for such arguments."""
        known = self.watched.alive()
        try:
            arrays = [v.data if isinstance(v, Tensor) else v for v in (*leaves, *known)]
            self._like = next((a for a in arrays if backend.is_array(a)), self._like)
            given = [self._lent(k, leaf, floats) for k, leaf in enumerate(leaves)]
            for use in self.uses:  # a captured argument is captured by every call
                if all(watched.has(use.tensor) for watched in (self.watched, *[r.watched for r in before])):
                    use.met = weakref.ref(use.tensor)
            gradients = {id(t.grad) for t in (*known, *[use.tensor for use in self.uses])}
            for tensor in known:
                if id(tensor) not in gradients:
                    self._lend(tensor, None, self.recording.of_outside)
            for use in self.uses:
                if isinstance(use.grad, Tensor):
                    if not self.recording.is_traced(use.grad.data):  # neither another tensor's gradient nor an argument
                        self._grads[use.grad] = use.grad.data
                        use.grad.data = self.recording.input(use.grad.data)
                    use.given = use.grad.data.value
                elif isinstance(use.grad, RowSparse):
                    use.tensor.grad = self._sparse[use] = use.grad.map(self.recording.input)
            args, kwargs = rebuild(given)
            others = _other_generators()
            with changed_mode(intake=self.recording, observers=(self.missed,)):
                for leaf in leaves:
                    if hasattr(leaf, "_say_what_is_read"):  # a module whose method this is
                        leaf._say_what_is_read()
                returned, self.build = flatten(function(*args, **kwargs))
            if others != _other_generators():
                raise RecordingError(
                    f"compile: {self.name} draws random numbers of NumPy's or Python's, which would be the same at "
                    "every run; draw them with mg.rand, mg.randn, ..., or pass them as arguments"
                )
            return self.build(self._described(returned))
        except BaseException:
            self.recording.release()
            raise
        finally:
            self._give_back()

    # ---- lending -------------------------------------------------------------------------------------------------

    def _lent(self, k: int, leaf: Any, floats: dict[int, Any]) -> Any:
        """An argument in the form passed to the function."""
        array = leaf.data if isinstance(leaf, Tensor) else leaf
        if backend.is_array(array) and not self.recording.is_traced(array):
            self._given.append((k, array))
        if isinstance(leaf, Tensor):
            self._lend(leaf, k, self.recording.input)
            self.arguments.append(k)
            self.inputs.append(leaf.data.value)
        elif isinstance(leaf, FLOATS):
            return Live(functools.partial(floats.__getitem__, k), f"argument {k}", type(leaf))
        elif backend.is_array(leaf):
            leaf = self.recording.input(leaf)
            self.arguments.append(k)
            self.inputs.append(leaf.value)
        return leaf

    def _lend(self, tensor: Tensor, argument: int | None, trace: Callable[[Array], Any]) -> None:
        if tensor not in self.recording.borrowed:
            array = self.recording.borrowed[tensor] = tensor.data
            tensor.data = trace(array)
            self.uses.append(Use(tensor, argument, array, tensor.data.value))

    def _give_back(self) -> None:
        """Take the traced arrays out of all tensors of the caller, after any end of the call."""
        recording = self.recording
        for tensor, array in (*recording.borrowed.items(), *self._grads.items()):
            tensor.data = array
        for use, lent in self._sparse.items():
            if use.tensor.grad is lent:
                use.tensor.grad = use.grad
        for tensor in (*recording.borrowed, *self.missed.alive()):
            if isinstance(tensor.grad, RowSparse):
                tensor.grad = tensor.grad.map(recording.plain)
            if isinstance(tensor.grad, Tensor) and recording.is_traced(tensor.grad.data):
                tensor.grad = Tensor._of(tensor.grad.data.array)
        for owner, attribute, tensor in recording.assigned:
            if recording.is_traced(tensor.data):
                setattr(owner, attribute, Tensor._of(tensor.data.array))

    # ---- results -----------------------------------------------------------------------------------------------------

    def _described(self, returned: list[Any]) -> list[Any]:
        """Note how outputs and gradients are made from the results; returns this call's outputs."""
        now = []
        for output in returned:
            output = without_graph(self.name, output)
            tensor = isinstance(output, Tensor)
            array = output.data if tensor else output
            if self.recording.is_traced(array) and not (tensor and output in self.recording.borrowed):
                self.outputs.append(_of_result(self._result(array), tensor))
                own = array.array.copy()
                now.append(Tensor._of(own) if tensor else own)
            elif isinstance(output, Live):
                raise self.recording.refused("it returns a number that was an argument, or is made of one")
            else:
                use = next((u for u in self.uses if u.tensor is output and u.argument is not None), None)
                self.outputs.append(_same(output) if use is None else _argument(use.argument))
                now.append(output)
        late = [t for t in self.recording.borrowed if t.data is not None and not any(u.tensor is t for u in self.uses)]
        self.uses += [Use(t, None, self.recording.borrowed[t], t.data.value) for t in late]
        for use in self.uses:
            grad = use.tensor.grad
            if grad is None:
                use.after = None if use.grad is None else -1
            elif isinstance(grad, RowSparse):
                if grad is not self._sparse.get(use):
                    use.after = self._result(grad.indices), self._result(grad.rows)
            elif grad is not use.grad or self._was_written(grad):
                use.after = self._result(grad.data)
        self.assigned = [(o, a, self._result(t.data)) for o, a, t in self.recording.assigned]
        return now

    def _result(self, array: Any) -> int:
        traced = array if self.recording.is_traced(array) else self.recording.of_outside(array)
        self.results.append(traced.value)
        return len(self.results) - 1

    def _was_written(self, grad: Any) -> bool:
        traced = isinstance(grad, Tensor) and self.recording.is_traced(grad.data)
        return traced and any(v.root is grad.data.value for o in self.recording.operations for v in o.writes)

    def replay(self) -> Replay | None:
        """The replay of this session; None if a tensor was used that was not known before."""
        recording = self.recording
        if self.missed.alive():
            recording.release()
            return None
        recording.assigned.clear()
        recording.borrowed.clear()
        self._grads.clear()
        sparse = {use: {lent.indices.value, lent.rows.value} for use, lent in self._sparse.items()}
        self._sparse.clear()
        if (left := recording.kept_outside()) is not None:
            raise left
        written = {v.root: o for o in recording.operations for v in o.writes}
        for value in self.inputs:
            if value in written:
                line = line_of(*written[value].place)
                raise RecordingError(
                    f"compile: {self.name} writes into an argument, at {line}\nLet it return a new tensor"
                )
        outside = [v.array for v in written if v.kind == "outside"]
        for k, array in self._given:
            if any(np.may_share_memory(array, other) for other in outside if type(other) is type(array) is np.ndarray):
                raise RecordingError(
                    f"compile: {self.name} writes into the memory of argument {k}, which is copied at each call; "
                    "pass a copy"
                )
        used = written.keys() | {v.root for o in recording.operations for v in o.reads} | {v.root for v in self.results}
        if any(values & used for values in sparse.values()):
            raise RecordingError(
                f"compile: {self.name} adds to the row-sparse gradient of an earlier call, which would grow with each "
                "call; clear it first, by zero_grad()"
            )
        for use in self.uses:
            if use.given is not None and use.given not in used:
                use.given, use.before = None, "any"
            elif use in sparse and use.after is not None:
                use.before = "any"
            elif use.given is not None:
                self.inputs.append(use.given)
            elif use.after is None and not use.requires_grad:
                use.before = "any"
            use.grad = None
        self.uses = [u for u in self.uses if u.argument is not None or u.after is not None or u.value in used]
        program = ReplayProgram(recording, self.inputs, self.results, self._like)
        return Replay(
            program, recording, self.uses, self.arguments, self.outputs, self.build, self.assigned, self.watched
        )


def _other_generators() -> tuple[Any, ...]:
    """The states of NumPy's global and Python's random numbers."""
    kind, numbers, *rest = np.random.get_state()  # noqa: NPY002 (the legacy generator is meant)
    return kind, np.asarray(numbers).tobytes(), rest, random.getstate()


def without_graph(name: str, output: Any) -> Any:
    """An output without its graph, if backward has walked it; otherwise a RecordingError."""
    if not isinstance(output, Tensor) or output.edge is None:
        return output
    if node_of(output.edge)[0].edges is not None:
        raise RecordingError(
            f"compile: {name} returns a tensor {output.shape} whose graph would be lost; call backward inside of the "
            "function, or return x.detach()"
        )
    return Tensor._of(output.data)


def _of_result(number: int, tensor: bool) -> Any:
    return lambda results, leaves: Tensor._of(results[number]) if tensor else results[number]


def _argument(k: Any) -> Any:
    return lambda results, leaves: leaves[k]


def _same(output: Any) -> Any:
    return lambda results, leaves: output
