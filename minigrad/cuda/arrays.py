"""The backend of CuPy's arrays."""

from __future__ import annotations

from typing import Any

from ..kinds import Array, Backend, Device
from .collectives import Nccl
from .graphs import captured
from .products import Cublas, product
from .rows import RowAdder


def backend(cupy: Any) -> Backend:
    """The backend for the module `cupy`."""

    def on(device: Device) -> Any:
        return cupy.cuda.Device(int(device.partition(":")[2] or 0))

    def from_numpy(array: Any, device: Device) -> Array:
        with on(device):
            return cupy.asarray(array)

    def default_rng(seed: Any, device: Device) -> Any:
        with on(device):
            return cupy.random.default_rng(seed)

    blas = Cublas(cupy)

    def multiply(a: Array, b: Array, out: Array) -> None:
        if not blas.usable() or not product(blas, a, b, out):
            cupy.matmul(a, b, out=out)

    return Backend(
        array_type=cupy.ndarray,
        module=cupy,
        device_of=lambda array: f"cuda:{array.device.id}",
        to_numpy=cupy.asnumpy,
        from_numpy=from_numpy,
        default_rng=default_rng,
        add_at=cupy.add.at,
        synchronous=False,
        wait=lambda array: cupy.cuda.get_current_stream().synchronize(),
        add_rows=RowAdder(cupy.ElementwiseKernel),
        product=multiply,
        elementwise=cupy.ElementwiseKernel,
        capture=lambda work: captured(cupy, blas, work),
        collectives=lambda device, size, rank, exchange: Nccl(cupy, device, size, rank, exchange),
    )
