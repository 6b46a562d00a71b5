"""The page on word vectors: its pictures are what the script makes, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "word-vectors.md"


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra `viz`")
    spec = importlib.util.spec_from_file_location("make_word_vectors", DOCS / "make_word_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.make_graphs(tmp_path)
    shown = set(re.findall(r"!\[[^\]]+\]\(word-vectors/([^)]+)\)", PAGE.read_text("utf-8")))
    assert shown == {"map.svg", *(path.name for path in made)}
    for path in made:  # the renderers' versions differ in numbers, not in what is there
        assert texts(path) == texts(DOCS / "word-vectors" / path.name), "run docs/make_word_vectors.py"


def texts(path: Path) -> list[str]:
    return sorted(element.text or "" for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text"))


def test_links() -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE.read_text("utf-8")):
        assert (DOCS / link).exists(), link
    assert "## Word vectors" in (DOCS / "RESULTS.md").read_text("utf-8")
