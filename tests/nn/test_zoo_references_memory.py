"""Cells with memories, a sense of time, or dynamics, beside what public implementations of them compute: their
conventions, written anew in plain NumPy. What differs stands in docs/cells.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import near, randomize, sigmoid, softmax
from zoo_oracles import H, fill, outputs

import minigrad as mg
import nn
from minigrad.native import machine
from nn.zoo.dynamics import legendre

Rng = np.random.Generator
T, D = 6, 3


def test_janet_beside_its_authors(rng: Rng) -> None:
    """janet: rows of x and h, the candidate before the gate; σ(1 − f) is written, as for β = 1."""
    W, U, b = rng.standard_normal((D, 2 * H)), rng.standard_normal((H, 2 * H)), rng.standard_normal(2 * H)
    xs, c, expected = rng.standard_normal((T, D)), np.zeros(H), []
    for x in xs:
        j, f = np.split(np.concatenate([x, c]) @ np.concatenate([W, U]) + b, 2)
        c = c * sigmoid(f) + sigmoid(1 - f) * np.tanh(j)
        expected.append(c)
    cell = nn.zoo.JANETCell(D, H, dtype=np.float64)
    fill(cell.W.weight, np.roll(W.T, H, axis=0))
    fill(cell.W.bias, np.roll(b, H))
    fill(cell.U.weight, np.roll(U.T, H, axis=0))
    near(outputs(cell, xs), np.array(expected))


def test_layer_norm_lstm_beside_its_authors(rng: Rng) -> None:
    """layer-norm's lnlstm: i, f, o, c; each LN has a shift, and b comes before and after the one of x, which does not
    see it if it is one number for all."""
    W, U, b = rng.standard_normal((D, 4 * H)), rng.standard_normal((H, 4 * H)), 0.7
    (b1, s1, b2, s2), (b3, s3) = rng.standard_normal((4, 4 * H)), rng.standard_normal((2, H))

    def norm(z: Any, shift: Any, scale: Any) -> Any:
        return scale * ((z - z.mean()) / np.sqrt(z.var() + 1e-5)) + shift

    xs, h, c, expected = rng.standard_normal((T, D)), np.zeros(H), np.zeros(H), []
    for x in xs:
        i, f, o, g = np.split(norm(x @ W + b, b1, s1) + norm(h @ U, b2, s2) + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(norm(c, b3, s3))
        expected.append(h)
    cell = nn.zoo.LayerNormLSTMCell(D, H, dtype=np.float64)
    order = np.concatenate([k * H + np.arange(H) for k in (0, 1, 3, 2)])
    fill(cell.W.weight, W.T[order])
    fill(cell.U.weight, U.T[order])
    fill(cell.b, (b1 + b2 + b)[order])
    fill(cell.b_c, b3)
    for layer, scale in ((cell.norm_x, s1[order]), (cell.norm_h, s2[order]), (cell.norm_c, s3)):
        fill(layer.weight, scale)
    near(outputs(cell, xs), np.array(expected))


def test_multiplicative_lstm_beside_its_authors(rng: Rng) -> None:
    """mLSTM, the Chainer code: a unit's g, i, f and o are side by side; rows of weights are g v/|v|."""

    def normalised(*shape: int) -> Any:
        v = rng.standard_normal(shape)
        return rng.standard_normal(shape[0])[:, None] * v / np.linalg.norm(v, axis=1, keepdims=True)

    Wmx, Wmh, Whx, Whm = normalised(H, D), normalised(H, H), normalised(4 * H, D), normalised(4 * H, H)
    b = rng.standard_normal(4 * H)
    xs, h, c, expected = 3 * rng.standard_normal((T, D)), np.zeros(H), np.zeros(H), []
    for x in xs:
        a, i, f, o = (Whx @ x + b + Whm @ ((Wmh @ h) * (Wmx @ x))).reshape(H, 4).T
        c = np.tanh(a) * sigmoid(i) + sigmoid(f) * c
        h = sigmoid(o) * np.tanh(c)
        expected.append(h)
    cell = nn.zoo.MultiplicativeLSTMCell(D, H, dtype=np.float64)
    order = np.concatenate([k + 4 * np.arange(H) for k in (1, 2, 0, 3)])
    fill(cell.W.weight, np.concatenate([Wmx, Whx[order]]))
    fill(cell.U_m.weight, Wmh)
    fill(cell.U.weight, Whm[order])
    fill(cell.U.bias, b[order])
    near(outputs(cell, xs), np.array(expected))


def test_on_lstm_beside_its_authors(rng: Rng) -> None:
    """Ordered-Neurons: the master gates first, input before forget; then o, g, i, f; two biases."""
    chunk, C = 2, H // 2
    W, b = rng.standard_normal((4 * H + 2 * C, D)), rng.standard_normal(4 * H + 2 * C)
    U, d = rng.standard_normal((4 * H + 2 * C, H)), rng.standard_normal(4 * H + 2 * C)
    xs, h, c, expected = rng.standard_normal((T, D)), np.zeros(H), np.zeros((C, chunk)), []
    for x in xs:
        gates = W @ x + b + U @ h + d
        master_in = (1 - np.cumsum(softmax(gates[:C])))[:, None]
        master_forget = np.cumsum(softmax(gates[C : 2 * C]))[:, None]
        o, g, i, f = np.split(gates[2 * C :].reshape(4 * C, chunk), 4)
        overlap = master_forget * master_in
        forget = sigmoid(f) * overlap + (master_forget - overlap)
        take = sigmoid(i) * overlap + (master_in - overlap)
        c = forget * c + take * np.tanh(g)
        h = (sigmoid(o) * np.tanh(c)).reshape(H)
        expected.append(h)
    cell = nn.zoo.ONLSTMCell(D, H, chunk, dtype=np.float64)
    o, g, i, f = (2 * C + k * H + np.arange(H) for k in range(4))
    order = np.concatenate([i, f, g, o, C + np.arange(C), np.arange(C)])
    fill(cell.W.weight, W[order])
    fill(cell.W.bias, (b + d)[order])
    fill(cell.U.weight, U[order])
    near(outputs(cell, xs), np.array(expected))


def test_slstm_beside_its_authors(rng: Rng) -> None:
    """xlstm's plain step: a first step, where n is 0, takes the input gate's scale; states begin at zero."""
    W, R, b = rng.standard_normal((4 * H, D)), rng.standard_normal((4 * H, H)), rng.standard_normal(4 * H)
    xs, expected = 3 * rng.standard_normal((T, D)), []
    h = c = n = m = np.zeros(H)
    for x in xs:
        i, f, z, o = np.split(W @ x + R @ h + b, 4)
        held = m - np.log1p(np.exp(-f))
        new = i if np.all(n == 0) else np.maximum(i, held)
        i, f, m = np.exp(i - new), np.exp(held - new), new
        c, n = f * c + i * np.tanh(z), f * n + i
        h = sigmoid(o) * c / n
        expected.append(h)
    cell = nn.zoo.SLSTMCell(D, H, dtype=np.float64)
    fill(cell.W.weight, W)
    fill(cell.W.bias, b)
    fill(cell.R, R)
    near(outputs(cell, xs), np.array(expected))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_slstm_of_large_inputs_is_finite(dtype: Any, rng: Rng) -> None:
    """The first input gate is far below the stabiliser of usual inputs; the cell state is that of the first input."""
    cell = nn.zoo.SLSTMCell(D, H, dtype=dtype)
    layer = nn.Recurrent(cell)
    size = 3e3 if dtype == np.float16 else 3e6
    x = mg.tensor((rng.standard_normal((T, 2, D)) * size).astype(dtype), requires_grad=True)
    found, _ = layer(x)
    kernels = machine.available() and not machine.switched_off()
    assert (layer.rolled is True) == (kernels and dtype != np.float16)
    found.sum().backward()
    for values in (found.numpy(), x.grad.numpy(), cell.W.weight.grad.numpy(), cell.R.grad.numpy()):
        assert np.isfinite(values).all()
    z_g, z_o = np.split((mg.linear(x[0], cell.W.weight, cell.W.bias)).numpy(), 4, axis=-1)[2:]
    np.testing.assert_allclose(found[0].numpy(), sigmoid(np.clip(z_o, -9, 9)) * np.tanh(z_g), rtol=1e-2, atol=1e-3)


def test_phased_lstm_beside_tensorflows(rng: Rng) -> None:
    """contrib.rnn.PhasedLSTMCell without peepholes: masks of input and forget, a new input, an output mask."""
    cell = randomize(nn.zoo.PhasedLSTMCell(D + 1, H, ratio=0.1, leak=0.001, dtype=np.float64), rng)
    for p in (cell.p_i, cell.p_f, cell.p_o):
        fill(p, 0.0)
    fill(cell.period, 1 + np.abs(cell.period.numpy()))
    W, b, U = cell.W.weight.numpy(), cell.W.bias.numpy(), cell.U.weight.numpy()
    period, shift = cell.period.numpy(), cell.shift.numpy()
    xs, times = rng.standard_normal((T, D)), np.cumsum(rng.random(T))
    h, c, expected = np.zeros(H), np.zeros(H), []
    for x, t in zip(xs, times, strict=True):
        i, f, g, o = np.split(W @ x + b + U @ h, 4)
        new_c = c * sigmoid(f) + sigmoid(i) * np.tanh(g)
        new_h = np.tanh(new_c) * sigmoid(o)
        cycle = np.mod(t - shift, period) / period
        up = 2 * cycle / 0.1
        k = np.where(cycle < 0.05, up, np.where(cycle < 0.1, 2 - up, 0.001 * cycle))
        c, h = k * new_c + (1 - k) * c, k * new_h + (1 - k) * h
        expected.append(h)
    near(outputs(cell, np.concatenate([xs, times[:, None]], axis=1)), np.array(expected))


def test_grud_beside_its_authors(rng: Rng) -> None:
    """PeterChe1990/GRU-D: clock times come in, 1 − m is mapped, z keeps, and x̄ is 0. What z keeps has not decayed, so
    γ_h is 1 here."""
    (kz, kr, kh), (uz, ur, uh), (vz, vr, vh) = (rng.standard_normal((3, n, H)) for n in (D, H, D))
    (bz, br, bh), (decay, shift) = rng.standard_normal((3, H)), rng.random((2, D))
    xs, times, seen = rng.standard_normal((T, D)), 3 + np.cumsum(rng.random(T)), rng.random((T, D)) < 0.5
    h, kept, before, since, expected = np.zeros(H), np.zeros(D), np.full(D, times[0]), [], []
    for x, s, m in zip(xs, times, seen, strict=True):
        since.append(s - before)
        kept = np.where(m, x, kept)
        x = np.where(m, x, np.exp(-np.maximum(since[-1] * decay + shift, 0)) * kept)
        z = sigmoid(x @ kz + h @ uz + (1 - m) @ vz + bz)
        r = sigmoid(x @ kr + h @ ur + (1 - m) @ vr + br)
        h = z * h + (1 - z) * np.tanh(x @ kh + (1 - m) @ vh + bh + (r * h) @ uh)
        before = np.where(m, s, before)
        expected.append(h)
    cell = nn.zoo.GRUDCell(3 * D, H, dtype=np.float64)
    fill(cell.W.weight, np.concatenate([kr.T, -kz.T, kh.T]))
    fill(cell.V.weight, np.concatenate([-vr.T, vz.T, -vh.T]))
    fill(cell.V.bias, np.concatenate([br + vr.sum(0), -bz - vz.sum(0), bh + vh.sum(0)]))
    fill(cell.U_rz.weight, np.concatenate([ur.T, -uz.T]))
    fill(cell.U_n.weight, uh.T)
    fill(cell.decay_x, decay)
    fill(cell.decay_b, shift)
    fill(cell.decay_h.weight, 0)
    fill(cell.decay_h.bias, 0)
    given = nn.zoo.irregular(np.where(seen, xs, np.nan)[:, None], times)[:, 0]
    near(given[:, 2 * D :], np.array(since))
    near(outputs(cell, given), np.array(expected))


def test_grud_beside_zhiyongs(rng: Rng) -> None:
    """zhiyongc/GRU-D, where h decays for all that follows: as many units as features, matrices for [x, h, m]."""
    Kz, Kr, Kh = rng.standard_normal((3, D, 3 * D))
    bz, br, bh, decay, shift, mean, b = rng.standard_normal((7, D))
    W = rng.standard_normal((D, D))
    xs, delta, seen = rng.standard_normal((T, D)), rng.random((T, D)), (rng.random((T, D)) < 0.5).astype(float)
    h, last, expected = np.zeros(D), np.zeros(D), []
    for x, d, m in zip(xs, delta, seen, strict=True):
        gamma = np.exp(-np.maximum(0, decay * d + shift))
        filled = m * x + (1 - m) * (gamma * last + (1 - gamma) * mean)
        h = np.exp(-np.maximum(0, W @ d + b)) * h
        z, r = (sigmoid(K @ np.concatenate([filled, h, m]) + bias) for K, bias in ((Kz, bz), (Kr, br)))
        h = (1 - z) * h + z * np.tanh(Kh @ np.concatenate([filled, r * h, m]) + bh)
        last = m * x + (1 - m) * last
        expected.append(h)
    cell = nn.zoo.GRUDCell(3 * D, D, mean=mean, dtype=np.float64)
    fill(cell.W.weight, np.concatenate([Kr[:, :D], Kz[:, :D], Kh[:, :D]]))
    fill(cell.U_rz.weight, np.concatenate([Kr[:, D : 2 * D], Kz[:, D : 2 * D]]))
    fill(cell.U_n.weight, Kh[:, D : 2 * D])
    fill(cell.V.weight, np.concatenate([Kr[:, 2 * D :], Kz[:, 2 * D :], Kh[:, 2 * D :]]))
    fill(cell.V.bias, np.concatenate([br, bz, bh]))
    fill(cell.decay_x, decay)
    fill(cell.decay_b, shift)
    fill(cell.decay_h.weight, W)
    fill(cell.decay_h.bias, b)
    near(outputs(cell, np.concatenate([xs, seen, delta], axis=1)), np.array(expected))


def test_clockwork_rnn_beside_brainstorms(rng: Rng) -> None:
    """brainstorm's Clockwork: each unit has a period and sees all others; units at rest undo their step."""
    timing, steps = np.repeat([1, 3], H // 2), 8
    W, R, b = rng.standard_normal((H, D)), rng.standard_normal((H, H)), rng.standard_normal(H)
    R[H // 2 :, : H // 2] = 0  # slower units do not see faster ones
    xs, h, expected = rng.standard_normal((steps, D)), np.zeros(H), []
    for t, x in enumerate(xs):
        h = np.where(t % timing != 0, h, np.tanh(W @ x + b + R @ h))
        expected.append(h)
    cell = nn.zoo.ClockworkRNNCell(D, H, (1, 3), dtype=np.float64)
    fill(cell.W.weight, W)
    fill(cell.W.bias, b)
    fill(cell.U, R)
    near(outputs(cell, xs), np.array(expected))


@pytest.mark.parametrize("gated", [False, True])
def test_antisymmetric_rnn_beside_kurochkins(gated: bool, rng: Rng) -> None:
    """KurochkinAlexey/AntisymmetricRNN: h is a row, so its W is our Mᵀ; V_h and V_z are maps with biases."""
    W, V, b = rng.standard_normal((H, H)), rng.standard_normal((2, H, D)), rng.standard_normal((2, H))
    xs, h, expected = rng.standard_normal((T, D)), np.zeros(H), []
    for x in xs:
        inner = h @ (W - W.T - 0.2 * np.eye(H))
        gate = sigmoid(inner + V[1] @ x + b[1]) if gated else 1
        h = h + 0.3 * np.tanh(inner + V[0] @ x + b[0]) * gate
        expected.append(h)
    cell = nn.zoo.AntisymmetricRNNCell(D, H, gated=gated, step_size=0.3, damping=0.2, dtype=np.float64)
    fill(cell.M, W.T)
    fill(cell.W.weight, np.concatenate(V[: 1 + gated]))
    fill(cell.W.bias, np.concatenate(b[: 1 + gated]))
    near(outputs(cell, xs), np.array(expected))


def test_orthogonal_rnn_beside_its_authors(rng: Rng) -> None:
    """scoRNN: h is a row, so our Q is its Wᵀ and our A is −D A D; the −1 of D come last."""
    signs = np.array([1.0, 1, 1, -1])
    A, U, b = rng.standard_normal((H, H)), rng.standard_normal((D, H)), rng.standard_normal(H) / 2
    A = A - A.T
    W = np.linalg.lstsq(np.eye(H) + A, np.eye(H) - A)[0] @ np.diag(signs)
    xs, h, expected = rng.standard_normal((T, D)), np.zeros(H), []
    for x in xs:
        z = x @ U + h @ W
        h = np.maximum(np.abs(z) + b, 0) * np.sign(z)
        expected.append(h)
    cell = nn.zoo.OrthogonalRNNCell(D, H, negative=1, dtype=np.float64)
    fill(cell.M, -np.triu(np.diag(signs) @ A @ np.diag(signs)))
    fill(cell.D, signs)
    fill(cell.W.weight, U.T)
    fill(cell.b, b)
    near(outputs(cell, xs), np.array(expected))


@pytest.mark.parametrize(("order", "theta"), [(4, 5.0), (16, 100.0), (32, 784.0)])
def test_lmu_is_sampled_as_keras_lmu_samples(order: int, theta: float) -> None:
    """By SciPy's zero-order hold of A/theta and B/theta, a step apart."""
    signal = pytest.importorskip("scipy.signal")
    Q = np.arange(order)
    R = (2 * Q + 1)[:, None] / theta
    j, i = np.meshgrid(Q, Q)
    A = np.where(i < j, -1, (-1.0) ** (i - j + 1)) * R
    B = (-1.0) ** Q[:, None] * R
    sampled = signal.cont2discrete((A, B, np.ones((1, order)), np.zeros((1, 1))), dt=1.0, method="zoh")
    for ours, theirs in zip(legendre(order, theta), sampled, strict=False):
        near(ours, theirs, 1e-10)


def test_lru_beside_zucchets(rng: Rng) -> None:
    """minimal-LRU: complex states, Re(C h) + D x with a vector D, as many outputs as inputs; its starting values."""
    cell = randomize(nn.zoo.LRUCell(D, D, H, dtype=np.float64), rng)
    vector = rng.standard_normal(D)
    fill(cell.D, np.diag(vector))
    p = {name: value.numpy() for name, value in cell.named_parameters()}
    lam = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    B = (p["B"][:H] + 1j * p["B"][H:]) * np.exp(p["gamma"])[:, None]
    C = p["C"][:, :H] + 1j * p["C"][:, H:]
    xs, h, expected = rng.standard_normal((T, D)), np.zeros(H, complex), []
    for x in xs:
        h = lam * h + B @ x
        expected.append((C @ h).real + vector * x)
    near(outputs(cell, xs), np.array(expected))
    mg.manual_seed(0)
    fresh = nn.zoo.LRUCell(64, 8, 4000, radii=(0.4, 0.9), phase=6.28, dtype=np.float64)
    nu, theta, gamma = (getattr(fresh, name).numpy() for name in ("nu", "theta", "gamma"))
    radius = np.exp(-np.exp(nu))
    near(np.mean(radius**2), (0.4**2 + 0.9**2) / 2, 0.02)  # uniform in the ring
    near(np.mean(np.exp(theta)), 6.28 / 2, 0.03)
    near(np.exp(gamma), np.sqrt(1 - radius**2))
    near(np.std(fresh.B.numpy()), 1 / np.sqrt(2 * 64), 0.01)
    near(np.std(fresh.C.numpy()), 1 / np.sqrt(4000), 0.01)
