"""Recording what a function does with arrays, and doing it again without Python: `mg.compile`."""

from .compiled import Compiled, compile
from .errors import RecordingError
from .live import Live, assigned, attributes, borrow, decided, decides, done, live, only_outside
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
    "decides",
    "done",
    "live",
    "only_outside",
]
