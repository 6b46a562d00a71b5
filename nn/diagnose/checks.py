"""All checks behind `report`: those of one run of a model, and those that run it with other batches or weights."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg

from ..layers.normalization import BatchNorm1d
from ..sequences.recurrent import OverTime
from .causes import CAUSES
from .charts import bars, curves, sparkline, squares
from .perturbing import Batch, other_padding, outputs_of, padding_of, rows_changed
from .result import GREY, Array, multiple
from .stepping import Steps, probe
from .through_time import ThroughTime


class Checks(ThroughTime):
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

    def sizes(self) -> tuple[int | None, int | None]:
        """(T, N) of the batch; None for a size that is unknown. A model without a loop over steps has no T."""
        axis, x = self.batch.axis, self.batch.input
        if not self.watched.loops:
            return None, None if x is None or axis is None else x.shape[axis]
        if x is not None and axis is not None:
            return x.shape[1 - axis], x.shape[axis]
        for layer, xs, _ in self.watched.layers:
            shape = np.shape(xs.data if isinstance(xs, mg.Tensor) else xs)
            return (shape[1], shape[0]) if layer.batch_first else (shape[0], shape[1])
        return max(len(loop.steps) for loop in self.watched.loops), None

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
        guess = f"the equal ends of {rows} sequences, which look like padding"
        if rows == 1:
            guess = "the equal steps at the end of a sequence, which look like padding"
        where = "padded steps" if padding.certain else guess
        changed = not abs(after - before) <= 1e-6 * abs(before)
        if changed:
            digits = 4 if f"{after:.4g}" != f"{before:.4g}" else 7
            what = f"the loss is {after:.{digits}g} instead of {before:.{digits}g} with other numbers at {where}"
            self.blame("reading at padding", what)
        said = f"the loss {'depends' if changed else 'does not depend'} on the numbers at {where}"
        part = float(padding.where.mean())
        picture = bars({"this batch": [part]}, "share of the steps", [(GREY, "padding")], {"this batch": part})
        self.say("input at padding", said, picture)

    def batch_and_time(self) -> None:
        """Compare the outputs with another sequence in the batch."""
        axis = self.batch.axis
        if self.batch.input is None or axis is None:
            self.say("batch and time", "the input's axis of sequences is unknown; pass batch_axis=0 or batch_axis=1")
            return
        N = self.batch.input.shape[axis]
        before, _ = outputs_of(self.loss, self.model, self.whole)
        if N < 2 or not before:
            self.say("batch and time", "nothing to compare: one sequence, or a loss that does not call the model")
            return
        matrix, mixed = self._mixed(before, N)
        if not mixed:
            self.say("batch and time", "the outputs of a sequence do not depend on the other sequences")
            return
        layer = next((label for m, xs, label in self.watched.layers if _over_rows(m, xs, self.batch, N)), None)
        if layer is None and self.batch.input.shape[1 - axis] != N:
            layer = next((f"the loop of {loop.name}" for loop in self.watched.loops if len(loop.steps) == N), None)
        what = f"a change of one sequence changes the outputs of {mixed} of the {N - 1} others"
        if layer is not None:
            self.blame("batch and time swapped", f"{what}: {layer} reads the {N} sequences as steps")
        elif self._mixed_by_statistics(N):
            what += ", by batch normalization alone, which mixes them by design"
        else:
            self.blame("rows of the batch mix", what)
        picture = squares({"first changed": matrix[0], "last changed": matrix[1]}, "number of the sequence",
                          "its outputs change", "they do not")  # fmt: skip
        self.say("batch and time", what, picture)

    def _mixed(self, before: list[Array], N: int) -> tuple[Array, int]:
        """The sequences whose outputs change with the first and with the last one, (2, N), and their number."""
        matrix, mixed = np.zeros((2, N)), 0
        for k, row in enumerate((0, N - 1)):
            other = self.batch.with_rows_changed(row)
            if other is not None:
                after, _ = outputs_of(self.loss, self.model, other)
                changed = rows_changed(before, after, N)
                matrix[k, list(changed)] = 1
                mixed = max(mixed, len(changed - {row}))
        return matrix, mixed

    def _mixed_by_statistics(self, N: int) -> bool:
        """True if the sequences mix only by the statistics of batch normalization: not with its running statistics."""
        used = [m for m in self.model.modules() if isinstance(m, BatchNorm1d) and m.training and m.track_running_stats]
        for module in used:
            module.training = False
        try:
            before, _ = outputs_of(self.loss, self.model, self.whole)
            return bool(used) and not self._mixed(before, N)[1]
        finally:
            for module in used:
                module.training = True

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
        if steps.ratio is None:
            size = "size of the step, relative to the weights (logarithmic axis)"
            lowest = np.nanmin(steps.losses) if steps.best else before
            said = f"of steps down the gradient, one of {steps.best:g} times the weights' norm lowers the loss most, "
            said += f"from {before:.4g} to {lowest:.4g}"
            said = said if steps.best else "no step down the gradient lowers the loss"
        else:
            size = "size of the step, in steps of the optimizer (logarithmic axis)"
            said = f"a step changes the weights by {multiple(steps.ratio)} their norm; it takes the loss from "
            said += f"{before:.4g} to {steps.after:.4g}"
            self._judge(steps)
        picture = curves({"loss after a step": steps.losses}, size, "loss of this batch", at=steps.factors,
                         limit=before, meaning=f"now, {before:.4g}")  # fmt: skip
        self.say("learning rate", said, picture, sparkline(steps.losses))

    def _judge(self, steps: Steps) -> None:
        before, after = steps.before, steps.after
        if not after <= before + 0.1 * abs(before):
            what = f"a step takes the loss of its own batch from {before:.4g} to {after:.4g}"
            self.blame("learning rate too high", what)
        elif steps.ratio is not None and steps.ratio > 1:
            what = f"a step changes the weights by {multiple(steps.ratio)} their norm"
            self.blame("learning rate too high", what)
        elif steps.best == max(steps.factors) and before - after < 1e-4 * abs(before):
            what = (
                f"a step takes the loss only from {before:.6g} to {after:.6g}; a step {steps.best:g} times as long is "
            )
            what += "better"
            self.blame("learning rate too low", what)


def _over_rows(layer: OverTime, xs: Any, batch: Batch, N: int) -> bool:
    """True if a layer's axis of time has the size of the batch, and its axis of sequences that of time."""
    time = 1 if layer.batch_first else 0
    assert batch.input is not None
    assert batch.axis is not None
    shape = np.shape(xs.data if isinstance(xs, mg.Tensor) else xs)
    return bool(shape[time] == N and shape[1 - time] == batch.input.shape[1 - batch.axis])
