"""Detours: ways around nodes, for edges whose usual way runs through one.

Such an edge is routed again along a grid of lines beside all nodes near it: the shortest way with the fewest turns,
found by E. W. Dijkstra's algorithm (A note on two problems in connexion with graphs, 1959).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

Point = tuple[float, float]
Rect = tuple[float, float, float, float]  # x0, y0, x1, y1
At = tuple[int, int, int]  # a crossing of the grid, and the axis of arrival
E = TypeVar("E")

CORNER = 7.0  # radius
BESIDE = 6.0  # distance between a node and a detour around it
TURN = 30.0  # the length that a turn counts for
SAMPLES = np.linspace(0, 1, 25)
WEIGHTS = np.stack([(1 - SAMPLES) ** 3, 3 * SAMPLES * (1 - SAMPLES) ** 2, 3 * SAMPLES**2 * (1 - SAMPLES), SAMPLES**3])


def around_nodes(
    ways: dict[E, list[Point]], rects: Mapping[str, Rect], round_ends: bool = False
) -> dict[E, list[Point]]:  # fmt: skip
    """The same ways, with detours for those that run through a node (an edge has `source` and `target`).

    round_ends  ways may end inside a node's rectangle, at the border of its ellipse
    """
    ids = list(rects)
    frames = np.array([rects[id] for id in ids]).reshape(-1, 4)
    number = {id: k for k, id in enumerate(ids)}
    for edge, way in ways.items():
        ends = (number[edge.source], number[edge.target])  # type: ignore[attr-defined]
        if not any(k not in ends for k in hits(way, frames)) and (round_ends or not _through_ends(way, frames, ends)):
            continue
        found = _detour(way, frames, ends)
        if found is not None:
            ways[edge] = found
    return ways


def points_of(way: Sequence[Point]) -> np.ndarray:
    """Points along a spline, (n, 2)."""
    p = np.asarray(way, dtype=float)
    pieces = np.stack([p[0:-1:3], p[1::3], p[2::3], p[3::3]])  # (4, pieces, 2)
    found: np.ndarray = np.einsum("wt,wpc->ptc", WEIGHTS, pieces).reshape(-1, 2)
    return found


def hits(way: Sequence[Point], frames: np.ndarray, inset: float = 0.5) -> list[int]:
    """The numbers of the rectangles that a way runs through."""
    low, high = np.min(way, axis=0), np.max(way, axis=0)
    near = np.flatnonzero((frames[:, 0] < high[0]) & (frames[:, 2] > low[0])
                          & (frames[:, 1] < high[1]) & (frames[:, 3] > low[1]))  # fmt: skip
    if not near.size:
        return []
    points = points_of(way)
    found = []
    for k in near:
        x0, y0, x1, y1 = frames[k] + (inset, inset, -inset, -inset)
        if _crosses(points, x0, y0, x1, y1):
            found.append(int(k))
    return found


def _crosses(points: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> bool:
    """True if part of a polyline is inside a rectangle (Liang & Barsky 1984, for all pieces at once)."""
    a, d = points[:-1], np.diff(points, axis=0)
    enter, leave = np.zeros(len(a)), np.ones(len(a))
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis, low, high in ((0, x0, x1), (1, y0, y1)):
            t0, t1 = (low - a[:, axis]) / d[:, axis], (high - a[:, axis]) / d[:, axis]
            still = d[:, axis] == 0
            outside = still & ((a[:, axis] <= low) | (a[:, axis] >= high))
            enter = np.maximum(enter, np.where(still, 0.0, np.fmin(t0, t1)))
            leave = np.minimum(leave, np.where(still, 1.0, np.fmax(t0, t1)))
            leave[outside] = -1.0
    return bool(np.any(enter < leave - 1e-9))


def _through_ends(way: Sequence[Point], frames: np.ndarray, ends: tuple[int, int]) -> bool:
    """True if a way crosses its source node or its target node."""
    return ends[0] != ends[1] and bool(hits(way, frames[list(ends)], 1.5))


def _detour(way: Sequence[Point], frames: np.ndarray, ends: tuple[int, int]) -> list[Point] | None:
    """A way between the same two nodes along a grid, around all others; None if there is none."""
    own = [(way[0], way[-1])]
    sides = itertools.product(_sides(frames[ends[0]]), _sides(frames[ends[1]]))  # if an end itself is blocked
    for (start, end), reach in [*itertools.product(own, (60.0, 300.0, np.inf)), *((pair, 300.0) for pair in sides)]:
        low, high = np.min(way, axis=0) - reach, np.max(way, axis=0) + reach
        near = frames[(frames[:, 0] < high[0]) & (frames[:, 2] > low[0])
                      & (frames[:, 1] < high[1]) & (frames[:, 3] > low[1])]  # fmt: skip
        found = _shortest(_port(start, frames[ends[0]]), _port(end, frames[ends[1]]), near)
        if found is not None:
            return rounded([start, *found, end])
    return None


def _sides(frame: np.ndarray) -> list[Point]:
    """The middles of a node's sides: right, left, top, bottom."""
    x0, y0, x1, y1 = map(float, frame)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return [(x1, y), (x0, y), (x, y1), (x, y0)]


def _port(end: Point, frame: np.ndarray) -> Point:
    """The point beside a node at which a search starts: on the side where the edge ends."""
    x, y = end
    x0, y0, x1, y1 = frame
    side = int(np.argmin([abs(x - x0), abs(x - x1), abs(y - y0), abs(y - y1)]))
    beside = ((x0 - BESIDE, y), (x1 + BESIDE, y), (x, y0 - BESIDE), (x, y1 + BESIDE))[side]
    return float(beside[0]), float(beside[1])


def _shortest(start: Point, end: Point, frames: np.ndarray) -> list[Point] | None:
    """The corners of the best way along grid lines from start to end that crosses no rectangle."""
    room = BESIDE - 1.0
    walls = frames + np.array([-room, -room, room, room])
    xs = np.unique(np.concatenate([[start[0], end[0]], frames[:, 0] - BESIDE, frames[:, 2] + BESIDE]))
    ys = np.unique(np.concatenate([[start[1], end[1]], frames[:, 1] - BESIDE, frames[:, 3] + BESIDE]))
    along = np.ones((len(xs) - 1, len(ys)), bool)  # free from one x to the next
    up = np.ones((len(xs), len(ys) - 1), bool)
    for x0, y0, x1, y1 in walls:
        a, b = np.searchsorted(xs, x0, "right") - 1, np.searchsorted(xs, x1, "left")
        c, d = np.searchsorted(ys, y0, "right") - 1, np.searchsorted(ys, y1, "left")
        along[max(a, 0) : b, c + 1 : d] = False
        up[a + 1 : b, max(c, 0) : d] = False
    first = (int(np.searchsorted(xs, start[0])), int(np.searchsorted(ys, start[1])))
    last = (int(np.searchsorted(xs, end[0])), int(np.searchsorted(ys, end[1])))
    prices: dict[At, float] = {(*first, axis): 0.0 for axis in (0, 1)}
    before: dict[At, At] = {}
    queue = [(0.0, at) for at in prices]
    done: set[At] = set()
    while queue:
        price, at = heapq.heappop(queue)
        if at[:2] == last:
            return _corners(at, before, xs, ys)
        if at in done:
            continue
        done.add(at)
        for to, length in _steps(at, xs, ys, along, up):
            cost = price + length + TURN * (to[2] != at[2])
            if cost < prices.get(to, np.inf):
                prices[to], before[to] = cost, at
                heapq.heappush(queue, (cost, to))
    return None


def _steps(at: At, xs: np.ndarray, ys: np.ndarray, along: np.ndarray, up: np.ndarray) -> Iterator[tuple[At, float]]:
    """The reachable neighbours of a crossing, and their distances; axis 0 is horizontal."""
    i, j, _ = at
    if i + 1 < len(xs) and along[i, j]:
        yield (i + 1, j, 0), float(xs[i + 1] - xs[i])
    if i > 0 and along[i - 1, j]:
        yield (i - 1, j, 0), float(xs[i] - xs[i - 1])
    if j + 1 < len(ys) and up[i, j]:
        yield (i, j + 1, 1), float(ys[j + 1] - ys[j])
    if j > 0 and up[i, j - 1]:
        yield (i, j - 1, 1), float(ys[j] - ys[j - 1])


def _corners(at: At, before: Mapping[At, At], xs: np.ndarray, ys: np.ndarray) -> list[Point]:
    """The way back from the end of a search, reversed, without crossings passed straight."""
    way = [at]
    while at in before:
        at = before[at]
        way.append(at)
    points = [(float(xs[i]), float(ys[j])) for i, j, _ in reversed(way)]
    kept = points[:1]
    for k in range(1, len(points) - 1):
        (a, b), (c, d), (e, f) = kept[-1], points[k], points[k + 1]
        if not ((a == c == e) or (b == d == f)):
            kept.append(points[k])
    return [*kept, points[-1]] if len(points) > 1 else kept


# ---- splines -----------------------------------------------------------------------------------------------------


def rounded(points: Sequence[Point], radius: float = CORNER) -> list[Point]:
    """A polyline with rounded corners."""
    clean = [points[0]]
    for p in points[1:]:
        if abs(p[0] - clean[-1][0]) + abs(p[1] - clean[-1][1]) > 0.5:
            clean.append(p)
    if len(clean) < 2:
        clean.append((clean[0][0] + 1, clean[0][1]))
    spline = [clean[0]]

    def line(end: Point) -> None:
        start = spline[-1]
        spline.extend([_between(start, end, 1 / 3), _between(start, end, 2 / 3), end])

    for before, corner, after in zip(clean, clean[1:], clean[2:], strict=False):
        into = min(radius, _distance(before, corner) / 2)
        out = min(radius, _distance(corner, after) / 2)
        enter = _between(corner, before, into / _distance(corner, before))
        leave = _between(corner, after, out / _distance(corner, after))
        line(enter)
        spline.extend([_between(enter, corner, 0.55), _between(leave, corner, 0.55), leave])
    line(clean[-1])
    return spline


def _between(a: Point, b: Point, at: float) -> Point:
    return a[0] + (b[0] - a[0]) * at, a[1] + (b[1] - a[1]) * at


def _distance(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])  # along one axis
