"""A whole training iteration of a translator: a bidirectional GRU reads, a GRU with additive attention writes.

The sizes are those of Bahdanau, Cho and Bengio's model on Multi30k: batches of 64 sentences of 6 to 20 tokens,
vocabularies of 8,000 and 6,000, everything else 256 wide. Both sides mask the padding, clip, and make the same updates
by SGD.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compare import WHOLE_CALL, Call, Case
from ..place import DEVICE, ours, theirs

Array = Any
N, S, V, H = 64, 8_000, 6_000, 256
LR, CLIP = 0.1, 1.0
PAD, BOS, EOS = 0, 1, 2


def batch(size: int, seed: int) -> tuple[Array, Array]:
    """Ids (T, N), from BOS to EOS and then PAD, and lengths (N,)."""
    rng = np.random.default_rng(seed)
    lengths = np.sort(rng.integers(6, 21, N))[::-1].copy()
    ids = rng.integers(3, size, (lengths[0], N))
    ids[0] = BOS
    ids[lengths - 1, np.arange(N)] = EOS
    ids[np.arange(len(ids))[:, None] >= lengths] = PAD
    return ids, lengths


def translator() -> Any:
    """minigrad's model; the same weights in every process."""
    import minigrad as mg
    import nlp

    mg.manual_seed(0)
    model = nlp.Seq2Seq(S, V, H, H, bos_id=BOS, eos_id=EOS)
    return model.to(DEVICE)


def here() -> Call:
    import nn

    model = translator()
    optimizer = nn.SGD(model.named_parameters(), lr=LR, clip_norm=CLIP)
    (source, source_lengths), (target, target_lengths) = batch(S, 1), batch(V, 2)
    given = (ours(source).data, source_lengths), (ours(target).data, target_lengths)

    def call() -> list[Any]:
        optimizer.zero_grad()
        loss = model.loss(*given)
        loss.backward()
        optimizer.step()
        return [loss.detach(), *(w.data for w in model.parameters())]

    return call


def there() -> Call:
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(S, H)
            self.encoder = nn.GRU(H, H, bidirectional=True)
            self.bridge = nn.Linear(2 * H, H)
            self.written = nn.Embedding(V, H)
            self.query, self.key = nn.Linear(H, H, bias=False), nn.Linear(2 * H, H, bias=False)
            self.v = nn.Linear(H, 1, bias=False)
            self.cell = nn.GRUCell(3 * H, H)
            self.out = nn.Linear(4 * H, V)

        def forward(self, source: Any, lengths: Any, target: Any) -> Any:
            packed = pack_padded_sequence(self.embedding(source), lengths)
            read, last = self.encoder(packed)
            values = pad_packed_sequence(read)[0].transpose(0, 1)  # (N, S, 2H)
            keys = self.key(values)
            hidden = ~(torch.arange(values.shape[1], device=values.device) < lengths.to(values.device)[:, None])
            h = torch.tanh(self.bridge(torch.cat([last[0], last[1]], -1)))
            seen = []
            for y in self.written(target[:-1]):
                scores = self.v(torch.tanh(self.query(h)[:, None] + keys))[..., 0].masked_fill(hidden, -torch.inf)
                c = (torch.softmax(scores, -1)[:, None] @ values)[:, 0]
                h = self.cell(torch.cat([y, c], -1), h)
                seen.append(torch.cat([h, c, y], -1))
            return cross_entropy(self.out(torch.stack(seen)).flatten(0, 1), target[1:].flatten(), ignore_index=PAD)

    names = {"decoder.embedding": "written", "decoder.cells.0": "cell", "decoder.attention.": "", "decoder.out": "out"}
    model = Translator().to(DEVICE)
    own = dict(model.named_parameters())
    ordered = []
    for name, weight in translator().named_parameters():
        mine = name.replace("bridge.maps.0.0", "bridge")
        for start, other in names.items():
            if mine.startswith(start):
                mine = mine.replace(start, other)
        with torch.no_grad():
            own[mine].copy_(theirs(weight.numpy()))
        ordered.append(own[mine])
    optimizer = torch.optim.SGD(ordered, lr=LR)
    (source, lengths), (target, _) = batch(S, 1), batch(V, 2)
    given = theirs(source), torch.tensor(lengths), theirs(target)

    def call() -> list[Any]:
        optimizer.zero_grad()
        loss = model(*given)
        loss.backward()
        nn.utils.clip_grad_norm_(ordered, CLIP)
        optimizer.step()
        return [loss.detach(), *(w.detach() for w in ordered)]

    return call


CASES = [
    Case(
        f"translator: additive attention, N S V H = {(N, S, V, H)}",
        {"minigrad": here, "torch": there},
        unit="iteration",
        memory=WHOLE_CALL,
    )
]
