"""The table of rules, by family, and the operators of Tensor, bound to it."""

from __future__ import annotations

import operator
from typing import Any

from ..conversions import index_as_mapping
from ..modes import current_mode
from ..primitives import explained
from ..tensors import Tensor
from . import (
    accumulations,
    activations,
    bessel,
    calculus,
    choosing,
    copying,
    decompositions,
    editing,
    elementwise,
    equations,
    extremes,
    indexing,
    joining,
    linalg,
    missing,
    padding,
    parts,
    polynomials,
    products,
    reductions,
    refused,
    sets,
    shaping,
    standard,
    statistics,
)  # fmt: skip

__all__ = [
    "accumulations", "activations", "bessel", "calculus", "choosing", "copying", "decompositions", "editing",
    "elementwise", "equations", "extremes", "indexing", "joining", "linalg", "missing", "padding", "parts",
    "polynomials", "products", "reductions", "refused", "sets", "shaping", "standard", "statistics",
]  # fmt: skip


def _reflected(apply: Any) -> Any:
    return lambda self, other: apply(other, self)


def _comparison(name: str, compare: Any) -> Any:
    """Comparisons give plain arrays."""

    def method(self: Tensor, other: Any) -> Any:
        other = other.data if isinstance(other, Tensor) else other
        try:
            answer = compare(self.data, other)
        except Exception as error:
            raise explained(error, name, (self.data, other)) from error
        for observer in current_mode().observers:
            observer.asked(name, (self.data, other), answer)
        return answer

    return method


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

for _name, _apply in {"divmod": parts.divmod, "rdivmod": _reflected(parts.divmod)}.items():
    setattr(Tensor, f"__{_name}__", _apply)

for _name, _primitive in {
    "neg": elementwise.negative, "pos": elementwise.positive, "abs": elementwise.absolute,
}.items():  # fmt: skip
    setattr(Tensor, f"__{_name}__", _primitive.apply)

for _name, _title in {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(Tensor, f"__{_name}__", _comparison(_title, getattr(operator, _name)))

Tensor.__getitem__ = indexing.getitem  # type: ignore[method-assign]
Tensor.__iter__ = joining.iterated  # type: ignore[method-assign]
Tensor.to = copying.to  # type: ignore[method-assign]
Tensor.astype = copying.astype  # type: ignore[method-assign, assignment]
index_as_mapping(Tensor)
del _apply, _name, _primitive, _title
