"""A graph as a file, a page or a notebook display: the methods of `Graph` that need the writers."""

from __future__ import annotations

import contextlib
import os
from html import escape
from pathlib import Path
from typing import Any

from . import html as pages
from .dot import dot
from .drawing import MOST, ending_of, write
from .film import animate
from .graph import Graph
from .places import scene
from .scene import Scene
from .svg import svg
from .themes import check_theme, shaped
from .tikz import tikz

ENDINGS = ("svg", "png", "pdf", "tex", "dot")


def render(
    self: Graph, path: str | os.PathLike[str], *, theme: str = "auto", aspect: str | float | None = None
) -> Path:  # fmt: skip
    """Draw into a file, whose suffix (.svg, .png, .pdf, .tex for TikZ, .dot) selects the format; returns the path.
    The file is written atomically.

    theme   "light", "dark", or "auto": light, and in SVG dark where the reader's page is
    aspect  of the page: "slide" (16:9), "column" (3:4), "square", or width divided by height

    Raises ValueError for another suffix, OSError if the file cannot be written, ImportError if no renderer is
    installed.
    """
    ending = ending_of("render", path, ENDINGS)
    check_theme("render", theme)
    if ending == "dot":
        return write(path, self.dot().encode())
    if len(self.nodes) > MOST:
        raise ValueError(
            f"render: {len(self.nodes):,} nodes are more than can be laid out in reason; draw less of the graph, with "
            "view='auto' or 'elided', depth= or collapse=, or look at it with .html()"
        )
    return write(path, drawn(shaped(scene(self), aspect), ending, theme))


def drawn(scene: Scene, ending: str, theme: str) -> bytes:
    """The content of a file with this suffix."""
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
    """Write one self-contained page to open in a browser: zoom, collapse, search, step through time."""
    return pages.html(self, path)


def mimebundle(self: Graph, **_: Any) -> dict[str, str]:
    """The representations for notebooks."""
    bundle = {"text/plain": repr(self)}
    if len(self.nodes) <= MOST:
        with contextlib.suppress(ImportError):
            bundle["image/svg+xml"] = svg(scene(self))
        bundle["text/html"] = framed(pages.page(self.data()))
    return bundle


def framed(page: str) -> str:
    """A page in an iframe, with its own script, style and origin, so that it cannot affect the page around it."""
    look = "width: 100%; height: 560px; border: 1px solid #d0d0d0; border-radius: 6px"
    return f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts allow-downloads" style="{look}"></iframe>'


Graph.dot = dot  # type: ignore[method-assign]
Graph.render = render  # type: ignore[method-assign]
Graph.animate = animate  # type: ignore[method-assign]
Graph.html = html  # type: ignore[method-assign]
Graph._repr_mimebundle_ = mimebundle  # type: ignore[method-assign]
