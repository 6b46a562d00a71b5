"""Optimizers: their equations in plain Python, parameters and groups, state, clipping inside, and bad input."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import Place

import minigrad as mg
from minigrad.fusion.inplace import in_place
from minigrad.native import machine
from nn import Embedding, Linear, clip_grad_norm_
from nn.modules import Module, Parameter
from nn.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RAdam, RMSprop
from nn.optimizers import optimizer as base

ALL: list[tuple[type[Any], dict[str, Any]]] = [
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (Adam, {"lr": 0.1, "amsgrad": True}),
    (AdamW, {"lr": 0.1}),
    (Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.5}),
    (RMSprop, {"lr": 0.1, "momentum": 0.5, "centered": True}),
    (Adadelta, {"lr": 0.1}),
    (NAdam, {"lr": 0.1, "weight_decay": 0.01, "decoupled_weight_decay": True}),
    (RAdam, {"lr": 0.1}),
    (Lion, {"lr": 0.1, "weight_decay": 0.01}),
]
every = pytest.mark.parametrize(("kind", "options"), ALL, ids=[kind.__name__ for kind, _ in ALL])


def parameter(value: Any, grad: Any = None, dtype: Any = np.float64) -> Parameter:
    p = Parameter(np.array(value, dtype))
    if grad is not None:
        p.grad = mg.Tensor(np.array(grad, dtype))
    return p


# ---- the equations, number by number -----------------------------------------------------------------------------


def sgd(w: float, gradients: list[float]) -> float:
    b = None
    for g in gradients:
        d = g + 0.02 * w
        b = d if b is None else 0.9 * b + 0.7 * d
        w -= 0.1 * b
    return w


def nesterov(w: float, gradients: list[float]) -> float:
    b = 0.0
    for g in gradients:
        b = 0.9 * b + g
        w -= 0.1 * (g + 0.9 * b)  # the step looks ahead by one more momentum
    return w


def adam(w: float, gradients: list[float]) -> float:
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        w -= 0.1 * (m / (1 - 0.8**t)) / (math.sqrt(v / (1 - 0.95**t)) + 1e-3)
    return w


def amsgrad(w: float, gradients: list[float]) -> float:
    m = v = largest = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = 0.8 * m + 0.2 * g, 0.5 * v + 0.5 * g**2
        largest = max(largest, v)  # of v before its correction
        w -= 0.1 * (m / (1 - 0.8**t)) / (math.sqrt(largest / (1 - 0.5**t)) + 1e-3)
    return w


def adamw(w: float, gradients: list[float]) -> float:
    decayed = w
    for k in range(len(gradients)):  # the part that the decay adds at each step, apart from Adam's own
        decayed = (1 - 0.1 * 0.3) * decayed + adam(0.0, gradients[: k + 1]) - adam(0.0, gradients[:k])
    return decayed


def adagrad(w: float, gradients: list[float]) -> float:
    v = 0.5
    for t, g in enumerate(gradients):
        d = g + 0.02 * w
        v += d**2
        w -= 0.1 / (1 + t * 0.2) * d / (math.sqrt(v) + 1e-10)
    return w


def rmsprop(w: float, gradients: list[float]) -> float:
    v = a = b = 0.0
    for g in gradients:
        d = g + 0.02 * w
        v, a = 0.9 * v + 0.1 * d**2, 0.9 * a + 0.1 * d
        b = 0.5 * b + d / (math.sqrt(v - a**2) + 1e-8)
        w -= 0.1 * b
    return w


def adadelta(w: float, gradients: list[float]) -> float:
    v = u = 0.0
    for g in gradients:
        d = g + 0.02 * w
        v = 0.9 * v + 0.1 * d**2
        d *= math.sqrt(u + 1e-6) / math.sqrt(v + 1e-6)
        u = 0.9 * u + 0.1 * d**2
        w -= 0.1 * d
    return w


def nadam(w: float, gradients: list[float]) -> float:
    m = v = 0.0
    mu = [0.8 * (1 - 0.5 * 0.96 ** (t * 0.3)) for t in range(1, len(gradients) + 2)]
    for t, g in enumerate(gradients, 1):
        g = g + 0.02 * w
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        ahead = mu[t] * m / (1 - math.prod(mu[: t + 1]))
        d = ahead + (1 - mu[t - 1]) * g / (1 - math.prod(mu[:t]))
        w -= 0.1 * d / (math.sqrt(v / (1 - 0.95**t)) + 1e-3)
    return w


def radam(w: float, gradients: list[float]) -> float:
    m = v = 0.0
    rho = 2 / (1 - 0.95) - 1
    for t, g in enumerate(gradients, 1):
        w *= 1 - 0.1 * 0.3
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        known = rho - 2 * t * 0.95**t / (1 - 0.95**t)
        d = m / (1 - 0.8**t)
        if known > 5:  # from the sixth step on
            d *= math.sqrt((known - 4) * (known - 2) * rho / ((rho - 4) * (rho - 2) * known))
            d *= math.sqrt(1 - 0.95**t) / (math.sqrt(v) + 1e-3)
        w -= 0.1 * d
    return w


def lion(w: float, gradients: list[float]) -> float:
    m = 0.0
    for g in gradients:
        w -= 0.1 * (math.copysign(1, 0.8 * m + 0.2 * g) + 0.3 * w)
        m = 0.95 * m + 0.05 * g
    return w


EQUATIONS: list[tuple[Callable[[float, list[float]], float], type[Any], dict[str, Any]]] = [
    (sgd, SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02}),
    (nesterov, SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (adam, Adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    (amsgrad, Adam, {"lr": 0.1, "betas": (0.8, 0.5), "eps": 1e-3, "amsgrad": True}),
    (adamw, AdamW, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    (adagrad, Adagrad, {"lr": 0.1, "lr_decay": 0.2, "initial_accumulator_value": 0.5, "weight_decay": 0.02}),
    (rmsprop, RMSprop, {"lr": 0.1, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.02}),
    (adadelta, Adadelta, {"lr": 0.1, "weight_decay": 0.02}),
    (nadam, NAdam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.02, "momentum_decay": 0.3}),
    (radam, RAdam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3, "decoupled_weight_decay": True}),
    (lion, Lion, {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.3}),
]


@pytest.mark.parametrize(
    ("equation", "kind", "options"), EQUATIONS, ids=[equation.__name__ for equation, _, _ in EQUATIONS]
)
def test_each_number_follows_the_equation(
    equation: Any, kind: Any, options: Any, backend: Place, rng: np.random.Generator
) -> None:
    start, gradients = rng.standard_normal((4, 3)), rng.standard_normal((9, 4, 3))
    w, scalar = Parameter(backend.array(start)), Parameter(backend.array(0.7))
    optimizer = kind([w, scalar], **options)
    for g in gradients:
        w.grad, scalar.grad = backend.tensor(g), backend.tensor(g[0, 0])
        optimizer.step()
    expected = [[equation(start[i, j], list(gradients[:, i, j])) for j in range(3)] for i in range(4)]
    np.testing.assert_allclose(backend.numpy(w), expected, rtol=1e-12)
    np.testing.assert_allclose(backend.numpy(scalar), equation(0.7, list(gradients[:, 0, 0])), rtol=1e-12)


@every
@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_are_the_whole(
    kind: Any, options: Any, order: Any, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Cut into blocks of rows, of any layout, the same bits come out."""
    results = []
    for block in (1 << 30, 50, 1):
        monkeypatch.setattr(base, "BLOCK", block)
        w = parameter(np.linspace(-1, 1, 13 * 7).reshape(13, 7))
        optimizer = kind([w], **options, clip_norm=2.0)
        local = np.random.default_rng(5)
        for _ in range(3):
            w.grad = mg.Tensor(np.asarray(local.standard_normal((13, 7)), order=order))
            optimizer.step()
        results.append(w.numpy())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_row_sparse_adam_adds_epsilon_before_the_correction(rng: np.random.Generator) -> None:
    """w = w − lr √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε), where t counts the steps, and only touched rows go on."""
    w = parameter(np.ones((4, 2)))
    optimizer = Adam([w], lr=0.1, betas=(0.8, 0.95), eps=0.5)
    expected, m, v = np.ones((4, 2)), np.zeros((4, 2)), np.zeros((4, 2))
    for t, rows in enumerate(([0, 2], [2, 3], [0, 2]), 1):
        g = rng.standard_normal((2, 2))
        w.grad = mg.RowSparse(np.array(rows), g, (4, 2))
        optimizer.step()
        m[rows] = 0.8 * m[rows] + 0.2 * g
        v[rows] = 0.95 * v[rows] + 0.05 * g**2
        rate = 0.1 * math.sqrt(1 - 0.95**t) / (1 - 0.8**t)
        expected[rows] -= rate * m[rows] / (np.sqrt(v[rows]) + 0.5)
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-12)


HALF: list[tuple[type[Any], dict[str, Any]]] = [(SGD, {"lr": 0.1}), (AdamW, {"amsgrad": True}), *ALL]


@pytest.mark.parametrize(("kind", "options"), HALF)
@pytest.mark.parametrize("rows", [False, True])
def test_float16_is_computed_in_float32(kind: Any, options: Any, rows: bool, backend: Place) -> None:
    """Gradients whose squares vanish in float16, and an ε that does: the weights are those of float64, rounded."""
    if rows and (kind not in (SGD, Adagrad, Adam) or options.keys() & {"momentum", "amsgrad"}):
        rows = False
    found = []
    for dtype in (np.float16, np.float64):
        w = Parameter(backend.array(np.linspace(0.5, 2, 6).reshape(3, 2), dtype))
        optimizer = kind([w], **options)
        for k in range(4):
            g = np.full((3, 2), 1e-4 * (k + 1), np.float16)
            w.grad = backend.tensor(g, dtype)
            if rows:
                w.grad = mg.RowSparse(backend.array([0, 1, 2]), backend.array(g, dtype), (3, 2))
            optimizer.step()
        assert w.dtype == dtype
        assert all(
            s.dtype != np.float16 for e in optimizer.state.values() for s in e.values() if isinstance(s, mg.Tensor)
        )
        found.append(backend.numpy(w))
    np.testing.assert_allclose(found[0], found[1], rtol=2e-3)


def test_a_state_that_was_saved_in_float16_goes_on_in_float32() -> None:
    w = parameter([1.0, 2.0], [0.5, 0.5], np.float16)
    optimizer = Adam([("w", w)])
    optimizer.step()
    state = optimizer.state_dict()
    state["state"]["w"]["exp_avg"] = state["state"]["w"]["exp_avg"].astype(np.float16)
    optimizer.load_state_dict(state)
    assert optimizer.state["w"]["exp_avg"].dtype == np.float32
    optimizer.step()
    assert optimizer.state["w"]["step"] == 2


def test_float16_weights_train_in_a_compiled_step() -> None:
    def losses(compiled: bool) -> list[float]:
        mg.manual_seed(0)
        layer = Linear(3, 2, dtype=np.float16)
        optimizer = Adam(layer.parameters(), lr=1e-2, clip_norm=0.1)
        x = mg.ones((4, 3), dtype=np.float16)

        def step() -> Any:
            optimizer.zero_grad()
            loss = (layer(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run = mg.compile(step) if compiled else step
        return [float(run()) for _ in range(5)]

    assert losses(True) == losses(False)
    assert losses(False)[-1] < losses(False)[0]


def test_a_centered_rmsprop_survives_a_constant_gradient() -> None:
    """v − a² is then nothing but rounding errors, of either sign."""
    w = parameter(np.zeros(50), np.linspace(0.1, 3, 50), np.float32)
    optimizer = RMSprop([w], lr=1e-6, alpha=0.5, centered=True)
    for _ in range(100):
        optimizer.step()
    assert np.isfinite(w.numpy()).all()


# ---- a step ------------------------------------------------------------------------------------------------------


@every
def test_a_step_is_in_place_and_leaves_gradients_alone(kind: Any, options: Any, backend: Place) -> None:
    w, untouched = Parameter(backend.array([1.0, -2.0])), Parameter(backend.array([3.0]))
    array, grad = w.data, backend.tensor([30.0, 0.5])
    w.grad = grad
    optimizer = kind([w, untouched], **options, clip_norm=1.0, clip_value=0.5)
    optimizer.step()
    assert w.data is array
    assert w.grad is grad
    np.testing.assert_array_equal(backend.numpy(grad), [30.0, 0.5])
    np.testing.assert_array_equal(backend.numpy(untouched), [3.0])
    assert (backend.numpy(w) < [1.0, -2.0]).all()
    assert set(optimizer.state) == {"0"}
    optimizer.zero_grad()
    assert w.grad is None


@every
def test_training_makes_a_loss_small(kind: Any, options: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 3))
    y = x @ [[1.0], [-2.0], [0.5]] + 0.3
    model = Linear(3, 1, dtype=np.float64)
    optimizer = kind(model.named_parameters(), **options | {"lr": {Adadelta: 1.0, Adagrad: 0.3}.get(kind, 0.02)})

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    first = float(optimizer.step(closure))
    for _ in range(400):
        optimizer.step(closure)
    assert float(closure()) < 0.1 * first
    with mg.no_grad():
        assert optimizer.step(closure).requires_grad  # the closure records


def test_backward_notices_a_step() -> None:
    w = parameter([1.0, 2.0], [1.0, 1.0])
    loss = (w * w).sum()
    SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match=r"overwritten in place"):
        loss.backward()


@every
def test_float32_stays_float32_whatever_the_numbers_are(kind: Any, options: Any) -> None:
    w = parameter([1.0, 2.0], [0.5, 0.5], np.float32)
    optimizer = kind([w], **options | {"lr": np.float64(0.1)})
    optimizer.param_groups[0]["lr"] = np.float64(0.05)
    optimizer.step()
    assert w.dtype == np.float32
    assert {s.dtype for s in optimizer.state["0"].values() if isinstance(s, mg.Tensor)} == {np.dtype("f4")}


def test_state_moves_with_its_parameter() -> None:
    w, twin = parameter([1.0, 2.0]), parameter([1.0, 2.0])
    there, here = Adam([w], lr=0.1), Adam([twin], lr=0.1)
    for device in ("cpu", "strict:0", "cpu"):
        w.data = mg.Tensor(w.data).to(device).data
        w.grad, twin.grad = mg.tensor([0.3, -0.2], np.float64).to(device), mg.tensor([0.3, -0.2], np.float64)
        there.step()
        here.step()
    np.testing.assert_array_equal(w.numpy(), twin.numpy())


# ---- parameters and groups ---------------------------------------------------------------------------------------


class Tied(Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = Linear(2, 2, bias=False)
        self.b = Linear(2, 2, bias=False)
        self.b.weight = self.a.weight


def test_names_are_the_keys_of_the_state() -> None:
    model = Linear(3, 2)
    model(mg.ones((4, 3))).sum().backward()
    named, unnamed = Adam(model.named_parameters()), Adam(model.parameters())
    for optimizer in (named, unnamed):
        optimizer.step()
    assert list(named.state) == ["weight", "bias"]
    assert list(unnamed.state) == ["0", "1"]
    assert named.state["bias"]["exp_avg"].shape == (2,)
    assert named.state["bias"]["step"] == 1
    assert named.param_groups[0]["param_names"] == ["weight", "bias"]


def test_tied_weights_count_once() -> None:
    w = parameter([1.0], [1.0])
    for params in ([w, w], [("a", w), ("b", w)]):
        w.data[...] = 1.0
        optimizer = SGD(params, lr=0.1, clip_norm=10.0)
        optimizer.step()
        np.testing.assert_allclose(w.numpy(), [0.9])
        assert float(optimizer.grad_norm) == 1.0
    assert len(SGD(Tied().parameters()).param_groups[0]["params"]) == 1


def test_groups_have_options_of_their_own() -> None:
    a, b, c = (parameter([1.0], [1.0]) for _ in range(3))
    optimizer = SGD([{"params": [("a", a)]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": iter([c]), "lr": 0.0})
    optimizer.step()
    np.testing.assert_allclose([p.item() for p in (a, b, c)], [0.9, 0.5, 1.0])
    assert [group["param_names"] for group in optimizer.param_groups] == [["a"], ["1"], ["2"]]
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step()
    np.testing.assert_allclose(a.item(), 0.7)
    assert "lr=0.2" in repr(optimizer)


w = Parameter(np.ones(2))
BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: SGD([]), ValueError, "SGD: got no parameters"),
    (lambda: SGD(Linear(2, 2)), TypeError, r"got a Linear; pass module.parameters\(\)"),
    (lambda: SGD([np.ones(2)]), TypeError, "SGD: expected Tensors .* got ndarray inside"),
    (lambda: SGD({"params": [w]}), TypeError, r"SGD: expected Tensors .* got a dict"),
    (lambda: SGD([w * 2]), ValueError, "0 must be a leaf of floats"),
    (lambda: SGD([mg.tensor([1, 2])]), ValueError, "0 must be a leaf of floats"),
    (lambda: SGD([("a", w), ("a", Parameter(np.ones(2)))]), ValueError, "two parameters are called a"),
    (lambda: SGD([{"params": [w]}, {"params": [w]}]), ValueError, "1 is in another group already, as 0"),
    (lambda: SGD([{"params": [w], "beta": 1, "x": 2}]), ValueError, "unknown options beta, x; there are lr, momentum"),
    (lambda: SGD([{"lr": 1.0}]), ValueError, 'a group is a dict with "params"'),
    (lambda: SGD([w], nonsense=1), TypeError, "nonsense"),  # type: ignore[call-arg]
    (lambda: SGD([w], lr=-0.1), ValueError, "SGD: lr must be finite and not negative, not -0.1"),
    (lambda: SGD([w], lr=math.nan), ValueError, "lr must be finite"),
    (lambda: SGD([w], lr="fast"), TypeError, "lr must be a number, not 'fast'"),  # type: ignore[arg-type]
    (lambda: SGD([{"params": [w], "momentum": -1}]), ValueError, "momentum must be"),
    (lambda: SGD([w], lr=True), TypeError, "lr must be a number, not True"),
    (lambda: SGD([w], nesterov=True), ValueError, "nesterov needs a momentum"),
    (lambda: SGD([w], nesterov=1), TypeError, "nesterov must be True or False"),  # type: ignore[arg-type]
    (lambda: Adam([w], betas=(0.9, 1.0)), ValueError, "betas must be at least 0 and less than 1"),
    (lambda: Adam([w], betas=0.9), TypeError, "betas must be two numbers, not 0.9"),  # type: ignore[arg-type]
    (lambda: AdamW([w], eps=-1e-8), ValueError, "AdamW: eps must be"),
    (lambda: RMSprop([w], alpha=1.5), ValueError, "alpha must be between 0 and 1"),
    (lambda: Adadelta([w], rho=-0.5), ValueError, "rho must be between 0 and 1"),
    (lambda: Adagrad([w], lr_decay=math.inf), ValueError, "lr_decay must be finite"),
    (lambda: Adam([w], clip_norm=-1.0), ValueError, "Adam: clip_norm must be a number and at least 0, not -1.0"),
    (lambda: Adam([w], norm_type=0), ValueError, "norm_type must be a positive number"),
    (lambda: Adam([w], clip_value=(2, 1)), ValueError, "clip_value must have lo <= hi"),
    (lambda: Adam([w], nonfinite="ignore"), ValueError, "nonfinite must be"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message[:24] for *_, message in BAD])
def test_bad_input(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("wrap", [lambda ps: ps, lambda ps: [{"params": ps}], lambda ps: [{"params": frozenset(ps)}]])
def test_parameters_have_an_order(wrap: Any) -> None:
    layer = Linear(2, 2)
    with pytest.raises(TypeError, match=r"SGD: a set of parameters has no order"):
        SGD(wrap(set(layer.parameters())), lr=0.1)
    for view in (dict(layer.named_parameters()).values(), dict(layer.named_parameters()).items()):
        assert len(SGD(view, lr=0.1).param_groups[0]["params"]) == 2


def test_a_refused_group_changes_nothing() -> None:
    optimizer = SGD([Parameter(np.ones(2))])
    with pytest.raises(ValueError, match="lr"):
        optimizer.add_param_group({"params": [Parameter(np.ones(2))], "lr": -1})
    assert len(optimizer.param_groups) == 1


def test_a_gradient_of_another_shape_or_kind() -> None:
    p = parameter([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"SGD: the gradient of 0 has shape \(1,\), expected \(2,\)"):
        SGD([p]).step()
    p.grad = np.ones(2)
    with pytest.raises(TypeError, match="must be a Tensor or RowSparse, not ndarray"):
        SGD([p]).step()


# ---- state -------------------------------------------------------------------------------------------------------


def trained(kind: Any, options: Any, steps: int = 3, model: Any = None) -> tuple[Any, Any]:
    model = Linear(4, 3, dtype=np.float64) if model is None else model
    params = [{"params": [("W", model.weight)]}, {"params": [("b", model.bias)], "lr": 0.03}]
    optimizer = kind(params, **options)
    go_on(model, optimizer, range(steps))
    return model, optimizer


def go_on(model: Any, optimizer: Any, steps: range) -> None:
    for t in steps:
        optimizer.zero_grad()
        x = np.random.default_rng(t).standard_normal((5, 4))
        (np.tanh(model(x)) ** 2).sum().backward()
        optimizer.step()


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return type(value) in (int, float, str, bool, mg.Tensor)


@every
def test_going_on_from_a_saved_state_gives_the_same_bits(kind: Any, options: Any) -> None:
    model, optimizer = trained(kind, options)
    optimizer.param_groups[1]["lr"] = 0.07
    optimizer.skipped = 2
    saved, weights = optimizer.state_dict(), {k: v.copy() for k, v in model.state_dict().items()}
    assert plain(saved)
    go_on(model, optimizer, range(3, 8))  # does not change what was saved
    twin = Linear(4, 3, dtype=np.float64)
    twin.load_state_dict(weights)
    _, other = trained(kind, options | {"lr": 0.9}, steps=1)
    other.param_groups[0]["params"][0], other.param_groups[1]["params"][0] = twin.weight, twin.bias
    other.load_state_dict(saved)
    assert [g["lr"] for g in other.param_groups] == [options["lr"], 0.07]
    assert other.skipped == 2
    again = other.state_dict()
    assert again["param_groups"] == saved["param_groups"]
    for name, entry in saved["state"].items():
        for key, value in entry.items():
            np.testing.assert_array_equal(again["state"][name][key], value)
    go_on(twin, other, range(3, 8))
    np.testing.assert_array_equal(twin.weight.numpy(), model.weight.numpy())
    np.testing.assert_array_equal(twin.bias.numpy(), model.bias.numpy())


def test_all_that_does_not_fit_is_listed_and_nothing_is_written() -> None:
    model, optimizer = trained(Adam, {})
    before, weight = optimizer.state_dict(), model.weight.numpy()
    wrong = optimizer.state_dict()
    wrong["state"]["W"]["exp_avg"] = mg.zeros((2, 2))
    del wrong["state"]["W"]["exp_avg_sq"]
    wrong["state"]["X"] = {"step": 1}
    wrong["param_groups"][0]["param_names"] = ["V"]
    wrong["param_groups"][1]["lr"] = -5.0
    with pytest.raises(ValueError, match=r"Adam.load_state_dict") as info:
        optimizer.load_state_dict(wrong)
    for part in (
        "missing parameters in group 0: W", "unexpected parameters in group 0: V", "unexpected state of: X",
        "group 1: Adam: lr must be finite and not negative", r"exp_avg of W is (2, 2), expected (3, 4)",
        "the state of W has no exp_avg_sq",
    ):  # fmt: skip
        assert part in str(info.value)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    np.testing.assert_array_equal(after["state"]["W"]["exp_avg"], before["state"]["W"]["exp_avg"])
    np.testing.assert_array_equal(model.weight.numpy(), weight)


WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    *[(lambda s, v=v: s["state"]["weight"].update(step=v), "step of weight must be a whole number")
      for v in (-1, 1.5, None, "x", True, math.nan, math.inf)],
    (lambda s: s["state"]["weight"].update(exp_avg=np.full((1, 2), "a")), "exp_avg of weight must be real numbers"),
    (lambda s: s["state"]["weight"].update(exp_avg=np.ones((1, 2), complex)), "exp_avg of weight must be real numbers"),
    (lambda s: s["state"]["bias"].update(exp_avg=None), r"exp_avg of bias is \(\), expected \(1,\)"),
    (lambda s: s["state"]["weight"].update(more=1), "unexpected state of weight: more"),
    (lambda s: s["state"].update(weight=3), "the state of weight must be a dict, not a int"),
    (lambda s: s.update(skipped=-1), "skipped must be a whole number"),
    (lambda s: s.update(more=1), "unexpected entries: more"),
    (lambda s: s["param_groups"].__setitem__(0, 3), "group 0 must be a dict"),
    (lambda s: s["param_groups"][0].update(param_names=3), "group 0 must be a dict with a list"),
    (lambda s: s["param_groups"][0].update(lr="fast"), "lr must be a number"),
    (lambda s: s["param_groups"][0].update(initial_lr=-1.0), "lr must be finite and not negative"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), WRONG)
def test_a_state_that_makes_no_sense_is_refused_by_name(spoil: Any, message: str) -> None:
    layer, other = Linear(2, 1), Linear(2, 1)
    source, target = Adam(layer.named_parameters(), lr=0.1), Adam(other.named_parameters())
    for optimizer, model in ((source, layer), (target, other)):
        (model(mg.ones((1, 2))) ** 2).sum().backward()
        optimizer.step()
    state, before = source.state_dict(), repr(target.state_dict())
    spoil(state)
    with pytest.raises((ValueError, TypeError), match=rf"Adam.load_state_dict: .*{message}"):
        target.load_state_dict(state)
    assert repr(target.state_dict()) == before
    with pytest.raises(TypeError, match=r"Adam.load_state_dict: expected a dict, not a list"):
        target.load_state_dict([])  # type: ignore[arg-type]


def test_steps_come_as_any_whole_number_and_slots_may_outlive_an_option() -> None:
    layer = Linear(2, 1)
    optimizer = SGD(layer.named_parameters(), lr=0.1, momentum=0.9)
    (layer(mg.ones((1, 2))) ** 2).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    for step in (np.int64(4), 4.0, mg.tensor(4.0), np.array(4)):
        state["state"]["weight"]["step"] = step
        optimizer.load_state_dict(state)
        assert optimizer.state["weight"]["step"] == 4
        assert isinstance(optimizer.state["weight"]["step"], int)
    optimizer.param_groups[0]["momentum"] = 0.0  # a schedule may write it
    optimizer.load_state_dict(optimizer.state_dict())
    assert "momentum_buffer" in optimizer.state["weight"]


def test_the_state_of_another_optimizer() -> None:
    _, adam = trained(Adam, {})
    _, sgd = trained(SGD, {})
    with pytest.raises(ValueError, match=r"missing options in group 0: momentum.*unexpected options in group 0: betas"):
        sgd.load_state_dict(adam.state_dict())
    with pytest.raises(ValueError, match="expected 1 groups, got 2"):
        SGD([Parameter(np.ones(1))]).load_state_dict(sgd.state_dict())
    for nonsense in ({}, {"state": [], "param_groups": []}, {"state": {}, "param_groups": None}):
        with pytest.raises(ValueError, match='expected a dict with a dict "state" and a list "param_groups"'):
            sgd.load_state_dict(nonsense)
    with pytest.raises(ValueError, match=r"step of W is \(2,\), expected \(\)"):
        adam.load_state_dict(adam.state_dict() | {"state": {"W": {"step": [1, 2], "exp_avg": 0, "exp_avg_sq": 0}}})


# ---- clipping, NaN and Inf ---------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), st.floats(0.01, 1e3), st.sampled_from([1, 2, 3, math.inf])
)
def test_the_clipped_direction_has_the_norm(gradient: list[float], limit: float, order: float) -> None:
    w = parameter(np.zeros(len(gradient)), gradient)
    optimizer = SGD([w], lr=1.0, clip_norm=limit, norm_type=order)
    optimizer.step()
    top = np.max(np.abs(gradient)) or 1.0  # powers of very small numbers vanish
    norm = top * np.linalg.norm(np.array(gradient) / top, order)
    np.testing.assert_allclose(float(optimizer.grad_norm), norm, rtol=1e-12)
    np.testing.assert_allclose(w.numpy(), -np.array(gradient) * min(1, limit / (norm + 1e-6)), rtol=1e-12)


@pytest.mark.parametrize("norm_type", [1, 2, 3, 20, math.inf])
@pytest.mark.parametrize("size", [1e20, 1e38])
def test_gradients_whose_powers_overflow_are_clipped_to_the_norm(backend: Place, norm_type: Any, size: float) -> None:
    for rows in (False, True):
        w = Parameter(backend.array(np.ones((4, 1)), np.float32))
        w.grad = backend.tensor(np.full((4, 1), size), np.float32)
        if rows:
            w.grad = mg.RowSparse(backend.array([0, 1, 2, 3]), w.grad.data, (4, 1))
        optimizer = SGD([w], lr=1.0, clip_norm=1.0, norm_type=norm_type)
        optimizer.step()
        expected = 4 ** -(1 / norm_type)
        np.testing.assert_allclose(1 - backend.numpy(w), np.full((4, 1), expected), rtol=1e-4)
        assert optimizer.grad_norm is not None
        assert optimizer.grad_norm.dtype == np.float32


def test_values_are_limited_after_the_norm(backend: Place) -> None:
    w = Parameter(backend.array(np.zeros(3)))
    w.grad = backend.tensor([3.0, -4.0, 0.0])
    SGD([w], lr=1.0, clip_norm=2.5, clip_value=(-1.0, 7.0), maximize=True).step()
    np.testing.assert_allclose(backend.numpy(w), [1.5, -1.0, 0.0], rtol=1e-6)


def test_the_norm_is_on_the_device_and_only_where_asked_for(backend: Place) -> None:
    w = Parameter(backend.array([1.0, 1.0], np.float32))
    w.grad = backend.tensor([3.0, 4.0], np.float32)
    assert SGD([w]).grad_norm is None
    optimizer = SGD([w], clip_norm=1.0)
    assert optimizer.grad_norm is None
    optimizer.step()
    assert backend.numpy(optimizer.grad_norm) == np.float32(5.0)
    optimizer.zero_grad()
    optimizer.step()  # nothing to do
    assert float(optimizer.grad_norm) == 0.0


def test_nothing_is_looked_at_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a single number leaves the device, for dense gradients."""
    import strict

    parameters = [Parameter(mg.ones((2, 3)).to("strict:0")), Parameter(mg.ones(3).to("strict:0"))]
    optimizers = [kind(parameters, **o, clip_norm=1.0, clip_value=2.0) for kind, o in ALL]
    for p in parameters:
        p.grad = mg.Tensor(p.data * 3)

    def refuse(*_: Any) -> Any:
        raise AssertionError("waits for the device")

    for method in ("__bool__", "__float__", "__int__", "__index__", "tolist", "item"):
        monkeypatch.setattr(strict.StrictArray, method, refuse, raising=False)
    monkeypatch.setattr(strict.BACKEND.to_numpy, "__code__", refuse.__code__, raising=True)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.step()
    with pytest.raises(AssertionError, match="waits"):
        SGD(parameters, nonfinite="skip").step()


@every
def test_skipping_leaves_everything_as_it_was(kind: Any, options: Any, backend: Place) -> None:
    a, b = Parameter(backend.array([1.0, 2.0])), Parameter(backend.array([3.0]))
    optimizer = kind([("a", a), ("b", b)], **options, nonfinite="skip", clip_norm=5.0)
    a.grad, b.grad = backend.tensor([0.1, 0.2]), backend.tensor([0.3])
    optimizer.step()
    before = optimizer.state_dict()
    values = [backend.numpy(p).copy() for p in (a, b)]
    for bad in (np.nan, np.inf, -np.inf):
        b.grad = backend.tensor([bad])
        optimizer.step()
    assert optimizer.skipped == 3
    for p, value in zip((a, b), values, strict=True):
        np.testing.assert_array_equal(backend.numpy(p), value)
    after = optimizer.state_dict()
    for name in ("a", "b"):
        for key, value in before["state"][name].items():
            same = after["state"][name][key]
            assert (
                (backend.numpy(same) == backend.numpy(value)).all() if isinstance(value, mg.Tensor) else same == value
            )
    b.grad = backend.tensor([0.3])
    optimizer.step()
    assert optimizer.skipped == 3
    assert (backend.numpy(b) != values[1]).all()


LARGE = [{"maximize": True}, {"weight_decay": 0.01, "clip_norm": 1.0}, {"clip_value": (-0.2, 0.3)}]


@pytest.mark.skipif(not machine.available() or machine.switched_off(), reason="there are no compiled kernels")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("more", LARGE, ids=lambda more: "-".join(more))
@every
def test_large_parameters_are_updated_by_a_kernel(
    kind: Any, options: Any, more: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the numbers of NumPy's calls, for sizes around the kernel's rows, and gradients of another layout."""
    calls: list[bool] = []
    monkeypatch.setattr(base, "in_place", lambda *args: calls.append(in_place(*args)) or calls[-1])

    def after(compiled: bool) -> list[Any]:
        rng = np.random.default_rng(0)
        shapes = [(33 * 1024,), (300, 131), (2**15 + 1,), (5, 7)]
        parameters = [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in shapes]
        optimizer = kind(parameters, **(options | more))
        for _ in range(3):
            for p in parameters:
                p.grad = mg.Tensor(rng.standard_normal(p.shape).astype(dtype))
            parameters[1].grad.data = np.asfortranarray(parameters[1].grad.data)
            with nullcontext() if compiled else mg.plain_path():
                optimizer.step()
        state = optimizer.state_dict()["state"]
        slots = [v.numpy() for entry in state.values() for v in entry.values() if isinstance(v, mg.Tensor)]
        return [*[p.numpy() for p in parameters], *slots]

    found = after(True)
    assert calls == [True] * 9
    for a, b in zip(found, after(False), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=4 * np.finfo(dtype).eps * max(1.0, float(np.abs(b).max())))


@pytest.mark.skipif(not machine.available() or machine.switched_off(), reason="there are no compiled kernels")
@pytest.mark.parametrize("more", LARGE, ids=lambda more: "-".join(more))
@every
def test_a_recorded_update_is_one_kernel(kind: Any, options: Any, more: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the learning rate, the norm and the number of the step of each run."""
    calls: list[bool] = []
    monkeypatch.setattr(base, "in_place", lambda *args: calls.append(in_place(*args)) or calls[-1])

    def after(compiled: bool) -> list[Any]:
        rng = np.random.default_rng(0)
        w, b = Parameter(rng.standard_normal((300, 131))), Parameter(rng.standard_normal(131))
        optimizer = kind([("w", w), ("b", b)], **(options | more))

        def step(x: Any) -> None:
            optimizer.zero_grad()
            np.sum(np.square(x @ w + b)).backward()
            optimizer.step()

        run = mg.compile(step) if compiled else step
        for k in range(5):
            optimizer.param_groups[0]["lr"] *= 0.8
            run(mg.tensor((k + 1) * rng.standard_normal((2, 300))))
        state = optimizer.state_dict()["state"]
        slots = [v.numpy() if isinstance(v, mg.Tensor) else v for entry in state.values() for v in entry.values()]
        return [w.numpy(), b.numpy(), *slots]

    found = after(True)
    assert calls.count(True) == len(calls) < 5  # it is recorded once, and replayed
    with mg.plain_path():
        expected = after(False)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_a_weight_that_must_not_be_written_stays() -> None:
    w = Parameter(np.ones((300, 200)))
    w.grad = mg.ones(w.shape, dtype=np.float64)
    w.data.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        SGD([w], lr=0.5).step()
    np.testing.assert_array_equal(w.numpy(), 1.0)


def test_an_update_that_is_not_element_wise_needs_no_kernel() -> None:
    """An optimizer of one's own may use any function of NumPy; nothing has happened when the kernel is given up."""

    class Normalised(SGD):
        def update(self, w: Any, g: Any, s: Any, t: int, **options: Any) -> None:
            w -= options["lr"] * g / np.sqrt(np.mean(np.square(g)))

    w = Parameter(np.ones((300, 200)))
    w.grad = mg.ones(w.shape, dtype=np.float64) * 3.0
    Normalised([w], lr=0.5).step()
    np.testing.assert_allclose(w.numpy(), 0.5)


@every
@pytest.mark.parametrize("shape", [(3, 4), (300, 200)], ids=["whole", "in blocks"])
def test_a_compiled_step_is_skipped_as_a_plain_one(kind: Any, options: Any, shape: tuple[int, ...]) -> None:
    """Weights, state and counts after steps with and without NaN and Inf."""

    def after(compiled: bool) -> tuple[Any, ...]:
        rng = np.random.default_rng(0)
        w, b = (Parameter(rng.standard_normal(s).astype(np.float32)) for s in (shape, shape[1:]))
        optimizer = kind([("w", w), ("b", b)], **options, nonfinite="skip", clip_norm=2.0)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = np.sum(np.square(x @ w + b))
            loss.backward()
            optimizer.step()
            return loss

        run = mg.compile(step) if compiled else step
        for bad in (0, 0, 0, np.nan, 0, np.inf, np.nan, 0, 0):
            x = rng.standard_normal((2, shape[0])).astype(np.float32)
            x[0, 0] += bad
            with np.errstate(invalid="ignore"):
                run(mg.tensor(x))
        state = optimizer.state_dict()["state"]
        leaves = [v.numpy() if isinstance(v, mg.Tensor) else v for name in ("w", "b") for v in state[name].values()]
        return optimizer.skipped, [w.numpy(), b.numpy(), *leaves]

    skipped, found = after(True)
    plainly, expected = after(False)
    assert skipped == plainly == 3
    for a, c in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.5}, {"clip_norm": 0.5, "norm_type": "inf"},
                                  {"clip_value": 0.1}, {"nonfinite": "skip"}, "function"], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", [SGD, Adagrad, Adam])
def test_a_compiled_step_with_row_sparse_gradients(kind: Any, clip: Any) -> None:
    """Ids that repeat, other numbers of distinct ones at each step, none at all, and NaN if it is skipped."""

    def after(compiled: bool) -> list[Any]:
        rng = np.random.default_rng(0)
        table = Parameter(rng.standard_normal((7, 3)).astype(np.float32))
        bias = Parameter(rng.standard_normal(3).astype(np.float32))
        optimizer = kind([("table", table), ("bias", bias)], lr=0.1, **(clip if isinstance(clip, dict) else {}))

        def step(ids: Any, x: Any) -> None:
            optimizer.zero_grad()
            np.sum(np.square(mg.embedding(table, ids, sparse=True) * x + bias)).backward()
            if clip == "function":
                clip_grad_norm_([table, bias], 0.5)
            optimizer.step()

        run = mg.compile(step) if compiled else step
        for k, ids in enumerate([[1, 1, 5, 1], [0, 1, 2, 3], [6, 6, 6, 6], [2, 4, 2, 4], [3, 3, 0, 0]] * 2):
            x = rng.standard_normal((4, 3)).astype(np.float32)
            if k == 6 and isinstance(clip, dict) and "nonfinite" in clip:
                x[0, 0] = np.nan
            run(np.array(ids), mg.tensor(x))
        state = optimizer.state_dict()["state"].get("table", {})
        return [table.numpy(), bias.numpy(), *[v.numpy() for v in state.values() if isinstance(v, mg.Tensor)]]

    for a, c in zip(after(True), after(False), strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-6)


def test_raising_names_the_parameters(backend: Place) -> None:
    a, b, c = (Parameter(backend.array(np.ones(4))) for _ in range(3))
    optimizer = SGD([("a", a), ("b", b), ("c", c)], nonfinite="raise", clip_norm=1.0)
    a.grad = backend.tensor([1.0, 2.0, 3.0, 4.0])
    b.grad = backend.tensor([np.nan, 1.0, np.inf, -np.inf])
    c.grad = backend.tensor([0.0, np.nan, 0.0, 0.0])
    message = r"SGD.step: b has 1 NaN and 2 Inf among 4 values; c has 1 NaN among 4 values$"
    with pytest.raises(FloatingPointError, match=message):
        optimizer.step()
    np.testing.assert_array_equal(backend.numpy(a), np.ones(4))


@pytest.mark.parametrize("policy", ["skip", "raise"])
def test_a_sum_that_overflows_is_no_infinite_gradient(policy: Any) -> None:
    w = parameter([0.0, 0.0], [3e38, 3e38], np.float32)
    optimizer = SGD([w], lr=1e-38, nonfinite=policy)
    optimizer.step()
    np.testing.assert_allclose(w.numpy(), [-3.0, -3.0], rtol=1e-6)


def test_passing_lets_it_through() -> None:
    w = parameter([1.0, 2.0], [np.nan, 1.0])
    optimizer = SGD([w], lr=0.5)
    optimizer.step()
    np.testing.assert_array_equal(w.numpy(), [np.nan, 1.5])
    assert optimizer.skipped == 0


# ---- row-sparse gradients ----------------------------------------------------------------------------------------

SPARSE: list[tuple[type[Any], dict[str, Any]]] = [(SGD, {"lr": 0.1}), (Adagrad, {"lr": 0.1}), (Adam, {"lr": 0.1})]


@pytest.mark.parametrize(("kind", "options"), SPARSE, ids=[kind.__name__ for kind, _ in SPARSE])
def test_rows_are_updated_alone(kind: Any, options: Any, backend: Place, rng: np.random.Generator) -> None:
    """As if each touched row were a parameter of its own. ε is 0, since Adam's enters elsewhere for rows."""
    start = rng.standard_normal((6, 2))
    options = options if kind is SGD else options | {"eps": 0.0}
    table = Parameter(backend.array(start))
    rows = {k: parameter(start[k]) for k in (1, 4)}
    whole, alone = kind([table], **options), kind(rows.values(), **options)
    for _ in range(4):
        values = rng.standard_normal((3, 2))
        indices = backend.array([4, 1, 4])
        table.grad = mg.RowSparse(indices, backend.array(values), (6, 2))
        rows[1].grad, rows[4].grad = mg.Tensor(values[1]), mg.Tensor(values[0] + values[2])
        whole.step()
        alone.step()
    for k in range(6):
        expected = rows[k].numpy() if k in rows else start[k]
        np.testing.assert_allclose(backend.numpy(table)[k], expected, rtol=1e-12)


def test_rows_are_clipped_like_the_dense_gradient(rng: np.random.Generator) -> None:
    for clipping in ({"clip_norm": 0.5}, {"clip_norm": 0.5, "norm_type": "inf"}, {"clip_value": (-0.2, 0.1)}):
        sparse, dense = parameter(np.ones((5, 2))), parameter(np.ones((5, 2)))
        sparse.grad = mg.RowSparse(np.array([3, 0, 3]), rng.standard_normal((3, 2)), (5, 2))
        dense.grad = mg.Tensor(sparse.grad.dense())
        for w in (sparse, dense):
            SGD([w], lr=1.0, **clipping).step()
        np.testing.assert_allclose(sparse.numpy(), dense.numpy(), rtol=1e-12)
        assert np.abs(dense.numpy() - 1).max() > 0.05


REFUSED: list[tuple[type[Any], dict[str, Any], str]] = [
    (SGD, {"momentum": 0.9}, "momentum=0.9"),
    (SGD, {"weight_decay": 0.1}, "weight_decay=0.1"),
    (Adam, {"weight_decay": 0.1, "amsgrad": True}, "weight_decay=0.1 and amsgrad=True"),
    (AdamW, {}, "weight_decay=0.01"),
    (Adagrad, {"weight_decay": 0.1}, "weight_decay=0.1"),
    (RMSprop, {}, "only SGD, Adagrad and Adam"),
    (Adadelta, {}, "only SGD, Adagrad and Adam"),
    (NAdam, {}, "only SGD, Adagrad and Adam"),
    (Lion, {}, "only SGD, Adagrad and Adam"),
    (SGD, {"clip_value": (0.1, 0.2)}, "0.1 to 0.2 excludes 0"),
]


@pytest.mark.parametrize(("kind", "options", "reason"), REFUSED, ids=[f"{k.__name__}-{r}" for k, _, r in REFUSED])
def test_a_row_sparse_gradient_is_refused(kind: Any, options: Any, reason: str) -> None:
    first = parameter([1.0], [1.0])
    table = parameter(np.ones((3, 2)))
    table.grad = mg.RowSparse(np.array([1]), np.ones((1, 2)), (3, 2))
    with pytest.raises(ValueError, match=rf"{kind.__name__}: the gradient of table is row-sparse, .*{reason}"):
        kind([("first", first), ("table", table)], **options).step()
    assert first.item() == 1.0


@pytest.mark.parametrize(("kind", "options"), SPARSE, ids=[kind.__name__ for kind, _ in SPARSE])
def test_the_cost_is_in_the_rows(kind: Any, options: Any) -> None:
    """A step on 10 rows of 200,000 is far cheaper than one copy of the matrix, which is 50 MB."""
    layer = Embedding(200_000, 64, sparse=True)
    optimizer = kind(layer.parameters(), **options, clip_norm=1.0, nonfinite="skip")

    def timed(call: Callable[[], Any]) -> float:
        best = math.inf
        for _ in range(5):
            start = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - start)
        return best

    layer(np.arange(10)).sum().backward()
    optimizer.step()  # makes the state
    assert timed(optimizer.step) < 0.2 * timed(layer.weight.data.copy)


def test_an_optimizer_of_ones_own() -> None:
    """A user's: signs of the gradient, and how often a weight was moved."""

    class SignSGD(Optimizer):
        def __init__(self, params: Any, lr: float = 0.1, **clipping: Any) -> None:
            super().__init__(params, {"lr": lr, "maximize": False}, **clipping)

        def slots(self, options: Any) -> Any:
            return {"moves": 0.0}

        def update(self, w: Any, g: Any, s: Any, t: int, *, lr: float) -> None:
            s["moves"] += np.abs(np.sign(g))
            w -= lr * np.sign(g)

    w = parameter([1.0, 2.0, 3.0], [5.0, 0.0, -2.0])
    optimizer = SignSGD([w])
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(w.numpy(), [0.8, 2.0, 3.2])
    np.testing.assert_array_equal(optimizer.state["0"]["moves"].numpy(), [2, 0, 2])
