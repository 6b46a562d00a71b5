"""Random programs: what is replayed is what the plain function gives, bit for bit, values and gradients.

Where NumPy's BLAS multiplies, its last bit depends on where the operands lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg

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
]
PRODUCT = 14  # which of them is one
FUSED = mg.fuse(lambda a, b: np.tanh(a) * b + np.exp(-a * a))
LARGEST = 4000  # numbers in a value

steps = st.lists(st.tuples(st.sampled_from(range(len(OPERATIONS))), st.integers(0, 99), st.integers(0, 99)),
                 min_size=3, max_size=12)  # fmt: skip
shapes = st.sampled_from([(4, 4), (2, 4), (4,), (1, 4), (4, 1), (6, 2), (2, 2, 2)])


def program(steps: list[tuple[int, int, int]], shape: tuple[int, ...]) -> Callable[..., Any]:
    """The function that does those of the steps that are possible, each with two of the values so far."""

    def apply(k: int, i: int, j: int, values: list[Any]) -> Any:
        return OPERATIONS[k](values[i % len(values)], values[j % len(values)])

    possible, trial = [], [mg.zeros(shape), mg.zeros(shape)]
    for step in steps:
        try:
            value = apply(*step, trial)
        except (ValueError, IndexError, TypeError):
            continue
        if 0 < value.size <= LARGEST:
            possible.append(step)
            trial.append(value)

    def run(x: Any, y: Any) -> Any:
        values = [x, y]
        for step in possible:
            values.append(apply(*step, values))
        if any(v.requires_grad for v in values):
            sum(((v * v).sum() for v in values[-4:]), start=mg.tensor(0.0)).backward()
        return [v.detach() if v is not x and v is not y else v for v in values[-4:]]

    return run


def laid_out(array: Any, layout: str) -> Any:
    return {"C": array.copy(), "F": np.asfortranarray(array), "gaps": np.repeat(array, 2, axis=0)[::2]}[layout]


@given(steps, shapes, st.sampled_from(["C", "F", "gaps"]), st.booleans(), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_random_programs(steps: Any, shape: Any, layout: str, gradients: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plain = program(steps, shape)
    compiled = mg.compile(plain)
    exact = all(k != PRODUCT for k, _, _ in steps)
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
