"""Fused functions as kernels for a GPU: the generated bodies, run by a stand-in for CuPy's ElementwiseKernel.

On a machine with a GPU, all tests of fused functions on `backend` run the same kernels by CuPy.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fusion import BINARY, CASES, UNARY, flat, gru, lstm

import minigrad as mg
import nn
from minigrad import backend as backends
from minigrad.fusion import cuda
from minigrad.fusion.structure import Unsuited

Function = Callable[..., Any]
OURS = [*CASES, *[(f, [(3, 4)]) for f in UNARY], *[(f, [(3, 4), (4,)]) for f in BINARY]]


def on_strict(shapes: list[tuple[int, ...]], dtype: Any) -> list[mg.Tensor]:
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
    return [mg.Tensor(backends.from_numpy(a, "strict:0"), requires_grad=True) for a in arrays]


def numbers(values: Any) -> list[Any]:
    return [None if v is None else backends.to_numpy(v.data if isinstance(v, mg.Tensor) else v) for v in values]


def results(f: Function, inputs: list[mg.Tensor], dtype: Any) -> list[Any]:
    outputs = flat(f(*inputs))
    loss = sum((o * dtype(k + 1) * np.tanh(o)).sum() for k, o in enumerate(outputs))
    loss.backward()
    return numbers([*outputs, *[x.grad for x in inputs]])


@pytest.mark.parametrize(("f", "shapes"), OURS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_are_the_plain_operations(f: Function, shapes: list[tuple[int, ...]], dtype: Any) -> None:
    fused = results(mg.fuse(f), on_strict(shapes, dtype), dtype)
    plain = results(f, on_strict(shapes, dtype), dtype)
    for one, other in zip(fused, plain, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("f", [lstm, gru], ids=lambda f: f.__name__)
def test_cells_are_one_kernel_each_way(f: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = next(s for g, s in CASES if g is f)
    launched: list[int] = []
    call = cuda.Piecewise.__call__
    monkeypatch.setattr(cuda.Piecewise, "__call__", lambda self, *a: launched.append(len(self.read)) or call(self, *a))
    outputs = flat(mg.fuse(f)(*on_strict(shapes, np.float32)))
    assert len(launched) == 1
    sum(o.sum() for o in outputs).backward()
    assert len(launched) == 2


def test_a_layer_replayed_on_a_device() -> None:
    """A recorded step holds the kernels as operations. Its operands lie elsewhere in memory than the plain one's do,
    and the last bits of a product of BLAS's depend on that."""
    layer = nn.GRU(5, 4).to("strict:0")
    xs = mg.Tensor(backends.from_numpy(np.random.default_rng(0).standard_normal((6, 3, 5)).astype("f"), "strict:0"))

    def step(xs: mg.Tensor) -> Any:
        for p in layer.parameters():
            p.grad = None
        loss = np.square(layer(xs)[0]).mean()
        loss.backward()
        return loss

    compiled = mg.compile(step)
    for _ in range(4):
        replayed = numbers([compiled(xs), *[p.grad for p in layer.parameters()]])
        plain = numbers([step(xs), *[p.grad for p in layer.parameters()]])
        for one, other in zip(replayed, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=6 * 4e-7 * np.abs(other).max())


def test_a_program_is_captured_at_its_second_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capturing does nothing by itself; weights are written once a run, also where it fails."""
    weight = mg.Tensor(backends.from_numpy(np.zeros(3, np.float32), "strict:0"))
    one = mg.Tensor(backends.from_numpy(np.ones(3, np.float32), "strict:0"))
    events: list[str] = []

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        events.append("captured")
        if failing:
            raise RuntimeError("it cannot be captured")
        return lambda: events.append("launched") or work()  # type: ignore[func-returns-value]

    strict_backend = backends.backend_of(one.data)
    monkeypatch.setitem(backends._BACKENDS, type(one.data), strict_backend._replace(capture=capture))
    for failing in (False, True):
        events.clear()

        @mg.compile
        def step(x: mg.Tensor) -> Any:
            with mg.no_grad():
                weight[...] = weight + x
                return weight * 2

        start = numbers([weight])[0].copy()
        for k in range(1, 7):
            np.testing.assert_array_equal(numbers([step(one)])[0], 2 * (start + k))
        assert events == (["captured"] if failing else ["captured", *["launched"] * 3])
        (replay,) = step.replays
        assert (replay.program.graph is None) == failing
        assert (replay.program.not_captured is not None) == failing


def test_nan_and_inf_pass() -> None:
    special = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]], np.float32)

    def f(x: mg.Tensor) -> Any:
        return np.maximum(x, 0.5), np.minimum(x, 0.5), np.sign(x), np.tanh(x), np.where(x > 0, x, -x), x.clip(-1, 2)

    xs = [mg.Tensor(backends.from_numpy(special, "strict:0"))] * 2
    for one, other in zip(numbers(mg.fuse(f)(xs[0])), numbers(f(xs[1])), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_has_no_kernel_runs_as_a_plan() -> None:
    def half(x: mg.Tensor) -> Any:
        return np.tanh(x) * x

    x = mg.Tensor(backends.from_numpy(np.ones((2, 3), np.float16), "strict:0"), requires_grad=True)
    one = results(mg.fuse(half), [x], np.float16)
    x.grad = None
    for a, b in zip(one, results(half, [x], np.float16), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_source_is_cpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A C++ compiler takes every body."""
    made: list[tuple[str, str, str, str]] = []

    def make(reads: str, writes: str, body: str, name: str, preamble: str = "") -> Any:
        made.append((reads, writes, body, preamble))
        return lambda *arrays: None

    inputs = [(f, [mg.Tensor(np.ones(s, np.float32), True) for s in shapes]) for f, shapes in OURS]
    for f, xs in inputs:
        kernel = mg.fuse(f).kernel(*xs)
        for plan in (kernel.forward, kernel.backward((True,) * kernel.count)[0]):
            with contextlib.suppress(Unsuited):
                cuda.OnGpu(getattr(plan, "plan", plan), make)
    types = {"float32": "float", "float64": "double", "bool": "bool"}
    lines = ["#include <cmath>", "#define __device__", "using namespace std;", made[0][3]]
    for k, (reads, writes, body, _) in enumerate(made):
        declared = [f"{types[t]} {name}" for t, name in (p.split() for p in reads.split(", "))]
        declared += [f"{types[t]}& {name}" for t, name in (p.split() for p in writes.split(", "))]
        lines.append(f"void kernel{k}({', '.join(declared)}) {{\n{body}\n}}")
    source = tmp_path / "kernels.cpp"
    source.write_text("\n".join(lines))
    command = ["g++", "-std=c++17", "-Wall", "-Wno-unused", "-Werror", "-fsyntax-only", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
