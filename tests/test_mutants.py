"""Rules that all other tests passed over: each of these fails after a small change that they did not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from places import PLACES

import minigrad as mg
import nn
from minigrad.gradients import Products
from nn.schedules.schedule import Formula


def test_several_slices_of_one_part() -> None:
    """Their gradients arrive one after the other at one output of an operation that has several."""
    x = mg.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    first, _ = np.split(x, 2)
    (first[0] * 2.0 + first[1] * 3.0 + first[0, 1:2] * 5.0).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [[2.0, 17.0, 2.0], [3.0, 3.0, 3.0], [0.0] * 3, [0.0] * 3])


def test_amsgrad_divides_by_the_largest_second_moment_of_those_that_were() -> None:
    weight = nn.Parameter(mg.tensor(np.array([0.5, -2.0])))
    optimizer = nn.Adam([weight], lr=0.1, betas=(0.8, 0.9), amsgrad=True)
    w, m, v, largest = weight.numpy(), np.zeros(2), np.zeros(2), np.zeros(2)
    for t, g in enumerate(np.array([[3.0, 0.01], [0.1, -0.02], [-0.2, 0.01]]), 1):
        weight.grad = mg.Tensor(g)
        optimizer.step()
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        largest = np.maximum(largest, v)
        w = w - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(largest / (1 - 0.9**t)) + 1e-8)
        np.testing.assert_allclose(weight.numpy(), w, rtol=1e-12)


def test_a_crf_begins_between_minus_and_plus_a_tenth() -> None:
    mg.manual_seed(0)
    crf = nn.CRF(30)
    for scores in (crf.transitions, crf.start, crf.end):
        assert -0.1 <= scores.data.min() < -0.05
        assert 0.05 < scores.data.max() <= 0.1


def test_a_plateau_counts_its_epochs() -> None:
    schedule = nn.ReduceLROnPlateau(nn.SGD([nn.Parameter(mg.zeros(1))], lr=0.1))
    start = schedule.last_epoch
    for value in (3.0, 2.0, 2.5):
        schedule.step(value)
    assert schedule.last_epoch == start + 3


def test_adam_for_rows_adds_eps_before_the_second_moment_is_corrected() -> None:
    """As PyTorch's SparseAdam: w − lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)."""
    table = nn.Parameter(mg.tensor(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])))
    optimizer = nn.Adam([table], lr=0.1, betas=(0.8, 0.9), eps=0.5)
    w, m, v = table.numpy(), np.zeros(2), np.zeros(2)
    for t, g in enumerate(np.array([[3.0, -0.5], [0.1, 2.0]]), 1):
        table.grad = mg.RowSparse(np.array([1]), g[None], (3, 2))
        optimizer.step()
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        w[1] -= 0.1 * np.sqrt(1 - 0.9**t) / (1 - 0.8**t) * m / (np.sqrt(v) + 0.5)
        np.testing.assert_allclose(table.numpy(), w, rtol=1e-12)


def test_a_schedule_of_ones_own_starts_at_its_beginning() -> None:
    class Halves(Formula):
        def lr(self, t: int) -> list[float]:
            return [base / 2**t for base in self.base_lrs]

    optimizer = nn.SGD([nn.Parameter(mg.zeros(1))], lr=0.8)
    schedule = Halves(optimizer)
    schedule.start()
    assert (schedule.last_epoch, optimizer.param_groups[0]["lr"]) == (0, 0.8)
    optimizer.step()
    schedule.step()
    assert (schedule.last_epoch, optimizer.param_groups[0]["lr"]) == (1, 0.4)


def test_a_cosine_falls_and_rises_again() -> None:
    optimizer = nn.SGD([nn.Parameter(mg.zeros(1))], lr=0.9)
    schedule = nn.CosineAnnealingLR(optimizer, T_max=5, eta_min=0.1)
    for t in range(12):
        assert schedule.get_last_lr()[0] == pytest.approx(0.1 + 0.8 * (1 + np.cos(np.pi * t / 5)) / 2)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"num_layers": 2}], ids=["one", "both", "two"])
def test_states_of_a_sequence_alone_are_those_of_a_batch_of_one(kind: Any, options: dict[str, int]) -> None:
    layer = kind(3, 4, **options)
    xs = mg.randn(5, 3)
    _, last, alone = layer(xs, return_states=True)
    _, lasts, batch = layer(xs[:, None], return_states=True)
    assert isinstance(alone, list) == isinstance(batch, list) == bool(options)
    for a, b in zip(*[each if isinstance(each, list) else [each] for each in (alone, batch)], strict=True):
        for name in a._fields:
            np.testing.assert_array_equal(getattr(a, name).data, getattr(b, name).data[:, 0])
    for s, t in zip(*[each if isinstance(each, tuple) else (each,) for each in (last, lasts)], strict=True):
        np.testing.assert_array_equal(s.data, t.data[:, 0])


def test_norms_of_infinite_and_of_tiny_gradients() -> None:
    for values, expected in (([1.0, np.inf], np.inf), ([3e-22, 4e-22], 5e-22), ([3e25, -4e25], 5e25)):
        for dtype in (np.float32, np.float64):
            weight = nn.Parameter(np.zeros(2, dtype))
            weight.grad = mg.Tensor(np.array(values, dtype))
            np.testing.assert_allclose(float(nn.clip_grad_norm_([weight], 1e30)), expected, rtol=1e-6)


def test_a_state_comes_to_the_device_of_its_layer() -> None:
    place = PLACES[1]
    layer = nn.GRU(3, 4).to(place.device)
    state = mg.randn(1, 2, 4, requires_grad=True)
    output, _ = layer(place.tensor(np.ones((5, 2, 3)), np.float32), state)
    np.sum(output).backward()
    assert output.device == place.device
    assert state.grad is not None
    assert state.grad.device == "cpu"


def test_defaults_that_others_always_give() -> None:
    assert len(nn.DeepTransitionCell(3, 4).transition) == 2
    np.testing.assert_allclose(nn.LeakyReLU()(mg.tensor([-2.0, 2.0])).data, [-0.02, 2.0], rtol=1e-6)
    options = nn.LBFGS([nn.Parameter(mg.zeros(1))], max_iter=24).param_groups[0]
    assert options["max_eval"] == 30  # 5/4 of max_iter, as PyTorch's


def test_what_a_cell_gives_is_as_wide_as_it_says() -> None:
    for options, width in (({"output_layers": 1, "output_size": 5}, 5), ({"output_layers": 1}, 4), ({}, 4)):
        layer = nn.Recurrent(nn.DeepTransitionCell(3, 4, **options))  # type: ignore[arg-type]
        assert layer(mg.zeros((2, 1, 3)))[0].shape == (2, 1, width)
        assert layer.cell.output_size == width


def test_the_gradient_of_a_number_stays_an_array_when_it_is_added_to() -> None:
    w = mg.tensor(2.0, requires_grad=True)
    for _ in range(2):
        (w * w).backward()
    assert w.grad is not None
    assert type(w.grad.data) is np.ndarray
    assert w.grad.item() == 8.0


@pytest.mark.parametrize("mode", ["min", "max"])
def test_as_good_as_before_is_no_better(mode: Any) -> None:
    optimizer = nn.SGD([nn.Parameter(mg.zeros(1))], lr=1.0)
    schedule = nn.ReduceLROnPlateau(optimizer, mode, patience=0, threshold=0.0, threshold_mode="abs", factor=0.5)
    for _ in range(2):
        schedule.step(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_sums_of_gathered_products_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gathered products of two parts, of which either may have been summed before."""
    monkeypatch.setattr(Products, "LIMIT", 50)
    rng = np.random.default_rng(0)
    for left, right in ((4, 4), (4, 2), (2, 4), (1, 1)):  # pairs; from the third on, they are summed
        expected: Any = 0
        sides = []
        for count in (left, right):
            pairs = [(rng.standard_normal((4, 3)), rng.standard_normal((4, 2))) for _ in range(count)]
            side: Any = None
            for a, b in pairs:
                one = Products([(a, b)])
                side = one if side is None else side.plus(one)
                expected = expected + a.T @ b
            sides.append(side)
        np.testing.assert_allclose(sides[0].plus(sides[1]).dense(), expected, rtol=1e-12)


def test_a_part_of_the_state_without_a_name_is_named_by_its_number() -> None:
    cell = nn.GRUCell(3, 4, recurrent_dropout=0.5)
    with pytest.raises(ValueError, match=r"state '1' has shape \(3, 4\), expected \(2, 4\): axis 0 differs"):
        cell(mg.zeros((2, 3)), (mg.zeros((2, 4)), mg.ones((3, 4))))


def test_a_batch_that_is_none_adds_nothing() -> None:
    def run(batches: list[Any]) -> tuple[float, float]:
        model = nn.Linear(1, 1, bias=False)
        model.weight.data[...] = 3.0
        trainer = nn.Trainer(model, nn.SGD(model.parameters(), lr=0.1), lambda m, x: np.mean(m(x) ** 2), items=len,
                             accumulate=2, progress=False)  # fmt: skip
        return trainer.fit(batches, 1)[-1]["mean_loss"], model.weight.item()

    batch = mg.ones((2, 1))
    assert run([batch, None]) == run([batch])
