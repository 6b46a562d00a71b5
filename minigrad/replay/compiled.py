"""`mg.compile`: a function that is recorded once, and replayed."""

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
from .quick import MISS, quick
from .reads import Reads
from .session import FLOATS, TURN, Newcomers, Replay, Session, without_graph

F = TypeVar("F", bound=Callable[..., Any])
PROGRAMS = 8  # kept for arguments of one kind: those of other modes, with and without gradients
MOST = 256  # programs kept for all kinds of arguments
REASONS = 100  # kept in `why`
WATCHED = 64  # kinds of arguments that were met only once


class Compiled:
    """A compiled function; call it like the plain one, which is at `.plain`.

    why      for each time that something was recorded, the reason; the latest hundred
    nbytes   the memory that all programs hold
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.plain = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.why: list[str] = []
        self._reads = Reads(function)
        self._warned = False
        self._as_it_is: set[Any] = set()  # for arguments of which structure the function is not recorded
        self._replays: OrderedDict[Any, list[Replay]] = OrderedDict()
        self._known: dict[Any, Newcomers] = {}  # for kinds of arguments: the tensors that the latest call used
        self._floats: dict[int, Any] = {}  # the arguments that are floats
        self._quick: dict[Any, Callable[..., Any]] = {}  # the latest short program, by its modes

    @property
    def replays(self) -> list[Replay]:
        """All that was recorded."""
        return [replay for replays in self._replays.values() for replay in replays]

    @property
    def nbytes(self) -> int:
        return sum(replay.program.nbytes for replay in self.replays)

    def forget(self) -> None:
        """Give back the memory of all programs; what is called next is recorded anew."""
        self._replays.clear()
        self._known.clear()
        self._quick.clear()
        self._as_it_is.clear()

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
        """Replay what was recorded for arguments like these, or watch, or record."""
        leaves: list[Any] = []
        structure: list[Any] = [modes]
        outline((args, kwargs) if kwargs else args, leaves, structure)
        if self._as_it_is and tuple(structure[1:]) in self._as_it_is:
            return self._run_as_it_is(args, kwargs)
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
        numbers = generator("cpu").bit_generator  # of another device, reading the state would begin a new stream
        drawn = numbers.state
        try:
            return self._recorded(key, leaves, rebuild, reason)
        except DataError as error:
            numbers.state = drawn
            self._as_it_is.add(tuple(structure[1:]))
            self.why = [*self.why[-REASONS + 1 :], f"not recorded, and runs as it is: {str(error).splitlines()[0]}"]
            return self._run_as_it_is(args, kwargs)

    def _run_as_it_is(self, args: Any, kwargs: Any) -> Any:
        """The function's results, as a program would give them."""
        outputs, build = flatten(self.plain(*args, **kwargs))
        return build([without_graph(self.name, output) for output in outputs])

    def _kind(self, leaf: Any, k: int) -> Any:
        """What has to be the same for a program to run with another argument."""
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
        """Run the function as it is, and see which tensors it uses."""
        newcomers = Newcomers()
        with changed_mode(observers=(newcomers,)):
            returned = self._run_as_it_is(args, kwargs)
        self._known[key] = newcomers
        if len(self._known) > WATCHED:
            del self._known[next(iter(self._known))]
        return returned

    def _recorded(self, key: Any, leaves: list[Any], rebuild: Callable[[list[Any]], Any], reason: str) -> Any:
        """Run the function as it is, and write down what it does. If a tensor is used that the call before did not use,
        that was in vain, and the next call is recorded again."""
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
        """Let the programs go that were not used for the longest time, if there are too many."""
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
        """As a method: the instance is the first argument, and a constant."""
        return self if instance is None else MethodType(self, instance)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        """Of a method's, that of the copied object; nothing that was recorded."""
        return Compiled(copy.deepcopy(self.plain, memo))

    def __repr__(self) -> str:
        return f"<compiled {self.name}>"


def _alike(leaves: list[Any]) -> list[tuple[int, int]]:
    """Which tensors among the arguments are one: their gradients would be one as well."""
    first: dict[int, int] = {}
    found = [(k, first.setdefault(id(leaf), k)) for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    return [pair for pair in found if pair[0] != pair[1]]


def _native(leaf: Any) -> Any:
    """An array in this machine's byte order, which is what kernels read; anything else as it is."""
    return leaf.astype(backend.native(leaf.dtype)) if type(leaf) is np.ndarray else leaf


def _place(array: Any) -> Any:
    return np.ndarray if type(array) is np.ndarray else backend.device_of(array)


def _shown(leaf: Any) -> str:
    if isinstance(leaf, FLOATS):
        return "a float"
    return f"{leaf.dtype} {leaf.shape}" if hasattr(leaf, "dtype") else repr(leaf)


def compile(function: F) -> F:
    """Record what a function does, and from then on do it without Python: a training step, or a step of a stream.

    The first calls run the function as it is, while all operations on arrays are written down, those of backward and of
    the optimizer included. Later calls with arguments of the same shapes and dtypes run them again from a list, on
    memory that is all there before: no tensor is made, no tape, no graph. The numbers are the same, bit for bit.

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

    What is frozen, and what is not:

    * Tensors, arrays and floats among the arguments are given anew at each call; other arguments, and shapes, dtypes,
      modes, attributes of modules, options of optimizers, and what the function reads from closures, globals and the
      attributes of plain objects are looked at: where they are others, it is recorded anew (`step.why` says each time
      why). Learning rates, the count of steps, random numbers and dropout's masks go on.
    * What Python does besides, printing or appending to a list, is not done again, and other numbers from outside are
      constants. A tensor that is carried from call to call is an argument and a result.
    * Lengths and masks given as arrays, and arrays that index a plain array of NumPy's, decide what is computed: a
      function that is given such is not recorded, and runs as it is (`step.why` says so). The loops of its layers are
      programs anyway (docs/programs.md).
    * Results are new arrays; their graph is not recorded, so backward is called inside.

    Raises RecordingError, a TypeError that names the line, where the function looks at a value (`item`, `bool`,
    `float`, `numpy`), or does what depends on values in the shape of its result.
    """
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise RecordingError(
            f"compile: {function.__name__} gives its values one after the other; compile what is done in each step"
        )
    return Compiled(function)  # type: ignore[return-value]
