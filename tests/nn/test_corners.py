"""Arguments in other forms than usual: integers, lists, parameters under PyTorch's names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn


@pytest.mark.parametrize(("loss", "expected"), [
    (nn.L1Loss(), 1.0), (nn.MSELoss(), 1.25), (nn.HuberLoss(), (0.125 + 1.0) / 2),
], ids=["L1", "MSE", "Huber"])  # fmt: skip
def test_losses_of_integers(loss: Any, expected: float) -> None:
    for input in (np.array([1, 2]), mg.tensor(np.array([1, 2])), [1, 2]):
        assert loss(input, np.array([0.5, 0.5])).item() == pytest.approx(expected, rel=1e-6)


def test_a_target_as_the_input_without_gradients() -> None:
    y, module, x = np.array([[1], [0], [1], [0]]), nn.Linear(2, 1), mg.randn(4, 2)
    with mg.no_grad():
        assert nn.MSELoss()(y, module(x)).item() == pytest.approx(nn.MSELoss()(module(x), y).item(), rel=1e-6)


def test_parameters_are_replaced_under_pytorchs_names() -> None:
    x = mg.randn(3, 2, 2)
    layer, other = (nn.LSTM(2, 3, num_layers=2, bidirectional=True) for _ in range(2))
    names = list(layer.state_dict())
    for name, parameter in other.named_parameters():
        setattr(layer, name, parameter)
    assert list(layer.state_dict()) == names
    np.testing.assert_array_equal(layer(x)[0].data, other(x)[0].data)
    with mg.no_grad():
        layer.weight_hh_l1_reverse *= 0.5
    assert layer.weight_hh_l1_reverse is other.weight_hh_l1_reverse
    assert list(layer.state_dict()) == names
    nn.SGD(layer.named_parameters(), lr=0.1)


def test_dropout_of_integers_is_refused() -> None:
    for module in (nn.Dropout(0.1), nn.VariationalDropout(0.1)):
        with pytest.raises(TypeError, match="floats, not int64"):
            module(mg.tensor(np.arange(6).reshape(1, 2, 3)))


@pytest.mark.parametrize("coupled", [False, True])
def test_forget_gates_of_any_module(coupled: bool) -> None:
    cell = nn.LSTMCell(2, 4, coupled=coupled)
    modules = [nn.Recurrent(cell), nn.Bidirectional(nn.Recurrent(cell), nn.Recurrent(nn.LSTMCell(2, 4), reverse=True))]
    for module in modules:
        before = cell.bias_ih.numpy()
        nn.init.forget_gate_bias_(module, 9.0)
        gate = slice(0, 4) if coupled else slice(4, 8)
        assert cell.bias_ih.data[gate].tolist() == [9.0] * 4
        assert cell.bias_hh.data[gate].tolist() == [0.0] * 4
        changed = np.zeros(len(before), bool)
        changed[gate] = True
        np.testing.assert_array_equal(cell.bias_ih.data[~changed], before[~changed])
    with pytest.raises(ValueError, match="GRU has no biases to set"):
        nn.init.forget_gate_bias_(nn.GRU(2, 4))


def test_lists() -> None:
    module = nn.Linear(2, 1)
    np.testing.assert_array_equal(module([[1.0, 2.0]]).data, module(mg.tensor([[1.0, 2.0]])).data)
    assert nn.Embedding.from_pretrained([[1.0, 2.0], [3.0, 4.0]]).weight.dtype == mg.get_default_dtype()
