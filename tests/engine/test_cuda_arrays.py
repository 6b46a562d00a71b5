"""Products by cuBLAS and sums of rows, for CuPy's arrays. Without a GPU, cuBLAS is
a stand-in that reads and writes at the same addresses, and the kernels are compiled as C++ by the CPU's compiler."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import PLACES, Place

import minigrad as mg
from minigrad import backend as backends
from minigrad.cuda import rows as sums
from minigrad.cuda.products import AS_IT_LIES, TRANSPOSED, layout, steps

Rng = np.random.Generator
DEVICES = [place for place in PLACES if place.device != "cpu"]
on_devices = pytest.mark.parametrize("place", DEVICES, ids=lambda place: place.name)


def multiply(place: Place) -> Any:
    kind = backends.backend_for(place.device)
    assert kind.product is not None
    return kind.product


@st.composite
def laid_out(draw: Any, shape: tuple[int, ...]) -> Any:
    """A layout for arrays of a shape: a function that gives an array this layout, from a device's contiguous array."""
    order = draw(st.permutations(range(len(shape))))
    gaps = draw(st.lists(st.integers(1, 2), min_size=len(shape), max_size=len(shape)))

    def lay(place: Place, array: Any) -> Any:
        wide = [shape[axis] * gaps[axis] for axis in order]
        base = place.array(np.full(wide, np.nan), array.dtype)
        back = np.argsort(order)
        view = base.transpose(tuple(int(k) for k in back))[tuple(slice(None, None, gap) for gap in gaps)]
        view[...] = place.array(array)
        return view

    return lay


@on_devices
@settings(deadline=None)  # a GPU's first call takes long
@given(data=st.data())
def test_products_of_matrices_that_lie_in_any_way(place: Place, data: st.DataObject) -> None:
    batch = data.draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    M, K, N = data.draw(st.tuples(*[st.integers(1, 5)] * 3))
    shared = [data.draw(st.sampled_from([batch, (), (1,) * len(batch), batch[1:]])) for _ in range(2)]
    if np.broadcast_shapes(*shared) != batch:
        shared[0] = batch
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shapes = [(*shared[0], M, K), (*shared[1], K, N), (*batch, M, N)]
    arrays = [rng.integers(-4, 5, shape).astype(dtype) for shape in shapes]  # exact in whatever order they are summed
    a, b, out = [data.draw(laid_out(x.shape))(place, x) for x in arrays]
    multiply(place)(a, b, out)
    np.testing.assert_array_equal(place.numpy(out), arrays[0] @ arrays[1])
    np.testing.assert_array_equal(place.numpy(a), arrays[0])
    np.testing.assert_array_equal(place.numpy(b), arrays[1])


@on_devices
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (4, 3, 2)), ((4, 2, 3), (3,))])
def test_products_with_vectors(place: Place, shapes: Any, rng: Rng) -> None:
    a, b = [rng.standard_normal(s) for s in shapes]
    out = place.array(np.zeros((a @ b).shape))
    multiply(place)(place.array(a), place.array(b), out)
    np.testing.assert_allclose(place.numpy(out), a @ b, rtol=1e-14)


@on_devices
@pytest.mark.parametrize("shapes", [((0, 3), (3, 2)), ((2, 0), (0, 2)), ((0, 2, 3), (3, 2))])
def test_empty_products(place: Place, shapes: Any) -> None:
    a, b = [np.ones(s) for s in shapes]
    out = place.array(np.full((a @ b).shape, np.nan))
    multiply(place)(place.array(a), place.array(b), out)
    np.testing.assert_array_equal(place.numpy(out), a @ b)


def test_layouts() -> None:
    x = np.zeros((4, 6), np.float32)
    assert layout(x) == (AS_IT_LIES, 6)
    assert layout(x.T) == (TRANSPOSED, 6)
    assert layout(x[:, :2]) == (AS_IT_LIES, 6)
    assert layout(x[::2]) == (AS_IT_LIES, 12)
    assert layout(x[:1, ::2]) == (TRANSPOSED, 2)
    assert layout(x[:, ::2]) is None
    assert layout(np.broadcast_to(x[0], (4, 6))) is None
    assert layout(x[::-1]) is None
    assert steps(np.zeros((2, 3, 4, 6))) == 24
    assert steps(np.zeros((2, 3, 4, 6))[:, :2]) is None
    assert steps(np.zeros((2, 3, 4, 6))[:, :1]) == 72
    assert steps(x) == 0


# ---- sums of rows ------------------------------------------------------------------------------------------------

PROGRAM = """
#include <cmath>
typedef double T;
extern "C" void links(const long long* indices, long long count, bool* firsts, long long* nexts) {
    for (long long i = 0; i < count; ++i) {
        bool& first = firsts[i];
        long long& next = nexts[i];
        LINKS
    }
}
extern "C" void sums(const long long* indices, const bool* first, const long long* next, const T* rows,
                     long long width, long long size, T* array) {
    for (long long i = 0; i < size; ++i) { SUMS }
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_kernels_add_up_rows(tmp_path: Path, rng: Rng) -> None:
    source, library = tmp_path / "rows.cpp", tmp_path / "rows.so"
    source.write_text(PROGRAM.replace("LINKS", sums.LINKS).replace("SUMS", sums.SUMS))
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Werror", "-shared", "-fPIC", source, "-o", library], check=True)
    compiled = ctypes.CDLL(str(library))
    for count, size, width in ((1, 1, 3), (7, 3, 2), (200, 9, 5), (50, 500, 1)):
        indices = rng.integers(0, size, count)
        rows, array = rng.standard_normal((count, width)), rng.standard_normal((size, width))
        expected = array.copy()
        np.add.at(expected, indices, rows)
        first, following = np.empty(count, np.bool_), np.empty(count, np.int64)
        at = lambda a: a.ctypes.data_as(ctypes.c_void_p)  # noqa: E731
        long = ctypes.c_longlong
        compiled.links(at(indices), long(count), at(first), at(following))
        sorted_first, sorted_following = sums.RowAdder.links(indices)
        np.testing.assert_array_equal(first, sorted_first)
        np.testing.assert_array_equal(following, sorted_following)
        compiled.sums(at(indices), at(first), at(following), at(rows), long(width), long(rows.size), at(array))
        np.testing.assert_allclose(array, expected, rtol=1e-13, atol=1e-13)


@on_devices
@pytest.mark.parametrize("count", [0, 1, 300, sums.FEW + 5])
def test_rows_are_added_in_order(place: Place, count: int, rng: Rng) -> None:
    for shape in ((9, 4), (50, 2, 3), (5,)):
        array = rng.standard_normal(shape).astype(np.float32)
        indices = rng.integers(-shape[0], shape[0], count)
        rows = rng.standard_normal((count, *shape[1:])).astype(np.float32)
        found = [place.array(array) for _ in range(2)]
        for one in found:
            backends.add_at(one, place.array(indices), place.array(rows))
        expected = array.astype(np.float64)
        np.add.at(expected, indices, rows)
        tolerance = 1e-5 * math.sqrt(1 + count)
        np.testing.assert_allclose(place.numpy(found[0]), expected, rtol=1e-5, atol=tolerance)
        np.testing.assert_array_equal(place.numpy(found[0]), place.numpy(found[1]))


@on_devices
def test_an_embedding_can_be_trained_in_a_program(place: Place, rng: Rng) -> None:
    ids = rng.integers(0, 7, (5, 3))
    weights = [place.tensor(rng.standard_normal((7, 4)), requires_grad=True)]
    weights.append(mg.Tensor(weights[0].data.copy(), requires_grad=True))

    def step(weight: mg.Tensor, ids: mg.Tensor) -> Any:
        weight.grad = None
        loss = np.square(mg.embedding(weight, ids)).sum()
        loss.backward()
        return loss

    replayed, given = mg.compile(step), place.tensor(ids)
    for _ in range(6):
        one, other = replayed(weights[0], given), step(weights[1], given)
        np.testing.assert_array_equal(place.numpy(one), place.numpy(other))
        for gradient in (weights[0].grad, weights[1].grad):
            assert gradient is not None
        np.testing.assert_allclose(place.numpy(weights[0].grad), place.numpy(weights[1].grad), rtol=1e-14)
    (replay,) = replayed.replays
    assert replay.program.not_captured is None
    assert replay.program.graph is not None
