"""Gradient checks: derivatives against finite differences, in float64.

A check follows a random direction u without tiny entries: it compares the directional derivative ⟨∇f, u⟩ with the
central difference (f(x + εu) − f(x − εu)) / 2ε. One direction reveals an error in any element; then single elements
are tried to locate it. The two one-sided slopes tell a kink (|x| at 0, a tie of max) from a wrong rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import backend
from .backward import key_of, walk
from .modes import enable_grad, no_grad
from .tensors import Tensor
from .transforms import vjp
from .trees import flatten


class GradcheckError(AssertionError):
    """A gradient disagrees with finite differences, or the function has a kink at this point."""


def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    directions: int = 2,
    seed: int = 0,
) -> bool:
    """Check the gradients of f by all float inputs that require grad against finite differences.

    f           a function of tensors that returns a tensor or a nested structure of tensors
    inputs      its arguments: a tensor or a tuple (which may be nested), float64
    eps         the step size; differences are accurate to about eps² + 1e-16 / eps
    directions  the number of random directions
    seed        the seed of these directions

    Returns True, or raises `GradcheckError`, which names the input, the index and both numbers. Raises ValueError if
    an input is not float64, or none requires grad.
    """
    args = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    leaves, rebuild = flatten(args)
    checked = [k for k, v in enumerate(leaves) if isinstance(v, Tensor) and v.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires grad")
    for k in checked:
        if leaves[k].dtype != np.float64:
            raise ValueError(f"gradcheck: input {k} is {leaves[k].dtype}; differences need float64")
    rng = np.random.default_rng(seed)

    def outputs_at(arrays: list[Any]) -> list[Any]:
        values = list(leaves)
        for k, array in zip(checked, arrays, strict=True):
            values[k] = Tensor(array)
        with no_grad():
            found = flatten(f(*rebuild(values)))[0]
        return [backend.to_numpy(o.data) for o in found if isinstance(o, Tensor)]

    points = [leaves[k].data for k in checked]
    with enable_grad():
        results = [o for o in flatten(f(*args))[0] if isinstance(o, Tensor)]
    if not any(o.requires_grad for o in results):
        raise GradcheckError("gradcheck: no output depends on an input that requires grad")
    for _ in range(directions):
        # a random combination of the outputs makes one number of them all
        weights = [_direction(rng, o.shape) for o in results]
        gradients = _gradients(results, weights, [leaves[k] for k in checked])

        def total(arrays: list[Any], weights: list[Any] = weights) -> float:
            return sum(
                float(np.sum(o.astype(np.float64) * w)) for o, w in zip(outputs_at(arrays), weights, strict=True)
            )

        for j, k in enumerate(checked):
            u = _direction(rng, points[j].shape)
            _check_along(total, points, j, k, u, gradients[j], eps, rtol, atol)
    return True


def _direction(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Random signs times magnitudes in [0.5, 1.5], so no entry is tiny."""
    return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)


def _gradients(results: Sequence[Tensor], weights: Sequence[Any], inputs: Sequence[Tensor]) -> list[Any]:
    roots = [(o.edge or o, seed_of(o, w)) for o, w in zip(results, weights, strict=True) if o.requires_grad]
    keys = [key_of(x.edge or x) for x in inputs]
    found = walk(roots, retain_graph=True, wanted=set(keys))
    gradients = []
    for key, x in zip(keys, inputs, strict=True):
        g = found.get(key)
        g = np.zeros(x.shape) if g is None else backend.to_numpy(g if backend.is_array(g) else g.dense())
        gradients.append(g)
    return gradients


def seed_of(output: Tensor, weight: Any) -> Any:
    """The weight as an array of the output's dtype and device."""
    return backend.from_numpy(np.asarray(weight, output.dtype), output.device)


def _check_along(
    total: Callable[[list[Any]], float], points: list[Any], j: int, number: int, u: Any, gradient: Any,
    eps: float, rtol: float, atol: float,
) -> None:  # fmt: skip
    x = points[j]

    def at(step: float, direction: Any) -> float:
        moved = x + backend.from_numpy(np.asarray(step * direction), backend.device_of(x))
        if isinstance(moved, np.generic):
            moved = np.asarray(moved)
        return total([*points[:j], moved, *points[j + 1 :]])

    def slopes(direction: Any, step: float) -> tuple[float, float, float, float]:
        """Forward, backward and central differences, and their rounding error."""
        before, here, after = at(-step, direction), at(0.0, direction), at(step, direction)
        noise = 1e-15 * max(abs(before), abs(here), abs(after), 1.0) * max(direction.size, 1) ** 0.5 / step
        return (after - here) / step, (here - before) / step, (after - before) / (2 * step), noise

    def differs(derivative: float, direction: Any) -> tuple[str, float] | None:
        forward, backward, central, noise = slopes(direction, eps)
        scale = np.sum(np.abs(gradient * direction)) if direction.size else 0.0
        allowed = atol + rtol * max(abs(central), abs(derivative), float(scale)) + 4 * noise
        bend = abs(forward - backward)
        if not np.isfinite(central):
            return "not finite", central
        if bend > 1e-3 * max(abs(forward), abs(backward), 1e-3) + 1e3 * allowed / max(1.0, rtol * 1e5) + 100 * noise:
            forward, backward, *_ = slopes(direction, eps / 4)
            if abs(forward - backward) > bend / 2:  # mere curvature would bend less over a smaller step
                return "kink", bend
        return ("wrong", central) if abs(central - derivative) > allowed else None

    problem = differs(float(np.sum(gradient * u)), u)
    if problem is None:
        return
    for index in np.ndindex(*x.shape):  # find the element
        one = np.zeros(x.shape)
        one[index] = 1.0
        single = differs(float(gradient[index]), one)
        if single is None:
            continue
        kind, value = single
        place = f"input {number}, index {index if index else '()'}, value {float(x[index])!r}"
        if kind == "kink":
            raise GradcheckError(
                f"gradcheck: {place}: the function has a kink here (its slopes to both sides differ by {value:.3g}), "
                "so it has no derivative to check; move the input away from it"
            )
        raise GradcheckError(
            f"gradcheck: {place}: the gradient is {float(gradient[index])!r}, differences give {value!r}"
        )
    kind, value = problem
    raise GradcheckError(
        f"gradcheck: input {number}: along a random direction the gradient gives {float(np.sum(gradient * u))!r}, "
        f"differences give {value!r}" + (" (a kink)" if kind == "kink" else "")
    )


def gradgradcheck(f: Callable[..., Any], inputs: Any, **options: Any) -> bool:
    """`gradcheck` for second derivatives: checks the gradients of f's gradients, by the inputs and by the vector v of
    vᵀ J. Options and errors as in `gradcheck`."""
    args = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    leaves, rebuild = flatten(args)
    checked = [k for k, v in enumerate(leaves) if isinstance(v, Tensor) and v.requires_grad]
    if not checked:
        raise ValueError("gradgradcheck: no input requires grad")
    with no_grad():
        outputs = [o for o in flatten(f(*args))[0] if isinstance(o, Tensor) and o.dtype.kind == "f"]
    rng = np.random.default_rng(options.get("seed", 0) + 1)
    vectors = [Tensor(seed_of(o, _direction(rng, o.shape)), requires_grad=True) for o in outputs]

    def gradient(*arguments: Any) -> Any:
        inner, vs = arguments[: len(checked)], arguments[len(checked) :]

        def of_checked(*xs: Any) -> list[Any]:
            values = list(leaves)
            for k, x in zip(checked, xs, strict=True):
                values[k] = x
            return [o for o in flatten(f(*rebuild(values)))[0] if isinstance(o, Tensor) and o.dtype.kind == "f"]

        return list(vjp(of_checked, *inner)[1](list(vs)))

    return gradcheck(gradient, (*[leaves[k] for k in checked], *vectors), **options)


__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]
