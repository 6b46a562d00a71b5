"""From a cell to a rolled loop: what a program of its steps depends on, and where one is kept.

A cell that says `rolled = True` promises that a step is a function of its arguments, of its weights, and of its other
attributes: it counts nothing, prints nothing, draws nothing. All of that is the key of its program, so a changed option
or mode is seen. Sizes of batches, lengths and the numbers in the weights are data, for which one program serves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import minigrad as mg
from minigrad import programs
from minigrad.modes import current_mode

from ..cells.cell import mapped
from ..modules import Module
from .packing import Packing

MOST = 256  # programs that are kept
OWN = ("_label", "_buffers", "_hooks")  # attributes of a module that no step looks at


class Rolling:
    """The program of a cell's steps.

    loop   the program
    used   which of the cell's tensors it reads, by number (see `tensors_of`)
    """

    def __init__(self, cell: Module, xs: Any, state: tuple[Any, ...], held: bool, grad: bool) -> None:
        every = list(tensors_of(cell))
        self.count = len(every)
        self.cell: Any = placed(cell, iter([_NOTHING] * self.count))  # keeps no weight alive
        self.used = list(range(self.count))
        vary = [grad and s.requires_grad for s in state]
        while True:  # a state that a step makes vary does so from the second step on
            traced = self._traced(every, xs, state, vary, held, grad)
            after = [old or new for old, new in zip(vary, traced.varies, strict=True)]
            uses = traced.uses_weights()
            if after == vary and all(uses):
                break
            vary, self.used = after, [k for k, used in zip(self.used, uses, strict=True) if used]
        self.loop = programs.Loop(traced)

    def _traced(
        self, every: list[Any], xs: Any, state: tuple[Any, ...], vary: list[bool], held: bool, grad: bool
    ) -> programs.Step:
        weights = [programs.Operand(w.shape, w.dtype, grad and w.requires_grad) for w in (every[k] for k in self.used)]
        states = [programs.Operand(s.shape[1:], s.dtype, v) for s, v in zip(state, vary, strict=True)]
        x = programs.Operand(xs.shape[1:], xs.dtype, grad and xs.requires_grad)
        return programs.Step(self.step, x, states, weights, held, grad)

    def step(self, x: Any, state: Any, weights: Any) -> Any:
        """A step with these weights, the map of its input included."""
        cell = self.with_weights(weights)
        return cell.step(mapped(cell, x), state)

    def with_weights(self, weights: Any) -> Any:
        """The cell, as it was when the program was made, with other tensors in place of its weights."""
        every = [_NOTHING] * self.count
        for k, weight in zip(self.used, weights, strict=True):
            every[k] = weight
        return placed(self.cell, iter(every))


_NOTHING = mg.zeros(())
_kept: OrderedDict[Any, Rolling | str] = OrderedDict()


def rolling(cell: Any, xs: Any, state: tuple[Any, ...], held: bool) -> tuple[Rolling | str, list[mg.Tensor]]:
    """The program for a cell's steps over rows xs (R, ·) from a state, or why there is none; and the cell's tensors."""
    every: list[mg.Tensor] = []
    return _program(cell, xs, state, held, every), every


def _program(cell: Any, xs: Any, state: tuple[Any, ...], held: bool, every: list[mg.Tensor]) -> Rolling | str:
    promise: Any = "rolled" in vars(type(cell)) and cell.rolled
    if not (promise and isinstance(cell, Module)):
        return f"{type(cell).__name__} does not say rolled = True"
    if (reason := programs.rolls(xs.data)) is not None:
        return reason
    if xs.ndim != 2 or any(s.ndim != 2 for s in state):
        return "its inputs or states have more than one axis"
    grad = current_mode().grad
    try:
        key = (held, grad, *_about(xs), *[about for s in state for about in _about(s)], *_signature(cell, every))
        found = _kept.get(key)
    except TypeError:
        return f"{type(cell).__name__} has an attribute that is neither a tensor, a module nor a constant"
    if found is None:
        try:
            found = Rolling(cell, xs, state, held, grad)
        except programs.Unrolled as error:
            found = str(error)
        _kept[key] = found
        if len(_kept) > MOST:
            _kept.popitem(last=False)
    return found


def _about(tensor: Any) -> tuple[Any, ...]:
    return tensor.data.shape[1:], tensor.data.dtype, tensor.requires_grad


def _signature(cell: Module, tensors: list[mg.Tensor]) -> list[Any]:
    """All that a step depends on, but for the numbers in its tensors, which it adds to a list."""
    found: list[Any] = []
    for name, value in _attributes(cell):
        if isinstance(value, mg.Tensor):
            tensors.append(value)
            data = value.data
            found += (name, data.shape, data.dtype, type(data), value.requires_grad)
        elif isinstance(value, Module):
            found += (name, type(value), len(value._hooks))
        else:
            found += (name, type(value), value)
    found.append(type(cell))
    return found


def _attributes(module: Module) -> Iterator[tuple[str, Any]]:
    """The attributes of a module and of those below it, in the order in which they were set."""
    for name, value in vars(module).items():
        if name not in OWN:
            yield name, value
            if isinstance(value, Module):
                yield from _attributes(value)


def tensors_of(cell: Module) -> Iterator[mg.Tensor]:
    """The weights and other tensors of a cell and of the modules below it."""
    return (value for _, value in _attributes(cell) if isinstance(value, mg.Tensor))


def placed(module: Any, tensors: Iterator[mg.Tensor]) -> Any:
    """A copy of a module, and of those below it, with other tensors in the order of `tensors_of`."""
    copy = object.__new__(type(module))
    for name, value in vars(module).items():
        if name not in OWN and isinstance(value, mg.Tensor):
            value = next(tensors)
        elif name not in OWN and isinstance(value, Module):
            value = placed(value, tensors)
        object.__setattr__(copy, name, value)
    return copy


@lru_cache(maxsize=64)
def rows_of(sizes: tuple[int, ...], batch: int, reverse: bool) -> programs.Rows:
    """The layout of the rows of each step; full batches of one size share it."""
    return programs.Rows(sizes, batch, reverse)


def run(
    found: Rolling, every: list[mg.Tensor], xs: Any, state: tuple[Any, ...], packing: Packing, reverse: bool,
    plain: Any,
) -> Any:  # fmt: skip
    """The output (R, ·) and the final states (N, ·) of a loop as a program.

    every  the cell's tensors
    xs     the rows of all steps of the batch, or what `inputs` made of them if it looks at other steps
    plain  a function of (cell, xs, state) that runs the same loop step by step
    """
    weights = [every[k] for k in found.used]
    rows = rows_of(tuple([n for n in packing.sizes if n]), packing.N, reverse)

    def again(x: Any, states: list[Any], weights: list[Any]) -> list[Any]:
        output, final = plain(found.with_weights(weights), x, tuple(states))
        return [output, *final]

    output, *final = programs.rolled(found.loop, xs, state, weights, packing.real, rows, again)
    return output, tuple(final)
