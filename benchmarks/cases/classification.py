"""A whole training iteration of a classifier of sentences: both directions of an LSTM, and a map of their last states.

The sizes are those of SST-2: batches of 50 sentences of 3 to 50 words, 17 on average, of 14,000 words drawn by Zipf's
law. PyTorch's side packs the sentences. Both make the same updates by SGD, with a dense gradient of the embedding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compare import WHOLE_CALL, Call, Case
from ..place import DEVICE, ours, theirs

Array = Any
N, V, E, H = 50, 14_000, 100, 150
LR = 0.1


def batch() -> tuple[Array, Array, Array]:
    """Ids (T, N), lengths (N,) and classes (N,)."""
    rng = np.random.default_rng(4)
    lengths = np.clip(rng.gamma(4.0, 4.8, N).astype(int), 3, 50)
    weights = 1 / np.arange(2, V + 2)
    ids = rng.choice(V, (lengths.max(), N), p=weights / weights.sum())
    return ids, lengths, rng.integers(0, 2, N)


def classifier() -> Any:
    """minigrad's model; the same weights in every process."""
    import minigrad as mg
    import nlp

    mg.manual_seed(0)
    return nlp.SequenceClassifier(V, 2, E, H).to(DEVICE)


def here() -> Call:
    import nn

    model = classifier()
    optimizer = nn.SGD(model.named_parameters(), lr=LR)
    ids, lengths, classes = batch()
    words, classes = (ours(ids).data, lengths), ours(classes).data

    def call() -> list[Any]:
        optimizer.zero_grad()
        loss = model.loss(words, classes)
        loss.backward()
        optimizer.step()
        return [loss.detach(), *(w.data for w in model.parameters())]

    return call


def there() -> Call:
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy
    from torch.nn.utils.rnn import pack_padded_sequence

    embedding, layers, out = nn.Embedding(V, E), nn.LSTM(E, H, bidirectional=True), nn.Linear(2 * H, 2)
    parts = {"embedding": embedding, "layers": layers, "mlp": out}
    for part in parts.values():
        part.to(DEVICE)
    ordered = []
    for name, weight in classifier().named_parameters():
        part, _, rest = name.partition(".")
        mine = dict(parts[part].named_parameters())[rest.removeprefix("1.")]
        with torch.no_grad():
            mine.copy_(theirs(weight.numpy()))
        ordered.append(mine)
    optimizer = torch.optim.SGD(ordered, lr=LR)
    ids, lengths, classes = batch()
    words, counts, targets = theirs(ids), torch.tensor(lengths), theirs(classes)

    def call() -> list[Any]:
        optimizer.zero_grad()
        packed = pack_padded_sequence(embedding(words), counts, enforce_sorted=False)
        _, (h, _) = layers(packed)
        loss = cross_entropy(out(torch.cat([h[0], h[1]], -1)), targets)
        loss.backward()
        optimizer.step()
        return [loss.detach(), *(w.detach() for w in ordered)]

    return call


CASES = [
    Case(
        f"classifier: sentences of random lengths, N V E H = {(N, V, E, H)}",
        {"minigrad": here, "torch, packed": there},
        unit="iteration",
        memory=WHOLE_CALL,
    )
]
