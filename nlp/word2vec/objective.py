"""The objective of word2vec as a graph of operations: for reading, for drawing, and as a check of the fast trainer.

Mikolov, Chen, Corrado & Dean 2013, Efficient Estimation of Word Representations in Vector Space (CBOW and skip-gram);
Mikolov, Sutskever, Chen, Corrado & Dean 2013, Distributed Representations of Words and Phrases and their
Compositionality (the two losses that avoid the softmax).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
import nn

Array = Any
MODES = ("cbow", "skipgram")
LOSSES = ("negative", "hierarchical", "softmax")


class WindowLoss(nn.Module):
    """The loss of predicting a word from the words around it.

    counts  the count of each of the V words, (V,)
    dim     D, the size of the vectors
    mode    "cbow": the sum of the context's vectors predicts the word;
            "skipgram": each word of the context predicts it separately. (This is word2vec's direction: since every word
            is in the middle once, the pairs are the same as when the word predicts its context.)
    loss    "negative", "hierarchical" or "softmax"

    `embedding` (V, D) holds the vectors of words; `output` is the module with the vectors of predicted words.

    >>> import minigrad as mg
    >>> mg.manual_seed(0)
    >>> words = ["I", "go", "to", "the", "mall", "today"]
    >>> objective = WindowLoss(counts=[1, 1, 1, 1, 1, 1], dim=4, mode="cbow", loss="softmax")
    >>> loss = objective(context=[0, 1, 3, 4], word=2)      # I go _ the mall
    >>> round(loss.item(), 4)                               # log 6: nothing learned yet
    1.7918
    """

    def __init__(self, counts: Any, dim: int, mode: str = "cbow", loss: str = "negative", dtype: Any = None) -> None:
        super().__init__()
        counts = np.asarray(counts)
        self.mode = mode
        self.embedding = nn.Embedding(len(counts), dim, sparse=True, dtype=dtype)
        if loss == "negative":
            self.output: Any = nn.NegativeSamplingLoss(dim, counts, sparse=True, reduction="sum", dtype=dtype)
        elif loss == "hierarchical":
            self.output = nn.HierarchicalSoftmaxLoss(dim, counts, sparse=True, reduction="sum", dtype=dtype)
        else:
            self.output = SoftmaxLoss(dim, len(counts), dtype=dtype)

    def forward(self, context: Any, word: int, negatives: Any = None) -> mg.Tensor:
        """The loss, a scalar.

        context    (M,) ids of the words around
        word       the id of the word
        negatives  (K,) ids to distinguish it from, for the loss "negative"; drawn, if None
        """
        hidden = self.embedding(np.asarray(context))  # (M, D)
        if self.mode == "cbow":
            hidden = np.sum(hidden, axis=0, keepdims=True)  # (1, D)
        targets = np.full(hidden.shape[0], word)
        loss = self.output(hidden, targets) if negatives is None else self.output(hidden, targets, negatives)
        return loss  # type: ignore[no-any-return]


class SoftmaxLoss(nn.Module):
    """−log softmax(U h)[o], summed over hidden vectors h and words o; weight (V, D) holds the output vectors U,
    initially zero."""

    def __init__(self, in_features: int, num_words: int, dtype: Any = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(mg.zeros((num_words, in_features), dtype=dtype))
        self.cross_entropy = nn.CrossEntropyLoss(reduction="sum")

    def forward(self, hidden: Any, targets: Any) -> mg.Tensor:
        """hidden (..., D) and targets (...) to a scalar."""
        return self.cross_entropy(mg.linear(hidden, self.weight), targets)  # type: ignore[no-any-return]
