"""Primitives: operations on arrays, with the formulas of their gradients.

A formula is a function whose *parameter names* state the values that it needs and a node keeps:

    g          the gradient of the output (for several outputs: a list of them, None where one was not used)
    y          the output
    x, a, ...  any parameter of the forward, by its name
    x_shape    the shape of such a parameter, without keeping its array

so `lambda g, y: g * (1 - y * y)` is the whole rule of tanh, and the input is not kept. Formulas are written with the
functions that users call: on arrays they give first-order gradients, and on Tensors (under `create_graph`) they are
recorded themselves, which gives all higher orders.

After a formula, the engine sums over broadcast axes and casts to the operand's dtype.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import backend
from .creation import as_array
from .hints import instead_of
from .modes import Mode, current_mode
from .origins import MOVES, keep_origin
from .scopes import here
from .tape import Node, Output, next_position
from .tensors import Tensor
from .where import INTERNAL

Array = Any
Formula = Callable[..., Any]

_new = object.__new__
_frame = sys._getframe
_ndarray = np.ndarray


def no_gradient(g: Any) -> None:
    """The formula of an operand that no gradient reaches: pictures draw a cut."""


class Pull:
    """The gradient of one operand: its formula, and the values to keep for it.

    fresh  True if every result is a new array or one of the formula's inputs, so that backward may add to a new one in
           place. A user's rule may return an array that the user still holds
    """

    __slots__ = ("formula", "fresh", "keep", "name", "names", "operand")

    def __init__(self, name: str, formula: Formula, parameters: list[str]) -> None:
        if name not in parameters:
            raise TypeError(f"there is a formula for {name!r}, but the operation's parameters are {parameters}")
        self.name = name
        self.operand = parameters.index(name)
        self.formula = formula
        self.fresh = True
        asked = list(inspect.signature(formula).parameters)
        if not asked or asked[0] != "g":
            raise TypeError(f"the first parameter of a gradient's formula must be g, got ({', '.join(asked)})")
        self.names = tuple(asked[1:])
        known = {"y": "y"} | {p: p for p in parameters} | {f"{p}_shape": f"_shape({p})" for p in parameters}
        if unknown := [n for n in self.names if n not in known]:
            raise TypeError(f"the formula for {name!r} asks for {unknown}; it may name {sorted(known)}")
        # a function that selects the named values from the output and the forward's arguments
        picked = "".join(known[n] + ", " for n in self.names)
        source = f"lambda y, {', '.join(parameters)}: ({picked})"
        self.keep: Callable[..., tuple[Any, ...]] = eval(source, {"_shape": np.shape})


class Primitive:
    """A differentiable operation on arrays. Call it with Tensors, arrays, or both.

    name       its name in messages, pictures and profiles
    forward    the function on arrays
    pulls      a formula for each operand that has a gradient, by the name of its parameter
    joint      the name of a parameter that takes a tuple of operands; its formula gives a gradient for each of them
    constants  parameters that may be Tensors but have no gradient because the result does not vary with them
    sparse     True if the formulas accept gradients in parts (`gradients.Products`)
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        pulls: dict[str, Formula],
        *,
        joint: str | None = None,
        constants: tuple[str, ...] = (),
        sparse: bool = False,
        parameters: tuple[str, ...] | None = None,
    ) -> None:
        self.name = name
        self.forward = forward
        self.joint = joint
        self.sparse = sparse
        self.__name__ = name
        self.__doc__ = forward.__doc__
        if parameters is None:
            signature = inspect.signature(forward)
            self.__signature__ = signature
            self.parameters = list(signature.parameters)
            defaults = {f"_{p}": v.default for p, v in signature.parameters.items()}
            declared = ", ".join(
                p if v.default is inspect.Parameter.empty else f"{p}=_{p}" for p, v in signature.parameters.items()
            )
            # one tuple of all arguments in the order of the parameters
            self.bind: Any = eval(f"lambda {declared}: ({''.join(p + ', ' for p in self.parameters)})", defaults)
        else:  # a ufunc: positional operands only
            self.parameters = list(parameters)
            self.bind = eval(f"lambda {', '.join(parameters)}: ({', '.join(parameters)},)")
        if joint and joint not in self.parameters:
            raise TypeError(f"joint={joint!r} is not one of the operation's parameters {self.parameters}")
        self.constants = {self.parameters.index(c) for c in constants}
        self.pulls = [Pull(operand, formula, self.parameters) for operand, formula in pulls.items()]
        self._pull_of = {pull.operand: pull for pull in self.pulls}
        self._joint = self.parameters.index(joint) if joint else -1

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            values = self.bind(*args, **kwargs)
        except TypeError as error:
            text = str(error).replace("<lambda>()", "the call").strip() + instead_of(kwargs)
            raise TypeError(f"{self.name}: {text}{here()}") from None
        found = scalars = False
        arrays = []
        for value in values:
            if isinstance(value, Tensor):
                found = True
                value = value.data
            elif type(value) is tuple and any(isinstance(v, Tensor) for v in value):
                found = True
                value = tuple([v.data if isinstance(v, Tensor) else backend.plain(v) for v in value])
            elif isinstance(value, np.generic):
                scalars = True
            elif type(value) is not _ndarray and isinstance(value, _ndarray):
                value = backend.plain(value)
            arrays.append(value)
        if scalars and found:  # beside a Tensor, a NumPy scalar counts as a Python one: it changes no dtype
            arrays = [v.item() if isinstance(v, np.generic) else v for v in arrays]
        mode = current_mode()
        if mode.observers and found:
            arrays = begin(self, mode, *arrays)
        try:
            y = self.forward(*arrays)
        except Exception as error:
            raise explained(error, self.name, arrays) from error
        if not found:
            return y
        return self._record(values, arrays, y, mode)

    def _record(self, values: tuple[Any, ...], arrays: list[Any], y: Any, mode: Mode) -> Any:
        if type(y) is not _ndarray or y.dtype.kind not in "fiub":
            for result in y if type(y) is tuple or type(y) is list else (y,):
                refuse_others(self.name, result)
        edges: tuple[Any, ...] = ()
        if mode.grad:
            for index, value in enumerate(values):
                if isinstance(value, Tensor):
                    if not value._requires_grad:
                        continue
                    parent: Any = value.edge or value
                elif index == self._joint:
                    parent = tuple(
                        [(v.edge or v) if isinstance(v, Tensor) and v._requires_grad else None for v in value]
                    )
                    if not any(p is not None for p in parent):
                        continue
                elif type(value) is tuple and any(isinstance(v, Tensor) and v._requires_grad for v in value):
                    parent = None
                else:
                    continue
                pull = self._pull_of.get(index)
                if pull is None:
                    if index in self.constants:
                        continue
                    raise TypeError(
                        f"{self.name}: there is no rule for the gradient of {self.parameters[index]!r}, and it "
                        f"requires grad{here()}; pass x.detach() if no gradient should flow, or add a rule "
                        "with mg.primitive"
                    )
                edges += ((parent, pull, pull.keep(y, *arrays)),)
        several = type(y) is tuple or type(y) is list
        made: Any = (
            record_many(self, tuple(y), edges, mode, values) if several else record(self, y, edges, mode, values, True)
        )
        if not edges and self.name in MOVES:
            keep_origin(self.name, values[0], made)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Primitive:
        return self  # an operation has no state

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


# ---- recording ---------------------------------------------------------------------------------------------------


def begin(primitive: Primitive, mode: Mode, *operands: Any) -> Any:
    """Notify the observers that an operation begins; returns its operands, as replaced by the intake."""
    for observer in mode.observers:
        observer.began(primitive)
    return mode.intake.operands(*operands)


def record(
    primitive: Primitive, y: Any, edges: tuple[Any, ...], mode: Mode, operands: tuple[Any, ...], named: bool = False
) -> Tensor:
    """The Tensor of an operation's result, and its node if any operand requires grad."""
    if type(y) is not _ndarray and not backend.is_array(y):
        y = np.asarray(y)  # a reduction gives a scalar: back to an array of no axes
    t = _new(Tensor)
    t.data = y
    t.grad = t._name = t._hooks = t._origin = None
    if edges:
        node = new_node(primitive, edges, mode.scope, 3)
        node.shape = y.shape
        node.dtype = y.dtype
        t.edge = node
        t._requires_grad = True
        if named:
            remember_inputs(node, operands)
    else:
        t.edge = None
        t._requires_grad = False
    if mode.observers:
        for observer in mode.observers:
            observer.recorded(primitive, operands, (y,), t.edge)
    return t


def record_many(
    primitive: Primitive, ys: tuple[Any, ...], edges: tuple[Any, ...], mode: Mode, operands: tuple[Any, ...]
) -> tuple[Tensor, ...]:
    """`record` for an operation with several outputs: one node, with an `Output` for each."""
    ys = tuple([y if type(y) is _ndarray or backend.is_array(y) else np.asarray(y) for y in ys])
    node: Any = None
    if not edges:
        outputs = tuple([Tensor._of(y) for y in ys])
    else:
        node = new_node(primitive, edges, mode.scope, 3)
        node.shape = tuple([y.shape for y in ys])
        node.dtype = tuple([y.dtype for y in ys])
        remember_inputs(node, operands)
        outputs = tuple([Tensor._of(y, Output(node, k, y.shape, y.dtype)) for k, y in enumerate(ys)])
    for observer in mode.observers:
        observer.recorded(primitive, operands, ys, node)
    return outputs


def new_node(primitive: Primitive, edges: tuple[Any, ...], scope: Any, depth: int) -> Node:
    """A node without its outputs, with the user's line, which is `depth` or more frames up."""
    node = Node()
    node.position = next_position()
    node.edges = edges
    node.primitive = primitive
    node.scope = scope
    node.extra = None
    frame: Any = _frame(depth)
    code = frame.f_code
    while INTERNAL[code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
        code = frame.f_code
    node.code = code
    node.instruction = frame.f_lasti
    return node


def remember_inputs(node: Node, operands: Sequence[Any]) -> None:
    """Store the names of operands that are not on the tape, for pictures; never the operands themselves."""
    for index, operand in enumerate(operands):
        if isinstance(operand, Tensor):
            if not operand._requires_grad and (operand._origin or operand._name) is not None:
                node.extras().inputs[index] = name_of(operand)
        elif type(operand) is tuple:  # operands of a concatenation
            for k, one in enumerate(operand):
                if isinstance(one, Tensor) and not one._requires_grad and (one._origin or one._name) is not None:
                    node.extras().inputs[index, k] = name_of(one)


def name_of(operand: Tensor) -> tuple[str, str, Any]:
    """("input" or "detached", the label, the origin of what was detached) of a named operand."""
    if operand._origin is not None:
        return "detached", operand._origin.label, operand._origin
    return "input", operand._name or "", None


def refuse_others(name: str, value: Any) -> None:
    """Raise TypeError for dtypes that no tensor has: complex numbers, and Python objects."""
    dtype = np.dtype(complex) if type(value) is complex else getattr(value, "dtype", None)
    if dtype is not None and dtype.kind not in "fiub":
        way = "compute with the real and imaginary parts" if dtype.kind == "c" else "convert them with .astype(float)"
        raise TypeError(
            f"{name}: numbers of {dtype} cannot enter a graph, whose tensors are of floats, integers or booleans"
            f"{here()}; {way}"
        )


def explained(error: Exception, name: str, operands: Any) -> Exception:
    """The error of a forward, with the operation, the operands' shapes and dtypes, and the scope in its message."""
    if getattr(error, "complete", False):
        raise error
    arrays = []
    for value in operands:
        arrays += [v for v in (value if isinstance(value, tuple | list) else [value]) if backend.is_array(v)]
    devices = list(dict.fromkeys(backend.device_of(a) for a in arrays))
    if len(devices) > 1:
        return backend.DeviceError(
            f"{name}: operands on different devices, {' and '.join(devices)}{here()}; move one with .to(device)"
        )
    message = str(error).rstrip(" .")
    if message.startswith(f"{name}: "):
        message = message[len(name) + 2 :]
    shapes = " and ".join(f"{a.dtype} {a.shape}" for a in arrays)
    message = f"{name}: {message}" + (f"; operands: {shapes}" if shapes else "") + here()
    for kind in (
        np.exceptions.AxisError,
        np.linalg.LinAlgError,
        IndexError,
        ValueError,
        TypeError,
        FloatingPointError,
        NotImplementedError,
        MemoryError,
    ):
        if isinstance(error, kind):
            return kind(message)
    error.add_note(f"in {name}{here()}")
    return error


# ---- element-wise operations: the hot path ----------------------------------------------------------------------

_NUMBERS = frozenset([float, int, bool])


def operand(value: Any, other: Array, name: str = "operand") -> Any:
    """The other operand beside a tensor. A list becomes an array of a floating tensor's dtype, and a NumPy scalar a
    Python one, so that neither changes the dtype of the result."""
    refuse_others(name, value)
    value = backend.plain(value)
    if isinstance(value, np.generic):
        return value.item() if other.dtype.kind == "f" else value
    if isinstance(value, list | tuple):
        dtype = other.dtype if other.dtype.kind == "f" else None
        array = as_array(value, dtype)
        refuse_others(name, array)
        return backend.from_numpy(array, backend.device_of(other))
    return value


class Elementwise(Primitive):
    """An element-wise operation of one or two operands: a `Primitive` with a shorter path."""

    def __init__(self, name: str, forward: Callable[..., Any], *formulas: Formula) -> None:
        names = ("x",) if len(formulas) == 1 else ("a", "b")
        super().__init__(name, forward, dict(zip(names, formulas, strict=True)), parameters=names)
        if len(formulas) == 1:
            self.apply = self._unary()
        else:
            self.apply = self._binary()

    def __call__(self, *operands: Any) -> Any:
        return self.apply(*operands)

    def _unary(self) -> Callable[..., Any]:
        forward, (pull,) = self.forward, self.pulls
        keep = pull.keep

        def apply(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return forward(
                    x if backend.is_array(x) or not isinstance(x, list | tuple) else operand(x, _CPU, self.name)
                )
            data = x.data
            mode = current_mode()
            if mode.observers:
                (data,) = begin(self, mode, data)
            try:
                y = forward(data)
            except Exception as error:
                raise explained(error, self.name, (data,)) from error
            if x._requires_grad and mode.grad:
                return record(self, y, ((x.edge or x, pull, keep(y, data)),), mode, (x,))
            return record(self, y, (), mode, (x,))

        return apply

    def _binary(self) -> Callable[..., Any]:
        forward, (pull_a, pull_b) = self.forward, self.pulls
        keep_a, keep_b = pull_a.keep, pull_b.keep
        keeps_a, keeps_b = bool(pull_a.names), bool(pull_b.names)

        def apply(a: Any, b: Any) -> Any:
            a_tensor, b_tensor = isinstance(a, Tensor), isinstance(b, Tensor)
            x = a.data if a_tensor else a
            z = b.data if b_tensor else b
            if not (a_tensor and b_tensor):
                if a_tensor:
                    if type(z) not in _NUMBERS and (type(z) is not _ndarray or z.dtype.kind not in "fiub"):
                        z = operand(z, x, self.name)
                elif b_tensor:
                    if type(x) not in _NUMBERS and (type(x) is not _ndarray or x.dtype.kind not in "fiub"):
                        x = operand(x, z, self.name)
                else:
                    return forward(a, b)
            mode = current_mode()
            if mode.observers:
                x, z = begin(self, mode, x, z)
            try:
                y = forward(x, z)
            except Exception as error:
                raise explained(error, self.name, (x, z)) from error
            named = False
            edges: tuple[Any, ...] = ()
            if mode.grad:
                if a_tensor:
                    if a._requires_grad:
                        edges = ((a.edge or a, pull_a, keep_a(y, x, z) if keeps_a else ()),)
                    else:
                        named = a._name is not None or a._origin is not None
                if b_tensor:
                    if b._requires_grad:
                        edges += ((b.edge or b, pull_b, keep_b(y, x, z) if keeps_b else ()),)
                    else:
                        named = b._name is not None or b._origin is not None
            return record(self, y, edges, mode, (a, b), named)

        return apply


_CPU = np.zeros(1, np.float32)
