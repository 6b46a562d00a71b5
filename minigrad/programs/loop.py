"""A loop of equal steps: forward and backward of all steps, each as one job for machine code.

A step is a few kernels (`stages`). They read and write arrays that hold all steps: inputs and kept values (R, ·) with
the rows of a step side by side, states on tracks (`tracks`). Nothing is allocated, stacked or looked up while the loop
runs (`calls`, `job`). Gradients of weights are sums over all rows, computed once at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..fusion.symbols import Symbol
from ..hoisting import product, sum_of_rows
from .calls import Calls, overwriting
from .draws import drawn
from .job import Location
from .stages import Stages, base_among, fixed_by, givens_of, untransposed
from .step import Step, Unrolled
from .tracks import Rows, taken

Array = Any


class Saved:
    """The arrays of a run that backward reads, by Symbol, and its rows."""

    def __init__(self, rows: Rows, arrays: dict[Any, Array], initial: list[Array]) -> None:
        self.rows = rows
        self.arrays = arrays  # weights, x and kept values of all steps, and the tracks of states
        self.initial = initial

    @property
    def kept(self) -> list[Array]:
        """The kept arrays; backward refuses to use one that was overwritten."""
        return list(self.arrays.values())


class Loop:
    """A step that is ready to run for any number of rows and steps.

    checked  its results are looked at: if one is not finite, the loop runs once more, step by step
    make     makes the kernels of a device; None for machine code
    """

    def __init__(self, step: Step, checked: bool = False, make: Any = None) -> None:
        self.step = step
        self.checked = checked or step.accumulates
        if make is not None and (self.checked or step.draws):
            raise Unrolled("its results are checked, for which Python would wait for the GPU" if self.checked
                           else "its steps draw random numbers on a GPU")  # fmt: skip
        self.fixed = [new is old for new, old in zip(step.new, step.states, strict=True)]  # states that stay
        moving = [s for s, stays in zip(step.new, self.fixed, strict=True) if not stays]
        draws = [draw.symbol for draw in step.draws]
        given = [step.x, *step.states, *([step.real] if step.real is not None else []), *draws]
        if len(set(moving)) < len(moving) or set(moving) & set(given):
            raise Unrolled("a step returns one value as two states")
        if any(p is not None and stays for p, stays in zip(step.pulled[1:], self.fixed, strict=False)):
            raise Unrolled("a state that stays as it is requires grad")
        self.moving = moving
        self.carried = [k for k, stays in enumerate(self.fixed) if not stays]
        old = [step.states[k] for k in self.carried]
        always = [step.x, *([step.real] if step.real is not None else []), *draws]
        self.backward: Stages | None = None
        needed: list[Symbol] = []
        self.spent = draws  # values that backward does not read
        pulled = [p for p in step.pulled if p is not None]
        if pulled:
            seeds = [*step.arriving, *[step.seeds[k] for k in self.carried]]
            known = fixed_by(step.weights, step.kept)
            kept = [s for s in step.kept if s not in known]
            carried = [p for p in (step.pulled[1 + k] for k in self.carried) if p is not None]
            there = [*always, *old, *moving, *kept]
            self.backward = Stages([*given, *moving, *kept, *seeds], step.weights, pulled, carried, there, there, make)
            read = _read(self.backward)
            self.spent = [s for s in draws if s not in read]
            read -= {*given, *self.backward.fixed}
            needed = [s for s in kept if s in read]
        shown = step.outputs[len(step.new) :]
        results = [*moving, *shown, *needed]
        then = [*always, *old, *moving]
        self.forward = Stages(given, step.weights, results, moving, always, then, make)
        fewer = [*moving, *shown]
        self.without = Stages(given, step.weights, fewer, moving, always, then, make) if needed else self.forward
        self.kept = [s for s in needed if s not in set(moving)]
        self._calls: dict[Any, Calls] = {}

    # ---- forward -------------------------------------------------------------------------------------------------

    def run(
        self, x: Array, real: Array | None, states: Sequence[Array], weights: Sequence[Array], rows: Rows, keep: bool
    ) -> tuple[list[Array], list[Array], Saved]:
        """The outputs of all steps (R, ·), the last states of the rows that take part, and the arrays kept for
        backward.
        """
        step = self.step
        arrays: dict[Any, Array] = dict(zip(step.weights, weights, strict=True))
        arrays[step.x] = x
        if step.real is not None:
            arrays[step.real] = real
        arrays |= drawn(step.draws, rows)
        for k, initial in enumerate(states):
            arrays[step.states[k]] = initial
            if not self.fixed[k]:
                track = _room(initial, rows.length, step.states[k])
                rows.begin(track, initial)
                arrays[step.states[k]] = arrays[step.new[k]] = track
        calls = self._forward_calls(keep, rows.begun == 1)
        calls.run(arrays, rows)
        outputs = [calls.whole(symbol, arrays, rows) for symbol in step.outputs]
        outputs[len(states) :] = [output.copy() for output in outputs[len(states) :]]  # backward may overwrite them
        for symbol in self.spent:
            del arrays[symbol]
        finals = [states[k][: rows.begun] if self.fixed[k] else taken(arrays[step.new[k]], rows.final).copy()
                  for k in range(len(states))]  # fmt: skip
        return outputs, finals, Saved(rows, arrays, list(states))

    def _forward_calls(self, keep: bool, alone: bool) -> Calls:
        found = self._calls.get(("forward", keep, alone))
        if found is None:
            found = Calls(self.forward if keep else self.without, self._layout(), alone)
            found.add_stages()
            self._calls["forward", keep, alone] = found
        return found

    def _layout(self) -> dict[Symbol, tuple[Any, str]]:
        """The layout of the values given to both directions."""
        step = self.step
        layout: dict[Symbol, tuple[Any, str]] = {step.x: (step.x, "rows")}
        if step.real is not None:
            layout[step.real] = step.real, "rows"
        layout |= {draw.symbol: (draw.symbol, "rows") for draw in step.draws}
        for state, new, stays in zip(step.states, step.new, self.fixed, strict=True):
            layout |= {state: (state, "first")} if stays else {state: (state, "old"), new: (new, "new")}
        return layout

    # ---- backward ------------------------------------------------------------------------------------------------

    def pull(
        self, saved: Saved, outputs: Sequence[Array | None], finals: Sequence[Array | None], release: bool = False
    ) -> list[Array | None]:
        """The gradients of x, the states and the weights, from those of the outputs and the last states.

        finals   (N, ·) each; rows that take no part pass theirs on to the initial state
        release  True if kept arrays may be overwritten
        """
        assert self.backward is not None
        step, rows, arrays = self.step, saved.rows, dict(saved.arrays)
        calls = self._backward_calls(tuple([g is not None for g in outputs]), rows.begun == 1, release)
        for symbol, g in zip(step.arriving, outputs, strict=True):
            arrays[symbol] = _room(arrays[step.x], rows.begun, symbol, np.zeros_like) if g is None else g
        pairs, firsts = [], {}
        for k in self.carried:
            initial, last = saved.initial[k], finals[k]
            last = np.zeros_like(initial) if last is None else last
            pairs.append(_room(initial, 2 * rows.begun, step.states[k]))
            firsts[k] = last.copy()
            arrays |= {("pair", k): pairs[-1], ("last", k): last, ("first", k): firsts[k]}
        calls.run(arrays, rows)
        n = rows.counts[0]
        for pair, first in zip(pairs, firsts.values(), strict=True):
            first[:n] = pair[rows.begun : rows.begun + n]  # `before` of step 0
        return self._results(calls, saved, arrays, firsts)

    def _backward_calls(self, seeded: tuple[bool, ...], alone: bool, release: bool) -> Calls:
        """Gradients of states enter with rows that end, leave with rows that begin, and move on with the rest."""
        assert self.backward is not None
        step, stages, key = self.step, self.backward, ("backward", seeded, alone, release)
        if key in self._calls:
            return self._calls[key]
        inside = self._forward_calls(True, alone).inside
        hosts = {host for host, _ in inside.values()}
        layout = self._layout()
        parts = {s for s in self.kept if base_among(s, layout) is not None}  # forward stores none of them
        layout |= {s: (s, "rows") for s in {*self.kept, *hosts} - {*inside, *parts}}
        layout |= {g: (g, "rows" if given else "first") for g, given in zip(step.arriving, seeded, strict=True)}
        whole = {step.pulled[0], *[untransposed(a) for term in stages.terms for a in term.args]}
        whole |= {s for call in stages.behind for s in givens_of(call)}  # of all steps
        elsewhere: list[int] = []  # states whose gradient lies elsewhere, or is zero
        for k in self.carried:
            layout[step.seeds[k]] = ("pair", k), "now"
            gradient = step.pulled[1 + k]
            if gradient in set(stages.stored) - {*layout, *whole}:
                layout[gradient] = ("pair", k), "before"
            else:
                elsewhere.append(k)
        if release and stages.make is None:
            inside = {**inside, **overwriting(stages, inside)}
        calls = Calls(stages, layout, alone, back=True, inside=inside)
        for k in self.carried:
            now = calls.location(step.seeds[k])
            width = now.strides[0]
            arriving, leaving = now._replace(kind="arriving now"), now._replace(kind="leaving now")
            calls.job.copy(arriving, Location(("last", k), "arriving", now.strides), width, "count arriving")
            calls.job.copy(Location(("first", k), "leaving", now.strides), leaving, width, "count leaving")
        calls.add_stages()
        for k in elsewhere:
            before, gradient = calls.location(step.seeds[k])._replace(kind="before"), step.pulled[1 + k]
            if gradient is None:
                calls.job.clear(before, before.strides[0])
            else:
                calls.job.copy(before, calls.location(gradient), before.strides[0])
        self._calls[key] = calls
        return calls

    def _results(
        self, calls: Calls, saved: Saved, arrays: dict[Any, Array], firsts: Mapping[int, Array]
    ) -> list[Array | None]:
        step, stages = self.step, calls.stages
        known = {s: arrays[s] for s in step.weights}
        for term in stages.terms:
            a = calls.whole(untransposed(term.args[0]), arrays, saved.rows)
            if term.op is np.matmul:
                known[term] = product(a.T, calls.whole(term.args[1], arrays, saved.rows))
            else:
                rows_summed = sum_of_rows(a)
                known[term] = (rows_summed if term.params == (0,) else np.sum(rows_summed)).reshape(term.shape)
        stages.after(known)
        found: list[Array | None] = []
        for k, symbol in enumerate(step.pulled):
            if symbol is None:
                found.append(None)
            elif k == 0:
                found.append(calls.whole(symbol, arrays, saved.rows))
            elif k <= len(step.states):
                found.append(firsts[k - 1])
            else:
                found.append(known[symbol])
        return found


def _room(beside: Array, rows: int, symbol: Symbol, make: Any = np.empty_like) -> Array:
    """An array of the kind of `beside`, with this number of rows of a Symbol."""
    return backend.shaped(make, beside, (rows, symbol.shape[1]), dtype=symbol.dtype, order="C")


def _read(stages: Stages) -> set[Symbol]:
    """The Symbols that the calls and the sums of stages read."""
    found = {s for part in (stages.ahead, stages.calls, stages.behind) for c in part for s in givens_of(c)}
    for term in stages.terms:
        found.update(untransposed(a) for a in term.args)
    for symbol in list(found):
        while symbol.op == "part":
            symbol = symbol.args[0]
            found.add(symbol)
    found.update(stages.stored)
    return found
