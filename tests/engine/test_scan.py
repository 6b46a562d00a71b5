"""`mg.scan` beside the loop in Python: values, gradients, lengths, graphs; and steps that do more than compute."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad.native import machine
from minigrad.programs import effect_of

T, N, D, H = 6, 5, 3, 4
FAST = machine.available() and not machine.switched_off()
rng = np.random.default_rng(0)
W, U, b = (mg.tensor(rng.normal(0, 0.7, shape), requires_grad=True) for shape in ((D, H), (H, H), (H,)))
SCALE = 0.5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(D, H, dtype=np.float64)
        self.outer = nn.Linear(H, H, dtype=np.float64)

    def step(self, x: Any, h: Any) -> Any:
        return np.tanh(self.inner(x) + self.outer(h))


net = Net()


def helped(v: Any) -> Any:
    return np.tanh(v) * SCALE


def gated(x: Any, state: Any) -> Any:
    h, c = state
    z = mg.sigmoid(x @ W + h @ U + b)
    return z * h + (1 - z) * np.tanh((z * h) @ U), SCALE * c + z


STEPS: dict[str, tuple[Callable[..., Any], int]] = {
    "elman": (lambda x, h: np.tanh(x @ W + h @ U + b), 1),
    "helped": (lambda x, h: helped(x @ W + h @ U) + h, 1),
    "gated": (gated, 2),
    "modules": (net.step, 1),
    "a layer of inputs": (lambda x, h: np.tanh(np.tanh(x @ W) @ U + h), 1),
    "outputs apart": (lambda x, s: (np.tanh(x @ W + s[0]), s[1] + np.tanh(s[1] @ U)), 2),
}


def by_hand(
    step: Any, x: Any, state: tuple[Any, ...], reverse: bool, lengths: Any
) -> tuple[Any, tuple[Any, ...]]:  # fmt: skip
    """The loop as users write it."""
    outputs: list[Any] = [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        new = step(x[t], state[0] if len(state) == 1 else state)
        new = new if isinstance(new, tuple) else (new,)
        alive = np.ones((N, 1), bool) if lengths is None else (np.asarray(lengths) > t)[:, None]
        state = tuple([np.where(alive, s, old) for s, old in zip(new, state, strict=True)])
        outputs[t] = np.where(alive, state[0], 0)
    return np.stack(outputs), state


def gradients(run: Any, xs: Any, states: list[Any]) -> list[Any]:
    x = mg.tensor(xs, requires_grad=True)
    state = tuple([mg.tensor(s, requires_grad=True) for s in states])
    output, last = run(x, state)
    last = last if isinstance(last, tuple) else (last,)
    loss = np.sum(np.sin(output)) + sum(np.sum(np.cos((k + 2) * s)) for k, s in enumerate(last))
    weights = [W, U, b, *net.parameters()]
    for weight in weights:
        weight.grad = None
    loss.backward()
    leaves = [x, *state, *weights]
    return [output.data, *[s.data for s in last], *[None if v.grad is None else v.grad.data for v in leaves]]


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(STEPS)), st.booleans(), st.sampled_from([None, [6, 0, 3, 1, 5], [6] * 5, [0] * 5]),
    st.integers(0, 100),
)  # fmt: skip
def test_a_scan_is_the_loop(name: str, reverse: bool, lengths: Any, seed: int) -> None:
    step, count = STEPS[name]
    draw = np.random.default_rng(seed)
    xs, states = draw.normal(size=(T, N, D)), [draw.normal(size=(N, H)) for _ in range(count)]

    def scanned(x: Any, state: Any) -> Any:
        return mg.scan(step, x, state[0] if count == 1 else state, reverse=reverse, lengths=lengths)

    with mg.profile() as profile:
        one = gradients(scanned, xs, states)
    assert not (FAST and profile.notes), profile.notes
    other = gradients(lambda x, state: by_hand(step, x, state, reverse, lengths), xs, states)
    with mg.plain_path():
        third = gradients(scanned, xs, states)
    for a, c, e in zip(one, other, third, strict=True):
        if c is None:
            assert a is None or not a.any()
        else:
            np.testing.assert_allclose(a, c, rtol=0, atol=1e-11)
            np.testing.assert_allclose(e, c, rtol=0, atol=1e-11)


def test_a_scan_has_the_graph_of_its_loop_and_derivatives_of_any_order() -> None:
    x, h = mg.randn(3, 2, D, dtype=np.float64), mg.zeros((2, H), dtype=np.float64)
    step = STEPS["elman"][0]

    def looped() -> Any:
        state, outputs = h, []
        for _, x_t in mg.steps(x):
            state = step(x_t, state)
            outputs.append(state)
        return np.stack(outputs)

    labels = [[node.op for node in mg.graph(y).nodes] for y in (mg.scan(step, x, h)[0], looped())]
    assert labels[0].count("matmul") == labels[1].count("matmul") == 6
    assert mg.gradgradcheck(
        lambda w: mg.scan(lambda a, s: np.tanh(a @ w + s @ U), x, h)[0], [mg.tensor(W.data[:], requires_grad=True)]
    )


def test_what_a_step_reads_is_read_anew() -> None:
    def scaled(factor: float) -> Any:
        return lambda x, h: np.tanh(factor * (x @ W) + h @ U)

    x, h = mg.randn(T, N, D, dtype=np.float64), mg.zeros((N, H), dtype=np.float64)
    found = [mg.scan(scaled(factor), x, h)[0].data for factor in (1.0, 2.0, 1.0)]
    assert np.abs(found[0] - found[1]).max() > 0.01
    np.testing.assert_array_equal(found[0], found[2])
    global SCALE
    before = mg.scan(STEPS["helped"][0], x, h)[0].data
    SCALE = 0.25
    try:
        after = mg.scan(STEPS["helped"][0], x, h)[0].data
    finally:
        SCALE = 0.5
    assert np.abs(after - before).max() > 0.01


calls = 0
seen: list[Any] = []


def counting(x: Any, h: Any) -> Any:
    global calls
    calls += 1
    return np.tanh(x @ W + h @ U)


def listing(x: Any, h: Any) -> Any:
    seen.append(h)
    return np.tanh(x @ W + h @ U)


def printing(x: Any, h: Any) -> Any:
    print("step")
    return np.tanh(x @ W + h @ U)


def drawing(x: Any, h: Any) -> Any:
    return np.tanh(x @ W + h @ U) * np.random.default_rng().random()


def rolling_dice(x: Any, h: Any) -> Any:
    return np.tanh(x @ W + h @ U) + random.random()


def branching(x: Any, h: Any) -> Any:
    return np.tanh(x @ W + h @ U) if float(x.detach().numpy()[0, 0]) > 0 else h * 0.5


def sizing(x: Any, h: Any) -> Any:
    return np.tanh(x @ W + h @ U) if x.shape[0] > 3 else h


def in_place(x: Any, h: Any) -> Any:
    z = x @ W
    z += h @ U
    return np.tanh(z)


class Meter:
    """An object whose property, operator and constructor count."""

    count = 0

    def __init__(self) -> None:
        Meter.count += 1

    @property
    def factor(self) -> float:
        Meter.count += 1
        return 1.0

    def __neg__(self) -> float:
        Meter.count += 1
        return -1.0


meter = Meter()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda x, h: np.tanh(x @ W + h @ U) * meter.factor, "Meter"),
        (lambda x, h: np.tanh(x @ W + h @ U) * -meter, "uses a Meter"),
        (lambda x, h: (Meter(), np.tanh(x @ W + h @ U))[1], "makes a Meter"),
    ],
)  # fmt: skip
def test_objects_that_count_count_each_step(step: Any, words: str) -> None:
    x, h = mg.randn(T, N, D, dtype=np.float64), mg.zeros((N, H), dtype=np.float64)
    before = Meter.count
    with mg.profile() as profile:
        mg.scan(step, x, h)
    assert Meter.count == before + T
    assert not FAST or words in profile.notes[0]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (counting, "writes in place"), (listing, "'seen', a list"), (printing, "calls print"),
        (drawing, "random"), (rolling_dice, "random"), (branching, "numpy"), (sizing, ".shape"),
        (in_place, "writes in place"),
    ],
)  # fmt: skip
def test_steps_that_do_more_run_step_by_step(step: Any, words: str, capsys: Any) -> None:
    global calls
    calls = 0
    seen.clear()
    x, h = mg.randn(T, N, D, dtype=np.float64), mg.zeros((N, H), dtype=np.float64)
    with mg.profile() as profile:
        output, _ = mg.scan(step, x, h)
    assert output.shape == (T, N, H)
    if FAST:
        assert len(profile.notes) == 1
        assert words in profile.notes[0], profile.notes
    assert (calls, len(seen), capsys.readouterr().out.count("step")) == (
        T * (step is counting), T * (step is listing), T * (step is printing)
    )  # fmt: skip


def test_users_cells_need_no_promise() -> None:
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map, self.rate = nn.Linear(D + H, H), 0.3

        def initial_state(self, batch: int) -> Any:
            return (mg.zeros((batch, H)),)

        def step(self, x: Any, state: Any) -> Any:
            (h,) = state
            return (self.rate * h + (1 - self.rate) * np.tanh(self.map(np.concatenate([x, h], axis=-1))),)

    layer, x = nn.Recurrent(Leaky()), mg.randn(T, N, D)
    rolled = layer(x, lengths=[6, 0, 3, 1, 5])[0]
    assert layer.rolled is True or not FAST
    with mg.plain_path():
        np.testing.assert_allclose(rolled.data, layer(x, lengths=[6, 0, 3, 1, 5])[0].data, atol=1e-6)
    layer.cell.rate = 0.9
    assert np.abs(layer(x)[0].data - rolled.data).max() > 0.01


def test_effects_are_found_in_what_a_function_calls() -> None:
    assert effect_of(STEPS["helped"][0]) is None
    assert "append" in str(effect_of(lambda x, h: listing(x, h)))
    assert "test_scan.py" in str(effect_of(printing))
    assert effect_of(nn.LSTMCell(2, 3).step) is None


def test_bad_input() -> None:
    x, h = mg.randn(T, N, D, dtype=np.float64), mg.zeros((N, H), dtype=np.float64)
    step = STEPS["elman"][0]
    with pytest.raises(ValueError, match=r"xs must have a step at least, its shape is \(0, 5, 3\)"):
        mg.scan(step, x[:0], h)
    with pytest.raises(ValueError, match=r"5 sequences need lengths of shape \(5,\), integers, got int64 \(2,\)"):
        mg.scan(step, x, h, lengths=[1, 2])
    with pytest.raises(ValueError, match=r"lengths must be from 0 to T = 6, got \[1, 2, 3, 4, 7\]"):
        mg.scan(step, x, h, lengths=[1, 2, 3, 4, 7])
    with pytest.raises(ValueError, match=r"turned state 0 of shape \(5, 4\) float64 into \(5, 3\) float64, in step 0"):
        mg.scan(lambda a, s: a, x, h)
    with pytest.raises(ValueError, match="step returned 1 tensors for a state of 2, in step 0"):
        mg.scan(lambda a, s: (s[0],), x, (h, h))
    with pytest.raises(ValueError, match=r"matmul|shapes|fit|mismatch"):
        mg.scan(lambda a, s: np.tanh(a @ U), x, h)
