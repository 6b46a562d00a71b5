"""Rolled loops inside compiled functions: one operation each way, with the numbers of the function as it is."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from test_rolled import layer_of, near, pytestmark, situations, step_by_step

import minigrad as mg
import nn

__all__ = ["pytestmark"]


def constant(ragged: dict[str, Any]) -> dict[str, Any]:
    """Lengths or a mask as tuples, which a recording takes as constants."""
    return {k: tuple(map(tuple, v.tolist())) if v.ndim == 2 else tuple(v.tolist()) for k, v in ragged.items()}


def step_of(layer: Any, ragged: dict[str, Any], uses: str) -> Any:
    """A function of an input and a state: a loss, the gradients of both and of all weights, and the last state."""

    def step(x: Any, state: Any) -> Any:
        x, state = x.detach().requires_grad_(), tuple([s.detach().requires_grad_() for s in state])
        layer.zero_grad()
        output, final = layer(x, state[0] if len(state) == 1 else state, **ragged)
        finals = final if isinstance(final, tuple) else (final,)
        terms = [output] * ("o" in uses) + list(finals) * ("s" in uses)
        loss = sum(np.sum(np.sin((k + 1) * v)) for k, v in enumerate(terms))
        loss.backward()  # type: ignore[union-attr]
        grads = [mg.zeros_like(p) if p.grad is None else p.grad for p in (x, *state, *layer.parameters())]
        return loss.detach(), grads, [s.detach() for s in finals]  # type: ignore[union-attr]

    return step


@settings(deadline=None, max_examples=25)
@given(situations())
def test_a_compiled_loop_is_the_loop(situation: dict[str, Any]) -> None:
    s = situation
    dtype, rng = (np.float64 if s["double"] else np.float32), s["rng"]
    layer = layer_of(s["kind"], dtype, reverse=s["reverse"])
    sizes = [t.shape[1] for t in layer.cell.initial_state(1)][: len(getattr(layer.cell, "states", ()))]
    step = step_of(layer, constant(s["ragged"]), s["uses"])
    compiled = mg.compile(step)
    for k in range(4):  # watched, recorded, and replayed twice: what a replay leaves behind must not count
        x = mg.tensor(rng.standard_normal((s["T"], s["N"], 3)).astype(dtype))
        state = tuple([mg.tensor(rng.standard_normal((s["N"], n)).astype(dtype)) for n in sizes])
        mg.manual_seed(k)
        (loss, grads, finals) = compiled(x, state)
        mg.manual_seed(k)
        (expected, expected_grads, expected_finals) = step(x, state)
        tolerance = 1e-12 if s["double"] else 2e-5
        near([loss, *grads, *finals], [expected, *expected_grads, *expected_finals], tolerance)
    assert compiled.why == ["the first call"]


def training(layer: Any, out: Any, **options: Any) -> Any:
    optimizer = nn.Adam([*layer.named_parameters(), *out.named_parameters("out")], lr=1e-2)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.MSELoss()(out(layer(x, **options)[0]), y)
        loss.backward()
        nn.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


@pytest.mark.parametrize("options", [{}, {"lengths": (9, 3, 1, 9)}], ids=["full", "ragged"])
def test_whole_training_steps(options: Any) -> None:
    def made() -> tuple[Any, Any]:
        mg.manual_seed(0)
        return nn.LSTM(3, 8, num_layers=2, bidirectional=True, dropout=0.2), nn.Linear(16, 2)

    one, other = made(), made()
    step, plain = mg.compile(training(*one, **options)), training(*other, **options)
    for k in range(5):
        results = []
        for each in (step, plain):
            mg.manual_seed(k)
            results.append(each(mg.randn(9, 4, 3), mg.randn(9, 4, 2)))
        np.testing.assert_allclose(results[0].data, results[1].data, rtol=1e-5)
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-4, atol=1e-6)


def test_a_program_does_not_grow_with_the_loop() -> None:
    layer, out = nn.GRU(3, 8), nn.Linear(8, 2)
    step = mg.compile(training(layer, out))
    counts = []
    for T in (20, 40):
        for _ in range(3):
            step(mg.randn(T, 2, 3), mg.randn(T, 2, 2))
        counts.append(len(step.replays[-1].program.operations))
    assert layer.rolled is True
    assert counts[0] == counts[1] < 150


def test_scan_in_a_compiled_function() -> None:
    W = mg.randn(4, 4, dtype=np.float64, requires_grad=True)

    def decayed(x: Any, h: Any) -> Any:
        return 0.5 * h + np.tanh(x + h @ W)

    def step(xs: Any, h: Any) -> Any:
        W.grad = None
        hs, last = mg.scan(decayed, xs, h)
        np.sum(np.square(hs)).backward()
        return last.detach()

    compiled = mg.compile(step)
    for _ in range(4):
        xs, h = mg.randn(6, 3, 4, dtype=np.float64), mg.randn(3, 4, dtype=np.float64)
        found, g = compiled(xs, h), W.grad
        expected = step(xs, h)
        near([found, g], [expected, W.grad], 1e-12)
    assert len(compiled.replays[0].program.operations) < 40


def test_second_derivatives_in_a_compiled_function() -> None:
    layer = layer_of("lstm", np.float64)

    def penalty(x: Any) -> Any:
        x = x.detach().requires_grad_()
        np.sum(np.sin(layer(x)[0])).backward(create_graph=True)
        g = x.grad
        layer.zero_grad()
        np.sum(np.square(g)).backward()
        return g.detach(), [p.grad for p in layer.parameters()]

    compiled = mg.compile(penalty)
    for _ in range(4):
        x = mg.randn(3, 2, 3, dtype=np.float64)
        (g, grads), (expected, expected_grads) = compiled(x), penalty(x)
        near([g, *grads], [expected, *expected_grads], 1e-12)


def test_a_graph_that_is_kept_in_a_compiled_function() -> None:
    """The first backward must not write over what the second one reads."""
    layer = layer_of("lstm", np.float64)

    def step(x: Any) -> Any:
        layer.zero_grad()
        loss = np.sum(np.square(layer(x)[0]))
        loss.backward(retain_graph=True)
        loss.backward()
        return [p.grad for p in layer.parameters()]

    compiled = mg.compile(step)
    for _ in range(4):
        x = mg.randn(5, 2, 3, dtype=np.float64)
        near(compiled(x), step(x), 1e-12)


def test_other_threads_use_the_weights_while_a_loop_is_recorded() -> None:
    layer, x = nn.LSTM(3, 4), mg.randn(5, 2, 3)
    expected = layer(x)[0].numpy()
    found: list[Any] = []

    def step(given: Any) -> Any:
        other = threading.Thread(target=lambda: found.append(layer(x)[0].numpy()))
        other.start()
        other.join()
        return layer(given)[0].detach()

    compiled = mg.compile(step)
    for _ in range(2):
        compiled(x)
    assert len(found) == 2
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=1e-6)


def test_loops_that_are_not_rolled_are_recorded_step_by_step() -> None:
    layer = layer_of("gru", np.float64)
    step = step_of(layer, {}, "os")
    with step_by_step():
        compiled = mg.compile(step)
        for _ in range(3):
            x, h = mg.randn(4, 2, 3, dtype=np.float64), mg.randn(2, 5, dtype=np.float64)
            found = compiled(x, (h,))
    expected = step(x, (h,))
    near([found[0], *found[1], *found[2]], [expected[0], *expected[1], *expected[2]], 1e-12)
