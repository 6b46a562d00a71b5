"""The free functions that clip gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from places import Place

import minigrad as mg
from nn import Linear
from nn.clipping import clip_grad_norm_, clip_grad_value_
from nn.modules import Parameter

NORMS: list[Any] = [0.5, 1, 2.0, 3, math.inf, "inf"]


def with_gradients(backend: Place, *gradients: Any, dtype: Any = np.float64) -> list[Parameter]:
    parameters = []
    for g in gradients:
        p = Parameter(backend.array(np.zeros(np.shape(g)), dtype))
        p.grad = backend.tensor(g, dtype)
        parameters.append(p)
    return parameters


def vector(parameters: list[Parameter], backend: Place) -> Any:
    return np.concatenate([backend.numpy(p.grad).ravel() for p in parameters])


@pytest.mark.parametrize("norm_type", NORMS)
def test_the_norm_is_that_of_one_vector(backend: Place, norm_type: Any, rng: np.random.Generator) -> None:
    parameters = with_gradients(backend, rng.standard_normal((3, 4)), rng.standard_normal(5), 0.7, np.zeros((0, 3)))
    before = vector(parameters, backend)
    expected = np.linalg.norm(before, float(norm_type))
    for limit in (2 * expected, expected / 3):
        norm = clip_grad_norm_([*parameters, Parameter(backend.array([1.0]))], limit, norm_type)
        assert norm.shape == ()
        np.testing.assert_allclose(backend.numpy(norm), expected, rtol=1e-12)
    np.testing.assert_allclose(vector(parameters, backend), before * limit / (expected + 1e-6), rtol=1e-12)
    assert [p.grad.shape for p in parameters] == [(3, 4), (5,), (), (0, 3)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.floats(0, 1e3), st.sampled_from([1, 2, 3, math.inf]))
@example([1.0], 1.5493298432156567e-161, 2)
def test_clipping_keeps_the_direction_and_the_limit(values: list[float], limit: float, order: float) -> None:
    p = Parameter(np.zeros(len(values)))
    p.grad = mg.Tensor(np.array(values))
    clip_grad_norm_(p, limit, order)
    clipped = p.grad.numpy()
    largest = np.max(np.abs(clipped)) or 1.0  # divided by first: squares of numbers below 1e-154 have few digits
    assert largest * np.linalg.norm(clipped / largest, order) <= limit * (1 + 1e-12) + 1e-300
    np.testing.assert_allclose(clipped * np.linalg.norm(values), np.array(values) * np.linalg.norm(clipped), atol=1e-6)


def test_values(backend: Place) -> None:
    for limits, expected in ((1, [-1, 0.5, 1]), ((-0.5, 3), [-0.5, 0.5, 3]), ([0.6, 0.7], [0.6, 0.6, 0.7])):
        parameters = with_gradients(backend, [-2.0, 0.5, 4.0], 5.0)
        clip_grad_value_(parameters, limits)  # type: ignore[arg-type]
        np.testing.assert_array_equal(backend.numpy(parameters[0].grad), expected)
        assert backend.numpy(parameters[1].grad) == expected[2]
        assert parameters[1].grad.shape == ()


def test_gradients_are_replaced_and_never_written_into(backend: Place) -> None:
    (p,) = with_gradients(backend, [3.0, 4.0])
    shared = p.grad
    clip_grad_norm_([p], 1.0)
    clip_grad_value_([p], 0.1)
    np.testing.assert_array_equal(backend.numpy(shared), [3.0, 4.0])
    np.testing.assert_array_equal(backend.numpy(p.grad), [0.1, 0.1])


def test_what_may_be_given() -> None:
    """One tensor, an iterator, pairs; the same tensor twice counts once."""
    p, q = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    for given_ in (p, iter([p, p]), [("a", p), ("b", p)], [p, q]):
        p.grad = mg.Tensor(np.array([5.0]))
        assert float(clip_grad_norm_(given_, 1.0)) == 5.0
        np.testing.assert_allclose(p.grad.numpy(), [1.0], rtol=1e-6)
    assert float(clip_grad_norm_([], 1.0)) == 0.0
    assert q.grad is None
    for wrong in (Linear(2, 2), {"a": p}, "ab", 3, [np.ones(2)]):
        with pytest.raises(TypeError, match=r"clip_grad_norm_: expected Tensors or \(name, Tensor\) pairs, got"):
            clip_grad_norm_(wrong, 1.0)  # type: ignore[arg-type]


def test_a_generator_that_was_gone_through_warns() -> None:
    layer = Linear(2, 2)
    parameters = layer.parameters()
    assert len(list(parameters)) == 2
    for clip in (clip_grad_norm_, clip_grad_value_):
        with pytest.warns(UserWarning, match=rf"{clip.__name__}: the iterator of parameters is empty"):
            clip(parameters, 1.0)


def test_mixed_dtypes_and_devices() -> None:
    a, b, c = Parameter(np.zeros(1, np.float32)), Parameter(np.zeros(1)), Parameter(mg.zeros(1).to("strict:0"))
    a.grad, b.grad = mg.Tensor(np.array([2.0], np.float32)), mg.Tensor(np.array([3.0]))
    c.grad = mg.tensor([6.0]).to("strict:0")
    norm = clip_grad_norm_([a, b, c], 0.7)
    assert norm.item() == 7.0
    assert norm.dtype == np.float64
    assert [p.grad.dtype for p in (a, b, c)] == ["float32", "float64", "float32"]
    assert c.grad.device == "strict:0"
    np.testing.assert_allclose([p.grad.item() for p in (a, b, c)], [0.2, 0.3, 0.6], rtol=1e-6)


def test_half_precision_does_not_overflow() -> None:
    p = Parameter(np.zeros(2, np.float16))
    p.grad = mg.Tensor(np.array([3e4, 4e4], np.float16))
    assert clip_grad_norm_(p, 5.0).item() == pytest.approx(5e4, rel=1e-3)
    np.testing.assert_allclose(p.grad.numpy(), [3.0, 4.0], rtol=2e-3)
    assert p.grad.dtype == np.float16


@pytest.mark.parametrize("norm_type", [0.5, 1, 2, 3, 20, math.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_norm_is_right_where_powers_overflow_or_vanish(backend: Place, norm_type: Any, dtype: Any) -> None:
    limits = np.finfo(dtype)
    for size in (float(limits.max) / 300, float(limits.max) ** 0.6, float(limits.smallest_subnormal) * 4096):
        values = np.array([0.25, -1, 1, 0.5, 0, 0.75]) * 4
        expected = np.sum(np.abs(values) ** norm_type) ** (1 / norm_type) if norm_type != math.inf else 4.0
        parts = with_gradients(backend, values[:2] * (size / 4), values[2:] * (size / 4), dtype=dtype)
        before = vector(parts, backend).astype(np.float64)
        norm = clip_grad_norm_(parts, 1.0, norm_type)
        np.testing.assert_allclose(float(norm) / (size / 4), expected, rtol=2e-3)
        factor = min(1.0, 1.0 / (expected * size / 4 + 1e-6))
        np.testing.assert_allclose(
            vector(parts, backend).astype(np.float64), before * factor, rtol=2e-3, atol=float(limits.smallest_subnormal)
        )


def test_a_norm_beyond_the_dtype_still_clips(backend: Place) -> None:
    (large,) = with_gradients(backend, [3e38] * 16, dtype=np.float32)
    assert np.isinf(clip_grad_norm_(large, 1.0).item())
    np.testing.assert_allclose(backend.numpy(large.grad), np.full(16, 0.25), rtol=1e-4)


def test_many_half_precision_gradients_keep_a_small_factor() -> None:
    p = Parameter(np.zeros(1 << 20, np.float16))
    p.grad = mg.Tensor(np.full(1 << 20, 6e4, np.float16))
    clip_grad_norm_(p, 64.0)  # the factor is less than the smallest number of float16
    np.testing.assert_allclose(p.grad.numpy().astype(float), 64 / 1024, rtol=1e-3)


def test_row_sparse_gradients(backend: Place, rng: np.random.Generator) -> None:
    """Repeated rows are added up before anything is measured."""
    rows = rng.standard_normal((4, 2))
    for clip in (lambda p: clip_grad_norm_(p, 0.5), lambda p: clip_grad_value_(p, (-0.2, 0.3))):
        sparse, dense = Parameter(backend.array(np.zeros((6, 2)))), Parameter(backend.array(np.zeros((6, 2))))
        sparse.grad = mg.RowSparse(backend.array([5, 1, 5, 0]), backend.array(rows), (6, 2))
        dense.grad = mg.Tensor(sparse.grad.dense())
        answers = [clip(p) for p in (sparse, dense)]
        assert isinstance(sparse.grad, mg.RowSparse)
        np.testing.assert_allclose(backend.numpy(sparse.grad.dense()), backend.numpy(dense.grad), rtol=1e-12)
        if answers[0] is not None:
            np.testing.assert_allclose(backend.numpy(answers[0]), backend.numpy(answers[1]), rtol=1e-12)
    with pytest.raises(ValueError, match=r"clip_grad_value_: the gradient of 0 is row-sparse, and 0.1 to 0.2"):
        clip_grad_value_([sparse], (0.1, 0.2))


def test_an_error_if_not_finite(backend: Place) -> None:
    bad, good = with_gradients(backend, [np.nan, 1.0, np.inf], [2.0])
    with pytest.raises(RuntimeError, match=r"norm is nan: W has 1 NaN and 1 Inf among 3 values$"):
        clip_grad_norm_([("W", bad), ("b", good)], 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(backend.numpy(good.grad), [2.0])
    (large,) = with_gradients(backend, [3e38, 3e38], dtype=np.float32)
    with pytest.raises(RuntimeError, match="norm is inf: all gradients are finite"):
        clip_grad_norm_(large, 1.0, error_if_nonfinite=True)
    clip_grad_norm_([good], 1.0, error_if_nonfinite=True)
    np.testing.assert_allclose(backend.numpy(good.grad), [1.0], rtol=1e-6)


def test_bad_limits() -> None:
    p = Parameter(np.zeros(2))
    for norm_type in (0, -1, math.nan, "two", -math.inf):
        with pytest.raises(ValueError, match="norm_type must be a positive number or inf"):
            clip_grad_norm_(p, 1.0, norm_type)
    for max_norm in (-1, math.nan, "1"):
        with pytest.raises(ValueError, match="max_norm must be a number and at least 0"):
            clip_grad_norm_(p, max_norm)  # type: ignore[arg-type]
    for clip_value in (-1, (1, 0), math.nan, (0, math.nan)):
        with pytest.raises(ValueError, match="clip_value must have lo <= hi"):
            clip_grad_value_(p, clip_value)
    for clip_value in ((1, 2, 3), "wide", None, (0, "a")):
        with pytest.raises(ValueError, match=r"clip_value must be a number or \(lo, hi\)"):
            clip_grad_value_(p, clip_value)  # type: ignore[arg-type]
