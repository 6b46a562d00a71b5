"""The values of one run: gates and states near an end of their range, and units that are off."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.backward import key_of

from ..cells.lstm import LSTMCell
from .causes import Known
from .charts import BETWEEN, bars
from .gates import LEAST, Gate, GateStatistics, _gate
from .looking import Look
from .result import BLUE, RED, Array, share
from .tape import Tape
from .watching import LoopPass

PAIRS = 8  # of consecutive steps that are compared
MOSTLY = 0.5  # of the gates' values or of the units
KEEPS = ("f", "forget", "z")  # names of gates that keep the state where they are open, or, in some cells, closed


class Values(Look):
    """The checks of values."""

    def gates(self) -> None:
        """Saturated gates; for a network without gates, its states."""
        by_loop: dict[str, dict[str, Gate]] = {}
        closed: dict[str, Gate] = {}
        stuck: dict[str, Gate] = {}
        blamed: dict[str, LoopPass] = {}
        for loop in self.watched.loops:
            found = self._gates_of(loop)
            by_loop.setdefault(loop.name, {}).update(found)
            keepers = {n: g for n, g in found.items() if _keeps(n, g)}
            for name, gate in keepers.items():
                if gate.overall(gate.low) >= MOSTLY and self.keeps_open(loop, name):
                    closed[f"{loop.name} {name}"] = gate
                    blamed.setdefault("closed forget gate", loop)
            others = {n: g for n, g in found.items() if n not in keepers and g.kind != "free"}
            parts = [gate.saturated for gate in others.values()]
            if parts and float(np.mean(parts)) >= MOSTLY:  # a forget gate may stay open
                wrong = others | {n: g for n, g in keepers.items() if g.overall(g.low) >= LEAST}
                stuck |= {f"{loop.name} {name}": gate for name, gate in wrong.items()}
                blamed.setdefault("saturated", loop)
        if closed:
            each = [f"{n}: {share(g.overall(g.low))}" for n, g in closed.items()]
            what = f"{'; '.join(each)} of {_its(each)} values are below 0.1, so that the memory is lost at every step"
            self.blame("closed forget gate", what, self.known(blamed["closed forget gate"]))
        if stuck:
            self.blame("saturated", GateStatistics(stuck).verdict, self.known(blamed["saturated"]))
        statistics = {f"{place} {name}": gate for place, found in by_loop.items() for name, gate in found.items()}
        if statistics:
            keys = [(RED, "below 0.1 (closed)"), (BETWEEN, "between"), (BLUE, "above 0.9 (open)")]
            if any(gate.kind == "tanh" for gate in statistics.values()):
                keys = [(RED, "below 0.1 (tanh: −0.9)"), (BETWEEN, "between"), (BLUE, "above 0.9")]
            names = {n: [g.overall(g.low), 1 - g.saturated, g.overall(g.high)] for n, g in statistics.items()}
            ends = {n: g.saturated for n, g in statistics.items()}
            picture = bars(names, "share of the values", keys, ends, "both ends")
            stuck = {n: g for n, g in statistics.items() if g.saturated >= MOSTLY}
            said = GateStatistics(statistics).verdict
            if len(stuck) > 1:  # each is named with its cause
                worst = max(stuck, key=lambda n: stuck[n].saturated)
                said = (
                    f"{len(stuck)} of {len(statistics)} gates are saturated; {worst} has the most values near an end, "
                )
                said += share(stuck[worst].saturated)
            lines = [
                f"{place}: " + "  ".join(f"{n} {share(g.saturated)}" for n, g in list(found.items())[:8])
                for place, found in list(by_loop.items())[:8] if found
            ]  # fmt: skip
            self.say("gates", said, picture, "\n".join(lines))
        elif any(loop.gates for loop in self.watched.loops):
            self.say("gates", "the gates are not finite")
        else:
            self.say("gates", "no gates were seen: neither those of nn's cells, nor values named with mg.name")

    def known(self, loop: LoopPass) -> Known:
        """The cell of a loop, for advice."""
        gates = {n: g for n, g in self._gates_of(loop).items() if loop.gates and g.kind == "sigmoid"}
        keeper = next((n for n, g in gates.items() if _keeps(n, g)), "")
        lstm = {"f", "g", "o"} <= set(loop.gates) and any(isinstance(m, LSTMCell) for m in self.model.modules())
        kept = gates[keeper].overall(gates[keeper].mean) if keeper else 0.0
        closed = bool(keeper) and not self.keeps_open(loop, keeper)
        return Known(bool(gates), lstm, keeper, 1 - kept if closed else kept, len(loop.steps), closed)

    def keeps_open(self, loop: LoopPass, name: str) -> bool:
        """True if this gate keeps the state where it is open, False if closed: h' = z·h + (1 − z)·n, or the opposite.

        Loops with the same gates have the same kind of cell, so that one of them is asked.
        """
        kind = (*sorted(loop.gates), name)
        if kind not in self.open_keeps:
            self.open_keeps[kind] = self._opened(loop, name)
        return self.open_keeps[kind]

    def _opened(self, loop: LoopPass, name: str) -> bool:
        """Compare the gate with the share of the state's gradient that returns to the same unit one step before.

        That share is the gate where it keeps the state open, and 1 minus the gate where it keeps it closed, plus the
        gradient through the recurrent product, which random signs cancel in the mean.
        """
        try:
            tape = Tape("report", self.watched.loss)
        except (TypeError, RuntimeError):
            return True
        rng, gates = np.random.default_rng(0), loop.gates[name][loop.order]
        errors = []  # (squared error of the gate, of 1 minus the gate), for each state
        for states in loop.states.values():
            pairs = list(zip(states[loop.order], states[loop.order][1:], gates[1:], strict=False))
            if len(states) != len(gates) or states[0].shape != gates[0].shape:
                continue
            each = [_returned(tape, *pair, rng) for pair in pairs[:: -(-len(pairs) // PAIRS)]]
            errors.append(np.sum([((q - f) @ (q - f), (q - 1 + f) @ (q - 1 + f)) for q, f in each], axis=0))
        if not errors:
            return True
        opened, closed = min(errors, key=min)
        return bool(opened <= closed)

    def _gates_of(self, loop: LoopPass) -> dict[str, Gate]:
        arrays = loop.gates or {
            name: [backend.to_numpy(s.data) for s in states] for name, states in loop.states.items()
        }  # fmt: skip
        found = {}
        for name, each in arrays.items():
            alike = len({a.shape[1:] for a in each}) == 1 and each[0].ndim > 1 and each[0].dtype.kind == "f"
            if alike and all(np.isfinite(a).all() for a in each):
                rows = max(len(a) for a in each)
                values = np.zeros((len(each), rows, int(np.prod(each[0].shape[1:]))))
                real = np.zeros(values.shape[:2], bool)
                for t, a in enumerate(each):
                    values[t, : len(a)] = a.reshape((len(a), -1))
                    real[t, : len(a)] = True
                gate = _gate(values, real)
                if loop.gates or gate.kind == "tanh":
                    found[name] = gate
        return found

    def dead_units(self) -> None:
        """Units of ReLUs that are off in the whole batch, at all steps."""
        found = self.watched.relus()
        parts = {name: float(off.mean()) for name, off in found.items() if off.size}
        dead = [f"{name}: {share(part)}" for name, part in parts.items() if part >= MOSTLY]
        if dead:
            self.blame("dead ReLU", f"{'; '.join(dead)} of {_its(dead)} units are 0 in the whole batch")
        if not parts:
            self.say("dead units", "no ReLU was seen")
            return
        worst = max(parts, key=lambda name: parts[name])
        picture = bars({n: [p] for n, p in parts.items()}, "share of the units",
                       [(RED, "0 in the whole batch, at every step")], parts)  # fmt: skip
        self.say("dead units", f"{worst}: {share(parts[worst])} of its units are 0 in the whole batch", picture)


def _returned(tape: Tape, before: mg.Tensor, after: mg.Tensor, gate: Array, rng: Any) -> tuple[Array, Array]:
    """v · (∂after/∂before)ᵀ v for random signs v, and the gate, as vectors over the rows of both steps."""
    device = backend.device_of(after.data)
    signs = rng.choice([-1.0, 1.0], after.shape).astype(after.dtype)
    found = tape.gradients([(after.edge, backend.from_numpy(signs, device))], {key_of(before.edge)}, stop=True)
    rows = min(len(before), len(after))
    gradient = found.get(key_of(before.edge))
    back = np.zeros(before.shape) if gradient is None else backend.to_numpy(gradient)
    return (signs[:rows] * back[:rows]).reshape(-1), gate[:rows].reshape(-1)


def _keeps(name: str, gate: Gate) -> bool:
    """True for a gate that keeps the state where it is open."""
    return name.split()[0] in KEEPS and gate.kind == "sigmoid"


def _its(names: list[str]) -> str:
    return "its" if len(names) == 1 else "their"
