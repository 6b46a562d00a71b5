"""The gated recurrent unit (Cho et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg

from .cell import Cell, State, each_row, recurrent_parameters


@mg.fuse
def gru(x: Any, w: Any, h: Any, b: Any = None) -> Any:
    """The element-wise part of a step: x = W_ih x_t + b_ih and w = W_hh h, both (N, 3H), h (N, H), b = b_hh (3H,)."""
    w = w if b is None else w + b
    x_r, x_z, x_n = np.split(x, 3, axis=-1)
    w_r, w_z, w_n = np.split(w, 3, axis=-1)
    r = mg.name(mg.sigmoid(x_r + w_r), "r")
    z = mg.name(mg.sigmoid(x_z + w_z), "z")
    n = mg.name(np.tanh(x_n + r * w_n), "n")
    h = mg.name(n + z * (h - n), "h")
    return h, r, z, n


@mg.fuse
def reset_and_update(x: Any, w: Any, h: Any) -> Any:
    """The gates r and z from x (N, 3H) and w (N, 2H), and r · h."""
    x_r, x_z, _ = np.split(x, 3, axis=-1)
    w_r, w_z = np.split(w, 2, axis=-1)
    r = mg.name(mg.sigmoid(x_r + w_r), "r")
    z = mg.name(mg.sigmoid(x_z + w_z), "z")
    return r, z, r * h


@mg.fuse
def candidate_and_mix(x: Any, w: Any, z: Any, h: Any) -> Any:
    """The candidate n from x (N, 3H) and w (N, H), and the next state."""
    n = mg.name(np.tanh(np.split(x, 3, axis=-1)[2] + w), "n")
    return mg.name(n + z * (h - n), "h"), n


class GRUCell(Cell):
    """One state, h.

        r = σ(W_ir x + b_ir + W_hr h + b_hr)            reset gate
        z = σ(W_iz x + b_iz + W_hz h + b_hz)            update gate
        n = tanh(W_in x + b_in + r·(W_hn h + b_hn))     candidate
        h' = (1 − z)·n + z·h

    reset_after=False resets the state before the product, n = tanh(W_in x + b_in + W_hn (r·h) + b_hn), as in the
    paper; True is the variant of PyTorch and cuDNN. (Many texts call 1 − z the update gate.)

    weight_ih (3H, D), weight_hh (3H, H), bias_ih and bias_hh (3H,): PyTorch's names, shapes and order of gates.
    `return_states=True` shows the tensors h, r, z, n.
    """

    rolled = True
    gates = ("r", "z", "n")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, reset_after: bool = True,
        recurrent_dropout: float = 0.0, zoneout: float | Sequence[float] = 0.0, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size,), recurrent_dropout, zoneout)
        self.reset_after = reset_after
        self.weight_ih: Any
        self.weight_hh: Any
        self.bias_ih: Any
        self.bias_hh: Any
        recurrent_parameters(self, 3, hidden_size, hidden_size, bias, device, dtype)

    @each_row
    def inputs(self, xs: Any) -> Any:
        """W_ih x + b_ih, (..., D) to (..., 3H); without the inner reset, b_hh as well."""
        bias = self.bias_ih
        if bias is not None and not self.reset_after:
            bias = bias + self.bias_hh
        return mg.linear(xs, self.weight_ih, bias)

    def update(self, x: mg.Tensor, state: State, recurrent: mg.Tensor) -> State:
        """x (N, 3H), h (N, H) to (h', r, z, n)."""
        (h,) = state
        if self.reset_after:
            return gru(x, mg.linear(recurrent, self.weight_hh), h, self.bias_hh)  # type: ignore[no-any-return]
        weight_rz, weight_n = np.split(self.weight_hh, [2 * self.hidden_size])
        r, z, kept = reset_and_update(x, mg.linear(recurrent, weight_rz), recurrent)
        h, n = candidate_and_mix(x, mg.linear(kept, weight_n), z, h)
        return h, r, z, n
