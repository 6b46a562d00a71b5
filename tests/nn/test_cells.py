"""Every cell against its equations, and what holds for all of them: no state is zeros, a row alone, second order."""

from __future__ import annotations

from typing import Any

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
T, N, D, H = 3, 2, 3, 4


def made(variant: Variant, rng: Rng) -> tuple[Any, Any, list[Any]]:
    """A cell with random weights, inputs (T, N, D) and a random state."""
    cell = randomize(variant.make(D), rng)
    return cell, rng.standard_normal((T, N, D)), [rng.standard_normal((N, n)) for n in cell.sizes]


def as_state(parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)


def parts(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def by_hand(cell: Any, xs: Any, state: Any) -> list[Any]:
    """The states after each step, and the outputs where the cell has a map for them."""
    found = []
    for x in xs:
        state = cell(x, state)
        found += parts(state)
        if hasattr(cell, "output"):
            found.append(cell.output(parts(state)[0]))
    return found


# ---- the equations -----------------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
def test_states_and_bptt_gradients_are_those_of_the_equations(variant: Variant, plain: bool, rng: Rng) -> None:
    cell, xs, state = made(variant, rng)
    weights = {name: p.numpy() for name, p in cell.named_parameters()}
    point = {**weights, "xs": xs, **{f"state{k}": s for k, s in enumerate(state)}}

    def expected(p: Any) -> list[Any]:
        found, before = [], [p[f"state{k}"] for k in range(len(state))]
        for x in p["xs"]:
            step = run(variant, cell, p, x[None], before)
            before = list(step.final)
            found += [*step.final, *([step.outputs[0]] if variant.output is not None else [])]
        return found

    leaves = tensors({"xs": xs, "state": state})
    if plain:
        with mg.plain_path():
            found = by_hand(cell, leaves["xs"], as_state(leaves["state"]))
    else:
        found = by_hand(cell, leaves["xs"], as_state(leaves["state"]))
    near(found, expected(point))
    pulled = gradients(total(found), cell, xs=leaves["xs"], state=leaves["state"])
    near(list(pulled.values()), list(derivatives(lambda p: total(expected(p)), point).values()), 2e-12)


@every_variant
def test_the_plain_path_agrees_with_the_fast_one(variant: Variant, rng: Rng) -> None:
    cell, xs, state = made(variant, rng)
    leaves = tensors({"xs": xs, "state": state})
    fast = by_hand(cell, leaves["xs"], as_state(leaves["state"]))
    pulled = gradients(total(fast), cell, **leaves)
    with mg.plain_path():
        plain = by_hand(cell, leaves["xs"], as_state(leaves["state"]))
        near(fast, plain)
        near(pulled, gradients(total(plain), cell, **leaves))


def test_the_joined_form_of_the_lecture_is_the_same(rng: Rng) -> None:
    cell = randomize(nn.RNNCell(D, H, dtype=np.float64), rng)
    x, s = rng.standard_normal((N, D)), rng.standard_normal((N, H))
    W = np.concatenate([cell.weight_ih.numpy(), cell.weight_hh.numpy()], axis=1)  # (H, D + H)
    joined = np.tanh(np.concatenate([x, s], axis=1) @ W.T + cell.bias_ih.numpy() + cell.bias_hh.numpy())
    near(cell(x, s), joined)


def test_the_lectures_update_gate_is_one_minus_ours(rng: Rng) -> None:
    """s_t = z·n + (1 − z)·s_{t−1} with z from the negated weights."""
    cell = randomize(nn.GRUCell(D, H, reset_after=False, dtype=np.float64), rng)
    x, s = rng.standard_normal((N, D)), rng.standard_normal((N, H))
    W_r, W_z, W_n = np.split(np.concatenate([cell.weight_ih.numpy(), cell.weight_hh.numpy()], axis=1), 3)
    b_r, b_z, b_n = np.split(cell.bias_ih.numpy() + cell.bias_hh.numpy(), 3)
    W_z, b_z = -W_z, -b_z
    r = sigmoid(np.concatenate([x, s], axis=1) @ W_r.T + b_r)
    z = sigmoid(np.concatenate([x, s], axis=1) @ W_z.T + b_z)
    n = np.tanh(np.concatenate([x, r * s], axis=1) @ W_n.T + b_n)
    near(cell(x, s), z * n + (1 - z) * s)


# ---- for all of them ---------------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_state_is_a_state_of_zeros(variant: Variant, dtype: Any, rng: Rng) -> None:
    cell = randomize(variant.make(D), rng).to(dtype)
    x = rng.standard_normal((N, D)).astype(dtype)
    zeros = [np.zeros((N, n), dtype) for n in cell.sizes]
    for a, b in zip(parts(cell(x, None)), parts(cell(x, as_state(zeros))), strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@every_variant
def test_an_input_without_a_batch(variant: Variant, rng: Rng) -> None:
    cell, xs, state = made(variant, rng)
    near(parts(cell(xs[0, 0])), [s[0] for s in parts(cell(xs[0]))])
    together = parts(cell(xs[0], as_state(state)))
    alone = parts(cell(xs[0, 1], as_state([s[1] for s in state])))
    assert [a.shape for a in alone] == [(n,) for n in cell.sizes]
    near(alone, [s[1] for s in together])


@every_variant
def test_second_derivatives_through_three_steps(variant: Variant, rng: Rng) -> None:
    cell = randomize(variant.make(2), rng)
    names = [name for name, _ in cell.named_parameters()]
    xs = mg.tensor(rng.standard_normal((3, 2, 2)), requires_grad=True)
    state = [mg.tensor(rng.standard_normal((2, n)), requires_grad=True) for n in cell.sizes]
    weights = [mg.tensor(p.numpy(), requires_grad=True) for p in cell.parameters()]

    def f(xs: Any, state: Any, *weights: Any) -> Any:
        with parameters_replaced(cell, dict(zip(names, weights, strict=True))):
            return total(by_hand(cell, xs, as_state(state)))

    assert mg.gradcheck(f, (xs, state, *weights), directions=1)
    assert mg.gradgradcheck(f, (xs, state, *weights), directions=1)


@every_variant
def test_copies_in_another_dtype_stay_near(variant: Variant, rng: Rng) -> None:
    cell, xs, state = made(variant, rng)
    exact = by_hand(cell, xs, as_state(state))
    cell.to(np.float32)
    rounded = by_hand(cell, xs.astype(np.float32), as_state([s.astype(np.float32) for s in state]))
    assert {v.dtype for v in rounded} == {np.dtype(np.float32)}
    near(rounded, exact, 4e-6)


# ---- a function that changes -------------------------------------------------------------------------------------


def test_a_nonlinearity_may_have_weights_of_its_own(rng: Rng) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(mg.tensor(0.7, dtype=np.float64))

        def forward(self, z: Any) -> Any:
            return np.tanh(self.slope * z)

    cell = randomize(nn.RNNCell(D, H, nonlinearity=Scaled(), dtype=np.float64), rng)
    x = rng.standard_normal((N, D))
    assert "nonlinearity.slope" in dict(cell.named_parameters())
    for slope in (0.7, -1.3):
        cell.nonlinearity.slope.data[...] = slope

        def expected(p: Any) -> Any:
            return total(rnn_of_slope(p, x))

        point = {name: p.numpy() for name, p in cell.named_parameters()}
        near(gradients(total(cell(x)), cell), derivatives(expected, point))


def rnn_of_slope(p: Any, x: Any) -> Any:
    return np.tanh(p["nonlinearity.slope"] * (x @ p["weight_ih"].T + p["bias_ih"] + p["bias_hh"]))


def test_a_nonlinearity_may_depend_on_what_changes(rng: Rng) -> None:
    beta = 1.0
    cell = nn.RNNCell(D, H, nonlinearity=lambda z: np.tanh(beta * z), dtype=np.float64)
    x = rng.standard_normal((N, D))
    before = cell(x).numpy()
    beta = 2.0
    near(np.arctanh(cell(x).numpy()), 2 * np.arctanh(before))


# ---- dropout and zoneout -----------------------------------------------------------------------------------------


def test_recurrent_dropout_drops_the_state_only_where_it_enters_the_product(rng: Rng) -> None:
    """The state carries the mask; the equations with h·mask in the product, and h itself elsewhere."""
    cell = randomize(nn.GRUCell(D, H, recurrent_dropout=0.5, dtype=np.float64), rng)
    x = rng.standard_normal((N, D))
    h, mask = cell(x)  # the mask is drawn with the first state
    p = {name: v.numpy() for name, v in cell.named_parameters()}
    assert set(np.unique(mask.numpy())) <= {0.0, 2.0}
    after, same = cell(x, (h, mask))
    assert same is mask
    W_r, W_z, W_n = np.split((h * mask).numpy() @ p["weight_hh"].T + p["bias_hh"], 3, axis=1)
    V_r, V_z, V_n = np.split(x @ p["weight_ih"].T + p["bias_ih"], 3, axis=1)
    z = sigmoid(V_z + W_z)
    near(after, (1 - z) * np.tanh(V_n + sigmoid(V_r + W_r) * W_n) + z * h.numpy())


@pytest.mark.parametrize("variant", ["rnn", "lstm everything", "gru reset before", "transition"])
def test_recurrent_dropout_is_that_of_the_masked_equations(variant: str, rng: Rng) -> None:
    plain = randomize(VARIANTS[variant].make(D), rng)
    cell = randomize(VARIANTS[variant].make(D), rng)
    cell.load_state_dict(plain.state_dict())
    cell.recurrent_dropout = 0.4
    x, state = rng.standard_normal((N, D)), [rng.standard_normal((N, n)) for n in cell.sizes]
    *after, mask = cell(x, as_state(state))
    # in a step from masked h, only what is not in the product differs
    near(mask.numpy() * (mask.numpy() - 1 / 0.6), np.zeros(mask.shape))
    if variant in ("rnn", "transition", "lstm everything"):  # h enters nothing but the product
        near(tuple(after), parts(plain(x, as_state([state[0] * mask.numpy(), *state[1:]]))))
    cell.eval()
    near(parts(cell(x, as_state(state))), parts(plain(x, as_state(state))), 0)


def test_masks_of_recurrent_dropout_have_the_right_rate() -> None:
    cell = nn.LSTMCell(D, 200, recurrent_dropout=0.3)
    mask = cell.initial_state(100)[-1].numpy()
    assert mask.shape == (100, 200)
    assert abs((mask == 0).mean() - 0.3) < 5 * (0.21 / mask.size) ** 0.5
    np.testing.assert_allclose(mask[mask != 0], 1 / 0.7, rtol=1e-6)


@pytest.mark.parametrize("rates", [0.3, (0.2, 0.6)])
def test_zoneout_keeps_old_values_at_its_rates(rates: Any, rng: Rng) -> None:
    cell = randomize(nn.LSTMCell(D, 60, zoneout=rates, dtype=np.float64), rng)
    plain = nn.LSTMCell(D, 60, dtype=np.float64)
    plain.load_state_dict(cell.state_dict())
    x, state = rng.standard_normal((50, D)), tuple(rng.standard_normal((2, 50, 60)))
    new, zoned = plain(x, state), cell(x, state)
    for p, before, after, mixed in zip(np.broadcast_to(rates, 2), state, new, zoned, strict=True):
        kept = mixed.numpy() == before
        np.testing.assert_array_equal(np.where(kept, before, after.numpy()), mixed.numpy())
        assert abs(kept.mean() - p) < 5 * (p * (1 - p) / kept.size) ** 0.5
    again = cell(x, state)
    assert (again[0].numpy() != zoned[0].numpy()).any()  # drawn anew at each step
    cell.eval()
    for p, before, after, mixed in zip(np.broadcast_to(rates, 2), state, new, cell(x, state), strict=True):
        near(mixed, p * before + (1 - p) * after.numpy())


def test_zoneout_in_training_is_a_mixture_also_for_gradients(rng: Rng) -> None:
    cell = randomize(nn.RNNCell(D, H, zoneout=0.5, dtype=np.float64), rng)
    leaves = tensors({"x": rng.standard_normal((N, D)), "h": rng.standard_normal((N, H))})
    mixed = cell(leaves["x"], leaves["h"])
    kept = mixed.numpy() == leaves["h"].numpy()
    assert 0 < kept.sum() < kept.size
    found = gradients(total(mixed), cell, **leaves)
    cell.zoneout, cell._zones = (0.0,), False
    near(found, gradients(total(np.where(kept, leaves["h"], cell(leaves["x"], leaves["h"]))), cell, **leaves))


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: nn.LSTMCell(3, 4)(mg.zeros((2, 5))),
            ValueError,
            r"LSTMCell: the input has 5 features \(axis 1 of \(2, 5\)\), but input_size is 3",
        ),
        (
            lambda: nn.GRUCell(3, 4)(mg.zeros((2, 2, 3))),
            ValueError,
            r"GRUCell: expected an input \(N, D\) or \(D,\), got \(2, 2, 3\)",
        ),
        (lambda: nn.GRUCell(3, 4)(np.ones((2, 3), int)), TypeError, "GRUCell: the input must be of floats, not int64"),
        (
            lambda: nn.GRUCell(3, 4)(mg.zeros((2, 3)), mg.zeros((2, 5))),
            ValueError,
            r"GRUCell: state 'h' has shape \(2, 5\), expected \(2, 4\): axis 1 differs",
        ),
        (
            lambda: nn.LSTMCell(3, 4)(mg.zeros((2, 3)), (mg.zeros((2, 4)), mg.zeros((1, 4)))),
            ValueError,
            r"LSTMCell: state 'c' has shape \(1, 4\), expected \(2, 4\): axis 0 differs",
        ),
        (
            lambda: nn.LSTMCell(3, 4)(mg.zeros((2, 3)), mg.zeros((2, 4))),
            ValueError,
            "LSTMCell: the state has 2 tensors, 1 were given",
        ),
        (
            lambda: nn.RNNCell(3, 4)(mg.zeros((2, 3)), (mg.zeros((2, 4)),) * 2),
            ValueError,
            "RNNCell: the state has 1 tensors, 2 were given",
        ),
        (lambda: nn.RNNCell(3, 0), ValueError, "RNNCell: sizes must be positive integers, got 0"),
        (lambda: nn.RNNCell(3.0, 2), ValueError, r"RNNCell: sizes must be positive integers, got 3\.0"),  # type: ignore[arg-type]
        (
            lambda: nn.RNNCell(3, 2, nonlinearity="cosine"),
            ValueError,
            r"RNNCell: nonlinearity is \['relu', 'tanh'\] or a function, not 'cosine'",
        ),
        (lambda: nn.LSTMCell(3, 2, proj_size=2), ValueError, "LSTMCell: proj_size must be below hidden_size 2, got 2"),
        (
            lambda: nn.LSTMCell(3, 2, zoneout=(0.1, 0.1, 0.1)),
            ValueError,
            "LSTMCell: zoneout must be one number, or one for each of",
        ),
        (
            lambda: nn.LSTMCell(3, 2, zoneout=1.5),
            ValueError,
            r"LSTMCell: a probability must be between 0 and 1, not 1\.5",
        ),
        (
            lambda: nn.GRUCell(3, 2, recurrent_dropout=-0.1),
            ValueError,
            r"GRUCell: a probability must be between 0 and 1, not -0\.1",
        ),
        (lambda: nn.DeepTransitionCell(3, 2, transition_layers=0), ValueError, "transition_layers must be at least 1"),
    ],
)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_errors_say_at_which_step() -> None:
    cell = nn.GRUCell(3, 4)
    with pytest.raises(ValueError, match=r"expected \(2, 4\): axis 1 differs in .*t=1"):
        for t, x in mg.steps(mg.zeros((3, 2, 3))):
            cell(x, mg.zeros((2, 4 + t)))


def test_what_a_cell_says_of_itself() -> None:
    assert repr(nn.GRUCell(3, 4)) == "GRUCell(3, 4)"
    assert repr(nn.LSTMCell(3, 4, zoneout=0.1)) == "LSTMCell(3, 4, zoneout=(0.1, 0.1))"
    assert nn.LSTMCell(3, 4, proj_size=2).hidden_size == 4
    with pytest.raises(NotImplementedError, match=r"Cell does not define update\(\)"):
        nn.Cell(3, (4,)).step(mg.zeros((1, 3)), (mg.zeros((1, 4)),))
