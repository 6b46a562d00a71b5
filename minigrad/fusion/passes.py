"""Fused functions of the rows of a matrix, in the forward and backward of rules; threads share the rows."""

from __future__ import annotations

from ..rules import activations
from .fused import fuse

activations.along_rows |= {function: fuse(function).on_arrays for function in activations.along_rows}
