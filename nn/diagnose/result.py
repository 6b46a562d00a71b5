"""The base of all results: a verdict in words, a readable text, and the style of pictures."""

from __future__ import annotations

import contextlib
import functools
import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tables import html_table

from ..training.files import StrPath

Array = np.ndarray[Any, Any]

# P. Tol's colours, in an order that colour-blind readers can distinguish; the course's figures use the same
BLUE, RED, GOLD, GREEN, GREY, INK = "#4477AA", "#BB5566", "#CC9922", "#228833", "#9A9A9A", "#333333"
COLORS = (BLUE, RED, GOLD, GREEN, "#66CCEE", "#AA3377")
PLOT_STYLE: dict[str, Any] = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: small files, sharp in any size
}


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """Numbers with a verdict."""

    @property
    def verdict(self) -> str:
        """One line of words."""
        raise NotImplementedError

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """The titles of columns, and the rows."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.verdict}>"

    def __str__(self) -> str:
        titles, rows = self._table()
        return "\n".join([self.verdict, *table(titles, rows)])

    def plot(self, path: StrPath | None = None) -> Any:
        """A picture: the matplotlib Figure, which is written to `path` if there is one."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        titles, rows = self._table()
        parts = [f"<p>{html.escape(self.verdict)}</p>"]
        with contextlib.suppress(ImportError):  # without matplotlib, the table remains
            parts.append(self.plot()._repr_svg_())
        return "\n".join([*parts, html_table(titles, shortened([[number(v) for v in row] for row in rows]))])


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]], most: int = 12) -> list[str]:
    """Lines of aligned columns; with many rows, the first and the last ones."""
    texts = shortened([[number(value) for value in row] for row in rows], most)
    widths = [max(map(len, column)) for column in zip(titles, *texts, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [titles, *texts]]


def shortened(rows: list[list[str]], most: int = 12) -> list[list[str]]:
    """With many rows, the first and the last ones."""
    return rows if len(rows) <= most else [*rows[: most // 2], ["…"] * len(rows[0]), *rows[-most // 2 :]]


def number(value: Any) -> str:
    """Integers and words unchanged, other numbers with three digits."""
    return str(value) if isinstance(value, str | int | np.integer) else f"{value:.3g}"


def times(ratio: float) -> str:
    """A ratio: in digits if near 1, otherwise its power of ten."""
    if 10 <= ratio < 1000:
        return f"{ratio:.0f}"
    return f"{ratio:.2g}" if 0.1 <= ratio < 10 else f"{ratio:.1g}"


def share(part: float) -> str:
    """A share in percent; less than all is never shown as 100 %, and more than nothing never as 0 %."""
    if 0 < part < 1e-4:
        return "<0.01 %"
    shown = min(100 * part, 100 if part > 1 - 1e-9 else 99.9)
    return f"{shown:.3g} %" if shown >= 1 else f"{shown:.2g} %"


def multiple(ratio: float) -> str:
    """A ratio before the size that it is of: `0.03 of`, `69 times`."""
    return f"{times(ratio)} {'of' if ratio < 1 else 'times'}"


# ---- pictures ----------------------------------------------------------------------------------------------------


@contextmanager
def drawing(what: str, path: StrPath | None, width: float = 6.4, height: float = 3.2) -> Iterator[Any]:
    """A matplotlib Figure to draw in, without a window; written to `path` at the end, if there is one."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{what}.plot needs matplotlib: pip install 'minigrad[viz]'") from error
    style: Any = PLOT_STYLE
    with mpl.rc_context(style):
        figure = _shown(Figure)(figsize=(width, height), layout="constrained")
        yield figure
        if path is not None:
            figure.savefig(path, dpi=200)


@functools.cache
def _shown(kind: Any) -> Any:
    """A Figure that notebooks display in any kernel: a Figure made without pyplot is displayed only where pyplot was
    set up for it."""

    def svg(self: Any) -> str:
        import io

        import matplotlib as mpl

        file = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "minigrad"}):
            self.savefig(file, format="svg", metadata={"Date": None})
        text = file.getvalue()
        return text[text.index("<svg") :]

    return type("Figure", (kind,), {"_repr_svg_": svg})


def positive(values: Array) -> Array:
    """The values, with NaN where the logarithm is undefined."""
    return np.where(values > 0, values, np.nan)


def whole_steps(axis: Any) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def heat_map(figure: Any, ax: Any, values: Array, label: str) -> None:
    """Positive values as colours on a logarithmic scale over at most twelve powers of ten; others stay white."""
    from matplotlib.colors import LogNorm

    shown = positive(values)
    if np.isfinite(shown).any():
        high = np.nanmax(np.where(np.isfinite(shown), shown, np.nan))
        low = max(np.nanmin(shown), high * 1e-12)
        norm = LogNorm(low, high if high > low else low * 10)
        image = ax.imshow(shown, norm=norm, cmap="cividis", origin="lower", aspect="auto", interpolation="nearest")
        figure.colorbar(image, ax=ax, label=label, extend="min")
    ax.grid(visible=False)
    whole_steps(ax.xaxis)
    whole_steps(ax.yaxis)
