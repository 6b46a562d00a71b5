"""Training steps on a device as one graph: all that they consist of can be captured, and the numbers are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from places import PLACES, Place

import minigrad as mg
import nlp
import nn

Rng = np.random.Generator
T, N, V = 6, 4, 11
DEVICES = [place for place in PLACES if place.device != "cpu"]


class Run:
    """A model with its loss, on a device."""

    def __init__(self, place: Place) -> None:
        mg.manual_seed(5)
        rng = np.random.default_rng(0)
        self.ids = place.tensor(rng.integers(1, V, (T, N)))
        self.targets = place.tensor(rng.integers(1, V, (T, N)))
        self.labels = place.tensor(rng.integers(0, 3, N))
        self.xs = place.tensor(rng.standard_normal((T, N, 5)), np.float32)
        self.device = place.device
        self.lengths = [T, 3, 1, T - 1]


def language_model(run: Run) -> Any:
    model = nlp.LanguageModel(V, 8, 8, 2, tied=True, dropout=0.3, device=run.device)
    return model, lambda: model.loss(run.ids, run.targets)[0]


def masked_language_model(run: Run) -> Any:
    model = nlp.LanguageModel(V, 6, 8, cell="gru", device=run.device)
    mask = mg.tensor(np.arange(T)[:, None] < np.array(run.lengths), device=run.device)
    return model, lambda: model.loss(run.ids, run.targets, mask=mask.data)[0]


def classifier(run: Run) -> Any:
    model = nlp.SequenceClassifier(V, 3, 6, 8, pooling="max", mlp=[5], dropout=0.2, device=run.device)
    return model, lambda: model.loss(run.ids, run.labels)


def tagger_with_crf(run: Run) -> Any:
    embedding, layers = nn.Embedding(V, 5), nn.Linear(5, 4)
    crf = nn.CRF(4)
    model = nn.Sequential(embedding, layers, crf).to(run.device)
    tags = mg.tensor(run.targets.data % 4)
    return model, lambda: crf(layers(embedding(run.ids)), tags)


def ragged_layers(run: Run) -> Any:
    model = nn.LSTM(5, 4, num_layers=2, bidirectional=True, dropout=0.2).to(run.device)
    return model, lambda: np.square(model(run.xs, lengths=run.lengths)[0]).mean()


def attention(make: Callable[[], Any]) -> Callable[[Run], Any]:
    def of(run: Run) -> Any:
        model = make().to(run.device)
        query, memory = run.xs[0], run.xs.transpose((1, 0, 2))
        return model, lambda: np.square(model(query, memory)[0]).sum()

    return of


def losses(run: Run) -> Any:
    model = nn.Linear(5, V).to(run.device)
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=2)
    return model, lambda: smoothed(model(run.xs).reshape((T * N, V)), run.targets.reshape(T * N))


CASES = {
    "language model": language_model,
    "masked language model": masked_language_model,
    "classifier": classifier,
    "crf": tagger_with_crf,
    "ragged layers": ragged_layers,
    "additive attention": attention(lambda: nn.AdditiveAttention(5, 5, 4)),
    "general attention": attention(lambda: nn.GeneralAttention(5, 5)),
    "losses": losses,
}
OPTIMIZERS = {
    "sgd": lambda p: nn.SGD(p, lr=0.1, clip_norm=0.5),
    "adam": lambda p: nn.Adam(p, lr=0.01, clip_norm=0.5),
}


def trained(place: Place, case: str, optimizer: str, wrap: Any) -> tuple[list[float], Any]:
    model, loss_of = CASES[case](Run(place))
    optimized = OPTIMIZERS[optimizer](model.named_parameters())

    def step() -> Any:
        optimized.zero_grad()
        loss = loss_of()
        loss.backward()
        optimized.step()
        return loss

    run = wrap(step)
    return [float(place.numpy(run())) for _ in range(6)], run


@pytest.mark.parametrize("place", DEVICES, ids=lambda place: place.name)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", CASES)
def test_a_training_step_is_one_graph(place: Place, case: str, optimizer: str) -> None:
    plain, _ = trained(place, case, optimizer, lambda step: step)
    replayed, run = trained(place, case, optimizer, mg.compile)
    np.testing.assert_allclose(replayed, plain, rtol=1e-5)
    program = run.replays[-1].program
    if program.not_captured is not None:
        raise program.not_captured
    assert program.graph is not None
