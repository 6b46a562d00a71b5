"""Matrices that a loop over steps lays out once: the same numbers, also where the matrix is written into."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.modes import current_mode
from minigrad.native import machine


@pytest.fixture(params=["kernels", "copies"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With compiled kernels, in panels; without, row by row."""
    if request.param == "kernels":
        if not machine.available():
            pytest.skip("needs llvmlite, of the extra `fast`")
        monkeypatch.delenv("MINIGRAD_COMPILE", raising=False)
    else:
        monkeypatch.setenv("MINIGRAD_COMPILE", "0")
    return str(request.param)


def run(write_at: int | None, rng: Any) -> tuple[Any, list[int]]:
    """Six steps of a network, with a write into its weight before one of them; and how many are laid out otherwise."""
    w = mg.tensor(rng.standard_normal((5, 5)), requires_grad=True)
    s = mg.tensor(rng.standard_normal((3, 5)))
    laid_out = []
    for t, _ in mg.steps(range(6)):
        if t == write_at:
            with mg.no_grad():
                w *= 0.5
            s = s.detach()
        s = np.tanh(mg.linear(s, w))
        laid_out.append(len([h for h in (current_mode().hoisted or {}).values() if h.laid_out is not None]))
    s.sum().backward()
    return (s.data, w.grad.data), laid_out


def test_a_loop_lays_a_weight_out_at_its_second_use() -> None:
    _, laid_out = run(None, np.random.default_rng(0))
    assert laid_out == [0, 1, 1, 1, 1, 1]
    assert current_mode().hoisted is None


def test_hoisted_is_plain_also_after_a_write() -> None:
    for write_at in (None, 3):
        fast, _ = run(write_at, np.random.default_rng(1))
        with mg.plain_path():
            plain, laid_out = run(write_at, np.random.default_rng(1))
        assert laid_out == [0] * 6
        for one, other in zip(fast, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_a_matrix_that_is_new_at_every_step_is_not_kept() -> None:
    s = mg.randn(3, 5)
    w = mg.randn(5, 5)
    for t, _ in mg.steps(range(20)):
        s = np.tanh(s @ (w * (t + 1)))
        gc.collect()
        assert len(current_mode().hoisted or {}) <= 1


PRODUCTS: list[Any] = [  # with a matrix, and the matrix that it is
    (lambda h, a: h @ a, lambda a: a),
    (lambda h, a: np.dot(h, a), lambda a: a),
    (lambda h, a: h @ a.T, lambda a: a.T),
    (lambda h, a: h.data @ mg.Tensor(a.copy()).T, lambda a: a.T),
    (mg.linear, lambda a: a.T),
    (lambda h, a: mg.linear(h.data, a), lambda a: a.T),
]


@pytest.mark.parametrize("number", range(len(PRODUCTS)))
@pytest.mark.parametrize("rows", [3, 40])
def test_a_plain_array_may_be_filled_anew_at_every_step(number: int, rows: int, rng: Any) -> None:
    multiplied, meant = PRODUCTS[number]
    buffer, h = np.empty((32, 32)), mg.tensor(rng.standard_normal((rows, 32)))
    for _ in mg.steps(range(4)):
        buffer[...] = rng.standard_normal((32, 32))
        for _ in range(2):
            y = np.asarray(multiplied(h, buffer))
            exact = h.data @ meant(buffer)
            np.testing.assert_allclose(y, exact, rtol=1e-12, atol=1e-12)


def test_a_tensor_may_be_written_into_at_every_step(rng: Any) -> None:
    w, h = mg.tensor(rng.standard_normal((32, 32))), mg.tensor(rng.standard_normal((40, 32)))
    for _ in mg.steps(range(4)):
        w[:, 3] = rng.standard_normal(32)
        for _ in range(3):
            np.testing.assert_allclose((h @ w).data, h.data @ w.data, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(mg.linear(h, w).data, h.data @ w.data.T, rtol=1e-12, atol=1e-12)


VIEWS: list[Any] = [
    lambda w: w, lambda w: w.T, lambda w: w[::-1], lambda w: w[:, ::-1], lambda w: w[::-1].T, lambda w: w[:, ::-1].T,
    lambda w: w[::-1, ::-1], lambda w: w[::-1, ::-1].T,
]  # fmt: skip


@pytest.mark.parametrize("rows", [3, 40])
def test_views_of_one_matrix_are_not_mistaken_for_each_other(rows: int, rng: Any) -> None:
    array, x = rng.standard_normal((32, 32)), rng.standard_normal((rows, 32))
    w, h = mg.tensor(array, requires_grad=True), mg.tensor(x, requires_grad=True)
    compiled = mg.compile(lambda h, w: [h @ view(w) for view in VIEWS for _ in mg.steps(range(2))])
    for _ in mg.steps(range(3)):
        for view in VIEWS:
            np.testing.assert_allclose((h @ view(w)).data, x @ view(array), rtol=1e-12, atol=1e-12)
    sum([(h @ view(w)).sum() for view in VIEWS], mg.zeros(())).backward()
    np.testing.assert_allclose(h.grad.data, sum(np.ones((rows, 32)) @ view(array).T for view in VIEWS), rtol=1e-12)
    for _ in range(4):
        expected = [x @ view(array) for view in VIEWS for _ in range(2)]
        for found, right in zip(compiled(h.detach(), w.detach()), expected, strict=True):
            np.testing.assert_allclose(found.data, right, rtol=1e-12, atol=1e-12)


def test_an_update_by_hand_after_each_backward(rng: Any) -> None:
    """Through `data`, which nobody is told of."""
    w, x = mg.tensor(rng.standard_normal((32, 32)), requires_grad=True), mg.tensor(rng.standard_normal((20, 32)))
    for _ in mg.steps(range(4)):
        np.testing.assert_allclose((x @ w).data, x.data @ w.data, rtol=1e-12, atol=1e-12)
        w.grad = None
        np.square(x @ w).sum().backward()
        w.data -= 0.01 * w.grad.data


def test_memory_of_another_library_is_multiplied_too(rng: Any) -> None:
    array = np.asfortranarray(rng.standard_normal((32, 32)))
    h, w = mg.tensor(rng.standard_normal((5, 32))), mg.from_dlpack(array)
    for _ in mg.steps(range(3)):
        np.testing.assert_allclose((h @ w).data, h.data @ array, rtol=1e-12, atol=1e-12)


def test_what_is_laid_out_ends_with_the_loop() -> None:
    """Without the help of the garbage collector, which may come late."""
    w = mg.randn(40, 40, requires_grad=True)
    gc.disable()
    try:
        s = mg.randn(20, 40)
        for _ in mg.steps(range(4)):
            s = np.tanh(mg.linear(s, w))
            ended = [weakref.ref(h.laid_out) for h in (current_mode().hoisted or {}).values() if h.laid_out is not None]
        assert len(ended) == 1
        assert ended[0]() is None
    finally:
        gc.enable()
