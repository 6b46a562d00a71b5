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
