"""Rolled loops beside the same loops step by step: values, gradients of any order, graphs, and other loops."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad.native import machine
from minigrad.programs import rolling

pytestmark = pytest.mark.skipif(
    machine.switched_off() or not machine.available(), reason="loops are rolled where there are compiled kernels"
)

H = 5


class MinimalGatedUnit(nn.Module):
    """A user's cell (Zhou, Wu, Zhang & Zhou 2016), which says that it is a function."""

    rolled = True
    states = ("h",)

    def __init__(self, input_size: int, dtype: Any) -> None:
        super().__init__()
        self.input_size = input_size
        draw: Callable[..., Any] = lambda *shape: nn.Parameter(mg.randn(*shape, dtype=dtype))  # noqa: E731
        self.W_f, self.U_f, self.b_f = draw(input_size, H), draw(H, H), draw(H)
        self.W_h, self.U_h, self.b_h = draw(input_size, H), draw(H, H), draw(H)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return (mg.zeros((batch, H), dtype=self.U_f.dtype),)

    def step(self, x: Any, state: Any) -> Any:
        (h,) = state
        f = mg.sigmoid(x @ self.W_f + h @ self.U_f + self.b_f)
        candidate = np.tanh(x @ self.W_h + (f * h) @ self.U_h + self.b_h)
        return ((1 - f) * h + f * candidate,)


class Crossed(nn.Module):
    """Two states that change places, a scalar weight, a weight of one row, a constant, and a join."""

    rolled = True
    states = ("a", "b")

    def __init__(self, input_size: int, dtype: Any) -> None:
        super().__init__()
        self.input_size = input_size
        self.scale = nn.Parameter(mg.tensor(np.array(0.4, dtype)))
        self.row = nn.Parameter(mg.randn(1, H, dtype=dtype))
        self.register_buffer("ones", mg.ones(H, dtype=dtype))
        self.map = nn.Linear(input_size + H, H, dtype=dtype)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return (mg.zeros((batch, H), dtype=self.row.dtype), mg.ones((batch, H), dtype=self.row.dtype))

    def step(self, x: Any, state: Any) -> Any:
        a, b = state
        z = self.map(np.concatenate([x, self.scale * a], axis=-1))
        return np.tanh(z * self.row + b), np.maximum(0.5 * a, self.ones * z)


class Turned(nn.Module):
    """Weights that are transposed, also by `np.transpose`, and solved for; a part of the input in a product."""

    states = ("h",)

    def __init__(self, input_size: int, dtype: Any) -> None:
        super().__init__()
        self.input_size = input_size
        self.W = nn.Parameter(mg.randn(H, input_size - 1, dtype=dtype))
        self.row = nn.Parameter(mg.randn(1, H, dtype=dtype))
        self.M, self.V = (nn.Parameter(mg.randn(H, H, dtype=dtype)) for _ in range(2))
        self.register_buffer("eye", mg.tensor(np.eye(H), dtype=dtype))

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return (mg.zeros((batch, H), dtype=self.W.dtype),)

    def step(self, x: Any, state: Any) -> Any:
        (h,) = state
        first, others = np.split(x, [1], axis=-1)
        A = self.M - self.M.T
        Q = np.linalg.solve(self.eye + A, self.eye - A)
        turned = (first @ self.row) * (h @ np.swapaxes(self.V, 0, 1))
        return (np.tanh(others @ np.transpose(self.W) + h @ Q + turned),)


class Dropping(nn.Module):
    """Dropout, normal noise and a module's dropout at each step."""

    states = ("h",)

    def __init__(self, input_size: int, dtype: Any) -> None:
        super().__init__()
        self.map = nn.Linear(input_size + H, H, dtype=dtype)
        self.drop = nn.Dropout(0.4)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return (mg.zeros((batch, H), dtype=self.map.weight.dtype),)

    def step(self, x: Any, state: Any) -> Any:
        (h,) = state
        z = self.map(self.drop(np.concatenate([x, h], axis=-1)))
        return (np.where(mg.rand_like(h).data < 0.3, h, np.tanh(z + 0.1 * mg.randn_like(h))),)


CELLS: dict[str, Callable[[int, Any], Any]] = {
    "rnn": lambda D, t: nn.RNNCell(D, H, dtype=t),
    "relu": lambda D, t: nn.RNNCell(D, H, nonlinearity="relu", dtype=t),
    "silu": lambda D, t: nn.RNNCell(D, H, nonlinearity=mg.silu, bias=False, dtype=t),
    "elman": lambda D, t: nn.ElmanCell(D, H, 3, dtype=t),
    "lstm": lambda D, t: nn.LSTMCell(D, H, dtype=t),
    "peephole": lambda D, t: nn.LSTMCell(D, H, peephole=True, dtype=t),
    "coupled": lambda D, t: nn.LSTMCell(D, H, coupled=True, peephole=True, dtype=t),
    "normalised": lambda D, t: nn.LSTMCell(D, H, layer_norm=True, dtype=t),
    "projected": lambda D, t: nn.LSTMCell(D, H, proj_size=3, dtype=t),
    "zoning": lambda D, t: nn.LSTMCell(D, H, zoneout=(0.3, 0.5), recurrent_dropout=0.4, dtype=t),
    "dropping": Dropping,
    "zoneout": lambda D, t: nn.LSTMCell(D, H, zoneout=(0.1, 0.2), dtype=t).eval(),
    "dropout": lambda D, t: nn.LSTMCell(D, H, recurrent_dropout=0.4, dtype=t),
    "gru": lambda D, t: nn.GRUCell(D, H, dtype=t),
    "reset before": lambda D, t: nn.GRUCell(D, H, reset_after=False, dtype=t),
    "deep": lambda D, t: nn.DeepTransitionCell(D, H, transition_layers=3, input_layers=2, dtype=t),
    "own": MinimalGatedUnit,
    "crossed": Crossed,
    "turned": Turned,
}


@contextmanager
def step_by_step() -> Iterator[None]:
    """Nothing is rolled inside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rolling, "rolls", lambda array: "it is compared with a rolled one")
        yield


def layer_of(kind: str, dtype: Any, **options: Any) -> Any:
    mg.manual_seed(1)
    layer = nn.Recurrent(CELLS[kind](3, dtype), **options)
    for p in layer.parameters():  # biases and learned states as well
        p.data[...] = np.random.default_rng(p.size).normal(0, 0.6, p.shape)
    return layer


def run(layer: Any, xs: Any, state: Any, uses: str, ragged: dict[str, Any]) -> list[Any]:
    """Outputs, last states and all gradients; `uses` says which of them the loss sees."""
    mg.manual_seed(2)
    x = mg.tensor(xs, requires_grad=True)
    start = None if state is None else tuple([mg.tensor(s, requires_grad=True) for s in state])
    given_state = start[0] if start is not None and len(start) == 1 else start
    output, final = layer(x, given_state, **ragged)
    finals = final if isinstance(final, tuple) else (final,)
    terms = [output] * ("o" in uses) + list(finals) * ("s" in uses)
    loss = sum(np.sum(np.sin((k + 1) * v)) for k, v in enumerate(terms))
    layer.zero_grad()
    loss.backward()  # type: ignore[union-attr]
    leaves = [x, *(start or ()), *layer.parameters()]
    return [output, *finals, *[leaf.grad if leaf.grad is not None else mg.zeros_like(leaf) for leaf in leaves]]


def near(one: list[Any], other: list[Any], tolerance: float) -> None:
    """Relative to an array's largest number, or to 1: the terms of a sum are about that large, and may cancel."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        scale = max(float(np.max(np.abs(b.data), initial=0.0)), 1.0)
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=tolerance * scale)


@st.composite
def situations(draw: Any) -> dict[str, Any]:
    T, N = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    lengths = rng.integers(1, T + 1, N)
    ragged = draw(st.sampled_from([{}, {"lengths": lengths}, {"mask": rng.random((T, N)) < 0.7}]))
    return {
        "T": T, "N": N, "rng": rng, "ragged": ragged, "kind": draw(st.sampled_from(sorted(CELLS))),
        "reverse": draw(st.booleans()), "uses": draw(st.sampled_from(["o", "s", "os"])),
        "state": draw(st.sampled_from(["none", "given", "learned"])), "double": draw(st.booleans()),
    }  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(situations())
def test_a_rolled_loop_is_the_loop_step_by_step(situation: dict[str, Any]) -> None:
    s = situation
    dtype, rng = (np.float64 if s["double"] else np.float32), s["rng"]
    layer = layer_of(s["kind"], dtype, reverse=s["reverse"], learn_state=s["state"] == "learned")
    xs = rng.standard_normal((s["T"], s["N"], 3)).astype(dtype)
    state = None
    if s["state"] == "given":
        sizes = [t.shape[1] for t in layer.cell.initial_state(1)][: len(getattr(layer.cell, "states", ()))]
        state = [rng.standard_normal((s["N"], n)).astype(dtype) for n in sizes]
    rolled = run(layer, xs, state, s["uses"], s["ragged"])
    took_part = "mask" not in s["ragged"] or s["ragged"]["mask"].any()
    assert layer.rolled is True or not took_part
    with step_by_step():
        plain = run(layer, xs, state, s["uses"], s["ragged"])
    assert layer.rolled is not True
    # float64 shows that the two are the same. Kernels for one row and for several add up in different orders, and where
    # tanh is nearly 1, its slope 1 − y² is a small difference of large numbers: float32's rounding shows.
    near(rolled, plain, 1e-12 if s["double"] else 2e-5)


def shown(layer: Any, xs: Any, ragged: dict[str, Any], unfold: bool = False) -> list[Any]:
    """All states and gates of all steps, and the gradients of a loss that sees them."""
    mg.manual_seed(2)
    x = mg.tensor(xs, requires_grad=True)
    output, _, states = layer(x, return_states=True, **ragged)
    values = [output, *states]
    loss = sum(np.sum(np.sin((k + 1) * v)) for k, v in enumerate(values))
    if unfold:
        mg.graph(loss)
    layer.zero_grad()
    loss.backward()  # type: ignore[union-attr]
    return [*values, x.grad, *[mg.zeros_like(p) if p.grad is None else p.grad for p in layer.parameters()]]


@pytest.mark.parametrize("kind", CELLS)
def test_states_and_gates_of_all_steps(kind: str) -> None:
    rng = np.random.default_rng(3)
    batches: list[dict[str, Any]] = [{}, {"lengths": [4, 1, 3]}, {"mask": rng.random((4, 3)) < 0.7}]
    ragged = batches[list(CELLS).index(kind) % 3]
    layer = layer_of(kind, np.float64, reverse="lengths" in ragged)
    xs = rng.standard_normal((4, 3, 3))
    rolled = shown(layer, xs, ragged)
    assert layer.rolled is True
    near(shown(layer, xs, ragged, unfold=True), rolled, 1e-12)
    with step_by_step():
        near(rolled, shown(layer, xs, ragged), 1e-12)


@pytest.mark.parametrize("ragged", [{}, {"lengths": [4, 1, 3]}], ids=["full", "ragged"])
@pytest.mark.parametrize("kind", ["lstm", "gru", "own"])
def test_second_derivatives(kind: str, ragged: Any) -> None:
    layer = layer_of(kind, np.float64)
    mg.gradgradcheck(lambda x: layer(x, **ragged)[0], (mg.randn(4, 3, 3, dtype=np.float64, requires_grad=True),))
    assert layer.rolled is True


def test_hessians_of_weights_are_those_of_the_loop_step_by_step() -> None:
    layer = layer_of("gru", np.float64)
    x = mg.randn(4, 2, 3, dtype=np.float64)

    def product() -> Any:
        layer.zero_grad()
        weight = layer.cell.weight_hh
        loss = np.sin(layer(x)[0]).sum()
        loss.backward(create_graph=True, inputs=[weight])
        first, weight.grad = weight.grad, None
        np.sum(first * np.cos(first)).backward()
        return [weight.grad, layer.cell.bias_hh.grad]

    rolled = product()
    with step_by_step():
        near(rolled, product(), 1e-11)


# ---- looking inside ----------------------------------------------------------------------------------------------


def network() -> Any:
    mg.manual_seed(0)
    return nn.GRU(3, 4, num_layers=2, bidirectional=True)


def loss_of(layer: Any, **ragged: Any) -> Any:
    output, h = layer(np.random.default_rng(0).standard_normal((4, 3, 3)).astype(np.float32), **ragged)
    return np.sum(output**2) + np.sum(np.sin(h))


@pytest.mark.parametrize("ragged", [{}, {"lengths": [4, 1, 3]}], ids=["full", "ragged"])
def test_pictures_show_the_unrolled_graph(ragged: Any) -> None:
    layer = network()
    loss = loss_of(layer, **ragged)
    drawn = mg.graph(loss, params=layer.named_parameters(), grads=True, lines=True).dot()
    with step_by_step():
        loss = loss_of(layer, **ragged)
    expected = mg.graph(loss, params=layer.named_parameters(), grads=True, lines=True).dot()
    assert drawn == expected


def test_a_drawn_graph_goes_backward_as_before() -> None:
    layer = network()
    plain, drawn = loss_of(layer), loss_of(layer)
    plain.backward()
    expected = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    mg.graph(drawn)
    drawn.backward()
    near([p.grad for p in layer.parameters()], expected, 4e-7 * 8)


def test_terms_of_backpropagation_add_up() -> None:
    layer = nn.LSTM(3, 4, dtype=np.float64)
    output, _ = layer(mg.randn(6, 2, 3, dtype=np.float64))
    loss = np.sum(np.sin(output))
    terms = nn.diagnose.bptt_terms(loss, layer.weight_hh_l0)
    loss.backward()
    np.testing.assert_allclose(np.sum(terms.terms, axis=0), layer.weight_hh_l0.grad.data, rtol=0, atol=1e-13)
    assert np.abs(terms.terms).reshape(6, -1).max(axis=1)[1:].all()


def test_hooks_and_retained_gradients_of_outputs() -> None:
    found = []
    for look in (False, True):
        layer, seen = network(), []
        output, h = layer(mg.randn(4, 3, 3, requires_grad=True) * 0 + 0.3)
        output.register_hook(lambda g, seen=seen: seen.append(g))
        h.retain_grad()
        loss = np.sum(output**2) + np.sum(np.sin(h))
        if look:
            mg.graph(loss)
        loss.backward()
        found.append([*seen, h.grad])
    near(found[0], found[1], 1e-6)


def test_the_hook_of_a_cut_loop_is_called_once() -> None:
    layer = nn.Recurrent(nn.GRUCell(3, 4))
    output, h = layer(mg.randn(4, 2, 3))
    calls: list[Any] = []
    h.register_hook(lambda g: calls.append(g.shape))
    loss = np.sum(output) + np.sum(h)
    mg.graph(loss)
    loss.backward()
    assert calls == [(2, 4)]


def test_anomalies_are_found_in_their_step() -> None:
    layer = nn.Recurrent(nn.RNNCell(3, 4, nonlinearity="relu"))
    with mg.no_grad():
        layer.cell.weight_hh[...] = 1e30 * mg.eye(4)
        layer.cell.weight_ih[...] = 1.0
    loss = np.sum(layer(mg.ones((5, 2, 3)))[0])
    with pytest.raises(mg.AnomalyError, match=r"t=\d"), mg.detect_anomaly():
        loss.backward()
    with pytest.raises(mg.AnomalyError, match="t=2"), mg.detect_anomaly():
        layer(mg.ones((5, 2, 3)))
    assert "watched" in layer.rolled or "switched off" in layer.rolled


def test_inputs_of_backward_may_be_states() -> None:
    layer = nn.Recurrent(nn.GRUCell(3, 4, dtype=np.float64))
    x = mg.randn(4, 2, 3, dtype=np.float64)
    _, h = layer(x[:2])
    _, last = layer(x[2:], h)
    np.sum(np.sin(last)).backward(inputs=[h])
    with step_by_step():
        _, again = layer(x[:2])
        _, last = layer(x[2:], again)
        np.sum(np.sin(last)).backward(inputs=[again])
    near([h.grad], [again.grad], 1e-12)


# ---- the tape ----------------------------------------------------------------------------------------------------


def test_backward_twice_and_after_release() -> None:
    layer = nn.Recurrent(nn.LSTMCell(3, 4))
    loss = np.sum(layer(mg.randn(4, 2, 3))[0])
    loss.backward(retain_graph=True)
    once = layer.cell.weight_hh.grad.numpy()
    loss.backward()
    np.testing.assert_allclose(layer.cell.weight_hh.grad.data, 2 * once, rtol=1e-6)
    output, _ = layer(mg.randn(4, 2, 3))
    np.sum(output).backward()
    with pytest.raises(RuntimeError, match=r"in Recurrent.*\n?.*released"):
        np.sum(output**2).backward()


@pytest.mark.parametrize("look", [False, True])
def test_a_weight_that_was_written_into_is_refused(look: bool) -> None:
    layer = nn.Recurrent(nn.LSTMCell(3, 4))
    loss = np.sum(layer(mg.randn(4, 2, 3))[0])
    with mg.no_grad():
        layer.cell.weight_hh *= 0.5
    with pytest.raises(RuntimeError, match="overwritten in place"):
        mg.graph(loss) if look else loss.backward()


def test_a_loop_leaves_no_reference_cycle() -> None:
    layer = nn.Recurrent(nn.LSTMCell(3, 4))
    gc.collect()
    gc.disable()
    try:
        for goes_backward in (False, True):
            output, state = layer(mg.randn(4, 2, 3))
            loop = output.edge.edges[0][0].node
            assert loop.primitive.name == "loop"
            run = weakref.ref(loop.edges[0][2][0])
            if goes_backward:
                np.sum(output).backward()
            del output, state, loop
            assert run() is None
    finally:
        gc.enable()


def test_nothing_is_kept_without_gradients() -> None:
    layer = nn.Recurrent(nn.LSTMCell(3, 4))
    with mg.no_grad():
        output, (h, c) = layer(mg.randn(4, 2, 3))
    assert layer.rolled is True
    assert not any(t.requires_grad for t in (output, h, c))
    for p in layer.parameters():
        p.requires_grad = False
    assert not layer(mg.randn(4, 2, 3))[0].requires_grad


@pytest.mark.parametrize("kind", CELLS)
def test_values_without_gradients(kind: str) -> None:
    """Nothing is kept for backward then, so other calls make the values that products read."""
    layer, xs = layer_of(kind, np.float64), mg.randn(4, 3, 3, dtype=np.float64)

    def values() -> list[Any]:
        mg.manual_seed(2)
        output, final = layer(xs)
        return [output, *(final if isinstance(final, tuple) else (final,))]

    with mg.no_grad():
        found = values()
        assert layer.rolled is True
        with step_by_step():
            near(found, values(), 1e-12)


def test_final_states_have_memory_of_their_own() -> None:
    layer = nn.Recurrent(nn.GRUCell(3, 4))
    output, h = layer(mg.randn(4, 2, 3))
    assert not np.shares_memory(output.data, h.data)


# ---- loops that are not rolled -----------------------------------------------------------------------------------


def test_changed_options_and_modes_are_seen() -> None:
    layer = nn.Recurrent(nn.LSTMCell(3, 4, zoneout=0.5))
    x = mg.randn(4, 2, 3)
    assert "rolled" in layer.__class__.__dict__
    assert np.abs(layer(x)[0].data - layer(x)[0].data).max() > 1e-3  # other units keep their value
    layer.eval()
    halved = layer(x)[0].data
    assert layer.rolled is True
    np.testing.assert_array_equal(layer(x)[0].data, halved)
    layer.cell.zoneout = (0.0, 0.0)
    assert np.abs(layer(x)[0].data - halved).max() > 1e-3
    with step_by_step():
        np.testing.assert_allclose(layer(x)[0].data, layer(x)[0].data)


def test_random_numbers_are_those_of_the_loop_step_by_step() -> None:
    layer = nn.Recurrent(nn.LSTMCell(3, 4, zoneout=0.5))
    rolling._kept.clear()
    mg.manual_seed(5)
    traced = layer(mg.ones((4, 2, 3)))[0].data  # a trace draws, too, and gives back what it drew
    state = mg.get_random_state()
    mg.manual_seed(5)
    np.testing.assert_array_equal(traced, layer(mg.ones((4, 2, 3)))[0].data)
    assert state == mg.get_random_state()


@pytest.mark.parametrize("kind", ["zoning", "dropping"])
def test_an_unfolded_loop_draws_the_same_numbers(kind: str) -> None:
    layer, xs = layer_of(kind, np.float64), np.random.default_rng(0).standard_normal((4, 3, 3))

    def gradients(unfold: bool) -> list[Any]:
        mg.manual_seed(2)
        x = mg.tensor(xs, requires_grad=True)
        loss = np.sum(np.sin(layer(x)[0]))
        assert layer.rolled is True
        if unfold:
            after = mg.get_random_state()
            mg.graph(loss)
            assert mg.get_random_state() == after
        layer.zero_grad()
        loss.backward()
        return [loss, x.grad, *[p.grad for p in layer.parameters()]]

    near(gradients(True), gradients(False), 1e-12)


class Noisy(nn.RNNCell):
    """A map of the input that draws: the numbers of all steps come before those of the first step."""

    rolled = True

    @nn.each_row
    def inputs(self, xs: Any) -> Any:
        return super().inputs(xs + mg.rand_like(xs))


def test_what_draws_in_another_order_is_not_rolled() -> None:
    layer = nn.Recurrent(Noisy(3, 4))
    layer(mg.randn(4, 2, 3))
    assert "its inputs draw random numbers" in layer.rolled
    layer = nn.Recurrent(nn.GRUCell(3, 4, zoneout=0.2))
    step = mg.compile(lambda x: layer(x)[0].detach())
    for k in range(4):
        x = mg.randn(4, 2, 3)
        mg.manual_seed(k)
        found = step(x)
        mg.manual_seed(k)
        np.testing.assert_allclose(found.data, layer(x)[0].data, rtol=1e-5)
    assert layer.rolled is True  # but recorded step by step
    layer(x)
    assert step.why == ["the first call"]


class Counting(nn.GRUCell):
    """It inherits a promise that it does not keep, so the promise does not count."""

    def step(self, x: Any, state: Any) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return super().step(x, state)


def test_a_subclass_must_promise_for_itself() -> None:
    layer = nn.Recurrent(Counting(3, 4))
    layer(mg.randn(6, 2, 3))
    assert layer.cell.calls == 6
    assert "not rolled: it " in layer.rolled
    assert "self.calls" in layer.rolled


def test_reasons() -> None:
    x = mg.randn(4, 2, 3)
    layer = nn.Recurrent(nn.GRUCell(3, 4), rolled=False)
    assert layer.rolled == "not rolled: it was not called yet"
    layer(x)
    assert layer.rolled == "not rolled: the layer was made with rolled=False"
    layer = nn.Recurrent(nn.RNNCell(3, 4, nonlinearity=np.sin))
    layer(x)
    assert layer.rolled == "not rolled: no kernel expresses np.cos"
    layer = nn.Recurrent(nn.RNNCell(3, 4, nonlinearity=np.sort))
    layer(x)
    assert layer.rolled.startswith("not rolled: np.argsort is not element-wise, at ")
    layer = nn.Recurrent(nn.GRUCell(3, 4))
    with mg.plain_path():
        layer(x)
    assert "switched off" in layer.rolled
    layer = nn.Recurrent(nn.RNNCell(3, 4, nonlinearity=lambda v: np.tanh(v)))
    layer(x)
    assert layer.rolled is True  # the code of the lambda says that it computes and does nothing else


def test_two_dtypes_in_one_product_are_not_rolled() -> None:
    layer = nn.Recurrent(nn.RNNCell(3, 4))
    x, h = mg.randn(4, 2, 3, dtype=np.float64), mg.randn(2, 4, dtype=np.float64)
    output, _ = layer(x, h)
    assert layer.rolled == "not rolled: a product of float64 rows and a float32 matrix"
    with step_by_step():
        np.testing.assert_array_equal(output.data, layer(x, h)[0].data)


def test_solving_for_what_changes_is_not_rolled() -> None:
    class Solving:
        def initial_state(self, batch: int) -> Any:
            return (mg.tensor(np.eye(2)),)

        def step(self, x: Any, state: Any) -> Any:
            (h,) = state
            return (np.tanh(x + np.linalg.solve(h, x)),)

    layer = nn.Recurrent(Solving())
    output, _ = layer(mg.randn(3, 2, 2, dtype=np.float64))
    assert output.shape == (3, 2, 2)
    assert layer.rolled == "not rolled: it solves equations that change from step to step"


def test_arrays_with_a_dtype_of_their_own() -> None:
    """An array that was pickled has a dtype that is equal to NumPy's, and another object."""
    own = np.dtype(np.float32).newbyteorder("=")
    assert own is not np.dtype(np.float32)
    layer = nn.Recurrent(nn.GRUCell(3, 4))
    x, h = (np.random.default_rng(0).random(shape).astype(own) for shape in ((4, 2, 3), (2, 4)))
    output, _ = layer(mg.Tensor._of(x), mg.Tensor._of(h))
    np.sum(output).backward()
    assert layer.rolled is True
    with step_by_step():
        near([output], [layer(x, h)[0]], 4e-7 * 4)


def test_a_layer_of_layers_answers_for_all_of_them() -> None:
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    layer(mg.randn(4, 2, 3))
    assert layer.rolled is True
    layer.layers[1].backward_layer._rolls = False
    layer(mg.randn(4, 2, 3))
    assert layer.rolled == "not rolled: the layer was made with rolled=False"


def test_one_program_serves_all_sizes() -> None:
    layer = nn.Recurrent(nn.GRUCell(3, 4))
    rolling._kept.clear()
    for T, N in ((4, 2), (9, 1), (3, 7)):
        layer(mg.randn(T, N, 3))
        layer(mg.randn(T, N, 3), lengths=np.arange(N) % T + 1)
    assert len(rolling._kept) == 1


class Helped(nn.Module):
    """A cell that promises nothing, whose step calls a method of its own, a property and a module."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 4)
        self.factor = 0.5

    @property
    def scale(self) -> float:
        return 2 * self.factor

    def initial_state(self, batch: int) -> Any:
        return (mg.zeros((batch, 4)),)

    def mixed(self, x: Any, h: Any) -> Any:
        return np.tanh(self.map(h) + x) * self.scale

    def step(self, x: Any, state: Any) -> Any:
        return (self.mixed(x, state[0]),)


def test_a_program_of_a_cell_with_methods_is_made_once_and_keeps_no_cell_alive() -> None:
    rolling._kept.clear()
    layer, x = nn.Recurrent(Helped()), mg.randn(5, 2, 4)
    layer(x)
    assert layer.rolled is True
    ((first,),) = ([entry.program for entry in rolling._kept.values()],)
    layer(x)
    ((again,),) = ([entry.program for entry in rolling._kept.values()],)
    assert again is first
    layer.cell.factor = 1.0  # seen, since it is part of the key
    np.testing.assert_allclose(layer(x)[0].data, nn.Recurrent(layer.cell, rolled=False)(x)[0].data, atol=1e-5)
    cell = weakref.ref(layer.cell)
    del layer
    gc.collect()
    assert cell() is None


def test_a_method_that_was_replaced_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = nn.Recurrent(Helped()), mg.randn(5, 2, 4)
    layer(x)
    monkeypatch.setattr(Helped, "mixed", lambda self, x, h: np.tanh(self.map(h) - x))
    np.testing.assert_allclose(layer(x)[0].data, nn.Recurrent(layer.cell, rolled=False)(x)[0].data, atol=1e-5)


# ---- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_a_training_step_takes_no_more_memory_than_step_by_step(kind: str) -> None:
    """Gates overwrite their inputs, and their gradients overwrite the gates."""
    layer, x = getattr(nn, kind)(64, 64), mg.randn(40, 16, 64, requires_grad=True)

    def peak() -> int:
        for _ in range(2):
            np.sum(np.square(layer(x)[0])).backward()  # what is compiled and kept is there
        gc.collect()
        tracemalloc.start()
        np.sum(np.square(layer(x)[0])).backward()
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    rolled = peak()
    with step_by_step():
        assert rolled < peak()


def test_a_graph_that_is_kept_gives_its_gradient_again() -> None:
    layer, x = nn.LSTM(3, 4), mg.randn(5, 2, 3, requires_grad=True)
    loss = np.sum(np.square(layer(x)[0]))
    loss.backward(retain_graph=True)
    first = x.grad.numpy()
    x.grad = None
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), first)
    with pytest.raises(RuntimeError, match="released"):
        loss.backward()
