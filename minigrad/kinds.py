"""A kind of array, with the functions that NumPy's protocols do not reach. `backend` knows all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = Any
Device = str


class Backend(NamedTuple):
    """One kind of array.

    array_type    its class
    module        the module with NumPy's functions for it
    device_of     array -> "cpu", "cuda:0", ...
    to_numpy      array -> NumPy array
    from_numpy    (NumPy array, device) -> array
    default_rng   (seed, device) -> a generator with `random`, `standard_normal`
    add_at        (array, index, values): unbuffered `array[index] += values`
    synchronous   whether looking at a value costs no wait
    wait          (array): until it is computed; None if it always is
    call          (function, arguments, those written into): a call as one operation of the recording that arrays of
                  this kind belong to (`replay`); None for arrays that just compute
    inside        what such an array stands for
    decides       (array, what): raises, since its numbers must not decide what is computed; None where they may
    add_rows      (array, indices (K,), rows (K, ...)): as add_at, in a fixed order; None where sorting is as good
    product       (a, b, out): `out = a @ b` in a program that can be captured; None where np.matmul does
    elementwise   what makes a kernel, called like cupy.ElementwiseKernel; None where fused functions run otherwise
    capture       (function): what it launches, without doing it, as one function that launches all of it; None where
                  there is nothing to gain
    collectives   (device, size, rank, exchange): what sums and joins such arrays over processes; None where there is
                  nothing. `exchange` gives rank 0's list of numbers to all
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
    """Arrays of different devices in one operation, or a device that is not there."""
