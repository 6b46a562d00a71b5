"""Seq2Seq: from a sequence to one of another length, with an encoder that reads and a decoder that writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

import nn
from nn.layers.dropout import undropped

from ..decoding.protocol import Start, Step
from .decoder import Bridge, Decoder, Memory, Writing, first_ids, state_sizes
from .layers import Cell, Claim, Layers, make_layers, states_of, tie, vectors_of
from .model import Model, ids_within, positive, real_steps

Array = Any
BRIDGES = ("tanh", "copy", "zeros")


class Encoded(NamedTuple):
    """The encoder's results for N sources.

    outputs  (S, N, K)
    states   for each layer, for each direction, the tensors (N, ·) of its last state
    lengths  (N,), or None
    """

    outputs: Any
    states: list[list[tuple[Any, ...]]]
    lengths: Array | None


class Seq2Seq(Model):
    """p(y | x) for sequences x and y (Sutskever et al. 2014, Cho et al. 2014), with attention (Bahdanau et al. 2015,
    Luong et al. 2015) or without:

        x_1 … x_S ─ embedding ─ encoder layers ─ outputs (S, N, K) ─────────── attention
                                             └── last states ─ bridge ─ decoder ─ y_1 … y_T

    source_size, target_size  V of the two vocabularies
    embedding_size            of tokens, on both sides
    hidden_size               H of each cell, on both sides
    encoder_layers            layers of the encoder; `bidirectional`: K = 2H, else K = H
    decoder_layers            cells of the decoder, one above the other
    cell                      "lstm", "gru", "rnn", or a function (input_size, hidden_size) that makes any cell
    bridge                    the decoder's initial states: "tanh", a map of the encoder's last states, both directions
                              joined; "copy", these states themselves (of one direction); "zeros". With as many layers
                              on both sides, each begins with its counterpart's state; otherwise all begin with the
                              highest layer's
    attention, attends, input_feeding, readout_size   as in `nlp.models.Decoder`
    context                   without attention: the encoder's last state is part of every step's input
    tied                      "output": the output map shares the embedding of targets; "all": that of sources, too
    dropout                   of embeddings, between layers, and before the output map
    label_smoothing           of the loss, in training only
    bos_id, eos_id            the tokens that begin and end a target

    Sources and targets are batches: a `Padded` (T, N) with lengths, or ids alone if all are T long. Targets go from bos
    to eos.

    >>> import nlp
    >>> model = nlp.Seq2Seq(20, 30, bos_id=1, eos_id=2, embedding_size=8, hidden_size=16)
    >>> source, target = nlp.pad([[4, 5, 6], [7, 8]]), nlp.pad([[1, 9, 2], [1, 9, 8, 2]])
    >>> model.loss(source, target).backward()
    >>> start = model.eval().start(source)
    >>> log_p, state, attention = model.step(start.ids, start.state, start.memory)
    >>> log_p.shape, attention.shape
    ((2, 30), (2, 3))
    """

    resized: ClassVar[Mapping[str, str]] = {"embedding": "source_size"}

    def __init__(
        self, source_size: int, target_size: int, embedding_size: int = 256, hidden_size: int = 256,
        encoder_layers: int = 1, decoder_layers: int = 1, *, bos_id: int, eos_id: int, cell: Cell = "gru",
        bidirectional: bool = True, bridge: Literal["tanh", "copy", "zeros"] = "tanh",
        attention: str | None = "additive", attends: str | None = None, input_feeding: bool = False,
        context: bool = False, readout_size: int | None = None, tied: Literal["output", "all"] | None = None,
        dropout: float = 0.0, label_smoothing: float = 0.0, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(locals())
        positive("Seq2Seq", source_size=source_size, encoder_layers=encoder_layers, decoder_layers=decoder_layers)
        positive("Seq2Seq", target_size=target_size)
        ids_within("Seq2Seq", target_size, bos_id=bos_id, eos_id=eos_id)
        if tied not in (None, "output", "all"):
            raise ValueError(f'Seq2Seq: tied must be "output", "all" or None, not {tied!r}')
        made = {"device": device, "dtype": dtype}
        self.bos_id, self.eos_id = bos_id, eos_id
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(source_size, embedding_size, **made)
        self.encoder = make_layers(
            cell, embedding_size, hidden_size, encoder_layers, dropout=dropout, bidirectional=bidirectional, **made
        )
        self.decoder = Decoder(
            target_size, embedding_size, hidden_size, decoder_layers, memory_size=hidden_size * (1 + bidirectional),
            cell=cell, attention=attention, attends=attends, input_feeding=input_feeding, context=context,
            readout_size=readout_size or (embedding_size if tied else None), tied=tied is not None, dropout=dropout,
            label_smoothing=label_smoothing, **made,
        )  # fmt: skip
        if tied == "all":
            if source_size != target_size:
                raise ValueError(
                    f'Seq2Seq: tied="all" needs one vocabulary for both sides, not {source_size} and {target_size} '
                    "tokens"
                )
            self.embedding.weight = self.decoder.embedding.weight
        if bridge == "zeros" and attention is None and not context:
            raise ValueError('Seq2Seq: with bridge="zeros" and no attention or context, the decoder knows no source')
        self.bridge = self._bridge(bridge, made)

    @classmethod
    def _claims(cls, o: Any) -> Iterator[Claim]:
        directions = 1 + bool(o.bidirectional)
        yield "embedding.weight", (o.source_size, o.embedding_size)
        yield Layers("encoder", o.cell, o.embedding_size, o.hidden_size, o.encoder_layers, directions)
        yield from Decoder.claims(
            o, o.target_size, o.decoder_layers, o.hidden_size * directions, o.context, o.attention, o.attends,
            o.input_feeding, o.readout_size or (o.embedding_size if o.tied else None),
        )  # fmt: skip

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "embedding" and "decoder" in vars(self) and self.options["tied"] == "all":
            tie("Seq2Seq", self.decoder.out, value)
            self.decoder.embedding.weight = value.weight
        super().__setattr__(name, value)

    def _bridge(self, kind: str, made: dict[str, Any]) -> Bridge | None:
        if kind not in BRIDGES:
            raise ValueError(f"Seq2Seq: bridge is one of {', '.join(BRIDGES)}, not {kind!r}")
        self.copies = kind == "copy"
        sizes = state_sizes(self.decoder.cells)
        read = states_of(self.encoder, undropped(self.encoder).initial_state(1))
        if kind == "copy" and (
            len(read[0]) > 1 or [len(s) for s in sizes] != [len(s) for (s,) in self._opposite(read)]
        ):
            raise ValueError(
                'Seq2Seq: bridge="copy" needs an encoder of one direction (bidirectional=False) whose cells have the '
                "decoder's states"
            )
        if kind != "tanh":
            return None
        widths = [tuple(sum(s.shape[-1] for s in parts) for parts in zip(*layer, strict=True))
                  for layer in self._opposite(read)]  # fmt: skip
        return Bridge(sizes, widths, **made)

    def _opposite(self, states: list[Any]) -> list[Any]:
        """For each of the decoder's layers, the encoder's layer that it begins from."""
        n = len(self.decoder.cells)
        return states if len(states) == n else states[-1:] * n

    # ---- reading -------------------------------------------------------------------------------------------------

    def encode(self, source: Any) -> Encoded:
        """Encode sources (S, N)."""
        ids, lengths = self.batch_of(source, "source ids")
        outputs, state = self.encoder(vectors_of(self.embedding, ids, self.dropout), lengths=lengths)
        return Encoded(outputs, states_of(self.encoder, state), lengths)

    def prepare(self, encoded: Encoded) -> tuple[Writing, Memory]:
        """The decoder's state before its first step, and its memory."""
        outputs, states, lengths = encoded
        read = [[_side_by_side(parts) for parts in zip(*layer, strict=True)] for layer in self._opposite(states)]
        if self.bridge is not None:
            first = self.bridge(read)
        elif self.copies:
            first = tuple(tuple(layer) for layer in read)
        else:
            first = tuple(cell.initial_state(outputs.shape[1]) for cell in self.decoder.cells)
        decoder, attended = self.decoder, None
        if decoder.attention is not None:
            real = real_steps(lengths, outputs.shape[0], outputs)  # (S, N)
            attended = decoder.attention.prepare(np.swapaxes(outputs, 0, 1), mask=None if real is None else real.T)
        last = _side_by_side(tuple(s[0] for s in states[-1])) if decoder.context else None
        return decoder.begin(first), Memory(attended, last)

    # ---- writing -------------------------------------------------------------------------------------------------

    def loss(self, source: Any, target: Any, *, teacher_forcing: float = 1.0) -> Any:
        """Mean of −log p(y_t | y_<t, x), in nats a token.

        teacher_forcing  the probability that a step gets the true token before it rather than the likeliest one
        """
        ids, lengths = self.batch_of(target, "target ids", least=2)
        return self.decoder.loss(ids, lengths, *self.prepare(self.encode(source)), teacher_forcing)

    def forward(self, source: Any, target: Any) -> tuple[Any, Any]:
        """Logits (T − 1, N, V) of the token after each target token but the last, and the attention weights (T − 1, N,
        S), or None."""
        ids, _ = self.batch_of(target, "target ids", least=2)
        r, weights = self.decoder.run(ids[:-1], *self.prepare(self.encode(source)))
        return self.decoder.out(r), weights

    def start(self, source: Any) -> Start:
        """The start of decoding, for sources (S, N)."""
        state, memory = self.prepare(self.encode(source))
        return Start(first_ids(self.bos_id, state), state, memory)

    def step(self, ids: Any, state: Any, memory: Any = None) -> Step:
        """The distribution after the ids (R,), and the next state."""
        return self.decoder.step(ids, state, memory)


def _side_by_side(parts: tuple[Any, ...]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
