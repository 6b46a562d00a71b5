"""Process-wide settings, made when minigrad is imported. MINIGRAD_TUNE=0 in the environment switches them off.

Freed memory is kept. A recorded forward pass allocates many arrays of medium size, and backward frees them all. By
default the C library of Linux then returns the memory to the system, and the next pass pays for every page of it
again: half the time of a recorded LSTM at common sizes. With this setting it keeps up to `KEPT` bytes.

NumPy's BLAS threads go to sleep earlier. After every product, each thread of OpenBLAS spins for 25 ms on its core,
waiting for another product, and so slows PyTorch's threads and those of minigrad's own kernels. A training step with
both kinds of products takes a fifth longer. A third of a millisecond is enough to wait. OpenBLAS reads the setting from
the environment when NumPy is imported. If that happened before, it is asked to read it again, and its threads end, as
they do before every fork; the next product starts them anew. The setting is removed from the environment again, so
child processes do not inherit it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import threading

KEPT = 1 << 30  # free bytes at the top of the heap that are not returned
LARGE = 32 << 20  # larger arrays are still returned as soon as they are freed: the C library's limit
TIMEOUT = "OPENBLAS_THREAD_TIMEOUT"  # a value set by the user stays
TURNS = "20"  # spin for 2²⁰ cycles of the processor's clock; OpenBLAS's own default is 2²⁶
WAITING, MESSAGES = ("/selectors.py", "/queue.py", "/socket.py"), ("zmq", "ipykernel")  # where threads only wait

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # M_... of malloc.h


def tune() -> None:
    """Apply both settings, unless the environment switches them off."""
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
    """Have OpenBLAS read its waiting time: by importing NumPy, if nobody has yet."""
    if TIMEOUT in os.environ:
        return
    os.environ[TIMEOUT] = TURNS
    try:
        if "numpy" in sys.modules:
            _start_blas_again()
        else:
            importlib.import_module("numpy")
    finally:
        del os.environ[TIMEOUT]


def _start_blas_again() -> None:
    """Have OpenBLAS read the environment and start its threads again, if no other Python thread may be using it."""
    module = sys.modules.get("numpy._core._multiarray_umath")
    if module is None or not _others_wait():
        return
    try:
        blas = ctypes.CDLL(module.__file__)  # finds the functions of the libraries that the module is linked with
        read, end_threads = blas.openblas_read_env, blas.blas_thread_shutdown_
    except (OSError, AttributeError):
        return  # another BLAS
    read()
    end_threads()


def _others_wait() -> bool:
    """True if every other Python thread waits for a message, as the threads of a notebook's kernel do."""
    for thread, frame in sys._current_frames().items():
        path = frame.f_code.co_filename.replace(os.sep, "/")
        waits = path.endswith(WAITING) or any(f"/{package}/" in path for package in MESSAGES)
        if thread != threading.get_ident() and not waits:
            return False
    return True


tune()
