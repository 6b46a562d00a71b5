"""`mg.compile`: record the array operations of a function, and replay them without Python."""

from .compiled import CompiledFunction, compile
from .errors import RecordingError
from .live import Live, assigned, attributes, borrow, decided, decides, done, live, only_outside
from .traced import Traced

__all__ = [
    "CompiledFunction",
    "Live",
    "RecordingError",
    "Traced",
    "assigned",
    "attributes",
    "borrow",
    "compile",
    "decided",
    "decides",
    "done",
    "live",
    "only_outside",
]
