"""Shared by all tests: the `backend` fixture, seeds, and guards against leaks of global state."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run  # noqa: F401 (a fixture)
from hypothesis import settings
from places import PLACES, Place

import minigrad as mg
from minigrad import backend as backends
from minigrad import dispatch
from minigrad.modes import current_mode

# ---- collection ------------------------------------------------------------------------------------------------------


settings.register_profile("unhurried", settings.default, deadline=None)  # other programs may be running
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "parity: compares with PyTorch")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; tests send it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # workers share the folder of the process that starts them
        folder = tempfile.mkdtemp(prefix="minigrad-tests-")  # not the user's: it begins empty, and is removed
        os.environ["MINIGRAD_CACHE"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_ignore_collect(collection_path: Any, config: pytest.Config) -> bool | None:
    """Comparisons with PyTorch, and ranks under mpiexec, are left out where PyTorch or mpi4py is not installed, unless
    they are asked for by path: then their import fails, and says so."""
    for folder, needed in (("parity", "torch"), ("mpi", "mpi4py")):
        if folder in collection_path.parts and importlib.util.find_spec(needed) is None:
            arguments = [Path(a).parts for a in map(str, config.invocation_params.args) if not a.startswith("-")]
            return None if any(folder in parts for parts in arguments) else True
    return None


# ---- where to run ------------------------------------------------------------------------------------------------


@pytest.fixture(params=PLACES, ids=lambda place: place.name)
def backend(request: pytest.FixtureRequest) -> Place:
    """Each kind of array there is: NumPy, the strict stand-in for CuPy, and CuPy where a GPU answers."""
    place: Place = request.param
    return place


# ---- random numbers and leaks ------------------------------------------------------------------------------------


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture(autouse=True)
def seeded() -> None:
    mg.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (for code under test that draws from it)


def _global_state() -> dict[str, Any]:
    mode = current_mode()
    return {
        "recording mode": (mode.grad, mode.fast),
        "scope": mode.scope,
        "hoisted matrices": mode.hoisted,
        "intake": mode.intake,
        "observers": mode.observers,
        "default dtype": mg.get_default_dtype(),
        "np.errstate": np.geterr(),
        "kinds of arrays": dict(backends._BACKENDS),
        "rules of ufuncs": dict(dispatch.UFUNCS),
        "rules of functions": dict(dispatch.FUNCTIONS),
    }


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves global state other than it found it."""
    before = _global_state()
    yield
    after = _global_state()
    changed = [what for what in before if before[what] != after[what]]
    assert not changed, f"the test changed the {' and the '.join(changed)}"
