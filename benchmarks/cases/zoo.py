"""Every cell of the zoo, compared with its equations in PyTorch, as a loop, and in JAX, as `lax.scan` under `jax.jit`.

The equations of the peers are in `zoo_steps`; minigrad's are the cells of `nn.zoo`. The peers get the weights, the
constants and the first state from our cell. Forward and backward, to the inputs and all weights; the outputs are
compared as well.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..compare import Call, Case, Setup
from ..peers import normals, start_of, take_grads
from ..place import DEVICE, exact_jax, ours, theirs
from .zoo_steps import LOOPS

Size = tuple[int, int, int, int]  # N, T, D, H
SIZES: tuple[Size, ...] = ((16, 50, 64, 128), (32, 200, 64, 128))
COMMON = "abs concatenate cos exp floor maximum sign sin tanh where zeros_like".split()  # to both peers


def made(name: str, D: int, H: int, **options: Any) -> Any:
    """A cell for D features. GRU-D gets their values, masks and times, the phased LSTM a column of times."""
    import nn

    width = {"GRUDCell": 3 * D, "PhasedLSTMCell": D + 1}.get(name, D)
    return getattr(nn.zoo, name)(width, H, **options)


def presented(name: str, xs: Any) -> Any:
    """Features (T, N, D) in the form that the cell expects; for GRU-D, NaN is a missing one."""
    import nn

    T, N, _ = xs.shape
    if name == "GRUDCell":
        return nn.zoo.irregular(xs, np.arange(T, dtype=xs.dtype))
    if name == "PhasedLSTMCell":
        times = np.broadcast_to(np.arange(T, dtype=xs.dtype)[:, None, None], (T, N, 1))
        return np.concatenate([xs, times], axis=-1)
    return xs


def inputs(name: str, N: int, T: int, D: int) -> Any:
    """The inputs of the cell; for GRU-D, a third of the features is missing."""
    (xs,) = normals((T, N, D))
    if name == "GRUDCell":
        xs[np.random.default_rng(3).random(xs.shape) < 1 / 3] = np.nan
    return presented(name, xs)


def cell_of(name: str, D: int, H: int) -> Any:
    """The cell, with the same weights whenever it is made. None is zero, so that no term of the equations is lost."""
    import minigrad as mg

    mg.manual_seed(0)
    cell = made(name, D, H)
    parameters = list(cell.parameters())
    for parameter, more in zip(parameters, normals(*[p.shape for p in parameters], seed=2), strict=True):
        parameter.data += np.float32(0.1) * more
    if name == "OrthogonalRNNCell":  # its modReLU jumps at 0 where b > 0, and there rounding would decide
        cell.b.data[...] = -np.abs(cell.b.data)
    if name == "LayerNormLSTMCell":  # with a gain of 1, rounding grows from step to step
        cell.norm_h.weight.data *= np.float32(0.1)
    return cell


class Given(NamedTuple):
    """The arrays from which the peers start, in NumPy; the names are those of `zoo_steps`."""

    xs: Any
    weights: dict[str, Any]
    constants: dict[str, Any]
    state: list[Any]


def given(name: str, N: int, T: int, D: int, H: int) -> Given:
    cell = cell_of(name, D, H)
    weights = {key.removesuffix(".weight"): p.numpy() for key, p in cell.named_parameters()}
    constants = {key: buffer.numpy() for key, buffer in cell.named_buffers()}
    return Given(inputs(name, N, T, D), weights, constants, [s.numpy() for s in cell.initial_state(N)])


# ---- the libraries -----------------------------------------------------------------------------------------------


def as_layer(name: str, N: int, T: int, D: int, H: int) -> Setup:
    def setup() -> Call:
        import nn

        layer = nn.Recurrent(cell_of(name, D, H).to(DEVICE))
        xs, start = ours(inputs(name, N, T, D), requires_grad=True), ours(start_of((T, N, H)))
        leaves = [xs, *layer.parameters()]

        def call() -> list[Any]:
            outputs, _ = layer(xs)
            outputs.backward(start)
            return [outputs.detach(), *take_grads(leaves)]

        return call

    return setup


def torch_functions() -> SimpleNamespace:
    import torch
    from torch.nn import functional

    return SimpleNamespace(
        **{name: getattr(torch, name) for name in COMMON},
        sigmoid=torch.sigmoid, relu=torch.relu, softplus=functional.softplus, linear=functional.linear,
        softmax=lambda z: z.softmax(-1), cumsum=lambda z: z.cumsum(-1), solve=torch.linalg.solve,
        split=lambda z, parts: z.chunk(parts, -1) if isinstance(parts, int) else z.split(parts, -1),
        layer_norm=lambda z, weight: functional.layer_norm(z, weight.shape, weight),
    )  # fmt: skip


def on_torch(name: str, N: int, T: int, D: int, H: int) -> Setup:
    def setup() -> Call:
        import torch

        xp, found = torch_functions(), given(name, N, T, D, H)
        xs, start = theirs(found.xs, requires_grad=True), theirs(start_of((T, N, H)))
        weights = {key: theirs(array, requires_grad=True) for key, array in found.weights.items()}
        p = weights | {key: theirs(array) for key, array in found.constants.items()}
        state_0, leaves = [theirs(array) for array in found.state], [xs, *weights.values()]

        def call() -> list[Any]:
            mapped, step = LOOPS[name](xp, p, xs)
            state: Any = state_0
            outputs = []
            for x in zip(*[part.unbind() for part in mapped], strict=True):
                state = step(state, *x)
                outputs.append(state[0])
            ys = torch.stack(outputs)
            ys.backward(start)
            return [ys.detach(), *take_grads(leaves)]

        return call

    return setup


def jax_functions() -> SimpleNamespace:
    import jax
    import jax.numpy as jnp

    def split(z: Any, parts: Any) -> Any:
        return jnp.split(z, parts if isinstance(parts, int) else [sum(parts[:k]) for k in range(1, len(parts))], -1)

    def layer_norm(z: Any, weight: Any) -> Any:
        z = z - z.mean(-1, keepdims=True)
        return weight * z * jax.lax.rsqrt((z**2).mean(-1, keepdims=True) + 1e-5)

    return SimpleNamespace(
        **{name: getattr(jnp, name) for name in COMMON},
        sigmoid=jax.nn.sigmoid, relu=jax.nn.relu, softplus=jax.nn.softplus,
        linear=lambda x, W, b=None: x @ W.T if b is None else x @ W.T + b,
        softmax=jax.nn.softmax, cumsum=lambda z: jnp.cumsum(z, -1), solve=jnp.linalg.solve,
        split=split, layer_norm=layer_norm,
    )  # fmt: skip


def on_jax(name: str, N: int, T: int, D: int, H: int) -> Setup:
    def setup() -> Call:
        jax = exact_jax()
        import jax.numpy as jnp

        xp, found = jax_functions(), given(name, N, T, D, H)
        constants = {key: jnp.asarray(array) for key, array in found.constants.items()}
        state_0 = tuple([jnp.asarray(array) for array in found.state])

        def forward(xs: Any, weights: Any) -> Any:
            mapped, step = LOOPS[name](xp, weights | constants, xs)

            def one(state: Any, x: Any) -> Any:
                state = step(state, *x)
                return state, state[0]

            return jax.lax.scan(one, state_0, tuple(mapped))[1]

        def whole(start: Any, xs: Any, weights: Any) -> Any:
            ys, pull = jax.vjp(forward, xs, weights)
            return ys, *pull(start)

        run = jax.jit(whole)
        weights = {key: jnp.asarray(array) for key, array in found.weights.items()}
        xs, start = jnp.asarray(found.xs), jnp.asarray(start_of((T, N, H)))

        def call() -> list[Any]:
            ys, g_xs, g_weights = jax.block_until_ready(run(start, xs, weights))
            return [ys, g_xs, *[g_weights[key] for key in weights]]

        return call

    return setup


def case(name: str, size: Size) -> Case:
    """One cell, by the name of its class, at one size."""
    sides = {
        "minigrad, a layer": as_layer(name, *size),
        "torch, loop": on_torch(name, *size),
        "jax.jit, lax.scan": on_jax(name, *size),
    }
    return Case(f"zoo: {name.removesuffix('Cell')}, N T D H = {size}", sides)


CASES = [case(name, size) for name in LOOPS for size in SIZES]
