"""Padding, masks, and batches of examples of several fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
from nlp import Padded, collate, pad, sequence_mask
from nlp.padding import length_of

steady = settings(deadline=None, derandomize=True, max_examples=100)


@steady
@given(st.lists(st.lists(st.integers(-9, 9), max_size=7), min_size=1, max_size=6), st.integers(-3, 3))
def test_padding_and_back(sequences: list[list[int]], value: int) -> None:
    padded = pad(sequences, value)
    T, N = padded.values.shape
    assert max(map(len, sequences)) == T
    assert len(sequences) == N
    assert padded.values.dtype == padded.lengths.dtype == np.int64
    assert [padded.values[:n, k].tolist() for k, n in enumerate(padded.lengths)] == sequences
    assert (padded.values[~padded.mask] == value).all()
    assert padded.mask.sum(axis=0).tolist() == padded.lengths.tolist()


def test_sequences_of_vectors_and_dtypes() -> None:
    values, lengths = pad([np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)], -1)
    assert values.shape == (4, 2, 3)
    assert values.dtype == np.float32
    assert (values[2:, 0] == -1).all()
    assert lengths.tolist() == [2, 4]
    assert pad([np.array([1], np.uint8), np.array([300], np.int16)]).values.dtype == np.int16
    assert pad([[]]).values.shape == (0, 1)


@pytest.mark.parametrize(
    ("sequences", "error", "message"),
    [
        ([], ValueError, "there are no sequences"),
        ("ab", TypeError, "sequences of ids, not of characters; encode the texts first"),
        (["ab", "c"], TypeError, "sequences of ids, not of characters"),
        ([["a", "b"]], TypeError, "sequence 0 holds <U1 values, not numbers"),
        ([[1], 2], TypeError, "sequence 1 is a int, not a sequence"),
        ([np.ones((2, 3)), np.ones((2, 2))], ValueError, r"sequence 1 has the shape \(2, 2\), sequence 0 has \(2, 3\)"),
    ],
)
def test_bad_sequences(sequences: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pad(sequences)


def test_masks() -> None:
    assert sequence_mask([2, 0, 1], 3).T.tolist() == [[True, True, False], [False] * 3, [True, False, False]]
    assert sequence_mask([]).shape == (0, 0)
    with pytest.raises(ValueError, match="lengths reach from 1 to 4; expected 0 to 3"):
        sequence_mask([1, 4], 3)
    with pytest.raises(ValueError, match="lengths reach from -1 to 2"):
        sequence_mask([-1, 2])
    with pytest.raises(TypeError, match="must be integers"):
        sequence_mask([0.5])


def test_fields() -> None:
    examples = [([1, 2], np.array([3]), 0), ([4], np.array([5, 6]), 1)]
    source, target, label = collate(examples, padding=(9, -100, 0))
    assert isinstance(source, Padded)
    assert source.values.tolist() == [[1, 4], [2, 9]]
    assert target.values.tolist() == [[3, 5], [-100, 6]]
    assert label.tolist() == [0, 1]
    assert collate([0.5, 1.0]).tolist() == [0.5, 1.0]
    assert collate([np.int64(3), np.int64(4)]).tolist() == [3, 4]
    assert [length_of(e) for e in (*examples, 3, [1], ((1, 2), [1, 2, 3]))] == [2, 2, 0, 1, 3]
    with pytest.raises(ValueError, match="must be tuples of 3 fields"):
        collate([examples[0], examples[1][:2]])
    with pytest.raises(ValueError, match="2 padding values for 3 fields"):
        collate(examples, padding=(0, 0))


def test_layers_and_losses_take_them(rng: Any) -> None:
    padded = pad([rng.integers(1, 9, n) for n in (5, 2, 3)])
    outputs, _ = nn.GRU(4, 6)(nn.Embedding(9, 4, padding_idx=0)(padded.values), lengths=padded.lengths)
    loss = nn.CrossEntropyLoss()(nn.Linear(6, 9)(outputs), padded.values, mask=padded.mask)
    assert loss.shape == ()
    assert (outputs.numpy()[~padded.mask] == 0).all()
