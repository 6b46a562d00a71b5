"""Exporting, as far as it needs no package: axes that may differ, numbers that follow from sizes, what a trace sees."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.modes import changed_mode
from nn.onnx import recurrent
from nn.onnx.sizes import Size, another, named_axes, sizes_of, solved
from nn.onnx.tracing import Tracer, trace

SIZES = {"time": (7, 9), "batch": (4, 7)}


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (5, 5, Size(0, (), 5)), (7, 9, Size(1, ("time",), 0)), (8, 14, Size(2, ("batch",), 0)),
        (28, 63, Size(1, ("time", "batch"), 0)), (56, 126, Size(2, ("time", "batch"), 0)),
        (6, 8, Size(1, ("time",), -1)),
        (5, 8, Size(1, ("batch",), 1)), (10, 3, None),
    ],
)  # fmt: skip
def test_numbers_that_follow_from_sizes(a: int, b: int, expected: Size | None) -> None:
    assert solved(a, b, SIZES) == expected


def test_axes_are_guessed_or_given() -> None:
    xs, lengths, state, ids = (
        np.zeros((7, 4, 3), np.float32),
        np.zeros(4, int),
        np.zeros((2, 4, 5)),
        np.zeros((6, 4), int),
    )
    two = ("time", "batch")
    assert named_axes([xs, lengths], None, two, True) == [("time", "batch", None), ("batch",)]
    assert named_axes([ids, state], None, two, True) == [("time", "batch"), ("axis2", "batch", None)]
    assert named_axes([ids, state], None, two, False) == [("time", "batch"), (None, "batch", None)]
    assert named_axes([state[0]], None, two, True) == [("batch", None)]
    axes = named_axes([xs, lengths], [None, ("n",)], two, True)
    assert axes == [(None, None, None), ("n",)]
    assert sizes_of([xs, lengths], axes) == {"n": 4}
    with pytest.raises(ValueError, match="the axis 'n' is 7 in one input and 4 in another"):
        sizes_of([xs, lengths], [("n", None, None), ("n",)])


def test_other_inputs_have_other_sizes_and_like_values() -> None:
    xs, ids, mask = np.full((7, 4, 3), 2, np.float32), np.array([3, 5, 3, 5]), np.array([True] * 4)
    axes = [("time", "batch", None), ("batch",), ("batch",)]
    for zero in (True, False):
        found = another([xs, ids, mask], axes, {"time": 7, "batch": 4}, zero)
        assert [a.shape for a in found] == [(9, 7, 3), (7,), (7,)]
        assert [a.dtype for a in found] == [a.dtype for a in (xs, ids, mask)]
        assert set(found[1]) <= {3, 5} | ({0} if zero else set())
        assert (0 in found[1]) == zero
        assert ((found[0] >= 1) & (found[0] <= 3)).all()
        assert len(np.unique(found[0])) > 100
    (zeros,) = another([np.zeros((7, 3))], [("time", None)], {"time": 7}, True)
    assert zeros.all()


def test_a_trace_has_operations_questions_and_whole_modules() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.out, self.drop = nn.GRU(3, 4), nn.Linear(4, 2), nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            y = self.drop(self.out(self.gru(x)[0]))
            return np.where(y > 0, y, 0.1 * y)

    model, x = Model(), mg.ones((5, 2, 3))
    records, returned = trace(model, model, (x,), recurrent.is_whole)
    assert [r.name for r in records] == ["module", "linear", "greater", "multiply", "where"]
    assert records[0].module is model.gru
    assert records[-1].outputs[0] is returned.data
    assert not returned.requires_grad
    assert model.training
    assert "forward" not in vars(model.gru)


def test_which_layers_are_whole() -> None:
    whole = [nn.LSTM(3, 4, 2, bidirectional=True), nn.Recurrent(nn.RNNCell(3, 4, nonlinearity="relu")), nn.MaxPool1d(2),
             nn.Stacked([nn.GRUCell(3, 4), nn.Dropout(0.5), nn.GRUCell(4, 4)]), nn.Conv1d(2, 2, 2)]  # fmt: skip
    others = {
        "the cell LSTMCell": nn.LSTM(3, 4, proj_size=2), "the cell RNNCell": nn.RNN(3, 4, nonlinearity=np.sin),
        "the cell ElmanCell": nn.Bidirectional(nn.GRUCell(3, 4), nn.ElmanCell(3, 4, 4)),
        "LayerNorm between its layers": nn.Stacked([nn.GRUCell(3, 4), nn.LayerNorm(4)]),
    }  # fmt: skip
    assert all(recurrent.is_whole(module) for module in whole)
    for why, layer in others.items():
        assert not recurrent.is_whole(layer)
        assert recurrent.foreign(layer) == why


def test_observers_see_questions() -> None:
    found = Tracer()
    x = mg.tensor([1.0, -1.0], requires_grad=True)
    with changed_mode(observers=(found,)):
        answers = [x > 0, np.argmax(x, axis=0, keepdims=True), np.isnan(x)]
        np.shape(x)
    assert [r.name for r in found.records] == ["greater", "np.argmax", "np.isnan"]
    for record, answer in zip(found.records, answers, strict=True):
        assert record.outputs[0] is answer


def test_the_package_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"export_onnx needs the package onnx: pip install 'minigrad\[onnx\]'"):
        nn.export_onnx(nn.Linear(3, 2), tmp_path / "m.onnx", mg.ones((4, 3)))
