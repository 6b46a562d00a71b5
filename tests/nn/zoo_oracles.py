"""The cells of the zoo as plain NumPy, one sequence and one step at a time, from the equations of the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from oracles import Array, Arrays, Variant, relu, sigmoid, softmax

import nn

H = 4


def linear(p: Arrays, name: str, x: Array) -> Array:
    return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0)


def parts(z: Array, count: int) -> Any:
    return np.split(z, count)


def mgu(p: Arrays, x: Array, h: Array) -> Any:
    W_f, W_n = parts(p["W.weight"], 2)
    b_f, b_n = parts(p["W.bias"], 2)
    f = sigmoid(W_f @ x + p["U_f.weight"] @ h + b_f)
    n = np.tanh(W_n @ x + p["U_n.weight"] @ (f * h) + b_n)
    return ((1 - f) * h + f * n,), (f, n)


def ugrnn(p: Arrays, x: Array, h: Array) -> Any:
    z_g, z_c = parts(linear(p, "W", x) + linear(p, "U", h), 2)
    g, c = sigmoid(z_g), np.tanh(z_c)
    return (g * h + (1 - g) * c,), (g, c)


def nbrc(p: Arrays, x: Array, h: Array) -> Any:
    x_a, x_c, x_h = parts(linear(p, "W", x), 3)
    u_a, u_c = parts(linear(p, "U", h), 2)
    a, c = 1 + np.tanh(x_a + u_a), sigmoid(x_c + u_c)
    return (c * h + (1 - c) * np.tanh(x_h + a * h),), (a, c)


def rhn(p: Arrays, x: Array, s: Array) -> Any:
    n = t = s
    for k in range(2):
        z = linear(p, f"R.{k}", s) + (linear(p, "W", x) if k == 0 else 0)
        n, t = np.tanh(z[:H]), sigmoid(z[H:])
        s = n * t + s * (1 - t)
    return (s,), (n, t)


def indrnn(p: Arrays, x: Array, h: Array) -> Any:
    return (relu(linear(p, "W", x) + p["u"] * h),), ()


def sru(p: Arrays, x: Array, h: Array, c: Array) -> Any:
    W_c, W_f, W_r, *W_x = parts(p["W.weight"], len(p["W.weight"]) // H)
    f = sigmoid(W_f @ x + p["v_f"] * c + p["b_f"])
    r = sigmoid(W_r @ x + p["v_r"] * c + p["b_r"])
    c = f * c + (1 - f) * (W_c @ x)
    return (r * c + (1 - r) * np.sqrt(3) * (W_x[0] @ x if W_x else x), c), (f, r)


def qrnn(p: Arrays, x: Array, h: Array, c: Array, *ahead: Array) -> Any:
    first, *later = parts(p["W.weight"], len(ahead) + 1)
    z, f, o = parts(first @ x + (ahead[0] if ahead else 0) + p["b"], 3)
    z, f, o = np.tanh(z), sigmoid(f), sigmoid(o)
    c = f * c + (1 - f) * z
    ahead = (*ahead[1:], np.zeros(3 * H))
    return (o * c, c, *[W @ x + a for W, a in zip(later, ahead, strict=False)]), (z, f, o)


def mingru(p: Arrays, x: Array, h: Array) -> Any:
    z, n = parts(linear(p, "W", x), 2)
    z = sigmoid(z)
    return ((1 - z) * h + z * n,), (z,)


def minlstm(p: Arrays, x: Array, h: Array) -> Any:
    f, i, n = parts(linear(p, "W", x), 3)
    f, i = sigmoid(f), sigmoid(i)
    return (f / (f + i) * h + i / (f + i) * n,), (f / (f + i),)


def janet(p: Arrays, x: Array, h: Array) -> Any:
    s, n = parts(linear(p, "W", x) + linear(p, "U", h), 2)
    n = np.tanh(n)
    return (sigmoid(s) * h + (1 - sigmoid(s - 1)) * n,), (sigmoid(s), n)


def norm(p: Arrays, name: str, z: Array) -> Array:
    z = z - z.mean()
    return p[f"{name}.weight"] * z / np.sqrt((z**2).mean() + 1e-5)


def memory(z: Array, c: Array) -> Any:
    i, f, g, o = parts(z, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    return f * c + i * g, (i, f, g, o)


def layer_norm_lstm(p: Arrays, x: Array, h: Array, c: Array) -> Any:
    z = norm(p, "norm_x", linear(p, "W", x)) + norm(p, "norm_h", linear(p, "U", h)) + p["b"]
    c, gates = memory(z, c)
    return (gates[3] * np.tanh(norm(p, "norm_c", c) + p["b_c"]), c), gates


def multiplicative_lstm(p: Arrays, x: Array, h: Array, c: Array) -> Any:
    from_x = linear(p, "W", x)
    m = from_x[:H] * linear(p, "U_m", h)
    c, gates = memory(from_x[H:] + linear(p, "U", m), c)
    return (gates[3] * np.tanh(c), c), gates


def on_lstm(chunk: int) -> Callable[..., Any]:
    def step(p: Arrays, x: Array, h: Array, c: Array) -> Any:
        z = linear(p, "W", x) + linear(p, "U", h)
        z_F, z_I = parts(z[4 * H :], 2)
        F = np.repeat([softmax(z_F)[: k + 1].sum() for k in range(H // chunk)], chunk)
        I = np.repeat([1 - softmax(z_I)[: k + 1].sum() for k in range(H // chunk)], chunk)
        _, (i, f, g, o) = memory(z[: 4 * H], c)
        w = F * I
        f_hat, i_hat = f * w + (F - w), i * w + (I - w)
        c = f_hat * c + i_hat * g
        return (o * np.tanh(c), c), (i, f, g, o, F, I)

    return step


def slstm(heads: int) -> Callable[..., Any]:
    def step(p: Arrays, x: Array, h: Array, c: Array, n: Array, m: Array) -> Any:
        R = np.array(p["R"])
        for i, j in np.ndindex(H, H):
            if i // (H // heads) != j // (H // heads):
                R[i::H, j] = 0
        z_i, z_f, z_g, z_o = parts(linear(p, "W", x) + R @ h, 4)
        log_f = np.log(sigmoid(z_f))
        new = np.where((log_f + m).real > z_i.real, log_f + m, z_i)
        i, f, g, o = np.exp(z_i - new), np.exp(log_f + m - new), np.tanh(z_g), sigmoid(z_o)
        c, n = f * c + i * g, f * n + i
        return (o * c / n, c, n, new), (i, f, g, o)

    return step


def phased_lstm(p: Arrays, x: Array, h: Array, c: Array) -> Any:
    turns = (x[-1] - p["shift"]) / p["period"]
    phase, r = turns - np.floor(turns.real), 0.5
    k = np.where(phase.real < r / 2, 2 * phase / r, np.where(phase.real < r, 2 - 2 * phase / r, 0.001 * phase))
    z_i, z_f, z_g, z_o = parts(linear(p, "W", x[:-1]) + linear(p, "U", h), 4)
    i, f = sigmoid(z_i + p["p_i"] * c), sigmoid(z_f + p["p_f"] * c)
    full = f * c + i * np.tanh(z_g)
    o = sigmoid(z_o + p["p_o"] * full)
    return (k * o * np.tanh(full) + (1 - k) * h, k * full + (1 - k) * c), (k, i, f, o)


def gru_d(p: Arrays, x: Array, h: Array, last: Array) -> Any:
    x, m, delta = parts(x, 3)
    mean = np.array([0.3, -0.2])
    g_x = np.exp(-relu(p["decay_x"] * delta + p["decay_b"]))
    g_h = np.exp(-relu(linear(p, "decay_h", delta)))
    filled = m * x + (1 - m) * (g_x * last + (1 - g_x) * mean)
    h = g_h * h
    W, V, b = parts(p["W.weight"], 3), parts(p["V.weight"], 3), parts(p["V.bias"], 3)
    U_r, U_z = parts(p["U_rz.weight"], 2)
    r = sigmoid(W[0] @ filled + U_r @ h + V[0] @ m + b[0])
    z = sigmoid(W[1] @ filled + U_z @ h + V[1] @ m + b[1])
    n = np.tanh(W[2] @ filled + p["U_n.weight"] @ (r * h) + V[2] @ m + b[2])
    return ((1 - z) * h + z * n, m * x + (1 - m) * last), (r, z, n)


def clockwork(p: Arrays, x: Array, h: Array, t: Array) -> Any:
    new = np.array(h, np.result_type(h, *p.values(), x))
    for k in range(H):
        if t[0].real % (1, 3)[k // 2] == 0:
            seen = 0 if k < 2 else 2  # a group, and those that are slower
            new[k] = np.tanh(linear(p, "W", x)[k] + p["U"][k, seen:] @ h[seen:])
    return (new, t + 1), ()


def antisymmetric(gated: bool) -> Callable[..., Any]:
    def step(p: Arrays, x: Array, h: Array) -> Any:
        a = (p["M"] - p["M"].T - 0.01 * np.eye(H)) @ h
        if not gated:
            return (h + 0.1 * np.tanh(linear(p, "W", x) + a),), ()
        x_h, x_z = parts(linear(p, "W", x), 2)
        z = sigmoid(x_z + a)
        return (h + 0.1 * z * np.tanh(x_h + a),), (z,)

    return step


def orthogonal(p: Arrays, x: Array, h: Array) -> Any:
    A, eye = p["M"] - p["M"].T, np.eye(H)
    z = linear(p, "W", x) + np.linalg.inv(eye + A) @ (eye - A) @ np.diag([-1, 1, 1, 1]) @ h
    sign = np.sign(z.real)
    return (sign * relu(sign * z + p["b"]),), ()


def held(order: int, theta: float) -> Any:
    """The Legendre memory, sampled: by eigenvalues."""
    i, j = np.indices((order, order))
    A = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1)) / theta
    B = (2 * i + 1)[:, 0] * (-1.0) ** np.arange(order) / theta
    values, vectors = np.linalg.eig(A)
    sampled = (vectors * np.exp(values) @ np.linalg.inv(vectors)).real
    return sampled, np.linalg.solve(A, (sampled - np.eye(order)) @ B)


def lmu(p: Arrays, x: Array, h: Array, m: Array) -> Any:
    A, B = held(3, 5.0)
    u_z = linear(p, "W", x) + linear(p, "U", h)
    m = A @ m + B * (u_z[0] + p["e_m"][0] @ m)
    return (np.tanh(u_z[1:] + linear(p, "W_m", m)), m), ()


def lru(p: Arrays, x: Array, y: Array, a: Array, b: Array) -> Any:
    """With i as a matrix, since the complex numbers are taken by the derivatives."""
    i = np.array([[0, -1], [1, 0]])
    S = len(a)
    for k in range(S):
        size, angle = np.exp(-np.exp(p["nu"][k])), np.exp(p["theta"][k])
        turned = size * (np.cos(angle) * np.eye(2) + np.sin(angle) * i) @ np.array([a[k], b[k]])
        turned = turned + np.exp(p["gamma"][k]) * (p["B"][[k, S + k]] @ x)
        a, b = (np.where(np.arange(S) == k, new, old) for new, old in zip(turned, (a, b), strict=True))
    return (p["C"][:, :S] @ a - p["C"][:, S:] @ b + p["D"] @ x, a, b), ()


def _variant(kind: Any, step: Any, **options: Any) -> Variant:
    return Variant(lambda D, dtype=np.float64: kind(D, H, dtype=dtype, **options), step)


Z = nn.zoo
ZOO = {
    "MGU": _variant(Z.MGUCell, mgu),
    "UGRNN": _variant(Z.UGRNNCell, ugrnn),
    "nBRC": _variant(Z.NBRCCell, nbrc),
    "RHN": _variant(Z.RHNCell, rhn),
    "IndRNN": _variant(Z.IndRNNCell, indrnn),
    "SRU": _variant(Z.SRUCell, sru),
    "QRNN": _variant(Z.QRNNCell, qrnn, width=3),
    "minGRU": _variant(Z.MinGRUCell, mingru),
    "minLSTM": _variant(Z.MinLSTMCell, minlstm),
    "JANET": _variant(Z.JANETCell, janet),
    "LayerNormLSTM": _variant(Z.LayerNormLSTMCell, layer_norm_lstm),
    "MultiplicativeLSTM": _variant(Z.MultiplicativeLSTMCell, multiplicative_lstm),
    "ON-LSTM": _variant(Z.ONLSTMCell, on_lstm(2), chunk=2),
    "sLSTM": _variant(Z.SLSTMCell, slstm(2), heads=2),
    "PhasedLSTM": _variant(Z.PhasedLSTMCell, phased_lstm, ratio=0.5),
    "GRU-D": _variant(Z.GRUDCell, gru_d, mean=[0.3, -0.2]),
    "ClockworkRNN": _variant(Z.ClockworkRNNCell, clockwork, periods=(1, 3)),
    "AntisymmetricRNN": _variant(Z.AntisymmetricRNNCell, antisymmetric(False)),
    "gated AntisymmetricRNN": _variant(Z.AntisymmetricRNNCell, antisymmetric(True), gated=True),
    "OrthogonalRNN": _variant(Z.OrthogonalRNNCell, orthogonal, negative=1),
    "LMU": _variant(Z.LMUCell, lmu, order=3, theta=5.0),
    "LRU": _variant(Z.LRUCell, lru, state_size=3),
}


# ---- beside public implementations -------------------------------------------------------------------------------


def fill(parameter: Any, value: Any) -> None:
    parameter.data[...] = value


def outputs(cell: Any, xs: Array) -> Array:
    """h of a layer over one sequence (T, D), from zeros: (T, H)."""
    return nn.Recurrent(cell)(xs[:, None])[0].numpy()[:, 0]
