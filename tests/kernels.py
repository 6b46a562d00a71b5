"""Run the tests of the engine and the layers under each kernel that BLAS has for this processor, on one thread or two.

The last bits of a product depend on both, and results that agree on one processor need not agree on another one.
NumPy's OpenBLAS takes the kernel that OPENBLAS_CORETYPE names; a name that it does not have leads to another kernel,
which is then not run twice. Under the last one, nothing is compiled, so that BLAS does all products.

    python tests/kernels.py [PYTEST'S ARGUMENTS]
"""

from __future__ import annotations

import os
import subprocess
import sys

NAMES = ("Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids", "Nehalem")  # AVX2, AVX-512, and SSE
WITHOUT = {  # files whose results do not depend on products: pictures, pages, files, processes
    "engine": "cache doctor film gallery html packing pictures pictures_calls pictures_layout pictures_property "
              "pictures_textbook pictures_views process",
    "nn": "files logs onnx_sizes",
}  # fmt: skip
IGNORED = [f"--ignore=tests/{folder}/test_{name}.py" for folder, names in WITHOUT.items() for name in names.split()]
TESTS = ("tests/engine", "tests/nn", "tests/test_operations.py", *IGNORED, "-q", "-n", "auto", "--maxprocesses", "8")
ASK = """
import numpy, threadpoolctl
print(*[pool.get("architecture", "") for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"])
"""


def kernel(name: str) -> str | None:
    """The kernel that BLAS takes for a name; None where the processor cannot run it."""
    environment = os.environ | {"OPENBLAS_CORETYPE": name}
    told = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False)
    return told.stdout.strip() if told.returncode == 0 else None


def main(arguments: list[str]) -> int:
    found = {k: name for name in reversed(NAMES) if (k := kernel(name))}
    if not found:
        print("kernels: NumPy's BLAS is not OpenBLAS here, so its kernel cannot be chosen")
        return 0
    names = sorted(found.values(), key=NAMES.index)
    for n, name in enumerate(names):
        compiles, threads = str(int(name != names[-1])), str(1 + n % 2)
        settings = {"OPENBLAS_CORETYPE": name, "OMP_NUM_THREADS": threads, "MINIGRAD_COMPILE": compiles}
        environment = os.environ | settings
        print("kernels:", *[f"{key}={value}" for key, value in settings.items()], flush=True)
        done = subprocess.run([sys.executable, "-m", "pytest", *(arguments or TESTS)], env=environment, check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
