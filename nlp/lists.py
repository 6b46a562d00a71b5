"""Lists of texts: a single string is a sequence of characters, so it would pass for a list and give wrong results."""

from __future__ import annotations

from typing import Any


def refuse_text(title: str, name: str, value: Any, example: str = "[...]") -> None:
    """Raise TypeError for a string in place of a list; the example shows such a list."""
    if isinstance(value, str | bytes):
        raise TypeError(f"{title}: {name} must be a list, such as {example}, not the string {value[:40]!r}")
