"""Arrays and devices. The only module that imports CuPy; `cuda` holds the code for its arrays.

All other code is written once, with NumPy's functions: `np.tanh(a)` runs on the device of `a`, because CuPy's arrays
implement NumPy's protocols. This module has the operations outside those protocols: the device of an array, transfers
between devices, creation on a device, random numbers, scattered addition.

`register` adds another kind of array (the tests add a strict stand-in for CuPy).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .kinds import Array as Array
from .kinds import Backend as Backend
from .kinds import Device as Device
from .kinds import DeviceError as DeviceError
from .modes import current_mode

NUMPY = Backend(
    array_type=np.ndarray,
    module=np,
    device_of=lambda array: "cpu",
    to_numpy=lambda array: array,
    from_numpy=lambda array, device: np.asarray(array),
    default_rng=lambda seed, device: np.random.default_rng(seed),
    add_at=lambda array, index, values: np.add.at(array, index, values),
    synchronous=True,
)
_BACKENDS: dict[type, Backend] = {np.ndarray: NUMPY}
_BY_DEVICE: dict[str, Backend] = {"cpu": NUMPY}


def register(kind: str, backend: Backend) -> None:
    """Register another kind of array, for devices called `kind` or `kind:n`."""
    _BACKENDS[backend.array_type] = backend
    _BY_DEVICE[kind] = backend


def unregister(kind: str) -> None:
    """Remove a kind of array."""
    _BACKENDS.pop(_BY_DEVICE.pop(kind).array_type, None)


F = TypeVar("F", bound=Callable[..., Any])


# ---- CuPy --------------------------------------------------------------------------------------------------------


class _Cupy:
    """CuPy, imported once, at first use. It may be importable but not usable; the error is kept."""

    def __init__(self) -> None:
        self.searched = False
        self.module: Any = None  # importable
        self.usable = False  # and a GPU answers
        self.error: BaseException | None = None

    def find(self) -> _Cupy:
        if not self.searched:
            self.searched = True
            try:
                import cupy

                from .cuda.arrays import backend as backend_of_cupy

                self.module = cupy
                cupy.cuda.runtime.getDeviceCount()
                cupy.zeros(1) + 1
                register("cuda", backend_of_cupy(cupy))
                self.usable = True
            except Exception as error:  # a missing package, driver, library or card: all mean "no GPU here"
                self.error = error
        return self


CUPY = _Cupy()


def backend_for(device: Device) -> Backend:
    """The backend of a device's name; DeviceError with the reason if there is none."""
    kind, colon, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind == "cuda":
        CUPY.find()
    found = _BY_DEVICE.get(kind)
    if found is not None and (not colon or (number.isdigit() and kind != "cpu")):
        return found
    if kind == "cuda" and CUPY.error is not None:
        reason = "no GPU answers" if CUPY.module is not None else "CuPy cannot be imported"
        raise DeviceError(
            f'device "{device}" is not available because {reason}: {type(CUPY.error).__name__}: {CUPY.error} '
            "(`python -m minigrad doctor` says what would help)"
        )
    raise DeviceError(f'there is no device {device!r}; devices are "cpu", "cuda", "cuda:1" and so on')


def is_device(name: str) -> bool:
    """True for names of devices, "cpu", "cuda" or "cuda:1", available or not."""
    return name.partition(":")[0] in ("cuda", *_BY_DEVICE)


# ---- kinds and devices of arrays ---------------------------------------------------------------------------------


def backend_of(array: Array) -> Backend:
    """The backend of an array."""
    kind = type(array)
    found = _BACKENDS.get(kind)
    if found is None:
        if kind.__module__.partition(".")[0] == "cupy":
            CUPY.find()
        for array_type, candidate in _BACKENDS.items():
            if isinstance(array, array_type):
                return candidate
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} is not an array that minigrad knows")
    return found


def is_array(value: object) -> bool:
    """True for an array of a known kind (not for a scalar)."""
    if type(value) in _BACKENDS:
        return True
    if type(value).__module__.partition(".")[0] == "cupy":
        CUPY.find()
    return isinstance(value, tuple(_BACKENDS))


def plain(value: Any) -> Any:
    """A matrix, a memory map or another subclass as a plain NumPy array; other values unchanged. TypeError for a masked
    array, whose mask would be lost or spread."""
    if type(value) is np.ndarray or not isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            "a masked array cannot enter a graph; pass array.filled(value), or its data with np.where(mask, ...)"
        )
    return value.view(np.ndarray)


def native(dtype: Any) -> Any:
    """A dtype in native byte order, as NumPy's own object, which kernels compare by identity. (An unpickled array has
    another, equal one.)"""
    return np.dtype(np.dtype(dtype).newbyteorder("=").str)


def is_recorded(array: object) -> bool:
    """True for an array of a recording."""
    found = _BACKENDS.get(type(array))
    return found is not None and found.call is not None


def real_backend(array: Array) -> Backend | None:
    """The backend of an array, or of the plain array behind one of a recording. None for a number."""
    found = _BACKENDS.get(type(array))
    return found if found is None or found.inside is None else backend_of(found.inside(array))


def device_of(array: Array) -> Device:
    """`"cpu"`, `"cuda:0"`, ..."""
    return backend_of(array).device_of(array)


def held(array: Array) -> Array:
    """The plain array behind one of a recording; other arrays unchanged."""
    kind = backend_of(array)
    return array if kind is None or kind.inside is None else kind.inside(array)


def module_of(array: Array) -> Any:
    """The module with NumPy's functions for this kind of array."""
    found = backend_of(array)
    return found.module if found.inside is None else module_of(found.inside(array))


def on_cpu(array: Array) -> bool:
    """True for an array in the memory of the CPU, which computes synchronously."""
    return type(array) is np.ndarray or device_of(array) == "cpu"


def transfer(array: Array, device: Device) -> Array:
    """The array on a device (itself, if it is already there)."""
    target = backend_for(device)
    if device in (there := device_of(array), there.partition(":")[0]):
        return array
    return target.from_numpy(backend_of(array).to_numpy(array), device)


def use(device: Device) -> None:
    """Make a GPU the current device of CuPy, on which it computes and creates arrays by default."""
    if backend_for(device) is not NUMPY and CUPY.module is not None:
        CUPY.module.cuda.Device(int(device.partition(":")[2] or 0)).use()


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """The array as a NumPy array, copied from its device if necessary."""
    return backend_of(array).to_numpy(array)


def from_numpy(array: Any, device: Device) -> Array:
    """An array-like of NumPy on a device."""
    return backend_for(device).from_numpy(array, device)


def shaped(function: Callable[..., Array], like: Array, shape: tuple[int, ...], **how: Any) -> Array:
    """np.empty_like and similar functions for any shape. (CuPy takes the shape () for that of the array.)"""
    kind = _BACKENDS.get(type(like), NUMPY)
    if kind.call is None and kind.module is not np:  # CuPy's own are twice as fast
        dtype, order = how.get("dtype", like.dtype), how.get("order", "C")
        made: Array = getattr(kind.module, function.__name__.removesuffix("_like"))(shape, dtype, order)
        return made
    return function(like, shape=shape, **how) if shape else function(like, shape=(1,), **how).reshape(())


def beside(like: Array, function: Callable[..., Array]) -> Callable[..., Array]:
    """np.empty_like or np.zeros_like with the interface of np.empty or np.zeros, for arrays of the kind of `like`."""
    return lambda shape, dtype, order: shaped(function, like, shape, dtype=dtype, order=order)


def decisive(array: Array, what: str) -> Array:
    """Declare that an array's values determine the operations; raises, with `what`, for kinds that forbid it."""
    decides = backend_of(array).decides
    if decides is not None:
        decides(array, what)
    return array


def as_one(function: F) -> F:
    """Decorate a function of arrays: a recording of its first array contains it as one operation."""

    @functools.wraps(function)
    def whole(array: Array, *others: Any) -> Any:
        call = backend_of(array).call
        return function(array, *others) if call is None else call(function, (array, *others), ())

    return whole  # type: ignore[return-value]


# ---- indices -----------------------------------------------------------------------------------------------------


def check_indices(operation: str, indices: Array, size: int) -> None:
    """Raise IndexError if an index is not in [0, size). On a GPU only under `detect_anomaly`: it synchronises."""
    _checked(indices, operation, size)


@as_one
def _checked(indices: Array, operation: str, size: int) -> None:
    kind = backend_of(indices)
    if indices.size == 0 or not (kind.synchronous or current_mode().observers):
        return
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= size:
        raise IndexError(f"{operation}: index {low if low < 0 else high} is out of range for {size} rows")


def add_at(array: Array, index: Any, values: Array) -> None:
    """`array[index] += values`; repeated indices accumulate."""
    call = backend_of(array).call
    if call is not None:
        call(add_at, (array, index, values), (array,))
        return
    parts = index if type(index) is tuple else (index,)
    arrays = [part for part in parts if is_array(part)]
    if all(part.dtype.kind == "b" for part in arrays):  # slices, numbers and masks have no repeated indices
        array[index] += values
    elif len(parts) == 1:
        rows = arrays[0].reshape(-1).astype(np.intp, copy=False)  # a small integer type cannot hold every row
        rows = np.where(rows < 0, rows + array.shape[0], rows)
        if (add_rows := backend_of(array).add_rows) is not None:
            add_rows(array, rows, values.reshape((rows.size, *array.shape[1:])))
            return
        unique, sums = sum_rows(rows, values.reshape((rows.size, *array.shape[1:])))
        array[unique] += sums
    else:
        backend_of(array).add_at(array, index, values)


def fill_rows(array: Array, rows: Array, value: float) -> None:
    """`array[rows] = value` for a mask of rows, without synchronisation on a GPU."""
    if on_cpu(array):
        array[rows] = value
    else:
        np.copyto(array, value, where=rows.reshape((*rows.shape, *(1,) * (len(array.shape) - len(rows.shape)))))


def sum_rows(indices: Array, rows: Array) -> tuple[Array, Array]:
    """Sorted distinct indices (U,) and the sum of the rows of each (U, ...), from (K,) and (K, ...)."""
    xp = backend_of(rows)
    if indices.size == 0:
        return indices, rows
    if xp.synchronous:
        order = np.argsort(indices, kind="stable")
        ordered = indices[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
        return ordered[starts], _sum_groups(rows, order, starts)
    unique, inverse = np.unique(indices, return_inverse=True)
    sums = np.zeros_like(rows, shape=(unique.shape[0], *rows.shape[1:]))
    (xp.add_rows or xp.add_at)(sums, inverse.reshape(-1), rows)
    return unique, sums


@as_one
def sum_rows_of_size(rows: Array, indices: Array) -> tuple[Array, Array, Array]:
    """`sum_rows` in arrays as long as the given ones, for a recording: the last row is repeated. The third array (K,)
    is 1 for rows that count, and 0 for repetitions.
    """
    unique, sums = sum_rows(indices, rows)
    at = module_of(rows).arange(len(indices))
    last = np.minimum(at, len(unique) - 1)
    return unique[last], sums[last], (at < len(unique)).astype(rows.dtype)


def _sum_groups(rows: Array, order: Array, starts: Array) -> Array:
    """For each group order[start : next start] of rows, its sum. Much faster than np.add.reduceat along axis 0."""
    sums = rows[order[starts]]  # the first of each group
    sizes = np.diff(starts, append=len(order))
    few = 8
    for k in range(1, few):  # the k-th of all small groups at once
        groups = np.flatnonzero((sizes > k) & (sizes <= few))
        sums[groups] += rows[order[starts[groups] + k]]
    for group in np.flatnonzero(sizes > few):
        start = starts[group]
        sums[group] = rows[order[start : start + sizes[group]]].sum(axis=0)
    return sums
