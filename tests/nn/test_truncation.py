"""Truncated BPTT: which gradient it gives, per-row resets, memory, and going on from a saved state."""

from __future__ import annotations

import gc
import tracemalloc
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from oracles import gradients, near, randomize, tensors, total, weights_for

import minigrad as mg
import nn
from minigrad import trees

Rng = np.random.Generator
N, D, H = 3, 2, 4
every_layer = pytest.mark.parametrize(
    "make",
    [
        lambda: nn.GRU(D, H, 2, dtype=np.float64),
        lambda: nn.LSTM(D, H, 2, proj_size=2, dtype=np.float64),
        lambda: nn.Stacked([nn.LSTMCell(D, 5, dtype=np.float64), nn.RNNCell(5, H, dtype=np.float64)]),
        lambda: nn.Recurrent(nn.LSTMCell(D, H, dtype=np.float64), learn_state=True),
    ],
    ids=["gru", "lstm", "stack", "learned"],
)


def flat(value: Any) -> list[Any]:
    return trees.flatten(value)[0]


def changed(layer: Any, k: int) -> None:
    """The change of the weights by an optimizer between windows."""
    for parameter in layer.parameters():
        parameter.data[...] += 0.01 * np.cos(k + np.arange(parameter.size)).reshape(parameter.shape)


def expected_gradients(layer: Any, windows: list[Any], depth: int) -> list[Any]:
    """For each window: its outputs and their gradient through `depth` windows at most, written out: the state before
    the oldest of them is a constant, computed when that window came; the rest runs with the weights of now."""
    found, befores = [], []
    before: Any = None  # the constant state before the present window
    for k, window in enumerate(windows):
        befores.append(before)
        oldest = max(0, k - depth + 1)
        state = befores[oldest]
        for earlier in windows[oldest:k]:
            _, state = layer(earlier, state)
        output, state = layer(window, state)
        found.append((output.numpy(), gradients(total(output), layer)))
        before = trees.flatten(state)[1]([mg.tensor(s.numpy()) for s in flat(state)])
        changed(layer, k)
    return found


@every_layer
@pytest.mark.parametrize(("k1", "k2"), [(3, 3), (2, 6), (1, 2), (4, 8)])
def test_the_gradient_flows_through_k2_steps(make: Any, k1: int, k2: int, rng: Rng) -> None:
    layer = randomize(make(), rng)
    twin = make()
    twin.load_state_dict(layer.state_dict())
    windows = [rng.standard_normal((k1, N, D)) for _ in range(5)]
    tbptt = nn.TBPTT(k1, k2)
    for k, (window, (values, pulled)) in enumerate(
        zip(windows, expected_gradients(twin, windows, k2 // k1), strict=True)
    ):
        output = tbptt(layer, window)
        near(output, values)
        near(gradients(total(output), layer), pulled)
        changed(layer, k)


def test_equal_windows_are_detaching_by_hand(rng: Rng) -> None:
    layer = randomize(nn.LSTM(D, H, dtype=np.float64), rng)
    tbptt, state = nn.TBPTT(4), None
    for _ in range(3):
        xs = tensors(rng.standard_normal((4, N, D)))
        by_hand, after = layer(xs, state)
        state = nn.detach(after)
        pulled = gradients(total(by_hand), layer, xs=xs)
        near(gradients(total(tbptt(layer, xs)), layer, xs=xs), pulled)
        near(flat(tbptt.state), flat(state), 0)
        assert not any(s.requires_grad for s in flat(tbptt.state))


def test_windows_as_deep_as_the_sequence_are_full_bptt(rng: Rng) -> None:
    layer = randomize(nn.GRU(D, H, dtype=np.float64), rng)
    xs = rng.standard_normal((12, N, D))
    whole, _ = layer(xs)
    last = weights_for(whole[8:])
    full = gradients(total(whole[8:], last), layer)
    near(gradients(total(nn.TBPTT(12)(layer, xs)[8:], last), layer), full)
    tbptt = nn.TBPTT(4, 12)
    for k in (0, 4):
        tbptt(layer, xs[k : k + 4])
    near(gradients(total(tbptt(layer, xs[8:]), last), layer), full)


@every_layer
@pytest.mark.parametrize("depth", [1, 3])
def test_rows_that_are_reset_are_streams_of_their_own(make: Any, depth: int, rng: Rng) -> None:
    """Row n begins anew before window starts[n]; that is a fresh stream of one row."""
    layer = randomize(make(), rng)
    windows = rng.standard_normal((5, 2, N, D))
    starts = [0, 2, 3]
    together = nn.TBPTT(2, 2 * depth)
    apart = [nn.TBPTT(2, 2 * depth) for _ in range(N)]
    for k, xs in enumerate(windows):
        reset = np.array([k == start for start in starts])
        output = together(layer, xs, reset=mg.tensor(reset) if k % 2 else reset)
        for n, tbptt in enumerate(apart):
            if k == starts[n] and k:
                tbptt.restart()
        singles = np.concatenate([t(layer, xs[:, n : n + 1]) for n, t in enumerate(apart)], axis=1)
        near(output, singles)
        near(gradients(total(output), layer), gradients(total(singles), layer))


def test_reset_of_a_layer_with_recurrent_dropout(rng: Rng) -> None:
    for layer in (nn.GRU(D, H, recurrent_dropout=0.5), nn.Recurrent(nn.LSTMCell(D, H, recurrent_dropout=0.5))):
        tbptt = nn.TBPTT(2)
        for _ in range(2):
            output = tbptt(
                layer, rng.standard_normal((2, N, D)).astype(np.float32), reset=np.array([True, False, True])
            )
        assert output.shape == (2, N, H)


def test_a_function_as_a_layer(rng: Rng) -> None:
    cell = randomize(nn.RNNCell(D, H, dtype=np.float64), rng)

    def layer(xs: Any, state: Any) -> Any:
        hs = []
        for x in xs:
            state = cell(x, state)
            hs.append(state)
        return np.stack(hs), state

    a, b = nn.TBPTT(3, 6), nn.TBPTT(3, 6)
    for k in range(3):
        xs, reset = rng.standard_normal((3, N, D)), np.array([k == 1, False, True])
        near(a(layer, xs, reset=reset), b(nn.Recurrent(cell), xs, reset=reset))


@pytest.mark.parametrize("wrapped", [False, True], ids=["layer", "weight drop"])
def test_layers_say_themselves_where_time_and_rows_are(wrapped: bool, rng: Rng) -> None:
    plain = randomize(nn.GRU(D, H, 2, learn_state=True, dtype=np.float64), rng)
    other = nn.GRU(D, H, 2, learn_state=True, batch_first=True, dtype=np.float64)
    other.load_state_dict(plain.state_dict())
    layer = nn.WeightDrop(other, "weight_hh_l0", p=0.0) if wrapped else other
    a, b = nn.TBPTT(2, 4), nn.TBPTT(2, 4)
    for _ in range(3):
        xs, reset = rng.standard_normal((2, N, D)), rng.random(N) < 0.5
        near(np.swapaxes(b(layer, np.swapaxes(xs, 0, 1), reset=reset), 0, 1), a(plain, xs, reset=reset))
    with pytest.raises(ValueError, match=r"TBPTT: the window \(3, 5, 2\) has 5 steps \(axis 1\), but k1 is 2"):
        b(layer, mg.zeros((3, 5, D)))


def test_memory_does_not_grow_with_the_stream() -> None:
    layer = nn.LSTM(4, 16)
    xs = np.ones((5, 8, 4), np.float32)

    def peak(windows: int, k2: int) -> int:
        tbptt = nn.TBPTT(5, k2)
        gc.collect()
        gc.disable()  # nothing waits for the garbage collector
        tracemalloc.start()
        try:
            for _ in range(windows):
                tbptt(layer, xs).sum().backward()
                layer.zero_grad()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.enable()

    for k2 in (5, 10):
        peak(3, k2)
        # By then, NumPy's caches of small pieces of memory are full. Threads of the test's runner allocate, too, and
        # Python's table of strings may be laid out anew once (1 MB); 120 windows would be more than that, each time.
        few = peak(60, k2)
        assert min(peak(180, k2) for _ in range(2)) < few + (32 << 10)


def test_going_on_from_a_saved_state(rng: Rng) -> None:
    layer = randomize(nn.LSTM(D, H, 2, dtype=np.float64), rng)
    windows = rng.standard_normal((5, 2, N, D))
    reset = np.array([False, True, False])
    there = nn.TBPTT(2, 6)
    for xs in windows[:3]:
        there(layer, xs, reset=reset)
    here = nn.TBPTT(2, 6)
    here.load_state_dict(there.state_dict())
    for xs in windows[3:]:
        a, b = there(layer, xs), here(layer, xs)
        near(a, b, 0)
        near(gradients(total(a), layer), gradients(total(b), layer), 0)
    there.restart()
    near(there(layer, windows[0]), layer(windows[0])[0], 0)


def test_a_state_that_was_not_detached_is_explained(rng: Rng) -> None:
    layer = nn.GRU(D, H)
    state = None
    with pytest.raises(RuntimeError, match=r"(?s)GRU.*detach"):
        for _ in range(2):
            output, state = layer(rng.standard_normal((2, N, D)).astype(np.float32), state)
            output.sum().backward()


def test_detach_of_nested_states(rng: Rng) -> None:
    pair = namedtuple("Pair", "h c")
    x = tensors(rng.standard_normal(3)) * 2
    state = {"a": (x, [x + 1, None]), "b": pair(x, 3), "c": "text"}
    cut = nn.detach(state)
    assert isinstance(cut["b"], pair)
    assert (cut["a"][1][1], cut["b"].c, cut["c"]) == (None, 3, "text")
    for before, after in zip(flat(state), flat(cut), strict=True):
        if isinstance(before, mg.Tensor):
            assert before.requires_grad
            assert not after.requires_grad
            assert after.data is before.data
    assert nn.detach(None) is None
    assert not nn.detach(x).requires_grad


@pytest.mark.parametrize("ks", [(0, None), (3, 4), (4, 2), (2.0, None), (True, None)])
def test_wrong_windows(ks: Any) -> None:
    with pytest.raises(ValueError, match="TBPTT: k1 must be positive and k2 a multiple of it"):
        nn.TBPTT(*ks)


def test_bad_input(rng: Rng) -> None:
    layer, tbptt = nn.GRU(D, H), nn.TBPTT(4)
    with pytest.raises(ValueError, match=r"TBPTT: the window \(5, 3, 2\) has 5 steps \(axis 0\), but k1 is 4"):
        tbptt(layer, mg.zeros((5, N, D)))
    tbptt(layer, mg.zeros((4, N, D)))
    with pytest.raises(ValueError, match=r"TBPTT: reset must be 3 booleans, one a row, got bool \(2,\)"):
        tbptt(layer, mg.zeros((4, N, D)), reset=[True, False])
    with pytest.raises(ValueError, match=r"TBPTT: reset must be 3 booleans, one a row, got int64 \(3,\)"):
        tbptt(layer, mg.zeros((4, N, D)), reset=[1, 0, 0])
    with pytest.raises(ValueError, match=r"GRU: the initial h has shape \(1, 3, 4\), expected \(1, 2, 4\): the batch"):
        tbptt(layer, mg.zeros((4, 2, D)))


# ---- refused streams ---------------------------------------------------------------------------------------------


class Tagging(nn.Module):
    """A layer inside of a module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Stacked([nn.GRUCell(3, 4), nn.Bidirectional(nn.GRUCell(4, 2), nn.GRUCell(4, 2))])

    def forward(self, xs: Any, state: Any = None) -> Any:
        return self.layer(xs, state)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.GRU(3, 4, bidirectional=True), "GRU"),
        (nn.WeightDrop(nn.LSTM(3, 4, 2, bidirectional=True), ["weight_hh_l0"]), "LSTM"),
        (nn.Recurrent(nn.GRUCell(3, 4), reverse=True), "Recurrent reads"),
        (nn.Bidirectional(nn.GRUCell(3, 4), nn.GRUCell(3, 4)), "Bidirectional reads"),
        (Tagging(), r"Tagging \(Bidirectional layer.1\)"),
    ],
)
def test_a_layer_that_reads_backwards_is_no_stream(layer: Any, name: str) -> None:
    stream = nn.TBPTT(4)
    with pytest.raises(ValueError, match=f"TBPTT: {name}.* a bidirectional or reversed layer needs the whole sequence"):
        stream(layer, mg.randn(4, 2, 3))
    assert stream.state is None


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ([], TypeError, "must be a mapping with state, past"),
        ({"state": None}, ValueError, "missing: past"),
        ({"state": None, "past": [], "more": 1}, ValueError, "unknown: more"),
        ({"state": None, "past": 3}, ValueError, "past must be a list of windows"),
        ({"state": None, "past": [(1, 2)]}, ValueError, "past must be a list of windows"),
        ({"state": None, "past": [(None, None, None)] * 2}, ValueError, "past has 2 windows, and k1=2, k2=4 keep 1"),
    ],
)
def test_a_state_that_is_none_of_a_stream(state: Any, error: Any, message: str) -> None:
    stream = nn.TBPTT(2, 4)
    stream(nn.GRU(3, 4), mg.randn(2, 1, 3))
    before = repr(stream.state_dict())
    with pytest.raises(error, match=f"TBPTT.load_state_dict.*{message}"):
        stream.load_state_dict(state)
    assert repr(stream.state_dict()) == before
