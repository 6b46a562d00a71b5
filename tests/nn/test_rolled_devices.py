"""Loops as launches on a device: the stand-in for a GPU runs the same kernels, each of them counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strict import ElementwiseKernel

import minigrad as mg
import nn
from minigrad import backend as backends
from minigrad.programs import launches

DEVICE = "strict:0"
T, N, D, H = 6, 3, 5, 4
HOLES = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0]], bool)
LAYERS: dict[str, Any] = {
    "RNN": lambda: nn.RNN(D, H),
    "LSTM": lambda: nn.LSTM(D, H, num_layers=2, bidirectional=True),
    "GRU": lambda: nn.GRU(D, H, learn_state=True),
    "peepholes": lambda: nn.Recurrent(nn.LSTMCell(D, H, peephole=True)),
    "projected": lambda: nn.LSTM(D, H, proj_size=3),
    "coupled": lambda: nn.Recurrent(nn.zoo.JANETCell(D, H), reverse=True),
    "residual": lambda: nn.Stacked([nn.zoo.SRUCell(H + 1, H + 1), nn.zoo.MGUCell(H + 1, H + 1)], residual=True),
    "exponential": lambda: nn.Recurrent(nn.zoo.SLSTMCell(D, H)),
    "recurrent dropout": lambda: nn.LSTM(D, H, recurrent_dropout=0.0),
}


def results(layer: Any, device: str, ragged: dict[str, Any]) -> list[Any]:
    """Outputs, last states, and all gradients."""
    layer.to(device)
    x = np.random.default_rng(3).standard_normal((T, N, D)).astype(np.float64)
    xs = mg.Tensor(backends.from_numpy(x, device), requires_grad=True)
    output, state = layer(xs, **ragged)
    leaves = mg.trees.flatten(state)[0]
    layer.zero_grad()
    (np.sum(np.sin(output)) + sum(np.sum(s**2) for s in leaves)).backward()
    return [backends.to_numpy(v.data) for v in (output, *leaves, xs.grad, *[p.grad for p in layer.parameters()])]


@pytest.mark.parametrize("ragged", [{}, {"lengths": [6, 2, 4]}, {"mask": HOLES}], ids=["full", "ragged", "holes"])
@pytest.mark.parametrize("name", LAYERS)
def test_launches_are_the_loop(name: str, ragged: Any) -> None:
    mg.manual_seed(0)
    layer = LAYERS[name]().to(np.float64)
    found = results(layer, DEVICE, ragged)
    assert layer.rolled is True
    with mg.plain_path():
        expected = results(layer, "cpu", ragged)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_a_step_is_one_product_and_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"kernel": 0, "product": 0}
    call, product = ElementwiseKernel.__call__, launches.multiply

    def kernel(self: Any, *arrays: Any) -> None:
        counts["kernel"] += 1
        call(self, *arrays)

    def multiply(*operands: Any) -> None:
        counts["product"] += 1
        product(*operands)

    monkeypatch.setattr(ElementwiseKernel, "__call__", kernel)
    monkeypatch.setattr(launches, "multiply", multiply)
    layer = nn.LSTM(D, H).to(DEVICE)
    output, _ = layer(mg.Tensor(backends.from_numpy(np.zeros((T, N, D), np.float32), DEVICE)))
    assert counts == {"kernel": T, "product": T}
    np.sum(output).backward()
    assert counts == {"kernel": 2 * T, "product": 2 * T}


def test_higher_derivatives_and_pictures_unfold_the_loop() -> None:
    layer, grads = nn.RNN(D, H), []
    for device in (DEVICE, "cpu"):
        layer.to(device).zero_grad()
        xs = mg.Tensor(backends.from_numpy(np.ones((T, N, D), np.float32), device), requires_grad=True)
        np.sum(layer(xs)[0] ** 2).backward(create_graph=True)
        g = layer.cell.weight_hh.grad if hasattr(layer, "cell") else layer.weight_hh_l0.grad
        layer.zero_grad()
        np.sum(g**2).backward()
        grads.append([backends.to_numpy(p.grad.data) for p in layer.parameters()])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    layer.to(DEVICE)
    xs = mg.Tensor(backends.from_numpy(np.ones((T, N, D), np.float32), DEVICE))
    assert len(mg.graph(np.sum(layer(xs)[0]), view="full").nodes) > T


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (lambda: nn.LSTMCell(D, H, layer_norm=True), "a sum or maximum of a row on a GPU"),
        (lambda: nn.LSTMCell(D, H, zoneout=0.5), "its steps draw random numbers on a GPU"),
    ],
)
def test_it_tells_what_is_not_launched_as_a_loop(cell: Any, reason: str) -> None:
    layer = nn.Recurrent(cell()).to(DEVICE)
    layer(mg.Tensor(backends.from_numpy(np.zeros((T, N, D), np.float32), DEVICE)))
    assert reason in str(layer.rolled)


def test_operands_on_several_devices_are_an_error_that_names_them() -> None:
    xs = np.zeros((T, N, D), np.float32)
    for here, there in ((DEVICE, "cpu"), ("cpu", DEVICE), (DEVICE, "strict:1")):
        layer = nn.LSTM(D, H).to(here)
        with pytest.raises(backends.DeviceError, match=r"different devices.*move one with \.to"):
            layer(mg.Tensor(backends.from_numpy(xs, there)))
