"""Logs: destinations for a Trainer's records. A log is any function of a record; the ones here write files.

    nn.Trainer(..., log="run.csv")                  a table, for anything that reads tables
    nn.Trainer(..., log="runs/first")               a folder for TensorBoard (extra `log`)
    nn.Trainer(..., log=[print, "run.csv"])         several

A record is a dict as in `History`, with "epoch", "step", and measurements. A log's optional method `begin(step)` is
called when a `fit` begins, with the number of completed steps: records of an earlier run beyond them are dropped, so
that a run that is interrupted and resumed leaves the same log as an uninterrupted one. Its optional method `end()` is
called when a `fit` ends in any way.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .files import StrPath, atomic

FILES = (".txt", ".log", ".tsv", ".json", ".jsonl", ".md", ".html", ".xlsx", ".parquet", ".pkl", ".npz")
"""Endings that no folder would have."""

Log = Callable[[Mapping[str, Any]], Any]


class CSVLog:
    """Records as lines of a file of comma-separated values, one column for each name; missing measurements are empty.

    path  of the file, in an existing folder
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self.names: list[str] = []

    def begin(self, step: int) -> None:
        """Keep the lines of an earlier run up to this step. Raises ValueError for another kind of file."""
        rows = self._rows() if step and self.path.exists() else []
        self._write([row for row in rows if int(row["step"]) <= step])

    def __call__(self, record: Mapping[str, Any]) -> None:
        new = [name for name in record if name not in self.names]
        if new:  # a new column, empty in the lines before
            rows = self._rows() if self.path.exists() and self.names else []
            self.names += new
            self._write(rows)
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self.names).writerow(dict(record))

    def _rows(self) -> list[dict[str, str]]:
        with open(self.path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            names = list(reader.fieldnames or ())
        if rows and not all((row.get("step") or "").isdigit() for row in rows):
            raise ValueError(f"{self.path} is not a log of a Trainer: it has no column of steps; give another file")
        self.names = self.names or names
        return rows

    def _write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        with atomic(self.path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            if self.names:
                writer = csv.DictWriter(file, self.names)
                writer.writeheader()
                writer.writerows(rows)


class TensorBoardLog:
    """Records as scalars of TensorBoard, one curve for each name. Raises ImportError without the extra `log`.

    folder  of the run; `tensorboard --logdir` shows all folders inside a folder together
    """

    def __init__(self, folder: StrPath) -> None:
        self.folder = os.fspath(folder)
        self._writer: Any = None
        self._opened(None)

    def _opened(self, step: int | None) -> Any:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "a log for TensorBoard needs tensorboardX: pip install 'minigrad[log]'; a path that ends in .csv needs "
                "nothing"
            ) from error
        if step is None:
            return None
        suffix = f".{time.time_ns()}"  # so that two files of one second have different names
        return SummaryWriter(self.folder, purge_step=step + 1, filename_suffix=suffix, flush_secs=10)

    def begin(self, step: int) -> None:
        """Hide the records of an earlier run after this step."""
        self.end()
        self._writer = self._opened(step)

    def end(self) -> None:
        """Write all pending records, and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __call__(self, record: Mapping[str, Any]) -> None:
        if self._writer is None:
            self.begin(int(record["step"]) - 1)
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name, value, record["step"])


def logs_of(given: Any) -> list[Log]:
    """The logs given by an argument: None, a path, a function, or a list of these."""
    if given is None:
        return []
    if isinstance(given, list | tuple):
        return [log for each in given for log in logs_of(each)]
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        if path.suffix.lower() == ".csv":
            return [CSVLog(path)]
        if path.is_file() or path.suffix.lower() in FILES:
            raise ValueError(
                f"Trainer: log={str(given)!r:.80} names a file, but only .csv files are written; a folder is for "
                "TensorBoard, and a function of a record writes anything else"
            )
        return [TensorBoardLog(path)]
    if not callable(given):
        raise TypeError(f"Trainer: log is a path, a function of a record, or a list of these, not {given!r:.80}")
    return [given]


def tell(logs: Iterable[Log], what: str, *step: int) -> None:
    """Call a method by name on the logs that have it."""
    for log in logs:
        if hasattr(log, what):
            getattr(log, what)(*step)
