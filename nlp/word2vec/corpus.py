"""A corpus as blocks: pieces of bounded size, always cut in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

import numpy as np

Array = Any
BLOCK = 10_000  # words; a longer sentence is cut into pieces of this size


@dataclass(frozen=True)
class Block:
    """Some consecutive sentences.

    number  0 for the first block of the corpus
    before  the number of words before it
    ids     (N,) the words' ids, int32; −1 for unknown words
    ends    (S,) where each sentence ends, from 1 to N
    """

    number: int
    before: int
    ids: Array
    ends: Array


def read_blocks(sentences: Iterable[Iterable[str]], index: Mapping[str, int]) -> Iterator[Block]:
    """Read a corpus once. Memory holds one block.

    index  the words' ids
    """
    words: list[str] = []
    ends: list[int] = []
    number = before = 0
    for sentence in sentences:
        rest = iter(sentence)
        while piece := list(islice(rest, BLOCK)):
            words += piece
            ends.append(len(words))
            if len(words) >= BLOCK:
                yield _block(number, before, words, ends, index)
                number, before = number + 1, before + len(words)
                words, ends = [], []
    if words:
        yield _block(number, before, words, ends, index)


def _block(number: int, before: int, words: list[str], ends: list[int], index: Mapping[str, int]) -> Block:
    ids = np.fromiter(map(index.get, words, repeat(-1)), np.int32, len(words))
    return Block(number, before, ids, np.array(ends))
