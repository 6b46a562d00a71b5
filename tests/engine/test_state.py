"""State in Python that a compiled step depends on, as its owner declares it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend
from minigrad.state import State, change, decided, keep, only_outside


class Averaged:
    """A running sum with a rate that changes, a sign that decides, and a count of steps."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"rate": 0.5, "sign": 1.0, "steps": 0}
        self.state = State(self.values, "the average", live={"rate": "the rate", "steps": "the count"})
        self.latest: Any = None

    def step(self, x: mg.Tensor) -> mg.Tensor:
        now = self.state.read(("rate", "sign", "steps"))
        y = x * (now["sign"] * now["rate"] + now["steps"])
        keep(self, "latest", y)
        self.state.change(lambda: self.values.update(steps=self.values["steps"] + 1))
        return y


def test_live_numbers_are_read_at_each_run_and_others_decide() -> None:
    plain, own = Averaged(), Averaged()
    compiled = mg.compile(own.step)
    x = mg.tensor([1.0, 2.0])
    for turn in range(12):
        for one in (plain, own):
            one.values["rate"] = 0.25 * turn
            one.values["sign"] = 1.0 if turn < 6 else -1.0
        expected, y = plain.step(x), compiled(x)
        np.testing.assert_array_equal(y.data, expected.data)
        np.testing.assert_array_equal(own.latest.data, expected.data)
        assert own.values == plain.values
        assert type(own.values["rate"]) is float
    assert len(compiled.replays) == 2  # one for each sign


def test_state_that_has_changed_in_the_same_call_is_not_read_again() -> None:
    own = Averaged()
    twice = mg.compile(lambda x: own.step(own.step(x)))
    with pytest.raises(mg.RecordingError, match="the rate is read after it was modified"):
        for _ in range(3):
            twice(mg.ones(2))


def test_a_number_that_was_read_is_not_used_after_it_has_changed() -> None:
    values = {"rate": 0.5}
    own = State(values, "the rule", live={"rate": "the rate"})

    @mg.compile
    def step(x: mg.Tensor) -> mg.Tensor:
        rate = own.read(["rate"])["rate"]
        own.change(lambda: values.update(rate=0.25))
        return x * rate

    with pytest.raises(mg.RecordingError, match="the rate is read after it was modified"):
        for _ in range(3):
            step(mg.ones(2))


def test_an_argument_is_no_state() -> None:
    own = Averaged()

    def step(x: mg.Tensor, rate: float) -> mg.Tensor:
        own.values["rate"] = rate
        return own.step(x)

    compiled = mg.compile(step)
    with pytest.raises(mg.RecordingError, match="the rate is set from an argument"):
        for _ in range(3):
            compiled(mg.ones(2), 0.5)
    assert own.values["rate"] == 0.5


def test_outside_of_a_compiled_function_nothing_is_minded() -> None:
    values = {"a": 1}
    assert State(values, "values", live={"a": "a"}).read(("a", "b")) == {"a": 1, "b": None}
    change(lambda: values.update(a=2), values)
    assert decided(lambda: values["a"], "a") == 2
    only_outside("nothing is sent")


@mg.compile
def _looks(x: mg.Tensor) -> mg.Tensor:
    return x * float(backend.decisive(x.data, "x is looked at").sum())


def test_an_array_that_decides_is_not_compiled() -> None:
    for turn in range(4):
        np.testing.assert_array_equal(_looks(mg.tensor([1.0, turn])).data, [1.0 + turn, turn * (1.0 + turn)])
    assert not _looks.replays
