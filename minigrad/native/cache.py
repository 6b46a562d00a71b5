"""A cache of object code on disk: a process loads the kernels that another one has compiled.

A file is named by the key of its kernel and holds MAGIC, the SHA-256 of the key and the code, and the code. A file that
is truncated, damaged, or of another key is ignored and replaced. Files are written under a temporary name and renamed,
so any number of processes can share the folder. BOUND limits the sum of their sizes; the least recently used are
removed first.

Anyone who can write into the folder controls the code that this process executes. So the folder and its files are used
only if they belong to the user and nobody else can write to them. Files are opened relative to the folder that was
opened and checked, so replacing the folder meanwhile has no effect. Where that is not possible (on Windows, say), or no
file can be written, every process compiles for itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator

BOUND = 64 << 20  # bytes of all files
MAGIC = b"minigrad object code 1\n"
KERNEL, UNFINISHED = ".kernel", ".part"  # file name suffixes
ABANDONED = 3600  # seconds after which an unfinished file counts as abandoned
_DIGEST = 32  # bytes
_CHECKED = os.open in os.supports_dir_fd and hasattr(os, "geteuid")


def folder() -> str | None:
    """The folder: MINIGRAD_CACHE, else the user's cache folder; None if there is none, or it is switched off."""
    told = os.environ.get("MINIGRAD_CACHE")
    if told is not None:
        return os.path.abspath(os.path.expanduser(told)) if told not in ("", "0") else None
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # the XDG standard says to ignore it
        caches = os.path.join(os.environ.get("HOME", ""), "Library/Caches" if sys.platform == "darwin" else ".cache")
    return os.path.join(caches, "minigrad") if os.path.isabs(caches) else None


def load(key: str) -> bytes | None:
    """The code stored for a key; None if there is none that can be trusted."""
    with contextlib.suppress(OSError), _opened() as place:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(key + KERNEL, flags, dir_fd=place), "rb") as file:
            _check(file.fileno(), stat.S_ISREG)
            size = os.fstat(file.fileno()).st_size  # `read` allocates as much as it is told to read
            magic, digest, code = file.read(len(MAGIC)), file.read(_DIGEST), file.read(min(size, BOUND))
            if magic == MAGIC and digest == _digest(key, code):
                with contextlib.suppress(OSError):  # a read-only file system
                    os.utime(file.fileno())
                return code
    return None


def store(key: str, code: bytes) -> None:
    """Store the code for a key, if possible."""
    with contextlib.suppress(OSError), _opened(make=True) as place:
        unfinished = f"{os.getpid()}-{os.urandom(8).hex()}{UNFINISHED}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(unfinished, flags, 0o600, dir_fd=place), "wb") as file:
                file.write(MAGIC + _digest(key, code) + code)
            os.replace(unfinished, key + KERNEL, src_dir_fd=place, dst_dir_fd=place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished, dir_fd=place)
            raise
        _shrink(place)


def report() -> str:
    """The cache's folder and size, or the reason why it is not used."""
    try:
        path = folder()
    except FileNotFoundError:
        return "not used: MINIGRAD_CACHE is relative to the working directory, which is gone"
    if path is None:
        off = "MINIGRAD_CACHE" in os.environ
        return "not used: " + ("MINIGRAD_CACHE switches it off" if off else "there is no home directory")
    shown = os.fsencode(path).decode(errors="replace")
    try:
        with _opened() as place:
            sizes = [size for _, size, name in _files(place) if name.endswith(KERNEL)]
            writable = os.access(".", os.W_OK, dir_fd=place)
    except FileNotFoundError:
        return f"{shown}: empty"
    except OSError as error:
        return f"not used: {shown}: {error.strerror or error}"
    kept = f"{shown}: {len(sizes)} kernels, {sum(sizes) / 2**20:.1f} of at most {BOUND >> 20} MiB"
    return kept if writable else f"{kept}; read-only"


@contextlib.contextmanager
def _opened(make: bool = False) -> Iterator[int]:
    """Open the folder; OSError if it cannot be used."""
    path = folder()
    if path is None or not _CHECKED:
        raise OSError("the owner of a file cannot be checked here")
    if make:
        os.makedirs(path, mode=0o700, exist_ok=True)
    place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(place, stat.S_ISDIR)
        yield place
    finally:
        os.close(place)


def _check(opened: int, is_kind: Callable[[int], bool]) -> None:
    """Raise OSError if the opened file is of another type, or somebody else can write to it."""
    found = os.fstat(opened)
    if not is_kind(found.st_mode):
        raise OSError("it is of another kind")
    if found.st_uid != os.geteuid():
        raise PermissionError("it belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError("others can write it")


def _digest(key: str, code: bytes) -> bytes:
    import hashlib  # imported late: it takes longer than this module

    return hashlib.sha256(key.encode() + code).digest()


def _files(place: int) -> list[tuple[float, int, str]]:
    """The time of last use, size and name of each file of the cache."""
    found = []
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.name.endswith((KERNEL, UNFINISHED)):
                with contextlib.suppress(FileNotFoundError):  # another process has removed it
                    at = entry.stat(follow_symlinks=False)
                    found.append((at.st_mtime, at.st_size, entry.name))
    return found


def _shrink(place: int) -> None:
    """Remove the least recently used files beyond BOUND, and abandoned ones."""
    files = sorted(_files(place))
    total, now = sum(size for _, size, _ in files), time.time()
    for used, size, name in files:
        if total > BOUND if name.endswith(KERNEL) else now - used > ABANDONED:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place)
            total -= size
