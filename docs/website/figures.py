"""Figures for light and for dark pages: each SVG stands twice on a page, and the theme shows one of them.

A figure that carries its dark colours in a media query follows the system, not the page, so the query is decided here.
In all other figures light and dark change places, and hues stay.
"""

from __future__ import annotations

import colorsys
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from minigrad.pictures.palette import DARK

THEMES = ("light", "dark")
QUERY = "(prefers-color-scheme: dark)"
COLOR = re.compile(r"(?<=[:\"\s])(#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b|white|black)(?=[\";\s])")
NAMED = {"white": "#ffffff", "black": "#000000"}
PAGE = "#131416"  # the theme's dark page
WIDE = 360.0  # points; a phone shows some 270
DARKEST, INK = 0.08, 0.92  # the lightness of that page, and of its text


def both(text: str) -> tuple[str, str]:
    """An SVG's text for light and for dark pages."""
    if QUERY in text:
        return text.replace(QUERY, "not all"), text.replace(QUERY, "all").replace(DARK["#FFFFFF"].lower(), PAGE)
    if "<image" in text:  # a heat map: white stands for a number there, and the figure stays on white
        return text, text
    turned = COLOR.sub(lambda found: turn(found[0]), text)
    return text, re.sub(r"<svg\b", f'<svg fill="{turn("#000000")}"', turned, count=1)  # the colour of plain text


def turn(color: str) -> str:
    """A light page's colour as a dark page has it: white becomes the page's, black the ink's, a hue stays."""
    color = NAMED.get(color, color)
    if len(color) == 4:
        color = "#" + "".join(2 * digit for digit in color[1:])
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    if min(red, green, blue) == 1:
        return PAGE
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    drawn = light**1.5 if light < 0.7 else light**0.8  # lines contrast with the page, areas with their content
    turned = colorsys.hls_to_rgb(hue, INK - (INK - DARKEST) * drawn, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in turned)


def of_theme(figure: str, theme: str) -> str:
    """The name of a figure for a theme."""
    return figure if theme == "light" or not figure.endswith(".svg") else f"{figure.removesuffix('.svg')}.dark.svg"


def copy(source: Path, target: Path) -> None:
    """Write both forms of a figure: x.svg, and x.dark.svg beside it. Other files are copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".svg":
        target.write_bytes(source.read_bytes())
        return
    light, dark = both(source.read_text(encoding="utf-8"))
    target.write_text(light, encoding="utf-8")
    Path(of_theme(str(target), "dark")).write_text(dark, encoding="utf-8")


def width(path: Path) -> float:
    """The width of an SVG in points; 0 of other files."""
    found = (
        re.search(r"<svg\b[^>]*?\bwidth=\"([\d.]+)", path.read_text(encoding="utf-8"))
        if path.suffix == ".svg"
        else None
    )
    return float(found[1]) if found else 0.0


class TwoThemes(SphinxTransform):
    """Put the dark form of each figure beside the light one, and say which are wide."""

    default_priority = 500

    def apply(self, **options: Any) -> None:
        page = Path(self.env.doc2path(self.env.docname))
        for image in list(self.document.findall(nodes.image)):
            uri = image["uri"]
            if (page.parent / uri).exists() and width(page.parent / uri) > WIDE:
                image["classes"] = [*image["classes"], "wide"]  # on a phone it scrolls rather than shrinks
            dark = of_theme(uri, "dark")
            if dark != uri and (page.parent / dark).exists():
                other = image.deepcopy()
                other["uri"] = dark
                other["classes"] = [*image["classes"], "only-dark"]
                image["classes"] = [*image["classes"], "only-light"]
                image.parent.insert(image.parent.index(image) + 1, other)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(TwoThemes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
