"""Variants of the LSTM: a memory written and read through gates."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg

from .. import init
from ..cells.cell import Cell, State, each_row
from ..layers.linear import Linear
from ..layers.normalization import LayerNorm
from ..modules import Parameter
from .mapped import Mapped


class JANETCell(Mapped):
    """Just another network: an LSTM with its forget gate alone (van der Westhuizen & Lasenby 2018).

        s = W_f x + U_f h + b_f
        n = tanh(W_n x + U_n h + b_n)
        h' = σ(s)·h + (1 − σ(s − β))·n

    beta       β: slightly less is written than is forgotten
    max_steps  the longest time to remember: b_f starts as log U(1, max_steps − 1), the chrono initialisation of Tallec
               & Ollivier 2018; None for 0

    W holds W_f, W_n and the biases, U holds U_f, U_n. The gates shown are f = σ(s) and n.
    """

    gates = ("f", "n")

    def __init__(
        self, input_size: int, hidden_size: int, *, beta: float = 1.0, max_steps: int | None = None,
        device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size,))
        if max_steps is not None and max_steps < 3:
            raise ValueError(f"JANETCell: max_steps must be at least 3, got {max_steps}")
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.beta = beta
        self.W = Linear(input_size, 2 * H, **made)
        self.U = Linear(H, 2 * H, bias=False, **made)
        bias = init.zeros_(self.W.bias)  # type: ignore[arg-type]
        if max_steps is not None:
            bias.data[:H] = np.log(1 + (max_steps - 2) * mg.rand(H, **made).data)

    def step(self, x: Any, state: State) -> State:
        """x (N, 2H), h (N, H) to (h', f, n)."""
        (h,) = state
        s, z_n = np.split(x + self.U(h), 2, axis=-1)
        f = mg.sigmoid(s)
        n = np.tanh(z_n)
        h = f * h + (1 - mg.sigmoid(s - self.beta)) * n
        return h, f, n


class LayerNormLSTMCell(Cell):
    """An LSTM with layer normalisation (Ba, Kiros & Hinton 2016).

        z_i, z_f, z_g, z_o = LN(W x) + LN(U h) + b       each LN over all four at once
        c' = σ(z_f)·c + σ(z_i)·tanh(z_g)
        h' = σ(z_o)·tanh(LN(c') + b_c)

    LN(z) = α (z − μ)/√(σ² + 1e-5), with an α for each. Equal to `nn.LSTMCell(layer_norm=True)`, written out.
    """

    states = ("h", "c")
    gates = ("i", "f", "g", "o")

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size, hidden_size))
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, 4 * H, bias=False, **made)
        self.U = Linear(H, 4 * H, bias=False, **made)
        self.norm_x, self.norm_h, self.norm_c = (LayerNorm(n, bias=False, **made) for n in (4 * H, 4 * H, H))
        self.b, self.b_c = Parameter(mg.zeros(4 * H, **made)), Parameter(mg.zeros(H, **made))

    @each_row
    def inputs(self, xs: Any) -> Any:
        """LN(W x) + b, (..., D) to (..., 4H)."""
        return self.norm_x(self.W(xs)) + self.b

    def step(self, x: Any, state: State) -> State:
        """x (N, 4H), state (h, c) to (h', c', i, f, g, o)."""
        h, c = state
        z_i, z_f, z_g, z_o = np.split(x + self.norm_h(self.U(h)), 4, axis=-1)
        i, f, g, o = mg.sigmoid(z_i), mg.sigmoid(z_f), np.tanh(z_g), mg.sigmoid(z_o)
        c = f * c + i * g
        h = o * np.tanh(self.norm_c(c) + self.b_c)
        return h, c, i, f, g, o


class MultiplicativeLSTMCell(Mapped):
    """The multiplicative LSTM: each input has a recurrent matrix of its own (Krause, Lu, Murray & Renals 2016).

        m = (W_m x)·(U_m h)
        z_i, z_f, z_g, z_o = W x + U m + b
        c' = σ(z_f)·c + σ(z_i)·tanh(z_g)
        h' = σ(z_o)·tanh(c')

    W holds W_m and the four maps of the gates.
    """

    states = ("h", "c")
    gates = ("i", "f", "g", "o")

    def __init__(self, input_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__(input_size, (hidden_size, hidden_size))
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, 5 * H, bias=False, **made)
        self.U_m = Linear(H, H, bias=False, **made)
        self.U = Linear(H, 4 * H, **made)

    def step(self, x: Any, state: State) -> State:
        """x (N, 5H), state (h, c) to (h', c', i, f, g, o)."""
        h, c = state
        x_m, x_gates = np.split(x, [self.hidden_size], axis=-1)
        m = x_m * self.U_m(h)
        z_i, z_f, z_g, z_o = np.split(x_gates + self.U(m), 4, axis=-1)
        i, f, g, o = mg.sigmoid(z_i), mg.sigmoid(z_f), np.tanh(z_g), mg.sigmoid(z_o)
        c = f * c + i * g
        h = o * np.tanh(c)
        return h, c, i, f, g, o


class ONLSTMCell(Mapped):
    """The ordered-neurons LSTM: two master gates split the memory where a constituent begins or ends (Shen, Tan,
    Sordoni & Courville 2019).

        z_i, z_f, z_g, z_o, z_F, z_I = W x + U h + b
        F = cumax(z_F)                                   cumax(z) = cumsum(softmax(z))
        I = 1 − cumax(z_I)
        c' = (σ(z_f)·F·I + F − F·I)·c + (σ(z_i)·F·I + I − F·I)·tanh(z_g)
        h' = σ(z_o)·tanh(c')

    chunk  the number of memory units that share an element of F and I, which are (H/chunk,)
    """

    states = ("h", "c")
    gates = ("i", "f", "g", "o", "F", "I")
    repeats: Any

    def __init__(
        self, input_size: int, hidden_size: int, chunk: int = 1, *, device: str = "cpu", dtype: Any = None
    ) -> None:
        super().__init__(input_size, (hidden_size, hidden_size))
        if chunk < 1 or hidden_size % chunk:
            raise ValueError(f"ONLSTMCell: chunk must divide hidden_size {hidden_size}, got {chunk}")
        self.chunk = chunk
        size = 4 * hidden_size + 2 * hidden_size // chunk
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, size, **made)
        self.U = Linear(hidden_size, size, bias=False, **made)
        repeats = np.repeat(np.eye(hidden_size // chunk), chunk, axis=1)  # (H/chunk, H)
        self.register_buffer("repeats", mg.tensor(repeats, device=device, dtype=self.W.weight.dtype), persistent=False)

    def step(self, x: Any, state: State) -> State:
        """x (N, 4H + 2H/chunk), state (h, c) to (h', c', i, f, g, o, F, I)."""
        h, c = state
        H = self.hidden_size
        z_i, z_f, z_g, z_o, masters = np.split(x + self.U(h), [H, 2 * H, 3 * H, 4 * H], axis=-1)
        z_F, z_I = np.split(masters, 2, axis=-1)
        F, I = self._cumax(z_F), 1 - self._cumax(z_I)
        i, f, g, o = mg.sigmoid(z_i), mg.sigmoid(z_f), np.tanh(z_g), mg.sigmoid(z_o)
        both = F * I
        c = (f * both + F - both) * c + (i * both + I - both) * g
        h = o * np.tanh(c)
        return h, c, i, f, g, o, F, I

    def _cumax(self, z: Any) -> Any:
        """The cumulative softmax, with each element repeated `chunk` times, (N, H/chunk) to (N, H)."""
        sums = np.cumsum(mg.softmax(z, axis=-1), axis=-1)
        return sums if self.chunk == 1 else sums @ self.repeats


class SLSTMCell(Mapped):
    """The sLSTM of xLSTM: exponential input gate, a normaliser n, and a stabiliser m (Beck et al. 2024).

        z_i, z_f, z_g, z_o = W x + R h + b
        m' = max(log σ(z_f) + m, z_i)
        i = exp(z_i − m')
        f = exp(log σ(z_f) + m − m')
        c' = f·c + i·tanh(z_g)
        n' = f·n + i
        h' = σ(z_o)·c'/n'

    heads  the number of blocks on the diagonal of R: units of other heads are not seen

    m only scales c and n: h equals the value with exp(z_i) and σ(z_f) in place of i and f, without overflow. m starts
    at −10¹⁵ (or half the lowest number of a smaller dtype), so that the first step sets its scale.
    """

    states = ("h", "c", "n", "m")
    gates = ("i", "f", "g", "o")
    blocks: Any

    def __init__(
        self, input_size: int, hidden_size: int, heads: int = 1, *, device: str = "cpu", dtype: Any = None
    ) -> None:
        super().__init__(input_size, (hidden_size,) * 4)
        if heads < 1 or hidden_size % heads:
            raise ValueError(f"SLSTMCell: heads must divide hidden_size {hidden_size}, got {heads}")
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, 4 * H, **made)
        self.R = Linear(H, 4 * H, bias=False, **made).weight
        blocks = np.tile(np.kron(np.eye(heads), np.ones((H // heads, H // heads))), (4, 1))
        self.register_buffer("blocks", mg.tensor(blocks, device=device, dtype=self.W.weight.dtype), persistent=False)

    def initial_state(self, batch: int) -> State:
        """Zeros, and −10¹⁵ for m, (N, H) each: less than any z_i, so that n' is at least 1."""
        h, c, n, m = super().initial_state(batch)
        return h, c, n, m + max(-1e15, float(np.finfo(m.dtype).min) / 2)

    def step(self, x: Any, state: State) -> State:
        """x (N, 4H), state (h, c, n, m) to the next one and i, f, g, o."""
        h, c, n, m = state
        z_i, z_f, z_g, z_o = np.split(x + mg.linear(h, self.R * self.blocks), 4, axis=-1)
        m_f = m - mg.softplus(-z_f)  # log σ(z_f) + m
        m = np.maximum(m_f, z_i)
        i, f, g, o = np.exp(z_i - m), np.exp(m_f - m), np.tanh(z_g), mg.sigmoid(z_o)
        c = f * c + i * g
        n = f * n + i
        h = o * c / n
        return h, c, n, m, i, f, g, o
