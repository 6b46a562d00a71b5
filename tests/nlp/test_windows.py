"""Windows of a long text: each id a target once, streams that go on, a carried state; ids in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from nlp import LanguageModelBatches, save_ids

steady = settings(deadline=None, derandomize=True, max_examples=100)


@steady
@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 9), st.sampled_from([np.int64, np.uint16, np.int32]))
def test_each_id_is_a_target_once(length: int, N: int, steps: int, dtype: Any) -> None:
    ids = np.arange(length).astype(dtype)
    if length <= N:
        with pytest.raises(ValueError, match=rf"{length} ids are too few for {N} streams"):
            LanguageModelBatches(ids, N, steps)
        return
    batches = LanguageModelBatches(ids, N, steps)
    windows = list(batches)
    assert len(windows) == len(batches)
    inputs = np.concatenate([w.inputs for w in windows])  # (S, N)
    targets = np.concatenate([w.targets for w in windows])
    assert inputs.dtype == targets.dtype == np.int64
    real = targets != -100
    assert sorted(targets[real]) == list(range(1, length))
    np.testing.assert_array_equal(inputs[real] + 1, targets[real])
    assert (np.diff(inputs, axis=0) == 1).all()  # a stream goes on where it was
    assert real[:-1].all()  # streams differ by one step at most
    assert all(w.inputs.shape == w.targets.shape == (steps, N) for w in windows[:-1])
    assert [w.reset.all() for w in windows] == [True] + [False] * (len(windows) - 1)
    assert not any(w.reset.any() for w in windows[1:])


def test_going_on_from_a_place() -> None:
    ids = np.arange(50)
    whole = [w.inputs.tolist() for w in LanguageModelBatches(ids, 3, 4)]
    batches, resumed = LanguageModelBatches(ids, 3, 4), LanguageModelBatches(ids, 3, 4)
    for number, _ in enumerate(batches, 1):
        resumed.load_state_dict(batches.state_dict())
        assert [w.inputs.tolist() for w in resumed] == whole[number:]
        assert resumed.epoch == 1
    with pytest.raises(ValueError, match="one of steps = 4, but here it is 5"):
        LanguageModelBatches(ids, 3, 5).load_state_dict(batches.state_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0, 2.0], 1, 1), TypeError, r"ids must be integers \(L,\), not float64"),
        ((np.zeros((2, 2), int), 1, 1), TypeError, r"not int64 \(2, 2\)"),
        (([1, 2], 0, 1), ValueError, "batch_size must be"),
        (([1, 2], 1, 0), ValueError, "steps must be"),
        (([], 1, 1), TypeError, "ids must be integers"),
    ],
)
def test_bad_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        LanguageModelBatches(*arguments)


def test_a_carried_state_reads_the_whole_stream(rng: Any) -> None:
    """The mean loss over windows with a carried state is that of the streams as a whole."""
    ids = rng.integers(0, 11, 82)
    embedding, layer, out = nn.Embedding(11, 4), nn.LSTM(4, 6), nn.Linear(6, 11)
    loss_of = nn.CrossEntropyLoss(reduction="sum")
    batches = LanguageModelBatches(ids, batch_size=4, steps=5)
    tbptt = nn.TBPTT(k1=5)
    with mg.no_grad():
        for _ in range(2):  # the second epoch begins anew, though the state of the first is still there
            total = 0.0
            for inputs, targets, reset in batches:
                total += loss_of(out(tbptt(layer, embedding(inputs), reset=reset)), targets).item()
            whole = 0.0
            for start, length in zip(batches.starts, batches.lengths, strict=True):
                part = ids[start : start + length + 1][:, None]
                whole += loss_of(out(layer(embedding(part[:-1]))[0]), part[1:]).item()
            assert total == pytest.approx(whole, rel=1e-5)


# ---- ids in files ------------------------------------------------------------------------------------------------


@steady
@given(st.lists(st.lists(st.integers(0, 255), max_size=9), max_size=9), st.sampled_from(["uint8", "<i4", ">i8"]))
def test_ids_in_a_file(tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], dtype: str) -> None:
    path = tmp_path_factory.mktemp("ids") / "ids.npy"
    expected = [i for part in parts for i in part]
    assert save_ids(path, iter(parts), dtype) == len(expected)
    back = np.load(path, mmap_mode="r" if expected else None)
    assert back.dtype == np.dtype(dtype)
    assert back.tolist() == expected
    assert os.listdir(path.parent) == ["ids.npy"]
    if len(expected) > 2:
        (one, other) = (list(LanguageModelBatches(ids, 2, 3)) for ids in (back, np.array(expected)))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.inputs, b.inputs)
            np.testing.assert_array_equal(a.targets, b.targets)
            assert type(a.inputs) is np.ndarray


def test_bad_ids_leave_no_file(tmp_path: Path) -> None:
    path = tmp_path / "ids.npy"
    with pytest.raises(ValueError, match="part 1 has ids from 3 to 256; uint8 holds 0 to 255"):
        save_ids(path, [[1], [3, 256]], np.uint8)
    with pytest.raises(TypeError, match="the dtype must be one of integers, not float32"):
        save_ids(path, [[1]], np.float32)
    with pytest.raises(TypeError, match=r"part 0 is not an array of ids \(T,\), but float64"):
        save_ids(path, [[0.5]])
    with pytest.raises(TypeError, match=r"part 0 is not an array of ids \(T,\), but <U1"):
        save_ids(path, "ab")
    assert os.listdir(tmp_path) == []
