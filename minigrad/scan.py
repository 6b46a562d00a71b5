"""`scan`: a step function over a sequence, run as one operation where its code allows it."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from . import backend, programs
from .creation import tensor
from .modes import current_mode
from .readings import names_of
from .scopes import here, steps
from .tensors import Tensor

Array = Any
State = tuple[Tensor, ...]
_where: Any = np.where


def scan(
    step: Callable[..., Any], xs: Any, state: Any, *, reverse: bool = False, lengths: Any = None
) -> tuple[Tensor, Any]:  # fmt: skip
    """Run `state = step(x, state)` over the steps of a sequence: the loop of a recurrent network.

    step     a function of x (N, ...) and the state that returns the next state, of the same shapes
    xs       (T, N, ...)
    state    before the first step: a Tensor (N, ...), or a tuple of them
    reverse  from the last step to the first
    lengths  (N,) integers from 0 to T: sequence n has lengths[n] steps; then its state stays, and its outputs are 0

    Returns the outputs (T, N, ...), the state after each step (the first tensor of a tuple), and the last state.
    The result and its graph are those of the loop

        for t, x in mg.steps(xs):
            state = step(x, state)

    If the code of `step` proves that it depends only on its arguments and the tensors it reads, all steps run as one
    operation (see docs/programs.md); otherwise `mg.profile()` reports the reason.

    >>> import numpy as np, minigrad as mg
    >>> W, U = mg.randn(3, 4, requires_grad=True), mg.randn(4, 4, requires_grad=True)
    >>> outputs, h = mg.scan(lambda x, h: np.tanh(x @ W + h @ U), mg.randn(5, 2, 3), mg.zeros((2, 4)))
    >>> outputs.shape, h.shape
    ((5, 2, 4), (2, 4))

    Raises ValueError if a step changes the shapes of the state, if lengths are not integers from 0 to T, or if T is 0.
    """
    xs = xs if isinstance(xs, Tensor) else tensor(xs)
    single = not isinstance(state, tuple | list)
    before = tuple([s if isinstance(s, Tensor) else tensor(s) for s in ([state] if single else state)])
    if not xs.ndim or not xs.shape[0]:
        raise ValueError(f"scan: xs must have a step at least, its shape is {xs.shape}{here()}")
    if not before:
        raise ValueError(f"scan: the state is empty{here()}")
    T = xs.shape[0]
    real = None if lengths is None else _real(lengths, T, xs.shape[1] if xs.ndim > 1 else 0)
    captured = Captured(step, single)

    reason: str | None = "its inputs do not have three axes"
    if xs.ndim == 3:
        rows = xs.reshape((T * xs.shape[1], xs.shape[2]))
        program, tensors = programs.program_of(captured, rows, before, programs.Form(held=real is not None))
        reason = program if isinstance(program, str) else None
    if reason is None:
        assert isinstance(program, programs.Rolling)
        layout = programs.layout((xs.shape[1],) * T, xs.shape[1], reverse)
        weights = [tensors[k] for k in program.used]
        found = programs.rolled(
            program.loop, rows, before, weights, None if real is None else real.reshape((-1, 1)), layout,
            lambda x, states, weights: _in_python(
                program.with_weights(weights).step, x.reshape(xs.shape), tuple(states), real, reverse
            ),
        )  # fmt: skip
    else:
        for observer in current_mode().observers:
            observer.noted(f"{current_mode().scope or 'scan'}: not rolled: {reason}")
        found = tuple(_in_python(captured.plainly, xs, before, real, reverse))
    output, *last = found
    output = output.reshape((T, *before[0].shape))
    if real is not None:
        output = _where(_along(real, output), output, 0)
    return output, last[0] if single else tuple(last)


def _in_python(
    step: Callable[[Tensor, State], Any], xs: Tensor, state: State, real: Array | None, reverse: bool
) -> list[Tensor]:
    """Run the loop step by step: the stacked outputs of all steps, and the last state."""
    outputs = []
    for t, x in steps(xs, reverse=reverse):
        new = step(x, state)
        if not isinstance(new, tuple) or len(new) != len(state):
            got = f"{len(new)} tensors" if isinstance(new, tuple) else f"a {type(new).__name__}"
            raise ValueError(f"scan: step returned {got} for a state of {len(state)}, in step {t}{here()}")
        for k, (s, old) in enumerate(zip(new, state, strict=True)):
            if not isinstance(s, Tensor):
                raise TypeError(f"scan: step returned a {type(s).__name__} as state, in step {t}{here()}")
            if s.shape != old.shape or s.dtype != old.dtype:
                raise ValueError(
                    f"scan: step turned state {k} of shape {old.shape} {old.dtype} into {s.shape} {s.dtype}, in step "
                    f"{t}{here()}"
                )
        if real is not None:
            new = tuple([_where(_along(real[t], s), s, old) for s, old in zip(new, state, strict=True)])
        state = new
        outputs.append(state[0])
    stacked: Any = np.stack(outputs[:: -1 if reverse else 1])
    return [stacked.reshape((-1, *stacked.shape[2:])), *state]


def _along(real: Array, like: Tensor) -> Array:
    """A mask with as many axes as `like`."""
    return backend.transfer(real.reshape(real.shape + (1,) * (like.ndim - real.ndim)), like.device)


def _real(lengths: Any, T: int, N: int) -> Array:
    """(T, N) booleans: True for the steps inside each sequence."""
    n = np.asarray(lengths.numpy() if isinstance(lengths, Tensor) else backend.to_numpy(lengths)
                   if backend.is_array(lengths) else lengths)  # fmt: skip
    if n.dtype.kind not in "iu" or n.shape != (N,):
        raise ValueError(f"scan: {N} sequences need lengths of shape ({N},), integers, got {n.dtype} {n.shape}{here()}")
    if n.size and (n.min() < 0 or n.max() > T):
        raise ValueError(f"scan: lengths must be from 0 to T = {T}, got {n.tolist()}{here()}")
    return np.arange(T)[:, None] < n


class Captured:
    """A step function as an object whose attributes are the values it captures: closure cells and globals.

    A copy with other tensors as attributes is the same function of those tensors.
    """

    def __init__(self, function: Any, single: bool) -> None:
        self.single = single
        owner = getattr(function, "__self__", None)
        plain = getattr(function, "__func__", function)
        if not isinstance(plain, types.FunctionType):
            self.function = function
            return
        self.code, self.defaults = plain.__code__, plain.__defaults__
        self.function = _Quiet(plain)
        if owner is not None:
            self.owner = owner
        for name, cell in zip(self.code.co_freevars, plain.__closure__ or (), strict=True):
            setattr(self, f"cell {name}", _content(cell))
        for name in dict.fromkeys(names_of(self.code)):
            if name in plain.__globals__:
                setattr(self, f"global {name}", plain.__globals__[name])

    @property
    def source(self) -> Any:
        """The function itself, whose code is read."""
        found = self.function
        if not isinstance(found, _Quiet):
            return found
        return types.MethodType(found.function, self.owner) if hasattr(self, "owner") else found.function

    @property
    def title(self) -> str:
        """The function's name in messages."""
        return str(getattr(self.source, "__qualname__", type(self.source).__name__))

    def plainly(self, x: Any, state: State) -> Any:
        """The next state as a tuple, computed by the function itself."""
        return self._tuple(self.source(x, state[0] if self.single else state))

    def step(self, x: Any, state: State) -> Any:
        """The next state, computed by a function that reads this object's attributes instead."""
        return self._tuple(self._placed()(x, state[0] if self.single else state))

    def _tuple(self, new: Any) -> Any:
        return (new,) if self.single else tuple(new) if isinstance(new, list) else new

    def _placed(self) -> Any:
        """The function with this object's attributes in place of its captured values."""
        if not isinstance(self.function, _Quiet):
            return self.function
        mine, function = vars(self), self.function.function
        cells = tuple([types.CellType(mine[f"cell {name}"]) for name in self.code.co_freevars])
        read = {key.removeprefix("global "): value for key, value in mine.items() if key.startswith("global ")}
        placed = types.FunctionType(self.code, function.__globals__ | read, function.__name__, self.defaults, cells)
        placed.__kwdefaults__ = function.__kwdefaults__
        return types.MethodType(placed, self.owner) if "owner" in mine else placed


class _Quiet:
    """A function that equals any other, for keys that hold its captured values separately."""

    def __init__(self, function: types.FunctionType) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        return type(other) is _Quiet

    def __hash__(self) -> int:
        return 0


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is bound to it yet
        return None
