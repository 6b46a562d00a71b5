"""One look at a model: its loss, the gradients of its weights, its gradient through time, and its values.

Each check adds a sentence and a picture, and names a cause if something is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.backward import key_of

from ..layers.dropout import undropped
from ..sequences.recurrent import Recurrent
from .causes import CAUSES, Cause, Section
from .charts import bars, curves, sparkline
from .flow import GradientFlow, gradient_flow
from .gates import Gate, GateStatistics, _gate
from .jacobians import StateJacobians, state_jacobians
from .perturbing import Batch
from .result import BLUE, RED, Array, share
from .tape import Tape
from .watching import LoopPass, Run

LOST = 1e-4  # share of a gradient below which a loss at the end teaches nothing about the beginning
EXPLODED = 1e2
MOSTLY = 0.5  # of the gates' values or of the units
LONGEST, WIDEST = 40, 64  # steps and numbers of a state whose Jacobians are taken
KEEPS = ("f", "forget", "z")  # gates that keep the state where they are open


class Look:
    """One run of a model on a batch, and the findings from it. The checks fill `sections` and `causes`."""

    def __init__(
        self, model: Any, batch: Batch, whole: Any, step: Callable[[Any, Any], Any], optimizer: Any
    ) -> None:  # fmt: skip
        self.model, self.batch, self.whole, self.step, self.optimizer = model, batch, whole, step, optimizer
        self.sections: list[Section] = []
        self.causes: list[Cause] = []
        self.random = mg.get_random_state()
        self.flows: dict[str, GradientFlow] = {}
        self.gradients: dict[str, Array] = {}
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def loss(self, batch: Any = None) -> Any:
        """The loss, with the random numbers of the first run."""
        mg.set_random_state(self.random)
        return self.step(self.model, self.whole if batch is None else batch)

    def blame(self, name: str, what: str) -> None:
        """Add a cause; only the first of each kind is kept."""
        if all(c.name != name for c in self.causes):
            self.causes.append(Cause(name, what, CAUSES[name]))

    def say(self, title: str, sentence: str, picture: str = "", line: str = "") -> None:
        """Add a section to the page."""
        self.sections.append(Section(title, sentence, picture, line))

    # ---- the run -------------------------------------------------------------------------------------------------

    def run_once(self) -> None:
        """Compute the loss, its graph, and the gradient of each weight."""
        self.watched = Run(self.loss, self.model)
        loss = self.watched.loss
        if not isinstance(loss, mg.Tensor) or loss.shape != ():
            got = f"a tensor of shape {loss.shape}" if isinstance(loss, mg.Tensor) else f"a {type(loss).__name__}"
            raise TypeError(f"report: the loss must be a Tensor without axes, got {got}")
        used = self.watched.watch.used
        if not loss.requires_grad:
            if self.parameters:
                self.blame("detached", "the loss is not connected to any weight")
            return
        tape = Tape("report", loss)
        keys = {name: key_of(p.edge or p) for name, p in self.parameters.items()}
        found = tape.gradients([tape.root], set(keys.values()))
        for name, key in keys.items():
            if key in found:
                g = found[key]
                g = g.dense() if isinstance(g, mg.RowSparse) else g
                self.gradients[name] = backend.to_numpy(g).astype(np.float64)
        cut = [n for n, p in self.parameters.items() if n not in self.gradients and id(p) in used]
        if cut:
            what = f"no gradient reaches {_some(cut)}, which the model uses: it is detached, or left out of the loss"
            self.blame("detached", what)
        if self.gradients and not any(g.any() for g in self.gradients.values()):
            self.blame("no gradient", "the gradient of every weight is 0")

    def non_finite_values(self) -> bool:
        """Check data, weights, values and gradients. Returns True if there is a finite loss to continue with.

        Infinities that come from a mask and vanish in a softmax are not a cause: the loss and its gradients decide.
        """
        weights = [n for n, p in self.parameters.items() if not bool(np.isfinite(p.data).all())]
        gradients = [n for n, g in self.gradients.items() if not np.isfinite(g).all()]
        loss, values = bool(np.isfinite(self.watched.loss.item())), self.watched.watch.spoilt
        harmless = loss and not weights and not gradients
        said = self.batch.spoilt()
        if said and not harmless:
            self.blame("non-finite data", "; ".join(said))
        if weights:
            self.blame("non-finite weights", f"{_some(weights)} hold NaN or Inf")
            said.append(f"weights: {_some(weights)}")
        if values is not None:
            if not said and not harmless:
                self.blame("non-finite values", f"they begin in {values}")
            said.append(f"values begin in {values}")
        if gradients and not said:
            said.append(f"the gradients of {_some(gradients)}")
            if not any(_grows(flow) for flow in self._flows()):
                self.blame("non-finite values", f"the gradients of {_some(gradients)} are not finite")
        if harmless and said:
            said.append("but the loss and its gradients are finite")
        self.say("non-finite values", "; ".join(said) or "data, weights, values and gradients are finite")
        return loss and not weights

    # ---- through time --------------------------------------------------------------------------------------------

    def _flows(self) -> list[GradientFlow]:
        """The flow to every state of every loop, by name."""
        if not self.flows and self.watched.loss.requires_grad:
            for name, states in self._chains():
                try:
                    self.flows[name] = gradient_flow(self.watched.loss, states)
                except (ValueError, RuntimeError):
                    continue  # the loss does not depend on this state
        return list(self.flows.values())

    def _chains(self) -> Iterator[tuple[str, list[mg.Tensor]]]:
        for loop in self.watched.loops:
            for name, states in loop.states.items():
                yield f"{loop.name} {name}", [s for s in states if s.requires_grad]

    def gradient_flow(self) -> None:
        """Follow the gradient back to the early states."""
        self._flows()
        cuts = list(dict.fromkeys(tuple(sorted(pair)) for pair in self.watched.watch.detached))
        if cuts:
            more = f", and at {len(cuts) - 1} other steps" if len(cuts) > 2 else ""
            self.blame("detached", f"a state is cut between steps {cuts[0][0]} and {cuts[0][1]}{more}")
        best: dict[str, tuple[str, GradientFlow]] = {}
        for name, flow in self.flows.items():
            if flow.cut is not None:
                self.blame("detached", f"{name} is cut between steps {flow.cut[0]} and {flow.cut[1]}")
            if flow.dead is not None:
                self.blame("dead ReLU", f"{name} {flow.verdict}")
            if _grows(flow):
                self.blame("exploding", f"{name}: {flow.verdict}")
            place = name.rpartition(" ")[0]
            if place not in best or flow.ratio > best[place][1].ratio:
                best[place] = (name, flow)
        for name, flow in best.values():  # an LSTM carries in c what h loses
            if flow.losses == 1 and flow.ratio < LOST and flow.verdict.startswith("vanishes"):
                self.blame("vanishing", f"{name}: {flow.verdict}")
        if not self.flows:
            self.say("gradient flow", "no loop over steps was seen (layers over time, mg.steps)")
            return
        followed = {n: _shown(f) for n, f in self.flows.items()}
        name, flow = min(best.values(), key=lambda one: one[1].ratio)
        said = flow.verdict if self.causes else flow.verdict.rpartition(": ")[2]  # plain where nothing is wrong
        self.say("gradient flow", f"{name}: {said}", curves(followed, "step t", log=True),
                 sparkline(_shown(flow), log=True))  # fmt: skip

    def horizon_and_truncation(self) -> None:
        """The number of steps that a loss reaches back, and so the cost of truncation."""
        arrived: dict[str, Array] = {}
        for name, flow in self.flows.items():
            _, norms = flow._way()
            if len(norms) > 1 and np.isfinite(norms).all() and norms.any():
                arrived[name] = np.cumsum(norms) / norms.sum()
        if not arrived:
            return
        name, parts = max(arrived.items(), key=lambda item: int(np.argmax(item[1] >= 0.9)))
        steps = int(np.argmax(parts >= 0.9 * (1 - 1e-12)))
        self.say("horizon", f"{name}: 90 % of a loss's gradient arrives within {steps} of {len(parts) - 1} steps back",
                 curves(arrived, "steps back", level=0.9), sparkline(parts))  # fmt: skip
        windows = [k for k in (2**j for j in range(1, 12)) if k < len(parts)]
        if windows:
            kept = {f"k = {k}": [float(parts[k - 1])] for k in windows}
            good = next((k for k in windows if parts[k - 1] >= 0.9), None)
            said = f"windows of {good} steps keep 90 % of it" if good else "no shorter window keeps 90 % of it"
            line = "  ".join(f"{k} {share(v[0])}" for k, v in kept.items())
            self.say("truncation", f"{name}: {said}", bars(kept), line)

    def jacobian_spectrum(self) -> None:
        """The singular values of ∂s_{t+1}/∂s_t, for the first cell of each layer."""
        found: dict[str, StateJacobians] = {}
        for layer, xs, label in self.watched.layers:
            one = next((m for m in undropped(layer).modules() if isinstance(m, Recurrent)), None)
            if one is None or label in found or sum(getattr(one.cell, "sizes", (WIDEST + 1,))) > WIDEST:
                continue
            x = np.asarray(backend.to_numpy(xs.data if isinstance(xs, mg.Tensor) else xs))
            row = (x[0] if layer.batch_first else x[:, 0])[:LONGEST]
            if len(row) > 1 and np.isfinite(row).all():
                with mg.no_grad(), np.errstate(all="ignore"):
                    found[label] = state_jacobians(one.cell, row)
        if not found:
            self.say("Jacobian spectrum", f"no layer over time with a state of at most {WIDEST} numbers was called")
            return
        label, worst = max(found.items(), key=lambda item: abs(float(np.nan_to_num(item[1].exponents[0], neginf=-99))))
        values: dict[str, Array] = {}
        for name, each in found.items():
            values |= {f"{name} largest": each.singular_values[:, 0], f"{name} smallest": each.singular_values[:, -1]}
        picture = curves(values, "step t", log=True, level=1.0)
        said = worst.verdict.partition(";")[0]
        self.say("Jacobian spectrum", f"{label} {said}", picture, sparkline(worst.singular_values[:, 0], log=True))

    # ---- values --------------------------------------------------------------------------------------------------

    def gates(self) -> None:
        """Saturated gates; for a network without gates, its states."""
        statistics: dict[str, Gate] = {}
        for loop in self.watched.loops:
            found = self._gates_of(loop)
            statistics |= {f"{loop.name} {name}": gate for name, gate in found.items()}
            keepers = {n: g for n, g in found.items() if n.split()[0] in KEEPS and g.kind == "sigmoid"}
            for name, gate in keepers.items():
                closed = gate.overall(gate.low)
                if closed >= MOSTLY:
                    what = f"{share(closed)} of its values are below 0.1, so that the memory is lost at every step"
                    self.blame("closed forget gate", f"{loop.name} {name}: {what}")
            others = {n: g for n, g in found.items() if n not in keepers and g.kind != "free"}
            parts = [gate.saturated for gate in others.values()]
            if parts and float(np.mean(parts)) >= MOSTLY:
                self.blame("saturated", f"{loop.name}: {GateStatistics(others).verdict}")
        if statistics:
            names = {n: [g.overall(g.low), 1 - g.saturated, g.overall(g.high)] for n, g in statistics.items()}
            line = "  ".join(f"{n.split()[-1]} {share(g.saturated)}" for n, g in list(statistics.items())[:8])
            self.say("gates", GateStatistics(statistics).verdict, bars(names, (RED, "#DDDDDD", BLUE)), line)
        else:
            self.say("gates", "no gates were seen (those of nn's cells, and values called by mg.name)")

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
        for name, part in parts.items():
            if part >= MOSTLY:
                self.blame("dead ReLU", f"{name}: {share(part)} of its units are 0 in the whole batch")
        if not parts:
            self.say("dead units", "no ReLU was seen")
            return
        worst = max(parts, key=lambda name: parts[name])
        self.say("dead units", f"{worst}: {share(parts[worst])} of its units are 0 in the whole batch",
                 bars({n: [p] for n, p in parts.items()}, (RED,)))  # fmt: skip


def _grows(flow: GradientFlow) -> bool:
    """True if a gradient explodes on its way, or is not finite at its end."""
    _, norms = flow._way()
    known = norms[np.isfinite(norms) & (norms > 0)]
    return bool(len(known) > 1 and known[-1] / known[0] > EXPLODED)


def _shown(flow: GradientFlow) -> Array:
    return flow.norms if flow.followed is None else flow.followed


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
