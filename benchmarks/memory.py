"""Peak memory of one call above a warmed baseline, in a separate process.

The measure is the peak of the process's resident set from the kernel, not `tracemalloc`, which sees NumPy's allocations
and Python's objects but nothing of PyTorch's, and so would compare different things (and slow one side several times).
Each side gets a fresh process, because memory held back by one side's allocator would serve the other for free.

The baseline is taken after some calls: libraries are loaded, threads started, work buffers made, programs recorded.
(Memory that these hold between calls is given by a call's attribute `held`; it counts as well.) Freed memory must then
leave the resident set, or the measured call would seem to need none: the allocator is told to return it
(`malloc_trim`), and to return large blocks directly to the kernel (`MALLOC_MMAP_THRESHOLD_`). Then the kernel's peak is
reset, before each phase of the call. This needs Linux's `/proc` and glibc; elsewhere the column stays empty. It is
accurate to about half a MiB.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def phases(call: Callable[[], Any]) -> Generator[str | None, None, Any]:
    """Run one call, and yield at the end of each of its phases; a plain function has one, without a name."""
    result = call()
    if isinstance(result, Generator):
        result = yield from result
    else:
        yield ""
    return result


def peaks_in_fresh_process(case: str, side: str) -> dict[str, int]:
    """Bytes above the baseline in each phase of one call, or nothing where it cannot be measured."""
    if not CLEAR.exists():
        return {}
    command = [sys.executable, "-m", __name__, case, side]
    large = {"MALLOC_MMAP_THRESHOLD_": str(1 << 16), "MALLOC_TRIM_THRESHOLD_": str(1 << 16)}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | large, stdout=subprocess.PIPE, check=True, text=True)
    answer: dict[str, int] = json.loads(done.stdout)
    return answer


def peaks(call: Callable[[], Any]) -> dict[str, int]:
    """The peaks in this process."""
    for _ in range(3):
        for _ in phases(call):
            pass
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    baseline = resident("VmRSS")
    found = {}
    CLEAR.write_text("5")  # the peak is now the present resident size
    for phase in phases(call):
        if phase is not None:
            found[phase] = resident("VmHWM") - baseline + getattr(call, "held", int)()
        CLEAR.write_text("5")
    return found


def resident(field: str) -> int:
    """Bytes of this process in memory: VmRSS now, VmHWM at the peak."""
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise KeyError(field)


if __name__ == "__main__":
    from .cases import all_cases

    _, wanted, side = sys.argv
    (setup,) = [case.sides[side] for case in all_cases() if case.name == wanted]
    json.dump(peaks(setup()), sys.stdout)
