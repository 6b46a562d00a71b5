"""Fused passes over matrices in the forward of rules; threads share each pass."""

from __future__ import annotations

from ..rules import activations
from .fused import fuse

activations.passes = tuple([fuse(function).on_arrays for function in activations.passes])
