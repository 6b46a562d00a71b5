"""Calls and loops that pictures recognise, and what enters a graph from outside."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn


def loop(xs: Any, W: mg.Tensor, marked: bool, joined: bool = False) -> Any:
    """A recurrent network, with its steps marked or not; a joined input is not recorded at the first step."""
    s: Any = mg.zeros((2, 3))
    ys = []
    for _, x in mg.steps(xs) if marked else [(t, xs[t]) for t in range(len(xs))]:
        s = np.tanh(np.concatenate([x, s], axis=1) @ W if joined else x @ W + s @ W)
        ys.append(s * 2.0)
    return np.stack(ys).sum()


def shape_of(graph: mg.Graph) -> Any:
    """The steps of things, and the number of times that something is handed on."""
    steps = Counter((node.op, node.steps.get("t")) for node in graph.nodes if node.op)
    return steps, Counter(edge.steps for edge in graph.edges)


@pytest.mark.parametrize("joined", [False, True])
def test_a_loop_without_steps_gets_columns(joined: bool) -> None:
    W = mg.randn(6 if joined else 3, 3, requires_grad=True)
    xs = mg.randn(5, 2, 3)
    plain = mg.graph(lambda x: loop(x, W, False, joined), xs)
    marked = mg.graph(lambda x: loop(x, W, True, joined), xs)
    assert shape_of(plain) == shape_of(marked)
    assert plain.options.note == ""
    without_running = mg.graph(loop(xs, W, False, joined))
    assert {node.steps.get("t") for node in without_running.nodes if node.op == "tanh"} == set(range(5))


W, U, V = (mg.randn(*shape, requires_grad=True) for shape in ((4, 4), (7, 4), (4, 4)))
Count = Any  # steps of a loop: marked, or not


def inner_first(xs: Any, over: Count, inner: Count) -> Any:
    """A loop in a loop, at the beginning of the step."""
    h: Any = mg.zeros((1, 4))
    for _, x in over(xs):
        for _ in inner(range(3)):
            h = np.tanh(h @ V)
        h = np.tanh(np.concatenate([x, h], axis=1) @ U)
    return h


def after_a_join(xs: Any, over: Count, inner: Count) -> Any:
    """A loop in a loop, after a line that is not recorded at the first step."""
    h: Any = mg.zeros((1, 4))
    loss: Any = 0.0
    for _, x in over(xs):
        z = np.concatenate([x, h], axis=1)
        for _ in inner(range(2)):
            with mg.scope("gate"):
                h = h * 0.5 + np.tanh(z @ U)
        for _ in inner(range(2)):
            h = np.tanh(h @ V)
        loss = loss + (h @ W).sum()
    return loss


def two_functions(xs: Any, over: Count, inner: Count) -> Any:
    """A function of lines of its own in the step, and first a line that is not recorded at the first step."""

    def cell(x: Any, h: Any) -> Any:
        a = np.concatenate([x, h], axis=1)
        return np.tanh(a @ U)

    h: Any = mg.zeros((1, 4))
    for _, x in over(xs):
        h = h * 0.5 + np.concatenate([x, x], axis=1) @ mg.ones((6, 7)) @ U
        h = cell(x, h)
    return h


def two_loops(xs: Any, over: Count, inner: Count) -> Any:
    """An encoder and a decoder that share a matrix, and what they do first."""
    h: Any = mg.zeros((1, 4))
    for _, x in over(xs):
        with mg.scope("embedding"):
            e = np.concatenate([x, x[:, :1]], axis=1) @ W
        h = np.tanh(h @ V + e)
    for _, x in over(xs[:2]):
        with mg.scope("embedding"):
            e = np.concatenate([x, x[:, :1]], axis=1) @ W
        h = np.tanh(e + np.concatenate([h, x], axis=1) @ U)
    return h


@pytest.mark.parametrize("steps", [2, 4])
@pytest.mark.parametrize("network", [inner_first, after_a_join, two_functions, two_loops])
def test_loops_in_loops_and_after_loops_have_the_steps_that_marks_would_give_them(network: Any, steps: int) -> None:
    plain, marked = (
        mg.graph(lambda xs, over=over, inner=inner: network(xs, over, inner).sum(), mg.randn(steps, 1, 3), view="full")
        for over, inner in ((enumerate, iter), (mg.steps, lambda ks: mg.steps(ks, "k")))
    )
    assert [(n.kind, n.op, n.scope) for n in plain.nodes] == [(n.kind, n.op, n.scope) for n in marked.nodes]


def test_two_loops_over_the_same_steps_are_no_windows() -> None:
    """They share a weight and follow each other, but have lines of their own."""

    def network(xs: Any) -> Any:
        h: Any = mg.zeros((1, 4))
        for _, x in mg.steps(xs):
            h = np.tanh(np.concatenate([x, h], axis=1) @ U)
        for _, x in mg.steps(xs):
            h = np.tanh(np.concatenate([h, x], axis=1) @ U)
        return h.sum()

    found = {label for node in mg.graph(network, mg.randn(3, 1, 3)).nodes for label, _ in node.scope}
    assert found == {"loop 1", "loop 2", "t"}
    boxes = [n.label for n in mg.graph(network, mg.randn(3, 1, 3), style="textbook").nodes if n.kind == "cell"]
    assert boxes == ["cell"] * 6


def test_depth_is_not_time() -> None:
    x: Any = mg.randn(2, 3)
    for _ in range(4):  # other weights in each layer
        x = np.tanh(x @ mg.randn(3, 3, requires_grad=True))
    assert not any(node.scope for node in mg.graph(x).nodes)


def test_sums_and_maps_are_no_loops() -> None:
    W = mg.randn(3, 3, requires_grad=True)
    states = [mg.randn(2, 3) for _ in range(5)]
    outputs = [np.tanh(s @ W) for s in states]
    assert not any(node.scope for node in mg.graph(sum(o.sum() for o in outputs)).nodes)  # type: ignore[arg-type]


def test_a_loop_that_changes_its_lines_is_named_in_a_note() -> None:
    W, s = mg.randn(3, 3, requires_grad=True), mg.zeros((2, 3))
    for t in range(9):
        s = np.tanh(s @ W)  # type: ignore[assignment]
        if t in (1, 4, 5):
            s = s * 0.5  # type: ignore[assignment]
        if t in (2, 4, 7):
            s = s + 0.5  # type: ignore[assignment]
    graph = mg.graph(s)
    assert any(node.steps for node in graph.nodes) or "mg.steps" in graph.options.note


@pytest.mark.parametrize("of", ["tensor", "function"])
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("cls", [nn.RNN, nn.LSTM, nn.GRU])
def test_windows_of_a_layer_go_on_through_time(cls: Any, cut: bool, of: str) -> None:
    layer = cls(3, 4)

    def network(xs: Any) -> Any:
        state, total = None, 0.0
        for x in np.split(xs, 3):
            output, state = layer(x, state)
            total = total + output.sum()
            if cut:
                state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return total

    xs = mg.randn(6, 2, 3)
    graph = mg.graph(network(xs) if of == "tensor" else network, *([] if of == "tensor" else [xs]),
                     params=layer.named_parameters())  # fmt: skip
    assert {node.scope[0] for node in graph.nodes if node.op} == {("window", k) for k in (1, 2, 3)}
    carried = Counter(e.kind for e in graph.edges if e.steps in ((1, 2), (2, 3)) and "t" in str(source(graph, e).scope))
    states = 2 if cls is nn.LSTM else 1
    expected = {"detached": 2 * states} if cut else {}
    assert {kind: n for kind, n in carried.items() if kind == "detached"} == expected
    assert Counter(n.op for n in graph.nodes)["linear"] == 3 * 3  # no step of a window stands in another's frame
    text = graph.dot()
    assert all(f'label="window {k}"' in text for k in (1, 2, 3))


@pytest.mark.parametrize("of", ["tensor", "function"])
def test_each_layer_s_detached_state_comes_from_that_layer(of: str) -> None:
    layer = nn.LSTM(3, 4, num_layers=2)

    def network(xs: Any) -> Any:
        first, rest = np.split(xs, 2)
        output, state = layer(first)
        later, _ = layer(rest, tuple(s.detach() for s in state))
        return output.sum() + later.sum()

    xs = mg.randn(4, 2, 3)
    graph = mg.graph(network(xs)) if of == "tensor" else mg.graph(network, xs)
    cut = [edge for edge in graph.edges if edge.kind == "detached" and edge.steps == (1, 2)]
    byid = {node.id: node for node in graph.nodes}
    assert sorted(byid[edge.target].label for edge in cut) == ["c", "c", "h", "h"]
    for edge in cut:
        assert byid[edge.source].scope[1:3] == byid[edge.target].scope[1:3]  # LSTM[0] or LSTM[1]
        assert byid[edge.source].steps["t"] == 1


def test_a_layer_s_state_from_a_window_that_is_gone_is_drawn_cut_off() -> None:
    layer = nn.GRU(3, 4)
    output, state = layer(mg.randn(2, 2, 3))
    output.sum().backward()
    graph = mg.graph(layer(mg.randn(2, 2, 3), state.detach())[0].sum())
    assert [node.kind for node in graph.nodes].count("detached") == 1
    assert {edge.kind for edge in graph.edges} == {"", "state", "detached"}


def source(graph: mg.Graph, edge: Any) -> Any:
    return next(node for node in graph.nodes if node.id == edge.source)


def test_tbptt_over_more_than_one_window() -> None:
    layer, tbptt = nn.GRU(3, 4), nn.TBPTT(k1=2, k2=4)
    tbptt(layer, mg.randn(2, 2, 3))
    graph = mg.graph(lambda x: tbptt(layer, x).sum(), mg.randn(2, 2, 3))
    assert {node.scope[0] for node in graph.nodes if node.scope and node.op} == {("window", 1), ("window", 2)}
    assert sum(edge.kind == "state" and edge.steps == (1, 2) for edge in graph.edges) == 1


def test_calls_that_do_not_follow_each_other_have_numbers() -> None:
    encoder = nn.GRU(3, 4)
    graph = mg.graph(lambda a, b: (encoder(a)[0][-1] * encoder(b)[0][-1]).sum(), mg.randn(2, 2, 3), mg.randn(3, 2, 3))
    frames = {node.scope[0] for node in graph.nodes if node.scope}
    assert frames == {("GRU (1)", None), ("GRU (2)", None)}
    both = mg.graph(
        lambda a, b: (encoder(a)[0][-1] * encoder(b)[0][-1]).sum(), mg.randn(2, 2, 3), mg.randn(3, 2, 3), collapse="GRU"
    )
    assert [node.label for node in both.nodes if node.kind == "collapsed"] == ["GRU (1)", "GRU (2)"]


# ---- what enters -----------------------------------------------------------------------------------------------------


def test_a_cell_shows_all_that_enters_and_leaves() -> None:
    cell = nn.LSTMCell(3, 4)
    graph = mg.graph(cell, mg.randn(2, 3), (mg.randn(2, 4), mg.randn(2, 4)), expand=True)
    assert sorted(n.label for n in graph.nodes if n.kind == "input") == ["c", "h", "x"]
    assert sorted(n.label for n in graph.nodes if n.kind == "output") == ["c", "h"]
    assert all(n.scope == () for n in graph.nodes if n.kind == "input")  # outside of the cell's frame


def test_names_by_hand_win_and_what_requires_grad_may_be_an_input() -> None:
    W = mg.randn(3, 3, requires_grad=True)
    x = mg.name(mg.randn(2, 3, requires_grad=True), "frame")
    graph = mg.graph(lambda x, y: (x @ W + y).sum(), x, mg.name(mg.randn(2, 3), "offset"), params={"W": W})
    assert {n.label: n.kind for n in graph.nodes if not n.op} == {"W": "parameter", "frame": "input", "offset": "input"}
    (node,) = [n for n in graph.nodes if n.label == "frame"]
    assert node.grad is not None
    past = mg.graph(lambda x: (x @ W).sum(), np.tanh(x), params={"W": W})
    assert [n.op for n in past.nodes if n.op] == ["matmul", "sum"]  # an argument's past is none of the function's


def test_joined_inputs_and_initial_states_are_drawn() -> None:
    W = mg.randn(6, 3, requires_grad=True)
    graph = mg.graph(lambda xs: loop(xs, W, True, joined=True), mg.randn(3, 2, 3))
    byid = {node.id: node for node in graph.nodes}
    joins = {node.steps["t"]: node.id for node in graph.nodes if node.op == "concatenate"}
    assert set(joins) == {0, 1, 2}
    for t, id in joins.items():
        entering = sorted(byid[e.source].label or byid[e.source].op for e in graph.edges if e.target == id)
        assert entering == (["0", "xs[0]"] if t == 0 else ["tanh", f"xs[{t}]"])
    assert [n.formula for n in graph.nodes if n.formula] == ["× 2"] * 3


def test_notebooks_show_the_viewer_in_a_frame_of_its_own() -> None:
    bundle = mg.graph(loop(mg.randn(2, 2, 3), mg.randn(3, 3, requires_grad=True), True))._repr_mimebundle_()
    frame = bundle["text/html"]
    assert frame.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts allow-downloads"' in frame
    assert frame.count('"') == 6  # nothing of the page ends the attribute
    assert bundle["image/svg+xml"].startswith("<?xml")
