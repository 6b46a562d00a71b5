"""Cells with gates, or element by element, beside what public implementations of them compute: published numbers where
there are some, else their conventions, written anew in plain NumPy. What differs stands in docs/cells.md."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import near, sigmoid
from zoo_oracles import H, fill, outputs

import nn

Rng = np.random.Generator
T, D = 6, 3


def test_mgu_beside_brainstates(rng: Rng) -> None:
    """brainstate: a kernel (D + H, H) and a bias for the gate, and for the candidate; x before h, or f h."""
    kf, kn = rng.standard_normal((2, D + H, H))
    bf, bn = rng.standard_normal((2, H))
    xs, h, expected = rng.standard_normal((T, D)), np.zeros(H), []
    for x in xs:
        f = sigmoid(np.concatenate([x, h]) @ kf + bf)
        n = np.tanh(np.concatenate([x, f * h]) @ kn + bn)
        h = (1 - f) * h + f * n
        expected.append(h)
    cell = nn.zoo.MGUCell(D, H, dtype=np.float64)
    fill(cell.W.weight, np.concatenate([kf[:D].T, kn[:D].T]))
    fill(cell.W.bias, np.concatenate([bf, bn]))
    fill(cell.U_f.weight, kf[D:].T)
    fill(cell.U_n.weight, kn[D:].T)
    near(outputs(cell, xs), np.array(expected))


def test_ugrnn_has_tensorflows_numbers() -> None:
    """Its test of UGRNNCell (contrib.rnn): all weights 0.5, a forget bias of 1, states of 0.1."""
    cell = nn.zoo.UGRNNCell(4, 2, dtype=np.float64)
    fill(cell.W.weight, 0.5)
    fill(cell.U.weight, 0.5)
    fill(cell.W.bias, [1, 1, 0, 0])
    found = cell(np.repeat([[1.0], [2.0], [3.0]], 4, axis=1), np.full((3, 2), 0.1))
    np.testing.assert_allclose(found.numpy(), np.repeat([[0.13752282], [0.10545051], [0.10074195]], 2, axis=1), 5e-7)


def test_nbrc_beside_its_authors(rng: Rng) -> None:
    """BRC's NBRC: kernels (D, H) and memories (H, H) of z and r, biases of these alone."""
    kz, kr, kh = rng.standard_normal((3, D, H))
    mz, mr = rng.standard_normal((2, H, H))
    bz, br = rng.standard_normal((2, H))
    xs, h, expected = rng.standard_normal((T, D)), np.zeros(H), []
    for x in xs:
        z = sigmoid(x @ kz + h @ mz + bz)
        r = np.tanh(x @ kr + h @ mr + br) + 1
        h = (1 - z) * np.tanh(x @ kh + r * h) + z * h
        expected.append(h)
    cell = nn.zoo.NBRCCell(D, H, dtype=np.float64)
    fill(cell.W.weight, np.concatenate([kr.T, kz.T, kh.T]))
    fill(cell.W.bias, np.concatenate([br, bz, np.zeros(H)]))
    fill(cell.U.weight, np.concatenate([mr.T, mz.T]))
    near(outputs(cell, xs), np.array(expected))


def test_rhn_beside_its_authors(rng: Rng) -> None:
    """RecurrentHighwayNetworks, rhn.py without dropout: kernels and biases of h and t, the first ones for x and s."""
    depth = 3
    kernels, biases = rng.standard_normal((depth, 2, D + H, H)), rng.standard_normal((depth, 2, H))
    xs, s, expected = rng.standard_normal((T, D)), np.zeros(H), []
    for x in xs:
        for k in range(depth):
            seen, rows = (np.concatenate([x, s]), slice(None)) if k == 0 else (s, slice(D, None))
            h, t = (seen @ kernel[rows] + bias for kernel, bias in zip(kernels[k], biases[k], strict=True))
            s = (np.tanh(h) - s) * sigmoid(t) + s
        expected.append(s)
    cell = nn.zoo.RHNCell(D, H, depth, dtype=np.float64)
    fill(cell.W.weight, np.concatenate([kernel[:D].T for kernel in kernels[0]]))
    for k in range(depth):
        fill(cell.R[k].weight, np.concatenate([kernel[D:].T for kernel in kernels[k]]))
        fill(cell.R[k].bias, np.concatenate(biases[k]))
    near(outputs(cell, xs), np.array(expected))


def test_indrnn_has_batzners_numbers() -> None:
    """indrnn's test: input weights of 1, a state of 2, and no ReLU, which a bias of 10 keeps open here."""
    cell = nn.zoo.IndRNNCell(4, 4, dtype=np.float64)
    fill(cell.W.weight, 1)
    fill(cell.W.bias, 10)
    fill(cell.u, [-3, -2, 1, 3])
    near(cell(np.eye(1, 4), np.full((1, 4), 2.0)).numpy() - 10, np.array([[-5.0, -3, 3, 7]]))


def test_indrnn_beside_its_authors(rng: Rng) -> None:
    """IndRNN_pytorch, evaluated: a linear map, batch normalisation, and then u and the ReLU alone."""
    W, (b, mean, gamma, beta) = rng.standard_normal((H, D)), rng.standard_normal((4, H))
    variance, u = rng.random((2, H))
    xs, h, expected = rng.standard_normal((T, D)), np.zeros(H), []
    for x in (xs @ W.T + b - mean) / np.sqrt(variance + 1e-5) * gamma + beta:
        h = np.maximum(x + h * u, 0)
        expected.append(h)
    cell = nn.zoo.IndRNNCell(D, H, dtype=np.float64)
    scale = gamma / np.sqrt(variance + 1e-5)
    fill(cell.W.weight, scale[:, None] * W)
    fill(cell.W.bias, scale * (b - mean) + beta)
    fill(cell.u, u)
    near(outputs(cell, xs), np.array(expected))


@pytest.mark.parametrize("size", [D, H])
def test_sru_beside_its_authors(size: int, rng: Rng) -> None:
    """sru: a unit's columns are side by side, c, f, r, and x if D ≠ H, where it is not scaled; f before r."""
    count = 3 if size == H else 4
    weight, (v, b) = rng.standard_normal((size, H * count)), rng.standard_normal((2, 2, H))
    xs, c, expected = rng.standard_normal((T, size)), np.zeros(H), []
    mapped = (xs @ weight).reshape(T, H, count)
    for u, skip in zip(mapped, np.sqrt(3) * xs if count == 3 else mapped[..., 3], strict=True):
        f, r = (sigmoid(u[:, k + 1] + c * v[k] + b[k]) for k in range(2))
        c = u[:, 0] + (c - u[:, 0]) * f
        expected.append(skip + (c - skip) * r)
    cell = nn.zoo.SRUCell(size, H, dtype=np.float64)
    maps = weight.T.reshape(H, count, size).swapaxes(0, 1).copy()
    maps[3:] /= np.sqrt(3)
    fill(cell.W.weight, maps.reshape(-1, size))
    for parameter, value in zip((cell.v_f, cell.v_r, cell.b_f, cell.b_r), (*v, *b), strict=True):
        fill(parameter, value)
    near(outputs(cell, xs), np.array(expected))


def test_qrnn_beside_salesforces(rng: Rng) -> None:
    """pytorch-qrnn, window 2: one map of [x_t, x_{t-1}], and C_t = F Z + (1 - F) C_{t-1}, so that its F is 1 - f."""
    W, b = rng.standard_normal((3 * H, 2 * D)), rng.standard_normal(3 * H)
    xs = rng.standard_normal((T, D))
    expected, C = [], np.zeros(H)
    for t in range(T):
        Z, F, O = np.split(W @ np.concatenate([xs[t], xs[t - 1] if t else np.zeros(D)]) + b, 3)
        C = sigmoid(F) * np.tanh(Z) + (1 - sigmoid(F)) * C
        expected.append(sigmoid(O) * C)
    cell = nn.zoo.QRNNCell(D, H, width=2, dtype=np.float64)
    sign = np.repeat([1.0, -1.0, 1.0], H)
    fill(cell.W.weight, np.concatenate([sign[:, None] * W[:, :D], sign[:, None] * W[:, D:]]))
    fill(cell.b, sign * b)
    near(outputs(cell, xs), np.array(expected))


def test_min_gru_beside_lucidrains(rng: Rng) -> None:
    """minGRU-pytorch scans logarithms of positive states: candidates are g(v), which is v + 1/2 for v >= 0."""
    W = np.abs(rng.standard_normal((2 * H, D)))  # the candidate, then the gate
    xs = np.abs(rng.standard_normal((T, D)))
    value, gate = np.split(xs @ W.T, 2, axis=1)
    kept, taken = -np.log1p(np.exp(gate)), -np.log1p(np.exp(-gate)) + np.log(value + 0.5)
    run = np.cumsum(kept, axis=0)
    expected = np.exp(run + np.logaddexp.accumulate(taken - run, axis=0))
    cell = nn.zoo.MinGRUCell(D, H, dtype=np.float64)
    fill(cell.W.weight, np.concatenate([W[H:], W[:H]]))
    fill(cell.W.bias, np.repeat([0.0, 0.5], H))
    near(outputs(cell, xs), expected)


def test_min_lstm_beside_lucidrains(rng: Rng) -> None:
    """minGRU-pytorch's minLSTM: the candidate, then f and i, whose shares are sigmoids of a difference; g(v) again."""
    W, xs = rng.standard_normal((3 * H, D)), np.abs(rng.standard_normal((T, D)))
    W[:H] = np.abs(W[:H])
    value, f, i = np.split(xs @ W.T, 3, axis=1)
    difference = np.log1p(np.exp(-f)) - np.log1p(np.exp(-i))
    kept, taken = -np.log1p(np.exp(difference)), -np.log1p(np.exp(-difference)) + np.log(value + 0.5)
    run = np.cumsum(kept, axis=0)
    cell = nn.zoo.MinLSTMCell(D, H, dtype=np.float64)
    fill(cell.W.weight, np.roll(W, -H, axis=0))
    fill(cell.W.bias, np.repeat([0.0, 0.0, 0.5], H))
    near(outputs(cell, xs), np.exp(run + np.logaddexp.accumulate(taken - run, axis=0)))
