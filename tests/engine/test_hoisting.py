"""Transposed matrices that a loop over steps copies once: the same numbers, also where the matrix is written into."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.modes import current_mode


def run(write_at: int | None, rng: Any) -> tuple[Any, list[int]]:
    """Six steps of a network, with a write into its weight before one of them; and how many copies there were."""
    w = mg.tensor(rng.standard_normal((5, 5)), requires_grad=True)
    s = mg.tensor(rng.standard_normal((3, 5)))
    copies = []
    for t, _ in mg.steps(range(6)):
        if t == write_at:
            with mg.no_grad():
                w *= 0.5
            s = s.detach()
        s = np.tanh(mg.linear(s, w))
        copies.append(len([c for _, c, _ in (current_mode().hoisted or {}).values() if c is not None]))
    s.sum().backward()
    return (s.data, w.grad.data), copies


def test_a_loop_copies_a_transposed_weight_at_its_second_use() -> None:
    _, copies = run(None, np.random.default_rng(0))
    assert copies == [0, 1, 1, 1, 1, 1]
    assert current_mode().hoisted is None


def test_hoisted_is_plain_also_after_a_write() -> None:
    for write_at in (None, 3):
        fast, _ = run(write_at, np.random.default_rng(1))
        with mg.plain_path():
            plain, copies = run(write_at, np.random.default_rng(1))
        assert copies == [0] * 6
        for one, other in zip(fast, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
