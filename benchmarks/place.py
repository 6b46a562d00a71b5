"""The device of the sides: the CPU, or with `--device cuda` a GPU for those that can (minigrad, PyTorch and JAX)."""

from __future__ import annotations

import os
from typing import Any

DEVICE = os.environ.get("MINIGRAD_BENCHMARKS_DEVICE", "cpu")  # set by `__main__` before this is imported


class NotOnGPUError(Exception):
    """A side cannot run on the requested device."""


def only_on_cpu() -> None:
    """Leave out a side without GPU support."""
    if DEVICE != "cpu":
        raise NotOnGPUError


def wait() -> None:
    """Wait until the GPU has finished all work of any library."""
    if DEVICE != "cpu":
        import cupy

        cupy.cuda.Device().synchronize()


def ours(array: Any, requires_grad: bool = False) -> Any:
    """A tensor of minigrad."""
    import minigrad as mg

    return mg.tensor(array, device=DEVICE, requires_grad=requires_grad)


def theirs(array: Any, requires_grad: bool = False) -> Any:
    """A tensor of PyTorch. Its layers multiply float32 numbers without rounding to TF32."""
    import torch

    if DEVICE != "cpu":
        torch.backends.cudnn.allow_tf32 = False
    return torch.tensor(array, device=DEVICE, requires_grad=requires_grad)


def exact_jax() -> Any:
    """JAX, told not to round the factors of a product to TF32 on a GPU."""
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
