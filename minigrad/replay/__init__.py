"""Recording what a function does with arrays, and doing it again without Python: `mg.compile`."""

from .compiled import Compiled, compile
from .errors import RecordingError
from .live import Live
from .traced import Traced

__all__ = [
    "Compiled",
    "Live",
    "RecordingError",
    "Traced",
    "compile",
]
