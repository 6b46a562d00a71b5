"""Fused = unfused for every cell, dtype, layout and kind of array: the error against float64, and the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from places import Place

import minigrad as mg
import nn

STEPS, BATCH, INPUTS, STATES = 6, 5, 3, 7
MAKERS: dict[str, Callable[[], Any]] = {
    "RNN": lambda: nn.RNNCell(INPUTS, STATES),
    "RNN, relu": lambda: nn.RNNCell(INPUTS, STATES, nonlinearity="relu"),
    "RNN, no bias": lambda: nn.RNNCell(INPUTS, STATES, bias=False),
    "Elman": lambda: nn.ElmanCell(INPUTS, STATES, output_size=4),
    "LSTM": lambda: nn.LSTMCell(INPUTS, STATES),
    "LSTM, no bias": lambda: nn.LSTMCell(INPUTS, STATES, bias=False),
    "LSTM, peephole": lambda: nn.LSTMCell(INPUTS, STATES, peephole=True),
    "LSTM, coupled": lambda: nn.LSTMCell(INPUTS, STATES, coupled=True, peephole=True),
    "LSTM, projection": lambda: nn.LSTMCell(INPUTS, STATES, proj_size=4),
    "LSTM, layer norm": lambda: nn.LSTMCell(INPUTS, STATES, layer_norm=True),
    "GRU": lambda: nn.GRUCell(INPUTS, STATES),
    "GRU, no bias": lambda: nn.GRUCell(INPUTS, STATES, bias=False),
    "GRU, reset before": lambda: nn.GRUCell(INPUTS, STATES, reset_after=False),
    "deep transition": lambda: nn.DeepTransitionCell(INPUTS, STATES, transition_layers=3, input_layers=2),
}


def numbers(make: Callable[[], Any], place: Place, dtype: Any, plain: bool, order: str) -> list[Any]:
    """The states after each step, and the gradients of the inputs, the initial state and all weights."""
    mg.manual_seed(1)
    rng = np.random.default_rng(2)
    cell = make()
    for parameter in cell.parameters():
        parameter.data = place.array(rng.standard_normal(parameter.shape) * 0.5, dtype)
    xs = [place.array(np.asarray(rng.standard_normal((BATCH, INPUTS)), dtype, order=order)) for _ in range(STEPS)]
    inputs = [mg.Tensor(x, requires_grad=True) for x in xs]
    sizes = [s.shape[1] for s in cell.initial_state(BATCH)]
    first = [place.array(np.asarray(rng.standard_normal((BATCH, n)), dtype, order=order)) for n in sizes]
    start = tuple([mg.Tensor(s, requires_grad=True) for s in first])

    def run() -> list[Any]:
        state, states = start, []
        for _, x in mg.steps(inputs):
            state = cell(x, state if len(state) > 1 else state[0])
            state = state if isinstance(state, tuple) else (state,)
            states += state
        sum((s * (k + 1)).sum() for k, s in enumerate(states)).backward()
        return [*states, *[v.grad for v in (*inputs, *start, *cell.parameters())]]

    if plain:
        with mg.plain_path():
            found = run()
    else:
        found = run()
    return [None if v is None else place.numpy(v) for v in found]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_fused_equals_unfused(name: str, dtype: Any, order: Any, backend: Place) -> None:
    exact = numbers(MAKERS[name], Place("numpy", "cpu"), np.float64, True, order)
    fused = numbers(MAKERS[name], backend, dtype, False, order)
    assert len(exact) == len(fused)
    maps = 3 if name == "deep transition" else 1  # one after the other in a step, each with a rounding of its own
    bound = 4e-7 * STEPS * maps if dtype is np.float32 else 1e-12
    for right, found in zip(exact, fused, strict=True):
        assert (right is None) == (found is None)
        if right is not None:
            assert found.dtype == dtype
            assert np.abs(found - right).max() <= bound * max(np.abs(right).max(), 1e-30)
