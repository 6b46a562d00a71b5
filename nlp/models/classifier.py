"""The classifier: from a sequence to one of several classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

import minigrad as mg
import nn
from minigrad import backend
from nn.losses.elementwise import array_beside
from nn.sequences.mappings import last_state

from ..decoding.protocol import evaluating
from .layers import Cell, Claim, Layers, make_layers, vectors_of
from .model import Model, positive, real_steps

Array = Any
POOLINGS = ("last", "max", "mean")


class SequenceClassifier(Model):
    """p(class | w_1 … w_T), such as the sentiment of a sentence:

        words ─ embedding ─ layers ─ pooling over the steps ─ MLP ─ logits of the classes

    vocab_size      V
    num_classes     C
    embedding_size  of the words. For pretrained vectors, set `model.embedding` to `nn.Embedding.from_pretrained(...)`
    hidden_size     H of each layer and direction
    num_layers      layers, one above the other
    cell            "lstm", "gru", "rnn", or a function (input_size, hidden_size) that makes any cell
    bidirectional   read in both directions
    pooling         "last": the last state of each direction; "max", "mean": over the outputs of all steps
    mlp             widths of hidden layers (ReLU) between the pooling and the classes
    dropout         of embeddings, between layers, and before each map of the MLP

    Words are a batch: a `Padded` (T, N) with lengths, or ids alone if all sequences are T long. An empty sequence is
    pooled to zeros.

    >>> import nlp
    >>> model = nlp.SequenceClassifier(20, 2, embedding_size=8, hidden_size=8, mlp=[8])
    >>> words = nlp.pad([[4, 5, 6], [7, 8]])
    >>> model(words).shape
    (2, 2)
    >>> model.loss(words, [1, 0]).backward()
    >>> classes, probabilities = model.eval().predict(words)
    """

    resized: ClassVar[Mapping[str, str]] = {"embedding": "vocab_size"}

    def __init__(
        self, vocab_size: int, num_classes: int, embedding_size: int = 100, hidden_size: int = 100,
        num_layers: int = 1, *, cell: Cell = "lstm", bidirectional: bool = True,
        pooling: Literal["last", "max", "mean"] = "last", mlp: Sequence[int] = (), dropout: float = 0.0,
        device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__({**locals(), "mlp": list(mlp)})
        positive("SequenceClassifier", vocab_size=vocab_size, num_classes=num_classes, num_layers=num_layers,
                 **{f"mlp[{k}]": width for k, width in enumerate(mlp)})  # fmt: skip
        if pooling not in POOLINGS:
            raise ValueError(f"SequenceClassifier: pooling is one of {', '.join(POOLINGS)}, not {pooling!r}")
        made = {"device": device, "dtype": dtype}
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(vocab_size, embedding_size, **made)
        self.layers = make_layers(
            cell, embedding_size, hidden_size, num_layers, dropout=dropout, bidirectional=bidirectional, **made
        )
        widths = [hidden_size * (1 + bidirectional), *mlp, num_classes]
        maps: list[nn.Module] = []
        for k in range(len(widths) - 1):
            maps += [nn.ReLU()] if k else []
            maps += [nn.Dropout(dropout), nn.Linear(widths[k], widths[k + 1], **made)]
        self.mlp = nn.Sequential(*maps)
        self.criterion = nn.CrossEntropyLoss()

    @classmethod
    def _claims(cls, o: Any) -> Iterator[Claim]:
        yield "embedding.weight", (o.vocab_size, o.embedding_size)
        directions = 1 + bool(o.bidirectional)
        yield Layers("layers", o.cell, o.embedding_size, o.hidden_size, o.num_layers, directions)
        widths = [o.hidden_size * directions, *o.mlp, o.num_classes]
        for k in range(len(widths) - 1):
            yield f"mlp.{3 * k + 1}.weight", (widths[k + 1], widths[k])

    def encode(self, words: Any) -> Any:
        """One vector for each sequence, (N, K)."""
        ids, lengths = self.batch_of(words, "words")
        outputs, state = self.layers(vectors_of(self.embedding, ids, self.dropout), lengths=lengths)
        if self.pooling == "last":
            return last_state(self.layers, state)
        real = real_steps(lengths, ids.shape[0], outputs)  # (T, N)
        if self.pooling == "mean":  # padded steps are zeros
            count = ids.shape[0] if real is None else np.sum(real, axis=0)[:, None].astype(outputs.dtype)
            return np.sum(outputs, axis=0) / np.maximum(count, 1)
        if not ids.shape[0]:
            return np.sum(outputs, axis=0)
        if real is None:
            return np.max(outputs, axis=0)
        lowest = float(np.finfo(outputs.dtype).min)
        highest = np.max(np.where(np.expand_dims(real, -1), outputs, lowest), axis=0)
        return np.where(
            real[:1].T, highest, 0.0
        )  # zeros for a sequence without steps, as with the last state and the mean

    def forward(self, words: Any) -> Any:
        """Logits (N, C)."""
        return self.mlp(self.encode(words))

    def loss(self, words: Any, labels: Any) -> Any:
        """Mean of −log p(label), for labels (N,). Raises IndexError for a label outside the C classes."""
        logits = self(words)
        return self.criterion(logits, backend.transfer(array_beside(labels, logits), logits.device))

    def predict(self, words: Any) -> tuple[Array, Array]:
        """The likeliest class of each sequence, (N,), and the probabilities of all, (N, C), without recording or
        dropout."""
        with evaluating(self):
            p = backend.to_numpy(mg.softmax(self(words)).data)
        return np.argmax(p, axis=-1), p
