"""Settings of the whole process, made by importing minigrad. MINIGRAD_TUNE=0 in the environment leaves them all alone.

Freed memory is kept. A recorded forward pass allocates many arrays of middle size, and backward frees them all. By
default the C library of Linux then hands the memory back to the system, and the next pass pays for every page of it
anew: half the time of a recorded LSTM at common sizes. Told once, it keeps up to `KEPT` bytes.

The threads of NumPy's BLAS rest sooner. OpenBLAS's threads keep a core each busy for 25 ms after every product of
theirs, waiting for another one, and take it from whoever works there: PyTorch's threads, or those of minigrad's own
kernels. A training step that has both kinds of products takes a fifth longer. A third of a millisecond is enough to
wait. OpenBLAS reads that from the environment when NumPy is imported, so it only helps where minigrad is imported
before NumPy, and is set only meanwhile: other programs that this process starts do not inherit it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys

KEPT = 1 << 30  # free bytes at the top of the heap that are not handed back
LARGE = 32 << 20  # arrays from this size on are still handed back as soon as they are freed: the C library's limit
TIMEOUT = "OPENBLAS_THREAD_TIMEOUT"  # a value that is set already stays
TURNS = "20"  # they wait for 2²⁰ turns of the processor's clock; OpenBLAS's own default is 2²⁶

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # M_... of malloc.h


def tune() -> None:
    """Set both, unless the environment says otherwise."""
    if os.environ.get("MINIGRAD_TUNE") != "0":
        _keep_freed_memory()
        _let_blas_rest()


def _keep_freed_memory() -> None:
    """Ask the C library to keep freed memory (only glibc knows how)."""
    if sys.platform.startswith("linux"):
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):
            return
        for name, value in ((_MMAP_THRESHOLD, LARGE), (_TRIM_THRESHOLD, KEPT), (_TOP_PAD, LARGE // 2)):
            mallopt(name, value)


def _let_blas_rest() -> None:
    """Import NumPy, if nobody has yet, while OpenBLAS is told how long to wait."""
    if "numpy" not in sys.modules and TIMEOUT not in os.environ:
        os.environ[TIMEOUT] = TURNS
        try:
            importlib.import_module("numpy")
        finally:
            del os.environ[TIMEOUT]


tune()
