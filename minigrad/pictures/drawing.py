"""Files: a graph's text, laid out and drawn by pygraphviz or the system's Graphviz, and written atomically."""

from __future__ import annotations

import contextlib
import os
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .graph import Graph

if TYPE_CHECKING:
    from .scene import Scene

ENDINGS = ("svg", "png", "pdf", "tex", "dot")
DOT_ENDINGS = ("svg", "png", "pdf", "dot")
MOST = 3000  # nodes: beyond that, Graphviz takes minutes


def render(
    graph: Graph, path: str | os.PathLike[str], theme: str = "auto", aspect: str | float | None = None
) -> Path:  # fmt: skip
    """See `Graph.render`."""
    from .scene import scene
    from .themes import THEMES, shaped

    path = Path(path)
    ending = path.suffix.lstrip(".").lower()
    if ending not in ENDINGS:
        raise ValueError(f"render: cannot draw {path.name!r}; the ending must be .svg, .png, .pdf, .tex or .dot")
    if theme not in THEMES:
        raise ValueError(f"render: theme must be one of {', '.join(THEMES)}, got {theme!r}")
    if ending == "dot":
        return write(path, graph.dot().encode())
    if len(graph.nodes) > MOST:
        raise ValueError(
            f"render: {len(graph.nodes):,} nodes are more than can be laid out in reason; draw less of the graph, with "
            "view='auto' or 'elided', depth= or collapse=, or look at it with .html()"
        )
    return write(path, drawn(shaped(scene(graph), aspect), ending, theme))


def drawn(scene: Scene, ending: str, theme: str) -> bytes:
    """The content of a file with this suffix."""
    from .svg import svg
    from .tikz import tikz

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


def render_dot(dot: str, path: str | os.PathLike[str]) -> Path:
    """Write a text in Graphviz's language, or its picture, depending on the path's suffix."""
    path = Path(path)
    ending = path.suffix.lstrip(".").lower()
    if ending not in DOT_ENDINGS:
        raise ValueError(f"render: cannot draw {path.name!r}; the ending must be .svg, .png, .pdf or .dot")
    return write(path, dot.encode() if ending == "dot" else draw(dot, ending))


def write(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file atomically. Raises OSError with its path."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path.name}: there is no folder {path.parent}; make it first")
    try:
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    except OSError as error:
        raise type(error)(error.errno, f"cannot write {path.name}: {error.strerror}", str(path.parent)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(unfinished).chmod(0o666 & ~umask)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    return path


def draw(dot: str, ending: str) -> bytes:
    """Lay out and draw: by pygraphviz, which contains Graphviz, else by the system's `dot`."""
    try:
        import pygraphviz
    except ImportError as error:
        import graphviz

        try:
            piped: bytes = graphviz.Source(dot).pipe(format=ending)
            return piped
        except graphviz.ExecutableNotFound:
            if isinstance(error, ModuleNotFoundError):
                what = "pip install 'minigrad[viz]' (or a system Graphviz)"
            else:  # its wheel depends on libraries that minimal systems lack
                what = f"a system Graphviz (`apt install graphviz`): pygraphviz is here, but not usable ({error})"
            raise ImportError(f"to draw graphs, install {what}; .dot() and .html() work without") from None
    agraph = pygraphviz.AGraph(string=dot)
    drawn: bytes = agraph.draw(format=ending, prog="dot")
    return drawn


def mimebundle(graph: Graph) -> dict[str, str]:
    """The representations for notebooks."""
    from .html import page
    from .scene import scene
    from .svg import svg

    bundle = {"text/plain": graph.dot()}
    if len(graph.nodes) <= MOST:
        with contextlib.suppress(ImportError):  # without a renderer, the text remains
            bundle["image/svg+xml"] = svg(scene(graph))
        bundle["text/html"] = framed(page(graph.data()))
    return bundle


def framed(page: str) -> str:
    """A page in an iframe, with its own script, style and origin, so that it cannot affect the page around it."""
    look = "width: 100%; height: 560px; border: 1px solid #d0d0d0; border-radius: 6px"
    return f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts allow-downloads" style="{look}"></iframe>'


def svg_bundle(dot: str) -> dict[str, str]:
    """The representations for notebooks of a text in Graphviz's language."""
    bundle = {"text/plain": dot}
    with contextlib.suppress(ImportError):  # without a renderer, the text remains
        bundle["image/svg+xml"] = draw(dot, "svg").decode()
    return bundle
