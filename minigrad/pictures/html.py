"""An interactive page for a graph: one file with its script, style and data.

The page is built from the files in `viewer/`, one subject each. It is self-contained, and its Content-Security-Policy
forbids loading anything. Data are inserted as text.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from . import palette
from .drawing import write
from .graph import KINDS, Graph
from .packing import packed

# In order of dependency.
SCRIPTS = (
    "unpacking", "colours", "titles", "sizes", "look", "items", "bands", "boxes", "columns", "layout", "detours",
    "routes", "placing", "groups", "model", "writing", "drawing", "callouts", "playback", "search", "panel", "input",
    "camera", "export", "links", "wiring", "viewer", "main",
)  # fmt: skip


def html(graph: Graph, path: str | os.PathLike[str], title: str | None = None) -> Path:
    """See `Graph.html`: write the page atomically, with the file's name as title; returns the path.

    Raises ValueError for a suffix other than .html and .htm, OSError if the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"html: {path.name!r} must end in .html; .render() draws to other files")
    text = page(graph.data(), path.stem if title is None else title)
    return write(path, text.encode(errors="replace"))  # a file's name may contain lone surrogates


def page(data: dict[str, Any], title: str = "Graph") -> str:
    """The page for a graph as plain data."""
    style = "\n" + _part("style.css")
    script = "\n" + "\n".join(_part(f"{name}.js") for name in SCRIPTS)
    filled = {
        "title": escape(title),
        "style-hash": _hash(style),
        "script-hash": _hash(script),
        "style": style,
        "script": script,
        "palette": harmless(_palette()),
        "graph": harmless(packed(data)),
    }
    first, *rest = _part("page.html").split("{{")
    pieces = [first]
    for piece in rest:
        name, _, text = piece.partition("}}")
        pieces += [filled[name], text]
    return "".join(pieces)


def harmless(data: Any) -> str:
    """JSON that is safe inside a page: nothing in it ends a script or begins a tag."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII: other letters are escaped
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _palette() -> dict[str, Any]:
    """The colours and signs of all pictures, as the viewer needs them."""
    return {
        "kinds": {kind: _look(palette.STYLES[kind]) | _FORMS.get(kind, {}) for kind in KINDS},
        "textbook": {kind: _look(style) for kind, style in palette.TEXTBOOK.items()},
        "squashes": palette.SQUASHES,
        "pointwise": palette.POINTWISE,
        "signs": palette.SIGNS,
        "tones": palette.TONES,
        "dark": palette.DARK | {"#225577": "#8CC4F0", "#AA3377": "#F08CC8"},
        "scale": palette.SCALE,
        "decades": palette.DECADES,
        "legends": palette.LEGENDS,
        "zero": {"grad": palette.NOTHING, "change": palette.UNCHANGED},
        "notFinite": palette.NOT_FINITE,
        "broken": palette.BROKEN,
        "ink": palette.INK,
        "grey": palette.GREY,
        "red": palette.RED,
        "blue": palette.BLUE,
    }


_FORMS = {"parameter": {"form": "pill"}}  # with its shape beside its name


def _look(style: Mapping[str, str]) -> dict[str, Any]:
    """The look of a kind of node, from its Graphviz attributes."""
    lines, shape = style.get("style", ""), style["shape"]
    drawn = shape != "plaintext"
    forms = {"ellipse": "oval", "plaintext": "none", "box3d": "pages", "box": "round" if "round" in lines else "sharp"}
    return {
        "form": forms[shape],
        "fill": style.get("fillcolor", "#FFFFFF") if drawn else None,
        "border": style.get("color") if drawn else None,
        "width": float(style.get("penwidth", 1)),
        "dash": [4, 3] if "dashed" in lines else [1.5, 2.5] if "dotted" in lines else None,
        "ink": style.get("fontcolor", palette.INK),
    }


@cache
def _part(name: str) -> str:
    from importlib.resources import files  # slow to import, as is hashlib

    return (files(__package__) / "viewer" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The page's Content-Security-Policy entry for a text."""
    import hashlib

    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
