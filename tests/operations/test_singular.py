"""Derivatives at points where a formula divides by zero, against differences, minors and each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg


def hessian(f: Callable[[Any, Any], Any], a: float, b: float) -> Any:
    return mg.hessian(lambda z: f(z[0], z[1]))(mg.tensor(np.array([a, b]))).numpy()


POWERS = {"**": lambda a, b: a**b, "power": np.power, "float_power": np.float_power,
          "fused": mg.fuse(lambda a, b: a**b)}  # fmt: skip


@pytest.mark.parametrize("power", POWERS.values(), ids=POWERS)
@pytest.mark.parametrize("a", [0.25, 1.0, 3.0])
def test_second_derivatives_of_a_power_at_exponent_zero(power: Any, a: float) -> None:
    expected = [[0.0, 1 / a], [1 / a, np.log(a) ** 2]]
    np.testing.assert_allclose(hessian(power, a, 0.0), expected, rtol=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.0, 2.0), (0.0, 3.0), (0.5, 1.0), (2.0, 2.0), (-2.0, 2.0)])
def test_hessians_of_a_power_are_symmetric(a: float, b: float) -> None:
    for power in POWERS.values():
        found = hessian(power, a, b)
        np.testing.assert_array_equal(found[0, 1], found[1, 0])


@pytest.mark.parametrize("a", [0.0, np.nan, -0.0])
def test_a_power_of_exponent_zero_varies_with_no_base(a: float) -> None:
    x = mg.tensor(np.array([a]), requires_grad=True)
    np.power(x, mg.tensor(np.array([0.0]))).sum().backward()
    assert x.grad.tolist() == [0.0]


TIES = {
    "hypot": np.hypot, "arctan2": np.arctan2, "logaddexp": np.logaddexp, "logaddexp2": np.logaddexp2,
    "maximum": np.maximum, "fmin": np.fmin, "copysign": np.copysign, "heaviside": np.heaviside,
}  # fmt: skip


@pytest.mark.parametrize("name", TIES)
@pytest.mark.parametrize("point", [(0.0, 0.0), (1.5, 1.5), (-800.0, 800.0)])
def test_hessians_at_ties_are_symmetric(name: str, point: tuple[float, float]) -> None:
    found = hessian(TIES[name], *point)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-15)


def test_what_does_not_vary_has_second_derivatives_behind_an_index() -> None:
    x = mg.tensor(np.array([0.4, 1.6, -2.5]))
    for function in (np.sign, np.floor, np.ceil, np.trunc, np.rint):
        found = mg.hessian(lambda z, f=function: (f(z[1:]) * z[0] + np.square(z[:2])).sum())(x)
        np.testing.assert_array_equal(found.numpy(), np.diag([2.0, 2.0, 0.0]))


# ---- determinants ------------------------------------------------------------------------------------------------


def second_minors(a: Any) -> Any:
    """∂² det / ∂aᵢⱼ ∂aₖₗ: with a sign, the determinant without the rows i, k and the columns j, l."""
    n = len(a)
    found = np.zeros((n,) * 4)
    for i, j, k, m in itertools.product(range(n), repeat=4):
        if i != k and j != m:
            rows, columns = ([x for x in range(n) if x not in pair] for pair in ((i, k), (j, m)))
            sign = (-1) ** (i + j + k - (k > i) + m - (m > j))
            found[i, j, k, m] = sign * (np.linalg.det(a[np.ix_(rows, columns)]) if rows else 1.0)
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_second_derivatives_of_determinants_of_any_rank(n: int, rng: Any) -> None:
    for rank in range(n + 1):
        a = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, n))
        np.testing.assert_allclose(mg.hessian(np.linalg.det)(mg.tensor(a)).numpy(), second_minors(a), atol=1e-10)


def test_a_stack_of_singular_and_regular_matrices(rng: Any) -> None:
    one = rng.standard_normal((3, 3))
    stack = np.stack([one, np.outer(one[0], one[1]), np.zeros((3, 3)), one @ np.diag([1.0, 2.0, 0.0])])
    found = mg.hvp(lambda a: (np.linalg.det(a) ** 2 + np.linalg.det(a)).sum(), mg.tensor(stack), np.ones_like(stack))
    for k, a in enumerate(stack):
        alone = mg.hvp(lambda a: np.linalg.det(a) ** 2 + np.linalg.det(a), mg.tensor(a), np.ones((3, 3)))
        np.testing.assert_allclose(found.numpy()[k], alone.numpy(), atol=1e-12)


def test_third_derivatives_of_determinants(rng: Any) -> None:
    a, v = mg.tensor(rng.standard_normal((3, 3)), requires_grad=True), rng.standard_normal((3, 3))
    assert mg.gradcheck(lambda a: mg.hvp(np.linalg.det, a, v), [a])
    with pytest.raises(np.linalg.LinAlgError):
        mg.grad(lambda a: mg.hvp(np.linalg.det, a, v).sum())(mg.zeros((3, 3), dtype=np.float64))


def test_slogdet_has_no_gradient_where_a_matrix_is_singular() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="ingular"):
        mg.grad(lambda a: np.linalg.slogdet(a)[1])(mg.ones((2, 2)))


def test_a_matrix_that_is_not_finite_leaves_the_others_of_a_stack_alone(rng: Any) -> None:
    """LAPACK's decomposition of some matrices with infinities, such as these, never ends."""
    stack = rng.standard_normal((6, 3, 3))
    for k in range(4):
        stack[k].ravel()[rng.choice(9, 1 + k, replace=False)] = np.inf if k % 2 else -np.inf
    stack[4, 1, 1] = np.nan
    for order in (1, 2):
        x = mg.tensor(stack, requires_grad=True)
        with np.errstate(all="ignore"):
            y = np.linalg.det(x)
            np.sum(y**2 if order == 1 else y).backward(create_graph=order == 2)
            if order == 2:
                first, x.grad = x.grad, None
                np.sum(first**2).backward()
        assert not np.isfinite(x.grad.data[:5]).any()
        assert np.isfinite(x.grad.data[5]).all()
