"""Models with their batches and losses, for reports: broken ones of each kind, and sound ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

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


def one_shorter_sequence(rng: Rng) -> Made:
    x, y = batch(rng, 12)
    x.data[8:, 2] = 0
    return Last(nn.GRU(D, H)), (x, y), CRITERION, {}


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


class Plain(nn.Module):
    """A loop of its own, with or without `mg.steps`; the output after step `pick`.

    cut   the step at which the state is detached
    """

    def __init__(self, gain: float, cut: int | None = None, marked: bool = False, pick: int | None = None) -> None:
        super().__init__()
        self.W, self.U, self.out = nn.Linear(D, H), nn.Linear(H, H, bias=False), nn.Linear(H, K)
        nn.init.orthogonal_(self.U.weight, gain=gain)
        self.cut, self.marked, self.pick = cut, marked, pick

    def forward(self, xs: Any) -> Any:
        s, states = mg.zeros((xs.shape[1], H)), []
        for t, x in mg.steps(xs) if self.marked else enumerate(xs):
            s = np.tanh(self.W(x) + self.U(s.detach() if t == self.cut else s))
            states.append(s)
        return self.out(s if self.pick is None else np.stack(states)[:, self.pick])


class GatedCell(nn.Cell):
    """h' = f h + (1 − f) g, whose gate has a name in `gates` alone."""

    gates = ("f",)

    def __init__(self, bias: float) -> None:
        super().__init__(D, (H,))
        self.W, self.U = nn.Linear(D, 2 * H), nn.Linear(H, 2 * H, bias=False)
        self.W.bias.data[:H] = bias

    def update(self, x: Any, state: Any, recurrent: Any) -> Any:
        z_f, z_g = np.split(self.W(x) + self.U(recurrent), 2, axis=-1)
        f = mg.sigmoid(z_f)
        return f * state[0] + (1 - f) * np.tanh(z_g), f


def own_loop_swapped(marked: bool) -> Callable[[Rng], Made]:
    def make(rng: Rng) -> Made:
        x, y = batch(rng, 12)
        return Plain(1.0, marked=marked, pick=-1), (np.swapaxes(x, 0, 1), y), CRITERION, {}

    return make


def saturated_loop(rng: Rng) -> Made:
    model = Plain(1.0)
    model.W.weight.data[...] *= 50
    return model, batch(rng), CRITERION, {}


MORE: dict[str, tuple[str, Callable[[Rng], Made]]] = {
    "a tanh network over 150 steps": ("vanishing", plainly(lambda: Last(nn.RNN(D, H)), 150)),
    "two LSTMs over 150 steps": ("vanishing", plainly(lambda: Last(nn.LSTM(D, H, num_layers=2)), 150)),
    "a ReLU network that explodes": ("exploding", plainly(lambda: Last(rnn(2.4, "relu")), 40)),
    "a GRU with large weights": ("saturated", plainly(lambda: Last(scaled_weights(nn.GRU(D, H), 60)))),
    "a state that overflows": ("exploding", plainly(lambda: Last(rnn(8.0, "relu")), 120)),
    "a loop without steps": ("vanishing", plainly(lambda: Plain(0.6), 40)),
    "a saturated loop without steps": ("saturated", saturated_loop),
    "a cut loop without steps": ("detached", plainly(lambda: Plain(1.0, 13))),
    "a swapped loop without steps": ("batch and time swapped", own_loop_swapped(False)),
    "a swapped loop of one's own": ("batch and time swapped", own_loop_swapped(True)),
    "a gate of one's own cell": ("closed forget gate", plainly(lambda: Last(nn.Recurrent(GatedCell(-5.0))))),
    "a detached encoder": ("detached", plainly(Encoded, 12)),
    "a swapped tagger": ("batch and time swapped", swapped_tagger),
    "the last of padded steps": ("reading at padding", last_of_padded),
    "the mean of padded steps": ("reading at padding", untold_mean),
    "one shorter sequence": ("reading at padding", one_shorter_sequence),
    "one infinity": ("non-finite data", with_infinity),
    "one weight": ("non-finite weights", with_nan_weight),
    "a logarithm of 0": ("non-finite values", plainly(lambda: Logarithmic(nn.GRU(D, H)), 12)),
    "Adam, 5": ("learning rate too high", with_optimizer(nn.Adam, 5.0)),
    "SGD, 300": ("learning rate too high", with_optimizer(nn.SGD, 300.0)),
    "Adam, 1e-9": ("learning rate too low", with_optimizer(nn.Adam, 1e-9)),
}


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


class Several(NamedTuple):
    """Padded sequences (T, N, D), and their lengths."""

    values: Any
    lengths: Any


class Translating(Encoded):
    """A decoder that begins with the encoder's state; both know the lengths of their sequences."""

    def forward(self, source: Any, target: Any) -> Any:
        _, h = self.encoder(source.values, lengths=source.lengths)
        return self.out(self.decoder(target.values, h, lengths=target.lengths)[1][-1])


def two_kinds_of_lengths(rng: Rng) -> Made:
    """The lengths of the targets say nothing about the sources."""
    sides = []
    for lengths in ([9, 4, 6, 2, 8, 9], [3, 7, 5, 7, 2, 4]):
        values = rng.standard_normal((max(lengths), N, D)).astype(np.float32)
        values[np.arange(max(lengths))[:, None] >= lengths] = 0
        sides.append(Several(mg.tensor(values), np.array(lengths)))
    return Translating(), (*sides, rng.integers(0, K, N)), lambda m, b: CRITERION(m(b[0], b[1]), b[2]), {}


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


class Spoken(Last):
    """Classes from words."""

    def __init__(self) -> None:
        super().__init__(nn.GRU(D, H))
        self.embedding = nn.Embedding(40, D)

    def forward(self, ids: Any, lengths: Any = None) -> Any:
        return self.out(self.layer(self.embedding(ids))[0][-1])


def equal_last_words(rng: Rng) -> Made:
    """Two of the sentences end in the same word, which is no padding."""
    ids = rng.integers(1, 40, (12, N))
    ids[-1, :2] = 0
    return Spoken(), (ids, rng.integers(0, K, N)), CRITERION, {}


def tied_layers(rng: Rng) -> Made:
    """One layer after another with the same weights, which looks like a loop over steps."""
    inner = nn.Linear(16, 16)
    model = nn.Sequential(nn.Linear(D, 16), *[nn.Tanh() if k % 2 else inner for k in range(7)], nn.Linear(16, K))
    return model, perceptron(rng)[1], CRITERION, {"optimizer": nn.Adam(model.parameters())}


SOUND = [
    tagger, open_lstm, padded, two_kinds_of_lengths, perceptron, both_directions, with_crf, tagger_of_both_directions,
    remembering_lstm, equal_last_words, tied_layers,
]  # fmt: skip
