"""A whole training iteration of a language model: forward, backward, clipping, and an update by SGD.

The state is zero each time, while the weights are updated: the sides must agree on the updates. V is the vocabulary, L
layers of H, B sequences, T steps. "minigrad, compiled" records the iteration once and replays it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..compare import WHOLE_CALL, Call, Case
from ..peers import normals
from ..place import DEVICE, ours, theirs

Array = Any
LR, CLIP = 0.1, 1.0
SIZES = {  # V, H, L, B, T
    "words, small": (10_000, 200, 2, 20, 20),
    "words, medium": (10_000, 650, 2, 20, 35),
    "characters": (65, 128, 2, 50, 50),
    "characters, large": (65, 512, 1, 50, 50),
}
Size = tuple[int, int, int, int, int]


def weights(V: int, H: int, L: int) -> dict[str, Array]:
    """By minigrad's names."""
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (V, H)}
    for k in range(L):
        shapes |= {f"layers.weight_ih_l{k}": (4 * H, H), f"layers.weight_hh_l{k}": (4 * H, H)}
        shapes |= {f"layers.bias_ih_l{k}": (4 * H,), f"layers.bias_hh_l{k}": (4 * H,)}
    shapes |= {"out.weight": (V, H), "out.bias": (V,)}
    return dict(zip(shapes, normals(*shapes.values()), strict=True))


def text(V: int, B: int, T: int) -> tuple[Array, Array]:
    """Inputs and targets (T, B). Like words and characters of a text, few ids are frequent (Zipf 1935)."""
    weights = 1 / np.arange(2, V + 2)
    ids = np.random.default_rng(3).choice(V, (T + 1, B), p=weights / weights.sum())
    return ids[:-1], ids[1:]


def here(size: Size, compiled: bool) -> Call:
    import minigrad as mg
    import nlp
    import nn

    V, H, L, B, T = size
    model = nlp.LanguageModel(V, H, H, L, device=DEVICE)
    model.load_state_dict(weights(V, H, L))
    optimizer = nn.SGD(model.named_parameters(), lr=LR, clip_norm=CLIP)
    ids, targets = (ours(part).data for part in text(V, B, T))

    def iterate(ids: Array, targets: Array) -> Any:
        optimizer.zero_grad()
        loss, _ = model.loss(ids, targets)
        loss.backward()
        optimizer.step()
        return loss

    run = mg.compile(iterate) if compiled else iterate

    def call() -> list[Any]:
        return [run(ids, targets).detach(), *(w.data for w in model.parameters())]

    return call


def there(size: Size) -> Call:
    import torch
    from torch.nn.functional import cross_entropy

    V, H, L, B, T = size
    embedding, layers, out = torch.nn.Embedding(V, H), torch.nn.LSTM(H, H, L), torch.nn.Linear(H, V)
    model = torch.nn.ModuleDict({"embedding": embedding, "layers": layers, "out": out}).to(DEVICE)
    model.load_state_dict({name: theirs(w) for name, w in weights(V, H, L).items()})
    ordered = [dict(model.named_parameters())[name] for name in weights(V, H, L)]
    optimizer = torch.optim.SGD(ordered, lr=LR)
    ids, targets = (theirs(part) for part in text(V, B, T))

    def call() -> list[Any]:
        optimizer.zero_grad()
        h, _ = layers(embedding(ids))
        loss = cross_entropy(out(h).view(-1, V), targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ordered, CLIP)
        optimizer.step()
        return [loss.detach(), *(w.detach() for w in ordered)]

    return call


CASES = [
    Case(
        f"model: {name}, V H L B T = {size}",
        {
            "minigrad": partial(here, size, False), "minigrad, compiled": partial(here, size, True),
            "torch": partial(there, size),
        },
        unit="iteration",
        memory=WHOLE_CALL,
    )
    for name, size in SIZES.items()
]  # fmt: skip
