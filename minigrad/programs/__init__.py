"""Loops as programs: a step is traced once, and all steps run without Python's part in them.

step      a step as Symbols, with its gradients
stages    Symbols as a straight line of kernels
tracks    where the rows of each step lie in memory
job       the calls of all steps, for machine code
calls     the stages with each value in its place, as a job
loop      forward and backward of all steps
rolled    the loop as one node on the tape, and its unfolding
"""

from .loop import Loop
from .rolled import Run, rolled, rolls, unfold
from .step import Operand, Step, Unrolled
from .tracks import Rows

__all__ = ["Loop", "Operand", "Rows", "Run", "Step", "Unrolled", "rolled", "rolls", "unfold"]
