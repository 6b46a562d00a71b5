"""Positions for text beside edges."""

from __future__ import annotations

import itertools

import numpy as np

from .detours import Point, Rect, hits
from .labels import SMALL, text_width


def free_place(way: list[Point], text: str, taken: list[Rect], ways: list[list[Point]]) -> Point:
    """A free position beside an edge, across as few edges as possible, near the middle of a long piece."""
    width, tries = text_width(text, SMALL), []
    half = 7.5 if "⁾_" in text else 5.0  # of its height: h⁽¹⁾_{0} may have its marks above each other
    for k in range(0, len(way) - 1, 3):
        a, b = way[k], way[k + 3]
        length = abs(b[0] - a[0]) + abs(b[1] - a[1])
        for share in (0.5, 0.3, 0.7, 0.15, 0.85):
            (x, y), (across, along) = _at(way[k : k + 4], share)
            apart = abs(along) * width / 2 + abs(across) * half + 3.5  # so that the text is clear of its own edge
            first = -1 if (across > 0 if abs(across) > abs(along) else along < 0) else 1  # above, or to the right
            for side, far in itertools.product((1, -1), (0.0, 11.0, 24.0)):
                dx, dy = first * side * along * (apart + far), -first * side * across * (apart + far)
                cost = abs(share - 0.5) * 40 - min(length, 60) + 6 * (side < 0) + 8 * far
                tries.append((cost, x + dx, y + dy))
    best, found = np.inf, tries[0][1:]
    for cost, x, y in sorted(tries):
        if cost >= best:
            break
        mine = (x - width / 2 - 1, y - half, x + width / 2 + 1, y + half)
        cost += 500.0 * sum(overlap(mine, other) for other in taken)
        cost += 60.0 * sum(bool(hits(one, np.array([mine]))) for one in ways) if cost < best else 0.0
        if cost < best:
            best, found = cost, (x, y)
    return found


def _at(piece: list[Point], share: float) -> tuple[Point, Point]:
    """The point of a cubic piece at a share of it, and its direction (unit length) there."""
    p = np.asarray(piece, dtype=float)
    s, r = share, 1 - share
    x, y = r**3 * p[0] + 3 * r * r * s * p[1] + 3 * r * s * s * p[2] + s**3 * p[3]
    dx, dy = r * r * (p[1] - p[0]) + 2 * r * s * (p[2] - p[1]) + s * s * (p[3] - p[2])
    length = max(float(np.hypot(dx, dy)), 1e-9)
    return (float(x), float(y)), (float(dx) / length, float(dy) / length)


def overlap(a: Rect, b: Rect) -> bool:
    """True if two rectangles overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
