"""The parts of the site, before any browser sees them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
for name in ("sphinx", "myst_parser", "latex2mathml", "fontTools"):
    pytest.importorskip(name, reason="needs the extra site")
sys.path.insert(0, str(ROOT / "docs" / "website"))
figures, formulas, pages, reference = map(importlib.import_module, ("figures", "formulas", "pages", "reference"))


def test_a_figure_of_its_own_for_dark_pages() -> None:
    light, dark = figures.both("<svg><style>@media (prefers-color-scheme: dark) { p { fill: #fff } }</style></svg>")
    assert "@media not all" in light
    assert "@media all" in dark
    plot = '<svg width="9"><path style="fill: #ffffff; stroke: #333333"/><path stroke="red"/></svg>'
    light, dark = figures.both(plot)
    assert light == plot
    assert figures.PAGE in dark
    assert "#333333" not in dark
    assert 'stroke="red"' in dark


@pytest.mark.parametrize(("color", "darker"), [("#ffffff", "#eeeeee"), ("#eeeeee", "#999999"), ("#999999", "#000000")])
def test_light_and_dark_change_places(color: str, darker: str) -> None:
    assert int(figures.turn(color)[1:3], 16) < int(figures.turn(darker)[1:3], 16)


def test_heat_maps_stay_on_white() -> None:
    assert len({*figures.both('<svg fill="#ffffff"><image href="data:"/></svg>')}) == 1


def test_formulas() -> None:
    tree = ElementTree.fromstring(formulas.mathml(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "block"))
    assert [len(row) for row in tree.iter("mtr")] == [2, 2]
    tree = ElementTree.fromstring(formulas.mathml(r"\left( \prod_{j=1}^T x_j < 1 \right)", "block"))
    assert len([*tree.iter("munderover")]) == 1  # limits stand below and above
    assert tree.get("aria-label") == r"\left( \prod_{j=1}^T x_j < 1 \right)"
    bars = ElementTree.fromstring(formulas.mathml(r"\lvert x \rvert \le \max |x|", "inline")).iter("mo")
    assert {(bar.get("lspace"), bar.get("stretchy")) for bar in bars if bar.text in formulas.BARS} == {("0", "false")}
    tree = ElementTree.fromstring(formulas.mathml(r"\Big( x \Big)^2", "inline"))
    assert [mo.text for mo in tree.findall(".//msup/mrow/mo")] == [")"]  # as high as the other one


def test_a_docstring_becomes_markdown() -> None:
    doc = """The sum.

    a, b  what is added,
          of one shape
    out   None

        y = a + b

    >>> 1 + 1
    2
    """
    made = reference.markdown(doc)
    assert "* `a, b`: what is added, of one shape\n* `out`: None" in made
    assert "\n    y = a + b\n" in made
    assert made.endswith("```python\n>>> 1 + 1\n2\n```")


@pytest.mark.parametrize("package", reference.SECTIONS)
def test_every_public_name_is_in_the_reference(package: str) -> None:
    text = "\n".join(reference.pages(package).values())
    for name in reference.public_names(importlib.import_module(package)):
        assert f" {package}.{name}" in text


def test_links_lead_on_the_site(tmp_path: Path) -> None:
    page = ROOT / "docs" / "course" / "1-vanilla-rnn.md"
    text = "[a](../nn.md#cells) [b](../../README.md) [c](../make_gallery.py) [d](https://e.org) `[e](f.md)`\n"
    made = pages.mended(text, page, tmp_path)
    assert "[a](../nn.md#cells) [b](../index.md) [c](../source/docs/make_gallery.py.md) [d](https://e.org)" in made
    assert pages.mended("[r](docs/decisions)", ROOT / "README.md", tmp_path) == "[r](decisions/index.md)"
    assert "def rnn_full()" in (tmp_path / "source" / "docs" / "make_gallery.py.md").read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"course/1-vanilla-rnn\.md: gone\.md leads nowhere"):
        pages.mended("[x](gone.md)", page, tmp_path)


def test_a_moving_picture_has_a_still_one_beside_it(tmp_path: Path) -> None:
    figure = "docs/gallery/neuron.svg"
    text = f'<picture><source media="(m)" srcset="{figure}"><img src="{figure}" alt="a"></picture>'
    made = pages.mended(text, ROOT / "README.md", tmp_path)
    assert made.count("gallery/neuron.svg") == made.count("gallery/neuron.dark.svg") == 2
    assert (tmp_path / pages.EXTRA / "gallery" / "neuron.dark.svg").exists()
