"""The captioner: from one vector to a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import minigrad as mg
from minigrad.scopes import here

from ..decoding.protocol import Start, Step
from .decoder import Bridge, Decoder, Memory, first_ids, state_sizes
from .layers import Cell, Claim
from .model import Model, ids_within, positive

Array = Any


class Captioner(Model):
    """p(y | v) for a vector v, such as the features of a picture (Vinyals et al. 2015):

        v ─ bridge ─ first state of a decoder ─ y_1 … y_T

    feature_size         F of the vector
    vocab_size           V
    embedding_size       of the tokens
    hidden_size          H of each cell
    num_layers           cells, one above the other
    cell                 "lstm", "gru", "rnn", or a function (input_size, hidden_size) that makes any cell
    every_step           the vector is a part of every step's input, too
    tied                 the output map shares the embedding's weight
    dropout              of embeddings, between cells, and before the output map
    bos_id, eos_id       the tokens that begin and end a sequence

    >>> import numpy as np, nlp
    >>> model = nlp.Captioner(10, 30, bos_id=1, eos_id=2, hidden_size=16, embedding_size=16)
    >>> v = np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)
    >>> captions = nlp.pad([[1, 5, 6, 2], [1, 7, 2], [1, 8, 2], [1, 5, 2]])     # with bos and eos
    >>> loss = model.loss(v, captions)
    >>> start = model.start(v)
    >>> model.step(start.ids, start.state, start.memory).log_p.shape
    (4, 30)
    """

    def __init__(
        self, feature_size: int, vocab_size: int, embedding_size: int = 128, hidden_size: int = 128,
        num_layers: int = 1, *, bos_id: int, eos_id: int, cell: Cell = "lstm", every_step: bool = False,
        tied: bool = False, dropout: float = 0.0, label_smoothing: float = 0.0, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(locals())
        positive("Captioner", feature_size=feature_size, vocab_size=vocab_size)
        ids_within("Captioner", vocab_size, bos_id=bos_id, eos_id=eos_id)
        made = {"device": device, "dtype": dtype}
        self.feature_size, self.bos_id, self.eos_id = feature_size, bos_id, eos_id
        self.decoder = Decoder(
            vocab_size, embedding_size, hidden_size, num_layers, memory_size=feature_size, cell=cell,
            context=every_step, readout_size=embedding_size if tied else None, tied=tied, dropout=dropout,
            label_smoothing=label_smoothing, **made,
        )  # fmt: skip
        sizes = state_sizes(self.decoder.cells)
        self.bridge = Bridge(sizes, [(feature_size,) * len(one) for one in sizes], **made)

    @classmethod
    def _claims(cls, o: Any) -> Iterator[Claim]:
        yield "bridge.maps.0.0.weight", (None, o.feature_size)
        yield from Decoder.claims(
            o, o.vocab_size, o.num_layers, o.feature_size, o.every_step,
            readout_size=o.embedding_size if o.tied else None,
        )  # fmt: skip

    def _begin(self, features: Any) -> tuple[Any, Memory]:
        """The decoder's state and memory before the first step."""
        v = features if isinstance(features, mg.Tensor) else mg.tensor(features)
        if v.ndim != 2 or v.shape[1] != self.feature_size:
            raise ValueError(f"Captioner: features must be (N, {self.feature_size}), not {v.shape}{here()}")
        states = self.bridge([[v] * len(maps) for maps in self.bridge.maps])
        return self.decoder.begin(states), Memory(None, v if self.decoder.context else None)

    def loss(self, features: Any, target: Any, *, teacher_forcing: float = 1.0) -> Any:
        """Mean of −log p(y_t | y_<t, v), in nats a token.

        features         (N, F)
        target           a `Padded` (T, N) of ids, each sequence from bos to eos; or ids alone, if all are T long
        teacher_forcing  the probability that a step gets the true token before it rather than the likeliest one
        """
        ids, lengths = self.batch_of(target, least=2)
        return self.decoder.loss(ids, lengths, *self._begin(features), teacher_forcing)

    def start(self, features: Any) -> Start:
        """The start of decoding, for features (N, F)."""
        state, memory = self._begin(features)
        return Start(first_ids(self.bos_id, state), state, memory)

    def step(self, ids: Any, state: Any, memory: Any = None) -> Step:
        """The distribution after the ids (R,), and the next state."""
        return self.decoder.step(ids, state, memory)
