"""Traced arrays: they execute each operation at once, and their recording notes it down."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .. import backend
from ..tensors import Tensor
from ..trees import replaced
from .errors import DataError, RecordingError

Array = Any


class Recording(Protocol):
    """The interface of `recording.Recording` for traced arrays."""

    thread: int

    def call(self, function: Any, args: Any, kwargs: Any, writes: Any = ..., *, always: bool = ...) -> Any: ...

    def noted(self, leaf: Any) -> Any: ...

    def refused(self, what: str, kind: type[RecordingError] = ...) -> RecordingError: ...


class Traced(NDArrayOperatorsMixin):
    """A recorded array. `array` is the plain array; `base` owns its memory."""

    __slots__ = ("__weakref__", "array", "base", "recording", "value")

    def __init__(self, recording: Recording, value: Any, array: Array, base: Traced | None) -> None:
        self.recording = recording
        self.value = value
        self.array = array
        self.base = base

    __hash__ = object.__hash__

    # ---- attributes --------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self.array.size  # type: ignore[no-any-return]

    @property
    def nbytes(self) -> int:
        return self.array.nbytes  # type: ignore[no-any-return]

    @property
    def itemsize(self) -> int:
        return self.array.itemsize  # type: ignore[no-any-return]

    @property
    def strides(self) -> tuple[int, ...]:
        return self.array.strides  # type: ignore[no-any-return]

    @property
    def flags(self) -> Any:
        return self.array.flags

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        return f"<traced {self.dtype} {self.shape}>"

    # ---- operations --------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(v, Tensor) for v in inputs):
            return NotImplemented  # the Tensor handles it
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return self.recording.call(function, inputs, kwargs, inputs[:1] if method == "at" else ())

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(t, Tensor) for t in types):
            return NotImplemented
        return self.recording.call(function, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        if any(
            getattr(getattr(p, "dtype", None), "kind", "") == "b"
            for p in (index if isinstance(index, tuple) else (index,))
        ):
            raise self.recording.refused("indexing with a mask gives an array whose shape depends on values")
        return self.recording.call(getitem, (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        if type(value) is Traced and value.value.kind == "view" and value.value.of is self.value:
            made = value.value.by
            if made.function is getitem and replaced(index, self.recording.noted) == made.args[1]:
                return  # the end of x[i] += y: already written
        self.recording.call(setitem, (self, index, value), {}, (self,))

    def _in_place(self, ufunc: Any, other: Any) -> Any:
        return self.recording.call(ufunc, (self, other), {"out": (self,)})

    def __iadd__(self, other: Any) -> Any:
        return self._in_place(np.add, other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place(np.subtract, other)

    def __imul__(self, other: Any) -> Any:
        return self._in_place(np.multiply, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place(np.divide, other)

    def fill(self, value: Any) -> None:
        """Write one number everywhere."""
        self.recording.call(np.copyto, (self, value), {})

    # ---- operations that cannot be replayed --------------------------------------------------------------------------

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != self.recording.thread:
            return self.array.__array__(*args, **kwargs)
        raise self.recording.refused("a plain array is indexed, or made, with values that change", DataError)


def _asking(name: str, what: str, kind: type[RecordingError] = RecordingError) -> Any:
    """A method that returns a value; only other threads may call it."""

    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != self.recording.thread:
            return getattr(self.array, name)(*args, **kwargs)
        raise self.recording.refused(what, kind)

    return method


_BRANCHES = "it branches on a value, which differs from run to run (np.where does not branch)"
for _name in ("item", "tolist", "__float__", "__int__", "__contains__"):
    setattr(Traced, _name, _asking(_name, "it asks for a value, which differs from run to run"))
Traced.__index__ = _asking("__index__", "something is indexed with a value that changes", DataError)  # type: ignore[attr-defined]
Traced.__bool__ = _asking("__bool__", _BRANCHES)  # type: ignore[attr-defined]


def getitem(array: Array, index: Any) -> Array:
    return array[index]


def setitem(array: Array, index: Any, value: Any) -> None:
    array[index] = value


def _method(name: str, writes: bool = False) -> Any:
    def function(array: Array, *args: Any, **kwargs: Any) -> Any:
        return getattr(array, name)(*args, **kwargs)

    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        return self.recording.call(function, (self, *args), kwargs, (self,) if writes else ())

    function.__name__ = name
    return method


_METHODS = (
    "all any argmax argmin argsort astype clip copy cumprod cumsum diagonal dot max mean min prod ravel repeat reshape "
    "round squeeze std sum swapaxes take trace transpose var view"
)
for _name in _METHODS.split():
    setattr(Traced, _name, _method(_name))
_inherited: dict[str, Any] = {
    "sort": _method("sort", writes=True),
    "nonzero": lambda self: self.recording.call(np.nonzero, (self,), {}),
    "T": property(_method("transpose")),
}
for _name, _value in _inherited.items():
    setattr(Traced, _name, _value)


# ---- the backend of traced arrays --------------------------------------------------------------------------------


def _refused(array: Traced) -> Any:
    raise array.recording.refused("it takes values out of the recording")


def _decides(array: Traced, what: str) -> None:
    raise array.recording.refused(what, DataError)


def _called(function: Any, args: tuple[Any, ...], writes: tuple[Any, ...]) -> Any:
    recording = next(a.recording for a in args if type(a) is Traced)
    return recording.call(function, args, {}, writes, always=True)


backend.register(
    "traced",
    backend.NUMPY._replace(
        array_type=Traced,
        device_of=lambda traced: backend.device_of(traced.array),
        to_numpy=_refused,
        synchronous=False,
        call=_called,
        inside=lambda traced: traced.array,
        decides=_decides,
    ),
)
