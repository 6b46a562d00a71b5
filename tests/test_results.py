"""Every number of docs/RESULTS.md stands in its log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
LOG = (DOCS / "results-log.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (DOCS / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| claim", "| ---"))
]
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "MiB": 1.0}


def test_there_are_claims() -> None:
    assert len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_claim_is_in_the_log(row: list[str]) -> None:
    claim, ours, peer, *ratio, when = row
    for cell in (ours, peer):
        for number in re.findall(r"\d+(?:\.\d+)?", cell):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d]|\.\d)", LOG), f"{claim}: {number}"
    assert when[-10:] in LOG
    shown = ratio[0] if ratio else ""
    sides = [re.fullmatch(r"([\d.]+) (µs|ms|s|MiB)", cell) for cell in (ours, peer)]
    if not all(sides) or not re.search(r"\d", shown):
        return
    quotient = float(shown.strip("*≈ "))
    assert shown.startswith("**") == (quotient > 1), f"{claim}: bold says that minigrad takes more"
    if "≈" in shown:
        mine, theirs = (float(side[1]) * UNITS[side[2]] for side in sides if side)
        assert quotient == pytest.approx(mine / theirs, rel=0.02), claim
    else:
        assert re.search(rf"\| {re.escape(shown.strip('*'))} (\||\()", LOG) or f"| {quotient} |" in LOG, claim
