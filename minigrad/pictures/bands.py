"""Items in bands: the band of each item, and its position there. An item is anything with an order and extents (see
`boxes`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import fsum
from typing import Any, TypeVar

X = TypeVar("X", bound=Any)
ASIDE = 30.0  # how strongly an item pulled to a side avoids the position of a passing edge


def ranks(items: Sequence[X], links: set[tuple[X, X]]) -> dict[X, int]:
    """Each item's band, from 0: above all items that it uses, except where items use each other in a cycle.

    links  (used, user) pairs
    """
    after: dict[X, list[X]] = {item: [] for item in items}
    waiting = dict.fromkeys(items, 0)
    for a, b in sorted(links, key=lambda link: (link[0].order, link[1].order)):
        if a is not b:
            after[a].append(b)
            waiting[b] += 1
    used = {b for b, count in waiting.items() if count}
    level = dict.fromkeys(items, 0)
    done: dict[X, int] = {}
    rest = deque(sorted(items, key=lambda item: item.order))
    ready = deque(item for item in rest if not waiting[item])
    while len(done) < len(items):
        if not ready:  # a cycle: its first item goes first
            while rest[0] in done:
                rest.popleft()
            ready.append(rest[0])
        item = ready.popleft()
        if item in done:
            continue
        done[item] = level[item]
        for b in after[item]:
            waiting[b] -= 1
            if b not in done:
                level[b] = max(level[b], level[item] + 1)
                if waiting[b] == 0:
                    ready.append(b)
    for item in reversed(list(done)):  # an item without inputs goes close to its users
        above = [done[b] for b in after[item] if done[b] > done[item]]
        if above and item not in used:
            done[item] = min(above) - 1
    return done


def mean(item: Any, near: Sequence[Any]) -> float:
    """The wanted position of an item: the mean of those it is connected with."""
    if not near:
        return float(item.x)
    straight = [8.0 if item.thin and other.thin else 1.0 for _, other, _, _ in near]
    places = [other.x + at - own for _, other, at, own in near]
    return fsum(w * x for w, x in zip(straight, places, strict=True)) / fsum(straight)


def in_order(band: Sequence[X], wanted: dict[X, float]) -> list[X]:
    """Items sorted by wanted position; those with a `pull` are outermost, except for passing edges."""
    free = sorted([item for item in band if not item.pull], key=lambda item: (round(wanted[item], 2), item.x))
    solid = [k for k, item in enumerate(free) if not item.thin]
    for side in (-1, 1):
        pulled = sorted([item for item in band if item.pull == side], key=lambda item: (wanted[item], item.x))
        limit = (solid[0] if side < 0 else solid[-1] + 1) if solid else None
        for item in pulled if side > 0 else reversed(pulled):
            place = sum(wanted[one] <= wanted[item] + side * ASIDE for one in free)
            if limit is not None:
                place = min(place, limit) if side < 0 else max(place, limit)
            free.insert(place, item)
            if side < 0:
                solid = [k + 1 for k in solid]
            elif limit is not None:
                limit = place + 1
    return free


def settle(band: Sequence[Any], wanted: Sequence[float], gap: float) -> None:
    """Positions close to the wanted ones, in this order and without overlap (pool adjacent violators)."""
    offsets, total = [], 0.0
    for k, item in enumerate(band):
        if k:
            total += band[k - 1].right + item.left + (0.0 if item.thin and band[k - 1].thin else gap)
        offsets.append(total)
    pools: list[list[float]] = []  # weighted sum, weight, count
    for item, want, offset in zip(band, wanted, offsets, strict=True):
        pools.append([(want - offset) * item.weight, item.weight, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, weight, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += weight
            pools[-1][2] += count
    places = [total / weight for total, weight, count in pools for _ in range(int(count))]
    for item, place, offset in zip(band, places, offsets, strict=True):
        item.x = place + offset
