"""Layers over time, made from any cell: a Python loop over its steps.

    Recurrent(cell)                   one direction
    Bidirectional(forward, backward)  two, side by side (in `stacking`, like the next)
    Stacked([...])                    one above the other

All have the same interface, `output, state = layer(xs, state)`, and compute on rows (see `packing`). Code above them
never sees the rows, and a cell does not know whether it runs forward, backward, or in a ragged batch.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import programs
from minigrad.modes import current_mode
from minigrad.scopes import here, offered

from ..cells.cell import complete, inputs_of, looks_around, maps_rows
from ..layers.linear import check_features
from ..layers.lookup import Lookup
from ..modules import Module, Parameter, beside
from . import reasons, rolling
from .packing import Packing, from_rows, packing_of, to_rows

Shown = list[dict[str, mg.Tensor]]  # of each cell, by their names: (R, ·)


class OverTime(Module):
    """The common interface of all layers over time.

    `output, state = layer(xs, state=None, lengths=None, mask=None, return_states=False)`

    xs       (T, N, D), or (N, T, D) with batch_first; or a result of `Embedding.lookup`
    state    from an earlier call, or None for the initial state
    lengths  (N,) integers from 0 to T: sequence n ends after lengths[n] steps
    mask     (T, N) booleans ((N, T) with batch_first), holes allowed: False where there is no real step
    output   (T, N, H) or (N, T, H): zeros where there is no real step
    state    each sequence's last one (for a backward direction, the one after its first step)

    A step that is not real neither changes a state nor receives a gradient; each sequence of a ragged batch has the
    results it would have alone. With `return_states=True` there is a third result: for one cell a named tuple with
    every state and gate of every step, (T, N, H) each; for several cells a list of these.
    """

    batch_first = False
    batch_axis = 0  # of the state's tensors

    def forward(
        self, xs: Any, state: Any = None, *, lengths: Any = None, mask: Any = None, return_states: bool = False
    ) -> Any:
        """See the class."""
        title = self._title()
        xs = xs if isinstance(xs, Lookup) else beside(self, xs)
        if xs.ndim != 3:
            axes = "(N, T, D)" if self.batch_first else "(T, N, D)"
            raise ValueError(f"{title}: expected an input {axes}, got shape {xs.shape}{here()}")
        if xs.dtype.kind != "f":
            raise TypeError(f"{title}: the input must be of floats, not {xs.dtype}{here()}")
        size = self.input_size
        if size is not None:
            check_features(self, xs, size, "input_size")
        if self.batch_first:
            xs = xs.batch_second() if isinstance(xs, Lookup) else np.swapaxes(xs, 0, 1)
        T, N, _ = xs.shape
        packing = packing_of(title, T, N, lengths, mask, xs.device, self.batch_first)
        shown: Shown | None = [] if return_states else None
        rows = xs.packed(packing) if isinstance(xs, Lookup) else to_rows(xs, packing.places, packing.real)
        rows, final = self.run(rows, packing, state, shown)
        output = self._batch(rows, packing)
        return (output, final) if shown is None else (output, final, self._named(shown, packing))

    def _batch(self, rows: Any, packing: Packing) -> Any:
        """Rows (R, ...) as a batch in the caller's layout."""
        rest = rows.shape[1:]
        flat = rows if len(rest) == 1 else rows.reshape((rows.shape[0], math.prod(rest)))
        batch = from_rows(flat, packing.T, packing.N, packing.places, packing.real)
        batch = batch if len(rest) == 1 else batch.reshape((packing.T, packing.N, *rest))
        return np.swapaxes(batch, 0, 1) if self.batch_first else batch

    def _named(self, shown: Shown, packing: Packing) -> Any:
        """The shown values of all steps, as named tuples of batches."""
        found = []
        for each in shown:
            kind = namedtuple("States", each)  # type: ignore[misc]
            found.append(kind(*[self._batch(rows, packing) for rows in each.values()]))
        return found[0] if len(found) == 1 else found

    def _title(self) -> str:
        return type(self).__name__

    @property
    def rolled(self) -> bool | str:
        """True if all loops inside ran as programs in the last call; otherwise the reason of the first that did not."""
        answers = (m.rolled for m in self.modules() if isinstance(m, Recurrent))
        return next((answer for answer in answers if answer is not True), True)

    @property
    def input_size(self) -> int | None:
        """The width of the input, if a cell declares it."""
        return None

    def run(self, rows: Any, packing: Packing, state: Any, shown: Shown | None) -> tuple[Any, Any]:
        """From rows (R, D), or their `Lookup`, and a state in the caller's form to rows (R, H) and the final state."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> Any:
        """The state used for None."""
        raise NotImplementedError


class Recurrent(OverTime):
    """A cell run over a sequence: `for t, x in steps(xs): state = cell.step(x, state)`.

    cell         any object with the protocol of `nn.cells.cell`; it need not be a Module
    reverse      from the last step to the first
    batch_first  inputs and outputs are (N, T, ·)
    learn_state  the initial state is a parameter, `initial_h` and so on, initially zero
    rolled       run the loop as a program if the cell allows it; the attribute `rolled` tells if it did

    A state of one tensor is passed as that tensor, (N, H); others are tuples.
    """

    def __init__(
        self, cell: Any, *, reverse: bool = False, batch_first: bool = False, learn_state: bool = False,
        rolled: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if not (hasattr(cell, "initial_state") and hasattr(cell, "step")):
            raise TypeError(f"Recurrent: a cell has initial_state and step, {type(cell).__name__} has not")
        self.cell = cell
        self.reverse = reverse
        self.batch_first = batch_first
        self._rolls = rolled
        self._learned: list[str] = []
        if learn_state:
            initial = cell.initial_state(1)
            names = getattr(cell, "states", [str(k) for k in range(len(initial))])
            self._learned = [f"initial_{name}" for name in names]
            for name, start in zip(self._learned, initial, strict=False):
                setattr(self, name, Parameter(np.zeros_like(start.data[0])))

    @property
    def input_size(self) -> int | None:
        """The width of the input, if the cell declares it."""
        return getattr(self.cell, "input_size", None)

    def initial_state(self, batch: int) -> Any:
        """The state before the first step, (N, ·) each."""
        state = self._without_mask(self._initial(batch))
        return state[0] if len(state) == 1 else state

    def _without_mask(self, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """The state without its dropout mask, which belongs to one sequence."""
        return state[: len(getattr(self.cell, "states", state))]

    def _initial(self, batch: int) -> tuple[Any, ...]:
        """The cell's initial state, or the learned one."""
        learned = [np.broadcast_to(getattr(self, s), (batch, *getattr(self, s).shape)) for s in self._learned]
        return complete(self.cell, learned, batch, self._title())

    def run(self, rows: Any, packing: Packing, state: Any, shown: Shown | None) -> tuple[Any, Any]:
        """See OverTime."""
        cell, N, title = self.cell, packing.N, self._title()
        if state is None:
            state = self._initial(N)
        else:
            state = complete(cell, tuple(state) if isinstance(state, tuple | list) else (state,), N, title)
        state = tuple([s if s.device == rows.device else s.to(rows.device) for s in state])
        if packing.order is not None:
            state = tuple([s[packing.order] for s in state])
        xs, mapped = inputs_of_rows(cell, rows, packing, self.reverse)
        program, tensors = self._program(xs, state, packing, shown, mapped)
        if isinstance(program, str):
            loop = self._unrolled(cell, xs, state, packing, shown is not None, mapped)
            outputs, final, fields = loop.rows(self.reverse), loop.final(), loop.fields
        else:

            def again(cell: Any, xs: Any, state: tuple[Any, ...]) -> tuple[list[Any], tuple[Any, ...]]:
                loop = self._unrolled(cell, xs, state, packing, shown is not None, mapped)
                return loop.rows(self.reverse), loop.final()

            outputs, final = rolling.run(program, tensors, xs, state, packing, self.reverse, again)
            fields = program.loop.step.fields
        output = outputs[0]
        if shown is not None:
            labels = names(cell, fields, len(outputs), len(state))
            shown.append({name: values for name, values in zip(labels, outputs, strict=True) if name is not None})
        if packing.inverse is not None:
            final = tuple([s[packing.inverse] for s in final])
        if hasattr(cell, "output"):
            output = cell.output(output)
        final = self._without_mask(final)
        return output, final[0] if len(final) == 1 else final

    def _program(
        self, xs: Any, state: tuple[Any, ...], packing: Packing, shown: Shown | None, mapped: bool
    ) -> tuple[programs.Rolling | str, list[mg.Tensor]]:
        """The program of the loop, or the reason why it runs step by step; and the cell's tensors."""
        found: programs.Rolling | str
        tensors: list[mg.Tensor] = []
        if not self._rolls:
            found = "the layer was made with rolled=False"
        elif not any(packing.sizes):
            found = "it has no steps"
        else:
            form = programs.Form(packing.real is not None, shown is not None, mapped)
            found, tensors = programs.program_of(self.cell, xs, state, form)
        reasons.note(self, found if isinstance(found, str) else None)
        return found, tensors

    @property
    def rolled(self) -> bool | str:
        """True if the last call ran as a program; otherwise a sentence with the reason."""
        return reasons.rolled(self)

    def _unrolled(
        self, cell: Any, xs: Any, state: tuple[Any, ...], packing: Packing, shows: bool, mapped: bool
    ) -> _Loop:  # fmt: skip
        """Run the loop step by step; it `shows` everything that a step returns, or only the first state.

        mapped  xs are results of the cell's `inputs`
        """
        loop = _Loop(cell, state, packing.held or [None], shows)
        xs = cell.inputs(xs) if maps_rows(cell) and not mapped else xs
        parts = np.split(xs, packing.cuts)  # T tensors (n_t, ...)
        for t, x in mg.steps(parts, reverse=self.reverse):
            if x.shape[0]:
                loop.step(t, x)
        if not loop.outputs:  # no step is real
            loop.step(0, parts[0])
        return loop


def inputs_of_rows(cell: Any, rows: Any, packing: Packing, reverse: bool) -> tuple[Any, bool]:
    """The rows that a loop is run on, and True if they are results of the cell's `inputs`."""
    if isinstance(rows, Lookup):
        if maps_rows(cell):
            return rows.mapped(cell.inputs), True
        rows = rows.rows()
    around = looks_around(cell)
    return (inputs_of(cell, rows, packing, reverse) if around else rows), around


class _Loop:
    """The steps of a ragged loop, whose rows begin and end at different steps.

    state  of the rows alive, the first n of the batch. `waiting` holds the initial states of rows that begin later (in
    a backward direction); `ended` the states of rows that have ended.
    """

    def __init__(self, cell: Any, state: tuple[Any, ...], held: Sequence[Any], shows: bool) -> None:
        self.cell = cell
        self.held = held
        self.waiting = state
        self.state: tuple[Any, ...] = state
        self.begun = 0  # number of rows so far
        self.ended: list[tuple[Any, ...]] = []
        self.shows = shows
        self.outputs: list[tuple[Any, ...]] = []
        self.fields: tuple[str, ...] | None = None  # the names of returned values, if a step returns a named tuple

    def step(self, t: int, x: Any) -> None:
        """One step of the rows x (n, ...)."""
        n, alive = x.shape[0], self.state[0].shape[0]
        if n != alive:
            self._resize(n, alive)
        self.begun = max(self.begun, n)
        old = self.state
        new = self.cell.step(x, old)
        if not isinstance(new, tuple) or len(new) < len(old):
            raise TypeError(
                f"{type(self.cell).__name__}.step must return a tuple of at least the {len(old)} tensors of the "
                f"state, it returned {f'{len(new)} of them' if isinstance(new, tuple) else type(new).__name__}{here()}"
            )
        state = new[: len(old)]
        for s, before in zip(state, old, strict=True):
            if s.shape != before.shape:
                raise ValueError(
                    f"{type(self.cell).__name__}.step turned a state of shape {before.shape} into {s.shape}{here()}"
                )
        mask = self.held[t]
        if mask is not None:
            state = tuple([np.where(along(mask, s), s, before) for s, before in zip(state, old, strict=True)])
        if current_mode().observers:
            state = self._offered(state, new)
        self.state = tuple(state)
        self.outputs.append((*state, *new[len(old) :]) if self.shows else state[:1])
        self.fields = getattr(new, "_fields", None)

    def rows(self, reverse: bool) -> list[Any]:
        """The outputs of the steps, (R, ·) each, in the order of time."""
        return [np.concatenate(parts[:: -1 if reverse else 1]) for parts in zip(*self.outputs, strict=True)]

    def _offered(self, state: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
        """The state under the cell's names, offered to observers. They see the further values of the step, too."""
        labels = names(self.cell, getattr(new, "_fields", None), len(new), len(state))
        for n, value in zip(labels[len(state) :], new[len(state) :], strict=True):
            if n is not None:
                offered(n, value, "gate")
        return tuple([s if n is None else offered(n, s, "loop") for n, s in zip(labels, state, strict=False)])

    def _resize(self, n: int, alive: int) -> None:
        """Drop rows that have ended, or add rows that begin."""
        if not self.begun:  # a backward direction begins with the longest sequences
            self.state = tuple([s[:n] for s in self.state])
        elif n < alive:
            self.ended.append(tuple([s[n:] for s in self.state]))
            self.state = tuple([s[:n] for s in self.state])
        else:
            begin = [s[alive:n] for s in self.waiting]
            self.state = tuple([np.concatenate(pair) for pair in zip(self.state, begin, strict=True)])

    def final(self) -> tuple[Any, ...]:
        """The last state of every row; for a row without a step, its initial one."""
        found = [self.state, *reversed(self.ended)]
        if self.begun < self.waiting[0].shape[0]:
            found.append(tuple([s[self.begun :] for s in self.waiting]))
        return self.state if len(found) == 1 else tuple([np.concatenate(s) for s in zip(*found, strict=True)])


def along(mask: Any, s: Any) -> Any:
    """A mask of rows (n, 1) with as many axes as s (n, ...)."""
    return mask if s.ndim == 2 else mask.reshape((-1, *[1] * (s.ndim - 1)))


def names(cell: Any, fields: Sequence[str] | None, count: int, carried: int) -> list[str | None]:
    """The names of the values that a step returns, the carried ones first; None for values that are not shown.

    fields  their names, if the step returns a named tuple
    """
    if fields is not None:
        return list(fields)
    states = getattr(cell, "states", None)
    if states is None:
        states = [f"s{k}" for k in range(carried)]
    gates = list(getattr(cell, "gates", ()))
    extra = count - carried
    gates += [f"gate{k}" for k in range(len(gates), extra)]
    return [*states, *[None] * (carried - len(states)), *gates[:extra]]
