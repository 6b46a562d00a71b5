"""Light and dark pages, and pages of a given aspect ratio."""

from __future__ import annotations

from dataclasses import replace
from math import fsum

from .detours import Point
from .palette import DARK
from .scene import Label, Scene, Shape

THEMES = ("auto", "light", "dark")
ASPECTS = {"slide": 16 / 9, "column": 3 / 4, "square": 1.0}  # width divided by height
WIDEST = 3.0  # how many times wider a free stripe may become


def check_theme(operation: str, theme: str) -> None:
    """Raise ValueError for an unknown theme."""
    if theme not in THEMES:
        raise ValueError(f"{operation}: theme must be one of {', '.join(THEMES)}, got {theme!r}")


def themed(color: str, theme: str) -> str:
    """A light page's colour in another theme."""
    return DARK.get(color.upper(), color) if theme == "dark" else color


def shaped(scene: Scene, aspect: str | float | None) -> Scene:
    """The picture on a page of this aspect ratio: the free stripes between its nodes are widened towards it, and the
    rest of the page is blank."""
    if aspect is None:
        return scene
    ratio = ASPECTS.get(aspect) if isinstance(aspect, str) else float(aspect)
    if ratio is None or not ratio > 0:
        raise ValueError(
            f"render: aspect must be one of {', '.join(ASPECTS)}, or width by height as a number, got {aspect!r}"
        )
    x0, y0, x1, y1 = scene.bounds
    scene = widened(scene, 0, (y1 - y0) * ratio - (x1 - x0))
    scene = widened(scene, 1, (x1 - x0) / ratio - (y1 - y0))
    x0, y0, x1, y1 = scene.bounds
    width, height = max(x1 - x0, (y1 - y0) * ratio), max(y1 - y0, (x1 - x0) / ratio)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return replace(scene, bounds=(x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def widened(scene: Scene, axis: int, by: float) -> Scene:
    """The picture with wider free stripes between nodes, across x (axis 0) or y (axis 1). Nodes keep their sizes."""
    solid = [one.rect() for one in scene.nodes if one.form != "none"]
    solid += [*[one.rect() for one in scene.labels], *[rect for rect, _ in scene.swatches]]
    stripes: list[tuple[float, float]] = []
    end: float | None = None
    for low, high in sorted((rect[axis], rect[axis + 2]) for rect in solid):
        if end is not None and low > end:
            stripes.append((end, low))
        end = high if end is None else max(end, high)
    free = fsum(high - low for low, high in stripes)
    by = min(by, (WIDEST - 1) * free)
    if by <= 0:
        return scene

    def at(value: float) -> float:
        return value + by / free * fsum(min(max(value - low, 0.0), high - low) for low, high in stripes)

    def moved(point: Point) -> Point:
        return (at(point[0]), point[1]) if axis == 0 else (point[0], at(point[1]))

    def label(one: Label) -> Label:
        x, y = moved((one.x, one.y))
        return replace(one, x=x, y=y)

    def shape(one: Shape) -> Shape:
        x, y = moved((one.x, one.y))
        if one.form == "frame":
            (a, b), (c, d) = moved(one.rect()[:2]), moved(one.rect()[2:])
            x, y, one = (a + c) / 2, (b + d) / 2, replace(one, width=c - a, height=d - b)
            return replace(one, x=x, y=y, labels=tuple(map(label, one.labels)))
        labels = tuple([replace(text, x=text.x + x - one.x, y=text.y + y - one.y) for text in one.labels])
        return replace(one, x=x, y=y, labels=labels)

    lines = [replace(one, way=tuple(map(moved, one.way)), dots=tuple(map(moved, one.dots)),
                     mark=label(one.mark) if one.mark is not None else None) for one in scene.lines]  # fmt: skip
    x0, y0, x1, y1 = scene.bounds
    return replace(
        scene,
        bounds=(*moved((x0, y0)), *moved((x1, y1))),
        frames=tuple(map(shape, scene.frames)),
        lines=tuple(lines),
        nodes=tuple(map(shape, scene.nodes)),
        labels=tuple(map(label, scene.labels)),
        swatches=tuple([((*moved(rect[:2]), *moved(rect[2:])), color) for rect, color in scene.swatches]),
    )
