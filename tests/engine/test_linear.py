"""A linear map is `x @ weight.T + bias` for operands of any dtypes: against NumPy, in values, dtypes and gradients."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import minigrad as mg

FLOATS = ["float16", "float32", "float64"]


def numbers(rng: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """Multiples of 1/8, so that no product or sum of some is rounded, even in float16."""
    return (rng.integers(-16, 17, shape) / (8 if dtype in FLOATS else 1)).astype(dtype)


@pytest.mark.parametrize("rows", [(3,), (40,), (2, 20), ()], ids=str)
@pytest.mark.parametrize("dtypes", list(product([*FLOATS, "int64"], [*FLOATS, "int32"], [*FLOATS, "int64"])), ids=str)
def test_dtypes_are_those_of_the_operators(rows: tuple[int, ...], dtypes: tuple[str, ...], rng: Any) -> None:
    shapes = ((*rows, 4), (5, 4), (5,))
    arrays = [numbers(rng, shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    operands = [mg.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    found, expected = mg.linear(*operands), arrays[0] @ arrays[1].T + arrays[2]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.data, expected)
    if not found.requires_grad:
        return
    g = numbers(rng, expected.shape, str(expected.dtype))
    found.backward(mg.tensor(g))
    x, weight, bias = operands
    flat = g.reshape(-1, 5).astype(float)
    for operand, gradient in (
        (x, (flat @ arrays[1]).reshape(x.shape)),
        (weight, flat.T @ arrays[0].reshape(-1, 4)),
        (bias, flat.sum(0)),
    ):
        if operand.requires_grad:
            assert operand.grad.dtype == operand.dtype
            np.testing.assert_allclose(operand.grad.data, gradient, rtol=2e-3 if "float16" in dtypes else 1e-6)


@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("shape", [(), (1,), (1, 5), ("N", 5), ("N", 1), (2, "N", 5)], ids=str)
def test_a_bias_of_another_shape_is_broadcast(rows: int, shape: tuple[Any, ...], rng: Any) -> None:
    x, weight = mg.tensor(rng.standard_normal((rows, 4))), mg.tensor(rng.standard_normal((5, 4)), requires_grad=True)
    bias = mg.tensor(rng.standard_normal([rows if n == "N" else n for n in shape]), requires_grad=True)
    y = mg.linear(x, weight, bias)
    np.testing.assert_allclose(y.data, x.data @ weight.data.T + bias.data, rtol=1e-12, atol=1e-12)
    y.sum().backward()
    np.testing.assert_allclose(bias.grad.data, np.full(bias.shape, y.size / bias.size))


@pytest.mark.parametrize("bias", [2.0, 3, np.float64(0.5), [1.0, 2.0, 3.0, 4.0, 5.0]], ids=str)
@pytest.mark.parametrize("rows", [3, 40])
def test_a_bias_need_not_be_a_tensor(rows: int, bias: Any, rng: Any) -> None:
    x = mg.tensor(rng.standard_normal((rows, 4)).astype(np.float32))
    weight = mg.tensor(rng.standard_normal((5, 4)).astype(np.float32), requires_grad=True)
    y = mg.linear(x, weight, bias)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.data, x.data @ weight.data.T + np.asarray(bias), rtol=1e-5, atol=1e-5)
