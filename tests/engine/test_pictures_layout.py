"""The layout of networks through time: nothing overlaps, columns are in the order of time, lanes are aligned, and every
edge leads from one of its nodes to the other without running through a third."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pictures_property import EXAMPLES, SAME, check

import minigrad as mg
import nn
from minigrad.pictures import draw
from minigrad.pictures.bands import ranks, settle
from minigrad.pictures.boxes import Box
from minigrad.pictures.items import Item, Leaf
from minigrad.pictures.layout import Layout
from minigrad.pictures.palette import DARK, TONES
from minigrad.pictures.places import scene
from minigrad.pictures.routes import Point, routes

SVG = "{http://www.w3.org/2000/svg}"
Frame = tuple[float, float, float, float]


def frame(item: Item) -> Frame:
    if isinstance(item, Leaf):
        return (
            item.x - item.width / 2,
            item.middle - item.tall / 2,
            item.x + item.width / 2,
            item.middle + item.tall / 2,
        )
    return item.x - item.left, item.y, item.x + item.right, item.y + item.height


def overlap(a: Frame, b: Frame) -> bool:
    return a[0] < b[2] - 0.01 and b[0] < a[2] - 0.01 and a[1] < b[3] - 0.01 and b[1] < a[3] - 0.01


def boxes_in(box: Box) -> Iterator[Box]:
    yield box
    for item in box.items:
        if isinstance(item, Box):
            yield from boxes_in(item)


def layered(cls: Any, steps: int = 4, **options: Any) -> mg.Graph:
    mg.manual_seed(0)
    layer = cls(3, 4, **options)
    return mg.graph(layer(mg.randn(steps, 2, 3))[0], params=layer.named_parameters(), view="full")


GRAPHS = {
    "rnn": lambda: layered(nn.RNN),
    "lstm of two layers": lambda: layered(nn.LSTM, num_layers=2),
    "bidirectional gru": lambda: layered(nn.GRU, num_layers=2, bidirectional=True, bias=False),
    "expanded": lambda: mg.graph(nn.LSTM(3, 4)(mg.randn(3, 2, 3))[0], expand=True),
    "elided": lambda: mg.graph(nn.LSTM(3, 4)(mg.randn(30, 2, 3))[0], view="elided"),
    "rolled": lambda: mg.graph(nn.LSTM(3, 4)(mg.randn(30, 2, 3))[0], view="rolled"),
    "ragged": lambda: mg.graph(nn.GRU(3, 4)(mg.randn(4, 3, 3), lengths=[4, 2, 1])[0]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_overlaps(name: str) -> None:
    layout = Layout(GRAPHS[name]())
    leaves = list(layout.leaves.values())
    for k, a in enumerate(leaves):
        for b in leaves[:k]:
            assert not overlap(frame(a), frame(b)), (a.node.label or a.node.op, b.node.label or b.node.op)
    for box in boxes_in(layout.root):
        for item in box.items:
            inner, outer = frame(item), frame(box)
            assert outer[0] <= inner[0] + 0.01
            assert inner[2] <= outer[2] + 0.01
            assert outer[1] <= inner[1] + 0.01
            assert inner[3] <= outer[3] + 0.01
        found = [frame(item) for item in box.items if isinstance(item, Box)]
        assert not any(overlap(a, b) for k, a in enumerate(found) for b in found[:k])


@pytest.mark.parametrize("name", GRAPHS)
def test_every_edge_joins_its_nodes(name: str) -> None:
    graph = GRAPHS[name]()
    layout = Layout(graph)
    ways = routes(layout)
    assert set(ways) == set(graph.edges)
    for edge, way in ways.items():
        assert len(way) % 3 == 1
        for point, end in ((way[0], edge.source), (way[-1], edge.target)):
            x0, y0, x1, y1 = frame(layout.leaves[end])
            assert x0 - 0.1 <= point[0] <= x1 + 0.1
            assert y0 - 0.1 <= point[1] <= y1 + 0.1


def along(way: list[Point]) -> Iterator[Point]:
    """Points of a spline."""
    for k in range(0, len(way) - 1, 3):
        p = np.array(way[k : k + 4])
        for t in np.linspace(0, 1, 12):
            weights = np.array([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3])
            x, y = weights @ p
            yield float(x), float(y)


@pytest.mark.parametrize("name", ["rnn", "lstm of two layers", "bidirectional gru", "expanded", "elided", "rolled"])
def test_no_edge_runs_through_a_node(name: str) -> None:
    layout = Layout(GRAPHS[name]())
    for edge, way in routes(layout).items():
        points = list(along(way))
        for leaf in layout.leaves.values():
            if leaf.node.id in (edge.source, edge.target):
                continue
            x0, y0, x1, y1 = frame(leaf)
            hit = [p for p in points if x0 + 1 < p[0] < x1 - 1 and y0 + 1 < p[1] < y1 - 1]
            assert not hit, (edge, leaf.node.op, leaf.node.label)


@pytest.mark.parametrize("name", GRAPHS)
def test_time_goes_to_the_right_and_computation_up(name: str) -> None:
    graph = GRAPHS[name]()
    layout = Layout(graph)
    for row in layout.rows():
        middles = [row.columns[step].x for step in sorted(row.columns)]
        assert middles == sorted(middles)
    for edge in graph.edges:
        if edge.kind == "" and layout.leaves[edge.source].node.kind != "parameter":
            assert frame(layout.leaves[edge.source])[3] <= frame(layout.leaves[edge.target])[1]


def test_the_same_step_is_the_same_column_in_all_lanes() -> None:
    layout = Layout(GRAPHS["bidirectional gru"]())
    rows = layout.rows()
    assert len(rows) == 4
    for step in range(4):
        assert np.ptp([row.columns[step].x for row in rows]) < 0.01
    heights = sorted(frame(row)[1] for row in rows)
    assert all(low < high for low, high in pairwise(heights))


def test_like_nodes_of_all_steps_stand_side_by_side() -> None:
    layout = Layout(GRAPHS["lstm of two layers"]())
    for op in ("linear", "lstm"):
        for prefix in ("[0]", "[1]"):
            found = [leaf.middle for leaf in layout.leaves.values()
                     if leaf.node.op == op and leaf.node.steps and leaf.node.scope[1][0] == prefix]  # fmt: skip
            assert len(found) == 4
            assert np.ptp(found) < 0.01


def test_where_steps_are_not_independent_graphviz_lays_out() -> None:
    """The input of a step is made from the step before, outside of any step."""
    w, y = mg.randn(3, 3, requires_grad=True), mg.zeros((2, 3))

    def inputs() -> Iterator[Any]:
        for _ in range(3):
            yield np.cos(y)

    for _, x in mg.steps(inputs()):
        y = np.tanh(x @ w)  # type: ignore[assignment]
    dot = mg.graph(y).dot()
    assert "rankdir=LR" in dot
    assert "nop2" not in dot
    draw(mg.graph(y, direction="time").dot(), "svg")


def test_directions() -> None:
    x = mg.ones(2, requires_grad=True)
    y = np.tanh(x)
    assert "rankdir=LR" in mg.graph(y).dot()
    assert "rankdir=TB" in mg.graph(y, direction="down").dot()
    assert "nop2" in mg.graph(y, direction="time").dot()
    assert "rankdir=LR" in mg.graph(nn.RNN(3, 4)(mg.randn(3, 2, 3))[0], direction="right").dot()


class Thing:
    """An item of a band, for the two tests below."""

    thin, weight = False, 1.0

    def __init__(self, order: int, left: float = 5.0, right: float = 5.0) -> None:
        self.order, self.left, self.right, self.x = order, left, right, 0.0


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(1, 20), st.floats(1, 20)), min_size=1, max_size=8))
def test_settling_keeps_order_and_room_and_cannot_be_improved(given_items: Any) -> None:
    band = [Thing(k, left, right) for k, (_, left, right) in enumerate(given_items)]
    wanted = [want for want, _, _ in given_items]
    settle(band, wanted, 3.0)
    xs = np.array([item.x for item in band])
    room = np.array([a.right + b.left + 3.0 for a, b in pairwise(band)])
    assert np.all(np.diff(xs) >= room - 1e-6)
    cost = np.sum((xs - wanted) ** 2)
    for k in range(len(band)):  # no group that may move would gain by it
        for step in (-0.01, 0.01):
            for moved in (xs + step * (np.arange(len(xs)) >= k), xs + step * (np.arange(len(xs)) <= k)):
                if np.all(np.diff(moved) >= room):
                    assert np.sum((moved - wanted) ** 2) >= cost - 1e-6


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_ranks_rise_along_links_and_survive_rings(pairs: set[tuple[int, int]]) -> None:
    things = [Thing(k) for k in range(10)]
    forward = {(things[a], things[b]) for a, b in pairs if a < b}
    level = ranks(things, forward)
    assert all(level[a] < level[b] for a, b in forward)
    assert set(ranks(things, {(things[a], things[b]) for a, b in pairs})) == set(things)


# ---- any program -------------------------------------------------------------------------------------------------


@st.composite
def programs(draw: Any) -> mg.Tensor:
    """Random programs with scopes, loops in loops, shared parameters, detached states and feedback."""
    weights = [mg.full((2, 2), 0.3, requires_grad=True) for _ in range(3)]
    values: list[Any] = [weights[0] * 1.0]

    def block(depth: int) -> None:
        for _ in range(draw(st.integers(1, 4))):
            kind = draw(st.sampled_from(["tanh", "matmul", "add", "stack", "scope", "steps", "detach"]))
            x = values[draw(st.integers(0, len(values) - 1))]
            if kind == "tanh":
                values.append(mg.name(np.tanh(x), draw(st.sampled_from(["s", "y", 'a "b" <c>']))))
            elif kind == "matmul":
                values.append(x @ weights[draw(st.integers(0, 2))])
            elif kind == "add":
                values.append(x + values[-1])
            elif kind == "stack":
                values.append(np.stack(values[-3:]).sum(axis=0))
            elif kind == "detach":
                values.append(np.tanh(x.detach() @ weights[0]))
            elif depth < 3 and kind == "scope":
                with mg.scope(draw(st.sampled_from(["a", "b"]))):
                    block(depth + 1)
            elif depth < 3:
                for _ in mg.steps(range(draw(st.integers(1, 6))), draw(st.sampled_from("tk")),
                                  reverse=draw(st.booleans())):  # fmt: skip
                    block(depth + 1)

    block(0)
    return sum(values[1:], values[0])


OPTIONS: list[dict[str, Any]] = [
    {"view": "full", "direction": "time"}, {"view": "elided"}, {"view": "rolled"}, {"depth": 1},
    {"color": "grad", "shapes": True, "bytes": True}, {"direction": "down", "collapse": ()},
]  # fmt: skip


def test_states_between_collapsed_scopes_are_drawn() -> None:
    """With the steps, their loop is collapsed: there is no row for the state's edge to run along."""
    w = mg.ones((2, 2), requires_grad=True)
    inner = outer = w
    with mg.scope("a"):
        for _ in mg.steps(range(2), "k"):
            with mg.scope("b"):
                inner = np.tanh(inner @ w)
    for _ in mg.steps(range(2)):
        with mg.scope("a"):
            outer = np.tanh(outer @ w)
    assert mg.graph(inner + outer, depth=1).dot().startswith("digraph")


@settings(max_examples=max(15, EXAMPLES), deadline=None, derandomize=SAME)
@given(programs(), st.sampled_from(OPTIONS))
def test_any_program_can_be_drawn(y: mg.Tensor, options: dict[str, Any]) -> None:
    graph = mg.graph(y, **options)
    if len(graph.nodes) > 200:
        return
    check(graph, struck=False)  # with many edges between all of its frames, some title is crossed
    root = ElementTree.fromstring(graph._repr_mimebundle_()["image/svg+xml"])
    groups = [g.get("class") for g in root.iter(f"{SVG}g")]
    scopes = {node.scope[: k + 1] for node in graph.nodes for k in range(len(node.scope))}
    assert groups.count("cluster") == len(scopes)


@pytest.mark.parametrize("backward", [False, True])
def test_what_is_written_between_two_boxes_has_room(backward: bool) -> None:
    layer = nn.LSTM(3, 4)
    graph = mg.graph(lambda xs: (layer(xs)[0] ** 2).sum(), mg.randn(4, 2, 3), collapse="t", backward=backward)
    drawn = scene(graph)
    marks = [line.mark.rect() for line in drawn.lines if line.mark is not None]
    assert len(marks) >= 3
    for mark in marks:
        assert not any(overlap(mark, node.rect()) for node in drawn.nodes)


def unrolled(backward: bool) -> mg.Graph:
    """Three steps of s = tanh(x W_in + s W_s + b)."""
    mg.manual_seed(0)
    shapes = {"W_in": (3, 4), "W_s": (4, 4), "b": (4,)}
    p: dict[str, Any] = {name: mg.randn(*shape, requires_grad=True) for name, shape in shapes.items()}

    def network(xs: Any) -> Any:
        s: Any = mg.zeros((2, 4))
        for _, x in mg.steps(xs):
            s = mg.name(np.tanh(mg.name(x, "x") @ p["W_in"] + s @ p["W_s"] + p["b"]), "s")
        return mg.name((s**2).sum(), "loss")

    return mg.graph(network, mg.randn(3, 2, 3), params=p, backward=backward)


def test_the_number_of_a_use_stands_at_its_branch_and_the_total_in_the_parameter() -> None:
    graph = unrolled(backward=True)
    drawn = scene(graph)
    nodes = {shape.id: shape for shape in drawn.nodes}
    for node in graph.nodes:
        if node.kind == "parameter":
            assert node.grad is not None
            assert nodes[node.id].labels[-1].text == f"‖∂‖ {node.grad.norm:.2g}"
    uses = [line for line in drawn.lines if graph.nodes[int(line.target[1:])].kind == "parameter"]
    assert len(uses) == 9
    for line, edge in zip(drawn.lines, graph.edges, strict=True):
        if line in uses:
            assert line.mark is not None
            assert line.mark.text == f"{edge.grad:.2g}"
            assert line.mark.color == line.color
            x, top = line.way[0]  # the branch enters the use from below
            assert x - 40 < line.mark.x < x
            assert top - 30 < line.mark.y < top
    assert len({line.color for line in uses}) == 3


def test_arrowheads_of_many_parameters_stand_side_by_side() -> None:
    mg.manual_seed(0)
    cell = nn.GRUCell(3, 4)

    def network(xs: Any) -> Any:
        h: Any = mg.zeros((2, 4))
        for _, x in mg.steps(xs):
            h = cell(mg.name(x, "x"), h)
        return h.sum()

    graph = mg.graph(network, mg.randn(3, 2, 3), params=cell.named_parameters(), collapse="GRUCell")
    ends: dict[str, list[float]] = {}
    for line in scene(graph).lines:
        (x, y), target = line.way[-1], next(s for s in scene(graph).nodes if s.id == line.target)
        if y < target.y - target.height / 2 + 1:
            ends.setdefault(line.target, []).append(x)
    assert max(map(len, ends.values())) == 5  # four parameters and x
    for xs in ends.values():
        assert all(b - a > 3.5 for a, b in pairwise(sorted(xs)))


def test_a_title_finds_room_beside_the_edges_that_enter_its_frame() -> None:
    mg.manual_seed(0)
    W, V = mg.randn(4, 4, requires_grad=True), mg.randn(3, 4, requires_grad=True)
    s: Any = mg.zeros((2, 4))
    for _, x in mg.steps(mg.randn(3, 2, 3)):
        s = np.tanh(x @ V + s)
        for _ in mg.steps(range(2), "k"):
            s = np.tanh(s @ W)
    check(mg.graph((s**2).sum()))  # "k = 0" below the edge in the middle of its frame
    check(mg.graph((s**2).sum(), view="rolled"))


def test_lines_of_parameters_keep_clear_of_frames() -> None:
    mg.manual_seed(0)
    lstm = nn.LSTM(3, 4)
    state: Any = None
    total: Any = 0.0
    for x in np.split(mg.randn(4, 2, 3), 2):
        output, state = lstm(x, state)
        total = total + (output**2).sum()
    drawn = scene(mg.graph(total, params=lstm.named_parameters()))
    borders = [y for frame in drawn.frames for y in (frame.rect()[1], frame.rect()[3])]
    for line in drawn.lines:
        flat = [a[1] for a, b in zip(line.way[::3], line.way[3::3], strict=False) if abs(b[0] - a[0]) > 60]
        if line.dots:
            assert all(abs(y - border) > 2 for y in flat for border in borders)


def test_lines_and_the_numbers_on_them_are_readable_on_both_pages() -> None:
    def light(color: str) -> float:
        values = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for tone in TONES:
        for color, page in ((tone, "#FFFFFF"), (DARK[tone], DARK["#FFFFFF"])):
            low, high = sorted((light(color), light(page)))
            assert (high + 0.05) / (low + 0.05) > 4.5, color


def test_the_first_step_has_its_nodes_at_the_heights_of_the_others() -> None:
    mg.manual_seed(0)
    cell = nn.GRUCell(3, 4, bias=False)
    state: Any = None
    states = []
    for x in mg.randn(4, 2, 3):
        state = cell(x, state)
        states.append(state)
    graph = mg.graph(np.stack(states).sum(), params=cell.named_parameters())
    layout = Layout(graph)
    heights = {round(layout.leaves[node.id].middle, 1) for node in graph.nodes if node.op == "linear"}
    assert len(heights) == 1


def test_detached_states_of_a_rolled_loop_come_from_below() -> None:
    mg.manual_seed(0)
    layer = nn.LSTM(3, 4)

    def network(xs: Any) -> Any:
        state: Any = None
        total: Any = 0.0
        for x in np.split(xs, 3):
            output, state = layer(x, state)
            total = total + (output**2).sum()
            state = tuple([one.detach() for one in state])
        return mg.name(total, "loss")

    graph = mg.graph(network, mg.randn(6, 2, 3), params=layer.named_parameters(), view="rolled")
    check(graph)
    layout = Layout(graph)
    (cell,) = [layout.leaves[node.id].middle for node in graph.nodes if node.op == "lstm"]
    assert all(layout.leaves[node.id].middle < cell for node in graph.nodes if node.kind == "detached")
    assert [node.formula for node in graph.nodes if node.label == "loss"] == [""]  # not that of the first step


def test_numbers_of_collapsed_and_of_omitted_steps_have_room() -> None:
    gru = nn.GRU(3, 4)
    options: dict[str, Any]
    for options in ({"collapse": "t"}, {"view": "elided"}, {"style": "textbook"}):
        mg.manual_seed(0)
        graph = mg.graph(
            lambda xs: (gru(xs)[0] ** 2).sum(),
            mg.randn(9, 2, 3),
            params=gru.named_parameters(),
            backward=True,
            **options,
        )
        check(graph)
        drawn = scene(graph)
        marks = [line.mark.rect() for line in drawn.lines if line.mark is not None]
        assert not any(overlap(mark, node.rect()) for mark in marks for node in drawn.nodes)
