"""Lists of texts: one string is a sequence of its characters, so it would pass for a list and give wrong results."""

from __future__ import annotations

from typing import Any


def refuse_text(title: str, name: str, value: Any, example: str = "[...]") -> None:
    """Raise TypeError if one string stands where a list is meant; the example says how such a list is written."""
    if isinstance(value, str | bytes):
        raise TypeError(f"{title}: {name} must be a list, such as {example}, not the string {value[:40]!r}")
