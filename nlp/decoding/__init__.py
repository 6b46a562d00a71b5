"""Decoding: from a model's steps to sequences."""

from .protocol import Start, Step

__all__ = ["Start", "Step"]
