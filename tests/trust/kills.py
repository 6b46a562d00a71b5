"""Kills: a training run that is killed at any moment resumes bit for bit.

A run with every kind of state (shuffled batches of similar lengths, dropout, a carried state, Adam with a warmup) is
killed by SIGKILL and restarted repeatedly, until it is done. After each kill the checkpoint loads; in the end weights,
optimizer, history and random numbers equal those of an undisturbed run, and no other file is left.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import minigrad as mg
import nlp
import nn
from minigrad.trees import flatten
from tests.trust.common import arguments, conclude, environment

EPOCHS, CHECKPOINT, DIGEST = 10, "run.ckpt", "digest"
LIFE, STEP = 8, 0.03  # mean number of steps until a kill, and seconds of a step with its checkpoint


class Net(nn.Module):
    """Ids (T, N) to logits (T, N, V), with every kind of dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.dropout = nn.Embedding(12, 8), nn.VariationalDropout(0.2)
        self.layer = nn.Stacked([nn.Recurrent(nn.LSTMCell(8, 8, recurrent_dropout=0.1)),
                                 nn.Recurrent(nn.GRUCell(8, 8, zoneout=0.1))], dropout=0.2)  # fmt: skip
        self.out = nn.Linear(8, 12)


def made(folder: Path, group: Any = None) -> tuple[nn.Trainer, Any]:
    """The trainer and its batches, before the first step; of one process, or shared by a group."""
    mg.manual_seed(1)
    rng = np.random.default_rng(1)
    examples = [rng.integers(0, 12, length) for length in rng.integers(2, 9, 32)]
    model, carried, cross_entropy = Net(), nn.TBPTT(k1=8), nn.CrossEntropyLoss()

    def step(model: Any, batch: Any) -> mg.Tensor:
        print("step", flush=True)
        ids, lengths = batch
        states = carried(model.layer, model.dropout(model.embedding(ids)))
        loss: mg.Tensor = cross_entropy(model.out(states), ids, mask=np.arange(len(ids))[:, None] < lengths)
        return loss

    optimizer = nn.Adam(model.named_parameters(), lr=1e-2, clip_norm=1.0)
    schedule = nn.WarmupLR(optimizer, steps=5, after=nn.CosineAnnealingLR(optimizer, T_max=60))
    batches = nlp.Batches(examples, batch_size=4, shuffle=True, by_length=True, buffer=16, shard=group)  # 8 an epoch
    trainer = nn.Trainer(model, optimizer, step, carried=carried, schedule=schedule, schedule_every="step",
                         checkpoint=folder / CHECKPOINT, save_steps=1, log_every=3, progress=False,
                         group=group)  # fmt: skip
    return trainer, batches


def child(folder: Path) -> None:
    """One life: resume from the checkpoint if there is one, and report the end of the run."""
    trainer, batches = made(folder)
    if (folder / CHECKPOINT).exists():
        trainer.resume(folder / CHECKPOINT)
    trainer.fit(batches, epochs=EPOCHS)
    state = [trainer.model.state_dict(), trainer.optimizer.state_dict(), trainer.schedule.state_dict(),
             trainer.state_dict(), mg.get_random_state()]  # fmt: skip
    (folder / DIGEST).write_text(hashlib.sha256(content(state)).hexdigest())


def content(state: Any) -> bytes:
    """A nested state as bytes."""
    leaves = [leaf.data if isinstance(leaf, mg.Tensor) else leaf for leaf in flatten(state)[0]]
    return b"".join(v.tobytes() if isinstance(v, np.ndarray) else repr(v).encode() for v in leaves)


def live(folder: Path, chance: random.Random | None) -> bool:
    """Start the run, and kill it during one of its first steps. Returns True if it was killed before its end."""
    with subprocess.Popen([sys.executable, __file__, "child", str(folder)], env=environment(), stdout=-1) as process:
        assert process.stdout is not None
        if chance is not None:
            for _ in range(chance.randint(0, 2 * LIFE)):
                process.stdout.readline()
            time.sleep(chance.uniform(0, STEP))
            process.send_signal(signal.SIGKILL)
        process.stdout.read()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the run ended with {process.returncode}; see its error above")
    return process.returncode != 0


def main() -> None:
    options = arguments(__doc__, kills=(20, 200))
    chance, faults, kills, runs = random.Random(options.seed), [], 0, 0
    with tempfile.TemporaryDirectory() as place:
        undisturbed, folder = Path(place, "undisturbed"), Path(place, "killed")
        undisturbed.mkdir()
        live(undisturbed, None)
        expected = (undisturbed / DIGEST).read_text()
        while kills < options.kills:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            lives = 0
            while live(folder, chance if kills < options.kills else None):
                kills, lives = kills + 1, lives + 1
                if (folder / CHECKPOINT).exists():
                    try:
                        nn.load_checkpoint(folder / CHECKPOINT)
                    except Exception as error:
                        faults.append(f"after kill {kills} the checkpoint does not load: {error}")
            runs += 1
            if (folder / DIGEST).read_text() != expected:
                faults.append(f"run {runs}, killed {lives} times, did not end as the undisturbed one")
            if left := set(os.listdir(folder)) - {CHECKPOINT, DIGEST}:
                faults.append(f"run {runs}, killed {lives} times, left {', '.join(sorted(left))}")
    conclude("kills", f"{kills} kills in {runs} runs of {EPOCHS * 8} steps, each resumed bit for bit", faults)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(Path(sys.argv[2]))
    else:
        main()
