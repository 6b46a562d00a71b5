"""`mg.compile`: record the array operations of a function, and replay them without Python."""

from .compiled import CompiledFunction, compile
from .errors import RecordingError
from .live import Live
from .traced import Traced

__all__ = [
    "CompiledFunction",
    "Live",
    "RecordingError",
    "Traced",
    "compile",
]
