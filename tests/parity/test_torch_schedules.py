"""Schedules against PyTorch: the rates of two groups over 100 steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs

import nn.schedules as ours
from nn.modules import Parameter
from nn.optimizers import SGD, Adam

pytestmark = pytest.mark.parity

STEPS = 100


def halves(t: int) -> float:
    return 1 / (1 + t // 7)


def sines(t: int) -> float:
    return 1.5 + math.sin(t)


FORMULAS: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": halves}),
    ("LambdaLR", {"lr_lambda": [halves, sines]}),
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 1, "gamma": 0.93}),
    ("MultiStepLR", {"milestones": [30, 5, 5, 80], "gamma": 0.4}),
    ("MultiStepLR", {"milestones": [0, 3]}),
    ("ExponentialLR", {"gamma": 0.97}),
    ("CosineAnnealingLR", {"T_max": 100}),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.01}),  # goes up again
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 60}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 1}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 70, "power": 0.7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 7}),
    ("CyclicLR", {"base_lr": [0.1, 0.2], "max_lr": [0.9, 0.3], "step_size_up": 5, "step_size_down": 11,
                  "mode": "triangular2", "base_momentum": [0.5, 0.6], "max_momentum": 0.95}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 5, "mode": "exp_range", "gamma": 0.98}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 5, "scale_fn": halves, "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 5, "scale_fn": sines, "scale_mode": "iterations"}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": STEPS}),
    ("OneCycleLR", {"max_lr": [0.7, 0.2], "epochs": 10, "steps_per_epoch": 11, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": STEPS, "three_phase": True, "pct_start": 0.4, "div_factor": 5.0}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": STEPS, "pct_start": 0.25, "base_momentum": [0.5, 0.6],
                    "max_momentum": 0.9, "final_div_factor": 10.0}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": STEPS, "pct_start": 0.0, "cycle_momentum": False}),
]  # fmt: skip


def optimizers(name: str) -> tuple[Any, Any]:
    groups = [{"lr": 0.5}, {"lr": 0.03}]
    mine = [{"params": [Parameter(np.ones(2))], **g} for g in groups]
    other = [{"params": [torch.nn.Parameter(torch.ones(2))], **g} for g in groups]
    if name == "SGD":
        return SGD(mine, momentum=0.8), torch.optim.SGD(other, momentum=0.8)
    return Adam(mine), torch.optim.Adam(other)


def settings(optimizer: Any) -> list[list[float]]:
    return [[g["lr"], *g.get("betas", [g.get("momentum")])] for g in optimizer.param_groups]


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "arguments"), FORMULAS, ids=lambda v: v if isinstance(v, str) else "")
def test_the_same_rates(name: str, arguments: dict[str, Any], kind: str) -> None:
    a, b = optimizers(kind)
    mine, other = getattr(ours, name)(a, **arguments), getattr(theirs, name)(b, **arguments)
    seen = []
    for t in range(STEPS + 1):
        np.testing.assert_allclose(settings(a), settings(b), rtol=1e-11, atol=1e-15, err_msg=f"step {t}")
        np.testing.assert_allclose(mine.get_last_lr(), other.get_last_lr(), rtol=1e-11, atol=1e-15)
        assert mine.get_last_lr() == mine.lr(t)
        assert mine.last_epoch == other.last_epoch
        seen.append(mine.get_last_lr())
        a.step()
        b.step()
        if t < STEPS:
            mine.step()
            other.step()
    assert len(np.unique(seen)) > 3


PARTS: list[tuple[str, dict[str, Any]]] = [
    ("LinearLR", {"start_factor": 0.1, "total_iters": 9}),
    ("ExponentialLR", {"gamma": 0.97}),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.003}),
    ("StepLR", {"step_size": 6, "gamma": 0.7}),
    ("PolynomialLR", {"total_iters": 60, "power": 2.0}),
    ("MultiStepLR", {"milestones": [4, 40], "gamma": 0.5}),
]


@pytest.mark.parametrize("chosen", [[0, 1], [1, 2], [0, 2, 3], [4, 1, 5], [0, 1, 2, 3, 4, 5]], ids=str)
@pytest.mark.parametrize("kind", ["SequentialLR", "ChainedScheduler"])
@pytest.mark.filterwarnings("ignore:The epoch parameter in")  # PyTorch's own call of it
def test_several(kind: str, chosen: list[int]) -> None:
    found = []
    for schedules, optimizer in zip((ours, theirs), optimizers("SGD"), strict=True):
        parts = [getattr(schedules, name)(optimizer, **arguments) for name, arguments in (PARTS[k] for k in chosen)]
        if kind == "SequentialLR":
            schedule = schedules.SequentialLR(optimizer, parts, [7 + 11 * k for k in range(len(parts) - 1)])
        else:
            schedule = schedules.ChainedScheduler(parts)
        seen = []
        for _ in range(STEPS):
            seen.append(schedule.get_last_lr())
            assert [group["lr"] for group in optimizer.param_groups] == seen[-1]
            optimizer.step()
            schedule.step()
        found.append(seen)
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-13)
    assert len(np.unique(found[0])) > 10


def test_parts_of_epochs() -> None:
    a, b = optimizers("SGD")
    mine, other = ours.CosineAnnealingWarmRestarts(a, 4, T_mult=2), theirs.CosineAnnealingWarmRestarts(b, 4, T_mult=2)
    a.step()
    b.step()
    for epoch in np.arange(0.0, 30.0, 0.3):
        mine.step(epoch)
        other.step(epoch)
        np.testing.assert_allclose(mine.get_last_lr(), other.get_last_lr(), rtol=1e-11, atol=1e-15)
        assert mine.last_epoch == other.last_epoch


def test_a_cycle_that_is_over() -> None:
    a, b = optimizers("SGD")
    mine = ours.OneCycleLR(a, 0.1, total_steps=5)
    other = theirs.OneCycleLR(b, 0.1, total_steps=5)
    a.step()
    b.step()
    for _ in range(5):
        mine.step()
        other.step()
    for schedule in (mine, other):
        with pytest.raises(ValueError, match=r"step.* 6|6 times"):
            schedule.step()


PLATEAUS: list[dict[str, Any]] = [
    {"patience": 3},
    {"mode": "max", "patience": 2, "factor": 0.5, "threshold": 0.05, "cooldown": 4},
    {"threshold_mode": "abs", "threshold": 0.2, "patience": 0, "factor": 0.7, "min_lr": [0.01, 0.02]},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.1, "patience": 5, "factor": 0.3, "min_lr": 1e-3},
    {"patience": 0, "factor": 0.9, "eps": 1e-2},
]


@pytest.mark.parametrize("offset", [4.0, -4.0])
@pytest.mark.parametrize("arguments", PLATEAUS, ids=str)
def test_plateaus(arguments: dict[str, Any], offset: float, rng: np.random.Generator) -> None:
    a, b = optimizers("SGD")
    mine, other = ours.ReduceLROnPlateau(a, **arguments), theirs.ReduceLROnPlateau(b, **arguments)
    rates = []
    for metric in offset + np.cumsum(rng.normal(0, 0.1, STEPS)):
        mine.step(metric)
        other.step(metric)
        np.testing.assert_allclose(mine.get_last_lr(), other.get_last_lr(), rtol=1e-13)
        assert [mine.best, mine.num_bad_epochs, mine.cooldown_counter] == [
            other.best, other.num_bad_epochs, other.cooldown_counter,
        ]  # fmt: skip
        rates.append(mine.get_last_lr()[0])
    assert len(set(rates)) > 2
