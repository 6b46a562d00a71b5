"""Cells from papers: each against a loop of its equations, rolled against step by step, in all that runs cells."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import derivatives, gradients, near, randomize, run, tensors, total
from zoo_oracles import ZOO, H

import minigrad as mg
import nn
from minigrad import trees
from minigrad.native import machine
from minigrad.programs.purity import effect_of

Rng = np.random.Generator
every_cell = pytest.mark.parametrize("name", ZOO)
T, N, D = 4, 2, 6
compiled = machine.available() and not machine.switched_off()


def cell_of(name: str, rng: Rng, dtype: Any = np.float64) -> Any:
    cell = randomize(ZOO[name].make(D, dtype), rng)  # type: ignore[call-arg]
    if name == "PhasedLSTM":
        cell.period.data[...] = 1 + np.abs(cell.period.data)
    return cell


def state_of(name: str, cell: Any, rng: Rng, batch: int = N) -> list[Any]:
    state = [rng.standard_normal((batch, size)) for size in cell.sizes]
    if name == "sLSTM":
        state[2] = np.abs(state[2]) + 0.5
    if name == "ClockworkRNN":
        state[1] = np.arange(batch)[:, None] + 2.0
    return state


def as_state(parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)


def is_rolled(layer: Any, name: str) -> bool:
    """True if a layer's last call ran as it should."""
    return (layer.rolled is True) == compiled


# ---- every cell --------------------------------------------------------------------------------------------------


@every_cell
def test_a_layer_is_the_loop_over_the_equations(name: str, rng: Rng) -> None:
    cell = cell_of(name, rng)
    count = range(len(cell.sizes))
    point = {
        **{n: p.numpy() for n, p in cell.named_parameters()},
        "xs": rng.standard_normal((T - 1, N, D)),
        **{f"state{k}": s for k, s in enumerate(state_of(name, cell, rng))},
    }

    def expected(p: Any) -> Any:
        ran = run(ZOO[name], cell, p, p["xs"], [p[f"state{k}"] for k in count])
        return [ran.outputs, *ran.final, *ran.shown.values()]

    xs, *state = tensors([point["xs"], *[point[f"state{k}"] for k in count]])
    outputs, final, shown = nn.Recurrent(cell)(xs, as_state(state), return_states=True)
    assert shown._fields == (*cell.states, *cell.gates)
    found = [outputs, *(final if len(state) > 1 else [final]), *shown]
    near(found, expected(point))
    pulled = gradients(total(found), cell, xs=xs, state=state)
    near(list(pulled.values()), list(derivatives(lambda p: total(expected(p)), point).values()), 2e-12)


@every_cell
def test_a_rolled_ragged_batch_is_each_sequence_alone_step_by_step(name: str, rng: Rng) -> None:
    cell, lengths = cell_of(name, rng), np.array([2, 4, 1])
    xs = tensors(rng.standard_normal((T, 3, D)))
    state = tensors(state_of(name, cell, rng, 3))
    rolled, plain = nn.Recurrent(cell), nn.Recurrent(cell, rolled=False)
    found = rolled(xs, as_state(state), lengths=lengths)
    assert is_rolled(rolled, name), rolled.rolled
    alone = [plain(xs[:n, k : k + 1], as_state([s[k : k + 1] for s in state])) for k, n in enumerate(lengths)]
    output = np.concatenate([np.pad(y, ((0, T - len(y)), (0, 0), (0, 0))) for y, _ in alone], axis=1)
    finals = [trees.flatten(s)[0] for _, s in alone]
    expected = [output, *[np.concatenate(parts) for parts in zip(*finals, strict=True)]]
    leaves = trees.flatten(found)[0]
    near(leaves, [e.numpy() for e in expected])
    near(gradients(total(leaves), cell, xs=xs, state=state), gradients(total(expected), cell, xs=xs, state=state))


@every_cell
def test_float32_stays_float32(name: str, rng: Rng) -> None:
    """One cell is rolled as well: its program is that of float64 with other types."""
    cell = cell_of(name, rng, np.float32)
    xs = tensors(rng.standard_normal((T, N, D)).astype(np.float32))
    layers = [nn.Recurrent(cell, rolled=rolled) for rolled in (False, True)[: 1 + (name == "UGRNN")]]
    results = []
    for layer in layers:
        output, final = layer(xs)
        assert {v.dtype for v in (output, *trees.flatten(final)[0])} == {np.dtype(np.float32)}
        results.append([output.numpy(), *gradients(total(output), cell, xs=xs).values()])
    assert is_rolled(layers[-1], name) or len(layers) == 1
    near(results[-1], results[0], T * 4e-7)


@every_cell
def test_its_code_does_nothing_but_compute(name: str, rng: Rng) -> None:
    cell = ZOO[name].make(D)
    assert not hasattr(cell, "rolled")
    assert effect_of(cell.step) is None
    assert effect_of(cell.inputs) is None


@every_cell
def test_directions_stacks_windows_and_single_steps(name: str, rng: Rng) -> None:
    one, other = cell_of(name, rng), cell_of(name, rng)
    forward = nn.Recurrent(one, rolled=False)
    backward = nn.Recurrent(other, reverse=True, rolled=False)
    xs = tensors(rng.standard_normal((T, N, D)))
    whole, final = forward(xs)
    both, _ = nn.Bidirectional(forward, backward)(xs, lengths=[T, 2])
    near(both[:, 0], np.concatenate([forward(xs[:, :1])[0], backward(xs[:, :1])[0]], axis=-1)[:, 0].numpy())
    near(both[:2, 1], np.concatenate([forward(xs[:2, 1:])[0], backward(xs[:2, 1:])[0]], axis=-1)[:, 0].numpy())
    top = nn.Linear(H, 5, dtype=np.float64)
    near(nn.Stacked([forward, top])(xs)[0], top(whole).numpy())
    windows = nn.TBPTT(2)
    near(np.concatenate([windows(forward, xs[:2]), windows(forward, xs[2:])]), whole.numpy())
    state = None
    for x in xs:
        state = one(x, state)
    near(trees.flatten(state)[0], [s.numpy() for s in trees.flatten(final)[0]])
    assert mg.gradcheck(lambda xs: forward(xs), (xs,), directions=1)


@every_cell
def test_it_is_drawn_and_diagnosed(name: str, rng: Rng) -> None:
    cell = cell_of(name, rng)
    layer = nn.Recurrent(cell)
    xs = tensors(rng.standard_normal((3, 1, D)))
    graph = mg.graph(layer(xs)[0], params=cell.named_parameters())
    assert {t for node in graph.nodes for _, t in node.scope} >= {0, 1, 2}
    if cell.gates:
        assert list(nn.diagnose.gate_statistics(layer, xs).gates) == list(cell.gates)
    jacobians = nn.diagnose.state_jacobians(layer, xs).jacobians
    assert jacobians.shape == (3, sum(cell.sizes), sum(cell.sizes))
    assert np.isfinite(jacobians).all()


# ---- single ones -------------------------------------------------------------------------------------------------


def test_the_convolution_of_a_qrnn(rng: Rng) -> None:
    cell = cell_of("QRNN", rng)
    xs = rng.standard_normal((T, N, D))
    _, _, shown = nn.Recurrent(cell)(xs, return_states=True)
    kernels = cell.W.weight.numpy().reshape(3, 3, H, D)  # of a lag, z f o, to units, from features
    past = np.concatenate([np.zeros((2, N, D)), xs])
    sums = sum(np.einsum("ghd,tnd->tngh", kernels[lag], past[2 - lag : 2 - lag + T]) for lag in range(3))
    near(shown.z, np.tanh(sums + cell.b.numpy().reshape(3, H))[:, :, 0])


def test_the_stabiliser_of_an_slstm_changes_nothing_and_prevents_overflow(rng: Rng) -> None:
    cell = cell_of("sLSTM", rng)
    xs = rng.standard_normal((T, N, D))
    output, (h, c, n, m) = nn.Recurrent(cell)(xs)
    scale = np.exp(m)
    other = (h, 2 * c, 2 * n, m - np.log(2.0))  # the same c and n without their common scale
    near(nn.Recurrent(cell)(xs, other)[0], nn.Recurrent(cell)(xs, (h, c, n, m))[0].numpy())
    assert np.isfinite(scale.numpy()).all()
    for bias in (-1e3, 1e3):
        cell.W.bias.data[:H] = bias
        leaf = tensors(xs)
        output, _ = nn.Recurrent(cell)(leaf)
        assert all(np.isfinite(g).all() for g in gradients(total(output), cell, xs=leaf).values())
        assert np.abs(output.numpy()).max() <= 1  # a mean of tanh, times a gate


def test_the_matrix_of_an_orthogonal_cell_keeps_lengths_and_gets_gradients_once(rng: Rng) -> None:
    cell = nn.zoo.OrthogonalRNNCell(3, 8, dtype=np.float64)
    cell.M.data[...] = rng.standard_normal((8, 8))
    cell.b.data[...] = 0
    zeros = np.zeros((20, 1, 3))
    output, _ = nn.Recurrent(cell)(zeros, rng.standard_normal((1, 8)))
    lengths = np.linalg.norm(output.numpy()[:, 0], axis=-1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-12)


def test_the_memory_of_an_lmu_is_the_window(rng: Rng) -> None:
    """The Legendre coefficients of a slow input give it back from θ steps ago: Σ_i m_i P_i(1), all P_i(1) = 1."""
    order, theta = 8, 40.0
    A, B = nn.zoo.dynamics.legendre(order, theta)
    u = np.sin(np.arange(200) / 30)
    m, delayed = np.zeros((order, 1)), []
    for value in u:
        m = A @ m + B * value
        delayed.append(m.sum())
    np.testing.assert_allclose(delayed[100:], u[60:-40], atol=0.02)


@pytest.mark.parametrize("order", [1, 6, 64])
def test_the_legendre_system_is_stable_and_exact_for_a_constant(order: int) -> None:
    A, B = nn.zoo.dynamics.legendre(order, 50.0)
    assert np.abs(np.linalg.eigvals(A)).max() < 1
    rest = np.eye(order)[:, :1]  # a constant u = 1 is P_0
    near(A @ rest + B, rest, 1e-10)


def test_an_lru_is_its_complex_recurrence(rng: Rng) -> None:
    cell = nn.zoo.LRUCell(3, 4, 5, radii=(0.6, 0.9), dtype=np.float64)
    xs = rng.standard_normal((6, 1, 3))
    nu, theta, gamma, B, C, D = (getattr(cell, n).numpy() for n in ("nu", "theta", "gamma", "B", "C", "D"))
    lam = np.exp(-np.exp(nu) + 1j * np.exp(theta))
    assert (np.abs(lam) >= 0.6).all()
    assert (np.abs(lam) <= 0.9).all()
    near(np.exp(gamma), np.sqrt(1 - np.abs(lam) ** 2))
    state, outputs = np.zeros(5, complex), []
    for x in xs[:, 0]:
        state = lam * state + np.exp(gamma) * ((B[:5] + 1j * B[5:]) @ x)
        outputs.append(((C[:, :5] + 1j * C[:, 5:]) @ state).real + D @ x)
    near(nn.Recurrent(cell)(xs)[0][:, 0], np.array(outputs))


def test_units_at_rest_keep_their_state(rng: Rng) -> None:
    cell = cell_of("ClockworkRNN", rng)
    output, (_, t) = nn.Recurrent(cell)(rng.standard_normal((7, N, D)))
    slow = output.numpy()[..., 2:]
    np.testing.assert_array_equal(slow[[1, 2, 4, 5]], slow[[0, 0, 3, 3]])
    assert not (slow[3] == slow[2]).any()
    assert (t.numpy() == 7).all()


def test_a_phased_unit_leaks_in_training_alone(rng: Rng) -> None:
    cell = cell_of("PhasedLSTM", rng)
    xs = rng.standard_normal((T, N, D))
    _, _, training = nn.Recurrent(cell)(xs, return_states=True)
    _, _, evaluated = nn.Recurrent(cell.eval())(xs, return_states=True)
    closed = evaluated.k.numpy() == 0
    assert closed.any()
    assert (training.k.numpy()[closed] > 0).all()


def test_irregular_measures_the_time_since_a_feature_was_seen() -> None:
    nan = np.nan
    values = np.array([[[1, nan]], [[nan, 2]], [[nan, nan]], [[4, 5]]])
    found = nn.zoo.irregular(values, [0.0, 0.5, 2.0, 2.25])
    assert found[..., :2].tolist() == [[[1, 0]], [[0, 2]], [[0, 0]], [[4, 5]]]
    assert found[..., 2:4].tolist() == [[[1, 0]], [[0, 1]], [[0, 0]], [[1, 1]]]
    assert found[..., 4:].tolist() == [[[0, 0]], [[0.5, 0.5]], [[2, 1.5]], [[2.25, 1.75]]]


def test_starting_values() -> None:
    mg.manual_seed(0)
    bias = nn.zoo.JANETCell(3, 500, max_steps=100).W.bias.numpy()
    assert bias[:500].min() >= 0
    assert np.log(90) < bias[:500].max() <= np.log(99) + 1e-6
    assert not bias[500:].any()
    periods = nn.zoo.PhasedLSTMCell(3, 500, periods=(2.0, 50.0)).period.numpy()
    assert 2 <= periods.min() < 3 < 40 < periods.max() <= 50.001
    assert (nn.zoo.RHNCell(3, 4, gate_bias=-3.0).R[1].bias.numpy()[4:] == -3).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.zoo.RHNCell(3, 4, depth=0), "depth must be at least 1, got 0"),
        (lambda: nn.zoo.QRNNCell(3, 4, width=0), "width must be at least 1, got 0"),
        (lambda: nn.zoo.ONLSTMCell(3, 4, chunk=3), "chunk must divide hidden_size 4, got 3"),
        (lambda: nn.zoo.SLSTMCell(3, 4, heads=3), "heads must divide hidden_size 4, got 3"),
        (lambda: nn.zoo.JANETCell(3, 4, max_steps=2), "max_steps must be at least 3, got 2"),
        (lambda: nn.zoo.PhasedLSTMCell(1, 4), "so at least 2 columns"),
        (lambda: nn.zoo.PhasedLSTMCell(2, 4, ratio=0.0), "a ratio in"),
        (lambda: nn.zoo.GRUDCell(4, 4), "input_size is 3 · features, .* got 4"),
        (lambda: nn.zoo.GRUDCell(6, 4, mean=[1.0]), r"mean must be of shape \(2,\).* got \(1,\)"),
        (lambda: nn.zoo.ClockworkRNNCell(3, 4, periods=(4, 2)), r"periods must rise .* got \(4, 2\)"),
        (lambda: nn.zoo.OrthogonalRNNCell(3, 4, negative=5), "negative must be 0 to hidden_size 4, got 5"),
        (lambda: nn.zoo.LMUCell(3, 4, theta=0.0), "theta must be a positive number of steps, got 0.0"),
        (lambda: nn.zoo.LRUCell(3, 4, radii=(0.9, 0.5)), "needs 0 ≤ radii rising ≤ 1"),
        (lambda: nn.zoo.MGUCell(0, 4), "sizes must be positive integers, got 0"),
        (lambda: nn.zoo.irregular(np.zeros((2, 1, 1)), [1.0, 0.0]), "times must not fall"),
        (lambda: nn.zoo.irregular(np.zeros((2, 1)), [1.0, 2.0]), r"got \(2, 1\) and \(2, 1\)"),
    ],
)
def test_bad_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_every_cell_is_in_the_table_and_on_the_page() -> None:
    cells = {name for name in nn.zoo.__all__ if name.endswith("Cell")}
    assert {type(variant.make(D)).__name__ for variant in ZOO.values()} == cells
    page = (Path(__file__).parents[2] / "docs" / "cells.md").read_text(encoding="utf-8")
    for name in cells:
        text = inspect.getdoc(getattr(nn.zoo, name)) or ""
        equations = text[text.index("\n    ") :].split("\n\n")[0].strip("\n").split("\n")
        assert f"### {name}\n" in page
        assert all(line[4:] in page for line in equations)


def test_a_compiled_layer_of_on_lstms_is_the_layer() -> None:
    """Its loop is checked for values that are not finite, so a recording has its single steps."""
    mg.manual_seed(0)
    layer = nn.Recurrent(nn.zoo.ONLSTMCell(3, 4))

    @mg.compile
    def step(xs: Any) -> Any:
        layer.zero_grad()
        loss = np.sum(layer(xs)[0] ** 2)
        loss.backward()
        return loss.detach()

    for _ in range(3):
        xs = mg.randn(5, 2, 3)
        found, gradients = step(xs).item(), [p.grad.numpy().copy() for p in layer.parameters()]
        layer.zero_grad()
        loss = np.sum(layer(xs)[0] ** 2)
        loss.backward()
        assert found == pytest.approx(loss.item(), rel=1e-5)
        for p, gradient in zip(layer.parameters(), gradients, strict=True):
            np.testing.assert_allclose(gradient, p.grad.numpy(), rtol=1e-4, atol=1e-6)
