"""CTC: against a sum over all alignments, differences, and itself on every path; lengths, infinity, errors."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from nn import CTCLoss

Rng = np.random.Generator
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def read(path: Any, blank: int) -> tuple[int, ...]:
    """The labelling of an alignment: without repetitions, then without blanks."""
    return tuple(int(c) for c, _ in itertools.groupby(path) if c != blank)


def by_hand(x: Any, labels: Any, blank: int = 0) -> tuple[float, Any]:
    """−log p of a labelling, and the posterior of each class at each step, from all alignments; x (T, C)."""
    T, C = x.shape
    total, each = 0.0, np.zeros((T, C))
    for path in itertools.product(range(C), repeat=T):
        if read(path, blank) == tuple(labels):
            p = np.exp(sum(x[t, c] for t, c in enumerate(path)))
            total += p
            each[range(T), path] += p
    return (-np.log(total), each / total) if total else (np.inf, np.full((T, C), np.nan))


def log_softmax(x: Any) -> Any:
    return np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True))


LENGTHS, COUNTS = [5, 4, 2, 3, 0, 5], [3, 2, 1, 0, 0, 2]  # and a labelling with a repetition, which needs 3 steps
LABELS = [[1, 2, 1], [2, 2, 0], [1, 7, 7], [9, 9, 9], [0, 0, 0], [2, 1, 2]]


def of_blank(labels: Any, blank: int) -> Any:
    """The same labels, where another class of three is the blank."""
    return [[{0: blank, blank: 0}.get(c, c) for c in row] for row in labels]


@every_dtype
@pytest.mark.parametrize("blank", [0, 1, 2])
def test_loss_and_gradient_are_sums_over_alignments(blank: int, rng: Rng, dtype: Any) -> None:
    x = log_softmax(rng.standard_normal((5, 6, 3))).astype(dtype)
    labels = of_blank(LABELS, blank)
    leaf = mg.Tensor(x, requires_grad=True)
    losses = CTCLoss(blank, "none")(leaf, labels, LENGTHS, COUNTS)
    weights = rng.uniform(0.5, 2, 6).astype(dtype)
    losses.backward(weights)
    assert (losses.dtype, leaf.grad.dtype) == (dtype, dtype)
    rtol = 1e-12 if dtype is np.float64 else 5 * 4e-7
    for n, (T, S) in enumerate(zip(LENGTHS, COUNTS, strict=True)):
        loss, posteriors = by_hand(x[:T, n].astype(np.float64), labels[n][:S], blank)
        np.testing.assert_allclose(losses.numpy()[n], loss, rtol=rtol, atol=1e-15)
        np.testing.assert_allclose(leaf.grad.numpy()[:T, n], -weights[n] * posteriors, rtol=rtol, atol=2 * rtol)
        assert not leaf.grad.numpy()[T:, n].any()


def test_reductions(rng: Rng) -> None:
    x = log_softmax(rng.standard_normal((5, 6, 3)))
    each = CTCLoss(reduction="none")(x, LABELS, LENGTHS, COUNTS).numpy()
    np.testing.assert_allclose(CTCLoss(reduction="sum")(x, LABELS, LENGTHS, COUNTS).item(), each.sum(), rtol=1e-14)
    mean = (each / np.maximum(COUNTS, 1)).mean()
    np.testing.assert_allclose(CTCLoss()(x, LABELS, LENGTHS, COUNTS).item(), mean, rtol=1e-14)
    assert repr(CTCLoss()) == "CTCLoss(blank=0, reduction='mean', zero_infinity=False)"


def test_targets_in_a_row_one_sequence_alone_and_lengths_left_out(rng: Rng) -> None:
    x = log_softmax(rng.standard_normal((5, 6, 3)))
    loss = CTCLoss(reduction="none")
    each = loss(x, LABELS, LENGTHS, COUNTS).numpy()
    row = [c for labels, n in zip(LABELS, COUNTS, strict=True) for c in labels[:n]]
    np.testing.assert_array_equal(loss(x, row, LENGTHS, COUNTS).numpy(), each)
    alone = loss(x[:4, 1], [2, 2, 8], 4, 2)
    assert alone.shape == ()
    np.testing.assert_allclose(alone.item(), each[1], rtol=1e-14)
    np.testing.assert_allclose(loss(x[:, :1], [[1, 2, 1]]).numpy(), each[:1], rtol=1e-14)
    np.testing.assert_allclose(loss(x[:, 0], mg.tensor([1, 2, 1]), mg.tensor(5)).item(), each[0], rtol=1e-14)


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_derivatives(zero_infinity: bool, rng: Rng) -> None:
    x = mg.Tensor(rng.standard_normal((5, 6, 3)), requires_grad=True)
    for reduction in ("none", "mean"):
        loss = CTCLoss(reduction=reduction, zero_infinity=zero_infinity)
        f = lambda x, loss=loss: loss(x, LABELS, LENGTHS, COUNTS)  # noqa: E731
        assert mg.gradcheck(f, x)
        assert mg.gradgradcheck(f, x)


def test_third_derivatives_are_those_of_the_plain_path(rng: Rng) -> None:
    x = mg.Tensor(rng.standard_normal((4, 2, 3)))

    def third() -> Any:
        f = lambda x: np.sum(CTCLoss(reduction="none")(x, [[1, 2], [2, 2]], [4, 3], [2, 2]) ** 2)  # noqa: E731
        second = mg.grad(lambda x: np.sum(np.sin(mg.grad(f)(x))))
        return mg.grad(lambda x: np.sum(np.sin(2 * second(x))))(x).numpy()

    fast = third()
    with mg.plain_path():
        np.testing.assert_allclose(fast, third(), rtol=1e-9, atol=1e-11)


@every_dtype
@pytest.mark.parametrize(("T", "N", "C", "S"), [(40, 5, 7, 9), (300, 2, 5, 100), (3, 1, 2, 1)])
def test_the_fast_path_is_the_plain_one(T: int, N: int, C: int, S: int, rng: Rng, dtype: Any) -> None:
    x = 3 * rng.standard_normal((T, N, C))
    labels, counts = rng.integers(1, C, (N, S)), rng.integers(0, S + 1, N)
    lengths = np.minimum(T, 2 * counts + rng.integers(0, T, N))

    def run(x: Any) -> tuple[Any, Any]:
        leaf = mg.Tensor(x, requires_grad=True)
        loss = CTCLoss(reduction="none")(mg.log_softmax(leaf), labels, lengths, counts)
        loss.sum().backward()
        return loss.numpy(), leaf.grad.numpy()

    found = run(x.astype(dtype))
    with mg.plain_path():
        expected = run(x.astype(dtype).astype(np.float64))
    rtol = 1e-12 if dtype is np.float64 else 4e-7 * T
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def test_evaluation_makes_no_posteriors(rng: Rng) -> None:
    x = mg.Tensor(log_softmax(rng.standard_normal((5, 6, 3))), requires_grad=True)
    recorded = CTCLoss()(x, LABELS, LENGTHS, COUNTS)
    with mg.no_grad():
        loss = CTCLoss()(x, LABELS, LENGTHS, COUNTS)
    assert not loss.requires_grad
    assert loss.item() == recorded.item()


# ---- padding, and impossible labellings --------------------------------------------------------------------------


def test_padding_does_not_leak(rng: Rng) -> None:
    x = rng.standard_normal((5, 6, 3))
    spoilt = x.copy()
    for n, T in enumerate(LENGTHS):
        spoilt[T:, n] = np.nan
    found = []
    for array in (x, spoilt):
        leaf = mg.Tensor(array, requires_grad=True)
        loss = CTCLoss()(leaf, LABELS, LENGTHS, COUNTS)
        loss.backward(create_graph=True)
        gradient = leaf.grad
        np.sum(gradient**2).backward()
        found.append((loss.item(), gradient.numpy(), leaf.grad.numpy()))
    for clean, other in zip(*found, strict=True):
        np.testing.assert_array_equal(clean, other)


def test_a_nan_in_a_step_that_counts_is_seen(rng: Rng) -> None:
    x = rng.standard_normal((5, 6, 3))
    x[1, 0, 2] = np.nan
    loss = CTCLoss(reduction="none")(x, LABELS, LENGTHS, COUNTS).numpy()
    assert np.isnan(loss).tolist() == [True] + [False] * 5


@pytest.mark.parametrize("plain", [False, True])
def test_a_labelling_without_an_alignment(plain: bool, rng: Rng) -> None:
    """Too long, or too long with the blank that its repetition needs; the others are not touched by it."""
    x = rng.standard_normal((4, 4, 3))
    given = [[1, 2, 1], [1, 1, 2], [1, 2, 1], [2, 0, 0]], [2, 3, 3, 0], [3, 3, 3, 1]
    with mg.plain_path() if plain else mg.enable_grad():
        for zero in (False, True):
            leaf = mg.Tensor(x, requires_grad=True)
            message = (
                r"CTCLoss: sequence 0 has 2 steps, its 3 labels need 3 \(.*\), so .*; leave such sequences out "
                r"\(3 of 4 here\), or give zero_infinity=True"
            )
            with contextlib.nullcontext() if zero else pytest.warns(RuntimeWarning, match=message):
                losses = CTCLoss(reduction="none", zero_infinity=zero)(leaf, *given)
            losses.sum().backward()
            assert losses.numpy()[[0, 1, 3]].tolist() == [0.0 if zero else np.inf] * 3
            np.testing.assert_allclose(losses.numpy()[2], -(x[0, 2, 1] + x[1, 2, 2] + x[2, 2, 1]), rtol=1e-12)
            gradient = leaf.grad.numpy()
            assert gradient[:3, 2].sum(-1).tolist() == pytest.approx([-1, -1, -1])
            if zero:
                assert not gradient[:, [0, 1, 3]].any()
            elif not plain:
                assert np.isnan(gradient[:2, 0]).all()
                assert not gradient[2:, 0].any()


@every_dtype
def test_certain_steps(dtype: Any) -> None:
    """Probabilities of 0 and 1, in logarithms −inf and 0, and numbers whose exponentials vanish."""
    with np.errstate(divide="ignore"):
        x = mg.Tensor(np.log(np.eye(3, dtype=dtype)[[0, 1, 1, 0, 2]])[:, None], requires_grad=True)
    loss = CTCLoss(reduction="none")(x, [[1, 2]])
    loss.backward(np.ones(1, dtype))
    assert loss.item() == 0
    np.testing.assert_array_equal(x.grad.numpy()[:, 0], -np.eye(3)[[0, 1, 1, 0, 2]])
    assert CTCLoss()(x, [[2, 1]]).item() == np.inf
    far = mg.Tensor(np.full((50, 1, 3), -300, dtype), requires_grad=True)
    loss = CTCLoss(reduction="sum")(far, [[1, 2]])
    loss.backward()
    np.testing.assert_allclose(loss.item(), 15_000 - np.log(270725), rtol=1e-6)  # ways: C(T + S, 2 S) = C(52, 4)
    np.testing.assert_allclose(far.grad.numpy().sum(-1), -1, rtol=1e-2 if dtype is np.float32 else 1e-10)


def test_nothing_at_all() -> None:
    assert CTCLoss()(mg.zeros((0, 2, 3)), [[1], [1]], [0, 0], [0, 0]).item() == 0
    assert CTCLoss()(mg.zeros((4, 0, 3)), np.zeros((0, 2), int), [], []).item() == 0
    with pytest.warns(RuntimeWarning, match="CTCLoss: sequence 1 has 0 steps, its 1 labels need 1"):
        assert CTCLoss(reduction="none")(mg.zeros((4, 2, 3)), [[1], [1]], [0, 0], [0, 1]).tolist() == [0, np.inf]
    blanks = CTCLoss(reduction="none")(mg.full((2, 1, 3), -1.0), np.zeros((1, 0), int))
    assert blanks.tolist() == [2]


def test_float16_is_computed_in_float32(rng: Rng) -> None:
    x = rng.standard_normal((5, 6, 3)).astype(np.float16)
    half, single = (mg.Tensor(x.astype(t), requires_grad=True) for t in (np.float16, np.float32))
    for leaf in (half, single):
        CTCLoss()(leaf, LABELS, LENGTHS, COUNTS).backward()
    assert half.grad.dtype == np.float16
    np.testing.assert_allclose(half.grad.numpy(), single.grad.numpy(), rtol=2e-3, atol=1e-4)


# ---- elsewhere ---------------------------------------------------------------------------------------------------


def test_it_runs_everywhere(backend: Any, rng: Rng) -> None:
    x = log_softmax(rng.standard_normal((5, 6, 3)))
    found = []
    for leaf, labels in ((backend.tensor(x, requires_grad=True), backend.array(LABELS)), (mg.Tensor(x, True), LABELS)):
        CTCLoss()(leaf, labels, LENGTHS, COUNTS).backward(create_graph=True)
        first = leaf.grad
        np.sum(first**2).backward()
        found.append((first, leaf.grad))
    for there, here in zip(*found, strict=True):
        np.testing.assert_allclose(backend.numpy(there), here.numpy(), rtol=1e-12, atol=1e-15)


def test_a_compiled_step(rng: Rng) -> None:
    """Other labels and other lengths at each run, and targets in a row."""
    w, loss = mg.Tensor(rng.standard_normal((4, 3)), requires_grad=True), CTCLoss()

    def step(x: Any, labels: Any, lengths: Any, counts: Any) -> Any:
        w.grad = None
        value = loss(mg.log_softmax(x @ w), labels, lengths, counts)
        value.backward()
        return value

    run = mg.compile(step)
    for k in range(4):
        x = mg.Tensor(rng.standard_normal((6, 2, 4)))
        counts = np.array([1 + k % 2, 1])
        labels = rng.integers(1, 3, (2, 2)) if k < 2 else rng.integers(1, 3, 3 if k % 2 else 2)
        lengths = np.array([6, 3 + k])
        found = [run(x, labels, lengths, counts).item(), w.grad.numpy().copy()]
        expected = [step(x, labels, lengths, counts).item(), w.grad.numpy()]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


# ---- bad input ---------------------------------------------------------------------------------------------------

X = np.zeros((5, 2, 3))
L = [[1, 2], [1, 1]]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: CTCLoss(blank=-1), ValueError, "blank must be a class, an integer from 0, not -1"),
        (lambda: CTCLoss(reduction="avg"), ValueError, "not 'avg'"),
        (lambda: CTCLoss(blank=3)(X, L), ValueError, r"blank is 3, but there are 3 classes in \(5, 2, 3\)"),
        (lambda: CTCLoss()(X[0, 0], L), ValueError, r"log_probs must be \(T, N, C\).* not \(3,\)"),
        (lambda: CTCLoss()(X, [[1, 2]]), ValueError, r"\(N, S\) with N = 2, .* int64 \(1, 2\)"),
        (lambda: CTCLoss()(X, [[1.0, 2.0]] * 2), ValueError, "targets must be integers.* float64"),
        (lambda: CTCLoss()(X, [1, 2, 1]), ValueError, r"targets in a row, \(3,\), need target_lengths"),
        (lambda: CTCLoss()(X, [1, 2, 1], [5, 5], [2, 2]), ValueError, "add up to 4, but there are 3 targets"),
        (lambda: CTCLoss()(X, L, [5, 6], [2, 2]), ValueError, "input_lengths must be from 0 to T = 5, not 6"),
        (lambda: CTCLoss()(X, L, [5, -1], [2, 2]), ValueError, "input_lengths must be from 0 to T = 5, not -1"),
        (lambda: CTCLoss()(X, L, [5, 5], [3, 2]), ValueError, "target_lengths must be from 0 to S = 2, not 3"),
        (lambda: CTCLoss()(X, L, [5]), ValueError, r"input_lengths must be 2 integers, .* int64 \(1,\)"),
        (lambda: CTCLoss()(X, L, [5, 5], [1.0, 2.0]), ValueError, "target_lengths must be 2 integers"),
        (lambda: CTCLoss()(X, [[1, 2], [1, 3]]), IndexError, "label 1 of sequence 1 is 3, not one of 3 classes"),
        (lambda: CTCLoss()(X, [[-1, 2], [1, 1]]), IndexError, "label 0 of sequence 0 is -1, not one"),
        (lambda: CTCLoss()(X, [[1, 0], [1, 1]]), ValueError, "label 1 of sequence 0 is 0, the blank; leave it out"),
        (lambda: CTCLoss(2)(X, [[1, 0], [2, 1]]), ValueError, "label 0 of sequence 1 is 2, the blank"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=f"CTCLoss: .*{message}"):
        call()
