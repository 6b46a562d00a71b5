"""Pictures: golden text, counts in the drawn file, labels of any kind."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.pictures import draw, quoted
from minigrad.pictures.labels import printable

SVG = "{http://www.w3.org/2000/svg}"


def rnn(steps: int, truncate_at: int | None = None) -> mg.Tensor:
    w = mg.tensor(np.eye(2), requires_grad=True)
    w.name = "W_s"
    b = mg.tensor(np.zeros(2), requires_grad=True)
    x = mg.tensor(np.ones((steps, 1, 2)))
    s = mg.zeros((1, 2), dtype=np.float64)
    with mg.scope("rnn"):
        for t, x_t in mg.steps(x):
            if t == truncate_at:
                s = s.detach()
            s = mg.name(np.tanh(mg.name(x_t, "x") + s @ w + b), "s")
    return mg.name(s.sum(), "loss")


def test_the_same_program_gives_the_same_text() -> None:
    first, second = (mg.graph(rnn(2), shapes=True).dot() for _ in range(2))
    assert first == second
    golden = Path(__file__).with_name("golden_rnn.dot")
    assert first == golden.read_text(encoding="utf-8")


def test_clusters_parameters_and_state_edges_are_counted() -> None:
    graph = mg.graph(rnn(3))
    dot = graph.dot()
    assert [f"t = {t}" in dot for t in range(4)] == [True, True, True, False]
    assert dot.count('label="rnn"') == 1
    assert [n.label for n in graph.nodes if n.kind == "parameter"].count("W_s") == 1
    assert sum(e.kind == "state" for e in graph.edges) == 2
    assert sum(n.kind == "output" for n in graph.nodes) == 1


def test_a_detached_state_is_dashed() -> None:
    graph = mg.graph(rnn(3, truncate_at=2))
    (source,) = [n for n in graph.nodes if n.kind == "detached"]
    assert source.label == "s"
    assert [e.kind for e in graph.edges if e.source == source.id] == ["detached"]
    assert "style=dashed" in graph.dot()


def test_given_names_win() -> None:
    w = mg.tensor(np.ones(2), requires_grad=True)
    for params in ({"weight": w}, [("weight", w)]):
        assert mg.graph((w * 2).sum(), params=params).nodes[0].label == "weight"


@pytest.mark.parametrize("ending", ["svg", "png", "pdf", "dot"])
def test_files_are_drawn(tmp_path: Path, ending: str) -> None:
    path = mg.graph(rnn(2)).render(tmp_path / f"g.{ending}")
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph"}[ending]
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_the_drawn_svg_shows_every_node_and_cluster_once(tmp_path: Path) -> None:
    graph = mg.graph(rnn(3))
    root = ElementTree.parse(graph.render(tmp_path / "g.svg")).getroot()
    groups = [g.get("class") for g in root.iter(f"{SVG}g")]
    assert groups.count("node") == len(graph.nodes)
    assert groups.count("edge") == len(graph.edges)
    assert groups.count("cluster") == 4
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert texts.count("W_s") == 1


def test_bad_input() -> None:
    x = mg.tensor(np.ones(2), requires_grad=True)
    with pytest.raises(ValueError, match="nothing to draw"):
        mg.graph(mg.ones(2))
    with pytest.raises(ValueError, match="nothing to draw"):
        mg.graph(x)
    y = (x * 2).sum()
    with pytest.raises(ValueError, match=r"must be .svg, .png, .pdf, .tex or .dot"):
        mg.graph(y).render("g.gif")
    with pytest.raises(OSError, match="no folder /nowhere/at/all; make it first"):
        mg.graph(y).render("/nowhere/at/all/g.svg")
    with pytest.raises(ValueError, match="view must be one of auto, full, elided, rolled, got 'short'"):
        mg.graph(y, view="short")
    with pytest.raises(ValueError, match="color must be 'grad'"):
        mg.graph(y, color="value")
    with pytest.raises(ValueError, match="direction must be"):
        mg.graph(y, direction="LR")
    with pytest.raises(ValueError, match="depth must be a number of scopes"):
        mg.graph(y, depth=-1)
    with pytest.raises(ValueError, match=r"collapse='encoder' is not a scope of this graph; its scopes are: none"):
        mg.graph(y, collapse="encoder")
    with pytest.raises(ValueError, match=r"does not keep values; pass the function"):
        mg.graph(y, values=True)
    with pytest.raises(TypeError, match="arguments are for a function"):
        mg.graph(y, x)
    with pytest.raises(ValueError, match="nothing to draw"):
        mg.graph(lambda x: x + 1, mg.ones(2))
    y.backward()
    with pytest.raises(ValueError, match="released by backward"):
        mg.graph(y)
    with pytest.raises(TypeError, match="expected a Tensor"):
        mg.graph(3)  # type: ignore[arg-type]


def test_without_a_renderer_the_text_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import graphviz

    def missing(*_: object, **__: object) -> bytes:
        raise graphviz.ExecutableNotFound(["dot"])

    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setattr(graphviz.Source, "pipe", missing)
    graph = mg.graph(rnn(2), direction="right")
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[viz\]'"):
        graph.render(tmp_path / "g.svg")
    assert list(tmp_path.iterdir()) == []
    assert "image/svg+xml" not in graph._repr_mimebundle_()
    assert graph.render(tmp_path / "g.dot").read_text("utf-8") == graph.dot()
    x = mg.ones(2, requires_grad=True)
    for own in (mg.graph(rnn(2)), mg.graph(np.tanh(x * 2))):  # our own layout needs nothing
        assert own.render(tmp_path / "g.svg").read_text("utf-8").startswith("<?xml")


def test_a_renderer_that_does_not_load_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import graphviz

    def missing(*_: object, **__: object) -> bytes:
        raise graphviz.ExecutableNotFound(["dot"])

    (tmp_path / "pygraphviz.py").write_text('raise ImportError("libxyz.so.6: cannot open shared object file")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pygraphviz", raising=False)
    monkeypatch.setattr(graphviz.Source, "pipe", missing)
    with pytest.raises(ImportError, match=r"apt install graphviz.*not usable \(libxyz\.so\.6: cannot open"):
        mg.graph(rnn(2), direction="right").render(tmp_path / "g.svg")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "g.dot"
    target.mkdir()
    with pytest.raises(OSError, match=r"g\.dot"):
        mg.graph(rnn(1)).render(target)
    assert list(tmp_path.iterdir()) == [target]


def test_too_many_nodes_are_not_laid_out(tmp_path: Path) -> None:
    x = mg.tensor(np.ones(1), requires_grad=True)
    y = x
    for _ in range(4000):
        y = y + 1.0
    with pytest.raises(ValueError, match=r"4,001 nodes are more than can be laid out .* view='auto'"):
        mg.graph(y, view="full").render(tmp_path / "g.svg")
    mg.graph(y).render(tmp_path / "g.svg")


def test_drawing_touches_nobodys_grad() -> None:
    x = mg.tensor(np.ones(2), requires_grad=True)
    y = (x * 2).sum()
    mg.graph(y).dot()
    assert x.grad is None
    y.backward()


def test_a_very_long_graph_is_built() -> None:
    x = mg.tensor(np.ones(1), requires_grad=True)
    y = x
    for _ in range(40_000):
        y = y + 1.0
    assert len(mg.graph(y, view="full").nodes) == 40_001
    short = mg.graph(y)
    assert len(short.nodes) < 50
    assert sum(node.count for node in short.nodes) == 40_001
    assert "elided automatically: 40,001 nodes" in short.dot()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
@example("\\E\\N\\G\\T\\L\\n")  # escapes of Graphviz's
def test_any_label_is_drawn(text: str) -> None:
    """Whatever it is, the file is XML, and holds what can be held: as a plain label and beside small lines."""
    x = mg.tensor(np.ones(1), requires_grad=True)
    x.name = text
    for shapes in (False, True):
        graph = mg.graph(mg.name(x * 2, text), shapes=shapes)
        found = [t.text for t in ElementTree.fromstring(draw(graph.dot(), "svg")).iter(f"{SVG}text")]
        for line in printable(text).split("\n"):
            if line.strip():
                assert line.strip() in [(t or "").strip() for t in found]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_any_label_is_quoted(text: str) -> None:
    found = quoted(text)
    assert found[0] == found[-1] == '"'
    inner = found[1:-1]
    assert "\n" not in inner
    assert not re.search(r'(?<!\\)(\\\\)*"', inner)


@pytest.mark.parametrize(
    "label", ['a "quoted" one', "<b>bold</b>", "two\nlines", "ünïcødé ∂L/∂h", "\\N \\G back", "x" * 300]
)
def test_odd_labels_are_drawn(tmp_path: Path, label: str) -> None:
    x = mg.tensor(np.ones(1), requires_grad=True)
    x.name = label
    root = ElementTree.parse(mg.graph(x * 2).render(tmp_path / "g.svg")).getroot()
    texts = [t.text for t in root.iter(f"{SVG}text")]
    for line in label.split("\n"):
        assert line in texts


def test_notebooks_show_the_picture() -> None:
    bundle = mg.graph(rnn(2))._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<?xml")
    assert bundle["text/plain"] == repr(mg.graph(rnn(2)))
