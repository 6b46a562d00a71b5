"""Weights in files: safetensors, with PyTorch's names and shapes, written whole or not at all.

A file holds numbers and their names, no code, so reading one from a stranger runs nothing. The format is that of
https://github.com/huggingface/safetensors, and `safetensors.torch` reads and writes the same files.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

import minigrad as mg
from minigrad import backend

from .modules import Module

StrPath = str | os.PathLike[str]


def save(weights: Module | Mapping[str, Any], path: StrPath, metadata: Mapping[str, str] | None = None) -> None:
    """Write a module's state dict, or any mapping of names to Tensors and arrays, into a safetensors file.

    metadata  texts by name that are to stand in the file, too; `load_metadata` reads them

    A weight that has several names (tied weights) is written under each of them, so that every reader finds all the
    names it asks for. The old file stays as it was until the new one is complete. Raises TypeError for what is not an
    array of numbers, ValueError for names that the format does not allow, OSError if the file cannot be written.

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

    Of tied weights `safetensors.torch.save_model` writes one and notes the others' names; these come back, too, as
    the same Tensor. Raises OSError if there is no such file, ValueError if it is not a sound safetensors file.
    """
    arrays, metadata = read_arrays(path)
    state = {name: mg.Tensor(backend.from_numpy(array, device)) for name, array in arrays.items()}
    if metadata.get("format") == "pt":
        state |= {name: state[kept] for name, kept in metadata.items() if kept in state and name not in state}
    return state


def load_metadata(path: StrPath) -> dict[str, str]:
    """The texts that were given to `save` as metadata. Raises what `load` raises."""
    return read_arrays(path, only_metadata=True)[1]


# ---- arrays and bytes --------------------------------------------------------------------------------------------


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether Tensors and safetensors both have it: booleans, integers, and floats of up to 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def as_saved(name: str, value: Any) -> np.ndarray[Any, Any]:
    """The values of a Tensor or array as safetensors wants them: on the CPU, in C order and native byte order."""
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
    with atomic(path) as temporary:
        try:
            save_file(dict(arrays), temporary, texts or None)
        except SafetensorError as error:
            raise OSError(f"{os.fspath(path)} could not be written: {error}") from error


def read_arrays(
    path: StrPath, only_metadata: bool = False, without: Collection[str] = ()
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:  # fmt: skip
    """Arrays (but for some) and metadata of a safetensors file. The library checks the header against the file's
    length before anything is allocated; whatever it does not accept becomes one kind of error."""
    name, mode = os.fspath(path), os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{name} is a folder, not a safetensors file")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{name} is not a regular file")
    entry = None
    try:
        with safe_open(name, framework="np") as file:
            arrays: dict[str, np.ndarray[Any, Any]] = {}
            for entry in () if only_metadata else sorted(set(file.keys()) - set(without)):
                arrays[entry] = file.get_tensor(entry)
                if not _is_plain(arrays[entry].dtype):
                    raise TypeError(f"its dtype is {arrays[entry].dtype}")
            return arrays, dict(file.metadata() or {})
    except OSError:
        raise
    except Exception as error:  # which kind depends on what is wrong with the file
        if entry is None:
            raise ValueError(f"{name} is not a safetensors file, or a damaged one: {error}") from error
        raise ValueError(f"{name}: tensor {entry!r} cannot be read: {error}") from error


# ---- whole or not at all -----------------------------------------------------------------------------------------


@contextmanager
def atomic(path: StrPath) -> Iterator[str]:
    """Give the name of a new, empty file to write into. It takes the place of `path` when the block ends well, and is
    removed when it does not.

    It stands in the same folder, since only there a rename is atomic, and is on the disk before it is renamed, so
    that after a crash or a power cut there is the old file or the new one. Permissions are those of any new file.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a folder; a file's name is needed")
    if target.exists() and not target.is_file():
        raise OSError(f"{os.fspath(path)} is not a regular file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{os.fspath(path)} cannot be written, since its folder does not exist")
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the umask
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield str(temporary)
        os.chmod(temporary, mode)  # it may have been replaced by another one
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with suppress(OSError):  # not every system opens folders
        _flush(target.parent, os.O_RDONLY)


def _flush(path: Path, flags: int) -> None:
    """Wait until what was written stands on the disk."""
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)
