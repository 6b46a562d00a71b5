"""A step of a loop as Symbols: its results, the values kept for backward, and the gradients.

The step function is called once with Symbols for its slice of the sequence, its states and its weights. The tape of
this call and the engine's own backward give the gradients as Symbols, so no gradient is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import randomness
from ..backend import native
from ..backward import key_of, nodes_below, walk
from ..fusion.structure import schedule_of
from ..fusion.symbols import FusionError, Symbol, Trace
from ..modes import changed_mode
from ..tape import Observer, Operation
from ..tensors import Tensor
from .draws import DrawRecorder

ROWS = 1_000_006  # of a traced step, unlike the size of any weight; at run time, the number of sequences
Function = Callable[[Tensor, tuple[Tensor, ...], Sequence[Tensor]], Any]


class Unrolled(Exception):  # noqa: N818
    """A loop that cannot become a program; the message gives the reason."""


class Operand(NamedTuple):
    """An operand, as far as it is known before the loop runs.

    shape  of one row (for a slice of the sequence or a state), or of the whole (for a weight)
    needs  True if its gradient is needed
    """

    shape: tuple[int, ...]
    dtype: Any
    needs: bool


class Step:
    """The step as Symbols.

    x, real, states, weights  the given values; `real` is None, or the mask of the rows that take part in the step
    new      the states after the step
    outputs  the outputs of all steps: the first state; if the step `shows`, all states and further returned values
    fields   the names of the returned values, if the step returns a named tuple
    draws    the random numbers drawn
    kept     the intermediate values that the rules name
    seeds    gradients of the new states, carried back, and `arriving`, the gradients of the step's outputs
    pulled   the gradients of x, states and weights; None where none is needed or none arrives
    """

    def __init__(
        self, function: Function, x: Operand, states: Sequence[Operand], weights: Sequence[Operand], held: bool,
        grad: bool, shows: bool = False,
    ) -> None:  # fmt: skip
        x, *rest = [o._replace(dtype=native(o.dtype)) for o in (x, *states, *weights)]
        states, weights = rest[: len(states)], rest[len(states) :]
        self.trace = trace = Trace(rows=ROWS)
        self.x = trace.input("x", (ROWS, *x.shape), x.dtype)
        self.real = trace.input("real", (ROWS, 1), np.bool_) if held else None
        self.states = [trace.input(f"state {k}", (ROWS, *s.shape), s.dtype) for k, s in enumerate(states)]
        self.weights = [trace.input(f"weight {k}", w.shape, w.dtype) for k, w in enumerate(weights)]
        operands = [x, *states, *weights]
        given = [
            Tensor(symbol, grad and operand.needs)
            for symbol, operand in zip([self.x, *self.states, *self.weights], operands, strict=True)
        ]
        before = tuple(given[1 : 1 + len(states)])
        numbers = randomness.generator("cpu").bit_generator
        drawn = numbers.state
        source, watch = DrawRecorder(trace, ROWS), _Traceable()
        try:
            with (
                changed_mode(grad=grad, scope=None, observers=(watch,), fast=False, hoisted=None),
                randomness.drawn_from("symbol:0", source),
            ):
                returned = function(given[0], before, given[1 + len(states) :])
                after = self._checked(returned, before)
        except FusionError as error:
            what = str(error).split("\n")[0].removeprefix("fuse: ")
            raise Unrolled(f"it uses {watch.inside_of}: {what}" if watch.inside_of else what) from None
        finally:
            numbers.state = drawn  # the loop draws the trace's random numbers again
        self.draws = source.draws
        outputs = [*after, *_shown(returned[len(before) :])] if shows else after[:1]
        self.fields = getattr(returned, "_fields", None)
        self.new, self.outputs = [s.data for s in after], [s.data for s in outputs]
        self.varies, self.outputs_vary = [s.requires_grad for s in after], [s.requires_grad for s in outputs]
        self.kept: list[Symbol] = []
        self.seeds = [trace.input(f"gradient {k}", s.shape, s.dtype) for k, s in enumerate(self.new)]
        self.arriving = [trace.input(f"gradient of output {k}", s.shape, s.dtype) for k, s in enumerate(self.outputs)]
        self.pulled: list[Symbol | None] = [None] * len(given)
        if any(self.varies) or any(self.outputs_vary):
            self._derive(given, after, outputs)

    def _checked(self, returned: Any, before: tuple[Tensor, ...]) -> list[Any]:
        """The states that a step returned; rows that take no part keep the old ones."""
        if not isinstance(returned, tuple) or len(returned) < len(before):
            raise Unrolled("a step returned no tuple of its states")
        after: list[Any] = []
        for new, old in zip(returned, before, strict=False):
            if not isinstance(new, Tensor) or not isinstance(new.data, Symbol):
                raise Unrolled("a step returned a state that it did not compute from its arguments")
            if new.shape != old.shape or new.dtype != old.dtype:
                raise Unrolled("a step changed the shape or the dtype of a state")
            after.append(np.where(self.real, new, old) if self.real is not None and new is not old else new)
        return after

    def _derive(self, given: list[Tensor], after: list[Any], outputs: list[Any]) -> None:
        named: dict[Symbol, None] = {}
        for node in nodes_below([s.edge for s in (*after, *outputs) if s.edge is not None]):
            for _, _, kept in node.edges:
                named.update(dict.fromkeys(v for v in kept if isinstance(v, Symbol)))
        self.kept = list(named)
        roots = []
        arriving: list[Any] = list(self.arriving)
        for k, s in enumerate(after):
            if s.requires_grad:
                g: Any = self.seeds[k]
                roots.append((s.edge or s, g + arriving[k] if k < len(outputs) else g))
        for s, g in zip(outputs[len(after) :], arriving[len(after) :], strict=True):
            if s.requires_grad:
                roots.append((s.edge or s, g))
        wanted = {key_of(v) for v in given if v.requires_grad}
        with changed_mode(observers=(), fast=False, hoisted=None):
            found = walk(roots, retain_graph=True, wanted=wanted)
        self.pulled = [found.get(v) for v in given]

    @property
    def accumulates(self) -> bool:
        """True if it has cumulative sums, whose products with zeros and ones turn a whole row into NaN after one value
        that is not finite."""
        return any(symbol.op == "triangle" for symbol in self.trace.known.values())

    def uses_weights(self) -> list[bool]:
        """For each weight, True if the step reads it."""
        results = [*self.new, *self.kept, *[p for p in self.pulled if p is not None]]
        read = {a for s in schedule_of([], results) for a in (s, *s.args) if isinstance(a, Symbol)}
        return [w in read for w in self.weights]


def _shown(values: Sequence[Any]) -> list[Any]:
    """The values that a step returned in addition to its states, if they exist for all steps."""
    for value in values:
        if not isinstance(value, Tensor) or not isinstance(value.data, Symbol) or value.shape[:-1] != (ROWS,):
            raise Unrolled("a step shows a value that is not a row for each sequence")
    return list(values)


class _Traceable(Observer):
    """Refuses operations that cannot be traced backward.

    inside_of  the operation that has begun and not ended
    """

    inside_of = ""

    def began(self, primitive: Operation) -> None:
        if primitive.name == "getitem":
            raise Unrolled("a step indexes a tensor; np.split divides along an axis")
        self.inside_of = primitive.name

    def recorded(self, primitive: Operation, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        self.inside_of = ""
