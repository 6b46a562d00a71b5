"""The shape of the whole: who may import whom."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
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


def test_arrows_never_point_up() -> None:
    wrong = {}
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        refused = {"pickle", "shelve", "torch", "scipy"} | (set(MAY_IMPORT) - MAY_IMPORT[package] - {package})
        if path.name != "backend.py":
            refused |= {"cupy", "cupyx"}
        if found := refused.intersection(imported(path)):
            wrong[str(path)] = found
    assert not wrong


def module_of(path: Path) -> str:
    """The dotted name of a file's module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


CORE = {
    "arrivals", "backend", "backward", "creation", "dispatch", "gradients", "hoisting", "intake", "kinds", "leaves",
    "modes", "primitives", "randomness", "rules", "scopes", "state", "tape", "tensors", "vocabulary", "where",
}  # fmt: skip
MODULES = {module_of(path): path for path in FILES}


@cache
def modules_imported(module: str) -> set[str]:
    """The modules of these packages that a module imports anywhere in its text: when it is imported itself, inside of a
    function, or for a type checker. Importing a.b.c runs a.b, too, unless the importer is inside of a.b."""
    path, found = MODULES[module], set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            base = base if node.level else node.module or ""
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else base for name in names}
    around = {name.rpartition(".")[0] for name in found}
    around = {name for name in around if not f"{module}.".startswith(f"{name}.")}
    return (found | around) & set(MODULES) - {module}


def test_no_circle_of_imports() -> None:
    graph = {module: modules_imported(module) for module in MODULES if module.startswith("minigrad")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(error.args[1]))


def test_who_computes_knows_nothing_of_recordings() -> None:
    """Layers, models and the engine's core tell `Mode.intake` and `state.State` what enters, and no more."""
    above = {"minigrad.fusion", "minigrad.programs", "minigrad.replay", "minigrad.pictures"}
    for module in MODULES:
        package, _, file = module.partition(".")
        if package == "minigrad" and file.partition(".")[0] not in CORE:
            continue
        assert not [name for name in modules_imported(module) if name.startswith("minigrad.replay")], module
        if package == "minigrad":  # nor does anything below it
            seen, stack = set[str](), [module]
            while stack:
                for name in modules_imported(stack.pop()) - seen - {"minigrad"}:
                    seen.add(name)
                    stack.append(name)
            assert not seen & above, module


def test_every_package_is_installed() -> None:
    """In a wheel, too, which has what pyproject.toml lists."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in FILES if path.name == "__init__.py"}
    assert set(listed) == there
