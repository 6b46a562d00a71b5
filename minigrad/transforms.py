"""Function transforms: gradients, Jacobians, Hessians and their products. They compose: `grad(grad(f))`.

Arguments may be nested dicts, lists and tuples of tensors; derivatives have the structure of the argument. No
transform touches `.grad`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import backend
from .backward import key_of, nodes_below, parents_of, walk
from .creation import tensor
from .leaves import seed
from .modes import current_mode, enable_grad
from .rules.copying import copy
from .tensors import Tensor
from .trees import flatten


def _variable(x: Any, operation: str) -> Tensor:
    """A tensor to differentiate by: on the tape of an enclosing transform, else a fresh leaf."""
    if not isinstance(x, Tensor):
        x = tensor(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{operation}: cannot differentiate by a tensor of dtype {x.dtype}; only floating ones vary")
    if x.requires_grad:
        twin: Tensor = copy(x)
        return twin
    return Tensor(x.data, requires_grad=True)


def _run(f: Callable[..., Any], args: tuple[Any, ...], by: tuple[int, ...], operation: str) -> Any:
    """f(*args), the variables in place of the arguments `by`, and a function that restores the arguments' structure."""
    args_list = list(args)
    variables: list[Tensor] = []
    rebuilds = []
    for k in by:
        if not -len(args) <= k < len(args):
            raise IndexError(f"{operation}: argnums={k}, but the function was called with {len(args)} arguments")
        leaves, rebuild = flatten(args[k])
        mine = [_variable(leaf, operation) for leaf in leaves]
        args_list[k] = rebuild(list(mine))
        rebuilds.append((rebuild, len(mine)))
        variables += mine

    def structured(leaves: list[Any]) -> list[Any]:
        parts, start = [], 0
        for rebuild, size in rebuilds:
            parts.append(rebuild(leaves[start : start + size]))
            start += size
        return parts

    return f(*args_list), variables, structured


def _tensors(output: Any, operation: str) -> tuple[list[Tensor], Callable[[list[Any]], Any]]:
    """The leaves of a result, all of them Tensors of floats, and a function that restores their structure."""
    outputs, rebuild = flatten(output)
    for o in outputs:
        if not isinstance(o, Tensor) or o.dtype.kind != "f":
            what = f"{type(o).__name__} of {o.dtype}" if hasattr(o, "dtype") else type(o).__name__
            raise TypeError(
                f"{operation}: the function must return tensors of floats, it returned a {what}; comparisons and "
                "NumPy's functions of plain arrays give plain values, which have no derivative"
            )
    return outputs, rebuild


def _pull(
    output: Tensor, gradient: Any, variables: list[Tensor], *, create_graph: bool, retain_graph: bool = True
) -> list[Tensor]:
    """The gradient of `output` by each variable; zeros for a variable it does not depend on."""
    if not output.requires_grad:
        return [Tensor._of(np.zeros_like(v.data)) for v in variables]
    start = seed(output, gradient, "grad")
    if create_graph:
        start = start if isinstance(start, Tensor) else Tensor._of(start)
    elif isinstance(start, Tensor):
        start = start.data
    keys = [key_of(v.edge or v) for v in variables]
    found = walk(
        [(output.edge or output, start)], retain_graph=retain_graph, create_graph=create_graph, wanted=set(keys)
    )
    result = []
    for key, variable in zip(keys, variables, strict=True):
        g = found.get(key)
        if g is None:
            g = np.zeros_like(variable.data)
        result.append(g if isinstance(g, Tensor) else Tensor._of(g if backend.is_array(g) else g.dense()))
    return result


def _reaches_others(output: Tensor, variables: list[Tensor]) -> bool:
    """True if the result also depends on other tensors that require grad; then its derivative does, too."""
    if any(not v.is_leaf for v in variables):
        return True
    own = set(variables)
    if output.edge is None:
        return False
    return any(
        isinstance(parent, Tensor) and parent not in own
        for node in nodes_below([output.edge])
        for parent in parents_of(node)
    )


def _scalar(output: Any, operation: str) -> Tensor:
    if not isinstance(output, Tensor) or output.size != 1:
        what = f"shape {output.shape}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise TypeError(f"{operation}: the function must return a scalar tensor, it returned {what}")
    _tensors(output, operation)
    return output


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Any, Any]]:
    """A function that returns f's value and its gradient by the arguments `argnums` (see `grad`)."""
    by = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f)
    def both(*args: Any) -> tuple[Any, Any]:
        outer = current_mode().grad
        with enable_grad():
            output, variables, structured = _run(f, args, by, "grad")
            create = outer and _reaches_others(_scalar(output, "grad"), variables)
            gradients = structured(_pull(output, None, variables, create_graph=create, retain_graph=create))
        value = output if create else output.detach()
        return value, gradients[0] if isinstance(argnums, int) else tuple(gradients)

    return both


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The gradient of a scalar function, as a function of the same arguments.

    argnums  by which argument; for several, the result is a tuple

    >>> import minigrad as mg
    >>> mg.grad(mg.grad(lambda x: x**3))(mg.tensor(2.0))
    tensor(12.)

    Raises TypeError if f does not return a scalar tensor.
    """
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def gradient(*args: Any) -> Any:
        return both(*args)[1]

    return gradient


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., tuple[Any, ...]]]:
    """f(*primals), and a function that maps v, of the output's structure, to vᵀ J for each argument."""
    with enable_grad():
        output, variables, structured = _run(f, primals, tuple(range(len(primals))), "vjp")
    outputs, rebuild = _tensors(output, "vjp")
    create = any(_reaches_others(o, variables) for o in outputs)

    def pull(v: Any) -> tuple[Any, ...]:
        vs, _ = flatten(v)
        if len(vs) != len(outputs):
            raise ValueError(f"vjp: the function has {len(outputs)} outputs, {len(vs)} vectors were given")
        recorded = current_mode().grad and (create or any(isinstance(w, Tensor) and w.requires_grad for w in vs))
        with enable_grad():
            total: list[Tensor] | None = None
            for o, w in zip(outputs, vs, strict=True):
                part = _pull(o, w, variables, create_graph=recorded)
                total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
        return tuple(structured(total or []))

    return rebuild([o if create else o.detach() for o in outputs]), pull


def _beside(values: Any, like: Tensor) -> Tensor:
    """An array or numbers as a Tensor on the device of `like`."""
    if not backend.is_array(values):
        values = backend.from_numpy(np.asarray(values, like.dtype), like.device)
    return Tensor(values)


def _as_tuple(primals: Any) -> tuple[Any, ...]:
    return primals if isinstance(primals, tuple) else tuple(primals) if isinstance(primals, list) else (primals,)


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """f(*primals), and J v for tangents v of the same structure: the derivative along a direction.

    Uses two reverse passes: vᵀJ is linear in v, and its derivative by v along the tangents is J v.
    """
    primals, tangents = _as_tuple(primals), _as_tuple(tangents)
    directions, _ = flatten(tangents)
    points, _ = flatten(primals)
    if len(directions) != len(points) or any(
        np.shape(d) != np.shape(p) for d, p in zip(directions, points, strict=True)
    ):
        raise ValueError(
            f"jvp: tangents of shapes {[np.shape(d) for d in directions]} for arguments of shapes "
            f"{[np.shape(p) for p in points]}"
        )
    outer = current_mode().grad
    with enable_grad():
        output, variables, _ = _run(f, primals, tuple(range(len(primals))), "jvp")
        outputs, rebuild = _tensors(output, "jvp")
        along = []
        for o in outputs:
            v = Tensor(np.zeros_like(o.data), requires_grad=True)
            pulled = _pull(o, v, variables, create_graph=True)
            inner = [
                np.sum(p * (d if isinstance(d, Tensor) else _beside(d, p)))
                for p, d in zip(pulled, directions, strict=True)
                if p.requires_grad
            ]
            if not inner:
                along.append(Tensor._of(np.zeros_like(o.data)))
                continue
            total: Any = functools.reduce(lambda a, b: a + b, inner)
            create = outer and (
                _reaches_others(o, variables) or any(isinstance(d, Tensor) and d.requires_grad for d in directions)
            )
            along.append(_pull(total, None, [v], create_graph=create)[0])
    keep = outer and any(_reaches_others(o, variables) for o in outputs)
    return rebuild([o if keep else o.detach() for o in outputs]), rebuild(along)


def jacobian(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The matrix of all derivatives of f's output by an argument: shape (*output.shape, *argument.shape).

    It takes one reverse pass for each element of the output. For a nested argument, the result has its structure.
    """
    by = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f)
    def matrix(*args: Any) -> Any:
        outer = current_mode().grad
        with enable_grad():
            output, variables, structured = _run(f, args, by, "jacobian")
            if not isinstance(output, Tensor):
                raise TypeError(f"jacobian: the function must return a tensor, it returned a {type(output).__name__}")
            _tensors(output, "jacobian")
            create = outer and _reaches_others(output, variables)
            rows: list[list[Tensor]] = []
            for k in range(output.size):
                one = np.zeros_like(output.data).reshape(-1)
                one[k] = 1
                rows.append(_pull(output, one.reshape(output.shape), variables, create_graph=create))
            whole: list[Any] = []
            for j, variable in enumerate(variables):
                shape = (*output.shape, *variable.shape)
                column: Any = [row[j] for row in rows]
                if not column:
                    whole.append(Tensor._of(np.zeros_like(variable.data, shape=shape)))
                else:
                    whole.append(np.reshape(np.stack(column), shape))
        parts = structured(whole)
        return parts[0] if isinstance(argnums, int) else tuple(parts)

    return matrix


def hessian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function by a tensor: shape (*x.shape, *x.shape)."""
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """The Hessian of a scalar function times a vector, without the Hessian: the gradient of ⟨∇f, v⟩.

    primals, tangents  the arguments and the vector, of one structure: a tensor, or a tuple with one entry an argument
    """
    args, directions = _as_tuple(primals), flatten(_as_tuple(tangents))[0]
    by = tuple(range(len(args)))

    def slope(*inner: Any) -> Any:
        gradients = flatten(grad(f, by)(*inner))[0]
        if [np.shape(d) for d in directions] != [g.shape for g in gradients]:
            raise ValueError(
                f"hvp: the vector has shapes {[np.shape(d) for d in directions]}, the arguments "
                f"{[g.shape for g in gradients]}"
            )
        return functools.reduce(lambda a, b: a + b, [np.sum(g * d) for g, d in zip(gradients, directions, strict=True)])

    product = grad(slope, by)(*args)
    return product if isinstance(primals, tuple | list) else product[0]


__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]
