"""The random numbers of all steps of a loop, drawn in the order of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..fusion.symbols import Symbol, Trace
from ..randomness import redraw
from .tracks import Rows

Array = Any


class Draw(NamedTuple):
    """Numbers (n, ·) for the rows of a step: `kind` is "random" or "standard_normal"."""

    kind: str
    symbol: Symbol


class DrawRecorder:
    """Replaces a generator while a step is traced: returns Symbols, and records the draws.

    rows  the number of rows of the traced step
    """

    def __init__(self, trace: Trace, rows: int) -> None:
        self.trace, self.rows = trace, rows
        self.draws: list[Draw] = []

    def random(self, shape: Any, dtype: Any) -> Symbol:
        """Uniform numbers."""
        return self._drawn("random", shape, dtype)

    def standard_normal(self, shape: Any, dtype: Any) -> Symbol:
        """Normal numbers."""
        return self._drawn("standard_normal", shape, dtype)

    def _drawn(self, kind: str, shape: Any, dtype: Any) -> Symbol:
        if len(shape) != 2 or shape[0] != self.rows:
            raise TypeError(f"random numbers {tuple(shape)}, which are not a row for each sequence")
        symbol = self.trace.input(f"draw {len(self.draws)}", tuple(shape), dtype)
        self.draws.append(Draw(kind, symbol))
        return symbol


def drawn(draws: Sequence[Draw], rows: Rows) -> dict[Symbol, Array]:
    """The numbers of all steps, (R, ·) each."""
    arrays = {d.symbol: np.empty((rows.count, d.symbol.shape[1]), d.symbol.dtype) for d in draws}
    for start, count in zip(rows.starts, rows.counts, strict=True) if draws else ():
        for kind, symbol in draws:
            redraw(kind, arrays[symbol][start : start + count])
    return arrays
