"""The peers of the zoo's benchmarks compute the same as our cells: outputs and all gradients, of every cell."""

from __future__ import annotations

import pytest

from benchmarks.cases import zoo
from benchmarks.cases.zoo_steps import LOOPS
from benchmarks.compare import as_array, check_agreement, set_up

pytestmark = pytest.mark.parity

SIZE = (3, 12, 5, 8)  # N, T, D, H


@pytest.mark.parametrize("name", LOOPS)
def test_all_sides_agree(name: str) -> None:
    """JAX's, too, where it is installed."""
    case = zoo.case(name, SIZE)
    calls, missing = set_up(case)
    assert missing <= {"jax"}
    check_agreement(case, calls, tolerance=1e-5)
    results = [as_array(array) for array in calls["torch, loop"]()]
    assert all(array.any() for array in results)  # each has a part in the outputs
