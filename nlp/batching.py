"""Batches of examples: shuffled, of similar lengths, or of a number of tokens; their position can be saved and
restored.

An epoch's order depends only on the seed and the epoch's number, so the position is two numbers: the epoch, and how
many of its batches were given out. `nn.Trainer` stores it in checkpoints.
"""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from .padding import collate, length_of
from .readers import batched

Array = Any


class Resumable(ABC):
    """Batches with a position. Iterating gives the batches of an epoch; after the last, the next epoch begins.

    epoch     the number of completed epochs
    position  the number of batches of the present epoch that were given out

    An interrupted iteration does not count: the next one begins the same epoch again, in the same order. After
    `load_state_dict` it begins at the loaded position.
    """

    def __init__(self, shard: Any = None) -> None:
        self.epoch = 0
        self.position = 0
        self._loaded = False
        self.rank: int = 0 if shard is None else shard.rank
        self.ranks: int = 1 if shard is None else shard.size

    @property
    def part(self) -> slice:
        """This rank's examples of each batch: r, r + N, r + 2 N, ..."""
        return slice(self.rank, None, self.ranks)

    @abstractmethod
    def _batches(self, start: int) -> Iterator[Any]:
        """The batches of the present epoch, without the first `start`."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """The settings that determine the order of batches."""

    def __iter__(self) -> Iterator[Any]:
        number = self.position if self._loaded else 0
        self._loaded = False
        for batch in self._batches(number):
            number += 1
            self.position = number
            yield batch
        self.epoch += 1
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain numbers."""
        return {"epoch": self.epoch, "position": self.position, "settings": self._settings()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position from `state_dict`. Raises ValueError if it belongs to other data or settings."""
        for name, value in self._settings().items():
            if state["settings"].get(name) != value:
                raise ValueError(
                    f"{type(self).__name__}: the state is one of {name} = {state['settings'].get(name)!r}, but here it "
                    f"is {value!r}"
                )
        self.epoch, self.position = state["epoch"], state["position"]
        self._loaded = True


class StreamBatches(Resumable):
    """Batches of examples that are read on demand, once an epoch; memory holds a few buffers of them.

    examples    an iterable that can be iterated repeatedly, such as an `nlp.Stream`. An example is an array or list of
                ids, a number, or a tuple or dict of these: (ids, label), (source, target), {"words": ids, "tags": ids}
    batch_size  the most examples N in a batch
    max_tokens  the most values in a batch, including padding: N times the longest sequence. One of the two is needed
    shuffle     shuffle the examples of a buffer
    by_length   sort the examples of a buffer by length before they are cut into batches, whose order is then shuffled
                again, if `shuffle`: this leaves little padding
    buffer      the number of examples that are shuffled or sorted together
    seed        of the shuffling
    padding     the value after a sequence's end; a tuple or dict with one for each field, if they differ
    key         a function for the length of an example; by default that of its longest sequence
    collate     a function from a list of examples to a batch; by default `nlp.collate` with `padding`
    shard       the group that shares each batch (`nn.distributed.group()`): of N ranks, rank r gets its examples r,
                r + N, r + 2 N, ... So `batch_size` is that of all ranks together, and training and saved positions are
                those of one process, for any N. A rank without an example in a batch, which may be the last one, gets
                None, and takes part in that step with nothing. All ranks read all examples, but collate only their own

    No example is left out: the remainder of a buffer goes into the next one, and the last batch may be smaller.

    >>> from nlp import Stream
    >>> examples = Stream(lambda: iter([([1, 2, 3], 0), ([4], 1), ([5, 6], 1)]))
    >>> for (ids, lengths), labels in StreamBatches(examples, batch_size=2):
    ...     print(ids.tolist(), lengths.tolist(), labels.tolist())
    [[1, 4], [2, 0], [3, 0]] [3, 1] [0, 1]
    [[5], [6]] [2] [1]
    """

    def __init__(
        self, examples: Iterable[Any], *, batch_size: int | None = None, max_tokens: int | None = None,
        shuffle: bool = False, by_length: bool = False, buffer: int = 1000, seed: int = 0, padding: Any = 0,
        key: Callable[[Any], int] = length_of, collate: Callable[[list[Any]], Any] | None = None, shard: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(shard)
        self._check(examples)
        for name, number in (("batch_size", batch_size), ("max_tokens", max_tokens), ("buffer", buffer)):
            whole = isinstance(number, int) and not isinstance(number, bool)
            if number is not None and not (whole and number >= 1):
                raise ValueError(f"{self._name}: {name} must be an integer of at least 1, not {number!r}")
        if batch_size is None and max_tokens is None:
            raise ValueError(f"{self._name}: give batch_size, max_tokens, or both")
        if batch_size is not None and batch_size < self.ranks:
            raise ValueError(
                f"{self._name}: {self.ranks} ranks cannot share a batch of {batch_size}; batch_size is that of "
                f"all ranks together: give at least {self.ranks}, or start fewer ranks"
            )
        self.examples = examples
        self.batch_size, self.max_tokens = batch_size, max_tokens
        self.shuffle, self.by_length, self.buffer, self.seed = shuffle, by_length, buffer, seed
        self.key = key
        self.collate = collate or partial(_collate, padding=padding)
        self._measure()

    def _check(self, examples: Any) -> None:
        if isinstance(examples, str) or not isinstance(examples, Iterable):
            raise TypeError(f"{self._name}: examples must be an iterable of examples, not {type(examples).__name__}")
        if isinstance(examples, Iterator):
            raise TypeError(
                f"{self._name}: examples is a {type(examples).__name__}, which can be gone through only once, but each "
                "epoch needs them anew; give a list, or an nlp.Stream"
            )

    def _measure(self) -> None:
        """Measure the examples, if they are at hand."""

    def _settings(self) -> dict[str, Any]:
        names = ("batch_size", "max_tokens", "shuffle", "by_length", "buffer", "seed")
        return {name: getattr(self, name) for name in names}

    def _batches(self, start: int) -> Iterator[Any]:
        rng = np.random.default_rng([self.seed, self.epoch])
        measured = ((example, self._length(n, example)) for n, example in enumerate(self.examples))
        for batch in islice(self._cut(self._mixed(measured, rng), rng), start, None):
            yield self._collated(batch[self.part])

    def _collated(self, examples: list[Any]) -> Any:
        return self.collate(examples) if examples else None

    def _length(self, number: int, example: Any) -> int:
        """The length of an example, if it is needed."""
        if self.max_tokens is None and not self.by_length:
            return 0
        length = self.key(example)
        if self.max_tokens is not None and length > self.max_tokens:
            raise ValueError(f"{self._name}: example {number} has {length:,} tokens, max_tokens is {self.max_tokens:,}")
        return length

    def _mixed(self, measured: Iterable[tuple[Any, int]], rng: Any) -> Iterator[tuple[Any, int]]:
        """Examples and their lengths, shuffled within each buffer."""
        for group in batched(measured, self.buffer):
            yield from (group[k] for k in rng.permutation(len(group))) if self.shuffle else group

    def _cut(self, measured: Iterable[tuple[Any, int]], rng: Any) -> Iterator[list[Any]]:
        """Lists of examples, one for each batch."""
        batch: list[tuple[Any, int]] = []
        for group in batched(measured, self.buffer):
            group = batch + group  # with the remainder of the buffer before
            if self.by_length:
                group.sort(key=lambda item: item[1])
            full, batch, longest = [], [], 0
            for item in group:
                longest = max(longest, item[1])
                if batch and self._too_many(len(batch) + 1, longest):
                    full.append(batch)
                    batch, longest = [], item[1]
                batch.append(item)
            if self.shuffle and self.by_length:
                full = [full[k] for k in rng.permutation(len(full))]
            yield from ([example for example, _ in items] for items in full)
        if batch:
            yield [example for example, _ in batch]

    def _too_many(self, count: int, longest: int) -> bool:
        return (self.batch_size is not None and count > self.batch_size) or (
            self.max_tokens is not None and count * longest > self.max_tokens
        )

    @property
    def _name(self) -> str:
        return type(self).__name__


class Batches(StreamBatches):
    """Batches of examples with random access: a list, or any object with a length and items by number, such as a memory
    map or a data set of Hugging Face's `datasets`.

    The arguments are those of `StreamBatches`, but `shuffle` shuffles all examples rather than those of a buffer.
    Nothing is copied: each batch asks for its examples, all at once if there is a method `__getitems__(numbers)`, as
    PyTorch's loader does. Only if lengths matter (`by_length`, `max_tokens`), every example is read once beforehand.

    >>> sentences = [np.arange(n) for n in (5, 2, 9, 2, 5, 8)]
    >>> batches = Batches(sentences, max_tokens=18, shuffle=True, by_length=True)
    >>> sorted(ids.shape for ids, lengths in batches)        # (T, N)
    [(5, 3), (8, 2), (9, 1)]
    """

    examples: Sequence[Any]

    def _check(self, examples: Any) -> None:
        if isinstance(examples, str) or not (hasattr(examples, "__len__") and hasattr(examples, "__getitem__")):
            raise TypeError(
                f"{self._name}: examples must be a list, or anything with a length and items by number, not "
                f"{type(examples).__name__}; StreamBatches takes what can only be iterated over"
            )
        if len(examples) == 0:
            raise ValueError(f"{self._name}: there are no examples")
        if hasattr(examples, "keys"):  # a mapping or a table
            try:
                examples[0]
            except LookupError:
                raise TypeError(
                    f"{self._name}: examples must have the numbers 0 to {len(examples) - 1} as indices, but this "
                    f"{type(examples).__name__} is indexed by {reprlib.repr(list(examples.keys()))}; give a list"
                ) from None
        if len(examples) < self.ranks:
            raise ValueError(f"{self._name}: {len(examples)} examples are too few for {self.ranks} ranks; start fewer")

    def _measure(self) -> None:
        numbers = range(len(self.examples))
        if self.max_tokens is None and not self.by_length:
            self._lengths = [0] * len(numbers)
            return
        parts = [numbers[k : k + self.buffer] for k in range(0, len(numbers), self.buffer)]
        self._lengths = [
            self._length(n, example) for part in parts for n, example in zip(part, self._items(part), strict=True)
        ]

    def _items(self, numbers: Sequence[int]) -> list[Any]:
        """The examples with these numbers."""
        several = getattr(self.examples, "__getitems__", None)
        return [self.examples[n] for n in numbers] if several is None else list(several(list(numbers)))

    def _settings(self) -> dict[str, Any]:
        return {"examples": len(self.examples), **super()._settings()}

    def plan(self) -> list[list[int]]:
        """The numbers of the examples in each batch of the present epoch (with `shard`, of this rank's part), for
        restoring the order of results."""
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.examples)).tolist() if self.shuffle else range(len(self.examples))
        return [numbers[self.part] for numbers in self._cut(((n, self._lengths[n]) for n in order), rng)]

    def __len__(self) -> int:
        """The number of batches of the present epoch."""
        if self.max_tokens is None and self.batch_size is not None:
            return -(-len(self.examples) // self.batch_size)
        return len(self.plan())

    def _batches(self, start: int) -> Iterator[Any]:
        for numbers in self.plan()[start:]:
            yield self._collated(self._items(numbers))


def _collate(examples: list[Any], padding: Any) -> Any:
    return collate(examples, padding)
