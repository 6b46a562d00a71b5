"""A user's cell on every library: a minimal gated unit (Zhou et al. 2016).

    f = σ(x W_f + h U_f + b_f),  n = tanh(x W_n + (f h) U_n + b_n),  h' = h + f (n − h)

No library has a fused layer for it. In PyTorch and HIPS autograd it is a loop, whose step `torch.compile` compiles; in
JAX a `lax.scan` under `jax.jit`; in minigrad a layer, `nn.Recurrent(cell)`, whose loop is rolled, and a hand-written
loop with fused element-wise parts, plain and compiled. An LSTM written as a cell in the same way is measured, too, also
in DeZero. Forward and backward, to the inputs and all weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..compare import Call, Case, Setup
from ..peers import normals, start_of, take_grads
from ..place import exact_jax, only_on_cpu, ours, theirs

SIZES = ((1, 50, 64, 64), (16, 50, 64, 64), (32, 50, 128, 128), (20, 20, 200, 200), (64, 50, 256, 256))  # N, T, D, H
Functions = dict[str, Callable[..., Any]]


def gates(f: Functions, x: Any, w: Any, h: Any) -> Any:
    """The gate of a minimal gated unit, and the gated state, from x (N, 2H) and w (N, H)."""
    a = f["sigmoid"](f["first"](x) + w)
    return a, a * h


def mixed(f: Functions, x: Any, w: Any, a: Any, h: Any) -> Any:
    """The next state of a minimal gated unit."""
    return h + a * (f["tanh"](f["second"](x) + w) - h)


def gated_unit(f: Functions, x: Any, state: Any, U_f: Any, U_n: Any) -> Any:
    """One step: x (N, 2H) is W x + b, U_f and U_n (H, H)."""
    (h,) = state
    a, kept = f["gates"](x, h @ U_f, h)
    return (f["mixed"](x, kept @ U_n, a, h),)


def lstm_gates(f: Functions, x: Any, w: Any, c: Any) -> Any:
    """The element-wise part of an LSTM, from x and w (N, 4H) and c (N, H)."""
    i, j, g, o = f["quarters"](x + w)
    c = f["sigmoid"](j) * c + f["sigmoid"](i) * f["tanh"](g)
    return f["sigmoid"](o) * f["tanh"](c), c


def lstm(f: Functions, x: Any, state: Any, U: Any) -> Any:
    """One step: x (N, 4H) is W x + b, U (H, 4H)."""
    h, c = state
    return f["lstm_gates"](x, h @ U, c)


CELLS: dict[str, tuple[Any, int, int]] = {"own cell": (gated_unit, 2, 1), "LSTM cell": (lstm, 4, 2)}
PARTS = {"gates": gates, "mixed": mixed, "lstm_gates": lstm_gates}  # the element-wise ones: (step, widths of W, states)


def weights(kind: str, D: int, H: int) -> list[Any]:
    """W (D, width · H), b, and the recurrent ones."""
    _, width, _ = CELLS[kind]
    recurrent = [(H, H)] * 2 if kind == "own cell" else [(H, 4 * H)]
    return normals((D, width * H), (width * H,), *recurrent, seed=2)


def with_parts(names: Functions, fuse: Any = None) -> Functions:
    """A library's functions, with the element-wise parts of the cells added, fused where the library can."""
    for name, part in PARTS.items():
        function = lambda *arguments, part=part: part(names, *arguments)  # noqa: E731
        names[name] = fuse(function) if fuse else function
    return names


def loop(f: Functions, kind: str, zeros: Any, xs: Any, W: Any, b: Any, *U: Any, step: Any = None) -> Any:
    """All steps, in Python: xs (T, N, D) to (T, N, H)."""
    _, _, states = CELLS[kind]
    step = step or CELLS[kind][0]
    projected = xs @ W + b
    state, outputs = (zeros,) * states, []
    for x in f["steps"](projected):
        state = step(f, x, state, *U)
        outputs.append(state[0])
    return f["stack"](outputs)


# ---- the libraries -----------------------------------------------------------------------------------------------


def as_layer(kind: str, N: int, T: int, D: int, H: int) -> Setup:
    """The cell in `nn.Recurrent`, declared as a pure function."""

    def setup() -> Call:
        import minigrad as mg
        import nn

        halves = lambda x, k: np.split(x, 2, axis=-1)[k]  # noqa: E731
        f = with_parts({
            "sigmoid": mg.sigmoid, "tanh": np.tanh, "first": lambda x: halves(x, 0), "second": lambda x: halves(x, 1),
            "quarters": lambda x: np.split(x, 4, axis=-1),
        })  # fmt: skip

        class Cell(nn.Module):
            rolled = True

            def __init__(self) -> None:
                super().__init__()
                W, b, *U = [nn.Parameter(ours(a)) for a in weights(kind, D, H)]
                self.W, self.b, self.U, self.V = W, b, U[0], U[-1]

            def initial_state(self, batch: int) -> Any:
                return (mg.zeros((batch, H)),) * CELLS[kind][2]

            @nn.each_row
            def inputs(self, xs: Any) -> Any:
                return xs @ self.W + self.b

            def step(self, x: Any, state: Any) -> Any:
                U = (self.U, self.V) if kind == "own cell" else (self.U,)
                return CELLS[kind][0](f, x, state, *U)

        layer = nn.Recurrent(Cell())
        xs, start = ours(normals((T, N, D))[0], requires_grad=True), ours(start_of((T, N, H)))

        def call() -> list[Any]:
            layer(xs)[0].backward(start)
            return take_grads([xs, *layer.parameters()])

        return call

    return setup


def on_minigrad(kind: str, N: int, T: int, D: int, H: int, compiled: bool) -> Setup:
    def setup() -> Call:
        import minigrad as mg

        f = with_parts({
            "sigmoid": mg.sigmoid, "tanh": np.tanh, "stack": np.stack,
            "first": lambda x: np.split(x, 2, axis=-1)[0], "second": lambda x: np.split(x, 2, axis=-1)[1],
            "quarters": lambda x: np.split(x, 4, axis=-1), "steps": lambda xs: (x for _, x in mg.steps(xs)),
        }, mg.fuse)  # fmt: skip
        leaves = [ours(a, requires_grad=True) for a in (*normals((T, N, D)), *weights(kind, D, H))]
        start, zeros = ours(start_of((T, N, H))), ours(np.zeros((N, H), np.float32))

        def whole(start: Any, *leaves: Any) -> None:
            loop(f, kind, zeros, *leaves).backward(start)

        run = mg.compile(whole) if compiled else whole

        def call() -> list[Any]:
            run(start, *leaves)
            return take_grads(leaves)

        return call

    return setup


def on_torch(kind: str, N: int, T: int, D: int, H: int, compiled: str = "") -> Setup:
    """`compiled`: the part for torch.compile, "step" or the whole "loop". (50 steps of it take minutes.)"""

    def setup() -> Call:
        import torch

        f = with_parts({
            "sigmoid": torch.sigmoid, "tanh": torch.tanh, "stack": torch.stack, "steps": lambda xs: xs.unbind(),
            "first": lambda x: x.chunk(2, -1)[0], "second": lambda x: x.chunk(2, -1)[1],
            "quarters": lambda x: x.chunk(4, -1),
        })  # fmt: skip
        leaves = [theirs(a, requires_grad=True) for a in (*normals((T, N, D)), *weights(kind, D, H))]
        start, zeros = theirs(start_of((T, N, H))), theirs(np.zeros((N, H), np.float32))

        def one(x: Any, state: Any, *U: Any) -> Any:
            return CELLS[kind][0](f, x, state, *U)

        torch._dynamo.config.recompile_limit = 64  # one for each size
        compiled_one = torch.compile(one)
        step = (lambda f, x, state, *U: compiled_one(x, state, *U)) if compiled == "step" else None
        whole = partial(loop, f, kind, zeros, step=step)
        run = torch.compile(whole) if compiled == "loop" else whole

        def call() -> list[Any]:
            run(*leaves).backward(start)
            return take_grads(leaves)

        return call

    return setup


def on_autograd(kind: str, N: int, T: int, D: int, H: int) -> Setup:
    def setup() -> Call:
        only_on_cpu()
        import autograd
        import autograd.numpy as anp

        f = with_parts({
            "sigmoid": lambda x: 1 / (1 + anp.exp(-x)), "tanh": anp.tanh, "stack": anp.stack,
            "first": lambda x: x[:, :H], "second": lambda x: x[:, H:],
            "quarters": lambda x: [x[:, k * H : (k + 1) * H] for k in range(4)],
            "steps": lambda xs: [xs[t] for t in range(T)],
        })  # fmt: skip
        inputs = [*normals((T, N, D)), *weights(kind, D, H)]
        zeros, start = np.zeros((N, H), np.float32), start_of((T, N, H))
        function = lambda *leaves: loop(f, kind, zeros, *leaves)  # noqa: E731

        def call() -> Any:
            pull, _ = autograd.make_vjp(function, tuple(range(len(inputs))))(*inputs)
            return pull(start)

        return call

    return setup


def on_jax(kind: str, N: int, T: int, D: int, H: int) -> Setup:
    """jax.jit of forward and backward, the loop as lax.scan."""

    def setup() -> Call:
        jax = exact_jax()
        import jax.numpy as jnp

        f = with_parts({
            "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "first": lambda x: x[:, :H], "second": lambda x: x[:, H:],
            "quarters": lambda x: jnp.split(x, 4, axis=-1),
        })  # fmt: skip
        step, _, states = CELLS[kind]

        def forward(xs: Any, W: Any, b: Any, *U: Any) -> Any:
            def one(state: Any, x: Any) -> Any:
                state = step(f, x, state, *U)
                return state, state[0]

            return jax.lax.scan(one, (jnp.zeros((N, H)),) * states, xs @ W + b)[1]

        @jax.jit
        def whole(start: Any, *leaves: Any) -> Any:
            return jax.vjp(forward, *leaves)[1](start)

        leaves = [jnp.asarray(a) for a in (*normals((T, N, D)), *weights(kind, D, H))]
        start = jnp.asarray(start_of((T, N, H)))

        def call() -> Any:
            return jax.block_until_ready(whole(start, *leaves))

        return call

    return setup


def on_dezero(kind: str, N: int, T: int, D: int, H: int) -> Setup:
    """With a product for each gate, as in its own LSTM layer."""

    def setup() -> Call:
        only_on_cpu()
        vars(np)["int"] = int  # its last release looks this up when imported
        import dezero
        from dezero import functions

        del vars(np)["int"]

        xs, W, b, U = [*normals((T, N, D)), *weights(kind, D, H)]
        leaves = [dezero.Variable(a) for a in (xs, W, b, U)]
        start = start_of((T, N, H))

        def call() -> list[Any]:
            x_all, W_, b_, U_ = leaves
            parts = [
                (W_[:, k * H : (k + 1) * H], b_[k * H : (k + 1) * H], U_[:, k * H : (k + 1) * H]) for k in range(4)
            ]
            h = c = dezero.Variable(np.zeros((N, H), np.float32))
            loss: Any = 0
            for t in range(T):
                x = x_all[t]
                i, j, g, o = (
                    functions.matmul(x, w) + functions.broadcast_to(a, (N, H)) + functions.matmul(h, u)
                    for w, a, u in parts
                )
                c = functions.sigmoid(j) * c + functions.sigmoid(i) * functions.tanh(g)
                h = functions.sigmoid(o) * functions.tanh(c)
                loss = loss + functions.sum(h * start[t])
            loss.backward()
            gradients = [leaf.grad.data for leaf in leaves]
            for leaf in leaves:
                leaf.cleargrad()
            return gradients

        return call

    return setup


def sides(kind: str, size: tuple[int, int, int, int]) -> dict[str, Setup]:
    found = {
        "minigrad, a layer": as_layer(kind, *size),
        "minigrad, a loop": on_minigrad(kind, *size, compiled=False),
        "minigrad, a loop, compiled": on_minigrad(kind, *size, compiled=True),
        "torch, loop": on_torch(kind, *size),
        "torch.compile of the step, in a loop": on_torch(kind, *size, compiled="step"),
        "jax.jit, lax.scan": on_jax(kind, *size),
        "autograd": on_autograd(kind, *size),
    }
    if size[1] <= 20:
        found["torch.compile of the loop"] = on_torch(kind, *size, compiled="loop")
    if kind == "LSTM cell" and size[0] == 16:  # a call takes long
        found["dezero"] = on_dezero(kind, *size)
    return found


CASES = [Case(f"cells: {kind}, N T D H = {size}", sides(kind, size)) for kind in CELLS for size in SIZES]
