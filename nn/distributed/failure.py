"""Failure of ranks: a rank that fails, hangs or leaves ends the run, with an error that names it.

While a rank waits, it asks the others now and then whether they wait, too. A waiting rank answers at once. A computing
one does not, and counts as lost after the timeout: it hangs, is stopped, or is gone. Nothing runs beside the training:
no thread, no heartbeat, and no message while all ranks arrive in time.
"""

from __future__ import annotations

import struct
import sys
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

ASK, ANSWER = 1, 2  # tags
FORM = struct.Struct("<q?64s")  # number of the question, True from a rank that has left, the awaited operation
MOVES = 20e-6  # seconds: a call of MPI that takes longer has moved data
BUSY = 1e-3  # seconds of polling without rest after data has moved
NAP, SLEEP = 20e-6, 5e-4  # seconds of rest between two polls: at first, and after LONG
LONG = 0.1  # seconds of waiting
FIRST, GRACE = 1.0, 1.0  # seconds until the first question, and for the last answers


class Watchdog:
    """Waits for the ranks of a group.

    communicator  of mpi4py, for questions and answers only
    named         (rank) -> "rank 3 (pid 17 on host)"
    """

    def __init__(self, communicator: Any, named: Callable[[int], str]) -> None:
        self.communicator, self.named = communicator, named
        self._question = 0
        self._answers: dict[int, tuple[bool, str]] = {}  # (True if it has left, the awaited operation)
        self._sent: list[tuple[Any, bytes]] = []
        self._what = ""

    def wait(self, done: Callable[[], bool], what: str, timeout: float) -> None:
        """Return once `done()`; end the run if a rank has left, is late, or waits for something else."""
        if done():
            return
        self._what = what
        start = moved = looked = time.perf_counter()
        next_question, deadline, last = FIRST, timeout, False
        while not done():
            now = time.perf_counter()
            if now - looked > MOVES:
                moved = now
            waited = now - start
            if waited < LONG:
                if now - moved > BUSY:
                    time.sleep(NAP)
                looked = time.perf_counter()
                continue
            time.sleep(SLEEP if now - moved > BUSY else 0)
            self._listen()
            looked = time.perf_counter()
            if left := [rank for rank, (gone, _) in self._answers.items() if gone]:
                self._end(f"{self._names(left)} ended, while the others wait for {what}", left)
            if waited >= deadline + GRACE:
                self._judge(waited)  # returns if all are here and wait for the same operation
                deadline, last = waited + timeout, False
            elif waited >= next_question or (waited >= deadline and not last):
                last = waited >= deadline
                self._ask()
                next_question = min(2 * next_question, max(deadline, waited + timeout / 2))

    def leave(self) -> None:
        """Wait without limit until all others have left as well; ranks that still wait for this one are told."""
        request = self.communicator.Ibarrier()
        while not request.Test():
            self._listen(left=True)
            time.sleep(0.002)
        self._listen(left=True)

    # ---- questions and answers -----------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._question += 1
        self._answers = {}
        for rank in range(self.communicator.size):
            if rank != self.communicator.rank:
                self._send(rank, ASK, FORM.pack(self._question, False, b""))

    def _listen(self, left: bool = False) -> None:
        """Answer all questions, and take all answers."""
        from mpi4py import MPI

        status, content = MPI.Status(), bytearray(FORM.size)
        while self.communicator.Iprobe(tag=MPI.ANY_TAG, status=status):
            rank, tag = status.Get_source(), status.Get_tag()
            self.communicator.Recv([content, MPI.BYTE], source=rank, tag=tag)
            number, gone, what = FORM.unpack(content)
            if tag == ASK:
                self._send(rank, ANSWER, FORM.pack(number, left, self._what.encode()[:64]))
            elif number == self._question:
                self._answers[rank] = gone, what.rstrip(b"\0").decode(errors="replace")

    def _send(self, rank: int, tag: int, content: bytes) -> None:
        from mpi4py import MPI

        self._sent = [pair for pair in self._sent if not pair[0].Test()]  # a lost rank never receives its own
        self._sent.append((self.communicator.Isend([content, MPI.BYTE], dest=rank, tag=tag), content))

    def _judge(self, waited: float) -> None:
        """End the run, unless all have answered that they wait for the same operation."""
        others = [rank for rank in range(self.communicator.size) if rank != self.communicator.rank]
        if absent := [rank for rank in others if rank not in self._answers]:
            text = f"{self._names(absent)} did not come within {waited:.0f} s to {self._what}: hung, stopped or dead"
            self._end(text, absent)
        for rank, (_, what) in self._answers.items():
            if what != self._what[:64]:
                here = self.communicator.rank
                text = f"rank {here} waits for {self._what}, and rank {rank} for {what}"
                self._end(f"{text}: all ranks must take the same steps in the same order", [])

    def _names(self, ranks: list[int]) -> str:
        return ", ".join(map(self.named, ranks[:4])) + (f" and {len(ranks) - 4} more" if len(ranks) > 4 else "")

    def _end(self, text: str, lost: list[int]) -> NoReturn:
        """End the run with a message from the first rank that can send it."""
        here = self.communicator.rank
        if here != min(rank for rank in range(self.communicator.size) if rank not in lost):
            time.sleep(2 * GRACE)
        stop(f"nn.distributed: {text}. The last checkpoint is as it was written.")


def stop(text: str | None = None) -> NoReturn:
    """Print a text, and end all ranks."""
    from mpi4py import MPI

    if text is not None:
        print(text, file=sys.stderr, flush=True)
    sys.stdout.flush()
    time.sleep(0.1)  # let the output arrive
    MPI.COMM_WORLD.Abort(1)
    raise SystemExit(1)


def everywhere(error: Exception) -> Exception:
    """Mark an error as raised by all ranks: only rank 0 prints it."""
    error.everywhere = True  # type: ignore[attr-defined]
    return error


def end_all_on_errors(communicator: Any, named: Callable[[int], str]) -> None:
    """Let uncaught exceptions end all ranks. (MPI would let the others wait for this one.)"""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        rank = communicator.rank
        if issubclass(kind, KeyboardInterrupt) or getattr(error, "everywhere", False):
            if rank == 0:
                before(kind, error, trace)
            if issubclass(kind, KeyboardInterrupt):
                return
            time.sleep(2 * GRACE if rank else 0)
            stop()
        text = "".join(traceback.format_exception(kind, error, trace))
        stop(f"nn.distributed: {named(rank)} failed, which ends the run:\n{text}")

    sys.excepthook = hook
