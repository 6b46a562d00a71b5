"""From the step of a cell or a function to a program: the key of the program, and its cache.

A step may become a program if it is a pure function of its arguments, its weights and its other attributes: it counts
nothing and prints nothing, and draws random numbers only beside its values. A cell declares this with `rolled = True`;
the code of any other step is read (`purity`). All it depends on is part of the program's key, so a changed option or
mode is noticed. Batch sizes, lengths and the values of weights are data: one program serves all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..creation import get_default_dtype
from ..modes import current_mode
from ..randomness import generator
from ..tensors import Tensor
from .loop import Loop
from .purity import CapturedValues, reads_of
from .rolled import kernel_maker, rolls
from .step import Operand, Step, Unrolled

MOST = 256  # cached programs
OWN = ("_label", "_buffers", "_hooks")  # attributes of a module that no step reads


class Form(NamedTuple):
    """The way in which a layer runs a cell.

    held    there is a mask of rows that take part
    shows   everything that a step returns is returned, of all steps
    mapped  its inputs are results of the cell's `inputs`
    """

    held: bool = False
    shows: bool = False
    mapped: bool = False


class Rolling:
    """The program of a cell's steps.

    loop   the program
    used   the indices of the tensors that it reads, among the cell's (see `tensors_of`)
    """

    def __init__(self, cell: Any, xs: Any, state: tuple[Any, ...], form: Form, grad: bool) -> None:
        self.form = form
        every = list(tensors_of(cell))
        self.count = len(every)
        self.cell: Any = placed(cell, iter([_NOTHING] * self.count))  # keeps no weight alive
        self.used = list(range(self.count))
        vary = [grad and s.requires_grad for s in state]
        while True:  # a state may begin to require grad at the second step
            traced = self._traced(every, xs, state, vary, grad)
            after = [old or new for old, new in zip(vary, traced.varies, strict=True)]
            uses = traced.uses_weights()
            if after == vary and all(uses):
                break
            vary, self.used = after, [k for k, used in zip(self.used, uses, strict=True) if used]
        self.loop = Loop(traced, hasattr(cell, "fast_step"), kernel_maker(xs.data))

    def _traced(self, every: list[Any], xs: Any, state: tuple[Any, ...], vary: list[bool], grad: bool) -> Step:
        weights = [Operand(w.shape, w.dtype, grad and w.requires_grad) for w in (every[k] for k in self.used)]
        states = [Operand(s.shape[1:], s.dtype, v) for s, v in zip(state, vary, strict=True)]
        x = Operand(xs.shape[1:], xs.dtype, grad and xs.requires_grad)
        return Step(self.step, x, states, weights, self.form.held, grad, self.form.shows)

    def step(self, x: Any, state: Any, weights: Any) -> Any:
        """A step with these weights, including its input map."""
        cell = self.with_weights(weights)
        inputs: Any = getattr(cell, "inputs", None)
        if getattr(inputs, "each_row", False) and not self.form.mapped:
            x = inputs(x)
            if generator("symbol").draws:
                raise Unrolled("its inputs draw random numbers, which the loop draws before its steps draw any")
        return step_of(cell)(x, state)

    def with_weights(self, weights: Any) -> Any:
        """The cell as it was when the program was made, with other tensors in place of its weights."""
        every = [_NOTHING] * self.count
        for k, weight in zip(self.used, weights, strict=True):
            every[k] = weight
        return placed(self.cell, iter(every))


def step_of(cell: Any) -> Any:
    """The step that a program runs."""
    return getattr(cell, "fast_step", None) or cell.step


_NOTHING = Tensor(np.zeros(()))


class _Kept(NamedTuple):
    """A cache entry: a program, or the reason why there is none; and the values its step read from outside."""

    program: Rolling | str
    reads: CapturedValues | None
    values: Any


_kept: OrderedDict[Any, _Kept] = OrderedDict()


def program_of(
    cell: Any, xs: Any, state: tuple[Any, ...], form: Form
) -> tuple[Rolling | str, list[Tensor]]:  # fmt: skip
    """The program for a cell's steps over rows xs (R, ·), or the reason why there is none; and the cell's tensors."""
    every: list[Tensor] = []
    return _program(cell, xs, state, form, every), every


def _program(cell: Any, xs: Any, state: tuple[Any, ...], form: Form, every: list[Tensor]) -> Rolling | str:
    if "rolled" in vars(type(cell)) and cell.rolled is False:
        return f"{type(cell).__name__} says rolled = False"
    if (reason := rolls(xs.data)) is not None:
        return reason
    if xs.ndim != 2 or any(s.ndim != 2 for s in state):
        return "its inputs or states have more than one axis"
    grad = current_mode().grad
    try:
        about = [each for tensor in (xs, *state) for each in _about(tensor)]
        key = (form, grad, kernel_maker(xs.data), get_default_dtype(), *about, *_signature(cell, every))
        found = _kept.get(key)
    except TypeError:
        return f"{getattr(cell, 'title', type(cell).__name__)} reads {_unhashable(cell)}, which may change unnoticed"
    if found is None or (found.reads is not None and found.reads() != found.values):
        found = _kept[key] = _made(cell, xs, state, form, grad)
        if len(_kept) > MOST:
            _kept.popitem(last=False)
    if not current_mode().intake.follows and _several_devices([xs, *state, *every]):
        return "its tensors are on several devices"
    program = found.program
    if isinstance(program, Rolling) and current_mode().intake.follows:
        if program.loop.step.draws:
            return "its steps draw random numbers, and mg.compile records them one by one"
        if program.loop.checked:
            return "its results are checked, and mg.compile records its steps one by one"
    return program


def _made(cell: Any, xs: Any, state: tuple[Any, ...], form: Form, grad: bool) -> _Kept:
    reads = None
    if any(getattr(value, "_hooks", ()) for _, value in _attributes(cell) if _is_part(value)):
        return _Kept("a hook of a module looks at its steps", None, None)
    if not ("rolled" in vars(type(cell)) and cell.rolled is True):
        effect, reads = reads_of(getattr(cell, "source", None) or step_of(cell), getattr(cell, "inputs", None))
        if effect is not None:
            return _Kept(effect, reads, reads())
    values = None if reads is None else reads()
    try:
        return _Kept(Rolling(cell, xs, state, form, grad), reads, values)
    except Unrolled as error:
        return _Kept(str(error), reads, values)
    except Exception as error:  # the loop itself will raise it, if it is the user's
        return _Kept(f"{type(error).__name__}: {error}".split("\n")[0], reads, values)


def _several_devices(tensors: list[Tensor]) -> bool:
    kinds = {type(tensor.data) for tensor in tensors}
    return len(kinds) > 1 or (kinds != {np.ndarray} and len({tensor.device for tensor in tensors}) > 1)


def _about(tensor: Any) -> tuple[Any, ...]:
    return tensor.data.shape[1:], tensor.data.dtype, tensor.requires_grad


def _signature(cell: Any, tensors: list[Tensor]) -> list[Any]:
    """A key of all that a step depends on, except the values of its tensors, which are appended to a list."""
    found: list[Any] = []
    for name, value in _attributes(cell):
        if isinstance(value, Tensor):
            tensors.append(value)
            data = value.data
            found += (name, data.shape, data.dtype, type(data), value.requires_grad)
        elif _is_part(value):
            found += (name, type(value), len(getattr(value, "_hooks", ())))
        else:
            found += (name, type(value), value)
    found.append(type(cell))
    return found


def _attributes(module: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of a module and its submodules, in definition order."""
    for name, value in vars(module).items():
        if name not in OWN:
            yield name, value
            if _is_part(value):
                yield from _attributes(value)


def tensors_of(cell: Any) -> Iterator[Tensor]:
    """The weights and other tensors of a cell and its submodules."""
    return (value for _, value in _attributes(cell) if isinstance(value, Tensor))


def placed(module: Any, tensors: Iterator[Tensor]) -> Any:
    """A copy of a module and its submodules, with other tensors in the order of `tensors_of`."""
    copy = object.__new__(type(module))
    for name, value in vars(module).items():
        if name not in OWN and isinstance(value, Tensor):
            value = next(tensors)
        elif name not in OWN and _is_part(value):
            value = placed(value, tensors)
        object.__setattr__(copy, name, value)
    return copy


def _unhashable(cell: Any) -> str:
    """The first attribute that cannot be part of a key."""
    for name, value in _attributes(cell):
        try:
            hash(value)
        except TypeError:
            return f"{name.split()[-1]!r}, a {type(value).__name__}"
    return "something"


def _is_part(value: Any) -> bool:
    """True for a module, whose attributes a step may read."""
    return hasattr(value, "_hooks") and not isinstance(value, Tensor)
