"""A kind of array, with the functions outside NumPy's protocols. `backend` holds all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = Any
Device = str


class Backend(NamedTuple):
    """One kind of array.

    array_type    its class
    module        the module with NumPy's functions for this kind
    device_of     array -> "cpu", "cuda:0", ...
    to_numpy      array -> NumPy array
    from_numpy    (NumPy array, device) -> array
    default_rng   (seed, device) -> a generator with `random`, `standard_normal`
    add_at        (array, index, values): unbuffered `array[index] += values`
    synchronous   True if reading a value needs no synchronisation
    wait          (array): wait until it is computed; None for synchronous kinds
    call          (function, arguments, written arguments): a call as one operation of the recording of such arrays
                  (`replay`); None for other kinds
    inside        array -> the plain array that it stands for
    decides       (array, what): raises, because its values must not determine the operations; None if they may
    add_rows      (array, indices (K,), rows (K, ...)): as add_at, in a fixed order; None to sort the rows instead
    product       (a, b, out): `out = a @ b` in a form that can be captured; None for np.matmul
    elementwise   makes a kernel, called like cupy.ElementwiseKernel; None if fused functions run otherwise
    capture       (function) -> a launcher of all its launches as one graph, captured without executing them; None if
                  unsupported
    collectives   (device, size, rank, exchange) -> sums and concatenations over processes; None if unsupported.
                  `exchange` sends rank 0's list of numbers to all
    """

    array_type: type
    module: Any
    device_of: Callable[[Array], Device]
    to_numpy: Callable[[Array], np.ndarray[Any, Any]]
    from_numpy: Callable[[Any, Device], Array]
    default_rng: Callable[[Any, Device], Any]
    add_at: Callable[[Array, Any, Array], None]
    synchronous: bool
    wait: Callable[[Array], None] | None = None
    call: Callable[..., Any] | None = None
    inside: Callable[[Array], Array] | None = None
    decides: Callable[[Array, str], None] | None = None
    add_rows: Callable[[Array, Array, Array], None] | None = None
    product: Callable[..., None] | None = None
    elementwise: Callable[..., Any] | None = None
    capture: Callable[[Callable[[], None]], Callable[[], None]] | None = None
    collectives: Callable[..., Any] | None = None


class DeviceError(RuntimeError, TypeError, ValueError):
    """Arrays of different devices in one operation, or an unavailable device."""
