"""The operands of an operation in both runs, as passed to converters."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg

from .values import OnnxGraph


class Operand:
    """An operand of both runs.

    dtype  of the arrays; of a number, None
    """

    def __init__(self, graph: OnnxGraph, first: Any, second: Any) -> None:
        self.graph = graph
        self.first, self.second = (v.data if isinstance(v, mg.Tensor) else v for v in (first, second))
        self.dtype = self.first.dtype if isinstance(self.first, np.ndarray) else None

    def name(self, dtype: Any = None) -> str:
        """The value in the graph, in a dtype."""
        return self.graph.value(self.first, self.second, dtype)

    @property
    def static(self) -> Any:
        """A value that must be the same in both runs, such as an axis."""
        if not _same(self.first, self.second):
            raise self.graph.refused(f"{self.first} of one run is {self.second} in another")
        return self.first

    @property
    def ndim(self) -> int:
        return int(np.ndim(self.first))

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return np.shape(self.first), np.shape(self.second)

    def each(self) -> list[Operand]:
        """The operands in a tuple or list."""
        return [Operand(self.graph, a, b) for a, b in zip(self.first, self.second, strict=True)]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and bool(np.array_equal(a, b))


def common(*operands: Operand) -> Any:
    """The common dtype of operands; numbers do not change it."""
    dtypes = [o.dtype for o in operands if o.dtype is not None]
    return np.result_type(*dtypes) if dtypes else None


def axes_of(axis: Any, ndim: int) -> list[int]:
    """Axes as a sorted list of numbers from 0; None means all."""
    if axis is None:
        return list(range(ndim))
    return sorted(k % ndim for k in (axis if isinstance(axis, tuple | list) else [axis]))
