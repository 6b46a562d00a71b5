"""Ratios over sizes, drawn from the rows of cases that are named "...: what, X = number"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .compare import Measurement

NAME = re.compile(r"^(?P<what>.*), (?P<along>\w+) = (?P<number>\d+)$")
Points = list[tuple[int, float, float, float]]  # size, ratio, lowest, highest


def series(rows: Sequence[Measurement]) -> dict[tuple[str, str], dict[str, Points]]:
    """For each (what, along): the points of each pair of the case's first side and another one."""
    found: dict[tuple[str, str], dict[str, Points]] = {}
    for row in rows:
        named = NAME.match(row.case.name)
        if named and row.ratios and not row.side.startswith("minigrad"):
            lines = found.setdefault((named["what"], named["along"]), {})
            pair = f"{next(iter(row.case.sides))} / {row.side}"
            point = (int(named["number"]), median(row.ratios), min(row.ratios), max(row.ratios))
            lines.setdefault(pair, []).append(point)
    return found


def draw(rows: Sequence[Measurement], path: Path) -> None:
    """A panel for each series: time of the case's first side divided by each other's, and 1 as a line.

    Raises ValueError if no case of these rows has a size in its name.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = series(rows)
    if not panels:
        raise ValueError("none of these cases has a size in its name, as in `--only scaling`")
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.6), sharey=True, squeeze=False)
    for axis, ((what, along), lines) in zip(axes[0], panels.items(), strict=True):
        for pair, points in lines.items():
            sizes, ratios, low, high = zip(*points, strict=True)
            (line,) = axis.plot(sizes, ratios, marker="o", label=pair)
            axis.fill_between(sizes, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set_title(f"{what.partition(': ')[2]}, along {along}", fontsize=10)
        _dress(axis, sorted({size for points in lines.values() for size, *_ in points}), along)
    axes[0][0].set_ylabel("ratio of times (below 1: minigrad is faster)")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _dress(axis: Any, sizes: list[int], along: str) -> None:
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_yticks([0.25, 0.5, 1, 2, 4, 8], ["0.25", "0.5", "1", "2", "4", "8"])
    axis.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel(along)
    axis.grid(visible=True, which="major", alpha=0.3)
