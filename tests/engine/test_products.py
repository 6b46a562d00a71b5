"""Products of matrices by our own kernels: against longer floats, for shapes, layouts, widths of vectors, threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad.native import machine, panels, products, single, sums

pytestmark = pytest.mark.skipif(not machine.available(), reason="needs llvmlite, of the extra `fast`")

KERNELS = ["few", "many"]
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]


@pytest.fixture(params=[16, 32, 64], ids=lambda size: f"{size} bytes")
def vectors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Processors with vectors of different widths."""
    size: int = request.param
    cached = (products.few, products.many, panels._kernel)
    for function in cached:
        function.cache_clear()
    monkeypatch.setattr(machine, "vector_bytes", lambda: size)
    yield size
    for function in cached:
        function.cache_clear()


def multiplied(how: str, rows: Any, matrix: Any, *start: Any) -> Any:
    packed = np.full(panels.panels(matrix.shape, matrix.dtype), np.nan, matrix.dtype)
    panels.pack(matrix, packed)
    out = np.full((len(rows), matrix.shape[1]), np.nan, rows.dtype)
    getattr(products, how)(rows.dtype)(rows, packed, out, *start)
    return out


def laid_out(array: Any, layout: str) -> Any:
    """The same numbers, row by row, column by column, or with gaps between the rows."""
    if layout == "F":
        return np.asfortranarray(array)
    wide = np.full((array.shape[0] * 2, array.shape[1] + 3), np.nan, array.dtype)
    wide[::2, :-3] = array
    return wide[::2, :-3] if layout == "gaps" else array


def check(how: str, rows: Any, matrix: Any) -> None:
    exact = rows.astype(np.longdouble) @ matrix.astype(np.longdouble)
    sizes = np.abs(rows.astype(np.longdouble)) @ np.abs(matrix.astype(np.longdouble))
    bound = rows.shape[1] * np.finfo(rows.dtype).eps * sizes  # Higham 2002, (3.5), with twice its constant
    assert (np.abs(multiplied(how, rows, matrix) - exact) <= bound).all()
    start = np.linspace(-2, 3, matrix.shape[1], dtype=rows.dtype)
    bound = (rows.shape[1] + 1) * np.finfo(rows.dtype).eps * (sizes + np.abs(start))
    assert (np.abs(multiplied(how, rows, matrix, start) - exact - start) <= bound).all()


@pytest.mark.parametrize("how", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["C", "F", "gaps"])
def test_every_width_of_vectors(vectors: int, how: str, dtype: Any, layout: str) -> None:
    rng = np.random.default_rng(vectors)
    for N, K, M in ((1, 1, 1), (2, 3, 5), (13, 7, 31), (29, 65, 48), (100, 300, 33), (211, 530, 17)):
        rows, matrix = rng.standard_normal((N, K)).astype(dtype), rng.standard_normal((K, M)).astype(dtype)
        check(how, laid_out(rows, layout), laid_out(matrix, layout))


@settings(deadline=None, max_examples=60)
@given(
    how=st.sampled_from(KERNELS), dtype=st.sampled_from(DTYPES), N=st.integers(1, 220), K=st.integers(1, 600),
    M=st.integers(1, 70), of_rows=st.sampled_from(["C", "F", "gaps"]), of_matrix=st.sampled_from(["C", "F", "gaps"]),
)  # fmt: skip
def test_any_shape(how: str, dtype: Any, N: int, K: int, M: int, of_rows: str, of_matrix: str) -> None:
    rng = np.random.default_rng(N * K * M)
    rows, matrix = rng.standard_normal((N, K)).astype(dtype), rng.standard_normal((K, M)).astype(dtype)
    check(how, laid_out(rows, of_rows), laid_out(matrix, of_matrix))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_is_the_same_in_any_company(dtype: Any, rng: Any) -> None:
    """A sum is one chain of multiply-adds, so the numbers depend neither on the rows beside it nor on the kernel."""
    rows, matrix = rng.standard_normal((200, 700)).astype(dtype), rng.standard_normal((700, 45)).astype(dtype)
    all_of_them = multiplied("many", rows, matrix)
    np.testing.assert_array_equal(all_of_them, multiplied("few", rows, matrix))
    np.testing.assert_array_equal(all_of_them, multiplied("many", np.asfortranarray(rows), matrix))
    for n in (1, 2, 5, 9):
        np.testing.assert_array_equal(all_of_them[7 : 7 + n], multiplied("few", rows[7 : 7 + n], matrix))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_sum_goes_on_where_it_was(dtype: Any, rng: Any) -> None:
    """Two products, the second added to the first, are one product."""
    rows, matrix = rng.standard_normal((61, 500)).astype(dtype), rng.standard_normal((500, 37)).astype(dtype)
    for cut in (3, 256, 411):
        out = multiplied("many", rows[:, :cut], matrix[:cut])
        packed = np.empty(panels.panels((500 - cut, 37), dtype), dtype)
        panels.pack(matrix[cut:], packed)
        products.added(np.dtype(dtype))(rows[:, cut:], packed, out)
        np.testing.assert_array_equal(out, multiplied("many", rows, matrix))


@pytest.mark.parametrize("how", KERNELS)
def test_nan_and_inf_pass_as_in_numpy(how: str) -> None:
    rows, matrix = np.ones((9, 20), np.float32), np.ones((20, 35), np.float32)
    rows[1, 3], rows[2, 4], rows[3, 5] = np.nan, np.inf, -np.inf
    matrix[4, 6], matrix[5, 7], matrix[0, 34] = 0, np.inf, np.nan
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(multiplied(how, rows, matrix), rows @ matrix)


@pytest.mark.parametrize("how", KERNELS)
def test_a_result_with_gaps_is_refused(how: str) -> None:
    rows, matrix = np.ones((4, 5), np.float32), np.ones((5, 6), np.float32)
    packed = np.empty(panels.panels(matrix.shape, matrix.dtype), np.float32)
    panels.pack(matrix, packed)
    with pytest.raises(ValueError, match="rows without gaps"):
        getattr(products, how)(rows.dtype)(rows, packed, np.empty((4, 12), np.float32)[:, ::2])


NUMBA_FIRST = """
import numba, numpy as np
from minigrad.native import machine, panels, products
numba.njit(lambda x: x + 1)(1)  # Numba gives names of Python's C interface meanings of its own
rows, matrix = np.ones((4, 5), np.float32), np.ones((5, 6), np.float32)
packed = np.empty(panels.panels(matrix.shape, matrix.dtype), np.float32)
panels.pack(matrix, packed)
try:
    products.few(rows.dtype)(rows, packed, np.empty((4, 12), np.float32)[:, ::2])
except ValueError as error:
    print(error)
"""


def test_a_refusal_beside_numba() -> None:
    done = subprocess.run([sys.executable, "-c", NUMBA_FIRST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rows without gaps" in done.stdout


def test_threads_of_the_caller_do_not_disturb_each_other(rng: Any) -> None:
    cases = [(rng.standard_normal((n, 64)), rng.standard_normal((64, 96))) for n in (5, 40, 170, 33)]
    wrong: list[int] = []

    def work(k: int) -> None:
        rows, matrix = cases[k]
        right = multiplied("few", rows, matrix)
        for _ in range(300):
            if not np.array_equal(multiplied("few" if k % 2 else "many", rows, matrix), right):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(len(cases))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


SCRIPT = """
import os, sys
import numpy as np, minigrad as mg
rng = np.random.default_rng(0)
W = mg.tensor(rng.standard_normal((96, 96)).astype(np.float32) / 10, requires_grad=True)
def run():
    s = mg.tensor(np.random.default_rng(1).standard_normal((40, 96)).astype(np.float32))
    for _ in mg.steps(range(12)):
        s = np.tanh(mg.linear(s, W))
    W.grad = None
    s.sum().backward()
    return s.data.tobytes() + W.grad.data.tobytes()
found = run()
child = os.fork()  # nobody helps in the child, which must not wait for anyone
if child == 0:
    os._exit(0 if run() == found else 1)
assert os.waitpid(child, 0)[1] == 0
sys.stdout.buffer.write(found)
"""


def test_the_numbers_do_not_depend_on_threads_nor_on_a_fork() -> None:
    found = []
    for number in ("1", "2", "3"):
        environment = os.environ | {
            "OMP_NUM_THREADS": number, "OPENBLAS_NUM_THREADS": number, "MINIGRAD_COMPILE": "1",  # BLAS gives no promise
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT], env=environment, capture_output=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        found.append(done.stdout)
    assert len(found[0]) > 0
    assert found[0] == found[1] == found[2]


def test_layers_use_them(monkeypatch: pytest.MonkeyPatch, rng: Any) -> None:
    """A step of a loop, and the gradient of its weight."""
    monkeypatch.delenv("MINIGRAD_COMPILE", raising=False)
    used: list[tuple[Any, ...]] = []
    for how in KERNELS:
        kernel = getattr(products, how)(np.dtype(np.float32))
        monkeypatch.setattr(
            products, how,
            lambda dtype, kernel=kernel, how=how: lambda *a: used.append((how, a[0].shape)) or kernel(*a),
        )  # fmt: skip
    W = mg.tensor(rng.standard_normal((20, 20)).astype(np.float32), requires_grad=True)
    s = mg.tensor(rng.standard_normal((30, 20)).astype(np.float32))
    for _ in mg.steps(range(6)):
        s = np.tanh(mg.linear(s, W))
    s.sum().backward()
    assert used == [("few", (30, 20))] * 6 + [("few", (30, 20))] * 5 + [("few", (20, 180))]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sums_of_rows_are_those_of_numpy(vectors: int, dtype: Any) -> None:
    rng = np.random.default_rng(vectors)
    sums.of_rows.cache_clear()
    for N, M in ((0, 3), (1, 1), (2, 5), (5, 16), (7, 33), (1000, 17), (333, 400)):
        for rows in (rng.standard_normal((N, M)), rng.standard_normal((2 * N, M + 3))[::2, 1:-2]):
            rows = rows.astype(dtype, copy=False) if rows.flags.c_contiguous else laid_out(rows.astype(dtype), "gaps")
            out = np.full((1, M), np.nan, dtype)
            sums.of_rows(np.dtype(dtype))(rows, out)
            np.testing.assert_array_equal(out[0], np.add.reduce(rows, axis=0))
    sums.of_rows.cache_clear()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_gradient_of_a_bias_is_that_of_numpy(width: int, rng: Any) -> None:
    """Also of a single one, whose terms NumPy adds up in pairs: one by one, float32 would lose three digits."""
    g = rng.random((1 << 20, width), np.float32)
    linear = nn.Linear(2, width)
    linear(mg.ones((1 << 20, 2))).backward(mg.tensor(g))
    np.testing.assert_array_equal(linear.bias.grad.data, np.sum(g, axis=0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_row(vectors: int, dtype: Any) -> None:
    rng = np.random.default_rng(vectors)
    single.times.cache_clear()
    for K, M in ((1, 1), (3, 5), (16, 7), (65, 33), (129, 70), (600, 257)):
        x, weight = rng.standard_normal((1, K)).astype(dtype), rng.standard_normal((M, K + 3)).astype(dtype)[:, :K]
        exact = x.astype(np.longdouble) @ weight.T.astype(np.longdouble)
        sizes = np.abs(x).astype(np.longdouble) @ np.abs(weight.T).astype(np.longdouble)
        start = np.linspace(-2, 3, M, dtype=dtype)
        for more in ((), (start,)):
            out = np.full((1, M), np.nan, dtype)
            single.times(dtype)(x, weight.T, out, *more)
            bound = (K + 1) * np.finfo(dtype).eps * (sizes + sum(map(np.abs, more)))
            assert (np.abs(out - exact - sum(more)) <= bound).all()
    single.times.cache_clear()
