"""Schedules: their formulas, warm-up before any of them, state, and bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn.modules import Parameter
from nn.optimizers import SGD, Adagrad, Adam
from nn.schedules import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    Formula,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    WarmupLR,
)  # fmt: skip


def optimizer(*rates: float) -> SGD:
    return SGD([{"params": [Parameter(np.ones(1))], "lr": lr} for lr in rates or (1.0, 0.5)], momentum=0.9)


FORMULAS: list[Callable[[Any], Any]] = [
    lambda o: LambdaLR(o, [lambda t: 1 / (t + 1), lambda t: 2.0**-t]),
    lambda o: StepLR(o, 3),
    lambda o: MultiStepLR(o, [2, 5]),
    lambda o: ExponentialLR(o, 0.9),
    lambda o: CosineAnnealingLR(o, 20),
    lambda o: LinearLR(o, total_iters=8),
    lambda o: OneCycleLR(o, [1.0, 2.0], 25),
    lambda o: PolynomialLR(o, 9, power=2.0),
    lambda o: CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.1),
    lambda o: CyclicLR(o, 0.1, [1.0, 2.0], 3, 5, mode="triangular2"),
]
MAKERS: list[Callable[[Any], Any]] = [
    *FORMULAS,
    lambda o: ReduceLROnPlateau(o, patience=1, cooldown=1, factor=0.5),
    lambda o: WarmupLR(o, 4),
    lambda o: WarmupLR(o, 4, after=ExponentialLR(o, 0.9)),
    lambda o: WarmupLR(o, 2, after=ReduceLROnPlateau(o, patience=0, factor=0.5)),
    lambda o: WarmupLR(o, 2, after=WarmupLR(o, 3, after=StepLR(o, 2))),
    lambda o: SequentialLR(o, [LinearLR(o, 0.1), CyclicLR(o, 0.1, 0.5, 2), StepLR(o, 3)], [4, 9]),
    lambda o: ChainedScheduler([LinearLR(o, 0.1), ExponentialLR(o, 0.9), CosineAnnealingLR(o, 7, eta_min=0.01)]),
    lambda o: ChainedScheduler([SequentialLR(o, [LinearLR(o), StepLR(o, 3)], [5]), ExponentialLR(o, 0.9)]),
    lambda o: WarmupLR(o, 3, after=SequentialLR(o, [StepLR(o, 2), ExponentialLR(o, 0.9)], [4])),
]


def names(makers: list[Any]) -> list[str]:
    return [type(make(optimizer())).__name__ + str(k) for k, make in enumerate(makers)]


def wants_metric(schedule: Any) -> bool:
    return isinstance(schedule, ReduceLROnPlateau) or (isinstance(schedule, WarmupLR) and wants_metric(schedule.after))


def rates(schedule: Any, steps: range) -> list[list[float]]:
    """The rates at each of the steps; a metric, where one is wanted, that gets worse in the middle."""
    seen = []
    for t in steps:
        schedule.optimizer.step()
        seen.append(schedule.get_last_lr())
        assert [group["lr"] for group in schedule.optimizer.param_groups] == seen[-1]
        schedule.step(*[abs(t - 9)] * wants_metric(schedule))
    return seen


# ---- values ------------------------------------------------------------------------------------------------------


def test_formulas_at_single_steps() -> None:
    assert StepLR(optimizer(), 3).lr(7) == pytest.approx([0.01, 0.005])
    assert MultiStepLR(optimizer(), [5, 2]).lr(5) == pytest.approx([0.01, 0.005])
    assert ExponentialLR(optimizer(), 0.5).lr(3) == [0.125, 0.0625]
    assert CosineAnnealingLR(optimizer(), 10, eta_min=0.1).lr(5) == pytest.approx([0.55, 0.3])
    assert LinearLR(optimizer(), 0.5, 1.0, 4).lr(1) == [0.625, 0.3125]
    assert LambdaLR(optimizer(), lambda t: t).lr(7) == [7.0, 3.5]
    assert PolynomialLR(optimizer(), 4, power=2.0).lr(1) == [0.5625, 0.28125]
    assert PolynomialLR(optimizer(), 4).lr(9) == [0.0, 0.0]
    restarts = CosineAnnealingWarmRestarts(optimizer(), 2, T_mult=3)
    assert [restarts.lr(t)[0] for t in (0, 1, 2, 5, 8, 17)] == pytest.approx([1, 0.5, 1, 0.5, 1, 0.5])
    triangles = CyclicLR(optimizer(), 0.0, 1.0, 2, 4, mode="exp_range", gamma=0.5)
    assert [triangles.lr(t)[0] for t in range(7)] == [0, 0.25, 0.25, 0.75 / 8, 0.5 / 16, 0.25 / 32, 0]
    assert [triangles.momentum(t)[0] for t in (0, 2)] == pytest.approx([0.9, 0.875])
    cycle = OneCycleLR(optimizer(), 1.0, 11, pct_start=0.5)
    assert cycle.lr(0) == pytest.approx([0.04] * 2)
    assert max(range(11), key=lambda t: cycle.lr(t)[0]) in (4, 5)
    assert cycle.lr(10) == pytest.approx([4e-6] * 2)
    assert (cycle.momentum(0), cycle.momentum(10)) == ([0.95] * 2, pytest.approx([0.95] * 2))


@pytest.mark.parametrize("make", FORMULAS, ids=names(FORMULAS))
def test_a_formula_needs_no_steps(make: Any) -> None:
    schedule = make(optimizer())
    plotted = [schedule.lr(t) for t in range(20)]
    assert schedule.last_epoch == 0
    assert rates(schedule, range(20)) == plotted


@pytest.mark.parametrize("make", FORMULAS, ids=names(FORMULAS))
def test_going_on_by_last_epoch(make: Any) -> None:
    """A new schedule for an optimizer whose groups have their initial_lr, as in PyTorch's scripts."""
    first = make(optimizer())
    expected = rates(first, range(8))[-1]
    o = optimizer()
    for group, initial in zip(o.param_groups, first.base_lrs, strict=True):
        group["initial_lr"] = initial
    again = type(first).__new__(type(first))
    vars(again).update(vars(first) | {"optimizer": o})
    again.start(last_epoch=6)
    assert again.last_epoch == 7
    assert again.get_last_lr() == expected
    with pytest.raises(ValueError, match="group 0 has no initial_lr to go on from after step 3"):
        StepLR(optimizer(), 2, last_epoch=3)


def test_a_cycle_of_one_phase() -> None:
    """A peak at the very first step, where a naive formula divides by zero."""
    o = optimizer()
    schedule = OneCycleLR(o, 1.0, 10, pct_start=0.1, cycle_momentum=False)
    assert schedule.get_last_lr() == [1.0, 1.0]
    assert np.all(np.diff([schedule.lr(t)[0] for t in range(10)]) < 0)
    assert o.param_groups[0]["momentum"] == 0.9


def test_the_steps_of_a_cycle_may_be_told_by_epochs() -> None:
    cycle = OneCycleLR(optimizer(), 1.0, epochs=5, steps_per_epoch=4)
    assert [cycle.lr(t) for t in range(20)] == [OneCycleLR(optimizer(), 1.0, 20).lr(t) for t in range(20)]
    with pytest.raises(ValueError, match="OneCycleLR: there is no step 21 in a cycle of 20"):
        cycle.lr(21)


def test_a_cycle_moves_the_momentum() -> None:
    adam = Adam([Parameter(np.ones(1))], betas=(0.5, 0.7))
    schedule = OneCycleLR(adam, 1.0, 10, base_momentum=0.2, max_momentum=0.8, anneal_strategy="linear")
    seen = []
    for _ in range(10):
        adam.step()
        seen.append(adam.param_groups[0]["betas"])
        schedule.step()
    assert [second for _, second in seen] == [0.7] * 10
    np.testing.assert_allclose([first for first, _ in seen[:5]], [0.8, 0.5, 0.2, 0.2 + 0.6 / 7, 0.2 + 1.2 / 7])


# ---- warm-up -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(0, len(FORMULAS) - 1))
def test_warm_up_rises_to_where_the_other_begins_and_follows_it(steps: int, which: int) -> None:
    expected = [FORMULAS[which](optimizer()).lr(t) for t in range(10)]
    o = optimizer()
    seen = rates(WarmupLR(o, steps, after=FORMULAS[which](o)), range(steps + 10))
    np.testing.assert_array_equal(seen[steps:], expected)
    full = np.array(expected[0])
    np.testing.assert_allclose(seen[:steps], [full * (t + 1) / (steps + 1) for t in range(steps)], rtol=1e-12)


def test_warm_up_alone_and_before_a_plateau() -> None:
    seen = rates(WarmupLR(optimizer(1.0), 3), range(6))
    assert seen == [[0.25], [0.5], [0.75], [1.0], [1.0], [1.0]]
    o = optimizer(1.0)
    schedule = WarmupLR(o, 1, after=ReduceLROnPlateau(o, patience=0, factor=0.5))
    seen = []
    for metric in (9.0, 5.0, 5.0, 5.0, 1.0):
        seen += schedule.get_last_lr()
        o.step()
        schedule.step(metric)
    assert seen == [0.5, 1.0, 1.0, 0.5, 0.25]


# ---- of several --------------------------------------------------------------------------------------------------


def test_one_after_the_other_is_each_from_its_first_step() -> None:
    o = optimizer()
    parts = [ExponentialLR(o, 0.5), LinearLR(o, 0.5, total_iters=3), StepLR(o, 2)]
    schedule = SequentialLR(o, parts, [3, 5])
    expected = [parts[k].lr(t) for k, t in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))]
    assert [schedule.lr(t) for t in range(8)] == expected
    assert rates(schedule, range(8)) == expected


def test_all_at_once_are_a_product() -> None:
    o = optimizer()
    parts = [LinearLR(o, 0.25, total_iters=4), ExponentialLR(o, 0.9), PolynomialLR(o, 6)]
    seen = rates(ChainedScheduler(parts), range(8))
    product = [math.prod(part.factor(t) for part in parts) for t in range(8)]
    np.testing.assert_allclose(seen, np.outer(product, [1.0, 0.5]), rtol=1e-12)
    assert seen[-1] == [0.0, 0.0]


def test_parts_of_epochs() -> None:
    o = optimizer(1.0)
    o.step()
    schedule = CosineAnnealingWarmRestarts(o, 2)
    for epoch in (0.5, 1.0, 1.5, 2.0, 3.5):
        schedule.step(epoch)
        assert (
            schedule.get_last_lr()
            == schedule.lr(epoch)
            == [pytest.approx((1 + math.cos(math.pi * epoch / 2 % math.pi)) / 2)]
        )
        assert schedule.last_epoch == int(epoch)


# ---- plateaus ----------------------------------------------------------------------------------------------------


def test_a_plateau_waits_reduces_and_cools_down() -> None:
    schedule = ReduceLROnPlateau(optimizer(1.0), patience=1, factor=0.5, cooldown=2, min_lr=0.2)
    seen = []
    for metric in [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]:
        schedule.step(metric)
        seen += schedule.get_last_lr()
    # one good, two bad: reduced; two cool, two bad: reduced; and again, to the least
    assert seen == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2]


@pytest.mark.parametrize(("mode", "better"), [("min", 2.4), ("max", 3.6)])
def test_a_plateau_by_an_absolute_threshold(mode: str, better: float) -> None:
    schedule = ReduceLROnPlateau(
        optimizer(1.0), mode=mode, patience=0, factor=0.5, threshold=0.5, threshold_mode="abs"
    )  # fmt: skip
    seen = []
    for metric in (3.0, 3.0 + (better - 3.0) * 0.5, better, better):  # the second is better, but not by 0.5
        schedule.step(metric)
        seen += schedule.get_last_lr()
    assert seen == [1.0, 0.5, 0.5, 0.25]


def test_a_plateau_of_nan_is_one() -> None:
    schedule = ReduceLROnPlateau(optimizer(1.0), patience=0, factor=0.5)
    for _ in range(3):
        schedule.step(math.nan)
    assert schedule.get_last_lr() == [0.125]


# ---- state -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS, ids=names(MAKERS))
def test_going_on_from_a_saved_state(make: Any) -> None:
    whole = rates(make(optimizer()), range(20))
    schedule = make(optimizer())
    assert rates(schedule, range(11)) == whole[:11]
    saved = json.loads(json.dumps(schedule.state_dict()))  # plain data
    again = make(optimizer())
    again.load_state_dict(saved)
    assert again.state_dict() == saved
    assert rates(again, range(11, 20)) == whole[11:]
    if isinstance(schedule, OneCycleLR):
        assert again.optimizer.param_groups[0]["momentum"] != 0.9


def test_the_optimizer_keeps_the_initial_rate() -> None:
    first = optimizer()
    schedule = ExponentialLR(first, 0.5)
    first.step()
    schedule.step()
    second = optimizer()
    second.load_state_dict(first.state_dict())
    assert ExponentialLR(second, 0.5, last_epoch=0).get_last_lr() == [0.5, 0.25]


@pytest.mark.parametrize("make", MAKERS, ids=names(MAKERS))
def test_a_wrong_state_changes_nothing(make: Any) -> None:
    schedule = make(optimizer())
    before = schedule.state_dict()
    other = make(optimizer(1.0, 0.5, 0.25)) if make not in (MAKERS[0], MAKERS[6], MAKERS[9]) else None
    wrong = [{}, before | {"more": 1}, before | {"last_epoch": "soon"}]
    wrong += [other.state_dict()] if other is not None else []
    for state in wrong:
        with pytest.raises(ValueError, match=r"load_state_dict: |for 2 groups"):
            schedule.load_state_dict(state)
        assert schedule.state_dict() == before


def test_a_state_without_the_schedule_after() -> None:
    o = optimizer()
    alone, pair = WarmupLR(optimizer(), 3), WarmupLR(o, 3, after=StepLR(o, 2))
    for a, b in ((alone, pair), (pair, alone)):
        with pytest.raises(ValueError, match=r"WarmupLR.load_state_dict: .*`after`"):
            a.load_state_dict(b.state_dict())


WRONG: list[tuple[str, Any]] = [
    ("last_epoch", -1), ("last_epoch", 2.5), ("last_epoch", None), ("last_epoch", "3"), ("last_epoch", True),
    ("last_epoch", math.nan), ("lrs", 0.1), ("lrs", [0.1, "a"]), ("lrs", [0.1, -1.0]), ("lrs", [math.inf, 0.1]),
    ("lrs", None), ("base_lrs", [None, 1.0]), ("best", "low"), ("best", math.nan), ("num_bad_epochs", -2),
    ("cooldown_counter", 0.5), ("full_lrs", [0.1, math.nan]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_entry_that_makes_no_sense_is_named(name: str, value: Any) -> None:
    for make in MAKERS:
        schedule = make(optimizer())
        before = schedule.state_dict()
        if name not in before:
            continue
        with pytest.raises(ValueError, match=rf"{type(schedule).__name__}.load_state_dict: {name} must be"):
            schedule.load_state_dict(before | {name: value})
        assert schedule.state_dict() == before
    with pytest.raises(TypeError, match="must be a mapping"):
        StepLR(optimizer(), 2).load_state_dict([1, 2])  # type: ignore[arg-type]


class Moody(LRScheduler):
    """A user's schedule with a state: a word."""

    MEMORY = ("last_epoch", "mood")

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        self.last_epoch, self.mood = 0, "calm"


def test_what_a_schedule_of_ones_own_remembers_has_its_kind() -> None:
    schedule, other = Moody(optimizer()), Moody(optimizer())
    schedule.mood = "wild"
    other.load_state_dict(schedule.state_dict())
    assert other.mood == "wild"
    with pytest.raises(ValueError, match=r"Moody.load_state_dict: mood must be a str, not 3"):
        other.load_state_dict(schedule.state_dict() | {"mood": 3})
    with pytest.raises(TypeError, match=r"WarmupLR.load_state_dict: expected a mapping, not a list"):
        WarmupLR(optimizer(), 3).load_state_dict([])  # type: ignore[arg-type]


def test_a_cycle_does_not_go_on_beyond_its_end() -> None:
    schedule = OneCycleLR(optimizer(), 1.0, 5)
    with pytest.raises(ValueError, match=r"OneCycleLR.load_state_dict: last_epoch is 6, in a cycle of 5 steps"):
        schedule.load_state_dict(schedule.state_dict() | {"last_epoch": 6})


def test_a_schedule_before_the_optimizer_warns_once() -> None:
    o = optimizer()
    for schedule in (StepLR(o, 2), WarmupLR(o, 3)):
        with pytest.warns(
            UserWarning, match=rf"{type(schedule).__name__}.step\(\) comes before the first optimizer.step"
        ):
            schedule.step()
        schedule.step()
    o.step()
    again = ExponentialLR(o, 0.5)
    again.step()

    class Own(Adam):
        def step(self, closure: Any = None) -> Any:
            """It does all by itself, so nothing is known of it."""

    StepLR(Own([Parameter(np.ones(1))]), 2).step()


# ---- bad input ---------------------------------------------------------------------------------------------------


def in_turn(milestones: list[int]) -> SequentialLR:
    o = optimizer()
    return SequentialLR(o, [StepLR(o, 2), StepLR(o, 3), StepLR(o, 4)], milestones)


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: StepLR(Parameter(np.ones(1)), 2), TypeError, "StepLR: expected an optimizer, got Parameter"),  # type: ignore[arg-type]
    (lambda: StepLR(optimizer(), 0), ValueError, "StepLR: step_size must be a positive integer, not 0"),
    (lambda: CosineAnnealingLR(optimizer(), 1.5), ValueError, "T_max must be a positive integer"),  # type: ignore[arg-type]
    (lambda: LinearLR(optimizer(), start_factor=0.0), ValueError, "start_factor must be above 0"),
    (lambda: LinearLR(optimizer(), end_factor=1.1), ValueError, "end_factor must be between 0 and 1"),
    (lambda: LambdaLR(optimizer(), [float]), ValueError, "LambdaLR: there are 1 functions for 2 groups"),
    (lambda: OneCycleLR(optimizer(), 1.0), ValueError, "needs total_steps, or epochs and steps_per_epoch"),
    (lambda: OneCycleLR(optimizer(), [1.0], 5), ValueError, "there are 1 max_lr for 2 groups"),
    (lambda: OneCycleLR(optimizer(), 1.0, 5, pct_start=2.0), ValueError, "pct_start must be between 0 and 1"),
    (lambda: OneCycleLR(optimizer(), 1.0, 5, anneal_strategy="exp"), ValueError, "anneal_strategy must be"),
    (lambda: OneCycleLR(Adagrad([Parameter(np.ones(1))]), 1.0, 5), ValueError, "Adagrad has no momentum"),
    (lambda: ReduceLROnPlateau(optimizer(), factor=1.0), ValueError, "factor must be at least 0 and less than 1"),
    (lambda: ReduceLROnPlateau(optimizer(), mode="best"), ValueError, "mode must be"),
    (lambda: ReduceLROnPlateau(optimizer(), threshold_mode="x"), ValueError, "threshold_mode must be"),
    (lambda: ReduceLROnPlateau(optimizer(), min_lr=[0, 0, 0]), ValueError, "there are 3 min_lr for 2 groups"),
    (lambda: WarmupLR(optimizer(), 0), ValueError, "steps must be a positive integer"),
    (lambda: WarmupLR(optimizer(), 2, StepLR(optimizer(), 1)), ValueError, "a schedule of the same optimizer"),
    (lambda: PolynomialLR(optimizer(), 0), ValueError, "total_iters must be a positive integer"),
    (lambda: CosineAnnealingWarmRestarts(optimizer(), 3, T_mult=1.5), ValueError, "T_mult must be"),  # type: ignore[arg-type]
    (lambda: CosineAnnealingWarmRestarts(optimizer(), 3).step(-1), ValueError, "epoch must not be negative, and is -1"),
    (lambda: CyclicLR(optimizer(), 0.1, 1.0, mode="square"), ValueError, "mode must be triangular, .* not 'square'"),
    (lambda: CyclicLR(optimizer(), 0.1, 1.0, scale_mode="x"), ValueError, "scale_mode must be"),
    (lambda: CyclicLR(Adagrad([Parameter(np.ones(1))]), 0.1, 1.0), ValueError, "CyclicLR: Adagrad has no momentum"),
    (lambda: ChainedScheduler([]), TypeError, "ChainedScheduler: expected an optimizer, got NoneType"),
    (lambda: SequentialLR(optimizer(), [], []), ValueError, "SequentialLR: there are no schedules"),
    (lambda: SequentialLR(optimizer(), [StepLR(optimizer(), 2)], []), ValueError, "schedule of another optimizer"),
    (lambda: ChainedScheduler([ReduceLROnPlateau(optimizer())]), TypeError, "not a ReduceLROnPlateau"),  # type: ignore[list-item]
    (lambda: in_turn([3, 2]), ValueError, r"milestones must be positive and grow, not \[3, 2\]"),
    (lambda: in_turn([3]), ValueError, "between 3 schedules there are 2 milestones, not 1"),
    (lambda: LRScheduler(optimizer())._advance(), NotImplementedError, r"does not define step\(\)"),
    (lambda: Formula(optimizer()).start(), NotImplementedError, r"does not define lr\(\)"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message[:30] for *_, message in BAD])
def test_bad_input(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_group_added_later() -> None:
    o = optimizer()
    schedule = StepLR(o, 2)
    o.add_param_group({"params": [Parameter(np.ones(1))]})
    o.step()
    with pytest.raises(ValueError, match="StepLR: there are 2 rates for 3 groups"):
        schedule.step()
    assert schedule.last_epoch == 0
