"""Modules: their parameters and submodules in order; states, modes, hooks, copies, labels; the containers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from oracles import gradients, near, randomize, total

import minigrad as mg
import nn

Rng = np.random.Generator


class Pair(nn.Module):
    """Parameters before, between and after parts, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(mg.ones(2))
        self.first = nn.Linear(2, 3)
        self.register_buffer("seen", mg.zeros(3))
        self.shift = nn.Parameter(mg.zeros(3))
        self.second = nn.Linear(3, 2, bias=False)
        self.register_buffer("scratch", mg.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.second(np.tanh(self.first(x * self.scale) + self.shift))


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


# ---- parts -------------------------------------------------------------------------------------------------------


def test_the_order_is_that_of_the_definition() -> None:
    module = Pair()
    assert names(module.named_parameters()) == ["scale", "first.weight", "first.bias", "shift", "second.weight"]
    assert list(module.parameters()) == [
        module.scale, module.first.weight, module.first.bias, module.shift, module.second.weight
    ]  # fmt: skip
    assert names(module.named_modules()) == ["", "first", "second"]
    assert names(module.named_children()) == ["first", "second"]
    assert names(module.named_buffers()) == ["seen", "scratch"]
    assert list(module.state_dict()) == ["scale", "first.weight", "first.bias", "seen", "shift", "second.weight"]
    assert names(module.named_parameters("model"))[0] == "model.scale"
    outer = nn.Sequential(module, nn.Tanh())
    assert names(outer.named_modules()) == ["", "0", "0.first", "0.second", "1"]
    assert list(outer.buffers()) == [module.seen, module.scratch]


def test_a_parameter_shares_memory_and_requires_grad() -> None:
    array = np.ones((2, 2))
    parameter = nn.Parameter(array)
    assert parameter.data is array
    assert parameter.requires_grad
    assert not nn.Parameter(array, requires_grad=False).requires_grad
    tensor = mg.ones(2)
    assert nn.Parameter(tensor).data is tensor.data
    with pytest.raises(TypeError, match="only tensors of floats can require grad, not int64"):
        nn.Parameter(np.arange(3))


def test_tied_weights_come_once_and_keep_all_their_names(rng: Rng) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 3)
            self.output = nn.Linear(3, 5, bias=False)
            self.output.weight = self.embedding.weight
            self.again = self.output

        def forward(self, ids: Any) -> Any:
            return self.output(self.embedding(ids))

    module = Tied()
    assert names(module.named_parameters()) == ["embedding.weight"]
    assert names(module.named_modules()) == ["", "embedding", "output"]
    assert list(module.state_dict()) == ["embedding.weight", "output.weight", "again.weight"]
    total(module(np.array([1, 4]))).backward()
    assert np.count_nonzero(module.output.weight.grad.numpy().any(axis=1)) == 5
    twin = copy.deepcopy(module)
    assert twin.output.weight is twin.embedding.weight
    assert twin.output.weight is not module.output.weight
    assert twin.again is twin.output


def test_attributes_can_be_replaced_and_removed() -> None:
    module = Pair()
    module.first = nn.Linear(2, 3, bias=False)
    module.shift = None
    assert names(module.named_parameters()) == ["scale", "first.weight", "second.weight"]
    del module.scale
    assert names(module.named_parameters()) == ["first.weight", "second.weight"]


def test_super_must_be_called_first() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(mg.ones(2))

    with pytest.raises(AttributeError, match=r"Late: call super\(\).__init__\(\) before setting 'weight'"):
        Late()
    with pytest.raises(NotImplementedError, match=r"Module does not define forward\(\)"):
        nn.Module()()


# ---- state -------------------------------------------------------------------------------------------------------


def test_a_state_goes_into_another_module(rng: Rng) -> None:
    a, b = randomize(Pair(), rng), randomize(Pair(), rng)
    a.seen.data[...] = 7
    result = b.load_state_dict({name: value.numpy() for name, value in a.state_dict().items()})
    assert (result.missing, result.unexpected) == ([], [])
    for (name, x), (other, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert name == other
        assert not y.requires_grad
        np.testing.assert_array_equal(x.numpy(), y.numpy())
        assert x.data is not y.data
    assert a.state_dict()["shift"].data is a.shift.data
    a.load_state_dict(b.to(np.float64).state_dict())
    assert a.shift.dtype == np.float32


def test_errors_of_a_state_list_everything_and_change_nothing(rng: Rng) -> None:
    module = randomize(Pair(), rng)
    before = {name: value.numpy() for name, value in module.state_dict().items()}
    state = {name: value * 0 for name, value in before.items()}
    del state["scale"], state["first.bias"]
    with pytest.raises(
        ValueError,
        match=r"Pair.load_state_dict: the names do not agree; missing: scale, first.bias; unexpected: a, b.c$",
    ):
        module.load_state_dict({**state, "a": np.ones(1), "b.c": np.ones(1)})
    wrong = {**before, "scale": np.zeros(3), "shift": np.zeros((3, 1)), "seen": np.zeros(3)}
    with pytest.raises(
        ValueError,
        match=r"shapes do not agree: scale is \(3,\), expected \(2,\); shift is \(3, 1\), expected \(3,\)$",
    ):
        module.load_state_dict(wrong)
    with pytest.raises(ValueError, match="scale is"):
        module.load_state_dict({"scale": np.zeros(3), "shift": np.zeros(3)}, strict=False)
    near({name: value.numpy() for name, value in module.state_dict().items()}, before, 0)
    result = module.load_state_dict({"shift": np.full(3, 9.0), "other": np.ones(2)}, strict=False)
    assert result.unexpected == ["other"]
    assert result.missing == ["scale", "first.weight", "first.bias", "seen", "second.weight"]
    np.testing.assert_array_equal(module.shift.numpy(), 9)


def test_loading_between_forward_and_backward_is_noticed(rng: Rng) -> None:
    module = randomize(Pair(), rng)
    loss = total(module(mg.ones((1, 2))))
    module.load_state_dict(module.state_dict())
    with pytest.raises(RuntimeError, match="was overwritten in place"):
        loss.backward()


# ---- modes and places --------------------------------------------------------------------------------------------


def test_train_and_eval_reach_everything() -> None:
    module = nn.Sequential(Pair(), nn.ModuleList([nn.Dropout()]), nn.ModuleDict({"a": nn.GRU(2, 2)}))
    assert all(m.training for m in module.modules())
    assert module.eval() is module
    assert not any(m.training for m in module.modules())
    module[0].train()
    assert [m.training for m in module[0].modules()] == [True] * 3
    assert not module.training
    module.train(False)
    assert not module[0].training


def test_to_a_dtype_takes_parameters_gradients_and_buffers() -> None:
    module = Pair()
    total(module(mg.ones((1, 2)))).backward()
    parameter = module.shift
    assert module.to(np.float64) is module
    assert module.shift is parameter
    for tensor in (*module.parameters(), *module.buffers(), parameter.grad):
        assert tensor.dtype == np.float64
    total(module(mg.ones((1, 2), dtype=np.float64))).backward()
    assert parameter.grad.dtype == np.float64
    assert module.to("float32").seen.dtype == np.float32
    with pytest.raises(TypeError, match=r"Pair\.to: the dtype must be a floating one, not int64"):
        module.to(int)
    ids = Pair()
    ids.register_buffer("ids", mg.arange(3))
    assert ids.to(np.float64).ids.dtype.kind == "i"


def test_to_a_device(backend: Any) -> None:
    module = nn.LSTM(2, 3)
    output, _ = module(mg.ones((2, 1, 2)))
    total(output).backward()
    expected = [p.grad.numpy() for p in module.parameters()]
    module.to(backend.device)
    for parameter, gradient in zip(module.parameters(), expected, strict=True):
        assert parameter.device == backend.device
        np.testing.assert_array_equal(backend.numpy(parameter.grad), gradient)
    xs = backend.tensor(np.ones((2, 1, 2), np.float32))
    np.testing.assert_allclose(backend.numpy(module(xs)[0]), output.numpy(), rtol=1e-6)
    module.to("cpu")
    assert module.weight_ih_l0.device == "cpu"


def test_gradients_are_forgotten_and_weights_frozen() -> None:
    module = Pair()
    total(module(mg.ones((1, 2)))).backward()
    assert all(p.grad is not None for p in module.parameters())
    module.zero_grad()
    assert all(p.grad is None for p in module.parameters())
    module.first.requires_grad_(False)
    total(module(mg.ones((1, 2)))).backward()
    assert [p.grad is None for p in module.parameters()] == [False, True, True, False, False]


def test_apply_goes_from_the_parts_to_the_whole() -> None:
    module = nn.Sequential(Pair(), nn.Tanh())
    seen: list[Any] = []
    assert module.apply(seen.append) is module
    assert len(seen) == 5
    assert seen[-1] is module
    assert seen.index(module[0].first) < seen.index(module[0])


# ---- hooks -------------------------------------------------------------------------------------------------------


def test_hooks_see_and_may_replace_the_output() -> None:
    module, seen = nn.Linear(2, 3), []
    plain = module(mg.ones((1, 2))).numpy()
    remove = module.register_forward_hook(lambda m, args, output: seen.append((m, args[0].shape, output.shape)))
    module.register_forward_hook(lambda m, args, output: output * 2)
    np.testing.assert_array_equal(module(mg.ones((1, 2))).numpy(), 2 * plain)
    assert seen == [(module, (1, 2), (1, 3))]
    remove()
    remove()
    module(mg.ones((1, 2)))
    assert len(seen) == 1


def test_a_hook_may_remove_itself_while_it_runs() -> None:
    module, seen = nn.Tanh(), []

    def once(*_: Any) -> None:
        seen.append("once")
        remove()

    remove = module.register_forward_hook(once)
    module.register_forward_hook(lambda *_: seen.append("always"))
    module(mg.ones(2))
    module(mg.ones(2))
    assert seen == ["once", "always", "always"]


# ---- copies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LSTM(2, 3, 2, bidirectional=True, learn_state=True),
        lambda: nn.RNN(2, 3, nonlinearity=mg.sigmoid),
        lambda: nn.RNN(2, 3, nonlinearity=lambda z: np.sin(z)),
        lambda: nn.GRU(2, 3, recurrent_dropout=0.0),
        lambda: nn.Stacked([nn.DeepTransitionCell(2, 3), nn.ElmanCell(3, 3, 3)]),
    ],
    ids=["lstm", "rnn", "function", "gru", "stack"],
)
def test_a_deep_copy_is_an_equal_module_of_its_own(make: Any, rng: Rng) -> None:
    module, xs = randomize(make(), rng), rng.standard_normal((4, 2, 2)).astype(np.float32)
    total(module(xs)).backward()  # copied after it has been at work
    twin = copy.deepcopy(module)
    expected = module(xs)[0].numpy()
    near(twin(xs)[0], expected, 0)
    for (name, a), (other, b) in zip(module.named_parameters(), twin.named_parameters(), strict=True):
        assert name == other
        assert a is not b
        assert not np.shares_memory(a.data, b.data)
        np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())
        assert not np.shares_memory(a.grad.data, b.grad.data)
    for parameter in twin.parameters():
        parameter.data[...] *= 2
    near(module(xs)[0], expected, 0)
    assert np.abs(twin(xs)[0].numpy() - expected).max() > 1e-3
    module.zero_grad(), twin.zero_grad()
    assert any(g.any() for g in gradients(total(twin(xs)), twin).values())
    assert all(p.grad is None for p in module.parameters())


# ---- labels and text ---------------------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(5, 2)])
        self.by_name = nn.ModuleDict({"a": nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 2))})

    def forward(self, x: Any, which: Any) -> Any:
        h = self.encoder(x)
        return self.by_name["a"](h) if which == "a" else self.heads[which](h)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, 2)

    def forward(self, x: Any) -> Any:
        return self.lstm(x)[0]


def test_errors_say_where() -> None:
    model = Model()
    for which, place in ((1, r"Model.heads\[1\]"), ("a", r"Model.a.1")):
        with pytest.raises(ValueError, match=rf"Linear: the input has 4 features .* in_features is . in {place}$"):
            model(mg.zeros((5, 2, 3)), which)
    model.encoder.lstm.weight_hh_l1.data[0, 0] = np.nan
    with pytest.raises(mg.AnomalyError, match=r"NaN in Model.encoder.lstm\[1\] t=0"), mg.detect_anomaly():
        model(mg.ones((5, 2, 3)), 0)


def test_modules_print_what_they_are() -> None:
    assert repr(nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.Dropout(0.1), nn.LeakyReLU(0.2)))) == (
        "Sequential(\n"
        "  (0): Linear(2, 3, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): Dropout(p=0.1)\n"
        "    (1): LeakyReLU(negative_slope=0.2)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Embedding(5, 2, padding_idx=-1)) == "Embedding(5, 2, padding_idx=4)"


# ---- containers --------------------------------------------------------------------------------------------------


def test_a_list_of_modules() -> None:
    layers = nn.ModuleList([nn.Linear(2, k) for k in (1, 2, 3)])
    layers.append(nn.Tanh())
    assert len(layers) == 4
    assert [type(m) for m in layers] == [nn.Linear] * 3 + [nn.Tanh]
    assert layers[-1] is layers[3]
    assert isinstance(layers[1:3], nn.ModuleList)
    assert [m.out_features for m in layers[1:3]] == [2, 3]
    assert names(layers.named_parameters())[:3] == ["0.weight", "0.bias", "1.weight"]
    with pytest.raises(TypeError, match="ModuleList: expected a Module, got int"):
        layers.append(3)  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        layers[4]


def test_a_sequence_of_modules(rng: Rng) -> None:
    modules = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x = rng.standard_normal((4, 2)).astype(np.float32)
    np.testing.assert_array_equal(modules(x).numpy(), modules[2](np.tanh(modules[0](x))).numpy())
    assert isinstance(modules[:2], nn.Sequential)
    near(modules[:2](x), np.tanh(modules[0](x)), 0)
    assert names(modules.named_parameters()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_modules_by_name() -> None:
    modules = nn.ModuleDict({"de": nn.Linear(2, 2)})
    modules["fr"] = nn.Linear(2, 3)
    assert list(modules) == list(modules.keys()) == ["de", "fr"]
    assert [m.out_features for m in modules.values()] == [2, 3]
    assert [name for name, _ in modules.items()] == ["de", "fr"]
    assert len(modules) == 2
    assert "fr" in modules
    assert "es" not in modules
    modules["de"] = nn.Tanh()
    assert isinstance(modules["de"], nn.Tanh)
    for name in ("training", "a.b", "forward"):
        with pytest.raises(KeyError, match="cannot be a name here"):
            modules[name] = nn.Tanh()
    with pytest.raises(TypeError, match="ModuleDict: expected a Module, got function"):
        modules["f"] = lambda x: x  # type: ignore[assignment]
    with pytest.raises(KeyError):
        modules["es"]


# ---- replaced parts ----------------------------------------------------------------------------------------------


def test_nothing_pushes_a_parameter_out_unnoticed() -> None:
    layer = nn.Linear(2, 2)
    lstm = nn.LSTM(2, 2)
    for value in (mg.ones((2, 2), requires_grad=True), np.ones((2, 2)), layer.weight * 0.9, 3.0, [1.0]):
        with pytest.raises(TypeError, match=r"Linear: 'weight' is a parameter, .* assign an nn.Parameter, or write"):
            layer.weight = value
        with pytest.raises(TypeError, match="LSTMCell: 'weight_hh' is a parameter"):
            lstm.weight_hh_l0 = value
    assert len(list(layer.parameters())) == 2
    with mg.no_grad():
        layer.weight *= 0.5
    layer.weight = nn.Parameter(mg.zeros((2, 2)))
    layer.bias = None
    assert names(layer.named_parameters()) == ["weight"]


def test_nothing_pushes_a_module_or_a_buffer_out_unnoticed() -> None:
    module = Pair()
    with pytest.raises(TypeError, match=r"Pair: 'first' is a module, and a function .* assign a module"):
        module.first = lambda x: x  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"Pair: 'seen' is a buffer, and a ndarray .* assign a Tensor"):
        module.seen = np.ones(3)  # type: ignore[assignment]
    several = nn.ModuleList([nn.Linear(2, 2)])
    with pytest.raises(TypeError, match="ModuleList: '0' is a module"):
        setattr(several, "0", mg.ones(2))
    module.seen = mg.ones(3)
    module.first = nn.Linear(2, 3)
    assert list(module.state_dict()) == ["scale", "first.weight", "first.bias", "seen", "shift", "second.weight"]


def test_a_buffer_is_a_tensor() -> None:
    module = Pair()
    with pytest.raises(TypeError, match="Pair: the buffer 'more' must be a Tensor, not ndarray"):
        module.register_buffer("more", np.ones(2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Pair: 'shift' is a parameter"):
        module.register_buffer("shift", mg.ones(3))
    assert names(module.named_buffers()) == ["seen", "scratch"]
    module.register_buffer("later", None)
    module.later = mg.ones(2)
    assert names(module.named_buffers()) == ["seen", "scratch", "later"]


def test_weights_that_are_dropped_come_back_as_parameters() -> None:
    dropped = nn.WeightDrop(nn.LSTM(2, 3), ["weight_hh_l0"], p=0.5)
    dropped(mg.ones((4, 1, 2)))[0].sum().backward()
    assert isinstance(dropped.module.weight_hh_l0, nn.Parameter)
    assert dropped.module.weight_hh_l0.grad is not None


class Shared(nn.Module):
    """One tensor under two names, and another."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(4, 3), nn.Linear(3, 4)
        self.out.weight = self.embedding.weight


def test_one_name_of_a_tied_tensor_is_enough_and_two_must_agree() -> None:
    model = Shared()
    ones, bias = mg.ones((4, 3)), mg.zeros(4)
    assert model.load_state_dict({"embedding.weight": ones, "out.bias": bias}).missing == []
    model.load_state_dict({"out.weight": ones * 2, "out.bias": bias})
    np.testing.assert_array_equal(model.embedding.weight.numpy(), np.full((4, 3), 2.0))
    model.load_state_dict({"embedding.weight": ones * np.nan, "out.weight": ones * np.nan, "out.bias": bias})
    model.load_state_dict({"embedding.weight": ones, "out.weight": np.ones((4, 3)), "out.bias": bias})
    third = np.full((4, 3), 1 / 3)  # in another precision
    model.load_state_dict({"embedding.weight": third, "out.weight": third.astype(np.float32), "out.bias": bias})
    model.load_state_dict({"embedding.weight": ones, "out.bias": bias})
    with pytest.raises(ValueError, match=r"embedding.weight and out.weight are one tensor here, and their values"):
        model.load_state_dict({"embedding.weight": ones * 3, "out.weight": ones * 4, "out.bias": mg.ones(4)})
    np.testing.assert_array_equal(model.out.weight.numpy(), np.ones((4, 3)))
    np.testing.assert_array_equal(model.out.bias.numpy(), np.zeros(4))
    with pytest.raises(ValueError, match=r"missing: embedding.weight, out.weight$"):
        model.load_state_dict({"out.bias": bias})


@pytest.mark.parametrize("value", [np.full((2,), 1 + 1j), ["a", "b"], [None, None]])
def test_what_holds_no_real_numbers_is_not_loaded(value: Any) -> None:
    layer = nn.Linear(1, 2)
    before = layer.weight.numpy().copy()
    with pytest.raises(TypeError, match=r"Linear.load_state_dict: bias must be real numbers"):
        layer.load_state_dict({"weight": mg.zeros((2, 1)), "bias": value})
    np.testing.assert_array_equal(layer.weight.numpy(), before)
