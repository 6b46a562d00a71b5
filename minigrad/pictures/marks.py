"""Positions for text: beside edges, and in the frames of scopes, clear of nodes, of edges and of other text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .detours import Point, Rect
from .labels import SIZE, SMALL, text_width

FINE = 2.0  # between the points that stand for an edge
APART = 3.0  # between a text and an edge
NEAR = 1.5  # two edges that are closer share their line
TEXT, EDGE, SHARED, BESIDE = 500.0, 300.0, 150.0, 40.0  # the costs of a place: over a text or a node, over an edge, ...
OUTSIDE = 200.0  # of a title outside its frame
CHUNK = 40  # places that are compared at once


class Space:
    """The taken part of a picture: rectangles of nodes and texts, and edges as points."""

    def __init__(self, rects: Iterable[Rect], ways: Iterable[Sequence[Point]]) -> None:
        self.rects = list(rects)
        each = [traced(way) for way in ways]
        points: np.ndarray = np.concatenate([np.zeros((0, 2)), *each])
        owner = np.repeat(np.arange(len(each)), [len(one) for one in each])
        order = np.argsort(points[:, 0], kind="stable")
        self.points, self.owner = points[order], owner[order]

    def take(self, rect: Rect) -> None:
        """Note that a text stands here."""
        self.rects.append(rect)

    def near(self, low: Any, high: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """In a part of the picture: the edges' points, the edge of each, and the rectangles."""
        a, b = np.searchsorted(self.points[:, 0], (low[0], high[0]))
        points, owner = self.points[a:b], self.owner[a:b]
        inside = (points[:, 1] >= low[1]) & (points[:, 1] <= high[1])
        rects = np.array(self.rects).reshape(-1, 4)
        meets = (rects[:, 0] < high[0]) & (rects[:, 2] > low[0]) & (rects[:, 1] < high[1]) & (rects[:, 3] > low[1])
        return points[inside], owner[inside], rects[meets]

    def best(self, rects: np.ndarray, costs: np.ndarray, own: int = -1) -> int:
        """The number of the rectangle whose place costs least: the given cost, and that of everything it covers or is
        close to.

        own  the number of the edge that the text belongs to
        """
        best, found = np.inf, 0
        order = np.argsort(costs, kind="stable")
        for some in np.split(order, range(CHUNK, len(order), CHUNK)):
            if costs[some[0]] >= best:
                break
            mine = rects[some]
            points, owner, others = self.near(mine[:, :2].min(axis=0) - APART, mine[:, 2:].max(axis=0) + APART)
            full = costs[some] + TEXT * _overlaps(_grown(mine, 2.5, 1.0), others)
            full = full + EDGE * (_inside(_grown(mine, 0.5, 0.0), points) > 0)
            full = full + BESIDE * (_inside(_grown(mine, APART, APART - 1), points[owner != own]) > 0)
            at = int(np.argmin(full))
            if full[at] < best:
                best, found = full[at], int(some[at])
        return found

    def shared(self, at: np.ndarray, own: int) -> np.ndarray:
        """For each of some points of an edge, if another edge runs there as well."""
        ends = np.searchsorted(self.points[:, 0], np.stack([at[:, 0] - NEAR, at[:, 0] + NEAR]))
        found = []
        for (_, y), a, b in zip(at, *ends, strict=True):
            found.append(bool(np.any((np.abs(self.points[a:b, 1] - y) < NEAR) & (self.owner[a:b] != own))))
        return np.array(found)


def _grown(rects: np.ndarray, x: float, y: float) -> np.ndarray:
    grown: np.ndarray = rects + np.array([-x, -y, x, y])
    return grown


def _inside(rects: np.ndarray, points: np.ndarray) -> np.ndarray:
    """For each rectangle, the number of points inside."""
    r, p = rects[:, None, :], points[None]
    inside = (p[..., 0] > r[..., 0]) & (p[..., 0] < r[..., 2]) & (p[..., 1] > r[..., 1]) & (p[..., 1] < r[..., 3])
    found: np.ndarray = inside.sum(axis=1)
    return found


def _overlaps(rects: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each rectangle, the number of the others that it overlaps."""
    r, o = rects[:, None, :], others[None]
    meets = (r[..., 0] < o[..., 2]) & (o[..., 0] < r[..., 2]) & (r[..., 1] < o[..., 3]) & (o[..., 1] < r[..., 3])
    found: np.ndarray = meets.sum(axis=1)
    return found


def traced(way: Sequence[Point]) -> np.ndarray:
    """Points along a spline, closer than FINE, (n, 2)."""
    p = np.asarray(way, dtype=float)
    found = []
    for a, b, c, d in zip(p[0:-1:3], p[1::3], p[2::3], p[3::3], strict=True):
        length = np.abs(b - a).sum() + np.abs(c - b).sum() + np.abs(d - c).sum()
        s = np.linspace(0, 1, int(length / FINE) + 2)[:, None]
        found.append((1 - s) ** 3 * a + 3 * s * (1 - s) ** 2 * b + 3 * s**2 * (1 - s) * c + s**3 * d)
    return np.concatenate(found)


# ---- beside an edge ----------------------------------------------------------------------------------------------


def free_place(number: int, way: Sequence[Point], text: str, space: Space, side: int = 1) -> Point:
    """A free position beside the edge of this number, or a piece of it: where no other edge shares its line, near its
    middle, and closer to it than to others; on the right (1) or the left (-1) if both are free."""
    half, tall = text_width(text, SMALL) / 2, SMALL * (0.75 if "⁾_" in text else 0.42)  # h⁽¹⁾_{0}: one above the other
    along = traced(way)
    along = along[:: max(1, len(along) // 60)]
    ahead = np.gradient(along, axis=0)
    ahead /= np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
    normal = np.stack([ahead[:, 1], -ahead[:, 0]], axis=1)
    normal *= np.where(normal[:, :1] + normal[:, 1:] >= 0, 1.0, -1.0)  # right of an edge, or above it
    reach = np.abs(normal) @ (half, tall) + APART
    share = np.linspace(-1, 1, len(along))
    at, costs = [], []
    for to in (1, -1):
        for far in (0.0, 6.0, 14.0, 24.0, 36.0):
            at.append(along + normal * (to * (reach + far))[:, None])
            costs.append(25.0 * np.abs(share) + 6.0 * (to != side) + 6.0 * far + SHARED * space.shared(along, number))
    middles, cost = np.concatenate(at), np.concatenate(costs)
    size = np.array([half, tall + SMALL * 0.08])
    found = middles[space.best(np.concatenate([middles - size, middles + size], axis=1), cost, number)]
    return float(found[0]), float(found[1])


# ---- in a frame --------------------------------------------------------------------------------------------------


def title_place(frame: Rect, text: str, low: bool, inner: Sequence[Rect], space: Space) -> Point:
    """The beginning of a frame's title: in its lower line or its upper one, as far left as is free, else on another.

    inner  the frames inside of it, where its title would be theirs
    """
    left, bottom, right, top = frame
    width = text_width(text, SIZE)
    xs = np.arange(left + 7, max(right - width - 4, left + 8), 2.0)
    lines = [bottom + 9, top - 9] if low else [top - 9, bottom + 9]
    rows = np.concatenate([lines, np.arange(bottom + 9, top - 8, 4)])
    x, y = (grid.ravel() for grid in np.meshgrid(xs, rows))
    cost = BESIDE * np.repeat(np.minimum(np.arange(len(rows)), 2), len(xs))
    around = np.arange(left + 2, right, 2.0)
    for beyond in (top + 8, bottom - 8):  # outside, if nothing inside is free
        x, y = np.concatenate([x, around]), np.concatenate([y, np.full(len(around), beyond)])
        cost = np.concatenate([cost, np.full(len(around), OUTSIDE)])
    rects = np.stack([x, y - SIZE * 0.5, x + width, y + SIZE * 0.5], axis=1)
    cost = cost + 0.1 * (x - left) + TEXT * _overlaps(rects, np.array(inner).reshape(-1, 4))
    at = space.best(rects, cost)
    return float(x[at]), float(y[at])
