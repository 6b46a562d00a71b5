"""The reason why a loop runs step by step: told to observers, as `mg.profile()`, and by the attribute `rolled`."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from minigrad.modes import current_mode

_reasons: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()  # of the modules called so far


def note(module: Any, reason: str | None) -> None:
    """Keep the reason of this call; None if the loop runs as a program."""
    _reasons[module] = reason
    if reason is not None:
        mode = current_mode()
        for observer in mode.observers:
            observer.noted(f"{mode.scope or type(module).__name__}: not rolled: {reason}")


def adopt(module: Any, layer: Any) -> None:
    """Take over the reason of a layer that a module made for this call, and that has told it."""
    if _reasons[layer] is not None:
        _reasons[module] = _reasons[layer]


def rolled(module: Any) -> bool | str:
    """True if the last call ran as a program; otherwise a sentence with the reason."""
    reason = _reasons.get(module, "it was not called yet")
    return True if reason is None else f"not rolled: {reason}"
