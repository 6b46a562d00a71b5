"""Checkpointing: the same gradients, fewer arrays."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

import minigrad as mg


@pytest.fixture
def w() -> mg.Tensor:
    return mg.tensor(np.random.default_rng(0).standard_normal((4, 4)) * 0.5, requires_grad=True)


def test_values_and_gradients_are_those_of_the_plain_call(w: mg.Tensor) -> None:
    h = mg.tensor(np.random.default_rng(1).standard_normal((2, 4)), requires_grad=True)
    scaled = w * 2  # a result that the segment closes over

    def segment(h: mg.Tensor, options: dict[str, Any], *, twice: bool) -> dict[str, Any]:
        y = np.tanh(h @ w) * options["gain"] @ scaled
        return {"state": y * 2 if twice else y, "aux": [y.sum(), "text"], "steps": 3}

    def loss(run: Any) -> mg.Tensor:
        out = run(segment, h, {"gain": gain}, twice=True)
        assert out["steps"] == 3
        assert out["aux"][1] == "text"
        return out["state"].sum() + 3 * out["aux"][0] * w.sum()

    gain = mg.tensor(1.5, dtype=np.float64, requires_grad=True)
    found = []
    for run in (lambda f, *a, **k: f(*a, **k), mg.checkpoint):
        loss(run).backward()
        found.append([v.grad.numpy() for v in (h, w, gain)])
        for v in (h, w, gain):
            v.grad = None
        scaled = w * 2
    for plain, checkpointed in zip(*found, strict=True):
        np.testing.assert_allclose(checkpointed, plain, rtol=1e-14)


def test_checkpointed_segments_nest_and_differentiate_twice(w: mg.Tensor) -> None:
    h = mg.tensor(np.random.default_rng(1).standard_normal((2, 4)), requires_grad=True)

    def inner(h: mg.Tensor, w: mg.Tensor) -> mg.Tensor:
        return np.tanh(h @ w)

    def outer(h: mg.Tensor, w: mg.Tensor) -> mg.Tensor:
        return mg.checkpoint(inner, mg.checkpoint(inner, h, w), w) * h

    def f(h: mg.Tensor, w: mg.Tensor) -> mg.Tensor:
        return mg.checkpoint(outer, h, w)

    assert mg.gradcheck(f, (h, w))
    assert mg.gradgradcheck(f, (h, w))


def test_second_order_reaches_closed_over_parameters(w: mg.Tensor) -> None:
    h = mg.tensor(np.random.default_rng(1).standard_normal((2, 4)))
    for run in (lambda f, x: f(x), mg.checkpoint):
        penalty = (mg.grad(lambda x: run(lambda v: np.tanh(v @ w), x).sum())(h) ** 2).sum()  # noqa: B023
        penalty.backward()
        if run is not mg.checkpoint:
            expected, w.grad = w.grad.numpy(), None
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-12)


def test_random_numbers_are_the_same_in_both_runs() -> None:
    x = mg.tensor(np.ones((100,)), requires_grad=True)
    mg.manual_seed(3)
    y = mg.checkpoint(lambda x: x * (mg.rand(100) < 0.5).astype(np.float64), x)
    after = mg.rand(3).numpy()
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    mg.manual_seed(3)
    mg.rand(100)
    np.testing.assert_array_equal(after, mg.rand(3).numpy())  # backward leaves the generator where it was


def test_nothing_is_kept_under_no_grad_or_without_gradients(w: mg.Tensor) -> None:
    assert not mg.checkpoint(lambda x: x * 2, mg.ones(3)).requires_grad
    with mg.no_grad():
        assert not mg.checkpoint(lambda x: x @ w, mg.ones((2, 4), dtype=np.float64)).requires_grad


def test_hooks_run_once(w: mg.Tensor) -> None:
    calls = []
    w.register_hook(lambda g: calls.append(1))
    mg.checkpoint(lambda x: x @ w, mg.ones((2, 4), dtype=np.float64)).sum().backward()
    assert calls == [1]


def test_an_error_in_the_segment_leaves_no_state_behind(w: mg.Tensor) -> None:
    with pytest.raises(ValueError, match="matmul"):
        mg.checkpoint(lambda x: x @ w, mg.ones((2, 3), dtype=np.float64))
    assert mg.is_grad_enabled()


def test_a_long_sequence_trains_in_the_memory_of_its_square_root() -> None:
    w = mg.tensor(np.eye(32) * 0.9, requires_grad=True)

    def peak(steps: int, segment: int) -> int:
        def run(h: mg.Tensor, n: int) -> mg.Tensor:
            for _ in range(n):
                h = np.tanh(h @ w) + 0.01
            return h

        gc.collect()
        h = mg.ones((32, 32), dtype=np.float64)
        tracemalloc.start()
        for _ in range(steps // segment):
            h = mg.checkpoint(run, h, segment) if segment < steps else run(h, segment)
        h.sum().backward()
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        w.grad = None
        return high

    peak(64, 8)
    assert peak(1024, 32) < 0.15 * peak(1024, 1024)
    assert peak(1024, 32) < 3.0 * peak(256, 16)  # twice the root, about twice the memory
