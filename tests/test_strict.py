"""The stand-in for CuPy must refuse what CuPy refuses: else tests on it would show nothing."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from strict import StrictArray

A = StrictArray(np.arange(6.0).reshape(2, 3))
HOST = np.ones((2, 3))


@pytest.mark.parametrize(
    "crossing",
    [
        lambda: np.asarray(A), lambda: np.array([A]), lambda: A + HOST, lambda: HOST * A, lambda: np.add(A, HOST),
        lambda: np.add(A, [1.0, 2.0, 3.0]), lambda: A == HOST, lambda: np.concatenate([A, HOST]),
        lambda: np.where(HOST, A, A), lambda: np.einsum("ij,ij", A, HOST), lambda: A[np.array([0, 1])],
        lambda: A.__setitem__(0, HOST[0]), lambda: operator.iadd(A.copy(), HOST), lambda: np.add(HOST, HOST, out=A),
        lambda: A.reshape(3, 2).dot(HOST), lambda: np.sum(A, where=HOST > 0), lambda: np.sum(A, initial=1.0),
        lambda: np.insert(A, 0, 1.0), lambda: np.add.reduce(A), lambda: np.vecdot(A, A), lambda: np.frexp(A)[0] + HOST,
        lambda: A + StrictArray(HOST, "strict:1"), lambda: np.stack([A, StrictArray(HOST, "strict:1")]),
    ],
)  # fmt: skip
def test_it_refuses(crossing: Any) -> None:
    with pytest.raises(TypeError):
        crossing()


def test_it_computes_with_scalars_and_its_like() -> None:
    for y in (A + 1, 2.0 * A, A - np.float32(1), A @ A.T, np.tanh(A), np.sum(A), A[0, 0], A.max(), np.stack([A, A])):
        assert type(y) is StrictArray
    assert np.shape(A) == (2, 3)
    assert float(A[1, 2]) == 5
    assert A.sum().item() == 15


def test_views_know_whose_memory_they_see() -> None:
    for view in (A[0], A.T, A[:, ::2][0], np.reshape(A, 6), np.broadcast_to(A, (4, 2, 3)), np.swapaxes(A, 0, 1)):
        assert view.base is A
    for own in (A.copy(), A + 0, A[[0, 1]], np.flip(A) * 1):
        assert own.base is None
