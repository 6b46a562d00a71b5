"""Cells built from a dynamical system, whose eigenvalues determine how long they remember."""

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


class AntisymmetricRNNCell(Mapped):
    """A step of Euler's method for a stable differential equation (Chang, Chen, Haber & Chi 2019).

        A = M − Mᵀ − γ I                              eigenvalues −γ ± i ω
        z = σ(W_z x + A h + b_z)                      only if gated; else 1
        h' = h + ε z·tanh(W_h x + A h + b_h)

    step_size  ε
    damping    γ; without it, a discrete step of an oscillation would grow
    """

    eye: Any

    def __init__(
        self, input_size: int, hidden_size: int, *, gated: bool = False, step_size: float = 0.1, damping: float = 0.01,
        device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size,))
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.gates = ("z",) if gated else ()
        self.gated, self.step_size, self.damping = gated, step_size, damping
        self.W = Linear(input_size, (1 + gated) * H, **made)
        self.M = Parameter(init.normal_(mg.zeros((H, H), **made), 0, 1 / math.sqrt(H)))
        self.register_buffer("eye", mg.tensor(np.eye(H), device=device, dtype=self.W.weight.dtype), persistent=False)

    def step(self, x: Any, state: State) -> State:
        """x (N, H) or (N, 2H), h (N, H) to h', and z if gated."""
        (h,) = state
        A = self.M - self.M.T - self.damping * self.eye
        a = mg.linear(h, A)
        if not self.gated:
            return (h + self.step_size * np.tanh(x + a),)
        x_h, x_z = np.split(x, 2, axis=-1)
        z = mg.sigmoid(x_z + a)
        h = h + self.step_size * z * np.tanh(x_h + a)
        return h, z


class OrthogonalRNNCell(Mapped):
    """An orthogonal recurrent matrix by the scaled Cayley transform, scoRNN (Helfrich, Willmott & Ye 2018).

        A = M − Mᵀ
        Q = (I + A)⁻¹ (I − A) D                       D: a diagonal of 1 and −1
        z = W x + Q h
        h' = sign(z)·relu(|z| + b)                    modReLU

    negative  the number of −1 in D; None: half

    M starts block-diagonal, such that the eigenvalues of (I + A)⁻¹ (I − A) are e^{±iφ} with φ from U(0, π/2).
    """

    eye: Any
    D: Any

    def __init__(
        self, input_size: int, hidden_size: int, *, negative: int | None = None, device: str = "cpu", dtype: Any = None
    ) -> None:
        super().__init__(input_size, (hidden_size,))
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        negative = H // 2 if negative is None else negative
        if not 0 <= negative <= H:
            raise ValueError(f"OrthogonalRNNCell: negative must be 0 to hidden_size {H}, got {negative}")
        self.W = Linear(input_size, H, bias=False, **made)
        self.b = Parameter(init.uniform_(mg.zeros(H, **made), -0.01, 0.01))
        M = mg.zeros((H, H), **made)
        first = np.arange(0, H - 1, 2)
        angle = init.uniform_(mg.zeros(len(first), **made), 0, np.pi / 2).data
        M.data[first, first + 1] = np.sqrt((1 - np.cos(angle)) / (1 + np.cos(angle)))
        self.M = Parameter(M)
        self.register_buffer("eye", mg.tensor(np.eye(H), device=device, dtype=self.W.weight.dtype), persistent=False)
        signs = np.where(np.arange(H) < negative, -1.0, 1.0)
        self.register_buffer("D", mg.tensor(signs, device=device, dtype=self.W.weight.dtype))

    def step(self, x: Any, state: State) -> State:
        """x (N, H), h (N, H) to h'."""
        (h,) = state
        A = self.M - self.M.T
        Q = np.linalg.solve(self.eye + A, self.eye - A) * self.D  # (H, H)
        z = x + mg.linear(h, Q)
        return (np.sign(z) * mg.relu(np.abs(z) + self.b),)


class LMUCell(Mapped):
    """The Legendre memory unit: m holds the last θ steps of u, as coefficients of Legendre polynomials (Voelker, Kajić
    & Eliasmith 2019).

        u = e_x x + e_h h + e_m m
        m' = A m + B u
        h' = tanh(W_x x + W_h h + W_m m')

    A, B  θ ṁ = Ã m + B̃ u with Ã_ij = (2i + 1)·(−1 if i < j else (−1)^(i−j+1)), B̃_i = (2i + 1)(−1)^i, sampled once a
          step with u held in between; they are not trained

    order  the number of coefficients, the size of m
    theta  θ, in steps
    """

    states = ("h", "m")
    A: Any
    B: Any

    def __init__(
        self, input_size: int, hidden_size: int, order: int = 32, theta: float = 100.0, *, device: str = "cpu",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size, order))
        if not theta > 0:
            raise ValueError(f"LMUCell: theta must be a positive number of steps, got {theta}")
        H = hidden_size
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.W = Linear(input_size, 1 + H, bias=False, **made)
        self.U = Linear(H, 1 + H, bias=False, **made)
        self.e_m = Parameter(mg.zeros((1, order), **made))
        self.W_m = Linear(order, H, bias=False, **made)
        A, B = legendre(order, theta)
        self.register_buffer("A", mg.tensor(A, device=device, dtype=self.W.weight.dtype))
        self.register_buffer("B", mg.tensor(B, device=device, dtype=self.W.weight.dtype))

    def step(self, x: Any, state: State) -> State:
        """x (N, 1 + H), state (h, m) to (h', m')."""
        h, m = state
        u, z = np.split(x + self.U(h), [1], axis=-1)
        u = u + mg.linear(m, self.e_m)
        m = mg.linear(m, self.A) + mg.linear(u, self.B)
        h = np.tanh(z + self.W_m(m))
        return h, m


def legendre(order: int, theta: float) -> tuple[Any, Any]:
    """A (order, order) and B (order, 1) of an `LMUCell`, float64: the exponential of [[Ã, B̃], [0, 0]]/θ, by scaling
    and squaring with a Taylor series."""
    i, j = np.arange(order)[:, None], np.arange(order)
    whole = np.zeros((order + 1, order + 1))
    whole[:order, :order] = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    whole[:order, order:] = (2 * i + 1) * (-1.0) ** i
    squarings = max(0, math.ceil(math.log2(np.abs(whole).sum(axis=1).max() / theta)) + 1)
    part = whole / theta / 2**squarings  # of norm at most 1/2
    term = total = np.eye(order + 1)
    for k in range(1, 19):
        term = term @ part / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total[:order, :order], total[:order, order:]


class LRUCell(Cell):
    """The linear recurrent unit, with complex states as pairs of real ones, a + i b (Orvieto et al. 2023).

        λ = exp(−exp(ν) + i exp(θ))                   |λ| < 1
        a' = Re(λ)·a − Im(λ)·b + exp(γ)·(B_re x)
        b' = Im(λ)·a + Re(λ)·b + exp(γ)·(B_im x)
        y' = C_re a' − C_im b' + D x

    state_size  the number of pairs; None: hidden_size, the width of y
    radii       |λ| starts uniformly in the ring between these
    phase       the arguments of λ start in U(0, phase); γ starts such that exp(γ) = √(1 − |λ|²)

    The layer is linear; the paper applies a nonlinear map after it.
    """

    states = ("y", "a", "b")

    def __init__(
        self, input_size: int, hidden_size: int, state_size: int | None = None, *,
        radii: tuple[float, float] = (0.0, 1.0), phase: float = 2 * math.pi, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        S = hidden_size if state_size is None else state_size
        super().__init__(input_size, (hidden_size, S, S))
        low, high = radii
        if not 0 <= low < high <= 1 or not phase > 0:
            raise ValueError(f"LRUCell: needs 0 ≤ radii rising ≤ 1 and a positive phase, got {radii} and {phase}")
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        even: Any = init.uniform_(mg.zeros((2, S), **made), 1e-4, 1 - 1e-4).data
        square = even[0] * (high**2 - low**2) + low**2
        self.nu = Parameter(mg.Tensor(np.log(-0.5 * np.log(square))))
        self.theta = Parameter(mg.Tensor(np.log(phase * even[1])))
        self.gamma = Parameter(mg.Tensor(0.5 * np.log1p(-square)))
        self.B = Parameter(init.normal_(mg.zeros((2 * S, input_size), **made), 0, (2 * input_size) ** -0.5))
        self.C = Parameter(init.normal_(mg.zeros((hidden_size, 2 * S), **made), 0, S**-0.5))
        self.D = uniform((hidden_size, input_size), input_size, **made)

    @each_row
    def inputs(self, xs: Any) -> Any:
        """B_re x, B_im x and D x, (..., input_size) to (..., 2S + H)."""
        return np.concatenate([mg.linear(xs, self.B), mg.linear(xs, self.D)], axis=-1)

    def step(self, x: Any, state: State) -> State:
        """x (N, 2S + H), state (y, a, b) to the next one."""
        _, a, b = state
        S = self.sizes[1]
        x_a, x_b, x_y = np.split(x, [S, 2 * S], axis=-1)
        C_re, C_im = np.split(self.C, 2, axis=-1)
        radius, angle, scale = np.exp(-np.exp(self.nu)), np.exp(self.theta), np.exp(self.gamma)
        re, im = radius * np.cos(angle), radius * np.sin(angle)
        a, b = re * a - im * b + scale * x_a, im * a + re * b + scale * x_b
        y = mg.linear(a, C_re) - mg.linear(b, C_im) + x_y
        return y, a, b
