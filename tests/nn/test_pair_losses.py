"""Losses of more than two operands: a variance, or two inputs and a sign."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from nn import CosineEmbeddingLoss, GaussianNLLLoss, MarginRankingLoss

Rng = np.random.Generator


def leaf(array: Any) -> mg.Tensor:
    return mg.Tensor(np.array(array), requires_grad=True)


# ---- a normal distribution ---------------------------------------------------------------------------------------


def gaussian(x: Any, y: Any, v: Any) -> Any:
    """−log N(y; x, v), from its density."""
    return -np.log(np.exp(-((y - x) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v))


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 1), (4,), ()], ids=str)
def test_gaussian_is_its_density(shape: Any, rng: Rng, dtype: Any) -> None:
    x, y = rng.standard_normal((2, 4, 5)).astype(dtype)
    var = np.asarray(rng.uniform(0.5, 2, shape)).astype(dtype)
    each = gaussian(x, y, var[:, None] if shape == (4,) else var)
    mask = rng.random((4, 5)) < 0.6
    rtol = 1e-12 if dtype is np.float64 else 1e-5
    found = GaussianNLLLoss(full=True, reduction="none")(mg.Tensor(x), y, mg.Tensor(var))
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), each, rtol=rtol)
    np.testing.assert_allclose(GaussianNLLLoss(full=True)(x, y, var, mask).item(), each[mask].mean(), rtol=rtol)
    rest = GaussianNLLLoss(reduction="sum")(x, y, var).item()
    np.testing.assert_allclose(rest, each.sum() - 10 * math.log(2 * math.pi), rtol=10 * rtol)


def test_derivatives_of_gaussian(rng: Rng) -> None:
    x, y, v = leaf(rng.standard_normal((3, 4))), leaf(rng.standard_normal((3, 4))), leaf(rng.uniform(0.5, 2, (3, 1)))
    mask = rng.random((3, 4)) < 0.7
    assert mg.gradcheck(lambda *a: GaussianNLLLoss()(*a, mask), (x, y, v))
    assert mg.gradgradcheck(lambda *a: GaussianNLLLoss()(*a), (x, y, v))


def test_small_variances_count_as_eps_and_can_grow() -> None:
    v = leaf([1e-9, 0.0, 0.5])
    GaussianNLLLoss(eps=0.1, reduction="sum")(np.zeros(3), np.ones(3), v).backward()
    expected = [0.5 * (1 / w - 1 / w**2) for w in (0.1, 0.1, 0.5)]  # ½ (1 / v − d² / v²)
    np.testing.assert_allclose(v.grad.numpy(), expected)


# ---- an order ----------------------------------------------------------------------------------------------------


def test_ranking_is_its_formula(rng: Rng) -> None:
    x, z = leaf(rng.standard_normal((4, 5))), leaf(rng.standard_normal((4, 5)))
    y, mask = rng.choice([-1, 1], (4, 5)), rng.random((4, 5)) < 0.6
    each = np.maximum(0, 0.3 - y * (x.numpy() - z.numpy()))
    np.testing.assert_allclose(MarginRankingLoss(margin=0.3, reduction="none")(x, z, y).numpy(), each, rtol=1e-12)
    loss = MarginRankingLoss(margin=0.3)
    np.testing.assert_allclose(loss(x, z, y, mask).item(), each[mask].mean(), rtol=1e-12)
    assert mg.gradcheck(lambda x, z: loss(x, z, y, mask), (x, z))
    assert mg.gradgradcheck(lambda x, z: loss(x * x, z, y), (x, z))


# ---- a direction -------------------------------------------------------------------------------------------------


def test_cosine_is_its_formula(rng: Rng) -> None:
    x, z = leaf(rng.standard_normal((2, 3, 5))), leaf(rng.standard_normal((2, 3, 5)))
    y, mask = rng.choice([-1.0, 1.0], (2, 3)), rng.random((2, 3)) < 0.6
    a, b = x.numpy(), z.numpy()
    cos = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    each = np.where(y == 1, 1 - cos, np.maximum(0, cos + 0.2))
    loss = CosineEmbeddingLoss(margin=-0.2)
    np.testing.assert_allclose(CosineEmbeddingLoss(margin=-0.2, reduction="none")(x, z, y).numpy(), each, rtol=1e-10)
    np.testing.assert_allclose(loss(x, z, y, mask).item(), each[mask].mean(), rtol=1e-10)
    one = CosineEmbeddingLoss(margin=-0.2)(a[0, 0], b[0, 0], y[0, 0])
    np.testing.assert_allclose(one.item(), each[0, 0], rtol=1e-10)
    assert mg.gradcheck(lambda x, z: loss(x, z, y, mask), (x, z))
    assert mg.gradgradcheck(lambda x, z: loss(x, z, y), (x, z))


def test_a_vector_of_zeros_has_no_direction() -> None:
    x = leaf(np.zeros((2, 3)))
    loss = CosineEmbeddingLoss(reduction="none")(x, np.ones((2, 3)), [1, -1])
    loss.sum().backward()
    assert loss.tolist() == [1, 0]
    assert np.all(np.isfinite(x.grad.numpy()))


# ---- all of them -------------------------------------------------------------------------------------------------

LOSSES: list[tuple[Any, Any, Any]] = [
    (GaussianNLLLoss(), (4, 3), lambda rng: rng.uniform(0.5, 2, (4, 3))),
    (MarginRankingLoss(margin=0.5), (4, 3), lambda rng: rng.choice([-1, 1], (4, 3))),
    (CosineEmbeddingLoss(), (4,), lambda rng: rng.choice([-1, 1], 4)),
]
every = pytest.mark.parametrize(("loss", "shape", "third"), LOSSES, ids=lambda v: type(v).__name__)


@every
def test_masked_elements_do_not_leak(loss: Any, shape: Any, third: Any, backend: Any, rng: Rng) -> None:
    x, z = rng.standard_normal((2, 4, 3))
    t, mask = third(rng), np.arange(math.prod(shape)).reshape(shape) % 3 != 1
    where = mask if len(shape) == 2 else mask[:, None]
    found = []
    for a, b, c in ((x, z, t), (np.where(where, x, np.nan), np.where(where, z, np.inf), np.where(mask, t, -7))):
        a, b = backend.tensor(a, requires_grad=True), backend.tensor(b, requires_grad=True)
        value = loss(a, b, backend.array(c), backend.array(mask))
        value.backward()
        found.append([backend.numpy(v) for v in (value, a.grad, b.grad)])
    for clean, spoilt in zip(*found, strict=True):
        np.testing.assert_array_equal(clean, spoilt)
    assert np.all(found[0][1][~np.broadcast_to(where, x.shape)] == 0)


@every
def test_nothing_counts(loss: Any, shape: Any, third: Any, rng: Rng) -> None:
    x = leaf(np.full((4, 3), np.nan))
    value = loss(x, np.ones((4, 3)), third(rng), np.zeros(shape, bool))
    value.backward()
    assert value.item() == 0
    assert np.all(x.grad.numpy() == 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GaussianNLLLoss(eps=0.0), "eps must be positive, not 0.0"),
        (lambda: GaussianNLLLoss()(np.ones(3), np.ones(2), 1.0), r"the input is \(3,\), but the target is \(2,\)"),
        (lambda: GaussianNLLLoss()(np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), r"one for each of its rows.* \(3,\)"),
        (lambda: GaussianNLLLoss()(np.ones(2), np.ones(2), [1.0, -0.5]), "-0.5 is not a variance"),
        (lambda: MarginRankingLoss()(np.ones(3), np.ones(2), np.ones(3)), r"are \(3,\) and \(2,\); expected one shape"),
        (lambda: MarginRankingLoss()(np.ones(3), np.ones(3), np.ones(2)), r"the target must be \(3,\), not \(2,\)"),
        (lambda: MarginRankingLoss()(np.ones(2), np.ones(2), [1, 0]), "targets are 1 or -1, not 0"),
        (lambda: CosineEmbeddingLoss()(1.0, 1.0, 1), "the inputs are numbers"),
        (lambda: CosineEmbeddingLoss()(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))), r"target must be \(2,\)"),
        (lambda: CosineEmbeddingLoss()(np.ones((2, 3)), np.ones((2, 3)), [1, 1], [True]), "mask must be boolean"),
    ],
)  # fmt: skip
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
