"""Groups of processes that train together, each with a rank. A single process is a group of one.

    mpiexec -n 4 python train.py

starts the program four times, and `nn.distributed.group()` finds the others. The same program, started without
`mpiexec`, is a group of one: nothing is sent, and neither mpi4py nor MPI is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

Array = Any
TIMEOUT = 300.0  # seconds
# Each launcher passes the number of processes: MPICH's and Intel's mpiexec, srun with PMI-2; Open MPI's; srun.
COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
INSTALL = "pip install 'minigrad[mpi]' installs mpi4py and MPICH, whose mpiexec is then in the same folder as python"


class Group:
    """A group of one, and the interface of all groups.

    rank        the number of this process, from 0
    size        the number of processes
    local_rank  its number among those on the same machine
    timeout     minimum number of seconds that others wait for a rank before it counts as lost
    part        the slice r::N of common data: `examples[group.part]` is this rank's share
    first       True on rank 0, which prints and writes files

    All methods but `free` are collective: each rank calls them in the same order.
    """

    rank = 0
    size = 1
    local_rank = 0

    def __init__(self, timeout: float = TIMEOUT) -> None:
        if not timeout > 0:
            raise ValueError(f"group: timeout must be a positive number of seconds, not {timeout!r}")
        self.timeout = float(timeout)
        self._freed = False

    @property
    def part(self) -> slice:
        return slice(self.rank, None, self.size)

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def device(self) -> str:
        """This rank's GPU on its machine, "cuda:0", "cuda:1", ..., from now on CuPy's current one. DeviceError if it is
        missing."""
        return f"cuda:{self.local_rank}"

    def sum(self, values: Iterable[float]) -> Array:
        """The sums of a few numbers over all ranks, in float64, equal bit for bit on all ranks."""
        self._check()
        return np.array(list(values), np.float64)

    def texts(self, text: str) -> list[str]:
        """The texts of all ranks, in rank order."""
        self._check()
        return [text]

    def collect(self, content: bytes) -> list[bytes]:
        """The contents of all ranks, in rank order, on rank 0; an empty list elsewhere."""
        self._check()
        return [content]

    def broadcast(self, arrays: Iterable[Array]) -> None:
        """Overwrite the arrays of all other ranks, of equal shapes and dtypes, with rank 0's."""
        self._check()

    def agree(self, title: str, facts: Mapping[str, str]) -> None:
        """Raise the same DisagreementError on all ranks, unless all have the same facts. It names two ranks, and the
        first few facts that differ."""
        self._check()

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self._check()

    def start_sum(self, array: Array) -> Any:
        """Begin to sum an array over all ranks, in place; `wait` for the returned object before using it."""
        self._check()
        return []

    def start_gather(self, array: Array) -> Any:
        """Begin to join the arrays of all ranks along axis 0, where their lengths may differ; `wait` returns the
        result.
        """
        self._check()
        return array

    def wait(self, started: Any, what: str) -> Any:
        """Wait for an operation in progress. If a rank does not arrive within `timeout` seconds, the whole run ends."""
        self._check()
        return started

    def free(self) -> None:
        """Leave the group for good."""
        self._freed = True

    def _check(self) -> None:
        if self._freed:
            raise RuntimeError("the group was freed; nn.distributed.group() makes another one")

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:  # otherwise the run is about to end, and nobody should wait
            self.free()

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size}>"


_found: Group | None = None


def group(communicator: Any = None, *, timeout: float | None = None) -> Group:
    """The processes started together by `mpiexec` or `srun`; a group of one for a single process.

    communicator  a communicator of mpi4py, for a group of some of the processes
    timeout       seconds that a rank may arrive later than the others, 300 by default. It must cover the longest time
                  that one rank computes while the others wait for it. A rank that does not arrive, because it hangs or
                  is gone, is named, and the run ends on all ranks: after timeout + 2 seconds at the latest

    Each call without a communicator returns the same group. After the first call, an uncaught exception ends all ranks,
    not only its own, and the end of the program waits for the others.

    Raises ImportError if several processes were started but mpi4py is missing; RuntimeError if it belongs to another
    MPI than the `mpiexec`; DisagreementError if ranks run different code or versions.
    """
    global _found
    if communicator is not None:
        from .ranks import Ranks

        return Group(timeout or TIMEOUT) if communicator.size == 1 else Ranks(communicator, timeout or TIMEOUT)
    if _found is None or _found._freed:
        _found = _world(timeout or TIMEOUT)
    elif timeout is not None:
        _found.timeout = Group(timeout).timeout
    return _found


def _world(timeout: float) -> Group:
    """The group of all processes started together."""
    started = max((int(os.environ.get(name, "0") or 0) for name in COUNTS), default=0)
    if started <= 1:
        return Group(timeout)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        raise ImportError(
            f"group: {started} processes were started, but mpi4py does not work: {error}; {INSTALL}"
        ) from (error)
    if MPI.COMM_WORLD.size == 1:
        _refuse_launcher(started, MPI.Get_library_version().split("\n")[0].strip("\0 "))
    from .ranks import Ranks

    return Ranks(MPI.COMM_WORLD, timeout)


def _refuse_launcher(started: int, library: str) -> NoReturn:
    raise RuntimeError(
        f"group: {started} processes were started, but each finds only itself: mpi4py uses {library}, and the launcher "
        f"belongs to another MPI. {INSTALL}; with srun, --mpi=pmi2 or --mpi=pmix, whichever this MPI was built for"
    )
