"""Checks of what a saved state holds, before anything of it is used: errors that name the entry."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend


def scalar(value: Any) -> Any:
    """A number, also of NumPy or of a Tensor or array without axes, as Python's own; anything else as it is."""
    array = value.data if isinstance(value, mg.Tensor) else value
    if isinstance(array, np.generic) or (backend.is_array(array) and array.shape == ()):
        return array.item()
    return value


def count(what: str, value: Any) -> int:
    """A number of steps and the like; ValueError unless it is whole and not negative."""
    number = scalar(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf or number % 1:
        raise ValueError(f"{what} must be a whole number and not negative, not {value!r:.80}")
    return int(number)


def number(what: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """A number; ValueError unless it is from `least` to `most`, which NaN never is."""
    found = scalar(value)
    if isinstance(found, bool) or not isinstance(found, int | float) or not least <= found <= most:
        limits = "" if least == -math.inf else f" of at least {least}"
        raise ValueError(f"{what} must be a number{limits}, not {value!r:.80}")
    return found


def entries(what: str, value: Any, names: Collection[str], optional: Collection[str] = ()) -> Mapping[str, Any]:
    """A mapping with these names; TypeError if it is none, ValueError that lists missing and unknown names."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a mapping with {', '.join(names)}, not a {type(value).__name__}")
    missing = [name for name in names if name not in value and name not in optional]
    unknown = [str(name) for name in value if name not in names]
    if missing or unknown:
        problems = [f"{kind}: {', '.join(n)}" for kind, n in (("missing", missing), ("unknown", unknown)) if n]
        raise ValueError(f"{what} should have {', '.join(names)}; {'; '.join(problems)}")
    return value
