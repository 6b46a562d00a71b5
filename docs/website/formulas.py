"""Formulas as MathML, written while the site is built: the browser draws them, without a script.

The font is STIX Two Math (SIL Open Font License), which the package `ziamath` brings; only signs of formulas are kept.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from fontTools import subset
from latex2mathml.converter import convert
from sphinx.application import Sphinx

FONT = "STIXTwoMath-Regular.ttf"
SIGNS = (
    (0x20, 0x7E), (0xA0, 0xFF), (0x300, 0x338), (0x370, 0x3FF), (0x2010, 0x205F), (0x20D0, 0x20DC), (0x2100, 0x2134),
    (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2308, 0x230B), (0x239B, 0x23B3), (0x23DE, 0x23DF), (0x27E8, 0x27E9),
    (0x1D400, 0x1D7FF),
)  # fmt: skip
LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
BIG = ("∑", "∏")
BARS = ("|", "‖", "∣", "∥")


def mathml(tex: str, display: str) -> str:
    """A formula of TeX as MathML; display is inline or block."""
    tree = ElementTree.fromstring(convert(tex.replace("{aligned}", "{align*}"), xmlns="", display=display))
    tree.set("aria-label", " ".join(tex.split()))
    for node in tree.iter("mo"):
        if node.text in BARS:  # not a relation, so no space around; as high as by \left, or as a letter
            node.attrib |= {"lspace": "0", "rspace": "0", "stretchy": node.get("stretchy", "false")}
    for node in [*tree.iter()]:
        if node.tag in LIMITS and node[0].tag == "mo":
            if (
                display == "block" and node[0].text in BIG
            ):  # between brackets that grow, limits were put beside their sign
                node.tag = LIMITS[node.tag]
            elif "minsize" in node[0].attrib:  # browsers let a bracket grow in a row, not below a power
                row = ElementTree.Element("mrow")
                row.append(node[0])
                node[0] = row
    return ElementTree.tostring(tree, encoding="unicode")


def write_font(path: Path) -> None:
    """Write the font of formulas as WOFF2."""
    options = subset.Options(flavor="woff2", layout_features=["ssty", "flac", "dtls"], hinting=False)
    with as_file(files("ziamath") / "fonts" / FONT) as source:
        font = subset.load_font(str(source), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[code for first, last in SIGNS for code in range(first, last + 1)])
    cutter.subset(font)
    path.parent.mkdir(parents=True, exist_ok=True)
    subset.save_font(font, str(path), options)


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
