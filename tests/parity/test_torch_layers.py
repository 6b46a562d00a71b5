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
    "rms norm": (nn.RMSNorm(5), torch.nn.RMSNorm(5), (2, 4, 5)),
    "rms norm of axes": (nn.RMSNorm((4, 5), eps=1e-3), torch.nn.RMSNorm((4, 5), eps=1e-3), (2, 4, 5)),
    "rms norm plain": (
        nn.RMSNorm(5, elementwise_affine=False), torch.nn.RMSNorm(5, elementwise_affine=False), (4, 5)
    ),
    "glu axis 1": (nn.GLU(1), torch.nn.GLU(1), (2, 4, 3)),
    "prelu of channels": (nn.PReLU(3), torch.nn.PReLU(3), (2, 3, 4)),
    "prelu vector": (nn.PReLU(), torch.nn.PReLU(), (5,)),
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
    ("Softplus", (2.0, 1.5), {}), ("LogSigmoid", (), {}), ("Mish", (), {}), ("ReLU6", (), {}), ("GLU", (), {}),
    ("PReLU", (), {}), ("PReLU", (4, 0.1), {}),
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


@pytest.mark.parametrize(
    "options",
    [
        {"max_norm": 0.9}, {"max_norm": 0.9, "norm_type": 1.0}, {"scale_grad_by_freq": True},
        {"max_norm": 1.1, "scale_grad_by_freq": True, "padding_idx": 2},
    ],
)  # fmt: skip
@pytest.mark.parametrize("sparse", [False, True])
def test_embeddings_of_bounded_rows_and_by_frequency(options: Any, sparse: bool, rng: Any) -> None:
    if sparse and options.get("scale_grad_by_freq"):
        return  # PyTorch has no such pair
    ids = np.array([[1, 2, 1, 6], [5, 0, 2, 1]])
    ours = nn.Embedding(7, 3, **options, sparse=sparse, dtype=np.float64)
    theirs = torch.nn.Embedding(7, 3, **options, sparse=sparse).double()
    ours.weight.data[...] = weight = rng.standard_normal((7, 3))
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(weight))
    g = rng.standard_normal((2, 4, 3))
    y, expected = ours(ids), theirs(torch.tensor(ids))
    (y * g).sum().backward()
    (expected * torch.tensor(g)).sum().backward()
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.weight.numpy(), theirs.weight.detach().numpy(), rtol=1e-12)
    gradient, theirs_gradient = ours.weight.grad, theirs.weight.grad
    if sparse:
        gradient, theirs_gradient = mg.Tensor(gradient.dense()), theirs_gradient.to_dense()
    np.testing.assert_allclose(gradient.numpy(), theirs_gradient.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"include_last_offset": True}, {"max_norm": 0.8},
                                     {"scale_grad_by_freq": True}, {"sparse": True}])  # fmt: skip
@pytest.mark.parametrize("layout", ["offsets", "matrix", "weights"])
def test_bags_of_embeddings(mode: str, options: Any, layout: str, rng: Any) -> None:
    refused = mode == "max" and (options.get("scale_grad_by_freq") or options.get("sparse"))  # by PyTorch
    if refused or (layout == "weights" and (mode != "sum" or "scale_grad_by_freq" in options)):
        return
    if layout == "matrix" and "include_last_offset" in options:
        return
    ours = nn.EmbeddingBag(6, 3, mode=mode, **options, dtype=np.float64)
    theirs = torch.nn.EmbeddingBag(6, 3, mode=mode, **options).double()
    ours.weight.data[...] = weight = rng.standard_normal((6, 3)).round(1)  # ties, too
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(weight))
    ids = np.array([1, 2, 1, 5, 4, 0, 0, 2])
    more, theirs_more = {}, {}
    if layout == "matrix":
        ids = ids.reshape(4, 2)
    else:
        more["offsets"] = np.array([0, 3, 3, 7] + [8] * ("include_last_offset" in options))
        theirs_more["offsets"] = torch.tensor(more["offsets"])
    if layout == "weights":
        more["per_sample_weights"] = mg.tensor(rng.standard_normal(8), requires_grad=True)
        theirs_more["per_sample_weights"] = torch.tensor(more["per_sample_weights"].numpy(), requires_grad=True)
    y, expected = ours(ids, **more), theirs(torch.tensor(ids), **theirs_more)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-15)
    g = rng.standard_normal(y.shape)
    (y * g).sum().backward()
    (expected * torch.tensor(g)).sum().backward()
    gradient, theirs_gradient = ours.weight.grad, theirs.weight.grad
    if "sparse" in options:
        gradient, theirs_gradient = mg.Tensor(gradient.dense()), theirs_gradient.to_dense()
    if (
        "scale_grad_by_freq" in options
    ):  # PyTorch's bags divide some rows by the count of another; its Embedding does not
        plain = torch.nn.Embedding(6, 3, scale_grad_by_freq=True).double()
        bags = plain(torch.tensor(ids.reshape(-1)))
        bags = bags.reshape(4, 2, 3).sum(1) if layout == "matrix" else torch.segment_reduce(
            bags, "sum", lengths=torch.tensor([3, 0, 4, 1]), axis=0)  # fmt: skip
        counts = np.array([2] * 4 if layout == "matrix" else [3, 1, 4, 1])[:, None] if mode == "mean" else 1.0
        (bags * torch.tensor(g / counts)).sum().backward()
        theirs_gradient = plain.weight.grad
    np.testing.assert_allclose(gradient.numpy(), theirs_gradient.numpy(), rtol=1e-12, atol=1e-15)
    if layout == "weights":
        a, b = more["per_sample_weights"].grad, theirs_more["per_sample_weights"].grad
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-15)


# ---- windows along time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {}, {"stride": 2}, {"padding": 2}, {"padding": 3, "stride": 3}, {"dilation": 2}, {"padding": "same"},
        {"padding": "same", "dilation": 3}, {"padding": "valid"}, {"groups": 2},
        {"groups": 2, "stride": 2, "padding": 1},
        {"bias": False}, {"padding": 2, "padding_mode": "reflect"}, {"padding": 2, "padding_mode": "replicate"},
        {"padding": "same", "padding_mode": "circular"}, {"kernel_size": 2, "padding": "same", "groups": 2},
    ],
    ids=str,
)  # fmt: skip
@every_dtype
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_convolutions(options: Any, dtype: Any, rng: Any) -> None:
    options = {"kernel_size": 3, **options}
    compare(nn.Conv1d(4, 6, **options), torch.nn.Conv1d(4, 6, **options), rng.standard_normal((2, 4, 9)), dtype)
    compare(nn.Conv1d(4, 6, **options), torch.nn.Conv1d(4, 6, **options), rng.standard_normal((4, 9)), dtype)


def test_depthwise_and_causal_convolutions(rng: Any) -> None:
    x = rng.standard_normal((3, 4, 11))
    compare(nn.Conv1d(4, 8, 3, groups=4), torch.nn.Conv1d(4, 8, 3, groups=4), x, np.float64)
    ours = nn.Conv1d(4, 5, 3, padding="causal", dilation=2, dtype=np.float64)
    weight, bias = (torch.tensor(p.numpy()) for p in (ours.weight, ours.bias))
    padded = torch.nn.functional.pad(torch.tensor(x), (4, 0))
    expected = torch.nn.functional.conv1d(padded, weight, bias, dilation=2).numpy()
    np.testing.assert_allclose(ours(x).numpy(), expected, atol=1e-13)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"stride": 1}, {"padding": 1}, {"stride": 2, "padding": 1, "dilation": 2}, {"ceil_mode": True},
        {"kernel_size": 2, "stride": 3, "ceil_mode": True, "padding": 1},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("length", [7, 8, 11])
def test_the_largest_of_windows(options: Any, length: int, rng: Any) -> None:
    options = {"kernel_size": 3, **options}
    ours, theirs = nn.MaxPool1d(**options), torch.nn.MaxPool1d(**options)
    for x in (rng.standard_normal((2, 3, length)), rng.integers(0, 2, (2, 3, length)) * 1.0, -np.ones((3, length))):
        compare(ours, theirs, x, np.float64)
    x = rng.standard_normal((2, 3, length))
    x[0, 0, 3], x[1, 2, :2] = np.nan, np.nan
    np.testing.assert_array_equal(ours(mg.tensor(x)).numpy(), theirs(torch.tensor(x)).numpy())
    ours, theirs = nn.MaxPool1d(**options, return_indices=True), torch.nn.MaxPool1d(**options, return_indices=True)
    for y, expected in zip(ours(mg.tensor(x)), theirs(torch.tensor(x)), strict=True):
        np.testing.assert_array_equal(y, expected.numpy())


# ---- statistics of a batch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 6), (1, 3, 5)])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.3, "eps": 1e-3}, {"momentum": None}, {"affine": False},
                                     {"track_running_stats": False}], ids=str)  # fmt: skip
@every_dtype
def test_batch_norm(shape: Any, options: Any, dtype: Any, rng: Any) -> None:
    ours, theirs = nn.BatchNorm1d(3, **options), torch.nn.BatchNorm1d(3, **options)
    bound = 1e-12 if dtype == np.float64 else 1e-5
    for _ in range(3):
        compare(ours, theirs, 2 * rng.standard_normal(shape) + 1, dtype, 1e-12)
        for (name, a), (_, b) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=bound, err_msg=name)
    compare(ours.eval(), theirs.eval(), rng.standard_normal(shape), dtype, 1e-12)


# ---- several heads -----------------------------------------------------------------------------------------------

HEADS: dict[str, Any] = {
    "plain": {}, "no bias": {"bias": False}, "sizes": {"kdim": 3, "vdim": 5}, "kdim": {"kdim": 4},
    "batch first": {"batch_first": True}, "more keys": {"add_bias_kv": True, "add_zero_attn": True},
}  # fmt: skip


@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("masks", ["none", "padding", "causal", "both", "floats", "heads"])
@pytest.mark.parametrize("same", [False, True])
def test_attention_with_several_heads(options: Any, masks: str, same: bool, rng: Any) -> None:
    if same and ("kdim" in options or "vdim" in options):
        return
    E, h, N, L, S = 6, 2, 3, 4, 4 if same else 5
    ours = nn.MultiheadAttention(E, h, **options, dtype=np.float64)
    theirs = torch.nn.MultiheadAttention(E, h, **options).double()
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.standard_normal(tuple(p.shape))))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: w.numpy() for name, w in theirs.state_dict().items()})
    first = options.get("batch_first", False)

    def inputs(n: int, width: int) -> Any:
        x = rng.standard_normal((N, n, width) if first else (n, N, width))
        return mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)

    xs = [inputs(L, E)] * 3 if same else [inputs(L, E), inputs(S, ours.kdim), inputs(S, ours.vdim)]
    more: dict[str, Any] = {}
    if masks in ("padding", "both"):
        more["key_padding_mask"] = np.arange(S) >= np.array([S, 2, 3])[:, None]
    if masks in ("causal", "both"):
        more["attn_mask"] = ~np.tri(L, S, dtype=bool)
    if masks == "floats":
        more["attn_mask"] = np.where(np.tri(L, S, dtype=bool), rng.standard_normal((L, S)), -np.inf)
        more["key_padding_mask"] = np.where(np.arange(S) >= np.array([S, 2, 3])[:, None], -np.inf, 0.0)
    if masks == "heads":
        more["attn_mask"] = rng.random((N * h, L, S)) < 0.4
        more["attn_mask"][..., 0] = False
    theirs_more = {name: torch.tensor(mask) for name, mask in more.items()}
    for average in (True, False):
        y, w = ours(*(x for x, _ in xs), **more, average_attn_weights=average)
        ty, tw = theirs(*(x for _, x in xs), **theirs_more, average_attn_weights=average)
        np.testing.assert_allclose(y.numpy(), ty.detach().numpy(), atol=1e-12)
        np.testing.assert_allclose(w.numpy(), tw.detach().numpy(), atol=1e-12)
    g, gw = rng.standard_normal(y.shape), rng.standard_normal(w.shape)
    ((y * g).sum() + (w * gw).sum()).backward()
    ((ty * torch.tensor(g)).sum() + (tw * torch.tensor(gw)).sum()).backward()
    pairs = [*xs, *zip(ours.parameters(), theirs.parameters(), strict=True)]
    for a, b in pairs:
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), atol=1e-11)
    output, none = ours(*(x for x, _ in xs), **more, need_weights=False)
    assert none is None
    np.testing.assert_allclose(output.numpy(), ty.detach().numpy(), atol=1e-12)


def test_heads_without_a_batch(rng: Any) -> None:
    ours, theirs = nn.MultiheadAttention(4, 2, dtype=np.float64), torch.nn.MultiheadAttention(4, 2).double()
    ours.load_state_dict({name: w.numpy() for name, w in theirs.state_dict().items()})
    x, mask = rng.standard_normal((5, 4)), np.array([False, False, False, True, True])
    y, w = ours(x, x, x, key_padding_mask=mask)
    ty, tw = theirs(*[torch.tensor(x)] * 3, key_padding_mask=torch.tensor(mask))
    np.testing.assert_allclose(y.numpy(), ty.detach().numpy(), atol=1e-13)
    np.testing.assert_allclose(w.numpy(), tw.detach().numpy(), atol=1e-13)


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
    pairs = [(nn.Linear(50, 90), torch.nn.Linear(50, 90)), (nn.Embedding(70, 50), torch.nn.Embedding(70, 50)),
             (nn.Conv1d(40, 30, 5, groups=2), torch.nn.Conv1d(40, 30, 5, groups=2)),
             (nn.MultiheadAttention(40, 2), torch.nn.MultiheadAttention(40, 2)),
             (nn.MultiheadAttention(40, 2, kdim=30, add_bias_kv=True),
              torch.nn.MultiheadAttention(40, 2, kdim=30, add_bias_kv=True)),
             (nn.EmbeddingBag(70, 50), torch.nn.EmbeddingBag(70, 50)), (nn.PReLU(3), torch.nn.PReLU(3)),
             (nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)), (nn.RMSNorm(3), torch.nn.RMSNorm(3))]  # fmt: skip
    for ours, theirs in pairs:
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert p.shape == tuple(q.shape)
            assert abs(p.numpy().std() - q.detach().numpy().std()) <= 5 * q.std() * (2 / p.size) ** 0.5
