"""Word2Vec: vectors of words, learned from their contexts."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from minigrad.native.machine import switched_off
from nn.distributed import Group

from ..vectors import WordVectors
from ..vocabulary import Vocabulary
from . import updates
from .corpus import read_blocks
from .objective import LOSSES, MODES, WindowLoss
from .sharing import Shared
from .windows import WindowMaker, Windows

Array = Any
Train = Callable[[Array, Array, Windows, bool], tuple[float, int]]
LANES = 16  # rows are zero-padded to a multiple of this size, and aligned to it


class Word2Vec:
    """Learns vectors of words by predicting words from the words around them.

    mode       "cbow": the sum of the context's vectors predicts the word in its middle. "skipgram": each word of the
               context predicts it separately; slower, and better for small corpora and rare words
    loss       "negative": distinguish the word from `negatives` random ones. "hierarchical": find it in a Huffman tree.
               "softmax": distinguish it from all words; the cost grows with the vocabulary
    dim        the size of the vectors
    window     the context is 1 to `window` words on each side, the number drawn anew for each word
    min_count  rarer words are left out
    negatives  words drawn for each word (and shared by its whole context), in proportion to count^0.75
    subsample  t: a word with the share f of the corpus is seen with probability √(t/f) + t/f. About 1e-3 to 1e-5 for
               large corpora; 0, every word always, for very small ones
    lr         the initial learning rate; it decreases linearly, word by word, to almost 0
    epochs     the number of passes over the corpus
    seed       same seed and corpus give the same vectors, for any number of workers
    workers    2: another thread reads and samples the corpus ahead; 1: a single thread. More are not used: every window
               learns from weights updated by all windows before it. None: 2, if there are as many cores

    >>> corpus = [["I", "go", "to", "the", "mall", "today"], ["I", "go", "to", "the", "beach", "today"]] * 20
    >>> model = Word2Vec(dim=8, min_count=1, subsample=0, epochs=20, lr=0.1).fit(corpus, progress=False)
    >>> model.vectors.most_similar("mall", topn=1)[0][0]
    'beach'

    After `fit`:

    vectors     the `WordVectors`
    losses      for each epoch the mean loss of all predictions, each before learning from it
    vocabulary  the `Vocabulary`

    With the extra `fast` (Numba) the loop over words is machine code, some forty times faster; the vectors differ by
    rounding.
    """

    vectors: WordVectors
    vocabulary: Vocabulary

    def __init__(
        self, mode: Literal["cbow", "skipgram"] = "cbow", loss: Literal["negative", "hierarchical", "softmax"] =
        "negative", dim: int = 100, window: int = 5, min_count: int = 5, negatives: int = 5, subsample: float = 1e-3,
        lr: float = 0.025, epochs: int = 5, seed: int = 0, workers: int | None = None,
    ) -> None:  # fmt: skip
        for name, value, known in (("mode", mode, MODES), ("loss", loss, LOSSES)):
            if value not in known:
                raise ValueError(f"Word2Vec: {name} must be one of {', '.join(map(repr, known))}, not {value!r}")
        for name, number, least in (
            ("dim", dim, 1), ("window", window, 1), ("min_count", min_count, 1), ("negatives", negatives, 1),
            ("epochs", epochs, 1), ("seed", seed, 0), ("workers", 1 if workers is None else workers, 1),
        ):  # fmt: skip
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ValueError(f"Word2Vec: {name} must be an integer of at least {least}, not {number!r}")
        if not (math.isfinite(subsample) and subsample >= 0):
            raise ValueError(f"Word2Vec: subsample must be at least 0, not {subsample!r}")
        if not (math.isfinite(lr) and lr > 0):
            raise ValueError(f"Word2Vec: lr must be above 0, not {lr!r}")
        self.mode, self.loss, self.dim, self.window, self.min_count = mode, loss, dim, window, min_count
        self.negatives, self.subsample, self.lr, self.epochs = negatives, subsample, lr, epochs
        self.seed, self.workers = seed, workers
        self.losses: list[float] = []

    def fit(
        self, sentences: Iterable[Iterable[str]], *, progress: bool = True, group: Group | None = None,
        interval: int = 100_000,
    ) -> Word2Vec:  # fmt: skip
        """Learn from a corpus, which is read once to count and once for each epoch. Returns this model.

        sentences  lists of words: a list of them, or any object that can be iterated repeatedly, such as
                   `read_lines(path).map(str.split)`, of which memory holds only a piece
        progress   show a bar with words per second, in a terminal
        group      ranks that share the work (`nn.distributed.group()`): each reads the whole corpus, and learns from
                   every N-th block of 10,000 words, at rates that are √N times as high. All get the same vectors,
                   reproducibly; they are slightly worse than those of one process, since ranks exchange their weights
                   only at intervals
        interval   the words that each rank learns from between two exchanges of both matrices

        Raises TypeError for a generator, which can be iterated only once, and for strings in place of lists of words;
        ValueError if there is nothing to learn from; FloatingPointError if the numbers overflow.
        """
        if iter(sentences) is sentences:
            raise TypeError(
                f"Word2Vec.fit: a {type(sentences).__name__} can be gone through once, but {1 + self.epochs} passes "
                "are needed; give a list, or a stream that begins anew, such as nlp.read_lines(path).map(str.split)"
            )
        vocabulary = Vocabulary(min_freq=self.min_count).fit(sentences)
        if len(vocabulary) < 2:
            raise ValueError(
                f"Word2Vec.fit: only one word, {vocabulary.tokens[0]!r}, occurs min_count={self.min_count} times"
            )
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(f"Word2Vec.fit: interval must be an integer of at least 1, not {interval!r}")
        W, U = self._starting_weights(len(vocabulary))
        shared = Shared(group, [W, U], interval)
        maker = WindowMaker(
            vocabulary.counts, vocabulary.total, loss=self.loss, window=self.window, negatives=self.negatives,
            subsample=self.subsample, lr=self.lr * shared.faster, epochs=self.epochs, seed=self.seed,
        )  # fmt: skip
        train = updates.train_softmax if self.loss == "softmax" else fastest()
        index = {word: i for i, word in enumerate(vocabulary)}
        losses = []
        with tqdm(
            desc="Word2Vec", total=self.epochs * vocabulary.total, unit=" words", unit_scale=True,
            disable=None if progress and shared.group.first else True,
        ) as bar:  # fmt: skip
            for epoch in range(self.epochs):
                losses.append(self._epoch(sentences, index, maker, epoch, train, shared, bar))
                bar.set_postfix_str(f"loss {losses[-1]:.4f}")
        W = W[:, : self.dim].copy()
        U = U[:, : self.dim].copy()
        self.vocabulary, self.losses, self._weights = vocabulary, losses, (W, U)
        self.vectors = WordVectors(vocabulary.tokens, W, vocabulary.counts)
        return self

    def _starting_weights(self, words: int) -> tuple[Array, Array]:
        """W (V, D), U(±1/2D), and U (V or V − 1, D), zero; both padded with zeros."""
        width = -(-self.dim // LANES) * LANES
        W, U = _aligned_zeros(words, width), _aligned_zeros(words - (self.loss == "hierarchical"), width)
        W[:, : self.dim] = (np.random.default_rng(self.seed).random((words, self.dim), np.float32) - 0.5) / self.dim
        return W, U

    def _epoch(
        self, sentences: Iterable[Iterable[str]], index: dict[str, int], maker: WindowMaker, epoch: int, train: Train,
        shared: Shared, bar: Any,
    ) -> float:  # fmt: skip
        """One pass over the corpus; returns the mean loss."""
        total, predictions, words, seen = 0.0, 0, 0, 0
        W, U = shared.weights
        blocks = read_blocks(sentences, index)
        made = ((b.number, len(b.ids), maker.make(b, epoch) if shared.mine(b.number) else None) for b in blocks)
        for number, size, windows in ahead(made) if self._threads() > 1 else made:
            if shared.due(number):
                shared.meet()
            bar.update(size)
            if windows is None:
                continue
            loss, count = train(W, U, windows, self.mode == "cbow")
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"Word2Vec.fit: the loss is {loss} in epoch {epoch + 1}, before word {words + size:,}; "
                    f"lr={self.lr} is too high"
                )
            total, predictions, words, seen = total + loss, predictions + count, words + size, seen + len(windows.ids)
        shared.meet()
        total, *sums = shared.group.sum([total, predictions, words, seen])
        predictions, words, seen = map(int, sums)
        if not words:
            raise ValueError(
                f"Word2Vec.fit: in epoch {epoch + 1} there were no sentences any more; they must be there each time "
                "that one goes through them"
            )
        if not predictions:
            raise ValueError(
                f"Word2Vec.fit: in epoch {epoch + 1} no word had another one beside it; subsample={self.subsample} and "
                f"min_count={self.min_count} left {seen} of {words} words"
            )
        return float(total / predictions)

    def _threads(self) -> int:
        return min(_cores(), 2) if self.workers is None else self.workers

    def objective(self) -> WindowLoss:
        """The loss of a window as a graph of operations, with the learned weights: for reading and drawing.

        `mg.graph(model.objective()(context, word))`, where context and word are ids of `vocabulary`.
        """
        if not hasattr(self, "vectors"):
            raise RuntimeError("Word2Vec: there is no objective before `fit`")
        made = WindowLoss(self.vocabulary.counts, self.dim, self.mode, self.loss)
        made.load_state_dict({"embedding.weight": self._weights[0], "output.weight": self._weights[1]})
        return made

    def __repr__(self) -> str:
        return f"Word2Vec({self.mode!r}, {self.loss!r}, dim={self.dim}, window={self.window})"


# ---- threads -----------------------------------------------------------------------------------------------------


def ahead(items: Iterable[Any], depth: int = 4) -> Iterator[Any]:
    """The items, made up to `depth` ahead by one thread, in the same order."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield item


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- compiled ----------------------------------------------------------------------------------------------------

_announced = False


def fastest() -> Train:
    """`updates.train`, as machine code if Numba is installed and MINIGRAD_COMPILE is not 0."""
    if switched_off():
        return updates.train
    from . import kernels

    if not kernels.INSTALLED:
        return updates.train
    start = time.perf_counter()
    kernels.train(*_nothing(), False)  # compiles, or loads from disk
    _announce(time.perf_counter() - start)

    def train(W: Array, U: Array, windows: Windows, together: bool) -> tuple[float, int]:
        return kernels.train(W, U, *vars(windows).values(), together)  # type: ignore[no-any-return]

    return train


def _nothing() -> list[Array]:
    kinds = (np.float32, np.float32, np.int32, np.int32, np.int32, np.int32, np.int8, np.float32)
    return [np.zeros((0, 1) if k in (0, 1, 5, 6) else 0, kind) for k, kind in enumerate(kinds)]


def _announce(seconds: float) -> None:
    """Report a compilation once, if it took long."""
    global _announced
    if seconds > 1 and not _announced:
        _announced = True
        print(f"nlp: compiling Word2Vec took {seconds:.1f} s (MINIGRAD_COMPILE=0: never)", file=sys.stderr)


def _aligned_zeros(rows: int, width: int) -> Array:
    """(rows, width) zeros, float32, with rows aligned to cache lines."""
    flat = np.zeros(rows * width + LANES, np.float32)
    start = -flat.ctypes.data // flat.itemsize % LANES
    return flat[start : start + rows * width].reshape(rows, width)
