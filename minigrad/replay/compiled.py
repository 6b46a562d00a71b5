"""`mg.compile`: a function that is recorded once and then replayed."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections import OrderedDict
from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

import numpy as np

from .. import backend
from ..creation import get_default_dtype
from ..modes import changed_mode, current_mode
from ..randomness import generator
from ..tensors import Tensor
from ..trees import flatten, outline
from .errors import DataError, RecordingError
from .guarded import Newcomers, Replay
from .quick import MISS, quick
from .reads import CapturedState
from .session import FLOATS, TURN, Session, without_graph

F = TypeVar("F", bound=Callable[..., Any])
PROGRAMS = 8  # cached for arguments of one kind: one for each mode, with and without gradients
MOST = 256  # programs cached for all kinds of arguments
REASONS = 100  # entries of `why`
WATCHED = 64  # cached kinds of arguments that were met only once


class CompiledFunction:
    """A compiled function. Call it like the plain function, which is its attribute `plain`.

    why      the reason of each recording; the latest hundred
    nbytes   the memory held by all programs
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.plain = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.why: list[str] = []
        self._reads = CapturedState(function)
        self._warned = False
        self._uncompiled: set[Any] = set()  # structures of arguments for which the function is not recorded
        self._replays: OrderedDict[Any, list[Replay]] = OrderedDict()
        self._known: dict[Any, Newcomers] = {}  # for each kind of arguments: the tensors used by the latest call
        self._floats: dict[int, Any] = {}  # the arguments that are floats
        self._quick: dict[Any, Callable[..., Any]] = {}  # the latest short program, by mode

    @property
    def replays(self) -> list[Replay]:
        """All recorded programs, with their guards."""
        return [replay for replays in self._replays.values() for replay in replays]

    @property
    def nbytes(self) -> int:
        return sum(replay.program.nbytes for replay in self.replays)

    def forget(self) -> None:
        """Release the memory of all programs; later calls are recorded again."""
        self._replays.clear()
        self._known.clear()
        self._quick.clear()
        self._uncompiled.clear()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mode = current_mode()
        if mode.intake.follows or mode.observers or not mode.fast:
            return self.plain(*args, **kwargs)
        with TURN:
            modes = (mode.grad, get_default_dtype(), self._reads())
            run = self._quick.get(modes)
            if run is not None:
                returned = run(args, kwargs)
                if returned is not MISS:
                    return returned
            return self._looked_up(modes, args, kwargs)

    def _looked_up(self, modes: tuple[Any, ...], args: Any, kwargs: Any) -> Any:
        """Replay the program for such arguments, or watch, or record."""
        leaves: list[Any] = []
        structure: list[Any] = [modes]
        outline((args, kwargs) if kwargs else args, leaves, structure)
        if self._uncompiled and tuple(structure[1:]) in self._uncompiled:
            return self._run_uncompiled(args, kwargs)
        if any(type(leaf) is np.ndarray and not leaf.dtype.isnative for leaf in leaves):
            leaves, rebuild = flatten((args, kwargs))
            return self._looked_up(modes, *rebuild([_native(leaf) for leaf in leaves]))
        key = (*structure, *_alike(leaves), *[self._kind(leaf, k) for k, leaf in enumerate(leaves)])
        for k, leaf in enumerate(leaves):
            if isinstance(leaf, FLOATS):
                self._floats[k] = leaf
        reason = None
        for replay in reversed(self._replays.get(key, ())):
            unfit = replay.unfit(leaves)
            if unfit is None:
                returned = replay.run(leaves)
                if replay.quick is None:
                    replay.quick = quick(replay, args, kwargs)
                self._quick = {modes: replay.quick}
                self._replays.move_to_end(key)
                return returned
            reason = unfit
        if reason is None:
            reason = "other arguments: " + ", ".join(map(_shown, leaves)) if self.why else "the first call"
        leaves, rebuild = flatten((args, kwargs))
        if key not in self._known:
            return self._watched(key, args, kwargs)
        numbers = generator("cpu").bit_generator  # on another device, reading the state would begin a new stream
        drawn = numbers.state
        try:
            return self._recorded(key, leaves, rebuild, reason)
        except DataError as error:
            numbers.state = drawn
            self._uncompiled.add(tuple(structure[1:]))
            self.why = [*self.why[-REASONS + 1 :], f"not recorded, and runs uncompiled: {str(error).splitlines()[0]}"]
            return self._run_uncompiled(args, kwargs)

    def _run_uncompiled(self, args: Any, kwargs: Any) -> Any:
        """The function's results, in the form that a program would return."""
        outputs, build = flatten(self.plain(*args, **kwargs))
        return build([without_graph(self.name, output) for output in outputs])

    def _kind(self, leaf: Any, k: int) -> Any:
        """An argument's part of a program's key."""
        if isinstance(leaf, Tensor):
            if leaf.edge is not None:
                raise RecordingError(
                    f"compile: argument {k} of {self.name} is a result on the tape, and no gradient would reach what "
                    "it was computed from; pass x.detach()"
                )
            array = leaf.data
            return (Tensor, array.shape, array.dtype, leaf._requires_grad, _place(array))
        if isinstance(leaf, FLOATS):
            return type(leaf)
        if backend.is_array(leaf):
            return (leaf.shape, leaf.dtype, _place(leaf))
        try:
            hash(leaf)
        except TypeError:
            raise RecordingError(
                f"compile: argument {k} of {self.name} is a {type(leaf).__name__}; arguments are tensors, arrays, "
                "numbers and constants, also in nested dicts, lists and tuples"
            ) from None
        return (type(leaf), leaf)

    def _watched(self, key: Any, args: Any, kwargs: Any) -> Any:
        """Run the function uncompiled, and note the tensors that it uses."""
        newcomers = Newcomers()
        with changed_mode(observers=(newcomers,)):
            returned = self._run_uncompiled(args, kwargs)
        self._known[key] = newcomers
        if len(self._known) > WATCHED:
            del self._known[next(iter(self._known))]
        return returned

    def _recorded(self, key: Any, leaves: list[Any], rebuild: Callable[[list[Any]], Any], reason: str) -> Any:
        """Run the function and record it. If it uses a tensor that the call before did not use, the recording is
        dropped, and the next call is recorded again."""
        session = Session(self.name, self._known[key])
        outputs = session.run(self.plain, leaves, rebuild, self._floats, self._replays.get(key, []))
        replay = session.replay()
        if replay is None:
            self._known[key].found.update(session.missed.found)
        else:
            del self._known[key]
            replays = self._replays.setdefault(key, [])
            replays.append(replay)
            del replays[:-PROGRAMS]
            self.why = [*self.why[-REASONS + 1 :], reason]
            self._bound()
        return outputs

    def _bound(self) -> None:
        """Drop the least recently used programs if there are too many."""
        while len(self.replays) > MOST:
            self._replays.popitem(last=False)
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"compile: {self.name} was recorded for more than {MOST} kinds of arguments, and the oldest "
                    "programs are given up. Give what changes often as a tensor, and batches of few different sizes; "
                    "or drop mg.compile", stacklevel=4,
                )  # fmt: skip

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind as a method: the instance is the first argument, and a constant."""
        return self if instance is None else MethodType(self, instance)

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunction:
        """A copy without recordings; for a bound method, that of the copied object."""
        return CompiledFunction(copy.deepcopy(self.plain, memo))

    def __repr__(self) -> str:
        return f"<compiled {self.name}>"


def _alike(leaves: list[Any]) -> list[tuple[int, int]]:
    """Pairs of arguments that are the same tensor: they share one gradient."""
    first: dict[int, int] = {}
    found = [(k, first.setdefault(id(leaf), k)) for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    return [pair for pair in found if pair[0] != pair[1]]


def _native(leaf: Any) -> Any:
    """An array in native byte order, as kernels need it; anything else unchanged."""
    return leaf.astype(backend.native(leaf.dtype)) if type(leaf) is np.ndarray else leaf


def _place(array: Any) -> Any:
    return np.ndarray if type(array) is np.ndarray else backend.device_of(array)


def _shown(leaf: Any) -> str:
    if isinstance(leaf, FLOATS):
        return "a float"
    return f"{leaf.dtype} {leaf.shape}" if hasattr(leaf, "dtype") else repr(leaf)


def compile(function: F) -> F:
    """Record a function once, and replay it without Python: a training step, or a step of a stream.

    The first calls run the function normally, while every operation on arrays is recorded, including those of backward
    and of the optimizer. Later calls with arguments of the same shapes and dtypes execute the recorded operations on
    preallocated memory: no tensor is made, no tape, no graph. The results are equal bit for bit.

    >>> import numpy as np, minigrad as mg
    >>> W = mg.ones((3, 2), requires_grad=True)
    >>> @mg.compile
    ... def step(x):
    ...     W.grad = None
    ...     loss = np.square(x @ W).mean()
    ...     loss.backward()
    ...     with mg.no_grad():
    ...         W[...] = W - 0.1 * W.grad
    ...     return loss
    >>> losses = [step(mg.ones((4, 3))).item() for _ in range(5)]
    >>> losses[0], losses[-1] < 0.1 * losses[0], len(step.why)
    (9.0, True, 1)

    The guards of a program, and its frozen parts:

    * Tensors, arrays and floats among the arguments are inputs of each call. Other arguments, shapes, dtypes, modes,
      attributes of modules, options of optimizers, and values that the function reads from closures, globals and the
      attributes of plain objects are guarded: if one of them changes, the function is recorded again (`step.why` has
      the reason of each recording). Learning rates, step counts, random numbers and dropout masks stay live.
    * Other effects of Python code, such as printing or appending to a list, are not repeated, and other numbers from
      outside are constants. A tensor carried from call to call is an argument and a result.
    * Lengths and masks given as arrays, and arrays that index a plain NumPy array, decide what is computed: a
      function with such arguments is not recorded, and runs uncompiled (`step.why` says so). The loops of its layers
      are programs anyway (docs/programs.md).
    * Results are new arrays; their graph is not recorded, so backward has to be called inside.

    Raises RecordingError, a TypeError that names the line, if the function reads a value (`item`, `bool`, `float`,
    `numpy`), or uses an operation whose result has a shape that depends on values.
    """
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise RecordingError(
            f"compile: {function.__name__} gives its values one after the other; compile what is done in each step"
        )
    return CompiledFunction(function)  # type: ignore[return-value]
