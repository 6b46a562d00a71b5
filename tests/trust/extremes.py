"""Extremes: the fast path agrees with the plain one and with NumPy on all kinds of floats and arrays.

NaN, infinities, denormals, numbers near the ends of the range, zeros of both signs; reversed, read-only, overlapping,
big-endian and object arrays; axes of size zero: through every operation of the vocabulary, layers, losses, optimizers,
fused and compiled functions, forward and backward. An unsupported kind is refused by a TypeError or ValueError.
"""

from __future__ import annotations

import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from operations import CASES, Case

import minigrad as mg
from minigrad.trees import flatten
from tests.trust.common import arguments, conclude
from tests.trust.networks import NETWORKS

Fill = Callable[[Any, Any], Any]
REFUSALS = (TypeError, ValueError)
TOLERANCE = {np.float32: 4e-6, np.float64: 1e-11}


def _put(*values: float) -> Fill:
    """Replace some numbers, at random places, by these."""

    def fill(array: Any, rng: Any) -> Any:
        array = array.copy()
        places = rng.random(array.shape) < 0.3
        array[places] = rng.choice(np.array(values, array.dtype), int(places.sum()))
        return array

    return fill


def _scaled(power: float) -> Fill:
    """Multiply all numbers by the largest or the smallest of the dtype, to a power."""

    def fill(array: Any, rng: Any) -> Any:
        info = np.finfo(array.dtype)
        return array * (info.max if power > 0 else info.tiny).astype(array.dtype) ** array.dtype.type(abs(power))

    return fill


FILLS: dict[str, Fill] = {
    "NaN": _put(np.nan), "+inf": _put(np.inf), "-inf": _put(-np.inf),
    "NaN and both infinities": _put(np.nan, np.inf, -np.inf), "zeros of both signs": _put(0.0, -0.0),
    "denormals": _put(1e-45, -1e-40, 5e-324, 1e-310),
    "huge": _scaled(0.95), "tiny": _scaled(-0.95), "small": _scaled(-0.5), "large": _scaled(0.4),
    "all NaN": lambda array, rng: np.full_like(array, np.nan), "all zero": lambda array, rng: np.zeros_like(array),
}  # fmt: skip


def reversed_(array: Any) -> Any:
    return array[(slice(None, None, -1),) * array.ndim].copy()[(slice(None, None, -1),) * array.ndim]


def read_only(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


def overlapping(array: Any) -> Any:
    """All rows share memory."""
    return as_strided(array, array.shape, (0, *array.strides[1:])) if array.ndim and array.size else array


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "reversed": reversed_, "columns first": lambda array: array.copy(order="F"), "read-only": read_only,
    "overlapping": overlapping, "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "objects": lambda array: array.astype(object),
}  # fmt: skip


# Operations and numbers whose values are not NumPy's, and why.
OWN = {
    ("polymul", "zero"): "leading zeros stay: a shape does not depend on values",
    ("polydiv", ""): "leading zeros stay, as those of a product",
    ("svd", "all zero"): "any vectors are singular vectors of 0",
    ("quantile", "inf"): "an element is itself beside an infinite one; NumPy multiplies the infinite gap by 0",
    ("interp", "inf"): "points between infinite ones are undefined",
    ("interp", "NaN"): "the same",
    ("geomspace", "inf"): "beside an infinite end, all numbers are infinite",
    ("unwrap", "inf"): "an infinite number has no phase",
    ("matrix_power", "inf"): "sums of both infinities depend on the order of the products",
    ("bessel", "tiny"): "NumPy has none, and the plain integral of the case rounds beside 0",
    ("bessel", "small"): "the same",
    ("bessel", "zero"): "the same",
    ("nanprod", "denormals"): "the last bits depend on the order of the factors",
}
SINGULAR = ("cholesky", "denormals")  # of a matrix with condition number 1e17: rounding decides the gradient


# ---- one comparison ----------------------------------------------------------------------------------------------


def outcome(call: Callable[..., Any], arrays: list[Any]) -> Any:
    """The values and gradients of a function, as arrays; or its refusal."""
    try:
        inputs = [mg.Tensor(a, requires_grad=a.dtype.kind == "f") if a.dtype.kind in "fO" else a for a in arrays]
        results = [r for r in flatten(call(*inputs))[0] if isinstance(r, mg.Tensor)]
        for k, r in enumerate(results):
            if r.requires_grad:
                r.backward(np.random.default_rng(k).uniform(0.5, 1.5, r.shape).astype(r.dtype), retain_graph=True)
        grads = [x.grad for x in inputs if isinstance(x, mg.Tensor) and x.grad is not None]
        return [np.asarray(r.data) for r in (*results, *grads)]
    except REFUSALS as error:
        return error


def differ(found: Any, expected: Any, tolerance: float, overflow: bool = False) -> str:
    """The difference of two outcomes, or "". If sums overflow, infinity and NaN count as equal."""
    if isinstance(found, Exception) or isinstance(expected, Exception):
        return "" if isinstance(found, Exception) else f"{found[0].ravel()[:3]} where {expected!r} is expected"
    for k, (a, b) in enumerate(zip(found, expected, strict=False)):
        if a.shape != b.shape:
            return f"result {k} has shape {a.shape}, not {b.shape}"
        scale = np.max(np.abs(b), initial=0.0, where=np.isfinite(b))
        close = np.isclose(a, b, rtol=tolerance * 10, atol=float(scale) * tolerance, equal_nan=True)
        close |= overflow & ~np.isfinite(a) & ~np.isfinite(b)
        if not close.all():
            return f"result {k}: {a[~close].ravel()[:3]}, not {b[~close].ravel()[:3]}"
    return ""


class Trial:
    """Counts the comparisons, and collects faults."""

    def __init__(self) -> None:
        self.count, self.faults = 0, []  # type: ignore[var-annotated]

    def compare(self, what: str, call: Callable[..., Any], arrays: list[Any], tolerance: float,
                expected: Callable[..., Any] | None = None) -> None:  # fmt: skip
        """Compare the fast path with the plain one, or with another function."""
        self.count += 1
        try:
            if expected is None:
                with mg.plain_path():
                    other = outcome(call, arrays)
            else:
                other = outcome(expected, arrays)
            found = outcome(call, arrays)
            difference = differ(found, other, tolerance, "huge" in what)
        except Exception as error:
            difference = f"{type(error).__name__}: {error}"
        if difference:
            self.faults.append(f"{what}: {difference}"[:300])


def against_numpy(case: Case, arrays: list[Any], tolerance: float, overflow: bool) -> str:
    """The difference from the values on plain arrays, which are NumPy's. If an intermediate value overflows in NumPy
    but not in another formula, the values of a wider float are right as well."""
    found = outcome(case.call, arrays)
    if isinstance(found, Exception):
        return ""
    differences = []
    for wider in (lambda a: a, lambda a: a.astype(np.float64), lambda a: a.astype(np.longdouble)):
        try:
            wide = [wider(a) if a.dtype.kind == "f" else a for a in arrays]
            expected = [np.asarray(r) for r in flatten(case.call(*wide))[0]]
        except (*REFUSALS, AttributeError, ZeroDivisionError):  # the last: weights of an average that sum to zero
            continue
        expected = [e.astype(f.dtype) if e.dtype.kind == "f" else e for e, f in zip(expected, found, strict=False)]
        differences.append(differ(found[: len(expected)], expected, tolerance, overflow))
    return differences[0] if differences and all(differences) else ""


def operations(trial: Trial, every: int) -> None:
    """Every operation with extreme numbers, and with unusual arrays."""
    for case in CASES[::every]:
        for dtype in (np.float32, np.float64):
            for name, fill in FILLS.items():
                what = f"{case} with {name}, {np.dtype(dtype)}"
                rng = np.random.default_rng(zlib.crc32(what.encode()))
                arrays = [fill(a, rng) if a.dtype.kind == "f" else a for a in case.arrays(dtype)]
                if str(case).startswith(SINGULAR[0]) and SINGULAR[1] in name:
                    continue
                trial.compare(what, case.call, arrays, TOLERANCE[dtype])
                chain = str(case).startswith("einsum") and len(arrays) > 2  # multiplied in pairs: other sums
                if any(str(case).startswith(operation) and numbers in name for operation, numbers in OWN):
                    continue
                if difference := against_numpy(case, arrays, TOLERANCE[dtype], chain or name == "huge"):
                    trial.faults.append(f"{what}, against NumPy: {difference}"[:300])
        for name, layout in LAYOUTS.items():
            plain = [np.array(overlapping(a)) if name == "overlapping" else a for a in case.arrays(np.float64)]
            strange = [layout(a) if a.dtype.kind == "f" else a for a in plain]
            trial.count += 1
            try:
                difference = differ(outcome(case.call, strange), outcome(case.call, plain), 1e-11)
            except Exception as error:
                difference = f"{type(error).__name__}: {error}"
            if difference:
                trial.faults.append(f"{case}, {name}: {difference}"[:300])


def networks(trial: Trial) -> None:
    """Layers, losses, optimizers, fused and compiled functions."""
    for title, (call, expected, shapes) in NETWORKS.items():
        for dtype in (np.float32, np.float64):
            for name, fill in FILLS.items():
                rng = np.random.default_rng(5)
                arrays = [fill(rng.uniform(0.1, 0.9, shape).astype(dtype), rng) for shape in shapes]
                trial.compare(f"{title} with {name}, {np.dtype(dtype)}", call, arrays, TOLERANCE[dtype], expected)
        for name, layout in LAYOUTS.items():
            plain = [np.array(overlapping(np.random.default_rng(3).uniform(0.1, 0.9, s))) for s in shapes]
            trial.compare(f"{title}, {name}", laid_out(call, layout), plain, 1e-11, call)


def laid_out(call: Callable[..., Any], layout: Callable[[Any], Any]) -> Callable[..., Any]:
    """The function, of arrays in another layout."""
    return lambda *tensors: call(*[mg.Tensor(layout(t.data)) for t in tensors])


def main() -> None:
    options = arguments(__doc__, every=(2, 1))
    warnings.simplefilter("ignore")
    trial = Trial()
    with np.errstate(all="ignore"):
        networks(trial)
        operations(trial, options.every)
    conclude("extremes", f"{trial.count:,} comparisons: {len(CASES[:: options.every])} operations in "
             f"{len(FILLS)} kinds of numbers and {len(LAYOUTS)} of arrays, {len(NETWORKS)} layers, losses, optimizers, "
             "fused and compiled functions", trial.faults)  # fmt: skip


if __name__ == "__main__":
    main()
