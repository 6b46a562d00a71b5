"""Tensors, modules and nested states drawn by treescope; a Trainer's log read back by TensorBoard's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import treescope

import minigrad as mg
import nn

pytestmark = pytest.mark.parity


def test_tensors_show_numbers_and_where_they_came_from() -> None:
    x = mg.tensor(np.array([1.5, 2.5]), requires_grad=True)
    y = np.tanh(x)
    y.sum().backward()
    text = treescope.render_to_text(y)
    assert "Tensor(" in text
    assert "made_by='tanh'" in text
    assert "0.90514825" in text
    text = treescope.render_to_text(x)
    assert "data=np.array([1.5, 2.5])" in text
    assert "requires_grad=True" in text
    assert "grad=Tensor(" in text
    bundle = y._repr_mimebundle_()
    assert "treescope" in bundle["text/html"]
    assert bundle["text/plain"] == repr(y)


def test_modules_fold_and_hide_what_is_theirs() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LSTM(2, 4, 2), nn.Dropout(0.5)).eval()
    text = treescope.render_to_text(model)
    for part in ("Sequential(", "0=Linear(", "in_features=3", "weight=Parameter(", "cell=LSTMCell(", "training=False"):
        assert part in text
    for hidden in ("_hooks", "_label", "_buffers"):
        assert hidden not in text
    assert "treescope" in model._repr_mimebundle_()["text/html"]
    again = treescope.render_to_text([model, model])
    assert again.count("in_features=3") == 2


def test_nested_states_are_drawn() -> None:
    _, state = nn.LSTM(2, 4, num_layers=2)(mg.randn(3, 1, 2))
    text = treescope.render_to_text({"state": state, "none": None})
    assert text.count("Tensor(") == 2
    assert "made_by='stack'" in text
    treescope.render_to_html({"state": state})


def test_scalars_of_tensorboard(tmp_path: Path) -> None:
    from tensorboardX.proto import event_pb2

    def scalars(folder: Path) -> dict[tuple[str, int], float]:
        found: dict[tuple[str, int], float] = {}
        for file in sorted(folder.iterdir()):
            content = file.read_bytes()
            while content:
                size = int.from_bytes(content[:8], "little")
                event = event_pb2.Event.FromString(content[12 : 12 + size])
                content = content[16 + size :]
                if event.session_log.status == event_pb2.SessionLog.START:
                    found = {key: value for key, value in found.items() if key[1] < event.step}
                for value in event.summary.value:
                    found[value.tag, event.step] = value.simple_value
        return found

    def trainer() -> nn.Trainer:
        mg.manual_seed(0)
        model = nn.Linear(1, 1)
        return nn.Trainer(
            model,
            nn.SGD(model.parameters(), lr=0.1),
            lambda m, x: np.mean((m(x) - 2 * x) ** 2),
            log=tmp_path / "run",
            log_every=1,
            checkpoint=tmp_path / "run.ckpt",
            progress=False,
        )

    batches = [mg.full((4, 1), v) for v in (0.5, 1.0)]
    first = trainer()
    first.fit(batches, 1)
    history = trainer().resume(tmp_path / "run.ckpt").fit(batches, 2)
    expected: dict[Any, float] = {}
    for record in history:
        expected |= {(name, record["step"]): value for name, value in record.items() if name != "step"}
    found = scalars(tmp_path / "run")
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-6)
