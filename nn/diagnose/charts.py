"""Small pictures as inline SVG, for self-contained pages: curves and bars with their axes and legends."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

import numpy as np

from .result import COLORS, GREY, INK, RED, Array, share
from .scales import Scale, place_of, written

WIDTH, HEIGHT = 380, 120  # of a picture, of the area of its curves; a phone shows both at their size
LEFT, RIGHT, TOP = 52, 14, 24
NAMES, SHARES = 130, 52  # the columns beside bars: names before them, numbers after them
LINE = 16  # from one line of text to the next
LETTER = 6.0  # width of an average letter
FAINT, BETWEEN = "#E8E8E8", "#DDDDDD"
BLOCKS = "▁▂▃▄▅▆▇█"
SUBSCRIPT = re.compile(r"_\{(.+?)\}|_(\w)")

Key = tuple[str, str, str]  # an entry of a legend: its kind ("line", "limit" or "box"), its colour, its text


def curves(
    series: Mapping[str, Array], x: str, y: str, *, log: bool = False, at: Sequence[float] | None = None,
    limit: float | None = None, meaning: str = "", percent: bool = False,
) -> str:  # fmt: skip
    """Curves over steps, or on a logarithmic axis over the positions `at`.

    x, y     the names of the axes; `_t` and `_{t+1}` are subscripts
    log      a logarithmic y axis, which leaves out values that are not positive
    limit    the height of a dashed line, and its `meaning` in the legend
    percent  values are shares
    """
    shown = {name: np.asarray(v, float) for name, v in list(series.items())[: len(COLORS)]}
    usable = {name: np.where(np.isfinite(v) & ((v > 0) | (not log)), v, np.nan) for name, v in shown.items()}
    places = {name: np.asarray(at if at is not None else np.arange(len(v)), float) for name, v in usable.items()}
    numbers = np.concatenate([*[v[np.isfinite(v)] for v in usable.values()], [] if limit is None else [limit]])
    if not numbers.size:
        return ""
    across = Scale(np.concatenate(list(places.values())), LEFT, WIDTH - RIGHT, log=at is not None, whole=at is None)
    up = Scale(numbers, TOP + HEIGHT, TOP, log=log)
    parts = _axes(across, up, x, f"{y} (logarithmic axis)" if log else y, percent)
    keys: list[Key] = []
    for color, (name, values) in zip(COLORS, usable.items(), strict=False):
        good = np.isfinite(values)
        points = list(zip(across(places[name][good]), up(values[good]), strict=True))
        if len(points) == 1:
            parts.append(f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" fill="{color}"/>')
        else:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        keys.append(("line", color, shortened(name, 26)))
    if limit is not None:
        height = float(up(np.array(limit)))
        parts.append(_line(LEFT, height, WIDTH - RIGHT, height, RED, 'stroke-dasharray="4 3" stroke-width="1.4"'))
        keys.append(("limit", RED, meaning))
    if len(series) > len(shown):
        keys.append(("", INK, f"{len(shown)} of {len(series)} are shown"))
    return _svg(*_with_legend(parts, keys, TOP + HEIGHT + 2 * LINE + 6))


def bars(
    shares: Mapping[str, Sequence[float]], x: str, keys: Sequence[tuple[str, str]], numbers: Mapping[str, float],
    title: str = "", most: int = 12,
) -> str:  # fmt: skip
    """One bar for each name, from 0 to 100 %, divided into parts.

    x        the name of the axis
    keys     the (color, meaning) of each part
    numbers  a share for each name, written after its bar, below the `title`
    """
    if not shares:
        return ""
    left, right = NAMES, WIDTH - SHARES
    parts, y = ([_text(WIDTH, 13, title, "end")], 20.0) if title else ([], 6.0)
    for name, each in list(shares.items())[:most]:
        parts += [
            _text(left - 8, y + 11, shortened(name, 18), "end"), _box(left, y, right - left, 13, FAINT),
            _text(right + 6, y + 11, share(numbers[name]), "start"),
        ]  # fmt: skip
        place = float(left)
        for part, (color, _) in zip(each, keys, strict=True):
            wide = max(0.0, min(float(part), 1.0)) * (right - left)
            parts.append(_box(place, y, wide, 13, color))
            place += wide
        y += LINE + 2
    if len(shares) > most:
        parts.append(_text(left, y + 11, f"{most} of {len(shares)} are shown", "start"))
        y += LINE
    for part in (0.0, 0.5, 1.0):
        parts.append(_text(left + part * (right - left), y + 12, f"{part:.0%}".replace("%", " %"), "middle"))
    parts.append(_text((left + right) / 2, y + 12 + LINE, x, "middle"))
    return _svg(*_with_legend(parts, [("box", *key) for key in keys], y + 12 + LINE))


def squares(rows: Mapping[str, Array], x: str, on: str, off: str) -> str:
    """One row of squares for each name, red for nonzero numbers; `on` and `off` are their meanings."""
    parts, y, side = [], 6.0, 14.0
    for name, values in rows.items():
        side = min(14.0, (WIDTH - NAMES - RIGHT) / max(len(values), 1))
        parts.append(_text(NAMES - 8, y + 11, shortened(name), "end"))
        parts += [_box(NAMES + k * side, y, side - 1, 13, RED if v else BETWEEN) for k, v in enumerate(values)]
        y += LINE + 2
    count = max(map(len, rows.values()))
    parts += [_text(NAMES + (k + 0.5) * side, y + 11, str(k), "middle") for k in sorted({0, count - 1})]
    parts.append(_text(NAMES, y + 11 + LINE, x, "start"))
    return _svg(*_with_legend(parts, [("box", RED, on), ("box", BETWEEN, off)], y + 11 + LINE))


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


def _axes(across: Scale, up: Scale, x: str, y: str, percent: bool) -> list[str]:
    """Ticks, faint lines at their heights, and the names of both axes."""
    bottom = TOP + HEIGHT
    parts = [_title(4, TOP - 11, y, "start")]
    for value in up.ticks:
        height = place_of(up, value)
        parts.append(_line(LEFT, height, WIDTH - RIGHT, height, FAINT))
        parts.append(_text(LEFT - 6, height + 4, f"{100 * value:.3g} %" if percent else written(value), "end"))
    parts.append(f'<path d="M{LEFT},{TOP} V{bottom} H{WIDTH - RIGHT}" fill="none" stroke="{GREY}"/>')
    for value in across.ticks:
        place = place_of(across, value)
        parts.append(_line(place, bottom, place, bottom + 4, GREY))
        parts.append(_text(place, bottom + 16, written(value), "middle"))
    parts.append(_title((LEFT + WIDTH - RIGHT) / 2, bottom + 16 + LINE, x, "middle"))
    return parts


def _with_legend(parts: list[str], keys: Sequence[Key], y: float) -> tuple[list[str], float]:
    """The parts with a legend below y, and the height of both."""
    x, parts = 4.0, list(parts)
    y += LINE + 4
    for kind, color, text in keys:
        wide = (22 if kind else 0) + LETTER * len(text) + 14
        if x > 4 and x + wide > WIDTH:
            x, y = 4.0, y + LINE
        if kind == "box":
            parts.append(_box(x, y - 10, 14, 11, color))
        elif kind:
            style = 'stroke-dasharray="4 3" stroke-width="1.4"' if kind == "limit" else 'stroke-width="2"'
            parts.append(_line(x, y - 4, x + 16, y - 4, color, style))
        parts.append(_text(x + (22 if kind else 0), y, text, "start"))
        x += wide
    return parts, y + 6


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{INK}">{html.escape(text)}</text>'


def _title(x: float, y: float, text: str, anchor: str) -> str:
    """The name of an axis, with its subscripts set lower."""

    def lower(found: re.Match[str]) -> str:
        return f'<tspan dy="3" font-size="9">{found[1] or found[2]}</tspan><tspan dy="-3">&#8203;</tspan>'

    plain = _text(x, y, text, anchor)
    return SUBSCRIPT.sub(lower, plain)


def _line(x: float, y: float, to_x: float, to_y: float, color: str, more: str = "") -> str:
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {ends} stroke="{color}" {more}/>'


def _box(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{height:.0f}" fill="{color}"/>'


def _svg(parts: list[str], height: float) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    style = "max-width:100%;height:auto;font:11px Helvetica,Arial,sans-serif"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{style}">{"".join(parts)}</svg>'
