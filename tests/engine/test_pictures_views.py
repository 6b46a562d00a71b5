"""Views of a graph: elided, rolled, collapsed, expanded; each against what the whole graph says."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.pictures.loops import running_totals
from minigrad.pictures.palette import RED
from minigrad.pictures.places import scene


def lstm(steps: int, **options: object) -> mg.Graph:
    layer = nn.LSTM(3, 4)
    output, _ = layer(mg.randn(steps, 2, 3))
    return mg.graph(output, params=layer.named_parameters(), **options)  # type: ignore[arg-type]


def vanilla(steps: int, reverse: bool = False) -> mg.Tensor:
    w, s = mg.randn(4, 4, requires_grad=True), mg.zeros((2, 4))
    w.name = "w"
    with mg.scope("net"):
        for _, x in mg.steps(mg.randn(steps, 2, 4), reverse=reverse):
            s = mg.name(np.tanh(mg.name(x, "x") + s @ w), "s")  # type: ignore[assignment]
    return s


def steps_of(graph: mg.Graph) -> list[int]:
    return list(dict.fromkeys(step for node in graph.nodes for step in node.steps.values()))


def test_elided_shows_the_first_three_steps_and_the_last() -> None:
    whole, short = mg.graph(vanilla(20), view="full"), mg.graph(vanilla(20), view="elided")
    assert steps_of(whole) == list(range(20))
    assert steps_of(short) == [0, 1, 2, 19]
    (stand,) = [node for node in short.nodes if node.kind == "elided"]
    assert (stand.label, stand.scope) == ("t = 3 … 18", (("net", None),))
    assert stand.count == sum(3 <= node.steps.get("t", 0) <= 18 for node in whole.nodes)
    assert sum(node.count for node in short.nodes) == len(whole.nodes)
    assert sum(node.bytes for node in short.nodes) == sum(node.bytes for node in whole.nodes) > 0
    states = [(e.source == stand.id, e.target == stand.id, e.steps) for e in short.edges if e.kind == "state"]
    assert states == [
        (False, False, (0, 1)), (False, False, (1, 2)), (False, True, (2, 3)), (True, False, (18, 19)),
    ]  # fmt: skip
    assert short.options.view == "elided"


def test_elided_of_a_backward_loop_follows_its_order() -> None:
    graph = mg.graph(vanilla(10, reverse=True), view="elided")
    assert steps_of(graph) == [9, 8, 7, 0]
    assert [node.label for node in graph.nodes if node.kind == "elided"] == ["t = 6 … 1"]


def test_few_steps_are_not_elided() -> None:
    assert steps_of(mg.graph(vanilla(4), view="elided")) == [0, 1, 2, 3]


@pytest.mark.parametrize("reverse", [False, True])
def test_rolled_is_one_step_with_a_loop(reverse: bool) -> None:
    graph = mg.graph(vanilla(20, reverse), view="rolled")
    ops = Counter(node.op or node.label for node in graph.nodes)
    assert ops == {"w": 1, "x": 1, "0": 1, "matmul": 1, "add": 1, "tanh": 1}
    assert {node.count for node in graph.nodes if node.op} == {20}
    (loop,) = [edge for edge in graph.edges if edge.kind == "state"]
    by_id = {node.id: node for node in graph.nodes}
    assert (by_id[loop.source].op, by_id[loop.target].op) == ("tanh", "matmul")
    assert loop.times == 19
    assert loop.steps == ((19, 0) if reverse else (0, 19))
    assert by_id[loop.source].scope == (("net", None), ("t = 0 … 19", None))
    assert 'label="×19"' in graph.dot()


def test_a_state_can_lead_from_a_node_to_itself() -> None:
    graph = lstm(6, view="rolled")
    (cell,) = [node for node in graph.nodes if node.op == "lstm"]
    loops = [edge for edge in graph.edges if edge.kind == "state" and edge.source == edge.target]
    assert [(edge.source, edge.label, edge.times) for edge in loops] == [(cell.id, "c", 5)]


def test_scopes_are_collapsed_by_depth_and_by_name() -> None:
    whole = lstm(3, view="full")
    by_depth, by_name = lstm(3, depth=2), lstm(3, collapse="t")
    for graph in (by_depth, by_name):
        stands = [node for node in graph.nodes if node.kind == "collapsed"]
        assert [node.label for node in stands] == ["t = 0", "t = 1", "t = 2"]
        assert [node.count for node in stands] == [3, 2, 2]  # the first with its zeros
        assert sum(node.count for node in graph.nodes) == len(whole.nodes)
        state = [edge for edge in graph.edges if edge.kind == "state"]
        assert [(edge.steps, edge.times) for edge in state] == [((0, 1), 2), ((1, 2), 2)]
    (one,) = [node for node in lstm(3, collapse="t = 1").nodes if node.kind == "collapsed"]
    assert one.label == "t = 1"
    top = lstm(3, depth=0)
    assert [node.label for node in top.nodes if node.kind == "collapsed"] == ["LSTM"]
    assert {node.kind for node in top.nodes} == {"collapsed", "parameter", "input"}


def test_a_fused_node_is_opened() -> None:
    closed, opened = lstm(2), lstm(2, expand="lstm")
    assert [node.kind for node in closed.nodes if node.op == "lstm"] == ["fused", "fused"]
    inside = [node for node in opened.nodes if ("lstm", None) in node.scope]
    per_step = Counter(node.label or node.op for node in inside if node.steps["t"] == 1)
    assert per_step == {"add": 1, "split": 1, "multiply": 2, "tanh": 1, **dict.fromkeys("ifgoch", 1)}
    by_id = {node.id: node for node in opened.nodes}
    ends = sorted(
        (by_id[e.source].label, by_id[e.target].op, e.steps) for e in opened.edges if e.kind == "state"
    )  # fmt: skip
    assert ends == [("c", "multiply", (0, 1)), ("h", "linear", (0, 1))]
    into = [by_id[e.target].label for e in opened.edges if by_id[e.source].op == "concatenate"]
    assert into == ["batch"] or by_id[opened.edges[-1].target].op == "batch"
    fed = [by_id[e.source].label for e in opened.edges if by_id[e.target].op == "concatenate"]
    assert fed == ["h", "h"]
    assert not any(e.source not in by_id or e.target not in by_id for e in opened.edges)
    assert lstm(2, expand="gru").nodes == lstm(2).nodes


def test_every_edge_ends_at_a_node_in_every_view() -> None:
    for options in ({}, {"view": "elided"}, {"view": "rolled"}, {"depth": 1}, {"expand": True}, {"collapse": "[0]"}):
        graph = lstm(9, **options)
        ids = [node.id for node in graph.nodes]
        assert len(set(ids)) == len(ids)
        assert {end for edge in graph.edges for end in (edge.source, edge.target)} <= set(ids)
        keys = [(e.source, e.target, e.kind, e.output) for e in graph.edges]
        assert len(set(keys)) == len(keys)


def test_a_large_graph_is_elided_and_the_picture_says_so() -> None:
    graph = mg.graph(vanilla(300))
    assert graph.options.view == "elided"
    assert "elided automatically: 1,202 nodes" in graph.dot()
    assert steps_of(graph) == [0, 1, 2, 299]
    y = vanilla(3)
    for k in range(3):
        with mg.scope(f"block {k}"):
            for _ in range(170):
                y = np.tanh(y)
    assert "collapsed automatically" in mg.graph(y).options.note


def test_data_is_json_and_the_same_for_the_same_program() -> None:
    def run() -> str:
        mg.manual_seed(3)
        return json.dumps(lstm(3, expand=True).data(), allow_nan=False)

    first, second = run(), run()
    assert first == second
    data = json.loads(first)
    assert [node["order"] for node in data["nodes"]] == list(range(len(data["nodes"])))
    closed = lstm(2).data()
    fused = next(node for node in closed["nodes"] if node["kind"] == "fused")
    assert {"nodes", "edges"} <= set(fused["inner"])
    assert [o["label"] for o in fused["outputs"]] == list("hcifgo")
    assert fused["shape"] == [[2, 4]] * 6


def test_loops_side_by_side_keep_their_steps_apart() -> None:
    """A decoder's first step takes the encoder's last state: no edge from one step of a loop to another."""
    w, s = mg.randn(4, 4, requires_grad=True), mg.zeros((2, 4))
    for name in ("encoder", "decoder"):
        with mg.scope(name):
            for _ in mg.steps(range(3)):
                s = np.tanh(s @ w)  # type: ignore[assignment]
    graph = mg.graph(s)
    assert sum(edge.kind == "state" for edge in graph.edges) == 4


def test_collapsed_steps_keep_their_inputs_outside() -> None:
    w = mg.randn(7, 4, requires_grad=True)

    def network(xs: Any) -> Any:
        h: Any = mg.zeros((2, 4))
        for _, x in mg.steps(xs):
            h = np.tanh(np.concatenate([h, x], axis=-1) @ w)
        return h.sum()

    graph = mg.graph(network, mg.randn(3, 2, 3), params={"w": w}, collapse="t")
    inputs = {node.id for node in graph.nodes if node.kind == "input" and node.label.startswith("xs[")}
    fed = [edge.target for edge in graph.edges if edge.source in inputs]
    assert len(inputs) == len(set(fed)) == 3  # one for each step; the zeros are inside
    assert {node.kind for node in graph.nodes if node.id in fed} == {"collapsed"}


def test_a_value_used_twice_by_a_collapsed_step_is_one_value() -> None:
    gru = nn.GRU(3, 4, bias=False)
    graph = mg.graph(lambda xs: gru(xs)[0].sum(), mg.randn(3, 2, 3), params=gru.named_parameters(), collapse="t")
    assert [edge.times for edge in graph.edges if edge.kind == "state"] == [1, 1]


def test_more_columns_than_can_be_looked_at_are_elided() -> None:
    graph = lstm(200, collapse="t")
    assert graph.options.note.startswith("elided automatically: ")
    assert [node.span for node in graph.nodes if node.kind == "elided"] == [("t", 3, 198)]
    assert len(lstm(200, collapse="t", view="full").nodes) > 200


def test_the_graph_of_a_tensor_has_its_operands_with_the_users_names() -> None:
    W = mg.tensor([[0.5, -1.0], [1.0, 0.25]], requires_grad=True)
    p = {"V": mg.ones((4, 2), requires_grad=True)}
    s: Any = mg.zeros(2)
    for _, x in mg.steps(mg.tensor([[1.0, 0.0], [0.0, 1.0]])):
        s = np.tanh(x + s @ W) * 2
    graph = mg.graph((np.concatenate([s, x]) @ p["V"]).sum())
    assert [node.label for node in graph.nodes if node.kind == "parameter"] == ["W", "V"]
    assert [node.label for node in graph.nodes if node.kind == "input"] == ["0", "x", "x", "x"]
    assert [node.formula for node in graph.nodes if node.op == "multiply"] == ["× 2", "× 2"]
    used = Counter(edge.target for edge in graph.edges)
    both = [node for node in graph.nodes if node.op in ("add", "matmul", "concatenate")]
    assert [used[node.id] for node in both] == [2] * len(both)


def test_weights_of_modules_know_their_names() -> None:
    output, _ = nn.LSTM(3, 4)(mg.randn(3, 2, 3))
    labels = [node.label for node in mg.graph(output).nodes if node.kind in ("parameter", "input")]
    assert sorted(labels) == ["0", "bias_hh", "bias_ih", "input", "weight_hh", "weight_ih"]


def test_a_running_loss_is_no_state() -> None:
    W = mg.randn(3, 3, requires_grad=True)
    s, loss = mg.zeros((2, 3)), mg.zeros(())
    for _, x in mg.steps(mg.randn(4, 2, 3)):
        s = np.tanh(x + s @ W)  # type: ignore[assignment]
        loss = loss + (s**2).sum()
    for options in ({}, {"view": "elided"}, {"view": "rolled"}):
        graph = mg.graph(loss, **options)
        totals, byid = running_totals(graph), {node.id: node for node in graph.nodes}
        assert totals
        for edge in graph.edges:
            if edge.kind == "state":
                ends = {byid[edge.source].op, byid[edge.target].op}
                assert (edge in totals) == (ends <= {"add", ""} and "add" in ends), edge
    red = [line for line in scene(mg.graph(loss)).lines if line.color == RED]
    assert len(red) == 3
