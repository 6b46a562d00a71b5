"""Lyapunov spectra against linear systems, known maps, a loop of NumPy, determinants and the Jacobians one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import near, randomize

import minigrad as mg
import nn

Rng = np.random.Generator
T, N, D, H = 40, 3, 2, 4


def linear(W: Any) -> nn.RNNCell:
    cell = nn.RNNCell(1, len(W), nonlinearity=lambda z: z, dtype=np.float64)
    cell.weight_hh.data[...] = W
    return cell


def test_a_linear_system_has_the_logarithms_of_its_eigenvalues(rng: Rng) -> None:
    V, _ = np.linalg.qr(rng.standard_normal((H, H)))
    found = nn.diagnose.lyapunov(linear(V @ np.diag([1.5, -0.9, 0.5, 0.1]) @ V.T), np.zeros((400, N, 1)), discard=100)
    near(found.of_each, np.tile(np.log([1.5, 0.9, 0.5, 0.1]), (N, 1)), 1e-9)
    near(found.errors, np.zeros(H), 1e-9)
    near(found.entropy, np.log(1.5), 1e-9)
    assert found.verdict.startswith("expands: a change of the state grows by a factor of 1.5 each step")
    assert np.isnan(found.running[:100]).all()
    near(found.running[-1], found.exponents)


def test_an_orthogonal_map_keeps_every_change(rng: Rng) -> None:
    V, _ = np.linalg.qr(rng.standard_normal((H, H)))
    found = nn.diagnose.lyapunov(linear(V), np.zeros((30, 1)))
    near(found.exponents, np.zeros(H), 1e-12)
    assert found.verdict.startswith("carries")
    assert np.isnan(found.errors).all()  # of one sequence


def by_hand(W: Any, U: Any, b: Any, xs: Any, K: int, discard: int, Q: Any) -> Any:
    """h' = tanh(W x + U h + b) with J = diag(1 − h'²) U, and Gram and Schmidt's steps, number by number."""
    h, total = np.zeros(len(U)), np.zeros(K)
    for t, x in enumerate(xs):
        h = np.tanh(W @ x + U @ h + b)
        Q = (1 - h**2)[:, None] * (U @ Q)
        for i in range(K):
            for j in range(i):
                Q[:, i] = Q[:, i] - (Q[:, j] @ Q[:, i]) * Q[:, j]
            size = np.sqrt(Q[:, i] @ Q[:, i])
            Q[:, i] = Q[:, i] / size
            total[i] += np.log(size) if t >= discard else 0.0
    return np.sort(total / (len(xs) - discard))[::-1]


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_a_driven_network_is_the_loop(gain: float, rng: Rng) -> None:
    cell = nn.RNNCell(D, 8, dtype=np.float64)
    for p in cell.parameters():
        p.data[...] = rng.standard_normal(p.shape) * (gain if p is cell.weight_hh else 0.1) / np.sqrt(8)
    xs = rng.standard_normal((T, N, D))
    W, U = cell.weight_ih.numpy(), cell.weight_hh.numpy()
    b = cell.bias_ih.numpy() + cell.bias_hh.numpy()
    for K in (8, 3):
        found = nn.diagnose.lyapunov(cell, xs, count=K, discard=10)
        Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((8, K)))
        for n in range(N):
            near(found.of_each[n], by_hand(W, U, b, xs[:, n], K, 10, Q), 1e-9)


def test_what_is_never_forgotten_has_an_exponent_of_zero(rng: Rng) -> None:
    """The last unit of an ON-LSTM's memory: its master gates are 1 and 0, so that it keeps what it has, while others
    die within a step."""
    cell = nn.zoo.ONLSTMCell(D, H, dtype=np.float64)
    xs = rng.standard_normal((60, N, D))
    limit = 1 / 40  # a transient of a factor of e, over the steps that count
    assert np.abs(nn.diagnose.lyapunov(cell, xs, discard=20).of_each[:, 0]).max() < limit
    assert abs(nn.diagnose.state_jacobians(cell, xs, discard=20).exponents[0]) < limit


def test_a_large_random_network_is_chaotic_beyond_a_gain_of_one(rng: Rng) -> None:
    """Sompolinsky, Crisanti & Sommers 1988."""
    cell = nn.RNNCell(1, 60, bias=False, dtype=np.float64)
    for gain, chaotic in ((0.7, False), (2.5, True)):
        cell.weight_hh.data[...] = rng.standard_normal((60, 60)) * gain / np.sqrt(60)
        found = nn.diagnose.lyapunov(cell, np.zeros((100, 1)), rng.standard_normal(60), count=2, discard=30)
        assert (found.exponents[0] > 0) == chaotic
        assert (found.entropy > 0) == chaotic


@pytest.mark.parametrize("make", [nn.GRUCell, nn.LSTMCell, nn.zoo.LMUCell, nn.zoo.MGUCell], ids=lambda c: c.__name__)
def test_any_cell_has_the_exponents_of_its_jacobians(make: Any, rng: Rng) -> None:
    cell = make(D, H, dtype=np.float64, **({"order": 5, "theta": 7.0} if make is nn.zoo.LMUCell else {}))
    cell = randomize(cell, rng)
    xs = rng.standard_normal((T, N, D))
    found = nn.diagnose.lyapunov(cell, xs, discard=5)
    for n in range(N):
        one = nn.diagnose.state_jacobians(cell, xs, row=n, discard=5)
        kept = one.exponents > -8  # beyond are directions that a step all but makes zero, to rounding
        near(found.of_each[n][kept], one.exponents[kept], 1e-8)
        if kept.all():
            _, volumes = np.linalg.slogdet(one.jacobians[5:])
            near(found.of_each[n].sum(), volumes.mean(), 1e-9)  # all directions together: the volume


class Henon:
    """Hénon 1976, a = 1.4, b = 0.3: exponents about 0.419 and −1.623, with the sum ln 0.3; the dimension 1.258."""

    def initial_state(self, batch: int) -> Any:
        return tuple([mg.tensor(np.linspace(0, 0.1, batch)[:, None]) for _ in range(2)])

    def step(self, x: Any, state: Any) -> Any:
        u, v = state
        return 1 - 1.4 * u * u + v, 0.3 * u


def test_a_strange_attractor() -> None:
    found = nn.diagnose.lyapunov(Henon(), np.zeros((1000, 8, 1)), discard=100)
    near(found.exponents[0], 0.419, 0.03)
    near(found.exponents.sum(), np.log(0.3), 1e-10)
    near(found.dimension, 1.258, 0.01)
    assert 0 < found.errors[0] < 0.01
    assert np.isnan(nn.diagnose.lyapunov(Henon(), np.zeros((200, 1)), count=1).dimension)


def test_dimensions() -> None:
    def of(*exponents: float, size: int | None = None) -> float:
        return nn.diagnose.Lyapunov(np.array([exponents]), np.zeros((1, 1)), size or len(exponents), 0).dimension

    assert of(-0.1, -0.5) == 0
    assert of(0.5, -0.25, -1.0) == 2.25
    assert of(0.5, 0.1) == 2
    assert np.isnan(of(0.5, 0.1, size=3))
    assert np.isnan(of(np.nan, 0.1))
    assert of(0.5, -np.inf) == 1


def test_a_change_that_dies_at_once() -> None:
    class Forgets(Henon):
        def step(self, x: Any, state: Any) -> Any:
            return x, 0 * state[0] + 0.5 * state[1]

    found = nn.diagnose.lyapunov(Forgets(), np.ones((30, 2, 1)), discard=10)
    near(found.exponents[0], np.log(0.5), 1e-12)
    assert found.exponents[1] == -np.inf
    assert "contracts" in str(found)


def test_layers_give_their_cells_spectrum(rng: Rng) -> None:
    lstm = nn.LSTM(D, H, batch_first=True, dtype=np.float64)
    cell = lstm.layers[0].cell
    xs, h, c = rng.standard_normal((N, T, D)), rng.standard_normal((1, N, H)), rng.standard_normal((1, N, H))
    expected = nn.diagnose.lyapunov(cell, np.swapaxes(xs, 0, 1), (h[0], c[0])).of_each
    near(nn.diagnose.lyapunov(lstm, xs, (h, c)).of_each, expected, 1e-12)
    near(nn.diagnose.lyapunov(lstm, xs[1], (h[:, 1], c[:, 1])).of_each, expected[1:2], 1e-12)
    back = nn.diagnose.lyapunov(nn.Recurrent(cell, reverse=True), np.swapaxes(xs, 0, 1)[::-1], (h[0], c[0]))
    near(back.of_each, expected, 1e-12)


def test_dropout_and_zoneout_are_off_meanwhile(rng: Rng) -> None:
    layer = nn.Recurrent(nn.GRUCell(D, H, recurrent_dropout=0.5, zoneout=0.3, dtype=np.float64))
    xs = rng.standard_normal((T, N, D))
    first, again = (nn.diagnose.lyapunov(layer, xs).of_each for _ in range(2))
    near(first, again, 0)
    assert all(m.training for m in layer.modules())
    assert all(p.grad is None for p in layer.parameters())


def test_results_read_well_and_are_drawn(rng: Rng, tmp_path: Any) -> None:
    found = nn.diagnose.lyapunov(nn.RNNCell(D, H), rng.standard_normal((T, N, D)).astype(np.float32))
    assert repr(found).startswith("<Lyapunov: contracts")
    assert str(found).splitlines()[1].split() == ["i", "exponent", "λ_i", "standard", "error"]
    found.plot(tmp_path / "spectrum.png")
    assert (tmp_path / "spectrum.png").stat().st_size > 5000


def test_mistakes(rng: Rng) -> None:
    cell, xs = nn.GRUCell(D, H, dtype=np.float64), rng.standard_normal((T, N, D))
    for call, error, message in [
        (
            lambda: nn.diagnose.lyapunov(nn.LSTM(D, H, 2), xs),
            TypeError,
            "this LSTM has 2 cells; pass one of its layers",
        ),
        (lambda: nn.diagnose.lyapunov(nn.Linear(D, H), xs), TypeError, "Linear is neither a layer nor a cell"),
        (lambda: nn.diagnose.lyapunov(cell, xs[0, 0]), ValueError, r"expected sequences \(T, N, D\) or one, \(T, D\)"),
        (lambda: nn.diagnose.lyapunov(cell, xs[:0]), ValueError, r"got shape \(0, 3, 2\)"),
        (
            lambda: nn.diagnose.lyapunov(cell, xs, discard=T),
            ValueError,
            "discard must be from 0 to below T = 40, not 40",
        ),
        (lambda: nn.diagnose.lyapunov(cell, xs, count=5), ValueError, "count must be from 1 to the size .* 4, not 5"),
        (
            lambda: nn.diagnose.lyapunov(cell, xs, np.zeros((2, H))),
            ValueError,
            r"has shape \(2, 4\), expected \(3, 4\)",
        ),
    ]:
        with pytest.raises(error, match=f"lyapunov: .*{message}"):
            call()
