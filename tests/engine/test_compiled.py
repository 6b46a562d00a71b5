"""Compiled = plan = plain: values and gradients, for layouts, sizes, dtypes and widths of vectors."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fusion import BINARY, UNARY, activations, biased, flat, gru, inputs_for, lstm, run

import minigrad as mg
from minigrad.fusion.compiled import CompiledPlan
from minigrad.fusion.plan import Plan
from minigrad.native import machine

pytestmark = pytest.mark.skipif(not machine.available(), reason="needs llvmlite, of the extra `fast`")

Function = Callable[..., Any]


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIGRAD_COMPILE", raising=False)


@pytest.fixture(params=[16, 32, 64], ids=lambda size: f"{size} bytes")
def vectors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Processors with vectors of different widths. (The code is the same; this one may do it in more instructions.)"""
    size: int = request.param
    monkeypatch.setattr(machine, "vector_bytes", lambda: size)
    return size


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def masked(z: mg.Tensor, c: mg.Tensor, keep: np.ndarray[Any, Any]) -> Any:
    """Parts of unequal widths, a mask of rows, a value that is joined, and one that is returned whole and in parts."""
    z = np.tanh(z)
    a, b, d = np.split(z, [2, 3], axis=-1)
    new = np.where(keep, a * c + b, c)
    return new, z, np.maximum(d, 0.1), a


def slope(x: mg.Tensor, b: mg.Tensor, s: mg.Tensor) -> Any:
    """Operands that are broadcast along rows, along columns and along both; two of them computed before that."""
    return mg.relu(x * np.exp(b) + s) * np.tanh(s), x * (2 * b)


def halves(x: mg.Tensor, s: mg.Tensor, b: mg.Tensor) -> Any:
    """Gradients that are sums of several pieces."""
    a, c = np.split(x * s + b, 2, axis=-1)
    return np.tanh(a) * c


OWN: list[tuple[Function, list[tuple[int, ...]]]] = [
    *[(lstm, [(n, 4 * h), (n, h)]) for n, h in [(1, 7), (3, 5), (16, 1), (20, 16), (37, 3)]],
    (gru, [(19, 6), (19, 6), (19, 2)]),
    (halves, [(21, 6), (21, 1), (6,)]),
    (halves, [(3, 40), (1,), (1, 40)]),
    (slope, [(5, 33), (33,), (5, 1)]),
    (slope, [(35, 3), (1, 3), ()]),
    (slope, [(40,), (40,), (1,)]),
    (slope, [(0, 3), (3,), (0, 1)]),
]


def kernels(f: Any) -> list[Any]:
    """All that a fused function runs."""
    found = []
    for kernel in f._kernels.values():
        found += [kernel.forward, *[plan for plan, _ in kernel._backward.values()]]
    return found


def compare(f: Function, xs: Callable[[Any], list[mg.Tensor]]) -> None:
    """Against the plain function in float64."""
    exact = run(f, xs(np.float64))
    for dtype, bound in ((np.float64, 1e-12), (np.float32, 4e-7)):  # of the array's maximum
        if f in (slope, halves):
            bound *= 10  # gradients that are sums of up to 120 terms, which cancel
        fused = mg.fuse(f)
        found = run(fused, xs(dtype))
        assert all(isinstance(k, CompiledPlan) for k in kernels(fused))
        for values, references in zip(found, exact, strict=True):
            for value, reference in zip(values, references, strict=True):
                assert value.shape == reference.shape
                assert value.dtype == dtype
                scale = np.abs(reference).max(initial=1e-30)
                np.testing.assert_allclose(value, reference, rtol=0, atol=bound * scale)


@pytest.mark.parametrize(("f", "shapes"), OWN)
@pytest.mark.parametrize("order", ["C", "F"])
def test_compiled_equals_plain(f: Function, shapes: list[tuple[int, ...]], order: str) -> None:
    compare(f, lambda dtype: inputs_for(shapes, dtype, order))


def attended(q: mg.Tensor, k: mg.Tensor, v: mg.Tensor) -> Any:
    return np.sum(np.tanh(q + k) * v, axis=-1)


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (lstm, [(3, 5, 28), (3, 5, 7)]),
        (slope, [(3, 7, 33), (33,), (3, 7, 1)]),
        (slope, [(3, 7, 33), (1,), ()]),
        (attended, [(3, 1, 33), (3, 7, 33), (33,)]),
        (attended, [(2, 3, 1, 17), (2, 3, 5, 17), (1, 17)]),
        (attended, [(2, 1, 1, 17), (2, 3, 5, 17), (17,)]),
        (attended, [(1, 1, 9), (4, 5, 9), (9,)]),
    ],
)
def test_more_axes(f: Function, shapes: list[tuple[int, ...]]) -> None:
    compare(f, lambda dtype: inputs_for(shapes, dtype))
    compare(f, lambda dtype: [mg.Tensor(strided(x.data), requires_grad=True) for x in inputs_for(shapes, dtype)])


@pytest.mark.parametrize("axis", [0, 1])
def test_a_reversed_array_runs_as_the_array_it_is_a_view_of(axis: int) -> None:
    """Along its rows: a sum over them adds in the same order, so the bits are those of a copy."""
    rng = np.random.default_rng(0)
    array, row = (
        np.flip(rng.standard_normal((37, 5)).astype(np.float32), axis),
        rng.standard_normal(5).astype(np.float32),
    )
    found = []
    for values in (array, array.copy()):
        fused = mg.fuse(lambda x, b: np.tanh(x * b))
        x, b = mg.Tensor(values, requires_grad=True), mg.Tensor(row, requires_grad=True)
        assert fused.kernel(x, b).order == "C"
        fused(x, b).sum().backward()
        found.append((x.grad.numpy(), b.grad.numpy()))
    for reversed_one, copied in zip(*found, strict=True):
        np.testing.assert_array_equal(reversed_one, copied)


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (slope, [(7, 33), (3, 7, 33), (3, 1, 1)]),  # the first is broadcast along an axis before others
        (slope, [(3, 7, 33), (33,), (3, 1, 33)]),  # computed from a sum beside fewer rows
        (gru, [(2, 3, 6), (2, 1, 6), (2, 3, 2)]),  # a result with fewer rows
        (attended, [(2, 3, 1, 5), (2, 1, 4, 5), (5,)]),
    ],
)
def test_axes_that_do_not_fold(f: Function, shapes: list[tuple[int, ...]]) -> None:
    fused = mg.fuse(f)
    found, exact = run(fused, inputs_for(shapes, np.float64)), run(f, inputs_for(shapes, np.float64))
    assert any(isinstance(k, Plan) for k in kernels(fused))
    for a, b in zip((*found[0], *found[1]), (*exact[0], *exact[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def strided(x: Any) -> Any:
    """The same numbers with gaps between rows and columns."""
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    inside = wide[(..., *[slice(None, None, 2)] * x.ndim)]
    inside[...] = x
    return inside


@pytest.mark.parametrize(("f", "shapes"), [OWN[3], OWN[4], OWN[6], OWN[8], OWN[9]])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_width_of_vectors(vectors: int, f: Function, shapes: list[tuple[int, ...]], order: str) -> None:
    compare(f, lambda dtype: inputs_for(shapes, dtype, order))
    source = mg.fuse(f).kernel(*inputs_for(shapes, np.float32, order)).forward.source
    assert f"<{vectors // 4} x float>" in source


@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_and_parts(order: str) -> None:
    rng = np.random.default_rng(0)
    keep = rng.random((21, 1)) < 0.5
    for held in (keep, np.asfortranarray(np.repeat(keep, 2, axis=1))):
        fused = mg.fuse(masked)
        for f in (fused, fused.plain):
            xs = inputs_for([(21, 8), (21, 2)], np.float64, order)
            outputs = flat(f(*xs, held))
            sum((o * o).sum() for o in outputs).backward()
            found = [*[o.data for o in outputs], *[x.grad.data for x in xs]]
            if f is fused:
                ours = found
        assert all(isinstance(k, CompiledPlan) for k in kernels(fused))
        for a, b in zip(ours, found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def variants(a: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """The same numbers, laid out in other ways."""
    n, k = a.shape
    yield np.asfortranarray(a)
    rows = np.zeros((k, 3 * n), a.dtype)  # feature by feature, a slice of more rows
    rows[:, n : 2 * n] = a.T
    yield rows[:, n : 2 * n].T
    wide = np.zeros((n, k + 3), a.dtype)
    wide[:, 1 : k + 1] = a
    yield wide[:, 1 : k + 1]
    sparse = np.zeros((2 * n, 3 * k), a.dtype)
    sparse[::2, ::3] = a
    yield sparse[::2, ::3]
    yield np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1]
    raw = np.zeros(a.nbytes + 1, np.uint8)  # between the places where such numbers belong
    odd = raw[1:].view(a.dtype).reshape(a.shape)
    odd[...] = a
    yield odd


@pytest.mark.parametrize("f", [lstm, gru])
def test_layouts(f: Function) -> None:
    shapes = {lstm: [(18, 20), (18, 5)], gru: [(18, 15), (18, 15), (18, 5)]}[f]
    inputs = [x.data for x in inputs_for(shapes, np.float64)]
    reference = run(f, [mg.Tensor(a, True) for a in inputs])
    fused = mg.fuse(f)
    for alternatives in zip(*map(variants, inputs), strict=True):
        for mixed in (alternatives, (alternatives[0], *inputs[1:]), (inputs[0], *alternatives[1:])):
            for ours, plain in zip(run(fused, [mg.Tensor(a, True) for a in mixed]), reference, strict=True):
                for a, b in zip(ours, plain, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_it_is_the_plan_bit_for_bit_but_for_exp_and_log() -> None:
    """In backward, from the same kept values, nothing is rounded otherwise."""
    for f, shapes in (
        (lstm, [(20, 28), (20, 7)]),
        (gru, [(3, 51), (3, 51), (3, 17)]),
        (biased, [(3, 4), (4,), (3, 1)]),
    ):
        xs = inputs_for(shapes, np.float32)
        kernel = mg.fuse(f).kernel(*xs)
        given = [x.data for x in xs]
        kept = kernel.forward.plan(given, given[0])[kernel.count :]
        backward, _ = kernel.backward((True,) * kernel.count)
        gradients = [np.asarray(np.random.default_rng(3).standard_normal(s), np.float32) for s in kernel.shapes]
        ours, plain = [b([*kept, *gradients], given[0]) for b in (backward, backward.plan)]
        for a, b in zip(ours, plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6 if f is biased else 0)  # sums have another order


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("of", "into"),
    [
        ((1 << 18, 1), (1, 1)), ((1 << 13, 32), (1, 1)), ((1 << 13, 32), (1,)), ((1 << 18,), ()),
        ((1, 1 << 18), (1, 1)), ((4, 1 << 16), ()), ((1 << 13, 6), ()),
    ],
)  # fmt: skip
def test_sums_into_one_number(of: tuple[int, ...], into: tuple[int, ...], order: str) -> None:
    """They have many terms of one sign, which no chain of float32 could add up; parts of them too."""

    def f(x: mg.Tensor, b: mg.Tensor) -> Any:
        y = np.tanh(x + b) * 1.5
        return (y, *np.split(y * y, [2], axis=-1)) if y.shape[-1] == 6 else y

    rng = np.random.default_rng(0)
    x, b = np.asarray(rng.random(of, np.float32), order=order), np.asarray(rng.random(into, np.float32))
    fused = mg.fuse(f)
    gradients = []
    for g, dtype in ((fused, np.float32), (f, np.float64)):
        xs = [mg.Tensor(np.asarray(v, dtype), True) for v in (x, b)]
        sum(o.sum() for o in flat(g(*xs))).backward()
        gradients.append(xs[1].grad.data)
    assert all(isinstance(k, CompiledPlan) for k in kernels(fused))
    np.testing.assert_allclose(*gradients, rtol=4e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 1), (3, 33), (200, 64), (4, 3, 37), (6,)], ids=str)
def test_maxima_and_sums_of_rows(shape: tuple[int, ...], dtype: Any) -> None:
    """Of whole rows, and of rows whose parts are read; a NaN makes its own row NaN."""

    def f(x: mg.Tensor, b: mg.Tensor) -> Any:
        z = x * b
        *_, last = np.split(z, [max(shape[-1] // 3, 1)], axis=-1)
        return np.max(z, axis=-1, keepdims=True), np.max(x + b, axis=-1), np.sum(z, axis=-1), np.tanh(last)

    rng = np.random.default_rng(0)
    x, b = (rng.standard_normal(s).astype(dtype) for s in (shape, shape[-1:]))
    fused = mg.fuse(f)
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    for spoilt in (False, True):
        if spoilt:
            x.reshape(-1)[0] = np.nan
        found = []
        for g in (fused, f):
            xs = [mg.Tensor(v, True) for v in (x, b)]
            outputs = g(*xs)
            sum(np.sum(o * 1.5) for o in outputs).backward()
            found.append([*outputs, *[v.grad for v in xs]])
        for ours, plain in zip(*found, strict=True):
            np.testing.assert_allclose(ours.data, plain.data, rtol=tolerance, atol=tolerance)
    kernel = fused.kernel(*xs)  # type: ignore[attr-defined]
    assert isinstance(kernel.forward, CompiledPlan)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 3, 0), (1, 0)], ids=str)
def test_sums_without_terms_are_zero(shape: tuple[int, ...]) -> None:
    """Also those that are gradients of broadcast operands, in memory that held other numbers."""
    junk = [np.full(k % 7 + 1, 7.5, np.float32) for k in range(500)]
    del junk
    fused = mg.fuse(lambda a, b: (np.sum(np.tanh(a * b), axis=-1), np.sum(a), a * b))
    a, b = mg.zeros(shape, requires_grad=True), mg.ones((*shape[:-1], 1), requires_grad=True)
    rows, total, whole = fused(a, b)
    assert (rows.shape, whole.shape) == (shape[:-1], shape)
    assert not rows.data.any()
    assert total.item() == 0
    (np.sum(rows) + total + np.sum(whole)).backward()
    assert not b.grad.data.any()
    assert a.grad.shape == shape


def test_a_row_decides_nothing_about_the_layout() -> None:
    x, b = inputs_for([(50, 4), (1, 4)], np.float32)
    f = mg.fuse(lambda x, b: np.tanh(x + b))
    assert f(mg.Tensor(np.asfortranarray(x.data)), b).data.flags.f_contiguous
    assert f(x, b).data.flags.c_contiguous


def test_sizes_share_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    f = mg.fuse(lstm)
    sources = set()
    compile_ = machine._compile
    monkeypatch.setattr(machine, "_compile", lambda source, subject: sources.add(source) or compile_(source, subject))
    monkeypatch.setattr(machine, "_compiled", {})
    for n, h in [(2, 3), (5, 3), (33, 16), (16, 64)]:
        f(*inputs_for([(n, 4 * h), (n, h)], np.float32, "F"))["h"].sum().backward()
    assert len(kernels(f)) == 8
    assert len(sources) == 2


def test_where_there_is_no_kernel_the_plan_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for f, shapes, dtype in (
        (lambda x: np.sin(x) * x, [(3, 4)], np.float32),
        (lambda x, y: np.tanh(x) * y, [(2, 3, 4), (1, 3, 4)], np.float32),
        (lambda x, y, z: x * y * z, [(2, 3, 4, 5), (2, 1, 1, 5), (2, 3, 1, 5)], np.float32),
        (lambda x: np.tanh(x) * x, [(3, 4)], np.float16),
        (activations, [(2, 3), (3,)], np.float64),
        (lambda x: functools.reduce(lambda y, _: y * x + 1, range(300), x), [(3,)], np.float64),
    ):
        fused = mg.fuse(f)
        run(fused, inputs_for(shapes, dtype))
        assert all(isinstance(k, Plan) for k in kernels(fused))
    monkeypatch.setenv("MINIGRAD_COMPILE", "0")
    fused = mg.fuse(lstm)
    run(fused, inputs_for([(3, 8), (3, 2)], np.float32))
    assert all(isinstance(k, Plan) for k in kernels(fused))


def test_a_gradient_of_another_kind_is_not_read_as_one_of_ours() -> None:
    """A hook may return anything that broadcasts; the kernel refuses other kinds than its own."""
    kernel = mg.fuse(lambda x: x * x).kernel(mg.randn(3, 4, requires_grad=True))
    backward, _ = kernel.backward((True,))
    x = np.ones((3, 4), np.float32)
    for g in (np.full((3, 4), 2.0), np.full((4,), 2, np.float32), np.float32(2.0), np.full((3, 4), 2, np.int8)):
        assert isinstance(backward, CompiledPlan)
        np.testing.assert_array_equal(backward([x, g], x)[0], np.full((3, 4), 4.0))


def test_threads_share_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_compiled", {})
    f = mg.fuse(lstm)
    wrong = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            z, c = rng.standard_normal((6, 12)), rng.standard_normal((6, 3))
            ours, plain = f(mg.tensor(z), mg.tensor(c))["h"], lstm(mg.tensor(z), mg.tensor(c))["h"]
            if not np.allclose(ours.data, plain.data, rtol=1e-6):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# ---- functions of one number -------------------------------------------------------------------------------------


def compiled_ufunc(f: Function, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    forward = mg.fuse(f).kernel(mg.Tensor(x)).forward
    assert isinstance(forward, CompiledPlan)
    found: np.ndarray[Any, Any] = forward([x], x)[0]
    return found


SMALLEST = {np.float32: 2.0**-125, np.float64: 2.0**-1021}
# the largest errors, relative to the value: float32, float64
ERRORS: dict[Function, tuple[float, float]] = {
    np.exp: (9e-8, 1.5e-16),
    np.expm1: (1.4e-7, 2.6e-16),
    np.log: (9e-8, 1.6e-16),
    np.log1p: (1.4e-7, 2.7e-16),
    np.tanh: (1.9e-7, 4e-16),
    sigmoid: (1.7e-7, 2.8e-16),
}


@pytest.mark.parametrize("f", ERRORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_accuracy(f: Function, dtype: Any) -> None:
    """Over all magnitudes, and densely where they bend; the reference has more digits."""
    exponents = np.logspace(-37, 38, 200_001) if dtype == np.float32 else np.logspace(-300, 300, 200_001)
    grids = [np.linspace(-a, a, 400_001) for a in (1.0, 20.0, 760.0)]
    x = np.concatenate([*grids, exponents, -exponents]).astype(dtype)
    more = np.float64 if dtype == np.float32 else np.longdouble
    if np.finfo(more).eps >= np.finfo(dtype).eps:
        pytest.skip("no type with more digits than float64 here")
    with np.errstate(all="ignore"):
        expected = f(x.astype(more))
        fits = np.isfinite(expected.astype(dtype))
        found = compiled_ufunc(f, x)
    np.testing.assert_array_equal(np.isfinite(found), fits)
    error = np.abs(found[fits] - expected[fits])
    normal = np.abs(expected[fits]) >= SMALLEST[dtype]
    assert (error[normal] / np.abs(expected[fits][normal])).max() <= ERRORS[f][dtype == np.float64]
    assert error[~normal].max(initial=0) <= SMALLEST[dtype]


@pytest.mark.parametrize("f", [*ERRORS, np.sqrt, np.sign, np.reciprocal, np.square, np.absolute, np.floor, np.rint])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(f: Function, dtype: Any) -> None:
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e4, -1e4, -1.0, 1.0, 0.5, 2.5, 1e-320, 1e38], dtype)
    found = compiled_ufunc(f, x)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found, f(x), rtol=4e-7 if dtype == np.float32 else 1e-15, atol=2e-38)


def test_limits_are_exact() -> None:
    for dtype in (np.float32, np.float64):
        x = np.array([-np.inf, -1e30, -800.0, 800.0, 1e30, np.inf], dtype)
        np.testing.assert_array_equal(compiled_ufunc(np.tanh, x), np.sign(x))
        np.testing.assert_array_equal(compiled_ufunc(sigmoid, x), x > 0)
    x = np.linspace(-30, 30, 1_000_001, dtype=np.float32)
    assert np.abs(compiled_ufunc(np.tanh, x)).max() == 1.0


@pytest.mark.parametrize("f", [np.sign, np.absolute, np.negative, np.rint, np.tanh, np.sqrt, lambda x: x * -0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signs_of_zero(f: Function, dtype: Any) -> None:
    """Zeros have the signs that the plan gives them, forward and backward."""
    x = mg.Tensor(np.array([0.0, -0.0, 1.0, -1.0], dtype), True)
    kernel = mg.fuse(f).kernel(x)
    backward, _ = kernel.backward((True,))
    with np.errstate(all="ignore"):
        ours, plan = [forward([x.data], x.data) for forward in (kernel.forward, kernel.forward.plan)]
        kept = plan[kernel.count :]
        for g in (np.ones(4, dtype), -np.ones(4, dtype)):
            ours += backward([*kept, g], g)
            plan += backward.plan([*kept, g], g)
    for a, b in zip(ours, plan, strict=True):
        np.testing.assert_allclose(a, b, rtol=4e-7 if f is np.tanh else 0)
        np.testing.assert_array_equal(np.signbit(a[:2]), np.signbit(b[:2]))


PAIRS: list[Any] = [
    np.maximum, np.minimum, np.fmax, np.fmin, np.divide, np.copysign,
    lambda a, b: np.where(a > b, a, b), lambda a, b: np.where(a <= b, 1.0, b),
    lambda a, b: np.where((a == b) | np.isnan(b), a, -b), lambda a, b: np.where((a != b) & ~np.isinf(a), a, 2.0),
    lambda a, b: np.where(np.logical_xor(a >= 0, b < 0), a, np.isfinite(b) * a),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_pairs_of_special_values(number: int) -> None:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 1.5, -2.0, 1e30], np.float32)
    a, b = np.meshgrid(special, special)
    forward = mg.fuse(PAIRS[number]).kernel(mg.Tensor(a), mg.Tensor(b)).forward
    assert isinstance(forward, CompiledPlan)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(forward([a, b], a)[0], PAIRS[number](a, b))


# ---- random expressions ------------------------------------------------------------------------------------------

COMPILED = [f for f in UNARY if f is not np.sin]
PAIRED = [f for f in BINARY if f not in (np.arctan2, np.logaddexp)] + [np.maximum]


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """A list of steps; each takes one or two of the values so far. The last kind splits."""
    length = draw(st.integers(1, 6))
    kinds = st.integers(0, len(COMPILED) + len(PAIRED))
    return [(draw(kinds), draw(st.integers(0, 1 + k)), draw(st.integers(0, 1 + k))) for k in range(length)]


def interpret(steps: list[tuple[int, int, int]]) -> Function:
    def program(x: mg.Tensor, y: mg.Tensor) -> list[mg.Tensor]:
        values = [x, y]
        for op, i, j in steps:
            if op < len(COMPILED):
                values.append(COMPILED[op](values[i]))
            elif op < len(COMPILED) + len(PAIRED):
                values.append(PAIRED[op - len(COMPILED)](values[i], values[j]))
            else:  # gates, as wide as what they are split from
                v = values[i] * values[j]
                a, b, c = np.split(v, [1, 3], axis=-1)
                d, e = np.split(b, 2, axis=-1)
                values.append(np.tanh(v) * (a + c) * d - e)
        return values[2:][-3:]

    return program


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    programs(), st.sampled_from([((5, 4), (5, 4)), ((18, 4), (4,)), ((3, 1), (3, 4)), ((4,), (4,))]),
    st.sampled_from("CF"),
)  # fmt: skip
def test_random_expressions(steps: list[tuple[int, int, int]], shapes: Any, order: str) -> None:
    f = interpret(steps)
    xs = inputs_for(list(shapes), np.float64, order)
    try:
        usable = any(o.requires_grad for o in flat(f(*xs)))
    except ValueError:  # one column cannot be split
        return
    if usable:
        fused = mg.fuse(f)
        for fast, plain in zip(run(fused, xs), run(f, xs), strict=True):
            for a, b in zip(fast, plain, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(np.abs(b).max(), 1.0))
        assert any(isinstance(k, CompiledPlan) for k in kernels(fused))


def test_no_warnings() -> None:
    z, c = [mg.Tensor(np.full(s, v, np.float32), True) for s, v in (((3, 8), -1e30), ((3, 2), 1e38))]
    out = mg.fuse(lstm)(z, c)
    (out["h"] * 2).backward(np.full((3, 2), 1e38, np.float32))
    assert not out["h"].data.any()
