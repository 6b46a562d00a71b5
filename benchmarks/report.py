"""One table of all measurements, as text and as Markdown, and the machine it was made on."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from .compare import PEERS, Effort, Measurement
from .place import name_of_gpu

HEAD = ("case", "side", "time", "minigrad / side", "peak memory")
LEGEND = (
    "time: of forward and backward together, where no phase is named",
    "minigrad / side: time of the case's first side divided by this one's (lowest to highest of all rounds)",
    "peak memory: resident memory above a warmed baseline during one call, in a process of its own",
)


@dataclass
class Report:
    """The rows of all cases, and the missing peers."""

    threads: int
    effort: Effort
    rows: list[Measurement] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def add(self, measured: tuple[list[Measurement], set[str]]) -> None:
        rows, missing = measured
        self.rows += rows
        self.missing |= missing

    def plain(self) -> str:
        """Columns aligned with spaces."""
        lines = [HEAD, *self._cells()]
        widths = [max(len(line[k]) for line in lines) for k in range(len(HEAD))]
        layout = "  ".join(f"{{:{side}{width}}}" for side, width in zip("<<>>>", widths, strict=True))
        table = [layout.format(*line).rstrip() for line in (lines[0], ["-" * w for w in widths], *lines[1:])]
        return "\n".join([*self._about(), "", *table, "", *LEGEND])

    def markdown(self) -> str:
        """A Markdown table."""
        lines = [HEAD, ("---", "---", "---:", "---:", "---:"), *self._cells()]
        table = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([*(f"* {line}" for line in self._about()), "", *table, "", *(f"* {s}" for s in LEGEND), ""])

    def _cells(self) -> list[tuple[str, ...]]:
        """The table's texts; a case is named once."""
        cells: list[tuple[str, ...]] = []
        above = ""
        for row in self.rows:
            title = row.case.name + (f": {row.phase}" if row.phase else "")
            cells.append(("" if title == above else title, row.side, _time(row), _ratio(row), _memory(row)))
            above = title
        return cells

    def _about(self) -> list[str]:
        e, gpu = self.effort, name_of_gpu()
        return [
            f"{datetime.datetime.now():%Y-%m-%d %H:%M}, {processor()}, {self.threads} threads{', ' * bool(gpu)}{gpu}",
            f"Python {platform.python_version()}, NumPy {np.__version__} ({blas()}), {versions()}",
            f"float32; medians of {e.rounds} rounds of alternating blocks of {e.calls} or more calls each",
            *(f"not measured: {message}" for message in self.wrong),
            *(f"{peer} is not installed here: its sides are left out" for peer in sorted(self.missing)),
        ]


# ---- cells -------------------------------------------------------------------------------------------------------


def _three(number: float) -> str:
    """Three digits; for tiny numbers one digit and a power of ten."""
    if number < 0.01:
        return f"{number:.0e}"
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f}"


def _time(row: Measurement) -> str:
    number, unit = (row.seconds * 1e6, "µs") if row.seconds < 1e-3 else (row.seconds * 1e3, "ms")
    return f"{_three(number)} {unit}" + (f" / {row.case.unit}" if row.case.unit != "call" else "")


def _ratio(row: Measurement) -> str:
    if not row.ratios:
        return ""
    return f"{_three(median(row.ratios))} ({_three(min(row.ratios))} to {_three(max(row.ratios))})"


def _memory(row: Measurement) -> str:
    if row.peak is None:
        return ""
    return f"{row.peak / 2**20:.1f} MiB" + (f" ({row.share:.2f} of {row.case.memory[0]})" if row.share else "")


# ---- the machine -------------------------------------------------------------------------------------------------


def processor() -> str:
    """The CPU's model, if the system reports it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if not models:
        return platform.processor() or platform.machine()
    return f"{len(models)} × {models[0]}"


def blas() -> str:
    """The library that NumPy multiplies matrices with."""
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def versions() -> str:
    """The versions of minigrad and of the installed peers."""
    known = []
    for package in ("minigrad", *PEERS):
        try:
            known.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(known)
