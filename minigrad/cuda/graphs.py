"""CUDA graphs: many launches as one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from .products import Cublas


def captured(cupy: Any, blas: Cublas, work: Callable[[], None]) -> Callable[[], None]:
    """What a function launches, without doing it, as a function that launches all of it.

    Temporary arrays come from a pool of the graph's own, which nobody else gets memory from while it is there.
    Raises what the function raises, and CUDA's error where it does what cannot be captured, above all wait for a value.
    """
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    cupy.cuda.get_current_stream().synchronize()
    with stream, cupy.cuda.using_allocator(pool.malloc), blas.for_graph(stream.ptr) as memory:
        stream.begin_capture()
        try:
            work()
        except BaseException:
            with contextlib.suppress(Exception):  # the capture is over in any case
                stream.end_capture()
            raise
        graph = stream.end_capture()

    def launch(kept: Any = (pool, memory)) -> None:
        graph.launch(cupy.cuda.get_current_stream())

    return launch
