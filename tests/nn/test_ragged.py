"""Unequal lengths and masks: a batch gives what each sequence alone gives, and padding is of no account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import VARIANTS, Variant, gradients, near, randomize, run, tensors, total, weights_for

import minigrad as mg
import nn
from minigrad import trees
from nn.sequences import packing

Rng = np.random.Generator
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
T, N, D = 5, 4, 3
LENGTHS = [3, 5, 1, 4]
HOLES = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1]], bool)  # (T, N)
GONE = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)  # two rows have no step


def flat(value: Any) -> list[Any]:
    return trees.flatten(value)[0]


def real_of(lengths: Any, steps: int = T) -> Any:
    return np.arange(steps)[:, None] < np.asarray(lengths)


def alone(layer: Any, xs: Any, state: Any, real: Any, batch_axis: int = 0) -> tuple[Any, Any]:
    """Each sequence by itself, its real steps only; put together as a batch with zeros elsewhere."""
    columns, finals = [], []
    for n in range(xs.shape[1]):
        leaves, rebuild = trees.flatten(state)
        one = rebuild([np.take(s, [n], axis=batch_axis) for s in leaves])
        steps = np.flatnonzero(real[:, n])
        if steps.size:
            output, final = layer(xs[steps][:, n : n + 1], one)
            spread = np.zeros((xs.shape[0], len(steps)))
            spread[steps, np.arange(len(steps))] = 1.0
            columns.append(np.einsum("ts,snh->tnh", spread, output))
        else:
            final = one
            columns.append(None)
        finals.append(flat(final))
    width = next(c.shape[-1] for c in columns if c is not None)
    columns = [np.zeros((xs.shape[0], 1, width)) if c is None else c for c in columns]
    joined = [np.concatenate(parts, axis=batch_axis) for parts in zip(*finals, strict=True)]
    return np.concatenate(columns, axis=1), trees.flatten(state)[1](joined)


def same_as_alone(
    layer: Any, state: Any, rng: Rng, batch_axis: int = 0, steps: int = T, bound: float = 2e-12, **which: Any
) -> None:  # fmt: skip
    """Values and all gradients of a ragged batch against those of its sequences; exact zeros at padding."""
    real = which["mask"] if "mask" in which else real_of(which["lengths"], steps)
    count = real.shape[1]
    xs, state = tensors(rng.standard_normal((steps, count, layer.input_size))), tensors(state)
    together = layer(xs, state, **which)
    apart = alone(layer, xs, state, real, batch_axis)
    near(flat(together), flat(apart), bound)
    assert not together[0].numpy()[~real].any()
    pulled = gradients(total(together), layer, xs=xs, state=state)
    near(pulled, gradients(total(apart), layer, xs=xs, state=state), bound)
    assert not pulled["xs[0]"][~real].any()


def states(layer: Any, count: int, rng: Rng) -> Any:
    leaves, rebuild = trees.flatten(layer.initial_state(count))
    return rebuild([rng.standard_normal(s.shape) for s in leaves])


# ---- every cell --------------------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("which", [{"lengths": LENGTHS}, {"mask": HOLES}], ids=["lengths", "holes"])
def test_a_batch_is_each_sequence_alone(variant: Variant, reverse: bool, which: Any, rng: Rng) -> None:
    layer = nn.Recurrent(randomize(variant.make(D), rng), reverse=reverse)
    same_as_alone(layer, states(layer, N, rng), rng, **which)


@every_variant
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_a_ragged_batch_is_the_loop_over_the_equations(variant: Variant, reverse: bool, rng: Rng) -> None:
    cell = randomize(variant.make(D), rng)
    layer = nn.Recurrent(cell, reverse=reverse)
    xs = rng.standard_normal((T, N, D))
    state = states(layer, N, rng)
    weights = {name: p.numpy() for name, p in cell.named_parameters()}
    for mask in (real_of(LENGTHS), HOLES, GONE):
        outputs, final, shown = layer(xs, state, mask=mask, return_states=True)
        expected = run(variant, cell, weights, xs, flat(state), mask, reverse)
        near([outputs, *flat(final), *shown], [*expected[:1], *expected.final, *expected.shown.values()])


@every_variant
def test_nothing_in_padding_leaks(variant: Variant, rng: Rng) -> None:
    both = nn.Bidirectional(randomize(variant.make(D), rng), randomize(variant.make(D), rng))
    xs = rng.standard_normal((T, N, D))
    for which, mask in (({"lengths": LENGTHS}, real_of(LENGTHS)), ({"mask": HOLES}, HOLES), ({"mask": GONE}, GONE)):
        found = []
        for filling in (0.0, np.nan, np.inf):
            leaf = tensors(np.where(mask[:, :, None], xs, filling))
            results = both(leaf, **which, return_states=True)
            weights = [np.random.default_rng(1).standard_normal(v.shape) for v in flat(results)]
            # upstream gradients at padding are garbage, too
            weights = [np.where(mask[:, :, None], w, filling) if w.shape[:2] == (T, N) else w for w in weights]
            values = [v.numpy() for v in flat(results)]
            with np.errstate(invalid="ignore"):
                pulled = gradients(total(results, weights), both, xs=leaf)
            assert not pulled["xs[0]"][~mask].any()
            found.append((values, pulled))
        for other in found[1:]:
            near(other, found[0], 0)


# ---- stacks and directions ---------------------------------------------------------------------------------------


def cell(kind: Any, m: int, n: int, **options: Any) -> Any:
    return kind(m, n, dtype=np.float64, **options)


LAYERS: dict[str, Callable[[], Any]] = {
    "rnn": lambda: nn.RNN(D, 4, 2, dtype=np.float64),
    "lstm": lambda: nn.LSTM(D, 4, 2, bidirectional=True, dtype=np.float64),
    "lstm options": lambda: nn.LSTM(
        D, 4, 2, bidirectional=True, proj_size=2, peephole=True, coupled=True, layer_norm=True, dtype=np.float64
    ),
    "gru": lambda: nn.GRU(D, 4, 3, bidirectional=True, reset_after=False, dtype=np.float64),
    "different kinds": lambda: nn.Bidirectional(cell(nn.GRUCell, D, 4), cell(nn.LSTMCell, D, 2)),
    "stack": lambda: nn.Stacked(
        [nn.Bidirectional(cell(nn.RNNCell, D, 2), cell(nn.GRUCell, D, 2)), nn.LayerNorm(4, dtype=np.float64),
         cell(nn.LSTMCell, 4, 4), cell(nn.ElmanCell, 4, 4, output_size=3)], residual=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
@pytest.mark.parametrize(
    "which", [{"lengths": LENGTHS}, {"mask": HOLES}, {"mask": GONE}], ids=["lengths", "holes", "gone"]
)
def test_a_deep_batch_is_each_sequence_alone(make: Any, which: Any, rng: Rng) -> None:
    layer = randomize(make(), rng)
    same_as_alone(layer, states(layer, N, rng), rng, getattr(layer, "batch_axis", 0), **which)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_learned_initial_states_of_a_ragged_batch(kind: Any, rng: Rng) -> None:
    layer = randomize(kind(D, 4, 2, bidirectional=True, learn_state=True, dtype=np.float64), rng)
    xs = tensors(rng.standard_normal((T, N, D)))
    start = layer.initial_state(N)  # on the tape: its gradients reach the learned vectors
    together = layer(xs, mask=HOLES)
    pulled = gradients(total(together), layer, xs=xs)
    apart = alone(layer, xs, start, HOLES, 1)
    near(flat(together), flat(apart))
    near(pulled, gradients(total(apart), layer, xs=xs))
    assert all(np.abs(g).max() > 0 for name, g in pulled.items() if name.startswith("initial"))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_final_states_are_each_sequences_last(kind: Any, rng: Rng) -> None:
    layer = kind(D, 4, bidirectional=True)
    xs = rng.standard_normal((T, N, D)).astype(np.float32)
    output, final = layer(xs, lengths=LENGTHS)
    h = flat(final)[0].numpy()
    for n, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(h[0, n], output.numpy()[length - 1, n, :4])
        np.testing.assert_array_equal(h[1, n], output.numpy()[0, n, 4:])


def test_a_sequence_without_a_real_step_keeps_its_state(rng: Rng) -> None:
    layer = nn.LSTM(D, 4, 2, bidirectional=True, dtype=np.float64)
    xs = rng.standard_normal((T, N, D))
    state = tuple(rng.standard_normal((2, 4, N, 4)))
    for mask, kept in ((GONE, [1, 3]), (np.zeros((T, N), bool), range(N))):
        leaves = tensors(state)
        output, final = layer(xs, leaves, mask=mask)
        for s, start in zip(final, state, strict=True):
            np.testing.assert_array_equal(s.numpy()[:, kept], start[:, kept])
        assert not output.numpy()[:, kept].any()
        near(gradients(total(final), layer, s=leaves)["s[0]"][:, kept], weights_for(final)[0][:, kept])


def test_a_mask_without_padding_is_no_mask(rng: Rng) -> None:
    layer = nn.GRU(D, 4, 2, bidirectional=True)
    xs = rng.standard_normal((T, N, D)).astype(np.float32)
    for which in ({"lengths": [T] * N}, {"mask": np.ones((T, N), bool)}):
        for a, b in zip(flat(layer(xs, **which)), flat(layer(xs)), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_lengths_and_masks_come_as_lists_arrays_or_tensors(rng: Rng) -> None:
    for batch_first in (False, True):
        layer = nn.GRU(D, 4, batch_first=batch_first)
        xs = rng.standard_normal((N, T, D) if batch_first else (T, N, D)).astype(np.float32)
        mask = real_of(LENGTHS).T if batch_first else real_of(LENGTHS)
        forms: list[Any] = [{"lengths": f(LENGTHS)} for f in (list, tuple, np.array, mg.tensor)]
        forms += [{"lengths": np.array(LENGTHS, np.uint8)}, {"mask": mask}, {"mask": mask.tolist()}]
        forms += [{"mask": mg.tensor(mask)}]
        expected = [v.numpy() for v in flat(layer(xs, **forms[0]))]
        for form in forms[1:]:
            near(flat(layer(xs, **form)), expected, 0)


def test_float32_stays_float32_and_near(rng: Rng) -> None:
    layer = randomize(nn.LSTM(D, 4, 2, bidirectional=True, dtype=np.float64), rng)
    xs = rng.standard_normal((T, N, D)).astype(np.float32)
    layer.load_state_dict({k: v.numpy().astype(np.float32) for k, v in layer.state_dict().items()})
    exact = [v.numpy() for v in flat(layer(xs.astype(np.float64), mask=HOLES))]
    rounded = flat(layer.to(np.float32)(xs, mask=HOLES))
    assert {v.dtype for v in rounded} == {np.dtype(np.float32)}
    near(rounded, exact, 4e-7 * 2 * T)


# ---- many sequences ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_more_sequences_than_numbers_of_rows(reverse: bool, rng: Rng) -> None:
    """Above packing.DISTINCT, some rows are computed although they are not real, and held."""
    count = 2 * packing.DISTINCT + 7
    lengths = rng.integers(1, 5, count)
    assert any(mask is not None for mask in packing.Packing(4, count, real_of(lengths, 4)).held)
    layer = nn.Recurrent(randomize(nn.LSTMCell(2, 3, dtype=np.float64), rng), reverse=reverse)
    same_as_alone(layer, states(layer, count, rng), rng, steps=4, lengths=lengths)


def test_few_numbers_of_rows_are_enough(rng: Rng) -> None:
    real = real_of(rng.integers(1, 301, 500), 300)
    plan = packing.Packing(300, 500, real)
    assert len(set(plan.sizes)) <= packing.DISTINCT
    assert real.sum() <= sum(plan.sizes) < 1.02 * real.sum()


# ---- any mask ----------------------------------------------------------------------------------------------------


@st.composite
def masks(draw: Any) -> Any:
    steps, count = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    cells = draw(st.lists(st.booleans(), min_size=steps * count, max_size=steps * count))
    return np.array(cells, bool).reshape(steps, count)


@settings(max_examples=40, deadline=None)
@given(mask=masks(), distinct=st.sampled_from([1, 2, 64]), seed=st.integers(0, 99))
def test_any_mask_is_each_sequence_alone(mask: Any, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = randomize(nn.GRU(2, 2, 2, bidirectional=True, dtype=np.float64), rng)
    before, packing.DISTINCT = packing.DISTINCT, distinct
    try:
        if mask.any():
            same_as_alone(layer, states(layer, mask.shape[1], rng), rng, 1, steps=len(mask), mask=mask)
        else:
            start = states(layer, mask.shape[1], rng)
            near(layer(rng.standard_normal((*mask.shape, 2)), start, mask=mask)[1], start, 0)
    finally:
        packing.DISTINCT = before


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_the_order_of_sequences_does_not_matter(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = nn.LSTM(2, 3, bidirectional=True, dtype=np.float64)
    xs = rng.standard_normal((7, len(lengths), 2))
    order = rng.permutation(len(lengths))
    output, (h, c) = layer(xs, lengths=lengths)
    near(layer(xs[:, order], lengths=np.array(lengths)[order]), (output[:, order], (h[:, order], c[:, order])), 1e-14)


@settings(max_examples=50, deadline=None)
@given(mask=masks(), distinct=st.sampled_from([1, 2, 3, 64]))
def test_rows_and_back(mask: Any, distinct: int) -> None:
    """to_rows and from_rows invert each other at real steps; each is the other's derivative."""
    steps, count = mask.shape
    rng = np.random.default_rng(0)
    before, packing.DISTINCT = packing.DISTINCT, distinct
    try:
        plan = packing.Packing(steps, count, mask)
    finally:
        packing.DISTINCT = before
    xs = tensors(rng.standard_normal((steps, count, 2)))
    rows = packing.to_rows(xs, plan.places, plan.real)
    assert rows.shape == (sum(plan.sizes), 2)
    back = packing.from_rows(rows, steps, count, plan.places, plan.real)
    np.testing.assert_array_equal(back.numpy(), np.where(mask[:, :, None], xs.numpy(), 0))
    assert mg.gradcheck(lambda x: packing.to_rows(x, plan.places, plan.real), xs) if rows.size else True
    if rows.size:
        leaf = tensors(rng.standard_normal(rows.shape))
        assert mg.gradcheck(lambda r: packing.from_rows(r, steps, count, plan.places, plan.real), leaf)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_lengths_in_any_order_on_every_backend(backend: Any, kind: str) -> None:
    rng = np.random.default_rng(3)
    layer = getattr(nn, kind)(3, 4, bidirectional=True)
    xs, lengths = rng.standard_normal((5, 3, 3)).astype(np.float32), [2, 5, 3]
    start = rng.standard_normal((5, 3, 8)).astype(np.float32)
    results = []
    for device in ("cpu", backend.device):
        layer.to(device)
        layer.zero_grad()
        x = mg.tensor(xs, device=device, requires_grad=True)
        output, state = layer(x, lengths=lengths, return_states=True)[:2]
        (output * mg.tensor(start, device=device)).sum().backward()
        h = state[0] if isinstance(state, tuple) else state
        results.append([output, h, x.grad, *[p.grad for p in layer.parameters()]])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
