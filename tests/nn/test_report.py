"""The page on a model and a batch: broken models, each named by its cause, and sound ones, which are left alone."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from places import Place
from reported import (
    BROKEN,
    CRITERION,
    MORE,
    SOUND,
    D,
    H,
    K,
    Last,
    N,
    Rng,
    Swapped,
    T,
    Tagger,
    batch,
    closed_forget_gate,
)  # fmt: skip

import minigrad as mg
import nn
from nn.diagnose import scales

SVG = "{http://www.w3.org/2000/svg}"
ADVICE = {"closed forget gate": "Begin with an open gate: nn.init.forget_gate_bias_(layer, 1.0)."}


@pytest.mark.parametrize("name", BROKEN)
def test_the_cause_of_a_broken_model_is_named(name: str, rng: Rng) -> None:
    make, evidence = BROKEN[name]
    model, data, loss, options = make(rng)
    found = nn.diagnose.report(model, data, loss, **options)
    assert found.causes[0].name == name.strip()
    assert re.search(evidence, found.causes[0].what)
    assert found.causes[0].advice == ADVICE.get(name, nn.diagnose.CAUSES[name.strip()])


@pytest.mark.parametrize("name", MORE)
def test_more_broken_models(name: str, rng: Rng) -> None:
    cause, make = MORE[name]
    model, data, loss, options = make(rng)
    found = nn.diagnose.report(model, data, loss, **options)
    assert cause in [each.name for each in found.causes]
    assert max(map(len, str(found).splitlines())) <= 100
    ElementTree.fromstring(found._repr_html_())


@pytest.mark.parametrize("backward", [False, True])
def test_a_state_that_overflows_explodes(backward: bool, rng: Rng) -> None:
    layer = nn.RNN(D, H // 2, nonlinearity="relu", bidirectional=True)
    way = 1 if backward else 0
    for k, cell in enumerate(each.cell for each in layer.modules() if isinstance(each, nn.Recurrent)):
        nn.init.orthogonal_(cell.weight_hh, gain=9.0 if k == way else 0.1)
    found = causes(layer, rng, 120, pick=0 if backward else -1)["exploding"]
    place = r"layer\[0\]\.(?:forward|backward) h"
    assert re.search(rf"the state .*{place} grows from \S+ at step \d+ to \S+e\+\d\d at step \d+, and", found.what)


@pytest.mark.parametrize("name", ["a cut loop without steps", "a gate of one's own cell"])
def test_loops_and_gates_are_named(name: str, rng: Rng) -> None:
    model, data, loss, options = MORE[name][1](rng)
    found = nn.diagnose.report(model, data, loss, **options)
    if "loop" in name:
        assert found.causes[0].what == "a state is cut between steps 12 and 13"
        assert "the gradient of Plain tanh is cut between steps 12 and 13" in str(found).replace("\n" + " " * 19, " ")
    else:
        assert found.causes[0].what.startswith("Last.layer f: 100 % of its values are below 0.1")
        assert found.causes[1].what.startswith("the gradient of Last.layer h vanishes")


@pytest.mark.parametrize("make", SOUND)
def test_nothing_is_said_against_a_sound_model(make: Any, rng: Rng) -> None:
    model, data, loss, options = make(rng)
    found = nn.diagnose.report(model, data, loss, **options)
    assert found.causes == ()
    assert found.verdict == "nothing alarming was found"
    assert repr(found) == "<Report: nothing alarming was found>"
    for word in ("vanish", "explode", "cut", "dead (", "depends", "mix"):
        assert word not in str(found)


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
    assert "The gate f is open already: it keeps 0.995 of the state in the mean" in nn.diagnose.causes.advice(
        "vanishing", open_already
    )


@pytest.mark.parametrize("opposite", [False, True])
def test_the_gate_of_a_users_cell_may_keep_the_state_open_or_closed(opposite: bool, rng: Rng) -> None:
    """h' = z·h + (1 − z)·n, as in PyTorch, or (1 − z)·h + z·n, as in many texts."""

    class Own(nn.Module):
        def __init__(self, bias: float) -> None:
            super().__init__()
            self.W, self.U, self.V = nn.Linear(D, 2 * H), nn.Linear(H, H, bias=False), nn.Linear(H, H, bias=False)
            self.W.bias.data[:H] = bias
            self.out = nn.Linear(H, K)

        def forward(self, xs: Any) -> Any:
            h = mg.zeros((N, H))
            for _, x in mg.steps(xs):
                x_z, x_n = np.split(self.W(x), 2, axis=-1)
                z = mg.name(mg.sigmoid(x_z + self.U(h)), "z")
                n = np.tanh(x_n + self.V(h))
                h = (1 - z) * h + z * n if opposite else z * h + (1 - z) * n
            return self.out(h)

    data = batch(rng, 60)

    def found(bias: float) -> dict[str, Any]:
        return {cause.name: cause for cause in nn.diagnose.report(Own(bias), data, CRITERION).causes}

    lost = found(0.0)["vanishing"]
    said = "Close the gate z further: a bias of -4.1 for z" if opposite else "Open the gate z further: a bias of 4.1"
    assert lost.advice.startswith(said)
    sign = -1 if opposite else 1
    assert "vanishing" not in found(4.1 * sign)
    assert ("closed forget gate" in found(-5.0)) != opposite
    assert "closed forget gate" not in found(5.0)


@pytest.mark.parametrize(
    ("cell", "keeps", "name"),
    [
        (nn.zoo.MGUCell, "closed", "f"),
        (nn.zoo.MinGRUCell, "closed", "z"),
        (nn.zoo.JANETCell, "open", "f"),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_gates_that_keep_the_state_are_told_from_their_opposites(
    cell: Any, keeps: str, name: str, reverse: bool, rng: Rng
) -> None:
    """h' = (1 − f)·h + f·n, or f·h + (1 − f)·n: by the gradient from each state to the one before."""
    sign = 1 if keeps == "open" else -1

    def found(bias: float) -> dict[str, Any]:
        one = cell(D, H)
        one.W.bias.data[:H] = bias
        return causes(nn.Recurrent(one, reverse=reverse), rng, 60, pick=0 if reverse else -1)

    remembering = found(5.0 * sign)
    assert "closed forget gate" not in remembering
    assert "vanishing" not in remembering
    forgetting = found(-5.0 * sign)
    assert ("closed forget gate" in forgetting) == (keeps == "open")
    said = f"{'Open' if keeps == 'open' else 'Close'} the gate {name} further: "
    assert forgetting["vanishing"].advice.startswith(said)


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
    model.layer.bias_ih_l0.data[H : 2 * H] = -6
    found = nn.diagnose.report(model, data, CRITERION)
    assert [cause.name for cause in found.causes] == ["batch and time swapped", "closed forget gate"]


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
