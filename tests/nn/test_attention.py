"""Attention against loops over the equations; masks; derivatives; what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from nn.layers.attention import AdditiveAttention, ConcatAttention, DotAttention, GeneralAttention

N, L, S, Q, K, V, H = 3, 4, 5, 2, 3, 6, 7
Rng = np.random.Generator

MAKE: dict[str, Any] = {
    "additive": lambda **o: AdditiveAttention(Q, K, H, **o),
    "concat": lambda **o: ConcatAttention(Q, K, H, **o),
    "general": lambda **o: GeneralAttention(Q, K, **o),
    "dot": lambda **o: DotAttention(),
    "scaled": lambda **o: DotAttention(scale=True),
}
SCORES: dict[str, Any] = {  # of one query and one key, from a state dict
    "additive": lambda q, k, w: w["v.weight"][0] @ np.tanh(w["query.weight"] @ q + w["key.weight"] @ k),
    "concat": lambda q, k, w: w["v"][0] @ np.tanh(w["weight"] @ np.concatenate([q, k])),
    "general": lambda q, k, w: q @ w["key.weight"] @ k,
    "dot": lambda q, k, w: q @ k,
    "scaled": lambda q, k, w: q @ k / np.sqrt(K),
}
every_kind = pytest.mark.parametrize("kind", MAKE)
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def inputs(kind: str, rng: Rng, many: bool, dtype: Any = np.float64) -> tuple[Any, Any, Any, Any]:
    """Query, keys, values and a mask, of which the first row is all False and each other row has a True."""
    q = rng.standard_normal((N, *(L,) * many, K if kind in ("dot", "scaled") else Q)).astype(dtype)
    keys, values = rng.standard_normal((N, S, K)).astype(dtype), rng.standard_normal((N, S, V)).astype(dtype)
    mask = rng.random((N, S)) < 0.6
    mask[:, 2] = True
    mask[0] = False
    return q, keys, values, mask


def looped(kind: str, attention: Any, q: Any, keys: Any, values: Any, mask: Any) -> tuple[Any, Any]:
    """The context and weights of queries (N, L, Q) with a mask (N, L, S), one by one."""
    w = {name: value.numpy().astype(np.float64) for name, value in attention.state_dict().items()}
    context, weights = np.zeros((*q.shape[:2], values.shape[-1])), np.zeros((*q.shape[:2], S))
    for n, l in np.ndindex(*q.shape[:2]):
        allowed = [s for s in range(S) if mask[n, l, s]]
        e = np.array([SCORES[kind](q[n, l].astype(np.float64), keys[n, s].astype(np.float64), w) for s in allowed])
        for s, a in zip(allowed, np.exp(e) / np.exp(e).sum(), strict=True):
            weights[n, l, s] = a
            context[n, l] += a * values[n, s]
    return context, weights


@every_kind
@every_dtype
def test_attention_is_its_equations(kind: str, dtype: Any, rng: Rng) -> None:
    attention = MAKE[kind](dtype=dtype)
    q, keys, values, mask = inputs(kind, rng, many=True, dtype=dtype)
    each = rng.random((N, L, S)) < 0.6
    everywhere = np.ones((N, L, S), bool)
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    for arguments, full, v in (
        ((q, keys), everywhere, keys),
        ((q, keys, values), everywhere, values),
        ((q, keys, values, mask), np.repeat(mask[:, None], L, 1), values),
        ((mg.Tensor(q), mg.Tensor(keys), None, mg.Tensor(each)), each, keys),
    ):
        expected = looped(kind, attention, q, keys, v, full)
        for ours, theirs in zip(attention(*arguments), expected, strict=True):
            assert (ours.shape, ours.dtype) == (theirs.shape, dtype)
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=tolerance, atol=tolerance)
    one = attention(q[:, 1], keys, values, mask)
    for ours, theirs in zip(one, attention(q, keys, values, mask), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy()[:, 1], rtol=tolerance, atol=tolerance)


@every_kind
def test_prepared_keys_give_the_same(kind: str, rng: Rng) -> None:
    attention = MAKE[kind](dtype=np.float64)
    q, keys, values, mask = inputs(kind, rng, many=True)

    def total(prepare: bool) -> tuple[Any, list[Any]]:
        k, v = mg.Tensor(keys.copy(), requires_grad=True), mg.Tensor(values.copy(), requires_grad=True)
        attention.zero_grad()
        memory = attention.prepare(k, v, mask) if prepare else None
        loss: Any = 0.0
        for l in range(L):
            x = mg.Tensor(q[:, l])
            context, weights = attention(x, prepared=memory) if memory else attention(x, k, v, mask)
            loss = loss + np.sum(np.sin(context)) * (l + 1) + np.sum(weights**2)
        loss.backward()
        return loss.item(), [k.grad, v.grad, *[p.grad for p in attention.parameters()]]

    (loss, gradients), (expected, expected_gradients) = total(True), total(False)
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    for g, e in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-11, atol=1e-13)
        assert np.any(e.numpy() != 0)


@every_kind
@pytest.mark.parametrize("many", [False, True])
def test_derivatives(kind: str, many: bool, rng: Rng) -> None:
    attention = MAKE[kind](dtype=np.float64)
    q, keys, values, mask = inputs(kind, rng, many)
    names = [name for name, _ in attention.named_parameters()]

    def of(q: Any, keys: Any, values: Any, *weights: Any) -> Any:
        for name, weight in zip(names, weights, strict=True):
            owner, _, attribute = name.rpartition(".")
            object.__setattr__(getattr(attention, owner) if owner else attention, attribute, weight)
        return attention(q, keys, values, mask)

    tensors = [mg.Tensor(a, requires_grad=True) for a in (q, keys, values)]
    tensors += [mg.Tensor(p.data.copy(), requires_grad=True) for p in attention.parameters()]
    assert mg.gradcheck(of, tuple(tensors))
    assert mg.gradgradcheck(of, tuple(tensors))


@every_kind
@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_what_is_masked_does_not_leak(kind: str, spoil: float, rng: Rng) -> None:
    attention = MAKE[kind](dtype=np.float64)
    q, keys, values, mask = inputs(kind, rng, many=True)

    def run(keys: Any, values: Any) -> tuple[Any, Any, list[Any]]:
        x, k, v = (mg.Tensor(a.copy(), requires_grad=True) for a in (q, keys, values))
        attention.zero_grad()
        context, weights = attention(x, k, v, mask)
        (np.sum(np.sin(context)) + np.sum(weights**2)).backward(create_graph=True)
        first = [x.grad, k.grad, v.grad, *[p.grad for p in attention.parameters()]]
        total: Any = sum(np.sum(g * g) for g in first)
        for t in (x, k, v, *attention.parameters()):
            t.grad = None
        total.backward()
        second = [x.grad, k.grad, v.grad, *[p.grad for p in attention.parameters()]]
        return context.numpy(), weights.numpy(), [g.numpy() for g in (*first, *second)]

    clean = run(keys, values)
    spoilt = run(np.where(mask[..., None], keys, spoil), np.where(mask[..., None], values, spoil))
    for a, b in zip([*spoilt[:2], *spoilt[2]], [*clean[:2], *clean[2]], strict=True):
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    context, weights, gradients = spoilt
    assert np.all(context[0] == 0)
    assert np.all(weights[0] == 0)
    np.testing.assert_allclose(weights[1:].sum(-1), 1, rtol=1e-12)
    assert np.all(gradients[0][0] == 0)  # nothing depends on a query that may look nowhere
    for g in gradients[1:3]:
        assert np.all(g[~mask] == 0)
        assert np.all(np.any(g[mask] != 0, axis=-1))


@every_dtype
def test_large_scores(dtype: Any) -> None:
    attention = DotAttention()
    keys = np.array([[[1e4], [-1e4], [1e4]]], dtype)
    _, weights = attention(np.array([[10.0]], dtype), keys, mask=[[True, True, False]])
    assert weights.tolist() == [[1, 0, 0]]


def test_no_keys_at_all() -> None:
    context, weights = GeneralAttention(Q, K)(np.ones((N, Q), np.float32), np.ones((N, 0, K), np.float32))
    assert (context.shape, weights.shape) == ((N, K), (N, 0))
    assert np.all(context.numpy() == 0)


def wrong(query: Any = (N, Q), keys: Any = (N, S, K), values: Any = None, mask: Any = None, **more: Any) -> Any:
    arrays = [None if a is None else np.ones(a) for a in (query, keys, values)]
    return lambda attention: attention(*arrays, None if mask is None else np.ones(mask, bool), **more)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (wrong(query=(N, 9)), r"9 features \(axis 1 of \(3, 9\)\), but query_size is 2"),
        (wrong(query=(N, L, 9)), r"9 features \(axis 2 of \(3, 4, 9\)\), but query_size is 2"),
        (wrong(keys=(N, S, 9)), r"9 features \(axis 2 of \(3, 5, 9\)\), but key_size is 3"),
        (wrong(query=(9, Q)), r"query must be \(N, Q\) or \(N, L, Q\) with N = 3.*\(9, 2\)"),
        (wrong(query=(Q,)), r"query must be .*\(2,\)"),
        (wrong(keys=(S, K)), r"keys must be \(N, S, K\), not \(5, 3\)"),
        (wrong(values=(N, 9, V)), r"values must be \(3, 5, V\).*\(3, 9, 6\)"),
        (wrong(mask=(N, 9)), r"mask must be boolean, \(3, 5\) or \(3, L, 5\)"),
        (wrong(mask=(N, 9, S)), r"mask must be for the 1 queries"),
        (wrong(query=(N, L, Q), mask=(N, 9, S)), r"mask must be for the 4 queries"),
        (lambda a: a(np.ones((N, Q)), np.ones((N, S, K)), mask=np.ones((N, S))), "mask must be boolean.*float64"),
        (wrong(keys=None), "give keys"),
        (lambda a: a(np.ones((N, Q)), np.ones((N, S, K)), prepared=a.prepare(np.ones((N, S, K)))), "or else prepared="),
        (
            lambda a: a(np.ones((N, Q)), mask=np.ones((N, S), bool), prepared=a.prepare(np.ones((N, S, K)))),
            "or else prepared=",
        ),
    ],
)
def test_errors_name_what_does_not_fit(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"AdditiveAttention: .*{message}"):
        call(AdditiveAttention(Q, K, H))


def test_dot_needs_equal_sizes() -> None:
    with pytest.raises(ValueError, match=r"DotAttention: .*2 features.*the size of the keys is 3"):
        wrong()(DotAttention())


@every_kind
def test_it_runs_everywhere(kind: str, backend: Any, rng: Rng) -> None:
    attention = MAKE[kind](dtype=np.float64)
    q, keys, values, mask = inputs(kind, rng, many=True)
    expected = [y.numpy() for y in attention(q, keys, values, mask)]
    attention.to(backend.device)
    x = backend.tensor(q, requires_grad=True)
    found = attention(x, prepared=attention.prepare(*[backend.array(a) for a in (keys, values, mask)]))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(backend.numpy(ours), theirs, rtol=1e-12, atol=1e-15)
    np.sum(found[0] ** 2).backward()
    assert np.all(backend.numpy(x.grad)[1:] != 0)
