"""Random networks, drawn in all views: in the drawn file no two labels overlap, no edge crosses a node or a label, and
each input, weight and state is there as often as it was used.

They are the same networks at each run; MINIGRAD_EXAMPLES=1000 looks at so many others.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad.backward import nodes_below
from minigrad.pictures.labels import text_width
from minigrad.pictures.places import scene
from minigrad.pictures.subscripts import constant
from minigrad.pictures.svg import svg
from minigrad.tape import node_of

SVG = "{http://www.w3.org/2000/svg}"
EXAMPLES = int(os.environ.get("MINIGRAD_EXAMPLES", "20"))
SAME = "MINIGRAD_EXAMPLES" not in os.environ
Rect = tuple[float, float, float, float]

# ---- networks ----------------------------------------------------------------------------------------------------


def layer(draw: Any) -> Any:
    """A layer of `nn` over one or more windows, with or without lengths."""
    kind = draw(st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]))
    both = draw(st.booleans())
    made = kind(3, 4, num_layers=draw(st.integers(1, 2)), bidirectional=both, bias=draw(st.booleans()))
    windows = 1 if both else draw(st.integers(1, 3))
    cut, steps = draw(st.booleans()), draw(st.integers(1, 5))
    lengths = sorted(draw(st.lists(st.integers(1, steps), min_size=2, max_size=2)), reverse=True)
    ragged = windows == 1 and draw(st.booleans())
    readout = nn.Linear(8 if both else 4, 2)

    def network(xs: Any) -> Any:
        state: Any = None
        loss: Any = 0.0
        for x in np.split(xs, windows):
            output, state = made(x, state, lengths=lengths) if ragged else made(x, state)
            loss = loss + (readout(output) ** 2).sum()
            if cut and windows > 1:
                state = tuple([s.detach() for s in state]) if isinstance(state, tuple) else state.detach()
        return mg.name(loss, "loss")

    modules = {"layer": made, "readout": readout}
    return network, (mg.randn(steps * windows, 2, 3),), {f"{m}.{n}": p for m in modules
                                                         for n, p in modules[m].named_parameters()}  # fmt: skip


def cell(draw: Any) -> Any:
    """A user's cell, with steps marked or not, a loss at each step or at the end, in scopes or not."""
    names = ["f", "i", "o", "g"][: draw(st.integers(1, 4))]
    W = {f"W_{k}": mg.randn(7, 4, requires_grad=True) for k in names}
    V = mg.randn(4, 4, requires_grad=True)
    marked, joined, named, scoped = (draw(st.booleans()) for _ in range(4))
    steps, truncate = draw(st.integers(2, 6)), draw(st.sampled_from([None, 1, 3]))
    inner = draw(st.integers(0, 2))

    def network(xs: Any) -> Any:
        h: Any = mg.zeros((2, 4))
        loss: Any = 0.0
        for t, x in mg.steps(xs) if marked else [(t, xs[t]) for t in range(steps)]:
            if t == truncate:
                h = h.detach()
            z = np.concatenate([mg.name(x, "x"), h], axis=1)
            for k in names:
                with mg.scope(k) if scoped else mg.scope("gate"):
                    h = h * 0.5 + np.tanh(z @ W[f"W_{k}"])
            for _ in mg.steps(range(inner), "k"):
                h = np.tanh(h @ V)
            h = mg.name(h, "h") if named else h
            loss = loss + (h @ V).sum() if joined else loss
        return mg.name((h**2).sum() + loss, "loss")

    network.marked = marked  # type: ignore[attr-defined]

    return network, (mg.randn(steps, 2, 3),), W | {"V": V}


def attention(draw: Any) -> Any:
    """An encoder, and a decoder that looks at all of its states; or two calls of one encoder."""
    encoder, decoder, look = nn.GRU(3, 4, bias=False), nn.GRUCell(3, 4), nn.DotAttention()
    twice = draw(st.booleans())

    def network(xs: Any, ys: Any) -> Any:
        memory, h = encoder(xs)
        if twice:
            other, _ = encoder(ys)
            return mg.name((memory[-1] * other[-1]).sum(), "score")
        h, loss, keys = h[0], 0.0, np.swapaxes(memory, 0, 1)
        with mg.scope("decoder"):
            for _, y in mg.steps(ys):
                h = decoder(y, h)
                context, _ = look(h, keys)
                loss = loss + (np.concatenate([h, context], axis=-1) ** 2).sum()
        return mg.name(loss, "loss")

    given_ = (mg.randn(draw(st.integers(1, 4)), 2, 3), mg.randn(draw(st.integers(1, 4)), 2, 3))
    modules = {"encoder": encoder, "decoder": decoder}
    return network, given_, {f"{m}.{n}": p for m in modules for n, p in modules[m].named_parameters()}


def handed_on(draw: Any) -> Any:
    """An encoder whose last state a decoder begins with, side by side in time; or a long layer."""
    kind = draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]))
    layers, bias = draw(st.integers(1, 2)), draw(st.booleans())
    encoder, decoder = kind(3, 4, num_layers=layers, bias=bias), kind(3, 4, num_layers=layers, bias=bias)

    def network(xs: Any, ys: Any) -> Any:
        _, state = encoder(xs)
        return mg.name((decoder(ys, state)[0] ** 2).sum(), "loss")

    given_ = (mg.randn(draw(st.integers(2, 9)), 2, 3), mg.randn(draw(st.integers(2, 9)), 2, 3))
    modules = {"encoder": encoder, "decoder": decoder}
    return network, given_, {f"{m}.{n}": p for m in modules for n, p in modules[m].named_parameters()}


NETWORKS = {"layer": layer, "cell": cell, "attention": attention, "handed on": handed_on}
VIEWS: dict[str, dict[str, Any]] = {
    "auto": {}, "full": {"view": "full"}, "elided": {"view": "elided"}, "rolled": {"view": "rolled"},
    "one box a step": {"collapse": "t"}, "depth": {"depth": 1}, "opened": {"expand": True},
    "through time": {"direction": "time"}, "rightwards": {"direction": "right"},
    "details": {"shapes": True, "values": True, "color": "grad", "bytes": True}, "textbook": {"style": "textbook"},
    "backward": {"backward": True}, "textbook backward": {"style": "textbook", "backward": True},
    "all of a textbook": {"style": "textbook", "view": "full"},
}  # fmt: skip

# ---- the drawn file ----------------------------------------------------------------------------------------------


class Drawn:
    """The contents of a file: nodes and texts as rectangles, edges as points."""

    def __init__(self, text: str) -> None:
        root = ElementTree.fromstring(text)
        groups = list(root.iter(f"{SVG}g"))
        self.nodes = {g.get("id"): self.outline(g) for g in groups if g.get("class") == "node"}
        self.texts = [(t.text or "", self.room(t)) for t in root.iter(f"{SVG}text")]
        self.edges = []
        self.faint: list[bool] = []  # without a gradient: dotted
        for g in groups:
            if g.get("class") == "edge":
                source, target = re.fullmatch(r"(\w+) -> (\w+)", g.find(f"{SVG}title").text).groups()  # type: ignore
                line = g.find(f"{SVG}path")
                assert line is not None
                self.edges.append((source, target, self.points(line.get("d") or "")))
                self.faint.append(line.get("stroke-dasharray") == "2 3")

    @staticmethod
    def room(t: ElementTree.Element) -> Rect:
        x, y, size = (float(t.get(name, 0)) for name in ("x", "y", "font-size"))
        width = text_width(t.text or "", size)
        left = x if t.get("text-anchor") == "start" else x - width / 2
        return left, y - 0.75 * size, left + width, y + 0.1 * size

    def outline(self, g: ElementTree.Element) -> Rect:
        for shape in reversed(g):
            if shape.tag == f"{SVG}rect":
                x, y, w, h = (float(shape.get(name, 0)) for name in ("x", "y", "width", "height"))
                return x, y, x + w, y + h
            if shape.tag == f"{SVG}ellipse":
                x, y, w, h = (float(shape.get(name, 0)) for name in ("cx", "cy", "rx", "ry"))
                return x - w, y - h, x + w, y + h
        rooms = np.array([self.room(t) for t in g.iter(f"{SVG}text")])
        return (*rooms[:, :2].min(axis=0), *rooms[:, 2:].max(axis=0))

    @staticmethod
    def points(d: str) -> np.ndarray:
        p = np.array(re.findall(r"-?[\d.]+", d), float).reshape(-1, 2)
        s = np.linspace(0, 1, 100)[:, None]
        return np.concatenate([
            (1 - s) ** 3 * a + 3 * s * (1 - s) ** 2 * b + 3 * s**2 * (1 - s) * c + s**3 * e
            for a, b, c, e in zip(p[0:-1:3], p[1::3], p[2::3], p[3::3], strict=True)
        ])  # fmt: skip


def overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def check(graph: mg.Graph, struck: bool = True) -> None:
    """struck: also that no edge crosses a label."""
    drawn = Drawn(svg(scene(graph)))
    for (one, a), (other, b) in itertools.combinations(drawn.texts, 2):
        assert not overlap(a, b), f"{one!r} is printed over {other!r}"
    for (one, a), (other, b) in itertools.combinations(drawn.nodes.items(), 2):
        assert not overlap(a, b), (one, other)
    for (source, target, points), faint in zip(drawn.edges, drawn.faint, strict=True):
        for id, (x0, y0, x1, y1) in drawn.nodes.items():
            inside = (points > (x0 + 1, y0 + 1)).all(axis=1) & (points < (x1 - 1, y1 - 1)).all(axis=1)
            assert id in (source, target) or not inside.any(), f"{source} -> {target} runs through {id}"
        for text, (x0, y0, x1, y1) in drawn.texts if struck and not faint else ():  # numbers have a halo
            inside = (points > (x0 + 1, y0 + 1)).all(axis=1) & (points < (x1 - 1, y1 - 1)).all(axis=1)
            assert not inside.any(), f"{source} -> {target} strikes out {text!r}"
    assert list(drawn.nodes) == [node.id for node in graph.nodes]
    ends = [(e.target, e.source) if graph.options.backward else (e.source, e.target) for e in graph.edges]
    assert Counter((s, t) for s, t, _ in drawn.edges) == Counter(ends)


def check_textbook(graph: mg.Graph, full: mg.Graph, steps: int | None, marked: bool) -> None:
    """A textbook's promises: a lane for each layer and direction, each input once in a step, distinct names."""
    cells = [node for node in graph.nodes if node.kind == "cell"]
    cyclic = {e.source for e in full.edges if e.kind == "state"} | {e.target for e in full.edges if e.kind == "state"}
    loops = {lane_of(node) for node in full.nodes if node.id in cyclic and "t" in node.steps}
    boxes = Counter(tuple(node.scope) for node in cells)
    if steps is not None and steps > 1:
        assert max(boxes.values()) >= len(loops), "a layer has no lane"
    y = {shape.id: (round(shape.x), round(shape.y)) for shape in scene(graph).nodes}
    assert len(set(y.values())) == len(y), "two nodes at one place"
    inputs = Counter((node.label, node.scope) for node in graph.nodes if node.kind == "input" and node.steps)
    assert not marked or all(count == 1 for (label, _), count in inputs.items() if not constant(label)), inputs
    weights = Counter(node.label for node in graph.nodes if node.kind == "parameter")
    assert all(count == 1 for count in weights.values()), weights
    states: dict[str, set[str]] = {}
    for edge in graph.edges:
        if edge.steps is not None and edge.label:
            states.setdefault(edge.label, set()).add(edge.source)
    assert all(len(sources) == 1 for sources in states.values()), states
    for edge in graph.edges:  # within a step, or from step to step
        assert edge.steps is None or abs(edge.steps[0] - edge.steps[1]) <= 1 or edge.source.endswith("_dots"), edge


def lane_of(node: Any) -> Any:
    """The layer and the direction of a node in a step."""
    return tuple(label for label, step in node.scope if step is None)


# ---- what was recorded -------------------------------------------------------------------------------------------


def recorded(returned: Any) -> Counter[str]:
    """Uses on the tape, counted from its nodes alone: how often each weight is used, and all that is handed on."""
    counts: Counter[str] = Counter()
    for node in nodes_below([returned.edge]):
        seen = set()
        for parent, _, _ in node.edges:
            for one in parent if type(parent) is tuple else (parent,):
                if one is None:
                    continue
                key = one if isinstance(one, mg.Tensor) else node_of(one)
                if key not in seen:
                    counts[one.name or "" if isinstance(one, mg.Tensor) else "operations"] += 1
                seen.add(key)
    return counts


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate],
          derandomize=SAME)  # fmt: skip
@given(st.data(), st.sampled_from(sorted(NETWORKS)), st.sampled_from(sorted(VIEWS)))
def test_no_picture_says_something_wrong(data: Any, kind: str, view: str) -> None:
    mg.manual_seed(0)
    network, xs, weights = NETWORKS[kind](data.draw)
    full = mg.graph(network, *xs, params=weights, view="full")
    options = VIEWS[view]
    if "collapse" in options and not any(node.steps.get("t") is not None for node in full.nodes):
        options = {}
    graph = mg.graph(network, *xs, params=weights, **options)
    if len(graph.nodes) <= 400:  # with loops in loops, numbers in textbooks may be crossed; they have a halo
        check(graph, struck=view != "textbook backward")
    if options.get("style") == "textbook":
        check_textbook(graph, full, xs[0].shape[0] if kind == "layer" else None, getattr(network, "marked", True))
    for name, weight in weights.items():
        weight.name = name
    counts = recorded(unrolled(network, xs))
    byid = {node.id: node for node in full.nodes}
    uses = Counter(byid[edge.source].label for edge in full.edges if byid[edge.source].kind == "parameter")
    assert uses == {name: n for name, n in counts.items() if name != "operations"}
    outside = {n.id for n in full.nodes if n.kind in ("parameter", "input", "detached")}
    outside |= {n.id for n in full.nodes if n.op in ("concatenate", "stack") and n.grad is None}  # not on the tape
    assert counts["operations"] == sum(e.source not in outside and e.kind != "detached" for e in full.edges)
    if view == "rolled":
        assert sum(edge.times for edge in graph.edges) == len(full.edges)
    inputs = [node for node in full.nodes if node.kind == "input"]
    for node in inputs:
        assert any(edge.source == node.id for edge in full.edges), node.label


def unrolled(network: Any, xs: Any) -> Any:
    from minigrad.programs.rolled import unfold

    returned = network(*xs)
    unfold([returned.edge])
    return returned


def test_lines_of_an_encoder_and_of_a_decoder_have_room_below_both() -> None:
    """Their weights' lines run below all columns, also below those of the other, and cross no state's label."""
    encoder, decoder = nn.GRU(3, 4, num_layers=2), nn.GRU(3, 4, num_layers=2)
    modules = {"encoder": encoder, "decoder": decoder}
    weights = {f"{m}.{n}": p for m in modules for n, p in modules[m].named_parameters()}

    def network(xs: Any, ys: Any) -> Any:
        return mg.name((decoder(ys, encoder(xs)[1])[0] ** 2).sum(), "loss")

    for view in ("textbook", "all of a textbook"):
        check(mg.graph(network, mg.randn(3, 2, 3), mg.randn(4, 2, 3), params=weights, **VIEWS[view]))
