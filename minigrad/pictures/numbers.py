"""The numbers behind a picture: norms and ranges of values and gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import backend
from ..gradients import Parts
from ..origins import Origin
from ..tape import Node
from ..tensors import Tensor
from .graph import Numbers

SMALL = 64  # numbers: up to this size, all of an array is kept


@dataclass
class Observations:
    """Observations of a computation.

    values, grads  by node (a list with one for each output) or leaf
    flows          by node and the edge to its parent: the norm of the gradient along it, if asked for
    inputs         by node and operand: values from outside of the graph (see `sources`)
    formulas       by node: an operation with a number, such as "× 0.5"
    given, labels  leaves that are arguments of the function, not weights; and names for the unnamed ones
    run            True if the function was run for the picture, so that values are known
    """

    values: dict[Node, list[Numbers | None]] = field(default_factory=dict)
    grads: dict[Node | Tensor, list[Numbers | None]] = field(default_factory=dict)
    flows: dict[tuple[Node, Any], float] = field(default_factory=dict)
    inputs: dict[Node, dict[Any, Source]] = field(default_factory=dict)
    formulas: dict[Node, str] = field(default_factory=dict)
    given: set[Tensor] = field(default_factory=set)
    labels: dict[Tensor, str] = field(default_factory=dict)
    run: bool = False


@dataclass(eq=False)
class Source:
    """A value that is not on the tape.

    label, array  its name and its numbers
    origin        of a detached value, the operation that it was detached from
    op, parts, line
                  of a value that joins others (`concatenate`, `stack`): the operation, the others, the user's line
    whole         the array that has the name, of which this may be a part
    constant      True if it has no name, and is labelled by its numbers
    """

    label: str
    array: Any
    origin: Origin | None = None
    op: str = ""
    parts: tuple[Source, ...] = ()
    line: Any = None
    whole: Any = None
    constant: bool = False


def numbers(value: Any) -> Numbers | None:
    """Norm, mean, range and, for a small array, all numbers; from any device. None for None."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, Parts):
        value = value.dense()
    array = np.asarray(backend.to_numpy(value) if backend.is_array(value) else value)
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    largest = float(np.max(np.abs(finite))) if finite.size else 0.0
    scale = largest or 1.0  # so that the norm neither overflows nor underflows
    norm = scale * math.sqrt(float(np.sum(np.square(finite / scale))))
    return Numbers(
        norm=norm if finite.size == wide.size else math.nan,
        mean=float(np.mean(finite)) if finite.size else 0.0,
        min=float(finite.min()) if finite.size else 0.0,
        max=float(finite.max()) if finite.size else 0.0,
        nonfinite=int(wide.size - finite.size),
        array=_nested(array.tolist()) if array.size <= SMALL else None,
    )


def _nested(value: Any) -> Any:
    if isinstance(value, list):
        return [_nested(v) for v in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
