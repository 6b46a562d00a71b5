"""Where the sides run: on the CPU; with `--device cuda`, on a GPU those that can (minigrad, PyTorch and JAX)."""

from __future__ import annotations

import os
from typing import Any

DEVICE = os.environ.get("MINIGRAD_BENCHMARKS_DEVICE", "cpu")  # which `__main__` sets before this is imported


class NotOnGPUError(Exception):
    """A side cannot run where it is to."""


def only_on_cpu() -> None:
    """Leave a side out that knows no GPU."""
    if DEVICE != "cpu":
        raise NotOnGPUError


def wait() -> None:
    """Until the GPU has done all that any library asked it for."""
    if DEVICE != "cpu":
        import cupy

        cupy.cuda.Device().synchronize()


def ours(array: Any, requires_grad: bool = False) -> Any:
    """A tensor of minigrad."""
    import minigrad as mg

    return mg.tensor(array, device=DEVICE, requires_grad=requires_grad)


def theirs(array: Any, requires_grad: bool = False) -> Any:
    """A tensor of PyTorch. Its layers, too, multiply float32 numbers as such, not rounded to TF32."""
    import torch

    if DEVICE != "cpu":
        torch.backends.cudnn.allow_tf32 = False
    return torch.tensor(array, device=DEVICE, requires_grad=requires_grad)


def exact_jax() -> Any:
    """JAX, which on a GPU rounds the factors of a product to TF32 unless it is told not to."""
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    return jax


def name_of_gpu() -> str:
    """The GPU's name; empty on the CPU."""
    if DEVICE == "cpu":
        return ""
    import cupy

    found: bytes = cupy.cuda.runtime.getDeviceProperties(0)["name"]
    return found.decode()
