"""A step length that satisfies the strong Wolfe conditions (Nocedal & Wright 2006, algorithms 3.5 and 3.6):

    f(t) <= f(0) + c₁ t f'(0)   and   |f'(t)| <= c₂ |f'(0)|,   for f along a direction, and f'(0) < 0.

First t grows until an interval must contain such a length, then the interval shrinks. Trial lengths minimize cubics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

C1, C2 = 1e-4, 0.9


class Point(NamedTuple):
    """A length t, the value f there, the gradient, and the slope f' along the direction."""

    t: float
    f: float
    gradient: Any
    slope: float


def strong_wolfe(
    at: Callable[[float], Point], start: Point, t: float, size: float, tolerance: float = 1e-9, most: int = 25
) -> tuple[Point, int]:
    """The point found, and the number of trials.

    at         the point at a length
    start      the point at 0
    t          the first length to try
    size       the largest element of the direction: an interval that moves no weight by `tolerance` is not cut further
    most       the maximum number of further trials; then the best point so far is returned
    """

    def rises(point: Point) -> bool:
        return point.f > start.f + C1 * point.t * start.slope

    def is_flat(point: Point) -> bool:
        return abs(point.slope) <= -C2 * start.slope

    before, now, trials = start, at(t), 0
    while True:  # until [before, now] contains a minimum
        if trials == most:
            before = start
            break
        if rises(now) or (trials > 1 and now.f >= before.f):
            break
        if is_flat(now):
            return now, trials + 1
        if now.slope >= 0:
            break
        nearest, farthest = now.t + 0.01 * (now.t - before.t), 10 * now.t
        before, now = now, at(_minimum(before, now, nearest, farthest))
        trials += 1

    low, high = (before, now) if before.f <= now.f else (now, before)
    stuck = False  # True if the last trial was close to an end of the interval
    while trials < most:
        first, last = min(low.t, high.t), max(low.t, high.t)
        if (last - first) * size < tolerance:
            break
        t = _minimum(low, high, first, last)
        margin = 0.1 * (last - first)
        close = min(last - t, t - first) < margin
        if close and (stuck or t >= last or t <= first):
            t = last - margin if last - t < t - first else first + margin
            close = False
        stuck = close
        new = at(t)
        trials += 1
        if rises(new) or new.f >= low.f:
            low, high = (low, new) if low.f <= new.f else (new, low)
        elif is_flat(new):
            return new, trials + 1
        else:
            low, high = new, low if new.slope * (high.t - low.t) >= 0 else high
    return low, trials + 1


def _minimum(a: Point, b: Point, first: float, last: float) -> float:
    """The minimum of the cubic through two points, with their slopes, within [first, last] (equation 3.59 there)."""
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (first + last) / 2
    d2 = math.sqrt(square)
    near, far = (a, b) if a.t <= b.t else (b, a)
    bend = far.slope - near.slope + 2 * d2
    if bend == 0:  # a line
        return last if far.slope < 0 else first
    t = far.t - (far.t - near.t) * ((far.slope + d2 - d1) / bend)
    return min(max(t, first), last)
