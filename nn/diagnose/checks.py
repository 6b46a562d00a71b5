"""All checks behind `report`: those of one look at a model, and those that run it with other batches or weights."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg

from ..sequences.recurrent import OverTime
from .causes import CAUSES
from .charts import bars, curves, sparkline, squares
from .looking import Look
from .perturbing import Batch, other_padding, outputs_of, padding_of, rows_changed
from .result import GREY, times
from .stepping import Steps, probe


class Checks(Look):
    """All checks of one batch, in the order of the page."""

    def run(self) -> None:
        """Run all checks; those that need a gradient only if there is one."""
        self.run_once()
        finite = self.non_finite_values()
        if self.watched.loss.requires_grad and finite:
            self.gradient_flow()
            self.horizon_and_truncation()
        self.jacobian_spectrum()
        self.gates()
        self.dead_units()
        if finite:
            self.padding()
            self.batch_and_time()
            self.learning_rate()
        order = list(CAUSES)
        self.causes.sort(key=lambda cause: order.index(cause.name))

    # ---- the batch -----------------------------------------------------------------------------------------------

    def padding(self) -> None:
        """Compare the loss with other numbers at padded steps."""
        padding = padding_of(self.batch)
        other = None if padding is None else other_padding(self.batch, padding)
        if padding is None or other is None:
            self.say("input at padding", "no padding was seen (lengths=, mask=, or equal ends of sequences)")
            return
        _, before = outputs_of(self.loss, self.model, self.whole)
        _, after = outputs_of(self.loss, self.model, other)
        rows = padding.where.any(axis=1 - (self.batch.axis or 0)).sum()
        where = "padded steps" if padding.certain else f"the equal ends of {rows} sequences, which look like padding"
        changed = not abs(after - before) <= 1e-6 * abs(before)
        if changed:
            what = f"with other numbers at {where} the loss is {after:.4g} instead of {before:.4g}"
            self.blame("reading at padding", what)
        said = f"the loss {'depends' if changed else 'does not depend'} on what stands at {where}"
        self.say("input at padding", said, bars({"padded": [float(padding.where.mean())]}, (GREY,)))

    def batch_and_time(self) -> None:
        """Compare the outputs with another sequence in the batch."""
        axis = self.batch.axis
        if self.batch.input is None or axis is None:
            self.say("batch and time", "the input's axis of sequences is not known; pass batch_axis=0 or 1")
            return
        N = self.batch.input.shape[axis]
        before, _ = outputs_of(self.loss, self.model, self.whole)
        if N < 2 or not before:
            self.say("batch and time", "the model was not called, or with one sequence")
            return
        matrix = np.zeros((2, N))
        mixed = 0
        for k, row in enumerate((0, N - 1)):
            other = self.batch.with_rows_changed(row)
            if other is not None:
                after, _ = outputs_of(self.loss, self.model, other)
                changed = rows_changed(before, after, N)
                matrix[k, list(changed)] = 1
                mixed = max(mixed, len(changed - {row}))
        if not mixed:
            self.say("batch and time", "the outputs of a sequence do not depend on the others")
            return
        layer = next((label for m, xs, label in self.watched.layers if _over_rows(m, xs, self.batch, N)), None)
        what = f"another sequence changes the outputs of {mixed} of {N - 1} others"
        if layer is not None:
            self.blame("batch and time swapped", f"{what}: {layer} reads the {N} sequences as steps")
        else:
            self.blame("rows of the batch mix", what)
        self.say("batch and time", what, squares({"first changed": matrix[0], "last changed": matrix[1]}))

    # ---- the optimizer -------------------------------------------------------------------------------------------

    def learning_rate(self) -> None:
        """The size of a step, and the loss of this batch after it."""
        usable = {n: g for n, g in self.gradients.items() if np.isfinite(g).all()}
        if not usable or not any(g.any() for g in usable.values()) or len(usable) < len(self.gradients):
            self.say("learning rate", "there is no gradient to step along")
            return

        def loss() -> float:
            return outputs_of(self.loss, self.model, self.whole)[1]

        before = loss()
        steps = probe(self.parameters, usable, loss, before, self.optimizer)
        picture = curves({"loss": steps.losses}, "log₁₀ of the step", at=np.log10(steps.factors).tolist(), level=before)
        if steps.ratio is None:
            said = f"along the gradient the loss falls most with a step of {steps.best:g} of the weights' norm"
            said = said if steps.best else "no step along the gradient lowers the loss"
        else:
            said = f"a step is {times(steps.ratio)} of the weights' norm; it takes the loss from {before:.4g} to "
            said += f"{steps.after:.4g}"
            self._judge(steps)
        self.say("learning rate", said, picture, sparkline(steps.losses))

    def _judge(self, steps: Steps) -> None:
        before, after = steps.before, steps.after
        if not after <= before + 0.1 * abs(before):
            what = f"a step takes the loss of its own batch from {before:.4g} to {after:.4g}"
            self.blame("learning rate too high", what)
        elif steps.ratio is not None and steps.ratio > 1:
            self.blame("learning rate too high", f"a step is {times(steps.ratio)} times as long as all weights")
        elif steps.best == max(steps.factors) and before - after < 1e-4 * abs(before):
            what = (
                f"a step takes the loss only from {before:.6g} to {after:.6g}; {steps.best:g} times as long is better"
            )
            self.blame("learning rate too low", what)


def _over_rows(layer: OverTime, xs: Any, batch: Batch, N: int) -> bool:
    """True if a layer's axis of time has the size of the batch, and its axis of sequences that of time."""
    time = 1 if layer.batch_first else 0
    assert batch.input is not None
    assert batch.axis is not None
    shape = np.shape(xs.data if isinstance(xs, mg.Tensor) else xs)
    return bool(shape[time] == N and shape[1 - time] == batch.input.shape[1 - batch.axis])
