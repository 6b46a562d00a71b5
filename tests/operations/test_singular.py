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


# ---- values that repeat ------------------------------------------------------------------------------------------


def rotated(values: list[float], rng: Any) -> Any:
    """A symmetric matrix with these eigenvalues."""
    q, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    return (q * values) @ q.T


@pytest.mark.parametrize("call", {
    "eigh": lambda a: np.linalg.eigh(a)[1][:, 1].sum(), "svd": lambda a: np.linalg.svd(a)[0][:, 1].sum(),
    "svd, V": lambda a: np.linalg.svd(a).Vh.sum(), "eigh, all": lambda a: np.linalg.eigh(a).eigenvectors.sum(),
}.items(), ids=lambda item: item[0])  # fmt: skip
def test_vectors_of_equal_values_have_no_gradient(call: tuple[str, Callable[[Any], Any]]) -> None:
    for matrix in (np.eye(3), np.stack([np.diag([1.0, 2.0, 3.0]), np.diag([0.5, 0.5, 3.0])])):
        with pytest.raises(
            np.linalg.LinAlgError, match=r"values \d and \d of a matrix coincide \([0-9.]+\).*values alone"
        ):
            mg.grad(lambda a: sum(call[1](a[k]) for k in range(2)) if a.ndim == 3 else call[1](a))(mg.tensor(matrix))


def test_a_singular_value_of_zero_has_no_vectors_with_a_gradient(rng: Any) -> None:
    a = mg.tensor(np.outer(rng.standard_normal(3), [1.0, 2.0]), requires_grad=True)
    assert np.linalg.svd(a).S.sum().requires_grad
    with pytest.raises(np.linalg.LinAlgError, match=r"a singular value is 0.*pinv"):
        np.linalg.svd(a, full_matrices=False).U.sum().backward()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["reduced", "r"])
def test_factors_of_dependent_columns_have_no_gradient(mode: str, dtype: Any, rng: Any) -> None:
    dependent = rng.standard_normal((5, 3)) @ [[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 1.0]]
    small = 1e-9 * dependent
    wide = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 7.0]])
    for matrix in (np.array([[1.0, 2], [2, 4], [3, 6]]), dependent, small, wide, np.diag([1.0, 0.0]), np.zeros((2, 2))):
        a = mg.tensor(matrix.astype(dtype), requires_grad=True)
        with pytest.raises(np.linalg.LinAlgError, match=r"qr: a column of a matrix depends on.*pinv"):
            (np.linalg.qr(a, mode) if mode == "r" else np.linalg.qr(a).Q).sum().backward()


def test_factors_of_columns_of_unequal_size_have_their_gradient() -> None:
    a = mg.tensor(np.array([[1.0, 3.0, 1e20], [2.0, 1e-20, 1e20], [0.0, 1e-20, -1e20]]), requires_grad=True)
    np.linalg.qr(mg.tensor(np.diag([1.0, 1e-20]), requires_grad=True)).R.sum().backward()
    np.linalg.qr(a).Q.sum().backward()
    assert np.isfinite(a.grad.numpy()).all()


def test_other_vectors_and_all_values_have_their_gradients(rng: Any) -> None:
    """The projection on the vector of the value that is alone: d(v vᵀ) = Σⱼ (vⱼᵀ dA v) (vⱼ vᵀ + v vⱼᵀ) / (w − wⱼ)."""
    matrix = rotated([1.0, 1.0, 3.0], rng)
    g = rng.standard_normal((3, 3))

    def loss(a: Any) -> Any:
        v = np.linalg.eigh((a + a.T) * 0.5)[1][:, -1]
        return (g * np.outer(v, v)).sum()

    _, vectors = np.linalg.eigh(matrix)
    v, others = vectors[:, -1], vectors[:, :2]
    expected = sum(np.outer(u, v) * (u @ (g + g.T) @ v) / 2.0 for u in others.T)
    found = mg.grad(loss)(mg.tensor(matrix)).numpy()
    np.testing.assert_allclose(found, (expected + expected.T) / 2, rtol=1e-12, atol=1e-14)
    w = mg.grad(lambda a: np.sum(np.linalg.eigvalsh(a)))(mg.tensor(matrix)).numpy()
    np.testing.assert_allclose(w, np.eye(3), atol=1e-14)
    s = mg.grad(lambda a: np.linalg.norm(a, "nuc"))(mg.tensor(matrix)).numpy()
    np.testing.assert_allclose(s, np.eye(3), atol=1e-14)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4)])
def test_pinv_among_matrices_of_rank_one_less(shape: tuple[int, int], rng: Any) -> None:
    left, right = rng.standard_normal((shape[0], 2)), rng.standard_normal((2, shape[1]))
    factors = [mg.tensor(v, requires_grad=True) for v in (left, right)]
    assert mg.gradcheck(lambda a, b: np.linalg.pinv(a @ b), factors)
    assert mg.gradcheck(lambda a, b: np.linalg.lstsq(a @ b, np.arange(float(shape[0])))[0], factors)


# ---- running products --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [[], [0], [2], [1, 4], [5], [0, 1, 2, 3, 4, 5]])
def test_running_products_of_zeros(zeros: list[int], rng: Any) -> None:
    x = rng.standard_normal(6)
    x[zeros] = 0.0
    assert mg.gradcheck(np.cumprod, mg.tensor(x, requires_grad=True))
    assert mg.gradgradcheck(np.cumprod, mg.tensor(x, requires_grad=True))


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


def test_slogdet_of_a_singular_matrix_has_the_gradient_nan_and_others_in_the_stack_keep_theirs(rng: Any) -> None:
    stack = np.stack([np.ones((2, 2)), rng.standard_normal((2, 2))])
    found = mg.grad(lambda a: np.linalg.slogdet(a)[1].sum())(mg.tensor(stack)).numpy()
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], np.linalg.inv(stack[1]).T, rtol=1e-12)


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


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("wrong", [np.inf, np.nan])
@pytest.mark.parametrize(
    "function",
    [
        np.linalg.svd, np.linalg.svdvals, np.linalg.eigh, np.linalg.eigvalsh, np.linalg.pinv,
        lambda a: np.linalg.lstsq(a, a), lambda a: np.linalg.norm(a, 2), lambda a: np.linalg.norm(a, "nuc"),
    ],
)  # fmt: skip
def test_a_matrix_that_is_not_finite_is_not_decomposed(function: Any, wrong: float, requires_grad: bool) -> None:
    """LAPACK may never return."""
    a = mg.tensor(np.array([[1.0, 2.0, wrong], [0.0, 1.0, 3.0], [wrong, 2.0, -wrong]]), requires_grad=requires_grad)
    with pytest.raises(np.linalg.LinAlgError, match="a matrix with infinite numbers or NaN has no decomposition"):
        function(a)
