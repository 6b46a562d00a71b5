"""A loop whose steps do the same: forward and backward as prepared calls on arrays for all steps.

Each step is a few kernels (`stages`). They read and write views of arrays that hold all steps: inputs and kept values
(R, ·) with the rows of a step side by side, states on tracks (`tracks`). So nothing is allocated, stacked or looked up
while the loop runs. Gradients of weights are sums over all rows, done once at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from ..fusion.structure import VIEWS
from ..fusion.symbols import Symbol
from ..hoisting import product, sum_of_rows
from .matrices import Matrix
from .stages import Product, Stages, base_among, evaluated, fixed_by, untransposed
from .step import Step, Unrolled
from .tracks import Rows

Array = Any
Views = Any  # a view for each step


class Saved:
    """The arrays of a run that backward reads, by Symbol, and its rows."""

    def __init__(self, rows: Rows, arrays: dict[Symbol, Array], initial: list[Array]) -> None:
        self.rows = rows
        self.arrays = arrays  # of weights, of x and of kept values for all steps, and the tracks of states
        self.initial = initial

    @property
    def kept(self) -> list[Array]:
        """Those arrays; backward refuses one that was overwritten."""
        return list(self.arrays.values())


class Loop:
    """A step, ready to be run for any number of rows and steps."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.fixed = [new is old for new, old in zip(step.new, step.states, strict=True)]  # states that stay
        moving = [s for s, stays in zip(step.new, self.fixed, strict=True) if not stays]
        given = [step.x, *step.states, *([step.real] if step.real is not None else [])]
        if len(set(moving)) < len(moving) or set(moving) & set(given):
            raise Unrolled("a step returns one value as two states")
        if any(p is not None and stays for p, stays in zip(step.pulled[1:], self.fixed, strict=False)):
            raise Unrolled("a state that stays as it is requires grad")
        self.moving = moving
        self.carried = [k for k, stays in enumerate(self.fixed) if not stays]
        self.backward: Stages | None = None
        needed: list[Symbol] = []
        pulled = [p for p in step.pulled if p is not None]
        if pulled:
            seeds = [step.seed, *[step.seeds[k] for k in self.carried]]
            known = fixed_by(step.weights, step.kept)
            kept = [s for s in step.kept if s not in known]
            self.backward = Stages([*given, *moving, *kept, *seeds], step.weights, pulled)
            read = _read(self.backward) - set(given) - self.backward.fixed
            needed = [s for s in kept if s in read]
        self.forward = Stages(given, step.weights, [*moving, *needed])
        self.kept = [s for s in needed if s not in set(moving)]

    # ---- forward -------------------------------------------------------------------------------------------------

    def run(
        self, x: Array, real: Array | None, states: Sequence[Array], weights: Sequence[Array], rows: Rows, keep: bool
    ) -> tuple[Array, list[Array], Saved]:
        """The outputs of all steps (R, ·), the last states of the rows that take part, and what backward needs."""
        step, stages = self.step, self.forward
        arrays: dict[Symbol, Array] = dict(zip(step.weights, weights, strict=True))
        arrays[step.x] = x
        if step.real is not None:
            arrays[step.real] = real
        for k in self.carried:
            initial = states[k]
            track = np.empty((rows.length, *initial.shape[1:]), initial.dtype)
            rows.begin(track, initial)
            arrays[step.states[k]] = arrays[step.new[k]] = track
        if keep:
            for s in self.kept:
                arrays[s] = np.empty((rows.count, *s.shape[1:]), s.dtype)
        views = self._given_views(arrays, states, rows)
        if keep:
            views |= {s: rows.of_rows(arrays[s]) for s in self.kept}
        self._execute(stages, views, arrays, rows)
        output = arrays[step.new[0]][rows.new]
        finals = [arrays[step.new[k]][rows.final].copy() if k in self.carried else states[k][: rows.begun]
                  for k in range(len(states))]  # fmt: skip
        return output, finals, Saved(rows, arrays, list(states))

    def _given_views(self, arrays: dict[Symbol, Array], states: Sequence[Array], rows: Rows) -> dict[Symbol, Views]:
        step = self.step
        views: dict[Symbol, Views] = {step.x: rows.of_rows(arrays[step.x])}
        if step.real is not None:
            views[step.real] = rows.of_rows(arrays[step.real])
        for k, stays in enumerate(self.fixed):
            if stays:
                views[step.states[k]] = rows.of_first(states[k])
            else:
                views[step.states[k]] = rows.of_old(arrays[step.states[k]])
                views[step.new[k]] = rows.of_new(arrays[step.new[k]])
        return views

    def _execute(
        self, stages: Stages, views: dict[Symbol, Views], arrays: dict[Symbol, Array], rows: Rows,
        more: Sequence[tuple[Callable[..., Any], list[Views]]] = (), between: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        """The calls of each step; `more` follow. With `between`, from the last step to the first: it is called with the
        number of each step before that."""
        back = between is not None
        constants = evaluated(stages.once, dict(arrays))
        calls: list[Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]] = []

        def call(functions: Views, *operands: Views) -> None:
            turned = [reversed(v) if back and type(v) is list else v for v in (functions, *operands)]
            calls.append(zip(turned[0], zip(*turned[1:], strict=False), strict=False))

        for each in stages.calls:
            if isinstance(each, Product):
                matrix = Matrix(constants[each.matrix])
                times = {n: matrix.times(n) for n in rows.distinct}
                found = [times[n] for n in rows.counts]
                left, right = [self._views(s, stages, views, constants, rows) for s in (each.rows, each.result)]
                call([function for function, _ in found], left, [laid_out for _, laid_out in found], right)
            else:
                sizes = {n: each.sizes(n) for n in rows.distinct}
                operands = [self._views(s, stages, views, constants, rows) for s in (*each.givens, *each.results)]
                call(repeat(each.kernel), [sizes[n] for n in rows.counts], *operands)
        for function, operands in more:
            call(repeat(function), *operands)
        steps = range(len(rows.counts))
        for u, step in zip(reversed(steps) if back else steps, zip(*calls, strict=False), strict=False):
            if between is not None:
                between(u)
            for function, arguments in step:
                if function(*arguments):
                    raise RuntimeError("a kernel of a loop refused its arrays")

    def _views(
        self, symbol: Symbol, stages: Stages, views: dict[Symbol, Views], constants: dict[Symbol, Array], rows: Rows
    ) -> Views:
        """The views of a value, one for each step. Values that no later step reads share one buffer."""
        found = views.get(symbol)
        if found is None:
            if symbol in stages.fixed:
                return repeat(_laid_out(constants[symbol]))
            found = parts_of(symbol, views)
            if found is None:
                found = rows.of_first(np.empty((rows.begun, *symbol.shape[1:]), symbol.dtype))
            views[symbol] = found
        return found

    # ---- backward ------------------------------------------------------------------------------------------------

    def pull(
        self, saved: Saved, output: Array | None, finals: Sequence[Array | None], over_x: bool = False
    ) -> list[Array | None]:
        """The gradients of x, the states and the weights from those of the outputs and of the last states.

        finals  (N, ·) each; the rows that take no part hand theirs on to the initial state
        over_x  whether the gradient of x may be written over x, which is not needed any more
        """
        assert self.backward is not None
        step, stages, rows, arrays = self.step, self.backward, saved.rows, dict(saved.arrays)
        views = self._given_views(arrays, saved.initial, rows)
        views |= {s: rows.of_rows(arrays[s]) for s in self.kept}
        if output is None:
            output = np.broadcast_to(np.zeros_like(arrays[step.new[0]][:1]), (rows.count, *step.new[0].shape[1:]))
        views[step.seed] = rows.of_rows(_laid_out(output))
        more: list[tuple[Callable[..., Any], list[Views]]] = []
        carried: list[tuple[Array, Array, Array, Array]] = []  # gradients: now, before, of the last, of the first state
        for k in self.carried:
            initial, last = saved.initial[k], finals[k]
            last = np.zeros(initial.shape, initial.dtype) if last is None else last
            pair = [np.empty((rows.begun, *initial.shape[1:]), initial.dtype) for _ in range(2)]
            now, before = [[pair[(u + turn) % 2][:n] for u, n in enumerate(rows.counts)] for turn in (0, 1)]
            views[step.seeds[k]] = now
            carried.append((pair[0], pair[1], last, last.copy()))
            gradient = step.pulled[1 + k]
            if gradient is None:
                more.append((_clear, [before]))
            elif gradient in set(stages.stored) and gradient not in views and gradient is not step.pulled[0]:
                views[gradient] = before
            else:
                more.append((_copy, [before, self._stack(gradient, views, arrays, rows)]))
        of_x, x = step.pulled[0], arrays[step.x]
        if over_x and of_x is not None and of_x not in views and of_x.op not in VIEWS and self._replaces_x(of_x, x):
            arrays[of_x], views[of_x] = x, views[step.x]
        for s in stages.stored:
            if s not in views:
                self._stack(s, views, arrays, rows)
        self._execute(stages, views, arrays, rows, more, _Between(rows, carried))
        for _, before, _, first in carried:  # of step 0
            first[: rows.counts[0]] = before[: rows.counts[0]]
        return self._results(stages, saved, arrays, carried)

    def _replaces_x(self, gradient: Symbol, x: Array) -> bool:
        assert self.backward is not None
        same = gradient.shape[1:] == x.shape[1:] and gradient.dtype == x.dtype
        return same and x.flags.writeable and self.step.x not in _read(self.backward)

    def _stack(self, symbol: Symbol, views: dict[Symbol, Views], arrays: dict[Symbol, Array], rows: Rows) -> Views:
        """Views of an array for all steps."""
        if symbol in views:
            return views[symbol]
        found = parts_of(symbol, views)
        if found is None:
            arrays[symbol] = np.empty((rows.count, *symbol.shape[1:]), symbol.dtype)
            found = views[symbol] = rows.of_rows(arrays[symbol])
        return found

    def _results(
        self, stages: Stages, saved: Saved, arrays: dict[Symbol, Array], carried: Sequence[tuple[Array, ...]]
    ) -> list[Array | None]:
        step = self.step
        known = {s: arrays[s] for s in step.weights}
        for term in stages.terms:
            a = self._whole(untransposed(term.args[0]), saved, arrays)
            if term.op is np.matmul:
                known[term] = product(a.T, self._whole(term.args[1], saved, arrays))
            else:
                rows_summed = sum_of_rows(a)
                known[term] = (rows_summed if term.params == (0,) else np.sum(rows_summed)).reshape(term.shape)
        evaluated(stages.totals, known)
        found: list[Array | None] = []
        states = dict(zip(self.carried, carried, strict=True))
        for k, symbol in enumerate(step.pulled):
            if symbol is None:
                found.append(None)
            elif k == 0:
                found.append(self._whole(symbol, saved, arrays))
            elif k <= len(step.states):
                found.append(states[k - 1][3])
            else:
                found.append(known[symbol] if symbol in known else evaluated([symbol], known)[symbol])
        return found

    def _whole(self, symbol: Symbol, saved: Saved, arrays: dict[Symbol, Array]) -> Array:
        """The values of a Symbol at all steps, (R, ·), in the order of time."""
        rows, columns = saved.rows, slice(None)
        if symbol not in arrays and (part := base_among(symbol, arrays)) is not None:
            symbol, columns = part[0], slice(*part[1:])
        for k, state in enumerate(self.step.states):
            if symbol is state and self.fixed[k]:
                return np.concatenate([saved.initial[k][:n] for n in sorted(rows.counts, reverse=True)])[:, columns]
            if symbol is state:
                return arrays[symbol][rows.old][:, columns]
        return arrays[symbol][rows.new if symbol in set(self.moving) else slice(None)][:, columns]


class _Between:
    """Before each step of backward: rows that ended with it bring the gradient of their last state; rows that began
    with the step after it leave that of their first one."""

    def __init__(self, rows: Rows, carried: Sequence[tuple[Array, Array, Array, Array]]) -> None:
        self.counts, self.carried = rows.counts, carried
        self.n = 0

    def __call__(self, u: int) -> None:
        n = self.counts[u]
        if n != self.n:
            for *pair, last, first in self.carried:
                now = pair[u % 2]
                now[self.n : n] = last[self.n : n]
                first[n : self.n] = now[n : self.n]
            self.n = n


def parts_of(symbol: Symbol, views: Mapping[Symbol, Views]) -> list[Array] | None:
    """The views of a part of what has views."""
    found = base_among(symbol, views)
    return None if found is None else [v[:, found[1] : found[2]] for v in views[found[0]]]


def _clear(array: Array) -> None:
    array[...] = 0


def _copy(target: Array, source: Array) -> None:
    target[...] = source


def _laid_out(array: Array) -> Array:
    """An array whose rows have no gaps."""
    dense = not array.ndim or array.strides[-1] == array.itemsize
    return array if dense and array.flags.aligned else array.copy()


def _read(stages: Stages) -> set[Symbol]:
    """The Symbols that the calls and the sums of stages read."""
    found: set[Symbol] = set()
    for call in stages.calls:
        found.update([call.rows] if isinstance(call, Product) else call.givens)
    for term in stages.terms:
        found.update(untransposed(a) for a in term.args)
    for symbol in list(found):
        while symbol.op == "part":
            symbol = symbol.args[0]
            found.add(symbol)
    found.update(s for s in stages.stored)
    return found
