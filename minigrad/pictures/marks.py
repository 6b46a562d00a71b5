"""Positions for text beside edges."""

from __future__ import annotations

import itertools

import numpy as np

from .detours import Point, Rect, hits
from .labels import SMALL, text_width


def free_place(way: list[Point], text: str, taken: list[Rect], ways: list[list[Point]]) -> Point:
    """A free position beside an edge, across as few edges as possible, near the middle of a long piece."""
    width, tries = text_width(text, SMALL), []
    for k in range(0, len(way) - 1, 3):
        a, b = way[k], way[k + 3]
        upright = abs(b[0] - a[0]) < abs(b[1] - a[1])
        length = abs(b[0] - a[0]) + abs(b[1] - a[1])
        for share in (0.5, 0.3, 0.7, 0.15, 0.85):
            x, y = a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share
            for side, far in itertools.product((1, -1), (0.0, 11.0, 24.0)):
                dx, dy = (side * (width / 2 + 4 + far), 0.0) if upright else (0.0, side * (7.5 + far))
                cost = abs(share - 0.5) * 40 - min(length, 60) + 6 * (side < 0) + 8 * far
                tries.append((cost, x + dx, y + dy))
    best, found = np.inf, tries[0][1:]
    for cost, x, y in sorted(tries):
        if cost >= best:
            break
        mine = (x - width / 2 - 1, y - 5, x + width / 2 + 1, y + 5)
        cost += 500.0 * sum(overlap(mine, other) for other in taken)
        cost += 40.0 * sum(bool(hits(one, np.array([mine]))) for one in ways) if cost < best else 0.0
        if cost < best:
            best, found = cost, (x, y)
    return found


def overlap(a: Rect, b: Rect) -> bool:
    """True if two rectangles overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
