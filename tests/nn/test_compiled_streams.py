"""Compiled training steps over streams: the state that TBPTT carries, and weights that WeightDrop replaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn

D, H, N, K = 3, 4, 2, 5


def trained(
    make: Callable[[], Any], compiled: bool, epochs: int, reset: bool = False, other: bool = False
) -> tuple[list[float], list[Any], Any]:
    """The losses of some epochs of five windows each, the weights after them, and the step."""
    mg.manual_seed(0)
    layer, tbptt = make(), nn.TBPTT(K)
    optimizer = nn.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    rng = np.random.default_rng(0)

    def step(x: Any, begins: Any) -> Any:
        optimizer.zero_grad()
        loss = np.mean(tbptt(layer, x, reset=begins) ** 2)
        loss.backward()
        optimizer.step()
        return loss

    run = mg.compile(step) if compiled else step
    losses = []
    for _ in range(epochs):
        for window in range(6):
            length = 3 if other and window == 5 else K  # the last window of a stream may be short
            x = mg.tensor(rng.standard_normal((length, N, D)), dtype=np.float32)
            begins = np.array([window == 2, window == 4]) if reset else None
            losses.append(run(x, begins).item())
        tbptt.restart()
    return losses, [p.numpy() for p in layer.parameters()], run


def gru() -> Any:
    return nn.GRU(D, H)


def learned() -> Any:
    """A state of its own, from which each stream begins."""
    return nn.Recurrent(nn.LSTMCell(D, H), learn_state=True)


def dropped() -> Any:
    return nn.WeightDrop(nn.LSTM(D, H, num_layers=2), ["weight_hh_l0", "weight_ih_l1"], p=0.4)


@pytest.mark.parametrize("reset", [False, True], ids=["whole", "reset"])
@pytest.mark.parametrize("make", [gru, learned, dropped])
def test_a_compiled_stream_is_the_plain_one(make: Callable[[], Any], reset: bool) -> None:
    expected, weights, _ = trained(make, False, 6, reset, other=True)
    found, ours, step = trained(make, True, 6, reset, other=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for a, b in zip(ours, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert not any("uncompiled" in reason for reason in step.why)


def test_streams_that_begin_anew_need_no_new_programs() -> None:
    """One program begins a stream, and one goes on; both are used again after each restart."""
    _, _, step = trained(gru, True, 3)
    count = len(step.why)
    _, _, step = trained(gru, True, 12)
    assert len(step.why) == count == 2


def test_a_state_that_was_taken_before_compiling_stays() -> None:
    layer, tbptt = gru(), nn.TBPTT(K)
    x = mg.randn(K, N, D)
    tbptt(layer, x)
    state = tbptt.state
    taken = state.numpy().copy()
    tbptt(layer, x)
    assert tbptt.state is not state
    np.testing.assert_array_equal(state.numpy(), taken)


def test_longer_gradients_are_refused() -> None:
    layer, tbptt = gru(), nn.TBPTT(K, 2 * K)
    step = mg.compile(lambda x: tbptt(layer, x).detach())
    step(mg.randn(K, N, D))
    with pytest.raises(mg.RecordingError, match="TBPTT with k2 > k1 keeps earlier windows"):
        step(mg.randn(K, N, D))
