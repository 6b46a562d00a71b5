"""The glossary and the engine's reading list name code that exists."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NAMES = re.findall(r"`((?:minigrad|nn|nlp)\.[\w.]+)`", (DOCS / "glossary.md").read_text(encoding="utf-8"))
ENGINE = (DOCS / "engine.md").read_text(encoding="utf-8")
READ = [(name, int(lines)) for name, lines in re.findall(r"^\| `([\w/.]+)` \| (\d+) \|", ENGINE, re.MULTILINE)]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_glossary_exist(name: str) -> None:
    pkgutil.resolve_name(name)


def test_each_word_of_the_glossary_is_defined_once() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    entries = [re.sub(r"\s+", " ", entry) for entry in re.findall(r"^\* (.*(?:\n  .*)*)", text, re.MULTILINE)]
    words = [word for entry in entries for word in re.findall(r"\*\*([^*]+)\*\*", entry)]
    assert len(words) == len(set(words)) > 40
    assert all(re.match(r"\*\*.*?: .*[^.]\.$", entry) for entry in entries)


@pytest.mark.parametrize(("name", "lines"), READ)
def test_line_counts_of_the_core_are_true(name: str, lines: int) -> None:
    """Within a tenth: small edits need not touch the page."""
    found = (ROOT / "minigrad" / name).read_text(encoding="utf-8").count("\n")
    assert abs(found - lines) <= max(lines / 10, 10), f"{name} has {found} lines"


def test_the_reading_list_is_complete() -> None:
    total = int(re.search(r"These ([\d,]+) lines", ENGINE)[1].replace(",", ""))  # type: ignore[index]
    assert len(READ) > 10
    assert sum(lines for _, lines in READ) == total
    found = sum((ROOT / "minigrad" / name).read_text(encoding="utf-8").count("\n") for name, _ in READ)
    assert abs(found - total) <= 50, f"the core has {found} lines"
    table = ENGINE[: ENGINE.index("## The tape")]
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", table):
        assert (ROOT / "minigrad" / name).exists(), name
    folders = {path.parent.name for path in (ROOT / "minigrad").glob("*/__init__.py")}
    assert folders <= set(re.findall(r"`(\w+)/`", table))
