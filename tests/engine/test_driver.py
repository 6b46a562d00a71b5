"""Jobs for the driver of loops: their results against NumPy, and the division of rows among threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.native import machine
from minigrad.programs.job import Job, Location
from minigrad.programs.tracks import Rows

needs_kernels = pytest.mark.skipif(
    machine.switched_off() or not machine.available(), reason="there are no compiled kernels"
)


@st.composite
def rows_of(draw: Any) -> Rows:
    """The layout of a batch whose sequences end, or begin, at different steps."""
    N = draw(st.integers(1, 9))
    sizes = sorted(draw(st.lists(st.integers(1, N), min_size=1, max_size=6)), reverse=True)
    return Rows(sizes, N, draw(st.booleans()))


@settings(deadline=None)
@given(rows_of(), st.integers(1, 4))
def test_pieces_are_all_rows_of_all_steps(rows: Rows, count: int) -> None:
    pieces = rows.pieces(count)
    np.testing.assert_array_equal(sum(p.counts for p in pieces), rows.counts)
    assert len(pieces) == count
    work = [int(p.counts.sum()) for p in pieces]
    assert max(work) <= sum(work) / count + len(rows.counts)  # the last row of a piece may be too much
    firsts = [p.first for p in pieces]
    assert firsts == sorted(firsts)


@needs_kernels
@settings(deadline=None, max_examples=60)
@given(rows_of(), st.booleans(), st.integers(1, 3), st.integers(1, 5), st.sampled_from([np.float32, np.float64]))
def test_a_job_copies_the_rows_of_each_step(rows: Rows, back: bool, parts: int, width: int, dtype: Any) -> None:
    """From a track to rows in the order of time, and from a buffer into the new states."""
    rng, size = np.random.default_rng(width), np.dtype(dtype).itemsize
    arrays = {
        "track": rng.normal(size=(rows.length + 2, width + 3)).astype(dtype),
        "rows": np.full((rows.count + 2, width + 1), 7, dtype),
        "one": rng.normal(size=(rows.begun, width)).astype(dtype),
    }
    job = Job(back)
    strides = {name: (a.strides[0], size) for name, a in arrays.items()}
    job.copy(
        Location("rows", "rows", strides["rows"]), Location("track", "old", strides["track"], 2 * size), width * size
    )
    job.copy(
        Location("track", "new", strides["track"], 2 * size), Location("one", "first", strides["one"]), width * size
    )
    job.clear(Location("track", "new", strides["track"], (width + 2) * size), size)
    wanted = {name: a.copy() for name, a in arrays.items()}
    steps = range(len(rows.counts))
    for piece in rows.pieces(parts):
        for u in reversed(steps) if back else steps:
            mine = slice(piece.first, piece.first + int(piece.counts[u]))

            def at(first: int, mine: slice = mine) -> slice:
                return slice(first + mine.start, first + mine.stop)

            wanted["rows"][at(rows.starts[u]), :width] = wanted["track"][at(rows.blocks[u]), 2 : width + 2]
            wanted["track"][at(rows.blocks[u + 1]), 2 : width + 2] = wanted["one"][mine]
            wanted["track"][at(rows.blocks[u + 1]), width + 2] = 0
    job.run(arrays, rows, parts, 0)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)


@needs_kernels
def test_a_job_is_written_once_for_a_layout_and_forgotten_with_it() -> None:
    rows, job = Rows([3, 2], 3, False), Job()
    array = np.zeros((5, 4))
    job.clear(Location("a", "rows", array.strides), 32)
    job.run({"a": array}, rows, 1, 0)
    written = job._written[rows]
    job.run({"a": array + 1}, rows, 1, 0)
    assert job._written[rows] is written
    del rows
    assert not len(job._written)
