"""The notation of rules: three ways to enter an operation in the table.

elementwise(np.tanh, lambda g, y: g * (1 - y * y))     one or two operands, each with its formula
@operation(np.sum, a=lambda g, a_shape, axis: ...)     any forward on arrays; a formula for each operand by name
@composed(np.diff)                                     written in terms of others, so it needs no formula

`PRIMITIVES` lists the first two kinds by name, `COMPOSED` the third; `docs/vocabulary.md` is generated from them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .dispatch import FUNCTIONS, UFUNCS
from .modes import current_mode
from .primitives import Elementwise, Formula, Primitive
from .tensors import Tensor

F = TypeVar("F", bound=Callable[..., Any])

PRIMITIVES: dict[str, Primitive] = {}
COMPOSED: dict[str, Callable[..., Any]] = {}
NUMPY_NAMES: dict[str, list[str]] = {}  # by primitive or composed function: NumPy's functions dispatched to it


def _register(name: str, entry: Any, functions: tuple[Any, ...], entries: dict[str, Any]) -> None:
    entries[name] = entry
    for function in functions:
        table = UFUNCS if isinstance(function, np.ufunc) and isinstance(entry, Elementwise) else FUNCTIONS
        table[function] = entry
        path = getattr(function, "__module__", None) or "numpy"
        NUMPY_NAMES.setdefault(name, []).append(f"{path.replace('numpy', 'np', 1)}.{function.__name__}")


def elementwise(
    forward: Any, *formulas: Formula, name: str | None = None, ufunc: np.ufunc | None = None
) -> Elementwise:
    """An element-wise operation: a ufunc, or a function of our own, and a formula for each of its operands.

    Formulas name the operands `x`, or `a` and `b`. `ufunc` is NumPy's counterpart of a function of our own.
    """
    primitive = Elementwise(name or forward.__name__, forward, *formulas)
    numpys = forward if isinstance(forward, np.ufunc) else ufunc
    _register(primitive.name, primitive, () if numpys is None else (numpys,), PRIMITIVES)
    return primitive


def operation(
    *functions: Any,
    name: str | None = None,
    joint: str | None = None,
    constants: tuple[str, ...] = (),
    sparse: bool = False,
    **formulas: Formula,
) -> Callable[[Callable[..., Any]], Primitive]:
    """Decorate a forward on arrays with the formulas of its operands; `functions` are its NumPy counterparts."""

    def decorate(forward: Callable[..., Any]) -> Primitive:
        title = name or forward.__name__.strip("_")
        primitive = Primitive(title, forward, formulas, joint=joint, constants=constants, sparse=sparse)
        _register(title, primitive, functions, PRIMITIVES)
        return primitive

    return decorate


def composed(*functions: Any) -> Callable[[F], F]:
    """Decorate a function written in terms of recorded ones; `functions` are its NumPy counterparts."""

    def decorate(function: F) -> F:
        _register(function.__name__.strip("_"), function, functions, COMPOSED)
        return function

    return decorate


def first_order(recorded: Callable[..., Any]) -> Callable[[F], F]:
    """Decorate a formula, or a part of one, for arrays, as in a first-order gradient. For Tensors (`create_graph`),
    `recorded` computes the same by recorded operations, so that the result can be differentiated.

    Most formulas need no such pair, because NumPy's functions serve both. Rules distinguish the two nowhere else.
    """

    def decorate(of_arrays: F) -> F:
        @functools.wraps(of_arrays)
        def formula(*operands: Any) -> Any:
            for operand in operands:
                if isinstance(operand, Tensor):
                    return recorded(*operands)
            return of_arrays(*operands)

        return formula  # type: ignore[return-value]

    return decorate


def will_be_recorded(*operands: Any) -> bool:
    """True if an operation on these is recorded here."""
    return current_mode().grad and any(isinstance(t, Tensor) and t.requires_grad for t in operands)


def primitive(
    forward: Callable[..., Any] | None = None, *, numpy: Any = None, joint: str | None = None, fresh: bool = False,
    **formulas: Formula,
) -> Any:  # fmt: skip
    """Make an operation of your own differentiable, from its forward on arrays and a formula for each operand.

    forward   the function, on arrays
    numpy     one or several NumPy functions that are dispatched here when called with a Tensor
    joint     the name of a parameter that takes a tuple of operands; its formula gives a gradient for each
    fresh     True if the formulas return new arrays, which nothing else refers to: then backward need not copy them
    formulas  by the operand's name. A formula's first parameter is `g`, the gradient of the output; the names of its
              other parameters say what to keep: `y` the output, any parameter of the forward, `x_shape` its shape

    >>> import numpy as np, minigrad as mg
    >>> @mg.primitive(x=lambda g, x, limit: g * np.where(np.abs(x) < limit, 1.0, 0.0))
    ... def hard_clip(x, limit=1.0):
    ...     return np.minimum(np.maximum(x, -limit), limit)
    >>> t = mg.tensor([-2.0, 0.5], requires_grad=True)
    >>> hard_clip(t).sum().backward()
    >>> t.grad
    tensor([0., 1.])

    A rule for a NumPy function that has none:

    >>> spacing = mg.primitive(np.spacing, numpy=np.spacing, x=lambda g: np.zeros_like(g))
    >>> np.spacing(t).requires_grad
    True

    Formulas written with NumPy's functions and operators can be differentiated again. `mg.gradcheck` checks them.
    Raises TypeError if a formula names something that is neither `g`, `y` nor a parameter.
    """
    if forward is None:
        return functools.partial(primitive, numpy=numpy, joint=joint, fresh=fresh, **formulas)
    functions = () if numpy is None else tuple(numpy) if isinstance(numpy, tuple | list) else (numpy,)
    if not formulas:
        raise TypeError("primitive: give a formula for at least one operand, as in mg.primitive(x=lambda g, x: ...)")
    if isinstance(forward, np.ufunc):
        names = ("x",) if forward.nin == 1 else ("a", "b")
        if set(formulas) != set(names):
            raise TypeError(f"primitive: {forward.__name__} needs formulas for {names}, got {tuple(formulas)}")
        made: Primitive = Elementwise(forward.__name__, forward, *[formulas[n] for n in names])
    else:
        made = Primitive(forward.__name__.strip("_"), forward, formulas, joint=joint)
    for pull in made.pulls:
        pull.fresh = fresh
    for function in functions:
        if isinstance(function, np.ufunc) and not isinstance(made, Elementwise):
            raise TypeError(f"primitive: pass {function.__name__} itself as the forward, to stand for it")
        (UFUNCS if isinstance(function, np.ufunc) else FUNCTIONS)[function] = made
    return made
