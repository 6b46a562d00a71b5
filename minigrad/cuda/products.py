"""Matrix products by cuBLAS, into existing arrays.

CuPy calls cuBLAS as well, but refuses to do so while a graph is captured.

cuBLAS stores matrices column by column, so a row-major matrix is its own transpose there: out = a b is computed as
outᵀ = bᵀ aᵀ, without moving data.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
AS_IT_LIES, TRANSPOSED = 0, 1  # cublasOperation_t
LETTERS = {np.dtype(np.float32): "S", np.dtype(np.float64): "D"}
WORKSPACE = 8 << 20  # bytes, shared by all products of a graph
FACTORS = {"S": (ctypes.c_float(0), ctypes.c_float(1)), "D": (ctypes.c_double(0), ctypes.c_double(1))}  # 0 and 1
_int, _long, _address = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
_MATRIX, _MATRICES = (_address, _int), (_address, _int, _long)


def product(blas: Any, a: Array, b: Array, out: Array) -> bool:
    """out = a b, like np.matmul. Returns False, without doing anything, if cuBLAS has no such product.

    blas  is called with the name of a cuBLAS function and its arguments after the handle; provides addresses
    """
    if not a.dtype == b.dtype == out.dtype or out.dtype not in LETTERS or not a.size or not b.size:
        return False
    if a.ndim == 1:
        a, out = a[None], out[..., None, :] if b.ndim > 1 else out[None]
    if b.ndim == 1:
        b, out = b[:, None], out[..., None]
    lying = layout(out)
    if lying is None or steps(out) is None:
        result = out.copy("C")
        product(blas, a, b, result)
        out[...] = result
        return True
    if lying[0] == TRANSPOSED:
        a, b, out = np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2), np.swapaxes(out, -1, -2)
    batch, (M, N), K = out.shape[:-2], out.shape[-2:], a.shape[-1]
    a, how_a, down_a, step_a = matrices(a, batch)
    b, how_b, down_b, step_b = matrices(b, batch)
    letter, address, down = LETTERS[out.dtype], blas.address, lying[1]
    zero, one = map(ctypes.addressof, FACTORS[letter])
    head = how_b, how_a, N, M, K, one
    if math.prod(batch) == 1:
        blas(f"cublas{letter}gemm_v2", *head, address(b), down_b, address(a), down_a, zero, address(out), down)
    else:
        left, right = (address(b), down_b, step_b), (address(a), down_a, step_a)
        blas(
            f"cublas{letter}gemmStridedBatched", *head, *left, *right, zero, address(out), down, steps(out),
            math.prod(batch),
        )  # fmt: skip
    return True


def layout(x: Array) -> tuple[int, int] | None:
    """The orientation of matrices, and the stride between their rows (or columns); None if neither is contiguous."""
    (rows, columns), (down, right) = x.shape[-2:], [s // x.itemsize for s in x.strides[-2:]]
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return AS_IT_LIES, down if rows > 1 else columns
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return TRANSPOSED, right if columns > 1 else rows
    return None


def steps(x: Array) -> int | None:
    """The stride between the matrices of a stack; None if it varies."""
    step, count = None, 1
    for size, stride in zip(reversed(x.shape[:-2]), reversed(x.strides[:-2]), strict=True):
        if size == 1:
            continue
        if step is not None and stride != step * count:
            return None
        step, count = (stride, size) if step is None else (step, count * size)
    return 0 if step is None else step // x.itemsize


def matrices(x: Array, batch: tuple[int, ...]) -> tuple[Array, int, int, int]:
    """A stack of matrices of the batch's shape: (array, orientation, row stride, matrix stride)."""
    if math.prod(x.shape[:-2]) == 1:
        x = x[(0,) * (x.ndim - 2)]  # one for all
    elif x.shape[:-2] != batch:
        x = np.broadcast_to(x, (*batch, *x.shape[-2:]))
    lying, step = layout(x), steps(x)
    if lying is None or step is None:
        x = x.copy("C")
        return x, AS_IT_LIES, x.shape[-1], x.shape[-2] * x.shape[-1] if x.ndim > 2 else 0
    return x, *lying, step


class Cublas:
    """The library as loaded by CuPy, with a handle for each thread and device."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.library: Any = None
        self.searched = False
        self.here = threading.local()

    @staticmethod
    def address(array: Array) -> int:
        return int(array.data.ptr)

    def usable(self) -> bool:
        """True if the library is available."""
        if not self.searched:
            self.searched = True
            self.cupy.cuda.device.get_cublas_handle()  # loads it
            path = _loaded("libcublas.so")
            if path is not None:
                self.library = ctypes.CDLL(path)
                head = (_address, _int, _int, _int, _int, _int, _address)  # handle, two orientations, sizes, factor
                for letter in LETTERS.values():
                    one = getattr(self.library, f"cublas{letter}gemm_v2")
                    one.argtypes = (*head, *_MATRIX, *_MATRIX, _address, *_MATRIX)
                    many = getattr(self.library, f"cublas{letter}gemmStridedBatched")
                    many.argtypes = (*head, *_MATRICES, *_MATRICES, _address, *_MATRICES, _int)
        return self.library is not None

    def __call__(self, name: str, *arguments: Any) -> None:
        handle, here = self._handle(), self.here
        stream = self.cupy.cuda.get_current_stream().ptr
        if here.streams.get(handle) != stream:
            self._do("cublasSetStream_v2", _address(handle), _address(stream))
            here.streams[handle] = stream
        self._do(name, handle, *arguments)

    @contextlib.contextmanager
    def for_graph(self, stream: int) -> Iterator[Any]:
        """A context in which products are captured on a stream. They share the yielded memory, which has to stay alive
        as long as the graph; cuBLAS's own workspace would be shared with work outside of the graph."""
        if not self.usable():
            yield None
            return
        handle, memory = self._handle(), self.cupy.empty(WORKSPACE, np.uint8)
        self._do("cublasSetStream_v2", _address(handle), _address(stream))
        self._do("cublasSetWorkspace_v2", _address(handle), _address(memory.data.ptr), ctypes.c_size_t(WORKSPACE))
        self.here.streams[handle] = stream
        try:
            yield memory
        finally:
            del self.here.streams[handle]  # the next product sets its stream and cuBLAS's own workspace again

    def _handle(self) -> int:
        here = self.here
        if not hasattr(here, "handles"):
            here.handles, here.streams = {}, {}
        device = self.cupy.cuda.runtime.getDevice()
        if device not in here.handles:
            made = _address()
            self._do("cublasCreate_v2", ctypes.byref(made))
            here.handles[device] = made.value
        found: int = here.handles[device]
        return found

    def _do(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} of cuBLAS answers with status {status}")


def _loaded(name: str) -> str | None:
    """The file of a library loaded in this process."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    paths = {line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines() if "/" in line}
    return next((path for path in sorted(paths) if Path(path).name.startswith(name)), None)
