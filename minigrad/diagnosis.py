"""`mg.doctor()`: a report of the installed and the compiled parts, with commands that install the missing ones."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import process
from .backend import CUPY
from .native import cache, machine
from .version import __version__

EXTRAS = {
    "llvmlite": ("fast", "compiled kernels for fused functions"),
    "numba": ("fast", "compiled training of word vectors"),
    "matplotlib": ("viz", "plots"),
    "pygraphviz": ("viz", "pictures of graphs, without a system Graphviz"),
    "sacrebleu": ("nlp", "BLEU"),
    "mpi4py": ("mpi", "training by several processes"),
    "sklearn": ("tsne", "maps by t-SNE"),
    "onnx": ("onnx", "models as ONNX files"),
    "tensorboardX": ("log", "logs for TensorBoard"),
    "treescope": ("notebook", "tensors and modules that fold in notebooks"),
}


def _owners() -> Mapping[str, list[str]]:
    """The installed distributions that bring each top-level module; slow, since it reads all their lists of files."""
    from importlib import metadata

    return metadata.packages_distributions()


def _version(module: str, owners: Mapping[str, list[str]]) -> str | None:
    from importlib import metadata

    if importlib.util.find_spec(module) is None:
        return None
    for name in (module, *owners.get(module, [])):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown version"


def _blas() -> str:
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _gpu_lines() -> list[str]:
    cupy = CUPY.find()
    if cupy.module is None:
        return [
            f"GPU          no: CuPy cannot be imported ({type(cupy.error).__name__}: {cupy.error})",
            "             for an NVIDIA GPU with CUDA 12: pip install 'minigrad[gpu]'; with CUDA 13: cupy-cuda13x",
        ]
    lines = [f"CuPy         {cupy.module.__version__}"]
    if not cupy.usable:
        return [*lines, f"GPU          no: none answers ({type(cupy.error).__name__}: {cupy.error})"]
    runtime = cupy.module.cuda.runtime
    for number in range(runtime.getDeviceCount()):
        properties = runtime.getDeviceProperties(number)
        memory = properties["totalGlobalMem"] / 2**30
        lines.append(f"cuda:{number}       {properties['name'].decode()}, {memory:.0f} GiB")
    return lines


def _strangers(owners: Mapping[str, list[str]]) -> list[str]:
    """Lines about another project's `nn` or `nlp` in this environment."""
    lines: list[str] = []
    for name in ("nn", "nlp"):
        spec = importlib.util.find_spec(name)
        found = next(iter((spec and spec.submodule_search_locations) or ["nothing"]))
        others = sorted(set(owners.get(name, [])) - {"minigrad"})
        if Path(found) != Path(__file__).parents[1] / name:
            lines.append(f"{name:<12} not minigrad's: `import {name}` finds {found}")
        elif others:
            lines.append(f"{name:<12} also installed by {', '.join(others)}: the files of both lie in one folder")
        else:
            continue
        lines.append("             install minigrad into an environment of its own (python -m venv)")
        if others:
            lines.append(f"             or: pip uninstall {' '.join(others)}, and install minigrad again")
    return lines


def report() -> str:
    """The text that `doctor` prints."""
    threads = [
        f"{name}={os.environ[name]}"
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", process.TIMEOUT)
        if name in os.environ
    ]
    lines = [
        f"minigrad     {__version__}",
        f"Python       {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"NumPy        {np.__version__}, BLAS: {_blas()}",
        f"cores        {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"
        + (f" ({', '.join(threads)})" if threads else ""),
    ]
    owners = _owners()
    missing: dict[str, list[str]] = {}
    for module, (extra, purpose) in EXTRAS.items():
        version = _version(module, owners)
        lines.append(f"{module:<12} {version or 'not installed: ' + purpose}")
        if version is None:
            missing.setdefault(extra, []).append(module)
    compiles = machine.in_use()
    lines.append(f"cache        {cache.report() if compiles else 'not used: nothing is compiled here'}")
    lines += _gpu_lines()
    lines += _strangers(owners)
    if missing:
        lines.append(f"to install   pip install 'minigrad[{','.join(missing)}]'")
    return "\n".join(lines)


def doctor() -> None:
    """Print versions, BLAS and threads, the state of CuPy and the GPU, and a command that installs what is missing.

    Also `python -m minigrad doctor`.
    """
    sys.stdout.write(report() + "\n")
