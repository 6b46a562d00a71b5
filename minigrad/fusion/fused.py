"""`mg.fuse`: an element-wise function as one node, with one kernel forward and one backward.

A call is traced once for its shapes, dtypes and layout. The tape of the trace provides everything:

forward    its outputs, as a plan
keep       the values that its rules name: exactly what backward needs
backward   the gradients that the engine's backward computes on the trace, as a plan from the kept values
replay     under create_graph, its nodes again with the kept values in place of Symbols: the unfused function,
           which can be differentiated any number of times
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any, TypeVar

import numpy as np

from .. import backend
from ..backward import key_of, nodes_below, walk
from ..modes import changed_mode, current_mode
from ..primitives import Primitive, Pull, begin, new_node, record_many, refuse_others, remember_inputs
from ..replay.live import Live
from ..tape import Extra, Node, Observer, Operation, Output, next_position
from ..tensors import Tensor
from ..trees import flatten, outline
from .compiled import CompiledPlan, accelerated
from .plan import Plan
from .steps import Steps
from .symbols import Argument, FusionError, Symbol, Trace, exact, explain, refuse

F = TypeVar("F", bound=Callable[..., Any])
_EXACT = frozenset([type(None), bool, int, str])  # constants compared by ==
_FLAT = frozenset([Tensor, np.ndarray, float, *_EXACT])
_tensor = Tensor._of
_ndarray = np.ndarray
_BY_IDENTITY: Any = object.__hash__
CACHE = 256  # traces kept for each function
BLOCK = 1 << 17  # numbers computed at a time where NumPy computes them
_TRACING = threading.RLock()


class Kernel:
    """One traced call, for fixed shapes, dtypes and layout, and a fixed choice of inputs that require grad.

    needs  for each input (an array), True if its gradient is needed
    """

    def __init__(
        self, function: Callable[..., Any], leaves: list[Any], places: list[int], rebuild: Callable[[list[Any]], Any],
        needs: list[bool], order: str,
    ) -> None:  # fmt: skip
        self.trace = trace = Trace()
        self.order = order
        arrays = [v.data if isinstance(v, Tensor) else v for v in (leaves[k] for k in places)]
        for array in arrays:
            refuse_others(getattr(function, "__name__", "fuse"), array)
        self.inputs = [trace.input(f"input {k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
        self.variables = [Argument(s, need) for s, need in zip(self.inputs, needs, strict=True)]
        values = list(leaves)
        for place, variable in zip(places, self.variables, strict=True):
            values[place] = variable
        args, kwargs = rebuild(values)
        try:
            with changed_mode(grad=True, scope=None, observers=(_OneWay(),), fast=False):
                returned = function(*args, **kwargs)
        except Exception as error:
            explain(error)
            raise
        outputs, self.structure = flatten(returned)
        for where, output in _named(returned):
            if not isinstance(output, Tensor) or not isinstance(output.data, Symbol):
                code = inspect.unwrap(function).__code__
                raise FusionError(
                    f"fuse: {function.__name__} ({code.co_filename}:{code.co_firstlineno}) must return tensors "
                    f"computed from its arguments, or a nested structure of them; its {where} is {_described(output)}"
                )
        self.outputs: list[Tensor] = outputs
        self.results = [o.data for o in outputs]
        self.flat = type(returned) is tuple and len(returned) == len(outputs)  # a flat tuple of tensors
        self.count = len(outputs)
        self.counted = range(len(outputs))
        self.shapes = tuple([o.shape for o in outputs])
        self.dtypes = tuple([o.dtype for o in outputs])
        self.vary = [o.requires_grad for o in outputs]
        labels = {k: o.name for k, o in enumerate(outputs) if o.name is not None}
        self.extra = Extra(labels, shared=True) if labels else None  # of all nodes of this kernel
        self.nodes = nodes_below([o.edge for o in outputs if o.edge is not None])
        named: dict[Symbol, None] = {}
        for node in self.nodes:
            for _, pull, kept in node.edges:
                del pull
                named.update(dict.fromkeys(v for v in kept if isinstance(v, Symbol)))
        self.kept = list(named)
        results = [*self.results, *self.kept] if any(needs) else self.results
        self.name = function.__name__
        self.forward = accelerated(Plan(self.inputs, results, order), self.name)
        self._backward: dict[tuple[bool, ...], tuple[Plan, list[int | None]]] = {}

    def backward(self, present: tuple[bool, ...]) -> tuple[Plan, list[int | None]]:
        """The plan from the kept values and the gradients of the present outputs to the gradients of the inputs.

        The second result lists, for each input, the number of its gradient among the plan's results, or None.
        """
        found = self._backward.get(present)
        if found is None:
            with _TRACING:
                found = self._backward[present] = self._derive(present)
        return found

    def _derive(self, present: tuple[bool, ...]) -> tuple[Plan, list[int | None]]:
        self.trace.deriving = True
        seeds = [self.trace.input(f"gradient {k}", s.shape, s.dtype) for k, s in enumerate(self.results)]
        roots = [
            (o.edge or o, s) for o, s, here in zip(self.outputs, seeds, present, strict=True)
            if here and o.requires_grad
        ]  # fmt: skip
        with changed_mode(observers=(), fast=False, hoisted=None):
            found = walk(roots, retain_graph=True)
        gradients = [found.get(v) for v in self.variables]
        results = list(dict.fromkeys(g for g in gradients if g is not None))
        number = {g: k for k, g in enumerate(results)}
        where = [None if g is None else number[g] for g in gradients]
        givens = [*self.kept, *[s for s, here in zip(seeds, present, strict=True) if here]]
        return accelerated(Plan(givens, results, self.order, quiet=True), self.name), where

    def replay(self, kept: tuple[Any, ...], parents: tuple[Any, ...], at: Node) -> list[Any]:
        """Record the trace's nodes again, below `parents` and with arrays for Symbols; returns the edges of the
        outputs.
        """
        arrays = dict(zip(self.kept, kept, strict=True))
        edge_of: dict[Any, Any] = dict(zip(self.variables, parents, strict=True))

        def edge(old: Any) -> Any:
            if type(old) is tuple:
                return tuple([None if o is None else edge(o) for o in old])
            if type(old) is Output:
                return Output(edge_of[old.node], old.index, old.shape, old.dtype)
            return edge_of[old]

        def value(v: Any) -> Any:
            return arrays[v] if isinstance(v, Symbol) else v

        for node in self.nodes:
            twin = object.__new__(Node)
            twin.position = next_position()
            twin.primitive, twin.shape, twin.dtype, twin.extra = node.primitive, node.shape, node.dtype, None
            twin.scope, twin.code, twin.instruction = at.scope, at.code, at.instruction
            twin.edges = tuple([(edge(p), pull, tuple([value(v) for v in kept])) for p, pull, kept in node.edges])
            edge_of[node] = twin
        return [None if o.edge is None and not o.requires_grad else edge(o.edge or o) for o in self.outputs]


def _gradients(g: Any, kernel: Kernel, kept: tuple[Any, ...], parents: tuple[Any, ...], node: Node) -> list[Any]:
    """The rule of every fused function: its backward plan, or its unfused self on Tensors."""
    gs = g if type(g) is list else [g]
    if any(isinstance(p, Tensor) for p in gs):
        edges = kernel.replay(kept, parents, node)
        wanted = {key_of(p) for p in parents if p is not None}
        roots = [(e, p) for e, p in zip(edges, gs, strict=True) if e is not None and p is not None]
        found = walk(roots, create_graph=True, retain_graph=True, wanted=wanted, within=True)
        return [None if p is None else found.get(key_of(p)) for p in parents]
    plan, where = kernel.backward(tuple([p is not None for p in gs]))
    given = list(current_mode().intake.operands(*[p for p in gs if p is not None]))
    results = plan([*kept, *given], given[0])
    return [None if k is None else results[k] for k in where]


class _OneWay(Observer):
    """Refuses operations whose gradient cannot be traced."""

    def began(self, primitive: Operation) -> None:
        if primitive.name == "getitem":
            raise refuse("indexing is not element-wise; np.split divides along an axis")


def _named(tree: Any, where: str = "result") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested structure, each with its position as text."""
    if isinstance(tree, dict | tuple | list):
        for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _named(child, f"{where}[{key!r}]")
    else:
        yield where, tree


def _described(output: Any) -> str:
    """A description of a result that is not a tensor computed from the arguments, for messages."""
    if isinstance(output, Symbol):
        return f"a plain array of {output.dtype}, as comparisons give (np.where makes a tensor of it)"
    if isinstance(output, Tensor) or backend.is_array(output):
        return f"a {type(output).__name__} from outside"
    return f"a {type(output).__name__}: {output!r}"


def _constant(value: Any) -> Any:
    """An argument's part of a trace's key. Objects compared by identity are not kept alive."""
    if isinstance(value, float | np.floating):
        return exact(value)
    if type(value).__hash__ is _BY_IDENTITY:
        try:
            return weakref.ref(value)
        except TypeError:
            pass
    return value


class Fused(Primitive):
    """A fused function. Call it like the plain function, which is its attribute `plain`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.plain = function
        self.name = function.__name__
        self.sparse = False
        self.constants: set[int] = set()
        self.parameters: list[str] = []
        self.pulls: list[Pull] = [_PULL]
        self._kernels: OrderedDict[Any, Kernel] = OrderedDict()
        self._last: tuple[Any, Any] = (None, None)  # the latest key and its kernel: most calls repeat it

    def kernel(self, *args: Any, **kwargs: Any) -> Kernel:
        """The traced call for such arguments; traced now if they are the first of their kind."""
        found = self._prepared(args, kwargs, current_mode().grad)
        if found is None:
            raise TypeError(f"{self.name}: none of the arguments is a Tensor")
        return found[0]

    def steps(self, *calls: tuple[Sequence[Any], Any]) -> Steps:
        """The function at consecutive steps: `steps(first, stop)` computes out[t] = function(a[t], b[t], ...) in turn.

        calls  (operands, out), one or more, executed in turn at each step: arrays (T, rows, columns) of one shape and
               dtype in all calls. A row is computed from the same rows of the operands; `out` may overlap with them, so
               that a result is an operand of a later step.
        """
        return Steps(self._of_arrays([a[0] for a in calls[0][0]]), calls)

    def on_arrays(self, *arrays: Any) -> Any:
        """The function of arrays, without Tensors: its first result."""
        if not current_mode().fast:
            return self.plain(*arrays)
        return self._of_arrays(arrays)(arrays, arrays[0])[0]

    def into(self, arguments: Sequence[Any], outs: Sequence[Any]) -> None:
        """Compute the function of matrices (and constants) into other matrices, which may be operands.

        Each row is computed from the same row of the operands, and from those with a single row. Without a compiled
        kernel, blocks of rows are computed in turn, since NumPy needs memory for the intermediate values.
        """
        rows = len(outs[0])
        height = max(BLOCK // (outs[0].size // rows), 1)
        plan = self._of_arrays(arguments) if current_mode().fast else None
        if not isinstance(plan, CompiledPlan) and rows > height:
            for start in range(0, rows, height):
                parts = [
                    [a[start : start + height] if backend.is_array(a) and len(a) == rows else a for a in each]
                    for each in (arguments, outs)
                ]
                self.into(*parts)
        elif plan is not None:
            plan.into([a for a in arguments if backend.is_array(a)], outs)
        else:
            for out, result in zip(outs, self.plain(*arguments), strict=True):
                out[...] = result

    def _of_arrays(self, arguments: Sequence[Any]) -> Any:
        """The plan of the function for such arrays (and constants)."""
        with changed_mode(grad=False):
            return self.kernel(*[Tensor(a) if backend.is_array(a) else a for a in arguments]).forward

    def _prepared(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], recording: bool
    ) -> tuple[Kernel, list[Any], list[Any], list[Any], bool] | None:
        """The kernel for these arguments, its operands, their arrays, the edges of those that require grad, and True if
        any does. None where the plain function runs: without a Tensor, or inside another fused function."""
        operands: list[Any] = []
        arrays: list[Any] = []
        parents: list[Any] = []
        key: list[Any] = []
        leaves: Any = args
        structure: list[Any] = []
        if kwargs or not _FLAT.issuperset(map(type, args)):
            leaves = []
            outline((args, kwargs), leaves, structure)
            leaves = [float(leaf) if isinstance(leaf, Live) else leaf for leaf in leaves]  # its present value
            key.append(tuple(structure))
        by_row = by_column = found = needed = mixed = False
        kind: Any = None
        for leaf in leaves:
            need = False
            if isinstance(leaf, Tensor):
                array = leaf.data
                found = True
                need = recording and leaf._requires_grad
            elif type(leaf) is _ndarray or backend.is_array(leaf):
                array = backend.plain(leaf)
            else:
                key += (type(leaf), leaf if type(leaf) in _EXACT else _constant(leaf))
                continue
            if type(array) is not kind:
                mixed = kind is not None
                kind = type(array)
                if kind is Symbol:
                    return None
            shape = array.shape
            if len(shape) > 1 and shape[0] > 1:
                strides = array.strides
                first, last = strides[0], strides[-1]
                if first < 0 or last < 0:  # a reversed array lies in memory as the array does
                    first, last = abs(first), abs(last)
                if first < last:
                    by_column = True
                elif first > last:
                    by_row = True
            operands.append(leaf)
            arrays.append(array)
            if need:
                needed = True
                parents.append(leaf.edge or leaf)
            else:
                parents.append(None)
            key += (shape, array.dtype, need)
        if not found:
            return None
        if mixed and not current_mode().intake.follows:
            names = list(dict.fromkeys(backend.device_of(a) for a in arrays))
            raise backend.DeviceError(f"{self.name}: operands on different devices, {' and '.join(names)}")
        key.append("F" if by_column and not by_row else "C")
        last = self._last
        if key == last[0]:
            return last[1], operands, arrays, parents, needed
        return self._looked_up(key, args, kwargs, leaves, parents), operands, arrays, parents, needed

    def _looked_up(
        self, key: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any], leaves: Any, parents: list[Any]
    ) -> Kernel:
        """The kernel for a key, traced if the key is new."""
        try:
            whole = tuple(key)
            kernel = self._kernels.get(whole)
        except TypeError as error:
            raise refuse(
                f"an argument of {self.name} is not a tensor, an array or a plain constant ({error})"
            ) from None
        if kernel is None:
            rebuild = flatten((args, kwargs))[1]
            places = [k for k, v in enumerate(leaves) if isinstance(v, Tensor) or backend.is_array(v)]
            needs = [p is not None for p in parents]
            with _TRACING:
                kernel = self._kernels[whole] = Kernel(self.plain, list(leaves), places, rebuild, needs, key[-1])
                if len(self._kernels) > CACHE:
                    self._kernels.popitem(last=False)
        self._last = (key, kernel)
        return kernel

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mode = current_mode()
        prepared = self._prepared(args, kwargs, mode.grad) if mode.fast else None
        if prepared is None:
            return self.plain(*args, **kwargs)
        kernel, operands, arrays, parents, needed = prepared
        if mode.observers:
            arrays = list(begin(self, mode, *arrays))
        computed = kernel.forward(arrays, arrays[0])
        if not needed:
            outputs: Any = record_many(self, tuple(computed[: kernel.count]), (), mode, tuple(operands))
            return outputs if kernel.flat else kernel.structure(list(outputs))
        ys = tuple(computed[: kernel.count])
        edges = tuple(parents)
        kept = (kernel, tuple(computed[kernel.count :]), edges, None)
        node = new_node(self, ((edges, _PULL, kept),), mode.scope, 2)
        node.shape, node.dtype, node.extra = kernel.shapes, kernel.dtypes, kernel.extra
        remember_inputs(node, operands)
        each = zip(kernel.counted, ys, kernel.shapes, kernel.dtypes, kernel.vary, strict=False)
        outputs = tuple([_tensor(y, Output(node, k, s, t)) if vary else _tensor(y) for k, y, s, t, vary in each])
        for observer in mode.observers:
            observer.recorded(self, tuple(operands), ys, node)
        return outputs if kernel.flat else kernel.structure(list(outputs))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind as a method, as functions do."""
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<fused {self.name}>"


def _pull() -> Pull:
    pull = object.__new__(Pull)
    pull.name, pull.operand, pull.formula = "inputs", 0, _gradients
    pull.names = ("kernel", "kept", "parents", "node")
    pull.fresh = True
    return pull


_PULL = _pull()


def fuse(function: F) -> F:
    """Fuse a function of element-wise operations, sums, maxima and splits along an axis into one operation.

    The function is traced once for each combination of shapes, dtypes and layout of its arguments. Forward and backward
    then run without a node, a temporary array or a Python call for each operation. It returns a tensor or a nested
    structure of tensors; inner values, such as gates, are outputs if they are returned.

    Everything else is frozen at the first trace: numbers and other constants among the arguments, captured variables,
    and values read from globals and attributes, including a method's `self`. Each value of a constant argument is
    traced and compiled separately: pass a value that changes often as a tensor without axes.

    >>> import numpy as np, minigrad as mg
    >>> @mg.fuse
    ... def gated(z):
    ...     a, b = np.split(z, 2, axis=-1)
    ...     return np.tanh(a) * mg.sigmoid(b)
    >>> z = mg.randn(3, 8, requires_grad=True)
    >>> gated(z).shape
    (3, 4)

    Its gradients come from the same rules as those of the plain function, `gated.plain`, which also replaces it under
    `detect_anomaly` and `plain_path`. Raises `FusionError`, a TypeError that names the line, if the function branches
    on a value, writes in place, or uses another operation.
    """
    return Fused(function)  # type: ignore[return-value]


__all__ = ["Fused", "FusionError", "Kernel", "fuse"]
