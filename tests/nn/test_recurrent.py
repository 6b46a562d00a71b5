"""Layers over time: every cell against the loop of its equations; shown states; cells of a user; stacks and
directions; dropout over time; recomputed segments; bad input; every backend."""

from __future__ import annotations

import tracemalloc
from typing import Any, NamedTuple

import numpy as np
import pytest
from oracles import (
    VARIANTS,
    Variant,
    derivatives,
    gradients,
    near,
    parameters_replaced,
    randomize,
    run,
    sigmoid,
    tensors,
    total,
)

import minigrad as mg
import nn

Rng = np.random.Generator
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
T, N, D, H = 4, 3, 3, 4


def as_state(parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)


def weights_of(module: Any) -> dict[str, Any]:
    return {name: p.numpy() for name, p in module.named_parameters()}


# ---- one cell ----------------------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_a_layer_is_the_loop_over_the_equations(variant: Variant, reverse: bool, rng: Rng) -> None:
    cell = randomize(variant.make(D), rng)
    layer = nn.Recurrent(cell, reverse=reverse)
    point = {
        **weights_of(cell),
        "xs": rng.standard_normal((T, 2, D)),
        **{f"state{k}": rng.standard_normal((2, n)) for k, n in enumerate(cell.sizes)},
    }

    def expected(p: Any) -> Any:
        ran = run(variant, cell, p, p["xs"], [p[f"state{k}"] for k in range(len(cell.sizes))], reverse=reverse)
        return [ran.outputs, *ran.final, *ran.shown.values()]

    xs, *state = tensors([point["xs"], *[point[f"state{k}"] for k in range(len(cell.sizes))]])
    outputs, final, shown = layer(xs, as_state(state), return_states=True)
    assert shown._fields == (*cell.states, *cell.gates)
    found = [outputs, *(final if len(state) > 1 else [final]), *shown]
    near(found, expected(point))
    pulled = gradients(total(found), cell, xs=xs, state=state)
    near(list(pulled.values()), list(derivatives(lambda p: total(expected(p)), point).values()), 2e-12)


@every_variant
def test_no_state_is_a_state_of_zeros(variant: Variant, rng: Rng) -> None:
    layer = nn.Recurrent(randomize(variant.make(D), rng))
    xs = rng.standard_normal((T, N, D))
    zeros = as_state([np.zeros((N, n)) for n in layer.cell.sizes])
    for a, b in zip(_flat(layer(xs)), _flat(layer(xs, zeros)), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def _flat(value: Any) -> list[mg.Tensor]:
    return [t for v in value for t in _flat(v)] if isinstance(value, tuple | list) else [value]


def test_second_derivatives_through_a_ragged_bidirectional_stack(rng: Rng) -> None:
    layer = randomize(nn.LSTM(2, 2, 2, bidirectional=True, dtype=np.float64), rng)
    names = [name for name, _ in layer.named_parameters()]
    xs = mg.tensor(rng.standard_normal((3, 2, 2)), requires_grad=True)
    weights = [mg.tensor(p.numpy(), requires_grad=True) for p in layer.parameters()]

    def f(xs: Any, *weights: Any) -> Any:
        with parameters_replaced(layer, dict(zip(names, weights, strict=True))):
            return total(layer(xs, lengths=[2, 3]))

    assert mg.gradcheck(f, (xs, *weights), directions=1)
    assert mg.gradgradcheck(f, (xs, *weights), directions=1)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_the_plain_path_agrees(kind: Any, rng: Rng) -> None:
    layer = randomize(kind(D, H, 2, bidirectional=True, dtype=np.float64), rng)
    xs = tensors(rng.standard_normal((T, N, D)))

    def both() -> Any:
        results = layer(xs, lengths=[4, 1, 3], return_states=True)
        return [v.numpy() for v in _flat(results)], gradients(total(results), layer, xs=xs)

    fast = both()
    with mg.plain_path():
        near(fast, both())


# ---- shown states ------------------------------------------------------------------------------------------------


def test_shown_states_are_those_of_a_loop_by_hand_and_have_gradients(rng: Rng) -> None:
    cell = randomize(nn.LSTMCell(D, H, dtype=np.float64), rng)
    xs = tensors(rng.standard_normal((T, N, D)))
    _, _, shown = nn.Recurrent(cell)(xs, return_states=True)
    state, cs = None, []
    for x in xs:
        state = cell(x, state)
        cs.append(state[1])
    near(shown.c, np.stack(cs))
    near(gradients(total(shown.c), cell, xs=xs), gradients(total(np.stack(cs)), cell, xs=xs))
    only_a_gate = gradients(total(nn.Recurrent(cell)(xs, return_states=True)[2].f), cell, xs=xs)
    assert np.abs(only_a_gate["weight_hh"]).max() > 0


def test_several_cells_show_a_list(rng: Rng) -> None:
    layer = nn.GRU(D, H, 2, bidirectional=True, batch_first=True)
    output, h, shown = layer(rng.standard_normal((N, T, D)).astype(np.float32), return_states=True)
    assert [type(s)._fields for s in shown] == [("h", "r", "z", "n")] * 4  # layer by layer, forward first
    assert {v.shape for s in shown for v in s} == {(N, T, H)}
    near(np.concatenate([shown[2].h.numpy(), shown[3].h.numpy()], axis=-1), output.numpy(), 0)
    near(shown[0].h[:, -1], h[0], 0)
    near(shown[1].h[:, 0], h[1], 0)


def test_shown_without_a_batch(rng: Rng) -> None:
    xs = rng.standard_normal((T, D)).astype(np.float32)
    for batch_first in (False, True):
        layer = nn.LSTM(D, H, batch_first=batch_first)
        output, (h, c), shown = layer(xs, return_states=True)
        assert (output.shape, h.shape, c.shape) == ((T, H), (1, H), (1, H))
        assert {v.shape for v in shown} == {(T, H)}
        near(shown.h, output, 0)
        again, _ = layer(xs[2:], layer(xs[:2])[1])
        near(again, output[2:], 1e-6)


# ---- a user's cell -----------------------------------------------------------------------------------------------


class MinimalGated:
    """The minimal gated unit (Zhou et al. 2016), which is no Module and starts in float32."""

    def __init__(self, D: int, H: int) -> None:
        rng = np.random.default_rng(5)
        self.H = H
        self.W, self.U = tensors([rng.standard_normal((2 * H, D)), rng.standard_normal((2 * H, H))])
        self.b = tensors(rng.standard_normal(2 * H))

    def initial_state(self, batch: int) -> Any:
        return (mg.zeros((batch, self.H)),)

    def step(self, x: Any, state: Any) -> Any:
        (h,) = state
        W_f, W_h = np.split(self.W, 2)
        U_f, U_h = np.split(self.U, 2)
        b_f, b_h = np.split(self.b, 2)
        f = mg.sigmoid(x @ W_f.T + h @ U_f.T + b_f)
        return ((1 - f) * h + f * np.tanh(x @ W_h.T + (f * h) @ U_h.T + b_h),)


class Step(NamedTuple):
    memory: Any
    forget: Any


class NamedMinimalGated(MinimalGated):
    """A cell that maps all inputs at once, and names its outputs."""

    def inputs(self, xs: Any) -> Any:
        return xs @ self.W.T + self.b

    def step(self, x: Any, state: Any) -> Any:
        (h,) = state
        x_f, x_h = np.split(x, 2, axis=-1)
        U_f, U_h = np.split(self.U, 2)
        f = mg.sigmoid(x_f + h @ U_f.T)
        return Step((1 - f) * h + f * np.tanh(x_h + (f * h) @ U_h.T), f)


class MinimalGatedModule(nn.Module):
    """A Module, with a gate beyond its state."""

    def __init__(self, D: int, H: int) -> None:
        super().__init__()
        plain = MinimalGated(D, H)
        self.W, self.U, self.b = nn.Parameter(plain.W), nn.Parameter(plain.U), nn.Parameter(plain.b)
        self.H = H

    initial_state = MinimalGated.initial_state

    def step(self, x: Any, state: Any) -> Any:
        return (*MinimalGated.step(self, x, state), mg.sigmoid(x @ self.W[: self.H].T))  # type: ignore[arg-type]


def minimal_loop(cell: Any, xs: Any, mask: Any, reverse: bool = False) -> tuple[Any, Any]:
    W, U, b = cell.W.numpy(), cell.U.numpy(), cell.b.numpy()
    h_n, outputs = np.zeros((xs.shape[1], cell.H)), np.zeros((*xs.shape[:2], cell.H))
    for n in range(xs.shape[1]):
        h = h_n[n]
        for t in range(len(xs))[:: -1 if reverse else 1]:
            if mask[t, n]:
                f = sigmoid(W[: cell.H] @ xs[t, n] + U[: cell.H] @ h + b[: cell.H])
                candidate = np.tanh(W[cell.H :] @ xs[t, n] + U[cell.H :] @ (f * h) + b[cell.H :])
                h = outputs[t, n] = (1 - f) * h + f * candidate
        h_n[n] = h
    return outputs, h_n


@pytest.mark.parametrize("kind", [MinimalGated, NamedMinimalGated, MinimalGatedModule])
def test_a_users_cell_of_two_methods_is_a_layer(kind: Any, rng: Rng) -> None:
    xs = rng.standard_normal((T, N, D))
    mask = np.arange(T)[:, None] < [2, 4, 1]
    there, back, above = kind(D, H), kind(D, H), kind(2 * H, 5)
    for reverse in (False, True):
        output, final = nn.Recurrent(there, reverse=reverse)(xs, lengths=[2, 4, 1])
        near((output, final), minimal_loop(there, xs, mask, reverse))
        assert final.dtype == np.float64
    both = nn.Bidirectional(there, back)
    expected = [minimal_loop(there, xs, mask), minimal_loop(back, xs, mask, True)]
    side_by_side = np.concatenate([expected[0][0], expected[1][0]], axis=-1)
    near(both(xs, mask=mask), (side_by_side, (expected[0][1], expected[1][1])))
    output, (_, final) = nn.Stacked([both, above])(xs, lengths=[2, 4, 1])
    near((output, final), minimal_loop(above, side_by_side, mask))


@pytest.mark.parametrize("kind", [MinimalGated, NamedMinimalGated])
def test_a_users_layers_pass_gradient_checks(kind: Any, rng: Rng) -> None:
    cells = [kind(D, 2), kind(D, 2), kind(4, 2)]
    layer = nn.Stacked([nn.Bidirectional(cells[0], cells[1]), cells[2]])

    def f(xs: Any, *weights: Any) -> Any:
        for k, cell in enumerate(cells):
            cell.W, cell.U, cell.b = weights[3 * k : 3 * k + 3]
        return total(layer(xs, lengths=[1, 3]))

    xs = mg.tensor(rng.standard_normal((3, 2, D)), requires_grad=True)
    weights = [w for cell in cells for w in (cell.W, cell.U, cell.b)]
    assert mg.gradcheck(f, (xs, *weights), directions=1)
    assert mg.gradgradcheck(f, (xs, *weights), directions=1)


def test_what_a_users_cell_shows(rng: Rng) -> None:
    xs = rng.standard_normal((T, N, D))
    shown = nn.Recurrent(NamedMinimalGated(D, H))(xs, return_states=True)[2]
    assert shown._fields == ("memory", "forget")
    assert {s.shape for s in shown} == {(T, N, H)}
    assert nn.Recurrent(MinimalGatedModule(D, H))(xs, return_states=True)[2]._fields == ("s0", "gate0")
    assert nn.Recurrent(MinimalGated(D, H))(xs, return_states=True)[2]._fields == ("s0",)


def test_a_module_as_a_users_cell_registers_its_weights() -> None:
    layer = nn.Recurrent(MinimalGatedModule(D, H))
    assert [name for name, _ in layer.named_parameters()] == ["cell.W", "cell.U", "cell.b"]


class Associative:
    """A state that is a matrix (N, H, H), one that is a vector, and one that is a number for each sequence."""

    def initial_state(self, batch: int) -> Any:
        return mg.zeros((batch, D, D)), mg.zeros((batch, D)), mg.zeros((batch,))

    def step(self, x: Any, state: Any) -> Any:
        A, v, count = state
        A = 0.9 * A + x[:, :, None] * x[:, None, :]
        v = np.tanh(np.squeeze(A @ x[:, :, None], -1) + v)
        return A, v, count + 1


def test_states_of_any_number_of_axes(rng: Rng) -> None:
    xs = rng.standard_normal((T, N, D))
    mask = np.array([[True, True, False], [False, True, False], [True, True, True], [True, False, False]])
    for reverse in (False, True):
        layer = nn.Recurrent(Associative(), reverse=reverse)
        output, final, shown = layer(xs, mask=mask, return_states=True)
        assert output.shape == (T, N, D, D)
        np.testing.assert_array_equal(final[2].numpy(), mask.sum(0))
        assert shown.s2.shape == (T, N)
        for n in range(N):
            alone, last = layer(xs[mask[:, n], n][:, None])
            near(output[:, n].numpy()[mask[:, n]], alone[:, 0])
            near([f[n] for f in final], [f[0] for f in last])
        assert not output.numpy()[~mask].any()


class Wrong(MinimalGated):
    def __init__(self, answer: Any, start: Any = None) -> None:
        super().__init__(D, H)
        self.answer, self.start = answer, start

    def initial_state(self, batch: int) -> Any:
        return super().initial_state(batch) if self.start is None else self.start

    def step(self, x: Any, state: Any) -> Any:
        return self.answer(state)


@pytest.mark.parametrize(
    ("cell", "error", "message"),
    [
        (
            Wrong(lambda s: s[0]),
            TypeError,
            r"Wrong.step must return a tuple of at least the 1 tensors of the state, it returned Tensor in .* t=0",
        ),
        (Wrong(list), TypeError, "it returned list in Recurrent t=0"),
        (Wrong(lambda s: ()), TypeError, "it returned 0 of them in Recurrent t=0"),
        (
            Wrong(lambda s: (s[0][:, :2],)),
            ValueError,
            r"Wrong.step turned a state of shape \(3, 4\) into \(3, 2\) in Recurrent t=0",
        ),
        (
            Wrong(lambda s: s, [mg.zeros((3, 4))]),
            TypeError,
            "Recurrent: initial_state must return a tuple of tensors, got list",
        ),
    ],
)
def test_wrong_cells(cell: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.Recurrent(cell)(mg.zeros((T, N, D)))


def test_what_is_no_cell() -> None:
    with pytest.raises(TypeError, match="Recurrent: a cell has initial_state and step, Linear has not"):
        nn.Recurrent(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="Stacked: expected cells, layers or modules, got int"):
        nn.Stacked([3])
    with pytest.raises(ValueError, match="Stacked: there is no recurrent layer in it"):
        nn.Stacked([nn.Linear(2, 2)])


# ---- stacks and directions ---------------------------------------------------------------------------------------


def test_a_stack_of_different_widths_is_one_layer_after_the_other(rng: Rng) -> None:
    cells = [nn.GRUCell(D, 5, dtype=np.float64), nn.LSTMCell(5, 2, dtype=np.float64)]
    stack = randomize(nn.Stacked([*cells, nn.RNNCell(2, 6, dtype=np.float64)]), rng)
    xs = tensors(rng.standard_normal((T, N, D)))
    state = tensors((rng.standard_normal((N, 5)), tuple(rng.standard_normal((2, N, 2))), rng.standard_normal((N, 6))))

    def by_hand() -> Any:
        below, finals = xs, []
        for layer, s in zip(stack, state, strict=True):
            below, final = layer(below, s)
            finals.append(final)
        return below, tuple(finals)

    near(_flat(stack(xs, state)), _flat(by_hand()))
    near(gradients(total(stack(xs, state)), stack, xs=xs, s=state),
         gradients(total(by_hand()), stack, xs=xs, s=state))  # fmt: skip


def test_residual_adds_the_input_wherever_widths_agree(rng: Rng) -> None:
    cells = [nn.GRUCell(m, n, dtype=np.float64) for m, n in ((D, D), (D, H), (H, H), (H, 2))]
    layers = [nn.Recurrent(randomize(cell, rng)) for cell in cells]
    xs, which = rng.standard_normal((T, N, D)), {"lengths": [4, 2, 3]}
    real = (np.arange(T)[:, None] < [4, 2, 3])[:, :, None]
    output, _ = nn.Stacked(layers, residual=True)(xs, **which)
    first = layers[0](xs, **which)[0] + xs * real
    second = layers[1](first, **which)[0]
    third = layers[2](second, **which)[0] + second
    near(output, layers[3](third, **which)[0])


@pytest.mark.parametrize("batch_first", [False, True])
def test_modules_between_layers_work_on_each_step(batch_first: bool, rng: Rng) -> None:
    lower, norm, upper = nn.GRUCell(D, H), nn.LayerNorm(H), nn.RNNCell(H, 2)
    stack = randomize(nn.Stacked([lower, norm, upper, nn.Tanh()], batch_first=batch_first).to(np.float64), rng)
    xs = rng.standard_normal((N, T, D) if batch_first else (T, N, D))
    mask = rng.random(xs.shape[:2]) < 0.7
    output, (below, above) = stack(xs, mask=mask)
    kinds = {"batch_first": batch_first}
    hidden, first = nn.Recurrent(lower, **kinds)(xs, mask=mask)
    expected, second = nn.Recurrent(upper, **kinds)(norm(hidden), mask=mask)
    near((output, below, above), (np.tanh(expected), first, second))


def test_dropout_stands_between_layers_and_not_after_the_last(rng: Rng) -> None:
    layer = nn.LSTM(D, 40, 3, dropout=0.4)
    xs = rng.standard_normal((T, N, D)).astype(np.float32)
    mg.manual_seed(3)
    output, _ = layer(xs)
    mg.manual_seed(3)
    below = layer.layers[0](xs)[0]
    for k in (1, 2):
        rows = layer.layers.dropout(below.reshape(T * N, 40))  # what it draws for all rows
        assert abs((rows.numpy() == 0).mean() - 0.4) < 0.1
        below = layer.layers[k](rows.reshape(T, N, 40))[0]
    near(output, below, 1e-6)
    assert (output.numpy() != 0).all()
    layer.eval()
    near(layer(xs)[0], layer(xs)[0], 0)
    with pytest.warns(UserWarning, match=r"LSTM: dropout=0.9 is between layers, and num_layers=1 has nothing between"):
        alone = nn.LSTM(D, 2, dropout=0.9)
    assert alone(xs)[0].numpy().all()


def test_two_directions_of_different_kinds_and_widths(rng: Rng) -> None:
    there = nn.Recurrent(randomize(nn.GRUCell(D, H, dtype=np.float64), rng))
    back = nn.Recurrent(randomize(nn.LSTMCell(D, 5, dtype=np.float64), rng), reverse=True)
    both = nn.Bidirectional(there, back, batch_first=True)
    xs = rng.standard_normal((T, N, D))
    state = (rng.standard_normal((N, H)), tuple(rng.standard_normal((2, N, 5))))
    output, final = both(np.swapaxes(xs, 0, 1), state, lengths=[1, 4, 2])
    (a, h), (b, hc) = there(xs, state[0], lengths=[1, 4, 2]), back(xs, state[1], lengths=[1, 4, 2])
    near(output, np.swapaxes(np.concatenate([a, b], axis=-1), 0, 1))
    near(_flat(final), _flat((h, hc)))
    with pytest.raises(ValueError, match="the two directions need a cell each"):
        nn.Bidirectional(there.cell, there.cell)
    with pytest.raises(ValueError, match="the backward layer must be made with reverse=True"):
        nn.Bidirectional(back.cell, there)
    with pytest.raises(ValueError, match="the forward layer must be made with reverse=False"):
        nn.Bidirectional(back, nn.GRUCell(D, H))


def test_combinators_nest(rng: Rng) -> None:
    def cell(m: int, n: int) -> Any:
        return randomize(nn.GRUCell(m, n, dtype=np.float64), rng)

    inner = nn.Stacked([cell(D, 2), cell(2, 3)])
    both = nn.Bidirectional(inner, nn.Recurrent(cell(D, 2), reverse=True))
    outer = nn.Stacked([both, nn.Stacked([nn.Bidirectional(cell(5, 2), cell(5, 2)), nn.LayerNorm(4).to(np.float64)])])
    xs = rng.standard_normal((T, N, D))
    output, final = outer(xs, lengths=[3, 4, 1])
    assert len(_flat(final)) == 5
    below, first = both(xs, lengths=[3, 4, 1])
    above, second = outer[1](below, lengths=[3, 4, 1])
    near(_flat((output, final)), _flat((above, first, second)))
    near(_flat(outer(xs, final, lengths=[3, 4, 1])[1][0][0]), _flat(inner(xs, final[0][0], lengths=[3, 4, 1])[1]))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_the_named_layers_are_the_combinators(kind: Any, rng: Rng) -> None:
    layer = randomize(kind(D, H, 2, bidirectional=True, recurrent_dropout=0.2, zoneout=0.1), rng).eval()
    xs = rng.standard_normal((T, N, D)).astype(np.float32)
    output, final = layer(xs, lengths=[2, 4, 3])
    below, finals = layer.layers(xs, lengths=[2, 4, 3])
    near(output, below, 0)
    h = final[0] if isinstance(final, tuple) else final
    near(h[3], finals[1][1][0] if isinstance(final, tuple) else finals[1][1], 0)


def test_every_option_of_the_lstm_layer_is_found_by_pytorchs_naming() -> None:
    layer = nn.LSTM(D, H, 2, bidirectional=True, peephole=True, layer_norm=True, proj_size=2, learn_state=True)
    names = list(layer.state_dict())
    special = ["weight_hr_l1_reverse", "weight_ci_l0", "norm_c_l0_reverse.bias", "initial_h_l0", "initial_c_l1_reverse"]
    assert set(special) < set(names)
    assert layer.weight_hr_l1_reverse is layer.layers[1].backward_layer.cell.weight_hr
    assert layer.initial_h_l0.shape == (2,)
    with pytest.raises(AttributeError, match="LSTM has no attribute 'weight_ih_l7'"):
        _ = layer.weight_ih_l7


# ---- learned initial states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_learned_initial_state_is_what_none_stands_for(kind: Any, rng: Rng) -> None:
    layer = kind(D, H, 2, bidirectional=True, learn_state=True, dtype=np.float64)
    learned = {n: p for n, p in layer.named_parameters() if n.startswith("initial")}
    assert len(learned) == (8 if kind is nn.LSTM else 4)
    assert not any(p.numpy().any() for p in learned.values())
    randomize(layer, rng)
    xs = rng.standard_normal((T, N, D))
    start = layer.initial_state(N)
    near(_flat(start)[0][2], np.broadcast_to(learned["initial_h_l1"].numpy(), (N, H)))
    given = tensors([s.numpy() for s in _flat(start)])
    results = layer(xs, lengths=[4, 1, 2])
    near(_flat(results), _flat(layer(xs, as_state(given), lengths=[4, 1, 2])))
    found = gradients(total(results), layer)
    by_state = gradients(total(layer(xs, as_state(given), lengths=[4, 1, 2])), layer, s=given)
    order = [f"l{k}{d}" for k in (0, 1) for d in ("", "_reverse")]
    for k, name in enumerate(["initial_h", "initial_c"][: len(given)]):
        for place, suffix in enumerate(order):
            near(found[f"{name}_{suffix}"], by_state[f"s[{k}]"][place].sum(0))


def test_a_learned_start_for_a_users_cell(rng: Rng) -> None:
    layer = nn.Recurrent(MinimalGated(D, H), learn_state=True)
    assert [name for name, _ in layer.named_parameters()] == ["initial_0"]
    layer.initial_0.data[...] = 0.5
    xs = rng.standard_normal((T, N, D))
    near(_flat(layer(xs)), _flat(layer(xs, np.full((N, H), 0.5))))


# ---- dropout over time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_dropout_draws_one_mask_a_sequence(kind: Any, rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = kind(D, 30, recurrent_dropout=0.5)
    xs = rng.standard_normal((T, N, D)).astype(np.float32)
    cell = layer.layers[0].cell
    masks: list[Any] = []
    update = type(cell).update

    def watched(self: Any, x: Any, state: Any, recurrent: Any) -> Any:
        masks.append(recurrent.numpy() / state[0].numpy())
        return update(self, x, state, recurrent)

    monkeypatch.setattr(type(cell), "update", watched)
    start = rng.standard_normal((1, N, 30)).astype(np.float32)
    _, final = layer(xs, (start, start) if kind is nn.LSTM else start)
    assert len(masks) == T
    for mask in masks:
        np.testing.assert_allclose(mask, masks[0], rtol=1e-5)  # constant over time
    assert (masks[0][0] != masks[0][1]).any()  # its own for each sequence
    assert len(_flat(final)) == (2 if kind is nn.LSTM else 1)  # the mask is not handed on to the next sequence
    first = masks[0]
    layer(xs, final)
    assert (np.abs(masks[T] - first) > 0.1).any()


def test_a_layer_with_recurrent_dropout_is_the_loop_by_hand_which_carries_the_mask(rng: Rng) -> None:
    cell = randomize(nn.LSTMCell(D, H, recurrent_dropout=0.5, zoneout=(0.1, 0.3), dtype=np.float64), rng)
    xs = tensors(rng.standard_normal((T, N, D)))
    mg.manual_seed(1)
    output, final = nn.Recurrent(cell)(xs)
    pulled = gradients(total((output, final)), cell, xs=xs)
    mg.manual_seed(1)
    state, hs = None, []
    for x in xs:
        state = cell(x, state)
        assert len(state) == 3
        hs.append(state[0])
    near((output, *final), (np.stack(hs), *state[:2]))
    near(pulled, gradients(total((np.stack(hs), state[:2])), cell, xs=xs))


def test_what_is_shown_is_not_mixed_up_with_the_mask_of_dropout(rng: Rng) -> None:
    plain = nn.Recurrent(randomize(nn.LSTMCell(D, H, dtype=np.float64), rng))
    layer = nn.Recurrent(nn.LSTMCell(D, H, recurrent_dropout=1e-9, zoneout=1e-9, dtype=np.float64))
    layer.load_state_dict(plain.state_dict())
    xs = rng.standard_normal((T, N, D))
    shown = layer(xs, return_states=True)[2]
    assert shown._fields == ("h", "c", "i", "f", "g", "o")
    near(shown, plain(xs, return_states=True)[2], 1e-7)


def test_the_initial_state_of_a_layer_with_dropout_can_be_given(rng: Rng) -> None:
    xs = rng.standard_normal((T, N, D)).astype(np.float32)
    for layer in (nn.LSTM(D, H, 2, recurrent_dropout=0.5), nn.Recurrent(nn.GRUCell(D, H, recurrent_dropout=0.5))):
        mg.manual_seed(2)
        expected = layer(xs)[0].numpy()
        start = layer.initial_state(N)
        mg.manual_seed(2)
        near(layer(xs, start)[0], expected, 0)


def test_dropout_is_off_in_evaluation(rng: Rng) -> None:
    layer = nn.GRU(D, H, 2, dropout=0.5, recurrent_dropout=0.5, dtype=np.float64).eval()
    plain = nn.GRU(D, H, 2, dtype=np.float64)
    plain.load_state_dict(layer.state_dict())
    xs = rng.standard_normal((T, N, D))
    near(_flat(layer(xs)), _flat(plain(xs)), 0)
    state = mg.get_random_state()
    layer(xs)
    assert str(mg.get_random_state()) == str(state)  # nothing is drawn


# ---- recomputed segments -----------------------------------------------------------------------------------------


def in_segments(layer: Any, xs: Any, steps: int, run: Any) -> Any:
    outputs, state = [], None
    for start in range(0, xs.shape[0], steps):
        output, state = run(layer, xs[start : start + steps], state)
        outputs.append(output)
    return np.concatenate(outputs), state


@pytest.mark.parametrize("options", [{}, {"recurrent_dropout": 0.5, "zoneout": 0.2, "dropout": 0.3}])
def test_checkpointed_segments_have_the_same_gradients(options: Any, rng: Rng) -> None:
    layer = randomize(nn.LSTM(D, H, 2, dtype=np.float64, **options), rng)
    xs = tensors(rng.standard_normal((7, N, D)))
    found = []
    for way in (lambda f, *args: f(*args), mg.checkpoint):
        mg.manual_seed(4)
        results = in_segments(layer, xs, 3, way)
        found.append(([v.numpy() for v in _flat(results)], gradients(total(results), layer, xs=xs)))
    near(found[1], found[0])


def test_checkpointed_segments_need_less_memory(rng: Rng) -> None:
    layer = nn.GRU(8, 64)
    xs = mg.tensor(rng.standard_normal((144, 16, 8)).astype(np.float32))

    def peak(way: Any) -> int:
        tracemalloc.start()
        try:
            output, _ = in_segments(layer, xs, 12, way)
            (output * output).sum().backward()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for way in (lambda f, *args: f(*args), mg.checkpoint):
        peak(way)  # programs and buffers are made
    assert peak(mg.checkpoint) < 0.5 * peak(lambda f, *args: f(*args))


# ---- bad input ---------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(D, H, 2)

    def forward(self, *args: Any, **options: Any) -> Any:
        return self.lstm(*args, **options)


x = mg.zeros((T, N, D))
BAD: list[tuple[Any, Any, str]] = [
    (
        lambda m: m(mg.zeros((T, N, 5))),
        ValueError,
        r"LSTM: the input has 5 features \(axis 2 of \(4, 3, 5\)\), but input_size is 3 in Encoder.lstm",
    ),
    (
        lambda m: m(mg.zeros((T, N, D, 1))),
        ValueError,
        r"LSTM: expected an input \(T, N, D\), got shape \(4, 3, 3, 1\) in Encoder.lstm",
    ),
    (lambda m: m(np.ones((T, N, D), int)), TypeError, "LSTM: the input must be of floats, not int64 in Encoder.lstm"),
    (lambda m: m(x, mg.zeros((2, N, H))), ValueError, "LSTM: the state is h and c, got 1 tensors in Encoder.lstm"),
    (
        lambda m: m(x, (mg.zeros((2, N, H)), mg.zeros((2, 5, H)))),
        ValueError,
        r"LSTM: the initial c has shape \(2, 5, 4\), expected \(2, 3, 4\): the batch \(axis 1\) differs in Enc",
    ),
    (
        lambda m: m(x, (mg.zeros((2, N, 7)), mg.zeros((2, N, H)))),
        ValueError,
        r"LSTM: the initial h has shape \(2, 3, 7\), expected \(2, 3, 4\): the state's size \(axis 2\) differs",
    ),
    (lambda m: m(x, (mg.zeros((1, N, H)),) * 2), ValueError, r"num_layers · directions \(axis 0\) differs"),
    (
        lambda m: m(x, (mg.zeros((N, H)),) * 2),
        ValueError,
        r"the initial h has shape \(3, 4\), expected \(2, 3, 4\) in Encoder.lstm",
    ),
    (
        lambda m: m(x, lengths=[4, -1, 1]),
        ValueError,
        "LSTM: length -1 of sequence 1 is not between 0 and T = 4 in Encoder.lstm",
    ),
    (lambda m: m(x, lengths=[4, 1, 5]), ValueError, "LSTM: length 5 of sequence 2 is not between 0 and T = 4"),
    (lambda m: m(x, lengths=[4.0, 1.0, 2.0]), TypeError, "LSTM: lengths must be integers, got float64"),
    (lambda m: m(x, lengths=[4, 1]), ValueError, r"LSTM: 3 sequences need lengths of shape \(3,\), got \(2,\)"),
    (
        lambda m: m(x, lengths=[4, 1, 1], mask=np.ones((T, N), bool)),
        ValueError,
        "LSTM: give lengths or a mask, not both",
    ),
    (
        lambda m: m(x, mask=np.ones((N, T), bool)),
        ValueError,
        r"LSTM: the mask has shape \(3, 4\), expected \(T, N\) = \(4, 3\)",
    ),
    (lambda m: m(x, mask=np.ones((T, N))), TypeError, "LSTM: the mask must be of booleans, not float64"),
    (
        lambda m: m(mg.zeros((T, D)), lengths=[4]),
        ValueError,
        r"LSTM: an input \(T, D\) without a batch takes no lengths and no mask",
    ),
    (lambda m: m(mg.zeros((T, 5))), ValueError, r"LSTM: the input has 5 features \(axis 1 of \(4, 5\)\)"),
    (
        lambda m: m(mg.zeros((T, D)), (mg.zeros((2, 1, H)),) * 2),
        ValueError,
        r"LSTM: an input \(T, D\) without a batch needs a state .* = \(2, 4\), not \(2, 1, 4\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(Encoder())


def test_bad_input_of_the_combinators() -> None:
    with pytest.raises(ValueError, match=r"Recurrent: state 'h' has shape \(2, 4\), expected \(3, 4\): axis 0 differs"):
        nn.Recurrent(nn.GRUCell(D, H))(x, mg.zeros((2, H)))
    stack = nn.Stacked([nn.GRUCell(D, H), nn.GRUCell(5, H)])
    with pytest.raises(ValueError, match=r"the layer below gives 4 features, but input_size is 5 in Stacked\[1\]"):
        stack(x)
    with pytest.raises(ValueError, match="one part for each of the 2 recurrent layers, got 1 parts"):
        stack(x, (mg.zeros((N, H)),))
    with pytest.raises(ValueError, match="one part for each of the 2 directions, got a Tensor"):
        nn.Bidirectional(nn.GRUCell(D, H), nn.GRUCell(D, H))(x, mg.zeros((N, H)))
    with pytest.raises(ValueError, match="GRU: num_layers must be a positive integer, got 0"):
        nn.GRU(D, H, 0)
    with pytest.raises(ValueError, match="RNN: a probability must be between 0 and 1, not 2"):
        nn.RNN(D, H, dropout=2)


def test_errors_deep_inside_say_where_and_when() -> None:
    model = Encoder()
    model.lstm.weight_hh_l1.data[0, 0] = np.nan
    with pytest.raises(mg.AnomalyError, match=r"NaN in Encoder.lstm\[1\] t=0"), mg.detect_anomaly():
        model(mg.ones((T, N, D)))


def test_what_a_layer_says_of_itself() -> None:
    assert repr(nn.LSTM(3, 4)) == "LSTM(3, 4)"
    assert repr(nn.GRU(3, 4, 2, bidirectional=True)) == "GRU(3, 4, num_layers=2, bidirectional=True)"


# ---- every backend -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("mask", [None, [[1, 1, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]]], ids=["full", "ragged"])
def test_on_every_backend(kind: Any, mask: Any, backend: Any, rng: Rng) -> None:
    options = {"bidirectional": True, "learn_state": True, "dtype": np.float64}
    here = randomize(kind(D, H, 2, **options), rng)
    there = kind(D, H, 2, **options, device=backend.device)
    there.load_state_dict(here.state_dict())
    array = rng.standard_normal((T, N, D))
    real = None if mask is None else np.array(mask, bool)
    found = []
    for layer, xs in ((here, tensors(array)), (there, backend.tensor(array, requires_grad=True))):
        results = layer(xs, mask=real, return_states=True)
        weights = [np.random.default_rng(k).standard_normal(v.shape) for k, v in enumerate(_flat(results))]
        weights = [backend.array(w) if layer is there else w for w in weights]
        sum((v * w).sum() for v, w in zip(_flat(results), weights, strict=True)).backward()
        values = [*_flat(results), xs.grad, *[p.grad for p in layer.parameters()]]
        found.append([backend.numpy(v) if layer is there else v.numpy() for v in values])
    near(found[1], found[0])


def test_randomness_and_streams_on_every_backend(backend: Any, rng: Rng) -> None:
    layer = nn.LSTM(D, H, 2, dropout=0.3, recurrent_dropout=0.3, zoneout=0.3, device=backend.device)
    dropped = nn.WeightDrop(layer, ["weight_hh_l0"], 0.5)
    tbptt = nn.TBPTT(2, 4)
    for _ in range(3):
        xs = backend.tensor(rng.standard_normal((2, N, D)), np.float32)
        output = tbptt(dropped, xs, reset=np.array([True, False, True]))
        output.sum().backward()
    assert np.isfinite(backend.numpy(output)).all()
    assert all(np.isfinite(backend.numpy(p.grad)).all() for p in layer.parameters())
