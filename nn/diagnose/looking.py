"""One look at a model: its loss, the gradients of its weights and states, and the first value that is not finite.

Each check adds a sentence and a picture, and names a cause if something is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.backward import key_of

from .causes import Cause, Known, Section, advice
from .flow import GradientFlow, gradient_flow
from .perturbing import Batch
from .result import Array
from .tape import Tape
from .watching import LoopPass, Run

EXPLODED = 1e2
OVERFLOWED = 1e10  # growth of a state that ends beyond the range of its numbers
NOTHING_KNOWN = Known()


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
        self.loops: dict[str, LoopPass] = {}  # of each flow
        self.open_keeps: dict[tuple[str, ...], bool] = {}  # by the gates of a cell and one of them
        self.gradients: dict[str, Array] = {}
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def loss(self, batch: Any = None) -> Any:
        """The loss, with the random numbers of the first run."""
        mg.set_random_state(self.random)
        return self.step(self.model, self.whole if batch is None else batch)

    def blame(self, name: str, what: str, cell: Known = NOTHING_KNOWN) -> None:
        """Add a cause; only the first of each kind is kept. `cell` is the cell that the advice is for."""
        if all(c.name != name for c in self.causes):
            self.causes.append(Cause(name, what, advice(name, cell)))

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
            what = f"no gradient reaches {some(cut)}, which the model uses: it is detached, or left out of the loss"
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
            self.blame("non-finite weights", f"{some(weights)} {'hold' if len(weights) > 1 else 'holds'} NaN or Inf")
            said.append(f"weights: {some(weights)}")
        if values is not None:
            if not said and not harmless:
                grown = self._grown()
                if grown:
                    self.blame("exploding", grown)
                else:
                    self.blame("non-finite values", f"the first NaN or Inf is the result of {values}")
            said.append(f"the first NaN or Inf is the result of {values}")
        if gradients and not said:
            said.append(f"the gradients of {some(gradients)} are not finite")
            if not any(grows(flow) for flow in self.all_flows()):
                self.blame("non-finite values", f"the gradients of {some(gradients)} are not finite")
        if harmless and said:
            said.append("but the loss and its gradients are finite")
        self.say("non-finite values", "; ".join(said) or "data, weights, values and gradients are finite")
        return loss and not weights

    def _grown(self) -> str:
        """A state that grew from step to step until it overflowed, in a sentence; "" if there is none."""
        for loop, name, states in self._chains():
            steps = sorted(loop.steps)[-len(states) :][loop.order]
            with np.errstate(all="ignore"):
                sizes = np.array([float(np.abs(backend.to_numpy(s.data)).max(initial=0)) for s in states[loop.order]])
            good = np.flatnonzero(np.isfinite(sizes) & (sizes > 0))
            if len(good) < 2 or np.isfinite(sizes).all():
                continue
            first, last = good[0], good[-1]
            if sizes[last] > OVERFLOWED * sizes[first]:
                return (
                    f"the state {name} grows from {sizes[first]:.2g} at step {steps[first]} to {sizes[last]:.2g} at "
                    f"step {steps[last]}, and then overflows"
                )
        return ""

    # ---- through time --------------------------------------------------------------------------------------------

    def all_flows(self) -> list[GradientFlow]:
        """The flow to every state of every loop, by name."""
        if not self.flows and self.watched.loss.requires_grad:
            for loop, name, states in self._chains():
                try:
                    self.flows[name] = gradient_flow(self.watched.loss, states)
                    self.loops[name] = loop
                except (ValueError, RuntimeError):
                    continue  # the loss does not depend on this state
        return list(self.flows.values())

    def _chains(self) -> Iterator[tuple[LoopPass, str, list[mg.Tensor]]]:
        for loop in self.watched.loops:
            for name, states in loop.states.items():
                yield loop, f"{loop.name} {name}", [s for s in states if s.requires_grad]


def grows(flow: GradientFlow) -> bool:
    """True if a gradient explodes on its way, or is not finite at its end."""
    _, norms = flow._way()
    known = norms[np.isfinite(norms) & (norms > 0)]
    return bool(len(known) > 1 and known[-1] / known[0] > EXPLODED)


def some(names: list[str]) -> str:
    """The first names, and the number of the others."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
