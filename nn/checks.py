"""Checks of a saved state before any of it is used, with errors that name the entry."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend


def scalar(value: Any) -> Any:
    """A Python number from a number, also of NumPy, or from a Tensor or array without axes; anything else unchanged."""
    array = value.data if isinstance(value, mg.Tensor) else value
    if isinstance(array, np.generic) or (backend.is_array(array) and array.shape == ()):
        return array.item()
    return value


def count(what: str, value: Any) -> int:
    """A count, such as a number of steps; ValueError unless it is a non-negative integer."""
    number = scalar(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf or number % 1:
        raise ValueError(f"{what} must be a whole number and not negative, not {value!r:.80}")
    return int(number)


def number(what: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """A number; ValueError unless it is from `least` to `most`, so never NaN."""
    found = scalar(value)
    if isinstance(found, bool) or not isinstance(found, int | float) or not least <= found <= most:
        limits = "" if least == -math.inf else f" of at least {least}"
        raise ValueError(f"{what} must be a number{limits}, not {value!r:.80}")
    return found


def entries(what: str, value: Any, names: Collection[str], optional: Collection[str] = ()) -> Mapping[str, Any]:
    """A mapping with these names; TypeError if it is not a mapping, ValueError that lists missing and unknown names."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a mapping with {', '.join(names)}, not a {type(value).__name__}")
    missing = [name for name in names if name not in value and name not in optional]
    unknown = [str(name) for name in value if name not in names]
    if missing or unknown:
        problems = [f"{kind}: {', '.join(n)}" for kind, n in (("missing", missing), ("unknown", unknown)) if n]
        raise ValueError(f"{what} should have {', '.join(names)}; {'; '.join(problems)}")
    return value
