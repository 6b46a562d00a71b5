"""Cells with a sense of time: their units have periods, or their inputs come at irregular times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg

from .. import init
from ..cells.cell import Cell, each_row, uniform
from ..layers.linear import Linear
from ..modules import Parameter
from .mapped import Mapped


class PhasedLSTMCell(Cell):
    """An LSTM whose units open for a part of their period, by the time of the input (Neil, Pfeiffer & Liu 2016).

        φ = ((t − s) mod τ) / τ                                 phase
        k = 2φ/r if φ < r/2;  2 − 2φ/r if φ < r;  else α φ      openness
        i = σ(W_i x + U_i h + p_i·c + b_i)
        f = σ(W_f x + U_f h + p_f·c + b_f)
        ĉ = f·c + i·tanh(W_g x + U_g h + b_g)
        o = σ(W_o x + U_o h + p_o·ĉ + b_o)
        c' = k·ĉ + (1 − k)·c
        h' = k·(o·tanh(ĉ)) + (1 − k)·h

    The last of the D inputs is the time t, in any unit; W does not see it.

    periods  τ starts log-uniformly between these, in the unit of t, and s as U(0, τ); both are trained
    ratio    r, the part of a period in which a unit is open
    leak     α in training; in evaluation it is 0
    """

    states = ("h", "c")
    gates = ("k", "i", "f", "o")
    ones: Any

    def __init__(
        self, input_size: int, hidden_size: int, *, periods: tuple[float, float] = (1.0, 20.0), ratio: float = 0.05,
        leak: float = 0.001, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size, hidden_size))
        low, high = periods
        if input_size < 2:
            raise ValueError("PhasedLSTMCell: the input is one feature or more and the time, so at least 2 columns")
        if not 0 < low <= high or not 0 < ratio <= 1:
            raise ValueError(
                f"PhasedLSTMCell: needs 0 < low ≤ high periods and a ratio in (0, 1], got {periods}, {ratio}"
            )
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.ratio, self.leak = ratio, leak
        self.W = Linear(input_size - 1, 4 * H, **made)
        self.U = Linear(H, 4 * H, bias=False, **made)
        self.p_i, self.p_f, self.p_o = (uniform((H,), H, **made) for _ in range(3))
        drawn = init.uniform_(mg.zeros(H, **made), np.log(low), np.log(high))
        self.period = Parameter(np.exp(drawn))
        self.shift = Parameter(init.uniform_(mg.zeros(H, **made)) * self.period.detach())
        self.register_buffer("ones", mg.ones((1, H), **made), persistent=False)

    @each_row
    def inputs(self, xs: Any) -> Any:
        """The openness k and W x + b, (..., D) to (..., 5H)."""
        x, t = np.split(xs, [self.input_size - 1], axis=-1)
        turns = (t @ self.ones - self.shift) / self.period
        phase = turns - np.floor(turns)
        ramp = 2 * phase / self.ratio
        leak = self.leak * phase if self.training else 0 * phase
        k = np.where(phase < self.ratio / 2, ramp, np.where(phase < self.ratio, 2 - ramp, leak))
        return np.concatenate([k, self.W(x)], axis=-1)

    def step(self, x: Any, state: Any) -> Any:
        """x (N, 5H), state (h, c) to (h', c', k, i, f, o)."""
        h, c = state
        k, from_x = np.split(x, [self.hidden_size], axis=-1)
        z_i, z_f, z_g, z_o = np.split(from_x + self.U(h), 4, axis=-1)
        i, f = mg.sigmoid(z_i + self.p_i * c), mg.sigmoid(z_f + self.p_f * c)
        proposed = f * c + i * np.tanh(z_g)
        o = mg.sigmoid(z_o + self.p_o * proposed)
        c = k * proposed + (1 - k) * c
        h = k * (o * np.tanh(proposed)) + (1 - k) * h
        return h, c, k, i, f, o


class GRUDCell(Cell):
    """A GRU for missing values, at irregular times (Che, Purushotham, Cho, Sontag & Liu 2018).

        γ_x = exp(−relu(w_γ·δ + b_γ))                           δ: time since a feature was seen
        γ_h = exp(−relu(W_γ δ + a_γ))
        x̂ = m·x + (1 − m)·(γ_x·l + (1 − γ_x)·x̄)                 m: 1 where a feature is seen, else 0
        ĥ = γ_h·h
        r = σ(W_r x̂ + U_r ĥ + V_r m + b_r)
        z = σ(W_z x̂ + U_z ĥ + V_z m + b_z)
        n = tanh(W_n x̂ + U_n (r·ĥ) + V_n m + b_n)
        h' = (1 − z)·ĥ + z·n
        l' = m·x + (1 − m)·l                                    last value seen

    The input is x, m and δ side by side, as `nn.zoo.irregular` makes it: input_size = 3 · features.

    mean  x̄ (features,): the value to which a feature decays; None: zeros
    """

    states = ("h", "last")
    gates = ("r", "z", "n")
    mean: Any

    def __init__(
        self, input_size: int, hidden_size: int, *, mean: Any = None, device: str = "cpu", dtype: Any = None
    ) -> None:
        if input_size % 3:
            raise ValueError(f"GRUDCell: input_size is 3 · features, for values, masks and times, got {input_size}")
        F, H = input_size // 3, hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(input_size, (H, F))
        self.W = Linear(F, 3 * H, bias=False, **made)
        self.V = Linear(F, 3 * H, **made)
        self.U_rz = Linear(H, 2 * H, bias=False, **made)
        self.U_n = Linear(H, H, bias=False, **made)
        self.decay_h = Linear(F, H, **made)
        self.decay_x = uniform((F,), F, **made)
        self.decay_b = Parameter(mg.zeros(F, **made))
        mean = mg.tensor(np.zeros(F) if mean is None else mean, device=device, dtype=self.W.weight.dtype)
        if mean.shape != (F,):
            raise ValueError(f"GRUDCell: mean must be of shape {(F,)}, a number for each feature, got {mean.shape}")
        self.register_buffer("mean", mean)

    @each_row
    def inputs(self, xs: Any) -> Any:
        """x, m, γ_x, γ_h and V m + b, (..., 3F) to (..., 3F + 4H)."""
        x, m, delta = np.split(xs, 3, axis=-1)
        decay_x = np.exp(-mg.relu(self.decay_x * delta + self.decay_b))
        decay_h = np.exp(-mg.relu(self.decay_h(delta)))
        return np.concatenate([x, m, decay_x, decay_h, self.V(m)], axis=-1)

    def step(self, x: Any, state: Any) -> Any:
        """x (N, 3F + 4H), state (h, last) to (h', last', r, z, n)."""
        h, last = state
        H, F = self.sizes
        x, m, decay_x, decay_h, from_m = np.split(x, [F, 2 * F, 3 * F, 3 * F + H], axis=-1)
        filled = m * x + (1 - m) * (decay_x * last + (1 - decay_x) * self.mean)
        h = decay_h * h
        z_rz, z_n = np.split(from_m + self.W(filled), [2 * H], axis=-1)
        r, z = np.split(mg.sigmoid(z_rz + self.U_rz(h)), 2, axis=-1)
        n = np.tanh(z_n + self.U_n(r * h))
        h = (1 - z) * h + z * n
        last = m * x + (1 - m) * last
        return h, last, r, z, n


def irregular(values: Any, times: Any) -> Any:
    """The input of a `GRUDCell` from values (T, N, F), NaN where a feature is missing, and times (T, N) or (T,).

    An array (T, N, 3F): values with 0 for NaN, 1 or 0 for seen or missing, and δ: the time since a feature was last
    seen, in the unit of times, counted from the first step. Raises ValueError if times decrease.
    """
    values = np.asarray(values)
    times = np.asarray(times, values.dtype)
    times = times[:, None] if times.ndim == 1 else times
    if values.ndim != 3 or times.ndim != 2 or times.shape[0] != values.shape[0]:
        raise ValueError(
            f"irregular: expected values (T, N, F) and times (T, N) or (T,), got {values.shape} and {times.shape}"
        )
    gaps = np.diff(times, axis=0)
    if (gaps < 0).any():
        raise ValueError("irregular: times must not fall from one step to the next")
    seen = ~np.isnan(values)
    since = np.zeros_like(values)
    for t in range(1, len(values)):
        since[t] = gaps[t - 1][:, None] + np.where(seen[t - 1], 0, since[t - 1])
    return np.concatenate([np.where(seen, values, 0), seen.astype(values.dtype), since], axis=-1)


class ClockworkRNNCell(Mapped):
    """The clockwork RNN: groups of units with a clock each; those at rest keep their state (Koutník, Greff, Gomez &
    Schmidhuber 2014).

        n = tanh(W x + U h + b)
        h'_k = n_k if t mod T_k = 0 else h_k
        t' = t + 1

    U is block upper triangular: a group sees itself and slower ones.

    periods  T_k of the groups, in steps, increasing; their number must divide hidden_size

    U is multiplied as a whole, with zeros, and units at rest are computed too, so the paper's saving of time is
    missing.
    """

    states = ("h", "t")
    blocks: Any
    periods: Any

    def __init__(
        self, input_size: int, hidden_size: int, periods: Sequence[int] = (1, 2, 4, 8), *, device: str = "cpu",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size, 1))
        groups = len(periods)
        if not groups or list(periods) != sorted(periods) or periods[0] < 1 or hidden_size % groups:
            raise ValueError(
                "ClockworkRNNCell: periods must rise from at least 1, and their number divide hidden_size "
                f"{hidden_size}, got {tuple(periods)}"
            )
        each = hidden_size // groups
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, hidden_size, **made)
        self.U = Linear(hidden_size, hidden_size, bias=False, **made).weight
        blocks = np.kron(np.triu(np.ones((groups, groups))), np.ones((each, each)))
        self.register_buffer("blocks", mg.tensor(blocks, device=device, dtype=self.W.weight.dtype), persistent=False)
        self.register_buffer("periods", mg.tensor(np.repeat(periods, each), device=device, dtype=self.W.weight.dtype))

    def step(self, x: Any, state: Any) -> Any:
        """x (N, H), state (h, t) to (h', t')."""
        h, t = state
        n = np.tanh(x + mg.linear(h, self.U * self.blocks))
        rounds = t / self.periods
        h = np.where(rounds == np.floor(rounds), n, h)
        return h, t + 1
