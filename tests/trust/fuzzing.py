"""Damaged files: making them from good ones, and trying a reader on many of them in a separate process."""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

MEMORY = 1 << 30  # bytes that a reader may allocate
SECONDS = 5.0  # for one small file
BOMB_SECONDS = 60.0  # for one that is small only on disk
DOCUMENTED = (ValueError, OSError)
Random = random.Random


class TooSlowError(BaseException):
    """A reader exceeded its time."""


class Outcome(NamedTuple):
    """A reader's outcomes on many files."""

    inputs: int
    read: int  # how many were accepted
    faults: list[str]
    memory: int  # bytes, at most, beyond those before


# ---- bytes -------------------------------------------------------------------------------------------------------


def damaged(good: bytes, rng: Random) -> bytes:
    """Bytes with one to four changes."""
    data = bytearray(good)
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randint(0, len(data)), rng.choice((1, 1, 2, 4, 8, 64, 1000))
        match rng.randrange(8):
            case 0:
                data[at : at + size] = b""
            case 1:
                data[at:at] = rng.randbytes(size)
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[(there := rng.randint(0, len(data))) : there + size]
            case 4:
                data[at : at + 8] = struct.pack("<Q", rng.choice((0, 1, 2**31, 2**32, 2**63, 2**64 - 1)))
            case 5 if numbers := [k for k, byte in enumerate(data) if 48 <= byte < 58]:
                k = rng.choice(numbers)
                data[k : k + 1] = rng.choice(NUMBERS)
            case 6:
                data[at : at + 1] = rng.choice((b"\n", b" ", b"\t", b"\0", b"\xff", b"\xed\xa0\x80", b"\r", b'"', b"{"))
            case _ if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
    return bytes(data)


NUMBERS = (
    b"-1",
    b"0",
    b"99999999999999999999",
    b"1e999",
    b"nan",
    b"-inf",
    b"1_0",
    b"0x1",
    "\u0663".encode(),
    b"9" * 5000,
)

# ---- JSON --------------------------------------------------------------------------------------------------------

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, "", "a", "\ud800", "\0", [], {}, [[]],
    [None], [1], {"a": 1}, {"": None}, [[[[1]]]], "9" * 500, ["a", "a"], {"$tuple": 3}, {"$float": "x"}, {"$int": "-"},
    {"$numpy": "no"}, {"$dict": [[[], 1]]}, {"$scalar": 1}, {"$": 0},
)  # fmt: skip


def twisted(content: Any, rng: Random) -> Any:
    """A JSON value with one to three of its parts replaced, removed or moved."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        stack = [content]
        while stack:
            value = stack.pop()
            keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
            places += [(value, key) for key in keys]
            stack += [value[key] for key in keys]
        if not places:
            break
        holder, key = rng.choice(places)
        match rng.randrange(4):
            case 0:
                del holder[key]
            case 1:
                other, there = rng.choice(places)
                if isinstance(other, dict) and there in other:
                    holder[key] = json.loads(json.dumps(other[there]))
            case 2 if isinstance(holder, dict):
                holder[rng.choice(("", "a", "$tuple", "format", "version", key + "x"))] = holder.pop(key)
            case _:
                holder[key] = json.loads(json.dumps(rng.choice(STRANGE)))
    return content


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


# ---- trying ------------------------------------------------------------------------------------------------------


def tried(
    read: Callable[[str], Any], path: Path, inputs: Callable[[int], bytes], count: int, seconds: float = SECONDS
) -> Outcome:
    """Read many files, one after the other under the same name, in child processes that may fail."""
    shared = mmap.mmap(-1, 32)  # the next input, the number read, and the memory needed
    faults: list[str] = []
    while (begun := struct.unpack_from("<q", shared)[0]) < count and len(faults) < 100:
        out, into = os.pipe()
        if (child := os.fork()) == 0:
            os.close(out)
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            try:
                _try(read, path, inputs, range(begun, count), seconds, shared, into)
            finally:
                os._exit(1)
        os.close(into)
        with os.fdopen(out, encoding="utf-8", errors="replace") as lines:
            faults += [line.rstrip() for line in lines]
        status = os.waitpid(child, 0)[1]
        if os.waitstatus_to_exitcode(status) != 0:
            number = struct.unpack_from("<q", shared)[0]
            faults.append(f"input {number}: the process died, {os.waitstatus_to_exitcode(status)}")
            struct.pack_into("<q", shared, 0, number + 1)
    done, read_well, memory = struct.unpack_from("<qqq", shared)
    return Outcome(done, read_well, faults, memory)


def _try(
    read: Callable[[str], Any], path: Path, inputs: Callable[[int], bytes], numbers: range, seconds: float, shared: Any,
    into: int,
) -> None:  # fmt: skip
    def too_slow(*_: Any) -> None:
        raise TooSlowError(f"more than {seconds} s")

    warnings.simplefilter("ignore")
    before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_AS, (before + MEMORY, before + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, too_slow)
    well = struct.unpack_from("<q", shared, 8)[0]
    for number in numbers:
        struct.pack_into("<q", shared, 0, number)
        path.write_bytes(inputs(number))
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            read(str(path))
            well += 1
        except DOCUMENTED:
            pass
        except BaseException as error:
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            line = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place is not None else ""
            os.write(into, f"input {number}: {type(error).__name__} at {line}: {str(error)[:120]!r}\n".encode())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
        struct.pack_into("<qqq", shared, 0, number + 1, well, max(used * 1024, struct.unpack_from("<q", shared, 16)[0]))
    os._exit(0)
