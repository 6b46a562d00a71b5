"""Ranks started by mpiexec, two and three; each start runs many checks. (Extra `mpi`.)"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mpi4py  # noqa: F401  these tests are not skipped, but fail, where it is missing
import pytest

import nn

ROOT = Path(__file__).parents[2]


def started(ranks: int, check: str, folder: Path, limit: float = 200) -> subprocess.CompletedProcess[str]:
    """`mpiexec -n RANKS python program.py CHECK FOLDER`."""
    return launched(ranks, "tests/mpi/program.py", check, str(folder), limit=limit)


def launched(ranks: int, program: str, *arguments: str, limit: float) -> subprocess.CompletedProcess[str]:
    launcher = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
    assert launcher is not None, "there is no mpiexec; pip install mpich"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [launcher, "-n", str(ranks), sys.executable, str(ROOT / program), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)


def held(ranks: int, check: str, folder: Path) -> list[str]:
    """The checks that held."""
    done = started(ranks, check, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return [line.removeprefix("held: ") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_find_what_one_process_finds(ranks: int, tmp_path: Path) -> None:
    assert held(ranks, "equalities", tmp_path) == ["equalities"]


@pytest.mark.parametrize("ranks", [2, 3])
def test_sums_dropout_and_errors(ranks: int, tmp_path: Path) -> None:
    assert held(ranks, "small", tmp_path) == ["sums", "dropout", "errors"]


def test_a_run_goes_on_with_any_number_of_ranks(tmp_path: Path) -> None:
    assert held(3, "resume", tmp_path) == ["resume", "resume with dropout"]
    assert nn.load_checkpoint(tmp_path / "run.ckpt").keys() == {"model", "optimizer", "schedule", "trainer"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("error", "failed, which ends the run:"),
        ("memory", "Unable to allocate"),
        ("exit", "ended, while the others wait for"),
        ("killed", "KILLED|Killed|EXIT CODE: 9"),
        ("stopped", "did not come within 3 s to"),
        ("hung", "did not come within 3 s to"),
    ],
)
def test_a_rank_that_fails_ends_the_run(how: str, message: str, tmp_path: Path) -> None:
    """At once, or after the timeout of 2 s; it is named, and the checkpoint of the step before loads."""
    start = time.perf_counter()
    done = started(2, how, tmp_path, limit=60)
    assert done.returncode != 0
    assert time.perf_counter() - start < 40
    said = done.stdout + done.stderr
    assert any(part in said for part in message.split("|")), said
    if how == "killed":
        pid = said.partition("1 (pid ")[2].partition(")")[0]
        assert f"PID {pid} RUNNING" in said
    else:
        assert "rank 1 (pid " in said.replace("ranks on", "")
    assert nn.load_checkpoint(tmp_path / "run.ckpt")["trainer"]["reached"]["steps"] == 5


def test_a_signal_to_one_rank_stops_all_after_the_same_step(tmp_path: Path) -> None:
    done = started(2, "terminated", tmp_path, limit=60)
    assert done.stderr.count("KeyboardInterrupt: stopped after step 6.") == 1
    assert nn.load_checkpoint(tmp_path / "run.ckpt")["trainer"]["reached"]["steps"] == 6


def test_different_code_is_refused(tmp_path: Path) -> None:
    done = started(2, "code", tmp_path, limit=60)
    assert done.returncode != 0
    assert (
        done.stderr.count("DisagreementError: group: ranks 0 and 1 differ: the digest of minigrad, nn and nlp is ") == 1
    )


def test_an_example_needs_no_change_but_the_launch(tmp_path: Path) -> None:
    """Rank 0 says and writes what one process says and writes; its model is used afterwards."""
    text = tmp_path / "text"
    text.write_text("the cat sees the dog and the dog sees the cat\na dog is not a cat and a cat is not a dog\n" * 60)
    options = ["--data", str(text), "--epochs", "1", "--hidden", "8", "--embedding", "8", "--batch", "6",
               "--length", "5", "--out", str(tmp_path)]  # fmt: skip
    done = launched(2, "examples/word_lm.py", *options, limit=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("held-out perplexity") == 1
    names = {"text", "word_lm.safetensors", "word_lm.ckpt", "word_lm-losses.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    done = launched(3, "examples/word_lm.py", *options, "--epochs", "2", "--resume", limit=100)
    assert "going on after 1 epochs" in done.stdout
    assert done.returncode == 0, done.stderr
