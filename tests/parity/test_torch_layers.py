"""Layers without time, starting values and activations against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import minigrad as mg
import nn

pytestmark = pytest.mark.parity

every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def compare(ours: Any, theirs: Any, x: Any, dtype: Any, exact: float = 1e-13) -> None:
    """Values and all gradients, against PyTorch's in float64."""
    rng = np.random.default_rng(3)
    theirs = theirs.double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.tensor(rng.uniform(0.2, 1, tuple(parameter.shape)).astype(dtype).astype(np.float64)))
    ours = ours.to(dtype)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    if x.dtype.kind == "f":
        x = x.astype(dtype)
        mx = mg.tensor(x, requires_grad=True)
        tx = torch.tensor(x.astype(np.float64), requires_grad=True)
    else:
        mx, tx = x, torch.tensor(x)
    output, expected = ours(mx), theirs(tx)
    w = rng.standard_normal(output.shape).astype(dtype)
    bound = exact if dtype == np.float64 else 2e-6

    def near(a: Any, b: Any) -> None:
        assert a.dtype == dtype
        b = b.detach().numpy()
        np.testing.assert_allclose(a.numpy(), b, rtol=0, atol=bound * max(np.abs(b).max(initial=0), 1e-3))

    near(output, expected)
    (output * w).sum().backward()
    (expected * torch.tensor(w, dtype=torch.float64)).sum().backward()
    if x.dtype.kind == "f":
        near(mx.grad, tx.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        near(p.grad, q.grad)


LAYERS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "linear": (nn.Linear(5, 3), torch.nn.Linear(5, 3), (4, 5)),
    "linear vector": (nn.Linear(5, 3), torch.nn.Linear(5, 3), (5,)),
    "linear batch no bias": (nn.Linear(5, 3, bias=False), torch.nn.Linear(5, 3, bias=False), (2, 4, 5)),
    "layer norm": (nn.LayerNorm(5), torch.nn.LayerNorm(5), (2, 4, 5)),
    "layer norm of axes": (nn.LayerNorm((4, 5), eps=1e-3), torch.nn.LayerNorm((4, 5), eps=1e-3), (2, 4, 5)),
    "layer norm no bias": (nn.LayerNorm(5, bias=False), torch.nn.LayerNorm(5, bias=False), (4, 5)),
    "layer norm plain": (
        nn.LayerNorm(5, elementwise_affine=False), torch.nn.LayerNorm(5, elementwise_affine=False), (4, 5)
    ),
    "dropout": (nn.Dropout(0.5).eval(), torch.nn.Dropout(0.5).eval(), (4, 5)),
    "sequence": (
        nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2)),
        torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)),
        (3, 5),
    ),
}  # fmt: skip
for name, args, keywords in [
    ("Identity", (), {}), ("Tanh", (), {}), ("Sigmoid", (), {}), ("ReLU", (), {}), ("SiLU", (), {}), ("GELU", (), {}),
    ("GELU", (), {"approximate": "tanh"}), ("LeakyReLU", (0.2,), {}), ("LeakyReLU", (), {}), ("ELU", (0.7,), {}),
    ("Softplus", (1.5,), {}), ("Softplus", (), {}), ("Hardtanh", (-0.5, 1.5), {}), ("Hardsigmoid", (), {}),
    ("Softmax", (), {"dim": 0}), ("Softmax", (-1,), {}), ("LogSoftmax", (), {"dim": 1}),
]:  # fmt: skip
    layers = getattr(nn, name)(*args, **keywords), getattr(torch.nn, name)(*args, **keywords)
    LAYERS[f"{name}{args}{keywords}"] = (*layers, (3, 4))


@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS.values(), ids=LAYERS.keys())
@every_dtype
def test_layers(ours: Any, theirs: Any, shape: Any, dtype: Any, rng: Any) -> None:
    exact = 1e-7 if isinstance(ours, nn.Hardsigmoid) else 1e-13  # PyTorch's derivative is 1/6 in float32
    compare(ours, theirs, 2 * rng.standard_normal(shape), dtype, exact)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"padding_idx": -1}])
@every_dtype
def test_embeddings(options: Any, dtype: Any) -> None:
    ids = np.array([[1, 2, 1, 6], [5, 0, 2, 6]])
    compare(nn.Embedding(7, 3, **options), torch.nn.Embedding(7, 3, **options), ids, dtype)
    ours, theirs = nn.Embedding(7, 3, **options), torch.nn.Embedding(7, 3, **options)
    assert ours.padding_idx == theirs.padding_idx
    if options:
        assert not ours.weight.numpy()[ours.padding_idx].any()


def test_pretrained_embeddings(rng: Any) -> None:
    matrix = rng.standard_normal((4, 2)).astype(np.float32)
    for freeze in (True, False):
        ours = nn.Embedding.from_pretrained(matrix, freeze=freeze, padding_idx=1)
        theirs = torch.nn.Embedding.from_pretrained(torch.tensor(matrix), freeze=freeze, padding_idx=1)
        assert ours.weight.requires_grad == theirs.weight.requires_grad
        np.testing.assert_array_equal(ours.weight.numpy(), theirs.weight.detach().numpy())


# ---- starting values ---------------------------------------------------------------------------------------------


def test_gains() -> None:
    for name in ("linear", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert nn.init.calculate_gain("leaky_relu", 0.2) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.2))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uniform_", {"a": -0.3, "b": 0.7}),
        ("normal_", {"mean": 0.4, "std": 0.3}),
        ("xavier_uniform_", {"gain": 1.7}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": 0.3}),
        ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_normal_", {"nonlinearity": "tanh"}),
        ("kaiming_normal_", {"mode": "fan_out"}),
        ("orthogonal_", {"gain": 1.3}),
        ("eye_", {}),
        ("zeros_", {}),
        ("ones_", {}),
    ],
)
@pytest.mark.parametrize("shape", [(80, 30), (30, 80)])
def test_starting_values_are_distributed_alike(name: str, options: Any, shape: Any) -> None:
    torch.manual_seed(0)
    ours = getattr(nn.init, name)(mg.zeros(shape), **options).numpy()
    theirs = getattr(torch.nn.init, name)(torch.zeros(shape), **options).numpy()
    spread = theirs.std()
    noise = 5 * spread * (2 / ours.size) ** 0.5
    assert abs(ours.mean() - theirs.mean()) <= noise
    assert abs(ours.std() - spread) <= noise
    assert abs(np.abs(ours).max() - np.abs(theirs).max()) <= 0.3 * np.abs(theirs).max()
    if name == "orthogonal_":
        for w in (ours, theirs):
            np.testing.assert_allclose(np.linalg.svd(w)[1], 1.3, rtol=1e-5)


def test_layers_start_with_pytorchs_spread() -> None:
    torch.manual_seed(0)
    pairs = [(nn.Linear(50, 90), torch.nn.Linear(50, 90)), (nn.Embedding(70, 50), torch.nn.Embedding(70, 50))]
    for ours, theirs in pairs:
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert abs(p.numpy().std() - q.detach().numpy().std()) < 5 * q.std() * (2 / p.size) ** 0.5
