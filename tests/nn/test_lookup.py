"""Embeddings that a layer looks up itself, against the same layer over their vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nlp
import nn
from minigrad import trees
from nn.layers.lookup import Lookup

Rng = np.random.Generator
V, D, H, T, N = 40, 90, 5, 30, 12
LENGTHS = [30, 30, 17, 25, 1, 0, 8, 30, 3, 22, 11, 29]
HOLES = np.random.default_rng(5).random((T, N)) < 0.8


class Own(nn.Module):
    """A user's cell that maps its input within the step."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.U = nn.Parameter(mg.randn(D, H) * 0.1), nn.Parameter(mg.randn(H, H) * 0.3)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        return (mg.zeros((batch, H), dtype=self.W.dtype),)

    def step(self, x: Any, state: Any) -> Any:
        return (np.tanh(x @ self.W + state[0] @ self.U),)


LAYERS: dict[str, Any] = {
    "RNN": lambda: nn.RNN(D, H),
    "LSTM": lambda: nn.LSTM(D, H, num_layers=2),
    "GRU, both": lambda: nn.GRU(D, H, bidirectional=True),
    "batch first": lambda: nn.LSTM(D, H, batch_first=True),
    "layer norm": lambda: nn.Recurrent(nn.LSTMCell(D, H, layer_norm=True), reverse=True),
    "stack": lambda: nn.Stacked([nn.GRUCell(D, H), nn.LSTMCell(H, D)]),
    "residual": lambda: nn.Stacked([nn.GRUCell(D, D), nn.RNNCell(D, D)], residual=True),
    "normalised": lambda: nn.Stacked([nn.LayerNorm(D), nn.RNNCell(D, H)]),
    "zoo": lambda: nn.Recurrent(nn.zoo.SRUCell(D, H)),
    "looks around": lambda: nn.Recurrent(nn.zoo.QRNNCell(D, H)),
    "own": lambda: nn.Recurrent(Own()),
    "step by step": lambda: nn.Recurrent(nn.GRUCell(D, H), rolled=False),
    "dropped weights": lambda: nn.WeightDrop(nn.RNN(D, H), ["weight_hh_l0"], p=0.0),
}
EMBEDDINGS: dict[str, Any] = {
    "plain": (V, {}),
    "many": (10_000, {}),
    "padding": (V, {"padding_idx": 3}),
    "sparse": (10_000, {"sparse": True}),
    "norms": (V, {"max_norm": 0.5}),
    "frequencies": (V, {"scale_grad_by_freq": True}),
}


def results(layer: Any, embedding: Any, vectors: Any, **given: Any) -> list[Any]:
    """The outputs, and the gradients of all weights."""
    output, state = layer(vectors, **given)
    last = trees.flatten(state)[0][-1]
    for module in (layer, embedding):
        module.zero_grad()
    (np.sum(np.sin(output)) + np.sum(last**2)).backward()
    grads = [p.grad for module in (layer, embedding) for p in module.parameters()]
    return [output.numpy(), *[g.dense() if isinstance(g, mg.RowSparse) else g.numpy() for g in grads]]


@pytest.mark.parametrize("given", [{}, {"lengths": LENGTHS}, {"mask": HOLES}], ids=["full", "ragged", "holes"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_over_a_lookup_is_the_layer_over_vectors(name: str, given: Any, rng: Rng) -> None:
    check(LAYERS[name](), *EMBEDDINGS["plain"], given, rng)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_lookup_is_right_for_every_kind_of_embedding(name: str, rng: Rng) -> None:
    check(nn.GRU(D, H), *EMBEDDINGS[name], {"lengths": LENGTHS}, rng, lazy=name not in ("norms", "frequencies"))


def check(layer: Any, vocabulary: int, options: Any, given: Any, rng: Rng, lazy: bool = True) -> None:
    embedding = nn.Embedding(vocabulary, D, **options)
    for module in (layer, embedding):
        module.to(np.float64)
    ids = rng.choice(rng.permutation(vocabulary)[: V // 2], (T, N))
    ids[0, :3] = options.get("padding_idx", 0)
    if getattr(layer, "batch_first", False):
        ids = ids.T
        given = {key: value if key == "lengths" else value.T for key, value in given.items()}
    looked = embedding.lookup(ids)
    assert isinstance(looked, Lookup) is lazy
    expected = results(layer, embedding, embedding(ids), **given)
    for found, other in zip(results(layer, embedding, looked, **given), expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-11, atol=1e-12)


def test_second_derivatives(rng: Rng) -> None:
    embedding, layer = nn.Embedding(V, D, dtype=np.float64), nn.RNN(D, H, dtype=np.float64)
    ids = rng.integers(0, V // 4, (T, N))
    found = []
    for vectors in (embedding.lookup(ids), embedding(ids)):
        loss = np.sum(layer(vectors)[0] ** 2)
        weights = [embedding.weight, *layer.parameters()]
        loss.backward(create_graph=True)
        g = embedding.weight.grad
        for w in weights:
            w.grad = None
        np.sum(g**2).backward()
        found.append([w.grad.numpy() for w in weights])
        for w in weights:
            w.grad = None
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_vectors_are_vectors_where_ids_do_not_repeat_or_someone_looks(rng: Rng) -> None:
    embedding, ids = nn.Embedding(10_000, D), rng.integers(0, 20, (T, N))
    assert isinstance(embedding.lookup(ids), Lookup)
    for few in (np.arange(T * N).reshape(T, N), ids[:1], ids[:0]):
        assert isinstance(embedding.lookup(few), mg.Tensor)
    assert isinstance(nn.Embedding(50, 30).lookup(ids), mg.Tensor)  # narrow
    seen: list[Any] = []
    remove = embedding.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    assert isinstance(embedding.lookup(ids), mg.Tensor)
    assert seen == [(T, N, D)]
    remove()
    with mg.detect_anomaly():
        assert isinstance(embedding.lookup(ids), mg.Tensor)
    layer = nn.RNN(D, H)
    graph = mg.graph(lambda: np.sum(layer(embedding.lookup(ids))[0]))
    assert [node.op for node in graph.nodes].count("embedding") == 1
    assert nn.RNN(D, H)(embedding.lookup(ids[:, 0]))[0].shape == (T, H)


def test_models_look_up_what_repeats(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss and the gradients of a language model are equal, and a compiled one's."""
    ids = rng.integers(0, 9, (31, N))
    found: list[list[Any]] = []
    for lazy in (True, False):
        mg.manual_seed(0)
        model = nlp.LanguageModel(V, D, H, dtype=np.float64)
        if not lazy:
            monkeypatch.setattr(nn.Embedding, "_lookup", lambda self, ids: None)

        def step(ids: Any, targets: Any, model: Any = model) -> Any:
            model.zero_grad()
            loss, _ = model.loss(ids, targets)
            loss.backward()
            return loss.detach()

        for run in (step, mg.compile(step)):
            for _ in range(2):
                loss = run(ids[:-1], ids[1:])
            found.append([loss.numpy(), *[p.grad.numpy().copy() for p in model.parameters()]])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_errors() -> None:
    embedding, ids = nn.Embedding(V, D), np.zeros((T, N), int)
    looked = embedding.lookup(ids)
    with pytest.raises(TypeError, match=r"the input of a layer over time; embedding\(ids\) gives"):
        np.sum(looked)
    with pytest.raises(ValueError, match="input_size"):
        nn.LSTM(D + 1, H)(looked)
    with pytest.raises(IndexError, match="embedding: index 40 is out of range for 40 rows"):
        nn.LSTM(D, H)(embedding.lookup(ids + V))
    with pytest.raises(TypeError, match="ids must be integers"):
        embedding.lookup(ids * 1.0)
