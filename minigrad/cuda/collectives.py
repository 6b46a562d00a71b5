"""Sums over processes, one for each GPU, by NCCL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..kinds import Array, DeviceError

NAMES = {"e": "FLOAT16", "f": "FLOAT32", "d": "FLOAT64", "b": "INT8", "i": "INT32", "l": "INT64", "q": "INT64"}


class Nccl:
    """An NCCL communicator on a separate stream, which runs beside the computation.

    cupy      the module
    exchange  sends rank 0's list of numbers, the communicator's NCCL id, to all ranks
    """

    def __init__(
        self, cupy: Any, device: str, size: int, rank: int, exchange: Callable[[list[int]], list[int]]
    ) -> None:  # fmt: skip
        nccl = getattr(cupy.cuda, "nccl", None)
        if nccl is None or not getattr(nccl, "available", True):
            raise DeviceError(
                f"group: {size} processes on GPUs need NCCL, which CuPy does not find: pip install nvidia-nccl-cu12 "
                "(nvidia-nccl-cu13 with CUDA 13), or train on the CPU"
            )
        self.nccl: Any = nccl
        self.cupy, self.device = cupy, cupy.cuda.Device(int(device.partition(":")[2] or 0))
        made = list(nccl.get_unique_id()) if rank == 0 else []
        with self.device:
            self.communicator = nccl.NcclCommunicator(size, tuple(exchange(made)), rank)
            self.stream = cupy.cuda.Stream(non_blocking=True)

    def sum(self, array: Array) -> Work:
        """Begin to sum a contiguous array over all processes, in place."""

        def launch() -> None:
            pointer, kind = array.data.ptr, self._kind(array)
            self.communicator.allReduce(pointer, pointer, array.size, kind, self.nccl.NCCL_SUM, self.stream.ptr)

        return self._work(launch, array)

    def gather(self, array: Array, sizes: list[int]) -> Work:
        """Begin to join the arrays of all processes along axis 0, with the given numbers of rows."""
        with self.device:
            own = self.cupy.ascontiguousarray(array)
            result = self.cupy.empty((sum(sizes), *array.shape[1:]), array.dtype)

        def launch() -> None:
            self.nccl.groupStart()
            start = 0
            for rank, size in enumerate(sizes):
                part = result[start : start + size]
                start += size
                if size:  # the array is read on its own rank only
                    source = own if rank == self.communicator.rank_id() else part
                    self.communicator.broadcast(
                        source.data.ptr, part.data.ptr, part.size, self._kind(part), rank, self.stream.ptr
                    )
            self.nccl.groupEnd()

        work = self._work(launch, result)
        work.sizes, work.kept = sizes, own
        return work

    def _work(self, launch: Callable[[], None], result: Array) -> Work:
        """Launch after the work that computes the array, and let its readers wait for the result."""
        with self.device:
            self.stream.wait_event(self.cupy.cuda.get_current_stream().record())
            launch()
            return Work(self.cupy, self.stream.record(), result)

    def _kind(self, array: Array) -> int:
        return int(getattr(self.nccl, f"NCCL_{NAMES[array.dtype.char]}"))


class Work:
    """An NCCL operation in progress: `Test` returns True when it is done, as MPI's requests do."""

    sizes: list[int]
    kept: Any = None  # memory to keep alive meanwhile

    def __init__(self, cupy: Any, event: Any, result: Array) -> None:
        self.cupy, self.event, self.result = cupy, event, result

    def Test(self) -> bool:
        done = bool(self.event.done)
        if done:
            self.cupy.cuda.get_current_stream().wait_event(self.event)
        return done
