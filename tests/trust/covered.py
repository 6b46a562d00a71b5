"""Coverage: `make test` runs at least 95 % of the lines of the three packages, and of each folder of fast paths.

Reads the measurements of `make coverage`: `make test` with the extra `fast`, and the part of it without, including the
processes that tests start. The rules are in pyproject.toml.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import coverage

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.trust.common import arguments, conclude

BOUND = 0.95
FAST = ("minigrad/fusion", "minigrad/native", "minigrad/programs", "minigrad/replay")


def main() -> None:
    arguments(__doc__)
    measured = coverage.Coverage()
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        measured.json_report(outfile=f"{folder}/report.json")
        report = json.loads(Path(folder, "report.json").read_text())
    lines: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # (executed, total) lines of a folder
    for name, file in report["files"].items():
        for place in ("in all", Path(name).parent.as_posix()):
            lines[place][0] += file["summary"]["covered_lines"]
            lines[place][1] += file["summary"]["num_statements"]
    shares = {place: run / max(count, 1) for place, (run, count) in lines.items()}
    for place, share in sorted(shares.items()):
        print(f"  {share:7.2%}  {place}, {lines[place][1]:,} lines")
    faults = [f"{place}: {shares[place]:.2%}" for place in ("in all", *FAST) if shares[place] < BOUND]
    figure = ", ".join([f"{shares[place]:.1%} of {place}" for place in FAST])
    conclude("coverage", f"{shares['in all']:.1%} of {lines['in all'][1]:,} lines; {figure}", faults)


if __name__ == "__main__":
    main()
