"""Mutants: the tests catch at least 95 % of small wrong changes in rules, cells, loops, optimizers, decoding, metrics.

A seeded sample of the changes in `mutations.py`, with equal numbers from each group, is applied one at a time to a copy
of the project. The tests of `make test`, those of the changed part first, must then fail.
"""

from __future__ import annotations

import compileall
import py_compile
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.trust.common import ROOT, arguments, conclude, environment
from tests.trust.mutations import Mutant, mutants

BOUND = 0.95
SECONDS = 900  # for the tests concerned; a mutant whose tests run longer counts as caught, as `make test` would fail
OPERATIONS = ["tests/operations", "tests/test_operations.py", "tests/test_stability.py"]
WALK = ["tests/engine/test_tape.py", "tests/engine/test_gathering.py", "tests/engine/test_transforms.py",
        "tests/engine/test_writing.py", "tests/test_properties.py"]  # fmt: skip
LAYERS = ["tests/nn/test_cells.py", "tests/nn/test_ragged.py", "tests/nn/test_recurrent.py",
          "tests/nn/test_fused_cells.py"]  # fmt: skip

# Source files, and the tests concerned in the order in which they are run.
GROUPS: dict[str, tuple[list[str], list[str]]] = {
    "rules": (["minigrad/rules/*.py"], [*OPERATIONS, "tests/test_arguments.py", *WALK]),
    "backward": (["minigrad/backward.py", "minigrad/arrivals.py", "minigrad/leaves.py", "minigrad/gradients.py"],
                 [*WALK, "tests/engine/test_checkpoint.py", "tests/engine/test_anomaly.py",
                  "tests/engine/test_errors.py", "tests/nn/test_optimizers.py"]),
    "cells": (["nn/cells/*.py"], LAYERS),
    "sequences": ([f"nn/sequences/{name}.py" for name in ("packing", "recurrent", "rnn", "stacking", "truncation")],
                  ["tests/nn/test_ragged.py", "tests/nn/test_recurrent.py", "tests/nn/test_cells.py",
                   "tests/nn/test_truncation.py"]),
    "layers": (["nn/layers/*.py"],
               ["tests/nn/test_layers.py", "tests/nn/test_convolution.py", "tests/nn/test_normalization.py",
                "tests/nn/test_embeddings.py", "tests/nn/test_multihead.py", "tests/nn/test_attention.py"]),
    "programs": (["minigrad/programs/[lrst]*.py", "nn/sequences/rolling.py"],
                 ["tests/nn/test_rolled.py", "tests/nn/test_rolled_cells.py", *LAYERS]),
    "crf": (["nn/crf.py"], ["tests/nn/test_crf.py", "tests/nlp/test_tagger.py"]),
    "losses": (["nn/losses/*.py"], ["tests/nn/test_losses.py", "tests/nn/test_ctc.py", "tests/nn/test_corners.py",
                                    "tests/nn/test_sampled.py"]),
    "optimizers": (["nn/optimizers/*.py"], ["tests/nn/test_optimizers.py", "tests/nn/test_checkpoints.py",
                                            "tests/nn/test_trainer.py"]),
    "training": (["nn/training/trainer.py", "nn/training/progress.py"],
                 ["tests/nn/test_trainer.py", "tests/nn/test_checkpoints.py"]),
    "clipping": (["nn/clipping.py"], ["tests/nn/test_clipping.py", "tests/nn/test_optimizers.py"]),
    "schedules": (["nn/schedules/*.py"], ["tests/nn/test_schedules.py", "tests/nn/test_checkpoints.py"]),
    "decoding": (["nlp/decoding/beam.py", "nlp/decoding/[clpr]*o*.py", "nlp/decoding/ranking.py",
                  "nlp/decoding/lattice.py", "nlp/decoding/results.py", "nlp/decoding/selection.py"],
                 ["tests/nlp/test_decoding.py", "tests/nlp/test_beam_search.py", "tests/nlp/test_seq2seq.py",
                  "tests/nlp/test_decoding_pictures.py"]),
    "metrics": (["nlp/metrics.py"], ["tests/nlp/test_metrics.py"]),
}  # fmt: skip
PASSED_OVER = ["tests/test_mutants.py"]  # mutants missed by all others
REST = ["tests/nn", "tests/nlp", "tests/engine", "tests/test_documentation.py"]  # for surviving mutants


def sample(count: int, seed: int) -> list[tuple[str, Mutant]]:
    """`count` mutants, taken from the groups in turn."""
    shuffled = []
    for name, (patterns, _) in GROUPS.items():
        paths = sorted({path for pattern in patterns for path in ROOT.glob(pattern)})
        paths = [path for path in paths if path.name not in ("__init__.py", "pictures.py")]
        own = [m for path in paths for m in mutants(path.relative_to(ROOT).as_posix(), path.read_bytes())]
        random.Random(f"{seed} {name}").shuffle(own)
        shuffled.append([(name, mutant) for mutant in own])
    return [one for turn in zip_longest(*shuffled) for one in turn if one is not None][:count]


def run(tree: Path, tests: list[str], seconds: float | None = SECONDS) -> str:
    """The first test that fails in a copy of the project; nothing if all pass."""
    command = [sys.executable, "-m", "pytest", *tests, "-x", "-q", "-p", "no:cacheprovider", "--timeout=100"]
    try:
        done = subprocess.run(command, cwd=tree, env=environment(PYTHONPATH=str(tree)), capture_output=True,
                              timeout=seconds, check=False, text=True)  # fmt: skip
    except subprocess.TimeoutExpired:
        return "all, by their time"
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split()[1] if failed else f"pytest, which ended with {done.returncode}"


class Copies(threading.local):
    """A copy of the project for each thread."""

    def __init__(self, folder: Path) -> None:
        self.tree = Path(tempfile.mkdtemp(dir=folder)) / "tree"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "out", "build", "*.egg-info")
        shutil.copytree(ROOT, self.tree, ignore=ignored)
        hashed = py_compile.PycInvalidationMode.CHECKED_HASH  # a mutant may have the size and time of its original
        compileall.compile_dir(self.tree, quiet=2, invalidation_mode=hashed)


def main() -> None:
    options = arguments(__doc__, mutants=(30, 182), skip=(0, 0), jobs=(2, 2), sound=(0, 1), rest=(0, 1))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored, and tests send it
    chosen = sample(options.mutants, options.seed)[options.skip :]  # what another run has tried already
    with tempfile.TemporaryDirectory() as folder:
        copies = Copies(Path(folder))

        def caught(entry: tuple[str, Mutant]) -> bool:
            name, mutant = entry
            target = copies.tree / mutant.path
            source = target.read_bytes()
            target.write_bytes(mutant.applied(source))
            try:
                found = run(copies.tree, [*GROUPS[name][1], *PASSED_OVER])
                if not found and options.rest:
                    found = run(copies.tree, REST, None)
            finally:
                target.write_bytes(source)
            print(f"  {'caught  ' if found else 'SURVIVED'} {name:10} {mutant}  {found}", flush=True)
            return bool(found)

        with ThreadPoolExecutor(options.jobs) as pool:
            groups = sorted({name for name, _ in chosen}) if options.sound else []
            failed = list(pool.map(lambda name: run(copies.tree, GROUPS[name][1]), groups))
            if any(failed):
                conclude("mutants", "the tests fail without any mutant", [name for name in failed if name])
            results = list(pool.map(caught, chosen))
    share = sum(results) / len(results)
    survivors = [str(mutant) for (_, mutant), found in zip(chosen, results, strict=True) if not found]
    conclude("mutants", f"{sum(results)} of {len(results)} caught ({share:.1%}, at least {BOUND:.0%})",
             survivors if share < BOUND else [])  # fmt: skip


if __name__ == "__main__":
    main()
