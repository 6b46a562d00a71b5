"""The origin of a node: its scope, and the user's line.

Recording both costs almost nothing: a scope is a reference, a line is a code object and the offset of an instruction.
They become text only for messages and pictures.
"""

from __future__ import annotations

import os
import sys
from types import CodeType

import numpy as np


class Scope:
    """One label inside `outer`; `step` is the number of a time step, or None for a named scope."""

    __slots__ = ("label", "outer", "step")

    def __init__(self, outer: Scope | None, label: str, step: int | None = None) -> None:
        self.outer = outer
        self.label = label
        self.step = step

    def path(self) -> tuple[Scope, ...]:
        """From the outermost scope to this one."""
        chain: list[Scope] = []
        scope: Scope | None = self
        while scope is not None:
            chain.append(scope)
            scope = scope.outer
        return tuple(reversed(chain))

    def __str__(self) -> str:
        text, joint = "", ""
        for part in self.path():
            if part.step is not None:
                text, joint = f"{text} {part.label}={part.step}", " "
            else:
                text += ("" if part.label.startswith("[") else joint) + part.label
                joint = "."
        return text.strip()


# ---- the user's line ---------------------------------------------------------------------------------------------

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGES = (
    *[os.path.join(_HERE, package) + os.sep for package in ("minigrad", "nn", "nlp")],
    os.path.dirname(os.path.abspath(np.__file__)) + os.sep,
)


class _Internal(dict[str, bool]):
    """True for files of these packages and of NumPy. Cached, because it is read at every recorded operation."""

    def __missing__(self, filename: str) -> bool:
        answer = self[filename] = filename.startswith(_PACKAGES)
        return answer


INTERNAL = _Internal()


def caller() -> tuple[CodeType, int]:
    """The innermost frame outside these packages, as a code object and an instruction's offset."""
    frame = sys._getframe(1)
    while INTERNAL[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def line_of(code: CodeType, instruction: int) -> str:
    """`file.py:12, in function: the line's text`."""
    import linecache

    line = None
    for start, end, number in code.co_lines():
        if start <= instruction < end:
            line = number
    if line is None:
        line = code.co_firstlineno
    text = linecache.getline(code.co_filename, line).strip()
    return f"{code.co_filename}:{line}, in {code.co_name}" + (f": {text}" if text else "")
