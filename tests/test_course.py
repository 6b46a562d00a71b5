"""The course: its figures are what the script makes, and its links lead somewhere.

That its code runs and gives what the pages say is tested with the other pages.
"""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

import minigrad as mg

pytest.importorskip("matplotlib")

DOCS = Path(__file__).parent.parent / "docs"
COURSE = DOCS / "course"
PAGES = sorted(COURSE.glob("*.md"))
FIGURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)[^)]*\)")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_figures", DOCS / "make_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn_here(name: str) -> bool:
    """Whether a figure is the script's; those of the long-memory tasks are the examples', and take minutes."""
    return not name.startswith("long-memory-")


def shown() -> set[str]:
    paths = {path for page in PAGES for _, path in FIGURE.findall(page.read_text("utf-8"))}
    return {path for path in paths if drawn_here(Path(path).name)}


def test_the_script_makes_every_figure_that_is_shown(script: ModuleType, tmp_path: Path) -> None:
    made = script.make_all(tmp_path)
    names = {f"figures/{path.name}" for path in made}
    assert names == shown()
    there = {f"figures/{path.name}" for path in (COURSE / "figures").iterdir() if drawn_here(path.name)}
    assert names == there, "run docs/make_figures.py"
    for path in made:
        assert ET.parse(path).getroot().tag.endswith("svg")
        assert path.stat().st_size < 60_000, path.name


def test_figures_are_reproducible(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes, whatever was drawn or computed before."""
    few = ("unrolled.svg", "tanh.svg", "bptt-terms.svg")
    monkeypatch.setattr(script, "FIGURES", {name: script.FIGURES[name] for name in few})
    first = script.make_all(tmp_path / "a")
    mg.manual_seed(7)
    second = script.make_all(tmp_path / "b")
    assert len(first) == len(few)
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    text = page.read_text("utf-8")
    links = LINK.findall(text)
    assert links
    for link in links:
        assert "://" in link or (page.parent / link).exists(), f"{page.name} links to {link}"
    assert all(alternative for alternative, _ in FIGURE.findall(text)), "a figure needs a text in its place"


def test_the_contents_list_every_page_in_order() -> None:
    numbered = [page.name for page in PAGES if page.name[0].isdigit()]
    assert re.findall(r"\((\d-[^)]+\.md)\)", (COURSE / "README.md").read_text("utf-8")) == numbered
