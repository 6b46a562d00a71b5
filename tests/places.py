"""Places that tests run on: NumPy, the strict stand-in for CuPy, and CuPy where a GPU answers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import strict

import minigrad as mg
from minigrad import backend as backends

backends.register("strict", strict.BACKEND)


class Place(NamedTuple):
    """A device to run on: how to bring arrays there and back."""

    name: str
    device: str

    def array(self, value: Any, dtype: Any = None) -> Any:
        return backends.from_numpy(np.array(value, dtype), self.device)

    def tensor(self, value: Any, dtype: Any = None, requires_grad: bool = False) -> mg.Tensor:
        return mg.Tensor(self.array(value, dtype), requires_grad)

    def numpy(self, value: Any) -> Any:
        array = value.data if isinstance(value, mg.Tensor) else value
        assert backends.device_of(array) == self.device, f"left {self.device}"
        return backends.to_numpy(array)


PLACES = [Place("numpy", "cpu"), Place("strict", "strict:0")]
if backends.CUPY.find().usable:
    PLACES.append(Place("cupy", "cuda:0"))
