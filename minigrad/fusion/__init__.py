"""Fusion: an element-wise function as one node on the tape and one kernel each way."""

from . import passes as passes  # binds the fused functions of the rules
from . import scatter as scatter  # binds the sums of rows
from .fused import Fused, Kernel, fuse
from .symbols import FusionError

__all__ = ["Fused", "FusionError", "Kernel", "fuse"]
