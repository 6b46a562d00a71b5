"""The response of a state to the one before it: Jacobians, their products, Lyapunov exponents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend

from ..cells.cell import complete, inputs_of
from ..layers.dropout import undropped
from ..modules import beside
from ..sequences.packing import Packing
from ..sequences.recurrent import OverTime, Recurrent
from ..training.files import StrPath
from .result import BLUE, GREY, RED, Array, Result, drawing, positive, whole_steps

NEUTRAL = 0.05  # of the largest exponent: within 5 % a step


@dataclass(frozen=True, repr=False, eq=False)
class StateJacobians(Result):
    """J_t = ∂s_{t+1}/∂s_t along one sequence; S is the size of the whole state (h and c of an LSTM, one after the
    other).

    states           (T + 1, S): s_0 ... s_T
    jacobians        (T, S, S): J_t[i, j] = ∂s_{t+1,i} / ∂s_{t,j}
    singular_values  (T, S): of each, the largest first
    log_norms        (T,): ln of the largest singular value of the running product J_t ⋯ J_1 J_0
    running          (T, S): estimates of the Lyapunov exponents after each step, from the steps that count
    discard          the number of steps at the beginning that do not count
    """

    states: Array = field(repr=False)
    jacobians: Array = field(repr=False)
    singular_values: Array
    log_norms: Array
    running: Array = field(repr=False)
    discard: int

    @property
    def exponents(self) -> Array:
        """(S,): the Lyapunov exponents, natural logarithms a step, the largest first."""
        whole: Array = self.running[-1]
        return whole

    def product(self, start: int = 0, stop: int | None = None) -> Array:
        """(S, S): J_{stop−1} ⋯ J_{start} = ∂s_stop/∂s_start. A long one may under- or overflow; `log_norms` do not."""
        whole = np.eye(self.jacobians.shape[1])
        with np.errstate(all="ignore"):
            for jacobian in self.jacobians[start:stop]:
                whole = jacobian @ whole
        return whole

    @property
    def verdict(self) -> str:
        """The fate of a small change of the state, and so of the gradient."""
        return growth(self.exponents[0])

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        rows = zip(self.singular_values[:, 0], self.singular_values[:, -1], self.log_norms, strict=True)
        titles = ["step t", "largest σ(J_t)", "smallest σ(J_t)", "ln ‖J_t ⋯ J_0‖"]
        return titles, [[t, *row] for t, row in enumerate(rows)]

    def plot(self, path: StrPath | None = None) -> Any:
        """Singular values over t, the norm of the running product, and the exponents as they converge. Returns the
        matplotlib Figure, and writes it to `path`."""
        with drawing("StateJacobians", path, 9.6, 3.2) as figure:
            values, product, exponents = figure.subplots(1, 3)
            values.plot(positive(self.singular_values[:, 1:]), color=GREY, linewidth=0.6, alpha=0.7)
            values.plot(positive(self.singular_values[:, 0]), color=BLUE)
            values.axhline(1, color=RED, linewidth=0.8)
            values.set_yscale("log")
            values.set_ylim(bottom=max(values.get_ylim()[0], 1e-6))
            values.set(xlabel="step t", title="singular values of $J_t$")
            product.plot(np.where(np.isfinite(self.log_norms), self.log_norms, np.nan) / np.log(10), color=BLUE)
            product.axhline(0, color=RED, linewidth=0.8)
            product.set(xlabel="step t", title="log₁₀ ‖$J_t$ ⋯ $J_0$‖")
            shown = np.where(np.isfinite(self.running), self.running, np.nan)
            exponents.plot(shown[:, 1:], color=GREY, linewidth=0.6, alpha=0.7)
            exponents.plot(shown[:, 0], color=BLUE)
            exponents.axhline(0, color=RED, linewidth=0.8)
            exponents.set(xlabel="steps", title="Lyapunov exponents")
            for ax in (values, product, exponents):
                whole_steps(ax.xaxis)
            figure.suptitle(self.verdict, x=0.01, ha="left", fontsize=10)
        return figure


def growth(largest: float) -> str:
    """The largest Lyapunov exponent in words."""
    if np.isnan(largest):
        return "is not finite"
    factor = f"by a factor of {np.exp(largest):.3g} each step (largest Lyapunov exponent {largest:.3g})"
    if largest == -np.inf:
        return "contracts: nothing is left of a change of the state (largest Lyapunov exponent -inf); gradients vanish"
    if largest < -NEUTRAL:
        return f"contracts: a change of the state shrinks {factor}; gradients vanish"
    if largest > NEUTRAL:
        return f"expands: a change of the state grows {factor}; gradients explode"
    return f"carries: a change of the state nearly keeps its size, {factor}"


def state_jacobians(layer: Any, xs: Any, state: Any = None, *, row: int = 0, discard: int = 0) -> StateJacobians:
    """∂s_{t+1}/∂s_t for each step of one sequence, their products, and Lyapunov exponents.

    layer    a cell, or a layer with one cell (`Recurrent`, or an LSTM of one layer in one direction)
    xs       the sequence, (T, D), or a batch (T, N, D) ((N, T, D) with batch_first), from which `row` is taken
    state    the initial state: of one sequence or of the batch, as for the layer; None for the layer's own
    discard  steps at the beginning that do not count for the exponents, while the state converges

    A layer that runs backward in time is followed in its own order. The cost is one forward, and for each step S
    backward passes of a single step, for a state of S numbers. Exponents come from the QR method of Benettin, Galgani,
    Giorgilli & Strelcyn 1980: Q_{t+1} R_{t+1} = J_t Q_t, and λ_i is the mean of ln |R_ii|; so nothing under- or
    overflows.

    >>> import numpy as np, minigrad as mg, nn
    >>> cell = nn.RNNCell(3, 5, dtype=np.float64)
    >>> found = nn.diagnose.state_jacobians(cell, mg.randn(50, 3, dtype=np.float64))
    >>> found.jacobians.shape, bool(found.exponents[0] < 0)
    ((50, 5, 5), True)

    Raises TypeError for an object that is not a cell or has several, ValueError for wrong shapes.
    """
    cell, runner = cell_of(layer, "state_jacobians")
    with mg.no_grad():
        x = _one_sequence(beside(layer, xs), row, getattr(undropped(layer), "batch_first", False))
        T = x.shape[0]
        if not 0 <= discard < T:
            raise ValueError(f"state_jacobians: discard must be from 0 to below T = {T}, not {discard!r}")
        start = _start(layer, cell, runner, state, row)
        maps = inputs_of(cell, x, Packing(T, 1), getattr(runner, "reverse", False))
        parts = mg.unstack(maps[:, None])  # T tensors (1, ...)
        step = _Step(cell, start)
        s = step.flat(start)
        states, jacobians = [_numbers(s)], []
        for part in parts[::-1] if getattr(runner, "reverse", False) else parts:
            s, jacobian = step(part, s)
            states.append(_numbers(s))
            jacobians.append(jacobian)
    return _result(np.array(states), np.array(jacobians), discard)


def directions(S: int, K: int) -> Array:
    """K orthonormal directions of S, random ones: among axes, one that changes nothing else would be found too late."""
    found: Array = np.linalg.qr(np.random.default_rng(0).standard_normal((S, K)))[0]
    return found


def _result(states: Array, jacobians: Array, discard: int) -> StateJacobians:
    T, S, _ = jacobians.shape
    log_norms, running = np.zeros(T), np.zeros((T, S))
    product, log_norm = np.eye(S), 0.0
    Q, total = directions(S, S), np.zeros(S)
    if not np.isfinite(jacobians).all():
        nothing = np.full((T, S), np.nan)
        return StateJacobians(states, jacobians, nothing, nothing[:, 0], nothing, discard)
    with np.errstate(divide="ignore", invalid="ignore"):
        for t, jacobian in enumerate(jacobians):
            product = jacobian @ product
            size = np.linalg.norm(product, 2)
            log_norm += np.log(size)
            product = product / size if size else product
            log_norms[t] = log_norm
            Q, R = np.linalg.qr(jacobian @ Q)
            if t >= discard:
                total += np.log(np.abs(np.diag(R)))
            running[t] = np.sort(total / max(t + 1 - discard, 1))[::-1]
    values = np.linalg.svd(jacobians, compute_uv=False)
    return StateJacobians(states, jacobians, values, log_norms, running, discard)


class _Step:
    """One step of a cell as a function of its state as a vector, with its Jacobian."""

    def __init__(self, cell: Any, start: tuple[Any, ...]) -> None:
        self.cell = cell
        self.count = len(getattr(cell, "states", start))  # without a dropout mask, which does not change
        self.shapes = [s.shape for s in start[: self.count]]
        self.carried = start[self.count :]

    def flat(self, state: tuple[Any, ...]) -> Any:
        """(S,): all tensors of the state, one after the other."""
        return np.concatenate([s.reshape(-1) for s in state[: self.count]])

    def __call__(self, x: Any, s: Any) -> tuple[Any, Array]:
        """The next state (S,), and ∂next/∂s (S, S)."""
        cuts = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]

        def f(flat: Any) -> Any:
            parts = [p.reshape(shape) for p, shape in zip(np.split(flat, cuts), self.shapes, strict=True)]
            return self.flat(self.cell.step(x, (*parts, *self.carried)))

        after, pull = mg.vjp(f, s)
        rows = []
        for k in range(after.size):
            one = np.zeros_like(after.data)
            one[k] = 1
            rows.append(_numbers(pull(mg.Tensor(one))[0]))
        return after.detach(), np.array(rows)


def _numbers(tensor: mg.Tensor) -> Array:
    return backend.to_numpy(tensor.data).astype(np.float64)


def cell_of(layer: Any, title: str) -> tuple[Any, Recurrent | None]:
    """The cell of a layer, and the Recurrent around it; TypeError, which begins with `title`, if there is not one."""
    inner = undropped(layer)
    while isinstance(inner, OverTime) and not isinstance(inner, Recurrent):
        parts = [m for m in inner.modules() if isinstance(m, Recurrent)]
        if len(parts) != 1:
            raise TypeError(
                f"{title}: this {type(inner).__name__} has {len(parts)} cells; pass one of its layers, with the "
                "outputs of the layer below as its input"
            )
        inner = parts[0]
    if isinstance(inner, Recurrent):
        return inner.cell, inner
    if not (hasattr(inner, "initial_state") and hasattr(inner, "step")):
        raise TypeError(f"{title}: {type(inner).__name__} is neither a layer nor a cell (initial_state and step)")
    return inner, None


def _one_sequence(xs: Any, row: int, batch_first: bool) -> Any:
    """(T, D)."""
    xs = xs.detach()
    if xs.ndim == 3:
        batch = 0 if batch_first else 1
        if not -xs.shape[batch] <= row < xs.shape[batch]:
            raise ValueError(f"state_jacobians: there is no row {row} in a batch of {xs.shape[batch]}")
        xs = xs[row] if batch_first else xs[:, row]
    if xs.ndim != 2 or not xs.shape[0]:
        raise ValueError(f"state_jacobians: expected a sequence (T, D) or a batch of them, got shape {xs.shape}")
    return xs


def _start(layer: Any, cell: Any, runner: Recurrent | None, state: Any, row: int) -> tuple[Any, ...]:
    """The initial state of one sequence, (1, ·) each."""
    if state is None:
        return runner._initial(1) if runner is not None else complete(cell, (), 1, "state_jacobians")
    axis = getattr(undropped(layer), "batch_axis", 0)
    given = []
    for s in state if isinstance(state, tuple | list) else (state,):
        s = beside(layer, s).detach()
        if axis == 1:  # (1, N, ·) from a layer with PyTorch's layout, or (1, ·) without a batch
            s = s[0]
        given.append(s[None] if s.ndim == 1 else s[row % s.shape[0] :][:1])
    return complete(cell, given, 1, "state_jacobians")
