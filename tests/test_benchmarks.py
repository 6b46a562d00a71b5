"""The sides of a benchmark are compared before they are timed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nn
from benchmarks import scaling
from benchmarks.cases import layers, zoo
from benchmarks.cases.zoo_steps import LOOPS
from benchmarks.compare import Case, DisagreementError, check_agreement, set_up

CASE = Case("a case", {})
RIGHT = np.array([1.0, -2.0, 0.5])


def check(*results: Any) -> None:
    check_agreement(CASE, {f"side {k}": (lambda found=found: found) for k, found in enumerate(results)})


def test_sides_agree_up_to_rounding() -> None:
    check([RIGHT, np.ones((0, 3))], [RIGHT * (1 + 1e-6), np.ones((0, 3))], [])
    check([], [RIGHT], [RIGHT])

    def in_phases() -> Iterator[str]:
        yield "forward"
        return [RIGHT]

    check_agreement(CASE, {"whole": lambda: [RIGHT], "in phases": in_phases})


@pytest.mark.parametrize(
    "wrong", [RIGHT * 1.01, RIGHT[:2], np.array([1.0, np.nan, 0.5]), np.array([1.0, -2.0, np.inf]), RIGHT * np.nan]
)
def test_sides_that_do_not_agree_are_refused(wrong: Any) -> None:
    for results in ([RIGHT], [wrong]), ([wrong], [RIGHT]), ([], [RIGHT], [wrong]):
        with pytest.raises(DisagreementError, match="a case: gradient 0 of side"):
            check(*results)


def test_what_is_not_finite_agrees_with_nothing() -> None:
    for number in (np.nan, np.inf):
        with pytest.raises(DisagreementError, match="gradient 0"):
            check([np.array([1.0, number])], [np.array([1.0, number])])


def test_nothing_is_not_agreement() -> None:
    with pytest.raises(DisagreementError, match="no side returns anything to compare"):
        check([], [])


def test_a_stream_of_steps_is_the_same_on_all_sides() -> None:
    """It ends in the state that an LSTM, written down in NumPy, has after a hundred steps."""
    case = layers.stream(8)
    calls, _ = set_up(case)
    assert {"minigrad, compiled", "minigrad"} <= set(calls)
    check_agreement(case, calls)

    w = {name: array.astype(float) for name, array in layers.weights("LSTM", 8, 8).items()}
    x, h, c = layers.normals((1, 8))[0].astype(float), np.zeros((1, 8)), np.zeros((1, 8))
    for _ in range(100):
        z = x @ w["weight_ih_l0"].T + w["bias_ih_l0"] + h @ w["weight_hh_l0"].T + w["bias_hh_l0"]
        i, f, g, o = np.split(z, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    for call in calls.values():
        for found, exact in zip(call(), (h, c), strict=True):
            np.testing.assert_allclose(np.asarray(found), exact, rtol=1e-5, atol=1e-6)


def test_every_cell_of_the_zoo_is_measured() -> None:
    """Beside peers, which compute the same: `tests/parity/test_torch_zoo.py`."""
    assert set(LOOPS) == {name for name in nn.zoo.__all__ if name.endswith("Cell")}
    assert len(zoo.CASES) == len(LOOPS) * len(zoo.SIZES)


def test_the_plan_of_many_ranks() -> None:
    """A bucket goes over the link when it is whole and the one before it is gone; what backward hides costs nothing."""
    one = scaling.Timeline(forward=1.0, update=0.5, ready=[(0.5, 10), (2.0, 20)], backward=2.0)
    assert scaling.simulated(one, 1, 10, 0) == one.step == 3.5
    assert scaling.simulated(one, 8, 1e12, 0) == pytest.approx(3.5)
    ring = 2 * 7 / 8  # of the bytes
    assert scaling.simulated(one, 8, 20.0, 0) - 2 * scaling.transfer(8, 8, 20.0, 0) == pytest.approx(3.5 + ring)
    slow = 3.5 - 1.5 + ring * 30 / 5  # the first is not gone when the second is whole
    assert scaling.simulated(one, 8, 5.0, 0) - 2 * scaling.transfer(8, 8, 5.0, 0) == pytest.approx(slow)
    assert scaling.transfer(8, 1024, 1e9, 1e-6) == pytest.approx(20 * (1e-6 + 8e-9))  # a tree
    mega = 1 << 20
    assert scaling.buckets([(1, mega), (2, 9 * mega), (3, 2 * mega), (4, 1 * mega), (5, 3)]) == [
        (2, 9 * mega), (4, 4 * mega), (5, 3)]  # fmt: skip
