"""Keep freed memory for the next step of training.

A recorded forward pass allocates many arrays of middle size, and backward frees them all. By default the C library of
Linux then hands the memory back to the system, and the next pass pays for every page of it anew: half the time of a
recorded LSTM at common sizes. Told once, it keeps up to `KEPT` bytes.

The setting is of the whole process. The environment variable MINIGRAD_KEEP_MEMORY=0 leaves the C library as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys

KEPT = 1 << 30  # free bytes at the top of the heap that are not handed back
LARGE = 32 << 20  # arrays from this size on are still handed back as soon as they are freed: the C library's limit

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # M_... of malloc.h


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory; whether it does (only glibc knows how)."""
    if not sys.platform.startswith("linux") or os.environ.get("MINIGRAD_KEEP_MEMORY") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, LARGE), (_TRIM_THRESHOLD, KEPT), (_TOP_PAD, LARGE // 2))
    return all(mallopt(name, value) == 1 for name, value in settings)
