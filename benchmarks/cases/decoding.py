"""Decoding: a beam search, and the likeliest token at each step, for 64 sources at once.

The model is a GRU cell with dot attention to S positions and an output map to V words; both sides have the same
weights. The peer is the usual code in PyTorch, without gradients: `topk` over the B·V continuations of each source,
with states and sequences selected by rows. It runs until the last source is done.

"to the end": no sequence ends by itself. "ends": some do, from the first steps on.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from ..compare import Call, Case, as_array
from ..peers import normals
from ..place import DEVICE, ours, theirs

Array = Any
N, B, H, V, S = 64, 5, 256, 10_000, 20
STEPS = 16
BOS, EOS = 1, 0


@cache
def weights(ends: bool) -> dict[str, Array]:
    """Scaled so that some words are much likelier than others; the end is one of these, or never occurs."""
    embedding, ih, hh, out, memory, state = normals((V, H), (3 * H, H), (3 * H, H), (V, 2 * H), (N, S, H), (N, H))
    bias = np.zeros(V, np.float32)
    bias[EOS] = 10 if ends else -1e4
    zeros = np.zeros(3 * H, np.float32)
    return {
        "embedding.weight": 10 * embedding, "cell.weight_ih": ih, "cell.weight_hh": hh, "cell.bias_ih": zeros,
        "cell.bias_hh": zeros, "out.weight": 3 * out, "out.bias": bias, "memory": 10 * memory, "state": state,
    }  # fmt: skip


# ---- minigrad ----------------------------------------------------------------------------------------------------


def here(beam: int | None, ends: bool) -> Call:
    import minigrad as mg
    import nlp
    import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(V, H)
            self.cell = nn.GRUCell(H, H)
            self.attention = nn.DotAttention()
            self.out = nn.Linear(2 * H, V)
            self.eos_id = EOS

        def step(self, ids: Array, h: Any, memory: Any) -> nlp.Step:
            h = self.cell(self.embedding(ids), h)
            c, attention = self.attention(h.reshape((len(memory), -1, H)), memory)  # (N, B, H)
            joined = np.concatenate([h, c.reshape(h.shape)], axis=-1)
            return nlp.Step(mg.log_softmax(self.out(joined)), h, attention.reshape((len(ids), -1)))

    given = weights(ends)
    model = Model().to(DEVICE)
    model.load_state_dict({name: w for name, w in given.items() if "." in name})
    start = nlp.Start(np.full(N, BOS), ours(given["state"]), ours(given["memory"]))

    def call() -> list[Any]:
        if beam is None:
            found = nlp.greedy(model, start, max_length=STEPS)
        else:
            found = nlp.beam_search(model, start, beam=beam, max_length=STEPS)
        return results([one.score for one in found.best], found.ids)

    return call


def results(scores: list[float], ids: list[Any]) -> list[Any]:
    """The results that the sides must agree on."""
    return [np.array(scores), np.concatenate([as_array(i) for i in ids])]


# ---- PyTorch -----------------------------------------------------------------------------------------------------


def there(beam: int | None, ends: bool) -> Call:
    import torch
    from torch.nn.functional import linear, log_softmax

    given = {name: theirs(w) for name, w in weights(ends).items()}
    memory, start = given["memory"], given["state"]
    embedding, out = given["embedding.weight"], given["out.weight"]
    cell = torch.nn.GRUCell(H, H, device=DEVICE)
    cell.load_state_dict({name.removeprefix("cell."): w for name, w in given.items() if name.startswith("cell.")})

    def step(ids: Any, h: Any) -> tuple[Any, Any]:
        h = cell(embedding[ids], h)
        queries = h.view(N, -1, H)
        c = torch.softmax(queries @ memory.mT, -1) @ memory
        return log_softmax(linear(torch.cat([h, c.view_as(h)], -1), out, given["out.bias"]), -1), h

    @torch.no_grad()
    def greedy() -> list[Any]:
        ids, h = torch.full((N,), BOS, device=DEVICE), start
        totals, open_ = torch.zeros(N, device=DEVICE), torch.ones(N, dtype=torch.bool, device=DEVICE)
        chosen, lengths = [], torch.full((N,), STEPS, device=DEVICE)
        for t in range(STEPS):
            log_p, h = step(ids, h)
            best, ids = log_p.max(-1)
            totals += torch.where(open_, best, 0.0)
            lengths[open_ & (ids == EOS)] = t
            open_ &= ids != EOS
            chosen.append(ids)
            if not open_.any():
                break
        sequences = torch.stack(chosen, 1)
        return results(totals.tolist(), [row[:n] for row, n in zip(sequences, lengths, strict=True)])

    @torch.no_grad()
    def search() -> list[Any]:
        assert beam is not None
        ids, h = torch.full((N * beam,), BOS, device=DEVICE), start.repeat_interleave(beam, 0)
        totals = torch.full((N, beam), -torch.inf, device=DEVICE)
        totals[:, 0] = 0  # the hypotheses are the same at first
        sequences = torch.zeros(N, beam, 0, dtype=torch.long, device=DEVICE)
        finished: list[tuple[float, Any]] = [(-np.inf, None)] * N
        first = torch.arange(N, device=DEVICE)[:, None]
        for _ in range(STEPS):
            log_p, h = step(ids, h)
            scores = (totals[:, :, None] + log_p.view(N, beam, V)).view(N, -1)
            top, places = scores.topk(2 * beam)
            parents, tokens = places // V, places % V
            end = tokens == EOS
            for n, k in end[:, :beam].nonzero().tolist():
                if top[n, k] > finished[n][0]:
                    finished[n] = (top[n, k].item(), sequences[n, parents[n, k]])
            rest = end.int().argsort(dim=1, stable=True)[:, :beam]
            totals, parents, tokens = (x.gather(1, rest) for x in (top, parents, tokens))
            sequences = torch.cat([sequences[first, parents], tokens[:, :, None]], -1)
            ids, h = tokens.view(-1), h[(first * beam + parents).view(-1)]
            if all(best >= total for (best, _), total in zip(finished, totals[:, 0].tolist(), strict=True)):
                break
        for n, (score, _) in enumerate(finished):
            if score == -np.inf:
                finished[n] = (totals[n, 0].item(), sequences[n, 0])
        return results(*map(list, zip(*finished, strict=True)))

    return greedy if beam is None else search


CASES = [
    Case(
        f"decoding: {name}, {how}, N H V S = {N, H, V, S}",
        {"minigrad": partial(here, beam, ends), "torch": partial(there, beam, ends)},
        per=STEPS,
        unit="step",
    )
    for name, beam in ((f"beam of {B}", B), ("greedy", None))
    for how, ends in (("to the end", False), ("ends", True))
]
