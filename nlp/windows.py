"""A long text for a language model: parallel streams in consecutive windows; and ids in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from nn.training.files import StrPath, atomic

from .batching import Resumable

Array = Any


class Window(NamedTuple):
    """T steps of N streams.

    inputs   (T, N) ids
    targets  (T, N) the id after each of them; `ignore_index` where there is none
    reset    (N,) True where a stream begins, for `reset=` of `nn.TBPTT`; False where it continues
    """

    inputs: Array
    targets: Array
    reset: Array


class LanguageModelBatches(Resumable):
    """The windows of a text, cut into N streams that are read side by side.

    ids           (L,) the text's ids: an array, or one on disk (`np.load(path, mmap_mode="r")`)
    batch_size    the number N of streams
    steps         the number T of steps in a window; the last one may be shorter
    ignore_index  the target where there is none, as in `nn.CrossEntropyLoss`
    shard         the group that shares the streams (`nn.distributed.group()`): of R ranks, rank r reads the streams r,
                  r + R, r + 2 R, ..., the columns [:, r::R]. `batch_size` is that of all ranks together, and training
                  and saved positions are those of one process, for any R

    >>> for inputs, targets, reset in LanguageModelBatches(np.arange(8), batch_size=2, steps=2):
    ...     print(inputs.tolist(), targets.tolist(), reset.tolist())
    [[0, 4], [1, 5]] [[1, 5], [2, 6]] [True, True]
    [[2, 6], [3, 7]] [[3, 7], [4, -100]] [False, False]

    Stream n continues from window to window in column n, so a state can be carried: `tbptt(layer, x, reset=reset)`.
    Each of the L − 1 ids with a predecessor is a target exactly once; nothing is left out. If N does not divide L − 1,
    the last streams are one step shorter. Memory holds one window.
    """

    def __init__(
        self, ids: Any, batch_size: int, steps: int, *, ignore_index: int = -100, shard: Any = None
    ) -> None:  # fmt: skip
        super().__init__(shard)
        ids = ids if isinstance(ids, np.ndarray) else np.asarray(ids)
        for name, number in (("batch_size", batch_size), ("steps", steps)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"LanguageModelBatches: {name} must be an integer of at least 1, not {number!r}")
        if ids.dtype.kind not in "iu" or ids.ndim != 1:
            raise TypeError(f"LanguageModelBatches: ids must be integers (L,), not {ids.dtype} {ids.shape}")
        if len(ids) <= batch_size:
            raise ValueError(
                f"LanguageModelBatches: {len(ids)} ids are too few for {batch_size} streams; each needs an input and a "
                "target"
            )
        if batch_size < self.ranks:
            raise ValueError(
                f"LanguageModelBatches: {self.ranks} ranks cannot share {batch_size} streams; batch_size is of all "
                f"ranks together: give at least {self.ranks}, or start fewer ranks"
            )
        self.ids, self.batch_size, self.steps, self.ignore_index = ids, batch_size, steps, ignore_index
        shortest, longer = divmod(len(ids) - 1, batch_size)
        self.lengths = shortest + (np.arange(batch_size) < longer)  # (N,) targets of each stream
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])  # (N,) where each begins

    def __len__(self) -> int:
        """The number of windows."""
        return -(-int(self.lengths[0]) // self.steps)

    def _settings(self) -> dict[str, Any]:
        return {"ids": len(self.ids), "batch_size": self.batch_size, "steps": self.steps}

    def _batches(self, start: int) -> Iterator[Window]:
        longest = int(self.lengths[0])
        starts, lengths = self.starts[self.part], self.lengths[self.part]  # (N,) of this rank's streams
        for begin in range(start * self.steps, longest, self.steps):
            t = np.arange(begin, min(begin + self.steps, longest))[:, None]  # (T, 1)
            places = starts + t  # (T, N)
            inputs = np.asarray(self.ids[places], np.int64)
            following = np.asarray(self.ids[np.minimum(places + 1, len(self.ids) - 1)], np.int64)
            targets = np.where(t < lengths, following, self.ignore_index)
            yield Window(inputs, targets, np.full(len(starts), begin == 0))


def save_ids(path: StrPath, arrays: Iterable[Any], dtype: Any = np.int32) -> int:
    """Write the ids of a corpus one after the other into a .npy file, without holding them all in memory, atomically.
    Returns their number. `np.load(path, mmap_mode="r")` gives an array (L,) that stays on disk.

    arrays  the ids of its parts, such as `(tokenizer.encode(line, eos=True) for line in nlp.read_lines(path))`
    dtype   integers; np.uint16 is enough for a vocabulary of 65,536

    Raises ValueError for ids out of the dtype's range; then nothing is written.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu":
        raise TypeError(f"save_ids: the dtype must be one of integers, not {dtype}")
    limits = np.iinfo(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    count = 0
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (0,)})  # with room for any number
        for number, part in enumerate(arrays):
            ids = np.asarray(part)
            ids = ids if ids.size else ids.astype(dtype)
            if ids.dtype.kind not in "iu" or ids.ndim != 1:
                raise TypeError(f"save_ids: part {number} is not an array of ids (T,), but {ids.dtype} {ids.shape}")
            if ids.size and not limits.min <= ids.min() <= ids.max() <= limits.max:
                raise ValueError(f"save_ids: part {number} has ids from {ids.min()} to {ids.max()}; {dtype} holds "
                                 f"{limits.min} to {limits.max}")  # fmt: skip
            file.write(ids.astype(dtype).tobytes())
            count += len(ids)
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header | {"shape": (count,)})
    return count
