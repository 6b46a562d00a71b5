"""Byte pair encoding: learning merges from counted pieces, and applying them.

The algorithm is that of Sennrich, Haddow & Birch 2016: repeatedly, the most frequent pair of neighbouring symbols
becomes one new symbol. It is fast because of an index of each pair's occurrences, updated with each merge. A merge then
costs as much as the pair has occurrences, and all merges together cost no more than the corpus has symbols.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from tqdm import tqdm  # type: ignore[import-untyped]

Pair = tuple[int, int]
Rules = Mapping[Pair, tuple[int, int]]  # of each pair: its rank, and the merged symbol
NONE = -1


def learn(
    pieces: Mapping[tuple[int, ...], int], tokens: list[bytes], size: int, min_freq: int,
    forbidden: Collection[bytes] = (), progress: bool = False,
) -> dict[Pair, int]:  # fmt: skip
    """The merges, in the order of learning: for each pair, the merged symbol.

    pieces     symbols that may merge with each other, and their counts
    tokens     the bytes of each symbol; new ones are appended, until there are `size`
    min_freq   the least number of occurrences of a pair that is merged
    forbidden  bytes that no merge may give

    Among equally frequent pairs, the one with the smaller symbols comes first.
    """
    symbol: list[int] = []  # of all pieces, one after the other
    left: list[int] = []  # for each position, that of the previous symbol in the same piece, or NONE
    right: list[int] = []
    weight: list[int] = []  # the count of the piece
    for piece, count in pieces.items():
        start, end = len(symbol), len(symbol) + len(piece)
        symbol += piece
        left += [NONE, *range(start, end - 1)][: len(piece)]
        right += [*range(start + 1, end), NONE][: len(piece)]
        weight += [count] * len(piece)

    counts: defaultdict[Pair, int] = defaultdict(int)
    places: defaultdict[Pair, list[int]] = defaultdict(list)  # where a pair begins, or once began
    for i, j in enumerate(right):
        if j != NONE:
            counts[symbol[i], symbol[j]] += weight[i]
            places[symbol[i], symbol[j]].append(i)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapify(heap)

    merges: dict[Pair, int] = {}
    bar = tqdm(total=size - len(tokens), desc="merging", unit=" merges", disable=not progress)
    while heap and len(tokens) < size:
        negative, pair = heappop(heap)
        count = counts[pair]
        if count < -negative:  # it became less frequent; it can never become more frequent than at first
            heappush(heap, (-count, pair))
            continue
        if count < max(min_freq, 1):
            break
        a, b = pair
        token = tokens[a] + tokens[b]
        if token in forbidden:
            continue
        merges[pair] = new = len(tokens)  # no other pair gives these bytes: they merge in one way everywhere
        tokens.append(token)
        bar.update()
        arisen = set()
        for i in places.pop(pair):  # from left to right
            j = right[i]
            if symbol[i] != a or j == NONE or symbol[j] != b:
                continue  # one of its symbols was merged with its other neighbour
            before, after, n = left[i], right[j], weight[i]
            if before != NONE:
                other = symbol[before]
                counts[other, a] -= n
                counts[other, new] += n
                places[other, new].append(before)
                arisen.add((other, new))
            if after != NONE:
                other = symbol[after]
                counts[b, other] -= n
                counts[new, other] += n
                places[new, other].append(i)
                arisen.add((new, other))
                left[after] = i
            symbol[i], symbol[j], right[i] = new, NONE, after
        for pair in arisen:
            heappush(heap, (-counts[pair], pair))
    bar.close()
    return merges


def merge_all(symbols: Sequence[int], rules: Rules) -> list[int]:
    """The symbols after all possible merges: each time the one of lowest rank, the leftmost of equal ones.

    `merge_steps` does the same step by step; this takes O(T log T) for T symbols.
    """
    symbol = list(symbols)
    if len(symbol) < 2:
        return symbol
    end = len(symbol)
    left = list(range(-1, end - 1))
    right = list(range(1, end + 1))
    heap = [(rule[0], i, pair) for i, pair in enumerate(pairwise(symbol)) if (rule := rules.get(pair))]
    heapify(heap)
    while heap:
        _, i, pair = heappop(heap)
        j = right[i]
        if j == end or (symbol[i], symbol[j]) != pair:
            continue  # one of its symbols was merged with its other neighbour
        after = right[j]
        symbol[i], symbol[j], right[i] = rules[pair][1], NONE, after
        if after < end:
            left[after] = i
            pair = (symbol[i], symbol[after])
            if rule := rules.get(pair):
                heappush(heap, (rule[0], i, pair))
        before = left[i]
        if before != NONE:
            pair = (symbol[before], symbol[i])
            if rule := rules.get(pair):
                heappush(heap, (rule[0], before, pair))
    return [s for s in symbol if s != NONE]


def merge_steps(symbols: Sequence[int], rules: Rules) -> list[tuple[list[int], int]]:
    """A simple, slow version: after each merge, the symbols, and the index of the new one."""
    steps: list[tuple[list[int], int]] = []
    now = list(symbols)
    while True:
        found = [(rules[pair][0], i) for i, pair in enumerate(pairwise(now)) if pair in rules]
        if not found:
            return steps
        _, i = min(found)
        now = [*now[:i], rules[now[i], now[i + 1]][1], *now[i + 2 :]]
        steps.append((now, i))
