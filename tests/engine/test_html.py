"""The page of a graph as a file: one, with nothing from elsewhere, and with the data in it as it was."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tomllib
from fnmatch import fnmatch
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.pictures import html as pages
from minigrad.pictures.graph import KINDS
from minigrad.pictures.packing import packed

ROOT = Path(__file__).parents[2]
VIEWER = ROOT / "minigrad" / "pictures" / "viewer"


class Page(HTMLParser):
    """The elements of a page, as a browser takes them: (tag, attributes, text)."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}", {}, ""))  # what follows is no longer inside

    def handle_data(self, data: str) -> None:
        if self.elements:
            tag, attributes, text = self.elements[-1]
            self.elements[-1] = (tag, attributes, text + data)

    def find(self, tag: str, **wanted: str) -> list[tuple[str, dict[str, str | None], str]]:
        return [one for one in self.elements if one[0] == tag and wanted.items() <= one[1].items()]

    def json(self, name: str) -> Any:
        ((_, _, text),) = self.find("script", id=name)
        return json.loads(text)


def rnn(xs: mg.Tensor, w: mg.Tensor) -> mg.Tensor:
    s = mg.zeros((1, 2), dtype=np.float64)
    with mg.scope("rnn"):
        for _, x in mg.steps(xs):
            s = mg.name(np.tanh(mg.name(x, "x") + s @ w), "s")
    return mg.name(s.sum(), "loss")


@pytest.fixture
def graph() -> mg.Graph:
    w = mg.tensor(np.eye(2) / 2, requires_grad=True)
    return mg.graph(rnn, mg.tensor(np.ones((3, 1, 2))), w)


# ---- one file, with everything in it ---------------------------------------------------------------------------------


def test_the_data_comes_out_as_it_went_in(graph: mg.Graph, tmp_path: Path) -> None:
    path = graph.html(tmp_path / "rnn.html")
    assert path == tmp_path / "rnn.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert page.json("graph") == packed(graph.data())
    assert {node["label"] for node in graph.data()["nodes"]} >= {"x", "s", "w", "loss"}
    assert page.find("title")[0][2] == "rnn"


def test_the_same_graph_gives_the_same_file(graph: mg.Graph, tmp_path: Path) -> None:
    assert graph.html(tmp_path / "g.html").read_bytes() == pages.page(graph.data(), "g").encode()


def test_nothing_comes_from_elsewhere(graph: mg.Graph) -> None:
    text = pages.page(graph.data())
    assert not re.search(r"https?:|//[a-z0-9-]+\.[a-z]|@import|url\(", text)
    for tag, attributes, _ in Page(text).elements:
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
        assert tag not in ("iframe", "object", "embed", "base", "form", "img")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "import("):
        assert forbidden not in text


def test_the_page_allows_its_own_script_and_style_only(graph: mg.Graph) -> None:
    page = Page(pages.page(graph.data()))
    ((_, meta, _),) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    policy = dict(part.strip().split(" ", 1) for part in str(meta["content"]).split(";"))
    assert policy["default-src"] == "'none'"
    scripts = [one for one in page.find("script") if "type" not in one[1]]
    for (_, _, text), source in ((*scripts, "script-src"), (*page.find("style"), "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[source] == f"'sha256-{digest}'"
    assert len(scripts) == 1


def test_the_script_is_readable() -> None:
    for path in VIEWER.glob("*.js"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("// "), path.name
        assert max(map(len, lines)) <= 120, path.name
        assert path.stem in pages.SCRIPTS, f"{path.name} is not in the page"


def test_the_viewer_is_installed_with_the_package() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    for path in VIEWER.iterdir():
        name = path.relative_to(ROOT / "minigrad").as_posix()
        assert any(fnmatch(name, pattern) for pattern in patterns["minigrad"]), name


def test_every_kind_of_node_has_a_look(graph: mg.Graph) -> None:
    looks = Page(pages.page(graph.data())).json("palette")["kinds"]
    assert looks.keys() == set(KINDS)
    for kind in KINDS:
        assert looks[kind]["border"] or kind == "input"


# ---- labels of any kind ----------------------------------------------------------------------------------------------

BREAKING = [
    "</script><script>alert(1)</script>", "<!-- <script>", "]]>", "<img src=x onerror=alert(1)>", '"', "'", "\\",
    "\\u003c", "a\nb", "\r\n", "\0", "&lt;", "&", "{{graph}}", "{{script}}", "}}", "\u2028", "ü 漢 𝄞", "\u202e",
    "\ud800", "</title>", "</style>",
]  # fmt: skip
ODD = st.sampled_from(BREAKING)
LABELS = st.one_of(ODD, st.text(st.characters(exclude_categories=())), st.builds(str.__add__, st.text(max_size=5), ODD))


def data_with(label: str) -> dict[str, Any]:
    node = {
        "id": "n0", "kind": "operation", "label": label, "op": label, "shape": [2], "dtype": label,
        "scope": [[label, None]],
        "order": 0, "line": label, "bytes": 0, "count": 1, "value": None, "grad": None,
        "outputs": [{"label": label, "value": None, "grad": None}], "inner": None,
    }  # fmt: skip
    return {"nodes": [node], "edges": [], "options": {"note": label, "color": None, "view": "full"}}


@settings(max_examples=60, deadline=None)
@given(LABELS)
def test_any_label_is_data_and_nothing_else(label: str) -> None:
    plain, odd = Page(pages.page(data_with("plain"))), Page(pages.page(data_with(label)))
    assert odd.json("graph") == packed(data_with(label))
    assert [tag for tag, _, _ in odd.elements] == [tag for tag, _, _ in plain.elements]


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.sampled_from([b for b in BREAKING if b.isprintable()]), st.text()))
def test_any_title_is_text(title: str) -> None:
    plain, text = Page(pages.page(data_with("x"))), pages.page(data_with("x"), title)
    odd = Page(text)
    assert [tag for tag, _, _ in odd.elements] == [tag for tag, _, _ in plain.elements]
    found = re.search(r"<h1>(.*?)</h1>", text, re.DOTALL)
    assert found is not None
    assert unescape(found[1]) == unescape(pages.escape(title))


def test_numbers_that_are_not_finite_can_be_written(tmp_path: Path) -> None:
    w = mg.tensor(np.array([1.0, 0.0]), requires_grad=True)
    with np.errstate(all="ignore"):
        graph = mg.graph(lambda w: (np.array([0.0, 1.0]) / w).sum(), w)
    page = Page(graph.html(tmp_path / "inf.html").read_text(encoding="utf-8"))
    assert page.json("graph") == packed(graph.data())
    assert "inf" in json.dumps(page.json("graph"))


# ---- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["g.svg", "g", "html"])
def test_another_ending_is_refused(graph: mg.Graph, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"must end in \.html"):
        graph.html(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(graph: mg.Graph, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        graph.html(tmp_path / "nowhere" / "g.html")


def test_a_path_that_cannot_be_written_leaves_nothing(graph: mg.Graph, tmp_path: Path) -> None:
    (tmp_path / "g.html").mkdir()  # a folder in the way
    with pytest.raises(OSError, match=r"g\.html"):
        graph.html(tmp_path / "g.html")
    assert [path.name for path in tmp_path.iterdir()] == ["g.html"]


def test_the_old_file_stays_when_writing_fails(
    graph: mg.Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.html"
    path.write_text("old", encoding="utf-8")

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        graph.html(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["g.html"]


def test_any_file_name_will_do(graph: mg.Graph, tmp_path: Path) -> None:
    path = graph.html(tmp_path / os.fsdecode(b"<i> & \xff.htm"))
    assert Page(path.read_text(encoding="utf-8")).find("title")[0][2] == "<i> & ?"


def test_drawing_touches_no_gradient(graph: mg.Graph, tmp_path: Path) -> None:
    w = mg.tensor(np.eye(2), requires_grad=True)
    mg.graph(rnn, mg.tensor(np.ones((2, 1, 2))), w).html(tmp_path / "g.html")
    assert w.grad is None


def test_no_name_stands_twice_in_the_viewer_s_script() -> None:
    text = "\n".join(pages._part(f"{name}.js") for name in pages.SCRIPTS)
    names = re.findall(r"^(?:const|let|function\*?|class) +(\w+)", text, re.MULTILINE)
    assert sorted(names) == sorted(set(names))
