"""Layers without time against their formulas, starting values, and dropout of values and weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from oracles import gradients, near, randomize, tensors, total

import minigrad as mg
import nn
from minigrad import trees
from minigrad.native import machine

Rng = np.random.Generator
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def within(found: float, expected: float, deviation: float, count: int) -> bool:
    """True if a mean of `count` numbers is within five standard errors."""
    return abs(found - expected) < 5 * deviation / math.sqrt(count)


# ---- layers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3), (0, 3)])
def test_linear(bias: bool, shape: Any, rng: Rng) -> None:
    layer = randomize(nn.Linear(3, 5, bias=bias, dtype=np.float64), rng)
    x = rng.standard_normal(shape)
    W, b = layer.weight.numpy(), layer.bias.numpy() if bias else 0.0
    near(layer(x), np.einsum("oi,...i->...o", W, x) + b)
    assert (layer.bias is None) == (not bias)
    if x.size:
        leaf = tensors(x)
        pulled = gradients(total(layer(leaf)), layer, x=leaf)
        g = np.random.default_rng(7).standard_normal((*shape[:-1], 5))
        near(pulled["weight"], np.einsum("ro,ri->oi", g.reshape(-1, 5), x.reshape(-1, 3)))
        near(pulled["x[0]"], g @ W)
        if bias:
            near(pulled["bias"], g.reshape(-1, 5).sum(0))


def test_layer_norm(rng: Rng) -> None:
    x = rng.standard_normal((4, 2, 3)) * 5 + 2
    for sizes, options in (((3,), {}), ((2, 3), {}), (3, {"bias": False}), ((3,), {"elementwise_affine": False})):
        layer = randomize(nn.LayerNorm(sizes, eps=1e-3, dtype=np.float64, **options), rng)  # type: ignore[arg-type]
        axes = tuple(range(-len(layer.normalized_shape), 0))
        y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-3)
        y = y * (1 if layer.weight is None else layer.weight.numpy())
        near(layer(x), y + (0 if layer.bias is None else layer.bias.numpy()))
        assert mg.gradcheck(layer, tensors(x))
        assert mg.gradgradcheck(layer, tensors(x))
    assert names(nn.LayerNorm(3)) == ["weight", "bias"]
    assert names(nn.LayerNorm(3, bias=False)) == ["weight"]
    near(nn.LayerNorm(4)(np.full((2, 4), 1e4, np.float32)), np.zeros((2, 4)), 0)


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


@pytest.mark.parametrize("sparse", [False, True])
def test_embedding(sparse: bool, rng: Rng) -> None:
    layer = nn.Embedding(6, 3, padding_idx=2, sparse=sparse, dtype=np.float64)
    assert not layer.weight.numpy()[2].any()
    ids = np.array([[1, 2, 1], [5, 0, 2]])
    output = layer(ids)
    near(output, layer.weight.numpy()[ids], 0)
    g = rng.standard_normal(output.shape)
    (output * g).sum().backward()
    expected = np.zeros((6, 3))
    np.add.at(expected, ids, g)
    expected[2] = 0
    assert isinstance(layer.weight.grad, mg.RowSparse) == sparse
    near(layer.weight.grad.dense() if sparse else layer.weight.grad, expected)
    assert nn.Embedding(6, 3, padding_idx=-1).padding_idx == 5


def test_embeddings_that_were_trained_before(rng: Rng) -> None:
    matrix = rng.standard_normal((4, 2))
    layer = nn.Embedding.from_pretrained(matrix)
    near(layer(np.array([3, 0])), matrix[[3, 0]], 0)
    assert not layer.weight.requires_grad
    assert layer.weight.data is not matrix
    assert nn.Embedding.from_pretrained(mg.tensor(matrix), freeze=False).weight.requires_grad
    with pytest.raises(ValueError, match=r"expected a matrix \(V, D\), got shape \(3,\)"):
        nn.Embedding.from_pretrained(np.ones(3))


def test_activations_are_the_functions_of_their_names(rng: Rng) -> None:
    x = rng.uniform(0.1, 2, (3, 4)) * rng.choice([-1, 1], (3, 4))
    e = np.exp(x - x.max(0))
    expected = {
        nn.Identity(): x,
        nn.Tanh(): np.tanh(x),
        nn.Sigmoid(): 1 / (1 + np.exp(-x)),
        nn.ReLU(): np.maximum(x, 0),
        nn.SiLU(): x / (1 + np.exp(-x)),
        nn.GELU(): x * np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(x),
        nn.GELU("tanh"): 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        nn.LeakyReLU(0.3): np.where(x > 0, x, 0.3 * x),
        nn.ELU(0.7): np.where(x > 0, x, 0.7 * np.expm1(x)),
        nn.Softplus(2.0): np.log1p(np.exp(2 * x)) / 2,
        nn.Hardtanh(-0.5, 1.5): np.clip(x, -0.5, 1.5),
        nn.Hardsigmoid(): np.clip(x + 3, 0, 6) / 6,
        nn.Softplus(2.0, threshold=1.0): np.where(2 * x > 1, x, np.log1p(np.exp(2 * x)) / 2),
        nn.LogSigmoid(): -np.log1p(np.exp(-x)),
        nn.ReLU6(): np.clip(x, 0, 6),
        nn.PReLU(dtype=np.float64): np.where(x > 0, x, 0.25 * x),
        nn.PReLU(4, 0.1, dtype=np.float64): np.where(x > 0, x, 0.1 * x),
        nn.Mish(): x * np.tanh(np.log1p(np.exp(x))),
        nn.GLU(): x[:, :2] / (1 + np.exp(-x[:, 2:])),
        nn.Softmax(0): e / e.sum(0),
        nn.LogSoftmax(dim=0): np.log(e / e.sum(0)),
    }
    for module, y in expected.items():
        near(module(mg.tensor(x)), y, what=repr(module))
        assert mg.gradcheck(module, tensors(x))


def test_slopes_of_channels_are_learned(rng: Rng) -> None:
    layer = nn.PReLU(3, dtype=np.float64)
    layer.weight.data[...] = [0.5, -1.0, 2.0]
    x, g = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    y = layer(mg.tensor(x))
    near(y, np.where(x > 0, x, x * np.array([0.5, -1.0, 2.0])[:, None]))
    (y * g).sum().backward()
    near(layer.weight.grad, (np.minimum(x, 0) * g).sum((0, 2)))


def test_activations_of_lists_and_numbers_and_their_settings() -> None:
    for module in (nn.Softplus(2.0), nn.Mish(), nn.LogSigmoid(), nn.Tanh(), nn.PReLU(), nn.ELU(0.5)):
        assert module(mg.tensor(0.5)).shape == ()
        y = module([0.5, -1.0])
        assert y.dtype == np.float32
        near(y, module(mg.tensor([0.5, -1.0])).numpy(), 0)
    assert nn.GLU()([1.0, 0.0]).shape == (1,)
    layer = nn.Softplus(2.0, 10.0)
    assert (layer.beta, layer.threshold, repr(layer)) == (2.0, 10.0, "Softplus(beta=2.0, threshold=10.0)")
    assert repr(nn.Softmax(1)) == "Softmax(dim=1)"


@pytest.mark.parametrize(
    "make", [nn.Tanh, nn.LeakyReLU, nn.Softplus, nn.Mish, nn.PReLU, nn.ELU, lambda: nn.GELU("tanh")]
)
def test_a_cell_of_modules_is_rolled(make: Any, rng: Rng) -> None:
    class Cell(nn.Module):
        rolled = True

        def __init__(self) -> None:
            super().__init__()
            self.map, self.f = nn.Linear(8, 5, dtype=np.float64), make()
            self.f.to(np.float64)

        def initial_state(self, batch: int) -> Any:
            return (mg.zeros((batch, 5), dtype=np.float64),)

        def step(self, x: Any, state: Any) -> Any:
            return (self.f(self.map(np.concatenate([x, state[0]], axis=-1))),)

    cell, xs = Cell(), rng.standard_normal((6, 3, 3))
    layer = nn.Recurrent(cell)
    y = layer(xs, lengths=[6, 2, 4])[0]
    assert layer.rolled is True or not machine.available() or machine.switched_off()
    near(y, nn.Recurrent(cell, rolled=False)(xs, lengths=[6, 2, 4])[0].numpy())


def test_activations_at_the_extremes() -> None:
    x = mg.tensor([-1e4, -200.0, 0.0, 200.0, 1e4], requires_grad=True)
    for module, expected in ((nn.LogSigmoid(), [-1e4, -200, -math.log(2), 0, 0]), (nn.Mish(), [0, 0, 0, 200, 1e4]),
                             (nn.Softplus(3.0), [0, 0, math.log(2) / 3, 200, 1e4])):  # fmt: skip
        x.grad = None
        y = module(x)
        near(y, np.array(expected, np.float32), 4e-7)
        y.sum().backward()
        assert np.isfinite(x.grad.numpy()).all()


@every_dtype
def test_layers_keep_the_dtype(dtype: Any) -> None:
    x = mg.ones((2, 4), dtype=dtype)
    for layer in (nn.Linear(4, 2), nn.LayerNorm(4), nn.GELU(), nn.Softplus(), nn.Dropout(0.3), nn.Hardsigmoid(),
                  nn.RMSNorm(4), nn.BatchNorm1d(4), nn.Mish(), nn.PReLU(), nn.GLU(), nn.LogSigmoid()):  # fmt: skip
        assert layer.to(dtype)(x).dtype == dtype, layer


def test_layers_on_every_backend(backend: Any, rng: Rng) -> None:
    made = {"device": backend.device, "dtype": np.float64}
    layer = nn.Sequential(nn.Embedding(5, 4, padding_idx=0, **made), nn.LayerNorm(4, **made), nn.Linear(4, 3, **made),
                          nn.Dropout(0.5))  # fmt: skip
    ids = backend.array([[1, 4], [0, 1]])
    total(layer(ids), [backend.array(rng.standard_normal((2, 2, 3)))]).backward()
    grads = [backend.numpy(p.grad) for p in layer.parameters()]
    assert all(np.isfinite(g).all() for g in grads)
    here = nn.Sequential(nn.Embedding(5, 4, dtype=np.float64), nn.LayerNorm(4, dtype=np.float64),
                         nn.Linear(4, 3, dtype=np.float64))  # fmt: skip
    here.load_state_dict({name: backend.numpy(value) for name, value in layer.state_dict().items()})
    near(backend.numpy(layer.eval()(ids)), here(backend.numpy(ids)).numpy())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: nn.Linear(3, 2)(mg.ones((4, 5))),
            ValueError,
            r"Linear: the input has 5 features \(axis 1 of \(4, 5\)\), but in_features is 3 in Linear",
        ),
        (lambda: nn.Linear(3, 2)(mg.tensor(1.0)), ValueError, "Linear: the input has no axes, but in_features is 3"),
        (
            lambda: nn.Linear(3, 2)(np.ones((4, 3), int)),
            TypeError,
            "Linear: the input must be of floats, not int64 in Linear",
        ),
        (
            lambda: nn.LayerNorm((2, 3))(mg.ones((4, 3))),
            ValueError,
            r"LayerNorm: the last axes of \(4, 3\) are not normalized_shape \(2, 3\)",
        ),
        (
            lambda: nn.RMSNorm(3)(mg.ones((4, 2))),
            ValueError,
            r"RMSNorm: the last axes of \(4, 2\) are not norm",
        ),
        (lambda: nn.GLU()(mg.ones((2, 3))), ValueError, r"GLU: axis -1 of \(2, 3\) does not divide into two halves"),
        (lambda: nn.GLU(2)(mg.ones((2, 4))), ValueError, r"GLU: axis 2 of \(2, 4\) does not divide"),
        (lambda: nn.PReLU(3)(mg.ones((2, 4))), ValueError, r"PReLU: 3 slopes for 4 channels, axis 1 of \(2, 4\)"),
        (lambda: nn.Embedding(3, 2)(np.array([3])), IndexError, "3"),
        (lambda: nn.Embedding(3, 2)(mg.ones(2)), TypeError, "integer"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError, "Embedding: padding_idx 3 is not one of 3 ids"),
        (lambda: nn.Dropout(1.5), ValueError, r"Dropout: a probability must be between 0 and 1, not 1\.5"),
        (lambda: nn.VariationalDropout("a"), ValueError, "VariationalDropout: a probability must be"),  # type: ignore[arg-type]
        (
            lambda: nn.VariationalDropout(0.5)(mg.ones((2, 2))),
            ValueError,
            r"VariationalDropout: expected three axes, with time, got shape \(2, 2\)",
        ),
        (
            lambda: nn.WeightDrop(nn.Linear(2, 2), ["weight", "w", "v"]),
            ValueError,
            "WeightDrop: no such parameters: w, v; there are",
        ),
    ],
)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# ---- starting values ---------------------------------------------------------------------------------------------


def test_layers_start_as_documented() -> None:
    linear = nn.Linear(100, 300)
    for parameter in (linear.weight, linear.bias):
        values = parameter.numpy()
        assert -0.1 <= values.min() < -0.098
        assert 0.098 < values.max() <= 0.1
        assert within(values.mean(), 0, 0.1 / math.sqrt(3), values.size)
    embedding = nn.Embedding(200, 50).weight.numpy()
    assert within(embedding.mean(), 0, 1, embedding.size)
    assert within((embedding**2).mean(), 1, math.sqrt(2), embedding.size)
    for parameter in nn.LSTM(7, 25, 2).parameters():
        assert np.abs(parameter.numpy()).max() <= 0.2
        assert np.abs(parameter.numpy()).max() > 0.18


@every_dtype
def test_distributions(dtype: Any) -> None:
    shape = (60, 40)  # fan_in 40, fan_out 60
    w = mg.zeros(shape, dtype=dtype)
    n = w.size
    uniform = {
        "uniform": (nn.init.uniform_, {"a": -2, "b": 3}, -2.0, 3.0),
        "xavier": (nn.init.xavier_uniform_, {"gain": 2}, *(lambda b: (-b, b))(2 * math.sqrt(6 / 100))),
        "kaiming": (nn.init.kaiming_uniform_, {}, *(lambda b: (-b, b))(math.sqrt(6 / 40))),
        "kaiming out": (
            nn.init.kaiming_uniform_, {"a": 1, "mode": "fan_out"}, *(lambda b: (-b, b))(math.sqrt(3 / 60))
        ),
    }  # fmt: skip
    for name, (function, options, low, high) in uniform.items():
        assert function(w, **options) is w, name  # type: ignore[operator]
        values = w.numpy()
        width = high - low
        assert low <= values.min() < low + 0.01 * width, name
        assert high - 0.01 * width < values.max() <= high, name
        assert within(values.mean(), (low + high) / 2, width / math.sqrt(12), n), name
    normal = {
        "normal": (nn.init.normal_, {"mean": 3, "std": 2}, 3.0, 2.0),
        "xavier": (nn.init.xavier_normal_, {}, 0.0, math.sqrt(2 / 100)),
        "kaiming": (nn.init.kaiming_normal_, {"nonlinearity": "relu"}, 0.0, math.sqrt(2 / 40)),
    }
    for name, (function, options, mean, std) in normal.items():
        values = function(w, **options).numpy()  # type: ignore[operator]
        assert within(values.mean(), mean, std, n), name
        assert within(((values - mean) ** 2).mean(), std**2, math.sqrt(2) * std**2, n), name
    assert w.dtype == dtype
    assert not w.requires_grad


def test_orthogonal_and_other_matrices() -> None:
    for shape in ((5, 5), (3, 6), (6, 3), (4, 2, 3)):
        w = nn.init.orthogonal_(mg.zeros(shape, dtype=np.float64), gain=3).numpy().reshape(shape[0], -1) / 3
        small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        near(small, np.eye(len(small)))
    rng = [nn.init.orthogonal_(mg.zeros((2, 2), dtype=np.float64)).numpy() for _ in range(200)]
    assert 0.3 < np.mean([np.linalg.det(w) > 0 for w in rng]) < 0.7  # rotations and reflections alike
    blocks = nn.init.orthogonal_blocks_(nn.LSTM(3, 5).weight_hh_l0, 4).numpy()
    for block in np.split(blocks, 4):
        near(block @ block.T, np.eye(5), 1e-6)
    near(nn.init.eye_(mg.ones((2, 3))), np.eye(2, 3), 0)
    near(nn.init.zeros_(mg.ones(2)), np.zeros(2), 0)
    near(nn.init.ones_(mg.zeros(2)), np.ones(2), 0)
    near(nn.init.constant_(mg.zeros(2), 3), np.full(2, 3), 0)


def test_the_forget_gates_bias() -> None:
    for module, place in ((nn.LSTM(2, 3, 2, bidirectional=True), 3), (nn.LSTMCell(2, 3, coupled=True), 0)):
        randomize(module, np.random.default_rng(0))
        before = {name: p.numpy() for name, p in module.named_parameters()}
        assert nn.init.forget_gate_bias_(module, 2.0) is module
        for name, parameter in module.named_parameters():
            expected = before[name]
            if "bias" in name:
                expected[place : place + 3] = 2.0 if "bias_ih" in name else 0.0
            near(parameter, expected, 0)
    with pytest.raises(ValueError, match="forget_gate_bias_: LSTM has no biases to set"):
        nn.init.forget_gate_bias_(nn.LSTM(2, 3, bias=False))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nn.init.xavier_uniform_(mg.zeros(3)),
            r"fans need a weight of at least two axes, \(out, in\), got shape \(3,\)",
        ),
        (lambda: nn.init.kaiming_normal_(mg.zeros((3, 2)), mode="fan"), "mode is 'fan_in' or 'fan_out', not 'fan'"),
        (lambda: nn.init.calculate_gain("step"), "calculate_gain: unknown function 'step'; known:"),
        (lambda: nn.init.orthogonal_(mg.zeros(3)), r"orthogonal_: expected at least two axes, got shape \(3,\)"),
        (
            lambda: nn.init.orthogonal_blocks_(mg.zeros((7, 3)), 4),
            r"orthogonal_blocks_: \(7, 3\) does not divide into 4 blocks of rows",
        ),
        (lambda: nn.init.eye_(mg.zeros(3)), r"eye_: expected a matrix, got shape \(3,\)"),
    ],
)
def test_bad_weights(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_starting_values_are_not_recorded_and_repeat_with_the_seed() -> None:
    w = nn.Parameter(mg.zeros((3, 2)))
    mg.manual_seed(5)
    first = nn.init.xavier_normal_(w).numpy()
    assert w.is_leaf
    mg.manual_seed(5)
    near(nn.init.xavier_normal_(w), first, 0)


# ---- dropout of values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9, 1.0])
def test_dropout(p: float) -> None:
    layer = nn.Dropout(p)
    x = tensors(np.full((200, 100), 2.0))
    y = layer(x)
    kept = y.numpy() != 0
    assert within(kept.mean(), 1 - p, math.sqrt(p * (1 - p)) + 1e-9, kept.size)
    np.testing.assert_allclose(y.numpy()[kept], 2 / (1 - p) if p < 1 else 0)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.numpy() / 2)
    if 0 < p < 1:
        assert (layer(x).numpy() != y.numpy()).any()
    assert layer.eval()(x) is x


@pytest.mark.parametrize("batch_first", [False, True])
def test_variational_dropout_has_one_mask_for_all_steps(batch_first: bool) -> None:
    x = mg.ones((6, 6, 500))
    y = nn.VariationalDropout(0.4, batch_first=batch_first)(x).numpy()
    y = y.swapaxes(0, 1) if batch_first else y
    for step in y:
        np.testing.assert_array_equal(step, y[0])
    assert (y[0, 0] != y[0, 1]).any()
    assert within((y[0] == 0).mean(), 0.4, math.sqrt(0.24), y[0].size)
    near(y[y != 0], np.full((y != 0).sum(), 1 / 0.6), 1e-6)
    assert nn.VariationalDropout(0.4).eval()(x) is x


# ---- dropout of weights ------------------------------------------------------------------------------------------


def test_weight_drop_thins_the_named_weights_once_a_call(rng: Rng) -> None:
    lstm = randomize(nn.LSTM(3, 8, 2, dtype=np.float64), rng)
    layer = nn.WeightDrop(lstm, ["weight_hh_l0", "weight_hh_l1"], p=0.5)
    xs = rng.standard_normal((5, 2, 3))
    raw = {name: p.numpy() for name, p in lstm.named_parameters()}
    twin = nn.LSTM(3, 8, 2, dtype=np.float64)
    twin.load_state_dict(raw)
    mg.manual_seed(1)
    output, _ = layer(xs)
    pulled = gradients(total(output), lstm)
    near({name: p.numpy() for name, p in lstm.named_parameters()}, raw, 0)

    mg.manual_seed(1)  # the same by hand: one mask for each weight, all steps
    masks = {}
    for name in layer.weights:
        weight = getattr(twin, name)
        masks[name] = (mg.rand(*weight.shape, dtype=np.float64).numpy() >= 0.5) * 2.0
        weight.data[...] *= masks[name]
    near(output, twin(xs)[0])
    expected = gradients(total(twin(xs)[0]), twin)
    near(pulled, {name: g * masks.get(name, 1.0) for name, g in expected.items()})
    assert (layer(xs)[0].numpy() != output.numpy()).any()  # another call, other masks
    near(layer.eval()(xs)[0], lstm(xs)[0], 0)


def test_weight_drop_leaves_names_and_weights_as_they_are(rng: Rng) -> None:
    lstm = nn.LSTM(3, 4)
    layer = nn.WeightDrop(lstm, "weight_hh_l0", p=0.7)
    weight = lstm.weight_hh_l0
    order = list(lstm.state_dict())
    assert list(layer.state_dict()) == [f"module.{name}" for name in order]
    for bad in (mg.zeros((5, 2, 7)), "text"):
        with pytest.raises((ValueError, TypeError)):
            layer(bad)
        assert lstm.weight_hh_l0 is weight
        assert list(lstm.state_dict()) == order
    layer(mg.zeros((5, 2, 3)))
    assert lstm.weight_hh_l0 is weight
    assert list(lstm.state_dict()) == order


def test_weight_drop_on_all_weights(rng: Rng) -> None:
    layer = nn.WeightDrop(nn.RNN(3, 4, bias=False), ["weight_ih_l0", "weight_hh_l0"])
    xs = rng.standard_normal((5, 2, 3)).astype(np.float32)
    output, _ = layer(xs)
    assert output.dtype == np.float32
    assert all(g.any() for g in gradients(total(output), layer).values())


# ---- plain arrays, and tuples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_plain_arrays_take_the_dtype_of_the_weights_and_tensors_keep_theirs(dtype: Any) -> None:
    made: Any = {"dtype": dtype}
    other = np.float32 if dtype == np.float64 else np.float64
    x, xs, h = np.ones((2, 3), other), np.ones((5, 2, 3), other), np.ones((1, 2, 3), other)
    calls: dict[str, Any] = {
        "Linear": lambda: nn.Linear(3, 4, **made)(x),
        "lists": lambda: nn.Linear(3, 4, **made)([[0.5, 1.0, 2.0]]),
        "LayerNorm": lambda: nn.LayerNorm(3, **made)(x),
        "LSTM": lambda: nn.LSTM(3, 3, **made)(xs, (h, h)),
        "GRU without a batch": lambda: nn.GRU(3, 3, **made)(xs[:, 0], h[:, 0]),
        "dropped": lambda: nn.WeightDrop(nn.RNN(3, 3, **made), ["weight_hh_l0"])(xs),
        "Recurrent": lambda: nn.Recurrent(nn.GRUCell(3, 3, **made))(xs, h[0]),
        "both": lambda: nn.Bidirectional(nn.GRUCell(3, 3, **made), nn.GRUCell(3, 3, **made))(xs),
        "cell": lambda: nn.LSTMCell(3, 3, **made)(x, (h[0], h[0])),
        "attention": lambda: nn.AdditiveAttention(3, 3, 4, **made)(x, np.swapaxes(xs, 0, 1)),
        "TBPTT": lambda: nn.TBPTT(5)(nn.GRU(3, 3, **made), xs),
        "Sequential": lambda: nn.Sequential(nn.Linear(3, 3, **made), nn.Tanh())(x),
    }
    if dtype != np.float16:
        calls["CRF"] = lambda: nn.CRF(3, **made)(xs, np.zeros((5, 2), int))
    for name, call in calls.items():
        output = call()
        assert all(part.dtype == dtype for part in trees.flatten(output)[0]), name
    assert nn.MSELoss()(mg.ones(3, dtype=dtype), np.zeros(3, other)).dtype == dtype
    assert nn.CrossEntropyLoss().of_linear(nn.Linear(3, 4, **made), x, np.zeros(2, int)).dtype == dtype
    assert nn.Embedding(5, 3, **made)(np.array([1, 2])).dtype == dtype
    kept = nn.LayerNorm(3, **made)(mg.ones((2, 3), dtype=other))
    assert kept.dtype == np.result_type(dtype, other)
    with pytest.raises(TypeError, match="the input must be of floats, not int64"):
        nn.Linear(3, 4, **made)(np.ones((2, 3), int))


def test_plain_states_of_integers_are_numbers_too() -> None:
    """They would make float64 of float32."""
    x, h = mg.ones((5, 2, 3)), np.zeros((1, 2, 4), int)
    assert nn.GRU(3, 4)(x, h)[0].dtype == np.float32
    assert nn.GRU(3, 4)(x[:, 0], h[:, 0])[0].dtype == np.float32
    assert nn.Recurrent(nn.LSTMCell(3, 4))(x, (h[0], h[0].tolist()))[0].dtype == np.float32
    assert nn.GRUCell(3, 4)(x[0, 0], h[0, 0]).dtype == np.float32
    assert nn.Embedding(4, 2)([]).shape == (0, 2)


def test_states_without_a_batch_are_named_as_they_were_passed() -> None:
    with pytest.raises(ValueError, match=r"GRU: .* needs a state .* = \(1, 4\), not \(1, 9\)"):
        nn.GRU(3, 4)(mg.ones((5, 3)), mg.zeros((1, 9)))
    with pytest.raises(
        ValueError, match=r"GRUCell: state 'h' has shape \(9,\), expected \(4,\) beside the input \(3,\)"
    ):
        nn.GRUCell(3, 4)(mg.ones(3), mg.zeros(9))
    with pytest.raises(ValueError, match=r"GRU: the mask has shape \(6, 4\), expected \(N, T\) = \(4, 6\)"):
        nn.GRU(3, 4, batch_first=True)(mg.ones((4, 6, 3)), mask=np.ones((6, 4), bool))


def test_plain_arrays_go_to_the_device_of_the_weights() -> None:
    layer = nn.Linear(3, 4).to("strict:0")
    assert layer(np.ones((2, 3))).device == "strict:0"


def test_a_sequence_of_modules_names_the_one_that_gives_a_pair() -> None:
    ids = np.zeros((5, 2), int)
    first = nn.Sequential(nn.Embedding(9, 3), nn.LSTM(3, 4))
    for last in (nn.Linear(4, 2), nn.GRU(4, 2), nn.LayerNorm(4), nn.Dropout(), nn.Softmax()):
        with pytest.raises(
            TypeError, match=rf"Sequential: LSTM \(1\) returns a pair, .* {type(last).__name__} \(2\) does not"
        ):
            nn.Sequential(*first, last)(ids)

    class Output(nn.Module):
        def forward(self, pair: Any) -> Any:
            return pair[0]

    assert nn.Sequential(*first, Output(), nn.Linear(4, 2))(ids).shape == (5, 2, 2)
    with pytest.raises(ValueError, match="Linear: the input has 3 features"):
        nn.Sequential(nn.Embedding(9, 3), nn.Linear(4, 2))(ids)


def test_layer_norm_of_float16_is_computed_in_float32(backend: Any) -> None:
    for values in ([300.0, -300, 200, 100], [6e4, -6e4, 0, 3e4], [1e-4, -1e-4, 2e-4, 0]):
        narrow, wide = (nn.LayerNorm(4, dtype=dtype).to(backend.device) for dtype in (np.float16, np.float64))
        x = backend.tensor(values, np.float16, requires_grad=True)
        y = narrow(x)
        y[0].backward()
        assert (y.dtype, x.grad.dtype) == (np.float16, np.float16)
        exact = wide(backend.tensor(backend.numpy(x), np.float64))
        np.testing.assert_allclose(backend.numpy(y), backend.numpy(exact), rtol=2e-3, atol=1e-3)
