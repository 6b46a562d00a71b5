"""Anomaly detection: the first value that is not finite, forward or backward, becomes an error."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import backend
from .gradients import Parts
from .modes import changed_mode, current_mode
from .scopes import here
from .tape import Node, Observer, describe, kept_arrays
from .tensors import Tensor
from .where import caller, line_of


class AnomalyError(FloatingPointError):
    """A NaN or an infinity appeared, or an array kept for backward was overwritten."""


def _range(value: Any) -> str:
    array = value.data if isinstance(value, Tensor) else value
    if not backend.is_array(array):
        return repr(array)
    text = f"{array.dtype} {array.shape}"
    if array.size == 0 or array.dtype.kind != "f":
        return text
    numbers = backend.to_numpy(array)
    finite = numbers[np.isfinite(numbers)]
    text += f" in [{finite.min():.4g}, {finite.max():.4g}]" if finite.size else " without a finite value"
    nan, infinite = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
    return text + (f", {nan} NaN" if nan else "") + (f", {infinite} infinite" if infinite else "")


def _what(array: Any) -> str | None:
    """The word NaN or Inf if the array holds one, else None."""
    if array.dtype.kind != "f" or bool(np.all(np.isfinite(array))):
        return None
    return "NaN" if bool(np.any(np.isnan(array))) else "Inf"


def _each(operands: Any) -> list[Any]:
    return [v for o in operands for v in (o if isinstance(o, tuple | list) else (o,))]


class _Watch(Observer):
    def __init__(self) -> None:
        self.prints: dict[float, list[int]] = {}  # by a node's position: fingerprints of the arrays it keeps

    @staticmethod
    def fingerprints(node: Node) -> list[int]:
        return [
            zlib.crc32(np.ascontiguousarray(backend.to_numpy(array)).tobytes())
            for _, _, kept in node.edges or ()
            for array in kept_arrays(kept)
        ]

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        inputs = [v for v in _each(operands) if isinstance(v, Tensor) or backend.is_array(v)]
        for array in outputs:
            found = _what(array)
            if found is not None:
                code, instruction = caller()
                raise AnomalyError(
                    f"{primitive.name} gave {found}{here()}, at {line_of(code, instruction)}\n"
                    f"  output: {_range(array)}\n" + "\n".join(f"  input:  {_range(v)}" for v in inputs)
                )
        if isinstance(edge, Node):
            self.prints[edge.position] = self.fingerprints(edge)

    def arrived(self, node: Node, gradient: Any) -> None:
        before = self.prints.pop(node.position, None)
        if before is not None and node.edges is not None and before != self.fingerprints(node):
            raise AnomalyError(
                f"an array that {describe(node)}\nkeeps for its gradient was changed after it was recorded, "
                "through .data or an array that shares its memory"
            )

    def pulled(self, node: Node, parent: Any, gradient: Any) -> None:
        array = gradient.data if isinstance(gradient, Tensor) else gradient
        if isinstance(array, Parts):
            array = array.dense()
        if not hasattr(array, "dtype"):
            return
        found = _what(array)
        if found is not None:
            kept = [a for _, _, values in node.edges or () for a in kept_arrays(values)]
            raise AnomalyError(
                f"the gradient of {describe(node)}\nis {found}\n  gradient: {_range(array)}\n"
                + "\n".join(f"  kept:     {_range(a)}" for a in kept)
            )


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raise at the first NaN or Inf of a recorded operation or of a gradient, inside the block.

    The error (`AnomalyError`, a FloatingPointError) names the operation, its scope, the range of its inputs and the
    line that made it. If forward and backward both run inside the block, arrays changed through `.data` in between are
    found as well. Slow: every fast path is switched off.
    """
    mode = current_mode()
    with np.errstate(all="ignore"), changed_mode(observers=(*mode.observers, _Watch()), fast=False):
        yield


__all__ = ["AnomalyError", "detect_anomaly"]
