"""Pages with pictures of their own: each picture that is shown is made, and committed as it is made."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra `viz`")
import drawing
import make_diagnose
import make_interventions
import make_models
import make_programs

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [
    DOCS.parent / "README.md",
    *(DOCS / f"{page}.md" for page in ("diagnose", "engine", "interventions", "models", "programs")),
]


def shown(page: str) -> set[str]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return set(re.findall(rf"\]\({page}/([^)]+)\)", text))


def words(path: Path) -> list[str]:
    """All text of a picture. Coordinates may differ with the versions of what draws it."""
    return sorted(element.text or "" for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text"))


def test_models(tmp_path: Path) -> None:
    made = make_models.make_all(tmp_path)
    assert {path.name for path in made} == shown("models")
    for path in made:
        assert words(path) == words(DOCS / "models" / path.name), "run docs/make_models.py"


def test_programs_and_the_engine(tmp_path: Path) -> None:
    made = make_programs.make_all(tmp_path)
    for page in make_programs.PAGES:
        assert {path.name for path in made if path.parent.name == page} == shown(page)
    for path in made:
        assert words(path) == words(DOCS / path.relative_to(tmp_path)), "run docs/make_programs.py"


@pytest.fixture(scope="module")
def diagnosed() -> Iterator[dict[str, Any]]:
    """The plots that the page on diagnosis makes."""
    with drawing.style():
        yield dict(drawing.pictures_of(DOCS / "diagnose.md"))


OTHERS = {"four-networks.svg", "report.svg"}  # not a plot of the page's code


@pytest.mark.parametrize("name", sorted(shown("diagnose") - OTHERS))
def test_diagnose(name: str, diagnosed: dict[str, Any], tmp_path: Path) -> None:
    assert set(diagnosed) == shown("diagnose") - OTHERS
    path = drawing.save(diagnosed[name], tmp_path / name)
    assert words(path) == words(DOCS / "diagnose" / name), "run docs/make_diagnose.py"


def test_the_four_networks(tmp_path: Path) -> None:
    made = make_diagnose.make_four(tmp_path / "four-networks.svg")
    assert words(made) == words(DOCS / "diagnose" / made.name), "run docs/make_diagnose.py"


def test_the_page_of_the_report(tmp_path: Path) -> None:
    made = make_diagnose.make_report(tmp_path / "report.svg")
    kept = DOCS / "diagnose" / made.name
    assert words(made) == words(kept), "run docs/make_diagnose.py"
    assert "".join(ET.parse(made).getroot().itertext()) == "".join(ET.parse(kept).getroot().itertext())
    assert "(prefers-color-scheme: dark)" in kept.read_text(encoding="utf-8")


def test_interventions(tmp_path: Path) -> None:
    made = make_interventions.make(tmp_path)
    assert {path.name for path in made} == shown("interventions")
    for path in made:
        assert words(path) == words(DOCS / "interventions" / path.name), "run docs/make_interventions.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_is_there_and_has_a_text_in_its_place(page: Path) -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert pictures
    for text, path in pictures:
        assert text
        assert (page.parent / path).exists(), path


def test_plots_follow_the_page() -> None:
    """Colours of a plot change on a dark page, and its text is not black on black."""
    with drawing.style():
        figure, ax = drawing.axes()
        ax.plot([0, 1], [0, 1], color=drawing.BLUE)
        ax.set_title("a title")
        out = io.StringIO()
        figure.savefig(out, format="svg")
    svg = drawing.adaptive(out.getvalue())
    root = ET.fromstring(svg)
    sheet = root.find("{http://www.w3.org/2000/svg}style")
    assert root.get("class") == "plot"
    assert sheet is not None
    rules = sheet.text or ""
    assert '.plot [style*="stroke: #4477aa"], .plot [stroke="#4477aa"] { stroke: #7fb2e5 !important }' in rules
    assert '.plot [style*="fill: #ffffff"], .plot [fill="#ffffff"] { fill: #16191d !important }' in rules
    assert "<metadata>" not in svg  # which has a date
    assert drawing.adaptive(svg) == svg
