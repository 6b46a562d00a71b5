"""The size of the gradient at each state, and the distance over which it flows back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.backward import key_of
from minigrad.tape import node_of

from ..training.files import StrPath
from .norms import arrived, horizon_of, not_finite
from .result import BLUE, GREY, Array, Result, drawing, multiple, positive, share, whole_steps
from .states import States
from .tape import Tape, outputs_of

VANISHED = 1e-2  # of its initial size; below it, training learns next to nothing from the far end
HOLDS = 10  # a gradient is carried while its size stays within this factor


@dataclass(frozen=True, repr=False, eq=False)
class GradientFlow(Result):
    """‖∂L/∂s_t‖ over t.

    norms      (T,): over all sequences of the batch together
    row_norms  (T, N): of each sequence, NaN where it has no step; None if the states differ in shape

    If the loss enters at several steps, the norms do not show how far a gradient is carried, since each state has a
    gradient from its own loss. So the loss of one step is followed alone: the last (in a backward direction, the
    first).

    followed   (T,): ‖∂L_start/∂s_t‖; equal to the norms if the loss enters at one step
    start      the step at which that loss enters; None: the last one with a gradient
    reverse    True if the states were made from the last to the first
    losses     the number of steps at which the loss enters
    reached    (T,) booleans: True if the tape leads from there to the state; None: all are reached
    off        (T,): the share of each state's numbers that are exactly 0; None if unknown
    """

    norms: Array
    row_norms: Array | None = field(repr=False)
    followed: Array | None = field(default=None, repr=False)
    start: int | None = None
    losses: int = 1
    reached: Array | None = field(default=None, repr=False)
    off: Array | None = field(default=None, repr=False)
    reverse: bool = False

    def _way(self) -> tuple[Array, Array]:
        """The steps of the gradient from where it enters to the far end, and its norms there."""
        norms = self.norms if self.followed is None else self.followed
        there = np.flatnonzero(norms if self.reached is None else self.reached)
        start = self.start if self.start is not None else int(there[-1]) if there.size else 0
        way = np.arange(start, len(norms)) if self.reverse else np.arange(start, -1, -1)
        if norms[way].any():  # a loss through h reaches the memory c one step before
            way = way[np.flatnonzero(norms[way])[0] :]
        return way, norms[way]

    @property
    def cut(self) -> tuple[int, int] | None:
        """The two steps between which the tape is cut: no path leads from the later one to the earlier one."""
        way, _ = self._way()
        gone = np.flatnonzero(~self.reached[way]) if self.reached is not None else np.zeros(0)
        if not gone.size or not gone[0]:
            return None
        first, second = sorted((int(way[gone[0] - 1]), int(way[gone[0]])))
        return first, second

    @property
    def dead(self) -> int | None:
        """The step at which the gradient ends because all units are off (dead ReLU); None if there is none."""
        way, norms = self._way()
        if self.off is None:
            return None
        if not norms.any():
            return int(way[0]) if self.off[way].min() == 1 else None
        zero = np.flatnonzero((norms == 0) if self.reached is None else (norms == 0) & self.reached[way])
        return int(way[zero[0] - 1]) if zero.size and zero[0] and self.off[way[zero[0] - 1]] == 1 else None

    @property
    def ratio(self) -> float:
        """The gradient at the far end, or before a cut of the tape, relative to its size where the loss enters."""
        way, norms = self._way()
        norms = norms if self.reached is None else norms[self.reached[way]]
        return float(norms[-1] / norms[0]) if norms.size and norms[0] else 0.0

    @property
    def verdict(self) -> str:
        """The fate of the gradient: it vanishes, explodes, is carried, or ends at a step."""
        return self.said().removeprefix("the gradient ")

    def said(self, subject: str = "the gradient", *, plainly: bool = False) -> str:
        """The verdict as a sentence about this subject; `plainly` without the word for its fate."""
        if (wrong := not_finite(self.norms)) is not None:
            return f"{subject} is not finite at step {wrong}"
        way, norms = self._way()
        if self.dead is not None:
            where = f"before step {self.dead}" if norms.any() else "at every state"
            return f"{subject} is zero {where}: there all units are off (dead ReLU)"
        if not norms.any():
            return f"{subject} is zero: no gradient arrives at any state"
        if self.cut is not None:
            norms = norms[self.reached[way]] if self.reached is not None else norms
            up_to = f"; at the cut it is {multiple(self.ratio)} its first size" if len(norms) > 1 else ""
            return (
                f"{subject} is cut between steps {self.cut[0]} and {self.cut[1]}: no path on the tape crosses the "
                f"cut{up_to}"
            )
        steps = len(way) - 1
        if not steps:
            return f"{subject} arrives at {'the first step' if not way[0] else f'step {way[0]}'} only"
        after = f"after {steps} step{'s' if steps > 1 else ''}"
        source, end = "", f"its {'first' if self.reverse else 'last'}-step size"
        if self.start not in (None, 0 if self.reverse else len(self.norms) - 1):
            end = f"its size at step {way[0]}"
        if self.losses > 1:
            source, end = f" from the loss of step {way[0]}", "its size there"
        fate, peak = self._fate(norms)
        size = f"{multiple(self.ratio)} {end} {after}{peak}" if self.ratio else f"0 {after}"
        if plainly:
            return f"{subject}{source} is {size}"
        if subject == "the gradient":
            return f"{subject} {fate}: {subject}{source} is {size}"
        return f"{subject}{source} {fate}: it is {size}"

    def _fate(self, norms: Array) -> tuple[str, str]:
        """The word for these norms on the way, and a remark on a peak between their ends."""
        if self.ratio < VANISHED:
            return "vanishes", ""
        if self.ratio > 1 / VANISHED:
            return "explodes", ""
        if not 1 / HOLDS <= self.ratio <= HOLDS:
            return "grows" if self.ratio > 1 else "shrinks", ""
        most = float(norms.max() / norms[0])
        if most <= HOLDS * max(self.ratio, 1):
            return "is carried", ""
        return "rises and falls", f", and {multiple(most)} that on the way"

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        return ["step t", "‖∂L/∂s_t‖"], [[t, n] for t, n in enumerate(self.norms)]

    def plot(self, path: StrPath | None = None) -> Any:
        """The norms over t, each sequence in grey. Returns the matplotlib Figure, and writes it to `path`."""
        with drawing("GradientFlow", path) as figure:
            ax = figure.subplots()
            if self.row_norms is not None and self.row_norms.shape[1] > 1:
                ax.plot(positive(self.row_norms[:, :50]), color=GREY, linewidth=0.6, alpha=0.6)
            ax.plot(positive(self.norms), color=BLUE, marker="." if len(self.norms) < 60 else None)
            ax.set_yscale("log")
            ax.set(xlabel="step t", ylabel="‖∂L/∂$s_t$‖")
            ax.set_title(self.verdict, loc="left")
            whole_steps(ax.xaxis)
        return figure


def gradient_flow(loss: mg.Tensor, states: Any) -> GradientFlow:
    """‖∂L/∂s_t‖ for each step t: does the gradient vanish or explode on its way back?

    loss    a scalar tensor, before `backward`
    states  the states: a list of tensors, or one tensor (T, N, H), or (N, T, H) from a layer with batch_first: a field
            of `return_states=True`, the output of a layer without an output map, or `np.stack` of a list

    The gradient is the complete one, through all later steps, even if the states were stacked since.

    >>> import minigrad as mg, nn
    >>> layer = nn.RNN(3, 5)
    >>> output, h = layer(mg.randn(20, 2, 3))
    >>> nn.diagnose.gradient_flow((output[-1] ** 2).sum(), output).norms.shape
    (20,)

    Raises TypeError, ValueError or RuntimeError for a loss that is not a scalar on the tape or whose graph was
    released, for states that are not on the tape, and for states on which the loss does not depend.
    """
    tape = Tape("gradient_flow", loss)
    places = States(tape, states)
    found = tape.gradients([tape.root], places.sources)
    if not found:
        raise ValueError("gradient_flow: the loss does not depend on any of these states")
    gradient, known = places.gather(found)
    entering, reverse = _entering(tape, places), places.reverse()
    followed, start = found, None
    if entering:
        start = min(entering) if reverse else max(entering)
        followed = tape.gradients(entering[start], places.sources) if len(entering) > 1 else found
    norms = places.norms(places.gather(followed)[0])
    if start == (places.T - 1 if reverse else 0) and np.delete(norms, start).any():
        reverse = not reverse  # from its end, a direction passes nothing on: these are the states of two directions
    return GradientFlow(
        places.norms(gradient), places.row_norms(gradient, known), norms, start, len(entering),
        places.reached(followed), places.off(), reverse,
    )  # fmt: skip


def _entering(tape: Tape, places: States) -> dict[int, list[tuple[Any, Any]]]:
    """For each step at which the loss enters the states, the (edge, gradient) pairs by which it enters."""
    siblings = {key_of(o): o for edge, _ in places.sources.values() for o in _siblings(edge)}
    seeds = tape.gradients([tape.root], siblings, stop=True)
    if not seeds:
        raise ValueError(f"{tape.what}: the loss does not depend on any of these states")
    entering: dict[int, list[tuple[Any, Any]]] = {}
    for key, gradient in seeds.items():
        edge = siblings[key]
        times = _times(places, edge)
        for t in np.unique(times[times >= 0]):
            mask = backend.from_numpy(times == t, backend.device_of(gradient))
            part = np.where(mask, gradient, 0)
            if bool(np.any(part != 0)):
                entering.setdefault(int(t), []).append((edge, part))
    return entering


# ---- the horizon -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class GradientHorizon(Result):
    """The distance over which the gradient flows back.

    steps    the smallest d such that states at most d steps before the loss receive the requested share of the gradient
    share    the requested share
    norms    (T, T): ‖∂L_t/∂s_k‖, where L_t is the part of the loss that enters at step t
    """

    steps: int
    share: float
    norms: Array = field(repr=False)

    @property
    def verdict(self) -> str:
        """The horizon in words."""
        if not np.isfinite(self.norms).all():
            return "the gradient is not finite"
        if not self.norms.any():
            return "is zero: no gradient arrives at any state"
        return f"{share(self.share)} of the gradient arrives within {self.steps} of {len(self.norms) - 1} steps back"

    @property
    def cumulative(self) -> Array:
        """(T,): the share that has arrived within d = 0, 1, ... steps back."""
        return arrived(self.norms)

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        return ["steps back", "share up to here"], [[d, share(c)] for d, c in enumerate(self.cumulative)]

    def plot(self, path: StrPath | None = None) -> Any:
        """The share that has arrived, over the steps back. Returns the matplotlib Figure, and writes it to `path`."""
        with drawing("GradientHorizon", path) as figure:
            ax = figure.subplots()
            ax.plot(self.cumulative, color=BLUE)
            ax.axvline(self.steps, color=GREY, linewidth=1, linestyle="--")
            ax.axhline(self.share, color=GREY, linewidth=1, linestyle="--")
            ax.set(xlabel="steps back from the loss", ylabel="share of the gradient", ylim=(0, 1.03))
            ax.set_title(self.verdict, loc="left")
            whole_steps(ax.xaxis)
        return figure


def gradient_horizon(loss: mg.Tensor, states: Any, share: float = 0.9) -> GradientHorizon:
    """The number of steps back, from where the loss enters, within which a share of the gradient arrives.

    loss, states  as for `gradient_flow`
    share         above 0, at most 1

    For each step t at which the loss enters the states, its gradient is followed back separately, at the cost of one
    walk of the tape: one for a loss at the end, T for a loss at every step. The share is that of Σ_t Σ_k ‖∂L_t/∂s_k‖.
    Raises the errors of `gradient_flow`.
    """
    tape = Tape("gradient_horizon", loss)
    places = States(tape, states)
    norms = np.zeros((places.T, places.T))
    for t, roots in sorted(_entering(tape, places).items()):
        norms[t] = places.norms(places.gather(tape.gradients(roots, places.sources))[0])
    return GradientHorizon(horizon_of(norms, share), share, norms)


def _siblings(edge: Any) -> list[Any]:
    """All outputs of the operation that made a state: an LSTM's loss may enter through h, c or a gate."""
    return [edge] if isinstance(edge, mg.Tensor) else outputs_of(node_of(edge)[0])


def _times(places: States, edge: Any) -> Array:
    """The step of each number of an edge; for a sibling, the step of its state's row."""
    if key_of(edge) in places.sources:
        return places.times(places.sources[key_of(edge)][1])
    source = next(places.sources[key_of(o)][1] for o in _siblings(edge) if key_of(o) in places.sources)
    times = places.times(source)
    rows = times.reshape((times.shape[0], -1)).max(axis=1) if times.ndim else times.reshape(1)
    if edge.shape[:1] != times.shape[:1] or len(edge.shape) == 1:
        return np.full(edge.shape, times.max())
    return np.broadcast_to(rows.reshape((-1, *[1] * (len(edge.shape) - 1))), edge.shape)
