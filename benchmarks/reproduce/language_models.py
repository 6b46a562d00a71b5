"""The common part of the two language models: one text as streams, a carried state, and the loss of another text."""

from __future__ import annotations

from typing import Any

import nlp
import nn

from .common import Run


def train(model: nlp.LanguageModel, optimizer: Any, steps: int, **settings: Any) -> Run:
    """A run over windows of `steps` steps, with a carried state."""
    tbptt = nn.TBPTT(steps)

    def step(model: Any, window: nlp.Window) -> Any:
        h = tbptt(model.encode, window.inputs, reset=window.reset, batch_axis=1)
        return model.loss_of(h, window.targets)

    return Run(
        model, optimizer, step, carried=tbptt, items=lambda window: int((window.targets >= 0).sum()), progress=False,
        log_every=200, nonfinite="pass", **settings,
    )  # fmt: skip
