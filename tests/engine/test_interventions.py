"""Values replaced by name, against models edited by hand: forward in plain NumPy, gradients by complex steps."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import Place

import minigrad as mg
import nn
from minigrad.names import Pattern
from minigrad.pictures.palette import DARK, UNCHANGED, scale_of
from minigrad.pictures.places import scene
from minigrad.pictures.svg import svg

Rng = np.random.Generator
Array = Any
Edit = Callable[[str, Array], Array]
T, N, D, H = 5, 3, 2, 4


class Model(nn.Module):
    """An LSTM and a map of its last output."""

    def __init__(self, rng: Rng) -> None:
        super().__init__()
        self.lstm = nn.LSTM(D, H, dtype=np.float64)
        self.head = nn.Linear(H, 2, dtype=np.float64)
        for p in self.parameters():
            p.data[...] = rng.uniform(0.2, 0.9, p.shape) * rng.choice([-1, 1], p.shape)

    def forward(self, xs: Any) -> Any:
        return self.head(self.lstm(xs)[0][-1])


def by_hand(p: dict[str, Array], xs: Array, edit: Edit) -> Array:
    """The same network written out; `edit` is asked at each named value."""

    def sigmoid(z: Array) -> Array:
        return 1 / (1 + np.exp(-z))

    h, c = np.zeros((N, H)), np.zeros((N, H))
    for t in range(T):
        z = xs[t] @ p["lstm.weight_ih_l0"].T + p["lstm.bias_ih_l0"] + h @ p["lstm.weight_hh_l0"].T
        z_i, z_f, z_g, z_o = np.split(z + p["lstm.bias_hh_l0"], 4, axis=1)
        i, f = edit(f"t={t} i", sigmoid(z_i)), edit(f"t={t} f", sigmoid(z_f))
        g, o = edit(f"t={t} g", np.tanh(z_g)), edit(f"t={t} o", sigmoid(z_o))
        c = edit(f"t={t} c", f * c + i * g)
        h = edit(f"t={t} h", o * np.tanh(c))
    return edit("head", h @ p["head.weight"].T + p["head.bias"])


def near(found: Any, expected: Any) -> None:
    found = found.numpy() if isinstance(found, mg.Tensor) else np.asarray(found)
    assert np.abs(found - expected).max(initial=0) <= 1e-12 * max(np.abs(expected).max(initial=0), 1)


def run_by_hand(model: Model, xs: Array, edit: Edit, weights: Array) -> tuple[Array, dict[str, Array]]:
    """The output, and the gradient of its weighted sum by each parameter."""
    p = {name: value.numpy() for name, value in model.named_parameters()}
    gradients = {name: np.zeros(value.shape) for name, value in p.items()}
    for name, value in p.items():
        for index in np.ndindex(*value.shape):
            moved = value.astype(complex)
            moved[index] += 1e-100j
            gradients[name][index] = (by_hand({**p, name: moved}, xs, edit) * weights).sum().imag / 1e-100
    return by_hand(p, xs, edit), gradients


CASES: dict[str, Any] = {
    "a number": ({"lstm t=3 f": 0.25}, lambda n, v: v * 0 + 0.25 if n == "t=3 f" else v),
    "every step": ({"f": 0.0}, lambda n, v: v * 0 if n.endswith("f") else v),
    "a range of steps": ({"t=1:3 i": 1.0}, lambda n, v: v * 0 + 1 if n in ("t=1 i", "t=2 i") else v),
    "a function": ({"h t=2": lambda h: h * h + 1}, lambda n, v: v * v + 1 if n == "t=2 h" else v),
    "the output of a module": ({"head": np.tanh}, lambda n, v: np.tanh(v) if n == "head" else v),
    "several, the last counts": (
        {"c": lambda c: 2 * c, "c t=4": 0.5},
        lambda n, v: v * 0 + 0.5 if n == "t=4 c" else 2 * v if n.endswith("c") else v,
    ),
    "an array for each unit": (
        {"o t = 1:": np.linspace(0, 1, H)}, lambda n, v: v * 0 + np.linspace(0, 1, H) if n[0] == "t" and n[-1] == "o"
        and int(n[2]) >= 1 else v,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_model_edited_by_hand_gives(case: str, rng: Rng) -> None:
    replace, edit = CASES[case]
    model, xs, weights = Model(rng), rng.standard_normal((T, N, D)), rng.standard_normal((N, 2))
    expected, gradients = run_by_hand(model, xs, edit, weights)
    with mg.intervene(replace) as run:
        output = model(mg.tensor(xs))
    assert run.replaced
    near(output, expected)
    (output * weights).sum().backward()
    for name, p in model.named_parameters():
        near(0.0 if p.grad is None else p.grad, gradients[name])
    with mg.no_grad(), mg.intervene(replace):
        near(model(mg.tensor(xs)), expected)


def test_values_of_another_run(rng: Rng) -> None:
    """Activation patching: the values of one input in the run of another, as constants."""
    model, clean, other = Model(rng), rng.standard_normal((T, N, D)), rng.standard_normal((T, N, D))
    weights = rng.standard_normal((N, 2))
    values: dict[str, Array] = {}
    run_by_hand(model, clean, lambda n, v: values.setdefault(n, v) if np.isrealobj(v) else v, weights)
    edit = lambda n, v: v * 0 + values[n] if n in ("t=1 c", "t=1 h") else v  # noqa: E731
    expected, gradients = run_by_hand(model, other, edit, weights)
    with mg.intervene() as before:
        model(mg.tensor(clean))
    for name, value in values.items():
        near(before[name], value)
    with mg.intervene({"c t=1": before, "h t=1": before["lstm t=1 h"].detach()}) as patched:
        output = model(mg.tensor(other))
    near(output, expected)
    (output * weights).sum().backward()
    for name, p in model.named_parameters():
        near(p.grad, gradients[name])
    assert patched.replaced == {"Model.lstm[0] t=1 c": "c t=1", "Model.lstm[0] t=1 h": "h t=1"}


def test_gradients_inside(rng: Rng) -> None:
    """Of what goes into a run, of a tensor that takes a place, of the values of a run; and of the second order."""
    model, xs = Model(rng), mg.tensor(rng.standard_normal((T, N, D)))
    gate = mg.tensor(rng.uniform(0.2, 0.8, (N, H)), requires_grad=True)

    def loss(f: Any) -> Any:
        with mg.intervene({"f t=2": f}):
            return (model(xs) ** 2).sum()

    found = mg.grad(loss)(gate)
    assert mg.gradcheck(loss, [gate])
    assert mg.gradgradcheck(loss, [gate])
    with mg.intervene({"f t=2": gate}) as run:
        (model(xs) ** 2).sum().backward()
    near(gate.grad, found.numpy())
    assert run["f t=2"].shape == (N, H)
    with mg.intervene() as run:
        whole = (model(xs) ** 2).sum()
    whole.backward(inputs=[run["h t=1"]])
    assert run["h t=1"].grad.shape == (N, H)
    with mg.intervene({"h t=4": lambda h: h}):
        near(mg.grad(lambda x: (model(x) ** 2).sum())(xs), mg.grad(lambda x: (model(x) ** 2).sum())(xs).numpy())


def test_nothing_flows_into_what_was_cut(rng: Rng) -> None:
    W = mg.tensor(rng.standard_normal(3), requires_grad=True)
    V = mg.tensor(rng.standard_normal(3), requires_grad=True)
    with mg.intervene({"a": 2.0}), np.errstate(invalid="ignore"):
        loss = (mg.name(np.log(W - 100), "a") * V).sum()  # NaN in what is cut
    loss.backward()
    assert W.grad is None
    near(V.grad, np.full(3, 2.0))


VARIANTS: dict[str, Callable[[], Any]] = {
    "rnn": lambda: nn.RNNCell(D, H, dtype=np.float64),
    "elman": lambda: nn.ElmanCell(D, H, 2, dtype=np.float64),
    "gru": lambda: nn.GRUCell(D, H, dtype=np.float64),
    "gru reset before": lambda: nn.GRUCell(D, H, reset_after=False, dtype=np.float64),
    "lstm": lambda: nn.LSTMCell(D, H, dtype=np.float64),
    "lstm layer norm": lambda: nn.LSTMCell(D, H, layer_norm=True, peephole=True, coupled=True, dtype=np.float64),
    "lstm zoneout": lambda: nn.LSTMCell(D, H, zoneout=0.5, dtype=np.float64),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_cell_has_named_states(variant: str, rng: Rng) -> None:
    """Without a replacement nothing changes; a state that is cut in two makes what comes before it irrelevant."""
    cell, lengths = VARIANTS[variant](), None if variant == "lstm" else [5, 2, 4]
    layer = nn.Recurrent(cell).eval()
    xs = mg.tensor(rng.standard_normal((T, N, D)))
    expected = layer(xs, lengths=lengths)[0]
    with mg.intervene() as clean:
        near(layer(xs, lengths=lengths)[0], expected.numpy())
    states = [name for name in clean.names if name.split()[-1] in cell.states]
    assert len(states) == T * len(cell.states)
    if "zoneout" in variant:
        return
    other = mg.tensor(np.where(np.arange(T)[:, None, None] <= 1, 9.0, xs.numpy()))
    with mg.intervene({f"{name} t=1": clean for name in cell.states}):
        patched = layer(other, lengths=lengths)[0]
    near(patched[2:], expected[2:].numpy())
    assert np.abs(patched.numpy()[0] - expected.numpy()[0]).max() > 0.01


def test_loops_run_step_by_step_and_checkpoints_do_not_run_twice(rng: Rng) -> None:
    layer, xs = nn.GRU(D, H, dtype=np.float64), mg.tensor(rng.standard_normal((T, N, D)))
    with mg.intervene({"z t=1": 0.5}):
        expected = (layer(xs)[0] ** 2).sum()
        found = mg.checkpoint(lambda x: (layer(x)[0] ** 2).sum(), xs)
    assert "switched off" in str(layer.rolled)
    weight = layer.weight_hh_l0
    expected.backward()
    first, weight.grad = weight.grad, None
    found.backward()
    near(found, expected.numpy())
    near(weight.grad, first.numpy())
    layer(xs)
    assert "switched off" not in str(layer.rolled)


def test_names(rng: Rng) -> None:
    def value() -> Any:
        return mg.tensor(rng.standard_normal(2)) * 1.0

    with mg.intervene({"h #2": 0.0, "inner[1] t=2:4 s": 1.0}) as run:
        for _ in range(3):
            mg.name(value(), "h")
        with mg.scope("outer"), mg.scope("inner"), mg.scope("[1]"):
            for _ in mg.steps(range(5), "t"):
                mg.name(value(), "s")
    assert run.names[:4] == ["h", "h #2", "h #3", "outer.inner[1] t=0 s"]
    assert list(run.replaced) == ["h #2", "outer.inner[1] t=2 s", "outer.inner[1] t=3 s"]
    assert list(run.matching("outer t=3:")) == []
    assert list(run.matching("outer t=3: s")) == ["outer.inner[1] t=3 s", "outer.inner[1] t=4 s"]
    assert run["s t=4"].shape == (2,)
    with pytest.raises(KeyError, match="nothing is called 'inner h'; near names are"):
        run["inner h"]
    with pytest.raises(KeyError, match="'s' stands for 5 values"):
        run["s"]
    assert Pattern("t = 3 f").steps == [("t", 3, 4)]
    assert Pattern("f t=:3 k=2:").steps == [("t", 0, 3), ("k", 2, None)]
    assert str(run).splitlines()[0] == repr(run)[1:-1] == "Intervention: 3 of 8 named values replaced"


def test_the_difference_is_drawn(rng: Rng) -> None:
    model, xs = Model(rng), mg.tensor(rng.standard_normal((T, N, D)))
    with mg.intervene() as clean:
        model(xs)
    with mg.intervene({"f t=2": 0.0}) as cut:
        output = model(xs)
    changes = cut.changes_from(clean)
    assert changes["Model.lstm[0] t=1 h"] == 0
    assert changes["Model.lstm[0] t=2 f"] == 1
    c, before = (run["c t=2"].numpy() for run in (cut, clean))
    assert np.isclose(changes["Model.lstm[0] t=2 c"], np.linalg.norm(c - before) / np.linalg.norm(before))
    drawn = cut.graph(output, against=clean)
    known = {(node.scope[-1], node.label): node.grad.norm for node in drawn.nodes if node.grad is not None}
    assert known[("t", 2), "c"] == changes["Model.lstm[0] t=2 c"]
    assert known[("t", 1), "c"] == 0
    (replaced,) = [node for node in drawn.nodes if node.op == "replaced"]
    assert [edge.kind for edge in drawn.edges if edge.target == replaced.id] == ["detached"]
    for text in (drawn.dot(), svg(scene(drawn))):
        assert "change of the value" in text
        assert "norm of the gradient" not in text
        assert "values replaced: 1 (f t=2)" in text
    with pytest.raises(TypeError, match=r"for gradients, use mg\.graph"):
        cut.graph(output, against=clean, color="grad")


def two_runs(by: Any) -> tuple[Any, Any, Any]:
    """A loop whose state of step 1 is replaced: (its loss, that run, a run without a replacement)."""
    rng = np.random.default_rng(0)
    W, xs = mg.tensor(rng.standard_normal((3, 3)), requires_grad=True), mg.tensor(rng.standard_normal((3, 1, 3)))

    def loop() -> Any:
        h = mg.zeros((1, 3), dtype=np.float64)
        for _, x in mg.steps(xs):
            h = mg.name(np.tanh(x + h @ W), "h")
        return (h**2).sum()

    with mg.intervene() as before:
        loop()
    with mg.intervene({"h t=1": by}) as after:
        loss = loop()
    return loss, after, before


def fills(graph: Any) -> dict[str, str | None]:
    """The fill of each node in the picture."""
    return {shape.id: shape.fill for shape in scene(graph).nodes}


def test_pictures_have_the_colours_of_changes() -> None:
    """A value that did not change differs from one whose change is not known, and from those that changed."""
    loss, after, before = two_runs(1.0)
    drawn = after.graph(loss, against=before)
    fill = fills(drawn)
    by_step = {node.scope[-1][1]: fill[node.id] for node in drawn.nodes if node.label == "h"}
    unnamed = {fill[node.id] for node in drawn.nodes if not node.label}
    scale = scale_of(drawn.nodes, "change")
    changes = after.changes_from(before)
    assert by_step == {t: scale.color(changes[f"t={t} h"]) for t in range(3)}
    assert by_step[0] == UNCHANGED
    assert unnamed == {"#FFFFFF"}
    assert len({*by_step.values(), *unnamed}) == 4
    assert {color for _, color in scale.legend()} <= {color for _, color in scene(drawn).swatches}
    for shape in scene(drawn).nodes:  # in the dark, the ink of a colour of the page changes with it
        for label in shape.labels:
            assert (shape.fill is None or shape.fill in DARK) == (label.color in DARK)


@pytest.mark.parametrize("options", [{"style": "textbook"}, {"collapse": "t"}], ids=["textbook", "steps"])
def test_a_group_has_the_largest_change_inside(options: dict[str, Any]) -> None:
    loss, after, before = two_runs(1.0)
    drawn = after.graph(loss, against=before, **options)
    found = [node.grad.norm for node in drawn.nodes if node.kind in ("cell", "collapsed")]
    assert found == [after.changes_from(before)[f"t={t} h"] for t in range(3)]


def test_changes_are_no_gradients_of_a_film(tmp_path: Path) -> None:
    loss, after, before = two_runs(1.0)
    with pytest.raises(ValueError, match="a film shows gradients"):
        after.graph(loss, against=before).animate(tmp_path / "g.svg")


def test_only_what_no_gradient_passes_is_drawn_as_a_cut() -> None:
    """A constant cuts what it replaces; a function and a tensor that requires grad pass their gradients on."""
    tensor = mg.tensor(np.ones((1, 3)), requires_grad=True)
    tensor.name = "given"
    for by, cut in ((1.0, {"tanh"}), (lambda h: 3 * h, set()), (tensor, {"tanh"})):
        loss, after, before = two_runs(by)
        for graph in (after.graph(loss, against=before), mg.graph(loss)):
            nodes = {node.id: node for node in graph.nodes}
            (replaced,) = [node.id for node in graph.nodes if node.op == "replaced"]
            into = [edge for edge in graph.edges if edge.target == replaced]
            assert {nodes[edge.source].op for edge in into if edge.kind == "detached"} == cut
            assert {nodes[edge.source].label for edge in into if edge.kind == ""} >= (
                {"given"} if by is tensor else set()
            )


def test_mistakes(rng: Rng) -> None:
    model, xs = Model(rng), mg.tensor(rng.standard_normal((T, N, D)))

    def run(replace: Any, f: Any = model) -> None:
        with mg.intervene(replace):
            f(xs)

    for replace, error, message in [
        ({"lstm t=3 k": 0}, ValueError, r"nothing is called 'lstm t=3 k'; near names are 'Model\.lstm\[0\] t=3 i', "),
        ({"lstm t=9 f": 0}, ValueError, r"nothing is called 'lstm t=9 f'; near names are 'Model\.lstm\[0\] t=\d f'"),
        ({"f t=1": np.zeros(3)}, ValueError, r"t=1 f' has shape \(3, 4\), its replacement \(3,\)"),
        ({"f t=1": np.zeros((2, 3, 4))}, ValueError, r"t=1 f' has shape \(3, 4\), its replacement \(2, 3, 4\)"),
        ({"f t=1": lambda f: None}, TypeError, r"the function for 'Model\.lstm\[0\] t=1 f' returned None"),
        ({"f t=1": mg.intervene()}, ValueError, "the other run has no 'Model.lstm.0. t=1 f': nothing is called"),
        (["f t=1"], TypeError, "expected a dict from names to replacements, not list"),
        ({3: 0.0}, TypeError, "names are strings such as 'lstm t=3 f', not int"),
        ({"t=3": 0.0}, ValueError, "'t=3' names no value; write a label"),
        ({"f t=x": 0.0}, ValueError, "'f t=x' names no value"),
        ({"f t=": 0.0}, ValueError, "'f t=' names no value"),
    ]:
        with pytest.raises(error, match=f"intervene: .*{message}"):
            run(replace)
    with pytest.raises(ValueError, match="no value of this run has a name"):
        run({"h": 0.0}, lambda x: x + 1)
    with pytest.raises(RuntimeError, match=re.escape("'y' was used before it was named")):

        def late(x: Any) -> Any:
            y = np.tanh(x)
            return y.sum() + mg.name(y, "y").sum()

        run({"y": 0.0}, late)
    with pytest.raises(RuntimeError, match=r"sum uses 'y' as it was before it was replaced; go on with what mg\.name"):

        def aside(x: Any) -> Any:
            y = np.tanh(x)
            mg.name(y, "y")
            return y.sum()

        run({"y": 0.0}, aside)
    used = mg.intervene()
    with used:
        pass
    with pytest.raises(RuntimeError, match="an intervention is one run"), used:
        pass


def test_compiled_functions(rng: Rng) -> None:
    """Inside an intervention they run as they are written; an intervention inside one is refused at its first call."""
    W = mg.tensor(rng.standard_normal((2, 2)), requires_grad=True)
    f = mg.compile(lambda x: mg.name(np.tanh(x @ W), "y").sum().detach())
    x = mg.tensor(rng.standard_normal((3, 2)))
    for _ in range(3):
        f(x)
    with mg.intervene({"y": 1.0}):
        assert f(x).item() == 6.0
    assert f(x).item() != 6.0

    @mg.compile
    def inside(x: Any) -> Any:
        with mg.intervene({"y": 1.0}):
            return mg.name(np.tanh(x @ W), "y").sum()

    with pytest.raises(mg.RecordingError, match="put the intervention around the call"):
        inside(x)


def test_an_error_inside_is_that_error_and_nothing_is_left(rng: Rng) -> None:
    with pytest.raises(ZeroDivisionError), mg.intervene({"never": 0}):
        raise ZeroDivisionError
    model, xs = Model(rng), mg.tensor(rng.standard_normal((T, N, D)))
    gc.collect()
    gc.disable()
    try:
        with mg.intervene({"f t=2": 0.5}) as run:
            output = model(xs)
        watched = [weakref.ref(run["c t=1"]), weakref.ref(run)]
        del run, output
        assert [w() for w in watched] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_on_every_backend(backend: Place, dtype: Any, rng: Rng) -> None:
    layer = nn.LSTM(D, H, device=backend.device, dtype=dtype)
    xs = backend.tensor(rng.standard_normal((T, N, D)), dtype)
    with mg.intervene() as clean:
        layer(xs)
    with mg.intervene({"f t=1": 0.5, "h t=2": np.ones(H), "c t=3": clean, "o t=4": lambda o: 1 - o}) as run:
        output, _ = layer(xs)
    (output**2).sum().backward()
    assert len(run.replaced) == 4
    assert run["f t=1"].dtype == dtype
    assert run["f t=1"].device == backend.device
    assert bool(np.all(backend.numpy(run["h t=2"]) == 1))
    assert layer.weight_hh_l0.grad is not None
