"""The equations of the zoo's cells as plain loops: one text for PyTorch and JAX.

A function takes a library's functions `xp`, a cell's weights and constants `p` by name ("U" is the array of its map U),
and inputs xs (T, N, D). It first computes what does not depend on the state: from weights alone once, and from inputs
for all steps at once. This it returns, as a tuple of arrays (T, N, ·), beside a function: `step(state, *x)` is the
next state, whose first array is the output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Weights = dict[str, Any]
Loop = tuple[tuple[Any, ...], Callable[..., tuple[Any, ...]]]


def mapped(xp: Any, p: Weights, xs: Any) -> Any:
    """W x + b, or W x."""
    return xp.linear(xs, p["W"], p.get("W.bias"))


# ---- gates -------------------------------------------------------------------------------------------------------


def mgu(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x_f: Any, x_n: Any) -> Any:
        (h,) = state
        f = xp.sigmoid(x_f + xp.linear(h, p["U_f"]))
        n = xp.tanh(x_n + xp.linear(f * h, p["U_n"]))
        return ((1 - f) * h + f * n,)

    return xp.split(mapped(xp, p, xs), 2), step


def ugrnn(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x: Any) -> Any:
        (h,) = state
        z_g, z_c = xp.split(x + xp.linear(h, p["U"]), 2)
        g, c = xp.sigmoid(z_g), xp.tanh(z_c)
        return (g * h + (1 - g) * c,)

    return (mapped(xp, p, xs),), step


def nbrc(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x_a: Any, x_c: Any, x_h: Any) -> Any:
        (h,) = state
        u_a, u_c = xp.split(xp.linear(h, p["U"]), 2)
        a, c = 1 + xp.tanh(x_a + u_a), xp.sigmoid(x_c + u_c)
        return (c * h + (1 - c) * xp.tanh(x_h + a * h),)

    return xp.split(mapped(xp, p, xs), 3), step


def rhn(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x: Any) -> Any:
        (s,) = state
        for k in range(2):
            z = xp.linear(s, p[f"R.{k}"], p[f"R.{k}.bias"])
            z_n, z_t = xp.split(x + z if k == 0 else z, 2)
            n, t = xp.tanh(z_n), xp.sigmoid(z_t)
            s = t * n + (1 - t) * s
        return (s,)

    return (mapped(xp, p, xs),), step


# ---- element by element ------------------------------------------------------------------------------------------


def ind_rnn(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x: Any) -> Any:
        return (xp.relu(x + p["u"] * state[0]),)

    return (mapped(xp, p, xs),), step


def sru(xp: Any, p: Weights, xs: Any) -> Loop:
    x_c, x_f, x_r, x_h = xp.split(mapped(xp, p, xs), 4)

    def step(state: Any, x_c: Any, x_f: Any, x_r: Any, x_h: Any) -> Any:
        _, c = state
        f, r = xp.sigmoid(x_f + p["v_f"] * c), xp.sigmoid(x_r + p["v_r"] * c)
        c = f * c + (1 - f) * x_c
        return r * c + (1 - r) * x_h, c

    return (x_c, x_f + p["b_f"], x_r + p["b_r"], 3**0.5 * x_h), step


def qrnn(xp: Any, p: Weights, xs: Any) -> Loop:
    """The convolution is outside of the loop, so the inputs that our cell holds for it are not needed."""
    now, before = xp.split(mapped(xp, p, xs), 2)
    before = xp.concatenate([xp.zeros_like(before[:1]), before[:-1]])
    z, f, o = xp.split(now + before + p["b"], 3)

    def step(state: Any, z: Any, f: Any, o: Any) -> Any:
        _, c, *held = state
        c = f * c + (1 - f) * z
        return o * c, c, *held

    return (xp.tanh(z), xp.sigmoid(f), xp.sigmoid(o)), step


def min_gru(xp: Any, p: Weights, xs: Any) -> Loop:
    z, n = xp.split(mapped(xp, p, xs), 2)

    def step(state: Any, z: Any, n: Any) -> Any:
        return ((1 - z) * state[0] + z * n,)

    return (xp.sigmoid(z), n), step


def min_lstm(xp: Any, p: Weights, xs: Any) -> Loop:
    f, i, n = xp.split(mapped(xp, p, xs), 3)
    f, i = xp.sigmoid(f), xp.sigmoid(i)

    def step(state: Any, f: Any, i: Any, n: Any) -> Any:
        return (f * state[0] + i * n,)

    return (f / (f + i), i / (f + i), n), step


# ---- memories ----------------------------------------------------------------------------------------------------


def janet(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x: Any) -> Any:
        (h,) = state
        s, n = xp.split(x + xp.linear(h, p["U"]), 2)
        return (xp.sigmoid(s) * h + (1 - xp.sigmoid(s - 1)) * xp.tanh(n),)

    return (mapped(xp, p, xs),), step


def memory(xp: Any, z: Any, c: Any) -> Any:
    """The memory of an LSTM after a step, and its output gate, from the gates' z (N, 4H)."""
    i, f, g, o = xp.split(z, 4)
    return xp.sigmoid(f) * c + xp.sigmoid(i) * xp.tanh(g), xp.sigmoid(o)


def layer_norm_lstm(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x: Any) -> Any:
        h, c = state
        c, o = memory(xp, x + xp.layer_norm(xp.linear(h, p["U"]), p["norm_h"]), c)
        return o * xp.tanh(xp.layer_norm(c, p["norm_c"]) + p["b_c"]), c

    return (xp.layer_norm(mapped(xp, p, xs), p["norm_x"]) + p["b"],), step


def multiplicative_lstm(xp: Any, p: Weights, xs: Any) -> Loop:
    H = p["U_m"].shape[0]

    def step(state: Any, x_m: Any, x: Any) -> Any:
        h, c = state
        m = x_m * xp.linear(h, p["U_m"])
        c, o = memory(xp, x + xp.linear(m, p["U"], p["U.bias"]), c)
        return o * xp.tanh(c), c

    return xp.split(mapped(xp, p, xs), (H, 4 * H)), step


def on_lstm(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x: Any) -> Any:
        h, c = state
        z_i, z_f, z_g, z_o, z_F, z_I = xp.split(x + xp.linear(h, p["U"]), 6)
        F, I = xp.cumsum(xp.softmax(z_F)), 1 - xp.cumsum(xp.softmax(z_I))
        both = F * I
        c = (xp.sigmoid(z_f) * both + F - both) * c + (xp.sigmoid(z_i) * both + I - both) * xp.tanh(z_g)
        return xp.sigmoid(z_o) * xp.tanh(c), c

    return (mapped(xp, p, xs),), step


def slstm(xp: Any, p: Weights, xs: Any) -> Loop:
    def step(state: Any, x: Any) -> Any:
        h, c, n, m = state
        z_i, z_f, z_g, z_o = xp.split(x + xp.linear(h, p["R"]), 4)
        m_f = m - xp.softplus(-z_f)  # log σ(z_f) + m
        m = xp.maximum(m_f, z_i)
        i, f = xp.exp(z_i - m), xp.exp(m_f - m)
        c, n = f * c + i * xp.tanh(z_g), f * n + i
        return xp.sigmoid(z_o) * c / n, c, n, m

    return (mapped(xp, p, xs),), step


# ---- time --------------------------------------------------------------------------------------------------------


def phased_lstm(xp: Any, p: Weights, xs: Any) -> Loop:
    x, t = xp.split(xs, (p["W"].shape[1], 1))
    turns = (t - p["shift"]) / p["period"]
    phase, r = turns - xp.floor(turns), 0.05
    k = xp.where(phase < r / 2, 2 * phase / r, xp.where(phase < r, 2 - 2 * phase / r, 0.001 * phase))

    def step(state: Any, k: Any, x: Any) -> Any:
        h, c = state
        z_i, z_f, z_g, z_o = xp.split(x + xp.linear(h, p["U"]), 4)
        i, f = xp.sigmoid(z_i + p["p_i"] * c), xp.sigmoid(z_f + p["p_f"] * c)
        full = f * c + i * xp.tanh(z_g)
        o = xp.sigmoid(z_o + p["p_o"] * full)
        return k * (o * xp.tanh(full)) + (1 - k) * h, k * full + (1 - k) * c

    return (k, mapped(xp, p, x)), step


def gru_d(xp: Any, p: Weights, xs: Any) -> Loop:
    x, m, delta = xp.split(xs, 3)
    H = p["U_n"].shape[0]
    decay_x = xp.exp(-xp.relu(p["decay_x"] * delta + p["decay_b"]))
    decay_h = xp.exp(-xp.relu(xp.linear(delta, p["decay_h"], p["decay_h.bias"])))

    def step(state: Any, x: Any, m: Any, decay_x: Any, decay_h: Any, from_m: Any) -> Any:
        h, last = state
        filled = m * x + (1 - m) * (decay_x * last + (1 - decay_x) * p["mean"])
        h = decay_h * h
        z_rz, z_n = xp.split(from_m + mapped(xp, p, filled), (2 * H, H))
        r, z = xp.split(xp.sigmoid(z_rz + xp.linear(h, p["U_rz"])), 2)
        n = xp.tanh(z_n + xp.linear(r * h, p["U_n"]))
        return (1 - z) * h + z * n, m * x + (1 - m) * last

    return (x, m, decay_x, decay_h, xp.linear(m, p["V"], p["V.bias"])), step


def clockwork(xp: Any, p: Weights, xs: Any) -> Loop:
    U = p["U"] * p["blocks"]

    def step(state: Any, x: Any) -> Any:
        h, t = state
        return xp.where(t % p["periods"] == 0, xp.tanh(x + xp.linear(h, U)), h), t + 1

    return (mapped(xp, p, xs),), step


# ---- dynamics ----------------------------------------------------------------------------------------------------


def antisymmetric(xp: Any, p: Weights, xs: Any) -> Loop:
    A = p["M"] - p["M"].T - 0.01 * p["eye"]

    def step(state: Any, x: Any) -> Any:
        (h,) = state
        return (h + 0.1 * xp.tanh(x + xp.linear(h, A)),)

    return (mapped(xp, p, xs),), step


def orthogonal(xp: Any, p: Weights, xs: Any) -> Loop:
    A = p["M"] - p["M"].T
    Q = xp.solve(p["eye"] + A, p["eye"] - A) * p["D"]

    def step(state: Any, x: Any) -> Any:
        z = x + xp.linear(state[0], Q)
        return (xp.sign(z) * xp.relu(xp.abs(z) + p["b"]),)

    return (mapped(xp, p, xs),), step


def lmu(xp: Any, p: Weights, xs: Any) -> Loop:
    H = p["W_m"].shape[0]
    B = p["B"][:, 0]

    def step(state: Any, x: Any) -> Any:
        h, m = state
        u, z = xp.split(x + xp.linear(h, p["U"]), (1, H))
        m = xp.linear(m, p["A"]) + (u + xp.linear(m, p["e_m"])) * B
        return xp.tanh(z + xp.linear(m, p["W_m"])), m

    return (mapped(xp, p, xs),), step


def lru(xp: Any, p: Weights, xs: Any) -> Loop:
    radius, angle, scale = xp.exp(-xp.exp(p["nu"])), xp.exp(p["theta"]), xp.exp(p["gamma"])
    re, im = radius * xp.cos(angle), radius * xp.sin(angle)
    C_re, C_im = xp.split(p["C"], 2)
    x_a, x_b = xp.split(xp.linear(xs, p["B"]), 2)

    def step(state: Any, x_a: Any, x_b: Any, x_y: Any) -> Any:
        _, a, b = state
        a, b = re * a - im * b + x_a, im * a + re * b + x_b
        return xp.linear(a, C_re) - xp.linear(b, C_im) + x_y, a, b

    return (scale * x_a, scale * x_b, xp.linear(xs, p["D"])), step


LOOPS: dict[str, Callable[[Any, Weights, Any], Loop]] = {
    "MGUCell": mgu, "UGRNNCell": ugrnn, "NBRCCell": nbrc, "RHNCell": rhn,
    "IndRNNCell": ind_rnn, "SRUCell": sru, "QRNNCell": qrnn, "MinGRUCell": min_gru, "MinLSTMCell": min_lstm,
    "JANETCell": janet, "LayerNormLSTMCell": layer_norm_lstm, "MultiplicativeLSTMCell": multiplicative_lstm,
    "ONLSTMCell": on_lstm, "SLSTMCell": slstm,
    "PhasedLSTMCell": phased_lstm, "GRUDCell": gru_d, "ClockworkRNNCell": clockwork,
    "AntisymmetricRNNCell": antisymmetric, "OrthogonalRNNCell": orthogonal, "LMUCell": lmu, "LRUCell": lru,
}  # fmt: skip
