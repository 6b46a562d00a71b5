"""The long short-term memory and its variants.

Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000; peepholes: Gers & Schmidhuber 2000;
coupled gates: Greff et al. 2017 (CIFG); projection: Sak, Senior & Beaufays 2014; normalisation: Ba, Kiros & Hinton
2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg

from ..layers.normalization import LayerNorm
from .cell import Cell, State, each_row, recurrent_parameters, uniform


@mg.fuse
def lstm(x: Any, r: Any, c: Any) -> Any:
    """The element-wise part of a step: x = W_ih x_t + b and r = W_hh h, both (N, 4H), and c (N, H)."""
    z_i, z_f, z_g, z_o = np.split(x + r, 4, axis=-1)
    i, f = mg.name(mg.sigmoid(z_i), "i"), mg.name(mg.sigmoid(z_f), "f")
    g, o = mg.name(np.tanh(z_g), "g"), mg.name(mg.sigmoid(z_o), "o")  # type: ignore[arg-type]
    c = mg.name(f * c + i * g, "c")
    h = mg.name(o * np.tanh(c), "h")
    return h, c, i, f, g, o


@mg.fuse
def lstm_variant(x: Any, r: Any, c: Any, coupled: bool, p_i: Any, p_f: Any, p_o: Any, unsquashed: bool) -> Any:
    """The same with i = 1 − f if `coupled`, and with those peepholes p that are not None. If `unsquashed`, h is
    computed later, and c is in its place."""
    z: Any = x + r
    if coupled:
        z_f, z_g, z_o = np.split(z, 3, axis=-1)
    else:
        z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)
    f = mg.name(mg.sigmoid(z_f if p_f is None else z_f + p_f * c), "f")
    i = mg.name(1 - f if coupled else mg.sigmoid(z_i if p_i is None else z_i + p_i * c), "i")
    g: Any = np.tanh(z_g)
    g = mg.name(g, "g")
    c = mg.name(f * c + i * g, "c")
    o = mg.name(mg.sigmoid(z_o if p_o is None else z_o + p_o * c), "o")
    h = c if unsquashed else mg.name(o * np.tanh(c), "h")
    return h, c, i, f, g, o


@mg.fuse
def gated_tanh(o: Any, c: Any) -> Any:
    """o · tanh(c)."""
    return mg.name(o * np.tanh(c), "h")


class LSTMCell(Cell):
    """The state is a pair: the output h and the memory c.

        i = σ(W_ii x + b_ii + W_hi h + b_hi)        input gate
        f = σ(W_if x + b_if + W_hf h + b_hf)        forget gate
        g = tanh(W_ig x + b_ig + W_hg h + b_hg)     candidate
        o = σ(W_io x + b_io + W_ho h + b_ho)        output gate
        c' = f·c + i·g
        h' = o·tanh(c')

    coupled     i = 1 − f: forgotten values are replaced; the weights hold f, g, o
    peephole    i and f also see weight_ci·c and weight_cf·c, o sees weight_co·c'
    proj_size   h' = W_hr (o·tanh(c')), of this smaller size; 0 for none
    layer_norm  W_ih x, W_hh h and the c inside tanh are normalised, the first two over all gates at once

    weight_ih (4H, D), weight_hh (4H, H or proj_size), bias_ih, bias_hh (4H,), weight_hr (proj_size, H): PyTorch's
    names, shapes and order of gates. `return_states=True` shows the tensors h, c, i, f, g, o.
    """

    rolled = True
    states = ("h", "c")
    gates = ("i", "f", "g", "o")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, peephole: bool = False, coupled: bool = False,
        proj_size: int = 0, layer_norm: bool = False, recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        if proj_size < 0 or proj_size >= hidden_size > 0:
            raise ValueError(f"LSTMCell: proj_size must be below hidden_size {hidden_size}, got {proj_size}")
        super().__init__(input_size, (proj_size or hidden_size, hidden_size), recurrent_dropout, zoneout)
        H = hidden_size
        self.peephole, self.coupled, self.proj_size = peephole, coupled, proj_size
        self.weight_ih: Any
        self.weight_hh: Any
        self.bias_ih: Any
        self.bias_hh: Any
        gates = 3 if coupled else 4
        recurrent_parameters(self, gates, H, proj_size or H, bias, device, dtype)
        self.weight_hr = uniform((proj_size, H), H, device, dtype) if proj_size else None
        self.weight_ci = uniform((H,), H, device, dtype) if peephole and not coupled else None
        self.weight_cf = uniform((H,), H, device, dtype) if peephole else None
        self.weight_co = uniform((H,), H, device, dtype) if peephole else None
        made = {"device": device, "dtype": dtype}
        self.norm_ih = LayerNorm(gates * H, bias=False, **made) if layer_norm else None
        self.norm_hh = LayerNorm(gates * H, bias=False, **made) if layer_norm else None
        self.norm_c = LayerNorm(H, **made) if layer_norm else None
        self._plain = not (peephole or coupled or layer_norm)

    @property
    def hidden_size(self) -> int:
        """The width of c, and of h without a projection."""
        return self.sizes[1]

    @each_row
    def inputs(self, xs: Any) -> Any:
        """W_ih x + b_ih + b_hh, (..., D) to (..., 4H)."""
        bias = None if self.bias_ih is None else self.bias_ih + self.bias_hh
        if self.norm_ih is None:
            return mg.linear(xs, self.weight_ih, bias)
        normalised = self.norm_ih(mg.linear(xs, self.weight_ih))
        return normalised if bias is None else normalised + bias

    def update(self, x: mg.Tensor, state: State, recurrent: mg.Tensor) -> State:
        """x (N, 4H), state (h, c) to (h', c', i, f, g, o)."""
        r = mg.linear(recurrent, self.weight_hh)  # (N, 4H)
        c = state[1]
        if self._plain:
            h, c, *gates = lstm(x, r, c)
        else:
            if self.norm_hh is not None:
                r = self.norm_hh(r)
            h, c, *gates = lstm_variant(
                x, r, c, self.coupled, self.weight_ci, self.weight_cf, self.weight_co, self.norm_c is not None
            )
            if self.norm_c is not None:
                h = gated_tanh(gates[3], self.norm_c(c))
        if self.weight_hr is not None:
            h = mg.linear(h, self.weight_hr)
        return (h, c, *gates)
