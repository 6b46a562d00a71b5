"""The sum of gradients over ranks, while backward computes further ones.

Parameters are put into buckets of some megabytes, in the order in which their gradients are completed; a large one is
a bucket by itself. The sum of a full bucket begins at once, after those before it: so all ranks begin the same sums in
the same order, whatever their batches look like. (Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data
Parallel Training.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.tape import Node, Observer

from .group import Array, Group

BUCKET = 4 << 20  # bytes


class ReductionPlan(NamedTuple):
    """The order and form in which gradients travel. All ranks have the same one.

    buckets  lists of parameters (by number) that are summed as one array
    sparse   parameters with row-sparse gradients; only their rows travel
    """

    buckets: list[list[int]]
    sparse: list[int]


def plan(group: Group, parameters: Sequence[mg.Tensor], order: Iterable[int], sparse: Iterable[int]) -> ReductionPlan:
    """The plan for parameters whose gradients were completed in this order on rank 0; those that are row-sparse on any
    rank travel as rows."""
    place = 2 * len(parameters) - np.arange(len(parameters))  # without knowledge, the last ones first
    known = list(dict.fromkeys(order))
    place[known] = np.arange(len(known))
    group.broadcast([place])
    some = np.zeros(len(parameters))
    some[list(sparse)] = 1
    rows = np.flatnonzero(group.sum(some)).tolist()
    buckets: list[list[int]] = []
    together: dict[Any, list[int]] = {}  # small ones of one kind, until a bucket is full
    for k in np.argsort(place, kind="stable").tolist():
        if k in rows:
            continue
        p = parameters[k]
        if p.data.nbytes >= BUCKET:  # a bucket by itself, without a copy
            buckets.append([k])
            continue
        small = together.setdefault((p.dtype, p.device), [])
        small.append(k)
        if sum(parameters[n].data.nbytes for n in small) >= BUCKET:
            buckets.append(together.pop((p.dtype, p.device)))
    buckets += together.values()
    return ReductionPlan(buckets, rows)


class Reduction(Observer):
    """The sums of one backward.

    parameters  all of them, the same on all ranks
    planned     their plan; None the first time, when nothing travels before the end
    held        gradients held back by earlier backwards, by the parameter's number
    """

    inside, leaves = False, True

    def __init__(
        self, group: Group, parameters: Sequence[mg.Tensor], planned: ReductionPlan | None, held: Mapping[int, Any]
    ) -> None:  # fmt: skip
        self.group, self.parameters, self.planned = group, parameters, planned
        self.numbers = {p: k for k, p in enumerate(parameters)}
        self.found: dict[int, Any] = dict(held)  # by number: array or RowSparse
        self.order: list[int] = []  # of completion
        self.waiting = [set(bucket) for bucket in planned.buckets] if planned else []
        self.begun: list[tuple[Array, Any]] = []  # sums, and the requests to wait for

    # ---- as an observer of backward ----------------------------------------------------------------------------------

    def whole(self, leaf: Any, gradient: Any) -> None:
        k = self.numbers.get(leaf)
        if k is None:
            return
        self.found[k] = gradient if k not in self.found else added(self.found[k], gradient)
        self.order.append(k)
        for bucket in self.waiting:
            bucket.discard(k)
        while len(self.begun) < len(self.waiting) and not self.waiting[len(self.begun)]:
            self._begin()

    def arrived(self, node: Node, gradient: Any) -> None:
        if self.begun:  # MPI transfers data only inside its calls
            for request in self.begun[-1][1]:
                request.Test()

    # ---- sums --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin the sum of the next bucket; a missing gradient counts as zeros."""
        assert self.planned is not None
        bucket = [(k, self.parameters[k]) for k in self.planned.buckets[len(self.begun)]]
        parts = [_dense(self.found.get(k), p) for k, p in bucket]
        if len(parts) == 1:
            joined = parts[0] if parts[0].flags.c_contiguous else parts[0].copy()
        else:
            joined = np.concatenate([part.reshape(-1) for part in parts])
        if joined.dtype.itemsize < 4:
            joined = joined.astype(np.float32)  # sums of many ranks would overflow float16
        self.begun.append((joined, self.group.start_sum(joined)))

    def finish(self) -> dict[int, Any]:
        """Begin the remaining sums, wait for all, and return them by the parameters' numbers, without parameters that
        have no gradient on any rank."""
        group, parameters = self.group, self.parameters
        if self.planned is None:
            sparse = [k for k, g in self.found.items() if isinstance(g, mg.RowSparse)]
            self.planned = plan(group, parameters, [*self.order, *self.found], sparse)
            self.waiting = [set() for _ in self.planned.buckets]
        while len(self.begun) < len(self.planned.buckets):
            self._begin()
        there = np.zeros(len(parameters))
        there[list(self.found)] = 1
        there = group.sum(there)
        total: dict[int, Any] = {}
        for k in self.planned.sparse:
            rows = _rows(self.found.get(k), parameters[k])
            indices = group.wait(group.start_gather(rows.indices), "rows of gradients")
            values = group.wait(group.start_gather(rows.rows), "rows of gradients")
            total[k] = mg.RowSparse(indices, values, parameters[k].shape, check=False)
        for bucket, (joined, begun) in zip(self.planned.buckets, self.begun, strict=True):
            group.wait(begun, "gradients")
            start, flat = 0, joined.reshape(-1)
            for k in bucket:
                p = parameters[k]
                total[k] = flat[start : start + p.size].reshape(p.shape).astype(p.dtype, copy=False)
                start += p.size
        return {k: g for k, g in total.items() if there[k]}


def added(old: Any, new: Any) -> Any:
    """The sum of two gradients of a parameter, arrays or row-sparse; neither is changed."""
    if isinstance(old, mg.RowSparse) and isinstance(new, mg.RowSparse):
        return old + new
    return _array(old) + _array(new)


def _array(gradient: Any) -> Array:
    return gradient.dense() if isinstance(gradient, mg.RowSparse) else gradient


def _dense(gradient: Any, parameter: mg.Tensor) -> Array:
    """A gradient as a fresh array."""
    return np.zeros_like(parameter.data) if gradient is None else _array(gradient)


def _rows(gradient: Any, parameter: mg.Tensor) -> mg.RowSparse:
    """A gradient as its rows, sorted and distinct; all of them, if it is an array."""
    if isinstance(gradient, mg.RowSparse):
        found: mg.RowSparse = gradient.coalesce()
        indices = found.indices.astype(np.int64, copy=False)
        return mg.RowSparse(indices, found.rows, found.shape, check=False)
    count = 0 if gradient is None else len(parameter)
    indices = backend.from_numpy(np.arange(count, dtype=np.int64), parameter.device)
    rows = parameter.data[:0] if gradient is None else gradient
    return mg.RowSparse(indices, rows, parameter.shape, check=False)
