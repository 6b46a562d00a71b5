"""Attention with several heads against a loop over sequences, heads, queries and keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import near, parameters_replaced, randomize, softmax, tensors

import minigrad as mg
import nn

Rng = np.random.Generator
E, H, N, L, S = 6, 2, 3, 4, 5


def attended(layer: nn.MultiheadAttention, q: Any, k: Any, v: Any, may: Any, added: Any) -> tuple[Any, Any]:
    """q (N, L, E), k and v (N, S, ·), `may` and `added` (N, H, L, S)."""
    d = E // H
    if layer.in_proj_weight is not None:
        W = np.split(layer.in_proj_weight.numpy(), 3)
    else:
        W = [w.numpy() for w in (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)]
    b = np.zeros((3, E)) if layer.in_proj_bias is None else layer.in_proj_bias.numpy().reshape(3, E)
    heads, weights = np.zeros((N, L, E)), np.zeros((N, H, L, S))
    for n, h, l in np.ndindex(N, H, L):
        part = slice(h * d, (h + 1) * d)
        seen = np.flatnonzero(may[n, h, l])
        if not len(seen):
            continue
        query = (W[0] @ q[n, l] + b[0])[part]
        keys = [(W[1] @ k[n, s] + b[1])[part] for s in seen]
        scores = np.array([query @ key for key in keys]) / np.sqrt(d) + added[n, h, l, seen]
        weights[n, h, l, seen] = softmax(scores)
        heads[n, l, part] = weights[n, h, l, seen] @ np.array([(W[2] @ v[n, s] + b[2])[part] for s in seen])
    out = heads @ layer.out_proj.weight.numpy().T
    return out if layer.out_proj.bias is None else out + layer.out_proj.bias.numpy(), weights


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 3, "vdim": 7}], ids=str)
def test_heads_are_the_loop(options: Any, rng: Rng) -> None:
    layer = randomize(nn.MultiheadAttention(E, H, batch_first=True, dtype=np.float64, **options), rng)
    q, k = rng.standard_normal((N, L, E)), rng.standard_normal((N, S, layer.kdim))
    v = rng.standard_normal((N, S, layer.vdim))
    everywhere, nothing = np.ones((N, H, L, S), bool), np.zeros((N, H, L, S))
    lengths = np.array([5, 0, 2])
    ended = np.arange(S) >= lengths[:, None]  # (N, S)
    later, numbers = ~np.tri(L, S, dtype=bool), rng.standard_normal((L, S))
    by_head = rng.random((N * H, L, S)) < 0.5
    cases: list[tuple[dict[str, Any], Any, Any]] = [
        ({}, everywhere, nothing),
        ({"key_padding_mask": ended}, ~ended[:, None, None] & everywhere, nothing),
        ({"lengths": lengths}, ~ended[:, None, None] & everywhere, nothing),
        ({"attn_mask": later}, ~later & everywhere, nothing),
        ({"is_causal": True}, ~later & everywhere, nothing),
        ({"attn_mask": numbers, "lengths": lengths}, ~ended[:, None, None] & everywhere, numbers + nothing),
        ({"attn_mask": np.where(later, -np.inf, numbers)}, ~later & everywhere, numbers + nothing),
        ({"attn_mask": by_head}, ~by_head.reshape(N, H, L, S), nothing),
    ]
    for masks, may, added in cases:
        output, weights = attended(layer, q, k, v, may, added)
        seen = may.any((1, 2))[..., None]  # what nobody sees has no influence
        given = q, np.where(seen, k, np.nan), np.where(seen, v, np.inf)
        y, w = layer(*given, average_attn_weights=False, **masks)
        near(y, output, what=str(masks))
        near(w, weights, what=str(masks))
        near(layer(*given, **masks)[1], weights.mean(1))
        assert layer(*given, need_weights=False, **masks)[1] is None
    first = nn.MultiheadAttention(E, H, dtype=np.float64, **options)
    first.load_state_dict(layer.state_dict())
    y, w = first(*(np.swapaxes(x, 0, 1) for x in (q, k, v)), lengths=lengths)
    near(np.swapaxes(y.numpy(), 0, 1), layer(q, k, v, lengths=lengths)[0].numpy())
    y, w = first(q[0], k[0], v[0], key_padding_mask=ended[2])
    near(y, layer(q[:1], k[:1], v[:1], key_padding_mask=ended[2:])[0].numpy()[0])
    assert w.shape == (L, S)


@pytest.mark.parametrize("options", [{}, {"kdim": 3}, {"add_bias_kv": True, "add_zero_attn": True}], ids=str)
def test_derivatives(options: Any, rng: Rng) -> None:
    layer = randomize(nn.MultiheadAttention(4, 2, dtype=np.float64, **options), rng)
    names = [name for name, _ in layer.named_parameters()]

    def of(q: Any, k: Any, v: Any, bias: Any, *weights: Any) -> Any:
        with parameters_replaced(layer, dict(zip(names, weights, strict=True))):
            return layer(q, k, v, key_padding_mask=np.array([[False, False, True]]), attn_mask=bias)

    inputs = tensors([rng.standard_normal((n, 1, d)) for n, d in ((2, 4), (3, layer.kdim), (3, 4))])
    inputs += [tensors(rng.standard_normal((2, 3))), *layer.parameters()]
    assert mg.gradcheck(of, inputs)
    assert mg.gradgradcheck(of, inputs)


def test_self_attention_is_one_product_and_the_same(rng: Rng) -> None:
    layer = randomize(nn.MultiheadAttention(E, H, dtype=np.float64), rng)
    x = rng.standard_normal((L, N, E))
    same, others = tensors(x), tensors([x, x, x])
    y, z = layer(same, same, same, is_causal=True)[0], layer(*others, is_causal=True)[0]
    near(y, z.numpy())
    (y**2).sum().backward()
    found = {name: p.grad.numpy() for name, p in layer.named_parameters()}
    layer.zero_grad()
    (z**2).sum().backward()
    near(found, {name: p.grad.numpy() for name, p in layer.named_parameters()})
    near(same.grad, sum(x.grad.numpy() for x in others))


def test_dropout_of_weights() -> None:
    layer = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)
    x = mg.randn(2, 30, 4)
    weights = layer(x, x, x, average_attn_weights=False)[1].numpy()
    assert 0.4 < (weights == 0).mean() < 0.6
    np.testing.assert_allclose(layer.eval()(x, x, x)[1].numpy().sum(-1), 1, rtol=1e-5)


def test_several_heads_on_every_backend(backend: Any, rng: Rng) -> None:
    layer = nn.MultiheadAttention(4, 2, add_bias_kv=True, device=backend.device, dtype=np.float64)
    here = nn.MultiheadAttention(4, 2, add_bias_kv=True, dtype=np.float64)
    here.load_state_dict({name: backend.numpy(value) for name, value in layer.state_dict().items()})
    x = rng.standard_normal((3, 2, 4))
    y, w = layer(*[backend.array(x)] * 3, lengths=[3, 1], is_causal=True)
    expected, weights = here(x, x, x, lengths=[3, 1], is_causal=True)
    near(backend.numpy(y), expected.numpy())
    near(backend.numpy(w), weights.numpy())


def call(*shapes: Any, **masks: Any) -> Any:
    return nn.MultiheadAttention(4, 2)(*(mg.ones(shape) for shape in shapes), **masks)


FITTING = (2, 3, 4), (5, 3, 4), (5, 3, 4)


@pytest.mark.parametrize("options", [{}, {"add_zero_attn": True}, {"add_bias_kv": True}, {"kdim": 4, "vdim": 4}])
@pytest.mark.parametrize("sizes", [(0, 3, 3), (2, 0, 4), (2, 3, 0), (2, 0, 0), (0, 0, 0)])
def test_no_sequences_queries_or_keys(sizes: tuple[int, int, int], options: dict[str, Any]) -> None:
    """Shapes are PyTorch's. Without keys, an output is what is projected from zeros."""
    n, l, s = sizes
    layer = nn.MultiheadAttention(E, H, **options)
    query = mg.ones((l, n, E), requires_grad=True)
    key = query if l == s and not options else mg.ones((s, n, layer.kdim))
    more = s + ("kdim" not in options and bool(options))
    masks: list[dict[str, Any]] = [{}, {"is_causal": True}, {"lengths": [min(s, 1)] * n}]
    for mask in masks:
        output, weights = layer(query, key, key, **mask)
        assert (output.shape, weights.shape) == ((l, n, E), (n, l, more))
        if not more:
            near(output, np.broadcast_to(layer.out_proj.bias.numpy(), output.shape))
        output.sum().backward()
        assert np.isfinite(query.grad.numpy()).all()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: nn.MultiheadAttention(5, 2), ValueError, "MultiheadAttention: 2 heads do not divide embed_dim 5"),
        (lambda: nn.MultiheadAttention(4, 0), ValueError, "MultiheadAttention: 0 heads do not divide embed_dim 4"),
        (lambda: nn.MultiheadAttention(4, 2, dropout=2.0), ValueError, "a probability must be between 0 and 1"),
        (lambda: call((2, 3, 4), (5, 4), (5, 4)), ValueError, "must have two axes each, or three with a batch, not"),
        (
            lambda: call((2, 3, 4), (5, 2, 4), (5, 2, 4)),
            ValueError,
            "3 sequences of 2 queries, 2 of 5 keys",
        ),
        (lambda: call((2, 3, 4), (5, 3, 4), (4, 3, 4)), ValueError, "3 of 5 keys, 3 of 4 values do not fit"),
        (lambda: call((2, 3, 5), (5, 3, 4), (5, 3, 4)), ValueError, "the input has 5 features .*, but embed_dim is 4"),
        (lambda: call((2, 3, 4), (5, 3, 3), (5, 3, 4)), ValueError, "the input has 3 features .*, but kdim is 4"),
        (
            lambda: call(*FITTING, key_padding_mask=np.ones((5, 3), bool)),
            ValueError,
            r"MultiheadAttention: key_padding_mask must be \(3, 5\), not \(5, 3\)",
        ),
        (
            lambda: call(*FITTING, attn_mask=np.ones((3, 2, 5), bool)),
            ValueError,
            r"attn_mask must be \(2, 5\) or \(6, 2, 5\), not \(3, 2, 5\)",
        ),
        (
            lambda: call(*FITTING, attn_mask=np.ones((2, 5), int)),
            TypeError,
            "attn_mask must be of booleans, True where not to look, or of floats to add to the scores, not int64",
        ),
        (
            lambda: call(*FITTING, lengths=[1, 2, 3], key_padding_mask=np.ones((3, 5), bool)),
            ValueError,
            "give lengths or a key_padding_mask, not both",
        ),
        (lambda: call(*FITTING, lengths=[1, 2]), ValueError, "need lengths of shape"),
        (lambda: call(*FITTING, lengths=[1, 2, 6]), ValueError, "length 6 of sequence 2"),
    ],
)
def test_bad_input(wrong: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        wrong()
