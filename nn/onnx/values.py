"""The nodes of an ONNX graph, and the value for each array of the two runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import minigrad as mg

from .derived import derived
from .sizes import Size, solved

Array = Any


class OnnxGraph:
    """Nodes and constants, added by `operations` and `recurrent`.

    sizes  of each named axis, in both runs
    """

    def __init__(self, onnx: Any, sizes: dict[str, tuple[int, int]]) -> None:
        self.onnx = onnx
        self.sizes = sizes
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.place = ""
        self._known: dict[tuple[int, int], str] = {}  # by the ids of an array of each run
        self._whole: dict[str, tuple[Array, Array]] = {}  # values of integers and booleans
        self._failed: dict[tuple[int, int], Exception] = {}  # of arrays whose operation has no counterpart
        self._kept: list[Array] = []
        self._named: dict[Any, str] = {}
        self._size_names: dict[str, tuple[str, int]] = {}  # an input with this axis, and its number

    # ---- nodes ---------------------------------------------------------------------------------------------------

    def node(self, operator: str, inputs: Sequence[str], outputs: int = 0, **attributes: Any) -> Any:
        """Add a node; returns the name of its output, or a list of `outputs` names."""
        names = [f"{operator.lower()}_{len(self.nodes)}" + (f".{k}" if k else "") for k in range(outputs or 1)]
        attributes = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names if outputs else names[0]

    def constant(self, value: Any, dtype: Any = None, name: str | None = None) -> str:
        """Add a constant array, once for equal ones."""
        array = np.asarray(value, dtype)
        key = name or (array.dtype.str, array.shape, array.tobytes())
        if key not in self._named:
            self._named[key] = name or f"constant_{len(self.constants)}"
            self.constants[self._named[key]] = array
        return self._named[key]

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def cast(self, name: str, dtype: Any) -> str:
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.node("Cast", [name], to=kind)  # type: ignore[no-any-return]

    # ---- sizes ---------------------------------------------------------------------------------------------------

    def size(self, a: int, b: int) -> str:
        """A number of both runs as a value with one integer, (1,)."""
        found = solved(int(a), int(b), self.sizes)
        if found is None:
            raise self.refused(
                f"a number is {a} in one run and {b} in another, which follows from no size of the inputs"
            )
        return self._of_size(found)

    def _of_size(self, found: Size) -> str:
        if not found.names:
            return self.integers(found.rest)
        parts = [self.node("Shape", [self._size_names[n][0]], start=self._size_names[n][1],
                           end=self._size_names[n][1] + 1) for n in found.names]  # fmt: skip
        if found.factor != 1:
            parts.append(self.integers(found.factor))
        value = parts[0]
        for other in parts[1:]:
            value = self.node("Mul", [value, other])
        return self.node("Add", [value, self.integers(found.rest)]) if found.rest else value  # type: ignore[no-any-return]

    def shape(self, first: Sequence[int], second: Sequence[int]) -> str:
        """A shape of both runs as a value."""
        if tuple(first) == tuple(second):
            return self.constant(list(first), np.int64)
        return self.node("Concat", [self.size(a, b) for a, b in zip(first, second, strict=True)], axis=0)  # type: ignore

    # ---- arrays --------------------------------------------------------------------------------------------------

    def input(self, name: str, first: Array, second: Array, axes: Sequence[str | None]) -> None:
        """Add an input to the graph."""
        self.learn(name, first, second)
        for k, axis in enumerate(axes):
            if axis is not None:
                self._size_names.setdefault(axis, (name, k))

    def learn(self, name: str, first: Array, second: Array) -> None:
        """Note the value of an array of both runs."""
        self._known[id(first), id(second)] = name
        self._kept += [first, second]
        if first.dtype.kind in "iub" and first.ndim:
            self._whole[name] = first, second

    def fail(self, first: Array, second: Array, error: Exception) -> None:
        """Raise this error when an array of both runs is needed."""
        self._failed[id(first), id(second)] = error
        self._kept += [first, second]

    def weights(self, module: Any, taken: Sequence[str]) -> None:
        """Add parameters and buffers, under their own names where these are free."""
        for kind in ("parameters", "buffers"):
            for name, tensor in module._named_tensors(kind):
                key = id(tensor.data), id(tensor.data)
                while name in taken:
                    name += "_"
                if key not in self._known:
                    self._known[key] = name
                    self._kept.append(tensor.data)
                    self._named[name] = name

    def value(self, first: Any, second: Any, dtype: Any = None) -> str:
        """The value of an array or number of both runs, in a dtype; RuntimeError if its origin is unknown."""
        first, second = (v.data if isinstance(v, mg.Tensor) else v for v in (first, second))
        if not isinstance(first, np.ndarray):
            if first != second and not isinstance(first, int | np.integer):
                raise self.refused(f"the number {first} of one run is {second} in another")
            if first != second:
                return self.node("Squeeze", [self.cast(self.size(first, second), dtype or np.int64)])  # type: ignore
            return self.constant(first, dtype)
        name = self._known.get((id(first), id(second)))
        if name is not None and name in self._named and name not in self.constants:
            self.constants[name] = first
        if name is None:
            if (id(first), id(second)) in self._failed:
                raise self._failed[id(first), id(second)].with_traceback(None)
            made = derived(self, first, second)
            if made is None:
                raise self.refused(
                    "it takes an array that changes with the inputs, and no recorded operation made it: a function of "
                    "NumPy's on plain arrays did (on x.data, on a mask). Write it with functions of Tensors"
                )
            self.learn(made, first, second)
            name = made
        return name if dtype is None or first.dtype == dtype else self.cast(name, dtype)

    def integers_known(self) -> Iterable[tuple[str, tuple[Array, Array]]]:
        """Values of integers and booleans, with their arrays of both runs."""
        return self._whole.items()

    def refused(self, why: str) -> RuntimeError:
        return RuntimeError(f"export_onnx: {self.place}: {why}")
