"""grad, vjp, jvp, jacobian, hessian, hvp: against formulas and each other, composed, with nested arguments."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg


@pytest.fixture
def x() -> mg.Tensor:
    return mg.tensor(np.array([0.5, -1.0, 2.0]))


def cubic(x: mg.Tensor) -> mg.Tensor:
    return (x**3).sum() + x[0] * x[1] * x[2]


def cubic_hessian(v: Any) -> Any:
    h = np.diag(6 * v)
    for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        h[i, j] = h[j, i] = v[k]
    return h


def test_grad_and_its_powers() -> None:
    f = lambda x: np.sin(x) * x  # noqa: E731
    v = 0.7
    derivatives = [np.sin(v) * v, np.sin(v) + v * np.cos(v), 2 * np.cos(v) - v * np.sin(v),
                   -3 * np.sin(v) - v * np.cos(v), -4 * np.cos(v) + v * np.sin(v)]  # fmt: skip
    for expected in derivatives:
        assert f(mg.tensor(v, dtype=np.float64)).item() == pytest.approx(expected, rel=1e-12)
        f = mg.grad(f)


def test_value_and_grad_and_argnums(x: mg.Tensor) -> None:
    value, (gx, gk) = mg.value_and_grad(lambda x, n, k: (x**n).sum() * k, (0, 2))(x, 2, mg.tensor(3.0))
    assert value.item() == pytest.approx(3 * 5.25)
    assert not value.requires_grad
    np.testing.assert_allclose(gx.numpy(), 6 * x.numpy())
    assert gk.item() == pytest.approx(5.25)


def test_nested_arguments_keep_their_structure(x: mg.Tensor) -> None:
    class Pair(NamedTuple):
        a: Any
        b: Any

    tree = {"pair": Pair(x, [x, (x,)]), "none": x}
    result = mg.grad(lambda p: (p["pair"].a * p["pair"].b[0] * 2 * p["pair"].b[1][0]).sum())(tree)
    assert isinstance(result["pair"], Pair)
    np.testing.assert_allclose(result["pair"].b[1][0].numpy(), 2 * x.numpy() ** 2)
    np.testing.assert_array_equal(result["none"].numpy(), np.zeros(3))  # not used: zeros


def test_nobodys_grad_is_touched(x: mg.Tensor) -> None:
    w = mg.tensor(np.ones(3), requires_grad=True)
    mg.grad(lambda v: (v * w).sum())(x)
    mg.jacobian(lambda v: v * w)(w)
    assert w.grad is None
    assert x.grad is None
    assert not x.requires_grad


def test_a_gradient_that_depends_on_a_parameter_can_be_differentiated(x: mg.Tensor) -> None:
    w = mg.tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    slope = mg.grad(lambda v: (w * v**2).sum())(x)
    (slope**2).sum().backward()  # Σ (2 w x)²
    np.testing.assert_allclose(w.grad.numpy(), 8 * w.numpy() * x.numpy() ** 2)


def test_gradients_compose_with_an_outer_backward() -> None:
    w = mg.tensor(1.5, dtype=np.float64, requires_grad=True)
    mg.grad(lambda v: v**4)(w * 2).backward()  # d/dw 4 (2w)³
    assert w.grad.item() == pytest.approx(4 * 3 * (2 * 1.5) ** 2 * 2)


def test_jacobian_and_hessian(x: mg.Tensor) -> None:
    np.testing.assert_allclose(mg.hessian(cubic)(x).numpy(), cubic_hessian(x.numpy()), rtol=1e-12)
    matrix = mg.tensor(np.arange(6.0).reshape(2, 3))
    jac = mg.jacobian(lambda v: np.tanh(matrix @ v))(x)
    expected = (1 - np.tanh(matrix.numpy() @ x.numpy()) ** 2)[:, None] * matrix.numpy()
    np.testing.assert_allclose(jac.numpy(), expected, rtol=1e-12)
    by_matrix, by_x = mg.jacobian(lambda m, v: m @ v, (0, 1))(matrix, x)
    assert by_matrix.shape == (2, 2, 3)
    np.testing.assert_array_equal(by_x.numpy(), matrix.numpy())
    assert mg.jacobian(lambda v: v[:0])(x).shape == (0, 3)
    third = mg.jacobian(mg.hessian(lambda v: (v**3).sum()))(x).numpy()
    assert third[1, 1, 1] == pytest.approx(6)
    assert np.count_nonzero(third) == 3


def test_products_agree_with_the_jacobian(x: mg.Tensor) -> None:
    f = lambda v: np.stack([v.sum() ** 2, (v * v).sum(), np.prod(v), np.sin(v[0])])  # noqa: E731
    full = mg.jacobian(f)(x).numpy()
    rng = np.random.default_rng(0)
    u, w = rng.standard_normal(4), rng.standard_normal(3)
    value, pull = mg.vjp(f, x)
    np.testing.assert_allclose(value.numpy(), f(x).numpy())
    np.testing.assert_allclose(pull(u)[0].numpy(), u @ full, rtol=1e-12)
    np.testing.assert_allclose(pull(mg.tensor(u))[0].numpy(), u @ full, rtol=1e-12)  # again
    value, push = mg.jvp(f, (x,), (w,))
    np.testing.assert_allclose(value.numpy(), f(x).numpy())
    np.testing.assert_allclose(push.numpy(), full @ w, rtol=1e-12)
    np.testing.assert_allclose(mg.hvp(cubic, x, w).numpy(), cubic_hessian(x.numpy()) @ w, rtol=1e-12)


def test_products_of_several_arguments_and_outputs(x: mg.Tensor) -> None:
    def f(a: mg.Tensor, b: dict[str, mg.Tensor]) -> dict[str, mg.Tensor]:
        return {"s": a * b["k"], "t": (a * a).sum()}

    k = mg.tensor(np.array([2.0, 3.0, 4.0]))
    out, pull = mg.vjp(f, x, {"k": k})
    assert set(out) == {"s", "t"}
    ga, gb = pull({"s": np.ones(3), "t": np.array(2.0)})
    np.testing.assert_allclose(ga.numpy(), k.numpy() + 4 * x.numpy())
    np.testing.assert_allclose(gb["k"].numpy(), x.numpy())
    _, pushed = mg.jvp(f, (x, {"k": k}), (np.ones(3), {"k": np.zeros(3)}))
    np.testing.assert_allclose(pushed["s"].numpy(), k.numpy())
    np.testing.assert_allclose(pushed["t"].numpy(), 2 * x.numpy().sum())
    first, second = mg.hvp(lambda a, b: (a * a * b).sum(), (x, k), (np.ones(3), np.zeros(3)))
    np.testing.assert_allclose(first.numpy(), 2 * k.numpy())
    np.testing.assert_allclose(second.numpy(), 2 * x.numpy())


def test_a_linear_function_and_a_constant(x: mg.Tensor) -> None:
    np.testing.assert_array_equal(mg.jvp(lambda v: 2 * v, x, np.ones(3))[1].numpy(), [2, 2, 2])
    np.testing.assert_array_equal(mg.grad(lambda v: mg.tensor(3.0))(x).numpy(), np.zeros(3))
    np.testing.assert_array_equal(mg.hessian(lambda v: v.sum())(x).numpy(), np.zeros((3, 3)))
    np.testing.assert_array_equal(mg.hvp(lambda v: v.sum(), x, np.ones(3)).numpy(), np.zeros(3))


def test_transforms_work_under_no_grad(x: mg.Tensor) -> None:
    with mg.no_grad():
        np.testing.assert_allclose(mg.grad(cubic)(x).numpy()[0], 3 * 0.25 - 2.0)
        np.testing.assert_allclose(mg.hessian(cubic)(x).numpy(), cubic_hessian(x.numpy()))
        assert not mg.is_grad_enabled()


PLAIN: dict[str, Any] = {
    "an array": lambda x: np.ones(2),
    "a comparison": lambda x: x > 1,
    "a bool": lambda x: bool((x > 1).any()),
    "a float": lambda x: 2.0,
    "a scalar of NumPy's": lambda x: np.float64(2.0),
    "an index": np.argmax,
    "integers": lambda x: mg.tensor(3),
    "nothing": lambda x: None,
}
TRANSFORMS: dict[str, Any] = {
    "vjp": lambda f, x: mg.vjp(f, x),
    "jvp": lambda f, x: mg.jvp(f, (x,), (np.ones(2),)),
    "jacobian": lambda f, x: mg.jacobian(f)(x),
    "grad": lambda f, x: mg.grad(f)(x),
    "value_and_grad": lambda f, x: mg.value_and_grad(f)(x),
    "hessian": lambda f, x: mg.hessian(f)(x),
    "hvp": lambda f, x: mg.hvp(f, x, np.ones(2)),
    "vjp of a pair": lambda f, x: mg.vjp(lambda x: (x * 2, f(x)), x),
    "jvp of a pair": lambda f, x: mg.jvp(lambda x: (x * 2, f(x)), (x,), (np.ones(2),)),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("result", PLAIN)
def test_functions_that_return_plain_values_are_refused(transform: str, result: str) -> None:
    with pytest.raises(TypeError, match="the function must return"):
        TRANSFORMS[transform](PLAIN[result], mg.tensor(np.array([0.5, 1.5])))


def test_a_checkpoint_of_plain_values_is_refused_unless_there_are_tensors_besides() -> None:
    x = mg.tensor([0.5, 1.5], requires_grad=True)
    with pytest.raises(TypeError, match="checkpoint: the function must return a tensor"):
        mg.checkpoint(lambda x: x > 1, x)
    y, larger = mg.checkpoint(lambda x: (x * 2, x > 1), x)
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert larger.tolist() == [False, True]
