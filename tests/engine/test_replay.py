"""Recorded functions: the same numbers as the plain ones, bit for bit; what must not be frozen is not; what cannot be
recorded is refused."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad.replay import RecordingError
from minigrad.replay.quick import MISS
from minigrad.trees import flatten


class Model(nn.Module):
    def __init__(self, kind: str, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.rnn = getattr(nn, kind)(5, 7, num_layers=layers, dropout=dropout)
        self.output = nn.Linear(7, 11)

    def forward(self, ids: Any, state: Any) -> Any:
        h, state = self.rnn(self.embedding(ids), state)
        return self.output(h), state


def trained(
    compiled: bool, kind: str, optimizer: str, steps: int = 100, dropout: float = 0.3, **options: Any
) -> tuple[list[float], list[np.ndarray], Any]:
    """Losses and final weights of a training with a carried state, dropout, and a learning rate that changes."""
    mg.manual_seed(3)
    model = Model(kind, 2, dropout)
    optim = getattr(nn, optimizer)(model.named_parameters(), lr=1e-2, **options)
    schedule = nn.StepLR(optim, 20, 0.7)
    loss_of = nn.CrossEntropyLoss(ignore_index=0)

    def step(ids: Any, targets: Any, state: Any) -> Any:
        optim.zero_grad()
        logits, state = model(ids, state)
        loss = loss_of(logits, targets)
        loss.backward()
        optim.step()
        return loss, nn.detach(state)

    run: Any = mg.compile(step) if compiled else step
    zeros = mg.zeros((2, 3, 7))
    state: Any = (zeros, zeros) if kind == "LSTM" else zeros
    rng, losses = np.random.default_rng(0), []
    for _ in range(steps):
        ids = rng.integers(0, 11, (6, 3))
        loss, state = run(ids[:-1], ids[1:], state)
        schedule.step()
        losses.append(loss.item())
    return losses, [p.numpy() for p in model.parameters()], run


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("Adam", {"clip_norm": 1.0}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("RMSprop", {"clip_value": 0.1}),
        ("AdamW", {"amsgrad": True}),
        ("Adagrad", {"lr_decay": 0.1}),
        ("Adadelta", {}),
        ("NAdam", {}),
        ("RAdam", {}),
        ("Lion", {"weight_decay": 0.1}),
    ],
)
def test_a_hundred_steps_are_the_same_bit_for_bit(kind: str, optimizer: str, options: dict[str, Any]) -> None:
    losses, weights, _ = trained(False, kind, optimizer, **options)
    same_losses, same_weights, run = trained(True, kind, optimizer, **options)
    assert losses == same_losses
    for one, other in zip(weights, same_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(run.why) <= 2  # the second is momentum's first step
    assert len(set(losses)) > 90


def test_the_gradients_are_left_behind_and_are_the_callers() -> None:
    w = mg.randn(4, 3, requires_grad=True)

    def step(x: Any) -> Any:
        loss = np.tanh(x @ w).sum()
        loss.backward()
        return loss

    run = mg.compile(step)
    xs = [mg.randn(2, 4) for _ in range(5)]
    kept = []
    for x in xs:
        w.grad = None
        run(x)
        kept.append(w.grad)
    for x, found in zip(xs, kept, strict=True):
        w.grad = None
        step(x)
        np.testing.assert_array_equal(found.data, w.grad.data)
    w.grad = None
    for x in xs:  # without zero_grad they add up
        run(x)
    total = np.sum([k.data for k in kept], axis=0)
    np.testing.assert_allclose(w.grad.data, total, rtol=1e-5, atol=1e-6)


def test_inputs_get_gradients_too() -> None:
    run = mg.compile(lambda x: np.square(x).sum().backward())
    for _ in range(4):
        x = mg.randn(3, requires_grad=True)
        run(x)
        np.testing.assert_array_equal(x.grad.data, 2 * x.data)


def test_a_users_cell_without_gradients_and_in_evaluation() -> None:
    class Leaky:
        states = ("s",)

        def __init__(self) -> None:
            self.w = mg.randn(3, 4)

        def initial_state(self, batch: int) -> Any:
            return (mg.zeros((batch, 4)),)

        def step(self, x: Any, state: Any) -> Any:
            return (0.5 * state[0] + np.tanh(x @ self.w),)

    layer = nn.Recurrent(Leaky(), rolled=False)  # a recording's loops are step by step
    run = mg.compile(lambda x: layer(x)[0].detach())
    for _ in range(4):
        x = mg.randn(5, 2, 3)
        np.testing.assert_array_equal(run(x).data, layer(x)[0].data)


def test_random_numbers_go_on() -> None:
    drop = nn.Dropout(0.5)
    run = mg.compile(lambda x: drop(x))
    mg.manual_seed(0)
    found = [run(mg.ones(50)).numpy() for _ in range(6)]
    mg.manual_seed(0)
    for mask in found:
        np.testing.assert_array_equal(mask, drop(mg.ones(50)).data)


def test_what_it_depends_on_is_looked_at() -> None:
    drop = nn.Dropout(0.5)
    w = mg.ones(3, requires_grad=True)
    run = mg.compile(lambda x: (drop(x) * w).detach())
    for _ in range(3):
        run(mg.ones(3))
    drop.eval()
    for _ in range(3):
        np.testing.assert_array_equal(run(mg.ones(3)).data, 1.0)
    assert run.why == ["the first call", "Dropout: training is False, it was True"]
    drop.train()
    run(mg.ones(3))
    assert len(run.why) == 2  # both are kept
    w.data = np.full(3, 2, np.float32)
    drop.eval()
    for _ in range(3):
        np.testing.assert_array_equal(run(mg.ones(3)).data, 2.0)
    assert "was given another array" in run.why[-1]
    for _ in range(3):
        run(mg.ones(4)[:3])
    for _ in range(3):
        with pytest.raises(ValueError, match="multiply"):
            run(mg.ones(4))
    with mg.no_grad():
        for _ in range(3):
            run(mg.ones((2, 3)))
    assert "float32 (2, 3)" in run.why[-1]


def test_a_float_is_an_argument_and_other_constants_record_anew() -> None:
    calls = []

    def step(x: Any, rate: float, power: int) -> Any:
        calls.append(power)
        return rate * x**power

    run = mg.compile(step)
    for rate in (1.0, 2.0, 3.5, 4.0):
        for power in (2, 3):
            np.testing.assert_array_equal(run(mg.full((2,), 3.0), rate, power).data, np.float32(rate) * 3.0**power)
    assert calls == [2, 3, 2, 3]


def test_indices_are_checked_at_each_run() -> None:
    table = nn.Embedding(5, 2)
    run = mg.compile(lambda ids: table(ids).detach())
    for _ in range(3):
        run(np.array([0, 4]))
    with pytest.raises(IndexError, match="index 5 is out of range"):
        run(np.array([0, 5]))
    assert run(np.array([1, 2])).shape == (2, 2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x if x.sum() > 0 else -x, "branches on a value"),
        (lambda x: x.sum().item() * x, "asks for a value"),
        (lambda x: float(x.sum()) * x, "asks for a value"),
        (lambda x: mg.tensor(x.numpy()), "takes values out"),
        (lambda x: x[x.data > 0], "shape depends on values"),
        (lambda x: mg.Tensor(np.nonzero(x.data)[0]), "shape depends on values"),
        (lambda x: x * 1.0 if np.allclose(x, 0) else x, "would be the same at every run"),
    ],
)
def test_what_looks_at_values_is_refused_with_the_line(function: Callable[..., Any], message: str) -> None:
    run = mg.compile(function)
    run(mg.randn(3))
    with pytest.raises(RecordingError, match=message) as raised:
        run(mg.randn(3))
    assert "test_replay.py" in str(raised.value)


def test_what_is_kept_outside_is_refused() -> None:
    seen: list[Any] = []

    def step(x: Any) -> Any:
        seen.append(x * 2)
        return x + 1

    run = mg.compile(step)
    run(mg.ones(3))
    with pytest.raises(RecordingError, match=r"made by multiply .* is kept outside"):
        run(mg.ones(3))


def test_a_graph_is_not_lost_in_silence() -> None:
    w = mg.ones(3, requires_grad=True)
    with pytest.raises(RecordingError, match="whose graph would be lost; call backward inside"):
        mg.compile(lambda x: x * w)(mg.ones(3))
    with pytest.raises(RecordingError, match="is a result on the tape"):
        mg.compile(lambda x: x.detach())(w * 2)
    with pytest.raises(RecordingError, match="arguments are tensors, arrays, numbers"):
        mg.compile(lambda x: x)({1, 2})


def test_an_error_leaves_everything_as_it_was() -> None:
    w = mg.ones(3, requires_grad=True)
    calls = []

    def step(x: Any) -> Any:
        w.grad = None
        (x * w).sum().backward()
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("mine")
        return x

    run = mg.compile(step)
    run(mg.ones(3))
    with pytest.raises(KeyError, match="mine"):
        run(mg.ones(3))
    assert type(w.data) is np.ndarray
    assert type(w.grad.data) is np.ndarray
    run(mg.ones(3))


def test_a_row_sparse_gradient_that_grows_is_refused() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    run = mg.compile(lambda ids: table(ids).sum().backward())
    run(np.array([0, 1]))
    with pytest.raises(RecordingError, match="adds to the row-sparse gradient of an earlier call"):
        run(np.array([0, 1]))
    assert table.weight.grad.indices.tolist() == [0, 1, 0, 1]
    assert type(table.weight.grad.rows) is np.ndarray


def test_row_sparse_gradients_are_results() -> None:
    """Also of two lookups, and after a gradient was cleared outside."""
    table = nn.Embedding(5, 2, sparse=True)

    def step(ids: Any, others: Any, x: Any) -> Any:
        table.zero_grad()
        loss = np.sum(table(ids) * x) + np.sum(np.square(table(others)))
        loss.backward()
        return loss

    run = mg.compile(step)
    for k in range(6):
        x = mg.randn(3, 2)
        given = np.array([4, k % 5, 4]), np.array([k % 3]), x
        found, grad = run(*given).item(), table.weight.grad
        expected = step(*given).item()
        assert isinstance(grad, mg.RowSparse)
        assert found == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(grad.dense(), table.weight.grad.dense(), rtol=1e-6)
        if k == 4:
            table.zero_grad()
    assert len(run.why) <= 2


def test_it_runs_plain_where_someone_watches() -> None:
    calls = []
    run = mg.compile(lambda x: calls.append(1) or x * 2)
    for _ in range(3):
        run(mg.ones(2))
    assert len(calls) == 2
    with mg.detect_anomaly():
        run(mg.ones(2))
    with mg.plain_path():
        run(mg.ones(2))
    assert len(calls) == 4
    assert run.plain(mg.ones(2)).shape == (2,)


def test_states_of_steps_lie_side_by_side() -> None:
    """The factors of the product over all steps are written side by side, so joining them copies nothing."""
    layer = nn.LSTM(4, 8)
    start = np.ones((6, 3, 8), np.float32)
    run = mg.compile(lambda x, g: layer(x)[0].backward(g))
    for _ in range(3):
        run(mg.ones((6, 3, 4)), start)
    program = run.replays[0].program
    called = [
        getattr(f, "__name__", str(f)) for looked_up, calls in program.plan.segments if not looked_up for f, _ in calls
    ]
    assert not any("concatenate" in name or "stack" in name for name in called)


def test_a_short_program_is_a_function_of_its_own(rng: Any) -> None:
    """It is taken for calls like the first ones, and for no others; the general way gives the same."""
    cell = nn.LSTMCell(5, 4).eval()
    weight = mg.tensor(rng.standard_normal((4, 4)).astype("f"))

    @mg.compile
    def step(x: Any, state: Any, *, scale: int = 2, extra: Any = None) -> Any:
        with mg.no_grad():
            h, c = cell(x, state)
            return {"h": h @ weight * scale, "state": (h, c)} if extra is None else [h + extra]

    def state(n: int) -> Any:
        return mg.randn(n, 4), mg.randn(n, 4)

    def same(*args: Any, **kwargs: Any) -> None:
        found, expected = [flatten(f(*args, **kwargs))[0] for f in (step, step.plain)]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.data, other.data)

    x, s = mg.randn(3, 5), state(3)
    for _ in range(4):
        same(x, s)
    (quick,) = step._quick.values()
    assert quick((x, s), {}) is not MISS
    results = [step(x, s)["h"].data for _ in range(2)]
    assert not np.shares_memory(*results)
    x.data[0] = 7  # the numbers are looked at
    same(x, s)
    others: list[Any] = [
        ((mg.randn(2, 5), state(2)), {}),
        ((x, list(s)), {}),
        ((x, s), {"scale": 3}),
        ((x, s), {"extra": mg.randn(3, 4)}),
        ((mg.randn(3, 5, requires_grad=True), s), {}),
        ((mg.randn(3, 5, dtype=np.float64), s), {}),
    ]
    for args, kwargs in others:
        assert quick(args, kwargs) is MISS
        for _ in range(4):
            same(*args, **kwargs)
    with pytest.raises(mg.RecordingError, match="on the tape"):
        step(mg.randn(3, 5, requires_grad=True) * 2, s)
    same(x, s)
    for change in (lambda: setattr(cell, "training", True), lambda: setattr(weight, "data", weight.data.copy())):
        assert next(iter(step._quick.values()))((x, s), {}) is not MISS
        change()
        assert next(iter(step._quick.values()))((x, s), {}) is MISS
        for _ in range(4):
            same(x, s)


@pytest.mark.parametrize("states", [9, 33])
def test_a_gradient_of_many_rows_is_the_same(states: int, rng: Any) -> None:
    """The rows of a weight's gradient are summed in groups, in a recording as elsewhere."""
    weight = mg.tensor(rng.standard_normal((states, states)).astype("f") / 5, requires_grad=True)
    first = mg.tensor(rng.standard_normal((11, states)).astype("f"))

    def whole(s: Any) -> None:
        weight.grad = None
        for _ in mg.steps(range(40)):
            s = np.tanh(s @ weight)
        s.sum().backward()

    step = mg.compile(whole)
    for _ in range(4):
        step(first)
    found = weight.grad.data.copy()
    whole(first)
    np.testing.assert_array_equal(found, weight.grad.data)


def test_a_program_without_anything_to_do() -> None:
    step = mg.compile(lambda x, n=3: (n, "text"))
    for _ in range(5):
        assert step(mg.ones(3)) == (3, "text")


def test_memory_is_given_back() -> None:
    run = mg.compile(lambda x: np.tanh(x @ x.T).detach())
    for _ in range(3):
        run(mg.ones((20, 20)))
    assert 0 < run.nbytes < 100_000
    gc.collect()
    run.forget()
    assert run.nbytes == 0


UNARY = [np.tanh, np.exp, np.square, np.negative, mg.sigmoid, np.sqrt, np.abs]
BINARY = [np.add, np.multiply, np.subtract, np.maximum, np.matmul, lambda a, b: np.concatenate([a, b])[: len(a)]]
SHAPING = [
    lambda a: a.T,
    lambda a: a.reshape(-1, 4),
    lambda a: np.cumsum(a, axis=0),
    lambda a: a - a.mean(axis=1, keepdims=True),
    lambda a: np.where(a > 0, a, 0.1),
    lambda a: a[::-1],
    lambda a: np.stack([a, a])[1],
    lambda a: np.sort(a, axis=0),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=12))
def test_any_program_is_replayed(choices: list[tuple[int, int, int]]) -> None:
    """Random straight-line programs, with their gradients, against the plain run, on new numbers each time."""
    w = mg.tensor(np.linspace(0.1, 1.2, 16).reshape(4, 4), requires_grad=True)

    def step(x: Any) -> Any:
        values = [x, w, x * w]
        for family, pick, where in choices:
            a, b = values[where % len(values)], values[pick % len(values)]
            if family == 0:
                values.append(UNARY[pick % len(UNARY)](np.abs(a) + 0.1) * 0.5)
            elif family == 1:
                values.append(BINARY[pick % len(BINARY)](a, b) * 0.3)
            else:
                values.append(SHAPING[pick % len(SHAPING)](a))
        w.grad = None
        loss = sum((v.sum() for v in values[3:]), start=(x * w).sum())
        loss.backward()
        return loss, values[-1].detach()

    run = mg.compile(step)
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = mg.tensor(rng.standard_normal((4, 4)))
        loss, value = run(x)
        found = w.grad.data
        expected_loss, expected = step(x)
        np.testing.assert_array_equal(loss.data, expected_loss.data)
        np.testing.assert_array_equal(value.data, expected.data)
        np.testing.assert_array_equal(found, w.grad.data)
