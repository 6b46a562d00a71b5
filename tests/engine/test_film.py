"""Films of graphs: the order of values and gradients, and files that play by themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.pictures.playback import playback

SVG = "{http://www.w3.org/2000/svg}"
T = 3


def network(backward: bool = False, **options: Any) -> mg.Graph:
    """A vanilla network of three steps; its numbers are drawn anew."""
    W, b = mg.randn(2, 2, requires_grad=True), mg.zeros(2, requires_grad=True)

    def f(xs: Any) -> Any:
        s = mg.zeros((1, 2))
        for _, x in mg.steps(xs):
            s = mg.name(np.tanh(x + s @ W + b), "s")
        return mg.name(s.sum(), "loss")

    return mg.graph(f, mg.randn(T, 1, 2), params={"W": W, "b": b}, backward=backward, **options)


def called(graph: mg.Graph, label: str) -> list[str]:
    return [node.id for node in graph.nodes if label in (node.label, node.op)]


# ---- the order -------------------------------------------------------------------------------------------------------


def test_values_come_in_the_order_of_the_tape_and_gradients_in_reverse() -> None:
    graph = network()
    moments = playback(graph, "operation")
    computed = [node.id for node in graph.nodes if node.op]
    assert [sorted(one.now) for one in moments] == [[], *[[id] for id in computed], *[[id] for id in computed[::-1]]]
    assert [one.phase for one in moments] == ["", *["forward"] * len(computed), *["backward"] * len(computed)]
    for k, one in enumerate(moments[1 : len(computed) + 1], 1):
        assert one.computed & set(computed) == set(computed[:k])
        for edge in graph.edges:
            assert edge.target not in one.computed or edge.source in one.computed  # nothing is used before it is there


def test_the_gradient_of_a_shared_parameter_is_complete_with_its_last_use() -> None:
    graph = network()
    (b,) = called(graph, "b")
    shares = [one.arrived.get(b, 0.0) for one in playback(graph, "operation") if one.phase == "backward"]
    assert sorted(set(shares)) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert shares == sorted(shares)


def test_a_time_step_at_a_time() -> None:
    graph = network()
    steps = [
        {n.id for n in graph.nodes if n.op and n.steps == ({"t": t} if t is not None else {})} for t in (0, 1, 2, None)
    ]
    assert [set(one.now) for one in playback(graph, "time")][1:] == [*steps, *steps[::-1]]
    boxes = network(collapse="t")
    assert [len(one.now) for one in playback(boxes, "time")[1:]] == [1] * 8
    assert len(playback(network(view="rolled"), None)) > 1
    long = mg.graph(lambda xs: nn.RNN(2, 2)(xs)[0].sum(), mg.randn(20, 1, 2), view="full")
    assert len(playback(long, None)) < 60  # by time, since there are many operations


def test_what_is_cut_off_gets_no_gradient() -> None:
    W = mg.randn(2, 2, requires_grad=True)

    def f(x: Any) -> Any:
        return (np.tanh(x @ W).detach() @ W).sum()

    graph = mg.graph(f, mg.randn(1, 2), params={"W": W})
    (cut,) = [node.id for node in graph.nodes if node.kind == "detached"]
    end = playback(graph)[-1]
    assert cut in end.computed
    assert cut not in end.arrived


# ---- the norm of what leaves a box -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"collapse": "t"}, {"style": "textbook"}])
def test_a_box_has_the_norm_of_the_gradient_of_what_leaves_it(options: dict[str, Any]) -> None:
    mg.manual_seed(0)
    whole = network()
    mg.manual_seed(0)
    boxes = network(**options)
    states = [node.grad.norm for node in whole.nodes if node.label == "s" and node.grad]
    found = [node.grad for node in boxes.nodes if node.kind in ("collapsed", "cell")]
    assert [grad.norm for grad in found if grad] == pytest.approx(states)
    assert all(grad is not None and grad.mean is None for grad in found)


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"backward": True}, {"style": "textbook"}, {"view": "rolled"},
                                     {"collapse": "t"}, {"direction": "right"}])  # fmt: skip
def test_svg_plays_without_a_script(tmp_path: Path, options: dict[str, Any]) -> None:
    graph = network(**options)
    text = graph.animate(tmp_path / "g.svg").read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert "script" not in text
    assert "prefers-reduced-motion" in text
    style = "".join(one.text or "" for one in root.iter(f"{SVG}style"))
    classes = set(re.findall(r"^\.(a\d+) ", style, re.MULTILINE))
    assert classes == set(re.findall(r"@keyframes (a\d+) ", style))
    assert classes == {group.get("class") for group in root.iter(f"{SVG}g") if group.get("class")}
    stops = [[float(at) for at in re.findall(r"([\d.]+)% ", frames)] for frames in style.split("@keyframes")[1:]]
    assert all(one == sorted(one) and one[0] == 0 and one[-1] == 100 for one in stops)
    assert "backward: gradients" in text
    assert "norm of the gradient" in text


def test_a_graph_without_gradients_plays_too(tmp_path: Path) -> None:
    w = mg.randn(3, requires_grad=True)
    text = mg.graph((np.tanh(w) * w).sum()).animate(tmp_path / "g.svg").read_text("utf-8")
    assert "backward: gradients" in text
    assert "norm of the gradient" not in text


def test_gif_has_a_picture_for_each_moment(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow, which comes with Matplotlib (extra `viz`)")
    w = mg.randn(3, requires_grad=True)
    graph = mg.graph(lambda x: (x * w).sum(), mg.randn(3), params={"w": w})
    moments = playback(graph)
    with image.open(graph.animate(tmp_path / "g.gif", seconds=0.5)) as film:
        assert film.n_frames == len(moments) + 1
        assert film.info["loop"] == 0
        durations = []
        for k in range(film.n_frames):
            film.seek(k)
            durations.append(film.info["duration"])
        assert film.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
        assert durations[1] == 500
        assert durations[-1] == 3500
    with image.open(graph.animate(tmp_path / "d.gif", theme="dark")) as film:
        assert max(film.convert("RGB").getpixel((2, 2))) < 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "g.mp4"}, "the ending must be .svg or .gif"),
        ({"theme": "blue"}, "theme must be one of auto, light, dark, got 'blue'"),
        ({"by": "layer"}, "by must be 'operation' or 'time', got 'layer'"),
        ({"seconds": 0}, "seconds must be positive"),
    ],
)
def test_what_no_film_can_be_made_of_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / change.pop("path", "g.svg")
    with pytest.raises(ValueError, match=message):
        network().animate(path, **change)
    assert not path.exists()


def test_a_film_that_nobody_watches_to_its_end_is_refused(tmp_path: Path) -> None:
    x = mg.randn(3, requires_grad=True)
    y = x
    for _ in range(210):
        y = y * 1.5
    graph = mg.graph(y.sum(), view="full")
    with pytest.raises(ValueError, match="moments are more than anybody watches"):
        graph.animate(tmp_path / "g.svg")
