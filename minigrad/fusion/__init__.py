"""Fusion: an element-wise function as one node on the tape and one kernel each way."""

from .fused import Fused, Kernel, fuse
from .symbols import FusionError

__all__ = ["Fused", "FusionError", "Kernel", "fuse"]
