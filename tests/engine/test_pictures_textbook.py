"""The style of textbooks: one box a step, subscripts, hidden plumbing; and gradients along arrows."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from test_pictures_property import check

import minigrad as mg
import nn
from minigrad.pictures.memory import states_way
from minigrad.pictures.palette import RED
from minigrad.pictures.places import scene
from minigrad.pictures.scripts import pieces, plain, tex
from minigrad.pictures.subscripts import weight, weights
from minigrad.pictures.themes import shaped

SVG = "{http://www.w3.org/2000/svg}"


def vanilla(steps: int, **options: Any) -> mg.Graph:
    weights = {n: mg.randn(3, 3, requires_grad=True) for n in ("W_in", "W_s", "W_out")}
    s, ys = mg.zeros((2, 3)), []
    for _, x in mg.steps(mg.randn(steps, 2, 3)):
        s = mg.name(np.tanh(mg.name(x, "x") @ weights["W_in"] + s @ weights["W_s"]), "s")
        ys.append(mg.name(s @ weights["W_out"], "y"))
    return mg.graph(ys, params=weights, style="textbook", **options)


def labels(graph: mg.Graph, kind: str) -> list[str]:
    return [node.label for node in graph.nodes if node.kind == kind]


def test_one_box_a_step_with_what_enters_and_what_leaves() -> None:
    graph = vanilla(3)
    assert labels(graph, "cell") == ["cell"] * 3
    assert labels(graph, "input") == ["x_{0}", "0", "x_{1}", "x_{2}"]
    assert labels(graph, "output") == ["y_{0}", "y_{1}", "y_{2}"]
    assert [edge.label for edge in graph.edges if edge.kind == "state" and edge.label] == ["s_{0}", "s_{1}"]
    check(graph)


def test_long_loops_are_elided_and_rolled_ones_have_t() -> None:
    assert labels(vanilla(20), "output") == ["y_{0}", "y_{1}", "y_{2}", "y_{19}"]
    rolled = vanilla(20, view="rolled")
    assert labels(rolled, "input") == ["x_{t}", "0"]
    (loop,) = [edge for edge in rolled.edges if edge.kind == "state"]
    assert (loop.source, loop.label, loop.times) == (loop.target, "s_{t}", 19)
    check(rolled)


@pytest.mark.parametrize("cls", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_layer_takes_its_input_step_by_step(cls: Any) -> None:
    layer = cls(3, 4, bidirectional=True)
    graph = mg.graph(layer, mg.randn(3, 2, 3), style="textbook")
    assert labels(graph, "cell") == [cls.__name__] * 6
    assert sorted(labels(graph, "input"))[-3:] == ["x_{0}", "x_{1}", "x_{2}"]
    assert not {"split", "batch", "getitem"} & {node.op for node in graph.nodes}
    check(graph)
    name = "y" if cls is nn.RNN else "h"
    one_way = mg.graph(lambda x: cls(3, 4)(x)[0], mg.randn(3, 2, 3), style="textbook")
    assert labels(one_way, "output") == [f"{name}_{{{t}}}" for t in range(3)]


def test_plumbing_is_hidden_in_every_style_and_its_edges_are_joined() -> None:
    layer = nn.GRU(3, 4)
    whole = mg.graph(layer, mg.randn(3, 2, 3))
    short = mg.graph(layer, mg.randn(3, 2, 3), plumbing=False)
    hidden = {node.op for node in whole.nodes} - {node.op for node in short.nodes}
    assert {"split", "batch", "concatenate", "getitem"} <= hidden
    assert [node.op for node in short.nodes if node.kind == "output"] == ["gru"] * 3  # what was gathered is the result
    ends = {edge.target for edge in short.edges} | {edge.source for edge in short.edges}
    assert ends == {node.id for node in short.nodes}
    assert "batch" in {n.op for n in mg.graph(layer, mg.randn(3, 2, 3), style="textbook", plumbing=True).nodes}


def lstm(x: Any, state: Any, W: Any) -> Any:
    h, C = state
    z = np.concatenate([h, x], axis=1)
    f, i, o = (mg.name(mg.sigmoid(z @ W[k]), k) for k in "fio")
    C = mg.name(f * C + i * mg.name(np.tanh(z @ W["g"]), "g"), "C")
    return mg.name(o * np.tanh(C), "h"), C


def cell(**options: Any) -> mg.Graph:
    W = {k: mg.randn(7, 4, requires_grad=True) for k in "fiog"}
    x, h, C = (mg.name(mg.randn(2, n), label) for n, label in ((3, "x"), (4, "h"), (4, "C")))
    return mg.graph(
        lambda x, state: lstm(x, state, W), x, (h, C), params={f"W_{k}": w for k, w in W.items()}, **options
    )


def test_a_cell_is_drawn_from_the_inside(tmp_path: Path) -> None:
    graph = cell(style="textbook")
    assert sorted(labels(graph, "input")) == ["C_{t−1}", "h_{t−1}", "x_{t}"]
    assert sorted(labels(graph, "output")) == ["C_{t}", "h_{t}"]
    root = ElementTree.parse(graph.render(tmp_path / "cell.svg")).getroot()
    texts = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    assert texts.count("σ") == 3
    assert texts.count("tanh") == 2
    assert texts.count("⊙") == 3
    assert texts.count("ft") == 1


@pytest.mark.parametrize("ending", ["svg", "png", "pdf", "tex"])
def test_files_for_slides_and_dark_pages(tmp_path: Path, ending: str) -> None:
    path = vanilla(2).render(tmp_path / f"g.{ending}", theme="dark", aspect="slide")
    content = path.read_bytes()
    if ending == "svg":
        width, height = (float(n) for n in re.findall(r'(?:width|height)="([\d.]+)pt"', content.decode()))
        assert width / height == pytest.approx(16 / 9, rel=1e-3)
        assert b"#16191d" in content
        assert b"prefers-color-scheme" not in content
    if ending == "tex":
        text = content.decode()
        assert r"\begin{tikzpicture}" in text
        assert "$s_{0}$" in text
        assert text.count("{") == text.count("}")
        assert text.isascii()
    with pytest.raises(ValueError, match="aspect must be one of slide, column, square"):
        vanilla(2).render(tmp_path / f"g.{ending}", aspect="poster")
    with pytest.raises(ValueError, match="theme must be one of auto, light, dark"):
        vanilla(2).render(tmp_path / f"g.{ending}", theme="sepia")


def test_each_arrow_backwards_has_its_own_part_of_the_gradient() -> None:
    w = mg.tensor([2.0, -1.0], requires_grad=True)
    x = mg.tensor([3.0, 4.0])

    def f(x: Any) -> Any:
        a = mg.name(w * x, "a")
        return (a * a).sum() + (w * 5.0).sum()

    graph = mg.graph(f, x, params={"w": w}, backward=True)
    byid = {node.id: node for node in graph.nodes}
    flows = {(byid[e.source].label or byid[e.source].op, byid[e.target].op, e.output): e.grad for e in graph.edges}
    a = np.array([6.0, -4.0])
    assert flows["a", "multiply", 0] == pytest.approx(np.linalg.norm(2 * a))  # both factors
    parts = sorted(e.grad for e in graph.edges if byid[e.source].label == "w" and e.grad is not None)
    assert parts == pytest.approx(sorted([np.linalg.norm(2 * a * [3.0, 4.0]), np.linalg.norm([5.0, 5.0])]))
    assert all(e.grad is None for e in graph.edges if byid[e.source].kind == "input")
    text = graph._repr_mimebundle_()["image/svg+xml"]
    assert ">14<" in text  # ‖2a‖ beside its arrow


@pytest.mark.parametrize("make", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_the_states_of_a_cell_of_nn_enter_and_leave(make: Any) -> None:
    cell = make(3, 4)
    states = tuple([mg.randn(2, 4) for _ in cell.states])
    state = states if len(states) > 1 else states[0]
    graph = mg.graph(cell, mg.randn(2, 3), state, expand=True, style="textbook")
    ends = {kind: {node.label for node in graph.nodes if node.kind == kind} for kind in ("input", "output")}
    assert ends["input"] >= {"x_{t}", *[f"{name}_{{t−1}}" for name in cell.states]}
    assert ends["output"] == {f"{name}_{{t}}" for name in cell.states}
    pytest.importorskip("pygraphviz", reason="needs pygraphviz, of the extra `viz`")
    way = states_way(graph)
    places = {node.id: node.y for node in scene(graph).nodes}
    gates = [node.id for node in graph.nodes if node.op and node.id not in way]
    assert np.mean([places[id] for id in way]) > np.mean([places[id] for id in gates])  # on top


def test_names_of_operations_have_no_subscripts(tmp_path: Path) -> None:
    w = mg.randn(3, requires_grad=True)
    graph = mg.graph(lambda x: mg.log_softmax(x * w).sum(), mg.randn(3), style="textbook")
    drawn = graph.render(tmp_path / "g.svg").read_text("utf-8")
    assert ">log softmax<" in drawn


def test_names_with_subscripts() -> None:
    assert pieces("h_{t−1}, W_in") == [("h", False), ("t−1", True), (", W", False), ("in", True)]
    assert plain("W_{hh}") == "Whh"
    assert tex("h_{t−1}") == "h_{t-1}"
    assert tex("log softmax") == r"\mathrm{log\ softmax}"
    names = ["weight_ih_l0", "bias_hh_l1_reverse", "W_s", "weight", "decoder.bias"]
    assert [weight(n) for n in names] == ["W_{ih}", "b_{hh,1,←}", "W_s", "W", "b_{decoder}"]
    several = ["enc.weight_hh_l0", "dec.weight_hh_l0", "dec.emb.weight", "enc.emb.weight", "cell.U_f.weight", "U.bias"]
    assert list(weights(several).values()) == ["W_{hh,enc}", "W_{hh,dec}", "W_{emb,dec}", "W_{emb,enc}", "U_f", "b_{U}"]
    with pytest.raises(ValueError, match="style must be 'textbook' or None"):
        mg.graph(mg.ones(2, requires_grad=True) * 2, style="comic")


# ---- each layer, direction and window in its place ---------------------------------------------------------------


def layer(made: Any, steps: int, **options: Any) -> mg.Graph:
    return mg.graph(lambda x: mg.name((made(x)[0] ** 2).sum(), "loss"), mg.randn(steps, 2, 3),
                    params=made.named_parameters(), style="textbook", **options)  # fmt: skip


def shown(graph: mg.Graph) -> dict[str, Any]:
    """The drawn shapes, by id."""
    return {shape.id: shape for shape in scene(graph).nodes}


def entering(graph: mg.Graph, box: mg.GraphNode) -> list[str]:
    byid = {node.id: node for node in graph.nodes}
    return sorted(byid[edge.source].label for edge in graph.edges if edge.target == box.id)


def test_layers_are_lanes_above_each_other() -> None:
    graph = layer(nn.GRU(3, 4, num_layers=3, bias=False), 3)
    boxes = [node for node in graph.nodes if node.kind == "cell"]
    at = shown(graph)
    assert len(boxes) == 9
    assert len({round(at[box.id].y) for box in boxes}) == len({round(at[box.id].x) for box in boxes}) == 3
    assert sorted(labels(graph, "input")) == ["0", "0", "0", "x_{0}", "x_{1}", "x_{2}"]
    states = [edge.label for edge in graph.edges if edge.kind == "state" and edge.label]
    assert set(states) == {f"h⁽{k}⁾_{{{t}}}" for k in "⁰¹²" for t in (0, 1)}
    for box in boxes:  # one from the left, one from below, two weights
        assert len(entering(graph, box)) == 4
    check(graph)


def test_two_directions_are_joined_at_each_step() -> None:
    graph = layer(nn.LSTM(3, 4, num_layers=2, bidirectional=True, bias=False), 3)
    joins = [node for node in graph.nodes if node.op == "concatenate"]
    assert [entering(graph, join) for join in joins] == [["LSTM", "LSTM"]] * 6
    at = shown(graph)
    byid = {node.id: node for node in graph.nodes}
    for edge in graph.edges:  # back in time to the left
        if edge.kind == "state" and byid[edge.source].kind == "cell":
            assert ("←" in edge.label) == (at[edge.target].x < at[edge.source].x)
    check(graph)


@pytest.mark.parametrize("of", ["tensor", "function"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("taken", [-1, 0, slice(1, None), slice(None, 2)])
def test_what_takes_the_last_step_is_connected_with_that_step_alone(
    taken: Any, both: bool, first: bool, of: str
) -> None:
    gru = nn.GRU(3, 4, bidirectional=both, batch_first=first)
    xs = mg.randn(3, 3, 3)

    def network(xs: Any) -> Any:
        output, _ = gru(xs)
        return mg.name(np.tanh(output[:, taken] if first else output[taken]).sum(), "loss")

    graph = mg.graph(network(xs) if of == "tensor" else network, *([] if of == "tensor" else [xs]), style="textbook")
    byid = {node.id: node for node in graph.nodes}
    top = next(node.id for node in graph.nodes if node.op == "tanh")
    steps = [byid[edge.source].steps["t"] for edge in graph.edges if edge.target == top]
    assert sorted(steps) == ([range(3)[taken]] if isinstance(taken, int) else list(range(3)[taken]))


def test_values_stacked_along_another_axis_are_taken_from_that() -> None:
    W = mg.randn(4, 4, requires_grad=True)

    def network(xs: Any) -> Any:
        h: Any = mg.zeros((3, 4))
        hs = []
        for _, x in mg.steps(xs):
            h = np.tanh(x + h @ W)
            hs.append(h)
        return np.exp(np.stack(hs, axis=1)[:, 1]).sum() + np.exp(np.stack(hs, axis=1)[1]).sum()

    graph = mg.graph(network, mg.randn(3, 3, 4), style="textbook")
    byid = {node.id: node for node in graph.nodes}
    users = [node.id for node in graph.nodes if node.op == "exp"]
    found = [[byid[edge.source].steps["t"] for edge in graph.edges if edge.target == id] for id in users]
    assert sorted(map(sorted, found)) == [[0, 1, 2], [1]]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("steps", [2, 3, 5])
def test_a_running_loss_is_grey_from_its_first_term_to_its_last(steps: int, named: bool) -> None:
    W = mg.randn(4, 4, requires_grad=True)

    def network(xs: Any) -> Any:
        s: Any = mg.zeros((1, 4))
        loss: Any = 0.0
        for _, x in mg.steps(xs):
            s = mg.name(np.tanh(x + s @ W), "s")
            y = mg.name(s @ W, "y") if named else s
            loss = loss + (y**2).sum()
        return mg.name(loss, "loss")

    graph = mg.graph(network, mg.randn(steps, 1, 4), style="textbook")
    byid = {node.id: node for node in graph.nodes}
    red = {line.target for line in scene(graph).lines if line.color == RED}
    assert {byid[id].kind for id in red} == {"cell"}
    assert len(red) == steps


def test_what_has_no_state_has_no_step() -> None:
    """A perceptron is no cell; and one step of a layer joins nothing."""
    W = mg.randn(3, 2, requires_grad=True)
    graph = mg.graph(lambda x: mg.name(np.tanh(x @ W).sum(), "loss"), mg.randn(2, 3), params={"W": W}, style="textbook")
    assert {node.label for node in graph.nodes if node.label} == {"x", "W", "loss"}
    gru = nn.GRU(3, 4)
    graph = mg.graph(lambda xs: mg.name(gru(xs)[0].sum(), "loss"), mg.randn(1, 2, 3), style="textbook")
    assert not any(node.op == "concatenate" for node in graph.nodes)


def in_reverse(xs: Any, W: mg.Tensor) -> Any:
    s: Any = mg.zeros((2, 3))
    for k in range(3):
        s = np.tanh(xs[-1 - k] + s @ W)
    return s.sum()


def by_sentence(xs: Any, W: mg.Tensor) -> Any:
    total: Any = 0.0
    for k in range(2):
        s: Any = mg.zeros((2, 3))
        for _, x in mg.steps(xs[k]):
            s = np.tanh(x + s @ W)
        total = total + s.sum()
    return total


@pytest.mark.parametrize(("network", "shape"), [(in_reverse, (3, 2, 3)), (by_sentence, (2, 3, 2, 3))])
def test_inputs_have_the_same_names_backward(network: Any, shape: tuple[int, ...]) -> None:
    """Taking a part is an operation of the graph there, since gradients flow into the inputs, too."""
    W = mg.randn(3, 3, requires_grad=True)
    found = []
    for backward in (False, True):
        graph = mg.graph(lambda xs: network(xs, W), mg.randn(*shape), style="textbook", backward=backward)
        found.append([label for label in labels(graph, "input") if "x" in label])
        assert len(set(found[-1])) == len(found[-1]) == (3 if network is in_reverse else 6)
    assert found[0] == found[1]


@pytest.mark.parametrize("lengths", [(3, 3), (3, 4), (5, 2)])
def test_two_calls_of_an_encoder_are_lanes_with_the_same_weights(lengths: tuple[int, int]) -> None:
    """The weights stand to the left of both, and their lines run below the boxes of each."""
    gru = nn.GRU(3, 4, bias=False)

    def network(a: Any, b: Any) -> Any:
        return mg.name((gru(a)[0][-1] * gru(b)[0][-1]).sum(), "score")

    given_ = [mg.randn(steps, 2, 3) for steps in lengths]
    graph = mg.graph(network, *given_, params=gru.named_parameters(), style="textbook")
    at = shown(graph)
    boxes = [node for node in graph.nodes if node.kind == "cell"]
    columns = {step: {round(at[n.id].x) for n in boxes if n.steps["t"] == step} for step in range(max(lengths))}
    assert all(len(places) == 1 for places in columns.values())
    assert len({round(at[node.id].y) for node in boxes}) == 2
    weights = [node for node in graph.nodes if node.kind == "parameter"]
    assert all(at[one.id].x < min(at[box.id].x for box in boxes) - 40 for one in weights)
    check(graph)


def test_last_states_of_many_calls_are_inputs_of_the_steps_of_another_loop() -> None:
    """Words of sentences: each sentence's last state enters one step of the document, and is no state of that."""
    words, sentences = nn.GRU(3, 4, bias=False), nn.GRU(4, 4, bias=False)

    def network(xs: Any) -> Any:
        vectors = np.stack([words(xs[k])[0][-1] for k in range(3)])
        return mg.name(sentences(vectors)[0][-1].sum(), "loss")

    params = {f"{m}.{n}": p for m, module in (("words", words), ("sentences", sentences))
              for n, p in module.named_parameters()}  # fmt: skip
    graph = mg.graph(network, mg.randn(3, 3, 2, 3), params=params, style="textbook")
    byid = {node.id: node for node in graph.nodes}
    cells = {node.id for node in graph.nodes if node.kind == "cell"}
    above = [(byid[e.source].steps["t"], byid[e.target].steps["t"]) for e in graph.edges
             if {e.source, e.target} <= cells and e.kind == ""]  # fmt: skip
    assert sorted(above) == [(2, 0), (2, 1), (2, 2)]
    assert len([e for e in graph.edges if {e.source, e.target} <= cells and e.kind == "state"]) == 4 * 2
    check(graph)


@pytest.mark.parametrize("both", [False, True])
def test_dots_of_left_out_steps_are_between_the_boxes(both: bool) -> None:
    graph = layer(nn.LSTM(3, 4, bidirectional=both, bias=False), 60)
    at = shown(graph)
    byid = {node.id: node for node in graph.nodes}
    states = [edge for edge in graph.edges if edge.kind == "state"]
    dots = [node for node in graph.nodes if node.kind == "elided" and any(e.source == node.id for e in states)]
    assert len(dots) == 1 + both
    for node in dots:
        touching = [edge for edge in states if node.id in (edge.source, edge.target)]
        assert len(touching) == 2
        assert all(at[edge.source].y == pytest.approx(at[edge.target].y) for edge in touching)
        assert {byid[edge.source].kind for edge in touching} == {"cell", "elided"}
    check(graph)


def test_long_loops_take_linear_time() -> None:
    made = nn.LSTM(3, 4, num_layers=2)

    def took(steps: int) -> float:
        begun = time.process_time()
        layer(made, steps)
        return time.process_time() - begun

    took(20)
    assert took(400) < 20 * max(took(40), 0.02)


def handed(kind: Any, **options: Any) -> mg.Graph:
    enc, dec = kind(3, 4, num_layers=2, bias=False), kind(2, 4, num_layers=2, bias=False)
    names = {f"{n}.{p}": w for n, m in (("enc", enc), ("dec", dec)) for p, w in m.named_parameters()}
    return mg.graph(lambda x, y: dec(y, enc(x)[1])[0], mg.randn(3, 2, 3), mg.randn(2, 2, 2), params=names,
                    style="textbook", **options)  # fmt: skip


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_decoder_continues_its_encoder_in_time(kind: Any) -> None:
    graph = handed(kind)
    boxes = [node for node in graph.nodes if node.kind == "cell"]
    assert {box.steps["t"] for box in boxes} == {0, 1, 2, 3, 4}
    at = shown(graph)
    assert len({round(at[box.id].y) for box in boxes}) == 2
    assert [x for x in labels(graph, "input") if x != "0"] == ["x_{0}", "x_{1}", "x_{2}", "y_{0}", "y_{1}"]
    weights_ = labels(graph, "parameter")
    assert len(set(weights_)) == len(weights_) == 8
    assert {"W_{hh,enc}", "W_{hh,1,dec}"} <= set(weights_)
    states = [edge.label for edge in graph.edges if edge.kind == "state" and edge.label]
    assert len(set(states)) == len(states)
    check(graph)


@pytest.mark.parametrize("cut", [False, True])
def test_windows_go_on_in_time(cut: bool) -> None:
    made = nn.GRU(3, 4, bias=False)

    def loss(xs: Any) -> Any:
        state, total = None, 0.0
        for x in np.split(xs, 3):
            output, state = made(x, state)
            total = total + (output**2).sum()
            state = state.detach() if cut else state
        return mg.name(total, "loss")

    graph = mg.graph(loss, mg.randn(6, 2, 3), style="textbook")
    assert [x for x in labels(graph, "input") if x != "0"] == [f"x_{{{t}}}" for t in range(6)]
    assert labels(graph, "cell") == ["GRU"] * 6  # no sum is a cell
    assert labels(graph, "output") == ["loss"]
    between = [edge for edge in graph.edges if edge.steps is not None and edge.label]
    assert [edge.label for edge in between] == [f"h_{{{t}}}" for t in range(5)]
    dashed = [edge.steps for edge in between if edge.kind == "detached"]
    assert dashed == ([(1, 2), (3, 4)] if cut else [])
    check(graph)
    drawn = scene(graph)
    at = {shape.id: (shape.x, shape.y) for shape in drawn.nodes}
    frames = {frame.labels[0].text: frame.rect() for frame in drawn.frames}
    assert list(frames) == ["window 1", "window 2", "window 3"]
    for node in graph.nodes:
        if "t" in node.steps and node.label != "0":
            x, y = at[node.id]
            around = [title for title, (a, b, c, d) in frames.items() if a < x < c and b < y < d]
            assert around == [f"window {node.steps['t'] // 2 + 1}"]
    assert all(a[2] < b[0] for a, b in itertools.pairwise(frames.values()))


@pytest.mark.parametrize("aspect", ["slide", "square", 0.5])
def test_a_page_is_filled_by_wider_stripes_between_nodes(aspect: Any) -> None:
    plain = scene(layer(nn.LSTM(3, 4, num_layers=2), 6))
    page = shaped(plain, aspect)
    x0, y0, x1, y1 = page.bounds
    assert (x1 - x0) / (y1 - y0) == pytest.approx({"slide": 16 / 9, "square": 1.0}.get(aspect, aspect))
    assert [(one.width, one.height) for one in page.nodes] == [(one.width, one.height) for one in plain.nodes]
    high = max(one.y for one in page.nodes) - min(one.y for one in page.nodes)
    assert high > 1.3 * (max(one.y for one in plain.nodes) - min(one.y for one in plain.nodes))
    byid = {one.id: one for one in page.nodes}
    for line in page.lines:  # arrows still end at their nodes
        a, b, c, d = byid[line.target].rect()
        assert a - 1 <= line.way[-1][0] <= c + 1
        assert b - 1 <= line.way[-1][1] <= d + 1


# ---- the cell, and what is not its own ---------------------------------------------------------------------------


def test_other_modules_in_a_step_have_boxes_of_their_own() -> None:
    encoder, decoder, look, out = nn.GRU(3, 4), nn.GRUCell(2, 4), nn.DotAttention(), nn.Linear(8, 5)

    def network(xs: Any, ys: Any) -> Any:
        memory, h = encoder(xs)
        h, keys, logits = h[0], np.swapaxes(memory, 0, 1), []
        for _, y in mg.steps(ys):
            h = decoder(y, h)
            context, _ = look(h, keys)
            logits.append(mg.name(out(np.concatenate([h, context], axis=-1)), "y"))
        return logits

    graph = mg.graph(network, mg.randn(4, 1, 3), mg.randn(3, 1, 2), style="textbook")
    assert labels(graph, "cell") == ["GRU"] * 4 + ["GRU", "DotAttention", "Linear"] * 3
    assert labels(graph, "output") == ["y_{0}", "y_{1}", "y_{2}"]
    check(graph)


def test_a_running_sum_is_no_state_of_the_cell() -> None:
    U, W = mg.randn(3, 4, requires_grad=True), mg.randn(4, 4, requires_grad=True)

    def network(xs: Any) -> Any:
        s, total = mg.zeros((1, 4)), 0.0
        for _, x in mg.steps(xs):
            s = mg.name(np.tanh(x @ U + s @ W), "s")
            total = total + (s**2).sum()
        return mg.name(total, "loss")

    graph = mg.graph(network, mg.randn(3, 1, 3), params={"U": U, "W": W}, style="textbook", backward=True)
    byid = {node.id: node for node in graph.nodes}
    carried = [edge for edge in graph.edges if edge.label.startswith("s_")]
    assert [(byid[edge.source].kind, byid[edge.target].kind) for edge in carried] == [("cell", "cell")] * 2
    assert labels(graph, "output") == ["loss"]
    (result,) = [edge for edge in graph.edges if byid[edge.target].kind == "output"]
    assert result.grad == 1.0
    assert len([edge for edge in graph.edges if byid[edge.source].op == "add" and edge.grad is not None]) == 3 - 1


def test_two_cells_in_a_step_are_two_boxes() -> None:
    a, b = nn.GRUCell(3, 4, bias=False), nn.GRUCell(4, 4, bias=False)

    def network(xs: Any) -> Any:
        h = g = mg.zeros((2, 4))
        for _, x in mg.steps(xs):
            h = mg.name(a(x, h), "h")
            g = mg.name(b(h, g), "g")
        return g

    graph = mg.graph(network, mg.randn(3, 2, 3), style="textbook")
    assert labels(graph, "cell") == ["GRU"] * 6
    states = [edge.label for edge in graph.edges if edge.kind == "state" and edge.label]
    assert sorted(states) == ["g_{0}", "g_{1}", "h_{0}", "h_{1}"]


def test_a_given_state_is_that_before_the_first_step() -> None:
    made = nn.GRU(3, 4, bias=False)
    graph = mg.graph(lambda x, h: made(x, h)[0], mg.randn(3, 2, 3), mg.randn(1, 2, 4), style="textbook")
    (state,) = [node for node in graph.nodes if node.label == "h_{−1}"]
    (edge,) = [edge for edge in graph.edges if edge.source == state.id]
    at = shown(graph)
    assert edge.kind == "state"
    assert at[edge.source].y == pytest.approx(at[edge.target].y)
    assert at[edge.source].x < at[edge.target].x


# ---- the inside of a cell ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("make", [nn.GRUCell, nn.LSTMCell])
def test_fused_cells_open_by_themselves(make: Any, wrapped: bool) -> None:
    made = make(3, 4)
    states = tuple([mg.randn(2, 4) for _ in made.states])
    state = states if len(states) > 1 else states[0]
    called = (lambda x, state: made(x, state)) if wrapped else made
    for one, name in zip(states, made.states, strict=True):
        mg.name(one, name)
    graph = mg.graph(called, mg.randn(2, 3), state, style="textbook")
    assert {"sigmoid", "tanh", "multiply"} <= {node.op for node in graph.nodes}
    assert set(labels(graph, "output")) == {f"{name}_{{t}}" for name in made.states}
    assert set(labels(graph, "input")) >= {f"{name}_{{t−1}}" for name in made.states}
    ends = {edge.source for edge in graph.edges} | {edge.target for edge in graph.edges}
    assert ends == {node.id for node in graph.nodes}


def test_the_memory_is_one_line_on_top() -> None:
    pytest.importorskip("pygraphviz", reason="needs pygraphviz, of the extra `viz`")
    graph = cell(style="textbook")
    way = states_way(graph)
    at = shown(graph)
    assert [node.label or node.op for id in way for node in graph.nodes if node.id == id] == [
        "C_{t−1}", "multiply", "add", "C_{t}"
    ]  # fmt: skip
    assert len({round(at[id].y, 3) for id in way}) == 1
    assert all(at[id].y > shape.y for id in way for shape in at.values() if shape.id not in way)
    check(graph)


@pytest.mark.parametrize("make", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_gradients_flow_to_the_given_states(make: Any) -> None:
    made = make(3, 4)
    states = tuple([mg.randn(2, 4) for _ in made.states])
    graph = mg.graph(made, mg.randn(2, 3), states if len(states) > 1 else states[0], style="textbook", backward=True)
    byid = {node.id: node for node in graph.nodes}
    for name in made.states:
        flows = [edge.grad for edge in graph.edges if byid[edge.source].label == f"{name}_{{t−1}}"]
        assert flows
        assert all(flow is not None for flow in flows)
        (leaving,) = [edge.grad for edge in graph.edges if byid[edge.target].label == f"{name}_{{t}}"]
        assert leaving == pytest.approx(np.sqrt(8.0))  # each element's gradient is one


def test_tex_has_only_what_its_fonts_have(tmp_path: Path) -> None:
    assert tex("C̃_{t}") == r"\tilde{C}_{t}"
    assert tex("h⁽¹⁾_{0}") == "h^{(1)}_{0}"
    assert tex("α") == r"\alpha "
    assert tex("日") == "?"
    W = mg.randn(4, 4, requires_grad=True)
    graph = mg.graph(lambda h: mg.name(np.tanh(mg.name(h @ W, "C̃ α")), "ẑ_é"), mg.randn(1, 4), style="textbook")
    text = graph.render(tmp_path / "g.tex").read_text("utf-8")
    assert text.isascii()
    assert r"\hat{z}" in text
