"""Matrix products, and functions composed of them."""

from __future__ import annotations

import operator

import numpy as np

import minigrad as mg

from .cases import case, real

for a, b in [
    ((3,), (3,)), ((2, 3), (3, 4)), ((2, 3), (3,)), ((3,), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)), ((4, 1, 2, 3), (5, 3, 2)),
    ((0, 3), (3, 4)), ((2, 0), (0, 4)), ((2, 3), (3, 0)), ((5, 2, 0), (0, 4)), ((0, 2, 3), (3, 4)), ((0,), (0,)),
]:  # fmt: skip
    case("matmul", np.matmul, real(*a), real(*b))
case("matmul", operator.matmul, real(2, 3), real(3, 4))
case("matmul", lambda x: x @ x, real(3, 3))
case("matmul", lambda x, w: x @ w.T, real(2, 3), real(4, 3))
case("matmul", lambda x, w: (x @ w) @ w, real(2, 3), real(3, 3))

for shape in [(3,), (2, 3), (5, 2, 3), (1, 3), (0, 3), (2, 0, 3)]:
    case("linear", mg.linear, real(*shape), real(4, 3), expected=lambda x, w: x @ w.T)
    case("linear", mg.linear, real(*shape), real(4, 3), real(4), expected=lambda x, w, b: x @ w.T + b)
case("linear", lambda x, w, b: mg.linear(x.T, w, b), real(3, 2), real(4, 3), real(4),
     expected=lambda x, w, b: x.T @ w.T + b)  # fmt: skip
case("linear", lambda x, w: mg.linear(mg.linear(x, w), w), real(2, 3), real(3, 3),
     expected=lambda x, w: x @ w.T @ w.T)  # fmt: skip

for a, b in [
    ((), ()), ((), (2, 3)), ((2, 3), ()), ((3,), (3,)), ((2, 3), (3, 4)), ((2, 3), (3,)), ((4, 2, 3), (3,)),
    ((4, 2, 3), (5, 3, 2)), ((3,), (4, 3, 2)),
]:  # fmt: skip
    case("dot", np.dot, real(*a), real(*b))
for a, b in [((), ()), ((), (3,)), ((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,)), ((2, 4, 3), (5, 3))]:
    case("inner", np.inner, real(*a), real(*b))
for a, b in [((), ()), ((2,), (3,)), ((2, 2), (3,)), ((0,), (3,))]:
    case("outer", np.outer, real(*a), real(*b))
for shape in [(), (3,), (2, 3)]:
    case("vdot", np.vdot, real(*shape), real(*shape))
case("dot", lambda x, y: x.dot(y), real(2, 3), real(3))

case("tensordot", np.tensordot, real(2, 3, 4), real(3, 4, 2))
case("tensordot", np.tensordot, real(2, 3), real(3, 4), axes=1)
case("tensordot", np.tensordot, real(2, 3), real(4), axes=0)
case("tensordot", np.tensordot, real(2, 3, 4), real(4, 5, 2), axes=([0, 2], [2, 0]))
case("tensordot", np.tensordot, real(2, 3, 4), real(4, 5), axes=(-1, 0))
case("tensordot", np.tensordot, real(2, 3), real(2, 3), axes=([0, 1], [0, 1]))
case("tensordot", np.tensordot, real(2, 0), real(0, 3), axes=1)
for a, b in [((2,), (3,)), ((2, 3), (3, 2)), ((2,), (3, 2)), ((2, 3, 2), (2, 2)), ((), (2, 3))]:
    case("kron", np.kron, real(*a), real(*b))
case("cross", np.cross, real(3), real(3))
case("cross", np.cross, real(2, 3), real(3))
case("cross", np.cross, real(4, 1, 3), real(2, 3))
case("cross", np.cross, real(3, 2), real(2, 3), axisa=0, axisc=0)
case("cross", np.cross, real(3, 2), real(3, 2), axis=0)

# ---- einsum ------------------------------------------------------------------------------------------------------

for subscripts, *shapes in [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ba,ab", (2, 3), (3, 2)),
    ("tnd,dh->tnh", (2, 3, 4), (4, 2)),
    ("i,j->ij", (2,), (3,)),
    ("i,i", (3,), (3,)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("ji", (2, 3)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iij->j", (2, 2, 3)),
    ("iii->i", (3, 3, 3)),
    ("iijj->ij", (2, 2, 3, 3)),
    ("ij,ij,i->j", (2, 3), (2, 3), (2,)),
    ("ij,kl->", (2, 3), (2, 2)),
    ("ij,kl->il", (2, 3), (2, 2)),
    ("...ij,...jk->...ik", (5, 2, 3), (5, 3, 4)),
    ("...ij,...jk", (5, 2, 3), (3, 4)),
    ("...i,...i->...", (4, 1, 3), (5, 3)),
    ("...i->i...", (2, 4, 3)),
    ("i...,i...", (3, 2), (3,)),
    ("i...j->...", (2, 4, 3)),
    (" i j , j k -> k i ", (2, 3), (3, 4)),
    ("aab,bc->ac", (2, 2, 3), (3, 4)),
    (",ij->ji", (), (2, 3)),
    ("ij,ij->ij", (1, 3), (2, 3)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,jk,kl,lm->im", (2, 3), (3, 2), (2, 4), (4, 2)),
]:
    case("einsum", lambda *xs, s=subscripts: np.einsum(s, *xs), *[real(*shape) for shape in shapes])
case("einsum", lambda x: np.einsum("ij,jk->ik", x, x), real(3, 3))
case("einsum", lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [0, 2]), real(2, 3), real(3, 4))
case("einsum", lambda x, y: np.einsum(x, [0, 1], y, [1, 2]), real(2, 3), real(3, 4))
case("einsum", lambda x: np.einsum(x, [Ellipsis, 1, 0], [Ellipsis, 0]), real(2, 3, 4))
case("einsum", lambda x, y: np.einsum("ij,jk", x, y, optimize=True), real(2, 3), real(3, 4))
