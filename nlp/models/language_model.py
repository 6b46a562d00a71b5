"""The language model: the probability of a text, token by token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import minigrad as mg
import nn
from minigrad import backend
from nn.layers.dropout import undropped
from nn.losses.elementwise import array_beside

from ..decoding.protocol import Start, Step
from .layers import Cell, Claim, Layers, make_layers, rows_first, tie, vectors_of
from .model import Model, ids_within, positive, real_steps

Array = Any


class LanguageModel(Model):
    """p(w_1 … w_T) = Π_t p(w_t | w_1 … w_t−1), with the past in the state of a recurrent network (Mikolov et al. 2010):

        ids ─ embedding ─ dropout ─ layers ─ dropout ─ (project) ─ out ─ logits

    vocab_size          V
    embedding_size      E of the embedding
    hidden_size         H of each layer
    num_layers          layers, one above the other
    cell                "lstm", "gru", "rnn", or a function (input_size, hidden_size) that makes any cell
    tied                the output map shares the embedding's weight (Press & Wolf 2017), including an embedding set
                        later. If H ≠ E, a linear map `project` goes from H to E
    dropout             before, between and after the layers (Zaremba et al. 2014)
    variational         these masks are the same for all steps of a call (Gal & Ghahramani 2016)
    embedding_dropout   probability to drop a word of the vocabulary everywhere in a batch (Gal & Ghahramani 2016)
    recurrent_dropout   of the recurrent input, one mask for all steps (Gal & Ghahramani 2016)
    weight_drop         of the recurrent weights (Merity et al. 2018)
    eos_id              the token that ends a generated text; None: there is none

    >>> import numpy as np, minigrad as mg, nn, nlp
    >>> model = nlp.LanguageModel(50, 16, 16, num_layers=2, tied=True)
    >>> ids = np.arange(24).reshape(6, 4)                            # (T, N)
    >>> logits, state = model(ids)
    >>> logits.shape
    (6, 4, 50)
    >>> loss, state = model.loss(ids, (ids + 1) % 50, nn.detach(state))
    """

    def __init__(
        self, vocab_size: int, embedding_size: int = 200, hidden_size: int = 200, num_layers: int = 1, *,
        cell: Cell = "lstm", tied: bool = False, dropout: float = 0.0, variational: bool = False,
        embedding_dropout: float = 0.0, recurrent_dropout: float = 0.0, weight_drop: float = 0.0,
        eos_id: int | None = None, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(locals())
        positive("LanguageModel", vocab_size=vocab_size, embedding_size=embedding_size, hidden_size=hidden_size,
                 num_layers=num_layers)  # fmt: skip
        ids_within("LanguageModel", vocab_size, eos_id=eos_id)
        made = {"device": device, "dtype": dtype}
        self.eos_id = eos_id
        self.embedding = nn.Embedding(vocab_size, embedding_size, **made)
        self.words = nn.Dropout(embedding_dropout)
        self.dropout = nn.VariationalDropout(dropout) if variational else nn.Dropout(dropout)
        self.layers = make_layers(
            cell, embedding_size, hidden_size, num_layers, dropout=dropout, variational=variational,
            recurrent_dropout=recurrent_dropout, weight_drop=weight_drop, **made,
        )  # fmt: skip
        projected = tied and hidden_size != embedding_size
        self.project = nn.Linear(hidden_size, embedding_size, **made) if projected else None
        self.out = nn.Linear(embedding_size if tied else hidden_size, vocab_size, **made)
        if tied:
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)  # N(0, 1) would be too large for an output map
            self.out.weight = self.embedding.weight
        self.criterion = nn.CrossEntropyLoss()

    @classmethod
    def _claims(cls, o: Any) -> Iterator[Claim]:
        yield "embedding.weight", (o.vocab_size, o.embedding_size)
        yield "out.weight", (o.vocab_size, o.embedding_size if o.tied else o.hidden_size)
        if o.tied and o.hidden_size != o.embedding_size:
            yield "project.weight", (o.embedding_size, o.hidden_size)
        yield Layers("layers", o.cell, o.embedding_size, o.hidden_size, o.num_layers)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "embedding" and "out" in vars(self) and self.options["tied"]:
            tie("LanguageModel", self.out, value)
        super().__setattr__(name, value)

    # ---- over all steps ------------------------------------------------------------------------------------------

    def encode(self, ids: Any, state: Any = None) -> tuple[Any, Any]:
        """The input of the output map after each of the ids (T, N): (T, N, ·), and the next state.

        state  from an earlier call, or None at the beginning. `nn.TBPTT(k1)(model.encode, ids, batch_axis=1)` carries
               it through a stream of windows
        """
        ids = self.checked(ids, self.embedding.weight)
        if self.training and self.words.p:
            words = self.dropout(self.embedding(ids) * np.expand_dims(self._kept_words()[ids], -1))  # (T, N, E)
        else:
            words = vectors_of(self.embedding, ids, self.dropout)
        h, state = self.layers(words, state)
        h = self.dropout(h)
        return (h if self.project is None else self.project(h)), state

    def _kept_words(self) -> Any:
        """(V,) 0 for words of the vocabulary that are dropped from a batch, else 1 / (1 − p)."""
        weight = self.embedding.weight
        return self.words(mg.ones(weight.shape[0], dtype=weight.dtype, device=weight.device))

    def forward(self, ids: Any, state: Any = None) -> tuple[Any, Any]:
        """Logits (T, N, V) of the token after each of the ids (T, N), and the next state."""
        h, state = self.encode(ids, state)
        return self.out(h), state

    def loss(self, ids: Any, targets: Any, state: Any = None, *, mask: Any = None) -> tuple[Any, Any]:
        """Mean of −log p(target), in nats a token, and the next state. exp(loss) is the perplexity.

        ids, targets  (T, N); a target of −100 does not count
        mask          (T, N) booleans: False does not count
        """
        h, state = self.encode(ids, state)
        return self.loss_of(h, targets, mask), state

    def loss_of(self, h: Any, targets: Any, mask: Any = None) -> Any:
        """The loss from a result of `encode`; the softmax over V is one operation over all steps."""
        targets = backend.transfer(array_beside(targets, h), h.device)
        mask = None if mask is None else backend.transfer(array_beside(mask, h), h.device)
        return self.criterion.of_linear(self.out, h, targets, mask)

    def log_probability(self, words: Any) -> Any:
        """log p(w_2 … w_T | w_1) of each sequence, (N,); 0 for one of fewer than two tokens.

        words  a `Padded` (T, N), or ids alone if all sequences are T long
        """
        ids, lengths = self.batch_of(words)
        h, _ = self.encode(ids[:-1])
        real = real_steps(lengths, ids.shape[0], h)
        criterion = nn.CrossEntropyLoss(reduction="none")
        return -np.sum(criterion.of_linear(self.out, h, ids[1:], None if real is None else real[1:]), axis=0)

    # ---- one step ------------------------------------------------------------------------------------------------

    def start(self, prompts: Any) -> Start:
        """The start of decoding, after prompts of one token or more.

        prompts  a `Padded` (T, N), or ids (T, N) that are all T long; or N first tokens, ids (N,)
        """
        if not isinstance(prompts, tuple):
            prompts = self.checked(prompts, self.embedding.weight, "prompts", ndim=None)
            prompts = prompts[None] if prompts.ndim == 1 else prompts  # (1, N)
        ids, lengths = self.batch_of(prompts, "prompts", least=1)
        T, N = ids.shape
        state = undropped(self.layers).initial_state(N)
        real = real_steps(lengths, T, self.embedding.weight)
        if T > 1:
            words = vectors_of(self.embedding, ids[:-1], self.dropout)
            _, state = self.layers(words, state, mask=None if real is None else real[1:])
        last = ids[-1] if lengths is None else np.stack([ids[n - 1, k] for k, n in enumerate(lengths.tolist())])
        return Start(last, rows_first(self.layers, state))

    def step(self, ids: Any, state: Any, memory: Any = None) -> Step:
        """The distribution after the ids (R,), and the next state."""
        h, after = self.encode(ids[None], rows_first(self.layers, state))
        return Step(mg.log_softmax(self.out(h[0])), rows_first(self.layers, after))
