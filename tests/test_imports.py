"""`import minigrad` brings what a training step needs; the rest comes when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import minigrad as mg

LATER = {
    "doctor": "diagnosis",
    "graph": "pictures",
    "Graph": "pictures",
    "intervene": "interventions",
    "Intervention": "interventions",
    "profile": "profiling",
    "Profile": "profiling",
}
SLOW = {"importlib.metadata", "hashlib", "json", "llvmlite", *(f"minigrad.{module}" for module in LATER.values())}


def printed(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_what_a_training_step_does_not_need_is_not_imported() -> None:
    code = "import sys, numpy; before = set(sys.modules); import minigrad; print(*set(sys.modules) - before)"
    assert not SLOW & set(printed(code))


def test_layers_need_no_pictures() -> None:
    assert not [module for module in printed("import sys, nn; print(*sys.modules)") if "minigrad.pictures" in module]


@pytest.mark.parametrize("module", sorted(set(LATER.values())))
def test_the_rest_comes_when_it_is_asked_for(module: str) -> None:
    """Lazy modules load as an attribute, by `from`, and by `import`, each in a fresh process."""
    names = [name for name in LATER if LATER[name] == module]
    same = ", ".join(f"callable(mg.{name}), mg.{name} is mg.{name}" for name in names)
    assert printed(f"import minigrad as mg; print({same})") == ["True", "True"] * len(names)
    assert printed(f"from minigrad import {names[0]}; print(callable({names[0]}))") == ["True"]
    assert printed(f"import minigrad as mg; print(mg.{module}.__name__)") == [f"minigrad.{module}"]


def test_all_names_are_there() -> None:
    assert set(mg.__all__) <= set(dir(mg))
    assert all(getattr(mg, name) is not None for name in mg.__all__)
    assert printed("from minigrad import *; print(graph.__module__, profile.__module__)") == [
        "minigrad.pictures.making", "minigrad.profiling"
    ]  # fmt: skip


def test_a_name_that_is_nowhere() -> None:
    with pytest.raises(AttributeError, match="module 'minigrad' has no attribute 'tensro'"):
        mg.tensro  # noqa: B018
