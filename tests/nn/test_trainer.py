"""Trainer: exact resume wherever a run was interrupted, early stopping, policies for NaN, history."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_checkpoints import same

import minigrad as mg
import nn
from minigrad import randomness
from nn.optimizers import SGD, Adam
from nn.schedules import CosineAnnealingLR, ReduceLROnPlateau, StepLR, WarmupLR
from nn.sequences.truncation import TBPTT
from nn.training.checkpoints import load_checkpoint
from nn.training.history import History
from nn.training.progress import uninterrupted
from nn.training.trainer import Trainer

N = 7  # batches in an epoch


def squared_error(model: Any, batch: Any) -> Any:
    x, y = batch
    return np.mean((model(mg.tensor(x)) - y) ** 2)


def points(seed: int = 3, count: int = N) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(seed)
    xs = [rng.standard_normal((2 + k % 3, 4)).astype(np.float32) for k in range(count)]
    return [(x, np.sin(x[:, :1])) for x in xs]


class Shuffled:
    """Batches in an order drawn from minigrad's random numbers when an iteration begins."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        for k in randomness.generator().permutation(len(self.batches)):
            yield self.batches[k]


class Stateful(Shuffled):
    """Batches in an order of its own generator's, which no repetition would give again; it knows its position."""

    def __init__(self, batches: list[Any]) -> None:
        super().__init__(batches)
        self.rng = np.random.default_rng(11)
        self.order: Any = None
        self.next = 0

    def __iter__(self) -> Iterator[Any]:
        if self.order is None:
            self.order, self.next = self.rng.permutation(len(self.batches)), 0
        while self.next < len(self.order):
            self.next += 1
            yield self.batches[self.order[self.next - 1]]
        self.order = None

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order, "next": self.next, "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order, self.next = state["order"], state["next"]
        self.rng.bit_generator.state = state["rng"]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.4), nn.Linear(8, 1))


def make(schedule: str = "step", seed: int = 5, **options: Any) -> Trainer:
    """A run with everything that could be forgotten: dropout, momentum, clipping, a schedule."""
    mg.manual_seed(seed)
    model = network()
    if schedule == "step":
        optimizer: Any = Adam(model.named_parameters(), lr=0.03, clip_norm=1.0)
        made: Any = CosineAnnealingLR(optimizer, 30)
    elif schedule == "epoch":
        optimizer = SGD(model.named_parameters(), lr=0.1, momentum=0.9)
        made = StepLR(optimizer, 2, 0.5)
    else:
        optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        made = ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)
        if schedule == "warm plateau":
            made = WarmupLR(optimizer, 1, after=made)
    options = {"schedule": made, "schedule_every": "epoch" if "plateau" in schedule else schedule} | options
    return Trainer(model, optimizer, options.pop("step", squared_error), progress=False, log_every=3, **options)


def outcome(trainer: Trainer) -> Any:
    """All that a run leads to."""
    state = trainer.optimizer.state_dict(), trainer.schedule.state_dict()
    weights = {name: weight.numpy() for name, weight in trainer.model.named_parameters()}
    reached = {name: value for name, value in vars(trainer.reached).items() if name != "epoch_random"}
    return weights, state, list(trainer.history), reached, mg.get_random_state(), mg.randn(3)


# ---- exact resume ------------------------------------------------------------------------------------------------


class Stop(Exception):
    """Ends a run from within, as a crash would."""


def stopping(after: int) -> Any:
    """A step that raises Stop once it has been done so often in training."""
    seen = 0

    def step(model: Any, batch: Any) -> Any:
        nonlocal seen
        seen += model.training
        if seen > after:
            raise Stop
        return squared_error(model, batch)

    return step


@pytest.mark.parametrize("schedule", ["step", "epoch", "plateau", "warm plateau"])
@pytest.mark.parametrize("data", [list, Shuffled, Stateful])
@pytest.mark.parametrize("after", [1, 3, N, N + 1, 2 * N - 1, 2 * N])
def test_resumed_run_is_the_uninterrupted_run(tmp_path: Path, schedule: str, data: Any, after: int) -> None:
    validation = points(seed=4, count=2)
    whole = make(schedule)
    whole.fit(data(points()), 3, validation=validation)
    expected = outcome(whole)
    assert not same(expected[0], outcome(make(schedule))[0])  # it has trained

    stop = stopping(after)
    path = tmp_path / "run"
    first = make(schedule, checkpoint=path, save_steps=1, save_epochs=None, step=stop)
    with pytest.raises(Stop):
        first.fit(data(points()), 3, validation=validation)
    second = make(schedule, seed=99).resume(path)  # all that is not restored is different
    assert second.reached.steps == after
    mg.randn(5)
    second.fit(data(points()), 3, validation=validation)
    assert same(outcome(second), expected)


@pytest.mark.parametrize("data", [list, Shuffled, Stateful])
def test_resume_between_epochs_and_after_the_last(tmp_path: Path, data: Any) -> None:
    whole = make()
    whole.fit(data(points()), 3)
    expected = outcome(whole)
    first = make(checkpoint=tmp_path / "run")
    first.fit(data(points()), 2)
    second = make(seed=99).resume(tmp_path / "run")
    second.fit(data(points()), 3)
    assert same(outcome(second), expected)
    second.save(tmp_path / "end")
    third = make(seed=98).resume(tmp_path / "end")
    third.fit(data(points()), 3)  # nothing is left to do
    assert same(outcome(third)[:4], expected[:4])


def test_fit_twice_is_fit_once() -> None:
    whole, parts = make(), make()
    whole.fit(Shuffled(points()), 4)
    expected = outcome(whole)
    mg.manual_seed(5)
    parts = make()
    batches = Shuffled(points())
    parts.fit(batches, 1)
    assert parts.fit(batches, 4) is parts.history
    assert same(outcome(parts), expected)


def test_between_fits_random_numbers_may_be_set() -> None:
    runs = []
    for other_seed in (1, 1, 2):
        trainer = make()
        trainer.fit(Shuffled(points()), 1)
        mg.manual_seed(other_seed)
        trainer.fit(Shuffled(points()), 2)
        runs.append(outcome(trainer))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])
    assert runs[2][4]["seed"] == 2


def test_after_a_crash_the_same_trainer_goes_on() -> None:
    """An error in a step (or in the data) is no reason to lose what came before."""
    whole = make()
    whole.fit(Shuffled(points()), 2)
    expected = outcome(whole)
    fail_at = {5, 9}

    def sometimes(model: Any, batch: Any) -> Any:
        loss = squared_error(model, batch)
        if trainer.reached.steps in fail_at:
            fail_at.remove(trainer.reached.steps)
            raise Stop
        return loss

    trainer = make(step=sometimes)
    batches = Shuffled(points())
    for _ in range(2):
        with pytest.raises(Stop):
            trainer.fit(batches, 2)
    trainer.fit(batches, 2)
    assert same(outcome(trainer), expected)


def test_resume_on_every_backend(tmp_path: Path, backend: Any) -> None:
    """Without dropout: only the CPU's random numbers can be set back to where they were."""

    def made() -> Trainer:
        mg.manual_seed(5)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(backend.device)
        optimizer = Adam(model.parameters(), lr=0.03, clip_norm=0.5)
        return Trainer(model, optimizer, squared_error, progress=False, log_every=2, restore_best=True)

    batches = [(backend.tensor(x), backend.tensor(y)) for x, y in points()]
    whole = made()
    whole.fit(batches, 2, validation=batches[:2])
    first = made()
    first.fit(batches, 1, validation=batches[:2])
    first.save(tmp_path / "run")
    second = made().resume(tmp_path / "run")
    second.fit(batches, 2, validation=batches[:2])
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert same(backend.numpy(a), backend.numpy(b))
    assert same(list(second.history), list(whole.history))


class Stream:
    """A step with a carried state: a recurrent network over windows of one long sequence."""

    def __init__(self) -> None:
        self.tbptt = TBPTT(3, 6)

    def __call__(self, model: Any, window: Any) -> Any:
        return np.mean((model[1](self.tbptt(model[0], window[:-1])) - window[1:]) ** 2)


def test_a_carried_state_is_resumed_and_validation_leaves_it_alone(tmp_path: Path) -> None:
    def made(seed: int) -> Trainer:
        mg.manual_seed(seed)
        model = nn.ModuleList([nn.GRU(2, 5), nn.Linear(5, 2)])
        step = Stream()
        return Trainer(model, Adam(model.parameters(), lr=0.01), step, carried=step.tbptt, progress=False, log_every=1)

    rng = np.random.default_rng(0)
    windows = [mg.tensor(rng.standard_normal((4, 3, 2)).astype(np.float32)) for _ in range(5)]
    other = [mg.tensor(rng.standard_normal((4, 6, 2)).astype(np.float32))]  # another batch size
    whole = made(1)
    whole.fit(windows, 2, validation=other)
    alone = made(1)
    alone.fit(windows, 2)
    assert [r["loss"] for r in alone.history if "loss" in r] == [r["loss"] for r in whole.history if "loss" in r]

    first = made(1)
    first.save_steps, first.checkpoint = 1, tmp_path / "run"
    first.fit([*windows, *windows[:2]], 1)  # seven windows of the stream; the checkpoint is of the seventh
    assert whole.history[0] == first.history[0]
    cut = made(1)
    cut.fit(windows[:3], 1)
    cut.save(tmp_path / "cut")
    found = load_checkpoint(tmp_path / "cut")["trainer"]["reached"]["carried"]
    assert same(found["state"].data, cut.carried.state.data)
    resumed = made(2).resume(tmp_path / "cut")
    resumed.fit([*windows[3:], *windows[:1]], 2)
    expected = [r["loss"] for r in first.history if "loss" in r]
    assert [r["loss"] for r in resumed.history if "loss" in r] == expected[:6]


# ---- Ctrl-C ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["data", "step", "optimizer", "validation"])
@pytest.mark.parametrize("data", [list, Shuffled, Stateful])
def test_interrupts_leave_an_exact_checkpoint(tmp_path: Path, monkeypatch: Any, place: str, data: Any) -> None:
    """A real SIGINT, wherever it comes."""
    validation = points(seed=4, count=2)
    whole = make()
    whole.fit(data(points()), 3, validation=validation)
    expected = outcome(whole)

    path, calls = tmp_path / "run", 0

    def count(here: str, at: int = N + 3) -> None:
        nonlocal calls
        calls += here == place
        if here == place and calls == at:
            os.kill(os.getpid(), signal.SIGINT)

    def step(model: Any, batch: Any) -> Any:
        count("step") if model.training else count("validation", 2)
        return squared_error(model, batch)

    class Counted(data):
        def __iter__(self) -> Iterator[Any]:
            for batch in super().__iter__():
                count("data")
                yield batch

    first = make(checkpoint=path, save_epochs=None, step=step)
    update = first.optimizer.step

    def interrupted_update() -> None:
        count("optimizer")
        update()

    monkeypatch.setattr(first.optimizer, "step", interrupted_update)
    with pytest.raises(
        KeyboardInterrupt, match=r"stopped after step \d+\. To go on .*trainer\.resume\('.*run'\)"
    ) as info:
        first.fit(Counted(points()), 3, validation=validation)
    steps = {"data": N + 2, "step": N + 2, "optimizer": N + 3, "validation": N}[place]
    assert f"after step {steps}." in str(info.value)
    assert os.listdir(tmp_path) == ["run"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    second = make(seed=99).resume(path)
    second.fit(data(points()), 3, validation=validation)
    assert same(outcome(second), expected)

    first.fit(Counted(points()), 3, validation=validation)  # and so does the interrupted one
    assert same(outcome(first), expected)


def test_interrupt_without_a_checkpoint_to_write() -> None:
    def interrupt(model: Any, batch: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        make(step=interrupt).fit(points(), 2)


def test_interrupts_are_held_back_until_a_block_is_done() -> None:
    done = False

    def work() -> None:
        nonlocal done
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done = True

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done


def test_training_in_another_thread() -> None:
    """Signals cannot be handled in another thread; training runs all the same."""
    trainer = make()
    thread = threading.Thread(target=lambda: trainer.fit(points(), 1))
    thread.start()
    thread.join()
    assert trainer.reached.epoch == 1


def test_killed_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    """The third checkpoint never gets done; the second is there, and the run goes on from it."""
    program = """
import os, signal, sys
sys.path[:0] = ["tests", "tests/nn"]
from test_trainer import make, points
from nn.training import files
real, count = files.write_bytes, 0
def write_bytes(path, content):
    global count
    count += 1
    real(path, content)
    if count == 3:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
files.write_bytes = write_bytes
make(checkpoint=sys.argv[1]).fit(points(), 5)
"""
    root = Path(nn.__file__).parent.parent
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole = make()
    whole.fit(points(), 5)
    expected = outcome(whole)
    second = make(seed=99).resume(tmp_path / "run")
    assert second.reached.epoch == 2
    second.fit(points(), 5)
    assert same(outcome(second), expected)


# ---- resume that cannot be ---------------------------------------------------------------------------------------


def test_refused_resume_changes_nothing(tmp_path: Path) -> None:
    first = make("step")
    first.fit(points(), 1)
    first.save(tmp_path / "run")
    whole = make("step")
    whole.fit(points(), 2)
    expected = outcome(whole)

    mg.manual_seed(5)
    model = network()
    bare = Trainer(model, Adam(model.named_parameters(), lr=0.03, clip_norm=1.0), squared_error, progress=False)
    with pytest.raises(
        ValueError, match=r"run does not fit trainer; nothing was changed: .*with model, optimizer, sched"
    ):
        bare.resume(tmp_path / "run")
    other = make("epoch")
    before = outcome(other)
    with pytest.raises(ValueError, match="run does not fit optimizer; nothing was changed"):
        other.resume(tmp_path / "run")
    assert same(outcome(other)[:4], before[:4])

    fresh = make("step")
    (tmp_path / "run").write_bytes((tmp_path / "run").read_bytes()[:-9])
    with pytest.raises(ValueError, match="run is not a safetensors file, or a damaged one"):
        fresh.resume(tmp_path / "run")
    fresh.fit(points(), 2)
    assert same(outcome(fresh), expected)


def test_resume_with_other_data(tmp_path: Path) -> None:
    def stop(model: Any, batch: Any) -> Any:
        if trainer.reached.steps == 5:
            raise Stop
        return squared_error(model, batch)

    for data in (list, Stateful):
        trainer = make(checkpoint=tmp_path / "run", save_steps=1, step=stop)
        with pytest.raises(Stop):
            trainer.fit(data(points()), 2)
        message = "5 batches of the epoch were seen, but now it has only 4" if data is list else "'batches' had a state"
        with pytest.raises(ValueError, match=message):
            make().resume(tmp_path / "run").fit(points()[:4], 2)


# ---- compiled --------------------------------------------------------------------------------------------------------


class Diagonal(nn.Module):
    """x times a weight (4,): without a product of matrices, whose last bits BLAS may round in two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(mg.randn(4))

    def forward(self, x: Any) -> Any:
        return x * self.weight


def dense() -> list[nn.Module]:
    return [nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 1)]


def diagonal() -> list[nn.Module]:
    return [Diagonal(), nn.Tanh(), nn.Dropout(0.3), Diagonal()]


def ended(compile: bool, epochs: int = 3, layers: Any = dense, **options: Any) -> tuple[Trainer, list[Any]]:
    """A trainer of a network with dropout after some epochs, and its weights."""
    mg.manual_seed(5)
    model = nn.Sequential(*layers())
    optimizer = Adam(model.named_parameters(), lr=0.05, clip_norm=1.0)
    trainer = Trainer(model, optimizer, squared_error, items=lambda batch: len(batch[0]), progress=False,
                      compile=compile, **options)  # fmt: skip
    trainer.fit(points(), epochs)
    return trainer, [w.numpy() for w in model.parameters()]


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 3}, {"nonfinite": "skip"}, {"average": 0.9}, {"schedule_every": "step"}]
)
def test_a_compiled_trainer_computes_the_same(options: dict[str, Any]) -> None:
    plain, expected = ended(False, **options)
    compiled, found = ended(True, **options)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert compiled.history[-1]["mean_loss"] == pytest.approx(plain.history[-1]["mean_loss"], rel=1e-5)
    assert plain.compiled is None
    assert not any("uncompiled" in reason for reason in compiled.compiled.why)
    assert len(compiled.compiled.why) <= 9  # for 21 batches of three sizes: with and without gradients or a share


def test_a_compiled_trainer_goes_on_exactly(tmp_path: Path) -> None:
    _, whole = ended(True, 4, diagonal)
    first, _ = ended(True, 2, diagonal)
    first.save(tmp_path / "run.ckpt")
    second, _ = ended(True, 1, diagonal)
    second.resume(tmp_path / "run.ckpt")
    second.fit(points(), 4)
    for a, b in zip(second.model.parameters(), whole, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


def test_ragged_batches_of_a_compiled_trainer_run_uncompiled() -> None:
    def step(model: Any, batch: Any) -> Any:
        xs, lengths = batch
        return np.mean(model(mg.tensor(xs), lengths=lengths)[0] ** 2)

    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((5, 3, 4)).astype(np.float32), np.array([5, 3, k])) for k in (1, 2, 4)]
    found = []
    for compile in (False, True):
        mg.manual_seed(1)
        model = nn.GRU(4, 3)
        trainer = Trainer(model, SGD(model.named_parameters(), lr=0.1), step, progress=False, compile=compile)
        trainer.fit(batches, 2)
        found.append([w.numpy() for w in model.parameters()])
    assert "runs uncompiled" in trainer.compiled.why[-1]
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_compiled_trainer_is_for_one_process() -> None:
    class Two:
        size = 2

    model = network()
    with pytest.raises(ValueError, match="compile=True is for one process"):
        Trainer(model, SGD(model.named_parameters()), squared_error, compile=True, group=Two())  # type: ignore[arg-type]


# ---- results -----------------------------------------------------------------------------------------------------


def test_it_is_the_loop_of_its_docstring() -> None:
    trainer = make("epoch", items=lambda batch: len(batch[0]))
    validation = points(seed=4, count=3)
    history = trainer.fit(points(), 3, validation=validation)

    mg.manual_seed(5)
    model = network()
    optimizer = SGD(model.named_parameters(), lr=0.1, momentum=0.9)
    schedule = StepLR(optimizer, 2, 0.5)
    records: list[Any] = []
    steps = 0
    for epoch in range(1, 4):
        losses = []
        for batch in points():
            optimizer.zero_grad()
            loss = squared_error(model, batch)
            loss.backward()
            optimizer.step()
            losses.append((float(loss), len(batch[0])))
            steps += 1
            if steps % 3 == 0:
                records.append(
                    {"epoch": epoch, "step": steps, "loss": float(loss), "lr": optimizer.param_groups[0]["lr"]}
                )
        model.eval()
        with mg.no_grad():
            values = [(float(squared_error(model, batch)), len(batch[0])) for batch in validation]
        model.train()
        means = [sum(loss * n for loss, n in pairs) / sum(n for _, n in pairs) for pairs in (losses, values)]
        lr = optimizer.param_groups[0]["lr"]
        records.append({"epoch": epoch, "step": steps, "mean_loss": means[0], "lr": lr, "validation": means[1]})
        schedule.step()
    assert same(list(history), records)
    for a, b in zip(trainer.model.parameters(), model.parameters(), strict=True):
        assert same(a.numpy(), b.numpy())


def test_schedules_move_when_they_should() -> None:
    by_step, by_epoch = make("step"), make("epoch")
    by_step.fit(points(), 2)
    by_epoch.fit(points(), 3)
    assert by_step.schedule.last_epoch == 2 * N
    assert by_epoch.schedule.last_epoch == 3
    assert [r["lr"] for r in by_epoch.history if "mean_loss" in r] == [0.1, 0.1, 0.05]
    plateau = make("plateau", step=lambda model, batch: np.mean(model[0].weight * 0.0))  # never gets better
    plateau.fit(points(), 4, validation=points(count=1))
    assert [r["lr"] for r in plateau.history if "mean_loss" in r] == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_evaluation_records_nothing_and_changes_no_mode() -> None:
    trainer = make()
    trainer.model.train()
    trainer.model[2].eval()
    seen = []

    def step(model: Any, batch: Any) -> Any:
        seen.append((model.training, mg.is_grad_enabled()))
        return squared_error(model, batch)

    trainer.step = step
    assert trainer.evaluate(points()) == trainer.evaluate(iter(points()))
    assert set(seen) == {(False, False)}
    assert [module.training for module in trainer.model] == [True, True, False, True]
    with pytest.raises(ValueError, match=r"Trainer\.evaluate: there are no batches"):
        trainer.evaluate([])


def scripted(values: list[float], **options: Any) -> tuple[Trainer, list[Any]]:
    """A run whose validation losses are given. Each epoch adds 1 to the weight."""
    model = nn.Linear(1, 1, bias=False)
    model.weight = nn.Parameter(mg.zeros((1, 1)))
    left = list(values)

    def step(model: Any, batch: Any) -> Any:
        return -np.sum(model.weight) if model.training else mg.tensor(left.pop(0))

    return Trainer(model, SGD(model.parameters(), lr=1.0), step, progress=False, **options), left


def test_early_stopping() -> None:
    values = [5.0, 3.0, 3.0, 2.95, 4.0, 1.0, 0.5]
    trainer, left = scripted(values, patience=2)
    trainer.fit([0], 7, validation=[0])  # better at 1, 2, 4, 6, 7
    assert not left
    assert (trainer.reached.epoch, trainer.reached.best, trainer.reached.stopped) == (7, 0.5, False)

    trainer, left = scripted(values, patience=2, min_delta=0.1)
    trainer.fit([0], 7, validation=[0])  # 2.95 is not better by more than 0.1
    assert (trainer.reached.epoch, trainer.reached.best, trainer.reached.stopped) == (4, 3.0, True)
    assert trainer.model.weight.item() == 4.0
    trainer.fit([0], 7, validation=[0])
    assert trainer.reached.epoch == 4

    trainer, left = scripted(values, patience=2, min_delta=0.1, restore_best=True)
    trainer.fit([0], 7, validation=[0])
    assert trainer.model.weight.item() == 2.0
    trainer, left = scripted([3.0, 3.0, 3.0, 1.0], patience=2)
    trainer.fit([0], 7, validation=[0])
    assert trainer.reached.epoch == 3  # the same is not better
    trainer, left = scripted([3.0, math.nan, math.nan, 1.0], patience=2)
    trainer.fit([0], 7, validation=[0])
    assert trainer.reached.epoch == 3  # NaN is not better


def test_early_stopping_is_resumed(tmp_path: Path) -> None:
    values = [5.0, 3.0, 4.0, 3.5]
    options = {"patience": 2, "restore_best": True}
    first, _ = scripted(values[:3], **options)
    first.checkpoint = tmp_path / "run"
    first.fit([0], 3, validation=[0])
    assert first.model.weight.item() == 2.0  # the best
    second, _ = scripted(values[3:], **options)
    second.resume(tmp_path / "run")
    assert second.model.weight.item() == 3.0  # the latest
    second.fit([0], 9, validation=[0])
    assert second.reached.stopped
    assert second.reached.epoch == 4
    assert second.model.weight.item() == 2.0


# ---- NaN ---------------------------------------------------------------------------------------------------------


def sometimes_nan(model: Any, batch: Any) -> Any:
    """Fine, but for batches with a negative number: the logarithm of one."""
    x = np.sum(model(mg.tensor(batch)))
    with mg.scope("penalty"):
        return np.log(mg.tensor(np.float32(batch[0, 0]))) + x * x


GOOD, BAD = np.ones((1, 4), np.float32), -np.ones((1, 4), np.float32)


@pytest.fixture
def no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.usefixtures("no_warnings")
class TestNonfinite:
    @staticmethod
    def made(step: Any = sometimes_nan, lr: float = 0.01, **options: Any) -> Trainer:
        model = nn.Linear(4, 1)
        optimizer = SGD(model.named_parameters(), lr=lr, nonfinite=options.pop("gradients", "pass"))
        return Trainer(model, optimizer, step, progress=False, **options)

    def test_raise_says_where_it_began(self) -> None:
        trainer = self.made()
        before = []

        def step(model: Any, batch: Any) -> Any:
            before[:] = [model.weight.numpy()]
            return sometimes_nan(model, batch)

        trainer.step = step
        pattern = (
            r"in step 3 \(epoch 1, batch 3\) the loss is nan\. It began here: log gave NaN in penalty, at "
            r".*test_trainer\.py:\d+, in sometimes_nan: return np\.log"
        )
        with pytest.raises(FloatingPointError, match=pattern) as info:
            trainer.fit([GOOD, GOOD, BAD, GOOD], 2)
        assert isinstance(info.value.__cause__, mg.AnomalyError)
        assert same(trainer.model.weight.numpy(), before[0])  # the step was not taken
        assert trainer.reached.steps == 2
        assert trainer.model.weight.grad is None

    def test_the_explanation_sees_the_same_random_numbers(self) -> None:
        """Only the mask that the step had drawn makes a NaN."""
        draws = []

        def step(model: Any, batch: Any) -> Any:
            draws.append(mg.rand().item())
            return np.log(mg.tensor(0.95 - draws[-1])) + np.sum(model(mg.tensor(batch)))

        mg.manual_seed(3)
        with pytest.raises(FloatingPointError, match="log gave NaN"):
            self.made(step, log_every=100).fit([GOOD] * 100, 1)
        assert draws[-1] == draws[-2] > 0.95
        assert len(draws) > 2

    def test_raise_names_spoilt_weights(self) -> None:
        trainer = self.made()
        trainer.model.weight.data[0, 1] = np.inf
        with pytest.raises(
            FloatingPointError, match=r"the loss is .*an earlier step had spoilt weight\. It began here: "
        ):
            trainer.fit([GOOD], 1)

    def test_a_spoilt_gradient_is_explained_too(self) -> None:
        def step(model: Any, batch: Any) -> Any:
            return np.sum(np.sqrt(model(mg.tensor(batch)) * 0.0))  # √0 is finite, its derivative is not

        pattern = r"in step 1 .*SGD\.step: .*It began here: the gradient of sqrt.*made at .*test_trainer.py"
        with pytest.raises(FloatingPointError, match="(?s)" + pattern):
            self.made(step, gradients="raise").fit([GOOD], 1)
        with pytest.raises(FloatingPointError, match=r"^SGD"):
            self.made(step, gradients="raise", nonfinite="pass").fit([GOOD], 1)

    def test_a_step_that_is_finite_when_run_again(self) -> None:
        values = iter([math.nan, 1.0])
        trainer = self.made(lambda model, batch: np.sum(model.weight) * 0.0 + next(values))
        with pytest.raises(FloatingPointError, match="Run again on the same batch, the step was finite"):
            trainer.fit([GOOD], 1)

    def test_skip(self) -> None:
        skipping, plain = self.made(nonfinite="skip", log_every=1), self.made(log_every=1)
        plain.model.load_state_dict(skipping.model.state_dict())
        skipping.schedule = StepLR(skipping.optimizer, 1, 0.5)
        plain.schedule = StepLR(plain.optimizer, 1, 0.5)
        skipping.schedule_every = plain.schedule_every = "step"
        skipping.fit([GOOD, BAD, 2 * GOOD, BAD], 2)
        plain.fit([GOOD, 2 * GOOD], 2)
        assert same(skipping.model.weight.numpy(), plain.model.weight.numpy())
        assert skipping.schedule.state_dict() == plain.schedule.state_dict()
        assert (skipping.reached.steps, plain.reached.steps) == (8, 4)
        assert same(skipping.history.column("mean_loss")[1], plain.history.column("mean_loss")[1])
        assert math.isnan(skipping.history[1]["loss"])

    def test_a_skipped_step_leaves_the_carried_state(self) -> None:
        class Carried:
            state = 0.0

            def state_dict(self) -> dict[str, Any]:
                return {"state": self.state}

            def load_state_dict(self, state: dict[str, Any]) -> None:
                self.state = state["state"]

        carried = Carried()

        def step(model: Any, batch: Any) -> Any:
            carried.state += float(np.log(batch[0, 0]) + 1)
            return np.sum(model.weight) * carried.state

        self.made(step, carried=carried, nonfinite="skip").fit([GOOD, BAD, GOOD], 1)
        assert carried.state == 2.0

    def test_pass(self) -> None:
        trainer = self.made(nonfinite="pass")
        trainer.fit([GOOD, BAD], 1)
        assert math.isnan(trainer.history[-1]["mean_loss"])
        assert trainer.reached.steps == 2


def test_nothing_waits_for_the_device_between_logs(monkeypatch: Any) -> None:
    """Counts how often a value is looked at on a device where that waits."""
    import strict

    looks = 0

    def counted(self: Any) -> Any:
        nonlocal looks
        looks += 1
        return self._array.item()

    model = nn.Linear(4, 1).to("strict:0")
    optimizer = SGD(model.parameters(), lr=0.01, clip_norm=1.0)
    batches = [tuple(mg.tensor(a).to("strict:0") for a in pair) for pair in points(count=10)]
    monkeypatch.setattr(strict.StrictArray, "item", counted, raising=False)
    for name in ("__bool__", "__float__", "__int__"):
        monkeypatch.setattr(strict.StrictArray, name, lambda self: pytest.fail("looked at a value"))
    trainer = Trainer(model, optimizer, squared_error, progress=False, log_every=5)
    trainer.fit(batches, 1)
    steps = [record["step"] for record in trainer.history]
    assert steps == [5, 10, 10]
    assert looks == 2 * 3 + 1  # at a log the loss (is it finite; the record) and the norm, at the end the mean


# ---- bad arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0, "log_every": 0}, "Trainer: patience=0, log_every=0; expected integers of at least 1"),
        ({"save_steps": 0}, "save_steps=0"),
        ({"accumulate": 1.5, "patience": "3"}, "patience='3', accumulate=1.5; expected integers"),
        ({"log_every": True}, "log_every=True; expected integers"),
        ({"average": "x"}, "average must be at least 0 and less than 1, not 'x'"),
        ({"save_epochs": -1}, "save_epochs=-1"),
        ({"nonfinite": "stop"}, "nonfinite must be .* not 'stop'"),
        ({"schedule_every": "batch"}, "schedule_every must be .* not 'batch'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=message):
        Trainer(model, SGD(model.parameters(), lr=1.0), squared_error, **options)


def test_data_that_can_be_gone_through_once() -> None:
    message = r"Trainer\.fit: batches is a generator, which can be gone through only once, but 2 epochs"
    with pytest.raises(ValueError, match=message):
        make().fit((batch for batch in points()), 2)
    with pytest.raises(ValueError, match="validation is a list_iterator"):
        make().fit(points(), 2, validation=iter(points()))
    trainer = make()
    trainer.fit((batch for batch in points()), 1)
    assert trainer.reached.steps == N
    with pytest.raises(ValueError, match=r"Trainer\.fit: there are no batches"):
        make().fit([], 2)


def test_what_needs_validation() -> None:
    for options in ({"patience": 1}, {"restore_best": True}, {"schedule": "plateau"}):
        with pytest.raises(ValueError, match="need validation batches"):
            make(**options).fit(points(), 1)


def test_losses_that_are_none() -> None:
    with pytest.raises(TypeError, match="must return the loss, a Tensor without axes, not a float"):
        make(step=lambda model, batch: 1.0).fit(points(), 1)
    with pytest.raises(TypeError, match=r"not one of shape \(2, 1\)"):
        make(step=lambda model, batch: model(mg.tensor(batch[0]))).fit(points(), 1)


# ---- progress, history and logs ----------------------------------------------------------------------------------


def test_the_bar_shows_what_is_measured(capsys: Any) -> None:
    trainer = make(items=lambda batch: len(batch[0]))
    trainer.progress = True
    trainer.fit(points(), 2)
    shown = capsys.readouterr().err
    for text in ("epoch 1/2", "epoch 2/2", f"/{N}", "loss=", "lr=", "grad_norm=", "items/s="):
        assert text in shown
    trainer.progress = False
    trainer.fit(points(), 3)
    out = capsys.readouterr()
    assert out.err == out.out == ""


def test_history_is_drawn(tmp_path: Path) -> None:
    trainer = make()
    history = trainer.fit(points(), 2, validation=points(count=2))
    assert history.column("loss")[0] == [3, 6, 9, 12]
    assert history.column("mean_loss")[0] == [N, 2 * N]
    assert history.column("nothing") == ([], [])
    figure = history.plot(tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    losses, rate, norm = figure.axes
    assert [line.get_label() for line in losses.lines] == ["loss of a step", "mean of an epoch", "validation"]
    np.testing.assert_array_equal(losses.lines[0].get_xydata(), np.transpose(history.column("loss")))
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), history.column("lr")[1])
    np.testing.assert_array_equal(norm.lines[0].get_ydata(), history.column("grad_norm")[1])
    history.plot(tmp_path / "h.svg")
    assert b"<svg" in (tmp_path / "h.svg").read_bytes()
    assert len(History().plot().axes) == 1


def test_matplotlib_is_needed_for_plots_only(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"History\.plot needs matplotlib: pip install 'minigrad\[viz\]'"):
        History().plot()


# ---- a state that makes no sense ---------------------------------------------------------------------------------


WRONG: list[tuple[str, Any, str]] = [
    *[(name, value, f"{name} must be a whole number") for name in ("epoch", "batch", "steps", "waited")
      for value in (-1, 0.5, None, "x", True, math.nan)],
    ("items", -1, "items must be a number"), ("items", "many", "items must be a number"),
    ("loss", "small", "loss must be a number"), ("loss", [1.0], "loss must be a number"),
    ("best", math.nan, "best must be a number"), ("best", None, "best must be a number"),
    ("stopped", 1, "stopped must be True or False"),
    ("best_weights", [1], "best_weights must be a mapping"),
    ("best_weights", {"other": np.ones(1)}, "best_weights are not those of this model"),
    ("random", 3, "random must be a mapping with seed, cpu"),
    ("random", {"seed": 1}, "random should have .* missing: cpu"),
    ("random", {"seed": -1, "cpu": {}}, "seed must be a whole number"),
    ("epoch_random", {"seed": 1, "cpu": {"bit_generator": "PCG64"}}, "cpu is not a state of NumPy's generator"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_progress_that_makes_no_sense_is_refused_by_name(name: str, value: Any, message: str) -> None:
    trainer = make()
    trainer.fit(points(), 1)
    state, random = trainer.state_dict(), mg.get_random_state()
    before = repr(state)
    with pytest.raises((ValueError, TypeError), match=f"reached: .*{message}"):
        trainer.load_state_dict(state | {"reached": state["reached"] | {name: value}})
    assert mg.get_random_state() == random
    assert repr(trainer.state_dict()) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": 1}, "unknown: more"),
        ({"of": 3}, "it was saved with 3"),
        ({"history": "abc"}, "history must be a list of records"),
        ({"history": [{"epoch": 1}]}, "step of a record of the history must be a whole number"),
        ({"reached": {}}, "reached should have .*missing: epoch"),
        ({"reached": None}, "reached must be a mapping"),
    ],
)
def test_a_trainers_state_is_checked_as_a_whole(change: dict[str, Any], message: str) -> None:
    trainer = make()
    trainer.fit(points(), 1)
    before = repr(trainer.state_dict())
    with pytest.raises((ValueError, TypeError), match=message):
        trainer.load_state_dict(trainer.state_dict() | change)
    with pytest.raises(TypeError, match="the state must be a mapping"):
        trainer.load_state_dict(None)  # type: ignore[arg-type]
    assert repr(trainer.state_dict()) == before


# ---- accumulation ------------------------------------------------------------------------------------------------


def sized(batch: Any) -> int:
    return len(batch[0])


def test_a_step_with_several_batches_is_one_with_all_of_their_items() -> None:
    """Ragged batches, of 2 to 4 points; the last step of an epoch has only one."""
    data = points()
    joined = [tuple(np.concatenate(part) for part in zip(*data[k : k + 3], strict=True)) for k in (0, 3, 6)]
    found = []
    for batches, accumulate in ((data, 3), (joined, 1)):
        mg.manual_seed(5)
        model = nn.Linear(4, 1)
        optimizer = Adam(model.named_parameters(), lr=0.03, clip_norm=0.5)
        schedule = CosineAnnealingLR(optimizer, 30)
        trainer = Trainer(
            model, optimizer, squared_error, items=sized, accumulate=accumulate, schedule=schedule,
            schedule_every="step", progress=False, log_every=1,
        )  # fmt: skip
        trainer.fit(batches, 2)
        assert (trainer.reached.steps, trainer.reached.batch) == (6, 0)
        measured = [r.get("loss", r.get("mean_loss")) for r in trainer.history]
        found.append([*(w.numpy() for w in model.parameters()), measured, schedule.get_last_lr()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6)


@pytest.mark.parametrize("data", [list, Shuffled, Stateful])
@pytest.mark.parametrize("after", [2, 6, N + 2, 2 * N])
def test_resumed_run_with_accumulation_and_average(tmp_path: Path, data: Any, after: int) -> None:
    options: dict[str, Any] = {"accumulate": 2, "average": 0.8, "items": sized, "restore_best": True}
    validation = points(seed=4, count=2)
    whole = make(**options)
    whole.fit(data(points()), 3, validation=validation)
    expected = outcome(whole)

    stop = stopping(after)
    path = tmp_path / "run"
    first = make(checkpoint=path, save_steps=1, save_epochs=None, step=stop, **options)
    with pytest.raises(Stop):
        first.fit(data(points()), 3, validation=validation)
    second = make(seed=99, **options).resume(path)
    mg.randn(5)
    second.fit(data(points()), 3, validation=validation)
    assert same(outcome(second), expected)
    for name, average in whole.average.averages.items():  # type: ignore[union-attr]
        np.testing.assert_array_equal(second.average.averages[name].numpy(), average.numpy())  # type: ignore[index]


def test_a_skipped_step_leaves_all_of_its_batches_out() -> None:
    values = iter([1.0, math.nan, 2.0, 3.0])

    def step(model: Any, batch: Any) -> Any:
        return np.sum(model.weight) * next(values)

    model = nn.Linear(1, 1)
    before = model.weight.numpy().copy()
    trainer = Trainer(model, SGD([model.weight], lr=0.5), step, accumulate=2, nonfinite="skip", progress=False)
    trainer.fit([0, 1, 2, 3], 1)
    np.testing.assert_allclose(model.weight.numpy(), before - 0.5 * 2.5)
    values = iter([1.0, math.nan, 1.0, 1.0])
    trainer = Trainer(model, SGD([model.weight], lr=0.5), step, accumulate=2, progress=False)
    with pytest.raises(FloatingPointError, match=r"in step 1 \(epoch 1, batches 1 to 2\) .* on the same batches, the"):
        trainer.fit([0, 1], 1)


# ---- the average of the weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_average_is_its_formula_and_what_is_evaluated(dtype: Any) -> None:
    model = nn.Linear(1, 1, bias=False, dtype=dtype)
    model.weight.data[...] = 1.0
    seen: list[float] = []

    def step(model: Any, batch: Any) -> Any:
        if not model.training:
            seen.append(model.weight.item())
        return np.sum(model.weight)

    trainer = Trainer(model, SGD([model.weight], lr=0.125), step, average=0.75, progress=False)
    with trainer.averaged():
        assert model.weight.item() == 1.0  # there is none yet
    trainer.fit([0] * 4, 1, validation=[0])
    weights = [1 - 0.125 * k for k in range(1, 5)]
    average = weights[0]
    for w in weights[1:]:
        average = 0.75 * average + 0.25 * w
    assert trainer.average is not None
    assert trainer.average.averages is not None
    assert trainer.average.averages["weight"].dtype == np.float32
    np.testing.assert_allclose(trainer.average.averages["weight"].item(), average, rtol=1e-6)
    np.testing.assert_allclose(seen, [average], rtol=1e-3 if dtype is np.float16 else 1e-6)
    assert model.weight.item() == weights[-1]
    np.testing.assert_allclose(trainer.evaluate([0]), average, rtol=1e-3)
    with pytest.raises(Stop), trainer.averaged():
        assert model.weight.item() == pytest.approx(average, rel=1e-3)
        raise Stop
    assert model.weight.item() == weights[-1]


def test_restore_best_is_the_average_that_was_best() -> None:
    losses = iter([3.0, 1.0, 2.0])

    def step(model: Any, batch: Any) -> Any:
        return np.sum(model.weight) if model.training else np.sum(model.weight) * 0 + next(losses)

    model = nn.Linear(1, 1, bias=False)
    model.weight.data[...] = 0.0
    trainer = Trainer(model, SGD([model.weight], lr=1.0), step, average=0.5, restore_best=True, progress=False)
    trainer.fit([0], 3, validation=[0])
    assert model.weight.item() == -1.5  # of -1 and -2


def test_an_average_that_does_not_fit(tmp_path: Path) -> None:
    first = make(average=0.9)
    first.fit(points(), 1)
    first.save(tmp_path / "run")
    with pytest.raises(ValueError, match=r"it was saved with .*average; this Trainer has model, optimizer"):
        make().resume(tmp_path / "run")
    state = first.state_dict()
    for wrong in ({}, {"0.weight": np.zeros(3)}, 7):
        with pytest.raises(ValueError, match="averages are not those of this model"):
            make(average=0.9).load_state_dict(state | {"averages": wrong})
    for options, message in (({"average": 1.0}, "average must be at least 0"), ({"accumulate": 0}, "accumulate=0")):
        with pytest.raises(ValueError, match=message):
            make(**options)
