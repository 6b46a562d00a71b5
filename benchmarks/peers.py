"""One computation on several libraries: forward, then backward to all its inputs.

A *body* is a function of a library's NumPy-like names and its inputs, so that the sides of a case share one text:

    def normalised(xp, x): return x - xp.mean(x, axis=-1, keepdims=True)

    {"minigrad": on_minigrad(normalised, (64, 256)), "torch": on_torch(normalised, (64, 256))}

Inputs are given by their shapes. They are the same small float32 normal numbers on each side, and so is the gradient
that backward starts from. A library is imported when a side is set up, so that any may be missing, and a process that
measures the memory of one side does not load another.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import numpy as np

from .compare import Call, Setup
from .place import only_on_cpu, ours, theirs

Array = Any
Body = Callable[..., Any]
Shape = tuple[int, ...]
Phases = Generator[str | None, None, Sequence[Any]]


def normals(*shapes: Shape, seed: int = 0) -> list[Array]:
    """Normal numbers of standard deviation 0.1, an array for each shape."""
    generator = np.random.default_rng(seed)
    return [np.float32(0.1) * generator.standard_normal(shape, np.float32) for shape in shapes]


def start_of(shape: Shape) -> Array:
    """The gradient that backward starts from, for a result of this shape."""
    return normals(tuple(shape), seed=1)[0]


def take_grads(leaves: Sequence[Any]) -> list[Any]:
    """Take the gradients of leaves, which are then cleared."""
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return gradients


# ---- minigrad and PyTorch, whose tapes are used in the same way --------------------------------------------------


def on_minigrad(body: Body, *shapes: Shape, names: str = "numpy", in_phases: bool = False) -> Setup:
    """The body on minigrad's tensors; `names` is the module it gets, NumPy or minigrad itself."""

    def setup() -> Call:
        leaves = [ours(array, requires_grad=True) for array in normals(*shapes)]
        forward = partial(body, importlib.import_module(names), *leaves)
        return partial(_phases if in_phases else _whole, forward, leaves, ours(start_of(forward().shape)))

    return setup


def replayed(body: Body, *shapes: Shape) -> Setup:
    """Forward and backward of the body in minigrad, recorded once and replayed."""

    def setup() -> Call:
        import minigrad as mg

        leaves = [ours(array, requires_grad=True) for array in normals(*shapes)]
        start = ours(start_of(body(np, *leaves).shape))
        run: Any = mg.compile(lambda start, *leaves: body(np, *leaves).backward(start))

        def call() -> list[Any]:
            run(start, *leaves)
            return take_grads(leaves)

        return call

    return setup


def on_torch(body: Body, *shapes: Shape, in_phases: bool = False) -> Setup:
    """The body on PyTorch's tensors."""

    def setup() -> Call:
        import torch

        leaves = [theirs(array, requires_grad=True) for array in normals(*shapes)]
        forward = partial(body, torch, *leaves)
        return partial(_phases if in_phases else _whole, forward, leaves, theirs(start_of(forward().shape)))

    return setup


def _whole(forward: Call, leaves: Sequence[Any], start: Any) -> list[Any]:
    forward().backward(start)
    return take_grads(leaves)


def _phases(forward: Call, leaves: Sequence[Any], start: Any) -> Phases:
    y = forward()
    yield "forward"
    y.backward(start)
    yield "backward"
    del y
    yield "freeing what backward left"
    y = forward()
    yield None
    del y
    yield "freeing without backward"
    return take_grads(leaves)


# ---- HIPS autograd -----------------------------------------------------------------------------------------------


def on_autograd(body: Body, *shapes: Shape, in_phases: bool = False) -> Setup:
    """The body on HIPS autograd's boxed arrays."""

    def setup() -> Call:
        only_on_cpu()
        import autograd
        import autograd.numpy

        inputs = normals(*shapes)
        function = partial(body, autograd.numpy)
        forward = partial(autograd.make_vjp(function, tuple(range(len(inputs)))), *inputs)
        return partial(_pullback_phases if in_phases else _pullback, forward, start_of(function(*inputs).shape))

    return setup


def _pullback(forward: Call, start: Array) -> Sequence[Array]:
    pull, _ = forward()
    gradients: Sequence[Array] = pull(start)
    return gradients


def _pullback_phases(forward: Call, start: Array) -> Phases:
    made = forward()
    yield "forward"
    gradients: Sequence[Array] = made[0](start)
    yield "backward"
    del made
    yield "freeing what backward left"
    made = forward()
    yield None
    del made
    yield "freeing without backward"
    return gradients


# ---- bare NumPy --------------------------------------------------------------------------------------------------


def by_hand(gradients: Callable[..., Sequence[Array]], *shapes: Shape, result: Shape) -> Setup:
    """`gradients(start, *inputs)`: forward and backward as written without a tape; the floor."""

    def setup() -> Call:
        only_on_cpu()
        return partial(gradients, start_of(result), *normals(*shapes))

    return setup


def on_all(body: Body, *shapes: Shape) -> dict[str, Setup]:
    """The body on every library."""
    return {
        "minigrad": on_minigrad(body, *shapes),
        "torch": on_torch(body, *shapes),
        "autograd": on_autograd(body, *shapes),
    }
