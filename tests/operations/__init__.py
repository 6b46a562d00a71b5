"""The table of cases, by family; `CASES` is all of it."""

from . import (
    activations,
    calculus,
    decompositions,
    elementwise,
    indexing,
    joining,
    linalg,
    products,
    reductions,
    shaping,
    statistics,
)  # fmt: skip
from .cases import CASES, Case

__all__ = [
    "CASES", "Case", "activations", "calculus", "decompositions", "elementwise", "indexing", "joining", "linalg",
    "products", "reductions", "shaping", "statistics",
]  # fmt: skip
