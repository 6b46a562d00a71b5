"""The style of textbooks: one box a step, subscripts, hidden plumbing; and gradients along arrows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from test_pictures_property import check

import minigrad as mg
import nn
from minigrad.pictures.memory import states_way
from minigrad.pictures.places import scene
from minigrad.pictures.scripts import pieces, plain, tex
from minigrad.pictures.subscripts import weight

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
    assert labels(graph, "input") == ["x_{0}", "x_{1}", "x_{2}"]
    assert labels(graph, "output") == ["y_{0}", "y_{1}", "y_{2}"]
    assert [edge.label for edge in graph.edges if edge.kind == "state"] == ["s_{0}", "s_{1}"]
    check(graph)


def test_long_loops_are_elided_and_rolled_ones_have_t() -> None:
    assert labels(vanilla(20), "output") == ["y_{0}", "y_{1}", "y_{2}", "y_{19}"]
    rolled = vanilla(20, view="rolled")
    assert labels(rolled, "input") == ["x_{t}"]
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
    with pytest.raises(ValueError, match="style must be 'textbook' or None"):
        mg.graph(mg.ones(2, requires_grad=True) * 2, style="comic")
