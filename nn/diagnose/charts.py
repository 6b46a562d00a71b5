"""Small pictures as inline SVG, for self-contained pages."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from math import floor, isfinite, log10

import numpy as np

from .result import BLUE, COLORS, GREY, INK, RED, Array

WIDTH, HEIGHT = 420, 130
LEFT, RIGHT, TOP, BOTTOM = 56, 120, 10, 26
BLOCKS = "▁▂▃▄▅▆▇█"


def curves(
    series: Mapping[str, Array], x: str, *, log: bool = False, at: Sequence[float] | None = None,
    level: float | None = None,
) -> str:  # fmt: skip
    """Curves over steps, or over the positions `at`; a logarithmic axis leaves out values that are not positive."""
    shown = {name: np.asarray(v, float) for name, v in list(series.items())[: len(COLORS)]}
    usable = {name: np.where(np.isfinite(v) & ((v > 0) | (not log)), v, np.nan) for name, v in shown.items()}
    places = {name: np.asarray(at if at is not None else np.arange(len(v)), float) for name, v in usable.items()}
    numbers = np.concatenate([*[v[np.isfinite(v)] for v in usable.values()], [level] if level is not None else []])
    if not numbers.size:
        return ""
    scaled = np.log10 if log else np.asarray
    low, high = float(scaled(numbers.min())), float(scaled(numbers.max()))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    first = min(float(p.min()) for p in places.values())
    last = max(float(p.max()) for p in places.values())

    def across(place: Array) -> Array:
        return LEFT + (place - first) / max(last - first, 1e-9) * (WIDTH - LEFT - RIGHT)

    def up(value: Array) -> Array:
        return TOP + (high - scaled(value)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = _axes(first, last, low, high, log, x)
    if level is not None:
        y = float(up(np.array(level)))
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{RED}"/>')
    for k, (name, values) in enumerate(usable.items()):
        good = np.isfinite(values)
        points = zip(across(places[name][good]), up(values[good]), strict=True)
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        color = COLORS[k]
        if good.sum() == 1:
            a, b = path.split(",")
            parts.append(f'<circle cx="{a}" cy="{b}" r="3" fill="{color}"/>')
        else:
            parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        parts.append(_text(WIDTH - RIGHT + 8, TOP + 10 + 15 * k, shortened(name), "start", color))
    return _svg(parts, HEIGHT)


def bars(shares: Mapping[str, Sequence[float]], colors: Sequence[str] = (BLUE, GREY)) -> str:
    """One bar for each name, divided into parts of a whole."""
    parts, y = [], TOP
    for name, each in list(shares.items())[:12]:
        x = float(LEFT + 90)
        parts += [_text(x - 8, y + 10, shortened(name, 24), "end", INK), _box(x, y, WIDTH - x - 10, 12, "#EEEEEE")]
        for part, color in zip(each, colors, strict=False):
            wide = max(0.0, min(float(part), 1.0)) * (WIDTH - LEFT - 100)
            parts.append(_box(x, y, wide, 12, color))
            x += wide
        y += 18
    return _svg(parts, y + 6) if parts else ""


def squares(rows: Mapping[str, Array]) -> str:
    """One row of squares for each name, dark for nonzero numbers."""
    parts, y = [], TOP
    for name, values in rows.items():
        parts.append(_text(LEFT + 82, y + 10, shortened(name), "end", INK))
        side = min(14.0, (WIDTH - LEFT - 100) / max(len(values), 1))
        parts += [_box(LEFT + 90 + k * side, y, side - 1, 12, RED if v else "#DDDDDD") for k, v in enumerate(values)]
        y += 18
    return _svg(parts, y + 6)


def shortened(name: str, most: int = 18) -> str:
    """The end of a long name, which distinguishes it from others."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def sparkline(values: Array, log: bool = False, width: int = 40) -> str:
    """The values as a line of block characters, at most `width` of them."""
    v = np.asarray(values, float)
    v = v[np.linspace(0, len(v) - 1, min(len(v), width)).round().astype(int)] if len(v) else v
    good = np.isfinite(v) & ((v > 0) | (not log))
    if not good.any():
        return ""
    scaled = np.log10(v, where=good, out=np.zeros_like(v)) if log else v
    low, high = scaled[good].min(), scaled[good].max()
    at = np.where(good, (scaled - low) / max(high - low, 1e-9) * (len(BLOCKS) - 1), 0)
    return "".join(BLOCKS[int(k)] if g else "·" for k, g in zip(at.round(), good, strict=True))


def _axes(first: float, last: float, low: float, high: float, log: bool, x: str) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = [f'<path d="M{LEFT},{TOP} V{bottom} H{WIDTH - RIGHT}" fill="none" stroke="{GREY}"/>']
    for value, y in ((high, TOP + 4), (low, bottom + 3)):
        parts.append(_text(LEFT - 6, y, _number(10**value if log else value), "end", INK))
    for value, place in ((first, LEFT), (last, WIDTH - RIGHT)):
        parts.append(_text(place, bottom + 14, _number(value), "middle", INK))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 18, x, "middle", GREY))
    return parts


def _number(value: float) -> str:
    if not isfinite(value):
        return str(value)
    if value and not -3 < floor(log10(abs(value))) < 4:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.3g}"


def _text(x: float, y: float, text: str, anchor: str, color: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{color}">{html.escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{height:.0f}" fill="{color}"/>'


def _svg(parts: list[str], height: float) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    style = "max-width:100%;height:auto;font:10px Helvetica,Arial,sans-serif"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{style}">{"".join(parts)}</svg>'
