"""Cells of the zoo compared with the same equations in PyTorch, as a loop, and in JAX, as `lax.scan` under `jax.jit`.

A minimal GRU and an independently recurrent network, whose steps are element-wise, and the sLSTM of xLSTM, which has
a product and a stabiliser. The equations below are those of the peers; minigrad's are the cells of `nn.zoo`. Forward
and backward, to the inputs and all weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..compare import Call, Case, Setup
from ..peers import normals, start_of, take_grads
from ..place import exact_jax, ours, theirs

SIZES = ((16, 50, 64, 128), (32, 200, 64, 128))  # N, T, D, H
Functions = dict[str, Callable[..., Any]]


def min_gru(f: Functions, x: Any, state: Any) -> Any:
    """x (N, 2H) is W x + b."""
    (h,) = state
    z, n = f["split"](x, 2)
    z = f["sigmoid"](z)
    return ((1 - z) * h + z * n,)


def ind_rnn(f: Functions, x: Any, state: Any, u: Any) -> Any:
    """x (N, H) is W x + b, u (H,)."""
    return (f["relu"](x + u * state[0]),)


def slstm(f: Functions, x: Any, state: Any, R: Any) -> Any:
    """x (N, 4H) is W x + b, R (4H, H)."""
    h, c, n, m = state
    z_i, z_f, z_g, z_o = f["split"](x + h @ R.T, 4)
    m_f = m - f["softplus"](-z_f)
    m = f["maximum"](m_f, z_i)
    i = f["exp"](z_i - m)
    forget = f["exp"](m_f - m)
    c = forget * c + i * f["tanh"](z_g)
    n = forget * n + i
    return f["sigmoid"](z_o) * c / n, c, n, m


CELLS: dict[str, tuple[Any, str, int, Any]] = {  # the step, the cell, the width of W over H, and the initial state
    "minGRU": (min_gru, "MinGRUCell", 2, (0,)),
    "IndRNN": (ind_rnn, "IndRNNCell", 1, (0,)),
    "sLSTM": (slstm, "SLSTMCell", 4, (0, 0, 0, -1e4)),
}


def weights(kind: str, D: int, H: int) -> list[Any]:
    """W (width · H, D), b, and the recurrent one if any."""
    width = CELLS[kind][2]
    own: dict[str, list[tuple[int, ...]]] = {"minGRU": [], "IndRNN": [(H,)], "sLSTM": [(4 * H, H)]}
    return normals((width * H, D), (width * H,), *own[kind], seed=2)


def as_layer(kind: str, N: int, T: int, D: int, H: int) -> Setup:
    def setup() -> Call:
        import nn

        layer = nn.Recurrent(getattr(nn.zoo, CELLS[kind][1])(D, H))
        cell: Any = layer.cell
        own = {"minGRU": "", "IndRNN": "u", "sLSTM": "R"}[kind]
        leaves = [cell.W.weight, cell.W.bias, *[getattr(cell, name) for name in own]]
        for parameter, value in zip(leaves, weights(kind, D, H), strict=True):
            parameter.data[...] = value
        xs, start = ours(normals((T, N, D))[0], requires_grad=True), ours(start_of((T, N, H)))

        def call() -> list[Any]:
            layer(xs)[0].backward(start)
            return take_grads([xs, *leaves])

        return call

    return setup


def on_torch(kind: str, N: int, T: int, D: int, H: int) -> Setup:
    def setup() -> Call:
        import torch

        f = {
            "split": lambda x, n: x.chunk(n, -1), "sigmoid": torch.sigmoid, "tanh": torch.tanh, "exp": torch.exp,
            "maximum": torch.maximum, "relu": torch.relu, "softplus": torch.nn.functional.softplus,
        }  # fmt: skip
        step, _, _, first = CELLS[kind]
        leaves = [theirs(a, requires_grad=True) for a in (*normals((T, N, D)), *weights(kind, D, H))]
        start = theirs(start_of((T, N, H)))
        state_0 = [theirs(np.full((N, H), value, np.float32)) for value in first]

        def call() -> list[Any]:
            xs, W, b, *own = leaves
            state, outputs = state_0, []
            for x in (xs @ W.T + b).unbind():
                state = step(f, x, state, *own)
                outputs.append(state[0])
            torch.stack(outputs).backward(start)
            return take_grads(leaves)

        return call

    return setup


def on_jax(kind: str, N: int, T: int, D: int, H: int) -> Setup:
    def setup() -> Call:
        jax = exact_jax()
        import jax.numpy as jnp

        f = {
            "split": lambda x, n: jnp.split(x, n, -1), "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "exp": jnp.exp,
            "maximum": jnp.maximum, "relu": jax.nn.relu, "softplus": jax.nn.softplus,
        }  # fmt: skip
        step, _, _, first = CELLS[kind]

        def forward(xs: Any, W: Any, b: Any, *own: Any) -> Any:
            def one(state: Any, x: Any) -> Any:
                state = step(f, x, state, *own)
                return state, state[0]

            return jax.lax.scan(one, tuple(jnp.full((N, H), v, jnp.float32) for v in first), xs @ W.T + b)[1]

        whole = jax.jit(lambda start, *leaves: jax.vjp(forward, *leaves)[1](start))
        leaves = [jnp.asarray(a) for a in (*normals((T, N, D)), *weights(kind, D, H))]
        start = jnp.asarray(start_of((T, N, H)))
        return lambda: jax.block_until_ready(whole(start, *leaves))

    return setup


def sides(kind: str, size: tuple[int, int, int, int]) -> dict[str, Setup]:
    return {
        "minigrad, a layer": as_layer(kind, *size),
        "torch, loop": on_torch(kind, *size),
        "jax.jit, lax.scan": on_jax(kind, *size),
    }


CASES = [Case(f"zoo: {kind}, N T D H = {size}", sides(kind, size)) for kind in CELLS for size in SIZES]
