"""Joining, taking apart, repeating and padding."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .cases import case, joined, mask, real

# ---- joining -----------------------------------------------------------------------------------------------------

for axis in (0, -1, None):
    joined("concatenate", np.concatenate, real(2, 3), real(2, 3), axis=axis)
joined("concatenate", np.concatenate, real(2, 3), real(2, 1), real(2, 0), axis=1)
joined("concatenate", np.concatenate, real(4))
joined("concatenate", lambda ts: np.concatenate([ts[0], ts[0]]), real(2, 3))
joined("concatenate", lambda ts: np.concatenate(tuple(ts), axis=-2), real(2, 3, 1), real(2, 1, 1))
for axis in (0, 1, -1, -2):
    joined("stack", np.stack, real(2, 3), real(2, 3), real(2, 3), axis=axis)
joined("stack", np.stack, real(), real())
joined("stack", np.stack, real(0, 2), real(0, 2), axis=1)
for shapes in [((), ()), ((2,), (3,)), ((2, 1), (2, 3)), ((2, 1, 2), (2, 3, 2))]:
    joined("hstack", np.hstack, *[real(*s) for s in shapes])
for shapes in [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 3, 2), (1, 3, 2))]:
    joined("vstack", np.vstack, *[real(*s) for s in shapes])
for shapes in [((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((2, 3, 2), (2, 3, 1))]:
    joined("dstack", np.dstack, *[real(*s) for s in shapes])
for shapes in [((3,), (3,)), ((3, 2), (3,)), ((3, 2), (3, 1))]:
    joined("column_stack", np.column_stack, *[real(*s) for s in shapes])
case("append", np.append, real(2, 3), real(4))
case("append", np.append, real(2, 3), real(1, 3), axis=0)

# ---- taking apart ------------------------------------------------------------------------------------------------

for function in (np.split, np.array_split):
    name = function.__name__
    case(name, function, real(6, 2), indices_or_sections=3)
    case(name, function, real(2, 6), indices_or_sections=2, axis=-1)
    case(name, function, real(6, 2), indices_or_sections=[1, 4])
    case(name, function, real(6, 2), indices_or_sections=(2, 2, 6))
    case(name, function, real(0, 2), indices_or_sections=2)
case("array_split", np.array_split, real(7), indices_or_sections=3)
case("array_split", np.array_split, real(2), indices_or_sections=4)
case("hsplit", np.hsplit, real(4), indices_or_sections=2)
case("hsplit", np.hsplit, real(2, 4), indices_or_sections=[1])
case("vsplit", np.vsplit, real(4, 2), indices_or_sections=2)
case("split", lambda x: np.split(x, 3)[1], real(6, 2))  # parts that nobody used


def unstack(x: object, axis: int = 0) -> object:
    return tuple(np.moveaxis(x, axis, 0))


for axis in (0, 1, -1):
    case("unstack", mg.unstack, real(2, 3, 2), axis=axis, expected=unstack)
case("unstack", mg.unstack, real(3), expected=unstack)
case("unstack", mg.unstack, real(2, 0), expected=unstack)
case("unstack", lambda x: tuple(x), real(3, 2), expected=unstack)
case("unstack", lambda x: mg.unstack(x)[1], real(3, 2), expected=lambda x: x[1])

# ---- repeating and padding ---------------------------------------------------------------------------------------

for reps in (2, (2,), (2, 3), (1, 1, 2), (0,), (2, 1, 3)):
    case("tile", np.tile, real(2, 3), reps=reps)
case("tile", np.tile, real(), reps=3)
case("tile", np.tile, real(2, 3, 2), reps=2)
for axis in (None, 0, -1):
    case("repeat", np.repeat, real(2, 3), repeats=2, axis=axis)
case("repeat", np.repeat, real(2, 3), repeats=(1, 0, 3), axis=1)
case("repeat", np.repeat, real(2, 3), repeats=[2, 1], axis=0)
case("repeat", np.repeat, real(), repeats=3)
case("repeat", lambda x: x.repeat(2, axis=1), real(2, 3))
for width in (1, (1, 2), ((1, 0), (0, 2)), ((2, 1),)):
    case("pad", np.pad, real(2, 3), pad_width=width)
case("pad", np.pad, real(2, 3), pad_width=1, constant_values=1.5)
case("pad", np.pad, real(), pad_width=0)
case("pad", np.pad, real(0, 3), pad_width=1)
for mode in ("edge", "reflect", "symmetric", "wrap"):
    case("pad", np.pad, real(3, 4), pad_width=((1, 2), (2, 0)), mode=mode)
    case("pad", np.pad, real(3), pad_width=5, mode=mode)
for mode in ("reflect", "symmetric"):
    case("pad", np.pad, real(3, 4), pad_width=((9, 7), (2, 0)), mode=mode, reflect_type="odd")
    case("pad", np.pad, real(1), pad_width=(0, 2), mode=mode, reflect_type="odd")
case("compress", lambda m, x: np.compress(m, x, axis=1), mask(3), real(2, 3))
