"""PyTorch's own samples of its operators and modules, as arguments for functions of Tensors, and the comparison.

The samples are those of PyTorch's tests (`torch.testing._internal`): inputs of many shapes, empty ones and numbers
without axes among them, with all combinations of arguments that its authors think of.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import minigrad as mg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of imports that are not ours
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db

OPERATORS: dict[str, list[Any]] = {}
for _each in op_db:
    OPERATORS.setdefault(_each.name, []).append(_each)
MODULES: dict[str, Any] = {each.name.removeprefix("nn."): each for each in module_db}
DTYPES = {torch.float64: np.float64, torch.float32: np.float32, torch.int64: np.int64, torch.bool: np.bool_}


class Tensors:
    """PyTorch's values as ours: one Tensor for each tensor of floats, in the order in which they came."""

    def __init__(self) -> None:
        self.theirs: list[torch.Tensor] = []
        self.ours: list[mg.Tensor] = []

    def __call__(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            for known, twin in zip(self.theirs, self.ours, strict=True):
                if known is value:
                    return twin
            array = value.detach().numpy().copy()
            if not value.is_floating_point():
                return array
            twin = mg.Tensor(array, requires_grad=value.requires_grad)
            self.theirs.append(value)
            self.ours.append(twin)
            return twin
        if isinstance(value, torch.dtype):
            return DTYPES[value]
        if isinstance(value, tuple | list):
            kind: Any = list if isinstance(value, list) else tuple
            return kind([self(v) for v in value])
        if isinstance(value, dict):
            return {key: self(v) for key, v in value.items()}
        return value


def flat(value: Any) -> list[Any]:
    """The tensors, arrays and numbers of nested tuples and lists."""
    if isinstance(value, tuple | list):
        return [leaf for v in value for leaf in flat(v)]
    return [value]


def array(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor | mg.Tensor) else np.asarray(value)


def near(found: Any, expected: Any, bound: float, what: str) -> None:
    """Up to `bound` of the largest number, NaN where NaN is expected."""
    a, b = array(found), array(expected)
    assert a.shape == b.shape, f"{what}: {a.shape} is not {b.shape}"
    finite = np.abs(b[np.isfinite(b)]) if b.dtype.kind == "f" else b
    scale = max(float(finite.max(initial=0)) if b.dtype.kind == "f" else 0.0, 1e-3)
    np.testing.assert_allclose(a, b, rtol=0, atol=bound * scale, err_msg=what)


def compare(ours: Callable[..., Any], theirs: Callable[..., Any], sample: Any, bound: float, leaves: Any = ()) -> None:
    """Values, and gradients along random directions, of one sample; `leaves` are pairs of further tensors."""
    with np.errstate(all="ignore"):
        _compare(ours, theirs, sample, bound, leaves)


def _compare(ours: Callable[..., Any], theirs: Callable[..., Any], sample: Any, bound: float, leaves: Any) -> None:
    args, kwargs = (sample.input, *sample.args), sample.kwargs
    tensors = Tensors()
    found = flat(ours(*tensors(args), **tensors(kwargs)))
    expected = flat(theirs(*args, **kwargs))
    assert len(found) == len(expected), f"{len(found)} results, not {len(expected)}"
    total, loss, rng = None, None, np.random.default_rng(0)
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        near(a, b, bound, f"result {k}")
        if isinstance(b, torch.Tensor) and b.requires_grad:
            assert a.requires_grad, f"result {k} has no gradient"
            weight = rng.standard_normal(tuple(b.shape))
            total = (a * weight).sum() if total is None else total + (a * weight).sum()
            loss = (b * torch.tensor(weight)).sum() if loss is None else loss + (b * torch.tensor(weight)).sum()
    if total is None or loss is None:
        return
    pairs = [*zip(tensors.ours, tensors.theirs, strict=True), *leaves]
    pairs = [(a, b) for a, b in pairs if b.requires_grad]
    for _, b in pairs:
        b.grad = None
    total.backward()
    gradients = torch.autograd.grad(loss, [b for _, b in pairs], allow_unused=True)
    for k, ((a, b), g) in enumerate(zip(pairs, gradients, strict=True)):
        gradient = np.zeros(a.shape) if a.grad is None else a.grad
        near(gradient, torch.zeros_like(b) if g is None else g, bound, f"gradient {k}")
        a.grad = None
