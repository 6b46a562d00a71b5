"""The values that a compiled function reads besides its arguments, and the bound on its programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.replay import compiled

RATE = 2.0


def numbers(f: Any, *changes: Any) -> list[float]:
    """f(1) four times, and four times again after each change."""
    found = []
    for change in (lambda: None, *changes):
        change()
        results = {float(f(mg.ones(1)).data[0]) for _ in range(4)}
        assert len(results) == 1
        found.append(results.pop())
    return found


def test_closure_cells() -> None:
    factor: Any = 2.0

    def rebind(value: Any) -> None:
        nonlocal factor
        factor = value

    f = mg.compile(lambda x: x * factor)
    assert numbers(f, lambda: rebind(5.0), lambda: rebind(2.0), lambda: rebind(np.full(1, 7, "f"))) == [2, 5, 2, 7]
    assert len(f.why) == 3


def test_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    f = mg.compile(lambda x: x * RATE)
    assert numbers(f, lambda: monkeypatch.setitem(globals(), "RATE", 3.0)) == [2, 3]


def test_attributes_of_plain_objects() -> None:
    class Settings:
        rate = 2.0
        on = True
        unused = 0

    settings = Settings()
    settings.rate = 2.0
    f = mg.compile(lambda x: x * settings.rate if settings.on else x * 0)
    changes = [("rate", 5.0), ("on", False), ("unused", 1)]
    assert numbers(f, *[lambda c=c: setattr(settings, *c) for c in changes]) == [2, 5, 0, 0]
    assert len(f.why) == 3


def test_minus_zero_is_another_constant() -> None:
    sign = 0.0

    def rebind(value: float) -> None:
        nonlocal sign
        sign = value

    f = mg.compile(lambda x: np.copysign(x, sign))
    assert numbers(f, lambda: rebind(-0.0)) == [1, -1]


def test_another_optimizer_is_seen() -> None:
    def losses(compile: bool) -> list[float]:
        mg.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer: Any = nn.Adam(model.named_parameters(), lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run = mg.compile(step) if compile else step
        found = [run(mg.ones((4, 3))).item() for _ in range(4)]
        optimizer = nn.SGD(model.named_parameters(), lr=0.01)
        return found + [run(mg.ones((4, 3))).item() for _ in range(4)]

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-6)


def test_programs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST", 5)
    monkeypatch.setattr(compiled, "REASONS", 3)
    f = mg.compile(lambda x: np.tanh(x))

    def many() -> None:
        for n in range(1, 20):
            for _ in range(3):
                assert f(mg.ones(n)).shape == (n,)

    with pytest.warns(UserWarning, match="more than 5 kinds of arguments.*few different sizes") as told:
        many()
    assert len(told) == 1
    assert len(f.replays) == 5
    assert len(f.why) == 3
    recorded = {replay.program for replay in f.replays}
    f(mg.ones(19))
    assert {replay.program for replay in f.replays} == recorded
