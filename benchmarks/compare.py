"""The harness: cases, and the timing of their sides against each other.

Sides are not alternated call by call: the threads of OpenMP and OpenBLAS spin for a while after each parallel region
and steal the other side's cores. They take turns in *blocks*: two calls to warm up, then seven or more that are timed,
then a rest in which the threads fall asleep. A round is one block of each side; its ratio is that of the two medians.
The report has the median over five rounds, and the lowest and highest ratio as a measure of confidence. (Where calls
take seconds, a block ends earlier; see `Effort`.)

The garbage collector stays on, as for users, but no side pays for another's objects: those of all imported libraries
are frozen (`gc.freeze`: PyTorch's would make each collection many times slower for sides that make Python objects), and
every block starts clean.

Before anything is timed, the gradients of all sides are compared, or the results if there are none: all sides must
compute the same.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from .memory import peaks_in_fresh_process, phases
from .place import DEVICE, NotOnGPUError, wait

PEERS = ("torch", "autograd", "tokenizers", "gensim", "jax", "dezero")  # optional packages
WHOLE_CALL = ("",)  # the phases of a call without phases

Call = Callable[[], Any]  # the measured call, which returns gradients or results
Setup = Callable[[], Call]  # imports a library and makes the data; never measured


@dataclass(frozen=True)
class Case:
    """One computation on several sides; the first is minigrad, and the others are its peers.

    name    shown in the table, and matched by `--only`
    sides   by name
    per     the number of pieces in one call; times are those of one piece
    unit    the name of a piece
    memory  the phases whose peak memory is measured as well: `WHOLE_CALL`, or their names

    A call is a function; or a generator function that yields the name of each phase when the phase ends (None: do not
    count it), and then each phase has its own row. Either returns the gradients, or the results if there are none.
    """

    name: str
    sides: Mapping[str, Setup]
    per: int = 1
    unit: str = "call"
    memory: tuple[str, ...] = ()


@dataclass(frozen=True)
class Effort:
    """The extent of a measurement.

    warmups  calls at the beginning of a block that are not timed
    calls    the least number of timed calls in a block,
    seconds  and their least duration, which gives more calls to short ones;
    longest  a duration after which three are enough: calls of seconds are less noisy
    rest     seconds of sleep after a block
    rounds   blocks of each side
    """

    warmups: int
    calls: int
    seconds: float
    longest: float
    rest: float
    rounds: int


FULL = Effort(warmups=2, calls=7, seconds=0.1, longest=5.0, rest=0.3, rounds=5)
ON_GPU = Effort(warmups=4, calls=7, seconds=0.05, longest=5.0, rest=0.05, rounds=5)  # no threads spin there
QUICK = Effort(warmups=1, calls=2, seconds=0.0, longest=5.0, rest=0.02, rounds=2)


@dataclass(frozen=True)
class Measurement:
    """The measurement of one side of a case, or of one of its phases.

    seconds  for one piece: the median over rounds of the blocks' medians
    ratios   the first side's time divided by this one's, in each round; empty for the first side itself
    peak     bytes of memory above the baseline, or None
    share    for a later phase: that peak divided by the first phase's; else None
    """

    case: Case
    phase: str
    side: str
    seconds: float
    ratios: tuple[float, ...]
    peak: int | None
    share: float | None


def measure(case: Case, effort: Effort) -> tuple[list[Measurement], set[str]]:
    """The rows of a case, and the peers left out because they are not installed."""
    calls, missing = set_up(case)
    check_agreement(case, calls)
    gc.collect()
    gc.freeze()
    peaks = {side: peaks_in_fresh_process(case.name, side) if case.memory and DEVICE == "cpu" else {} for side in calls}
    rounds = [{side: block(call, effort) for side, call in calls.items()} for _ in range(effort.rounds)]

    first = next(iter(calls))
    rows = []
    for phase in rounds[0][first]:
        for side in calls:
            seconds = median(r[side][phase] for r in rounds) / case.per
            ratios = () if side == first else tuple(r[first][phase] / r[side][phase] for r in rounds)
            peak = peaks[side].get(phase) if phase in case.memory else None
            share = peak / peaks[side][case.memory[0]] if peak and phase != case.memory[0] else None
            rows.append(Measurement(case, phase, side, seconds, ratios, peak, share))
    return rows, missing


def set_up(case: Case) -> tuple[dict[str, Call], set[str]]:
    """The calls of all sides whose libraries are installed, and the missing libraries."""
    calls, missing = {}, set()
    for side, setup in case.sides.items():
        try:
            calls[side] = setup()
        except ModuleNotFoundError as error:
            if error.name not in PEERS:
                raise
            missing.add(error.name)
        except NotOnGPUError:
            continue
    return calls, missing


# ---- time --------------------------------------------------------------------------------------------------------


def block(call: Call, effort: Effort) -> dict[str, float]:
    """Consecutive calls of one side, and a rest: the median seconds of each phase."""
    gc.collect()
    for _ in range(effort.warmups):
        clock(call)
    calls: list[dict[str, float]] = []
    start, spent = time.perf_counter(), 0.0
    while spent < effort.seconds or len(calls) < (effort.calls if spent < effort.longest else min(3, effort.calls)):
        calls.append(clock(call))
        spent = time.perf_counter() - start
    time.sleep(effort.rest)
    return {phase: median(c[phase] for c in calls) for phase in calls[0]}


def clock(call: Call) -> dict[str, float]:
    """The seconds of each phase of one call."""
    seconds = {}
    wait()
    start = time.perf_counter()
    for phase in phases(call):
        wait()
        stop = time.perf_counter()
        if phase is not None:
            seconds[phase] = stop - start
        start = time.perf_counter()
    return seconds


# ---- agreement ---------------------------------------------------------------------------------------------------


class DisagreementError(ValueError):
    """Two sides do not compute the same."""


def check_agreement(case: Case, calls: Mapping[str, Call], tolerance: float = 1e-3) -> None:
    """Raise DisagreementError if a side's result differs from the first one's, in shape or, beyond rounding, in value.

    A floor returns nothing; some sides must return something.
    """
    expected: list[Any] = []
    for side, call in calls.items():
        found = [as_array(gradient) for gradient in result_of(call)]
        expected = expected or found
        if not found:  # a floor computes no gradients
            continue
        for k, (one, other) in enumerate(zip(expected, found, strict=True)):
            if not agree(one, other, tolerance):
                raise DisagreementError(f"{case.name}: gradient {k} of {side} is not that of {next(iter(calls))}")
    if not expected:
        raise DisagreementError(f"{case.name}: no side returns anything to compare")


def agree(one: Any, other: Any, tolerance: float) -> bool:
    """True if two arrays are equal up to rounding; NaN and infinity equal nothing, not even themselves."""
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return False
    return bool(np.abs(one - other).max(initial=0) <= tolerance * np.abs(one).max(initial=0))


def result_of(call: Call) -> Any:
    """The result of a call, after all its phases."""
    walk = phases(call)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value


def as_array(gradient: Any) -> Any:
    """Any side's gradient as a NumPy array."""
    for step in ("dense", "to_dense", "cpu", "get", "numpy"):  # sparse ones; PyTorch's and CuPy's on a GPU; any tensor
        if hasattr(gradient, step):
            gradient = getattr(gradient, step)()
    return np.asarray(gradient)
