"""Compiled functions that compute with plain arrays from outside: they are read at each run, in any layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn

FUSED = mg.fuse(lambda a, b: np.tanh(a * b) + a)
FORMS: dict[str, Callable[[Any, Any], Any]] = {
    "matmul": lambda c, W: c @ W.T,
    "matmul, the array second": lambda c, W: W @ c.T,
    "dot": lambda c, W: np.dot(c, W.T),
    "linear": lambda c, W: mg.linear(c, W),
    "linear with a bias": lambda c, W: mg.linear(c, W, W[:, 0]),
    "a stack of rows": lambda c, W: c[None] @ W.T,
    "einsum": lambda c, W: np.einsum("nd,hd->nh", c, W),
    "tensordot": lambda c, W: np.tensordot(c, W, ([1], [1])),
    "vdot": lambda c, W: np.vdot(c[0], W[0]),
    "multiply": lambda c, W: c * W[0],
    "where": lambda c, W: np.where(W[0] > 0, c, W[0]),
    "concatenate": lambda c, W: np.concatenate([c, W]),
    "clip": lambda c, W: np.clip(W[0], c[:1], None),
    "average": lambda c, W: np.average(W, axis=1, weights=c[0] + W[0] * 0),
    "fused": lambda c, W: FUSED(c, W[0]),
    "fused, of no weight": lambda c, W: FUSED(mg.Tensor(c), 2.0) * W[0],
    "tensor": lambda c, W: mg.tensor(c) @ W.T,
    "Tensor": lambda c, W: np.tanh(mg.Tensor(c)) * W[0],
    "MSELoss": lambda c, W: nn.MSELoss()(c @ W.T, c[:, :4]),
}


def laid_out(array: Any, layout: str) -> Any:
    wide = np.repeat(np.repeat(array, 2, axis=0), 2, axis=1)
    return {"C": array, "F": np.asfortranarray(array), "gaps": wide[::2, ::2], "back": array[::-1, ::-1]}[layout]


@pytest.mark.parametrize("rows", [1, 2, 16, 64])
@pytest.mark.parametrize("name", FORMS)
def test_an_array_from_outside_is_read_at_each_run(name: str, rows: int, rng: Any) -> None:
    for layout in ("C", "F", "gaps", "back"):
        c = laid_out(rng.standard_normal((rows, 5)).astype(np.float32), layout)
        W = mg.Tensor(rng.standard_normal((4, 5)).astype(np.float32), requires_grad=True)

        def step(x: Any, c: Any = c, W: Any = W) -> Any:
            W.grad = None
            loss = (FORMS[name](c, W) * x).sum()
            loss.backward()
            return loss

        compiled = mg.compile(step)
        for k in range(5):
            x = mg.Tensor(np.float32([k + 1.0]))
            found = []
            for function in (compiled, step):
                found.append((function(x).data, W.grad.data))
            for one, other in zip(*found, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
            c *= -0.75


@pytest.mark.parametrize("rows", [1, 64])
def test_a_gradient_from_outside_starts_backward(rows: int, rng: Any) -> None:
    W = mg.Tensor(rng.standard_normal((4, 5)).astype(np.float32), requires_grad=True)
    seed = rng.standard_normal((rows, 4)).astype(np.float32)

    @mg.compile
    def step(x: Any) -> None:
        W.grad = None
        (x @ W.T).backward(seed)

    for _ in range(5):
        x = rng.standard_normal((rows, 5)).astype(np.float32)
        step(mg.Tensor(x))
        np.testing.assert_allclose(W.grad.data, seed.T @ x, rtol=1e-4, atol=1e-5)
        seed *= -0.75


def test_a_closed_over_batch_trains_a_layer(rng: Any) -> None:
    for rows in (1, 64):
        X = rng.standard_normal((rows, 5)).astype(np.float32)
        Y = X.sum(axis=1, keepdims=True)
        losses = []
        for compiled in (True, False):
            mg.manual_seed(0)
            layer = nn.Linear(5, 1)
            optimizer = nn.SGD(layer.parameters(), lr=0.01)

            def step(layer: Any = layer, optimizer: Any = optimizer, X: Any = X, Y: Any = Y) -> Any:
                optimizer.zero_grad()
                loss = nn.MSELoss()(layer(X), Y)
                loss.backward()
                optimizer.step()
                return loss

            run = mg.compile(step) if compiled else step
            losses.append([run().item() for _ in range(6)])
        np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_tensor_that_the_call_before_did_not_use_meets_weights(rng: Any) -> None:
    tables = [mg.Tensor(rng.standard_normal((20, 5)).astype(np.float32)) for _ in range(6)]
    W = mg.Tensor(rng.standard_normal((4, 5)).astype(np.float32), requires_grad=True)
    turn = iter(tables)
    step = mg.compile(lambda x: (next(turn) @ W.T + x).detach())
    for k in range(2):
        np.testing.assert_allclose(step(mg.zeros(4)).data, tables[k].data @ W.data.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 0), (0, 4), (0, 0)])
def test_axes_of_size_zero(shape: tuple[int, int]) -> None:
    @mg.compile
    def step(x: Any, w: Any) -> Any:
        products = np.einsum("ij,kj->ik", x, x).sum() + (x @ w.T).sum()
        total = products + np.tanh(x[:, ::-1]).T.sum() + np.concatenate([x, x * 2], axis=1).sum()
        total.backward()
        return total.detach()

    w = mg.ones((3, shape[1]), requires_grad=True)
    for _ in range(4):
        x = mg.zeros(shape, requires_grad=True)
        assert step(x, w).item() == 0
        assert x.grad.shape == shape
        assert w.grad.shape == w.shape
