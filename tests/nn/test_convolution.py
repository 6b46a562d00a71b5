"""Convolution and pooling along time against loops over their windows; unequal lengths; what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import gradients, near, parameters_replaced, randomize, tensors, total

import minigrad as mg
import nn

Rng = np.random.Generator


def convolved(layer: nn.Conv1d, x: Any) -> Any:
    """One sequence (C, L), number by number."""
    W = layer.weight.numpy()
    O, width, K = W.shape
    b = np.zeros(O) if layer.bias is None else layer.bias.numpy()
    d, s = layer.dilation, layer.stride
    reach = d * (K - 1)
    before, after = {"same": (reach // 2, reach - reach // 2), "causal": (reach, 0), "valid": (0, 0)}.get(
        layer.padding, (layer.padding, layer.padding)
    )
    x = np.pad(x, [(0, 0), (before, after)])
    M = max((x.shape[1] - reach - 1) // s + 1, 0)
    y = np.empty((O, M))
    for o in range(O):
        group = o // (O // layer.groups)
        for m in range(M):
            y[o, m] = b[o] + sum(
                W[o, c, k] * x[group * width + c, m * s + k * d] for c in range(width) for k in range(K)
            )
    return y


CONVOLUTIONS: list[dict[str, Any]] = [
    {"kernel_size": 3}, {"kernel_size": 2, "stride": 3, "padding": 1}, {"kernel_size": 3, "dilation": 2, "bias": False},
    {"kernel_size": 4, "padding": "same"}, {"kernel_size": 3, "padding": "causal", "dilation": 2, "stride": 2},
    {"kernel_size": 3, "groups": 2, "padding": 2}, {"kernel_size": 2, "groups": 4, "padding": "causal"},
    {"kernel_size": 1, "padding": "valid"},
]  # fmt: skip
convolutions = pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)


@convolutions
def test_a_convolution_is_the_loop_over_its_windows(options: Any, rng: Rng) -> None:
    layer = randomize(nn.Conv1d(4, 8, **options, dtype=np.float64), rng)
    x = rng.standard_normal((3, 4, 9))
    expected = np.stack([convolved(layer, each) for each in x])
    near(layer(x), expected)
    near(layer(x[1]), expected[1])
    assert layer.output_lengths(9) == expected.shape[2]
    assert layer(x.astype(np.float32)).dtype == np.float64
    assert layer.to(np.float32)(x).dtype == np.float32
    near(layer(x), expected, 4e-7 * 10)


@convolutions
def test_derivatives_of_a_convolution(options: Any, rng: Rng) -> None:
    layer = randomize(nn.Conv1d(4, 4, **options, dtype=np.float64), rng)
    names = [name for name, _ in layer.named_parameters()]

    def of(x: Any, *weights: Any) -> Any:
        with parameters_replaced(layer, dict(zip(names, weights, strict=True))):
            return layer(x)

    inputs = [tensors(rng.standard_normal((2, 4, 6))), *layer.parameters()]
    assert mg.gradcheck(of, inputs)
    assert mg.gradgradcheck(of, inputs)


@convolutions
def test_a_ragged_batch_is_each_sequence_alone(options: Any, rng: Rng) -> None:
    layer = randomize(nn.Conv1d(4, 8, **options, dtype=np.float64), rng)
    lengths = [9, 0, 4, 1, 7]
    xs = rng.standard_normal((5, 4, 9))
    expected = [convolved(layer, x[:, :n]) if n else np.zeros((8, 0)) for x, n in zip(xs, lengths, strict=True)]
    assert layer.output_lengths(lengths).tolist() == [y.shape[1] for y in expected]
    for n, x in zip(lengths, xs, strict=True):
        x[:, n:] = np.nan  # no influence
    leaf = tensors(xs)
    y = layer(leaf, lengths=lengths)
    for n, each in enumerate(expected):
        near(y.numpy()[n, :, : each.shape[1]], each)
        assert not y.numpy()[n, :, each.shape[1] :].any()
    weights = rng.standard_normal(y.shape)
    found = gradients(total(y, [weights]), layer, x=leaf)
    sums = {name: np.zeros(p.shape) for name, p in layer.named_parameters()}
    for n, (x, length) in enumerate(zip(xs, lengths, strict=True)):
        near(found["x[0]"][n, :, length:], np.zeros((4, 9 - length)), 0)
        if expected[n].shape[1]:
            alone = tensors(x[:, :length])
            each = gradients(total(layer(alone), [weights[n, :, : expected[n].shape[1]]]), layer, x=alone)
            near(found["x[0]"][n, :, :length], each["x[0]"])
            for name in sums:
                sums[name] += each[name]
    near({name: found[name] for name in sums}, sums)


def test_causal_padding_sees_nothing_that_comes_later(rng: Rng) -> None:
    layer = nn.Conv1d(2, 3, 4, padding="causal", dilation=2)
    x = tensors(rng.standard_normal((1, 2, 9)))
    layer(x)[0, :, 4].sum().backward()
    assert x.grad.numpy()[..., :5:2].all()
    assert not x.grad.numpy()[..., 5:].any()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_other_paddings(mode: str, rng: Rng) -> None:
    layer = nn.Conv1d(2, 3, 3, padding=2, padding_mode=mode, dtype=np.float64)
    plain = nn.Conv1d(2, 3, 3, dtype=np.float64)
    plain.load_state_dict(layer.state_dict())
    x = rng.standard_normal((2, 2, 7))
    name: Any = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    near(layer(x), plain(np.pad(x, [(0, 0), (0, 0), (2, 2)], mode=name)).numpy())
    with pytest.raises(ValueError, match="Conv1d: lengths need padding_mode='zeros'"):
        layer(x, lengths=[7, 3])


# ---- pooling -----------------------------------------------------------------------------------------------------


POOLS: list[dict[str, Any]] = [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 1, "padding": 1}, {"kernel_size": 3, "stride": 2, "dilation": 2},
    {"kernel_size": 3, "ceil_mode": True}, {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True},
]  # fmt: skip
pools = pytest.mark.parametrize("options", POOLS, ids=str)


def pooled(layer: nn.MaxPool1d, x: Any, M: int) -> tuple[Any, Any]:
    """The largest numbers of one sequence (C, L), and their steps."""
    values, steps = np.empty((x.shape[0], M)), np.empty((x.shape[0], M), int)
    for c in range(x.shape[0]):
        for m in range(M):
            window = [m * layer.stride + k * layer.dilation - layer.padding for k in range(layer.kernel_size)]
            inside = [t for t in window if 0 <= t < x.shape[1]]
            steps[c, m] = max(inside, key=lambda t: (x[c, t], -t))
            values[c, m] = x[c, steps[c, m]]
    return values, steps


@pools
@pytest.mark.parametrize("ties", [False, True])
def test_pooling_is_the_loop_over_its_windows(options: Any, ties: bool, rng: Rng) -> None:
    layer = nn.MaxPool1d(**options, return_indices=True)
    lengths = [10, 0, 5, 8]
    xs = rng.integers(-2, 2, (4, 3, 10)) * 1.0 if ties else rng.standard_normal((4, 3, 10))
    for given in (None, lengths):
        leaf = tensors(xs)
        y, places = layer(leaf, lengths=given)
        assert isinstance(places, np.ndarray)
        g = rng.standard_normal(y.shape)
        (y * g).sum().backward()
        gradient = np.zeros_like(xs)
        for n, x in enumerate(xs):
            length = 10 if given is None else given[n]
            M = int(layer.output_lengths(length))
            values, steps = pooled(layer, x[:, :length], M)
            near(y.numpy()[n, :, :M], values, 0)
            assert not y.numpy()[n, :, M:].any()
            np.add.at(gradient[n], (np.arange(3)[:, None], steps), g[n, :, :M])
            near(places[n, :, :M], steps, 0)
            assert not places[n, :, M:].any()
        near(leaf.grad, gradient)
    for found, expected in zip(layer(xs[0]), pooled(layer, xs[0], int(layer.output_lengths(10))), strict=True):
        near(found, expected, 0)
    near(nn.MaxPool1d(**options)(xs), layer(xs)[0].numpy(), 0)


def test_nan_is_the_largest() -> None:
    y = nn.MaxPool1d(2)(mg.tensor([[[1.0, np.nan, np.nan, 2.0, 3.0, 4.0]]])).numpy()
    assert np.isnan(y[0, 0, :2]).all()
    assert y[0, 0, 2] == 4


def test_layers_with_windows_on_every_backend(backend: Any, rng: Rng) -> None:
    x = rng.standard_normal((2, 4, 9))
    for groups in (1, 2, 4):
        layer = nn.Conv1d(4, 4, 3, groups=groups, padding=1, device=backend.device, dtype=np.float64)
        leaf = mg.tensor(backend.array(x), requires_grad=True)
        y = nn.MaxPool1d(2, padding=1)(layer(leaf, lengths=[9, 4]), lengths=[9, 4])
        y.sum().backward()
        here = nn.Conv1d(4, 4, 3, groups=groups, padding=1, dtype=np.float64)
        here.load_state_dict({name: backend.numpy(value) for name, value in layer.state_dict().items()})
        twin = mg.tensor(x, requires_grad=True)
        expected = nn.MaxPool1d(2, padding=1)(here(twin, lengths=[9, 4]), lengths=[9, 4])
        expected.sum().backward()
        near(backend.numpy(y), expected.numpy())
        near(backend.numpy(leaf.grad), twin.grad.numpy())


def test_layers_with_windows_in_a_compiled_step(rng: Rng) -> None:
    model = nn.Sequential(
        nn.Conv1d(2, 4, 3, padding="causal"), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 4, 2, groups=4)
    )
    twin = nn.Sequential(nn.Conv1d(2, 4, 3, padding="causal"), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 4, 2, groups=4))
    twin.load_state_dict(model.state_dict())
    steps = []
    for each in (model, twin):
        optimizer = nn.SGD(each.named_parameters(), lr=0.1)

        def step(x: Any, each: Any = each, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = (each(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        steps.append(step)
    compiled = mg.compile(steps[0])
    for _ in range(5):
        x = mg.tensor(rng.standard_normal((3, 2, 8)).astype(np.float32))
        near(compiled(x), steps[1](x).numpy(), 1e-5)
    assert compiled.why == ["the first call"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: nn.Conv1d(2, 3, 5, dilation=2)(mg.ones((1, 2, 7))),
            ValueError,
            r"Conv1d: a window of 9 steps \(kernel_size 5, dilation 2\) is wider than the input's 7 steps with 0",
        ),
        (lambda: nn.MaxPool1d(4)(mg.ones((1, 2, 3))), ValueError, "MaxPool1d: a window of 4 steps"),
        (lambda: nn.Conv1d(3, 4, 2, groups=2), ValueError, "Conv1d: 3 and 4 channels do not divide into 2 groups"),
        (lambda: nn.Conv1d(2, 4, 0), ValueError, "Conv1d: kernel_size must be a whole number of at least 1, not 0"),
        (lambda: nn.Conv1d(2, 4, 3, padding=-1), ValueError, "Conv1d: padding must be a whole number of at least 0"),
        (lambda: nn.Conv1d(2, 4, 3, padding="full"), ValueError, "'valid', 'same' or 'causal', not 'full'"),
        (lambda: nn.Conv1d(2, 4, 3, 2, padding="same"), ValueError, "padding='same' needs a stride of 1, not 2"),
        (lambda: nn.Conv1d(2, 4, 3, padding_mode="mirror"), ValueError, "padding_mode is one of zeros, reflect"),
        (
            lambda: nn.Conv1d(2, 4, 3)(mg.ones((5, 4, 2))),
            ValueError,
            r"Conv1d: the input must be \(N, C, L\), or \(C, L\), with C = 2, not \(5, 4, 2\)",
        ),
        (
            lambda: nn.Conv1d(2, 4, 3)(np.ones((1, 2, 5), int)),
            TypeError,
            "Conv1d: the input must be of floats, not int",
        ),
        (lambda: nn.Conv1d(2, 4, 3)(mg.ones((1, 2, 5)), lengths=[6]), ValueError, "length 6 of sequence 0 is not betw"),
        (lambda: nn.Conv1d(2, 4, 3)(mg.ones((1, 2, 5)), lengths=[1, 2]), ValueError, "need lengths of shape"),
        (lambda: nn.MaxPool1d(3, padding=2), ValueError, "MaxPool1d: padding 2 is more than half of kernel_size 3"),
        (
            lambda: nn.MaxPool1d(2)(mg.ones(4)),
            ValueError,
            r"MaxPool1d: the input must be \(N, C, L\), or \(C, L\), not",
        ),
    ],
)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
