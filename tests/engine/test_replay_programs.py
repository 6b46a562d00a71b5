"""Random programs: a replay gives the values and gradients of the plain function, bit for bit.

Where NumPy's BLAS multiplies, its last bit depends on where the operands lie in memory. Programs also compute with
weights and with plain arrays from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")  # of no numbers

OPERATIONS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: (a + b) * 0.5,
    lambda a, b: np.tanh(a * b),
    lambda a, b: np.where(a > b, a, b * 0.5),
    lambda a, b: np.concatenate([a, b]),
    lambda a, b: np.concatenate([a, np.tanh(b), a * 0.5]),
    lambda a, b: np.stack([a, b]),
    lambda a, b: np.stack([np.stack([a, b * 2]), np.stack([np.tanh(a), b])]),
    lambda a, b: a.T,
    lambda a, b: a.reshape(-1),
    lambda a, b: a.mean(axis=0),
    lambda a, b: a.sum(axis=-1, keepdims=True) * 0.1,
    lambda a, b: a[::-1],
    lambda a, b: a[1:],
    lambda a, b: np.split(a, 2)[1],
    lambda a, b: np.tanh(a @ b),
    lambda a, b: FUSED(a, b),
    lambda a, b: np.dot(a, b.T) * 0.5,
    lambda a, b: mg.linear(a, b),
    lambda a, b: np.einsum("...d,hd->...h", a, b),
    lambda a, b: np.tensordot(a, b, ([-1], [0])),
    lambda a, b: mg.softmax(a - b),
    lambda a, b: np.maximum(a, b) + np.clip(b, -1.0, 1.0),
    lambda a, b: a[..., :0],
]
PRODUCTS = {14, 16, 17, 18, 19}  # which of them are
FUSED = mg.fuse(lambda a, b: np.tanh(a) * b + np.exp(-a * a))
LARGEST = 4000  # numbers in a value

F = Callable[..., Any]
steps = st.lists(st.tuples(st.sampled_from(range(len(OPERATIONS))), st.integers(0, 99), st.integers(0, 99)),
                 min_size=3, max_size=12)  # fmt: skip
shapes = st.sampled_from([(4, 4), (2, 4), (4,), (1, 4), (4, 1), (6, 2), (2, 2, 2), (0,), (0, 4), (4, 0)])
layouts = st.sampled_from(["C", "F", "gaps", "back"])


def program(steps: list[tuple[int, int, int]], shape: tuple[int, ...], outside: Sequence[Any] = ()) -> F:
    """The function that does those of the steps that are possible, each with two of the values so far; `outside` are
    weights and plain arrays. (What NumPy computes of these alone is a constant.)"""

    def apply(k: int, i: int, j: int, values: list[Any]) -> Any:
        a, b = values[i % len(values)], values[j % len(values)]
        if not isinstance(a, mg.Tensor) and not isinstance(b, mg.Tensor):
            raise TypeError("two plain arrays")
        return OPERATIONS[k](a, b)

    possible, trial = [], [mg.zeros(shape), mg.zeros(shape), *outside]
    for step in steps:
        try:
            value = apply(*step, trial)
        except (ValueError, IndexError, TypeError):
            continue
        if isinstance(value, mg.Tensor) and value.size <= LARGEST:
            possible.append(step)
            trial.append(value)

    def run(x: Any, y: Any) -> Any:
        values = [x, y, *outside]
        for weight in outside:
            if isinstance(weight, mg.Tensor):
                weight.grad = None
        for step in possible:
            values.append(apply(*step, values))
        last = [v for v in values[-4:] if isinstance(v, mg.Tensor)]
        loss = sum(((v * v).sum() for v in last), start=mg.tensor(0.0))
        if loss.requires_grad:
            loss.backward()
        return [v.detach() if v is not x and v is not y else v for v in last]

    return run


def laid_out(array: Any, layout: str) -> Any:
    return {
        "C": array.copy(),
        "F": np.asfortranarray(array),
        "gaps": np.repeat(array, 2, axis=0)[::2],
        "back": array[::-1].copy()[::-1],
    }[layout]


@given(steps, shapes, layouts, st.booleans(), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_random_programs(steps: Any, shape: Any, layout: str, gradients: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plain = program(steps, shape)
    compiled = mg.compile(plain)
    exact = all(k not in PRODUCTS for k, _, _ in steps)
    for _ in range(4):
        arrays = [laid_out(rng.standard_normal(shape).astype(np.float32), layout) for _ in range(2)]
        found = []
        for function in (compiled, plain):
            given = arrays if function is compiled else [a.copy("K") for a in arrays]  # it computes without gaps
            x, y = (mg.Tensor(a, gradients) for a in given)
            results = [*function(x, y), x.grad, y.grad]
            found.append([None if r is None else r.numpy() for r in results])
        for one, other in zip(*found, strict=True):
            assert (one is None) == (other is None)
            if other is not None:
                np.testing.assert_allclose(one, other, rtol=0 if exact else 1e-4, atol=0 if exact else 1e-4)


@given(steps, shapes, shapes, layouts, st.booleans(), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_random_programs_with_weights_and_plain_arrays_from_outside(
    steps: Any, shape: Any, other: Any, layout: str, gradients: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kinds = [shape, other, (4, 4), (20, 4)]
    arrays = [laid_out(rng.standard_normal(s).astype(np.float32), layout) for s in kinds]
    weights = [mg.Tensor(rng.standard_normal(s).astype(np.float32), True) for s in (shape, (4, 4))]
    plain = program(steps, shape, [*arrays, *weights])
    compiled = mg.compile(plain)
    for _ in range(4):
        given = [rng.standard_normal(shape).astype(np.float32) for _ in range(2)]
        found = []
        for function in (compiled, plain):
            x, y = (mg.Tensor(a.copy(), gradients) for a in given)
            results = [*function(x, y), x.grad, y.grad, *[w.grad for w in weights]]
            found.append([None if r is None else r.numpy() for r in results])
        for one, other_one in zip(*found, strict=True):
            assert (one is None) == (other_one is None)
            if one is not None:
                np.testing.assert_allclose(one, other_one, rtol=1e-4, atol=1e-4)


def test_a_fused_function_of_no_rows_has_its_gradient_in_a_replay() -> None:
    """An empty copy may have any strides; a kernel that refused it would leave its results as they were."""
    weight, empty = mg.randn(4, requires_grad=True), np.zeros((0, 4), np.float32)

    def run(x: Any) -> Any:
        weight.grad = None
        (FUSED(weight, empty).sum() + (weight * weight).sum()).backward()
        return x * 1

    compiled = mg.compile(run)
    for _ in range(5):
        poison = [np.full(n, np.nan, np.float32) for n in (4, 8, 16, 20) * 20]
        del poison
        compiled(mg.ones(4))
        np.testing.assert_array_equal(weight.grad.data, 2 * weight.data)
