"""From blocks to windows: the words that are seen, their contexts, and their negatives.

All random numbers are drawn here, by a generator for each block, so that the order of drawing does not matter. Sources:
Mikolov, Sutskever, Chen, Corrado & Dean 2013, Distributed Representations of Words and Phrases and their
Compositionality (sub-sampling in section 2.3, noise in 2.2), and the program word2vec that came with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.losses.sampled import huffman_paths

from .corpus import Block

Array = Any


@dataclass(frozen=True)
class Windows:
    """n words, each with the words around it.

    ids          (n,) the words
    first, last  (n,) word i has the context ids[first[i]:last[i]], without word i itself
    outputs      (n, L) the rows of the output matrix that predict word i
    signs        (n, L) their targets: +1 yes, −1 no; 0 where there is none
    rates        (n,) the learning rate at each word
    """

    ids: Array
    first: Array
    last: Array
    outputs: Array
    signs: Array
    rates: Array


class WindowMaker:
    """Makes Windows of a Block.

    counts     (V,) the count of each word
    total      the words of the corpus in one epoch, including unknown ones
    loss       "negative": a word is distinguished from `negatives` random ones, except those equal to the word itself;
               "hierarchical": the outputs are the inner nodes of a Huffman tree; "softmax": there are none, or all
    window     a word's context has 1 to `window` words on each side, all numbers equally likely
    subsample  t: a word with the share f of the corpus is seen with probability √(t/f) + t/f; 0: always
    lr         the initial learning rate; it decreases linearly to almost 0 at the end of the last epoch
    """

    def __init__(
        self, counts: Array, total: int, *, loss: str, window: int, negatives: int, subsample: float, lr: float,
        epochs: int, seed: int,
    ) -> None:  # fmt: skip
        share = counts / np.sum(counts)  # (V,)
        ratio = subsample / share if subsample else np.ones_like(share)
        self.seen = np.minimum(np.sqrt(ratio) + ratio, 1.0).astype(np.float32)  # (V,)
        self.loss, self.window, self.negatives = loss, window, negatives
        self.lr, self.epochs, self.total, self.seed = lr, epochs, total, seed
        if loss == "negative":
            self.noise = Noise(counts**0.75)
        elif loss == "hierarchical":
            nodes, self.signs = huffman_paths(counts)  # (V, L)
            self.nodes = nodes.astype(np.int32)

    def make(self, block: Block, epoch: int) -> Windows:
        """The windows of a block, equal each time for the same block and epoch."""
        rng = np.random.default_rng([self.seed, epoch, block.number])
        place = np.flatnonzero(block.ids >= 0)
        place = place[rng.random(len(place), np.float32) < self.seen[block.ids[place]]]  # (n,) in the block
        ids = block.ids[place]
        n = len(ids)

        ends = np.searchsorted(place, block.ends).astype(np.int32)  # of the sentences after sub-sampling
        sizes = np.diff(ends, prepend=np.int32(0))
        reach = rng.integers(1, self.window + 1, n, dtype=np.int32)
        at = np.arange(n, dtype=np.int32)
        first = np.maximum(at - reach, np.repeat(ends - sizes, sizes))
        last = np.minimum(at + reach + 1, np.repeat(ends, sizes))

        done = (epoch * self.total + block.before + place) / (self.epochs * self.total)  # share of the training
        rates = (self.lr * np.maximum(1 - done, 1e-4)).astype(np.float32)
        return Windows(ids, first, last, *self._outputs(ids, rng), rates)

    def _outputs(self, ids: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Outputs and signs, (n, L) both."""
        if self.loss == "hierarchical":
            return self.nodes[ids], self.signs[ids]
        if self.loss == "softmax":
            return np.empty((len(ids), 0), np.int32), np.empty((len(ids), 0), np.int8)
        outputs = np.empty((len(ids), 1 + self.negatives), np.int32)
        outputs[:, 0] = ids
        outputs[:, 1:] = self.noise.draw(rng, (len(ids), self.negatives))
        signs = (outputs == outputs[:, :1]).astype(np.int8) - 1  # −1, or 0 for the word itself
        signs[:, 0] = 1
        return outputs, signs


class Noise:
    """Draws k with probability proportional to weights[k] > 0, (V,), in constant time.

    The alias method (Walker 1977; Vose 1991): V columns of equal height hold at most two words each. A column and a
    height are drawn: below the threshold the result is the column's own word, above it the alias.
    """

    def __init__(self, weights: Array) -> None:
        height = weights / np.mean(weights)  # (V,), 1 on average
        alias = np.arange(len(height), dtype=np.int32)
        low, high = list(np.flatnonzero(height < 1)), list(np.flatnonzero(height >= 1))
        while low and high:
            k, donor = low.pop(), high[-1]
            alias[k] = donor  # it fills up column k,
            height[donor] -= 1 - height[k]  # and has less left
            if height[donor] < 1:
                low.append(high.pop())
        height[[*low, *high]] = 1  # up to rounding
        self.threshold, self.alias = height.astype(np.float32), alias

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """int32 numbers."""
        column = rng.integers(0, len(self.alias), shape, dtype=np.int32)
        own = rng.random(shape, np.float32) < self.threshold[column]
        return np.where(own, column, self.alias[column])
