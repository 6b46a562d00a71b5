"""The Lyapunov spectrum of a recurrent layer: rates at which small changes of its state grow or die, by direction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend

from ..cells.cell import complete, inputs_of
from ..layers.dropout import undropped
from ..modules import Module, beside
from ..sequences.packing import Packing
from ..training.files import StrPath
from .jacobians import cell_of, directions, growth
from .result import BLUE, GREY, RED, Array, Result, drawing, whole_steps


@dataclass(frozen=True, repr=False, eq=False)
class Lyapunov(Result):
    """The K largest Lyapunov exponents of N sequences: natural logarithms a step, the largest first.

    of_each  (N, K): of each sequence
    running  (T, K): the mean over sequences after each step, from the steps that count; NaN before
    size     S, the numbers in the whole state (h and c of an LSTM)
    discard  the number of steps at the beginning that do not count
    """

    of_each: Array
    running: Array = field(repr=False)
    size: int
    discard: int

    @property
    def exponents(self) -> Array:
        """(K,): the mean over the sequences."""
        mean: Array = self.of_each.mean(axis=0)
        return mean

    @property
    def errors(self) -> Array:
        """(K,): standard errors of that mean; NaN for one sequence, and where an exponent is −∞."""
        N = len(self.of_each)
        with np.errstate(invalid="ignore"):
            spread = np.sqrt(np.square(self.of_each - self.exponents).sum(axis=0) / max(N - 1, 1) / N)
        return spread if N > 1 else np.full_like(spread, np.nan)

    @property
    def entropy(self) -> float:
        """The sum of the positive exponents, nats a step: an upper bound of the Kolmogorov–Sinai entropy rate."""
        return float(np.maximum(self.exponents, 0).sum())

    @property
    def dimension(self) -> float:
        """The dimension of the attractor by Kaplan & Yorke 1979: j + (λ_1 + ⋯ + λ_j)/|λ_{j+1}|, for the largest j whose
        sum is not negative. NaN where the exponents are too few to tell."""
        sums = np.cumsum(self.exponents)
        if np.isnan(sums).any():
            return np.nan
        j = int((sums >= 0).sum())
        if j == len(sums):
            return float(j) if j == self.size else np.nan
        return j + (float(sums[j - 1] / -self.exponents[j]) if j else 0.0)

    @property
    def verdict(self) -> str:
        """The fate of a small change of the state, and so of the gradient."""
        return growth(self.exponents[0])

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        rows = zip(self.exponents, self.errors, strict=True)
        return ["i", "exponent λ_i", "standard error"], [[k + 1, *row] for k, row in enumerate(rows)]

    def plot(self, path: StrPath | None = None) -> Any:
        """The spectrum, and the exponents as they settle. Returns the matplotlib Figure, and writes it to `path`."""
        with drawing("Lyapunov", path, 7.2, 3.2) as figure:
            spectrum, settling = figure.subplots(1, 2)
            found = np.where(np.isfinite(self.exponents), self.exponents, np.nan)
            errors = np.where(np.isfinite(self.errors), self.errors, 0.0)
            ranks = np.arange(1, len(found) + 1)
            spectrum.errorbar(ranks, found, errors, color=BLUE, fmt=".-", linewidth=1, elinewidth=0.8)
            spectrum.set(xlabel="i", title="Lyapunov exponents $λ_i$")
            shown = np.where(np.isfinite(self.running), self.running, np.nan)
            steps = np.arange(1, len(shown) + 1)
            settling.plot(steps, shown[:, 1:], color=GREY, linewidth=0.6, alpha=0.7)
            settling.plot(steps, shown[:, 0], color=BLUE)
            settling.set(xlabel="steps", title="as they settle")
            for ax in (spectrum, settling):
                ax.axhline(0, color=RED, linewidth=0.8)
                whole_steps(ax.xaxis)
            figure.suptitle(self.verdict, x=0.01, ha="left", fontsize=10)
        return figure


def lyapunov(layer: Any, xs: Any, state: Any = None, *, count: int | None = None, discard: int = 0) -> Lyapunov:
    """The Lyapunov spectrum of a layer that is driven by sequences, each along its own trajectory.

    layer    a cell, or a layer with one cell, as `state_jacobians` takes it; dropout and zoneout are off
    xs       (T, N, D) ((N, T, D) with batch_first), or one sequence (T, D)
    state    the initial state, as the layer takes it; None for the layer's own
    count    K, the number of exponents, the largest ones; None: all S
    discard  steps at the beginning that do not count, while the state and the directions settle

    Directions Q (S, K) are carried along: Q_{t+1} R_{t+1} = J_t Q_t with the Jacobian J_t = ∂s_{t+1}/∂s_t, and λ_i is
    the mean of ln |R_ii| (Benettin, Galgani, Giorgilli & Strelcyn 1980; of recurrent networks Engelken, Wolf & Abbott
    2023, of trained ones Vogt, Puelma Touzel, Shlizerman & Lajoie 2022). A step costs a forward and a backward pass of
    N·S rows. Nothing is kept but the exponents, so sequences may be long: the error falls with 1/T.

    >>> import numpy as np, minigrad as mg, nn
    >>> cell = nn.GRUCell(3, 8, dtype=np.float64)
    >>> found = nn.diagnose.lyapunov(cell, mg.randn(200, 4, 3, dtype=np.float64), count=3, discard=50)
    >>> found.of_each.shape, bool(found.exponents[0] < 0)
    ((4, 3), True)

    Raises TypeError for an object that is not a cell or has several, ValueError for wrong shapes, counts and states.
    """
    cell, runner = cell_of(layer, "lyapunov")
    with mg.no_grad(), _evaluated(layer):
        x = _sequences(beside(layer, xs), getattr(undropped(layer), "batch_first", False))
        T, N = x.shape[:2]
        if not 0 <= discard < T:
            raise ValueError(f"lyapunov: discard must be from 0 to below T = {T}, not {discard!r}")
        start = _start(layer, cell, runner, state, N)
        backwards = getattr(runner, "reverse", False)
        maps = inputs_of(cell, x.reshape((T * N, *x.shape[2:])), Packing(T, N), backwards)
        parts = mg.unstack(maps.reshape((T, N, *maps.shape[1:])))
        step = _Steps(cell, start)
        S = step.size
        K = S if count is None else count
        if not isinstance(K, int | np.integer) or isinstance(K, bool) or not 1 <= K <= S:
            raise ValueError(f"lyapunov: count must be from 1 to the size of the state, {S}, not {count!r}")
        s = step.flat(start)
        Q = np.broadcast_to(directions(S, int(K)), (N, S, int(K)))
        total, running = np.zeros((N, int(K))), np.full((T, int(K)), np.nan)
        for t, part in enumerate(parts[::-1] if backwards else parts):
            s, jacobians = step(part, s)
            Q, R = np.linalg.qr(jacobians @ Q)
            if t >= discard:
                with np.errstate(divide="ignore"):
                    total += np.log(np.abs(np.diagonal(R, axis1=1, axis2=2)))
                running[t] = _sorted(total / (t + 1 - discard)).mean(axis=0)
    return Lyapunov(_sorted(total / (T - discard)), running, S, discard)


def _sorted(exponents: Array) -> Array:
    """Of each sequence, the largest first."""
    found: Array = -np.sort(-exponents, axis=1)
    return found


class _Steps:
    """A step of a cell on N sequences, with the Jacobian of each.

    Row n of the state is repeated S times, and row k of these pulls back the k-th number of the next state: so one pass
    gives all rows of all Jacobians.
    """

    def __init__(self, cell: Any, start: tuple[Any, ...]) -> None:
        self.cell = cell
        self.count = len(getattr(cell, "states", start))
        self.shapes = [s.shape[1:] for s in start[: self.count]]
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.size, self.cuts = sum(sizes), np.cumsum(sizes)[:-1]
        self.carried = [np.repeat(s, self.size, axis=0) for s in start[self.count :]]

    def flat(self, state: tuple[Any, ...]) -> Any:
        """(N, S): all tensors of the state, one after another."""
        return np.concatenate([s.reshape(len(s), -1) for s in state[: self.count]], axis=1)

    def __call__(self, x: Any, s: Any) -> tuple[Any, Array]:
        """Inputs (N, ...) and states (N, S) to the next states, and ∂next/∂s (N, S, S) in float64."""
        N, S = s.shape
        inputs = np.repeat(x, S, axis=0)

        def f(flat: Any) -> Any:
            parts = np.split(flat, self.cuts, axis=1)
            parts = [p.reshape((N * S, *shape)) for p, shape in zip(parts, self.shapes, strict=True)]
            return self.flat(self.cell.step(inputs, (*parts, *self.carried)))

        after, pull = mg.vjp(f, np.repeat(s, S, axis=0))
        ones = np.tile(np.eye(S, dtype=after.dtype), (N, 1))
        (rows,) = pull(mg.Tensor(backend.from_numpy(ones, after.device)))
        return after.reshape(N, S, S)[:, 0].detach(), backend.to_numpy(rows.data).astype(np.float64).reshape(N, S, S)


@contextmanager
def _evaluated(layer: Any) -> Iterator[None]:
    """The layer in evaluation mode."""
    modules = [*layer.modules()] if isinstance(layer, Module) else []
    before = [m.training for m in modules]
    try:
        for m in modules:
            m.training = False
        yield
    finally:
        for m, flag in zip(modules, before, strict=True):
            m.training = flag


def _sequences(xs: Any, batch_first: bool) -> Any:
    """(T, N, D)."""
    xs = xs.detach()
    if xs.ndim == 2:
        xs = xs[:, None]
    elif batch_first and xs.ndim == 3:
        xs = np.swapaxes(xs, 0, 1)
    if xs.ndim != 3 or not xs.shape[0] or not xs.shape[1]:
        raise ValueError(f"lyapunov: expected sequences (T, N, D) or one, (T, D), got shape {xs.shape}")
    return xs


def _start(layer: Any, cell: Any, runner: Any, state: Any, N: int) -> tuple[Any, ...]:
    """The initial states, (N, ·) each."""
    if state is None:
        return runner._initial(N) if runner is not None else complete(cell, (), N, "lyapunov")
    given = [beside(layer, s).detach() for s in (state if isinstance(state, tuple | list) else (state,))]
    if getattr(undropped(layer), "batch_axis", 0) == 1:  # (1, N, ·) of a layer as PyTorch has it
        given = [s[0] for s in given]
    return complete(cell, [s[None] if s.ndim == 1 else s for s in given], N, "lyapunov")
