"""The state of an optimizer, to plain data and back. A saved state is checked completely before it is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import backend

from .. import checks

if TYPE_CHECKING:
    from .optimizer import Optimizer


def saved(optimizer: Optimizer) -> dict[str, Any]:
    """The state as nested dicts and lists of numbers, strings and Tensors, all of them copies."""
    return {
        "state": {
            name: {key: value.copy() if isinstance(value, mg.Tensor) else value for key, value in entry.items()}
            for name, entry in optimizer.state.items()
        },
        "param_groups": [
            {
                key: list(value) if isinstance(value, list | tuple) else value
                for key, value in group.items()
                if key != "params"
            }
            for group in optimizer.param_groups
        ],
        "skipped": optimizer.skipped,
    }


def restore(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Restore the state from `saved`, or raise ValueError with everything that disagrees."""
    problems = [*_disagreements(optimizer, state)]
    if problems:
        raise ValueError(f"{type(optimizer).__name__}.load_state_dict: {'; '.join(problems)}")
    for group, given in zip(optimizer.param_groups, state["param_groups"], strict=True):
        group.update({key: plain(value) for key, value in given.items() if key != "param_names"})
    entries = state["state"]
    optimizer.state = {
        name: {key: _copied(key, value, parameter, optimizer) for key, value in entries[name].items()}
        for name, parameter in optimizer.named_parameters()
        if name in entries
    }
    optimizer.skipped = checks.count("skipped", state.get("skipped", 0))
    optimizer.stepped = optimizer.stepped or bool(optimizer.state)


def _disagreements(optimizer: Optimizer, state: Mapping[str, Any]) -> Iterator[str]:
    """All disagreements between a saved state and an optimizer."""
    if not isinstance(state, Mapping):
        raise TypeError(f"{type(optimizer).__name__}.load_state_dict: expected a dict, not a {type(state).__name__}")
    groups, entries = state.get("param_groups"), state.get("state")
    if not isinstance(groups, list | tuple) or not isinstance(entries, Mapping):
        yield 'expected a dict with a dict "state" and a list "param_groups"'
        return
    yield from _unexpected("entries", ("state", "param_groups", "skipped"), state)
    yield from _wrong_count("skipped", state.get("skipped", 0))
    if len(groups) != len(optimizer.param_groups):
        yield f"expected {len(optimizer.param_groups)} groups, got {len(groups)}"
        return
    for k, (group, given) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        if not isinstance(given, Mapping) or not isinstance(given.get("param_names"), list | tuple):
            yield f'group {k} must be a dict with a list "param_names"'
            continue
        options = {key: value for key, value in given.items() if key not in ("param_names", "initial_lr")}
        yield from _differences(f"parameters in group {k}", group["param_names"], given["param_names"])
        wrong = [*_differences(f"options in group {k}", optimizer.defaults, options)]
        if not wrong:
            try:
                optimizer.check(options | {"lr": given.get("initial_lr", options["lr"])})
                optimizer.check(options)
            except (TypeError, ValueError) as error:
                wrong = [f"group {k}: {error}"]
        yield from wrong
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            if name in entries:
                if not isinstance(entries[name], Mapping):
                    yield f"the state of {name} must be a dict, not a {type(entries[name]).__name__}"
                elif not wrong:
                    with_all = {key: True for key in ("momentum", "amsgrad", "centered") if key in options}
                    known = [*optimizer.slots(options), *optimizer.slots(options | with_all)]
                    numbers = optimizer.numbers(options)
                    yield from _wrong_entry(name, parameter, entries[name], optimizer.slots(options), known, numbers)
    yield from _unexpected("state of", [name for name, _ in optimizer.named_parameters()], entries)


def _wrong_count(what: str, value: Any) -> Iterator[str]:
    try:
        checks.count(what, value)
    except ValueError as error:
        yield str(error)


def _wrong_entry(
    name: str, parameter: mg.Tensor, entry: Mapping[str, Any], slots: Collection[str], known: Collection[str],
    numbers: Collection[str],
) -> Iterator[str]:  # fmt: skip
    """Problems with the state of one parameter: it needs the `slots` and `numbers`, and may have all known entries."""
    missing = [key for key in ("step", *slots, *numbers) if key not in entry]
    if missing:
        yield f"the state of {name} has no {', '.join(missing)}"
    yield from _unexpected(f"state of {name}", ("step", *known, *numbers), entry)
    for key, value in entry.items():
        expected = () if key == "step" or key in numbers else parameter.shape
        array = value.data if isinstance(value, mg.Tensor) else value
        if np.shape(value) != expected:
            yield f"{key} of {name} is {np.shape(value)}, expected {expected}"
        elif key == "step":
            yield from _wrong_count(f"step of {name}", value)
        elif (array if backend.is_array(array) else np.asarray(array)).dtype.kind not in "fiu":
            yield f"{key} of {name} must be real numbers, not {value!r:.80}"


def _differences(what: str, own: Collection[str], given: Collection[str]) -> Iterator[str]:
    """The missing and unexpected names."""
    if missing := [name for name in own if name not in given]:
        yield f"missing {what}: {', '.join(missing)}"
    yield from _unexpected(what, own, given)


def _unexpected(what: str, own: Collection[str], given: Collection[str]) -> Iterator[str]:
    if names := [str(name) for name in given if name not in own]:
        yield f"unexpected {what}: {', '.join(names)}"


def _copied(key: str, value: Any, parameter: mg.Tensor, optimizer: Optimizer) -> Any:
    """A step count, another number, or an array as a Tensor on its parameter's device and in its dtype (float32 for
    float16)."""
    if key == "step":
        return checks.count(key, value)
    if key in optimizer.numbers(optimizer.defaults):
        return float(checks.scalar(value))
    array = value.data if isinstance(value, mg.Tensor) else value
    array = array if backend.is_array(array) else np.asarray(array)
    return mg.Tensor(backend.transfer(array, parameter.device).astype(np.result_type(parameter.dtype, np.float32)))


def plain(value: Any) -> Any:
    """An option with Python numbers, which never change the dtype of an array."""
    if isinstance(value, list | tuple):
        return tuple([plain(v) for v in value])
    return value.item() if isinstance(value, np.generic) else value
