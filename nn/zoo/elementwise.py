"""Cells with element-wise recurrence: all their products are outside the loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minigrad as mg

from .. import init
from ..cells.cell import Cell, State, each_row, uniform
from ..layers.linear import Linear
from ..modules import Parameter
from .mapped import Mapped


class IndRNNCell(Mapped):
    """The independently recurrent network: each unit sees only itself (Li, Li, Cook, Zhu & Gao 2018).

        h' = relu(W x + u·h + b)

    u (H,) starts as U(0, 1). The paper keeps |u| ≤ 2^(1/T) for sequences of T steps.
    """

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size,))
        self.W = Linear(input_size, hidden_size, device=device, dtype=dtype)
        self.u = Parameter(init.uniform_(mg.zeros(hidden_size, device=device, dtype=dtype)))

    def step(self, x: Any, state: State) -> State:
        """x (N, H), h (N, H) to h'."""
        (h,) = state
        return (mg.relu(x + self.u * h),)


class SRUCell(Cell):
    """The simple recurrent unit (Lei, Zhang, Wang, Dai & Artzi 2018).

        f = σ(W_f x + v_f·c + b_f)                forget gate
        c' = f·c + (1 − f)·(W_c x)
        r = σ(W_r x + v_r·c + b_r)                reset gate
        h' = r·c' + (1 − r)·α x                   α = √3

    If D ≠ H, x in the last line is W_x x. W holds W_c, W_f, W_r and W_x, if any; b holds b_f, b_r.
    """

    states = ("h", "c")
    gates = ("f", "r")

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size, hidden_size))
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, (3 if input_size == H else 4) * H, bias=False, **made)
        self.v_f, self.v_r = uniform((H,), H, **made), uniform((H,), H, **made)
        self.b_f, self.b_r = (Parameter(mg.zeros(H, **made)) for _ in range(2))

    @each_row
    def inputs(self, xs: Any) -> Any:
        """W_c x, W_f x, W_r x and x or W_x x, (..., D) to (..., 4H)."""
        mapped = self.W(xs)
        return np.concatenate([mapped, xs], axis=-1) if self.input_size == self.hidden_size else mapped

    def step(self, x: Any, state: State) -> State:
        """x (N, 4H), state (h, c) to (h', c', f, r)."""
        _, c = state
        x_c, x_f, x_r, x_h = np.split(x, 4, axis=-1)
        f = mg.sigmoid(x_f + self.v_f * c + self.b_f)
        r = mg.sigmoid(x_r + self.v_r * c + self.b_r)
        c = f * c + (1 - f) * x_c
        h = r * c + (1 - r) * (math.sqrt(3) * x_h)
        return h, c, f, r


class QRNNCell(Mapped):
    """The quasi-recurrent network: gates from a convolution over the last inputs, and fo-pooling (Bradbury, Merity,
    Xiong & Socher 2017).

        z = tanh(Σ_j W_zj x_{t−j} + b_z)          j = 0 … width − 1
        f = σ(Σ_j W_fj x_{t−j} + b_f)
        o = σ(Σ_j W_oj x_{t−j} + b_o)
        c' = f·c + (1 − f)·z
        h' = o·c'

    W holds W_z0, W_f0, W_o0, W_z1 and so on. The state also holds, for each later step that an input reaches, the sum
    of contributions so far (N, 3H), so that a sequence may come in pieces.
    """

    gates = ("z", "f", "o")

    def __init__(
        self, input_size: int, hidden_size: int, width: int = 2, *, device: str = "cpu", dtype: Any = None
    ) -> None:
        if width < 1:
            raise ValueError(f"QRNNCell: width must be at least 1, got {width}")
        super().__init__(input_size, (hidden_size, hidden_size, *[3 * hidden_size] * (width - 1)))
        self.width = width
        self.states = ("h", "c", *[f"ahead{j}" for j in range(1, width)])
        self.W = Linear(input_size, 3 * hidden_size * width, bias=False, device=device, dtype=dtype)
        self.b = Parameter(mg.zeros(3 * hidden_size, device=device, dtype=dtype))

    def step(self, x: Any, state: State) -> State:
        """x (N, width · 3H), state (h, c, ahead1, …) to the next one and z, f, o."""
        _, c, *ahead = state
        reached = [here + before for here, before in zip(np.split(x, self.width, axis=-1), [*ahead, 0], strict=True)]
        now, *ahead = reached
        z, f, o = np.split(now + self.b, 3, axis=-1)
        z, f, o = np.tanh(z), mg.sigmoid(f), mg.sigmoid(o)
        c = f * c + (1 - f) * z
        h = o * c
        return h, c, *ahead, z, f, o


class MinGRUCell(Mapped):
    """A GRU whose gate does not see the state (Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024).

        z = σ(W_z x + b_z)
        n = W_n x + b_n
        h' = (1 − z)·h + z·n

    W holds W_z, W_n and the biases.
    """

    gates = ("z",)

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size,))
        self.W = Linear(input_size, 2 * hidden_size, device=device, dtype=dtype)

    def step(self, x: Any, state: State) -> State:
        """x (N, 2H), h (N, H) to (h', z)."""
        (h,) = state
        x_z, n = np.split(x, 2, axis=-1)
        z = mg.sigmoid(x_z)
        h = (1 - z) * h + z * n
        return h, z


class MinLSTMCell(Mapped):
    """An LSTM whose gates do not see the state, and add up to 1 (Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024).

        f = σ(W_f x + b_f)
        i = σ(W_i x + b_i)
        n = W_n x + b_n
        h' = f/(f + i)·h + i/(f + i)·n

    W holds W_f, W_i, W_n and the biases. The quotient is computed as σ(log f − log i), which never divides 0 by 0.
    """

    gates = ("f",)

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size,))
        self.W = Linear(input_size, 3 * hidden_size, device=device, dtype=dtype)

    def step(self, x: Any, state: State) -> State:
        """x (N, 3H), h (N, H) to h' and the share f/(f + i)."""
        (h,) = state
        x_f, x_i, n = np.split(x, 3, axis=-1)
        f = mg.sigmoid(mg.softplus(-x_i) - mg.softplus(-x_f))
        h = f * h + (1 - f) * n
        return h, f
