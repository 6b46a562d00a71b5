"""The base of cells whose steps use their input through one linear map."""

from __future__ import annotations

from typing import Any

from ..cells.cell import Cell, each_row
from ..layers.linear import Linear


class Mapped(Cell):
    """A cell with a map `W` of its input, computed for all steps at once: `step` receives W x, including W's bias."""

    W: Linear

    @each_row
    def inputs(self, xs: Any) -> Any:
        """W x + b, (..., D) to (..., features of W)."""
        return self.W(xs)
