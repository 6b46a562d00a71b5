"""Let the threads of NumPy's BLAS rest sooner.

OpenBLAS's threads keep a core each busy for 25 ms after every product of theirs, waiting for another one, and take it
from whoever works there: PyTorch's threads, or those of minigrad's own kernels. A training step that has both kinds of
products takes a fifth longer. A third of a millisecond is enough to wait.

OpenBLAS reads the setting when NumPy is imported, so it only helps where minigrad is imported before NumPy. A value
that is set already stays.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "OPENBLAS_THREAD_TIMEOUT"
TURNS = "20"  # they wait for 2²⁰ turns of the processor's clock; OpenBLAS's own default is 2²⁶

if "numpy" not in sys.modules:
    os.environ.setdefault(VARIABLE, TURNS)
