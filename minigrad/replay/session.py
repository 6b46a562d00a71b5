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
from ..modes import changed_mode
from ..tape import Observer, node_of
from ..tensors import Tensor
from ..trees import flatten
from ..where import line_of
from .errors import RecordingError
from .live import Live, same
from .program import ReplayProgram
from .recording import Recording, Value

Array = Any
FLOATS = (float, np.floating)  # classes of arguments that are inputs of each call
TURN = threading.RLock()  # held during a recording or a replay
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=TURN.acquire, after_in_parent=TURN.release, after_in_child=TURN.release)


class Newcomers(Observer):
    """Notes the leaves that are used without being lent, by weak reference."""

    inside = False  # a loop names all that its steps use

    def __init__(self) -> None:
        self.found: dict[int, weakref.ref[Tensor]] = {}

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        for value in operands:
            for v in value if isinstance(value, tuple | list) else (value,):
                if isinstance(v, Tensor) and v.edge is None and not Recording.is_traced(v.data):
                    self.found[id(v)] = weakref.ref(v)

    def has(self, tensor: Tensor) -> bool:
        """True if the tensor is one of them."""
        found = self.found.get(id(tensor))
        return found is not None and found() is tensor

    def alive(self) -> list[Tensor]:
        """The noted tensors that are still alive."""
        return [t for t in (found() for found in self.found.values()) if t is not None]


class Use:
    """A tensor that a program uses.

    argument  the number of its leaf among the arguments, or None for a captured tensor
    array     its array; a captured tensor must have it again
    value     that array in the recording
    met       weak reference to an argument that may also be captured (a weight, say); later calls must pass it
    before    the required state of `.grad`: "none", "tensor", or "any"
    given     the value of the old gradient, if it is an input of the program
    after     the number of the result that `.grad` becomes, −1 for None; None if it stays
    """

    def __init__(self, tensor: Tensor, argument: int | None, array: Array, value: Value) -> None:
        self.tensor, self.argument, self.array, self.value = tensor, argument, array, value
        self.requires_grad = tensor.requires_grad
        self.met: weakref.ref[Tensor] | None = None
        self.grad = tensor.grad
        self.before = "none" if tensor.grad is None else "tensor"
        self.given: Value | None = None
        self.after: int | None = None

    def now(self, leaves: list[Any]) -> Tensor:
        """The tensor in this role at a call."""
        return self.tensor if self.argument is None else leaves[self.argument]

    def unfit(self, tensor: Tensor) -> str | None:
        """The reason why a program cannot run with this tensor, or None."""
        if self.argument is None and tensor.data is not self.array:
            return f"{_name(tensor)} was given another array"
        if self.met is not None and self.met() is not tensor:
            return f"argument {self.argument} is another tensor than the one that may be used from outside as well"
        if tensor._requires_grad != self.requires_grad:
            return f"requires_grad of {_name(tensor)} changed"
        if self.before != "any" and (tensor.grad is None) != (self.before == "none"):
            return f"{_name(tensor)} has {'no' if tensor.grad is None else 'a'} gradient now"
        return None


def _name(tensor: Tensor) -> str:
    return tensor.name or f"a tensor {tensor.shape}"


class Replay:
    """A program with its guards and its effects."""

    def __init__(self, session: Session, program: ReplayProgram) -> None:
        recording = session.recording
        self.program = program
        self.uses = session.uses
        self.arguments = session.arguments
        self.outputs, self.build = session.outputs, session.build
        self.assigned = session.assigned
        self.guards, self.attributes = recording.guards, recording.attributes
        self.outside = {id(use.tensor) for use in self.uses if use.argument is None}  # kept alive by their uses
        self.quick: Callable[..., Any] | None = None  # the function of a short program (`quick`), once it was tried
        self.watched = session.watched

    def unfit(self, leaves: list[Any]) -> str | None:
        """The reason why it cannot run now, or None."""
        for k, leaf in enumerate(leaves):
            if id(leaf) in self.outside:
                return f"argument {k} is a tensor that is used from outside as well"
        for use in self.uses:
            reason = use.unfit(use.now(leaves))
            if reason is not None:
                return reason
        for values, key, before, what in self.attributes:
            now = values.get(key)
            if now is not before and not same(now, before):
                return f"{what}: {key} is {now!r:.100}, it was {before!r:.100}"
        for what, read, before in self.guards:
            now = read()
            if now is not before and not same(now, before):
                return f"{what}: {now!r}, it was {before!r}"
        return None

    def run(self, leaves: list[Any]) -> Any:
        """Run the program once."""
        given = [leaves[k] for k in self.arguments]
        arrays = [leaf.data if isinstance(leaf, Tensor) else leaf for leaf in given]
        tensors = [use.now(leaves) for use in self.uses]
        for use, tensor in zip(self.uses, tensors, strict=True):
            if use.given is not None:
                arrays.append(tensor.grad.data)
        results = self.program.run(arrays)
        for use, tensor in zip(self.uses, tensors, strict=True):
            if use.after is not None:
                tensor.grad = None if use.after < 0 else Tensor._of(results[use.after])
        for owner, attribute, number in self.assigned:
            setattr(owner, attribute, Tensor._of(results[number]))
        return self.build([make(results, leaves) for make in self.outputs])


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
        for tensor in (*recording.borrowed, *self.missed.alive()):
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
            elif grad is not use.grad or self._was_written(grad):
                if not isinstance(grad, Tensor):
                    raise self.recording.refused(
                        "a row-sparse gradient has as many rows as values say; use sparse=False"
                    )
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
        for use in self.uses:
            if use.given is not None and use.given not in used:
                use.given, use.before = None, "any"
            elif use.given is not None:
                self.inputs.append(use.given)
            elif use.after is None and not use.requires_grad:
                use.before = "any"
            use.grad = None
        self.uses = [u for u in self.uses if u.argument is not None or u.after is not None or u.value in used]
        return Replay(self, ReplayProgram(recording, self.inputs, self.results, self._like))


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
