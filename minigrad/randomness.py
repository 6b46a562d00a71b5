"""Random numbers: one generator for each device, all seeded together.

The same seed on the same machine and backend gives the same numbers, bit for bit. The state can be read and restored,
as plain numbers and strings that JSON can hold.

The CPU's generator can report its state; those of other devices cannot. Reading the state therefore begins a new
stream on each of them, and the state holds the stream's number: continuing and restoring draw the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import backend
from .modes import current_mode

_seed: int = int.from_bytes(os.urandom(8), "little")
_generators: dict[str, Any] = {}
_streams: dict[str, int] = {}  # of other devices: the number of the current stream
_source: ContextVar[tuple[str, Any]] = ContextVar("minigrad_source", default=("", None))


def manual_seed(seed: int) -> None:
    """Seed all random numbers."""
    global _seed
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"manual_seed: the seed must be an integer that is not negative, not {seed!r}")
    current_mode().intake.only_outside("the random numbers begin anew, which would happen only once")
    _seed = seed
    _generators.clear()
    _streams.clear()


def generator(device: str = "cpu") -> Any:
    """The device's generator, a `numpy.random.Generator` or CuPy's."""
    if device != "cpu" and ":" not in device:
        device += ":0"
    if device not in _generators:
        where, source = _source.get()
        if where == device:
            return source
        stream = _streams.get(device, 0)
        seed: Any = _seed if device == "cpu" else [_seed, int(device.partition(":")[2]), stream]
        _generators[device] = backend.backend_for(device).default_rng(seed, device)
        if device != "cpu":
            _streams[device] = stream
    return _generators[device]


@contextmanager
def drawn_from(device: str, source: Any) -> Iterator[None]:
    """Inside the block, a device that has no generator yet draws from another source."""
    token = _source.set((device, source))
    try:
        yield
    finally:
        _source.reset(token)


def redraw(draw: str, array: Any) -> None:
    """Fill an array with the next random numbers, equal to those of a call for its shape. `draw` is "random" or
    "standard_normal"."""
    source = getattr(generator(backend.device_of(array)), draw)
    if type(array) is np.ndarray:
        source(dtype=array.dtype, out=array)
    else:
        array[...] = source(array.shape, dtype=array.dtype)


def get_random_state() -> dict[str, Any]:
    """The state of all random numbers: the seed, the state of the CPU's generator, the streams of other devices."""
    for device in _streams:
        if _generators.pop(device, None) is not None:  # numbers were drawn: the next ones are a new stream
            _streams[device] += 1
    return {"seed": _seed, "cpu": generator("cpu").bit_generator.state, "streams": dict(_streams)}


def set_random_state(state: dict[str, Any]) -> None:
    """Restore a state returned by `get_random_state`."""
    manual_seed(state["seed"])
    generator("cpu").bit_generator.state = state["cpu"]
    _streams.update(state.get("streams", {}))
