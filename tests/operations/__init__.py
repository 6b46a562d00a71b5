"""The table of cases, by family; `CASES` is all of it."""

from . import activations, elementwise, indexing, joining, linalg, products, reductions, shaping
from .cases import CASES, Case

__all__ = [
    "CASES", "Case", "activations", "elementwise", "indexing", "joining", "linalg", "products", "reductions", "shaping",
]  # fmt: skip
