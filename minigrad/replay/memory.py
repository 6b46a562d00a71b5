"""Memory of a recording's values.

A computed value occupies a block for its lifetime; then the block is reused. Blocks are taken from the latest that
became free, which are still in the cache.

Arrays that are joined later are placed side by side from the start, in a *chain*: the results of all steps of a
recurrent network then form one matrix for the product over all steps, without a copy.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from .recording import Operation, Value, copied

Array = Any
ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class Lifetimes:
    """The lifetime of each computed value: the first and the last operation that touches its memory."""

    def __init__(self, operations: list[Operation], ends: Iterable[Value]) -> None:
        self.first: dict[Value, int] = {}
        self.last: dict[Value, int] = {}
        self.writers: dict[Value, list[int]] = defaultdict(list)
        for k, operation in enumerate(operations):
            for value in (*operation.reads, *operation.writes):
                root = value.root
                if root.kind == "made":
                    self.first.setdefault(root, k)
                    self.last[root] = k
            for value in dict.fromkeys(v.root for v in operation.writes):
                self.writers[value].append(k)
        for value in ends:
            if value.root.kind == "made":
                self.last[value.root] = len(operations)


def whole(value: Value) -> bool:
    """True if a value is all of its root's memory, in order."""
    return value.root is value or (value.nbytes == value.root.nbytes and contiguous(value) and contiguous(value.root))


def contiguous(value: Value) -> bool:
    """True if a value is C-contiguous."""
    step = value.dtype.itemsize
    for size, stride in zip(reversed(value.shape), reversed(value.strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


class Chain:
    """Values side by side in memory: `members` in order, and the values `joined` from runs of them."""

    def __init__(self, members: list[Value]) -> None:
        self.members = members
        self.starts: dict[Value, int] = {}  # in bytes
        self.nbytes = 0
        for member in members:
            self.starts[member] = self.nbytes
            self.nbytes += member.nbytes
        self.joined: list[tuple[Value, Value]] = []  # (the whole, its first member)

    def places(self) -> list[tuple[Value, int]]:
        """Every value with its offset."""
        return [*self.starts.items(), *[(whole, self.starts[first]) for whole, first in self.joined]]


def joins(operation: Operation) -> list[Value] | None:
    """The values that an np.concatenate places one after the other in memory; None for other operations."""
    if operation.function not in (np.concatenate, np.stack) or len(operation.outputs) != 1:
        return None
    axis = operation.kwargs.get("axis", operation.args[1] if len(operation.args) > 1 else 0)
    parts = operation.args[0]
    joined = operation.outputs[0]
    if axis != 0 or not contiguous(joined) or operation.kwargs.keys() - {"axis"}:
        return None
    if not all(isinstance(p, Value) and p.dtype == joined.dtype for p in parts):
        return None
    return list(parts)


def with_copies(operations: list[Operation]) -> list[Operation]:
    """The operations, with copies of the parts of a join that cannot be moved, if most of its parts can."""
    found: list[Operation] = []
    for operation in operations:
        parts = joins(operation)
        if parts is not None and len(parts) > 3:
            stay = [k for k, p in enumerate(parts) if p.root.kind != "made" or not (whole(p) and contiguous(p.root))]
            if len(stay) <= len(parts) // 4:
                for k in stay:
                    copy = Operation(copied, (parts[k],), {}, operation.place)
                    twin = Value("made", np.empty(parts[k].shape, parts[k].dtype))
                    copy.outputs, copy.writes = [twin], [twin]
                    parts[k] = twin
                    found.append(copy)
                if stay:
                    again = Operation(
                        operation.function, (parts, *operation.args[1:]), operation.kwargs, operation.place
                    )
                    again.outputs, again.writes = operation.outputs, operation.writes
                    operation = again
        found.append(operation)
    return found


def chains_of(
    operations: list[Operation], lifetimes: Lifetimes, fixed: set[Value]
) -> tuple[list[Chain], dict[int, Value]]:
    """Chains, and the operations that join runs of their members: by number, the first member of the run.

    `fixed` values have memory already. A member is made by one operation, and neither it nor the joined value is
    written into later. If several joins need a value in different orders, all but the first copy it; a value that was
    itself joined in place is copied as well.
    """
    after: dict[Value, Value] = {}
    before: dict[Value, Value] = {}
    taken: dict[int, list[Value]] = {}
    inside: set[Value] = set()  # values in chains, and values joined from them
    wholes: set[Value] = set()
    for k, operation in enumerate(operations):
        parts = joins(operation)
        if parts is None or len(parts) < 2:
            continue
        joined = operation.outputs[0]
        roots = [p.root for p in parts]
        fits = (
            joined not in fixed
            and joined not in inside
            and wholes.isdisjoint(roots)
            and lifetimes.writers[joined] == [k]
            and len(set(roots)) == len(roots)
            and all(_may_move(p, fixed) for p in parts)
            and not any(root in lifetimes.writers and max(lifetimes.writers[root]) > k for root in roots)
        )
        pairs = list(itertools.pairwise(roots))
        if not fits or any(after.get(a, b) is not b or before.get(b, a) is not a for a, b in pairs):
            continue
        if _closes(pairs, after):
            continue
        after.update(pairs)
        before.update((b, a) for a, b in pairs)
        taken[k] = roots
        inside.update(roots)
        wholes.add(joined)
    chains = []
    for head in [v for v in after if v not in before]:
        members = [head]
        while members[-1] in after:
            members.append(after[members[-1]])
        chains.append(Chain(members))
    return chains, {k: roots[0] for k, roots in taken.items()}


def _may_move(part: Value, fixed: set[Value]) -> bool:
    root = part.root
    return root.kind == "made" and root not in fixed and whole(part) and contiguous(root) and root.size > 0


def _closes(pairs: list[tuple[Value, Value]], after: dict[Value, Value]) -> bool:
    """True if these pairs would close a ring."""
    trial = after | dict(pairs)
    value: Value | None = pairs[-1][1]
    start = pairs[0][0]
    while value is not None:
        value = trial.get(value)
        if value is start:
            return True
    return False


class Memory:
    """Blocks of bytes on an array's device, taken and given back."""

    def __init__(self, like: Array) -> None:
        self.like = like
        self.free: list[Array] = []
        self.nbytes = 0

    def take(self, nbytes: int) -> Array:
        """A block of at least `nbytes`: the latest free one that is not much too large, or a new one."""
        for k in range(len(self.free) - 1, -1, -1):
            if nbytes <= self.free[k].shape[0] <= 2 * nbytes + 4096:
                return self.free.pop(k)
        return self.fresh(nbytes)

    def fresh(self, nbytes: int) -> Array:
        """A block without earlier use: its content stays from run to run."""
        size = max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        self.nbytes += size
        block = np.empty_like(self.like, dtype=np.uint8, shape=(size + ALIGNMENT,), order="C")
        start = -block.ctypes.data % ALIGNMENT if type(block) is np.ndarray else 0
        return block[start : start + size]

    def give(self, block: Array) -> None:
        self.free.append(block)

    @staticmethod
    def array(block: Array, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...], offset: int = 0) -> Array:
        """An array in a block: its axes are ordered by the given strides, without gaps."""
        size = math.prod(shape)
        flat = block[offset : offset + size * dtype.itemsize].view(dtype)
        axes = sorted(range(len(shape)), key=lambda a: (-abs(strides[a]), a) if shape[a] != 1 else (0, a))
        laid = flat.reshape([shape[a] for a in axes])
        back = [axes.index(a) for a in range(len(shape))]
        return laid.transpose(back) if back != sorted(back) else laid
