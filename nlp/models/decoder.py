"""The decoder: a recurrent network that writes a sequence token by token, and may attend to a memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
import nn
from nn.cells.cell import inputs_of
from nn.layers.attention import Prepared
from nn.sequences import reasons

from ..decoding.protocol import Step
from .layers import Cell, Claim, Layers, make_cell, tie
from .model import positive, real_steps

Array = Any
ATTENTIONS = ("additive", "dot", "general", "concat")


class Memory(NamedTuple):
    """The sources of a decoder, available at every step, for N sources.

    attended  the result of `attention.prepare`, or None
    context   (N, K) a vector that is part of every step's input, or None
    """

    attended: Prepared | None
    context: Any = None


class Writing(NamedTuple):
    """The state that a decoder carries from step to step, for R rows.

    cells  the state of each cell, from the lowest to the highest: tuples of (R, ·)
    fed    (R, F) the input of the output map at the step before, with input feeding; else None
    """

    cells: tuple[tuple[Any, ...], ...]
    fed: Any = None


class Decoder(nn.Module):
    """p(y_t | y_<t, memory) by a stack of cells. With y the embedding of the previous token, s the highest cell's
    state, c the attention context, and [·] for concatenation, a step is

        attends="before"  c_t = attend(s_t−1)    s_t = cells([y; c_t])    r_t = [s_t; c_t; y]    (Bahdanau et al. 2015)
        attends="after"   s_t = cells([y; r_t−1])    c_t = attend(s_t)    r_t = [s_t; c_t]       (Luong et al. 2015)
        context=True      s_t = cells([y; context])    r_t = [s_t; context; y]                   (Cho et al. 2014)
        none of these     s_t = cells(y)    r_t = s_t                                            (Sutskever et al. 2014)

    followed by logits = out(r_t), or out(tanh(W r_t)) with a `readout_size`. r_t−1 is an input only with input feeding.

    vocab_size          V
    memory_size         K, the width of attended vectors, or of the context
    attention           "additive", "dot", "general", "concat", or None
    attends             "before" or "after" the cells; the default is Bahdanau's "before" for additive attention, and
                        Luong's "after" for the others
    input_feeding       r_t−1 is part of the input (with attends="after")
    context             without attention: a vector of the memory's width is part of every step's input
    readout_size        width of tanh(W r_t); None: no such map
    tied                the output map shares the embedding's weight; needs readout_size = embedding_size
    """

    def __init__(
        self, vocab_size: int, embedding_size: int, hidden_size: int, num_layers: int = 1, *, memory_size: int,
        cell: Cell = "gru", attention: str | None = None, attends: str | None = None, input_feeding: bool = False,
        context: bool = False, readout_size: int | None = None, tied: bool = False, dropout: float = 0.0,
        label_smoothing: float = 0.0, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        positive("Decoder", vocab_size=vocab_size, embedding_size=embedding_size, hidden_size=hidden_size,
                 num_layers=num_layers, memory_size=memory_size)  # fmt: skip
        made = {"device": device, "dtype": dtype}
        self.attends = _order(attention, attends, input_feeding, context)
        before = self.attends == "before"
        self.context = context
        wide = memory_size if attention is not None or context else 0  # the part of r_t other than s_t
        self.deep = before or context  # True if the output map also sees the previous token
        combined = hidden_size + wide + (embedding_size if self.deep else 0)
        self.fed_size = (readout_size or combined) if input_feeding else 0
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(vocab_size, embedding_size, **made)
        self.attention = _attention(attention, hidden_size, memory_size, made)
        inputs = embedding_size + self.fed_size + (memory_size if before or context else 0)
        self.cells = nn.ModuleList(
            [make_cell(cell, hidden_size if k else inputs, hidden_size, **made) for k in range(num_layers)]
        )
        self.readout = nn.Linear(combined, readout_size, **made) if readout_size else None
        self.out = nn.Linear(readout_size or combined, vocab_size, **made)
        if tied:
            if (readout_size or combined) != embedding_size:
                raise ValueError(
                    f"Decoder: the input of a tied output map has the embedding's width, {embedding_size}; give "
                    f"readout_size={embedding_size}, not {readout_size}"
                )
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)  # N(0, 1) would be too large for an output map
            self.out.weight = self.embedding.weight
        self.tied = tied
        self.smoothed = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.criterion = nn.CrossEntropyLoss()

    @staticmethod
    def claims(
        o: Any, vocab_size: int, num_layers: int, memory_size: int, context: bool, attention: str | None = None,
        attends: str | None = None, input_feeding: bool = False, readout_size: int | None = None,
    ) -> Iterator[Claim]:  # fmt: skip
        """The shapes of a decoder's tensors in a file whose arguments are `o` and these; see `Model._claims`."""
        E, H = o.embedding_size, o.hidden_size
        before = _order(attention, attends, input_feeding, context) == "before"
        wide = memory_size if attention is not None or context else 0
        combined = H + wide + (E if before or context else 0)
        fed = (readout_size or combined) if input_feeding else 0
        yield "decoder.embedding.weight", (vocab_size, E)
        yield "decoder.out.weight", (vocab_size, readout_size or combined)
        if readout_size:
            yield "decoder.readout.weight", (readout_size, combined)
        inputs = E + fed + (memory_size if before or context else 0)
        yield Layers("decoder.cells", o.cell, inputs, H, num_layers)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "embedding" and vars(self).get("tied"):
            tie("Decoder", self.out, value)
        super().__setattr__(name, value)

    # ---- one step ------------------------------------------------------------------------------------------------

    def begin(self, states: Any) -> Writing:
        """The state before the first step, from the states of the cells."""
        like = states[0][0]
        fed = np.zeros_like(like.data, shape=(like.shape[0], self.fed_size)) if self.fed_size else None
        return Writing(tuple(states), None if fed is None else mg.Tensor(fed))

    def advance(self, y: Any, state: Writing, memory: Memory) -> tuple[Any, Writing, Any]:
        """One step from the embedding y (R, E) of the previous token: the input of the output map (R, ·), the next
        state, and the attention weights (R, S), or None."""
        c, weights = self.look(state.cells[-1][0], memory) if self.attends == "before" else (None, None)
        if self.context:
            c = repeated(memory.context, y.shape[0])
        s = _joined(y, c, state.fed)  # (R, ·)
        states = []
        for k, (cell, before) in enumerate(zip(self.cells, state.cells, strict=True)):
            with mg.scope(f"cells[{k}]"):
                s = self.dropout(s) if k else s
                after = cell.step(inputs_of(cell, s), before)[: len(before)]
                s = cell.output(after[0]) if hasattr(cell, "output") else after[0]
            states.append(tuple(after))
        if self.attends == "after":
            c, weights = self.look(s, memory)
        r = self._read(s, c, y)
        return r, Writing(tuple(states), r if self.fed_size else None), weights

    def look(self, query: Any, memory: Memory) -> tuple[Any, Any]:
        """The context (R, K) that the queries (R, H) get from the memory of their sources, and the weights (R, S)."""
        keys = memory.attended
        assert self.attention is not None
        assert keys is not None
        R, N = query.shape[0], keys.values.shape[0]
        if R == N:
            return self.attention(query, prepared=keys)  # type: ignore[no-any-return]
        c, weights = self.attention(query.reshape((N, R // N, query.shape[1])), prepared=keys)  # (N, B, ·)
        return c.reshape((R, c.shape[-1])), weights.reshape((R, weights.shape[-1]))

    def step(self, ids: Any, state: Writing, memory: Memory) -> Step:
        """The distribution after the ids (R,), and the next state; see `nlp.Step`."""
        r, state, weights = self.advance(self.dropout(self.embedding(ids)), state, memory)
        return Step(mg.log_softmax(self.out(r)), state, weights)

    # ---- all steps -----------------------------------------------------------------------------------------------

    def run(
        self, ids: Array, state: Writing, memory: Memory, teacher_forcing: float = 1.0
    ) -> tuple[Any, Any]:  # fmt: skip
        """The input of the output map after each of the ids (T, N): (T, N, ·), and the attention weights (T, N, S) or
        None.

        teacher_forcing  the probability that a step gets the given id rather than the likeliest one of the step before
                         (scheduled sampling, Bengio et al. 2015); drawn for each step and sequence
        """
        if not 0 <= teacher_forcing <= 1:
            raise ValueError(f"Decoder: teacher_forcing is a probability, not {teacher_forcing!r}")
        forced = teacher_forcing == 1
        given = self.dropout(self.embedding(ids)) if forced else ids
        reason = self._needs_the_step_before(forced)
        reasons.note(self, reason)
        if reason is None:
            return self._over_time(given, state, memory)
        seen: list[Any] = []
        looked: list[Any] = []
        for t, y in mg.steps(given):
            if not forced:
                y = self.dropout(self.embedding(self._chosen(y, seen[-1], teacher_forcing) if t else y))
            r, state, weights = self.advance(y, state, memory)
            seen.append(r)
            looked.append(weights)
        return np.stack(seen), None if looked[0] is None else np.stack(looked)

    def _needs_the_step_before(self, forced: bool) -> str | None:
        """The reason why the loop runs step by step, if there is one."""
        if not forced:
            return "below a teacher_forcing of 1, a step may read the id that the step before chose"
        if self.attends == "before":
            return 'with attends="before", a step attends to the memory from the state of the step before'
        return "with input_feeding, a step reads the readout of the step before" if self.fed_size else None

    @property
    def rolled(self) -> bool | str:
        """True if the loops over the cells ran as programs in the last call of `run`; otherwise the reason."""
        return reasons.rolled(self)

    def _over_time(self, ys: Any, state: Writing, memory: Memory) -> tuple[Any, Any]:
        """The same for embeddings (T, N, E), if no step needs the attention of the step before: the layers over time,
        whose loops may be rolled, and then attention."""
        T, N, _ = ys.shape
        c = np.broadcast_to(memory.context, (T, N, memory.context.shape[1])) if self.context else None
        s = _joined(ys, c)  # (T, N, ·)
        for k, (cell, before) in enumerate(zip(self.cells, state.cells, strict=True)):
            with mg.scope(f"cells[{k}]"):
                layer = nn.Recurrent(cell)
                s, _ = layer.forward(self.dropout(s) if k else s, before)
                reasons.adopt(self, layer)
        weights = None
        if self.attends == "after":
            c, weights = self._look_from_all(s, memory)
        return self._read(s, c, ys), weights

    def _look_from_all(self, queries: Any, memory: Memory) -> tuple[Any, Any]:
        """Attention of the queries of all steps (T, N, H): contexts (T, N, K) and weights (T, N, S)."""
        if isinstance(self.attention, nn.DotAttention | nn.GeneralAttention):
            c, weights = self.attention(np.swapaxes(queries, 0, 1), prepared=memory.attended)  # (N, T, ·)
            return np.swapaxes(c, 0, 1), np.swapaxes(weights, 0, 1)
        # the others need H numbers for each pair of query and key: for all steps at once, T times the memory
        found = [self.look(query, memory) for _, query in mg.steps(queries)]
        c, weights = (np.stack(parts) for parts in zip(*found, strict=True))
        return c, weights

    def _read(self, s: Any, c: Any, y: Any) -> Any:
        """The input (…, ·) of the output map from the highest cell's output, the context and the embedding."""
        r = _joined(s, c, y if self.deep else None)
        if self.readout is not None:
            r = np.tanh(self.readout(r))
        return self.dropout(r)

    def _chosen(self, given: Array, seen: Any, teacher_forcing: float) -> Array:
        """The given ids (N,), or in their place the likeliest ones by the output map."""
        with mg.no_grad():
            own = np.argmax(self.out(seen.detach()), axis=-1)  # (N,)
            kept = mg.rand(given.shape[0], device=seen.device).data < teacher_forcing
        return np.where(kept, given, own)

    def loss(self, ids: Array, lengths: Any, state: Writing, memory: Memory, teacher_forcing: float = 1.0) -> Any:
        """Mean of −log p over all tokens but the first of each sequence (T, N); smoothed in training only."""
        r, _ = self.run(ids[:-1], state, memory, teacher_forcing)
        criterion = self.smoothed if self.training else self.criterion
        real = real_steps(lengths, ids.shape[0], r)
        return criterion.of_linear(self.out, r, ids[1:], None if real is None else real[1:])


class Bridge(nn.Module):
    """The initial states of a decoder's cells, from vectors: each is tanh(W v + b) (Bahdanau et al. 2015, A.2.2).

    sizes   the widths of each cell's state tensors
    inputs  the widths of the vectors that they are made from
    """

    def __init__(self, sizes: list[tuple[int, ...]], inputs: list[tuple[int, ...]], **made: Any) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            [nn.ModuleList([nn.Linear(i, o, **made) for i, o in zip(a, b, strict=True)])
             for a, b in zip(inputs, sizes, strict=True)]
        )  # fmt: skip

    def forward(self, vectors: Any) -> Any:
        """A tuple of states for each cell, from a tuple of vectors (N, ·) for each."""
        return tuple(
            tuple(np.tanh(one(v)) for one, v in zip(maps, given, strict=True))
            for maps, given in zip(self.maps, vectors, strict=True)
        )


def state_sizes(cells: Any) -> list[tuple[int, ...]]:
    """The widths of each cell's state tensors."""
    return [tuple(s.shape[-1] for s in cell.initial_state(1)) for cell in cells]


def first_ids(bos_id: int, state: Writing) -> Array:
    """(N,) the token that begins each sequence."""
    like = state.cells[0][0].data
    return np.full_like(like, bos_id, shape=like.shape[:1], dtype=np.int64)


def repeated(v: Any, rows: int) -> Any:
    """(N, K) as (R, K): each row R/N times."""
    N, K = v.shape
    return v if rows == N else np.broadcast_to(v[:, None], (N, rows // N, K)).reshape((rows, K))


def _joined(*parts: Any) -> Any:
    """The parts that are not None, joined along the last axis."""
    found = [part for part in parts if part is not None]
    return found[0] if len(found) == 1 else np.concatenate(found, axis=-1)


def _order(attention: str | None, attends: str | None, input_feeding: bool, context: bool) -> str | None:
    """The time of attention, "before" or "after"; ValueError for inconsistent options."""
    if attention is None:
        if attends is not None or input_feeding:
            raise ValueError("Decoder: attends and input_feeding are about attention, and there is none")
        return None
    if attention not in ATTENTIONS:
        raise ValueError(f"Decoder: attention is one of {', '.join(ATTENTIONS)}, or None, not {attention!r}")
    if attends not in (None, "before", "after"):
        raise ValueError(f'Decoder: attends must be "before" or "after", not {attends!r}')
    attends = attends or ("before" if attention == "additive" else "after")
    if attends == "before" and input_feeding:
        raise ValueError('Decoder: input feeding is for attends="after"; before, the context is an input already')
    if context:
        raise ValueError("Decoder: the context of every step is for a decoder without attention")
    return attends


def _attention(kind: str | None, query: int, key: int, made: dict[str, Any]) -> nn.Attention | None:
    """The attention of that name; ValueError if widths do not fit."""
    if kind is None:
        return None
    if kind == "dot":
        if query != key:
            raise ValueError(
                f'Decoder: attention="dot" needs a hidden_size as wide as the memory, {key}, not {query}; "general" '
                "has a map between them"
            )
        return nn.DotAttention()
    if kind == "general":
        return nn.GeneralAttention(query, key, **made)
    return {"additive": nn.AdditiveAttention, "concat": nn.ConcatAttention}[kind](query, key, query, **made)
