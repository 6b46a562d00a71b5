"""Loops as programs: a step is traced once, and all steps then run without Python.

step      a step as Symbols, with its gradients
stages    Symbols as a straight line of kernels
tracks    the memory layout of the rows of each step
job       the calls of all steps, for machine code
calls     the stages with each value in its memory, as a job
launches  the calls of all steps on a GPU
loop      forward and backward of all steps
rolled    the loop as one node on the tape, and its unfolding
rolling   from a cell or a function to its program
purity    the check that a step is a function of its arguments
"""

from .loop import Loop
from .purity import effect_of
from .rolled import Run, rolled, rolls, unfold
from .rolling import Form, Rolling, program_of
from .step import Operand, Step, Unrolled
from .tracks import Rows, layout

__all__ = [
    "Form",
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
