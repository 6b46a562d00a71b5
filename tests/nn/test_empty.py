"""Sequences without steps, and batches without sequences: the same as a mask without True."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracles import gradients, near, randomize, total

import minigrad as mg
import nn

T, N, D, H = 5, 4, 3, 4
LENGTHS = [5, 0, 2, 0]
MASK = np.arange(T)[:, None] < LENGTHS

LAYERS: dict[str, Callable[[], Any]] = {
    "rnn": lambda: nn.RNN(D, H, dtype=np.float64),
    "lstm": lambda: nn.LSTM(D, H, 2, bidirectional=True, learn_state=True, dtype=np.float64),
    "gru": lambda: nn.GRU(D, H, 2, dtype=np.float64),
    "reverse": lambda: nn.Recurrent(nn.LSTMCell(D, H, proj_size=2, dtype=np.float64), reverse=True, learn_state=True),
    "both": lambda: nn.Bidirectional(nn.ElmanCell(D, H, 2, dtype=np.float64), nn.GRUCell(D, H, dtype=np.float64)),
    "stack": lambda: nn.Stacked(
        [nn.GRUCell(D, H, dtype=np.float64), nn.LayerNorm(H, dtype=np.float64), nn.RNNCell(H, 2, dtype=np.float64)]
    ),
}


def flat(tree: Any) -> list[Any]:
    return [leaf for part in tree for leaf in flat(part)] if isinstance(tree, tuple | list) else [tree]


every = pytest.mark.parametrize("layer", [make() for make in LAYERS.values()], ids=list(LAYERS))


@every
def test_a_length_of_zero_is_a_mask_without_true(layer: Any, rng: np.random.Generator) -> None:
    randomize(layer, rng)
    xs = rng.standard_normal((T, N, D))
    found = [layer(xs, lengths=LENGTHS), layer(xs, mask=MASK)]
    near(flat(found[0]), flat(found[1]), 0)
    assert not found[0][0].numpy()[:, 1].any()
    initial = flat(layer.initial_state(N))
    axis = layer.batch_axis
    for last, start in zip(flat(found[0][1]), initial, strict=True):
        near(np.take(last.numpy(), 1, axis), np.take(start.numpy(), 1, axis), 0)
    near(gradients(total(layer(xs, lengths=LENGTHS)), layer), gradients(total(layer(xs, mask=MASK)), layer), 1e-14)


@every
@pytest.mark.parametrize(("steps", "rows"), [(0, 2), (3, 0), (0, 0)])
def test_nothing_at_all(layer: Any, steps: int, rows: int) -> None:
    for how in ({}, {"lengths": [0] * rows}, {"mask": np.zeros((steps, rows), bool)}):
        xs = mg.zeros((steps, rows, D), dtype=np.float64, requires_grad=True)
        output, state = layer(xs, **how)
        assert output.shape[:2] == (steps, rows)
        for last, start in zip(flat(state), flat(layer.initial_state(rows)), strict=True):
            near(last, start, 0)
        (output.sum() + sum(s.sum() for s in flat(state))).backward()
        assert xs.grad is None or xs.grad.shape == xs.shape


def test_a_crf_over_no_steps(rng: np.random.Generator) -> None:
    crf = randomize(nn.CRF(3, dtype=np.float64), rng)
    e, tags = rng.standard_normal((T, N, 3)), rng.integers(0, 3, (T, N))
    e[~MASK] = np.nan
    given = mg.Tensor(e, requires_grad=True)
    loss = crf(given, tags, lengths=LENGTHS, reduction="none")
    loss.sum().backward()
    assert loss.numpy()[[1, 3]].tolist() == [0, 0]
    for n in (0, 2):
        near(loss[n], crf(e[: LENGTHS[n], n : n + 1], tags[: LENGTHS[n], n : n + 1]), 1e-12)
    assert np.isfinite(given.grad.numpy()).all()
    assert not given.grad.numpy()[~MASK].any()
    assert all(np.isfinite(p.grad.numpy()).all() for p in crf.parameters())
    paths, scores = crf.viterbi(e, lengths=LENGTHS)
    assert [len(path) for path in paths] == LENGTHS
    assert scores.numpy()[[1, 3]].tolist() == [0, 0]
    near(crf.log_partition(e, mask=MASK)[[1, 3]], np.zeros(2), 0)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_crf_over_an_empty_batch(batch_first: bool) -> None:
    crf = nn.CRF(3, batch_first=batch_first)
    for steps, rows in ((0, 2), (3, 0), (0, 0)):
        shape = (rows, steps) if batch_first else (steps, rows)
        e = mg.zeros((*shape, 3), requires_grad=True)
        loss = crf(e, np.zeros(shape, int))
        loss.backward()
        assert loss.item() == 0
        assert crf.viterbi(e)[0] == [[0] * 0 for _ in range(rows)]
        assert crf.viterbi(e, lengths=[0] * rows)[0] == [[] for _ in range(rows)]


@pytest.mark.parametrize(
    "attention",
    [nn.AdditiveAttention(D, D, H), nn.ConcatAttention(D, D, H), nn.GeneralAttention(D, D), nn.DotAttention()],
)
def test_attention_to_nothing_gives_zeros(attention: Any) -> None:
    query = mg.randn(2, 3, D, requires_grad=True)
    for mask in (None, np.ones((2, 0), bool)):
        context, weights = attention(query, mg.zeros((2, 0, D)), mask=mask)
        assert weights.shape == (2, 3, 0)
        near(context, np.zeros((2, 3, D)), 0)
        context.sum().backward()
    assert attention(mg.zeros((0, D)), mg.zeros((0, 5, D)))[0].shape == (0, D)


def test_the_mappings_and_streams_of_nothing() -> None:
    assert nn.many_to_one(nn.LSTM(D, H, bidirectional=True), mg.zeros((0, 2, D))).shape == (2, 2 * H)
    stream = nn.TBPTT(4)
    layer = nn.GRU(D, H)
    before = stream(layer, mg.randn(4, 2, D))
    stream(layer, mg.zeros((0, 2, D)))
    near(stream.state[0], before[-1], 0)
