"""Cells with one state and gates, related to the GRU."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg

from ..cells.cell import State
from ..containers import ModuleList
from ..layers.linear import Linear
from .mapped import Mapped


class MGUCell(Mapped):
    """The minimal gated unit: one gate forgets and resets (Zhou, Wu, Zhang & Zhou 2016).

        f = σ(W_f x + U_f h + b_f)
        n = tanh(W_n x + U_n (f·h) + b_n)
        h' = (1 − f)·h + f·n

    W holds W_f, W_n and the biases.
    """

    gates = ("f", "n")

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size,))
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, 2 * H, **made)
        self.U_f = Linear(H, H, bias=False, **made)
        self.U_n = Linear(H, H, bias=False, **made)

    def step(self, x: Any, state: State) -> State:
        """x (N, 2H), h (N, H) to (h', f, n)."""
        (h,) = state
        x_f, x_n = np.split(x, 2, axis=-1)
        f = mg.sigmoid(x_f + self.U_f(h))
        n = np.tanh(x_n + self.U_n(f * h))
        h = (1 - f) * h + f * n
        return h, f, n


class UGRNNCell(Mapped):
    """The update gate RNN: between a vanilla network and a GRU (Collins, Sohl-Dickstein & Sussillo 2017).

        g = σ(W_g x + U_g h + b_g)
        c = tanh(W_c x + U_c h + b_c)
        h' = g·h + (1 − g)·c

    W holds W_g, W_c and the biases, U holds U_g, U_c.
    """

    gates = ("g", "c")

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size,))
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, 2 * hidden_size, **made)
        self.U = Linear(hidden_size, 2 * hidden_size, bias=False, **made)

    def step(self, x: Any, state: State) -> State:
        """x (N, 2H), h (N, H) to (h', g, c)."""
        (h,) = state
        z_g, z_c = np.split(x + self.U(h), 2, axis=-1)
        g = mg.sigmoid(z_g)
        c = np.tanh(z_c)
        h = g * h + (1 - g) * c
        return h, g, c


class NBRCCell(Mapped):
    """The neuromodulated bistable recurrent cell: a feedback a > 1 makes a unit bistable (Vecoven, Ernst & Drion 2021).

        a = 1 + tanh(W_a x + U_a h + b_a)
        c = σ(W_c x + U_c h + b_c)
        h' = c·h + (1 − c)·tanh(W_h x + a·h + b_h)

    W holds W_a, W_c, W_h and the biases, U holds U_a, U_c.
    """

    gates = ("a", "c")

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size,))
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, 3 * hidden_size, **made)
        self.U = Linear(hidden_size, 2 * hidden_size, bias=False, **made)

    def step(self, x: Any, state: State) -> State:
        """x (N, 3H), h (N, H) to (h', a, c)."""
        (h,) = state
        x_a, x_c, x_h = np.split(x, 3, axis=-1)
        u_a, u_c = np.split(self.U(h), 2, axis=-1)
        a = 1 + np.tanh(x_a + u_a)
        c = mg.sigmoid(x_c + u_c)
        h = c * h + (1 - c) * np.tanh(x_h + a * h)
        return h, a, c


class RHNCell(Mapped):
    """The recurrent highway network: several gated layers inside one step (Zilly, Srivastava, Koutník & Schmidhuber
    2017), with the carry gate 1 − t.

        s_0 = h
        n_l = tanh([l = 1] W_n x + R_nl s_{l−1} + b_nl)        for l = 1 … depth
        t_l = σ([l = 1] W_t x + R_tl s_{l−1} + b_tl)
        s_l = t_l·n_l + (1 − t_l)·s_{l−1}
        h' = s_depth

    W holds W_n, W_t; each R holds R_nl, R_tl and the biases. b_t starts at `gate_bias`, −2 as in the paper: each layer
    then changes little. `return_states=True` shows h and the last layer's n and t.
    """

    gates = ("n", "t")

    def __init__(
        self, input_size: int, hidden_size: int, depth: int = 2, *, gate_bias: float = -2.0, device: str = "cpu",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size,))
        if depth < 1:
            raise ValueError(f"RHNCell: depth must be at least 1, got {depth}")
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, 2 * H, bias=False, **made)
        self.R = ModuleList([Linear(H, 2 * H, **made) for _ in range(depth)])
        for layer in self.R:
            layer.bias.data[H:] = gate_bias

    def step(self, x: Any, state: State) -> State:
        """x (N, 2H), h (N, H) to (h', n, t)."""
        (s,) = state
        n = t = s
        for R in self.R:
            z_n, z_t = np.split(x + R(s), 2, axis=-1)
            n, t = np.tanh(z_n), mg.sigmoid(z_t)
            s = t * n + (1 - t) * s
            x = 0  # the input enters the first layer
        return s, n, t
