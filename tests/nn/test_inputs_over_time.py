"""Cells whose `inputs` look along time: each sequence is mapped as it is alone, in the order in which it is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import gradients, near, total

import minigrad as mg
import nn

T, N, D, H = 6, 5, 3, 2
LENGTHS = [6, 2, 0, 4, 2]
HOLES = np.array([[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 0, 0], [0] * 6, [1] * 6, [0, 0, 1, 0, 1, 0]], bool).T


class QuasiRecurrent(nn.Module):
    """c_t = f_t c_t−1 + (1 − f_t) z_t with gates from a convolution over two steps (Bradbury et al. 2017)."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.now, self.then = (nn.Parameter(rng.standard_normal((2 * H, D))) for _ in range(2))

    def initial_state(self, batch: int) -> Any:
        return (mg.zeros((batch, H), dtype=np.float64, device=self.now.device),)

    def inputs(self, xs: Any) -> Any:
        assert xs.ndim == 3
        before = np.concatenate([np.zeros_like(xs.data, shape=(1, *xs.shape[1:])), xs[:-1]])
        return xs @ self.now.T + before @ self.then.T

    def step(self, x: Any, state: Any) -> Any:
        f, z = np.split(x, 2, axis=-1)
        f = mg.sigmoid(f)
        return (f * state[0] + (1 - f) * np.tanh(z),)


class Centred(QuasiRecurrent):
    """Less the mean over the steps of the sequence, which padding would change."""

    def inputs(self, xs: Any) -> Any:
        return super().inputs(xs - np.mean(xs, axis=0, keepdims=True))


def by_hand(cell: Any, x: np.ndarray[Any, Any], reverse: bool) -> np.ndarray[Any, Any]:
    """(k, D) to (k, H): one sequence, in plain NumPy."""
    x = x[::-1] if reverse else x
    c, found = np.zeros(H), []
    centre = x.mean(axis=0) if isinstance(cell, Centred) and len(x) else 0.0
    for t in range(len(x)):
        before = x[t - 1] - centre if t else np.zeros(D)
        f, z = np.split(cell.now.data @ (x[t] - centre) + cell.then.data @ before, 2)
        f = 1 / (1 + np.exp(-f))
        c = f * c + (1 - f) * np.tanh(z)
        found.append(c)
    return np.array(found[::-1] if reverse else found).reshape(-1, H)


@pytest.mark.parametrize("kind", [QuasiRecurrent, Centred])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "real", [np.ones((T, N), bool), np.arange(T)[:, None] < LENGTHS, HOLES], ids=["full", "ragged", "holes"]
)
def test_a_batch_is_each_sequence_alone(kind: Any, reverse: bool, real: Any, rng: np.random.Generator) -> None:
    layer = nn.Recurrent(kind(rng), reverse=reverse)
    xs = rng.standard_normal((T, N, D))
    xs[~real] = np.nan
    given = mg.Tensor(xs, requires_grad=True)
    output, state = layer(given, mask=real)
    for n in range(N):
        expected = by_hand(layer.cell, xs[real[:, n], n], reverse)
        near(output.numpy()[real[:, n], n], expected, 1e-12)
        near(state.numpy()[n], expected[0 if reverse else -1] if len(expected) else np.zeros(H), 1e-12)
    assert not output.numpy()[~real].any()
    found = gradients(total(output), layer, xs=given)
    alone = {name: np.zeros_like(g) for name, g in found.items()}
    weights = np.asarray(weights_of(output))
    for n in range(N):
        one = mg.Tensor(xs[real[:, n], n][:, None], requires_grad=True)
        if not len(one.data):
            continue
        part = gradients((layer(one)[0] * weights[real[:, n], n][:, None]).sum(), layer, xs=one)
        alone["xs[0]"][real[:, n], n] = part.pop("xs[0]")[:, 0]
        for name, g in part.items():
            alone[name] += g
    near(found, alone, 1e-12)


def weights_of(output: Any) -> Any:
    """The weights that `total` gives to the numbers of the output."""
    copy = mg.Tensor(output.numpy().copy(), requires_grad=True)
    total(copy).backward()
    return copy.grad.numpy()


def test_both_directions_stacked_and_on_another_device(rng: np.random.Generator) -> None:
    cells = [QuasiRecurrent(rng), Centred(rng)]
    layer = nn.Bidirectional(*cells, batch_first=True)
    xs = rng.standard_normal((N, T, D))
    output, _ = layer(xs, lengths=LENGTHS)
    for n, length in enumerate(LENGTHS):
        expected = [by_hand(cell, xs[n, :length], reverse) for cell, reverse in zip(cells, (False, True), strict=True)]
        near(output.numpy()[n, :length], np.concatenate(expected, axis=-1), 1e-12)
    moved, _ = layer.to("strict:0")(mg.tensor(xs).to("strict:0"), lengths=LENGTHS)
    assert moved.device == "strict:0"
    near(moved.to("cpu"), output, 1e-12)


def test_the_packages_own_cells_get_packed_rows(rng: np.random.Generator) -> None:
    shapes = []

    class Watched(nn.LSTMCell):
        @nn.each_row
        def inputs(self, xs: Any) -> Any:
            shapes.append(xs.shape)
            return super().inputs(xs)

    class Unmarked(nn.LSTMCell):
        def inputs(self, xs: Any) -> Any:
            shapes.append(xs.shape)
            return super().inputs(xs)

    xs = rng.standard_normal((T, N, D))
    for cell in (
        nn.RNNCell(D, H),
        nn.LSTMCell(D, H),
        nn.GRUCell(D, H),
        nn.ElmanCell(D, H, H),
        nn.DeepTransitionCell(D, H),
    ):
        assert cell.inputs.each_row  # type: ignore[attr-defined]
    one, other = (kind(D, H, dtype=np.float64) for kind in (Watched, Unmarked))
    other.load_state_dict(one.state_dict())
    near(nn.Recurrent(one)(xs, lengths=LENGTHS)[0], nn.Recurrent(other)(xs, lengths=LENGTHS)[0], 1e-12)
    assert shapes == [(sum(LENGTHS), D), (2, 2, D), (4, 1, D), (6, 1, D)]
    near(one(xs[0]), other(xs[0]), 1e-12)  # one step
    near(one(xs[0, 0]), other(xs[0, 0]), 1e-12)


def test_inputs_that_change_the_steps_are_refused(rng: np.random.Generator) -> None:
    class Shorter(QuasiRecurrent):
        def inputs(self, xs: Any) -> Any:
            return xs[1:]

    with pytest.raises(ValueError, match=r"Shorter.inputs must turn \(T, N, D\) into .*\(6, 5, 3\) into \(5, 5, 3\)"):
        nn.Recurrent(Shorter(rng))(rng.standard_normal((T, N, D)))


def test_jacobians_of_a_cell_that_looks_along_time(rng: np.random.Generator) -> None:
    cell, xs = QuasiRecurrent(rng), rng.standard_normal((T, D))
    for reverse in (False, True):
        found = nn.diagnose.state_jacobians(nn.Recurrent(cell, reverse=reverse), xs)
        states = by_hand(cell, xs, reverse)
        near(found.states[1:], states[::-1] if reverse else states, 1e-12)
