"""A recording: every operation on arrays that a function performs, in order.

The engine, layers and optimizers compute as always, but with arrays of a class of its own, `Traced`, which execute each
operation at once and note it down: forward and backward, fused kernels, updates of weights. The notes are `Operation`s
on `Value`s; `plan` turns them into a program.
"""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any

import numpy as np

from .. import backend
from ..intake import OPEN, Intake
from ..modes import changed_mode, current_mode
from ..tensors import Tensor
from ..trees import leaves_in, replaced
from ..where import caller, line_of
from .errors import RecordingError
from .live import Live
from .traced import Traced

Array = Any


class Value:
    """An array in a recording, by the source of its memory.

    kind    "input"     given at each run
            "outside"   an array that exists before and after: a weight, a constant of the caller's
            "constant"  an array that the recording keeps, and nothing writes into
            "made"      memory of the recording itself
            "view"      of another value, made by an operation that computes nothing
    shape, dtype, strides  of the array
    array   the array of an "outside" or "constant" value
    of, by, part  of a view: the base value, the operation, and the number of the result
    """

    __slots__ = ("array", "by", "dtype", "kind", "of", "part", "root", "shape", "strides")

    def __init__(
        self, kind: str, like: Array, array: Array = None, of: Value | None = None, by: Any = None, part: int = 0
    ):
        self.kind = kind
        self.shape, self.dtype, self.strides = like.shape, like.dtype, like.strides
        self.array = array
        self.of = of
        self.by = by
        self.part = part
        self.root: Value = self if of is None else of.root

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * int(self.dtype.itemsize)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.dtype} {self.shape}>"


class Operation:
    """A call of a function of arrays.

    args, kwargs  with a Value in place of each array, and a `Live` number where it changes
    outputs       the results that have memory of their own
    writes        the values whose memory it writes into, including `outputs`
    drawn         True if it draws random numbers
    place         the user's line
    """

    __slots__ = ("args", "drawn", "function", "kwargs", "outputs", "place", "reads", "writes")

    def __init__(self, function: Any, args: Any, kwargs: Any, place: tuple[CodeType, int]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.place = place
        self.drawn = False
        self.reads = leaves_in((args, kwargs), Value)
        self.outputs: list[Value] = []
        self.writes: list[Value] = []

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def __repr__(self) -> str:
        return f"<{self.name} at {line_of(*self.place)}>"


# functions of shapes, dtypes and memory, independent of values
_ABOUT = frozenset([np.shape, np.ndim, np.size, np.result_type, np.may_share_memory, np.shares_memory, np.can_cast,
                    np.iscomplexobj, np.isrealobj, np.common_type])  # fmt: skip
# the argument that a function writes into, other than `out`
_WRITES = {np.copyto: 0, np.put: 0, np.putmask: 0, np.place: 0, np.fill_diagonal: 0, np.put_along_axis: 0}
# functions that fill an array with one number
_FILLED: dict[Any, float | None] = {np.zeros_like: 0, np.ones_like: 1, np.full_like: None}
_SIZED_BY_VALUES = frozenset([np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.compress, np.extract])


def empty() -> None:
    """Uninitialized memory: no call is needed."""


def copied(array: Array) -> Array:
    """A copy."""
    return array.copy()


def filled(number: Any) -> Any:
    """A function that makes an array of one number."""


class Recording(Intake):
    """The operations of a function, recorded while it runs.

    thread  the thread it runs in. Other threads that use a borrowed weight compute with its plain array
    """

    follows = True

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.operations: list[Operation] = []
        self.effects: list[Callable[[], Any]] = []  # run after the calls of each run: a counter, say
        self.changed: list[Any] = []  # the objects that they change
        self.guards: list[tuple[str, Callable[[], Any], Any]] = []  # (subject, function that reads it, value)
        self.attributes: list[tuple[dict[str, Any], str, Any, str]] = []  # (owner's dict, name, value, subject)
        self.assigned: list[tuple[Any, str, Any]] = []  # (object, attribute, tensor) to set after each run
        self.borrowed: dict[Any, Array] = {}  # tensors whose array is replaced by a Traced, with the array itself
        self.outside: dict[int, Traced] = {}  # by the array's id
        self.alive: weakref.WeakSet[Traced] = weakref.WeakSet()

    # ---- from arrays to traced ones and back ---------------------------------------------------------------------

    def traced(self, value: Value, array: Array, base: Traced | None = None) -> Traced:
        made = Traced(self, value, array, base)
        self.alive.add(made)
        return made

    def input(self, array: Array) -> Traced:
        """An array given at each run. It is copied, so a write into it stays inside the recording."""
        own = backend.plain(array).copy("K")
        return self.traced(Value("input", own), own)

    def of_outside(self, array: Array) -> Traced:
        """An array that exists outside; each run reads it, and writes into it."""
        array = backend.plain(array)
        found = self.outside.get(id(array))
        if found is None:
            found = self.outside[id(array)] = self.traced(Value("outside", array, array), array)
        return found

    def borrow(self, tensor: Any) -> None:
        """Give a tensor a traced array until the recording ends."""
        if tensor not in self.borrowed and not self.is_traced(tensor.data):
            self.borrowed[tensor] = tensor.data
            tensor.data = self.of_outside(tensor.data)

    def kept_outside(self) -> RecordingError | None:
        """An error if a computed array is still alive after the call."""
        self.outside.clear()
        if len(self.alive):
            gc.collect()  # it may be garbage in a reference cycle
        kept = list(self.alive)
        self.release()
        for left in kept:
            made = next((o for o in self.operations if left.value.root in o.outputs), None)
            where = "" if made is None else f", made by {made.name} at {line_of(*made.place)},"
            return RecordingError(
                f"compile: a {left.dtype} array {left.shape}{where} is kept outside of the function, where it would "
                "stay as it is. Return it, and pass it as an argument where it is carried from call to call."
            )
        return None

    def release(self) -> None:
        """Give tensors that keep computed values the plain arrays."""
        left = list(self.alive)
        for keeper in gc.get_referrers(*left) if left else ():
            if isinstance(keeper, Tensor) and self.is_traced(keeper.data) and keeper not in self.borrowed:
                keeper.data = keeper.data.array

    @staticmethod
    def is_traced(array: Any) -> bool:
        return type(array) is Traced

    def operands(self, *values: Any, kinds: str = "fiub") -> tuple[Any, ...]:
        """The operands of one operation, with all arrays traced, also in tuples and lists. Code that takes the memory
        of some and records operations on others would otherwise compute with stale numbers."""
        if not current_mode().fast:  # a fused function is being traced, with Symbols for arrays
            return values

        def traced(leaf: Any) -> Any:
            plain = backend.is_array(leaf) and not self.is_traced(leaf)
            return self.of_outside(leaf) if plain and leaf.dtype.kind in kinds else leaf

        return tuple([replaced(value, traced) for value in values])

    def together(self, *arrays: Any) -> tuple[Any, ...]:
        """`operands` if one of the arrays is traced; otherwise the arrays unchanged."""
        return self.operands(*arrays) if any(map(self.is_traced, arrays)) else arrays

    def plain(self, leaf: Any) -> Any:
        """The plain array to compute with."""
        if self.is_traced(leaf):
            if leaf.recording is not self:
                raise self.refused("a value of another recording is used")
            return leaf.array
        if isinstance(leaf, Live):
            return leaf.value()
        if type(leaf) is slice:
            return slice(*[self.plain(part) for part in (leaf.start, leaf.stop, leaf.step)])
        return leaf

    def noted(self, leaf: Any) -> Any:
        """The form of an argument in the recording."""
        if self.is_traced(leaf):
            return leaf.value
        if backend.is_array(leaf):
            return self.of_outside(leaf).value
        return leaf

    # ---- operations ----------------------------------------------------------------------------------------------

    def call(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], writes: Sequence[Any] = (), *,
        always: bool = False,
    ) -> Any:  # fmt: skip
        """Execute a function, and note it down. `writes` are the traced arrays that it writes into; `always` notes it
        down even if it has neither results nor writes."""
        if threading.get_ident() != self.thread:
            return function(*replaced(args, self.plain), **replaced(kwargs, self.plain))
        out = kwargs.get("out")
        if out is not None:
            writes = (*writes, *(out if isinstance(out, tuple) else (out,)))
        if function in _WRITES:
            writes = (*writes, args[_WRITES[function]])
        if function in _SIZED_BY_VALUES:
            raise self.refused(f"np.{function.__name__} gives arrays whose shape depends on values")
        for target in writes:
            if not self.is_traced(target):
                raise self.refused(
                    "an array from outside is written into, which would happen only once; make it a Tensor"
                )
        result = function(*replaced(args, self.plain), **replaced(kwargs, self.plain))
        if function in _ABOUT:
            return result
        made = self._operation(function, args, kwargs)
        made.writes = [target.value for target in writes]
        sources = leaves_in((args, kwargs), Traced)
        wrapped = self._wrapped(result, made, sources, writes, [0])
        if made.outputs or made.writes or always:
            self.operations.append(made)
        return wrapped

    def _operation(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        place = caller()
        if function is np.empty_like:
            return Operation(empty, (), {}, place)
        if function in _FILLED:
            number = _FILLED[function]
            if number is None:
                number = kwargs["fill_value"] if "fill_value" in kwargs else args[1]
            return Operation(filled, (self.noted(number),), {}, place)
        return Operation(function, replaced(args, self.noted), replaced(kwargs, self.noted), place)

    def _wrapped(
        self, result: Any, made: Operation, sources: list[Traced], writes: Sequence[Any], count: list[int]
    ) -> Any:
        """The result of an operation with traced arrays in it."""
        if isinstance(result, np.generic):
            result = np.asarray(result)
        if backend.is_array(result):
            part, count[0] = count[0], count[0] + 1
            for source in (*writes, *sources):
                if result is source.array:
                    return source
            if result.size == 0:  # no memory, so no view, which might be read-only
                result = np.empty_like(result)
            for source in sources:
                if np.may_share_memory(result, source.array):
                    base = source if source.base is None else source.base
                    return self.traced(Value("view", result, of=source.value, by=made, part=part), result, base)
            value = Value("made", result)
            made.outputs.append(value)
            made.writes.append(value)
            return self.traced(value, result)
        if isinstance(result, tuple | list):
            parts = [self._wrapped(r, made, sources, writes, count) for r in result]
            return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
        if result is None or made.writes:
            return None  # (a kernel answers with a number)
        raise self.refused(f"{made.name} gives a Python value, {result!r:.40}, which would be the same at every run")

    def made(self, array: Array) -> Traced:
        """A newly created array, whose values are the same at every run."""
        if self.is_traced(array):
            return array  # type: ignore[no-any-return]
        kept = array.copy()
        return self.call(copied, (self.traced(Value("constant", kept, kept), kept),), {})  # type: ignore[no-any-return]

    def drawn(self, draw: Callable[[Array], Any], array: Array) -> Traced:
        """An array of random numbers; `draw(array)` fills it at each run."""
        value = Value("made", array)
        operation = Operation(draw, (value,), {}, caller())
        operation.drawn, operation.outputs, operation.writes = True, [value], [value]
        self.operations.append(operation)
        return self.traced(value, array)

    # ---- state in Python -----------------------------------------------------------------------------------------

    def number(self, values: dict[str, Any], name: str, title: str) -> Live:
        """A number that is read before each run; an error after its owner changed in the same recording."""
        changed = self.changed

        def read() -> Any:
            intake = current_mode().intake
            if isinstance(intake, Recording) and intake.changed is changed and any(one is values for one in changed):
                raise intake.refused(
                    f"{title} is read after it was modified in the same call; modify it once, as the last step"
                )
            return values[name]

        self._refuse_live(values, name, title)
        read()
        return Live(read, title)

    def fixed(self, values: dict[str, Any], names: Iterable[str], title: str) -> None:
        """Guard plain values, except for tensors computed in this call, which the function itself has put there."""
        for name in names:
            value = values.get(name)
            if isinstance(value, Tensor) and self.is_traced(value.data) and value.data.value.root.kind == "made":
                continue
            self._refuse_live(values, name, f"{title}: {name}")
            self.attributes.append((values, name, value, title))

    def _refuse_live(self, values: dict[str, Any], name: str, what: str) -> None:
        value = values.get(name)
        if isinstance(value, Live):
            values[name] = value.value()
            raise self.refused(f"{what} is set from an argument, which would happen only once; set it before")

    def decided(self, read: Callable[[], Any], what: str) -> Any:
        """A guarded value. If it differs at a later run, the function is recorded again."""
        value = read()
        self.guards.append((what, read, value))
        return value

    def do(self, effect: Callable[[], Any], *changed: Any) -> None:
        """Apply an effect now, and after the calls of each run, when it repeats its own declarations."""
        with changed_mode(intake=OPEN):
            effect()
        self.effects.append(effect)
        self.changed += changed

    def keep(self, owner: Any, name: str, tensor: Any) -> None:
        """Set an attribute: now, and after each run."""
        setattr(owner, name, tensor)
        self.assigned.append((owner, name, tensor))

    def only_outside(self, what: str) -> None:
        """Raise: the effect could not be replayed."""
        raise self.refused(what)

    # ---- refusals ------------------------------------------------------------------------------------------------

    def refused(self, what: str, kind: type[RecordingError] = RecordingError) -> RecordingError:
        """The error for an operation that a recorded function must not use, with the user's line."""
        return kind(
            f"compile: {what}, at {line_of(*caller())}\nA compiled function runs once in Python and is then replayed. "
            "Return the value and look at it outside, pass what changes as an argument, or leave the function plain."
        )
