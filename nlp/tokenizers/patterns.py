"""Regular expressions of `tokenizer.json`: those of Oniguruma that mean the same in `regex`.

Python's `re` lacks classes such as \\p{L}; the package `regex` (extra `nlp`) has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Spans = list[tuple[int, int]]
BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
LONGEST = 10_000  # characters of a pattern
_ESCAPES = re.compile(r"\\(?:[pP]\{\^?[A-Za-z_]+\}|[sSdDrntfv]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[^A-Za-z0-9])")
_GROUPS = ("(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>")
SECONDS = 10  # limit for an unknown pattern on one text


def splitter(pattern: str, literal: bool, behavior: str, invert: bool) -> Callable[[str], Spans]:
    """A function that cuts a text where a pattern matches. Raises ValueError for an unsupported pattern, ImportError
    without `regex`."""
    found = _literal(pattern) if literal else _compiled(pattern)

    def cut(text: str) -> Spans:
        parts: list[tuple[int, int, bool]] = []  # the last: True for a separator
        end = 0
        for start, stop in found(text):
            if start > end:
                parts.append((end, start, invert))
            parts.append((start, stop, not invert))
            end = stop
        if end < len(text):
            parts.append((end, len(text), invert))
        return _behaved(parts, behavior)

    return cut


def _behaved(parts: list[tuple[int, int, bool]], behavior: str) -> Spans:
    """The remaining spans, after separators were treated by `behavior`."""
    if behavior == "Isolated":
        return [(a, b) for a, b, _ in parts]
    if behavior == "Removed":
        return [(a, b) for a, b, separator in parts if not separator]
    backwards = behavior == "MergedWithNext"
    spans: Spans = []
    before: bool | None = None if behavior == "Contiguous" else False
    for a, b, separator in reversed(parts) if backwards else parts:
        joins = separator == before if behavior == "Contiguous" else separator and not before
        if joins and spans:
            spans[-1] = (a, spans[-1][1]) if backwards else (spans[-1][0], b)
        else:
            spans.append((a, b))
        before = separator
    return spans[::-1] if backwards else spans


def _literal(text: str) -> Callable[[str], Spans]:
    pattern = re.compile(re.escape(text))
    return lambda whole: [match.span() for match in pattern.finditer(whole)] if text else []


def _compiled(pattern: str) -> Callable[[str], Spans]:
    try:
        import regex  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError(
            "BPETokenizer.load: this file cuts texts by a pattern of its own, which needs the package regex: "
            "pip install 'minigrad[nlp]'"
        ) from error
    try:
        compiled: Any = regex.compile(_translated(pattern), regex.VERSION0)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern {pattern[:80]!r} is not sound: {error}") from None

    def spans(text: str) -> Spans:
        try:
            return [match.span() for match in compiled.finditer(text, timeout=SECONDS)]
        except TimeoutError:
            raise ValueError(
                f"BPETokenizer: the file's pattern {pattern[:80]!r} takes more than {SECONDS} s on a text of "
                f"{len(text):,} characters"
            ) from None

    return spans


def _translated(pattern: str) -> str:
    """The pattern for `regex`, whose white space differs. Raises ValueError for syntax with another meaning there."""
    if len(pattern) > LONGEST:
        raise ValueError(f"the pattern has {len(pattern):,} characters, more than {LONGEST:,}")
    parts: list[str] = []
    at, within = 0, False  # a class of characters
    while at < len(pattern):
        c = pattern[at]
        size = 1
        if c == "\\":
            escape = _ESCAPES.match(pattern, at)
            if escape is None:
                raise ValueError(f"{pattern[at : at + 2]!r} in the pattern {pattern[:80]!r} is not supported")
            size = len(escape.group())
            parts.append({"\\s": r"\p{White_Space}", "\\S": r"\P{White_Space}"}.get(escape.group(), escape.group()))
        else:
            wrong = (
                (c == "[" or pattern[at : at + 2] == "&&") if within
                else c in "^$" or pattern[at : at + 2] == "}+"
                or (pattern[at : at + 2] == "(?" and not pattern.startswith(_GROUPS, at))
            )  # fmt: skip
            if wrong:
                raise ValueError(f"{pattern[at : at + 3]!r} in the pattern {pattern[:80]!r} is not supported")
            if c == "[":
                within = True
                size = 2 if pattern[at + 1 : at + 2] == "^" else 1
            elif c == "]":
                within = False
            parts.append(pattern[at : at + size])
        at += size
    return "".join(parts)
