"""Cases: an operation, how to draw its inputs, and what NumPy says that it gives.

A table of cases is a list of lines such as

    case("sum", np.sum, real(2, 3, 4), axis=(0, -1), keepdims=True)

`real(2, 3, 4)` is a *draw*: which random numbers to take, of which shape. Draws of floats become Tensors that
require grad; integers and booleans become plain arrays on the same device.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Rng = np.random.Generator


# ---- draws -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draw:
    """Random numbers of a kind, in a shape."""

    kind: Callable[[Rng, tuple[int, ...]], Any]
    shape: tuple[int, ...]

    def __call__(self, rng: Rng) -> Any:
        return np.asarray(self.kind(rng, self.shape))


def _domain(low: float, high: float, signed: bool = False) -> Callable[..., Draw]:
    def kind(rng: Rng, shape: tuple[int, ...]) -> Any:
        return rng.uniform(low, high, shape) * (rng.choice([-1.0, 1.0], shape) if signed else 1.0)

    return lambda *shape: Draw(kind, shape)


real = _domain(0.1, 2.0, signed=True)  # away from the kink that many functions have at 0
unit = _domain(0.05, 0.9, signed=True)
positive = _domain(0.3, 2.0)
above_one = _domain(1.2, 3.0)


def apart(*shape: int) -> Draw:
    """Numbers no two of which are near each other, so that no order is in doubt."""
    return Draw(lambda rng, s: (rng.permutation(int(np.prod(s))).reshape(s) - np.prod(s) / 2) * 0.37 + 0.1, shape)


def regular(*shape: int) -> Draw:
    """Square matrices, far from singular."""
    return Draw(lambda rng, s: rng.uniform(-1, 1, s) + 2 * np.eye(s[-1]), shape)


def integers(high: int, *shape: int) -> Draw:
    return Draw(lambda rng, s: rng.integers(0, high, s), shape)


def mask(*shape: int) -> Draw:
    return Draw(lambda rng, s: rng.random(s) < 0.5, shape)


# ---- cases -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """One operation on inputs of one form.

    entry      the entry of the vocabulary that it is about
    call       the operation, on Tensors
    draws      its inputs
    expected   the same on arrays, by NumPy alone; `call` itself where NumPy has it
    second     whether it has a second derivative to check: not where the first is zero everywhere
    half       whether NumPy has it in float16
    """

    entry: str
    call: Callable[..., Any]
    draws: tuple[Draw, ...]
    expected: Callable[..., Any]
    label: str
    second: bool = True
    half: bool = True

    def arrays(self, *dtypes: Any) -> list[Any]:
        """The inputs, the same at every call; floats in float64, or cast to each of `dtypes` in turn."""
        rng = np.random.default_rng(zlib.crc32(self.label.encode()))
        drawn = [draw(rng) for draw in self.draws]
        for dtype in dtypes:
            drawn = [a.astype(dtype) if a.dtype.kind == "f" else a for a in drawn]
        return drawn

    def __repr__(self) -> str:
        return self.label


CASES: list[Case] = []
_labels: set[str] = set()


def case(
    entry: str,
    call: Callable[..., Any],
    *draws: Draw,
    expected: Callable[..., Any] | None = None,
    joint: bool = False,
    second: bool = True,
    half: bool = True,
    **keywords: Any,
) -> None:
    """Add a case to the table. `joint`: the operation takes its inputs as one list. `keywords` go to the operation."""

    def given(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *inputs: function(list(inputs), **keywords) if joint else function(*inputs, **keywords)

    shapes = "_".join("x".join(map(str, d.shape)) or "0d" for d in draws)
    options = ",".join(f"{k}={v}" for k, v in keywords.items())
    base = label = f"{entry}-{shapes}" + (f"-{options}" if options else "")
    number = 1
    while label in _labels:
        number += 1
        label = f"{base}-{number}"
    _labels.add(label)
    CASES.append(Case(entry, given(call), draws, given(expected or call), label, second=second, half=half))


def joined(entry: str, call: Callable[..., Any], *draws: Draw, **options: Any) -> None:
    """A case of an operation on a list."""
    case(entry, call, *draws, joint=True, **options)


SHAPES: Sequence[tuple[int, ...]] = [(), (3,), (2, 3), (2, 0, 3), (2, 1, 3, 2)]
PAIRS: Sequence[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((), ()), ((3,), (3,)), ((2, 3), (3,)), ((), (2, 3)), ((2, 1, 3), (4, 1)), ((0, 3), (3,)), ((1, 3), (0, 1)),
]  # fmt: skip


def unary(entry: str, call: Callable[..., Any], kind: Callable[..., Draw] = real, **options: Any) -> None:
    """A case for each of several shapes."""
    for shape in SHAPES:
        case(entry, call, kind(*shape), **options)


def binary(
    entry: str,
    call: Callable[..., Any],
    first: Callable[..., Draw] = real,
    second_kind: Callable[..., Draw] = real,
    **options: Any,
) -> None:
    """A case for each of several pairs of shapes that broadcast."""
    for a, b in PAIRS:
        case(entry, call, first(*a), second_kind(*b), **options)
