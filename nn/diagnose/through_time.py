"""The gradient of one run on its way back through time, and the Jacobians that it passes."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import backend

from ..layers.dropout import undropped
from ..sequences.recurrent import Recurrent
from .charts import bars, curves, sparkline
from .flow import GradientFlow
from .jacobians import StateJacobians, state_jacobians
from .looking import grows, some
from .result import BLUE, Array, share
from .values import Values

LOST = 1e-4  # share of a gradient below which a loss at the end teaches nothing about the beginning
LONGEST, WIDEST = 40, 64  # steps and numbers of a state whose Jacobians are taken


class ThroughTime(Values):
    """The checks of gradients through time."""

    def gradient_flow(self) -> None:
        """Follow the gradient back to the early states."""
        self.all_flows()
        cuts = list(dict.fromkeys(tuple(sorted(pair)) for pair in self.watched.detached))
        if cuts:
            more = f", and at {len(cuts) - 1} other steps" if len(cuts) > 2 else ""
            self.blame("detached", f"a state is cut between steps {cuts[0][0]} and {cuts[0][1]}{more}")
        best: dict[str, tuple[str, GradientFlow]] = {}
        for name, flow in self.flows.items():
            if flow.cut is not None:
                between = f"between steps {flow.cut[0]} and {flow.cut[1]}"
                self.blame("detached", f"the gradient of {name} is cut {between}")
            if flow.dead is not None:
                self.blame("dead ReLU", f"the gradient of {name} {flow.verdict}")
            place = name.rpartition(" ")[0]
            if place not in best or flow.ratio > best[place][1].ratio:
                best[place] = (name, flow)
        growing = {name: flow for name, flow in self.flows.items() if grows(flow)}
        self._blame_flows("exploding", growing, largest=True)
        lost = {  # an LSTM carries in c what h loses
            name: flow for name, flow in best.values()
            if flow.losses == 1 and flow.ratio < LOST and flow.verdict.startswith("vanishes")
        }  # fmt: skip
        self._blame_flows("vanishing", lost, largest=False)
        if not self.flows:
            self.say("gradient flow", "no loop over steps was seen: no layer over time, and no mg.steps")
            return
        followed = {n: _shown(f) for n, f in self.flows.items()}
        name, flow = min(best.values(), key=lambda one: one[1].ratio)
        said = flow.said(f"the gradient of {name}", plainly=not self.causes)
        self.say("gradient flow", said, curves(followed, "step t", "‖∂L/∂s_t‖", log=True),
                 sparkline(_shown(flow), log=True))  # fmt: skip

    def _blame_flows(self, cause: str, flows: dict[str, GradientFlow], *, largest: bool) -> None:
        """Name the worst of these flows, and the other ones after it."""
        worst = sorted(flows, key=lambda name: flows[name].ratio, reverse=largest)
        if worst:
            also = f"; also in {some(worst[1:])}" if worst[1:] else ""
            what = flows[worst[0]].said(f"the gradient of {worst[0]}") + also
            self.blame(cause, what, self.known(self.loops[worst[0]]))

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
        picture = curves(arrived, "steps back from the loss", "share of the gradient that has arrived", limit=0.9,
                         meaning="90 %", percent=True)  # fmt: skip
        said = f"{name}: 90 % of a loss's gradient arrives within {steps} of {len(parts) - 1} steps back"
        self.say("horizon", said, picture, sparkline(parts))
        windows = [k for k in (2**j for j in range(1, 12)) if k < len(parts)]
        if windows:
            enough = next((k for k in windows if parts[k - 1] >= 0.999), windows[-1])
            kept = {k: float(parts[k - 1]) for k in windows if k <= enough}
            good = next((k for k, part in kept.items() if part >= 0.9), None)
            said = f"{name}: windows of {good} steps keep {share(kept[good])} of a loss's gradient" if good else (
                f"{name}: windows of fewer steps than the sequence keep less than 90 % of a loss's gradient"
            )  # fmt: skip
            line = "  ".join(f"{k}: {share(part)}" for k, part in kept.items())
            shares = {f"{k} steps": part for k, part in kept.items()}
            picture = bars({n: [part] for n, part in shares.items()}, "share of the gradient that a window keeps",
                           [(BLUE, "kept by windows of this length")], shares)  # fmt: skip
            self.say("truncation", said, picture, line)

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
            self.say("Jacobian spectrum", f"no layer over time with a state of at most {WIDEST} numbers was seen")
            return
        label, worst = max(found.items(), key=lambda item: abs(float(np.nan_to_num(item[1].exponents[0], neginf=-99))))
        values: dict[str, Array] = {}
        for name, each in found.items():
            values |= {f"{name} largest": each.singular_values[:, 0], f"{name} smallest": each.singular_values[:, -1]}
        picture = curves(values, "step t", "singular values of ∂s_{t+1}/∂s_t", log=True, limit=1.0,
                         meaning="1: a change of the state keeps its size")  # fmt: skip
        said = worst.verdict.partition(";")[0]
        self.say(
            "Jacobian spectrum", f"the layer {label} {said}", picture, sparkline(worst.singular_values[:, 0], log=True)
        )


def _shown(flow: GradientFlow) -> Array:
    return flow.norms if flow.followed is None else flow.followed
