"""The table of rules, by family; and the operators of Tensor, bound to it."""

from __future__ import annotations

import operator
from typing import Any

from ..tensors import Tensor
from . import activations, copying, elementwise, indexing, joining, linalg, products, reductions, shaping

__all__ = [
    "activations", "copying", "elementwise", "indexing", "joining", "linalg", "products", "reductions", "shaping",
]  # fmt: skip


def _reflected(apply: Any) -> Any:
    return lambda self, other: apply(other, self)


def _comparison(compare: Any) -> Any:
    """Comparisons give plain arrays."""
    return lambda self, other: compare(self.data, other.data if isinstance(other, Tensor) else other)


for _name, _primitive in {
    "add": elementwise.add,
    "sub": elementwise.subtract,
    "mul": elementwise.multiply,
    "truediv": elementwise.divide,
    "pow": elementwise.power,
    "mod": elementwise.remainder,
    "floordiv": elementwise.floor_divide,
    "matmul": products.matmul,
}.items():
    setattr(Tensor, f"__{_name}__", _primitive.apply)
    setattr(Tensor, f"__r{_name}__", _reflected(_primitive.apply))

for _name, _primitive in {
    "neg": elementwise.negative, "pos": elementwise.positive, "abs": elementwise.absolute,
}.items():  # fmt: skip
    setattr(Tensor, f"__{_name}__", _primitive.apply)

for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Tensor, f"__{_name}__", _comparison(getattr(operator, _name)))

Tensor.__getitem__ = indexing.getitem  # type: ignore[method-assign]
del _name, _primitive
