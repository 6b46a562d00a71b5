"""Tensor: one array and its place on the tape.

A Tensor computes nothing. Its methods have NumPy's names and call NumPy's functions, which call the Tensor back through
NumPy's two protocols, and the table of primitives. The arithmetic operators are bound to the same primitives directly.
`dispatch`, `rules` and `leaves` bind these from above: this file does not import them.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend
from .conversions import index_as_mapping, refuse_unless_asked
from .hints import METHODS, missing, with_hints
from .modes import current_mode
from .origins import Origin, origin_of
from .tape import WRITES, Edge, node_of

Array = Any


class Tensor:
    """An array that remembers how it was computed.

    data           the array (NumPy or CuPy). Writing through it is not noticed by backward.
    grad           the gradient, a Tensor (or `RowSparse`) like this one, or None
    requires_grad  True if gradients flow to it
    name           its label in pictures and messages, or None

    Make tensors with `minigrad.tensor`, `zeros`, `randn` and so on. `Tensor(array)` wraps an array without a copy.
    """

    __slots__ = ("__weakref__", "_hooks", "_name", "_origin", "_requires_grad", "data", "edge", "grad")

    data: Array
    edge: Edge | None  # its reference to the tape (see `tape`); None for leaves and constants
    grad: Any
    _requires_grad: bool
    _name: str | None
    _hooks: list[Callable[[Tensor], Tensor | None]] | None
    _origin: Origin | None  # of a detached tensor

    def __init__(self, data: Array, requires_grad: bool = False, name: str | None = None) -> None:
        if isinstance(data, Tensor):
            data = data.data
        if not backend.is_array(data):
            raise TypeError(f"Tensor wraps an array, got {type(data).__name__}; mg.tensor(...) makes one from it")
        if data.dtype.kind not in "fiub":
            raise TypeError(f"a Tensor is of floats, integers or booleans, not {data.dtype}")
        data = backend.plain(data)
        self.data = data if data.dtype.isnative else data.astype(backend.native(data.dtype))
        self.edge = self.grad = self._hooks = self._origin = None
        self._requires_grad = False
        self._name = name
        if requires_grad:
            self.requires_grad = True

    @classmethod
    def _of(cls, data: Array, edge: Edge | None = None) -> Tensor:
        """Wrap an array that is known to be one."""
        t = object.__new__(Tensor)
        t.data = data
        t.edge = edge
        t.grad = t._name = t._hooks = t._origin = None
        t._requires_grad = edge is not None
        return t

    # ---- attributes ----------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self.data.size  # type: ignore[no-any-return]

    @property
    def nbytes(self) -> int:
        return self.data.nbytes  # type: ignore[no-any-return]

    @property
    def device(self) -> str:
        """`"cpu"`, `"cuda:0"`, ..."""
        return backend.device_of(self.data)

    @property
    def is_leaf(self) -> bool:
        """True if it is not the result of a recorded operation."""
        return self.edge is None

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if self.edge is not None:
            if not flag:
                raise RuntimeError("requires_grad of a result cannot be switched off; use x.detach()")
        elif flag and self.data.dtype.kind != "f":
            raise TypeError(f"only tensors of floats can require grad, not {self.dtype}")
        else:
            self._requires_grad = bool(flag)

    def requires_grad_(self, flag: bool = True) -> Tensor:
        """Set `requires_grad`, and return the tensor."""
        self.requires_grad = flag
        return self

    @property
    def name(self) -> str | None:
        return self._name

    @name.setter
    def name(self, label: str | None) -> None:
        self._name = label
        if self.edge is not None and label is not None:
            node, index = node_of(self.edge)
            node.extras().labels[index] = label

    def __repr__(self) -> str:
        values = np.array2string(backend.to_numpy(self.data), separator=", ", prefix="tensor(", precision=4)
        details = "" if self.dtype in ("float32", "int64", "bool") else f", dtype={self.dtype}"
        if self.device != "cpu":
            details += f', device="{self.device}"'
        if self.edge is not None:
            details += f", made_by={node_of(self.edge)[0].primitive.name}"
        elif self._requires_grad:
            details += ", requires_grad=True"
        return f"tensor({values}{details})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from . import notebook

        return notebook.mimebundle(self, lambda: notebook.text(self))

    def __treescope_repr__(self, path: str | None, renderer: Any) -> Any:
        from . import notebook

        return notebook.rendered(type(self), notebook.parts_of(self), path, renderer)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 and spec else str(self)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __reversed__(self) -> Iterator[Tensor]:
        return iter(self[::-1])

    def __init_subclass__(cls) -> None:
        index_as_mapping(cls)

    def __contains__(self, value: Any) -> bool:
        return value in self.data

    __hash__ = object.__hash__  # by identity, although == compares element by element

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        number = float(self.item())
        if self._requires_grad:
            refuse_unless_asked("float")
        return number

    def __int__(self) -> int:
        number = int(self.item())
        if self._requires_grad:
            refuse_unless_asked("int")
        return number

    def __round__(self, digits: int = 0) -> Tensor:
        return np.round(self, digits)  # type: ignore

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.ndim:
            raise TypeError(f"only an integer tensor without axes can be an index, not {self.dtype} {self.shape}")
        return int(self.item())

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.edge is not None:
            raise RuntimeError("only leaf tensors can be deep-copied; use x.detach() first")
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.data = self.data.copy()
        twin.edge = twin._hooks = twin._origin = None
        twin.grad = copy.deepcopy(self.grad, memo)
        twin._requires_grad, twin._name = self._requires_grad, self._name
        return twin

    if not TYPE_CHECKING:  # type checkers should report missing names

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, with NumPy's equivalent of a name of PyTorch."""
            if name.startswith("__"):  # NumPy probes for missing ones, for example in np.asarray
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise AttributeError(missing(f"{type(self).__name__!r} object", name, METHODS), name=name, obj=self)

    # ---- conversions ---------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: the tensor has {self.size} elements, of shape {self.shape}, not one")
        return self.data.item()

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self.data.tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        """A copy of the values as a NumPy array."""
        return np.array(backend.to_numpy(self.data))

    def detach(self) -> Tensor:
        """A tensor on the same memory, detached from the tape."""
        t = Tensor._of(self.data)
        if self.edge is not None:
            t._origin = origin_of(self.edge, self._name)
        else:
            t._name, t._origin = self._name, self._origin
        return t

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self._requires_grad:
            raise TypeError(
                "a tensor that requires grad is not turned into a NumPy array silently, since its gradient would be "
                "lost; use x.detach() or x.numpy()"
            )
        array = np.array(self.data, dtype=dtype, copy=copy)
        if array is self.data:
            array = array.view()
            array.flags.writeable = False  # a write here would not be noticed
        return array

    def __dlpack__(self, **options: Any) -> Any:
        if self._requires_grad:
            raise BufferError("a tensor that requires grad is not exported by DLPack; use x.detach()")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()  # type: ignore[no-any-return]

    # ---- gradients -----------------------------------------------------------------------------------------------

    def retain_grad(self) -> None:
        """Keep the gradient of this result in its `.grad`, as leaves do."""
        if not self._requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require grad")
        if self.edge is not None:
            node, index = node_of(self.edge)
            node.extras().retained[index] = weakref.ref(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` when this tensor's gradient is complete; a result other than None replaces it.

        Returns a function that removes the hook.
        """
        if not self._requires_grad:
            raise RuntimeError("register_hook: this tensor does not require grad")
        if self.edge is not None:
            node, index = node_of(self.edge)
            hooks = node.extras().hooks.setdefault(index, [])
        else:
            if self._hooks is None:
                self._hooks = []
            hooks = self._hooks
        hooks.append(hook)

        def remove() -> None:
            if hook in hooks:
                hooks.remove(hook)

        return remove

    # ---- writing in place ----------------------------------------------------------------------------------------

    def _write(self, operation: str) -> None:
        """Allow a write into the array, and mark it; or raise."""
        if current_mode().grad and self._requires_grad:
            what = "a result on the tape" if self.edge is not None else "a leaf that requires grad"
            raise RuntimeError(
                f"{operation} writes in place into {what}, which would make its gradient wrong. Write under "
                "`with mg.no_grad():`, or compute a new tensor (np.where, np.concatenate, ...)"
            )
        WRITES.mark(self.data)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, Tensor):
            if value._requires_grad and current_mode().grad:
                raise RuntimeError(
                    "x[...] = value would lose the gradient of value, which requires grad; build the tensor with "
                    "np.stack, np.concatenate or np.where, or write value.detach()"
                )
            value = value.data
        elif np.iscomplexobj(value):
            raise TypeError("x[...] = value: complex numbers cannot enter a tensor; write their real or imaginary part")
        self._write("x[...] = value")
        if isinstance(index, tuple):
            index = tuple([i.data if isinstance(i, Tensor) else i for i in index])
        self.data[index.data if isinstance(index, Tensor) else index] = value

    def _in_place(self, ufunc: np.ufunc, other: Any) -> Tensor:
        """`x += other`: a write into a leaf that requires grad; for all other tensors, a new tensor."""
        if self.edge is not None or not self._requires_grad:
            return ufunc(self, other)  # type: ignore[no-any-return]
        self._write(f"x {_SIGNS[ufunc]}= value")
        ufunc(self.data, other.data if isinstance(other, Tensor) else other, out=self.data, casting="same_kind")
        return self

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place(np.add, other)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place(np.subtract, other)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place(np.multiply, other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place(np.divide, other)

    # ---- NumPy's methods -----------------------------------------------------------------------------------------

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None,
        where: Any = True,
    ) -> Tensor:  # fmt: skip
        more = _given(dtype=dtype, out=out, initial=initial, where=where)
        return np.sum(self, axis=axis, keepdims=keepdims, **more)  # type: ignore

    def mean(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
    ) -> Tensor:
        return np.mean(self, axis=axis, keepdims=keepdims, **_given(dtype=dtype, out=out, where=where))  # type: ignore

    def var(
        self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, *,
        where: Any = True, mean: Any = None,
    ) -> Tensor:  # fmt: skip
        more = _given(dtype=dtype, out=out, where=where, mean=mean)
        return np.var(self, axis=axis, ddof=ddof, keepdims=keepdims, **more)  # type: ignore

    def std(
        self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, *,
        where: Any = True, mean: Any = None,
    ) -> Tensor:  # fmt: skip
        more = _given(dtype=dtype, out=out, where=where, mean=mean)
        return np.std(self, axis=axis, ddof=ddof, keepdims=keepdims, **more)  # type: ignore

    def max(
        self, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Tensor:
        more = _given(out=out, initial=initial, where=where)
        return np.max(self, axis=axis, keepdims=keepdims, **more)  # type: ignore

    def min(
        self, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Tensor:
        more = _given(out=out, initial=initial, where=where)
        return np.min(self, axis=axis, keepdims=keepdims, **more)  # type: ignore

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None,
        where: Any = True,
    ) -> Tensor:  # fmt: skip
        more = _given(dtype=dtype, out=out, initial=initial, where=where)
        return np.prod(self, axis=axis, keepdims=keepdims, **more)  # type: ignore

    def cumsum(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Tensor:
        return np.cumsum(self, axis=axis, **_given(dtype=dtype, out=out))  # type: ignore

    def cumprod(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Tensor:
        return np.cumprod(self, axis=axis, **_given(dtype=dtype, out=out))  # type: ignore

    def argmax(self, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Array:
        return np.argmax(self, axis=axis, keepdims=keepdims, **_given(out=out))  # type: ignore

    def argmin(self, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Array:
        return np.argmin(self, axis=axis, keepdims=keepdims, **_given(out=out))  # type: ignore

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> Array:
        return np.any(self, axis=axis, keepdims=keepdims, **_given(out=out, where=where))  # type: ignore

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> Array:
        return np.all(self, axis=axis, keepdims=keepdims, **_given(out=out, where=where))  # type: ignore

    def reshape(self, *shape: Any) -> Tensor:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)  # type: ignore

    def transpose(self, *axes: Any) -> Tensor:
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)  # type: ignore

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return np.swapaxes(self, axis1, axis2)  # type: ignore

    def squeeze(self, axis: Any = None) -> Tensor:
        return np.squeeze(self, axis=axis)  # type: ignore

    def ravel(self, order: Any = "C") -> Tensor:
        return np.ravel(self, order)  # type: ignore

    def flatten(self, order: Any = "C") -> Tensor:
        return np.copy(np.ravel(self, order))  # type: ignore

    def repeat(self, repeats: Any, axis: int | None = None) -> Tensor:
        return np.repeat(self, repeats, axis=axis)  # type: ignore

    def take(self, indices: Any, axis: int | None = None, out: Any = None, mode: Any = "raise") -> Tensor:
        return np.take(self, indices, axis=axis, mode=mode, **_given(out=out))  # type: ignore

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> Tensor:
        return np.clip(self, min, max, **_given(out=out))  # type: ignore

    def dot(self, b: Any, out: Any = None) -> Tensor:
        return np.dot(self, b, **_given(out=out))  # type: ignore

    def copy(self) -> Tensor:
        return np.copy(self)  # type: ignore

    def round(self, decimals: int = 0, out: Any = None) -> Tensor:
        return np.round(self, decimals, **_given(out=out))  # type: ignore

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        return np.diagonal(self, offset, axis1, axis2)  # type: ignore

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Tensor:
        return np.trace(self, offset, axis1, axis2, **_given(dtype=dtype, out=out))  # type: ignore

    def compress(self, condition: Any, axis: int | None = None) -> Tensor:
        return np.compress(condition, self, axis)  # type: ignore

    def choose(self, choices: Any, mode: Any = "raise") -> Tensor:
        return np.choose(self, choices, mode=mode)  # type: ignore

    def nonzero(self) -> tuple[Array, ...]:
        return np.nonzero(self)  # type: ignore

    def argsort(
        self, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None
    ) -> Array:
        return np.argsort(self, axis, kind, order, stable=stable)  # type: ignore

    def argpartition(self, kth: Any, axis: int | None = -1) -> Array:
        return np.argpartition(self, kth, axis)  # type: ignore

    def searchsorted(self, v: Any, side: Any = "left", sorter: Any = None) -> Array:
        return np.searchsorted(self, v, side, sorter)  # type: ignore

    def conj(self) -> Tensor:
        return np.conjugate(self)  # type: ignore

    conjugate = conj

    @property
    def real(self) -> Tensor:
        return self

    @property
    def imag(self) -> Tensor:
        """Zeros."""
        return np.imag(self)  # type: ignore

    @property
    def T(self) -> Tensor:
        return np.transpose(self)  # type: ignore

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        if self.ndim < 2:
            raise ValueError(f"mT needs two axes, the tensor has shape {self.shape}")
        return np.swapaxes(self, -1, -2)  # type: ignore

    if TYPE_CHECKING:  # bound from above: gradients in `leaves`, the protocols in `dispatch`, all else in `rules`

        def backward(
            self,
            gradient: Any = None,
            *,
            retain_graph: bool = False,
            create_graph: bool = False,
            inputs: Sequence[Tensor] | None = None,
        ) -> None: ...
        def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any: ...
        def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any: ...
        def to(self, device: str) -> Tensor: ...
        def astype(self, dtype: Any) -> Tensor: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Array: ...
        def __le__(self, other: Any) -> Array: ...
        def __gt__(self, other: Any) -> Array: ...
        def __ge__(self, other: Any) -> Array: ...


for _name, _method in list(vars(Tensor).items()):
    if callable(_method) and "axis" in getattr(getattr(_method, "__code__", None), "co_varnames", ()):
        setattr(Tensor, _name, with_hints(_name, _method))
del _name, _method


def _given(**arguments: Any) -> dict[str, Any]:
    """The arguments of a call, without those equal to NumPy's defaults: None, and where=True."""
    return {k: v for k, v in arguments.items() if v is not None and not (k == "where" and v is True)}


_SIGNS: dict[Any, str] = {np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/"}
