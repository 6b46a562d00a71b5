"""Random numbers: one generator for each device, seeded together.

The same seed on the same machine and backend gives the same numbers, bit for bit. The state can be read and restored,
as plain numbers and strings that JSON holds.
"""

from __future__ import annotations

import secrets
from typing import Any

from . import backend

_seed: int = secrets.randbits(64)
_generators: dict[str, Any] = {}


def manual_seed(seed: int) -> None:
    """Start all random numbers anew from a seed."""
    global _seed
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"manual_seed: the seed must be an integer that is not negative, not {seed!r}")
    _seed = seed
    _generators.clear()


def generator(device: str = "cpu") -> Any:
    """The device's generator, a `numpy.random.Generator` or CuPy's."""
    if device not in _generators:
        number = int(device.partition(":")[2] or 0)
        _generators[device] = backend.backend_for(device).default_rng([_seed, number] if number else _seed, device)
    return _generators[device]


def get_random_state() -> dict[str, Any]:
    """The state of all random numbers: the seed, and how far the CPU's generator has come."""
    return {"seed": _seed, "cpu": generator("cpu").bit_generator.state}


def set_random_state(state: dict[str, Any]) -> None:
    """Go on from a state that `get_random_state` gave. Generators of other devices start anew from its seed."""
    manual_seed(state["seed"])
    generator("cpu").bit_generator.state = state["cpu"]
