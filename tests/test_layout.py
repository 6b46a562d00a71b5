"""The shape of the whole: who may import whom."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {"minigrad": set(), "nn": {"minigrad"}, "nlp": {"minigrad", "nn"}}
FILES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_never_point_up(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    found = set(imported(path))
    assert found & set(MAY_IMPORT) <= MAY_IMPORT[package] | {package}
    if path.name != "backend.py":
        assert not found & {"cupy", "cupyx"}
    assert not found & {"pickle", "shelve", "torch", "scipy"}


def test_every_package_is_installed() -> None:
    """In a wheel, too, which has what pyproject.toml lists."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in FILES if path.name == "__init__.py"}
    assert set(listed) == there
