"""Embedding: 8,192 rows of a (50,000, 300) matrix, and the gradient of the matrix, forward and backward.

A dense gradient is an array of 57 MiB, zero in all but a few rows. A sparse one is its rows; it is coalesced within the
measured call (each row once, with the sum of its gradients), as an optimizer needs it. Ids are uniform, so that few are
repeated, or as frequent as the words of a text (Zipf), so that many are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg

from ..compare import WHOLE_CALL, Call, Case, Setup
from ..peers import by_hand, on_autograd, on_minigrad, on_torch

Array = Any
MATRIX = (50_000, 300)
COUNT = 8_192

generator = np.random.default_rng(2)
frequency = 1 / np.arange(1, MATRIX[0] + 1)
UNIFORM = generator.integers(0, MATRIX[0], COUNT)
ZIPF = generator.choice(MATRIX[0], COUNT, p=frequency / frequency.sum())


def with_minigrad(ids: Array, sparse: bool, xp: Any, W: Any) -> Any:
    return mg.embedding(W, ids, sparse=sparse)


def with_torch(ids: Array, sparse: bool, torch: Any, W: Any) -> Any:
    return torch.nn.functional.embedding(torch.from_numpy(ids), W, sparse=sparse)


def with_index(ids: Array, xp: Any, W: Any) -> Any:
    return W[ids]


def dense_by_hand(ids: Array, g: Array, W: Array) -> list[Array]:
    _ = W[ids]
    whole = np.zeros_like(W)
    np.add.at(whole, ids, g)
    return [whole]


def coalesced(side: Setup) -> Setup:
    """A side whose gradients are coalesced at the end."""

    def setup() -> Call:
        call = side()

        def coalescing() -> Sequence[Any]:
            return [gradient.coalesce() for gradient in call()]

        return coalescing

    return setup


def dense(ids: Array) -> dict[str, Setup]:
    return {
        "minigrad": on_minigrad(partial(with_minigrad, ids, False), MATRIX),
        "minigrad, W[ids]": on_minigrad(partial(with_index, ids), MATRIX),
        "torch": on_torch(partial(with_torch, ids, False), MATRIX),
        "autograd": on_autograd(partial(with_index, ids), MATRIX),
        "NumPy by hand, np.add.at": by_hand(partial(dense_by_hand, ids), MATRIX, result=(COUNT, MATRIX[1])),
    }


def sparse(ids: Array) -> dict[str, Setup]:
    return {
        "minigrad": coalesced(on_minigrad(partial(with_minigrad, ids, True), MATRIX)),
        "torch": coalesced(on_torch(partial(with_torch, ids, True), MATRIX)),
    }


CASES = [
    Case(f"embedding, {kind.__name__} gradient, {name} ids", kind(ids), memory=WHOLE_CALL)
    for kind in (dense, sparse)
    for name, ids in (("uniform", UNIFORM), ("Zipf", ZIPF))
]
