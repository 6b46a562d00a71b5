"""The page on decoding: its pictures are what the script makes of its corpus, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "decoding.md"


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra `viz`")
    spec = importlib.util.spec_from_file_location("make_decoding", DOCS / "make_decoding.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.make_trees(tmp_path)
    page = PAGE.read_text("utf-8")
    shown = set(re.findall(r"!\[[^\]]+\]\(decoding/([^)]+)\)", page))
    assert shown == {"attention.svg", *(path.name for path in made)}
    assert all(f'"{sentence}"' in page for sentence in script.CORPUS)
    for path in made:  # the renderers' versions differ in numbers, not in what is there
        assert texts(path) == texts(DOCS / "decoding" / path.name), "run docs/make_decoding.py"
    drawn = texts(DOCS / "decoding" / "attention.svg")
    assert {"one", "five", "two", "eight", "nine", "three", "</s>"} <= set(drawn)


def texts(path: Path) -> list[str]:
    return sorted(element.text or "" for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text"))


def test_links() -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE.read_text("utf-8")):
        assert (DOCS / link).exists(), link
