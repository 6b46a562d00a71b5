"""Does the user's line ask for a number? A tensor that requires grad becomes one only where it says `float(t)`.

`float(t)`, `math.exp(t)`, `np.float64(t)` and `array[0] = t` all call `t.__float__`, and only the first of them cannot
lose a gradient by mistake. Python does not say who calls, but the calling frame knows which instruction it is at, and
the positions of instructions in the source (PEP 657) tell the callee of a call: its name begins where the call begins.
Without positions (`-X no_debug_ranges`) whole lines are compared.
"""

from __future__ import annotations

import ctypes
import dis
import functools
import sys
from bisect import bisect_right
from types import CodeType


def refuse_unless_asked(kind: str) -> None:
    """Raise TypeError unless the caller of `__float__` or `__int__`, two frames up, asks for a number of this kind."""
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
    """The begin and the end of an instruction's source."""
    place = instruction.positions
    if place is None or place.lineno is None:
        return (0, 0), (0, 0)
    return (place.lineno, place.col_offset or 0), (place.end_lineno or place.lineno, place.end_col_offset or 0)


# ---- what C takes for a sequence ---------------------------------------------------------------------------------

AS_SEQUENCE, ITEM = 104, 24  # bytes: PyTypeObject.tp_as_sequence, PySequenceMethods.sq_item, where a pointer has 8


def index_as_mapping(kind: type) -> None:
    """Let C index instances as it indexes a mapping's, by `t[i]` alone.

    Python fills two slots for `__getitem__`. By the second one, C takes the instances for sequences, and NumPy replaces
    any error of their `__float__` by "setting an array element with a sequence". Nothing in Python empties that slot
    alone, so it is done here, if the type lies in memory as expected; elsewhere, NumPy's error has ours as its cause.
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
