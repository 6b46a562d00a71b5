"""A group of several processes. mpi4py transfers arrays of the CPU, NCCL those of GPUs."""

from __future__ import annotations

import atexit
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minigrad import backend

from . import agreement, failure
from .group import Array, Group

PIECE = 1 << 20  # bytes: an array is summed in pieces of this size, which stay in a core's cache


class Ranks(Group):
    """The processes of a communicator of mpi4py. All of them construct it together, as in `nn.distributed.group`."""

    def __init__(self, communicator: Any, timeout: float) -> None:
        super().__init__(timeout)
        from mpi4py import MPI

        self._mpi = MPI
        self._communicator = communicator.Dup()  # a duplicate, whose messages stay separate
        self.rank, self.size = communicator.rank, communicator.size
        self._places: list[str] = []
        self._watch = failure.Watchdog(communicator.Dup(), self._named)
        self._wires: dict[str, Any] = {}  # NCCL's communicators, by device
        failure.end_all_on_errors(communicator, self._named)
        atexit.register(self._leave)
        self._places = self.texts(json.dumps([platform.node(), os.getpid()]))
        hosts = [json.loads(place)[0] for place in self._places]
        self.local_rank = hosts[: self.rank].count(hosts[self.rank])
        if self.first:
            self._introduce()
        self.agree("group", agreement.code())

    def _named(self, rank: int) -> str:
        if not self._places:
            return f"rank {rank}"
        host, process = json.loads(self._places[rank])
        return f"rank {rank} (pid {process} on {host})"

    def _introduce(self) -> None:
        """Print each rank's pid and host: a signal or the system's log names the pid, not the rank."""
        found: dict[str, list[str]] = {}
        for rank, place in enumerate(self._places):
            host, process = json.loads(place)
            found.setdefault(host, []).append(f"{rank} (pid {process})")
        for host, ranks in found.items():
            print(f"nn.distributed: ranks on {host}: {', '.join(ranks)}", file=sys.stderr, flush=True)

    @property
    def device(self) -> str:
        device = super().device
        backend.use(device)
        return device

    # ---- a few numbers and texts ---------------------------------------------------------------------------------

    def sum(self, values: Iterable[float]) -> Array:
        self._check()
        array = np.array(list(values), np.float64)
        request = self._communicator.Iallreduce(self._mpi.IN_PLACE, array)
        self._wait_for(request, "sums over all ranks")
        return array

    def texts(self, text: str) -> list[str]:
        started = self.start_gather(np.frombuffer(text.encode(), np.uint8))
        joined = self.wait(started, "texts of all ranks").tobytes()
        return [content.decode() for content in _cut(joined, started.sizes)]

    def collect(self, content: bytes) -> list[bytes]:
        self._check()
        sizes = self._lengths(len(content))
        received = bytearray(sum(sizes)) if self.first else None
        request = self._communicator.Igatherv(
            [content, self._mpi.BYTE], None if received is None else [received, sizes, self._mpi.BYTE]
        )
        self._wait_for(request, "states of all ranks")
        return [] if received is None else _cut(bytes(received), sizes)

    def agree(self, title: str, facts: Mapping[str, str]) -> None:
        text = agreement.as_text(facts)
        if (found := agreement.difference(title, self.texts(text))) is not None:
            raise agreement.DisagreementError(found)

    def barrier(self) -> None:
        self._check()
        self._wait_for(self._communicator.Ibarrier(), "all ranks")

    def _lengths(self, length: int) -> list[int]:
        """The lengths of all ranks' contributions."""
        lengths = np.zeros(self.size, np.int64)
        self._wait_for(self._communicator.Iallgather(np.array([length]), lengths), "lengths of all ranks")
        return lengths.tolist()  # type: ignore[no-any-return]

    # ---- arrays --------------------------------------------------------------------------------------------------

    def broadcast(self, arrays: Iterable[Array]) -> None:
        self._check()
        for array in arrays:
            host = np.ascontiguousarray(backend.to_numpy(array))
            request = self._communicator.Ibcast([host.reshape(-1).view(np.uint8), self._mpi.BYTE])
            self._wait_for(request, "weights of rank 0")
            if self.rank:
                array[...] = backend.from_numpy(host.reshape(array.shape), backend.device_of(array))

    def start_sum(self, array: Array) -> Any:
        """In place, in a fixed order of ranks, so that results are equal bit for bit in each run and on each rank.
        The array is contiguous, of float32, float64 or integers."""
        self._check()
        if not backend.on_cpu(array):
            return [self._wire(array).sum(array)]
        flat = array.reshape(-1)
        size = max(1, PIECE // array.itemsize)
        return [self._communicator.Iallreduce(self._mpi.IN_PLACE, flat[start : start + size])
                for start in range(0, flat.size, size)]  # fmt: skip

    def start_gather(self, array: Array) -> Any:
        self._check()
        sizes = self._lengths(len(array))
        if not backend.on_cpu(array):
            return self._wire(array).gather(array, sizes)
        array = np.ascontiguousarray(array)
        joined = np.empty((sum(sizes), *array.shape[1:]), array.dtype)
        each = array.itemsize * int(np.prod(array.shape[1:]))
        target = [joined.reshape(-1).view(np.uint8), [n * each for n in sizes], self._mpi.BYTE]
        request = self._communicator.Iallgatherv([array.reshape(-1).view(np.uint8), self._mpi.BYTE], target)
        return _Gathered(request, joined, sizes)

    def wait(self, started: Any, what: str) -> Any:
        self._check()
        for request in started if isinstance(started, list) else [started]:
            self._wait_for(request, what)
        return getattr(started, "result", None)

    def _wait_for(self, request: Any, what: str) -> None:
        try:
            self._watch.wait(request.Test, what, self.timeout)
        except self._mpi.Exception as error:
            failure.stop(f"nn.distributed: {self._named(self.rank)} lost the others in {what}: {error}")

    def _wire(self, array: Array) -> Any:
        """NCCL's communicator for an array's device."""
        device = backend.device_of(array)
        if device not in self._wires:
            make = backend.backend_of(array).collectives
            if make is None:
                raise backend.DeviceError(f"group: arrays on {device} cannot be summed over processes")
            self._wires[device] = make(device, self.size, self.rank, self._exchange)
        return self._wires[device]

    def _exchange(self, numbers: list[int]) -> list[int]:
        """Rank 0's list of numbers, on all ranks."""
        return json.loads(self.texts(json.dumps(numbers))[0])  # type: ignore[no-any-return]

    # ---- the end -------------------------------------------------------------------------------------------------

    def free(self) -> None:
        if not self._freed:
            self._leave()

    def _leave(self) -> None:
        if not self._freed and not self._mpi.Is_finalized():
            self._freed = True
            atexit.unregister(self._leave)
            self._watch.leave()
            self._wires.clear()


class _Gathered:
    """A request, the array that it fills, and the size of each rank's part."""

    def __init__(self, request: Any, result: Array, sizes: list[int]) -> None:
        self.Test, self.result, self.sizes = request.Test, result, sizes


def _cut(joined: bytes, sizes: list[int]) -> list[bytes]:
    ends = np.cumsum(sizes).tolist()
    return [joined[end - size : end] for end, size in zip(ends, sizes, strict=True)]
