"""NumPy's two protocols: from a NumPy function to its primitive.

    UFUNCS     np.tanh, np.add, ...         -> primitive
    FUNCTIONS  np.sum, np.concatenate, ...  -> primitive, or a function composed of them
    QUERIES    np.shape, np.argmax, ...: functions without a gradient; they return plain values
    REFUSED    np.fft.fft, np.copyto, ...   -> the reason why there is no rule, and an alternative

Other functions run on the arrays if no operand requires grad, and raise otherwise.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from . import backend
from .modes import current_mode
from .primitives import explained
from .scopes import here
from .tensors import Tensor

UFUNCS: dict[Any, Any] = {}
FUNCTIONS: dict[Any, Callable[..., Any]] = {}
QUERIES: set[Any] = {
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.min_scalar_type, np.common_type,
    np.zeros_like, np.ones_like, np.empty_like, np.full_like,
    np.argmax, np.argmin, np.nanargmax, np.nanargmin, np.argsort, np.argpartition, np.argwhere, np.nonzero,
    np.flatnonzero, np.count_nonzero, np.searchsorted, np.digitize, np.lexsort,
    np.any, np.all, np.allclose, np.isclose, np.array_equal, np.array_equiv, np.isin, np.iscomplexobj, np.isrealobj,
    np.isneginf, np.isposinf, np.shares_memory, np.may_share_memory, np.array_repr, np.array_str, np.array2string,
    np.linalg.matrix_rank, np.iscomplex, np.isreal, np.einsum_path, np.ix_,
    np.diag_indices_from, np.tril_indices_from, np.triu_indices_from, np.unravel_index, np.ravel_multi_index,
    np.format_float_positional, np.format_float_scientific, np.save, np.savez, np.savez_compressed, np.savetxt,
    np.bitwise_count, np.packbits, np.unpackbits,
}  # fmt: skip
VALUED: set[Any] = {np.full_like}  # of these, all but the first argument has a gradient
PLAIN_UFUNCS: set[Any] = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.logical_and, np.logical_or, np.logical_xor, np.logical_not,
    np.isnan, np.isinf, np.isfinite, np.signbit,
}  # fmt: skip
REDUCTIONS: dict[Any, Any] = {
    np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min,
    np.logical_and: np.all, np.logical_or: np.any,
}  # fmt: skip
ACCUMULATIONS: dict[Any, Any] = {np.add: np.cumsum, np.multiply: np.cumprod}
METHODS: dict[str, Callable[..., Any]] = {}  # of any ufunc of two operands: reduce, accumulate, reduceat
REFUSED: dict[Any, str] = {}
_USUAL: dict[str, Any] = {"where": True, "casting": "same_kind", "order": "K", "dtype": None, "subok": True}
_USUAL |= {"keepdims": False, "initial": np._NoValue}  # type: ignore[attr-defined]  # of methods


def unwrapped(value: Any) -> Any:
    """Nested tuples, lists and dicts, with each Tensor replaced by its array."""
    if isinstance(value, Tensor):
        return value.data
    if isinstance(value, tuple | list):
        return type(value)([unwrapped(v) for v in value]) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {key: unwrapped(v) for key, v in value.items()}
    return value


def _requires_grad(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.requires_grad)
    if isinstance(value, tuple | list):
        return any(_requires_grad(v) for v in value)
    if isinstance(value, dict):
        return any(_requires_grad(v) for v in value.values())
    return False


def _wrapped(value: Any) -> Any:
    """Floating arrays as Tensors; indices, masks and numbers unchanged."""
    if isinstance(value, tuple | list):
        return type(value)([_wrapped(v) for v in value]) if type(value) in (tuple, list) else value
    return Tensor._of(value) if backend.is_array(value) and value.dtype.kind == "f" else value


def plainly(name: str, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a NumPy function on the arrays of Tensors; errors name the function, and devices that differ."""
    args, kwargs = unwrapped(args), unwrapped(kwargs)
    try:
        answer = call(*args, **kwargs)
    except Exception as error:
        raise explained(error, name, args) from error
    for observer in current_mode().observers:
        observer.asked(name, (*args, kwargs) if kwargs else tuple(args), answer)
    return answer


def _without_rule(name: str, call: Callable[..., Any], args: Any, kwargs: Any, function: Any = None) -> Any:
    """Run a function without a rule on the arrays; raise if that would lose a gradient."""
    if current_mode().grad and (_requires_grad(args) or _requires_grad(kwargs)):
        if (reason := REFUSED.get(function)) is not None:
            raise TypeError(f"{name} {reason}, or pass x.detach() if no gradient should flow{here()}")
        raise TypeError(
            f"{name} has no rule for its gradient, and an input requires grad{here()}. Compose it of functions "
            "that have one, add a rule with @mg.primitive, or pass x.detach() if no gradient should flow"
        )
    return _wrapped(plainly(name, call, args, kwargs))


def _refuse_out(name: str, out: Any, inputs: Any) -> None:
    if any(isinstance(o, Tensor) for o in (out if isinstance(out, tuple) else (out,))):
        raise TypeError(f"{name}: out= cannot be a Tensor, whose values may be needed for a gradient; use the result")
    if current_mode().grad and _requires_grad(inputs):
        raise TypeError(
            f"{name}: writing the result into a plain array (out=, or `array += tensor`) would lose the gradient "
            "of an input that requires grad; write `array = array + tensor`"
        )


def other_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A ufunc call other than a plain call of a primitive: a comparison, reduction, keywords, an unknown ufunc."""
    name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if kwargs.get("out") is not None:
        _refuse_out(name, kwargs["out"], inputs)
        return getattr(ufunc, method)(*unwrapped(inputs), **unwrapped(kwargs))
    given = {k: v for k, v in kwargs.items() if k not in _USUAL or v is not _USUAL[k]}
    if method in METHODS and "dtype" in given and isinstance(inputs[0], Tensor):
        inputs = (inputs[0].astype(given.pop("dtype")), *inputs[1:])
    if method == "__call__":
        if ufunc in PLAIN_UFUNCS:
            return plainly(name, ufunc, inputs, kwargs)
        if ufunc in FUNCTIONS:
            return _called(name, ufunc, inputs, kwargs)
        if ufunc in UFUNCS and not given:
            return UFUNCS[ufunc].apply(*inputs)
        if ufunc in UFUNCS and set(given) == {"dtype"} and np.dtype(given["dtype"]).kind == "f":
            cast = [x.astype(given["dtype"]) if isinstance(x, Tensor) else x for x in inputs]
            return UFUNCS[ufunc].apply(*cast)
        if ufunc in UFUNCS and given:
            name += f" with {', '.join(given)}="
    elif method == "reduce" and ufunc in REDUCTIONS:
        return REDUCTIONS[ufunc](*inputs, **{"axis": 0} | given)
    elif method == "accumulate" and ufunc in ACCUMULATIONS:
        return ACCUMULATIONS[ufunc](*inputs, **{"axis": 0} | given)
    elif method == "outer" and ufunc in UFUNCS and not given:
        a, b = inputs
        return UFUNCS[ufunc].apply(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
    elif method in METHODS and ufunc in UFUNCS and ufunc.nin == 2 and ufunc.signature is None:
        unknown = _unknown_arguments(METHODS[method], (ufunc, *inputs), given)
        if not unknown:
            return METHODS[method](ufunc, *inputs, **given)
        name += unknown
    elif method == "at":
        raise TypeError(f"{name} writes in place; add np.zeros_like and an indexed gradient, or use mg.embedding")
    return _without_rule(name, getattr(ufunc, method), inputs, kwargs, ufunc)


def _unknown_arguments(function: Callable[..., Any], args: Any, kwargs: Any) -> str:
    """The arguments that a function in the table does not support, such as the `where=` of a norm, or the missing ones;
    empty if the call is valid."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        others = ", ".join([f"{k}=" for k in kwargs if k not in signature.parameters])
        text, _, missing = str(error).partition(": ")
        return f" with {others}" if others else f" without {missing}" if "missing" in text else f" with {text}"
    return ""


def _spelled_out(function: Any, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call with its arguments under NumPy's names, without those equal to the defaults."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):  # an invalid call, or a function without a signature
        return args, kwargs
    first: list[Any] = []
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            first += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= value
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            first.append(value)
        elif value is not parameter.default and not (isinstance(value, str) and value == parameter.default):
            named[name] = value
    return tuple(first), {k: v for k, v in named.items() if not (k == "where" and v is True)}


def _called(name: str, function: Any, args: Any, kwargs: Any) -> Any:
    """Call the table's entry for a NumPy function; raise for unsupported arguments, by name."""
    known = FUNCTIONS[function]
    args, kwargs = current_mode().intake.operands(args, kwargs, kinds="f")  # a composed function may copy them
    try:
        return known(*args, **kwargs)
    except TypeError:
        if not _unknown_arguments(known, args, kwargs):
            raise
    args, kwargs = _spelled_out(function, args, kwargs)
    if kwargs.get("out") is not None:
        _refuse_out(name, kwargs["out"], args)
    unknown = _unknown_arguments(known, args, kwargs)
    return _without_rule(name + unknown, function, args, kwargs) if unknown else known(*args, **kwargs)


def numpy_function(function: Any, args: Any, kwargs: Any) -> Any:
    """A NumPy function that is not a ufunc."""
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    if kwargs.get("out") is not None:
        _refuse_out(name, kwargs["out"], args)
        return function(*unwrapped(args), **unwrapped(kwargs))
    if function in QUERIES and not (function in VALUED and _requires_grad((args[1:], kwargs))):
        return plainly(name, function, args, kwargs)
    if function in FUNCTIONS:
        return _called(name, function, args, kwargs)
    return _without_rule(name, function, args, kwargs, function)


# ---- Tensor's two protocols --------------------------------------------------------------------------------------


def _array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if method == "__call__" and not kwargs:
        primitive = UFUNCS.get(ufunc)
        if primitive is not None:
            return primitive.apply(*inputs)
    return other_ufunc(ufunc, method, inputs, kwargs)


def _array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return numpy_function(function, args, kwargs)


Tensor.__array_ufunc__ = _array_ufunc  # type: ignore[method-assign]
Tensor.__array_function__ = _array_function  # type: ignore[method-assign]
