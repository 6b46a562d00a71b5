"""The errors of a recording."""

from __future__ import annotations


class RecordingError(TypeError):
    """A step that cannot be recorded; the message names the line and the way out."""

    complete = True  # the message needs nothing added


class DataError(RecordingError):
    """Data decides what is computed (lengths, a mask, rows of a plain table): the function runs as it is instead."""
