"""A tensor that requires grad becomes a plain number only where somebody asks for it."""

from __future__ import annotations

import builtins
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn


@pytest.fixture
def t() -> mg.Tensor:
    return mg.tensor(2.5, requires_grad=True) * 1


def store(a: Any, index: Any, value: Any) -> None:
    a[index] = value


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(TypeError, match=r"gradient would be lost.*"):
        yield


IMPLICIT: dict[str, Callable[[Any], Any]] = {
    "stored": lambda t: store(np.zeros(3), 1, t),
    "stored beside a float": lambda t: store(np.zeros((2, 2)), (0, 1), t),
    "stored among integers": lambda t: store(np.zeros(3, int), 1, t),
    "stored as a part": lambda t: store(np.zeros(3), slice(1, 2), t),
    "filled": lambda t: np.zeros(3).fill(t),
    "filled beside a float": lambda t: np.full(3, float("1")).fill(t),
    "math": lambda t: math.exp(t),
    "math of a product": lambda t: math.exp(float("2") * t),
    "np.float64": lambda t: np.float64(t),
    "np.float32": lambda t: np.float32(t),
    "np.int64": lambda t: np.int64(t),
    "complex": lambda t: complex(t),
    "initial": lambda t: np.sum(np.ones(2), initial=t),
    "iterated": lambda t: np.fromiter([t], float),
    "collected": lambda t: np.array([1.0, t]),
}
EXPLICIT: dict[str, Callable[[Any], Any]] = {
    "float": lambda t: float(t),
    "float of a sum": lambda t: float((t * 2 if t > 0 else t * 3).sum()) / 2,
    "float in a store": lambda t: store(np.zeros(1), 0, float(t)) or 2.5,
    "float in math": lambda t: math.log(math.exp(float(t))),
    "over lines": lambda t: float(
        t
    ),
    "its module's": lambda t: builtins.float(t),
    "unpacked": lambda t: float(*[t]),
    "mapped": lambda t: sum(map(float, [t])),
    "looped": lambda t: [*map(float, [t])].pop(),
    "item": lambda t: t.item(),
    "text": lambda t: float(f"{t:.4f}"),
    "percent": lambda t: float("%.3f" % t),  # noqa: UP031
    "several": lambda t: float(("%d %.3f" % (t, t)).split()[1]),  # noqa: UP031
    "formatted": lambda t: float("{:.3f}".format(t)),  # noqa: UP032
    "rounded": lambda t: round(t, 3).item(),
    "integer": lambda t: int(t) + 0.5,
    "printed": lambda t: print(t) or 2.5,
}  # fmt: skip


@pytest.mark.parametrize("name", IMPLICIT)
def test_a_gradient_is_not_lost_by_a_conversion(name: str, t: Any) -> None:
    with refused():
        IMPLICIT[name](t)
    IMPLICIT[name](t.detach())


@pytest.mark.parametrize("name", EXPLICIT)
def test_a_number_can_be_asked_for(name: str, t: Any) -> None:
    assert EXPLICIT[name](t) == pytest.approx(2.5)


def test_a_loop_that_collects_results_is_refused() -> None:
    x = mg.tensor([0.1, 0.2, 0.3], requires_grad=True)
    results = np.zeros(3)
    with refused():
        for k in range(3):
            results[k] = np.tanh(x[k])
    assert not results.any()


def test_text_by_another_module(t: Any) -> None:
    import logging

    record = logging.LogRecord("minigrad", logging.INFO, "", 1, "loss %.2f after %d", (t, 7), None)
    assert record.getMessage() == "loss 2.50 after 7"


def test_integers_convert_freely() -> None:
    n = mg.tensor(3)
    assert [10, 11, 12, 13][n] == 13
    assert math.sqrt(n + 1) == 2
    assert int(n) == 3


@pytest.mark.parametrize("options", [[], ["-X", "no_debug_ranges"]])
def test_without_positions_in_lines(options: list[str]) -> None:
    source = """
import math, minigrad as mg
t = mg.tensor(2.5, requires_grad=True)
print(float(t))
f = lambda: float(t)
print(f())
try:
    math.exp(t)
except TypeError:
    print("refused")
"""
    done = subprocess.run([sys.executable, *options, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2.5", "2.5", "refused"]


def test_a_parameter_is_refused_as_well() -> None:
    with refused():
        np.zeros(2)[0] = nn.Parameter(np.array(2.0))


def test_tensors_are_still_iterated_indexed_and_reversed() -> None:
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]])
    first, second = x
    assert [row.tolist() for row in reversed(x)] == [second.tolist(), first.tolist()]
    assert [*map(len, x)] == [2, 2]
    assert np.array([x, x]).shape == (2, 2, 2)
    assert np.asarray([mg.tensor(1.0), mg.tensor(2.0)]).tolist() == [1.0, 2.0]
    assert x[1, 0].item() == 3.0
