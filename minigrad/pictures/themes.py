"""Light and dark pages, and pages of a given aspect ratio."""

from __future__ import annotations

from dataclasses import replace

from .palette import DARK
from .scene import Scene

THEMES = ("auto", "light", "dark")
ASPECTS = {"slide": 16 / 9, "column": 3 / 4, "square": 1.0}  # width divided by height


def check_theme(operation: str, theme: str) -> None:
    """Raise ValueError for an unknown theme."""
    if theme not in THEMES:
        raise ValueError(f"{operation}: theme must be one of {', '.join(THEMES)}, got {theme!r}")


def themed(color: str, theme: str) -> str:
    """A light page's colour in another theme."""
    return DARK.get(color.upper(), color) if theme == "dark" else color


def shaped(scene: Scene, aspect: str | float | None) -> Scene:
    """The picture in the middle of a page of this aspect ratio."""
    if aspect is None:
        return scene
    ratio = ASPECTS.get(aspect) if isinstance(aspect, str) else float(aspect)
    if ratio is None or not ratio > 0:
        raise ValueError(
            f"render: aspect must be one of {', '.join(ASPECTS)}, or width by height as a number, got {aspect!r}"
        )
    x0, y0, x1, y1 = scene.bounds
    width, height = max(x1 - x0, (y1 - y0) * ratio), max(y1 - y0, (x1 - x0) / ratio)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return replace(scene, bounds=(x - width / 2, y - height / 2, x + width / 2, y + height / 2))
