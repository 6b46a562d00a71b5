"""Losses for large vocabularies, with a cost that is independent of the vocabulary's size, or logarithmic in it.

Both hold the output vectors in their `weight`, and take the hidden vectors that would enter a softmax layer. The weight
starts at zero, as in word2vec. Equations are those of Mikolov, Sutskever, Chen, Corrado & Dean 2013, Distributed
Representations of Words and Phrases and their Compositionality.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.randomness import generator
from minigrad.scopes import here

from ..layers.linear import check_features
from ..modules import Parameter, beside
from .elementwise import Loss, array_beside, check_mask

Array = Any


def _check_counts(module: str, counts: Any) -> Array:
    """Word counts, (V,) non-negative numbers, as float64; ValueError for anything else."""
    counts = counts.numpy() if isinstance(counts, mg.Tensor) else np.asarray(counts)
    if counts.ndim != 1 or counts.shape[0] < 2 or counts.dtype.kind not in "iuf":
        raise ValueError(
            f"{module}: counts are numbers, one for each of at least two words, not {counts.dtype} {counts.shape}"
        )
    counts = counts.astype(np.float64)
    if not (np.all(np.isfinite(counts)) and np.all(counts >= 0) and np.any(counts > 0)):
        raise ValueError(f"{module}: counts must be finite and not negative, and not all zero")
    return counts


def _checked(
    module: NegativeSamplingLoss | HierarchicalSoftmaxLoss, hidden: Any, targets: Any, mask: Any
) -> tuple[Any, Array, Array | None]:
    """Hidden vectors, targets and mask, checked against each other and the vocabulary; elements that do not count are
    safe.
    """
    title = type(module).__name__
    h: Any = beside(module, hidden)
    check_features(module, h, module.in_features, "in_features")
    targets = array_beside(targets, h)
    if targets.shape != h.shape[:-1] or targets.dtype.kind not in "iu":
        raise ValueError(
            f"{title}: for hidden vectors {h.shape}, targets must be integers of shape {h.shape[:-1]}, "
            f"not {targets.dtype} {targets.shape}{here()}"
        )
    if mask is not None:
        mask = check_mask(module, mask, targets.shape, h)
        h, targets = np.where(np.expand_dims(mask, -1), h, 0.0), np.where(mask, targets, 0)
    backend.check_indices(title, targets, module.num_words)
    return h, targets, mask


class NegativeSamplingLoss(Loss):
    """−log σ(u_o·h) − Σ_k log σ(−u_k·h): distinguish the word o from K random ones k (Mikolov et al. 2013, eq. 4).

    in_features  D, the size of the hidden vectors h
    counts       the count of each of the V words, (V,); words are drawn in proportion to counts^power
    negatives    K, the number of words drawn for each target; a word may be drawn repeatedly, or be the target itself
    sparse       give the weight's gradient as `mg.RowSparse`

    weight (V, D) holds the output vectors u, initially zero. Draws come from the generator seeded by `mg.manual_seed`.
    """

    def __init__(
        self, in_features: int, counts: Any, *, negatives: int = 5, power: float = 0.75, sparse: bool = False,
        reduction: str = "mean", device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(reduction=reduction)
        counts = _check_counts("NegativeSamplingLoss", counts)
        if negatives < 1:
            raise ValueError(f"NegativeSamplingLoss: negatives must be at least 1, not {negatives}")
        self.in_features = in_features
        self.num_words = counts.shape[0]
        self.negatives = negatives
        self.power = power
        self.sparse = sparse
        self.weight = Parameter(mg.zeros((self.num_words, in_features), device=device, dtype=dtype))
        noise = np.where(counts > 0, counts, 1.0) ** power * (counts > 0)
        self._cumulative = np.cumsum(noise) / np.sum(noise)  # in float64, whatever the weight's dtype
        self._cumulative[np.flatnonzero(noise)[-1] :] = 1.0  # and not 1 − 1e-16

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Words of the noise distribution, integers of any shape."""
        device = self.weight.device
        self._cumulative = backend.transfer(self._cumulative, device)
        u = generator(device).random(shape, dtype=np.float64)
        return np.searchsorted(self._cumulative, u, side="right")

    def forward(self, hidden: Any, targets: Any, negatives: Any = None, mask: Any = None) -> Any:
        """hidden (..., D) and targets (...) give a scalar, or (...) without reduction.

        negatives  (..., K) the words to distinguish the targets from, or (K,) for all of them; drawn if None
        mask       (...) boolean, True for targets that count
        """
        h, targets, mask = _checked(self, hidden, targets, mask)
        drawn = self.draw((*targets.shape, self.negatives)) if negatives is None else array_beside(negatives, h)
        if drawn.shape[:-1] not in ((), targets.shape) or not drawn.ndim:
            raise ValueError(
                f"NegativeSamplingLoss: negatives must be {(*targets.shape, 'K')} or ('K',), not {drawn.shape}{here()}"
            )
        positive = np.sum(mg.embedding(self.weight, targets, sparse=self.sparse) * h, axis=-1)  # (...)
        noise = mg.embedding(self.weight, drawn, sparse=self.sparse)  # (..., K, D) or (K, D)
        shared = drawn.ndim == 1
        negative = mg.linear(h, noise) if shared else (noise @ np.expand_dims(h, -1))[..., 0]  # (..., K)
        loss = mg.softplus(-positive) + np.sum(mg.softplus(negative), axis=-1)  # −log σ(x) = softplus(−x)
        return self.reduce(loss if mask is None else np.where(mask, loss, 0.0), mask)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.num_words} words, negatives={self.negatives}, power={self.power}"


def huffman_paths(counts: Array) -> tuple[Array, Array]:
    """The paths of V words up to the root of a Huffman tree (Huffman 1952). Joining the two rarest nodes again and
    again minimizes the expected length of a path.

    counts  (V,) the count of each word
    Returns nodes and signs, both (V, L) for paths of at most L steps: below node n (of V − 1; the root is the last),
    the path is on the side of sign +1 or −1; a sign of 0, at the root again, is padding.
    """
    words = len(counts)
    root = 2 * words - 2
    heap = [(count, k) for k, count in enumerate(counts.tolist())]
    heapq.heapify(heap)
    parent, sign = np.full(root + 1, root), np.zeros(root + 1, np.int8)  # of words, then of inner nodes
    for node in range(words, root + 1):
        (rare, left), (common, right) = heapq.heappop(heap), heapq.heappop(heap)
        parent[left] = parent[right] = node
        sign[left], sign[right] = -1, 1
        heapq.heappush(heap, (rare + common, node))
    nodes, signs, at = [], [], np.arange(words)
    while np.any(at != root):  # all words climb together
        signs.append(sign[at])
        nodes.append(parent[at] - words)
        at = parent[at]
    return np.stack(nodes, axis=1), np.stack(signs, axis=1)


class HierarchicalSoftmaxLoss(Loss):
    """−Σ_n log σ(±u_n·h) over the nodes n on the path to the target (Morin & Bengio 2005; Mikolov et al. 2013, eq. 3).

    in_features  D, the size of the hidden vectors h
    counts       the count of each of the V words, (V,): frequent ones have short paths in the Huffman tree
    sparse       give the weight's gradient as `mg.RowSparse`

    weight (V − 1, D) holds a vector u for each inner node, initially zero. The probabilities of all words sum to 1.
    """

    nodes: mg.Tensor  # (V, L)
    signs: mg.Tensor  # (V, L)

    def __init__(
        self, in_features: int, counts: Any, *, sparse: bool = False, reduction: str = "mean", device: str = "cpu",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(reduction=reduction)
        nodes, signs = huffman_paths(_check_counts("HierarchicalSoftmaxLoss", counts))
        self.in_features = in_features
        self.num_words = nodes.shape[0]
        self.sparse = sparse
        self.weight = Parameter(mg.zeros((self.num_words - 1, in_features), device=device, dtype=dtype))
        self.register_buffer("nodes", mg.tensor(nodes, device=device), persistent=False)
        self.register_buffer("signs", mg.tensor(signs, device=device), persistent=False)

    def forward(self, hidden: Any, targets: Any, mask: Any = None) -> Any:
        """hidden (..., D) and targets (...) give a scalar, or (...) without reduction.

        mask  (...) boolean, True for targets that count
        """
        h, targets, mask = _checked(self, hidden, targets, mask)
        signs = self.signs.data[targets]  # (..., L)
        vectors = mg.embedding(self.weight, self.nodes.data[targets], sparse=self.sparse)  # (..., L, D)
        scores = (vectors @ np.expand_dims(h, -1))[..., 0]  # (..., L)
        steps = mg.softplus(-signs.astype(h.dtype) * scores)  # −log σ(±u·h)
        loss = np.sum(np.where(signs == 0, 0.0, steps), axis=-1)
        return self.reduce(loss if mask is None else np.where(mask, loss, 0.0), mask)

    def log_prob(self, hidden: Any) -> Any:
        """log p of every word: (..., D) to (..., V)."""
        hidden = beside(self, hidden)
        check_features(self, hidden, self.in_features, "in_features")
        scores = mg.linear(hidden, self.weight)  # (..., V − 1)
        turns = -mg.softplus(np.stack([-scores, scores], axis=-1))  # (..., V − 1, 2): log σ of sign +1 and −1
        nodes, signs = self.nodes.data, self.signs.data
        log_p: Any = 0.0
        for k in range(nodes.shape[1]):
            step = turns[..., nodes[:, k], (signs[:, k] < 0).astype(np.intp)]  # (..., V)
            log_p = log_p + np.where(signs[:, k] == 0, 0.0, step)
        return log_p

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.num_words} words"
