"""The course: its figures are what the script makes, and its links lead somewhere.

That its code runs and gives what the pages say is tested with the other pages.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import minigrad as mg

pytest.importorskip("matplotlib")
import make_figures

DOCS = Path(__file__).parent.parent / "docs"
COURSE = DOCS / "course"
PAGES = sorted(COURSE.glob("*.md"))
FIGURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)[^)]*\)")


def drawn_here(name: str) -> bool:
    """True for a figure of the script; those of the long-memory tasks are the examples', and take minutes."""
    return not name.startswith("long-memory-")


def shown() -> set[str]:
    paths = {path for page in PAGES for _, path in FIGURE.findall(page.read_text("utf-8"))}
    return {path for path in paths if drawn_here(Path(path).name)}


def test_every_figure_that_is_shown_is_made() -> None:
    made = {f"figures/{name}" for name in make_figures.FIGURES}
    assert made == shown()
    assert made == {f"figures/{path.name}" for path in (COURSE / "figures").iterdir() if drawn_here(path.name)}


@pytest.mark.parametrize("name", make_figures.FIGURES)
def test_the_committed_figures_are_what_the_script_makes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_figures, "FIGURES", {name: make_figures.FIGURES[name]})
    (path,) = make_figures.make_all(tmp_path)
    assert ET.parse(path).getroot().tag.endswith("svg")
    assert path.stat().st_size < 60_000
    assert words(path) == words(COURSE / "figures" / name), "run docs/make_figures.py"


def words(path: Path) -> list[str]:
    """All text of a picture. Coordinates may differ with the versions of what draws it."""
    return sorted(element.text or "" for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("name", ["unrolled.svg", "tanh.svg", "bptt-terms.svg"])
def test_figures_are_reproducible(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes, whatever was drawn or computed before."""
    monkeypatch.setattr(make_figures, "FIGURES", {name: make_figures.FIGURES[name]})
    (first,) = make_figures.make_all(tmp_path / "a")
    mg.manual_seed(7)
    (second,) = make_figures.make_all(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


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


@pytest.mark.parametrize("page", [page for page in PAGES if page.name[0].isdigit()], ids=lambda page: page.name)
def test_each_page_ends_with_exercises_that_have_solutions(page: Path) -> None:
    exercises = page.read_text("utf-8").partition("\n## Exercises\n")[2]
    questions = re.findall(r"^\*\*(\d)\. .+?\*\*", exercises, re.MULTILINE)
    assert questions == [str(k + 1) for k in range(len(questions))]
    assert len(questions) >= 3
    assert exercises.count("<summary>Solution</summary>") == exercises.count("</details>") == len(questions)
    assert exercises.count(">>> ") > 0
