"""Logs: where a Trainer's records go as they are made. A log is any function of a record; these write files.

    nn.Trainer(..., log="run.csv")                  a table, for anything that reads tables
    nn.Trainer(..., log="runs/first")               a folder for TensorBoard (extra `log`)
    nn.Trainer(..., log=[print, "run.csv"])         several

A record is one of `History`: a dict with "epoch", "step", and what was measured. A log that has a method `begin(step)`
is told, when a `fit` begins, how many steps are done: what an earlier run wrote beyond them is dropped, so that a run
which was interrupted and resumed leaves what it would have left uninterrupted. A method `end()` is called when a `fit`
ends, however it does.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .files import StrPath, atomic

Log = Callable[[Mapping[str, Any]], Any]


class CSVLog:
    """Records as lines of a file of comma-separated values, one column for each name; what was not measured is empty.

    path  of the file, whose folder is there
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self.names: list[str] = []

    def begin(self, step: int) -> None:
        """Keep the lines of an earlier run up to this step. Raises ValueError for a file that is none of these."""
        rows = self._rows() if step and self.path.exists() else []
        self._write([row for row in rows if int(row["step"]) <= step])

    def __call__(self, record: Mapping[str, Any]) -> None:
        new = [name for name in record if name not in self.names]
        if new:  # another column: the lines before have nothing in it
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
            raise ValueError(f"{self.path} is no log of a Trainer: it has no column of steps; give another file")
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

    folder  of the run; `tensorboard --logdir` shows all folders of a folder beside each other
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
        suffix = f".{time.time_ns()}"  # two files of one second would have the same name
        return SummaryWriter(self.folder, purge_step=step + 1, filename_suffix=suffix, flush_secs=10)

    def begin(self, step: int) -> None:
        """Hide what an earlier run wrote after this step."""
        self.end()
        self._writer = self._opened(step)

    def end(self) -> None:
        """Write what is still waiting, and close the file."""
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
    """The logs that an argument stands for: None, a path, a function, or a list of these."""
    if given is None:
        return []
    if isinstance(given, list | tuple):
        return [log for each in given for log in logs_of(each)]
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        return [CSVLog(path) if path.suffix.lower() == ".csv" else TensorBoardLog(path)]
    if not callable(given):
        raise TypeError(f"Trainer: log is a path, a function of a record, or a list of these, not {given!r:.80}")
    return [given]


def tell(logs: Iterable[Log], what: str, *step: int) -> None:
    """Call the method of this name of the logs that have it."""
    for log in logs:
        if hasattr(log, what):
            getattr(log, what)(*step)
