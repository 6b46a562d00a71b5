"""CUDA graphs: many launches as one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from .products import Cublas


def captured(cupy: Any, blas: Cublas, work: Callable[[], None]) -> Callable[[], None]:
    """Capture the launches of a function as one graph, without executing them; returns the graph's launcher.

    Temporary arrays come from a memory pool that belongs to the graph for its lifetime. Raises the function's
    exceptions, and CUDA's error for operations that cannot be captured, above all waiting for a value.
    """
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    cupy.cuda.get_current_stream().synchronize()
    with stream, cupy.cuda.using_allocator(pool.malloc), blas.for_graph(stream.ptr) as memory:
        stream.begin_capture()
        try:
            work()
        except BaseException:
            with contextlib.suppress(Exception):  # end the capture in any case
                stream.end_capture()
            raise
        graph = stream.end_capture()

    def launch(kept: Any = (pool, memory)) -> None:
        graph.launch(cupy.cuda.get_current_stream())

    return launch
