"""`python -m benchmarks`: measure every case, or some, and print one table. Times are not asserted."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """Give every library the same number of threads. They read it once, when they are imported."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[variable] = str(count)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="cases with NAME in their name; repeatable")
    parser.add_argument("--quick", action="store_true", help="few calls and rounds: does it run? Not for comparing")
    parser.add_argument("--threads", metavar="N", type=int, default=available_cores(), help="of every side (all cores)")
    parser.add_argument("--device", default="cpu", help="of every side that can: cpu (the default), or cuda")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table into FILE as well")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw ratios against sizes, as of `--only scaling`")
    options = parser.parse_args()
    limit_threads(options.threads)
    os.environ["MINIGRAD_BENCHMARKS_DEVICE"] = options.device
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take most of a GPU's memory

    import minigrad  # noqa: F401  before any other library starts threads

    from .cases import all_cases
    from .compare import FULL, ON_GPU, QUICK, DisagreementError, measure
    from .report import Report

    cases = [c for c in all_cases() if not options.only or any(name in c.name for name in options.only)]
    if not cases:
        parser.error("no such case; there are\n  " + "\n  ".join(c.name for c in all_cases()))
    effort = QUICK if options.quick else FULL if options.device == "cpu" else ON_GPU
    report = Report(threads=options.threads, effort=effort)
    for number, case in enumerate(cases, 1):
        print(f"[{number}/{len(cases)}] {case.name}", file=sys.stderr, flush=True)
        try:
            report.add(measure(case, report.effort))
        except DisagreementError as error:
            report.wrong.append(str(error))
            print(f"  not measured: {error}", file=sys.stderr, flush=True)
        if options.markdown is not None:
            options.markdown.write_text(report.markdown(), encoding="utf-8")
    print(report.plain())
    if options.plot is not None:
        from .plot import draw

        draw(report.rows, options.plot)
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
