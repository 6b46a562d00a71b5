"""Names of values: full names, such as `encoder.lstm[1] t=3 f`, and the patterns that users write."""

from __future__ import annotations

import re

from .where import Scope

STEP = r"([^\s.=]+)=(\d+:?\d*|:\d*)(?=\s|\.|$)"  # t=3, t=2:6, t=2:, t=:4


class Name:
    """A value's full name, such as `encoder.lstm[1] t=3 f`, split into comparable parts.

    words       the labels of scopes and, last, the value's own: encoder, lstm, [1], f
    steps       (label, number) of each time step around it
    occurrence  how often the full name was given so far, counted from 1
    """

    def __init__(self, scope: Scope | None, label: str, occurrence: int) -> None:
        whole = Scope(scope, label)
        path = [] if scope is None else scope.path()
        self.words = [word for part in (*path, whole) if part.step is None for word in _words(part.label)]
        self.steps = [(part.label, part.step) for part in path if part.step is not None]
        self.path = tuple([(part.label, part.step) for part in path])
        self.label = label
        self.occurrence = occurrence
        self.text = str(whole) + (f" #{occurrence}" if occurrence > 1 else "")


class Pattern:
    """A user's pattern for one or several values: `f`, `lstm t=3 f`, `h t=5`, `encoder.lstm[1] t=2:6 c`, `h #2`.

    The last word is the value's label; the words before it name scopes around it, and scopes may be left out. Steps may
    stand anywhere, as `t=3` or as a half-open range `t=2:6`. `#2` is the second value of that full name.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"intervene: names are strings such as 'lstm t=3 f', not {type(text).__name__}")
        self.text = text
        rest = re.sub(r"\s*=\s*", "=", text)
        self.steps = []
        for label, range_ in re.findall(STEP, rest):
            first, colon, end = range_.partition(":")
            low = int(first or 0)
            self.steps.append((label, low, (int(end) if end else None) if colon else low + 1))
        rest = re.sub(STEP, " ", rest)
        found = re.findall(r"#(\d+)", rest)
        self.occurrence = int(found[0]) if found else None
        self.words = _words(re.sub(r"#\d+", " ", rest))
        if not self.words or "=" in "".join(self.words):
            raise ValueError(
                f"intervene: {text!r} names no value; write a label after its scope and step, as in 'lstm t=3 f'"
            )

    def matches(self, name: Name) -> bool:
        """True if the pattern matches the name."""
        if self.words[-1] != name.words[-1] or self.occurrence not in (None, name.occurrence):
            return False
        for label, low, end in self.steps:
            if not any(label == other and low <= t and (end is None or t < end) for other, t in name.steps):
                return False
        rest = iter(name.words)  # the pattern's words must appear among them, in order
        return all(word in rest for word in self.words)


def _words(text: str) -> list[str]:
    return re.findall(r"\[[^]]*\]|[^.\[\s]+", text)
