"""L-BFGS: on functions whose minimum is known, against the dense BFGS matrix, the Wolfe conditions, state, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from nn.modules import Parameter
from nn.optimizers import LBFGS
from nn.optimizers.line_search import C1, C2, Point, strong_wolfe

Rng = np.random.Generator
every_search = pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])


def rosenbrock(w: Any) -> Any:
    return (100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()


def closure_of(f: Any, optimizer: Any, *weights: Any) -> Any:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = f(*weights)
        loss.backward()
        return loss

    return closure


# ---- results -----------------------------------------------------------------------------------------------------


@every_search
def test_a_quadratic_of_many_weights(line_search_fn: Any, backend: Any, rng: Rng) -> None:
    """Its minimum solves a linear system; the weights are a matrix, a vector, a number, and one without gradient."""
    A = rng.standard_normal((10, 10))
    A, b = A @ A.T / 10 + np.eye(10), rng.standard_normal(10)
    matrix, vector, number, unused = (Parameter(backend.array(rng.standard_normal(s))) for s in ((2, 3), 3, (), 2))
    P, q, before = backend.tensor(A), backend.tensor(b), backend.numpy(unused).copy()
    optimizer = LBFGS(
        [matrix, vector, number, unused], line_search_fn=line_search_fn, max_iter=60, tolerance_change=1e-15
    )

    def f(matrix: Any, vector: Any, number: Any) -> Any:
        w = np.concatenate([matrix.reshape((6,)), vector, number.reshape((1,))])
        return 0.5 * np.sum(w * (P @ w)) - np.sum(q * w)

    closure = closure_of(f, optimizer, matrix, vector, number)
    optimizer.step(closure)
    optimizer.step(closure)
    found = np.concatenate([backend.numpy(p).reshape(-1) for p in (matrix, vector, number)])
    np.testing.assert_allclose(found, np.linalg.solve(A, b), atol=1e-5)
    np.testing.assert_array_equal(backend.numpy(unused), before)


def test_a_valley_that_bends() -> None:
    w = Parameter(np.array([-1.2, 1.0, -0.5, 2.0]))
    optimizer = LBFGS([w], line_search_fn="strong_wolfe", max_iter=100, tolerance_change=1e-14)
    first = optimizer.step(closure_of(rosenbrock, optimizer, w))
    assert first.item() > 100
    np.testing.assert_allclose(w.numpy(), 1.0, atol=1e-5)


def test_the_direction_is_that_of_the_dense_matrix(rng: Rng) -> None:
    """H = (I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ for each pair, from H₀ (Nocedal & Wright 2006, equation 7.16)."""
    w = Parameter(rng.standard_normal(5))
    optimizer = LBFGS([w], lr=0.05, max_iter=6, history_size=3)
    optimizer.step(closure_of(lambda w: np.sum(np.cosh(w) + w[0] * w[1]), optimizer, w))
    state, g = optimizer.state, rng.standard_normal(5)
    s = state["t"] * state["d"].numpy()
    y = g - state["prev_flat_grad"].numpy()
    pairs = [(a.numpy(), b.numpy()) for a, b in zip(state["old_dirs"], state["old_stps"], strict=True)]
    if y @ s > 1e-10:
        pairs = [*pairs, (y, s)][-3:]
    y, s = pairs[-1]
    H, I = np.eye(5) * (y @ s) / (y @ y), np.eye(5)
    for y, s in pairs:
        rho = 1 / (y @ s)
        H = (I - rho * np.outer(s, y)) @ H @ (I - rho * np.outer(y, s)) + rho * np.outer(s, s)
    np.testing.assert_allclose(optimizer._direction(g, 3), -H @ g, rtol=1e-10)
    assert len(optimizer.state["old_dirs"]) == 3


@pytest.mark.parametrize("t", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize(
    "f",
    [
        lambda t: ((t - 2) ** 4, 4 * (t - 2) ** 3),
        lambda t: (-t / (t * t + 2), (t * t - 2) / (t * t + 2) ** 2),
        lambda t: (-np.sin(t) + 0.1 * t * t, -np.cos(t) + 0.2 * t),
        lambda t: (abs(t - 1) ** 1.5, 1.5 * np.sign(t - 1) * abs(t - 1) ** 0.5),
    ],
)
def test_a_search_ends_where_the_wolfe_conditions_hold(f: Any, t: float) -> None:
    seen = []

    def at(t: float) -> Point:
        seen.append(t)
        value, slope = f(t)
        return Point(t, float(value), None, float(slope))

    start = at(0.0)
    found, trials = strong_wolfe(at, start, t, size=1.0)
    assert trials == len(seen) - 1
    assert found.f <= start.f + C1 * found.t * start.slope
    assert abs(found.slope) <= -C2 * start.slope


def test_a_search_gives_up_after_some_trials() -> None:
    """Along a line that falls for ever."""
    found, trials = strong_wolfe(lambda t: Point(t, -t, None, -1.0), Point(0.0, 0.0, None, -1.0), 1.0, 1.0, most=5)
    assert (trials, found.t > 10) == (6, True)


def test_limits_of_a_step() -> None:
    calls = 0

    def f(w: Any) -> Any:
        nonlocal calls
        calls += 1
        return rosenbrock(w)

    for options, expected in (({"max_iter": 4}, 4), ({"max_eval": 3}, 3), ({"tolerance_grad": 1e9}, 1)):
        w, calls = Parameter(np.array([-1.2, 1.0])), 0
        optimizer = LBFGS([w], lr=1e-3, **options)
        optimizer.step(closure_of(f, optimizer, w))
        assert calls == expected
        assert optimizer.state["func_evals"] == expected


# ---- dtypes, state, training -------------------------------------------------------------------------------------


@every_search
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_weights(dtype: Any, line_search_fn: Any) -> None:
    w = Parameter(np.array([3.0, -2.0], dtype))
    optimizer = LBFGS([w], line_search_fn=line_search_fn)
    optimizer.step(closure_of(lambda w: np.sum((w - 1) ** 2), optimizer, w))
    assert w.dtype == dtype
    assert optimizer.state["d"].dtype == np.float32
    np.testing.assert_allclose(w.numpy(), 1, atol=1e-2)


@every_search
def test_going_on_from_a_checkpoint(line_search_fn: Any, tmp_path: Any) -> None:
    def made() -> tuple[Any, Any, Any]:
        w = Parameter(np.array([-1.2, 1.0, 0.3]))
        optimizer = LBFGS([("w", w)], lr=0.01, max_iter=5, line_search_fn=line_search_fn)
        return w, optimizer, closure_of(rosenbrock, optimizer, w)

    w, optimizer, closure = made()
    optimizer.step(closure)
    optimizer.step(closure)
    nn.save_checkpoint(tmp_path / "run", optimizer=optimizer, w=w)
    again, other, again_closure = made()
    again.data[...] = nn.load_checkpoint(tmp_path / "run", optimizer=other)["w"].numpy()
    for _ in range(3):
        assert optimizer.step(closure).item() == other.step(again_closure).item()
    np.testing.assert_array_equal(w.numpy(), again.numpy())


def test_a_wrong_state_changes_nothing() -> None:
    w = Parameter(np.array([-1.2, 1.0]))
    optimizer = LBFGS([("w", w)], lr=0.01)
    optimizer.step(closure_of(rosenbrock, optimizer, w))
    good = optimizer.state_dict()
    other = LBFGS([("w", Parameter(np.zeros(2)))])
    for change, message in (
        ({"state": good["state"] | {"n_iter": -1}}, "n_iter must be a whole number"),
        ({"state": good["state"] | {"d": np.zeros(3)}}, r"d must be floats \(2,\), not float64 \(3,\)"),
        ({"state": good["state"] | {"old_stps": []}}, "must be lists of one length"),
        ({"state": {k: v for k, v in good["state"].items() if k != "d"}}, "there must be d and prev_flat_grad"),
        ({"state": {"n_iter": 0}}, "missing: func_evals"),
        ({"param_groups": []}, "expected one group"),
        ({"param_groups": [good["param_groups"][0] | {"param_names": ["v"]}]}, "it is of v, not w"),
        ({"param_groups": [good["param_groups"][0] | {"max_iter": 0}]}, "max_iter must be an integer of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(good | change)
    assert other.state["n_iter"] == 0
    other.load_state_dict(good)
    assert other.state["n_iter"] == optimizer.state["n_iter"]
    assert other.param_groups[0]["lr"] == 0.01


def test_it_trains_a_layer(rng: Rng) -> None:
    model = nn.LSTM(2, 5)
    out = nn.Linear(5, 1)
    optimizer = LBFGS([*model.parameters(), *out.parameters()], line_search_fn="strong_wolfe", max_iter=25)
    x = mg.Tensor(rng.standard_normal((6, 8, 2)).astype(np.float32))
    y = np.cumsum(x.numpy()[..., :1], axis=0)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.MSELoss()(out(model(x)[0]), y)
        loss.backward()
        return loss

    first = optimizer.step(closure).item()
    assert closure().item() < 0.2 * first
    schedule = nn.StepLR(optimizer, 1, 0.5)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.5


W = Parameter(np.ones(2))
SPARSE = Parameter(np.ones((3, 2)))


def sparse_closure() -> Any:
    SPARSE.grad = mg.RowSparse(np.array([1]), np.ones((1, 2)), (3, 2))
    return 1.0


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: LBFGS([W]).step(), TypeError, "LBFGS.step needs a closure"),
        (lambda: LBFGS([W], max_iter=0), ValueError, "max_iter must be an integer of at least 1, not 0"),
        (lambda: LBFGS([W], history_size=1.5), ValueError, "history_size must be an integer"),  # type: ignore[arg-type]
        (lambda: LBFGS([W], lr=-1.0), ValueError, "lr must be finite and not negative"),
        (lambda: LBFGS([W], line_search_fn="armijo"), ValueError, "None or \"strong_wolfe\", not 'armijo'"),  # type: ignore[arg-type]
        (lambda: LBFGS([{"params": [W]}, {"params": [SPARSE]}]), ValueError, "there is one group"),
        (lambda: LBFGS([SPARSE]).step(sparse_closure), ValueError, "row-sparse, but LBFGS keeps all numbers in one"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_a_recording_is_refused() -> None:
    w = Parameter(np.array([3.0, -2.0]))
    optimizer = LBFGS([w])
    step = mg.compile(lambda x: optimizer.step(closure_of(lambda w: np.sum((w - x) ** 2), optimizer, w)))
    step(mg.ones(2))
    with pytest.raises(mg.RecordingError, match="LBFGS looks at the loss"):
        step(mg.ones(2))
