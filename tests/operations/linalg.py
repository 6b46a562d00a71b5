"""Linear algebra on matrices and stacks of them: NumPy has it in float32 and float64."""

from __future__ import annotations

import numpy as np

from minigrad.rules.linalg import cofactors

from .cases import case, real, regular

STACKS = [(2, 2), (3, 3), (1, 1), (2, 3, 3), (2, 1, 2, 2), (0, 2, 2)]


def definite(a: object) -> object:
    """A symmetric, positive definite matrix of any one."""
    return a @ np.swapaxes(a, -1, -2) + np.eye(a.shape[-1])


def gram(a, upper=False):
    """The factor of a matrix that stays symmetric when `a` varies."""
    symmetric = a @ np.swapaxes(a, -1, -2)
    return np.linalg.cholesky(symmetric, upper=True) if upper else np.linalg.cholesky(symmetric)


for shape in STACKS:
    case("inv", np.linalg.inv, regular(*shape), half=False)
    case("det", np.linalg.det, regular(*shape), half=False)
    case("slogdet", lambda a: np.linalg.slogdet(a)[1], regular(*shape), half=False)
    case("cholesky", gram, regular(*shape), half=False)
case("slogdet", lambda a: np.linalg.slogdet(a).logabsdet, regular(2, 2), half=False)
case("slogdet", lambda a: np.linalg.slogdet(-a), regular(3, 3), half=False)
case("slogdet", lambda a: np.linalg.slogdet(a)[0], regular(2, 2), half=False, second=False)
case("det", lambda a: np.linalg.det(-a), regular(3, 3), half=False)
for shape in ((1, 1), (3, 3), (2, 4, 4)):
    case("cofactors", cofactors, regular(*shape), half=False)
case("cholesky", lambda a: gram(a, upper=True), regular(3, 3), half=False)
for a, b in [
    ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 4)), ((2, 3, 3), (3,)), ((3, 3), (2, 3, 4)),
    ((2, 3, 3), (3, 4)), ((3, 3, 3), (3, 3)), ((2, 2), (2, 0)), ((0, 2, 2), (0, 2, 1)),
]:  # fmt: skip
    case("solve", np.linalg.solve, regular(*a), real(*b), half=False)

# ---- norms -------------------------------------------------------------------------------------------------------

norm = np.linalg.norm
case("norm", norm, real(4))
case("norm", norm, real(2, 3, 4))
case("norm", norm, real(2, 3), keepdims=True)
case("norm", norm, real())
for order in (None, 1, 2, 3, 1.5, 0.5, -1, -2, np.inf, -np.inf):
    case("norm", norm, real(5), ord=order)
    case("norm", norm, real(2, 5), ord=order, axis=-1)
    case("norm", norm, real(2, 5), ord=order, axis=0, keepdims=True)
case("norm", norm, real(2, 5), ord=0, axis=1)
for order in (None, "fro", 1, -1, np.inf, -np.inf):
    case("norm", norm, real(3, 4), ord=order)
    case("norm", norm, real(2, 3, 4), ord=order, axis=(-1, 0))
    case("norm", norm, real(2, 3, 4), ord=order, axis=(1, 2), keepdims=True)
case("norm", norm, real(0, 3), axis=1)
