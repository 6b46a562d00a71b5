"""Recording what a function does with arrays, and doing it again without Python: `mg.compile`."""

from .compiled import Compiled, compile
from .live import Live, assigned, attributes, borrow, decided, done, live, only_outside
from .recording import RecordingError
from .traced import Traced

__all__ = [
    "Compiled",
    "Live",
    "RecordingError",
    "Traced",
    "assigned",
    "attributes",
    "borrow",
    "compile",
    "decided",
    "done",
    "live",
    "only_outside",
]
