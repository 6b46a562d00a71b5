"""The gallery: the committed pictures equal those of the script, and show their subjects."""

from __future__ import annotations

import importlib.util
import re
import time
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

import minigrad as mg
import nn
from minigrad.pictures import draw
from minigrad.pictures.loops import running_totals

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs"
SVG = "{http://www.w3.org/2000/svg}"
NAMES = (
    "neuron", "rnn-full", "rnn-elided", "rnn-rolled", "lstm-cell", "gru-cell", "bidirectional", "attention",
    "vanishing", "windows", "textbook", "cell", "backward", "film",
)  # fmt: skip
STILL = {"film-still.svg"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_is_what_the_script_draws(script: ModuleType, name: str, tmp_path: Path) -> None:
    found = script.draw(name, tmp_path / "g.svg").read_text("utf-8")
    committed = (DOCS / "gallery" / f"{name}.svg").read_text("utf-8")
    if name in ("neuron", "cell"):  # Graphviz places it, each version in its own way
        found, committed = (re.sub(r"[\d.]+", "", text) for text in (found, committed))
    if name in (
        "vanishing",
        "backward",
        "film",
    ):  # colours of gradients are numbers, whose last digit differs between machines
        found, committed = (re.sub(r'fill="#\w+"|>[\d.]+<', "", text) for text in (found, committed))
    assert found == committed, "run docs/make_gallery.py"


def test_the_page_is_made_by_the_script(script: ModuleType) -> None:
    assert tuple(script.PICTURES) == NAMES
    assert (DOCS / "gallery.md").read_text("utf-8") == script.page(), "run docs/make_gallery.py"
    assert {path.name for path in (DOCS / "gallery").iterdir()} == {f"{name}.svg" for name in NAMES} | STILL


@pytest.mark.parametrize("name", NAMES[:-1])
def test_the_drawn_file_shows_every_node_edge_and_step(script: ModuleType, name: str) -> None:
    graph = script.make(name)
    root = ElementTree.parse(DOCS / "gallery" / f"{name}.svg").getroot()
    groups = [g.get("class") for g in root.iter(f"{SVG}g")]
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert groups.count("node") == len(graph.nodes)
    assert groups.count("edge") == len(graph.edges)
    scopes = {node.scope[: k + 1] for node in graph.nodes for k in range(len(node.scope))}
    assert groups.count("cluster") == (0 if graph.options.style else len(scopes))
    for node in graph.nodes:
        if node.kind == "parameter" and not graph.options.style:
            assert texts.count(node.label) == 1
    red = [
        g for g in root.iter(f"{SVG}g") if g.get("class") == "edge" and "#bb5566" in ElementTree.tostring(g, "unicode")
    ]
    if not graph.options.backward:
        assert len(red) == sum(edge.steps is not None for edge in set(graph.edges) - running_totals(graph))


def test_steps_are_counted(script: ModuleType) -> None:
    def steps(name: str) -> list[str]:
        texts = [t.text or "" for t in ElementTree.parse(DOCS / "gallery" / f"{name}.svg").iter(f"{SVG}text")]
        return sorted(text for text in texts if text.startswith("t = "))

    assert steps("rnn-full") == ["t = 0", "t = 1", "t = 2"]
    assert steps("rnn-elided") == ["t = 0", "t = 1", "t = 2", "t = 3 … 98", "t = 99"]
    assert steps("rnn-rolled") == ["t = 0 … 99"]
    assert steps("bidirectional") == sorted([f"t = {t}" for t in range(3)] * 4)


def test_three_steps_are_readable_at_a_width_of_1000() -> None:
    width = ElementTree.parse(DOCS / "gallery" / "rnn-full.svg").getroot().get("width")
    assert width is not None
    assert float(width.removesuffix("pt")) < 1000


def test_the_gradient_vanishes_in_one_lane_and_not_in_the_other(script: ModuleType) -> None:
    graph = script.make("vanishing")

    def norms(op: str) -> list[float]:
        found = {node.steps["t"]: node for node in graph.nodes if node.op == op and node.steps}
        return [max(o.grad.norm for o in node.outputs if o.grad) if node.outputs else node.grad.norm
                for _, node in sorted(found.items())]  # fmt: skip

    rnn, lstm = norms("rnn"), norms("lstm")
    assert rnn[0] < 1e-2 * rnn[-1]
    assert rnn == sorted(rnn)
    assert lstm[0] > 0.1 * max(lstm)


def test_building_and_drawing_are_fast() -> None:
    """Bounds with much room: fifty steps of an LSTM in 0.3 s, and elided and drawn in two."""
    layer, x = nn.LSTM(8, 8), mg.randn(50, 4, 8)
    output = layer(x)[0]
    start = time.process_time()
    whole = mg.graph(output, params=layer.named_parameters(), view="full")
    middle = time.process_time()
    draw(mg.graph(output, view="elided").dot(), "svg")
    end = time.process_time()
    assert len(whole.nodes) > 100
    assert middle - start < 0.3
    assert end - middle < 2
