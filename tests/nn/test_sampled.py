"""Sampled losses against loops over their equations; the noise distribution; Huffman's tree."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from nn.losses import sampled
from nn.losses.sampled import HierarchicalSoftmaxLoss, NegativeSamplingLoss, huffman_paths

COUNTS = np.array([5, 0, 30, 1, 12, 7, 7])
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def log_sigmoid(x: float) -> float:
    return -float(np.log1p(np.exp(-x)))


def random_weight(loss: Any, rng: np.random.Generator) -> Any:
    """Give a loss random output vectors, and return them."""
    w = rng.standard_normal(loss.weight.shape).astype(loss.weight.dtype)
    loss.load_state_dict({"weight": w})
    return w


# ---- negative sampling -------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("shared", [False, True])
def test_negative_sampling_is_its_equation(shared: bool, dtype: Any, rng: np.random.Generator) -> None:
    loss = NegativeSamplingLoss(3, COUNTS, negatives=4, reduction="none", dtype=dtype)
    w, h = random_weight(loss, rng), rng.standard_normal((5, 3)).astype(dtype)
    targets, drawn = rng.integers(0, 7, 5), rng.integers(0, 7, (4,) if shared else (5, 4))
    expected = []
    for n in range(5):
        terms = [log_sigmoid(float(w[targets[n]] @ h[n]))]
        terms += [log_sigmoid(-float(w[k] @ h[n])) for k in (drawn if shared else drawn[n])]
        expected.append(-sum(terms))
    given = loss(mg.Tensor(h), targets, drawn)
    assert given.dtype == dtype
    np.testing.assert_allclose(given.numpy(), expected, rtol=1e-12 if dtype is np.float64 else 1e-5)
    loss.reduction = "mean"
    np.testing.assert_allclose(
        loss(h.reshape(5, 1, 3), targets[:, None], drawn if shared else drawn[:, None]).item(),
        np.mean(expected),
        rtol=1e-5,
    )


@pytest.mark.parametrize("shared", [False, True])
def test_derivatives_of_negative_sampling(shared: bool, rng: np.random.Generator) -> None:
    loss = NegativeSamplingLoss(3, COUNTS, dtype=np.float64)
    random_weight(loss, rng)
    h = mg.Tensor(rng.standard_normal((5, 3)), requires_grad=True)
    targets, drawn = rng.integers(0, 7, 5), rng.integers(0, 7, (4,) if shared else (5, 4))
    mask = np.array([True, False, True, True, True])

    def of(h: Any, w: Any) -> Any:
        object.__setattr__(loss, "weight", w)
        return loss(h, targets, drawn, mask)

    w = mg.Tensor(loss.weight.data, requires_grad=True)
    assert mg.gradcheck(of, (h, w))
    assert mg.gradgradcheck(of, (h, w))


@pytest.mark.parametrize("kind", [NegativeSamplingLoss, HierarchicalSoftmaxLoss])
def test_sparse_gradients_are_the_dense_ones(kind: Any, rng: np.random.Generator) -> None:
    dense, sparse = kind(3, COUNTS, dtype=np.float64), kind(3, COUNTS, sparse=True, dtype=np.float64)
    sparse.load_state_dict({"weight": random_weight(dense, rng)})
    h, targets = rng.standard_normal((5, 3)), rng.integers(0, 7, 5)
    for loss in (dense, sparse):
        mg.manual_seed(3)
        loss(h, targets).backward()
    assert type(sparse.weight.grad) is mg.RowSparse
    np.testing.assert_allclose(sparse.weight.grad.dense(), dense.weight.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_draws_follow_the_noise_distribution() -> None:
    loss = NegativeSamplingLoss(3, COUNTS)
    n = 200_000
    found = np.bincount(loss.draw((n // 4, 4)).reshape(-1), minlength=7) / n
    p = COUNTS**0.75 / np.sum(COUNTS**0.75)
    assert found[1] == 0
    np.testing.assert_allclose(found, p, atol=5 * np.sqrt(0.25 / n))
    uniform = NegativeSamplingLoss(3, COUNTS, power=0.0)
    found = np.bincount(uniform.draw((n,)), minlength=7) / n
    np.testing.assert_allclose(found, (COUNTS > 0) / 6, atol=5 * np.sqrt(0.25 / n))


def test_words_that_never_occur_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the random number falls on the edge between two words."""

    class Edges:
        def random(self, shape: Any, dtype: Any) -> Any:
            return np.array([0, 0.5, np.nextafter(0.5, 0), np.nextafter(1, 0)], dtype)

    monkeypatch.setattr(sampled, "generator", lambda device: Edges())
    assert NegativeSamplingLoss(3, [0, 1, 0, 1, 0]).draw((4,)).tolist() == [1, 3, 1, 3]


def test_a_large_vocabulary_is_drawn_to_its_last_word() -> None:
    """Words as rare as 10⁻⁸ are not lost to rounding."""
    counts = np.ones(10**6)
    counts[0] = 1e8
    drawn = NegativeSamplingLoss(1, counts, power=1.0).draw((10**6,))
    rare = drawn[drawn > 0]
    assert 9000 < rare.size < 11000
    assert drawn.max() < 10**6
    assert np.unique(rare).size > 0.98 * rare.size


def test_the_same_seed_gives_the_same_draws(rng: np.random.Generator) -> None:
    loss = NegativeSamplingLoss(3, COUNTS, negatives=8)
    random_weight(loss, rng)
    h, targets = rng.standard_normal((5, 3)).astype(np.float32), rng.integers(0, 7, 5)

    def run(seed: int) -> float:
        mg.manual_seed(seed)
        return float(loss(h, targets).item())

    assert run(1) == run(1) != run(2)


def test_the_start_is_word2vec_s() -> None:
    loss = NegativeSamplingLoss(3, COUNTS, negatives=4)
    assert loss(np.ones((2, 3), np.float32), [0, 2]).item() == pytest.approx(5 * np.log(2))
    assert list(loss.state_dict()) == ["weight"]
    assert repr(loss) == "NegativeSamplingLoss(3, 7 words, negatives=4, power=0.75)"


# ---- hierarchical softmax ----------------------------------------------------------------------------------------


@every_dtype
def test_hierarchical_softmax_is_a_product_along_the_path(dtype: Any, rng: np.random.Generator) -> None:
    loss = HierarchicalSoftmaxLoss(3, COUNTS, reduction="none", dtype=dtype)
    w, h = random_weight(loss, rng), rng.standard_normal((2, 7, 3)).astype(dtype)
    targets = np.stack([np.arange(7), np.arange(7)[::-1]])
    nodes, signs = huffman_paths(COUNTS)
    expected = np.zeros((2, 7))
    for at in np.ndindex(2, 7):
        for node, sign in zip(nodes[targets[at]], signs[targets[at]], strict=True):
            if sign:
                expected[at] -= log_sigmoid(float(sign * (w[node] @ h[at])))
    given = loss(mg.Tensor(h), targets)
    assert given.dtype == dtype
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(given.numpy(), expected, rtol=tolerance)
    log_p = loss.log_prob(h)
    assert (log_p.shape, log_p.dtype) == ((2, 7, 7), dtype)
    np.testing.assert_allclose(np.exp(log_p.numpy()).sum(-1), 1, rtol=tolerance)
    np.testing.assert_allclose(
        np.take_along_axis(log_p.numpy(), targets[..., None], -1)[..., 0], -expected, rtol=tolerance
    )


def test_derivatives_of_hierarchical_softmax(rng: np.random.Generator) -> None:
    loss = HierarchicalSoftmaxLoss(3, COUNTS, dtype=np.float64)
    h, targets = mg.Tensor(rng.standard_normal((5, 3)), requires_grad=True), rng.integers(0, 7, 5)
    w = mg.Tensor(rng.standard_normal(loss.weight.shape), requires_grad=True)

    def of(h: Any, w: Any) -> Any:
        object.__setattr__(loss, "weight", w)
        return loss(h, targets), loss.log_prob(h[:2])

    assert mg.gradcheck(of, (h, w))
    assert mg.gradgradcheck(of, (h, w))


many_counts = st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(any)


@given(many_counts)
def test_huffman_codes_are_shortest_and_complete(counts: list[int]) -> None:
    nodes, signs = huffman_paths(np.array(counts, np.float64))
    lengths = (signs != 0).sum(1)
    assert np.sum(0.5**lengths) == 1  # Kraft: every turn leads to a word
    heap = list(counts)  # the least total length is the sum of the joined counts
    heapq.heapify(heap)
    least = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        least += joined
        heapq.heappush(heap, joined)
    assert np.dot(counts, lengths) == least
    assert set(nodes[signs != 0].tolist()) == set(range(len(counts) - 1))
    assert np.all(np.diff((signs != 0).astype(int), axis=1) <= 0)  # padding stands at the end of a path
    for path, length in zip(nodes, lengths, strict=True):  # up to the root
        assert np.all(np.diff(path[:length]) > 0)
        assert np.all(path[length - 1 :] == len(counts) - 2)


@given(many_counts, st.integers(0, 2**32 - 1))
def test_probabilities_sum_to_one(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = HierarchicalSoftmaxLoss(2, counts, dtype=np.float64)
    random_weight(loss, rng)
    np.testing.assert_allclose(np.exp(loss.log_prob(3 * rng.standard_normal((3, 2))).numpy()).sum(-1), 1, rtol=1e-12)


# ---- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [NegativeSamplingLoss, HierarchicalSoftmaxLoss])
def test_masked_targets_do_not_leak(kind: Any, rng: np.random.Generator) -> None:
    loss = kind(3, COUNTS, dtype=np.float64)
    random_weight(loss, rng)
    h, targets, mask = rng.standard_normal((4, 3)), np.array([2, 4, -100, 0]), np.array([True, True, False, True])
    h[2] = np.nan
    arguments = [np.array([3, 5])] if kind is NegativeSamplingLoss else []
    x = mg.Tensor(h, requires_grad=True)
    value = loss(x, targets, *arguments, mask=mask)
    value.backward()
    gradient, loss.weight.grad = loss.weight.grad.numpy(), None
    expected = loss(h[mask], targets[mask], *arguments)
    expected.backward()
    np.testing.assert_allclose(value.item(), expected.item(), rtol=1e-13)
    np.testing.assert_allclose(gradient, loss.weight.grad.numpy(), rtol=1e-12, atol=1e-15)
    assert np.all(x.grad.numpy()[2] == 0)
    assert loss(h, targets, *arguments, mask=np.zeros(4, bool)).item() == 0


@pytest.mark.parametrize("kind", [NegativeSamplingLoss, HierarchicalSoftmaxLoss])
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda kind: kind(3, [1]), ValueError, "at least two words"),
        (lambda kind: kind(3, [1, -1]), ValueError, "not negative"),
        (lambda kind: kind(3, [0, 0]), ValueError, "not all zero"),
        (lambda kind: kind(3, [1.0, np.nan]), ValueError, "finite"),
        (lambda kind: kind(3, COUNTS)(np.ones((2, 4)), [0, 1]), ValueError, "4 features.*in_features is 3"),
        (lambda kind: kind(3, COUNTS)(np.ones((2, 3)), [0]), ValueError, r"integers of shape \(2,\), not int64 \(1,\)"),
        (lambda kind: kind(3, COUNTS)(np.ones((2, 3)), [0.0, 1.0]), ValueError, "float64"),
        (lambda kind: kind(3, COUNTS)(np.ones((2, 3)), [0, 7]), IndexError, "index 7 .* 7 rows"),
        (lambda kind: kind(3, COUNTS)(np.ones((2, 3)), [0, 1], mask=[1, 0]), ValueError, "boolean"),
    ],
)
def test_errors(kind: Any, call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=f"{kind.__name__}.*{message}"):
        call(kind)


def test_errors_of_negatives() -> None:
    with pytest.raises(ValueError, match=r"negatives must be \(2, 'K'\) or \('K',\), not \(3, 5\)"):
        NegativeSamplingLoss(3, COUNTS)(np.ones((2, 3)), [0, 1], np.zeros((3, 5), int))
    with pytest.raises(ValueError, match="at least 1, not 0"):
        NegativeSamplingLoss(3, COUNTS, negatives=0)
    with pytest.raises(IndexError, match="index 9"):
        NegativeSamplingLoss(3, COUNTS)(np.ones((2, 3)), [0, 1], [9])


@pytest.mark.parametrize("kind", [NegativeSamplingLoss, HierarchicalSoftmaxLoss])
@pytest.mark.parametrize("sparse", [False, True])
def test_they_run_everywhere(kind: Any, sparse: bool, backend: Any, rng: np.random.Generator) -> None:
    loss = kind(3, COUNTS, sparse=sparse).to(backend.device)
    h = backend.tensor(rng.standard_normal((5, 3)), np.float32, requires_grad=True)
    value = loss(h, backend.array(rng.integers(0, 7, 5)), mask=backend.array(np.arange(5) < 4))
    value.backward()
    assert np.isfinite(backend.numpy(value))
    assert np.all(np.isfinite(backend.numpy(h.grad)))
    backend.numpy(loss.weight.grad.rows if sparse else loss.weight.grad)
    if kind is HierarchicalSoftmaxLoss:
        np.testing.assert_allclose(backend.numpy(np.exp(loss.log_prob(h))).sum(-1), 1, rtol=1e-6)
