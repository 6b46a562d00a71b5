"""Files of weights: safetensors, with PyTorch's names and shapes, written atomically.

A file holds numbers and their names, and no code, so a file from a stranger is safe to read. The format is that of
https://github.com/huggingface/safetensors, and `safetensors.torch` reads and writes the same files.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import secrets
import stat
import time
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

import minigrad as mg
from minigrad import backend

from ..modules import Module

StrPath = str | os.PathLike[str]


def save(weights: Module | Mapping[str, Any], path: StrPath, metadata: Mapping[str, str] | None = None) -> None:
    """Write a module's state dict, or any mapping of names to Tensors and arrays, into a safetensors file.

    metadata  texts by name to store in the file; `load_metadata` reads them

    A weight with several names (tied weights) is written under each of them, so that every reader finds all names. The
    old file stays until the new one is complete; leftovers of a killed `save` to this path are removed. Raises
    TypeError for values other than arrays of numbers, ValueError for names that the format forbids, OSError if the file
    cannot be written.

    >>> import nn, tempfile, os
    >>> layer, path = nn.Linear(3, 2), os.path.join(tempfile.mkdtemp(), "layer.safetensors")
    >>> nn.save(layer, path)
    >>> nn.Linear(3, 2).load_state_dict(nn.load(path))
    LoadResult(missing=[], unexpected=[])
    """
    state = weights.state_dict() if isinstance(weights, Module) else weights
    write_arrays(path, {name: as_saved(name, value) for name, value in state.items()}, metadata)


def load(path: StrPath, device: str = "cpu") -> dict[str, mg.Tensor]:
    """The tensors of a safetensors file by name, on a device. `module.load_state_dict(nn.load(path))` uses them.

    `safetensors.torch.save_model` writes tied weights once and notes the others' names; these are restored as the same
    Tensor. Tensors of bfloat16 and of the two kinds of float8 (E4M3, E5M2) become float32, which holds all their
    values. Raises OSError if there is no such file, ValueError if it is not a valid safetensors file.
    """
    arrays, metadata = read_arrays(path)
    state = {name: mg.Tensor(backend.from_numpy(array, device)) for name, array in arrays.items()}
    if metadata.get("format") == "pt":
        state |= {name: state[kept] for name, kept in metadata.items() if kept in state and name not in state}
    return state


def load_metadata(path: StrPath) -> dict[str, str]:
    """The metadata passed to `save`. Raises the errors of `load`."""
    return read_arrays(path, only_metadata=True)[1]


# ---- arrays and bytes --------------------------------------------------------------------------------------------


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """True for dtypes of both Tensors and safetensors: booleans, integers, and floats of up to 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def as_saved(name: str, value: Any) -> np.ndarray[Any, Any]:
    """The values of a Tensor or array in the form for safetensors: on the CPU, in C order and native byte order."""
    array = value.data if isinstance(value, mg.Tensor) else value
    if not backend.is_array(array):
        raise TypeError(f"save: {name!r} is of type {type(value).__name__}, not a Tensor or an array")
    array = backend.to_numpy(array)
    if not _is_plain(array.dtype):
        raise TypeError(f"save: {name!r} has dtype {array.dtype}, which the file format does not hold")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def write_arrays(path: StrPath, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file atomically."""
    texts = dict(metadata or {})
    if wrong := [item for item in texts.items() if not all(isinstance(text, str) for text in item)]:
        raise TypeError(f"save: metadata are texts by name, not {dict(wrong)}")
    for name in arrays:
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"save: {name!r} cannot be the name of a tensor in a safetensors file")
    content = to_bytes(dict(arrays), texts or None)
    with atomic(path) as temporary:
        try:
            write_bytes(temporary, content)
        except OSError as error:
            raise failed(error.errno or errno.EIO, f"it could not be written: {error}", path) from error


def write_bytes(path: StrPath, content: bytes) -> None:
    """Write a file. (The library's own writer makes a temporary file, which a killed process would leave behind under
    an unknown name.)"""
    with open(path, "wb") as file:
        file.write(content)


def failed(code: int, why: str, path: StrPath) -> OSError:
    """An OSError with this errno about a file; Python chooses FileNotFoundError, IsADirectoryError and so on."""
    return OSError(code, why, os.fspath(path))


def read_arrays(
    path: StrPath, only_metadata: bool = False, without: Collection[str] = ()
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:  # fmt: skip
    """Arrays (except those to omit) and metadata of a safetensors file. The library checks the header against the
    file's length before it allocates memory; any of its errors becomes a ValueError."""
    name, mode = os.fspath(path), os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise failed(errno.EISDIR, "it is a folder, not a safetensors file", name)
    if not stat.S_ISREG(mode):
        raise ValueError(f"{name} is not a regular file")
    entry = None
    try:
        with safe_open(name, framework="np") as file:
            arrays: dict[str, np.ndarray[Any, Any]] = {}
            for entry in () if only_metadata else sorted(set(file.keys()) - set(without)):
                if (kind := file.get_slice(entry).get_dtype()) in WIDENED:
                    arrays[entry] = WIDENED[kind](*_raw(name, entry))
                    continue
                arrays[entry] = file.get_tensor(entry)
                if not _is_plain(arrays[entry].dtype):
                    raise TypeError(f"its dtype is {arrays[entry].dtype}")
            return arrays, dict(file.metadata() or {})
    except OSError:
        raise
    except Exception as error:  # its type depends on the damage
        if entry is None:
            raise ValueError(f"{name} is not a safetensors file, or a damaged one: {error}") from error
        raise ValueError(f"{name}: tensor {entry!r} cannot be read: {error}") from error


# ---- small floats, which NumPy lacks ---------------------------------------------------------------------------------


def _raw(path: str, entry: str) -> tuple[bytes, list[int]]:
    """The bytes of a tensor and its shape, from a file whose header the library has checked."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(size))[entry]
        begin, end = head["data_offsets"]
        file.seek(8 + size + begin)
        return file.read(end - begin), head["shape"]


def _from_bfloat16(raw: bytes, shape: list[int]) -> np.ndarray[Any, Any]:
    """The upper half of a float32."""
    return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)


def _from_e5m2(raw: bytes, shape: list[int]) -> np.ndarray[Any, Any]:
    """The upper half of a float16."""
    return (np.frombuffer(raw, np.uint8).astype(np.uint16) << 8).view(np.float16).astype(np.float32).reshape(shape)


def _from_e4m3(raw: bytes, shape: list[int]) -> np.ndarray[Any, Any]:
    """Sign, 4 bits of exponent with the bias 7, 3 bits of mantissa; no infinity, and NaN where all but the sign is 1
    (Micikevicius et al. 2022)."""
    code = np.arange(256)
    exponent, mantissa = code >> 3 & 15, code & 7
    size = np.ldexp(np.where(exponent == 0, mantissa, mantissa + 8), np.maximum(exponent, 1) - 10)
    values = np.where(code & 127 == 127, np.nan, np.where(code < 128, size, -size)).astype(np.float32)
    return values[np.frombuffer(raw, np.uint8)].reshape(shape)


WIDENED = {"BF16": _from_bfloat16, "F8_E5M2": _from_e5m2, "F8_E4M3": _from_e4m3}


# ---- atomic writes -----------------------------------------------------------------------------------------------


@contextmanager
def atomic(path: StrPath) -> Iterator[str]:
    """Yield the name of a new, empty file to write into. It replaces `path` when the block succeeds, and is removed
    when it fails.

    The file is in the same folder, since only there a rename is atomic, and is flushed to disk before the rename, so
    that after a crash or a power cut either the old or the new file exists. Permissions are those of any new file.
    Leftovers of killed processes are removed.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    if target.is_dir():
        raise failed(errno.EISDIR, "it is a folder; a file's name is needed", path)
    if target.exists() and not target.is_file():
        raise failed(errno.EINVAL, "it is not a regular file, and cannot be written", path)
    if not target.parent.is_dir():
        raise failed(errno.ENOENT, "it cannot be written, since its folder does not exist", path)
    _remove_left(target)
    temporary = target.with_name(f"{_stem(target)}{HOST}-{os.getpid()}-{secrets.token_hex(6)}.tmp")
    _in_use.add(temporary.name)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # minus the umask
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield str(temporary)
        os.chmod(temporary, mode)  # keep the permissions of the file to replace
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        _in_use.discard(temporary.name)
    with suppress(OSError):  # some systems cannot open folders
        _flush(target.parent, os.O_RDONLY)


HOST = f"{zlib.crc32(platform.node().encode()):08x}"
STALE = 60  # seconds after which a temporary file of another machine (on a shared folder) counts as abandoned
_in_use: set[str] = set()  # names of this process's temporary files


def _stem(target: Path) -> str:
    """The prefix of a file's temporary files."""
    name = target.name
    return f".{name}." if len(name) <= 40 else f".{name[:40]}{zlib.crc32(os.fsencode(name)):08x}."


def _remove_left(target: Path) -> None:
    """Remove temporary files of this target whose process has ended."""
    stem = _stem(target)
    shape = re.compile(re.escape(stem) + r"(?:([0-9a-f]{8})-(\d{1,9})-)?[0-9a-f]{12}\.tmp")
    with suppress(OSError):
        for name in os.listdir(target.parent):
            found = shape.fullmatch(name) if name.startswith(stem) else None
            with suppress(OSError):
                if found is not None and _is_left(target.with_name(name), found[1], found[2]):
                    target.with_name(name).unlink()


def _is_left(path: Path, host: str | None, process: str | None) -> bool:
    """True if no process is writing the temporary file."""
    if host != HOST or process is None or os.name != "posix":
        return time.time() - path.stat().st_mtime > STALE
    if int(process) == os.getpid():
        return path.name not in _in_use
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        pass
    return False


def _flush(path: Path, flags: int) -> None:
    """Flush a file or folder to disk."""
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)
