"""An LSTM written from primitives, unrolled by a Python loop: forward, and backward to its input and all weights.

Every step has its own input map, and its gates are a dozen separate operations: a test of the engine on plain code.
Its peers are the same loop on PyTorch and HIPS autograd; PyTorch's fused `nn.LSTM`; and back-propagation through time
by hand, step by step, with one product for each weight's gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg

from ..compare import WHOLE_CALL, Call, Case, Setup
from ..peers import by_hand, normals, on_autograd, on_minigrad, on_torch, start_of, take_grads

Array = Any
Function = Callable[[Any], Any]
SIZES = ((16, 50, 64, 64), (32, 50, 128, 128))  # N sequences, T steps, D inputs, H states


def shapes(N: int, T: int, D: int, H: int) -> tuple[tuple[int, ...], ...]:
    """Of the input and the weights."""
    return (T, N, D), (D, 4 * H), (H, 4 * H), (4 * H,)


def lstm(xp: Any, sigmoid: Function, in_four: Function, xs: Any, W_in: Any, W_s: Any, b: Any) -> Any:
    """The states of all steps, (T, N, H), from the inputs (T, N, D)."""
    h = c = xp.zeros((xs.shape[1], W_s.shape[0]), dtype=xp.float32)  # (N, H)
    states = []
    for x in xs:
        i, f, g, o = in_four(x @ W_in + h @ W_s + b)  # each (N, H)
        c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
        h = sigmoid(o) * xp.tanh(c)
        states.append(h)
    return xp.stack(states)


def minigrad_loop(np: Any, *inputs: Any) -> Any:
    return lstm(np, mg.sigmoid, lambda z: np.split(z, 4, axis=1), *inputs)


def torch_loop(torch: Any, *inputs: Any) -> Any:
    return lstm(torch, torch.sigmoid, lambda z: torch.chunk(z, 4, 1), *inputs)


def autograd_loop(np: Any, *inputs: Any) -> Any:
    return lstm(np, lambda z: 0.5 * np.tanh(0.5 * z) + 0.5, lambda z: np.split(z, 4, axis=1), *inputs)


def torch_layer(N: int, T: int, D: int, H: int) -> Setup:
    """PyTorch's own layer, with the same weights (it has two biases; one is zero)."""

    def setup() -> Call:
        import torch

        xs, W_in, W_s, b = (torch.tensor(a) for a in normals(*shapes(N, T, D, H)))
        layer = torch.nn.LSTM(D, H)
        layer.load_state_dict(
            {"weight_ih_l0": W_in.T, "weight_hh_l0": W_s.T, "bias_ih_l0": b, "bias_hh_l0": torch.zeros(4 * H)}
        )
        xs.requires_grad_()
        start = torch.tensor(start_of((T, N, H)))

        def call() -> list[Any]:
            layer(xs)[0].backward(start)
            g_x, g_in, g_s, g_b, _ = take_grads([xs, *layer.parameters()])
            return [g_x, g_in.T, g_s.T, g_b]

        return call

    return setup


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def through_time(start: Array, xs: Array, W_in: Array, W_s: Array, b: Array) -> list[Array]:
    """Back-propagation through time by hand."""
    (T, N, _), H = xs.shape, W_s.shape[0]
    hs = np.zeros((T + 1, N, H), np.float32)
    cs, gates, g_z = np.zeros_like(hs), np.empty((T, N, 4 * H), np.float32), np.empty((T, N, 4 * H), np.float32)
    for t, x in enumerate(xs):
        z = x @ W_in + hs[t] @ W_s + b
        i, f, g, o = parts = np.split(gates[t], 4, axis=1)  # views, written into
        for gate, part in zip(parts, np.split(z, 4, axis=1), strict=True):
            gate[:] = np.tanh(part) if gate is g else sigmoid(part)
        cs[t + 1] = f * cs[t] + i * g
        hs[t + 1] = o * np.tanh(cs[t + 1])
    g_h = g_c = np.zeros((N, H), np.float32)
    for t in reversed(range(T)):
        i, f, g, o = np.split(gates[t], 4, axis=1)
        tanh_c = np.tanh(cs[t + 1])
        g_h = g_h + start[t]
        g_c = g_c + g_h * o * (1 - tanh_c * tanh_c)
        by_gate = (g_c * g * i * (1 - i), g_c * cs[t] * f * (1 - f), g_c * i * (1 - g * g), g_h * tanh_c * o * (1 - o))
        np.concatenate(by_gate, axis=1, out=g_z[t])
        g_h, g_c = g_z[t] @ W_s.T, g_c * f
    rows = g_z.reshape(T * N, 4 * H)
    return [g_z @ W_in.T, xs.reshape(T * N, -1).T @ rows, hs[:-1].reshape(T * N, H).T @ rows, rows.sum(axis=0)]


def sides(N: int, T: int, D: int, H: int) -> dict[str, Setup]:
    inputs = shapes(N, T, D, H)
    return {
        "minigrad": on_minigrad(minigrad_loop, *inputs),
        "torch, the same loop": on_torch(torch_loop, *inputs),
        "torch.nn.LSTM": torch_layer(N, T, D, H),
        "autograd": on_autograd(autograd_loop, *inputs),
        "NumPy by hand": by_hand(through_time, *inputs, result=(T, N, H)),
    }


CASES = [Case(f"lstm from primitives, N T D H = {size}", sides(*size), memory=WHOLE_CALL) for size in SIZES]
