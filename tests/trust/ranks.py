"""Ranks: if one of two ranks is killed or stopped at any moment, the run ends by itself, and resumes bit for bit.

The run of `kills.py`, shared by two ranks under mpiexec. Repeatedly, at a random moment, a random rank is killed by
SIGKILL (as by the system when memory is short), or stopped by SIGSTOP, which the other can notice only by its timeout,
until the run is done. Each time mpiexec ends within the stated time and leaves no process, and the checkpoint loads; in
the end the weights, the history and the random numbers equal those of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import minigrad as mg
import nn
from tests.trust import kills
from tests.trust.common import arguments, conclude, environment

TIMEOUT = 2.0  # seconds until a missing rank counts as lost
LIMIT = 15.0  # seconds for the end of a run on a busy machine: twice the timeout, and the time of mpiexec
PIDS = re.compile(r"\((?:pid )(\d+)\)")


def child(folder: Path) -> None:
    """One life of a rank."""
    group = nn.distributed.group(timeout=TIMEOUT)
    trainer, batches = kills.made(folder, group)
    if (folder / kills.CHECKPOINT).exists():
        trainer.resume(folder / kills.CHECKPOINT)
    trainer.fit(batches, epochs=kills.EPOCHS)
    state = [trainer.model.state_dict(), trainer.optimizer.state_dict(), trainer.schedule.state_dict(),
             trainer.history, mg.get_random_state()["cpu"]]  # fmt: skip
    digests = group.texts(hashlib.sha256(kills.content(state)).hexdigest())
    if group.first:
        (folder / kills.DIGEST).write_text("".join(digests))


def live(folder: Path, chance: random.Random | None) -> tuple[bool, list[str]]:
    """Start the run, and let a rank fail during one of its first steps. Returns True if that ended the run, and the
    faults of its end."""
    launcher = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or "mpiexec"
    command = [launcher, "-n", "2", sys.executable, __file__, "child", str(folder)]
    pids: list[int] = []
    faults = []
    with subprocess.Popen(command, env=environment(), stdout=-1, stderr=-2, text=True) as process:
        assert process.stdout is not None
        killed = started = 0.0
        if chance is not None:
            while not pids:
                pids = [int(pid) for pid in PIDS.findall(process.stdout.readline())]
            for _ in range(chance.randint(0, 4 * kills.LIFE)):
                process.stdout.readline()
            time.sleep(chance.uniform(0, kills.STEP))
            victim = chance.choice(pids)
            killed, started = victim, time.perf_counter()
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL if chance.random() < 0.7 else signal.SIGSTOP)
        said = process.stdout.read()
        seconds = time.perf_counter() - started
    ended = process.returncode != 0
    if ended and not killed:
        raise RuntimeError(f"the run ended with {process.returncode}: {said[-2000:]}")
    if ended and seconds > LIMIT:
        faults.append(f"the run took {seconds:.0f} s to end")
    if ended and f"{killed}" not in said:
        faults.append(f"the message does not name process {killed}: {said[-500:]}")
    until = time.perf_counter() + 5  # mpiexec may be the first to end
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.perf_counter() < until:
        time.sleep(0.05)
    if left:
        faults.append(f"processes are left: {left}")
    return ended, faults


def main() -> None:
    options = arguments(__doc__, kills=(20, 200))
    chance, faults, count, runs = random.Random(options.seed), [], 0, 0
    with tempfile.TemporaryDirectory() as place:
        undisturbed, folder = Path(place, "undisturbed"), Path(place, "killed")
        undisturbed.mkdir()
        live(undisturbed, None)
        expected = (undisturbed / kills.DIGEST).read_text()
        while count < options.kills:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            lives = 0
            while True:
                ended, wrong = live(folder, chance if count < options.kills else None)
                faults += wrong
                if not ended:
                    break
                count, lives = count + 1, lives + 1
                if (folder / kills.CHECKPOINT).exists():
                    try:
                        nn.load_checkpoint(folder / kills.CHECKPOINT)
                    except Exception as error:
                        faults.append(f"after failure {count} the checkpoint does not load: {error}")
            runs += 1
            if (folder / kills.DIGEST).read_text() != expected:
                faults.append(f"run {runs}, ended {lives} times, did not end as the undisturbed one")
            if left := set(os.listdir(folder)) - {kills.CHECKPOINT, kills.DIGEST}:
                faults.append(f"run {runs}, ended {lives} times, left {', '.join(sorted(left))}")
    conclude("ranks", f"{count} failures of one of 2 ranks in {runs} runs, each resumed bit for bit", faults)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(Path(sys.argv[2]))
    else:
        main()
