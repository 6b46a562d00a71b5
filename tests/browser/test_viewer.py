"""The viewer of graphs, as its reader sees and uses it, in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.pictures.palette import UNCHANGED

State = dict[str, Any]
View = Callable[..., State]


# ---- graphs ----------------------------------------------------------------------------------------------------------


def random(*shape: int) -> mg.Tensor:
    return mg.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def parameter(name: str, *shape: int) -> mg.Tensor:
    made = random(*shape)
    made.requires_grad = True
    made.name = name
    return made


@cache
def rnn(steps: int = 3, truncate_at: int | None = None) -> State:
    w, b = parameter("W_s", 2, 2), parameter("b", 2)

    def f(xs: mg.Tensor) -> mg.Tensor:
        s = mg.zeros((1, 2))
        with mg.scope("rnn"):
            for t, x in mg.steps(xs):
                if t == truncate_at:
                    s = s.detach()
                s = mg.name(np.tanh(mg.name(x, "x") + s @ w + b), "s")
        return mg.name(s.sum(), "loss")

    return mg.graph(f, random(steps, 1, 2), view="full").data()


@cache
def layer(
    kind: str, steps: int, shown: str = "full", style: str | None = None, backward: bool = False, **options: Any
) -> State:
    made = getattr(nn, kind)(3, 4, **options)
    return mg.graph(lambda xs: mg.name((made(xs)[0] ** 2).sum(), "loss"), random(steps, 2, 3), view=shown, style=style,
                    backward=backward, params=dict(made.named_parameters())).data()  # fmt: skip


@cache
def seq2seq() -> State:
    encode, decode, attend = parameter("W_enc", 6, 4), parameter("W_dec", 6, 4), parameter("W_att", 8, 5)

    def f(xs: mg.Tensor, ys: mg.Tensor) -> Any:
        s, states, loss = mg.zeros((1, 4)), [], 0.0
        with mg.scope("encoder"):
            for _, x in mg.steps(xs):
                s = np.tanh(np.concatenate([x, s], axis=1) @ encode)
                states.append(s)
            h = mg.name(np.concatenate(states), "H")
        with mg.scope("decoder"):
            for _, y in mg.steps(ys):
                with mg.scope("cell"):
                    s = np.tanh(np.concatenate([y, s], axis=1) @ decode)
                with mg.scope("attention"):
                    context = mg.softmax(s @ h.T) @ h
                loss = loss + mg.logsumexp(np.concatenate([s, context], axis=1) @ attend).sum()
        return loss

    return mg.graph(f, random(4, 1, 2), random(3, 1, 2), view="full").data()


def lstm_cell(steps: int) -> State:
    """An LSTM of plain operations: 15 nodes a step."""
    gates = {name: parameter(f"W_{name}", 6, 4) for name in "fiog"}

    def f(xs: mg.Tensor) -> mg.Tensor:
        h, c = mg.zeros((1, 4)), mg.zeros((1, 4))
        with mg.scope("lstm"):
            for _, x in mg.steps(xs):
                z = np.concatenate([mg.name(x, "x"), h], axis=1)
                f, i, o = (mg.name(mg.sigmoid(z @ gates[name]), name) for name in "fio")
                c = mg.name(f * c + i * np.tanh(z @ gates["g"]), "C")
                h = mg.name(o * np.tanh(c), "h")
        return mg.name((h * h).sum(), "loss")

    return mg.graph(f, random(steps, 1, 2), view="full").data()


def mlp() -> State:
    first, second = parameter("W_1", 3, 4), parameter("W_2", 4, 2)

    def f(x: mg.Tensor) -> mg.Tensor:
        with mg.scope("hidden"):
            h = np.tanh(x @ first)
        with mg.scope("out"):
            return (h @ second).sum()

    return mg.graph(f, random(2, 3)).data()


GRAPHS = {
    "rnn": rnn,
    "truncated": lambda: rnn(4, truncate_at=2),
    "lstm": lambda: layer("LSTM", 5),
    "bidirectional": lambda: layer("GRU", 4, num_layers=2, bidirectional=True),
    "elided": lambda: layer("GRU", 12, "elided", num_layers=2, bidirectional=True),
    "rolled": lambda: layer("LSTM", 12, "rolled"),
    "seq2seq": seq2seq,
    "mlp": mlp,
}


def cell() -> State:
    """An LSTM's cell, in the style of textbooks."""
    gates = {name: parameter(f"W_{name}", 6, 4) for name in "fioC"}

    def lstm(x: mg.Tensor, h: mg.Tensor, C: mg.Tensor) -> Any:
        z = np.concatenate([h, x], axis=1)
        f, i, o = (mg.name(mg.sigmoid(z @ gates[name]), name) for name in "fio")
        C = mg.name(f * C + i * np.tanh(z @ gates["C"]), "C")
        return mg.name(o * np.tanh(C), "h"), C

    return mg.graph(lstm, random(1, 2), random(1, 4), random(1, 4), style="textbook").data()


def attention() -> State:
    """Modules with scopes inside of steps."""
    made = nn.GRUCell(2, 4)
    look, h, memory, outputs = nn.DotAttention(), mg.zeros((1, 4)), random(1, 5, 4), []
    for _, x in mg.steps(random(3, 1, 2)):
        h = made(mg.name(x, "x"), h)
        outputs.append(look(h, memory)[0])
    return mg.graph(outputs, params=dict(made.named_parameters())).data()


LOOKS = {
    "textbook": lambda: layer("LSTM", 4, "auto", style="textbook"),
    "backward": lambda: layer("GRU", 3, backward=True),
    "backward textbook": lambda: layer("GRU", 4, "auto", style="textbook", backward=True),
    "cell": cell,
    "attention": attention,
    "long": lambda: layer("LSTM", 200, "auto"),
    "stack": lambda: layer("LSTM", 4, num_layers=2, bidirectional=True),
}


def named(data: State, label: str) -> list[State]:
    return [node for node in data["nodes"] if label in (node["label"], node["op"])]


def step_of(node: State) -> int | None:
    return next((step for _, step in node["scope"] if step is not None), None)


def overlap(a: State, b: State) -> bool:
    return bool(
        a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    )


def within(a: State, b: State) -> bool:
    return bool(a["x"] >= b["x"] and a["y"] >= b["y"] and a["x"] + a["w"] <= b["x"] + b["w"] + 1e-6
                and a["y"] + a["h"] <= b["y"] + b["h"] + 1e-6)  # fmt: skip


# ---- layout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commands", [(), ("press:steps",), ("press:modules",)], ids=["open", "steps", "modules"])
@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_lies_on_something_else(view: View, name: str, commands: tuple[str, ...]) -> None:
    data = GRAPHS[name]()
    state = view(data, *commands)
    if not commands:
        assert set(state["nodes"]) == {node["id"] for node in data["nodes"]}
    assert state["routes"] == state["edges"]
    for a, b in combinations(state["boxes"], 2):
        assert not overlap(state["boxes"][a], state["boxes"][b]), (a, b)
    for a, b in combinations(state["clusters"], 2):
        assert within(a, b) or within(b, a) or not overlap(a, b), (a["label"], b["label"])


def test_columns_are_steps_and_lanes_are_modules(view: View) -> None:
    data = layer("GRU", 4, num_layers=2, bidirectional=True)
    state = view(data)
    columns: dict[int, list[State]] = {}
    rows: dict[str, list[State]] = {}
    for node in data["nodes"]:
        step = step_of(node)
        if step is not None:
            columns.setdefault(step, []).append(state["boxes"][node["id"]])
            rows.setdefault(str(node["scope"][:-1]), []).append(state["boxes"][node["id"]])
    assert len(columns) == 4
    assert len(rows) == 4
    for step in range(3):  # in both directions, and in both layers, time goes to the right
        assert max(box["x"] + box["w"] for box in columns[step]) < min(box["x"] for box in columns[step + 1])
    lanes = sorted((min(box["y"] for box in row), max(box["y"] + box["h"] for box in row)) for row in rows.values())
    assert all(above[1] < below[0] for above, below in pairwise(lanes))
    assert [cluster["label"] for cluster in state["clusters"]].count("t = 2") == 4


@pytest.mark.parametrize("name", [*GRAPHS, *LOOKS])
def test_computation_goes_as_in_the_static_picture(view: View, name: str) -> None:
    """Upwards; without time steps to the right."""
    data = (GRAPHS | LOOKS)[name]()
    state = view(data)
    kinds = {node["id"]: node["kind"] for node in data["nodes"]}
    for edge in data["edges"]:
        above, below = state["boxes"][edge["target"]], state["boxes"][edge["source"]]
        if edge["kind"] == "" and kinds[edge["source"]] != "parameter":
            if name in ("mlp", "cell"):
                assert below["x"] + below["w"] <= above["x"], edge
            else:
                assert above["y"] + above["h"] <= below["y"], edge


@pytest.mark.parametrize("name", GRAPHS)
def test_no_edge_runs_through_a_node(view: View, name: str) -> None:
    for commands in ((), ("press:steps",)):
        state = view(GRAPHS[name](), *commands)
        for route in state["ways"]:
            for id, box in state["boxes"].items():
                if id in (route["source"], route["target"]):
                    continue
                for x, y in route["points"]:
                    inside = box["x"] + 1 < x < box["x"] + box["w"] - 1 and box["y"] + 1 < y < box["y"] + box["h"] - 1
                    assert not inside, (route["source"], route["target"], id)


def crosses(a: tuple[float, float], b: tuple[float, float], box: State) -> bool:
    """True if a straight line from a to b, short or along an axis, runs through a box."""
    return bool(min(a[0], b[0]) < box["x"] + box["w"] and max(a[0], b[0]) > box["x"]
                and min(a[1], b[1]) < box["y"] + box["h"] and max(a[1], b[1]) > box["y"])  # fmt: skip


@pytest.mark.parametrize("name", [*GRAPHS, *LOOKS])
def test_no_edge_strikes_a_text_and_no_text_lies_on_another(view: View, name: str) -> None:
    """Titles of scopes with the signs that close them, names of states, numbers of edges, norms."""
    for commands in ((), ("press:steps",)):
        state = view((GRAPHS | LOOKS)[name](), *commands)
        for text in state["texts"]:
            for route in state["ways"]:
                struck = any(crosses(a, b, text) for a, b in pairwise(route["points"]))
                assert not struck, (commands, text["text"], route["source"], route["target"])
            for id, box in state["boxes"].items():
                assert not overlap(text, box), (commands, text["text"], id)
        for a, b in combinations(state["texts"], 2):
            assert not overlap(a, b), (commands, a["text"], b["text"])


def test_the_frame_of_an_encoder_holds_its_own_steps_only(view: View) -> None:
    data = seq2seq()
    state = view(data)
    (encoder,) = [cluster for cluster in state["clusters"] if cluster["label"] == "encoder"]
    for node in data["nodes"]:
        if node["scope"][:1] == [["decoder", None]]:
            assert not overlap(state["boxes"][node["id"]], encoder)


def windows(kind: str) -> State:
    """A layer called twice, with its state cut off in between."""
    made = getattr(nn, kind)(3, 4)

    def f(xs: mg.Tensor) -> Any:
        state, loss = None, 0.0
        for x in np.split(xs, 2):
            output, state = made(x, state)
            loss = loss + output.sum()
            state = tuple(s.detach() for s in state) if kind == "LSTM" else state.detach()
        return loss

    return mg.graph(f, random(4, 2, 3), params=dict(made.named_parameters())).data()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_no_state_lies_on_a_parameters_line(view: View, kind: str) -> None:
    data = windows(kind)
    kinds = {node["id"]: node["kind"] for node in data["nodes"]}
    carried = {(e["source"], e["target"]) for e in data["edges"] if e["steps"] is not None}
    ways = view(data)["ways"]
    level: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    for way in ways:
        if (of := (way["source"], way["target"]) in carried) or kinds[way["source"]] == "parameter":
            for (ax, ay), (bx, by) in pairwise(way["points"]):
                if abs(ay - by) < 0.5:
                    level[of].append((ay, min(ax, bx), max(ax, bx)))
    for y, a, b in level[True]:
        for at, c, d in level[False]:
            assert abs(y - at) > 1.5 or b <= c or d <= a, (y, at)


def test_windows_go_on_through_time(view: View) -> None:
    data = windows("GRU")
    state = view(data)
    frames = {cluster["label"]: cluster for cluster in state["clusters"]}
    assert frames["window 1"]["x"] + frames["window 1"]["w"] < frames["window 2"]["x"]
    assert any(edge["kind"] == "detached" and edge["steps"] == [1, 2] for edge in data["edges"])
    assert state["routes"] == state["edges"]


# ---- opening and closing ---------------------------------------------------------------------------------------------


def test_a_click_closes_a_step_and_another_opens_it(view: View) -> None:
    data = layer("LSTM", 3)
    inside = [node["id"] for node in data["nodes"] if step_of(node) == 1]
    closed = view(data, "close:t = 1")
    (key,) = set(closed["nodes"]) - {node["id"] for node in data["nodes"]}
    assert not set(inside) & set(closed["nodes"])
    assert closed["titles"].count("t = 1") == 1
    opened = view(data, "close:t = 1", "open:t = 1")
    assert opened["nodes"] == view(data)["nodes"]
    assert f"{len(inside)} nodes" in view(data, "close:t = 1", f"select:{key}")["panel"]


def test_a_fused_node_opens_and_shows_its_gates(view: View) -> None:
    data = layer("LSTM", 3)
    fused = named(data, "lstm")[1]
    inner = {node["id"] for node in fused["inner"]["nodes"]}
    state = view(data, f"open:{fused['id']}")
    assert inner <= set(state["nodes"])
    assert fused["id"] not in state["nodes"]
    (cluster,) = [cluster for cluster in state["clusters"] if cluster["label"] == "lstm"]
    assert all(within(state["boxes"][id], cluster) for id in inner)
    assert {"i", "f", "g", "o", "c", "h"} <= set(state["titles"])
    assert set(view(data, f"open:{fused['id']}", "close:lstm")["nodes"]) == {node["id"] for node in data["nodes"]}


def test_all_steps_all_modules_and_back(view: View) -> None:
    data = layer("GRU", 4, num_layers=2, bidirectional=True)
    assert view(data, "press:steps")["titles"].count("t = 0") == 4
    assert "GRU" in view(data, "press:modules")["titles"]
    assert view(data, "press:steps", "press:modules", "press:all")["nodes"] == view(data)["nodes"]


def test_a_group_that_was_closed_before_has_no_sign_to_open_it(view: View) -> None:
    made = nn.LSTM(3, 4)
    data = mg.graph(lambda xs: made(xs)[0].sum(), random(3, 2, 3), collapse="t").data()
    state = view(data, "select:t = 1")
    assert state["titles"].count("t = 1") == 1
    assert "Expand" not in state["panel"]
    assert "Expand" in view(layer("LSTM", 3), "close:t = 1", "select:t = 1")["panel"]


def test_textbooks_have_the_boxes_of_the_static_picture(view: View) -> None:
    """No frames of scopes, no shapes, and a line for each state."""
    state = view(LOOKS["textbook"](), "svg:")
    assert state["clusters"] == []
    texts = re.findall(r">([^<]*)</text>", state["svg"])
    assert {"h", "c", "LSTM", "W", "hh"} <= set(texts)  # subscripts are texts of their own
    assert not any("{" in text or "×" in text for text in texts)
    lines = [way for way in state["ways"] if way["source"].endswith("box") and way["target"].endswith("box")]
    assert len(lines) == 7  # h and c three times, and the zero before the first step
    inside = re.findall(r">([^<]*)</text>", view(cell(), "svg:")["svg"])
    assert (inside.count("σ"), inside.count("⊙"), inside.count("t−1")) == (3, 3, 2)
    boxes = view(cell())
    at = {title: boxes["boxes"][id]["y"] for id, title in zip(boxes["nodes"], boxes["titles"], strict=True)}
    assert at["C_t"] < at["h_t"]  # the state is on top


def test_windows_of_textbooks_have_frames(view: View) -> None:
    gru = nn.GRU(3, 4, bias=False)

    def network(xs: Any) -> Any:
        state, loss = None, 0.0
        for window in np.split(xs, 2):
            output, state = gru(window, state)
            loss = loss + output.sum()
        return mg.name(loss, "loss")

    svg = view(mg.graph(network, random(4, 2, 3), style="textbook").data(), "svg:")["svg"]
    assert [text for text in re.findall(r">([^<]*)</text>", svg) if "window" in text] == ["window 1", "window 2"]


def test_weights_of_a_backward_textbook_have_the_norm_of_all_their_uses(view: View) -> None:
    """The lines to them are close together, and have no numbers."""
    data = LOOKS["backward textbook"]()
    weights = {node["id"]: node["grad"]["norm"] for node in data["nodes"] if node["kind"] == "parameter"}
    state = view(data, "svg:")
    shown = [text for text in re.findall(r">([^<]*)</text>", state["svg"]) if "‖∂‖" in text]
    assert sorted(shown) == sorted(f"‖∂‖ {norm:.2g}" for norm in weights.values())
    numbers = [text for text in re.findall(r">([^<]*)</text>", state["svg"]) if re.fullmatch(r"[\d.e-]+", text)]
    others = [e for e in data["edges"] if e["grad"] is not None and e["source"] not in weights]
    assert len(numbers) <= len(others) + 2 * len(weights)  # subscripts are numbers, too


@pytest.mark.parametrize("kind", ["two calls", "two directions"])
def test_lanes_of_textbooks_are_above_each_other(view: View, kind: str) -> None:
    gru = nn.GRU(3, 4, bias=False, bidirectional=kind == "two directions")

    def network(a: Any, b: Any) -> Any:
        return mg.name((gru(a)[0][-1] * gru(b)[0][-1]).sum() if kind == "two calls" else gru(a)[0].sum(), "loss")

    data = mg.graph(network, random(3, 2, 3), random(3, 2, 3), style="textbook").data()
    boxes = view(data)["boxes"]
    cells = [boxes[node["id"]] for node in data["nodes"] if node["kind"] == "cell"]
    assert len({round(box["y"]) for box in cells}) == 2
    middles = sorted(box["x"] + box["w"] / 2 for box in cells)
    assert all(b - a < 2 for a, b in zip(middles[::2], middles[1::2], strict=True))
    assert all(b - a > 40 for a, b in zip(middles[1::2], middles[2::2], strict=False))


def test_a_backward_picture_has_norms(view: View) -> None:
    data = LOOKS["backward"]()
    state = view(data)
    norms = sorted(f"{edge['grad']:.2g}" for edge in data["edges"] if edge["grad"] is not None)
    marks = [text["text"] for text in state["texts"][len(state["clusters"]) :]]
    assert len(marks) == len(norms)
    assert sorted(float(mark.replace("−", "-")) for mark in marks) == sorted(map(float, norms))


def test_subscripts_of_textbooks_can_be_read(view: View) -> None:
    made = nn.LSTM(3, 4)
    names = dict(made.named_parameters())
    data = mg.graph(lambda x: made(x)[0], random(3, 2, 3), params=names, style="textbook").data()
    titles = view(data)["titles"]
    assert {"h₀", "x₂", "W_hh"} <= set(titles)
    assert not any("{" in title for title in titles)


# ---- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("matmul", lambda node: node["op"] == "matmul"),
        ("W_S", lambda node: node["label"] == "W_s"),
        ("t=2", lambda node: step_of(node) == 2),
        ("t = 1 matmul", lambda node: step_of(node) == 1 and node["op"] == "matmul"),
        ("test_viewer.py", lambda node: False),  # lines are not searched
        ("tanh", lambda node: node["op"] == "tanh"),
        ("nothing of the sort", lambda node: False),
    ],
)
def test_search_finds_labels_operations_and_scopes(view: View, query: str, expected: Callable[[State], bool]) -> None:
    data = rnn()
    assert view(data, f"search:{query}")["matches"] == [node["id"] for node in data["nodes"] if expected(node)]


def test_search_goes_round_and_opens_what_hides_a_match(view: View) -> None:
    data = rnn()
    matches = [node["id"] for node in named(data, "matmul")]
    state = view(data, "press:steps", "search:matmul", "press:next", "press:next")
    assert state["selected"] == matches[1]
    assert state["selected"] in state["nodes"]
    assert state["found"] == "2 / 3"
    assert view(data, "search:matmul", "press:previous")["selected"] == matches[2]
    assert view(data, "search:matmul", *["press:next"] * 4)["selected"] == matches[0]


def test_a_gate_inside_a_fused_node_is_found(view: View) -> None:
    data = layer("LSTM", 3)
    inner = [node["id"] for fused in named(data, "lstm") for node in fused["inner"]["nodes"] if node["label"] == "f"]
    state = view(data, "search:f sigmoid", "press:next")
    assert state["matches"] == inner
    assert state["selected"] == inner[0]


# ---- the panel -------------------------------------------------------------------------------------------------------


def test_the_panel_tells_all_that_is_known(view: View) -> None:
    data = layer("LSTM", 3)
    fused = named(data, "lstm")[2]
    panel = view(data, f"select:{fused['id']}")["panel"]
    for text in (
        "lstm",
        "LSTM[0] t=2",
        "2×4",
        "float32",
        "test_viewer.py",
        f"{fused['bytes']} bytes",
        "Computed from",
        "state",
    ):
        assert text in panel, text
    for gate in "hcifgo":
        assert f"\n{gate} ‖value‖" in panel.replace("\n\n", "\n"), gate
    (linear,) = [node for node in named(data, "linear") if step_of(node) == 2]
    assert "weight_hh_l0" in view(data, f"select:{linear['id']}")["panel"]


def test_small_arrays_are_shown_number_by_number(view: View) -> None:
    data = rnn()
    (w,) = named(data, "W_s")
    panel = view(data, f"click:{w['id']}")["panel"]
    numbers = [n for which in ("value", "grad") for row in w[which]["array"] for n in row]
    assert len(numbers) == 8
    for number in numbers:
        if abs(number) > 0.01:  # smaller ones have an exponent
            assert f"{number:.2g}".replace("-", "−") in panel


# ---- time ------------------------------------------------------------------------------------------------------------


def computed(data: State) -> list[State]:
    nodes = [node for node in data["nodes"] if node["kind"] not in ("parameter", "input", "detached")]
    return sorted(nodes, key=lambda node: node["order"])


def test_nodes_light_up_in_the_order_of_the_tape(view: View) -> None:
    data = rnn()
    nodes = computed(data)
    for position in (1, 4, len(nodes)):
        state = view(data, f"step:{position}")
        assert state["phase"] == "forward"
        assert state["now"] == [nodes[position - 1]["id"]]
        lit = [id for id in state["done"] if id in {node["id"] for node in nodes}]
        assert sorted(lit) == sorted(node["id"] for node in nodes[: position - 1])
        assert "Value" in state["panel"]
        assert "Gradient" not in state["panel"]  # not known yet


def test_then_gradients_arrive_in_reverse(view: View) -> None:
    data = rnn()
    nodes = computed(data)
    for back in (1, 3, len(nodes)):
        state = view(data, f"step:{len(nodes) + back}")
        assert state["phase"] == "backward"
        assert state["now"] == [nodes[-back]["id"]]
        arrived = {node["id"] for node in nodes[len(nodes) - back :]}
        assert {node["id"] for node in nodes if state["colours"][node["id"]]} == arrived
        assert "Gradient" in state["panel"]
        assert state["legend"]


def test_the_gradient_of_a_shared_parameter_is_a_sum_over_time(view: View) -> None:
    data = rnn()
    w, = named(data, "W_s")  # fmt: skip
    b, = named(data, "b")  # fmt: skip
    nodes = computed(data)
    order = {node["id"]: node["order"] for node in nodes}
    uses = sorted((order[edge["target"]] for edge in data["edges"] if edge["source"] == b["id"]), reverse=True)
    assert len(uses) == 3
    positions = {node["order"]: 2 * len(nodes) - i for i, node in enumerate(nodes)}
    for k, use in enumerate(uses):
        state = view(data, f"step:{positions[use]}")
        assert state["arrived"][b["id"]] == pytest.approx((k + 1) / 3)
        assert bool(state["colours"][b["id"]]) == (k == 2)  # the colour comes with the last summand
    end = view(data, f"step:{2 * len(nodes)}")
    assert end["arrived"] == {w["id"]: 1, b["id"]: 1}


def test_time_step_by_time_step(view: View) -> None:
    data = rnn()
    nodes = computed(data)
    positions, now = [], []
    for strides in range(1, 9):
        state = view(data, "by:time", *["press:on"] * strides)
        positions.append(state["position"])
        now.append(set(state["now"]))
    steps = [{n["id"] for n in nodes if step_of(n) == t} for t in (0, 1, 2, None)]
    assert now == [*steps, *steps[::-1]]  # forward through time, and back through time
    assert positions[-1] == 2 * len(nodes)
    assert (
        view(data, "by:time", *["press:on"] * 5, "press:back")["now"] == view(data, "by:time", *["press:on"] * 4)["now"]
    )


def test_play_runs_to_the_end_and_pause_stops(view: View) -> None:
    data = rnn()
    count = len(computed(data))
    playing = view(data, "press:play", "wait:1300")
    assert playing["playing"]
    assert 1 <= playing["position"] <= 4
    assert not view(data, "press:play", "wait:700", "press:play")["playing"]
    end = view(data, f"step:{2 * count - 2}", "press:play", "wait:2500")
    assert not end["playing"]
    assert end["position"] == 2 * count
    assert view(data, "step:4", "press:leave")["position"] is None


def test_a_closed_step_lights_up_as_a_whole(view: View) -> None:
    data = rnn()
    first = next(i for i, node in enumerate(computed(data)) if step_of(node) == 1)
    state = view(data, "press:steps", f"step:{first + 1}")
    (now,) = state["now"]
    assert '"t",1' in now


# ---- colour ----------------------------------------------------------------------------------------------------------


def test_colour_is_the_gradient_on_a_log_scale(view: View) -> None:
    data = rnn(12)
    state = view(data, "colour:grad")
    assert state["legend"]
    states = sorted(named(data, "s"), key=lambda node: node["order"])
    norms = [node["grad"]["norm"] for node in states]
    assert norms[0] < norms[-1] / 10  # it vanishes
    shades = [sum(int(state["colours"][node["id"]][k : k + 2], 16) for k in (1, 3, 5)) for node in states]
    ordered = [shade for _, shade in sorted(zip(norms, shades, strict=True))]
    assert ordered == sorted(shades, reverse=True)  # the more gradient, the darker
    assert ordered[0] > ordered[-1] + 100
    assert not view(data)["legend"]


@cache
def intervened(by: float) -> State:
    w, xs = parameter("W", 3, 3), random(3, 1, 3)

    def loop() -> Any:
        h = mg.zeros((1, 3))
        for _, x in mg.steps(xs):
            h = mg.name(np.tanh(x + h @ w), "h")
        return (h**2).sum()

    with mg.intervene() as before:
        loop()
    with mg.intervene({"h t=1": by}) as after:
        loss = loop()
    return after.graph(loss, against=before).data()


def test_an_intervention_has_the_colours_of_changes(view: View) -> None:
    """Without a command; and there is no playback of gradients, which are not known."""
    data = intervened(1.0)
    state = view(data)
    assert state["legend"]
    assert "change of the value" in state["legendText"]
    colours = {step_of(node): state["colours"][node["id"]] for node in named(data, "h")}
    unnamed = {state["colours"][node["id"]] for node in data["nodes"] if not node["label"]}
    assert unnamed == {"#FFFFFF"}
    assert colours[0] == UNCHANGED
    assert len({*colours.values(), "#FFFFFF"}) == 4
    assert view(data, "step:1000")["phase"] == "forward"
    (h,) = [node for node in named(data, "h") if step_of(node) == 1]
    panel = view(data, f"select:{h['id']}")["panel"]
    assert "change" in panel
    assert "Gradient" not in panel


# ---- hands -----------------------------------------------------------------------------------------------------------


def test_wheel_drag_pinch_and_keys_move_the_view(view: View) -> None:
    data = rnn()
    before = view(data)["view"]
    assert view(data, "wheel:-100")["view"]["zoom"] > before["zoom"]
    assert view(data, "wheel:100")["view"]["zoom"] < before["zoom"]
    dragged = view(data, "drag:60")["view"]
    assert dragged["x"] == pytest.approx(before["x"] - 60 / before["zoom"])
    assert dragged["zoom"] == before["zoom"]
    assert view(data, "pinch:2")["view"]["zoom"] == pytest.approx(2 * before["zoom"])
    assert view(data, "key:+")["view"]["zoom"] == pytest.approx(1.25 * before["zoom"])
    assert view(data, "wheel:-100", "drag:300", "key:0")["view"] == pytest.approx(before)


def test_the_keyboard_is_enough(view: View) -> None:
    data = rnn()
    first = view(data, "key:ArrowRight")["selected"]
    assert first == data["nodes"][0]["id"]
    start = named(data, "tanh")[0]["id"]
    right = view(data, f"select:{start}", "key:ArrowRight")
    assert right["boxes"][right["selected"]]["x"] > right["boxes"][start]["x"]
    assert view(data, f"select:{start}", "key:ArrowRight", "key:ArrowLeft")["selected"] == start
    fused = named(layer("LSTM", 3), "lstm")[1]["id"]
    assert fused not in view(layer("LSTM", 3), f"select:{fused}", "key:Enter")["nodes"]
    assert view(data, "key:.", "key:.", "key:,")["position"] == 1
    assert view(data, "key: ")["playing"]
    assert view(data, "key:.", "key:Escape")["position"] is None


# ---- anything in the data --------------------------------------------------------------------------------------------

HOSTILE = [
    "</script><script>document.title = 'taken'</script>", "<img src=x onerror=\"document.title = 'taken'\">",
    "\"'`${1}\\",
    "a\nb", "&lt;&amp;", "漢字 𝄞 ü", "__proto__", "constructor", "x" * 3000, "", "#", "%s", "t = 3 … 8",
]  # fmt: skip


def test_labels_are_text_whatever_they_say(view: View) -> None:
    data = rnn()
    nodes = [dict(node) for node in data["nodes"]]
    for node, label in zip(nodes, HOSTILE, strict=False):
        node.update(label=label, line=label, dtype=label, scope=[[label, None], *node["scope"]])
    assert len(nodes) >= len(HOSTILE)
    state = view({**data, "nodes": nodes, "options": {**data["options"], "note": HOSTILE[1]}}, title=HOSTILE[0])
    for label in HOSTILE:
        shown = " ".join(label.split("\n")) or nodes[HOSTILE.index(label)]["op"] or "input"
        assert shown in state["titles"], label
    assert state["note"] == HOSTILE[1]
    assert state["documentTitle"] == HOSTILE[0]
    odd = view({**data, "nodes": nodes}, f"select:{nodes[0]['id']}")
    assert HOSTILE[0] in odd["panel"]


def test_numbers_that_are_not_finite_are_named(view: View) -> None:
    w = mg.tensor(np.array([1.0, 0.0]), requires_grad=True)
    w.name = "w"
    with np.errstate(all="ignore"):
        data = mg.graph(lambda: mg.name(np.array([0.0, 1.0]) / w, "ratio").sum()).data()
    (ratio,) = named(data, "ratio")
    panel = view(data, f"select:{ratio['id']}", "colour:grad")["panel"]
    assert "inf" in panel
    assert "not finite" in panel


@pytest.mark.parametrize(
    "change", [{"value": None, "grad": None, "outputs": []}, {"scope": []}, {"shape": None, "dtype": ""}]
)
def test_what_is_not_known_is_left_out(view: View, change: State) -> None:
    data = rnn()
    bare = {**data, "nodes": [{**node, **change} for node in data["nodes"]]}
    for commands in (
        (),
        ("step:3",),
        (f"step:{len(computed(data)) + 2}",),
        ("colour:grad", f"select:{data['nodes'][-1]['id']}"),
    ):
        assert len(view(bare, *commands)["nodes"]) == len(data["nodes"])


# ---- links, files, keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_a_link_leads_to_a_step(view: View, phase: str) -> None:
    data = rnn()
    state = view(data, f"hash:#t=1,{phase}")
    assert state["phase"] == phase
    assert set(state["now"]) == {node["id"] for node in computed(data) if step_of(node) == 1}
    assert state["hash"] == f"#t=1,{phase}"
    assert view(data, "hash:#t=77,backward")["position"] is None
    assert view(data, "hash:#t=1", "press:leave")["hash"] == ""


def test_what_is_shown_is_saved_as_svg(view: View) -> None:
    data = layer("LSTM", 3)
    state = view(data, "svg:")
    root = ElementTree.fromstring(state["svg"])
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for label in ("weight_hh_l0", "t = 2", "loss"):
        assert label in texts
    assert state["svg"].count("<path") > len(data["nodes"]) + len(data["edges"])


def test_pictures_and_films_are_saved(view: View) -> None:
    (picture,) = view(rnn(), "save:png", "wait:500")["saved"]
    assert picture[:3] == ["test.png", "image/png", list(b"\x89PNG")]
    state = view(rnn(2), "by:time", "save:film", "wait:9000")
    (film,) = state["saved"]
    assert film[:3] == ["test.webm", "video/webm", [0x1A, 0x45, 0xDF, 0xA3]]  # as every WebM begins
    assert film[3] > 10_000
    assert state["position"] == 2 * len(computed(rnn(2)))


def test_what_is_not_finite_is_found(view: View) -> None:
    w = parameter("w", 2)

    def f(x: mg.Tensor) -> Any:
        with np.errstate(all="ignore"):
            return mg.name((mg.name(np.log(mg.name(x * w, "a")), "b") * 2).sum(), "loss")

    data = mg.graph(f, mg.tensor([0.0, 1.0])).data()
    state = view(data, "key:n")
    assert state["selected"] == next(n["id"] for n in data["nodes"] if n["label"] == "b")
    assert "not finite" in state["panel"]
    assert state["broken"] == "not finite: 3 values, 2 gradients"
    labels = {node["id"]: node["label"] or node["op"] for node in data["nodes"]}
    which = {labels[id]: which for id, which in state["notFinite"].items() if which}
    assert which == {"b": "value", "multiply": "value", "loss": "value", "a": "grad", "w": "grad"}
    forward = view(data, "step:1")["notFinite"]  # gradients are not known yet
    assert "grad" not in forward.values()
    assert view(rnn())["broken"] == ""


PAGES = {
    "a note": lambda: layer("LSTM", 500, "auto"),
    "colours": lambda: layer("LSTM", 4),
    "an intervention": lambda: intervened(2.0),
}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_of_the_page_covers_the_graph(view: View, name: str) -> None:
    """The tools are one row even with a long title, which is shortened."""
    page = view(PAGES[name](), "colour:grad", title="A long title " * 9)["page"]
    assert page["header"]["h"] < 50
    shown = [rect for rect in page.values() if rect["w"]]
    assert len(shown) >= 5
    for a, b in combinations(shown, 2):
        assert not overlap(a, b)


def test_on_a_phone_the_graph_comes_first(view: View) -> None:
    """Tools and details are folded, and the graph is not cut off."""
    data = layer("LSTM", 4)
    state = view(data, size=(390, 800))
    page = state["page"]
    assert page["canvas"]["h"] > 0.7 * 800
    assert page["aside"]["h"] == 0
    assert state["window"]["inner"] == 390
    assert state["graphOnScreen"]["x"] >= 0
    assert state["graphOnScreen"]["x"] + state["graphOnScreen"]["w"] <= 390
    tools = view(data, "press:tools", "press:about", size=(390, 800))["page"]
    assert tools["header"]["h"] > page["header"]["h"]
    assert tools["aside"]["h"] > 200
    assert tools["canvas"]["h"] > 150
    assert view(data, "press:about", "press:about", size=(390, 800))["page"] == page


def test_help_lists_the_keys(view: View) -> None:
    state = view(rnn(), "key:?")
    assert "play, pause" in state["help"]
    assert view(rnn(), "key:?", "key:?")["help"] == ""


# ---- size ------------------------------------------------------------------------------------------------------------


def test_three_thousand_nodes_stay_quick(view: View) -> None:
    data = lstm_cell(200)
    assert len(data["nodes"]) > 3000
    for commands in ((), ("press:fit",), (f"step:{len(computed(data)) + 500}",)):
        state = view(data, *commands)
        assert len(state["boxes"]) == len(data["nodes"])
        assert state["layoutTime"] < 5000  # milliseconds; a tenth of it on a quiet machine
        assert state["drawTime"] < 300


@cache
def long_network(steps: int) -> State:
    """A recurrent network, four nodes a step; as plain data, which takes less time than a recording."""
    plain = {"dtype": "float32", "line": "", "formula": "", "span": None, "bytes": 0, "count": 1, "value": None,
             "grad": None, "outputs": [], "inner": None, "shape": [1, 4]}  # fmt: skip

    def node(id: str, kind: str, label: str, op: str, scope: list[Any]) -> State:
        return plain | {"id": id, "kind": kind, "label": label, "op": op, "scope": scope}

    def edge(source: str, target: str, at: list[int] | None = None) -> State:
        return {"source": source, "target": target, "kind": "state" if at else "", "steps": at, "times": 1, "output": 0,
                "label": "", "grad": None}  # fmt: skip

    nodes, edges = [node("W", "parameter", "W", "", [])], []
    for t in range(steps):
        scope = [["rnn", None], ["t", t]]
        nodes.append(node(f"x{t}", "input", "x", "", scope))
        nodes += [node(f"{op[0]}{t}", "operation", "", op, scope) for op in ("matmul", "add")]
        nodes.append(node(f"h{t}", "operation", "h", "tanh", scope))
        edges += [edge("W", f"m{t}"), edge(f"m{t}", f"a{t}"), edge(f"x{t}", f"a{t}"), edge(f"a{t}", f"h{t}")]
        if t:
            edges.append(edge(f"h{t - 1}", f"m{t}", [t - 1, t]))
    nodes.append(node("loss", "output", "loss", "sum", []))
    edges.append(edge(f"h{steps - 1}", "loss"))
    nodes = [one | {"order": k} for k, one in enumerate(nodes)]
    return {"nodes": nodes, "edges": edges, "options": {"color": None, "view": "full", "note": ""}}


def test_of_a_large_graph_groups_are_closed_first(view: View) -> None:
    data = lstm_cell(400)
    assert len(data["nodes"]) > 6000
    state = view(data)
    assert len(state["nodes"]) <= 200
    assert "groups are closed" in state["note"]
    assert {"t = 0 … 9", "t = 390 … 399"} <= set(state["titles"])


def test_a_hundred_thousand_nodes_are_ranges_of_steps_that_open(view: View) -> None:
    data = long_network(25_000)
    assert len(data["nodes"]) > 100_000
    state = view(data)
    assert len(state["nodes"]) <= 200
    assert "t = 500 … 999" in state["titles"]
    opened = view(data, "open:t = 500 … 999", "open:t = 510 … 519")
    assert {f"t = {t}" for t in range(510, 520)} <= set(opened["titles"])
    assert {"t = 0 … 499", "t = 520 … 529", "t = 1000 … 1499"} <= set(opened["titles"])
    labels = {cluster["label"]: cluster for cluster in opened["clusters"]}
    assert within(labels["t = 510 … 519"], labels["t = 500 … 999"])
    x = [box["x"] for box, title in zip(opened["boxes"].values(), opened["titles"], strict=True) if title[:3] == "t ="]
    assert x == sorted(x)  # time goes to the right


def test_ranges_close_again_and_are_opened_within_reason(view: View) -> None:
    data = long_network(2_000)
    first = view(data)["nodes"]
    assert {"m512", "a512", "h512"} <= set(view(data, "open:t = 500 … 549", "open:t = 512")["nodes"])
    assert view(data, "open:t = 500 … 549", "close:t = 500 … 549")["nodes"] == first
    assert len(first) < len(view(data, "press:all")["nodes"]) <= 4000
    assert view(data, "press:all", "press:steps")["nodes"] == first


def test_open_ranges_have_places_of_their_own(view: View) -> None:
    state = view(long_network(2_000), "open:t = 500 … 549", "open:t = 510", "open:t = 600 … 649")
    assert state["routes"] == state["edges"]
    for a, b in combinations(state["boxes"].values(), 2):
        assert not overlap(a, b)
    for a, b in combinations(state["clusters"], 2):
        assert within(a, b) or within(b, a) or not overlap(a, b), (a["label"], b["label"])
    for route in state["ways"]:
        for id, box in state["boxes"].items():
            inner = {"x": box["x"] + 1, "y": box["y"] + 1, "w": box["w"] - 2, "h": box["h"] - 2}
            struck = any(crosses(a, b, inner) for a, b in pairwise(route["points"]))
            assert id in (route["source"], route["target"]) or not struck, (route["source"], route["target"], id)
        for text in state["texts"]:
            assert not any(crosses(a, b, text) for a, b in pairwise(route["points"])), text["text"]


def test_a_range_lights_up_and_opens_for_what_is_searched(view: View) -> None:
    data = long_network(2_000)
    forward, beyond = view(data, "step:3000"), view(data, "step:9000")  # of 6,001 operations
    (now,) = forward["now"]
    assert forward["titles"][forward["nodes"].index(now)] == "t = 950 … 999"
    assert sum(id.startswith("cluster") for id in forward["done"]) == 19  # of 40 ranges
    assert [beyond["titles"][beyond["nodes"].index(id)] for id in beyond["now"]] == ["t = 1000 … 1049"]
    assert sum(id.startswith("cluster") for id in beyond["done"]) == 19
    found = view(data, "search:t=1234 tanh", "press:next")
    assert found["selected"] == "h1234"
    assert found["selected"] in found["nodes"]
    assert len(found["nodes"]) < 200


def test_many_nodes_without_scopes_are_ranges_too(view: View) -> None:
    data = long_network(2_000)
    flat = {**data, "nodes": [{**node, "scope": []} for node in data["nodes"]]}
    state = view(flat)
    assert len(state["nodes"]) <= 200
    assert "nodes 1 … 200" in state["titles"]
    opened = view(flat, "open:nodes 1 … 200")
    assert "nodes 11 … 20" in opened["titles"]
    assert "h3" in view(flat, "open:nodes 1 … 200", "open:nodes 11 … 20")["nodes"]


def test_the_picture_has_its_colours(view: View, tmp_path: Path) -> None:
    from matplotlib.image import imread

    view(rnn(), picture=tmp_path / "g.png")
    pixels = np.round(imread(tmp_path / "g.png")[..., :3] * 255).astype(int)

    def count(colour: str) -> int:
        return int((np.abs(pixels - [int(colour[k : k + 2], 16) for k in (1, 3, 5)]).max(axis=-1) <= 3).sum())

    assert count("#BB5566") > 100  # states, from step to step
    assert count("#EECC66") > 1000  # the result
    assert count("#FFFFFF") > pixels.shape[0] * pixels.shape[1] / 3
