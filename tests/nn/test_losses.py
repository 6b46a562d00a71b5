"""Losses against their formulas in plain NumPy; what does not count; derivatives; memory; errors."""

from __future__ import annotations

import tracemalloc
from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.fusion import fused
from nn import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    PoissonNLLLoss,
    SmoothL1Loss,
)
from nn.losses.cross_entropy import cross_entropy_error

Rng = np.random.Generator
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def log_softmax(x: Any) -> Any:
    return np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True))


def huber(x: float, y: float) -> float:
    d = abs(x - y)
    return 0.5 * d * d if d <= 0.7 else 0.7 * (d - 0.35)


# name: loss, the loss of one element, what inputs and targets are made of
ELEMENTWISE: dict[str, tuple[Any, Any, Any, Any]] = {
    "mse": (MSELoss, lambda x, y: (x - y) ** 2, lambda x: x, lambda x: x),
    "l1": (L1Loss, lambda x, y: abs(x - y), lambda x: x, lambda x: x),
    "huber": (lambda **o: HuberLoss(delta=0.7, **o), huber, lambda x: x, lambda x: x),
    "smooth_l1": (
        lambda **o: SmoothL1Loss(beta=0.7, **o), lambda x, y: huber(x, y) / 0.7, lambda x: x, lambda x: x
    ),
    "poisson": (PoissonNLLLoss, lambda x, y: np.exp(x) - y * x, lambda x: x, np.exp),
    "poisson_mean": (
        lambda **o: PoissonNLLLoss(log_input=False, full=True, eps=1e-3, **o),
        lambda x, y: x - y * np.log(x + 1e-3) + (y * np.log(y) - y + np.log(2 * np.pi * y) / 2 if y > 1 else 0),
        np.exp, lambda x: np.exp(2 * x),
    ),
    "bce": (BCELoss, lambda p, y: -y * np.log(p) - (1 - y) * np.log(1 - p), sigmoid, sigmoid),
    "bce_logits": (
        lambda **o: BCEWithLogitsLoss(pos_weight=3.0, **o),
        lambda x, y: -3 * y * np.log(sigmoid(x)) - (1 - y) * np.log(1 - sigmoid(x)), lambda x: x, sigmoid,
    ),
    "kl": (KLDivLoss, lambda x, y: y * (np.log(y) - x), log_softmax, sigmoid),
    "kl_log": (
        lambda **o: KLDivLoss(log_target=True, **o), lambda x, y: np.exp(y) * (y - x), log_softmax, log_softmax
    ),
}  # fmt: skip


def drawn(name: str, rng: Rng, shape: tuple[int, ...] = (3, 5), dtype: Any = np.float64) -> tuple[Any, Any]:
    _, _, of_input, of_target = ELEMENTWISE[name]
    x, y = rng.standard_normal((2, *shape))
    return of_input(x).astype(dtype), of_target(y).astype(dtype)


def leaf(array: Any) -> mg.Tensor:
    return mg.Tensor(array.copy(), requires_grad=True)


# ---- element by element ------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_losses_are_their_formulas(name: str, rng: Rng, dtype: Any) -> None:
    make, formula, _, _ = ELEMENTWISE[name]
    x, y = drawn(name, rng, dtype=dtype)
    each = np.array(
        [[formula(float(p), float(q)) for p, q in zip(*rows, strict=True)] for rows in zip(x, y, strict=True)]
    )
    mask = rng.random(x.shape) < 0.6
    tolerance = 1e-12 if dtype is np.float64 else 2e-6
    for given, expected in (
        (make(reduction="none")(mg.Tensor(x), y), each),
        (make(reduction="sum")(mg.Tensor(x), mg.Tensor(y)), each.sum()),
        (make()(x, y), each.mean()),
        (make(reduction="none")(mg.Tensor(x), y, mask), np.where(mask, each, 0)),
        (make(reduction="sum")(mg.Tensor(x), y, mask=mask), each[mask].sum()),
        (make()(mg.Tensor(x), y, mg.Tensor(mask)), each[mask].mean()),
    ):
        assert given.dtype == dtype
        np.testing.assert_allclose(given.numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivatives_of_elementwise_losses(name: str, rng: Rng) -> None:
    make = ELEMENTWISE[name][0]
    x, y = map(leaf, drawn(name, rng))
    mask = rng.random(x.shape) < 0.6
    assert mg.gradcheck(lambda x, y: make()(x, y), (x, y))
    assert mg.gradcheck(lambda x, y: make(reduction="none")(x, y, mask), (x, y))
    assert mg.gradgradcheck(lambda x, y: make()(x, y, mask), (x, y))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_masked_elements_do_not_leak(name: str, rng: Rng) -> None:
    make = ELEMENTWISE[name][0]
    x, y = drawn(name, rng)
    mask = rng.random(x.shape) < 0.6
    spoilt, spoilt_y = leaf(np.where(mask, x, np.nan)), leaf(np.where(mask, y, np.inf))
    clean, clean_y = leaf(x), leaf(y)
    for a, b in ((spoilt, spoilt_y), (clean, clean_y)):
        make()(a, b, mask).backward()
    for ours, expected in ((spoilt.grad, clean.grad), (spoilt_y.grad, clean_y.grad)):
        np.testing.assert_array_equal(ours.numpy(), expected.numpy())
        assert np.all(ours.numpy()[~mask] == 0)
        assert np.all(ours.numpy()[mask] != 0)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nothing_counts(name: str, rng: Rng) -> None:
    x, y = drawn(name, rng)
    x = leaf(np.full_like(x, np.nan))
    loss = ELEMENTWISE[name][0]()(x, y, np.zeros(x.shape, bool))
    loss.backward()
    assert loss.item() == 0
    assert np.all(x.grad.numpy() == 0)


def test_batchmean_divides_by_rows_that_count(rng: Rng) -> None:
    x, y = drawn("kl", rng, (4, 5))
    each = y * (np.log(y) - x)
    loss = KLDivLoss(reduction="batchmean")
    np.testing.assert_allclose(loss(mg.Tensor(x), y).item(), each.sum() / 4, rtol=1e-12)
    mask = np.ones((4, 5), bool)
    mask[1], mask[2, 3:] = False, False
    np.testing.assert_allclose(loss(mg.Tensor(x), y, mask).item(), each[mask].sum() / 3, rtol=1e-12)


def test_divergence_where_the_target_is_zero() -> None:
    x, y = leaf(np.array([-1.0, -2.0])), leaf(np.array([0.0, 1.0]))
    loss = KLDivLoss(reduction="none")(x, y)
    loss.sum().backward()
    assert loss.tolist() == [0, 2]
    assert x.grad.tolist() == [0, -1]
    assert np.all(np.isfinite(y.grad.numpy()))


@every_dtype
def test_two_classes_at_the_extremes(dtype: Any) -> None:
    x = leaf(np.array([1e4, -1e4, 1e4, -1e4], dtype))
    loss = BCEWithLogitsLoss(reduction="none")(x, np.array([1, 0, 0, 1]))
    loss.sum().backward()
    assert (loss.tolist(), x.grad.tolist()) == ([0, 0, 1e4, 1e4], [0, 0, 1, -1])
    p = leaf(np.array([1, 0, 0, 1], dtype))
    loss = BCELoss(reduction="none")(p, np.array([1, 0, 1, 0]))
    loss.sum().backward()
    assert loss.tolist() == [0, 0, 100, 100]
    np.testing.assert_allclose(p.grad.numpy(), [0, 0, -1e12, 1e12], rtol=1e-6)
    assert np.isnan(BCELoss()(mg.Tensor(np.array([np.nan], dtype)), [1]).item())  # nothing is hidden


def test_weights_of_elements(rng: Rng) -> None:
    x, y = drawn("bce", rng)
    weight = rng.random(5)
    each = -y * np.log(x) - (1 - y) * np.log(1 - x)
    np.testing.assert_allclose(BCELoss(weight)(mg.Tensor(x), y).item(), (each * weight).mean(), rtol=1e-12)
    logits = np.log(x / (1 - x))
    np.testing.assert_allclose(
        BCEWithLogitsLoss(weight)(mg.Tensor(logits), y).item(), (each * weight).mean(), rtol=1e-12
    )


# ---- many classes ------------------------------------------------------------------------------------------------


def rows_of(logits: Any, targets: Any, w: Any, smoothing: float) -> list[tuple[float, float]]:
    """(loss, weight) of each row whose target is not −100, from the definition."""
    found = []
    for x, t in zip(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), strict=True):
        if t != -100:
            q = np.full(len(x), smoothing / len(x))
            q[t] += 1 - smoothing
            found.append((float(-np.sum(q * w * log_softmax(x.astype(np.float64)))), float(w[t])))
    return found


OPTIONS: list[dict[str, Any]] = [
    {}, {"weighted": True}, {"label_smoothing": 0.1}, {"weighted": True, "label_smoothing": 0.3}
]  # fmt: skip
every_option = pytest.mark.parametrize("options", OPTIONS, ids=["plain", "weighted", "smoothed", "both"])


def cross_entropy_with(options: dict[str, Any], weight: Any, **more: Any) -> CrossEntropyLoss:
    return CrossEntropyLoss(
        weight if options.get("weighted") else None, label_smoothing=options.get("label_smoothing", 0.0), **more
    )


@every_dtype
@every_option
@pytest.mark.parametrize("shape", [(5,), (7, 5), (3, 4, 5)], ids=str)
def test_cross_entropy_is_its_formula(options: Any, shape: Any, rng: Rng, dtype: Any) -> None:
    x, weight = rng.standard_normal(shape).astype(dtype), rng.uniform(0.5, 2, shape[-1]).astype(dtype)
    t = np.asarray(rng.integers(0, shape[-1], shape[:-1]))
    if t.size > 1:
        t.reshape(-1)[::3] = -100
    rows = rows_of(x, t, weight if "weighted" in options else np.ones(shape[-1]), options.get("label_smoothing", 0.0))
    total, n = sum(r[0] for r in rows), sum(r[1] for r in rows)
    tolerance = 1e-12 if dtype is np.float64 else 2e-6
    mean = cross_entropy_with(options, weight)(x, t)
    each = cross_entropy_with(options, weight, reduction="none")(x, mg.Tensor(t))
    assert (mean.dtype, each.dtype, each.shape) == (dtype, dtype, t.shape)
    np.testing.assert_allclose(mean.item(), total / n, rtol=tolerance)
    np.testing.assert_allclose(each.numpy()[t != -100], [r[0] for r in rows], rtol=tolerance)
    assert np.all(each.numpy()[t == -100] == 0)
    if not options.get("label_smoothing"):
        nll = NLLLoss(weight if options.get("weighted") else None)
        np.testing.assert_allclose(nll(log_softmax(x), t).item(), total / n, rtol=10 * tolerance)


@every_option
@pytest.mark.parametrize("order", ["C", "F"])
def test_derivatives_of_cross_entropy(options: Any, order: Any, rng: Rng) -> None:
    x = mg.Tensor(np.asarray(rng.standard_normal((6, 5)), order=order), requires_grad=True)
    weight, t = rng.uniform(0.5, 2, 5), np.array([4, 0, -100, 2, 2, 1])
    mask = np.array([True, True, True, False, True, True])
    for reduction in ("mean", "none"):
        loss = cross_entropy_with(options, weight, reduction=reduction)
        assert mg.gradcheck(lambda x, loss=loss: loss(x, t, mask), x)
        assert mg.gradgradcheck(lambda x, loss=loss: loss(x, t, mask), x)


@every_option
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_a_linear_map_is_that_of_its_logits(
    options: Any, bias: Any, reduction: Any, rng: Rng
) -> None:  # fmt: skip
    out, weight = nn.Linear(3, 5, bias=bias, dtype=np.float64), rng.uniform(0.5, 2, 5)
    t, mask = rng.integers(0, 5, (4, 6)), rng.random((4, 6)) < 0.8
    t[0, :2] = -100
    loss = cross_entropy_with(options, weight, reduction=reduction)
    up = rng.standard_normal((4, 6) if reduction == "none" else ())
    found = []
    for of in (lambda x: loss(out(x), t, mask), lambda x: loss.of_linear(out, x, t, mask)):
        x = leaf(np.sin(np.arange(72.0)).reshape(4, 6, 3))
        out.zero_grad()
        y = of(x)
        y.backward(up)
        found.append([y, x.grad, *(w.grad for w in out.parameters())])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12, atol=1e-15)


@every_option
def test_derivatives_of_cross_entropy_of_a_linear_map(options: Any, rng: Rng) -> None:
    class Map(NamedTuple):
        weight: Any
        bias: Any

    x, w, b = (leaf(rng.standard_normal(shape)) for shape in ((4, 3), (5, 3), (5,)))
    t = np.array([4, -100, 2, 2])
    loss = cross_entropy_with(options, rng.uniform(0.5, 2, 5), reduction="none")
    assert mg.gradcheck(lambda x, w, b: loss.of_linear(Map(w, b), x, t), (x, w, b))
    assert mg.gradgradcheck(lambda x, w, b: loss.of_linear(Map(w, b), x, t), (x, w, b))


def test_cross_entropy_of_a_linear_map_in_blocks(rng: Rng, monkeypatch: Any) -> None:
    """Many rows are worked on a few at a time; the numbers are those of all at once."""
    out, x, t = nn.Linear(3, 7, dtype=np.float64), leaf(rng.standard_normal((50, 3))), rng.integers(0, 7, 50)
    whole = CrossEntropyLoss(reduction="none").of_linear(out, x, t).numpy()
    monkeypatch.setattr(fused, "BLOCK", 20)
    monkeypatch.setattr(fused, "CompiledPlan", type(None))  # as without kernels
    blocks = CrossEntropyLoss(reduction="none").of_linear(out, x, t).numpy()
    np.testing.assert_allclose(blocks, whole, rtol=1e-14)
    nothing = CrossEntropyLoss().of_linear(out, leaf(np.zeros((0, 3))), np.zeros(0, int))
    nothing.backward()
    assert nothing.item() == 0


def test_memory_of_cross_entropy_of_a_linear_map(rng: Rng) -> None:
    """One array of the size of the logits, forward and backward."""
    out, x, t = nn.Linear(4, 5000, dtype=np.float64), leaf(rng.standard_normal((100, 4))), rng.integers(0, 5000, 100)
    tracemalloc.start()
    CrossEntropyLoss().of_linear(out, x, t).backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.8 * 100 * 5000 * 8


def test_cross_entropy_of_a_linear_map_refuses_what_does_not_fit() -> None:
    out, loss = nn.Linear(3, 5), CrossEntropyLoss()
    with pytest.raises(ValueError, match="in_features is 3"):
        loss.of_linear(out, mg.zeros((2, 4)), [0, 1])
    with pytest.raises(ValueError, match=r"must be of shape \(2,\)"):
        loss.of_linear(out, mg.zeros((2, 3)), [0, 1, 2])
    with pytest.raises(IndexError, match=r"targets must be in \[0, 5\)"):
        loss.of_linear(out, mg.zeros((2, 3)), [0, 5])
    with pytest.raises(ValueError, match="weight is for 4 classes, the map has 5"):
        CrossEntropyLoss(np.ones(4)).of_linear(out, mg.zeros((2, 3)), [0, 1])


@every_option
def test_third_derivatives_equal_those_of_log_softmax(options: Any, rng: Rng) -> None:
    x, weight, t = leaf(rng.standard_normal((4, 5))), rng.uniform(0.5, 2, 5), np.array([4, 0, 2, 2])
    w = weight if options.get("weighted") else np.ones(5)
    q = (1 - options.get("label_smoothing", 0.0)) * np.eye(5)[t] + options.get("label_smoothing", 0.0) / 5

    def third(f: Any) -> Any:
        second = mg.grad(lambda x: np.sum(np.sin(mg.grad(f)(x))))
        return mg.grad(lambda x: np.sum(np.sin(2 * second(x))))(x).numpy()

    fused = third(lambda x: np.sum(cross_entropy_with(options, weight, reduction="none")(x, t) ** 2))
    composed = third(lambda x: np.sum(np.sum(q * w * mg.log_softmax(x), axis=-1) ** 2))
    np.testing.assert_allclose(fused, composed, rtol=1e-10, atol=1e-12)


@every_option
def test_rows_that_do_not_count_do_not_leak(options: Any, rng: Rng) -> None:
    x, weight = rng.standard_normal((6, 5)), rng.uniform(0.5, 2, 5)
    t, mask = np.array([4, 0, -100, 2, 99, 1]), np.array([True, True, True, True, False, True])
    spoilt = x.copy()
    spoilt[2], spoilt[4, 1:3] = np.nan, np.inf
    loss = cross_entropy_with(options, weight)
    kept = [0, 1, 3, 5]

    def penalised(loss: Any, x: Any) -> Any:
        """A loss with its gradient in it, so that its own gradient is of second order."""
        value, gradient = mg.value_and_grad(loss)(x)
        return value + np.sum(gradient * gradient)

    for f in (lambda loss, x: loss(x), penalised):
        a, b = leaf(spoilt), leaf(x[kept])
        value, expected = f(lambda x: loss(x, t, mask), a), f(lambda x: loss(x, t[kept]), b)
        value.backward()
        expected.backward()
        np.testing.assert_allclose(value.item(), expected.item(), rtol=1e-13)
        np.testing.assert_allclose(a.grad.numpy()[kept], b.grad.numpy(), rtol=1e-12, atol=1e-15)
        assert np.all(a.grad.numpy()[[2, 4]] == 0)


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), NLLLoss(), CrossEntropyLoss(np.ones(5), label_smoothing=0.1)])
def test_all_targets_ignored(loss: Any) -> None:
    x = leaf(np.full((3, 5), np.nan))
    value = loss(x, np.full(3, -100))
    value.backward()
    assert value.item() == 0
    assert np.all(x.grad.numpy() == 0)


def test_nll_does_not_leak(rng: Rng) -> None:
    x = log_softmax(rng.standard_normal((3, 2, 5)))
    x[1] = np.nan
    x, t = leaf(x), rng.integers(0, 5, (3, 2))
    mask = np.array([[True] * 2, [False] * 2, [True] * 2])
    NLLLoss(rng.uniform(0.5, 2, 5))(x, t, mask).backward()
    assert np.all(np.isfinite(x.grad.numpy()))
    assert np.all((x.grad.numpy() != 0).sum(-1) == mask)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_distributions_as_targets(weighted: bool, smoothing: float, rng: Rng) -> None:
    x, q = leaf(rng.standard_normal((2, 3, 5))), leaf(np.exp(log_softmax(rng.standard_normal((2, 3, 5)))))
    w = rng.uniform(0.5, 2, 5) if weighted else np.ones(5)
    each = -((q.numpy() * (1 - smoothing) + smoothing / 5) * w * log_softmax(x.numpy())).sum(-1)
    mask = rng.random((2, 3)) < 0.6
    loss = CrossEntropyLoss(w if weighted else None, label_smoothing=smoothing)
    np.testing.assert_allclose(loss(x, q).item(), each.mean(), rtol=1e-12)
    np.testing.assert_allclose(loss(x, q, mask).item(), each[mask].mean(), rtol=1e-12)
    assert mg.gradcheck(lambda x, q: loss(x, q, mask), (x, q))
    assert mg.gradgradcheck(lambda x, q: loss(x, q), (x, q))
    spoilt = leaf(np.where(mask[..., None], x.numpy(), np.nan))
    loss(spoilt, np.where(mask[..., None], q.numpy(), np.nan), mask).backward()
    assert np.all(np.isfinite(spoilt.grad.numpy()))


@every_dtype
def test_cross_entropy_at_the_extremes(dtype: Any) -> None:
    x = leaf(np.array([[1e4, 0, -1e4], [1e4, 1e4 - 1, 1e4 - 2], [-np.inf, 0, 0]], dtype))
    loss = CrossEntropyLoss(reduction="none")(x, [0, 1, 2])
    loss.sum().backward()
    p = np.exp([0, -1, -2]) / np.exp([0, -1, -2]).sum()
    np.testing.assert_allclose(loss.numpy(), [0, -np.log(p[1]), np.log(2)], rtol=1e-6 if dtype is np.float32 else 1e-12)
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0, 0], p - [0, 1, 0], [0, 0.5, -0.5]], atol=1e-6)


def test_columns_in_memory_stay_columns(rng: Rng) -> None:
    x, t = rng.standard_normal((40, 30)).astype(np.float32), rng.integers(0, 30, 40)
    rows, columns = leaf(x), mg.Tensor(np.asfortranarray(x), requires_grad=True)
    for v in (rows, columns):
        CrossEntropyLoss()(v, t).backward()
    np.testing.assert_allclose(columns.grad.numpy(), rows.grad.numpy(), rtol=1e-5, atol=1e-9)
    g = cross_entropy_error.forward(np.ones(40, np.float32), columns.data, t, None, None)
    assert g.flags.f_contiguous


def test_memory_of_cross_entropy(rng: Rng) -> None:
    """At most the softmax and the gradient are made, nothing else of the size of the logits."""
    x, t = leaf(rng.standard_normal((100, 5000))), rng.integers(0, 5000, 100)
    CrossEntropyLoss()(x, t).backward()  # buffers that fused functions use again
    x.grad = None
    tracemalloc.start()
    try:
        loss = CrossEntropyLoss()(x, t)
        kept, after_forward = tracemalloc.get_traced_memory()
        loss.backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1.05 * x.nbytes
    assert after_forward < 1.1 * x.nbytes + 3 * 8 * fused.BLOCK  # a block is worked on at a time
    assert peak < 2.1 * x.nbytes


# ---- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: CrossEntropyLoss()(np.ones((2, 3)), [0, 3]), IndexError, "CrossEntropyLoss: index 3 .*ignore_index"),
        (lambda: NLLLoss()(np.ones((2, 3)), [-1, 0]), IndexError, "NLLLoss: index -1 "),
        (lambda: CrossEntropyLoss()(np.ones((2, 3, 4)), np.zeros((2, 4), int)), ValueError, r"last axis.*\(2, 3\)"),
        (lambda: CrossEntropyLoss()(np.ones((2, 3)), [0.0, 1.0]), TypeError, "must be integers, not float64"),
        (lambda: CrossEntropyLoss()(1.0, 0), ValueError, "no axes"),
        (lambda: CrossEntropyLoss(np.ones(4))(np.ones((2, 3)), [0, 1]), ValueError, "for 4 classes.* has 3"),
        (lambda: CrossEntropyLoss(np.ones((4, 1))), ValueError, r"\(4, 1\)"),
        (lambda: CrossEntropyLoss(label_smoothing=1.5), ValueError, "1.5"),
        (lambda: CrossEntropyLoss(reduction="avg"), ValueError, "mean, sum, none, not 'avg'"),
        (lambda: CrossEntropyLoss()(np.ones((2, 3)), [0, 1], [True]), ValueError, r"boolean and of shape \(2,\)"),
        (lambda: MSELoss()(np.ones((2, 3)), np.ones(3)), ValueError, r"MSELoss: the input is \(2, 3\).* \(3,\)"),
        (lambda: MSELoss()(np.ones(3), np.ones(3), np.ones(3)), ValueError, "boolean"),
        (lambda: HuberLoss(delta=0.0), ValueError, "positive, not 0.0"),
        (lambda: SmoothL1Loss(beta=-1.0), ValueError, "must not be negative, and is -1.0"),
        (lambda: BCELoss()([0.5, 1.5], [0, 1]), ValueError, "BCELoss: 1.5 is not a probability"),
        (lambda: BCELoss()([0.5, -0.5], [0, 1]), ValueError, "BCELoss: -0.5 is not a probability"),
        (lambda: KLDivLoss(reduction="batchmean")(0.5, 0.5), ValueError, "batch axis"),
        (lambda: MSELoss(reduction="batchmean"), ValueError, "batchmean"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_masked_targets_are_not_looked_at(rng: Rng) -> None:
    x = rng.standard_normal((2, 3))
    whole = CrossEntropyLoss()(x[:1], [2]).item()
    assert CrossEntropyLoss()(x, [2, 77], [True, False]).item() == whole
    assert CrossEntropyLoss(ignore_index=1)(x, np.array([2, 1], np.uint8)).item() == whole


def test_weights_are_buffers() -> None:
    loss = CrossEntropyLoss([1.0, 2.0])
    assert list(loss.state_dict()) == ["weight"]
    assert list(loss.parameters()) == []
    assert list(BCEWithLogitsLoss(pos_weight=[1, 2]).state_dict()) == ["pos_weight"]
    assert repr(loss) == "CrossEntropyLoss(ignore_index=-100, reduction='mean')"
    assert CrossEntropyLoss().weight is None


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_losses_run_everywhere(name: str, backend: Any, rng: Rng) -> None:
    make = ELEMENTWISE[name][0]
    x, y = drawn(name, rng)
    mask = rng.random(x.shape) < 0.6
    there, here = backend.tensor(x, requires_grad=True), leaf(x)
    make()(there, backend.array(y), backend.array(mask)).backward()
    make()(here, y, mask).backward()
    np.testing.assert_allclose(backend.numpy(there.grad), here.grad.numpy(), rtol=1e-12)


@every_option
def test_cross_entropy_of_a_linear_map_runs_everywhere(options: Any, backend: Any, rng: Rng) -> None:
    x, weight, t = rng.standard_normal((6, 3)), rng.uniform(0.5, 2, 5), np.array([4, 0, -100, 2, 2, 1])
    out = nn.Linear(3, 5, dtype=np.float64)
    here = leaf(x)
    cross_entropy_with(options, weight).of_linear(out, here, t).backward()
    there, out = backend.tensor(x, requires_grad=True), out.to(backend.device)
    cross_entropy_with(options, weight).to(backend.device).of_linear(out, there, backend.array(t)).backward()
    np.testing.assert_allclose(backend.numpy(there.grad), here.grad.numpy(), rtol=1e-12, atol=1e-15)


@every_option
def test_cross_entropy_runs_everywhere(options: Any, backend: Any, rng: Rng) -> None:
    x, weight, t = rng.standard_normal((6, 5)), rng.uniform(0.5, 2, 5), np.array([4, 0, -100, 2, 2, 1])
    there, here = backend.tensor(x, requires_grad=True), leaf(x)
    cross_entropy_with(options, weight).to(backend.device)(there, backend.array(t)).backward(create_graph=True)
    np.sum(there.grad**2).backward()
    cross_entropy_with(options, weight)(here, t).backward(create_graph=True)
    np.sum(here.grad**2).backward()
    np.testing.assert_allclose(backend.numpy(there.grad), here.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_means_of_many_float16_numbers() -> None:
    """Neither their sum nor their count is a number of float16."""
    n = 100_000
    x, mask = mg.tensor(np.full((n, 1), 2, np.float16), requires_grad=True), np.ones((n, 1), bool)
    for loss in (nn.MSELoss()(x, np.zeros((n, 1))), nn.MSELoss()(x, np.zeros((n, 1)), mask)):
        assert (loss.dtype, loss.item()) == (np.float16, 4.0)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full((n, 1), 4 / n), rtol=1e-2)
    logits = mg.zeros((n, 2), dtype=np.float16)
    certain, real = np.tile([1.0, 0.0], (n, 1)), np.ones((n, 2), bool)
    for found in (
        nn.CrossEntropyLoss()(logits, np.zeros(n, int)),
        nn.KLDivLoss(reduction="batchmean")(mg.log_softmax(logits), certain, real),
    ):
        assert found.item() == pytest.approx(np.log(2), abs=2e-3)
