"""The axes of small pictures: from numbers to places, with ticks at round numbers."""

from __future__ import annotations

from math import ceil, floor, log10

import numpy as np

from .result import Array

MOST = 5  # ticks of an axis
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class Scale:
    """A map from numbers to places between two ends: `scale(values)`.

    ticks  round numbers within the range
    """

    def __init__(self, numbers: Array, start: float, end: float, *, log: bool = False, whole: bool = False) -> None:
        self.start, self.end, self.log = start, end, log
        low, high = (float(self._scaled(n)) for n in (numbers.min(), numbers.max()))
        if high - low < 1e-9 * max(abs(high), 1e-9):
            low, high = low - 0.5, high + 0.5
        self.low, self.high = low, high
        self.ticks = powers(low, high) if log else round_numbers(low, high, whole)

    def _scaled(self, value: Array | float) -> Array:
        return np.log10(value) if self.log else np.asarray(value)

    def __call__(self, value: Array) -> Array:
        part: Array = (self._scaled(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def place_of(scale: Scale, value: float) -> float:
    """The place of one number."""
    return float(scale(np.asarray(value)))


def round_numbers(low: float, high: float, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in a range, at most `MOST`."""
    rough = (high - low) / (MOST - 1)
    ten = 10.0 ** floor(log10(rough))
    step = next(ten * k for k in (1, 2, 5, 10) if ten * k >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    return [k * step for k in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def powers(low: float, high: float) -> list[float]:
    """Powers of ten between two logarithms; multiples of them where the range holds less than two."""
    every = max(1, ceil((high - low) / (MOST - 1)))
    found = [10.0**k for k in range(ceil(low - 1e-9), floor(high + 1e-9) + 1) if k % every == 0]
    if len(found) > 1:
        return found
    finer = [m * 10.0**k for k in range(floor(low), floor(high) + 1) for m in (1, 2, 5)]
    found = [v for v in finer if low <= log10(v) <= high]
    return found if len(found) > 1 else round_numbers(10**low, 10**high)


def written(value: float) -> str:
    """A number for an axis: 0.01, 200, 10⁻³⁰."""
    if value and not 1e-3 < abs(value) < 1e4:
        exponent = floor(log10(abs(value)) + 1e-9)
        factor = round(value / 10.0**exponent, 2)
        power = "10" + str(exponent).translate(SUPERSCRIPTS)
        return power if factor == 1 else f"{factor:g}·{power}"
    return f"{value:.6g}".replace("-", "−")
