"""Checkpoints: the complete state of a training run in one file, written atomically.

A checkpoint is a safetensors file. Arrays are its tensors, under readable names ("model.weight",
"optimizer.state.weight.exp_avg"). Everything else, including the place of each array, is one JSON text, stored as the
bytes of a further tensor, since the format limits its header, and a long history would exceed the limit.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

import minigrad as mg
from minigrad import backend
from minigrad.trees import flatten

from .files import StrPath, as_saved, read_arrays, write_arrays

FORMAT = "nn.checkpoint"  # the metadata's name for the version
VERSION = "1"
TREE = "tree.json"  # the tensor that holds the JSON text


def save_checkpoint(path: StrPath, /, **parts: Any) -> None:
    """Write the parts of a training run into one file, atomically.

    parts  by name: objects with `state_dict()` (modules, optimizers, schedules), or any nested dicts, lists and tuples
           of Tensors, arrays, numbers, strings, booleans and None

    All values are restored exactly: tuples as tuples, keys other than strings, NaN and infinite floats, integers of any
    size. Subclasses become plain dicts, lists or tuples. Raises TypeError, naming the place, for anything else; OSError
    if the file cannot be written. The old file stays until the new one is complete.

    >>> import minigrad as mg, nn, tempfile, os
    >>> model, path = nn.Linear(3, 2), os.path.join(tempfile.mkdtemp(), "run.ckpt")
    >>> nn.save_checkpoint(path, model=model, random=mg.get_random_state(), position=(3, 1700))
    >>> found = nn.load_checkpoint(path, model=model)
    >>> mg.set_random_state(found["random"])
    >>> found["position"]
    (3, 1700)
    """
    write_arrays(path, _laid_out(parts), {FORMAT: VERSION})


def load_checkpoint(path: StrPath, /, *, device: str = "cpu", **into: Any) -> dict[str, Any]:
    """The parts of a checkpoint by name. Objects passed by name get their part loaded into them.

    device  the device of Tensors; NumPy arrays stay NumPy arrays
    into    objects with `load_state_dict`, under their saved names

    If one object refuses its part, all are restored to their state before. Raises OSError if there is no such file;
    ValueError, naming the file, if it is not a valid checkpoint of this version, lacks a requested part, or holds an
    invalid state for an object; TypeError for objects without `load_state_dict`.
    """
    for name, target in into.items():
        if not has_state(target):
            raise TypeError(f"load_checkpoint: {name} has no state_dict and load_state_dict: {type(target).__name__}")
    backend.backend_for(device)
    parts = _read(path, device)
    if missing := [name for name in into if name not in parts]:
        raise ValueError(f"{os.fspath(path)} has no {', '.join(missing)}; it has {', '.join(parts) or 'nothing'}")
    before = {name: _copied(target.state_dict()) for name, target in into.items()}
    name = ""
    try:
        for name, target in into.items():
            target.load_state_dict(parts[name])
    except BaseException as error:
        for other, state in before.items():
            into[other].load_state_dict(state)
            if other == name:
                break
        if not isinstance(error, Exception):
            raise
        raise ValueError(f"{os.fspath(path)} does not fit {name}; nothing was changed: {error}") from error
    return parts


def packed(**parts: Any) -> bytes:
    """The bytes that `save_checkpoint` would write, for another process."""
    return to_bytes(_laid_out(parts))


def unpacked(content: bytes, device: str = "cpu") -> dict[str, Any]:
    """The parts given to `packed`, with Tensors on a device."""
    arrays = from_bytes(content)
    tree = json.loads(arrays.pop(TREE).tobytes().decode("ascii"))
    return {name: _decoded(part, arrays, device) for name, part in tree.items()}


def has_state(value: Any) -> bool:
    """True if the value can be a part of a checkpoint and be loaded from it."""
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def _copied(state: Any) -> Any:
    leaves, rebuild = flatten(state)
    return rebuild([mg.Tensor(v.data.copy()) if isinstance(v, mg.Tensor) else copy.deepcopy(v) for v in leaves])


def _read(path: StrPath, device: str) -> dict[str, Any]:
    """All parts of a checkpoint file."""
    arrays, metadata = read_arrays(path)
    version, title = metadata.get(FORMAT), os.fspath(path)
    if version is None:
        raise ValueError(f"{title} is not a checkpoint; if it holds weights, nn.load reads it")
    if version != VERSION:
        raise ValueError(f"{title} is a checkpoint of version {version!r}; this program reads version {VERSION}")
    try:
        tree = json.loads(arrays.pop(TREE).tobytes().decode("ascii"), parse_constant=_refuse)
        return {name: _decoded(part, arrays, device) for name, part in tree.items()}
    except Exception as error:  # its type depends on the damage
        raise ValueError(f"{title} is a damaged checkpoint: {type(error).__name__}: {error}") from error


# ---- from values to JSON and back --------------------------------------------------------------------------------
# Values without a JSON form are objects with one key that begins with "$": {"$tuple": [...]}, {"$float": "nan"}.


def _laid_out(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by name, including the text of the tree."""
    arrays: dict[str, Any] = {TREE: None}
    try:
        tree = {name: _encoded(part, name, arrays) for name, part in parts.items()}
    except RecursionError:
        raise ValueError("save_checkpoint: a part contains itself, or is nested too deeply") from None
    text = json.dumps(tree, allow_nan=False, separators=(",", ":"))
    arrays[TREE] = np.frombuffer(text.encode("ascii"), np.uint8)
    return arrays


def _encoded(value: Any, place: str, arrays: dict[str, Any]) -> Any:
    """The value in JSON's form. Its arrays are added to `arrays`, named after their place."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return {"$scalar": _kept(np.asarray(value), place, arrays)}
    if isinstance(value, int):
        return int(value) if value.bit_length() < 4096 else {"$int": hex(value)}  # Python limits long decimals
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, mg.Tensor):
        return {"$tensor": _kept(value, place, arrays)}
    if backend.is_array(value):
        return {"$numpy" if isinstance(value, np.ndarray) else "$array": _kept(value, place, arrays)}
    if isinstance(value, tuple | list):
        items = [_encoded(item, f"{place}.{number}", arrays) for number, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encoded(item, f"{place}.{key}", arrays) for key, item in value.items()}
        pairs = [(_encoded(key, f"{place}, a key", arrays), key, item) for key, item in value.items()]
        return {"$dict": [[key, _encoded(item, f"{place}.{name}", arrays)] for key, name, item in pairs]}
    if callable(getattr(value, "state_dict", None)):
        return _encoded(value.state_dict(), place, arrays)
    raise TypeError(f"save_checkpoint: {place} is of type {type(value).__name__}, which a checkpoint does not hold")


def _kept(value: Any, place: str, arrays: dict[str, Any]) -> str:
    """Add an array to those to be written; returns its name."""
    place = name = place.encode("ascii", "backslashreplace").decode()
    number = 1
    while name in arrays:  # {"a.b": x, "a": {"b": y}}
        number += 1
        name = f"{place} ({number})"
    arrays[name] = as_saved(name, value)
    return name


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _decoded(value: Any, arrays: Mapping[str, Any], device: str) -> Any:
    """The value given to `_encoded`."""
    if isinstance(value, list):
        return [_decoded(item, arrays, device) for item in value]
    if not isinstance(value, dict):
        return value
    kind: str
    inner: Any
    kind, inner = next(iter(value.items()), ("", None))
    if not kind.startswith("$"):
        return {key: _decoded(item, arrays, device) for key, item in value.items()}
    if len(value) > 1:
        raise ValueError(f"{kind!r} stands beside {list(value)[1]!r}")
    if kind == "$tuple" and isinstance(inner, list):
        return tuple(_decoded(inner, arrays, device))
    if kind == "$dict":
        return {_decoded(key, arrays, device): _decoded(item, arrays, device) for key, item in inner}
    if kind == "$float" and isinstance(inner, str):
        return float(inner)
    if kind == "$int":
        return int(inner, 16)
    if kind == "$scalar" and arrays[inner].shape == ():
        return arrays[inner][()]
    if kind == "$numpy":
        return arrays[inner]
    if kind in ("$tensor", "$array"):
        array = backend.from_numpy(arrays[inner], device)
        return mg.Tensor(array) if kind == "$tensor" else array
    raise ValueError(f"unknown kind of value {kind!r}, or one that does not go with {inner!r:.80}")
