"""Arguments that are rare, against NumPy, and the gradients beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

A, B = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
INTEGERS = np.array([[3, -2], [2**53 + 1, 0]])


@pytest.mark.parametrize("function", {
    "einsum by numbers": lambda x: np.einsum(x(A), [30, 1], x(B), [1, 2]),
    "einsum, more numbers": lambda x: np.einsum(x(A), [40, 3], x(B), [3, 29]),
    "average along axes": lambda x: np.average(x(A.reshape(3, 2, 1)), axis=(1, 0), weights=A.reshape(2, 3)),
    "take_along_axis": lambda x: np.take_along_axis(x(A.T), np.array([[1], [0]]), 0),
    "take_along_axis, spread": lambda x: np.take_along_axis(x(A[:1]), np.array([[0, 2], [1, 1]]), 1),
    "clip below": lambda x: np.clip(x(INTEGERS), 0, None),
    "clip above": lambda x: np.clip(x(INTEGERS), None, 1),
    "clip": lambda x: np.clip(x(INTEGERS), -1, 1),
    "nansum": lambda x: np.nansum(x(INTEGERS), axis=0),
    "round": lambda x: np.round(x(np.array(3))),
}.items(), ids=lambda item: item[0])  # fmt: skip
def test_as_numpy(function: tuple[str, Callable[[Any], Any]]) -> None:
    found, expected = function[1](mg.tensor), function[1](lambda a: a)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: np.average(mg.tensor(A), weights=np.ones(3)), "need an axis"),
    (lambda: np.average(mg.tensor(A), axis=0, weights=np.ones(3)), "along the axes"),
    (lambda: np.diff(mg.tensor(A), n=-1), "must not be negative"),
    (lambda: np.take_along_axis(mg.tensor(A), np.array([1]), 0), r"indices of shape \(1,\)"),
    (lambda: mg.rand(3, dtype=int), "random numbers are floats"),
    (lambda: mg.randn(3, dtype=bool), "random numbers are floats"),
])  # fmt: skip
def test_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize(("subscripts", "shapes"), [
    ("ij,jk->ik", ((2, 3), (1, 4))), ("ij,jk->ik", ((2, 1), (3, 4))), ("...ac,...c->...a", ((2, 3), (1,))),
    ("ij,ij->", ((1, 3), (2, 1))),
])  # fmt: skip
def test_einsum_spreads_labels_of_size_one(subscripts: str, shapes: Any, rng: Any) -> None:
    operands = [mg.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    assert mg.gradcheck(lambda a, b: np.einsum(subscripts, a, b), operands)


@pytest.mark.parametrize(("values", "gradient"), [
    ([1.0, 2.0, np.inf], [0.0, 0.0, 1.0]), ([-np.inf, 0.0], [0.0, 1.0]), ([-np.inf, -np.inf], [0.0, 0.0]),
    ([1.0, np.nan], [np.nan, np.nan]),
])  # fmt: skip
def test_logsumexp_of_infinities(values: list[float], gradient: list[float]) -> None:
    x = mg.tensor(np.array(values), requires_grad=True)
    mg.logsumexp(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), gradient)


def test_indices_may_be_filled_anew_before_backward() -> None:
    for look_up in (lambda w, ids: mg.embedding(w, ids), lambda w, ids: w[ids], lambda w, ids: w[ids, :]):
        weight, ids = mg.ones((3, 2), requires_grad=True), np.array([1, 2])
        y = look_up(weight, ids)
        ids[:] = 0
        y.sum().backward()
        assert weight.grad.tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
