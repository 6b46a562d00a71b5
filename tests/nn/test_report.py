"""The page on a model and a batch: ten broken models, each named by its cause, and sound ones, which are left alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from places import Place

import minigrad as mg
import nn

T, N, D, H, K = 24, 6, 3, 8, 2  # steps, sequences, inputs, units, classes
Made = tuple[Any, Any, Any, dict[str, Any]]  # model, batch, loss, options
Rng = np.random.Generator


class Last(nn.Module):
    """A layer over time, and classes from its last output."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.out = nn.Linear(H, K)

    def forward(self, xs: Any, lengths: Any = None) -> Any:
        return self.out(self.layer(xs, lengths=lengths)[0][-1])


class Tagger(Last):
    """Classes at every step."""

    def forward(self, xs: Any, lengths: Any = None) -> Any:
        return self.out(self.layer(xs, lengths=lengths)[0])


CRITERION = nn.CrossEntropyLoss()


def batch(rng: Rng, steps: int = T) -> tuple[Any, Any]:
    """Inputs (T, N, D) and a class for each sequence."""
    return mg.tensor(rng.standard_normal((steps, N, D)).astype(np.float32)), rng.integers(0, K, N)


def rnn(gain: float, nonlinearity: Any = "tanh") -> Any:
    layer = nn.RNN(D, H, nonlinearity=nonlinearity)
    nn.init.orthogonal_(layer.weight_hh_l0, gain=gain)
    return layer


def vanishing(rng: Rng) -> Made:
    return Last(rnn(0.5)), batch(rng), CRITERION, {}


def exploding(rng: Rng) -> Made:
    layer, (x, y) = rnn(1.6, lambda z: z), batch(rng)
    layer.bias_ih_l0.data[...] = layer.bias_hh_l0.data[...] = 0
    return Last(layer), (1e-5 * x, y), CRITERION, {}


def saturated(rng: Rng) -> Made:
    layer = nn.RNN(D, H)
    layer.weight_ih_l0.data[...] *= 60
    return Last(layer), batch(rng), CRITERION, {}


def closed_forget_gate(rng: Rng) -> Made:
    return Last(nn.init.forget_gate_bias_(nn.LSTM(D, H), -4.0)), batch(rng), CRITERION, {}


def dead_relu(rng: Rng) -> Made:
    layer = rnn(1.0, "relu")
    layer.bias_hh_l0.data[...] = -9.0
    return Last(layer), batch(rng), CRITERION, {}


def dead_perceptron(rng: Rng) -> Made:
    model, data, loss, options = perceptron(rng)
    model[0].bias.data[...] = -20
    return model, data, loss, options


class Detaching(Last):
    def forward(self, xs: Any, lengths: Any = None) -> Any:
        cell, s = self.layer, None
        for t, x in mg.steps(xs):
            s = cell(x, s.detach() if t % 10 == 9 else s)
        return self.out(s)


def detached(rng: Rng) -> Made:
    return Detaching(nn.GRUCell(D, H)), batch(rng), CRITERION, {}


class Swapped(Last):
    def forward(self, xs: Any, lengths: Any = None) -> Any:
        return self.out(self.layer(xs)[0][:, -1])


def swapped_axes(rng: Rng) -> Made:
    x, y = batch(rng, 12)
    return Swapped(nn.GRU(D, H)), (mg.tensor(x.numpy().swapaxes(0, 1)), y), CRITERION, {}


def reading_at_padding(rng: Rng) -> Made:
    x, y = batch(rng, 12)
    padded = np.where(np.arange(12)[:, None, None] < np.array([12, 5, 9, 3, 7, 12])[:, None], x.numpy(), 0)
    return Last(nn.GRU(D, H)), (mg.tensor(padded.astype(np.float32)), y), CRITERION, {}


def nan_data(rng: Rng) -> Made:
    x, y = batch(rng, 12)
    x.data[3, 1, 2] = x.data[5, 0, 0] = np.nan
    return Last(nn.GRU(D, H)), (x, y), CRITERION, {}


def high_learning_rate(rng: Rng) -> Made:
    model = Last(nn.GRU(D, H))
    return model, batch(rng, 12), CRITERION, {"optimizer": nn.SGD(model.parameters(), lr=300.0)}


def low_learning_rate(rng: Rng) -> Made:
    model = Last(nn.GRU(D, H))
    return model, batch(rng, 12), CRITERION, {"optimizer": nn.SGD(model.parameters(), lr=1e-7)}


BROKEN: dict[str, tuple[Callable[[Rng], Made], str]] = {
    "vanishing": (vanishing, r"layer\[0\] .*vanishes: the gradient is .* of its last-step size after 23 steps"),
    "exploding": (exploding, r"layer\[0\] .*explodes"),
    "saturated": (saturated, r"layer\[0\]: .* is saturated: .* above 0.9, .* below -0.9"),
    "closed forget gate": (closed_forget_gate, r"layer\[0\] f: .* % of its values are below 0.1"),
    "dead ReLU": (dead_relu, "units"),
    "dead ReLU ": (lambda rng: dead_perceptron(rng), "1 relu: 100 % of its units are 0 in the whole batch"),
    "detached": (detached, "a state is cut between steps 8 and 9"),
    "batch and time swapped": (swapped_axes, "layer reads the 6 sequences as steps"),
    "reading at padding": (reading_at_padding, "the equal ends of 4 sequences, which look like padding"),
    "non-finite data": (nan_data, r"batch\[0\] holds 2 numbers that are not finite, the first at \[3, 1, 2\]"),
    "learning rate too high": (high_learning_rate, "a step takes the loss of its own batch from 0"),
    "learning rate too low": (low_learning_rate, "1000 times as long is better"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_cause_of_a_broken_model_is_named(name: str, rng: Rng) -> None:
    make, evidence = BROKEN[name]
    model, data, loss, options = make(rng)
    found = nn.diagnose.report(model, data, loss, **options)
    assert found.causes[0].name == name.strip()
    assert re.search(evidence, found.causes[0].what)
    assert found.causes[0].advice == nn.diagnose.CAUSES[name.strip()]


# ---- sound models ------------------------------------------------------------------------------------------------


class Padded(Last):
    def forward(self, xs: Any, lengths: Any = None) -> Any:
        return self.out(self.layer(xs, lengths=lengths)[1][0][-1])


def tagger(rng: Rng) -> Made:
    model = Tagger(nn.LSTM(D, H))  # its horizon is short, as it is for a loss at every step
    x = mg.tensor(rng.standard_normal((T, N, D)).astype(np.float32))
    return model, (x, rng.integers(0, K, (T, N))), CRITERION, {"optimizer": nn.Adam(model.parameters())}


def open_lstm(rng: Rng) -> Made:
    model = Last(nn.init.forget_gate_bias_(nn.LSTM(D, H), 3.0))  # saturated, as it should be
    return model, batch(rng), CRITERION, {"optimizer": nn.SGD(model.parameters(), lr=0.1)}


def padded(rng: Rng) -> Made:
    model, lengths = Padded(nn.LSTM(D, H)), np.array([12, 5, 9, 3, 7, 12])
    x, y = batch(rng, 12)
    x = mg.tensor((x.numpy() * (np.arange(12)[:, None] < lengths)[:, :, None]).astype(np.float32))

    def loss(model: Any, b: Any) -> Any:
        return CRITERION(model(b["x"], b["lengths"]), b["y"])

    return model, {"x": x, "lengths": lengths, "y": y}, loss, {"optimizer": nn.Adam(model.parameters())}


def perceptron(rng: Rng) -> Made:
    model = nn.Sequential(nn.Linear(D, 32), nn.ReLU(), nn.Linear(32, K))
    data = mg.tensor(rng.standard_normal((16, D)).astype(np.float32)), rng.integers(0, K, 16)
    return model, data, CRITERION, {"optimizer": nn.Adam(model.parameters())}


class BothEnds(Last):
    """The output of the last step, of which a backward direction has only one step."""

    def forward(self, xs: Any, lengths: Any = None) -> Any:
        return self.out(self.layer(xs)[0][:, -1])


def both_directions(rng: Rng) -> Made:
    x, y = batch(rng, 12)
    return BothEnds(nn.GRU(D, H // 2, bidirectional=True, batch_first=True)), (np.swapaxes(x, 0, 1), y), CRITERION, {}


def with_crf(rng: Rng) -> Made:
    model, made, _, _ = tagger(rng)
    model.crf = nn.CRF(K)  # a loop whose values differ in shape from step to step
    return model, made, lambda m, b: m.crf(m(b[0]), b[1]).mean(), {"optimizer": nn.Adam(model.parameters())}


@pytest.mark.parametrize("make", [tagger, open_lstm, padded, perceptron, both_directions, with_crf])
def test_nothing_is_said_against_a_sound_model(make: Any, rng: Rng) -> None:
    model, data, loss, options = make(rng)
    found = nn.diagnose.report(model, data, loss, **options)
    assert found.causes == ()
    assert found.verdict == "nothing alarming was found"
    assert repr(found) == "<Report: nothing alarming was found>"
    for word in ("vanish", "explode", "cut", "dead (", "depends", "mix"):
        assert word not in str(found)


# ---- other evidence ----------------------------------------------------------------------------------------------


def sentence(found: Any, title: str) -> str:
    return next(section.sentence for section in found.sections if section.title == title)


def test_values_and_weights_that_are_not_finite(rng: Rng) -> None:
    model, data = Last(nn.GRU(D, H)), batch(rng, 5)

    def logarithm(model: Any, b: Any) -> Any:
        return CRITERION(np.log(model(b[0]) * 0), b[1])

    found = nn.diagnose.report(model, data, logarithm)
    assert found.causes[0].name == "non-finite values"
    assert "they begin in log, at " in found.causes[0].what
    assert "in logarithm: return CRITERION(np.log" in found.causes[0].what
    model.out.weight.data[0, 0] = np.inf
    found = nn.diagnose.report(model, data, CRITERION)
    assert str(found.causes[0]) == "non-finite weights: out.weight hold NaN or Inf"


def test_infinities_that_a_mask_makes_are_no_cause(rng: Rng) -> None:
    model, (x, y) = Last(nn.GRU(D, H)), batch(rng, 5)

    def masked(model: Any, b: Any) -> Any:
        scores = np.where(np.arange(5)[:, None] < 3, model.layer(b[0])[0].sum(axis=2), -np.inf)
        weights = mg.softmax(scores, axis=0)[:, :, None]
        return CRITERION(model.out((weights * model.layer(b[0])[0]).sum(axis=0)), b[1])

    found = nn.diagnose.report(model, (x, y), masked)
    assert found.causes == ()
    said = sentence(found, "non-finite values")
    assert said.startswith("values begin in where, at ")
    assert said.endswith("; but the loss and its gradients are finite")


def test_a_loop_of_ones_own_and_a_part_without_gradient(rng: Rng) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W, self.U = nn.Linear(D, H), nn.Linear(H, H)
            self.U.weight.data[...] = 0.02 * np.eye(H)
            self.before = nn.Linear(D, D)

        def forward(self, xs: Any) -> Any:
            s = mg.zeros((N, H))
            for _, x in mg.steps(self.before(xs).detach()):
                s = np.tanh(self.W(x) + self.U(s))
            return s

    found = nn.diagnose.report(Own(), batch(rng, 10), CRITERION)
    assert [cause.name for cause in found.causes] == ["detached", "vanishing"]
    assert found.causes[0].what.startswith("no gradient reaches before.weight, before.bias, which the model uses: ")
    assert found.causes[1].what.startswith("Own tanh: vanishes: ")


def test_a_loss_that_is_on_no_tape_and_a_gradient_of_zero(rng: Rng) -> None:
    model, data = Last(nn.GRU(D, H)), batch(rng, 5)
    found = nn.diagnose.report(model, data, lambda m, b: CRITERION(m(b[0]), b[1]).detach())
    assert str(found.causes[0]) == "detached: the loss is not connected to any weight"
    found = nn.diagnose.report(model, data, lambda m, b: 0.0 * CRITERION(m(b[0]), b[1]))
    assert found.causes[0].name == "no gradient"


def test_rows_that_mix_without_a_layer_over_time(rng: Rng) -> None:
    class Mixing(Last):
        def forward(self, xs: Any, lengths: Any = None) -> Any:
            return mg.softmax(self.out(self.layer(xs)[0][-1]), axis=0)

    found = nn.diagnose.report(Mixing(nn.GRU(D, H)), batch(rng, 5), CRITERION)
    assert str(found.causes[0]) == "rows of the batch mix: another sequence changes the outputs of 5 of 5 others"


class Words(Last):
    def __init__(self, pad: bool) -> None:
        super().__init__(nn.GRU(D, H))
        self.embedding, self.pad = nn.Embedding(9, D), pad

    def forward(self, ids: Any, lengths: Any = None) -> Any:
        real = (ids != 0).sum(axis=0) if self.pad else None
        return self.out(self.layer(self.embedding(ids), lengths=real)[1][-1])


@pytest.mark.parametrize("given", ["lengths", "mask", "guessed"])
def test_padding_of_words(given: str, rng: Rng) -> None:
    lengths = np.array([8, 3, 5, 8, 2, 6])
    real = np.arange(8)[:, None] < lengths
    ids = np.where(real, rng.integers(1, 9, (8, N)), 0)
    options = {"lengths": {"lengths": lengths}, "mask": {"mask": real}, "guessed": {}}[given]
    data = ids, rng.integers(0, K, N)
    found = nn.diagnose.report(Words(False), data, CRITERION, **options)
    assert found.causes[0].name == "reading at padding"
    kept = nn.diagnose.report(Words(True), data, lambda m, b: CRITERION(m(ids * 0 + b[0] * real), b[1]), **options)
    assert not [cause for cause in kept.causes if cause.name == "reading at padding"]


def test_on_every_backend(backend: Place, rng: Rng) -> None:
    model = Swapped(nn.GRU(D, H, device=backend.device))
    model.out = nn.Linear(H, K, device=backend.device)
    x = backend.tensor(rng.standard_normal((N, 5, D)), np.float32)
    data, optimizer = (x, backend.array(rng.integers(0, K, N))), nn.Adam(model.parameters())
    found = nn.diagnose.report(model, data, CRITERION, optimizer=optimizer)
    assert [cause.name for cause in found.causes] == ["batch and time swapped"]
    assert str(found.sections)


# ---- the page ----------------------------------------------------------------------------------------------------


def test_the_page_as_text_and_html(rng: Rng, tmp_path: Any) -> None:
    model, data, loss, _ = closed_forget_gate(rng)
    found = nn.diagnose.report(model, data, loss, optimizer=nn.Adam(model.parameters()))
    lines = str(found).splitlines()
    assert lines[1].startswith("1. CLOSED FORGET GATE: ")
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 60
    titles = [section.title for section in found.sections]
    assert titles == [
        "non-finite values", "gradient flow", "horizon", "truncation", "Jacobian spectrum", "gates", "dead units",
        "input at padding", "batch and time", "learning rate",
    ]  # fmt: skip
    html = found._repr_html_()
    ElementTree.fromstring(html)
    assert html.count("<svg") >= 6
    assert "closed forget gate" in html
    path = found.save(tmp_path / "page.html")
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert html in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert found.save(tmp_path / "page.txt").read_text(encoding="utf-8") == f"{found}\n"
    with pytest.raises(ValueError, match=r"cannot write 'page\.pdf'; the ending must be \.html or \.txt"):
        found.save(tmp_path / "page.pdf")


def test_all_is_as_it_was(rng: Rng) -> None:
    """A Trainer, with dropout, a carried state and an optimizer that has moved."""
    model = Tagger(nn.LSTM(D, H, recurrent_dropout=0.3))
    optimizer, tbptt = nn.Adam(model.parameters(), lr=0.01), nn.TBPTT(4)

    def step(model: Any, b: Any) -> Any:
        return CRITERION(model.out(tbptt(model.layer, b[0])), b[1])

    data = mg.tensor(rng.standard_normal((4, N, D)).astype(np.float32)), rng.integers(0, K, (4, N))
    trainer = nn.Trainer(model, optimizer, step, carried=tbptt, progress=False)
    trainer.fit([data], 2)

    def everything() -> list[Any]:
        states = [t for s in optimizer.state.values() for t in s.values()]
        state = tbptt.state_dict()
        leaves = mg.randomness.get_random_state()
        return [*[p.data.copy() for p in model.parameters()], *map(str, states), str(state), str(leaves)]

    before, gradients = everything(), [p.grad for p in model.parameters()]
    found = nn.diagnose.report(trainer, data)
    assert found.causes == ()
    for a, b in zip(before, everything(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert "it takes the loss from" in sentence(found, "learning rate")


def test_ways_to_give_the_loss(rng: Rng) -> None:
    class WithLoss(Last):
        def loss(self, xs: Any, y: Any) -> Any:
            return CRITERION(self(xs), y), "and more"

    model, data = WithLoss(nn.GRU(D, H)), batch(rng, 5)
    expected = nn.diagnose.report(model, data, CRITERION).loss
    assert nn.diagnose.report(model, data).loss == expected
    assert nn.diagnose.report(model, data, lambda m, b: CRITERION(m(b[0]), b[1])).loss == expected


def test_mistakes(rng: Rng) -> None:
    model, data = Last(nn.GRU(D, H)), batch(rng, 5)
    with pytest.raises(TypeError, match="report: expected a Module or a Trainer, got function"):
        nn.diagnose.report(lambda x: x, data)
    with pytest.raises(
        TypeError, match=r"report: the loss must be a Tensor without axes, got a tensor of shape \(6, 2\)"
    ):
        nn.diagnose.report(model, data, lambda m, b: m(b[0]))
    with pytest.raises(TypeError, match=r"report: CrossEntropyLoss needs a batch \(x, y\), not a Tensor"):
        nn.diagnose.report(model, data[0], CRITERION)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_step_of_a_copied_optimizer_is_the_optimizers_own(dtype: Any, rng: Rng) -> None:
    model = nn.Linear(3, 2, dtype=dtype)
    optimizer = nn.Adam(model.parameters(), lr=0.1)
    x = mg.tensor(rng.standard_normal((5, 3)), dtype=dtype)

    def loss() -> Any:
        return (model(x) ** 2).sum()

    for _ in range(2):  # its moments are not those of the first step
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    found = nn.diagnose.report(model, x, lambda m, b: (m(b) ** 2).sum(), optimizer=optimizer)
    before = {n: p.numpy() for n, p in model.named_parameters()}
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()
    size = np.sqrt(sum(((p.numpy() - before[n]) ** 2).sum() for n, p in model.named_parameters()))
    norm = np.sqrt(sum((w**2).sum() for w in before.values()))
    assert f"a step is {size / norm:.2g} of the weights' norm" in sentence(found, "learning rate")
    assert f"to {loss().item():.4g}" in sentence(found, "learning rate")
