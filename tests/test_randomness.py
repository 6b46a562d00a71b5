"""Random numbers come again, on every device."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import minigrad as mg


def draws(device: str) -> list[Any]:
    return [mg.randn(3, device=device).numpy(), mg.rand(2, device=device).numpy()]


def test_the_state_brings_the_same_numbers_back(backend: Any) -> None:
    mg.manual_seed(3)
    draws(backend.device)
    state = json.loads(json.dumps(mg.get_random_state()))
    first = draws(backend.device)
    later = mg.get_random_state()
    second = draws(backend.device)
    for saved, expected in ((state, first), (later, second), (state, first)):
        mg.set_random_state(saved)
        for ours, theirs in zip(draws(backend.device), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(first[0], second[0])


def test_a_whole_run_comes_again(backend: Any) -> None:
    runs = []
    for _ in range(2):
        mg.manual_seed(5)
        numbers = draws(backend.device)
        mg.get_random_state()
        numbers += draws(backend.device)
        runs.append(np.concatenate(numbers))
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_a_bad_seed(seed: Any) -> None:
    with pytest.raises(ValueError, match="manual_seed"):
        mg.manual_seed(seed)
