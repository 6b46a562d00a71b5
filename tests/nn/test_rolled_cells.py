"""Cells whose steps are unlike those of the known ones: rolled right, or left alone for a reason that is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad import programs
from minigrad.native import machine
from minigrad.programs import rolling

pytestmark = pytest.mark.skipif(
    machine.switched_off() or not machine.available(), reason="loops are rolled where there are compiled kernels"
)

H = 4
Step = Callable[[Any, Any, tuple[Any, ...]], Any]


class Cell(nn.Module):
    """A cell of a few weights whose step is given: a function of (weights, x, state)."""

    rolled = True

    def __init__(self, step: Step, states: int, D: int = 3, width: int = H, dtype: Any = np.float64) -> None:
        super().__init__()
        self.input_size, self.width, self.count, self.function = D, width, states, step
        draw: Callable[..., Any] = lambda *shape: nn.Parameter(0.6 * mg.randn(*shape, dtype=dtype))  # noqa: E731
        self.U, self.V, self.W = draw(D, width), draw(width, width), draw(width, width)
        self.b, self.scale = draw(width), draw()

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return tuple([mg.zeros((batch, self.width), dtype=self.U.dtype) for _ in range(self.count)])

    def step(self, x: Any, state: Any) -> Any:
        return self.function(self, x, state)


def results(layer: Any, D: int, ragged: dict[str, Any], vary: bool = True) -> list[Any]:
    """Outputs, last states and all gradients, of a loss that sees all of them."""
    rng = np.random.default_rng(7)
    dtype = layer.cell.U.dtype
    x = mg.tensor(rng.standard_normal((5, 3, D)).astype(dtype), requires_grad=vary)
    state = tuple([
        mg.tensor(rng.standard_normal((3, layer.cell.width)).astype(dtype), requires_grad=vary)
        for _ in range(layer.cell.count)
    ])  # fmt: skip
    output, final = layer(x, state if len(state) > 1 else state[0], **ragged)
    finals = list(final) if isinstance(final, tuple) else [final]
    layer.zero_grad()
    sum(np.sum(np.sin((k + 1) * v)) for k, v in enumerate([output, *finals])).backward()  # type: ignore[union-attr]
    leaves = [x, *state, *layer.parameters()]
    return [output, *finals, *[mg.zeros_like(v) if v.grad is None else v.grad for v in leaves]]


def _forgetful(c: Any, x: Any, state: Any) -> Any:
    """Its second state depends on no earlier one."""
    a, _ = state
    return np.tanh(a @ c.V + x @ c.U), mg.sigmoid(x @ c.U) * c.b


def _accumulating(c: Any, x: Any, state: Any) -> Any:
    """The gradients of both states are handed on as they are."""
    a, b = state
    return a + np.tanh(x @ c.U), b + a


def _of_changed_weights(c: Any, x: Any, state: Any) -> Any:
    """Its weights are computed from others."""
    (h,) = state
    W = c.scale * mg.relu(c.V) + np.where(c.W > 0, c.W, 0.1)
    return (np.tanh(x @ c.U + h @ W + np.square(c.b)),)


def _in_parts(c: Any, x: Any, state: Any) -> Any:
    """Parts of parts, joined in another order."""
    (h,) = state
    first, second = np.split(h @ c.V + x @ c.U, 2, axis=-1)
    one, other = np.split(second, 2, axis=-1)
    return (np.tanh(np.concatenate([other, first * c.scale, one], axis=-1)),)


def _cast(c: Any, x: Any, state: Any) -> Any:
    """Some of it in another dtype."""
    (h,) = state
    return (np.tanh(h @ c.V.astype(np.float32).astype(c.U.dtype) + x @ c.U),)


def _summed(c: Any, x: Any, state: Any) -> Any:
    """Sums and means along the rows of states and of weights, used beside other values."""
    (h,) = state
    z = h @ c.V + x @ c.U
    total = np.sum(z * h, axis=-1, keepdims=True)
    return (np.tanh(z - np.mean(z, axis=(1,), keepdims=True)) * mg.sigmoid(total) + np.sum(c.W, axis=0),)


def _of_rows(c: Any, x: Any, state: Any) -> Any:
    """Softmax, maximum, log Σ exp and cumulative sums of a row, and of its parts."""
    h, s = state
    z = h @ c.V + x @ c.U
    left, right = np.split(z, 2, axis=-1)
    ordered = np.cumsum(mg.softmax(right), axis=-1) * np.max(left, axis=1, keepdims=True)
    total = mg.logsumexp(z * c.b, axis=-1, keepdims=True) - np.max(z, axis=-1, keepdims=True)
    h = mg.log_softmax(z) * mg.sigmoid(total) + np.concatenate([ordered, mg.softmax(left, axis=1)], axis=-1)
    return np.tanh(h), mg.softmax(s + z)


ODD: dict[str, tuple[Step, int]] = {
    "forgetful": (_forgetful, 2), "accumulating": (_accumulating, 2), "of changed weights": (_of_changed_weights, 1),
    "in parts": (_in_parts, 1), "cast": (_cast, 1), "summed": (_summed, 1),
    "of rows": (_of_rows, 2),
}  # fmt: skip


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("ragged", [{}, {"lengths": [2, 5, 3]}], ids=["full", "ragged"])
@pytest.mark.parametrize("name", ODD)
def test_odd_cells_are_rolled_right(name: str, ragged: Any, reverse: bool) -> None:
    step, states = ODD[name]
    layer = nn.Recurrent(Cell(step, states), reverse=reverse)
    found = results(layer, 3, ragged)
    assert layer.rolled is True, layer.rolled
    _compare(layer, found, ragged, tolerance=4e-7 if name == "cast" else 1e-12)  # a sum over steps is rounded once


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_cumulative_sums_of_what_is_not_finite(bad: float, rng: np.random.Generator) -> None:
    """Only what follows it in its row is not finite, forward and backward, with the same random numbers."""

    def sums(c: Any, x: Any, state: Any) -> Any:
        kept = mg.rand_like(x) > 0.3
        return (np.cumsum(np.where(kept, x, x + 1.0), axis=-1) + 0.5 * state[0],)

    x = rng.standard_normal((4, 2, H))
    x[2, 1, 2] = bad
    start = rng.standard_normal((4, 2, H))
    found = []
    for rolls in (True, False):
        mg.manual_seed(5)
        layer, leaf = nn.Recurrent(Cell(sums, 1, D=H), rolled=rolls), mg.tensor(x, requires_grad=True)
        output, _ = layer(leaf)
        output.backward(start)
        spoilt = mg.tensor(np.where(np.isfinite(x), x, 0.0), requires_grad=True)
        layer(spoilt)[0].backward(np.where(np.isfinite(x), start, bad))
        found.append([output.data, leaf.grad.data, spoilt.grad.data, mg.rand(3).data])
    assert np.isfinite(found[0][0][:2]).all()
    for rolled, plain in zip(*found, strict=True):
        np.testing.assert_allclose(rolled, plain, rtol=1e-12)


def _compare(layer: Any, found: list[Any], ragged: Any, vary: bool = True, tolerance: float = 1e-12) -> None:
    """With the same layer step by step."""
    plain = nn.Recurrent(layer.cell, reverse=layer.reverse, rolled=False)
    for a, b in zip(found, results(plain, layer.cell.input_size, ragged, vary), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=tolerance * max(1.0, float(np.abs(b.data).max())))
    assert plain.rolled is not True


class Softplus(nn.Module):
    """h' = log(1 + exp(x U + h V)). The fast form overflows if forward is too large, its gradient sooner."""

    def __init__(self) -> None:
        super().__init__()
        self.U, self.V = (nn.Parameter(mg.tensor(np.random.default_rng(k).standard_normal((3, 3)))) for k in (1, 2))

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return (mg.zeros((batch, 3), dtype=self.U.dtype),)

    def step(self, x: Any, state: Any) -> Any:
        return (mg.softplus(x @ self.U + state[0] @ self.V),)

    def fast_step(self, x: Any, state: Any) -> Any:
        e = np.exp(x @ self.U + state[0] @ self.V)
        return (0.5 * np.log((1 + e) * (1 + e)),)


class Printing(Softplus):
    """Its fast form has an effect."""

    def fast_step(self, x: Any, state: Any) -> Any:
        print("a step")
        return super().fast_step(x, state)


@pytest.mark.parametrize("size", [1.0, 350.0, 700.0], ids=["small", "gradient", "output"])
def test_a_fast_step_runs_while_its_results_are_finite(size: float) -> None:
    found = {}
    for way in ("program", "loop"):
        layer = nn.Recurrent(Softplus(), rolled=way == "program")
        x = mg.tensor(np.random.default_rng(0).standard_normal((5, 2, 3)), requires_grad=True)
        x.data[3, 1] = size / 2 * np.sign(layer.cell.U.data.sum(axis=1))
        output, _ = layer(x, lengths=[5, 4])
        np.sum(output**2).backward()
        assert layer.rolled is (way == "program") or "rolled=False" in layer.rolled
        found[way] = [output, x.grad, *[p.grad for p in layer.parameters()]]
    for a, b in zip(found["program"], found["loop"], strict=True):
        assert np.all(np.isfinite(a.numpy()))
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-11)


def test_the_code_of_a_fast_step_is_read() -> None:
    layer = nn.Recurrent(Printing())
    layer(mg.zeros((2, 1, 3), dtype=np.float64))
    assert "print" in str(layer.rolled)


@pytest.mark.parametrize("ragged", [{}, {"lengths": [2, 5, 3]}], ids=["full", "ragged"])
def test_a_state_that_stays_as_it_is(ragged: Any) -> None:
    layer = nn.Recurrent(Cell(lambda c, x, s: (np.tanh(x @ c.U + s[0] @ c.V + s[1] @ c.W), s[1]), 2))
    found = results(layer, 3, ragged, vary=False)
    assert layer.rolled is True, layer.rolled
    _compare(layer, found, ragged, vary=False)
    results(layer, 3, ragged)
    assert layer.rolled == "not rolled: a state that stays as it is requires grad"


# ---- inputs that somebody else needs -----------------------------------------------------------------------------


class Mapped(Cell):
    """Its inputs are mapped for all steps at once, by a function whose rule may read its own result."""

    rolled = True
    seen: Any = None

    def __init__(self, last: Callable[[Any], Any]) -> None:
        super().__init__(lambda c, x, s: (np.tanh(x + s[0] @ c.V),), 1)
        self.last = last
        self.map = nn.Linear(3, H, dtype=np.float64)

    def inputs(self, xs: Any) -> Any:
        mapped = self.last(self.map(xs))
        Mapped.seen = (mapped, mapped.data.copy(), np.sum(np.square(mapped)))
        return mapped


@pytest.mark.parametrize("last", [np.tanh, mg.sigmoid, np.exp, np.positive], ids=lambda f: f.__name__)
def test_inputs_are_left_to_those_who_read_them_later(last: Any) -> None:
    layer = nn.Recurrent(Mapped(last))
    found = []
    for rolled in (True, False):
        layer._rolls = rolled
        x = mg.tensor(np.random.default_rng(1).standard_normal((5, 3, 3)), requires_grad=True)
        output, _ = layer(x)
        assert (layer.rolled is True) is rolled
        mapped, before, penalty = Mapped.seen
        layer.zero_grad()
        (np.sum(np.sin(output)) + penalty).backward()
        np.testing.assert_array_equal(mapped.data, before)
        found.append([x.grad, *[p.grad for p in layer.parameters() if p.grad is not None]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=1e-12)


class Modular(nn.Module):
    """Its step calls modules."""

    rolled = True

    def __init__(self) -> None:
        super().__init__()
        self.W, self.U = nn.Linear(3, H, dtype=np.float64), nn.Linear(H, H, dtype=np.float64)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return (mg.zeros((batch, H), dtype=np.float64),)

    def step(self, x: Any, state: Any) -> Any:
        return (np.tanh(self.W(x) + self.U(state[0])),)


def test_hooks_of_modules_within_a_cell_are_called_at_each_step() -> None:
    layer, x = nn.Recurrent(Modular()), mg.randn(5, 2, 3, dtype=np.float64)
    layer(x)
    assert layer.rolled is True
    seen: list[Any] = []
    for factor in (0.0, 2.0):
        remove = layer.cell.U.register_forward_hook(lambda m, i, o, k=factor: seen.append(o.shape) or o * k)
        s = np.zeros((2, H))
        for t in range(5):
            W, U = layer.cell.W, layer.cell.U
            s = np.tanh(x.data[t] @ W.weight.data.T + W.bias.data + factor * (s @ U.weight.data.T + U.bias.data))
        np.testing.assert_allclose(layer(x)[1].data, s, rtol=1e-12)
        assert layer.rolled == "not rolled: a hook of a module looks at its steps"
        remove()
    assert seen == [(2, H)] * 10
    layer(x)
    assert layer.rolled is True


# ---- loops that are not rolled -----------------------------------------------------------------------------------


def _twice(c: Any, x: Any, s: Any) -> Any:
    h = np.tanh(x @ c.U + s[0] + s[1])
    return h, h


LEFT: dict[str, tuple[Step, int, str]] = {
    "one value twice": (_twice, 2, "a step returns one value as two states"),
    "the input": (lambda c, x, s: (x, s[0] @ c.V), 2, "a step returns one value as two states"),
    "a list": (lambda c, x, s: [np.tanh(x @ c.U + s[0])], 1, "a step returned no tuple of its states"),
    "a constant": (lambda c, x, s: (mg.ones((len(x), H), dtype=np.float64), x @ c.U), 2, "a state that it did not"),
    "another dtype": (lambda c, x, s: (np.tanh(x @ c.U).astype(np.float32),), 1, "changed the shape or the dtype"),
    "indexing": (lambda c, x, s: (np.tanh(x @ c.U) * s[0][:, :1],), 1, "a step indexes a tensor"),
    "a product of states": (lambda c, x, s: (np.tanh(s[0] @ s[0]),), 1, "do not fit"),
    "a transpose": (lambda c, x, s: (np.tanh(np.tanh(s[0].T).T),), 1, "a transpose of a changing matrix"),
    "parts of the rows": (
        lambda c, x, s: (np.concatenate(np.split(np.tanh(s[0] @ c.V), 2, axis=0)[::-1], axis=0),), 1, "rows"),
    "a sum along a row": (lambda c, x, s: (s[0] * np.exp(np.sum(x @ c.U, axis=-1))[:, None],), 1, "without keepdims"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_a_step_that_no_program_expresses_runs_as_it_is(name: str) -> None:
    step, states, reason = LEFT[name]
    D = H if name == "the input" else 3
    layer = nn.Recurrent(Cell(step, states, D, width=2 if name == "a product of states" else H))  # as many as rows
    even = {"mask": None}
    try:
        found = results(layer, D, even)
    except (TypeError, ValueError):  # the loop refuses it as well, by its own words
        found = []
    assert reason in layer.rolled.partition(", at ")[0]
    if found:
        _compare(layer, found, even)


def test_more_than_one_axis_and_attributes_that_are_no_constants() -> None:
    layer = nn.Recurrent(Cell(lambda c, x, s: (np.tanh(s[0] + np.expand_dims(x @ c.U, 1)),), 1))
    layer.cell.initial_state = lambda batch: (mg.zeros((batch, 1, H), dtype=np.float64),)
    layer(mg.randn(4, 2, 3, dtype=np.float64))
    assert layer.rolled == "not rolled: its inputs or states have more than one axis"
    layer = nn.Recurrent(Cell(lambda c, x, s: (np.tanh(x @ c.U + s[0]),), 1))
    layer.cell.seen = [1, 2]
    layer(mg.randn(4, 2, 3, dtype=np.float64))
    assert layer.rolled == "not rolled: Cell reads 'seen', a list, which may change unnoticed"


def test_the_latest_programs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "MOST", 2)
    rolling._kept.clear()
    layers = [nn.Recurrent(nn.RNNCell(3, width)) for width in (2, 4, 5)]
    for layer in layers:
        layer(mg.randn(2, 2, 3))
    assert [found.program.loop.step.new[0].shape[1] for found in rolling._kept.values()] == [4, 5]  # type: ignore[union-attr]
    rolling._kept.clear()


def test_names_and_retained_gradients_stay_with_outputs_that_are_unfolded() -> None:
    layer = nn.Recurrent(nn.GRUCell(3, 4))
    output, h = layer(mg.randn(4, 2, 3))
    h.name = "hidden"
    h.retain_grad()
    loss = np.sum(np.sin(h)) + 0 * np.sum(output)
    assert "hidden" in mg.graph(loss).dot()
    loss.backward()
    np.testing.assert_allclose(h.grad.data, np.cos(h.data), rtol=1e-6)


def test_a_loop_is_run_by_a_layer_alone() -> None:
    loop = layer_loop()
    with pytest.raises(TypeError, match="it is run by"):
        loop.primitive(mg.ones(2))
    assert programs.rolls(np.zeros(2)) is None


def layer_loop() -> Any:
    output, _ = nn.Recurrent(nn.GRUCell(3, 4))(mg.randn(4, 2, 3))
    return output.edge.edges[0][0].node
