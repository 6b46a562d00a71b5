"""Loops as programs: a step is traced once, and all steps run without Python's part in them.

step      a step as Symbols, with its gradients
stages    Symbols as a straight line of kernels
tracks    where the rows of each step lie in memory
job       the calls of all steps, for machine code
calls     the stages with each value in its place, as a job
loop      forward and backward of all steps
rolled    the loop as one node on the tape, and its unfolding
rolling   from a cell or a function to its program
purity    whether a step is a function of its arguments
"""

from .loop import Loop
from .purity import effect_of
from .rolled import Run, rolled, rolls, unfold
from .rolling import Rolling, program_of
from .step import Operand, Step, Unrolled
from .tracks import Rows, layout

__all__ = [
    "Loop",
    "Operand",
    "Rolling",
    "Rows",
    "Run",
    "Step",
    "Unrolled",
    "effect_of",
    "layout",
    "program_of",
    "rolled",
    "rolls",
    "unfold",
]
