"""The page on a model and a batch: broken models, each named by its cause, and sound ones, which are left alone."""

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
from nn.diagnose import scales

SVG = "{http://www.w3.org/2000/svg}"
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
    "vanishing": (
        vanishing,
        r"the gradient of .*layer\[0\] .* vanishes: it is .* of its last-step size after 23 steps",
    ),
    "exploding": (exploding, r"the gradient of .*layer\[0\] .* explodes: it is .* times its last-step size"),
    "saturated": (saturated, r"layer\[0\] .* is saturated: .* above 0.9, .* below -0.9"),
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
    assert found.causes[0].advice == ADVICE.get(name, nn.diagnose.CAUSES[name.strip()])


ADVICE = {"closed forget gate": "Begin with an open gate: nn.init.forget_gate_bias_(layer, 1.0)."}


class Encoded(nn.Module):
    """A decoder that begins with the encoder's state, without its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.out = nn.GRU(D, H), nn.GRU(D, H), nn.Linear(H, K)

    def forward(self, xs: Any) -> Any:
        _, h = self.encoder(xs)
        return self.out(self.decoder(xs, h.detach())[0][-1])


class Logarithmic(Last):
    def forward(self, xs: Any, lengths: Any = None) -> Any:
        return self.out(np.log(mg.relu(self.layer(xs)[0][-1])))


class Averaging(Last):
    def forward(self, xs: Any, lengths: Any = None) -> Any:
        return self.out(self.layer(xs)[0].mean(axis=0))


def scaled_weights(layer: Any, factor: float) -> Any:
    for _, p in layer.named_parameters():
        p.data[...] *= factor
    return layer


def shorter(rng: Rng) -> tuple[Any, Any, Any]:
    """A padded batch, and its lengths."""
    x, y = batch(rng, 12)
    lengths = np.array([12, 5, 9, 3, 7, 12])
    x.data[np.arange(12)[:, None] >= lengths] = 0
    return x, y, lengths


def untold_mean(rng: Rng) -> Made:
    x, y, _ = shorter(rng)
    return Averaging(nn.LSTM(D, H)), (x, y), CRITERION, {}


def last_of_padded(rng: Rng) -> Made:
    x, y, lengths = shorter(rng)
    return Last(nn.GRU(D, H)), (x, y), CRITERION, {"lengths": lengths}


def swapped_tagger(rng: Rng) -> Made:
    x, _ = batch(rng, 12)
    data = mg.tensor(x.numpy().swapaxes(0, 1).copy()), rng.integers(0, K, (N, 12))
    return Tagger(nn.LSTM(D, H)), data, CRITERION, {"batch_axis": 0}


def with_infinity(rng: Rng) -> Made:
    x, y = batch(rng, 12)
    x.data[6, 2, 1] = np.inf
    return Last(nn.LSTM(D, H)), (x, y), CRITERION, {}


def with_nan_weight(rng: Rng) -> Made:
    layer = nn.LSTM(D, H)
    layer.weight_hh_l0.data[3, 3] = np.nan
    return Last(layer), batch(rng, 12), CRITERION, {}


def with_optimizer(kind: Any, lr: float) -> Callable[[Rng], Made]:
    def make(rng: Rng) -> Made:
        model = Last(nn.LSTM(D, H))
        return model, batch(rng, 12), CRITERION, {"optimizer": kind(model.parameters(), lr=lr)}

    return make


def plainly(model: Callable[[], Any], steps: int = T) -> Callable[[Rng], Made]:
    return lambda rng: (model(), batch(rng, steps), CRITERION, {})


MORE: dict[str, tuple[str, Callable[[Rng], Made]]] = {
    "a tanh network over 150 steps": ("vanishing", plainly(lambda: Last(nn.RNN(D, H)), 150)),
    "two LSTMs over 150 steps": ("vanishing", plainly(lambda: Last(nn.LSTM(D, H, num_layers=2)), 150)),
    "a ReLU network that explodes": ("exploding", plainly(lambda: Last(rnn(2.4, "relu")), 40)),
    "a GRU with large weights": ("saturated", plainly(lambda: Last(scaled_weights(nn.GRU(D, H), 60)))),
    "a detached encoder": ("detached", plainly(Encoded, 12)),
    "a swapped tagger": ("batch and time swapped", swapped_tagger),
    "the last of padded steps": ("reading at padding", last_of_padded),
    "the mean of padded steps": ("reading at padding", untold_mean),
    "one infinity": ("non-finite data", with_infinity),
    "one weight": ("non-finite weights", with_nan_weight),
    "a logarithm of 0": ("non-finite values", plainly(lambda: Logarithmic(nn.GRU(D, H)), 12)),
    "Adam, 5": ("learning rate too high", with_optimizer(nn.Adam, 5.0)),
    "SGD, 300": ("learning rate too high", with_optimizer(nn.SGD, 300.0)),
    "Adam, 1e-9": ("learning rate too low", with_optimizer(nn.Adam, 1e-9)),
}


@pytest.mark.parametrize("name", MORE)
def test_more_broken_models(name: str, rng: Rng) -> None:
    cause, make = MORE[name]
    model, data, loss, options = make(rng)
    found = nn.diagnose.report(model, data, loss, **options)
    assert cause in [each.name for each in found.causes]
    assert max(map(len, str(found).splitlines())) <= 100
    ElementTree.fromstring(found._repr_html_())


# ---- the cell that is there --------------------------------------------------------------------------------------


def causes(layer: Any, rng: Rng, steps: int = T, scale: float = 1.0, pick: int = -1) -> dict[str, Any]:
    """The causes by name, for a classifier of the output of one step."""

    class Picked(Last):
        def forward(self, xs: Any, lengths: Any = None) -> Any:
            return self.out(self.layer(xs)[0][pick])

    x, y = batch(rng, steps)
    return {cause.name: cause for cause in nn.diagnose.report(Picked(layer), (scale * x, y), CRITERION).causes}


def test_a_gated_network_is_not_told_to_use_gates_and_the_advice_helps(rng: Rng) -> None:
    layer = nn.LSTM(D, H, num_layers=2)
    lost = causes(layer, rng, 150)["vanishing"]
    assert (
        "Open the gate f further: nn.init.forget_gate_bias_(layer, 5.0) keeps a state for about T = 150" in lost.advice
    )
    assert "vanishing" not in causes(nn.init.forget_gate_bias_(layer, 5.0), rng, 150)
    gru = causes(nn.GRU(D, H), rng, 100)["vanishing"]
    assert "a bias of 4.6 for z keeps a state for about T = 100 steps" in gru.advice
    for cause in (lost, gru):
        assert "LSTM" not in cause.advice
    assert "Use an LSTM" in causes(nn.RNN(D, H), rng, 100)["vanishing"].advice


def test_a_gated_network_that_explodes_is_not_told_to_use_gates(rng: Rng) -> None:
    layer = nn.GRU(D, H)
    for _, p in layer.named_parameters():
        p.data[...] *= 50
    found = causes(layer, rng)
    if "exploding" in found:
        assert "LSTM" not in found["exploding"].advice
    known = nn.diagnose.causes.Known(gated=True)
    assert "LSTM" not in nn.diagnose.causes.advice("exploding", known)
    assert "positive bias" in nn.diagnose.causes.advice("vanishing", known)
    open_already = nn.diagnose.causes.Known(gated=True, keeper="f", kept=0.995, steps=100)
    assert "The gate f is open already (0.995 in the mean)" in nn.diagnose.causes.advice("vanishing", open_already)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_all_saturated_gates_are_named(kind: str, rng: Rng) -> None:
    layer = getattr(nn, kind)(D, H)
    stuck = causes(layer, rng, scale=100.0)["saturated"]
    for gate in layer.layers[0].cell.gates:
        assert f"layer[0] {gate} is saturated" in stuck.what
    assert ("layer_norm=True" in stuck.advice) == (kind == "LSTM")  # a GRU has no such option


def test_an_open_forget_gate_is_not_named_as_saturated(rng: Rng) -> None:
    layer = nn.init.forget_gate_bias_(nn.LSTM(D, H), 200.0)
    layer.weight_ih_l0.data[...] *= 60
    assert " f is saturated" not in causes(layer, rng)["saturated"].what


def test_closed_gates_of_all_layers_and_directions_are_named(rng: Rng) -> None:
    layer = nn.init.forget_gate_bias_(nn.LSTM(D, H // 2, num_layers=2, bidirectional=True), -5.0)
    closed = causes(layer, rng, pick=T // 2)["closed forget gate"]
    for place in ("layer[0].forward f", "layer[0].backward f", "layer[1].forward f", "layer[1].backward f"):
        assert f"{place}: 100 %" in closed.what
    gru = nn.GRU(D, H)
    gru.bias_ih_l0.data[H : 2 * H] = -6
    assert causes(gru, rng)["closed forget gate"].advice == "Begin with an open gate: a positive bias of z."


def test_batch_normalization_mixes_by_design(rng: Rng) -> None:
    class Normalized(Last):
        def __init__(self) -> None:
            super().__init__(nn.GRU(D, H))
            self.norm, self.mean = nn.BatchNorm1d(H), False

        def forward(self, xs: Any, lengths: Any = None) -> Any:
            s = self.norm(self.layer(xs)[0][-1])
            return self.out(s - s.mean(axis=0) if self.mean else s)

    model, data = Normalized(), batch(rng, 5)
    before = {name: buffer.numpy().copy() for name, buffer in model.named_buffers()}
    found = nn.diagnose.report(model, data, CRITERION)
    assert found.causes == ()
    assert sentence(found, "batch and time") == (
        "a change of one sequence changes the outputs of 5 of the 5 others, by batch normalization alone, which mixes "
        "them by design"
    )
    assert model.norm.training
    for name, buffer in model.named_buffers():  # perturbed batches leave no trace in the running statistics
        np.testing.assert_array_equal(buffer.numpy(), before[name])
    model.mean = True
    assert [cause.name for cause in nn.diagnose.report(model, data, CRITERION).causes] == ["rows of the batch mix"]


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


def tagger_of_both_directions(rng: Rng) -> Made:
    x = mg.tensor(rng.standard_normal((T, N, D)).astype(np.float32))
    return Tagger(nn.GRU(D, H // 2, bidirectional=True)), (x, rng.integers(0, K, (T, N))), CRITERION, {}


def remembering_lstm(rng: Rng) -> Made:
    model = Last(nn.init.forget_gate_bias_(nn.LSTM(D, H), 1.0))
    return model, batch(rng, 20), CRITERION, {"optimizer": nn.Adam(model.parameters())}


SOUND = [tagger, open_lstm, padded, perceptron, both_directions, with_crf, tagger_of_both_directions, remembering_lstm]


@pytest.mark.parametrize("make", SOUND)
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
    assert "the first NaN or Inf is the result of log, at " in found.causes[0].what
    assert "in logarithm: return CRITERION(np.log" in found.causes[0].what
    model.out.weight.data[0, 0] = np.inf
    found = nn.diagnose.report(model, data, CRITERION)
    assert str(found.causes[0]) == "non-finite weights: out.weight holds NaN or Inf"


def test_infinities_that_a_mask_makes_are_no_cause(rng: Rng) -> None:
    model, (x, y) = Last(nn.GRU(D, H)), batch(rng, 5)

    def masked(model: Any, b: Any) -> Any:
        scores = np.where(np.arange(5)[:, None] < 3, model.layer(b[0])[0].sum(axis=2), -np.inf)
        weights = mg.softmax(scores, axis=0)[:, :, None]
        return CRITERION(model.out((weights * model.layer(b[0])[0]).sum(axis=0)), b[1])

    found = nn.diagnose.report(model, (x, y), masked)
    assert found.causes == ()
    said = sentence(found, "non-finite values")
    assert said.startswith("the first NaN or Inf is the result of where, at ")
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
    assert found.causes[1].what.startswith("the gradient of Own tanh vanishes: ")


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
    assert (
        str(found.causes[0])
        == "rows of the batch mix: a change of one sequence changes the outputs of 5 of the 5 others"
    )


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
    assert lines[0] == f"Last: T = 24 steps, N = 6 sequences, loss {found.loss:.4g}"
    assert "<h1>Report on Last</h1>" in html
    assert "closed forget gate" in html
    path = found.save(tmp_path / "page.html")
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert html in page
    assert "<title>Report on Last</title>" in page
    assert page.count("(prefers-color-scheme: dark)") == 2
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert found.save(tmp_path / "page.txt").read_text(encoding="utf-8") == f"{found}\n"
    with pytest.raises(ValueError, match=r"cannot write 'page\.pdf'; the ending must be \.html or \.txt"):
        found.save(tmp_path / "page.pdf")


def test_every_picture_says_what_it_shows(rng: Rng) -> None:
    """Axes have names, colours and dashed lines a legend, and a dark page has another colour for each of them."""
    model = Last(nn.LSTM(D, H, num_layers=2))
    found = nn.diagnose.report(model, batch(rng), CRITERION, optimizer=nn.Adam(model.parameters()))
    drawn = {s.title: ElementTree.fromstring(s.picture) for s in found.sections if s.picture}
    words = {
        title: {"".join(e.itertext()).replace("\u200b", "") for e in svg.iter(f"{SVG}text")}
        for title, svg in drawn.items()
    }
    assert {"step t", "‖∂L/∂st‖ (logarithmic axis)", "Last.layer[1] c"} <= words["gradient flow"]
    assert {"steps back from the loss", "share of the gradient that has arrived", "90 %"} <= words["horizon"]
    assert {"2 steps", "share of the gradient that a window keeps"} <= words["truncation"]
    assert "1: a change of the state keeps its size" in words["Jacobian spectrum"]
    assert {"Last.layer[1] f", "share of the values", "below 0.1 (tanh: −0.9)", "above 0.9"} <= words["gates"]
    assert {
        "size of the step, in steps of the optimizer (logarithmic axis)",
        "loss of this batch",
        f"now, {found.loss:.4g}",
    } <= (words["learning rate"])
    style = found._repr_html_().partition("@media")[2]
    for svg in drawn.values():
        for element in svg.iter():
            for what in ("fill", "stroke"):
                color = element.get(what, "none")
                assert color == "none" or f'[{what}="{color}"]' in style
            if element.get("stroke-dasharray"):  # a limit is drawn twice: in the chart and in its legend
                assert sum(e.get("stroke-dasharray") is not None for e in svg.iter()) == 2
    lines = dict(zip([s.title for s in found.sections], [s.line for s in found.sections], strict=True))
    assert [line.partition(":")[0] for line in lines["gates"].splitlines()] == ["Last.layer[0]", "Last.layer[1]"]


@pytest.mark.parametrize(("low", "high"), [(-40.2, -0.7), (-2.1, 0.2), (-0.5, 0.1), (0.01, 0.02), (2, 3)])
def test_ticks_are_round_and_within_their_range(low: float, high: float) -> None:
    for ticks, a, b in ((scales.powers(low, high), 10**low, 10**high), (scales.round_numbers(low, high), low, high)):
        assert 2 <= len(ticks) <= 7
        assert all(a * (1 - 1e-6) <= v <= b * (1 + 1e-6) for v in ticks if v > 0)
    assert [scales.written(v) for v in (0.01, 200.0, 1e-30, 2e7, -3.5)] == ["0.01", "200", "10⁻³⁰", "2·10⁷", "−3.5"]


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
    assert f"a step changes the weights by {size / norm:.2g} of their norm" in sentence(found, "learning rate")
    assert f"to {loss().item():.4g}" in sentence(found, "learning rate")
