"""The same numbers in another shape or order."""

from __future__ import annotations

import numpy as np

from .cases import SHAPES, case, real, unary

case("reshape", np.reshape, real(2, 3, 4), shape=(4, 6))
case("reshape", np.reshape, real(2, 3, 4), shape=(-1, 2))
case("reshape", np.reshape, real(2, 3, 4), shape=24)
case("reshape", np.reshape, real(1), shape=())
case("reshape", np.reshape, real(), shape=(1, 1))
case("reshape", np.reshape, real(2, 0), shape=(0, 5))
case("reshape", lambda x: x.reshape(3, -1), real(2, 3))
case("reshape", lambda x: x.reshape((3, 2)), real(2, 3))
case("reshape", np.reshape, real(2, 3, 4), shape=(6, 4), order="F")
case("reshape", np.reshape, real(2, 3, 4), shape=-1, order="F")
unary("ravel", np.ravel)
case("ravel", np.ravel, real(2, 3), order="F")
case("ravel", lambda x: x.ravel(), real(2, 3))
case("ravel", lambda x: x.flatten(), real(2, 3))
unary("transpose", np.transpose)
case("transpose", np.transpose, real(2, 3, 4), axes=(1, 2, 0))
case("transpose", np.transpose, real(2, 3, 4), axes=(-1, 0, -2))
case("transpose", np.transpose, real(2, 3, 4), axes=[2, 1, 0])
case("transpose", np.transpose, real(2, 3, 4), axes=(0, 1, 2))
case("transpose", lambda x: x.transpose(2, 0, 1), real(2, 3, 4))
case("transpose", lambda x: x.transpose(), real(2, 3, 4))
case("transpose", lambda x: x.T, real(2, 3))
case("transpose", lambda x: x.mT, real(2, 3, 4))
case("swapaxes", np.swapaxes, real(2, 3, 4), axis1=0, axis2=-1)
case("swapaxes", np.swapaxes, real(2, 3, 4), axis1=1, axis2=1)
case("moveaxis", np.moveaxis, real(2, 3, 4), source=0, destination=-1)
case("moveaxis", np.moveaxis, real(2, 3, 4, 2), source=(0, -1), destination=(2, 0))
case("moveaxis", np.moveaxis, real(2, 3, 4, 2), source=[3, 1], destination=[0, 1])
for axis in (0, 2, -1):
    for start in (0, 1, 3, -1):
        case("rollaxis", np.rollaxis, real(2, 3, 4), axis=axis, start=start)
for axis in (0, -1, 1, (0, 2), (-1, 0)):
    case("expand_dims", np.expand_dims, real(2, 3), axis=axis)
case("expand_dims", np.expand_dims, real(), axis=0)
case("expand_dims", np.expand_dims, real(0, 3), axis=1)
for axis in (None, 0, -1, (0, 2), ()):
    case("squeeze", np.squeeze, real(1, 3, 1), axis=axis)
case("squeeze", np.squeeze, real(1, 1))
case("squeeze", np.squeeze, real(1, 0))
case("broadcast_to", np.broadcast_to, real(3), shape=(2, 3))
case("broadcast_to", np.broadcast_to, real(2, 1, 3), shape=(4, 2, 5, 3))
case("broadcast_to", np.broadcast_to, real(), shape=(2, 3))
case("broadcast_to", np.broadcast_to, real(1, 3), shape=(0, 3))
case("broadcast_to", np.broadcast_to, real(2, 3), shape=(2, 3))
case("broadcast_arrays", np.broadcast_arrays, real(2, 1), real(3), real())
case("broadcast_arrays", np.broadcast_arrays, real(2, 3))
for axis in (None, 0, -1, (0, 2)):
    case("flip", np.flip, real(2, 3, 4), axis=axis)
case("flip", np.flip, real())
case("flip", np.flip, real(2, 0), axis=0)
case("fliplr", np.fliplr, real(2, 3))
case("flipud", np.flipud, real(3))
for shift, axis in [(1, None), (-2, 0), (5, -1), ((1, 2), (0, 1)), (1, (0, 1)), ((1, 2), 1)]:
    case("roll", np.roll, real(3, 4), shift=shift, axis=axis)
case("roll", np.roll, real(0, 3), shift=1, axis=0)
for k in range(-1, 5):
    case("rot90", np.rot90, real(2, 3), k=k)
case("rot90", np.rot90, real(2, 3, 4), axes=(-1, 0))
for function in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    for shape in SHAPES:
        case(function.__name__, function, real(*shape))
    case(function.__name__, function, real(), real(3), real(2, 3))
