"""Embeddings with bounded rows and scaled gradients, and bags of them, against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import near, tensors

import minigrad as mg
import nn

Rng = np.random.Generator
every_gradient = pytest.mark.parametrize("sparse", [False, True])


def dense(gradient: Any) -> Any:
    return gradient.dense() if isinstance(gradient, mg.RowSparse) else gradient.numpy()


@every_gradient
@pytest.mark.parametrize("p", [1.0, 2.0, np.inf])
def test_rows_are_shortened_before_they_are_used(sparse: bool, p: float, rng: Rng) -> None:
    layer = nn.Embedding(6, 3, max_norm=0.7, norm_type=p, sparse=sparse, dtype=np.float64)
    weight = layer.weight.numpy()
    ids = np.array([[1, 4, 1], [0, 2, 4]])
    y = layer(ids)
    for row in {1, 4, 0, 2}:
        norm = np.linalg.norm(weight[row], p)
        weight[row] *= 0.7 / (norm + 1e-7) if norm > 0.7 else 1.0
    near(layer.weight, weight)
    near(y, weight[ids], 0)
    y.sum().backward()
    near(dense(layer.weight.grad), np.bincount(ids.ravel(), minlength=6)[:, None] * np.ones(3))
    assert layer(np.zeros((0, 2), int)).shape == (0, 2, 3)


@every_gradient
def test_gradients_by_frequency(sparse: bool, rng: Rng) -> None:
    layer = nn.Embedding(6, 3, padding_idx=5, scale_grad_by_freq=True, sparse=sparse, dtype=np.float64)
    ids = np.array([[1, 4, 1, 5], [0, 1, 4, 5]])
    g = rng.standard_normal((2, 4, 3))
    (layer(ids) * g).sum().backward()
    assert isinstance(layer.weight.grad, mg.RowSparse) == sparse
    expected = np.zeros((6, 3))
    for at, i in np.ndenumerate(ids):
        expected[i] += g[at] / (ids == i).sum() * (i != 5)
    near(dense(layer.weight.grad), expected)


def bag(weight: Any, ids: Any, mode: str, factors: Any = None) -> Any:
    """One bag by its definition."""
    rows = weight[ids] if factors is None else weight[ids] * factors[:, None]
    if not len(ids):
        return np.zeros(weight.shape[1])
    return {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](rows, axis=0)


@every_gradient
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_bags(sparse: bool, mode: str, padding_idx: int | None, rng: Rng) -> None:
    layer = nn.EmbeddingBag(7, 3, mode=mode, sparse=sparse, padding_idx=padding_idx, dtype=np.float64)
    weight = layer.weight.numpy()
    bags = [[1, 2, 1, 6], [], [2], [0, 5, 5], []]
    ids, offsets = np.concatenate([np.array(b, int) for b in bags]), np.cumsum([0, *map(len, bags[:-1])])
    counted = [[i for i in b if i != padding_idx] for b in bags]
    expected = np.stack([bag(weight, np.array(b, int), mode) for b in counted])
    y = layer(ids, offsets)
    near(y, expected)
    g = rng.standard_normal(y.shape)
    (y * g).sum().backward()
    gradient = np.zeros_like(weight)
    for b, each in zip(counted, g, strict=True):
        for k, i in enumerate(b):
            first = np.argmax(weight[b], axis=0) == k if mode == "max" else 1 / len(b) if mode == "mean" else 1.0
            gradient[i] += each * first
    near(dense(layer.weight.grad), gradient)
    closed = nn.EmbeddingBag(7, 3, mode=mode, include_last_offset=True, padding_idx=padding_idx, dtype=np.float64)
    closed.load_state_dict(layer.state_dict())
    near(closed(ids, [*offsets, len(ids)]), expected)
    matrix = rng.integers(0, 7, (4, 3))
    rows = [[i for i in b if i != padding_idx] for b in matrix]
    near(layer(matrix), np.stack([bag(weight, np.array(b, int), mode) for b in rows]))
    assert layer(np.zeros((0, 3), int)).shape == (0, 3)
    assert not layer(np.zeros((2, 0), int)).numpy().any()


def test_factors_of_a_bags_rows(rng: Rng) -> None:
    layer = nn.EmbeddingBag(5, 3, mode="sum", padding_idx=1, dtype=np.float64)
    ids, factors = np.array([[0, 1, 3], [4, 4, 1]]), rng.standard_normal((2, 3))
    leaf = tensors(factors)
    y = layer(ids, per_sample_weights=leaf)
    weight, real = layer.weight.numpy(), ids != 1
    near(y, (weight[ids] * (factors * real)[..., None]).sum(1))
    g = rng.standard_normal(y.shape)
    (y * g).sum().backward()
    near(leaf.grad, (weight[ids] * g[:, None]).sum(-1) * real)
    assert mg.gradcheck(lambda w: layer(ids, per_sample_weights=w), tensors(factors))


def test_bags_on_every_backend(backend: Any, rng: Rng) -> None:
    for mode in ("sum", "mean", "max"):
        layer = nn.EmbeddingBag(7, 3, max_norm=1.0, mode=mode, padding_idx=2, device=backend.device, dtype=np.float64)
        here = nn.EmbeddingBag(7, 3, max_norm=1.0, mode=mode, padding_idx=2, dtype=np.float64)
        here.load_state_dict({name: backend.numpy(value) for name, value in layer.state_dict().items()})
        ids, offsets = np.array([1, 2, 1, 6, 5]), np.array([0, 3, 3])
        y, expected = layer(backend.array(ids), offsets), here(ids, offsets)
        near(backend.numpy(y), expected.numpy())
        (y**2).sum().backward()
        (expected**2).sum().backward()
        near(backend.numpy(layer.weight.grad), here.weight.grad.numpy())
    layer = nn.Embedding(7, 3, scale_grad_by_freq=True, device=backend.device, dtype=np.float64)
    layer(backend.array(ids)).sum().backward()
    near(backend.numpy(layer.weight.grad)[[1, 2, 3]], np.array([[1.0] * 3, [1.0] * 3, [0.0] * 3]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Embedding(3, 2, max_norm=0), ValueError, "Embedding: max_norm must be positive, or None, not 0"),
        (lambda: nn.Embedding(3, 2, max_norm=1.0)([3]), IndexError, "Embedding: index 3 is out of range for 3 rows"),
        (lambda: nn.Embedding(3, 2, max_norm=1.0)([0.5]), TypeError, "embedding: ids must be integers"),
        (lambda: nn.EmbeddingBag(3, 2, mode="min"), ValueError, "EmbeddingBag: mode is 'sum', 'mean' or 'max', not 'm"),
        (lambda: nn.EmbeddingBag(3, 2, padding_idx=3), ValueError, "EmbeddingBag: padding_idx 3 is not one of 3 ids"),
        (
            lambda: nn.EmbeddingBag(3, 2)([1, 2]),
            ValueError,
            r"give ids \(B, n\), or \(n,\) with offsets \(B,\), not",
        ),
        (lambda: nn.EmbeddingBag(3, 2)([[1, 2]], [0]), ValueError, r"not \(1, 2\) and offsets"),
        (
            lambda: nn.EmbeddingBag(3, 2)([1, 2], [1]),
            ValueError,
            r"offsets must rise from 0 to 2 at most, they",
        ),
        (lambda: nn.EmbeddingBag(3, 2)([1, 2], [0, 3]), ValueError, r"offsets must rise from 0 to 2 at most"),
        (lambda: nn.EmbeddingBag(3, 2)([1, 2], [0.0]), ValueError, "offsets must be integers"),
        (
            lambda: nn.EmbeddingBag(3, 2, include_last_offset=True)([1, 2], [0, 1]),
            ValueError,
            "the last offset must be the end, 2, not 1",
        ),
        (
            lambda: nn.EmbeddingBag(3, 2)([[1, 2]], per_sample_weights=[[1.0, 2.0]]),
            ValueError,
            r"per_sample_weights \(1, 2\) need ids of that shape and mode 'sum', not \(1, 2\) and 'mean'",
        ),
    ],
)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
