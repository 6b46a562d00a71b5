"""Logs of a Trainer: lines of a file, functions; what a run leaves that was broken off and resumed."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from nn.training.logs import CSVLog, logs_of


def trainer(log: Any, **options: Any) -> nn.Trainer:
    mg.manual_seed(3)
    model = nn.Linear(1, 1)
    optimizer = nn.SGD(model.parameters(), lr=0.1, clip_norm=1.0)
    return nn.Trainer(model, optimizer, lambda m, batch: np.mean((m(batch) - 2 * batch) ** 2), log=log, log_every=2,
                      progress=False, **options)  # fmt: skip


BATCHES = [mg.full((4, 1), v) for v in (0.5, 1.0, 1.5)]


def lines(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_lines_of_a_file_are_the_history(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    history = trainer(path).fit(BATCHES, 2, validation=BATCHES[:1])
    found = lines(path)
    assert list(found[0]) == ["epoch", "step", "loss", "lr", "grad_norm", "mean_loss", "validation"]
    assert len(found) == len(history) == 3 + 2
    for row, record in zip(found, history, strict=True):
        assert {name: float(value) for name, value in row.items() if value} == {k: float(v) for k, v in record.items()}
    with open(path, "rb") as file:
        assert not any(line.startswith(b"\0") for line in file)


def test_several_logs_and_functions(tmp_path: Path) -> None:
    seen: list[Any] = []
    history = trainer([seen.append, str(tmp_path / "a.csv"), [tmp_path / "b.CSV"]]).fit(BATCHES, 1)
    assert seen == list(history)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.CSV").read_bytes()
    assert logs_of(None) == []


def test_a_resumed_run_leaves_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    trainer(whole).fit(BATCHES, 4)
    first = trainer(parts, checkpoint=tmp_path / "run.ckpt")
    first.fit(BATCHES, 2)
    lost = trainer(parts, checkpoint=tmp_path / "other.ckpt").resume(tmp_path / "run.ckpt")
    lost.fit(BATCHES, 3)  # its checkpoint is never seen again
    again = trainer(parts).resume(tmp_path / "run.ckpt")
    again.fit(BATCHES, 3)
    again.fit(BATCHES, 4)
    assert parts.read_bytes() == whole.read_bytes()
    trainer(parts).fit(BATCHES, 4)  # a new run begins anew
    assert parts.read_bytes() == whole.read_bytes()


def test_a_log_that_is_told_where_a_run_begins(tmp_path: Path) -> None:
    class Log:
        def __init__(self) -> None:
            self.told: list[Any] = []

        def begin(self, step: int) -> None:
            self.told.append(step)

        def end(self) -> None:
            self.told.append("end")

        def __call__(self, record: Any) -> None:
            self.told.append((record["epoch"], record["step"]))

    log = Log()
    each = trainer(log)
    each.fit(BATCHES, 1)
    each.fit(BATCHES, 2)
    assert log.told == [0, (1, 2), (1, 3), "end", 3, (2, 4), (2, 6), (2, 6), "end"]


def test_bad_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="Trainer: log is a path, a function of a record, or a list of these, not 3"):
        trainer(3)
    (tmp_path / "notes").write_text("text")
    for path in ("run.txt", tmp_path / "run.jsonl", tmp_path / "notes"):
        with pytest.raises(ValueError, match=r"names a file, but only \.csv files are written"):
            trainer(path)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"needs tensorboardX: pip install 'minigrad\[log\]'"):
        trainer(tmp_path / "runs")
    with pytest.raises(OSError, match="folder does not exist"):
        trainer(tmp_path / "none" / "run.csv").fit(BATCHES, 1)
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    log = CSVLog(path)
    with pytest.raises(ValueError, match="is not a log of a Trainer: it has no column of steps; give another file"):
        log.begin(3)
    assert path.read_text() == "a,b\n1,2\n"


def test_the_history_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    history = trainer(None).fit(BATCHES, 2, validation=BATCHES)
    html = history._repr_html_()
    assert html.count("<tr>") == 1 + 2
    assert "<th>validation</th>" in html
    assert f"<td>{history[-1]['mean_loss']:.5g}</td>" in html
    begun = nn.History([{"epoch": 1, "step": 10, "loss": 0.5, "note": "<b>"}])
    assert "<td>0.5</td><td>&lt;b&gt;</td>" in begun._repr_html_()
    assert nn.History()._repr_html_().startswith("<table>")
    assert "<svg" not in html


def test_a_picture_stands_below_the_table() -> None:
    history = nn.History([{"epoch": 1, "step": 10, "mean_loss": 0.5}])
    assert "</table><svg" in history._repr_html_()
