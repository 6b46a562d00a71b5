"""Weights travel to PyTorch and back through safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import minigrad as mg
import nn
from nn.training.files import load, load_metadata, save

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings(
        "ignore:LSTM with projections is not supported with oneDNN"
    ),  # PyTorch says how it computes
]

MODULES = {
    "linear": (lambda n: n.Linear(4, 3), (5, 4)),
    "linear without bias": (lambda n: n.Linear(4, 3, bias=False), (2, 5, 4)),
    "layer norm": (lambda n: n.LayerNorm((3, 4)), (2, 3, 4)),
    "embedding": (lambda n: n.Embedding(7, 3, padding_idx=1), None),
    "rnn": (lambda n: n.RNN(4, 3, 2, nonlinearity="relu"), (5, 2, 4)),
    "lstm": (lambda n: n.LSTM(4, 3, 2, bidirectional=True, batch_first=True), (2, 5, 4)),
    "lstm with a projection": (lambda n: n.LSTM(4, 3, proj_size=2, bias=False), (5, 2, 4)),
    "gru": (lambda n: n.GRU(4, 3, 3, bidirectional=True), (5, 2, 4)),
    "nested": (lambda n: n.Sequential(n.Linear(4, 6), n.Tanh(), n.Sequential(n.LayerNorm(6), n.Linear(6, 2))), (5, 4)),
}


def randomized(module: Any, rng: np.random.Generator) -> Any:
    """The module with other numbers than those that it starts with, also where these are 0 and 1."""
    for parameter in module.parameters():
        values = rng.standard_normal(tuple(parameter.shape))
        with torch.no_grad(), mg.no_grad():
            parameter[...] = torch.tensor(values) if isinstance(parameter, torch.Tensor) else mg.tensor(values)
    return module


def outputs(ours: Any, theirs: Any, shape: tuple[int, ...] | None, rng: np.random.Generator) -> tuple[Any, Any]:
    x = rng.integers(0, 7, (2, 5)) if shape is None else rng.standard_normal(shape).astype(np.float32)
    results = ours(x if shape is None else mg.tensor(x)), theirs(torch.tensor(x))
    mine, other = [r[0] if isinstance(r, tuple) else r for r in results]
    return mine.numpy(), other.detach().numpy()


@pytest.mark.parametrize(("make", "shape"), MODULES.values(), ids=MODULES)
def test_to_pytorch(tmp_path: Path, make: Any, shape: Any, rng: np.random.Generator) -> None:
    ours, theirs = randomized(make(nn), rng), make(torch.nn)
    save(ours, tmp_path / "m", {"written by": "minigrad"})
    state = safetensors.torch.load_file(tmp_path / "m")
    assert theirs.load_state_dict(state) is not None  # strict: the names agree
    assert {name: (tuple(t.shape), t.dtype) for name, t in state.items()} == {
        name: (t.shape, torch.float32) for name, t in ours.state_dict().items()
    }
    np.testing.assert_allclose(*outputs(ours, theirs, shape, rng), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("make", "shape"), MODULES.values(), ids=MODULES)
def test_from_pytorch(tmp_path: Path, make: Any, shape: Any, rng: np.random.Generator) -> None:
    ours, theirs = make(nn), randomized(make(torch.nn), rng)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "m")
    assert ours.load_state_dict(load(tmp_path / "m")) == ([], [])
    np.testing.assert_allclose(*outputs(ours, theirs, shape, rng), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"])
def test_numbers_are_the_same_bit_for_bit(tmp_path: Path, dtype: str, rng: np.random.Generator) -> None:
    array = (100 * rng.uniform(-1, 1, (3, 5))).astype(dtype)
    save({"x": array.T, "one": np.asarray(array[0, 0])}, tmp_path / "ours")
    theirs = safetensors.torch.load_file(tmp_path / "ours")
    assert theirs["x"].numpy().dtype == dtype
    np.testing.assert_array_equal(theirs["x"].numpy(), array.T)
    np.testing.assert_array_equal(theirs["one"].numpy(), array[0, 0])
    safetensors.torch.save_file({"x": torch.tensor(array)}, tmp_path / "theirs", {"format": "pt"})
    back = load(tmp_path / "theirs")["x"]
    assert back.dtype == dtype
    np.testing.assert_array_equal(back.data, array)
    assert load_metadata(tmp_path / "theirs") == {"format": "pt"}


class Tied(torch.nn.Module):
    def __init__(self, n: Any) -> None:
        super().__init__()
        self.embedding = n.Embedding(5, 3)
        self.out = n.Linear(3, 5)
        self.out.weight = self.embedding.weight


class OurTied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5)
        self.out.weight = self.embedding.weight


def test_tied_weights_travel(tmp_path: Path) -> None:
    ours, theirs = OurTied(), Tied(torch.nn)
    save(ours, tmp_path / "ours")
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "ours"))
    assert theirs.out.weight is theirs.embedding.weight
    np.testing.assert_array_equal(theirs.out.weight.detach().numpy(), ours.out.weight.numpy())

    other = Tied(torch.nn)
    safetensors.torch.save_model(other, tmp_path / "theirs", {"format": "pt"})  # one of the names only
    assert len(safetensors.torch.load_file(tmp_path / "theirs")) == 2
    ours.load_state_dict(load(tmp_path / "theirs"))
    assert ours.out.weight is ours.embedding.weight
    np.testing.assert_array_equal(ours.embedding.weight.numpy(), other.embedding.weight.detach().numpy())
