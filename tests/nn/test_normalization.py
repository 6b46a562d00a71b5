"""Normalization of rows, and of channels over a batch, against formulas; ragged batches; running statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import near, randomize, tensors

import minigrad as mg
import nn

Rng = np.random.Generator
every_shape = pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5)])


def test_rms_norm(rng: Rng) -> None:
    x = rng.standard_normal((4, 2, 3)) * 5 + 2
    for sizes, options in ((3, {}), ((2, 3), {"eps": 1e-3}), ((3,), {"elementwise_affine": False})):
        layer = randomize(nn.RMSNorm(sizes, dtype=np.float64, **options), rng)  # type: ignore[arg-type]
        axes = tuple(range(-len(layer.normalized_shape), 0))
        eps = options.get("eps", np.finfo(np.float64).eps)  # type: ignore[attr-defined]
        y = x / np.sqrt((x**2).mean(axes, keepdims=True) + eps)
        near(layer(x), y if layer.weight is None else y * layer.weight.numpy())
        assert mg.gradcheck(layer, tensors(x))
        assert mg.gradgradcheck(layer, tensors(x))
    near(nn.RMSNorm(4, dtype=np.float16)(np.full((2, 4), 1e4, np.float16)), np.ones((2, 4), np.float16), 1e-3)


def moments(x: Any) -> tuple[Any, Any]:
    """The mean and variance of each channel, and x normalized by them."""
    axes = (0, *range(2, x.ndim))
    return x.mean(axes), x.var(axes)


def along(v: Any, x: Any) -> Any:
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


@every_shape
@pytest.mark.parametrize("momentum", [0.3, None])
def test_batch_norm(shape: Any, momentum: float | None, rng: Rng) -> None:
    layer = randomize(nn.BatchNorm1d(3, eps=1e-3, momentum=momentum, dtype=np.float64), rng)
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    running, spread = np.zeros(3), np.ones(3)
    for k in range(1, 4):
        x = rng.standard_normal(shape) * 3 + 1
        m, v = moments(x)
        near(layer(x), (x - along(m, x)) / np.sqrt(along(v, x) + 1e-3) * along(weight, x) + along(bias, x))
        n = x.size // 3
        share = momentum or 1 / k
        running += share * (m - running)
        spread += share * (v * n / (n - 1) - spread)
        near(layer.running_mean, running)
        near(layer.running_var, spread)
        assert layer.num_batches_tracked.item() == k
    x = rng.standard_normal(shape)
    expected = (x - along(running, x)) / np.sqrt(along(spread, x) + 1e-3) * along(weight, x) + along(bias, x)
    near(layer.eval()(x), expected)
    assert layer.num_batches_tracked.item() == 3
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


@every_shape
def test_derivatives_of_batch_norm(shape: Any, rng: Rng) -> None:
    for options in ({}, {"affine": False}, {"track_running_stats": False}):
        layer = randomize(nn.BatchNorm1d(3, dtype=np.float64, **options), rng)
        x = tensors(rng.standard_normal(shape))
        assert mg.gradcheck(layer, x)
        assert mg.gradgradcheck(layer, x)
        assert mg.gradcheck(layer.eval(), x)


def test_without_running_statistics(rng: Rng) -> None:
    layer = nn.BatchNorm1d(3, track_running_stats=False, dtype=np.float64)
    x = rng.standard_normal((5, 3))
    near(layer.eval()(x), layer.train()(x).numpy())
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_only_what_is_real_counts(rng: Rng) -> None:
    layer, twin = (nn.BatchNorm1d(3, dtype=np.float64) for _ in range(2))
    x, lengths = rng.standard_normal((4, 3, 5)), [5, 0, 2, 3]
    real = np.arange(5) < np.array(lengths)[:, None]  # (N, L)
    rows = np.swapaxes(x, 1, 2)[real]  # (R, C)
    x = np.where(real[:, None], x, np.nan)
    for options in ({"lengths": lengths}, {"mask": real}):
        leaf, leaf_of_rows = tensors(x), tensors(rows)
        y, expected = layer(leaf, **options), twin(leaf_of_rows)
        near(np.swapaxes(y.numpy(), 1, 2)[real], expected.numpy())
        assert not np.swapaxes(y.numpy(), 1, 2)[~real].any()
        (y**3).sum().backward()
        (expected**3).sum().backward()
        near(np.swapaxes(leaf.grad.numpy(), 1, 2)[real], leaf_of_rows.grad.numpy(), 1e-11)
        assert not np.swapaxes(leaf.grad.numpy(), 1, 2)[~real].any()
        for a, b in zip(layer.buffers(), twin.buffers(), strict=True):
            near(a, b.numpy())
    near(layer.eval()(x, mask=real).numpy()[0], twin.eval()(x[:1]).numpy()[0])
    rows = np.array([[1.0, 2.0, 3.0], [np.nan] * 3, [3.0, 1.0, 0.0]])
    near(nn.BatchNorm1d(3)(rows, mask=[True, False, True]).numpy()[1], np.zeros(3, np.float32), 0)


def test_batch_norm_on_every_backend(backend: Any, rng: Rng) -> None:
    layer = nn.BatchNorm1d(3, device=backend.device, dtype=np.float64)
    here = nn.BatchNorm1d(3, dtype=np.float64)
    x = rng.standard_normal((4, 3, 5))
    for options in ({}, {"lengths": [5, 2, 0, 3]}):
        near(backend.numpy(layer(backend.array(x), **options)), here(x, **options).numpy())
    for a, b in zip(layer.buffers(), here.buffers(), strict=True):
        near(backend.numpy(a), b.numpy())
    near(backend.numpy(layer.eval()(backend.array(x))), here.eval()(x).numpy())


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_go_on_in_a_compiled_step(momentum: Any, rng: Rng) -> None:
    layer, twin = (nn.BatchNorm1d(3, momentum=momentum) for _ in range(2))
    step = mg.compile(lambda x: layer(x).detach())
    for _ in range(5):
        x = mg.tensor(rng.standard_normal((4, 3)).astype(np.float32))
        near(step(x), twin(x).numpy(), 1e-6)
        for a, b in zip(layer.buffers(), twin.buffers(), strict=True):
            near(a, b.numpy(), 1e-6)
    assert step.why == ["the first call"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nn.BatchNorm1d(3)(mg.ones((4, 2))),
            r"BatchNorm1d: the input must be \(N, C\) or \(N, C, L\), C = 3, not",
        ),
        (
            lambda: nn.BatchNorm1d(3)(mg.ones((1, 3))),
            "BatchNorm1d: 1 numbers a channel, of an input .1, 3., are too few",
        ),
        (lambda: nn.BatchNorm1d(3)(mg.ones((2, 3)), mask=[True, False]), "BatchNorm1d: 1 numbers a channel"),
        (lambda: nn.BatchNorm1d(3)(mg.ones((2, 3)), mask=[1, 0]), "the mask must be boolean and of shape"),
        (lambda: nn.BatchNorm1d(3)(mg.ones((2, 3, 4)), mask=np.ones((2, 3), bool)), r"of shape \(2, 4\), got bool"),
        (lambda: nn.BatchNorm1d(3)(mg.ones((2, 3)), lengths=[1, 2]), "lengths are those of sequences"),
        (
            lambda: nn.BatchNorm1d(3)(mg.ones((1, 3, 2)), lengths=[2], mask=[[True] * 2]),
            "give lengths or a mask",
        ),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
