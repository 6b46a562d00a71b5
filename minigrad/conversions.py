"""Conversion of tensors to Python numbers. One that requires grad is converted only by an explicit `float(t)`.

`float(t)`, `math.exp(t)`, `np.float64(t)` and `array[0] = t` all call `t.__float__`, and only the first of them cannot
lose a gradient by mistake. Python does not tell a method its caller, but the calling frame knows its current
instruction, and the source positions of instructions (PEP 657) give the callee of a call: its name begins where the
call begins. Without positions (`-X no_debug_ranges`) whole lines are compared.
"""

from __future__ import annotations

import ctypes
import dis
import functools
import sys
from bisect import bisect_right
from types import CodeType


def refuse_unless_asked(kind: str) -> None:
    """Raise TypeError unless the caller of `__float__` or `__int__`, two frames up, asks for a number of this kind
    explicitly.
    """
    frame = sys._getframe(2)
    if not _asks(frame.f_code, frame.f_lasti, kind):
        raise TypeError(
            "a tensor that requires grad does not become a plain number by itself, since its gradient would be lost, "
            "as where it is stored into an array: join tensors with np.stack, use NumPy's functions instead of "
            f"math's, or ask for the number by {kind}(t) or t.item()"
        )


@functools.lru_cache(maxsize=256)
def _asks(code: CodeType, offset: int, kind: str) -> bool:
    """True if the instruction is a call `float(...)`, one that maps `float`, or formats text by `%`."""
    instructions = list(dis.get_instructions(code))
    here = instructions[bisect_right([i.offset for i in instructions], offset) - 1]
    if here.opname == "BINARY_OP":
        return here.argrepr.startswith("%")
    if here.opname.startswith("STORE"):
        return False
    begin, end = _span(here)
    inside = [i for i in instructions if begin <= _span(i)[0] and _span(i)[1] <= end and i.opname.startswith("LOAD")]
    named = [_span(i)[0] for i in inside if i.argval == kind]
    return begin in named or (bool(named) and any(i.argval == "map" for i in inside))


def _span(instruction: dis.Instruction) -> tuple[tuple[int, int], tuple[int, int]]:
    """The start and the end of an instruction's source, each as (line, column)."""
    place = instruction.positions
    if place is None or place.lineno is None:
        return (0, 0), (0, 0)
    return (place.lineno, place.col_offset or 0), (place.end_lineno or place.lineno, place.end_col_offset or 0)


# ---- C's sequence protocol -----------------------------------------------------------------------------------------

AS_SEQUENCE, ITEM = 104, 24  # byte offsets of PyTypeObject.tp_as_sequence and PySequenceMethods.sq_item, 64-bit


def index_as_mapping(kind: type) -> None:
    """Make C code index instances of a class as mappings, by `t[i]` alone.

    For `__getitem__`, Python fills a mapping slot and a sequence slot. Because of the second one, C code takes the
    instances for sequences, and NumPy replaces any error of their `__float__` by "setting an array element with a
    sequence". Python has no way to clear that slot alone, so it is cleared here through ctypes, if the type's memory
    layout is the expected one; elsewhere, NumPy's error has ours as its cause.
    """
    if sys.implementation.name != "cpython" or object.__basicsize__ != 16:  # another layout: free-threaded, 32 bits
        return
    word = ctypes.c_size_t.from_address

    class Indexed:
        def __getitem__(self, index: int) -> int:
            return index

    def slot(of: type) -> ctypes.c_size_t:
        return word(word(id(of) + AS_SEQUENCE).value + ITEM)

    class Other:
        pass

    if slot(Indexed).value == slot(kind).value != 0 == slot(Other).value:
        slot(kind).value = 0
