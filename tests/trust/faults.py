"""Faults: writing a checkpoint fails, or the process is killed, at each of its system calls and between them.

Each call of an `os` function fails in turn with each error; and in another trial the process is killed there. A library
outside of Python writes the bytes: a limit on the size of files makes that fail, or kills the process, at any byte.
Afterwards the old checkpoint loads (or the new one, if it was in place already), and the next save leaves no other
file.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import nn
from tests.trust.common import arguments, conclude

CALLS = ("open", "close", "write", "fsync", "fdatasync", "replace", "rename", "chmod", "fchmod", "stat", "lstat",
         "fstat", "unlink", "remove", "listdir", "scandir", "link", "truncate", "ftruncate")  # fmt: skip
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
OLD, NEW = np.arange(3000.0), -np.arange(3000.0)


class Struck(BaseException):
    """The targeted call has been reached."""


@contextmanager
def struck(number: int, strike: Callable[[], None]) -> Iterator[list[str]]:
    """Run `strike` in place of the call with this number. Yields the list of all calls."""
    seen: list[str] = []
    true = {name: getattr(os, name) for name in CALLS if hasattr(os, name)}

    def instead(name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            seen.append(name)
            if len(seen) == number:
                strike()
            return true[name](*given, **named)

        return call

    for name in true:
        setattr(os, name, instead(name))
    try:
        yield seen
    finally:
        for name, function in true.items():
            setattr(os, name, function)


@contextmanager
def limited(size: int, kill: bool) -> Iterator[None]:
    """Limit files to `size` bytes: a larger write gets an error, or the process is killed."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kill else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def save(path: Path, values: Any) -> None:
    nn.save_checkpoint(path, weights={"w": values}, position=(3, 1700))


def held(path: Path) -> Any:
    """The values in a checkpoint, which must be one of the two saved versions."""
    found = nn.load_checkpoint(path)
    values = found["weights"]["w"]
    if found["position"] != (3, 1700) or not any(np.array_equal(values, one) for one in (OLD, NEW)):
        raise AssertionError("other values than were saved")
    return values


def fail(code: int) -> Callable[[], None]:
    def strike() -> None:
        raise OSError(code, os.strerror(code))

    return strike


def in_child(act: Callable[[], None]) -> None:
    """Run a function in a separate process, which may be killed."""
    if (child := os.fork()) == 0:
        act()
        os._exit(0)
    os.waitpid(child, 0)


class Trial:
    """A folder with an old checkpoint, in which a new one is saved under a fault."""

    def __init__(self, folder: Path) -> None:
        self.path, self.faults, self.count = folder / "run.ckpt", [], 0  # type: ignore[var-annotated]

    def check(self, what: str, wrong: Any, killed: bool = False) -> None:
        """Save under `wrong`, a context, and check the folder afterwards."""
        self.count += 1
        save(self.path, OLD)
        returned = False

        def act() -> None:
            nonlocal returned
            with wrong:
                save(self.path, NEW)
                returned = True

        try:
            in_child(act) if killed else act()
        except OSError:
            pass
        except Exception as error:
            self.faults.append(f"{what}: {type(error).__name__}: {error}")
        try:
            values = held(self.path)
            if returned and not np.array_equal(values, NEW):
                self.faults.append(f"{what}: the save returned, but the old checkpoint is there")
        except Exception as error:
            self.faults.append(f"{what}: no checkpoint loads: {type(error).__name__}: {error}")
        save(self.path, NEW)
        if left := set(os.listdir(self.path.parent)) - {self.path.name}:
            self.faults.append(f"{what}: left {', '.join(sorted(left))} after the next save")
            for name in left:
                os.unlink(self.path.parent / name)


def main() -> None:
    options = arguments(__doc__, sizes=(40, 400))
    with tempfile.TemporaryDirectory() as place:
        trial = Trial(Path(place))
        save(trial.path, OLD)
        with struck(0, fail(0)) as calls:
            save(trial.path, NEW)
        for number, name in enumerate(list(calls), 1):
            for code in ERRORS:
                trial.check(f"call {number}, {name}, fails with {errno.errorcode[code]}", struck(number, fail(code)))
            for signal_number in (signal.SIGKILL,):
                kill = lambda s=signal_number: os.kill(os.getpid(), s)  # noqa: E731
                trial.check(f"killed at call {number}, {name}", struck(number, kill), killed=True)
        whole = os.path.getsize(trial.path)
        for size in np.linspace(0, whole - 1, options.sizes).astype(int).tolist():
            trial.check(f"no space after {size} bytes", limited(size, kill=False))
            trial.check(f"killed after {size} bytes", limited(size, kill=True), killed=True)
    conclude("faults", f"{trial.count} failed or killed saves ({len(calls)} calls, {options.sizes} sizes), "
             "after each of which a whole checkpoint loads", trial.faults)  # fmt: skip


if __name__ == "__main__":
    main()
