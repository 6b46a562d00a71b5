"""The openness and saturation of a cell's gates over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend

from ..layers.dropout import undropped
from ..sequences.packing import checked_lengths
from ..sequences.recurrent import OverTime, Recurrent
from ..training.files import StrPath
from .result import COLORS, Array, Result, drawing, share, whole_steps

LOW, HIGH = 0.1, 0.9
MOST, LEAST = 0.5, 0.01  # shares of values: from MOST on, a gate is saturated; less than LEAST is not mentioned
SHOWN = 6  # gates in a sentence


@dataclass(frozen=True, eq=False)
class Gate:
    """One gate over time, over all sequences and units.

    kind  "sigmoid", with values in [0, 1]; "tanh", in [−1, 1]; "free" for others, which do not saturate
    mean  (T,)
    low   (T,): the share of values below 0.1, for tanh below −0.9
    high  (T,): the share of values above 0.9
    """

    kind: str
    mean: Array = field(repr=False)
    low: Array = field(repr=False)
    high: Array = field(repr=False)
    _count: Array = field(repr=False)  # (T,): of real values

    def overall(self, values: Array) -> float:
        """The mean of one of these over all steps, weighted by the number of real values."""
        return float(np.nansum(values * self._count) / max(self._count.sum(), 1))

    @property
    def saturated(self) -> float:
        """The share of all values near an end."""
        return self.overall(self.low) + self.overall(self.high)

    def ends(self) -> str:
        """The shares at both ends, in words: `60 % of its values are above 0.9 (open), 20 % below 0.1 (closed)`."""
        names = ("open", "closed") if self.kind == "sigmoid" else ("", "")
        floor = LOW if self.kind == "sigmoid" else -HIGH
        ends = [
            (self.overall(self.high), f"above {HIGH}", names[0]),
            (self.overall(self.low), f"below {floor}", names[1]),
        ]
        said = [
            f"{share(part)} {'' if k else 'of its values are '}{end}" + (f" ({name})" if name else "")
            for k, (part, end, name) in enumerate(sorted([e for e in ends if e[0] >= LEAST], key=lambda e: -e[0]))
        ]
        return ", ".join(said)


@dataclass(frozen=True, repr=False, eq=False)
class GateStatistics(Result):
    """The gates by name; those of several layers are named like `[0].f`."""

    gates: dict[str, Gate]

    def __getitem__(self, name: str) -> Gate:
        return self.gates[name]

    @property
    def verdict(self) -> str:
        """Every gate that is saturated in most of its values, the most saturated first, with the end."""
        ordered = sorted(self.gates.items(), key=lambda item: -item[1].saturated)
        found = [(name, gate) for name, gate in ordered if gate.saturated >= MOST]
        if not found:
            name, gate = ordered[0]
            if not gate.saturated:
                return "nothing is saturated"
            return f"nothing is saturated; {name} has the most values near an end, {share(gate.saturated)}"
        said = [f"{name} is saturated: {gate.ends()}" for name, gate in found[:SHOWN]]
        return "; ".join(said) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        rows = [
            [name, g.kind, g.overall(g.mean), share(g.overall(g.low)), share(g.overall(g.high))]
            for name, g in self.gates.items()
        ]
        return ["gate", "kind", "mean", "low", "high"], rows

    def plot(self, path: StrPath | None = None) -> Any:
        """For each gate its mean over t and the shares of values at its ends. Returns the matplotlib Figure, and writes
        it to `path`."""
        count = len(self.gates)
        across = min(count, 4)
        down = -(-count // across)
        with drawing("GateStatistics", path, max(2.4 * across, 4.8), 2.4 * down + 0.4) as figure:
            axes = figure.subplots(down, across, squeeze=False, sharex=True)
            for k, (name, gate) in enumerate(self.gates.items()):
                ax, steps = axes.flat[k], np.arange(len(gate.mean))
                if gate.kind != "free":  # shares as parts of the panel's height
                    bottom = -1 if gate.kind == "tanh" else 0
                    low, high = bottom + gate.low * (1 - bottom), 1 - gate.high * (1 - bottom)
                    ax.fill_between(steps, high, 1, color=COLORS[2], alpha=0.35, linewidth=0, label="high")
                    ax.fill_between(steps, bottom, low, color=COLORS[1], alpha=0.35, linewidth=0, label="low")
                    ax.set_ylim(bottom, 1)
                ax.plot(steps, gate.mean, color=COLORS[0], label="mean")
                ax.set_title(f"{name} ({gate.kind})")
                whole_steps(ax.xaxis)
            for ax in axes.flat[count:]:
                ax.set_visible(False)
            for ax in axes[-1]:
                ax.set_xlabel("step t")
            axes[0, 0].legend(loc="best", fontsize=8, frameon=False)
            figure.suptitle(self.verdict, x=0.01, ha="left", fontsize=10)
        return figure


def gate_statistics(
    layer: Any, xs: Any = None, state: Any = None, *, lengths: Any = None, mask: Any = None,
    gates: Sequence[str] | None = None,
) -> GateStatistics:  # fmt: skip
    """The saturation of each gate over time: its mean, and the shares of values at either end.

    layer   a layer over time, or a cell, which is run over `xs`; or the states from `return_states=True`, then without
            `xs`
    xs      (T, N, D), or (N, T, D) with batch_first
    state, lengths, mask   as for the layer; steps that are not real do not count. For the states of a layer,
            lengths and mask are those of its call, time first
    gates   names of gates; None: for a layer, all gates that its cell shows; for a tuple of states, all fields

    Sigmoid and tanh are distinguished by their values. A saturated gate hardly passes its own gradient: σ' = σ(1 − σ)
    is below 0.09 where σ < 0.1 or σ > 0.9. The forget gate of an LSTM should be saturated near 1 to carry anything far
    (Gers, Schmidhuber & Cummins 2000); Karpathy, Johnson & Fei-Fei 2015 count gates in this way.

    >>> import minigrad as mg, nn
    >>> found = nn.diagnose.gate_statistics(nn.LSTM(3, 5), mg.randn(20, 2, 3))
    >>> list(found.gates)
    ['i', 'f', 'g', 'o']
    >>> found["f"].kind, found["f"].mean.shape
    ('sigmoid', (20,))

    Raises ValueError for a cell that shows no gates, unknown names, or wrong shapes; TypeError for other objects.
    """
    if hasattr(layer, "_fields") or (isinstance(layer, list) and all(hasattr(s, "_fields") for s in layer)):
        if xs is not None or state is not None:
            raise TypeError("gate_statistics: states are given alone, without xs and state")
        shown, carried, time = layer, [], 0
    else:
        inner = undropped(layer)
        if not isinstance(inner, OverTime):
            if not (hasattr(inner, "initial_state") and hasattr(inner, "step")):
                raise TypeError(f"gate_statistics: {type(layer).__name__} is neither a layer, a cell, nor their states")
            layer = inner = Recurrent(inner)
        if xs is None:
            raise TypeError("gate_statistics: a layer needs an input xs to run over")
        with mg.no_grad():
            shown = layer(xs, state, lengths=lengths, mask=mask, return_states=True)[2]
        carried = [_carried(m) for m in inner.modules() if isinstance(m, Recurrent)]
        time = 1 if getattr(inner, "batch_first", False) else 0
    several = isinstance(shown, list)
    found: dict[str, Gate] = {}
    for k, states in enumerate(shown if several else [shown]):
        names = states._fields[carried[k] if carried else 0 :]
        if gates is not None and (unknown := [n for n in gates if n not in states._fields]):
            raise ValueError(f"gate_statistics: there is no {', '.join(unknown)}, only {', '.join(states._fields)}")
        for name in names if gates is None else gates:
            values = backend.to_numpy(getattr(states, name).data)
            values = np.moveaxis(values, time, 0) if values.ndim > 2 else values[:, None]
            real = _real(values, time, lengths, mask)
            found[f"[{k}].{name}" if several else name] = _gate(values, real)
    if not found:
        raise ValueError(
            "gate_statistics: the cell shows no gates; its attribute `gates` names the values that `step` returns "
            "after the state"
        )
    return GateStatistics(found)


def _carried(layer: Recurrent) -> int:
    """The number of shown tensors that are states rather than gates."""
    named = getattr(layer.cell, "states", None)
    return len(layer.cell.initial_state(1) if named is None else named)


def _real(values: Array, time: int, lengths: Any, mask: Any) -> Array:
    """(T, N): True for real steps."""
    T, N = values.shape[:2]
    if lengths is not None:
        return np.arange(T)[:, None] < checked_lengths("gate_statistics", lengths, T, N)
    if mask is None:
        return np.ones((T, N), bool)
    array = mask.data if isinstance(mask, mg.Tensor) else mask
    real: Array = backend.to_numpy(array) if backend.is_array(array) else np.asarray(array)
    real = real.T if time else real
    if real.shape != (T, N):
        raise ValueError(f"gate_statistics: the mask has shape {real.shape}, expected (T, N) = {(T, N)}")
    return real


def _gate(values: Array, real: Array) -> Gate:
    """values (T, N, ...), real (T, N)."""
    values = values.reshape((*values.shape[:2], -1)).astype(np.float64)  # (T, N, H)
    used = values[real]
    least, most = (float(used.min()), float(used.max())) if used.size else (0.0, 1.0)
    kind = "sigmoid" if least >= 0 and most <= 1 else "tanh" if least >= -1 and most <= 1 else "free"
    weight = np.broadcast_to(real[:, :, None], values.shape)
    count = weight.sum(axis=(1, 2))

    def mean(of: Array) -> Array:
        total = np.where(weight, of, 0.0).sum(axis=(1, 2))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    if kind == "free":
        none = np.where(count > 0, 0.0, np.nan)
        return Gate(kind, mean(values), none, none, count)
    return Gate(kind, mean(values), mean(values < (LOW if kind == "sigmoid" else -HIGH)), mean(values > HIGH), count)
