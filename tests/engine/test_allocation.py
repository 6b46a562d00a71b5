"""Freed memory is kept for the next pass, unless the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, numpy as np, minigrad as mg
W = mg.randn(64, 64, requires_grad=True)
def once():
    h = mg.zeros((32, 64))
    for _ in range(200):
        h = np.tanh(h @ W)
    h.sum().backward()
once(); once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> int:
    """Page faults of five passes, of about 800 pages each, after two to warm up. (Without kernels: what their compiler
    leaves at the top of the heap would keep it from being given back.)"""
    environment |= {"MINIGRAD_COMPILE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be told to keep freed memory")
def test_a_second_pass_finds_its_memory() -> None:
    assert faults() < 200
    assert faults(MINIGRAD_KEEP_MEMORY="0") > 1000


def timeout_of_blas(code: str, **environment: str) -> str:
    """What OpenBLAS is told after some imports."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    code += "; import os; print(os.environ.get('OPENBLAS_THREAD_TIMEOUT'))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=kept | environment).stdout.strip()


def test_threads_of_blas_rest_sooner() -> None:
    assert timeout_of_blas("import minigrad") == "20"
    assert timeout_of_blas("import numpy, minigrad") == "None"  # too late
    assert timeout_of_blas("import minigrad", OPENBLAS_THREAD_TIMEOUT="24") == "24"
