"""Backward and the transforms in the corners: hooks on shared weights, vectors of all kinds, and refused arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from places import PLACES

import minigrad as mg
import nn
from minigrad import backend as backends


def test_a_shared_weight_that_is_a_result_has_hooks_and_a_gradient(rng: np.random.Generator) -> None:
    """Its gradient is gathered over all steps, and summed up before anybody sees it."""
    start, xs = rng.standard_normal((4, 4)), rng.standard_normal((6, 3, 4))
    seen: list[Any] = []
    found = []
    for look in (True, False):
        w = mg.tensor(start, requires_grad=True)
        scaled = w * 0.5
        if look:
            scaled.retain_grad()
            scaled.register_hook(lambda g: seen.append(g.data.copy()))
        s = mg.zeros((3, 4), dtype=np.float64)
        for x in xs:
            s = np.tanh(x + s @ scaled)
        np.sum(s**2).backward()
        found.append(w.grad.data)
        if look:
            np.testing.assert_allclose(scaled.grad.data * 0.5, w.grad.data, rtol=1e-13)
            np.testing.assert_array_equal(seen[0], scaled.grad.data)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_gradient_that_requires_grad_is_a_value_unless_a_graph_is_made() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    v = mg.tensor([3.0, 4.0], requires_grad=True)
    (x**2).backward(v)
    np.testing.assert_array_equal(x.grad.data, [6.0, 16.0])
    assert not x.grad.requires_grad
    x.grad = None
    (x**2).backward(v, create_graph=True)
    np.sum(x.grad).backward(inputs=[v])
    np.testing.assert_array_equal(v.grad.data, [2.0, 4.0])


def test_inputs_that_do_not_require_grad_and_other_devices() -> None:
    x, c = mg.ones(2, requires_grad=True), mg.ones(2)
    with pytest.raises(RuntimeError, match=r"backward: an input of shape \(2,\) does not require grad"):
        np.sum(x * c).backward(inputs=[c])
    elsewhere = next(place for place in PLACES if place.device != "cpu")
    with pytest.raises(backends.DeviceError, match="backward: the gradient is on strict:0, the tensor on cpu"):
        (x * c).backward(elsewhere.tensor([1.0, 1.0], np.float32))


def test_inputs_under_anomaly_detection_may_be_results_of_a_loop() -> None:
    """The loop is unfolded; the gradients are of the outputs of the unfolded loop."""
    layer = nn.Recurrent(nn.GRUCell(3, 4, dtype=np.float64))
    x = mg.randn(4, 2, 3, dtype=np.float64)

    def loss() -> Any:
        _, h = layer(x[:2])
        _, last = layer(x[2:], h)
        return h, np.sum(np.sin(last))

    h, total = loss()
    total.backward(inputs=[h])
    again, total = loss()
    with mg.detect_anomaly():
        total.backward(inputs=[again])
    np.testing.assert_allclose(again.grad.data, h.grad.data, rtol=1e-12)


# ---- gradients of rows -------------------------------------------------------------------------------------------


def test_row_sparse_gradients_add_up_and_change_their_dtype() -> None:
    weight = mg.tensor(np.zeros((5, 2)), requires_grad=True)
    for ids in ([0, 3], [3, 4]):
        mg.embedding(weight, np.array(ids), sparse=True).sum().backward()
    one = weight.grad
    assert isinstance(one, mg.RowSparse)
    np.testing.assert_array_equal(one.dense()[:, 0], [1, 0, 0, 2, 1])
    assert one.astype(np.float32).dense().dtype == np.float32
    with pytest.raises(TypeError, match="unsupported operand"):
        one + mg.RowSparse(np.array([0]), np.ones((1, 2)), (6, 2))


# ---- transforms --------------------------------------------------------------------------------------------------


def test_plain_arrays_and_lists_are_points_and_directions() -> None:
    np.testing.assert_allclose(mg.grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0])).data, [3.0, 12.0])
    y, slope = mg.jvp(np.sin, [mg.tensor([0.0, 1.0])], [np.array([1, 2])])
    np.testing.assert_allclose(slope.data, np.cos([0.0, 1.0]) * [1.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(y.data, np.sin([0.0, 1.0]), rtol=1e-6)


def test_outputs_that_do_not_vary_have_no_slope() -> None:
    y, slope = mg.jvp(lambda x: (x * 2, np.sign(x), mg.ones(2)), mg.tensor([1.0, -2.0]), mg.tensor([1.0, 1.0]))
    assert [s.tolist() for s in slope] == [[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    assert y[2].tolist() == [1.0, 1.0]


def test_a_vector_that_requires_grad_inside_of_no_grad() -> None:
    x, v = mg.tensor([1.0, 2.0]), mg.tensor([1.0, 1.0], requires_grad=True)
    _, pull = mg.vjp(np.square, x)
    with mg.no_grad():
        (g,) = pull(v)
    assert not g.requires_grad
    np.testing.assert_array_equal(g.data, [2.0, 4.0])


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "too many vectors": (
        lambda: mg.vjp(np.sin, mg.ones(2))[1]((mg.ones(2), mg.ones(2))), ValueError, "has 1 outputs, 2 vectors"),
    "another direction": (
        lambda: mg.hvp(lambda x: np.sum(x**2), mg.ones(2), mg.ones(3)), ValueError, "hvp: the vector has shapes"),
    "nothing to check": (lambda: mg.gradgradcheck(np.sin, [mg.ones(2)]), ValueError, "no input requires grad"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_matrix_norms_without_a_rule_are_numpys_where_nothing_is_lost() -> None:
    a = np.array([[2.0, 1.0], [0.5, -1.0]])
    for order in (2, -2, "nuc"):
        np.testing.assert_allclose(np.linalg.norm(mg.tensor(a), order), np.linalg.norm(a, order), rtol=1e-12)
