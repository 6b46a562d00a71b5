"""The common part of the reproductions: options, a run that can be resumed, and the file of results."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import minigrad as mg
import nn
from nn.training.files import atomic

RESULTS = Path(__file__).with_name("results.json")


def options(text: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The common options, with `defaults` for further ones."""
    parser = argparse.ArgumentParser(description=(text or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MINIGRAD_DATA"), help="folder of the data sets "
                        "(default: $MINIGRAD_DATA)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("out/reproduce"), help="folder for checkpoints and models")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help="(default: %(default)s)")
    return parser


def begin(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the options, seed the random numbers, make the folder."""
    args = parser.parse_args()
    if args.data is None:
        parser.error("say where the data sets are: --data, or the variable MINIGRAD_DATA")
    mg.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


class Run(nn.Trainer):
    """A Trainer that reports after each epoch, and counts its seconds without interruptions.

    shown  a function from a mean loss to the reported number: `math.exp` for perplexities
    """

    def __init__(self, *parts: Any, shown: Callable[[float], float] = float, **settings: Any) -> None:
        super().__init__(*parts, **settings)
        self.shown = shown
        self.seconds = 0.0

    def go(self, path: Path, batches: Any, epochs: int, validation: Iterable[Any]) -> None:
        """Train; from the checkpoint, if there is one."""
        self.checkpoint = path
        if path.exists():
            self.resume(path)
            print(f"going on after {self.reached.epoch} epochs and {self.reached.steps} steps", flush=True)
        self._since = time.perf_counter()
        self.fit(batches, epochs, validation=validation)

    def _end_epoch(self, value: float | None) -> None:
        super()._end_epoch(value)
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        record = self.history[-1]
        print(f"epoch {record['epoch']}: lr {record['lr']:.4g}, training {self.shown(record['mean_loss']):.4g}"
              + ("" if value is None else f", validation {self.shown(value):.4g}")
              + f", {self.seconds:,.0f} s", flush=True)  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The Trainer's state, and the seconds."""
        return super().state_dict() | {"seconds": self.seconds}

    def load_state_dict(self, state: Any) -> None:
        """Restore a result of `state_dict`."""
        super().load_state_dict(state)
        self.seconds = state.get("seconds", 0.0)


def write_row(
    task: str, args: argparse.Namespace, settings: str, ours: str, published: str, seconds: float, **measured: float
) -> None:  # fmt: skip
    """Add a row to the file of results, replacing one with the same task, settings and seed."""
    row = {
        "task": task, "settings": settings, "seed": args.seed, "ours": ours, "published": published,
        "minutes": round(seconds / 60, 1), "device": args.device, "machine": platform.machine(),
        "date": datetime.date.today().isoformat(), "measured": measured,
    }  # fmt: skip
    key = ("task", "settings", "seed")
    rows = [r for r in rows_of() if any(r[k] != row[k] for k in key)]
    with atomic(RESULTS) as temporary:
        Path(temporary).write_text(json.dumps([*rows, row], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{task}, {settings}: {ours} (published: {published})", flush=True)


def rows_of() -> list[dict[str, Any]]:
    """All rows."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []


def table() -> str:
    """All rows in Markdown."""
    lines = [
        "| task | settings | seed | ours | published | minutes | date |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows_of(), key=lambda r: (r["task"], r["settings"], r["seed"])):
        names = ("task", "settings", "seed", "ours", "published", "minutes", "date")
        lines.append("| " + " | ".join(str(row[name]) for name in names) + " |")
    return "\n".join(lines)
