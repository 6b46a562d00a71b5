"""Shared by the trials: the project's folder, short or long form, and their concluding line."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
STARTED = time.perf_counter()


def arguments(about: str | None, **numbers: tuple[int, int]) -> argparse.Namespace:
    """Command line arguments: for each number, its value in the short and in the long form; and a seed.

    `LONG=1` in the environment, or `--long`, selects the long form.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--long", action="store_true", default=os.environ.get("LONG", "0") not in ("", "0"))
    parser.add_argument("--seed", type=int, default=0)
    for name in numbers:
        parser.add_argument(f"--{name}", type=int)
    found = parser.parse_args()
    for name, (short, long) in numbers.items():
        if getattr(found, name) is None:
            setattr(found, name, long if found.long else short)
    return found


def conclude(subject: str, figure: str, faults: list[str]) -> None:
    """Print the figure in one line, after the faults if there are any; end the process with 0, or with 1."""
    for fault in faults[:40]:
        print(f"  {fault}")
    if len(faults) > 40:
        print(f"  and {len(faults) - 40} more")
    word = "holds" if not faults else f"FAILS ({len(faults)} faults)"
    print(f"{subject}: {figure}; {word}, {time.perf_counter() - STARTED:.0f} s", flush=True)
    sys.exit(1 if faults else 0)


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process: this tree's packages, one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}
