"""Creation of tensors, with NumPy's and PyTorch's names."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from . import backend
from .modes import current_mode
from .randomness import generator, redraw
from .tensors import Tensor

_default: Any = np.dtype(np.float32)


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of Python floats, `zeros`, `randn` and so on; initially float32."""
    global _default
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"the default dtype must be a float, not {dtype}")
    _default = dtype


def get_default_dtype() -> Any:
    """The dtype of tensors made from Python floats."""
    return _default


def as_array(data: Any, dtype: Any = None) -> Any:
    """An array from numbers, nested lists or an array; Python floats get the default dtype."""
    if backend.is_array(data) or isinstance(data, np.generic):
        return data if dtype is None else data.astype(dtype)
    if isinstance(data, list | tuple) and any(isinstance(d, Tensor) for d in data):
        raise TypeError("tensor: a list of Tensors is joined by np.stack, which records it")
    if not isinstance(data, int | float) and isinstance(data, Real):
        data = getattr(data, "kind", float)(float(data))  # a fraction or a live number
    try:
        array = np.asarray(data, dtype=dtype)
    except (ValueError, TypeError) as error:
        raise type(error)(f"tensor: cannot make an array of this {type(data).__name__}: {error}") from None
    if dtype is None and array.dtype.kind == "f" and not _holds_arrays(data):
        array = array.astype(_default)
    return array


def _holds_arrays(data: Any) -> bool:
    while isinstance(data, list | tuple) and data:
        data = data[0]
    stands_for = getattr(data, "kind", None)  # of a live number
    return hasattr(stands_for or data, "dtype") or (stands_for is None and hasattr(data, "__array__"))


def _made(array: Any, device: str | None, requires_grad: bool) -> Tensor:
    array = array if device is None else backend.transfer(array, device)
    return Tensor(current_mode().intake.made(array), requires_grad)


def tensor(data: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: an array, a number, or nested lists of numbers.

    dtype   of the tensor; arrays keep theirs, Python floats get the default dtype, integers stay integers
    device  "cpu", "cuda", "cuda:1"; the array's own, if None

    Raises TypeError for data that are not numbers, and for integers with `requires_grad=True`.
    """
    if isinstance(data, Tensor):
        data = data.data
    (data,) = current_mode().intake.operands(data)
    array = as_array(data, dtype)
    if not backend.is_array(array):
        array = np.asarray(array)
    if array is data or getattr(array, "base", None) is not None:
        array = array.copy()
    return _made(array, device, requires_grad)


def _filled(shape: Any, function: str, dtype: Any, device: str | None, requires_grad: bool, *fill: Any) -> Tensor:
    array = getattr(np, function)(shape, *fill, dtype=_default if dtype is None else dtype)
    return _made(array, device, requires_grad)


def _sizes(function: str, shape: Any, more: tuple[Any, ...], dtype: Any) -> tuple[Any, Any]:
    """Shape and dtype of `zeros(2, 3)`, `zeros((2, 3))` and `zeros((2, 3), np.float64)`, which is NumPy's."""
    if more and dtype is None and not isinstance(more[-1], Integral | tuple | list):
        more, dtype = more[:-1], more[-1]
    if more and not all(isinstance(size, Integral) for size in (shape, *more)):
        raise TypeError(f"{function}: a shape is one tuple, or integers side by side, not {(shape, *more)}")
    return (shape, *more) if more else shape, dtype


def zeros(shape: Any, *more: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros of a shape, in the default dtype: `zeros((2, 3), dtype)` as in NumPy, or `zeros(2, 3)`."""
    shape, dtype = _sizes("zeros", shape, more, dtype)
    return _filled(shape, "zeros", dtype, device, requires_grad)


def ones(shape: Any, *more: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of a shape, in the default dtype: `ones((2, 3), dtype)` as in NumPy, or `ones(2, 3)`."""
    shape, dtype = _sizes("ones", shape, more, dtype)
    return _filled(shape, "ones", dtype, device, requires_grad)


def full(
    shape: Any, fill_value: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere; its dtype follows the value, with floats in the default dtype."""
    return _filled(shape, "full", as_array(fill_value).dtype if dtype is None else dtype, device, requires_grad,
                   fill_value)  # fmt: skip


def arange(
    start: Any,
    stop: Any = None,
    step: Any = 1,
    dtype: Any = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below stop; integers, unless an argument is a float."""
    start, stop = (0, start) if stop is None else (start, stop)
    if dtype is None and any(isinstance(v, Real) and not isinstance(v, Integral) for v in (start, stop, step)):
        dtype = _default
    return _made(np.arange(start, stop, step, dtype=dtype), device, requires_grad)


def eye(
    n: int, m: int | None = None, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """The identity matrix (n, n), or (n, m) with ones on its diagonal."""
    return _made(np.eye(n, m, dtype=_default if dtype is None else dtype), device, requires_grad)


def rand(*shape: int, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Uniform random numbers in [0, 1), from the generator that `manual_seed` seeds."""
    return _random("random", shape, dtype, device, requires_grad)


def randn(*shape: int, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Normal random numbers of mean 0 and variance 1, from the generator that `manual_seed` seeds."""
    return _random("standard_normal", shape, dtype, device, requires_grad)


def _random(draw: str, shape: Any, dtype: Any, device: str | None, requires_grad: bool) -> Tensor:
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = tuple(shape[0])
    dtype = np.dtype(_default if dtype is None else dtype)
    if dtype.kind != "f":
        raise TypeError(f"random numbers are floats, not {dtype}; use astype on what was drawn")
    drawn = getattr(generator(device or "cpu"), draw)(shape, dtype=np.float64 if dtype == np.float64 else np.float32)
    drawn = np.asarray(drawn) if np.isscalar(drawn) else drawn
    drawn = current_mode().intake.drawn(lambda array: redraw(draw, array), drawn)
    return _made(drawn, None, False).astype(dtype).requires_grad_(requires_grad)


def zeros_like(x: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros with the shape, dtype and device of x."""
    return _made(np.zeros_like(_array(x), dtype=dtype), device, requires_grad)


def ones_like(x: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Ones with the shape, dtype and device of x."""
    return _made(np.ones_like(_array(x), dtype=dtype), device, requires_grad)


def full_like(
    x: Any, fill_value: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere, with the shape, dtype and device of x."""
    return _made(np.full_like(_array(x), fill_value, dtype=dtype), device, requires_grad)


def rand_like(x: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Uniform random numbers in [0, 1), with the shape, dtype and device of x."""
    x = _array(x)
    return rand(*x.shape, dtype=dtype or x.dtype, device=device or backend.device_of(x), requires_grad=requires_grad)


def randn_like(x: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Normal random numbers of mean 0 and variance 1, with the shape, dtype and device of x."""
    x = _array(x)
    return randn(*x.shape, dtype=dtype or x.dtype, device=device or backend.device_of(x), requires_grad=requires_grad)


def _array(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else as_array(x)


def from_dlpack(x: Any) -> Tensor:
    """A tensor that shares memory with another library's array (PyTorch, JAX, CuPy, ...), on its device."""
    device_type, number = x.__dlpack_device__()
    kinds = {1: "cpu", 2: "cuda", 3: "cpu", 13: "cuda"}
    if device_type not in kinds:
        raise backend.DeviceError(f"from_dlpack: arrays of DLPack's device type {device_type} are not known here")
    kind = kinds[device_type]
    device = kind if kind == "cpu" else f"{kind}:{number}"
    return Tensor(backend.backend_for(device).module.from_dlpack(x))
