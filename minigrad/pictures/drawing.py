"""Files, written atomically; and graphs as text, laid out and drawn by pygraphviz or the system's Graphviz."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

DOT_ENDINGS = ("svg", "png", "pdf", "dot")
MOST = 3000  # nodes: beyond that, Graphviz takes minutes


def render_dot(dot: str, path: str | os.PathLike[str]) -> Path:
    """Write a text in Graphviz's language, or its picture, depending on the path's suffix."""
    ending = ending_of("render", path, DOT_ENDINGS)
    return write(path, dot.encode() if ending == "dot" else draw(dot, ending))


def ending_of(operation: str, path: str | os.PathLike[str], endings: Sequence[str]) -> str:
    """The suffix of a path, without its dot. Raises ValueError unless it is one of `endings`."""
    ending = Path(path).suffix.lstrip(".").lower()
    if ending not in endings:
        *others, last = [f".{each}" for each in endings]
        known = f"{', '.join(others)} or {last}"
        raise ValueError(f"{operation}: cannot draw {Path(path).name!r}; the ending must be {known}")
    return ending


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


def svg_bundle(dot: str) -> dict[str, str]:
    """The picture that notebooks display of a text in Graphviz's language; nothing if none can be drawn."""
    with contextlib.suppress(ImportError):
        return {"image/svg+xml": draw(dot, "svg").decode()}
    return {}
