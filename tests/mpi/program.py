"""A program for `mpiexec`: `python tests/mpi/program.py CHECK FOLDER`. It prints a line for each check that held."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import minigrad as mg
import nlp
import nn
from nn.distributed import DataParallel, DisagreementError, Group
from tests.mpi.cases import check_equalities, furthest, language_model, trained, trainer

ALONE = Group()


def held(group: Group, what: str) -> None:
    group.barrier()
    if group.first:
        print(f"held: {what}", flush=True)


# ---- checks of 2 and 3 ranks -------------------------------------------------------------------------------------


def equalities(group: Group, folder: Path) -> None:
    check_equalities(group)
    held(group, "equalities")


def small(group: Group, folder: Path) -> None:
    """Sums, texts, rows, dropout, errors of all ranks."""
    assert group.sum([1, group.rank]).tolist() == [group.size, sum(range(group.size))]
    assert group.texts("é" * group.rank) == ["é" * rank for rank in range(group.size)]
    assert group.collect(b"x" * group.rank) == ([b"x" * rank for rank in range(group.size)] if group.first else [])
    array = np.full((2, 3), group.rank, np.float32)
    group.broadcast([array])
    assert not array.any()
    big = np.arange(3 << 20, dtype=np.float32) + group.rank  # twelve pieces
    group.wait(group.start_sum(big), "a large array")
    assert np.array_equal(big, np.arange(3 << 20, dtype=np.float32) * group.size + sum(range(group.size)))
    rows = group.wait(group.start_gather(np.full((group.rank, 2), group.rank)), "rows")
    assert rows.tolist() == [[rank, rank] for rank in range(group.size) for _ in range(rank)]
    held(group, "sums")

    drawn = []
    for _ in range(2):
        mg.manual_seed(11 + group.rank)  # rank 0's counts
        weights, _ = trained(language_model(group, np.float32, dropout=0.4), group, 6)
        drawn.append([w.tobytes() for w in weights] + [mg.rand(5).numpy().tobytes()])
    assert drawn[0] == drawn[1]
    assert len(set(group.texts(drawn[0][-1].hex()))) == group.size
    assert len(set(group.texts(drawn[0][0].hex()))) == 1
    held(group, "dropout")

    mg.manual_seed(group.rank)
    model = nn.Linear(3, 2)
    DataParallel(nn.SGD(model.parameters(), lr=0.1), group, model)
    assert len(set(group.texts(str(model.weight.tolist())))) == 1
    last = group.rank == group.size - 1
    for make, message in (
        (lambda: nn.Adam(nn.Linear(3 + last, 2).named_parameters()), r"weight is \(2, 3\) float32 on rank 0 and"),
        (lambda: nn.Adam(nn.Linear(3, 2, dtype=np.float64 if last else None).named_parameters()), "float64 on rank"),
        (lambda: nn.Adam([("x" * (1 + last), nn.Parameter(mg.zeros(3)))]), "x is .* on rank 0 and missing on rank"),
        (lambda: nn.Adam(model.parameters(), lr=0.1 * (1 + last)), "the optimizer is Adam"),
    ):
        fails(DisagreementError, message, lambda make=make: DataParallel(make(), group))
    fails(ValueError, "examples are too few", lambda: nlp.Batches(range(group.size - 1), batch_size=9, shard=group))
    held(group, "errors")


def fails(kind: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(kind, match=message):
        call()


def resume(group: Group, folder: Path) -> None:
    """A run of 3 ranks is stopped, goes on with 2, is stopped, goes on with 1, and with 3 again; it ends as a run of
    one process that was left alone."""
    pair = MPI.COMM_WORLD.Split(group.rank < 2)
    checkpoint = str(folder / "run.ckpt")
    for stop_after, ranks in ((4, group), (9, nn.distributed.group(pair)), (13, ALONE), (None, group)):
        if ranks.size < 3 and group.rank >= max(ranks.size, 1):
            group.barrier()
            continue
        made, batches, unseen = trainer(ranks, checkpoint, stop_after)
        if stop_after != 4:
            made.resume(checkpoint)
        if stop_after is None:
            history = made.fit(batches, 5, validation=unseen)
        else:
            with pytest.raises(KeyboardInterrupt, match=f"stopped after step {stop_after}"):
                made.fit(batches, 5, validation=unseen)
            assert made.reached.steps == stop_after
        if ranks is not group:
            group.barrier()
    if group.first:
        alone, batches, unseen = trainer(ALONE, str(folder / "alone.ckpt"))
        expected = alone.fit(batches, 5, validation=unseen)
        assert len(history) == len(expected)
        for found, exact in zip(history, expected, strict=True):
            assert found.keys() == exact.keys()
            np.testing.assert_allclose(list(found.values()), list(exact.values()), rtol=1e-10)
        assert furthest([p.data for p in made.model.parameters()], [p.data for p in alone.model.parameters()]) < 1e-10
    held(group, "resume")

    weights = []
    for stops in ((), (4, 9)):  # with dropout, on the same number of ranks: to the bit
        for stop_after in (*stops, None):
            mg.manual_seed(5)
            made, batches, unseen = trainer(group, checkpoint, stop_after, dropout=0.3)
            if stop_after != (*stops, None)[0]:
                made.resume(checkpoint)
            with suppress(KeyboardInterrupt):
                made.fit(batches, 4, validation=unseen)
        weights.append(b"".join(p.data.tobytes() for p in made.model.parameters()))
    assert weights[0] == weights[1]
    held(group, "resume with dropout")


# ---- failures ----------------------------------------------------------------------------------------------------


def failing(how: str, group: Group, folder: Path) -> None:
    """The last rank fails in the sixth step."""

    def step(model: Any, window: Any) -> Any:
        if group.rank == group.size - 1 and made.reached.steps == 5 and model.training:
            fail(how)
        return inner(model, window)

    made, batches, unseen = trainer(group, str(folder / "run.ckpt"))
    inner, made.step, made.save_steps = made.step, step, 1
    made.fit(batches, 5, validation=unseen)
    held(group, "nothing failed")


def fail(how: str) -> None:
    if how == "error":
        raise OSError("the disk is gone")
    if how == "memory":
        np.zeros((2**20, 2**15, 2**10))
    if how == "exit":
        raise SystemExit("this rank ends")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "hung":
        time.sleep(600)
    if how == "terminated":
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    check, folder = sys.argv[1], Path(sys.argv[2])
    if check == "code" and os.environ["PMI_RANK"] == "1":
        nn.distributed.agreement.code()["the digest of minigrad, nn and nlp"] = "other"
    group = nn.distributed.group(timeout=2 if check in ("stopped", "hung") else 60)
    if check in CHECKS:
        CHECKS[check](group, folder)
    else:
        failing(check, group, folder)


CHECKS = {"equalities": equalities, "small": small, "resume": resume}

if __name__ == "__main__":
    main()
