"""A group of threads in one process that act as ranks, without MPI."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend
from nn.distributed import DisagreementError, Group, agreement

Array = Any


class Board:
    """A place where threads show each other something."""

    def __init__(self, size: int) -> None:
        self.shown: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=30)


class Thread(Group):
    """A rank that is a thread. `begun` are the shapes of its sums, in their order."""

    def __init__(self, board: Board, rank: int, size: int) -> None:
        super().__init__()
        self.board, self.rank, self.size = board, rank, size
        self.begun: list[tuple[int, ...]] = []

    def _all(self, mine: Any) -> list[Any]:
        self._check()
        self.board.shown[self.rank] = mine
        self.board.barrier.wait()
        shown = list(self.board.shown)
        self.board.barrier.wait()
        return shown

    def sum(self, values: Any) -> Array:
        return functools.reduce(np.add, self._all(np.array(list(values), np.float64)))

    def texts(self, text: str) -> list[str]:
        return self._all(text)

    def collect(self, content: bytes) -> list[bytes]:
        found = self._all(content)
        return found if self.first else []

    def broadcast(self, arrays: Any) -> None:
        for array in arrays:
            array[...] = self._here(self._all(backend.to_numpy(array).copy())[0], array)

    def agree(self, title: str, facts: Any) -> None:
        if (found := agreement.difference(title, self.texts(agreement.as_text(facts)))) is not None:
            raise DisagreementError(found)

    def barrier(self) -> None:
        self._all(None)

    def start_sum(self, array: Array) -> Any:
        assert array.flags.c_contiguous
        self.begun.append(array.shape)
        array[...] = self._here(functools.reduce(np.add, self._all(backend.to_numpy(array).copy())), array)
        return []

    def start_gather(self, array: Array) -> Any:
        return self._here(np.concatenate(self._all(backend.to_numpy(array))), array)

    def _here(self, value: Array, array: Array) -> Array:
        return backend.from_numpy(value, backend.device_of(array))


def together(size: int, work: Callable[[Group], Any]) -> list[Any]:
    """The results of `size` ranks, each with its group."""
    board, results, errors = Board(size), [None] * size, []

    def run(rank: int) -> None:
        try:
            results[rank] = work(Thread(board, rank, size))
        except BaseException as error:
            errors.append(error)
            board.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    assert not errors
    return results
