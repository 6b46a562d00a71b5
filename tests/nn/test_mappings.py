"""The four mappings, each against the layer called by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import gradients, near, randomize, tensors, total

import minigrad as mg
import nn
from nn.sequences.mappings import last_state

Rng = np.random.Generator
T, N, D, H = 5, 3, 2, 4
LENGTHS = [2, 5, 3]


def cell(kind: Any, m: int = D, n: int = H) -> Any:
    return kind(m, n, dtype=np.float64)


LAYERS: dict[str, Any] = {
    "rnn": (lambda: nn.RNN(D, H, 2, dtype=np.float64), lambda s: s[-1]),
    "lstm": (lambda: nn.LSTM(D, H, 2, batch_first=True, dtype=np.float64), lambda s: s[0][-1]),
    "both ways": (
        lambda: nn.LSTM(D, H, 2, bidirectional=True, dtype=np.float64), lambda s: np.concatenate([s[0][2], s[0][3]], -1)
    ),
    "one cell": (lambda: nn.Recurrent(cell(nn.GRUCell)), lambda s: s),
    "one lstm cell": (lambda: nn.Recurrent(cell(nn.LSTMCell)), lambda s: s[0]),
    "two cells": (
        lambda: nn.Bidirectional(cell(nn.LSTMCell), cell(nn.GRUCell)), lambda s: np.concatenate([s[0][0], s[1]], -1)
    ),
    "stack": (
        lambda: nn.Stacked([cell(nn.GRUCell), nn.Tanh(), cell(nn.LSTMCell, H), nn.Tanh()]), lambda s: s[1][0]
    ),
    "weight drop": (lambda: nn.WeightDrop(nn.GRU(D, H, dtype=np.float64), "weight_hh_l0", 0.0), lambda s: s[-1]),
}  # fmt: skip


@pytest.mark.parametrize(("make", "last"), LAYERS.values(), ids=LAYERS.keys())
@pytest.mark.parametrize("ragged", [False, True])
def test_many_to_one_is_a_head_on_the_last_state(make: Any, last: Any, ragged: bool, rng: Rng) -> None:
    layer = randomize(make(), rng)
    xs = tensors(rng.standard_normal((N, T, D) if getattr(layer, "batch_first", False) else (T, N, D)))
    which = {"lengths": LENGTHS} if ragged else {}
    state = layer(xs, **which)[1]
    head = nn.Linear(last(state).shape[-1], 2, dtype=np.float64)
    near(nn.many_to_one(layer, xs, **which), last(state), 0)
    near(last_state(layer, state), last(state), 0)
    found = nn.many_to_one(layer, xs, head, **which)
    assert found.shape == (N, 2)
    near(gradients(total(found), layer, xs=xs), gradients(total(head(last(layer(xs, **which)[1]))), layer, xs=xs), 0)


def test_many_to_one_of_a_mask(rng: Rng) -> None:
    layer = nn.GRU(D, H, dtype=np.float64)
    xs, mask = rng.standard_normal((T, N, D)), rng.random((T, N)) < 0.6
    near(nn.many_to_one(layer, xs, mask=mask), layer(xs, mask=mask)[1][0], 0)


def test_many_to_many_is_a_head_on_every_output(rng: Rng) -> None:
    layer, head = nn.GRU(D, H, dtype=np.float64), nn.Linear(H, 3, dtype=np.float64)
    xs = rng.standard_normal((T, N, D))
    mask = np.arange(T)[:, None] < LENGTHS
    near(nn.many_to_many(layer, xs, head, lengths=LENGTHS), head(layer(xs, lengths=LENGTHS)[0]), 0)
    near(nn.many_to_many(layer, xs, mask=mask), layer(xs, lengths=LENGTHS)[0], 0)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell])
def test_one_to_many_feeds_what_it_predicts(kind: Any, rng: Rng) -> None:
    step = randomize(cell(kind), rng)
    head, feed = nn.Linear(H, 3, dtype=np.float64), nn.Linear(3, D, dtype=np.float64)
    start = tensors(rng.standard_normal((N, D)))
    found = nn.one_to_many(step, start, 3, head, feed)
    x, state, expected = start, None, []
    for _ in mg.steps(range(3)):  # as there: products in a loop have kernels of their own, which round otherwise
        state = step(x, state)
        expected.append(head(state[0] if kind is nn.LSTMCell else state))
        x = feed(expected[-1])
    near(found, np.stack(expected), 0)
    near(gradients(total(found), step, x=start), gradients(total(np.stack(expected)), step, x=start))
    again = nn.one_to_many(step, x, 2, head, feed, state)
    assert again.shape == (2, N, 3)
    near(np.concatenate([found, again]), nn.one_to_many(step, start, 5, head, feed))
    with pytest.raises(ValueError, match="one_to_many: steps must be positive, got 0"):
        nn.one_to_many(step, start, 0, head, feed)


def test_encode_decode_hands_the_last_state_on(rng: Rng) -> None:
    encoder, decoder = nn.LSTM(D, H, 2, dtype=np.float64), nn.LSTM(3, H, 2, dtype=np.float64)
    head = nn.Linear(H, 5, dtype=np.float64)
    xs, ys = tensors([rng.standard_normal((T, N, D)), rng.standard_normal((4, N, 3))])

    def expected() -> Any:
        return head(decoder(ys, encoder(xs, lengths=LENGTHS)[1])[0])

    found = nn.encode_decode(encoder, decoder, xs, ys, head, lengths=LENGTHS)
    assert found.shape == (4, N, 5)
    near(found, expected(), 0)
    near(gradients(total(found), encoder, xs=xs, ys=ys), gradients(total(expected()), encoder, xs=xs, ys=ys), 0)


def test_a_bridge_between_encoder_and_decoder(rng: Rng) -> None:
    encoder = nn.GRU(D, H, bidirectional=True, dtype=np.float64)
    decoder = nn.Recurrent(cell(nn.GRUCell, 3, 2 * H))
    xs, ys = rng.standard_normal((T, N, D)), rng.standard_normal((2, N, 3))
    found = nn.encode_decode(encoder, decoder, xs, ys, bridge=lambda h: np.concatenate([h[0], h[1]], axis=-1))
    h = encoder(xs)[1]
    near(found, decoder(ys, np.concatenate([h[0], h[1]], axis=-1))[0], 0)
    with pytest.raises(ValueError, match=r"state 'h' has shape \(2, 3, 4\), expected \(3, 8\)"):
        nn.encode_decode(encoder, decoder, xs, mg.tensor(ys))
