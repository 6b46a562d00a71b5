"""A Tensor beside its array: methods, conversions both ways, and its representations."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend as backends

A = np.array([[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]])
METHODS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x.sum(axis=0), "mean": lambda x: x.mean(axis=1, keepdims=True), "var": lambda x: x.var(0, ddof=1),
    "std": lambda x: x.std(axis=1, keepdims=True), "max": lambda x: x.max(axis=0), "min": lambda x: x.min(axis=1),
    "prod": lambda x: x.prod(axis=1), "cumsum": lambda x: x.cumsum(axis=1), "cumprod": lambda x: x.cumprod(axis=0),
    "reshape": lambda x: x.reshape(3, 2), "transpose": lambda x: x.transpose(1, 0),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "squeeze": lambda x: x[:, :1].squeeze(1), "ravel": lambda x: x.ravel(), "flatten": lambda x: x.flatten(),
    "repeat": lambda x: x.repeat(2, axis=1), "take": lambda x: x.take([2, 0], axis=1),
    "clip": lambda x: x.clip(0.0, 1.0),
    "dot": lambda x: x.dot(np.ones((3, 2))), "copy": lambda x: x.copy(), "T": lambda x: x.T, "mT": lambda x: x.mT,
}  # fmt: skip
QUERIES: dict[str, Callable[[Any], Any]] = {
    "argmax": lambda x: x.argmax(axis=1), "argmin": lambda x: x.argmin(axis=0, keepdims=True),
    "any": lambda x: x.any(axis=0), "all": lambda x: x.all(axis=1), "all of it": lambda x: (x * 0).any(),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_numpys_and_have_gradients(name: str) -> None:
    x = mg.tensor(A, requires_grad=True)
    y = METHODS[name](x)
    np.testing.assert_array_equal(y.numpy(), METHODS[name](A))
    assert mg.gradcheck(METHODS[name], [x])


@pytest.mark.parametrize("name", QUERIES)
def test_queries_give_plain_values(name: str) -> None:
    found = QUERIES[name](mg.tensor(A, requires_grad=True))
    assert not isinstance(found, mg.Tensor)
    np.testing.assert_array_equal(found, QUERIES[name](A))


def test_truth_membership_and_indices() -> None:
    assert mg.tensor(2.0)
    assert not mg.zeros(1)
    with pytest.raises(ValueError, match="truth value"):
        bool(mg.ones(2))
    assert 3.0 in mg.tensor(A)
    assert 7.0 not in mg.tensor(A)
    assert [5, 6, 7][mg.tensor(1)] == 6
    for wrong in (mg.tensor(1.0), mg.tensor([1])):
        with pytest.raises(TypeError, match="only an integer tensor without axes can be an index"):
            operator.index(wrong)


def test_a_result_goes_on_requiring_grad() -> None:
    y = mg.ones(2, requires_grad=True) * 2
    y.requires_grad = True
    with pytest.raises(RuntimeError, match=r"use x.detach\(\)"):
        y.requires_grad = False


def test_dlpack_gives_the_same_memory() -> None:
    x = mg.tensor(A, requires_grad=True)
    assert np.shares_memory(np.from_dlpack(x.detach()), x.data)
    with pytest.raises(BufferError, match="requires grad"):
        np.from_dlpack(x)


def test_shapes_of_random_tensors_may_be_tuples() -> None:
    mg.manual_seed(3)
    one = mg.randn((2, 3))
    mg.manual_seed(3)
    np.testing.assert_array_equal(one.data, mg.randn(2, 3).data)


def test_whole_numbers_by_astype() -> None:
    y = mg.tensor(A, requires_grad=True).astype(np.int64)
    assert not y.requires_grad
    np.testing.assert_array_equal(y.data, A.astype(np.int64))


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(TypeError, match="Tensor wraps an array, got list"):
        mg.Tensor([1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not an array that minigrad knows"):
        backends.backend_of(object())
