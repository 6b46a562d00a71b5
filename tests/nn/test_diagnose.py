"""Diagnoses of states, Jacobians, truncation and gates, each against something computed in another way."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest
from oracles import VARIANTS, Variant, near, randomize, tensors, total
from places import Place

import minigrad as mg
import nn
from nn.diagnose.norms import core, horizon_of, norms_of

Rng = np.random.Generator
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
T, N, D, H = 6, 3, 3, 4
LENGTHS = [4, 6, 1]


def retained(cell: Any, xs: Any, lengths: list[int], weights: Any, part: int = 0) -> Any:
    """∂L/∂s for each step and sequence, (T, N, H): a loop over single sequences that keeps its gradients."""
    found = np.full((T, N, cell.sizes[part]), np.nan)
    for n, length in enumerate(lengths):
        state, states, loss = tuple(cell.initial_state(1)), [], 0.0
        for t in range(length):
            state = cell.step(cell.inputs(mg.tensor(xs[t, n : n + 1])), state)[: len(state)]
            for s in state:
                s.retain_grad()
            states.append(state[part])
            loss = loss + (state[0] * weights[t, n]).sum()
        loss.backward()
        for t, s in enumerate(states):
            found[t, n] = 0.0 if s.grad is None else s.grad.numpy()[0]
    return found


# ---- gradient_flow -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "lstm proj", "lstm layer norm"])
def test_flow_through_the_states_of_a_layer(name: str, batch_first: bool, lengths: Any, rng: Rng) -> None:
    cell = randomize(VARIANTS[name].make(D), rng)
    xs, weights = rng.standard_normal((T, N, D)), rng.standard_normal((T, N, cell.sizes[0]))
    layer = nn.Recurrent(cell, batch_first=batch_first)
    given = np.swapaxes(xs, 0, 1) if batch_first else xs
    output, _, shown = layer(mg.tensor(given), lengths=lengths, return_states=True)
    loss = (output * (np.swapaxes(weights, 0, 1) if batch_first else weights)).sum()
    for part, field in enumerate(cell.states):
        expected = retained(cell, xs, lengths or [T] * N, weights, part)
        for states in [getattr(shown, field), *([output] if part == 0 else [])]:
            flow = nn.diagnose.gradient_flow(loss, states)
            near(flow.norms, np.sqrt(np.nansum(expected**2, axis=(1, 2))))
            np.testing.assert_allclose(flow.row_norms, np.linalg.norm(expected, axis=2), atol=1e-12)


def by_hand(rng: Rng, scopes: bool = True) -> tuple[Any, list[Any]]:
    """A loss at three steps of a vanilla loop, and its states."""
    W, U = tensors([0.5 * rng.standard_normal(shape) for shape in ((D, H), (H, H))])
    xs = rng.standard_normal((T, N, D))
    s, states = np.zeros((N, H)), []
    for _, x in mg.steps(xs) if scopes else enumerate(xs):
        s = np.tanh(x @ W + s @ U)
        states.append(s)
    return sum((states[t] ** 2).sum() for t in (1, 2, 4)), states


@pytest.mark.parametrize("scopes", [True, False], ids=["steps", "plain loop"])
def test_flow_through_a_loop_by_hand(scopes: bool, rng: Rng) -> None:
    loss, states = by_hand(rng, scopes)
    for s in states[:5]:
        s.retain_grad()
    loss.backward(retain_graph=True)
    expected = [0.0 if s.grad is None else np.linalg.norm(s.grad.numpy()) for s in states]
    stacked = [np.stack(states), np.concatenate([s[None] for s in states]), np.swapaxes(np.stack(states, 1), 0, 1)]
    for given in [states, tuple(states), *stacked]:
        flow = nn.diagnose.gradient_flow(loss, given)
        near(flow.norms, expected)
        assert flow.norms[5] == 0
        assert flow.row_norms is not None
        near(np.linalg.norm(flow.row_norms, axis=1), expected)


def test_states_may_have_unequal_shapes_and_begin_with_a_leaf(rng: Rng) -> None:
    s = start = tensors(rng.standard_normal((3, H)))
    states = [s]
    for t in range(2):
        s = np.sin(s[: 2 - t] * 2)
        states.append(s)
    flow = nn.diagnose.gradient_flow((s**2).sum(), states)
    assert flow.row_norms is None
    vector = nn.diagnose.gradient_flow((s**2).sum(), [v[0] for v in states])
    assert vector.row_norms.shape == (3, 1)
    (s**2).sum().backward()
    near(flow.norms[0], np.linalg.norm(start.grad))


def test_flow_where_parts_of_one_tensor_are_the_states(rng: Rng) -> None:
    """h and c carried as one tensor: the gradient at h is the whole one all the same."""
    U = tensors(0.5 * rng.standard_normal((H, H)))
    both, hs = tensors(rng.standard_normal((N, H))), []
    for _ in mg.steps(range(T)):
        both = np.tanh(both @ U)
        hs.append(np.split(both, 2, axis=1)[0])
        both.retain_grad()
    loss = (both**2).sum()
    flow = nn.diagnose.gradient_flow(loss, np.stack(hs))
    again = nn.diagnose.gradient_flow(loss, hs)
    near(flow.norms, again.norms)
    loss.backward()
    near(flow.norms[-1], np.linalg.norm(both.grad.numpy()[:, : H // 2]))


@pytest.mark.parametrize(
    ("norms", "verdict"),
    [
        (10.0 ** np.arange(-9, 1), "vanishes: the gradient is 1e-09 of its last-step size after 9 steps"),
        (10.0 ** -np.arange(10), "explodes: the gradient is 1e+09 times its last-step size after 9 steps"),
        (np.ones(10), "is carried: the gradient is 1 times its last-step size after 9 steps"),
        (np.array([0.5, 1, 0, 0]), "is carried: the gradient is 0.5 of its last-step size after 1 step"),
        (np.array([0.0, 1]), "vanishes: the gradient is 0 after 1 step"),
        (1.6 ** -np.arange(10.0), "grows: the gradient is 69 times its last-step size after 9 steps"),
        (0.5 ** np.arange(6.0)[::-1], "shrinks: the gradient is 0.03 of its last-step size after 5 steps"),
        (
            np.array([1, 40.0, 1]),
            "rises and falls: the gradient is 1 times its last-step size after 2 steps, and 40 times that on the way",
        ),
        (np.zeros(3), "is zero: no gradient arrives at any state"),
        (np.array([2.0, 0]), "arrives at the first step only"),
        (np.array([np.inf, np.nan, 1]), "is not finite at step 1"),
    ],
)
def test_verdicts_on_the_flow(norms: Any, verdict: str) -> None:
    assert nn.diagnose.GradientFlow(norms, None).verdict == verdict


def chain(
    step: Any, T: int = 10, cut: int | None = None, every: bool = False, reverse: bool = False
) -> tuple[Any, list[Any]]:  # fmt: skip
    """A loop s_t = step(s_{t−1}) from 0.5, with a loss at its end or at every step; detached at `cut`."""
    weight, states = mg.tensor(1.0, requires_grad=True), []
    s = mg.tensor(np.full((2, 3), 0.5))
    for t, _ in mg.steps(range(T), reverse=reverse):
        s = step((s.detach() if t == cut else s) * weight)
        states.append(s)
    return sum((s**2).sum() for s in states[0 if every else -1 :]), states[::-1] if reverse else states


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"step": lambda s: 0.3 * s}, "vanishes: the gradient is 2e-05 of its last-step size after 9 steps"),
        ({"step": lambda s: 0.3 * s, "every": True}, "vanishes: the gradient from the loss of step 9 is 2e-05 of its"),
        ({"step": lambda s: 1.6 * s, "every": True}, "grows: the gradient from the loss of step 9 is 69 times its"),
        ({"step": lambda s: 1.0 * s, "every": True}, "is carried: the gradient from the loss of step 9 is 1 times its"),
        (
            {"step": lambda s: 1.0 * s, "cut": 5},
            "is cut between steps 4 and 5: no path on the tape crosses the cut; at",
        ),
        ({"step": lambda s: 1.0 * s, "cut": 5, "every": True}, "is cut between steps 4 and 5"),
        ({"step": lambda s: 1.0 * s, "cut": 9}, "is cut between steps 8 and 9: no path on the tape crosses the cut"),
        ({"step": lambda s: mg.relu(s - 1)}, "is zero at every state: there all units are off (dead ReLU)"),
        (
            {"step": lambda s: 1e-60 * s + 0.1, "T": 9},
            "vanishes: the gradient is 0 after 8 steps",
        ),
        (
            {"step": lambda s: 0.3 * s, "reverse": True},
            "vanishes: the gradient is 2e-05 of its first-step size after 9",
        ),
        ({"step": lambda s: 0.3 * s, "reverse": True, "every": True}, "vanishes: the gradient from the loss of step 0"),
        ({"step": lambda s: 1.0 * s, "reverse": True, "cut": 5}, "is cut between steps 5 and 6"),
    ],
)
def test_the_flow_says_the_cause(options: Any, verdict: str) -> None:
    loss, states = chain(**options)
    for given in (states, np.stack(states)):
        assert nn.diagnose.gradient_flow(loss, given).verdict.startswith(verdict)


def test_a_loss_at_an_inner_step_is_said_with_its_step() -> None:
    for reverse in (False, True):
        _, states = chain(lambda s: 0.3 * s, reverse=reverse)
        flow = nn.diagnose.gradient_flow((states[6] ** 2).sum(), states)
        steps = 3 if reverse else 6
        assert flow.verdict.endswith(f" of its size at step 6 after {steps} steps")


@pytest.mark.parametrize("at", [0, -1])
def test_the_states_of_two_directions_are_followed_from_either_end(at: int, rng: Rng) -> None:
    layer = nn.GRU(3, 4, bidirectional=True)
    output, _ = layer(rng.standard_normal((12, 2, 3)))
    flow = nn.diagnose.gradient_flow((output[at] ** 2).sum(), output)
    size = "first-step" if at == 0 else "last-step"
    assert flow.verdict.endswith(f" its {size} size after 11 steps")
    assert flow.ratio == pytest.approx(flow.norms[-1 - at] / flow.norms[at])


def test_a_relu_that_dies_on_the_way() -> None:
    W = mg.tensor(np.eye(3), requires_grad=True)
    s, states = mg.tensor(np.full((2, 3), 0.5)), []
    for t, _ in mg.steps(range(6)):
        s = mg.relu(s @ W - (5.0 if t == 3 else -0.1))
        states.append(s)
    flow = nn.diagnose.gradient_flow((states[-1] ** 2).sum(), states)
    assert flow.verdict == "is zero before step 3: there all units are off (dead ReLU)"
    assert flow.dead == 3
    np.testing.assert_array_equal(flow.norms > 0, [False, False, False, True, True, True])
    assert flow.off.tolist() == [0, 0, 0, 1, 0, 0]


def test_norms_do_not_underflow() -> None:
    near(norms_of(np.full((2, 4), 1e-200), 1) * 1e200, [2.0, 2.0])
    assert norms_of(np.array([[np.inf, 1.0]]), 1)[0] == np.inf


# ---- gradient_horizon --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_one", [False, True])
def test_the_horizon_counts_from_where_the_loss_enters(as_one: bool, rng: Rng) -> None:
    loss, states = by_hand(rng)
    expected = np.zeros((T, T))
    for t in (1, 2, 4):
        keys = [s.edge for s in states]
        found = mg.walk([(keys[t], 2 * states[t].data)], retain_graph=True, wanted=set(keys))
        expected[t] = [np.linalg.norm(found[k]) if k in found else 0.0 for k in keys]
    horizon = nn.diagnose.gradient_horizon(loss, np.stack(states) if as_one else states, 0.8)
    near(horizon.norms, expected)
    lags = np.array([np.diag(expected, -d).sum() for d in range(T)])
    assert horizon.steps == np.flatnonzero(np.cumsum(lags) >= 0.8 * lags.sum())[0]
    near(horizon.cumulative, np.cumsum(lags) / lags.sum())
    assert horizon.verdict == f"80 % of the gradient arrives within {horizon.steps} of 5 steps back"


def test_a_loss_may_enter_through_the_memory_of_an_lstm(rng: Rng) -> None:
    layer = nn.LSTM(D, H, dtype=np.float64)
    output, (_, c), shown = layer(mg.tensor(rng.standard_normal((T, N, D))), lengths=LENGTHS, return_states=True)
    loss = (c**2).sum() + output[2].sum()
    horizon = nn.diagnose.gradient_horizon(loss, shown.h)
    entering = np.flatnonzero(horizon.norms.sum(axis=1))
    assert set(entering) <= {0, 2, 3, 5}
    assert {2, 3, 5} <= set(entering)
    whole = nn.diagnose.gradient_flow(loss, shown.h).norms
    assert (whole <= horizon.norms.sum(axis=0) * (1 + 1e-12)).all()  # the triangle inequality


def test_horizons_of_known_norms() -> None:
    assert horizon_of(np.eye(5), 0.9) == 0
    assert horizon_of(np.tril(np.ones((4, 4))), 1.0) == 3
    assert horizon_of(np.diag([9.0, 9, 9], -1), 0.5) == 1
    assert horizon_of(np.diag([9.0, 9, 9], 2)[:5, :5], 0.5) == 2  # of a backward direction
    for share in (0, 1.1, -0.5):
        with pytest.raises(ValueError, match="share must be above 0 and at most 1"):
            horizon_of(np.eye(2), share)
    assert core(np.array([1.0, 5, 5, 1]), 0.8) == (1, 2)


# ---- state_jacobians ---------------------------------------------------------------------------------------------


@every_variant
def test_jacobians_are_finite_differences(variant: Variant, rng: Rng) -> None:
    cell = randomize(variant.make(D), rng)
    xs = rng.standard_normal((T, N, D))
    start = tuple(rng.standard_normal((N, n)) for n in cell.sizes)
    found = nn.diagnose.state_jacobians(cell, xs, start, row=1)
    cuts, S = np.cumsum(cell.sizes)[:-1], sum(cell.sizes)
    assert found.jacobians.shape == (T, S, S)

    def step(t: int, s: Any) -> Any:
        with mg.no_grad():
            parts = tuple(mg.tensor(p[None]) for p in np.split(s, cuts))
            after = cell.step(cell.inputs(mg.tensor(xs[t, 1:2])), parts)
        return np.concatenate([p.numpy()[0] for p in after[: len(parts)]])

    s = np.concatenate([p[1] for p in start])
    for t in range(T):
        near(found.states[t], s)
        steps = [1e-6 * e for e in np.eye(S)]
        numeric = np.stack([(step(t, s + e) - step(t, s - e)) / 2e-6 for e in steps], axis=1)
        near(found.jacobians[t], numeric, 1e-7)
        s = step(t, s)
    near(found.states[T], s)
    near(found.singular_values, np.linalg.svd(found.jacobians, compute_uv=False))
    product = np.eye(S)
    for t in range(T):
        product = found.jacobians[t] @ product
        near(np.exp(found.log_norms[t]), np.linalg.norm(product, 2), 1e-10)
    near(found.product(), product)
    near(found.product(2, 4), found.jacobians[3] @ found.jacobians[2])


def test_a_linear_network_has_powers_of_its_weight(rng: Rng) -> None:
    cell = nn.RNNCell(1, H, nonlinearity=lambda z: z, dtype=np.float64)
    W = cell.weight_hh.numpy()
    long = 2000
    found = nn.diagnose.state_jacobians(cell, np.zeros((long, 1)))
    near(found.jacobians[7], W)
    near(found.product(stop=5), np.linalg.matrix_power(W, 5))
    sizes = np.sort(np.abs(np.linalg.eigvals(W)))[::-1]
    near(found.exponents, np.log(sizes), 5e-3)
    assert found.log_norms[-1] < -500  # far below what a float64 holds
    near(found.log_norms[-1] / long, np.log(sizes[0]), 5e-3)
    assert found.verdict.startswith("contracts: a change of the state shrinks by a factor of")


class Logistic:
    """s' = 4 s (1 − s): its Lyapunov exponent is ln 2."""

    def initial_state(self, batch: int) -> Any:
        return (mg.tensor(np.full((batch, 1), 0.3)),)

    def step(self, x: Any, state: Any) -> Any:
        return (4 * state[0] * (1 - state[0]),)


class Henon:
    """Hénon 1976, a = 1.4, b = 0.3: exponents about 0.419 and −1.623, with the sum ln 0.3."""

    def initial_state(self, batch: int) -> Any:
        return mg.tensor(np.full((batch, 1), 0.1)), mg.tensor(np.full((batch, 1), 0.1))

    def step(self, x: Any, state: Any) -> Any:
        u, v = state
        return 1 - 1.4 * u * u + v, 0.3 * u


def test_exponents_of_known_maps() -> None:
    logistic = nn.diagnose.state_jacobians(Logistic(), np.zeros((2000, 1)), discard=50)
    near(logistic.exponents, [np.log(2)], 5e-3)
    assert logistic.verdict.startswith("expands: a change of the state grows by a factor of 2 each step")
    henon = nn.diagnose.state_jacobians(Henon(), np.zeros((3000, 1)), discard=100)
    near(henon.exponents[0], 0.419, 0.02)
    near(henon.exponents.sum(), np.log(0.3), 1e-10)


def test_layers_give_their_cells_jacobians(rng: Rng) -> None:
    lstm = nn.LSTM(D, H, batch_first=True, dtype=np.float64)
    cell = lstm.layers[0].cell
    xs, h, c = rng.standard_normal((N, T, D)), rng.standard_normal((1, N, H)), rng.standard_normal((1, N, H))
    expected = nn.diagnose.state_jacobians(cell, xs[2], (h[0, 2], c[0, 2]))
    for layer in (lstm, nn.WeightDrop(lstm, ["weight_hh_l0"], p=0.0)):
        near(nn.diagnose.state_jacobians(layer, xs, (h, c), row=2).jacobians, expected.jacobians)
    near(nn.diagnose.state_jacobians(lstm, xs[2], (h[:, 2], c[:, 2])).jacobians, expected.jacobians)
    back = nn.diagnose.state_jacobians(nn.Recurrent(cell, reverse=True), xs[2], (h[0, 2], c[0, 2]))
    near(back.jacobians, nn.diagnose.state_jacobians(cell, xs[2, ::-1], (h[0, 2], c[0, 2])).jacobians)
    learned = nn.Recurrent(nn.GRUCell(D, H, dtype=np.float64), learn_state=True)
    learned.initial_h.data[...] = rng.standard_normal(H)
    near(nn.diagnose.state_jacobians(learned, xs[0]).states[0], learned.initial_h)


def test_jacobians_under_dropout_and_zoneout(rng: Rng) -> None:
    """The mask of a sequence is no part of the state; where a unit keeps its value, its row is that of the identity."""
    cell = nn.GRUCell(D, H, recurrent_dropout=0.5, zoneout=0.5, dtype=np.float64)
    found = nn.diagnose.state_jacobians(cell, rng.standard_normal((T, D)))
    assert found.jacobians.shape == (T, H, H)
    kept = found.states[1:] == found.states[:-1]
    assert kept.any()
    assert not kept.all()
    t, i = np.argwhere(kept)[0]
    near(found.jacobians[t, i], np.eye(H)[i])


def test_jacobians_that_vanish_or_are_not_finite() -> None:
    class Forgets(Logistic):
        def step(self, x: Any, state: Any) -> Any:
            return (0 * state[0] + x,)

    dead = nn.diagnose.state_jacobians(Forgets(), np.ones((4, 1)))
    assert dead.exponents[0] == -np.inf
    assert dead.log_norms[-1] == -np.inf
    assert dead.verdict.startswith("contracts: nothing is left of a change of the state")
    broken = nn.diagnose.state_jacobians(Forgets(), np.full((3, 1), np.nan))
    assert np.isfinite(broken.jacobians).all()

    class Breaks(Logistic):
        def step(self, x: Any, state: Any) -> Any:
            return (state[0] * x,)

    assert nn.diagnose.state_jacobians(Breaks(), np.full((3, 1), np.inf)).verdict == "is not finite"


# ---- truncation_report -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_truncation_is_what_tbptt_gives(lengths: Any, rng: Rng) -> None:
    layer = randomize(nn.LSTM(D, H, 2, dtype=np.float64), rng)
    xs = rng.standard_normal((T, N, D))
    weights = rng.standard_normal((T, N, H))
    report = nn.diagnose.truncation_report(layer, xs, lambda y: (y * weights).sum(), ks=[1, 4, 6], lengths=lengths)
    assert all(p.grad is None for p in layer.parameters())
    mask = np.arange(T)[:, None] < np.array(lengths or [T] * N)
    gradients = {}
    for k in (1, 4, 6):
        state = None
        for t in range(0, T, k):
            output, state = layer(mg.tensor(xs[t : t + k]), state, mask=mask[t : t + k])
            (output * weights[t : t + k]).sum().backward()
            state = nn.detach(state)
        gradients[k] = {name: p.grad.numpy() for name, p in layer.named_parameters()}
        layer.zero_grad()

    def compare(a: Any, b: Any) -> tuple[float, float]:
        return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), np.linalg.norm(a) / np.linalg.norm(b)

    def joined(k: int) -> Any:
        return np.concatenate([g.reshape(-1) for g in gradients[k].values()])

    for j, k in enumerate((1, 4, 6)):
        near((report.cosine[j], report.ratio[j]), compare(joined(k), joined(6)))
        for name, g in gradients[k].items():
            near((report.cosines[name][j], report.ratios[name][j]), compare(g, gradients[6][name]), what=name)
    near((report.cosine[2], report.ratio[2]), (1.0, 1.0))


def test_truncation_of_other_layouts_and_dropout(rng: Rng) -> None:
    xs = rng.standard_normal((N, T, D))
    layer = nn.GRU(D, H, batch_first=True, dtype=np.float64)
    loss = lambda y: (y[:, -1] ** 2).sum()  # noqa: E731
    first = nn.diagnose.truncation_report(layer, xs, loss)
    assert first.ks.tolist() == [1, 2, 4]
    other = nn.Recurrent(layer.layers[0].cell)
    second = nn.diagnose.truncation_report(other, np.swapaxes(xs, 0, 1), lambda y: (y[-1] ** 2).sum())
    near(first.cosine, second.cosine)
    near(first.ratio, second.ratio)
    assert first.verdict.startswith("windows of ")
    alone = nn.diagnose.truncation_report(nn.GRU(D, H, dtype=np.float64), xs[0], lambda y: (y[-1] ** 2).sum())
    assert alone.cosine.shape == (3,)
    dropping = nn.GRU(D, H, recurrent_dropout=0.5, dtype=np.float64)
    with pytest.raises(ValueError, match=r"other outputs in windows of 1 steps than at once.*layer\.eval"):
        nn.diagnose.truncation_report(dropping, np.swapaxes(xs, 0, 1), lambda y: (y**2).sum())
    nn.diagnose.truncation_report(dropping.eval(), np.swapaxes(xs, 0, 1), lambda y: (y**2).sum())


def test_a_truncation_that_keeps_nothing_says_so() -> None:
    report = nn.diagnose.TruncationReport(np.array([1, 2]), np.array([np.nan, 0.3]), np.zeros(2), {}, {})
    assert report.verdict == "no window keeps the direction of the gradient; the best, 2 steps, has a cosine of 0.3"
    nothing = nn.diagnose.TruncationReport(np.array([1]), np.array([np.nan]), np.zeros(1), {}, {})
    assert nothing.verdict == "no window keeps anything of the gradient"


# ---- gate_statistics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_gates_are_counted(lengths: Any, batch_first: bool, rng: Rng) -> None:
    layer = randomize(nn.LSTM(D, H, batch_first=batch_first, dtype=np.float64), rng, 3.0)
    xs = rng.standard_normal((N, T, D) if batch_first else (T, N, D))
    found = nn.diagnose.gate_statistics(layer, xs, lengths=lengths)
    shown = layer(mg.tensor(xs), lengths=lengths, return_states=True)[2]
    assert list(found.gates) == ["i", "f", "g", "o"]
    for name, gate in found.gates.items():
        values = getattr(shown, name).numpy()
        values = np.swapaxes(values, 0, 1) if batch_first else values
        floor = -0.9 if name == "g" else 0.1
        assert gate.kind == ("tanh" if name == "g" else "sigmoid")
        for t in range(T):
            real = values[t, [n for n in range(N) if t < (lengths or [T] * N)[n]]]
            near(gate.mean[t], real.mean())
            near(gate.low[t], (real < floor).mean())
            near(gate.high[t], (real > 0.9).mean())
        real = np.concatenate([values[: (lengths or [T] * N)[n], n] for n in range(N)])
        near(gate.saturated, ((real < floor) | (real > 0.9)).mean())


def test_gates_of_several_layers_of_a_mask_and_of_given_states(rng: Rng) -> None:
    layer = nn.GRU(D, H, 2, bidirectional=True, dtype=np.float64)
    xs, mask = rng.standard_normal((T, N, D)), rng.random((T, N)) < 0.6
    mask[2] = False
    found = nn.diagnose.gate_statistics(layer, xs, mask=mask)
    assert list(found.gates) == [f"[{k}].{name}" for k in range(4) for name in "rzn"]
    assert np.isnan(found["[3].z"].mean[2])
    assert np.isfinite(found["[3].z"].mean[mask.any(axis=1)]).all()
    shown = layer(mg.tensor(xs), mask=mask, return_states=True)[2]
    again = nn.diagnose.gate_statistics(shown, mask=mask, gates=["z"])
    assert list(again.gates) == [f"[{k}].z" for k in range(4)]
    np.testing.assert_allclose(again["[1].z"].mean, found["[1].z"].mean)
    single = nn.diagnose.gate_statistics(shown[0], mask=mask)
    assert single["h"].kind == "tanh"


def test_the_gates_of_a_users_cell(rng: Rng) -> None:
    class Step(NamedTuple):
        s: Any
        update: Any
        raw: Any

    class Minimal:
        def initial_state(self, batch: int) -> Any:
            return (mg.zeros((batch, 1), dtype=np.float64),)

        def step(self, x: Any, state: Any) -> Any:
            update = mg.sigmoid(50 * x)
            return Step((1 - update) * state[0] + update * x, update, 3 * x)

    found = nn.diagnose.gate_statistics(Minimal(), np.array([[[1.0]], [[-1.0]], [[2.0]]]))
    assert [(name, gate.kind) for name, gate in found.gates.items()] == [("update", "sigmoid"), ("raw", "free")]
    near(found["update"].high, [1.0, 0, 1])
    assert found.verdict == (
        "update is saturated: 66.7 % of its values are above 0.9 (open), 33.3 % below 0.1 (closed)"
    )
    assert nn.diagnose.gate_statistics(Minimal(), -np.ones((3, 1, 1))).verdict == (
        "update is saturated: 100 % of its values are below 0.1 (closed)"
    )


def test_every_saturated_gate_is_named_with_both_its_ends() -> None:
    def gate(kind: str, low: float, high: float) -> Any:
        return nn.diagnose.Gate(kind, np.zeros(1), np.array([low]), np.array([high]), np.array([1000]))

    def said(**gates: Any) -> str:
        return nn.diagnose.GateStatistics(gates).verdict

    both = gate("sigmoid", 0.3, 0.4)
    assert said(i=both) == "i is saturated: 40 % of its values are above 0.9 (open), 30 % below 0.1 (closed)"
    assert said(i=both, g=gate("tanh", 0.75, 0.0), o=gate("sigmoid", 0.1, 0.1)) == (
        "g is saturated: 75 % of its values are below -0.9; "
        "i is saturated: 40 % of its values are above 0.9 (open), 30 % below 0.1 (closed)"
    )
    assert said(g=gate("tanh", 0.4, 0.4)) == ("g is saturated: 40 % of its values are above 0.9, 40 % below -0.9")
    assert said(**{f"[{k}].i": both for k in range(9)}).endswith("; and 3 more")
    assert said(i=gate("sigmoid", 0.2, 0.2)).startswith("nothing is saturated; i has the most values near an end, 40")


# ---- all of them -------------------------------------------------------------------------------------------------


def results(rng: Rng) -> list[Any]:
    loss, states = by_hand(rng)
    lstm, xs = nn.LSTM(D, H, dtype=np.float64), rng.standard_normal((T, N, D))
    return [
        nn.diagnose.gradient_flow(loss, states),
        nn.diagnose.gradient_horizon(loss, states),
        nn.diagnose.state_jacobians(lstm, xs),
        nn.diagnose.truncation_report(lstm, xs, lambda y: (y**2).sum()),
        nn.diagnose.gate_statistics(lstm, xs),
    ]


def test_results_read_well_and_are_drawn(rng: Rng, tmp_path: Any) -> None:
    for result in results(rng):
        kind = type(result).__name__
        assert repr(result) == f"<{kind}: {result.verdict}>"
        lines = str(result).splitlines()
        assert lines[0] == result.verdict
        assert "\n" not in result.verdict
        assert len({len(line) for line in lines[1:]}) == 1
        assert result.plot() is not None
        result.plot(tmp_path / f"{kind}.png")
        assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
        with pytest.raises(AttributeError):
            result.verdict = ""


def test_long_tables_are_cut() -> None:
    lines = str(nn.diagnose.GradientFlow(np.ones(500), None)).splitlines()
    assert len(lines) == 15
    assert lines[-1].split() == ["499", "1"]


def test_plots_of_nothing_and_of_what_is_not_finite(tmp_path: Any) -> None:
    for norms in (np.zeros(3), np.full(3, np.nan), np.array([np.inf, 1.0, 0.0])):
        nn.diagnose.GradientFlow(norms, norms[:, None] * np.ones(2)).plot(tmp_path / "flow.png")
        nn.diagnose.GradientHorizon(0, 0.9, np.tile(norms, (3, 1))).plot(tmp_path / "horizon.png")
        nn.diagnose.Terms(norms[:, None], np.zeros(1)).plot(tmp_path / "terms.png")


def test_without_matplotlib(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for result in results(rng):
        with pytest.raises(ImportError, match=rf"{type(result).__name__}\.plot needs matplotlib: pip install"):
            result.plot()


def test_an_unwritable_path(rng: Rng, tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError):
        results(rng)[0].plot(tmp_path / "nowhere" / "x.png")


def test_nothing_is_kept(rng: Rng) -> None:
    loss, states = by_hand(rng)
    lstm, xs = nn.LSTM(D, H, dtype=np.float64), mg.tensor(rng.standard_normal((T, N, D)))
    watched = [weakref.ref(s) for s in states] + [weakref.ref(xs)]
    gc.collect()
    gc.disable()
    try:
        found: list[Any] = [
            nn.diagnose.gradient_flow(loss, states), nn.diagnose.gradient_horizon(loss, states),
            nn.diagnose.state_jacobians(lstm, xs), nn.diagnose.gate_statistics(lstm, xs),
            nn.diagnose.truncation_report(lstm, xs, lambda y: (y**2).sum()),
        ]  # fmt: skip
        nodes = [weakref.ref(s.data) for s in states]
        del loss, states, xs
        assert [w() for w in watched + nodes] == [None] * len(watched + nodes)
        assert all(p.grad is None for p in lstm.parameters())
        arrays = [weakref.ref(found[0].norms), weakref.ref(found[2].jacobians)]
        del found
        assert [a() for a in arrays] == [None, None]
    finally:
        gc.enable()


def test_on_every_backend(backend: Place, rng: Rng) -> None:
    layer = nn.GRU(D, H, device=backend.device)
    xs = backend.tensor(rng.standard_normal((T, N, D)), np.float32)
    output, _ = layer(xs, lengths=[6, 4, 1])
    loss = (output**2).sum()
    flow, horizon = nn.diagnose.gradient_flow(loss, output), nn.diagnose.gradient_horizon(loss, output)
    assert np.isnan(flow.row_norms).sum() == 7
    assert 0 <= horizon.steps < T
    jacobians = nn.diagnose.state_jacobians(layer, xs)
    near(jacobians.states[1:], backend.numpy(layer(xs)[0])[:, 0], 1e-6)
    report = nn.diagnose.truncation_report(layer, xs, lambda y: (y**2).sum(), ks=[2, 6])
    near(report.cosine[1], 1.0, 1e-6)
    gates = nn.diagnose.gate_statistics(layer, xs, lengths=[6, 4, 1])
    for result in (flow, horizon, jacobians, report, gates):
        assert all(isinstance(v, np.ndarray) for v in vars(result).values() if hasattr(v, "shape"))


# ---- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("diagnose", [nn.diagnose.gradient_flow, nn.diagnose.gradient_horizon])
def test_mistakes_with_states(diagnose: Any, rng: Rng) -> None:
    loss, states = by_hand(rng)
    what = diagnose.__name__
    for given, error, message in [
        (3, TypeError, "states are a list of tensors or one tensor .T, N, H., not int"),
        ([], TypeError, "not an empty list"),
        ([states[0], 1.0], TypeError, "state 1 must be a Tensor, not float"),
        ([(states[0], states[1])], TypeError, r"state 0 must be a Tensor, not tuple; give those of one kind"),
        (states[0][0], ValueError, r"have the shape \(T, N, H\), got \(4,\)"),
        (np.stack(states).detach(), ValueError, r"the tensor of states, of shape \(6, 3, 4\), is not on the tape"),
        ([s.detach() for s in states], ValueError, r"state 0, of shape \(3, 4\), is not on the tape: it was detached"),
        (by_hand(rng)[1], ValueError, "the loss does not depend on any of these states"),
    ]:
        with pytest.raises(error, match=f"{what}: .*{message}"):
            diagnose(loss, given)
    with pytest.raises(RuntimeError, match=f"{what}: .*does not require grad"):
        diagnose(loss.detach(), states)
    loss.backward()
    with pytest.raises(RuntimeError, match=rf"(?s){what}: the graph below.*was released.*Call {what} before it"):
        diagnose(loss, states)


def test_mistakes_with_layers(rng: Rng) -> None:
    lstm, xs = nn.LSTM(D, H, 2), rng.standard_normal((T, N, D)).astype(np.float32)
    jacobians, report, gates = (
        nn.diagnose.state_jacobians, nn.diagnose.truncation_report, nn.diagnose.gate_statistics
    )  # fmt: skip
    cell = lstm.layers[0].cell
    with pytest.raises(TypeError, match="this LSTM has 2 cells; pass one of its layers"):
        jacobians(lstm, xs)
    with pytest.raises(TypeError, match="Linear is neither a layer nor a cell"):
        jacobians(nn.Linear(D, H), xs)
    with pytest.raises(ValueError, match=r"expected a sequence \(T, D\) or a batch of them, got shape \(3,\)"):
        jacobians(cell, xs[0, 0])
    with pytest.raises(ValueError, match="no row 3 in a batch of 3"):
        jacobians(cell, xs, row=3)
    with pytest.raises(ValueError, match="discard must be from 0 to below T = 6, not 6"):
        jacobians(cell, xs, discard=6)
    with pytest.raises(ValueError, match=r"state_jacobians: state 'h' has shape \(1, 5\), expected \(1, 4\)"):
        jacobians(cell, xs, (np.zeros(5), np.zeros(4)))
    loss = lambda y: (y**2).sum()  # noqa: E731
    for ks in ([0], [7], [1.5], [True], []):
        with pytest.raises(ValueError, match="ks must be integers from 1 to T = 6"):
            report(lstm, xs, loss, ks)
    with pytest.raises(ValueError, match=r"expected an input \(T, N, D\), got shape \(6,\)"):
        report(lstm, xs[:, 0, 0], loss)
    with pytest.raises(TypeError, match="function is not a Module; pass its parameters"):
        report(lambda x, s: (x, s), xs, loss)
    with pytest.raises(RuntimeError, match=r"truncation_report: .*not a scalar"):
        report(lstm, xs, lambda y: y)
    with pytest.raises(ValueError, match="no gradient by any of the parameters"):
        report(lstm, xs, lambda y: 0 * y.sum())
    with pytest.raises(ValueError, match="A backward direction cannot be cut"):
        report(nn.GRU(D, H, bidirectional=True), xs, loss)
    with pytest.raises(TypeError, match="float is neither a layer, a cell, nor their states"):
        gates(1.0, xs)
    with pytest.raises(TypeError, match="a layer needs an input xs"):
        gates(lstm)
    with pytest.raises(ValueError, match="the cell shows no gates"):
        gates(nn.RNN(D, H), xs)
    with pytest.raises(ValueError, match="there is no forget, only h, c, i, f, g, o"):
        gates(lstm, xs, gates=["forget"])
    shown = nn.LSTM(D, H)(mg.tensor(xs), return_states=True)[2]
    with pytest.raises(TypeError, match="states are given alone"):
        gates(shown, xs)
    with pytest.raises(ValueError, match=r"the mask has shape \(2, 2\), expected \(T, N\) = \(6, 3\)"):
        gates(shown, mask=np.ones((2, 2), bool))


def test_the_loss_of_a_whole_model_is_followed(rng: Rng) -> None:
    """Random combinations of everything that a stack gives, so that no path of the gradient is left out."""
    layer = randomize(nn.LSTM(D, H, 2, bidirectional=True, dtype=np.float64), rng)
    output, state, shown = layer(mg.tensor(rng.standard_normal((T, N, D))), lengths=LENGTHS, return_states=True)
    loss = total([output, state, shown])
    for k, states in enumerate(shown):
        h = states.h
        flow = nn.diagnose.gradient_flow(loss, h)
        again = nn.diagnose.gradient_flow(loss, np.stack(list(h)))
        near(flow.norms, again.norms, what=str(k))
        assert (flow.norms > 0).all()
