"""A graph as a file, a page or what a notebook displays: the methods of `Graph` that need the writers."""

from __future__ import annotations

import contextlib
import os
from html import escape
from pathlib import Path
from typing import Any

from . import html as pages
from .dot import dot
from .drawing import MOST, write
from .graph import Graph
from .places import scene
from .scene import Scene
from .svg import svg
from .themes import THEMES, shaped
from .tikz import tikz

ENDINGS = ("svg", "png", "pdf", "tex", "dot")


def render(
    self: Graph, path: str | os.PathLike[str], *, theme: str = "auto", aspect: str | float | None = None
) -> Path:  # fmt: skip
    """Draw to a file, whose ending (.svg, .png, .pdf, .tex for TikZ, .dot) says how; the path. All of it is written,
    or nothing.

    theme   "light", "dark", or "auto": light, and in SVG dark where the reader's page is
    aspect  of the page: "slide" (16:9), "column" (3:4), "square", or its width by its height

    Raises ValueError for another ending, OSError where the file cannot be written, ImportError if nothing is installed
    that can draw.
    """
    path = Path(path)
    ending = path.suffix.lstrip(".").lower()
    if ending not in ENDINGS:
        raise ValueError(f"render: cannot draw {path.name!r}; the ending must be .svg, .png, .pdf, .tex or .dot")
    if theme not in THEMES:
        raise ValueError(f"render: theme must be one of {', '.join(THEMES)}, got {theme!r}")
    if ending == "dot":
        return write(path, self.dot().encode())
    if len(self.nodes) > MOST:
        raise ValueError(
            f"render: {len(self.nodes):,} nodes are more than can be laid out in reason; draw less of the graph, with "
            "view='auto' or 'elided', depth= or collapse=, or look at it with .html()"
        )
    return write(path, drawn(shaped(scene(self), aspect), ending, theme))


def drawn(scene: Scene, ending: str, theme: str) -> bytes:
    """The content of a file of this ending."""
    if ending == "svg":
        return svg(scene, theme).encode()
    if ending == "tex":
        return tikz(scene, theme).encode()
    try:
        from .plots import plotted

        return plotted(scene, ending, theme)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"to draw .{ending}, install matplotlib (pip install 'minigrad[viz]'); .svg needs nothing"
        ) from error


def html(self: Graph, path: str | os.PathLike[str]) -> Path:
    """Write one self-contained page to look at in a browser: zoom, collapse, search, step through time."""
    return pages.html(self, path)


def mimebundle(self: Graph, **_: Any) -> dict[str, str]:
    """What notebooks display."""
    bundle = {"text/plain": dot(self)}
    if len(self.nodes) <= MOST:
        with contextlib.suppress(ImportError):  # without a renderer, the text is still there
            bundle["image/svg+xml"] = svg(scene(self))
        bundle["text/html"] = framed(pages.page(self.data()))
    return bundle


def framed(page: str) -> str:
    """A page inside another: with its own script, style and origin, so that it can touch nothing around it."""
    look = "width: 100%; height: 560px; border: 1px solid #d0d0d0; border-radius: 6px"
    return f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts allow-downloads" style="{look}"></iframe>'


Graph.dot = dot  # type: ignore[method-assign]
Graph.render = render  # type: ignore[method-assign]
Graph.html = html  # type: ignore[method-assign]
Graph._repr_mimebundle_ = mimebundle  # type: ignore[method-assign]
