"""The numbers in a picture: values and gradients of every node, bytes and lines, against backward and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from places import Place

import minigrad as mg
import nn
from minigrad.pictures.numbers import numbers
from minigrad.pictures.palette import SCALE, Scale, ink_on, mixed


def node(graph: mg.Graph, label: str) -> Any:
    (found,) = [n for n in graph.nodes if n.label == label]
    return found


def test_a_function_is_run_and_its_numbers_are_kept(backend: Place) -> None:
    w = backend.tensor([0.5, -2.0], np.float64, requires_grad=True)
    x = backend.tensor([3.0, 1.0], np.float64)

    def f(x: Any) -> Any:
        return mg.name((mg.name(x * w, "a") ** 2).sum(), "loss")

    graph = mg.graph(f, x, params={"w": w})
    a, loss = node(graph, "a"), node(graph, "loss")
    assert a.value.array == [1.5, -2.0]
    assert a.grad.array == [3.0, -4.0]
    assert (a.value.norm, a.value.mean, a.value.min, a.value.max) == (2.5, -0.25, -2.0, 1.5)
    assert loss.value.array == 6.25
    assert loss.grad.array == 1.0
    assert node(graph, "w").grad.array == [9.0, -4.0]
    assert (node(graph, "x").kind, node(graph, "x").value.array) == ("input", [3.0, 1.0])
    assert w.grad is None


def test_gradients_are_those_of_backward() -> None:
    layer = nn.LSTM(3, 4, dtype=np.float64)
    x = mg.randn(5, 2, 3, dtype=np.float64)
    graph = mg.graph(layer, x)
    output, (h, c) = layer(x)
    output.retain_grad()
    (output.sum() + h.sum() + c.sum()).backward()
    for name, parameter in layer.named_parameters():
        assert node(graph, name).grad.norm == pytest.approx(np.linalg.norm(parameter.grad.numpy()), rel=1e-12)
    (batch,) = [n for n in graph.nodes if n.op == "batch"]
    assert batch.value.norm == pytest.approx(np.linalg.norm(output.numpy()), rel=1e-12)
    assert batch.grad.norm == pytest.approx(np.linalg.norm(output.grad.numpy()), rel=1e-12)


def test_gates_of_a_fused_cell_are_outputs_with_values() -> None:
    layer, x = nn.GRU(3, 4), mg.randn(3, 2, 3)
    graph = mg.graph(layer, x)
    *_, states = layer(x, return_states=True)
    for cell in [n for n in graph.nodes if n.op == "gru"]:
        for output in cell.outputs:
            expected = getattr(states, output.label).numpy()[cell.steps["t"]]
            np.testing.assert_allclose(output.value.array, expected, rtol=1e-6)
        assert cell.outputs[0].grad is not None
        assert cell.outputs[1].grad is None  # nobody used it


def test_expanding_a_function_shows_all_inner_values() -> None:
    cell = nn.GRUCell(3, 4)
    graph = mg.graph(lambda x: cell(x), mg.randn(2, 3), params=cell.named_parameters(), expand=True)
    assert not any(n.kind == "fused" for n in graph.nodes)
    assert all(n.value is not None or n.outputs for n in graph.nodes if n.op)


def test_slices_of_an_input_go_by_its_name() -> None:
    w = mg.randn(3, 3, requires_grad=True)

    def f(xs: Any) -> Any:
        s: Any = mg.zeros((2, 3))
        for _, x in mg.steps(xs):
            s = np.tanh(x + s @ w)
        return s

    xs = mg.randn(4, 2, 3)
    found = [n for n in mg.graph(f, xs).nodes if n.kind == "input"]
    inputs = [n for n in found if n.label != "0"]
    assert [n.steps for n in found if n.label == "0"] == [{"t": 0}]  # the initial state
    assert [(n.label, n.steps) for n in inputs] == [(f"xs[{t}]", {"t": t}) for t in range(4)]
    for t, n in enumerate(inputs):
        np.testing.assert_array_equal(n.value.array, xs.numpy()[t])


@pytest.mark.parametrize("of", [np.asarray, mg.tensor])
def test_parts_of_an_input_have_their_index(of: Any) -> None:
    """The index is that in the whole input, also of another order, of windows, and of the second axis."""
    W = mg.randn(3, 3, requires_grad=True)

    def labels(pick: Any, shape: tuple[int, ...] = (4, 2, 3), **options: Any) -> list[str]:
        def f(xs: Any) -> Any:
            h: Any = mg.zeros((2, 3))
            for t in range(4):
                h = np.tanh(pick(xs, t) @ W + h)
            return h.sum()

        given = of(np.arange(float(math.prod(shape))).reshape(shape).copy())
        return [n.label for n in mg.graph(f, given, **options).nodes if n.kind == "input" and n.label[0] in "xy"]

    assert labels(lambda xs, t: xs[3 - t]) == ["xs[3]", "xs[2]", "xs[1]", "xs[0]"]
    assert labels(lambda xs, t: xs[3 - t], style="textbook") == ["x_{3}", "x_{2}", "x_{1}", "x_{0}"]
    assert labels(lambda xs, t: xs[:, t], (2, 4, 3)) == [f"xs[:,{t}]" for t in range(4)]
    assert labels(lambda xs, t: xs[:, t], (1, 4, 3)) == [f"xs[:,{t}]" for t in range(4)]
    assert labels(lambda xs, t: np.split(xs, 2)[t // 2][t % 2]) == [f"xs[{t}]" for t in range(4)]
    assert labels(lambda xs, t: xs[t : t + 1], (4, 2, 3)) == [f"xs[{t}]" for t in range(4)]
    assert labels(lambda xs, t: xs[:, 0], (2, 1, 3)) == ["xs"] * 4  # all of it
    assert labels(lambda xs, t: xs.T, (3, 2)) == ["xs"] * 4
    assert labels(lambda xs, t: xs[t], view="rolled") == ["xs[t]"]
    assert labels(lambda xs, t: xs[t + 1], (5, 2, 3), view="rolled") == ["xs[t+1]"]
    assert labels(lambda xs, t: xs[3 - t], view="rolled") == ["xs[…]"]
    assert labels(lambda xs, t: xs[2], view="rolled") == ["xs[2]"]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_layer_s_inputs_in_textbooks_are_counted_by_its_steps(batch: int, batch_first: bool) -> None:
    """Also if its sequence is a part of an input."""
    gru = nn.GRU(3, 4, batch_first=batch_first)
    sequence = mg.randn(*((batch, 3, 3) if batch_first else (3, batch, 3)))
    for given, take in ((sequence, lambda xs: xs), (np.stack([sequence] * 4), lambda xs: xs[2])):
        graph = mg.graph(lambda xs, take=take: gru(take(xs))[0].sum(), given, style="textbook")
        assert [n.label for n in graph.nodes if n.kind == "input" and n.label[0] == "x"] == ["x_{0}", "x_{1}", "x_{2}"]


def test_drawing_gradients_touches_nobodys_grad() -> None:
    x = mg.randn(3, requires_grad=True)
    y = x * 2
    y.retain_grad()
    z = (y**2).sum()
    graph = mg.graph(z, color="grad")
    assert x.grad is None
    assert y.grad is None
    assert all(n.grad is not None for n in graph.nodes)
    z.backward()  # the graph is still there, and what was retained still is
    assert y.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 8 * x.numpy(), rtol=1e-6)


def test_hooks_change_the_gradient_that_is_shown() -> None:
    x = mg.ones(2, requires_grad=True)
    y = mg.name(x * 3, "y")
    y.register_hook(lambda g: g * 10)
    assert node(mg.graph(y.sum(), grads=True, params={"x": x}), "x").grad.array == [30.0, 30.0]


def test_bytes_are_counted_once() -> None:
    x = mg.ones(8, dtype=np.float64, requires_grad=True)
    y = np.exp(x)  # keeps its output
    z = y * y  # keeps y twice, which is counted already
    graph = mg.graph(z.sum(), bytes=True)
    assert [(n.op, n.bytes) for n in graph.nodes if n.op] == [("exp", 64), ("multiply", 0), ("sum", 0)]
    assert "64 B" in graph.dot()


def test_lines_name_file_and_text_without_the_folder() -> None:
    x = mg.ones(2, requires_grad=True)
    y = np.tanh(x)
    graph = mg.graph(y, lines=True)
    assert graph.nodes[-1].line.startswith("test_pictures_numbers.py:")
    assert graph.nodes[-1].line.endswith("y = np.tanh(x)")
    assert "test_pictures_numbers.py" in graph.dot()


def test_what_is_not_finite_is_counted_and_can_be_written_as_json() -> None:
    found = numbers(np.array([1.0, np.nan, np.inf, -3.0]))
    assert found is not None
    assert (found.nonfinite, found.min, found.max, found.mean) == (2, -3.0, 1.0, -1.0)
    assert math.isnan(found.norm)
    assert found.data()["norm"] == "nan"
    assert found.array == [1.0, "nan", "inf", -3.0]
    assert numbers(np.array([3e300, 4e300])).norm == pytest.approx(5e300)  # type: ignore[union-attr]
    assert numbers(np.zeros(65)).array is None  # type: ignore[union-attr]
    assert numbers(np.zeros((0, 3))).norm == 0.0  # type: ignore[union-attr]


def test_color_is_the_norm_of_the_gradient() -> None:
    x = mg.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(6):
        y = mg.name(y * 0.01, "y")
    graph = mg.graph(y, color="grad")
    scale = Scale([n.grad.norm for n in graph.nodes if n.grad is not None])
    assert (scale.low, scale.high) == (-12, 0)
    dot = graph.dot()
    for n in graph.nodes:
        assert n.grad is not None
        assert f'fillcolor="{scale.color(n.grad.norm)}"' in dot
    order = [scale.color(10.0**k) for k in range(-12, 1)]
    brightness = [sum(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in order]
    assert brightness == sorted(brightness, reverse=True)
    assert "norm of the gradient" in dot
    assert scale.color(0.0) == "#FFFFFF"
    assert ink_on(scale.color(1.0)) == "#FEFEFE"  # no colour of the page, which may be dark
    assert "norm of the gradient" not in mg.graph(y).dot()


def test_a_released_part_cannot_be_coloured() -> None:
    x = mg.ones(2, requires_grad=True)
    y = x * 2
    y.sum().backward()
    z = y + 1
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        mg.graph(z, color="grad")
    assert len(mg.graph(z).nodes) == 2


def test_colours_between_two_of_the_scale_are_mixed() -> None:
    assert mixed(0.0) == SCALE[0]
    assert mixed(6.0) == SCALE[6]
    middle = [round((int(SCALE[0][k : k + 2], 16) + int(SCALE[1][k : k + 2], 16)) / 2) for k in (1, 3, 5)]
    assert [int(mixed(0.5)[k : k + 2], 16) for k in (1, 3, 5)] == middle
