"""Settings of the process: freed memory is kept, BLAS rests sooner, unless the user says otherwise."""

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
    assert faults(MINIGRAD_TUNE="0") > 1000


IMPORTS = """
import os, sys
class Watch:
    def find_spec(self, name, path, target=None):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_THREAD_TIMEOUT"))
sys.meta_path.insert(0, Watch())
"""


def timeout_of_blas(code: str, **environment: str) -> list[str]:
    """The value that OpenBLAS reads when NumPy is imported, and the one that programs started later inherit."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    code = f"{IMPORTS}\n{code}; print(os.environ.get('OPENBLAS_THREAD_TIMEOUT'))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=kept | environment).stdout.split()


def test_threads_of_blas_rest_sooner_and_no_other_program_learns_of_it() -> None:
    assert timeout_of_blas("import minigrad") == ["20", "None"]
    assert timeout_of_blas("import minigrad", OPENBLAS_THREAD_TIMEOUT="24") == ["24", "24"]
    assert timeout_of_blas("import minigrad", MINIGRAD_TUNE="0") == ["None", "None"]


READ = """
import ctypes, numpy
from numpy._core import _multiarray_umath as module
blas = ctypes.CDLL(module.__file__)
a = numpy.ones((300, 300)); b = a @ a  # its threads are there
able = all(hasattr(blas, name) for name in ("openblas_read_env", "blas_thread_shutdown_", "openblas_thread_timeout"))
timeout = blas.openblas_thread_timeout if able else lambda: "unable"
print(timeout())
{more}
import minigrad
print(timeout(), (a @ a == b).all())
"""


def read_by_blas(more: str, **environment: str) -> list[str]:
    return timeout_of_blas(READ.format(more=more).strip(), **environment)[1:-1]


def test_blas_that_runs_already_reads_it_again() -> None:
    before, after, same = read_by_blas("")
    if before == "unable":
        pytest.skip("NumPy's BLAS is not an OpenBLAS that can read its environment again")
    assert (before, after, same) == ("0", "20", "True")
    assert read_by_blas("", MINIGRAD_TUNE="0") == ["0", "0", "True"]
    assert read_by_blas("", OPENBLAS_THREAD_TIMEOUT="24") == ["24", "24", "True"]
    other = "import threading, time; threading.Thread(target=time.sleep, args=(0.5,)).start()"
    assert read_by_blas(other) == ["0", "0", "True"]  # which may be multiplying
    waiting = """
import socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=server.accept, daemon=True).start()
time.sleep(0.2)
"""
    assert read_by_blas(waiting) == ["0", "20", "True"]  # for a message, as the threads of a notebook's kernel do
