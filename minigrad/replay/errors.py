"""The errors of a recording."""

from __future__ import annotations


class RecordingError(TypeError):
    """A function that cannot be recorded; the message names the line and an alternative."""

    complete = True  # nothing is added to the message


class DataError(RecordingError):
    """Data decide what is computed (lengths, a mask, rows of a plain table): the function runs uncompiled instead."""
