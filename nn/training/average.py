"""An exponential moving average of a model's weights (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend

from ..clipping import widened
from ..modules import Module


class WeightAverage:
    """a = d a + (1 − d) w, over all weights w of a model after each step; initially w. In float32 for float16.

    decay     d
    averages  by the weights' names; None before the first step
    """

    def __init__(self, model: Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.averages: dict[str, mg.Tensor] | None = None

    def move(self) -> None:
        """Update the average with the present weights."""
        weights = {name: widened(weight.data) for name, weight in self.model.named_parameters()}
        if self.averages is None:
            self.averages = {name: mg.Tensor(w.copy()) for name, w in weights.items()}
            return
        for name, w in weights.items():
            average = self.averages[name]
            average.data = backend.transfer(average.data, backend.device_of(w))
            average.data += (1 - self.decay) * (w - average.data)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block, the model has the averaged weights; before the first step, its own."""
        if self.averages is None:
            yield
            return
        own = {name: weight.data.copy() for name, weight in self.model.named_parameters()}
        self._write({name: average.data for name, average in self.averages.items()})
        try:
            yield
        finally:
            self._write(own)

    def _write(self, arrays: Mapping[str, Any]) -> None:
        with mg.no_grad():
            for name, weight in self.model.named_parameters():
                weight[...] = arrays[name].astype(weight.dtype, copy=False)

    def checked(self, averages: Any) -> dict[str, mg.Tensor] | None:
        """Copies of saved averages, on the weights' devices; ValueError if they do not belong to these weights."""
        if averages is None:
            return None
        weights = dict(self.model.named_parameters())
        shapes = {name: weight.shape for name, weight in weights.items()}
        if not isinstance(averages, Mapping) or {name: np.shape(a) for name, a in averages.items()} != shapes:
            raise ValueError("Trainer.load_state_dict: averages are not those of this model's weights")
        arrays = {name: a.data if isinstance(a, mg.Tensor) else np.asarray(a) for name, a in averages.items()}
        return {
            name: mg.Tensor(backend.transfer(array, weights[name].device).astype(widened(weights[name].data).dtype))
            for name, array in arrays.items()
        }
