"""The examples in docstrings, README and docs run and give the output that they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import minigrad
import nlp
import nn
from minigrad import dispatch

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    module.name
    for package in (minigrad, nn, nlp)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")
)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.fixture(autouse=True)
def own_tables() -> Iterator[None]:
    """Rules that an example adds are gone afterwards."""
    tables = (dispatch.UFUNCS, dispatch.FUNCTIONS)
    known = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, known, strict=True):
        table.clear()
        table.update(before)


@pytest.mark.parametrize("name", ["minigrad", "nn", "nlp", *MODULES])
def test_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page: Path) -> None:
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8")
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_sentence_that_opens_with_a_question_word_is_a_question(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = []
    for part in re.split(r"\n\s*\n|\n(?=[*|#-] ?)|(?<=\|)", text):
        flat = re.sub(r"\s+", " ", part).strip(" |")
        if not flat.startswith("#"):
            found += re.findall(r"(?:^|(?<=[.:;!?] )|(?<=^\* ))(?:What|How|Which|Whether)\b[^.?:]*[.:]", flat)
    assert found == []


def test_the_vocabulary_page_is_the_table() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_vocabulary.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", [minigrad, nn, nlp], ids=lambda package: package.__name__)
def test_every_public_name_is_documented(package: ModuleType) -> None:
    undocumented = [
        name for name in dir(package)
        if not name.startswith("_") and callable(getattr(package, name)) and not getattr(package, name).__doc__
    ]  # fmt: skip
    assert undocumented == []
